//! A client that calls methods of backends: what it has asked, and what it may be told of it. PURE. A verdict is a panic.
//!
//! Each request has one reply and no other, which says what its own call came to; how far a call has come is told while it is open; what is
//! said not to have been sent reaches no backend, before or after.

use std::collections::BTreeMap;

use super::backends::Seen;
use super::client::{push_frame, push_text};
use super::json::{Json, Value};
use super::oracle::Oracle;
use super::world::World;

/// Bytes that a client leaves unsent; a client that is not read waits.
const UPWARD_BYTES_MAX: usize = 64 * 1024;
/// What the results of `two/get_…` are kept by.
const KEYS: usize = 4;

/// Methods, and whether a call of it may be done twice.
pub(super) const METHODS: [(&str, bool); 4] =
    [("one/do", false), ("two/do", false), ("two/again", true), ("two/get_value", true)];

/// A request that has no reply yet.
#[derive(Clone, Debug)]
enum Asked {
    Call {
        method: &'static str,
        params: String,
        serial: u64,
        is_cancelled: bool,
    },
    Cancel,
    /// Of a method that nobody has.
    Nothing,
}

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Caller {
    asked: BTreeMap<u64, Asked>,
    next_id: u64,
}

impl Caller {
    /// Its connection is gone, and the replies with it.
    pub(super) fn lose(&mut self) {
        self.asked.clear();
    }

    /// # Panics
    /// Where a reply is still owed.
    pub(super) fn judge_rest(&self) {
        assert!(self.asked.is_empty(), "a caller waits for {:?}", self.asked);
    }

    fn id(&mut self, asked: Asked) -> u64 {
        self.next_id += 1;
        self.asked.insert(self.next_id, asked);
        self.next_id
    }

