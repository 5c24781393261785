//! The other ends of shards' links to backends: connections that are made late or not, sends and receipts in parts, and backends that
//! answer, are slow, answer twice or with rubbish, forget and die. PURE.

use crate::backend::rpc::Moment;
use crate::model::ids::ConnId;

use super::backends::{Backends, LINE_BYTES_MAX, OLD_MAX, Pipe, Request, Side};
use super::caller::METHODS;
use super::json::{Json, Value};
use super::world::World;

impl World {
    /// Something happens on a shard's links.
    pub(super) fn move_links(&mut self, shard: usize) {
        self.advance_links(shard);
        let draw = self.random.below(256);
        let conn = self.side(shard).nth_conn(draw);
        match (self.random.below(100), conn) {
            (0..15, _) => self.connect(shard, draw),
            (15..35, _) => _ = self.send_on_links(shard),
            (35..50, Some(conn)) => _ = self.complete_send(shard, conn),
            (50..65, Some(conn)) => _ = self.read_requests(shard, conn),
            (65..80, Some(conn)) => self.say_something(shard, conn, draw),
            (80..97, Some(conn)) => _ = self.receive_on_link(shard, conn),
            (97, Some(conn)) => self.die(shard, conn),
            (98, _) => {
                if let Some((link, conn)) = self.side(shard).closed.front().copied() {
                    self.with_exchange(shard, |exchange, moment, tell| {
                        exchange.handle_bytes(link, conn, b"{\"id\":1048576,\"result\":1}\n", moment, tell);
                        exchange.handle_over(link, conn, moment, tell);
                    });
                }
            }
            (_, _) => {}
        }
    }

    /// Has links carry and backends answer all there is, in a world at rest; whether anything moved.
    pub(super) fn serve_backends(&mut self) -> bool {
        if self.backends.is_none() {
            return false;
        }
        let mut moved = false;
        for shard in 0..self.shards.len() {
            self.advance_links(shard);
            while !self.side(shard).attempts.is_empty() {
                self.connect(shard, 0);
                moved = true;
            }
            moved |= self.send_on_links(shard);
            let conns: Vec<ConnId> = self.side(shard).pipes.keys().copied().collect();
            for conn in conns {
                moved |= self.complete_send(shard, conn);
                moved |= self.read_requests(shard, conn);
                while self.side(shard).pipes.get(&conn).is_some_and(|pipe| !pipe.open.is_empty()) {
                    self.say_something(shard, conn, 0);
                }
                moved |= self.receive_on_link(shard, conn);
            }
        }
        moved
    }

    /// An attempt to connect ends.
    fn connect(&mut self, shard: usize, draw: usize) {
        let how = if self.resting { 0 } else { self.random.below(10) };
        let side = self.side(shard);
        let count = side.attempts.len();
        if count == 0 {
            return;
        }
        let tag = side.attempts.swap_remove(draw % count);
        side.conns += 1;
        let conn = ConnId { slot: side.conns % 7, generation: side.conns };
        self.with_exchange(shard, |exchange, moment, tell| match how {
            8 => exchange.handle_connect_postponed(tag, moment),
            9 => exchange.handle_connect_failed(tag, moment, tell),
            _ => {}
        });
        if how >= 8 {
            return;
        }
        let moment = Moment { now_ns: self.now.mono_ns, chance: self.random.bits() };
        let side = self.side(shard);
        // Else nobody wants it any more.
        if let Some(link) = side.exchange.handle_connected(conn, tag, moment) {
            let (upward, downward, open) = (Vec::new(), Vec::new(), Vec::new());
            side.pipes.insert(conn, Pipe { link, upward, is_sending: false, downward, open });
        }
    }

    /// Hands on what links have to say, or a part of it.
    fn send_on_links(&mut self, shard: usize) -> bool {
        let (now_ns, mut moved) = (self.now.mono_ns, false);
        while let Some(link) = self.side(shard).exchange.poll_dirty(now_ns) {
            let unsent = self.side(shard).exchange.unsent(link);
            let Some((conn, length)) = unsent.map(|(conn, bytes)| (conn, bytes.len())) else { continue };
            let length = if self.resting { length } else { self.random.between(1, length) };
            let Side { exchange, pipes, .. } = self.side(shard);
            let pipe = pipes.get_mut(&conn).expect("a link that is up has a connection");
            // It is looked at again when its last send is complete.
            if pipe.is_sending {
                continue;
            }
            let (_, bytes) = exchange.unsent(link).expect("it was just there");
            pipe.upward.extend_from_slice(&bytes[..length]);
            pipe.is_sending = true;
            exchange.handle_handed(link, length);
            self.side(shard).take_actions();
            moved = true;
        }
        moved
    }

    fn complete_send(&mut self, shard: usize, conn: ConnId) -> bool {
        let Side { exchange, pipes, .. } = self.side(shard);
        let Some(pipe) = pipes.get_mut(&conn).filter(|pipe| pipe.is_sending) else { return false };
        pipe.is_sending = false;
        exchange.mark_dirty(pipe.link);
        true
    }