    /// A call's text; `draw` is any number.
    fn call(&mut self, draw: usize, serial: u64) -> String {
        let (method, _) = METHODS[draw % METHODS.len()];
        let params = if method.contains("get_") {
            format!(r#"{{"key":{}}}"#, draw / METHODS.len() % KEYS)
        } else {
            format!(r#"{{"serial":{serial}}}"#)
        };
        let id = self.id(Asked::Call { method, params: params.clone(), serial, is_cancelled: false });
        format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#)
    }

    /// The text that cancels a request that is open, if there is one, or one that is not; `draw` is any number.
    fn cancel(&mut self, draw: usize) -> String {
        let open = self.asked.len();
        let at = (open > 0).then(|| draw % open).and_then(|nth| self.asked.iter_mut().nth(nth));
        let of = match at {
            Some((id, asked)) => {
                if let Asked::Call { is_cancelled, .. } = asked {
                    *is_cancelled = true;
                }
                *id
            }
            None => 0,
        };
        let own = if draw.is_multiple_of(2) {
            String::new()
        } else {
            format!(r#""id":{},"#, self.id(Asked::Cancel))
        };
        format!(r#"{{"jsonrpc":"2.0",{own}"method":"$/cancelRequest","params":{{"id":{of}}}}}"#)
    }

    /// It was told a text.
    ///
    /// # Panics
    /// Where that is nothing that it may be told.
    fn hear(&mut self, text: &str, seen: &mut Seen, oracle: &mut Oracle) {
        let json = Json::parse(text).unwrap_or_else(|fault| panic!("{fault}"));
        if let Value::Array(replies) = &json.value {
            assert!(!replies.is_empty(), "an empty batch of replies");
            oracle.count("batch reply");
            replies.iter().for_each(|reply| self.take_reply(reply, seen, oracle));
        } else if json.member("method").is_some() {
            assert_eq!(json.at("method").text(), Some("$/progress"), "{text}");
            let params = json.at("params");
            let of = self.asked.get(&params.at("token").whole());
            let Some(Asked::Call { params: own, .. }) = of else { panic!("no call is open for {text}") };
            assert_eq!(params.at("value").at("of").raw, own, "how far another call is: {text}");
            oracle.count("progress");
        } else {
            self.take_reply(&json, seen, oracle);
        }
    }

    fn take_reply(&mut self, reply: &Json<'_>, seen: &mut Seen, oracle: &mut Oracle) {
        let asked = self.asked.remove(&reply.at("id").whole());
        let Some(asked) = asked else { panic!("no request is open for {}", reply.raw) };
        let code = reply.member("error").map(|error| error.at("code").raw);
        match asked {
            Asked::Call { method, params, serial, is_cancelled } => match code {
                None => {
                    let result = reply.at("result");
                    assert_eq!(result.at("method").text(), Some(method), "{}", reply.raw);
                    assert_eq!(result.at("of").raw, params, "a result of another call: {}", reply.raw);
                    oracle.count("result");
                }
                Some("-7") => {
                    let data = reply.at("error").at("data");
                    assert_eq!(data.raw, params, "an error of another call: {}", reply.raw);
                    oracle.count("error of a backend");
                }
                Some("-32800") => {
                    assert!(is_cancelled, "nobody has cancelled it: {}", reply.raw);
                    oracle.count("cancelled");
                }
                Some(code @ ("13028" | "10040")) => {
                    seen.note_unsent(serial);
                    oracle.count(if code == "13028" { "not available" } else { "busy" });
                }
                Some("20003") => oracle.count("timed out"),
                Some("20004") => oracle.count("lost"),
                Some("20005") => oracle.count("garbled"),
                Some("20006") => oracle.count("too long"),
                Some(other) => panic!("{other}: {}", reply.raw),
            },
            Asked::Cancel => {
                let was_waiting = reply.at("result").raw;
                assert!(matches!(was_waiting, "true" | "false"), "{}", reply.raw);
            }
            Asked::Nothing => assert_eq!(code, Some("-32601"), "{}", reply.raw),
        }
    }
}

impl World {
    /// A client does something.
    pub(super) fn act_caller(&mut self) {
        let client = self.random.below(self.clients.len());
        let Some(link) = self.clients[client].link else {
            let shard = self.random.below(self.shards.len());
            return self.open_link(client, shard);
        };
        if !self.clients[client].open || self.clients[client].closing || self.links[link].client_ended {
            if self.random.chance(3) {
                self.links[link].cut = true;
            }
            return;
        }
        if self.links[link].upward.len() > UPWARD_BYTES_MAX {
            return;
        }
        let mut out = Vec::new();
        match self.random.below(100) {
            0..50 => {
                let text = self.call_text(client);
                push_text(&mut out, &text, &mut self.random);
            }
            50..65 => {
                let texts: Vec<String> =
                    (0..self.random.between(1, 5)).map(|_| self.call_or_cancel_text(client)).collect();
                push_text(&mut out, &format!("[{}]", texts.join(",")), &mut self.random);
            }
            65..80 => {
                let draw = self.random.below(256);
                let text = self.caller(client).cancel(draw);
                push_text(&mut out, &text, &mut self.random);
            }
            80..84 => {
                let note = r#"{"jsonrpc":"2.0","method":"one/note","params":[]}"#;
                push_text(&mut out, note, &mut self.random);
            }
            84..87 => {
                let id = self.caller(client).id(Asked::Nothing);
                let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"none/do"}}"#);
                push_text(&mut out, &text, &mut self.random);
            }
            87..92 => self.links[link].stalled ^= true,
            _ => self.leave_caller(client, link, &mut out),
        }
        if !self.links[link].vanished {
            self.links[link].upward.extend(out);
        }
    }

    fn leave_caller(&mut self, client: usize, link: usize, out: &mut Vec<u8>) {
        match self.random.below(20) {
            0..2 => self.links[link].cut = true,
            2 => {
                self.clients[client].closing = true;
                self.links[link].client_ended = true;
            }
            3 => {
                self.clients[client].closing = true;
                // The earliest: it has yet to be received.
                self.begin_ending(link);
                push_frame(out, 0x88, &1000_u16.to_be_bytes(), &mut self.random);
            }
            4 => self.vanish(client),
            _ => {}
        }
    }

    fn call_text(&mut self, client: usize) -> String {
        let (draw, serial) = (self.random.below(256), self.backends().next_serial());
        self.caller(client).call(draw, serial)
    }

    fn call_or_cancel_text(&mut self, client: usize) -> String {
        if self.random.chance(70) {
            return self.call_text(client);
        }
        let draw = self.random.below(256);
        self.caller(client).cancel(draw)
    }

    fn caller(&mut self, client: usize) -> &mut Caller {
        self.clients[client].caller.as_deref_mut().expect("it is a world of callers")
    }

    /// A client that calls was told a text.
    pub(super) fn hear_caller(&mut self, client: usize, text: &str) {
        let World { clients, backends, oracle, .. } = self;
        let backends = backends.as_deref_mut().expect("it is a world of callers");
        let caller = clients[client].caller.as_deref_mut().expect("it is a world of callers");
        // Who closes may still be told what it has asked for.
        caller.hear(text, &mut backends.seen, oracle);
    }
}