    /// A backend reads the lines that have come.
    fn read_requests(&mut self, shard: usize, conn: ConnId) -> bool {
        let Some(pipe) = self.side(shard).pipes.get_mut(&conn) else { return false };
        let Some(end) = pipe.upward.iter().rposition(|byte| *byte == b'\n') else { return false };
        let lines: Vec<u8> = pipe.upward.drain(..=end).collect();
        let lines = String::from_utf8(lines).expect("requests are text");
        for line in lines.lines() {
            let message = Json::parse(line).unwrap_or_else(|fault| panic!("{fault}"));
            if let Value::Array(messages) = &message.value {
                assert!(messages.len() > 1, "an array of one: {line}");
                self.oracle.count("array of requests");
                messages.iter().for_each(|message| self.read_request(shard, conn, message));
            } else {
                self.read_request(shard, conn, &message);
            }
        }
        true
    }

    fn read_request(&mut self, shard: usize, conn: ConnId, message: &Json<'_>) {
        // What answers a request of the backend's own.
        let Some(method) = message.member("method").and_then(Json::text) else {
            return self.oracle.count("refusal of a backend's request");
        };
        let params = message.member("params");
        let World { backends, oracle, .. } = self;
        let backends = backends.as_deref_mut().expect("it is a world of callers");
        let Backends { sides, seen, .. } = backends;
        let Side { pipes, old, .. } = &mut sides[shard];
        let pipe = pipes.get_mut(&conn).expect("it was just read from");
        let Some(id) = message.member("id").map(Json::whole) else {
            if method == "$/cancelRequest" {
                let of = params.expect("it says of what").at("id").whole();
                // A backend that can stop what it does.
                pipe.open.retain(|request| request.id != of || of.is_multiple_of(2));
                return oracle.count("cancellation at a backend");
            }
            assert_eq!(method, "one/note");
            return oracle.count("notification at a backend");
        };
        if let Some((_, is_idempotent)) = METHODS.iter().find(|(known, _)| *known == method)
            && let Some(serial) = params.and_then(|params| params.member("serial"))
        {
            seen.note_reached(serial.whole(), *is_idempotent);
        }
        let params = params.map_or("null", |params| params.raw).to_owned();
        let request = Request { id, method: method.to_owned(), params };
        old.push_front(request.clone());
        old.truncate(OLD_MAX);
        pipe.open.push(request);
    }

    /// A backend says something of a request that it has not answered, or of another.
    fn say_something(&mut self, shard: usize, conn: ConnId, draw: usize) {
        let how = if self.resting { 0 } else { self.random.below(20) };
        let Side { pipes, old, .. } = self.side(shard);
        let Some(pipe) = pipes.get_mut(&conn) else { return };
        if pipe.open.is_empty() {
            return;
        }
        let place = draw % pipe.open.len();
        let Request { id, params, .. } = &pipe.open[place];
        let result = |request: &Request| {
            let Request { id, method, params } = request;
            format!("{{\"id\":{id},\"result\":{{\"method\":\"{method}\",\"of\":{params}}}}}")
        };
        let own = result(&pipe.open[place]);
        let long = "x".repeat(2 * LINE_BYTES_MAX);
        let text = match how {
            0..8 => own,
            8 => format!(r#"{{"id":{id},"error":{{"code":-7,"message":"no","data":{params}}}}}"#),
            9 => format!("{own}\n{own}"),
            10 => format!(r#"{{"id":{id}}}"#),
            11 => format!(r#"{{"id":{id},"result":<html>"#),
            12 => format!(r#"{{"id":{id},"result":"{long}"}}"#),
            13 => format!(r#"{{"result":"{long}","id":{id}}}"#),
            14 | 15 => {
                format!(r#"{{"method":"$/progress","params":{{"token":{id},"value":{{"of":{params}}}}}}}"#)
            }
            // Whatever became of it, and by whichever link it came.
            16 => result(&old[draw % old.len()]),
            17 => "{\"id\":\"own\",\"method\":\"ask\"}\nwhat?".to_owned(),
            // It forgets it.
            18 => String::new(),
            _ => format!("[{own}]"),
        };
        // A garbled answer may have a good one behind it.
        let is_over = !matches!(how, 10 | 11 | 14..18);
        pipe.downward.extend_from_slice(text.as_bytes());
        pipe.downward.push(b'\n');
        if is_over {
            pipe.open.remove(place);
        }
    }

    fn receive_on_link(&mut self, shard: usize, conn: ConnId) -> bool {
        let waiting = self.side(shard).pipes.get(&conn).map_or(0, |pipe| pipe.downward.len());
        if waiting == 0 {
            return false;
        }
        let count = if self.resting { waiting } else { self.random.between(1, waiting) };
        let pipe = self.side(shard).pipes.get_mut(&conn).expect("it was just there");
        let (link, bytes) = (pipe.link, pipe.downward.drain(..count).collect::<Vec<u8>>());
        self.with_exchange(shard, |exchange, moment, tell| {
            exchange.handle_bytes(link, conn, &bytes, moment, tell);
        });
        true
    }

    /// A backend dies, with all that it was asked.
    fn die(&mut self, shard: usize, conn: ConnId) {
        let Some(pipe) = self.side(shard).pipes.remove(&conn) else { return };
        self.oracle.count("backend died");
        self.with_exchange(shard, |exchange, moment, tell| {
            exchange.handle_over(pipe.link, conn, moment, tell);
        });
    }
}
