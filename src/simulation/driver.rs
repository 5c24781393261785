//! What a shard's loop and the network do around a hub: connections are opened, bytes move in parts, sends end late, and
//! the hub's contract is kept. PURE.

use crate::hub::{Arrival, Effect, Ending, Hub, Urgency};
use crate::limits;
use crate::model::ids::ConnId;

use super::client::{Standing, Told, UPGRADE, UPGRADE_TO_SBE, push_frame};
use super::network::Link;
use super::world::{SEND_BYTES_MAX, World};

/// No frame of the workload is longer.
const FRAME_BYTES_MAX: usize = 8 * 1024;
/// The longest pong.
const PONG_BYTES: usize = 127;

impl World {
    // The shards' driver.

    pub(super) fn with_hub(&mut self, shard: usize, act: impl FnOnce(&mut Hub)) {
        act(&mut self.shards[shard].hub);
        self.shards[shard].turn_open = true;
        self.take_effects(shard);
        self.check_bounds(shard);
    }

    pub(super) fn take_effects(&mut self, shard: usize) {
        while let Some(effect) = self.shards[shard].hub.poll_effect() {
            match effect {
                Effect::Disconnect { conn, ending } => {
                    let Some(link) = self.link_of(shard, conn) else { continue };
                    self.judge_ending(link, ending);
                    match ending {
                        Ending::Graceful => self.links[link].server_ended = true,
                        Ending::Abort => {
                            self.oracle.count("aborted");
                            self.links[link].aborted = true;
                            self.close_link(link);
                        }
                    }
                }
                Effect::PauseReading { conn } => self.pause(shard, conn, true),
                Effect::ResumeReading { conn } => self.pause(shard, conn, false),
                Effect::Name { .. } => unreachable!("its clients come through no proxy"),
                Effect::Report { conn, incident } => {
                    self.oracle.count(incident.label());
                    let link = self.link_of(shard, conn).expect("a report is of a connection that is open");
                    self.note_incident(link, incident);
                }
            }
        }
    }

    fn pause(&mut self, shard: usize, conn: ConnId, paused: bool) {
        if let Some(link) = self.link_of(shard, conn) {
            self.links[link].reading_paused = paused;
        }
    }

    pub(super) fn link_of(&self, shard: usize, conn: ConnId) -> Option<usize> {
        let link = (*self.shards[shard].slots.get(conn.slot as usize)?)?;
        (self.links[link].conn == conn).then_some(link)
    }

    /// What waits for each connection stays within its bounds, lane by lane, and so in all.
    fn check_bounds(&mut self, shard: usize) {
        let mut pongs_full = false;
        for link in self.shards[shard].slots.iter().flatten() {
            let link = &self.links[*link];
            let hub = &self.shards[shard].hub;
            let waiting = hub.waiting_bytes(link.conn);
            let queued_max =
                self.options.queued_bytes_max as usize + hub.resumed_bytes(link.conn) + FRAME_BYTES_MAX;
            assert!(waiting.queued <= queued_max, "{:?}: {waiting:?}, but {queued_max}", link.conn);
            assert!(waiting.pongs <= limits::PONG_BYTES_MAX, "{:?}: {waiting:?}", link.conn);
            assert!(waiting.replies <= limits::REPLY_BYTES_MAX, "{:?}: {waiting:?}", link.conn);
            // One frame: the longest is a batch's reply.
            assert!(waiting.begun <= limits::REPLY_BYTES_MAX, "{:?}: {waiting:?}", link.conn);
            // What keeps the replies far below their bound: who leaves them unread is not read.
            let is_read = !link.reading_paused;
            assert!(
                waiting.replies <= limits::REPLY_BYTES_PAUSE || !is_read,
                "{:?} is read: {waiting:?}",
                link.conn
            );
            pongs_full |= waiting.pongs + PONG_BYTES >= limits::PONG_BYTES_MAX;
        }
        if pongs_full {
            self.oracle.count("pongs at their bound");
        }
    }

    /// Hands out the next bytes of at most `count` connections that are ready; whether there were any.
    pub(super) fn flush(&mut self, shard: usize, count: usize) -> bool {
        let mut flushed = false;
        for _ in 0..count {
            let urgency = if self.random.chance(30) { Urgency::Reply } else { Urgency::Any };
            let Some(conn) = self.shards[shard].hub.poll_ready(urgency) else { continue };
            let Some(link) = self.link_of(shard, conn) else { panic!("{conn:?} is ready and not open") };
            if self.links[link].server_ended {
                continue;
            }
            assert!(self.links[link].sending.is_empty() && !self.links[link].sent_due, "one send at a time");
            let room = if self.resting { SEND_BYTES_MAX } else { self.options.send_bytes_max };
            let room = self.random.between(128, room);
            let written = self.shards[shard].hub.poll_transmit(conn, &mut self.send_buffer[..room]);
            self.links[link].sending.extend(&self.send_buffer[..written]);
            self.take_effects(shard);
            flushed = true;
        }
        flushed
    }

    pub(super) fn open_link(&mut self, client: usize, shard: usize) {
        let place = &mut self.shards[shard];
        place.generation += 1;
        let free = place.slots.iter().position(Option::is_none);
        let slot = free.unwrap_or_else(|| {
            place.slots.push(None);
            place.slots.len() - 1
        });
        let link = self.links.len();
        place.slots[slot] = Some(link);
        let slot = u32::try_from(slot).expect("few slots");
        let conn = ConnId { slot, generation: place.generation };
        let mut entry = Link::new(shard, conn, client, self.options.room_bytes, self.now.mono_ns);
        if self.clients[client].hostile.is_some() {
            entry.upward.extend(super::hostile::greeting(&mut self.random, self.clients[client].reads_sbe));
        } else {
            entry.upward.extend(if self.clients[client].reads_sbe { UPGRADE_TO_SBE } else { UPGRADE });
        }
        self.links.push(entry);
        self.clients[client].begin(link);
        self.clients[client].deaf = self.random.chance(8);
        let now = self.now;
        self.with_hub(shard, |hub| hub.handle_open(conn, Arrival::FIRST, now));
    }

    fn close_link(&mut self, link: usize) {
        if self.links[link].closed {
            return;
        }
        let (shard, conn, now) = (self.links[link].shard, self.links[link].conn, self.now);
        self.links[link].closed = true;
        self.links[link].sending.clear();
        self.shards[shard].slots[conn.slot as usize] = None;
        self.with_hub(shard, |hub| hub.handle_closed(conn, now));
    }

    // The network.

    pub(super) fn progress_link(&mut self) {
        let alive: Vec<usize> = (0..self.links.len()).filter(|link| self.is_live(*link)).collect();
        if alive.is_empty() {
            return;
        }
        let link = *self.random.pick(&alive);
        match self.random.below(4) {
            0 => _ = self.receive(link),
            1 => _ = self.write(link),
            2 => _ = self.read(link),
            _ => {
                self.receive(link);
                self.write(link);
                self.read(link);
            }
        }
    }

    pub(super) fn is_live(&self, link: usize) -> bool {
        let link = &self.links[link];
        !link.closed || link.client.is_some()
    }

    fn some_of(&mut self, count: usize) -> usize {
        if self.random.chance(60) { count } else { self.random.below(count + 1) }
    }

    /// Bytes of a client, its end or its loss reach the shard; whether anything did.
    pub(super) fn receive(&mut self, link: usize) -> bool {
        let entry = &self.links[link];
        if entry.closed || entry.vanished {
            return false;
        }
        let (shard, conn, now) = (entry.shard, entry.conn, self.now);
        if entry.cut {
            self.close_link(link);
            return true;
        }
        if !entry.upward.is_empty() && !entry.reading_paused {
            let count = self.links[link].upward.len();
            let count = self.some_of(count);
            let mut bytes = self.links[link].receive(count);
            if !bytes.is_empty() {
                self.hear_hostile(link, &bytes);
                self.with_hub(shard, |hub| hub.handle_bytes(conn, &mut bytes, now));
            }
            return true;
        }
        let ended = entry.client_ended && entry.upward.is_empty();
        if ended && !entry.end_told && (!entry.server_ended || self.random.chance(50)) {
            self.links[link].end_told = true;
            self.begin_ending(link);
            self.with_hub(shard, |hub| hub.handle_eof(conn, now));
            return true;
        }
        let entry = &self.links[link];
        if ended && entry.server_ended && entry.sending.is_empty() {
            self.close_link(link);
            return true;
        }
        false
    }

    /// What a hostile client may be told follows from what is received of it.
    fn hear_hostile(&mut self, link: usize, bytes: &[u8]) {
        let Some(client) = self.links[link].client else { return };
        let Some(hostile) = &mut self.clients[client].hostile else { return };
        hostile.received(bytes, &mut self.oracle.reference);
        if hostile.is_over() {
            self.begin_ending(link);
        }
    }

    /// The socket takes bytes of the send under way, or the hub hears that it is through.
    pub(super) fn write(&mut self, link: usize) -> bool {
        let entry = &mut self.links[link];
        if entry.closed {
            return false;
        }
        let waiting = entry.sending.len();
        let count = self.some_of(waiting);
        let entry = &mut self.links[link];
        let written = entry.write(count);
        if written > 0 && self.random.chance(50) {
            return true;
        }
        let entry = &mut self.links[link];
        if std::mem::take(&mut entry.sent_due) {
            let (shard, conn, now) = (entry.shard, entry.conn, self.now);
            self.with_hub(shard, |hub| hub.handle_sent(conn, now));
            return true;
        }
        if entry.vanished { written > 0 } else { waiting > 0 }
    }

    /// The client reads.
    pub(super) fn read(&mut self, link: usize) -> bool {
        let entry = &self.links[link];
        let Some(client) = entry.client else { return false };
        if entry.stalled {
            return false;
        }
        if entry.is_ended() || entry.cut {
            self.judge_left(client, link);
            self.leave(client);
            return true;
        }
        let waiting = entry.downward.len();
        let count = self.some_of(waiting);
        let bytes = self.links[link].read(count);
        if bytes.is_empty() {
            return waiting > 0;
        }
        for told in self.clients[client].take(&bytes) {
            self.tell(client, link, told);
        }
        true
    }

    fn tell(&mut self, client: usize, link: usize, told: Told) {
        let mut out = Vec::new();
        match told {
            Told::Text(text) if let Some(hostile) = &mut self.clients[client].hostile => {
                hostile.judge(&text, &mut self.oracle);
            }
            Told::Text(text) if self.clients[client].trader.is_some() => {
                self.hear_trader(client, &text, &mut out);
            }
            Told::Text(text) if self.clients[client].caller.is_some() => self.hear_caller(client, &text),
            Told::Text(text) => {
                self.oracle.judge_text(&mut self.clients[client], &text);
                if text.contains("test_request") {
                    super::workload::answer_heartbeat(self, client, &mut out);
                }
            }
            Told::Binary(message) if let Some(hostile) = &mut self.clients[client].hostile => {
                hostile.judge_binary(&message, &mut self.oracle);
            }
            Told::Binary(message) if self.clients[client].trader.is_some() => {
                self.hear_trader_in_sbe(client, &message);
            }
            Told::Binary(message) => {
                if self.oracle.judge_binary(&mut self.clients[client], &message) {
                    super::workload::answer_heartbeat(self, client, &mut out);
                }
            }
            Told::Ping(payload) if !self.clients[client].deaf => {
                push_frame(&mut out, 0x8a, &payload, &mut self.random);
            }
            Told::Ping(_) => {}
            Told::Pong(_) => self.oracle.count("pong"),
            Told::Close(code, reason) => self.judge_close(client, link, (code, &reason), &mut out),
            Told::Refused(status) => self.judge_refusal(client, link, status),
        }
        let entry = &mut self.links[link];
        if !entry.client_ended {
            entry.upward.extend(out);
        }
    }

    /// The client is gone without a word: the shard has to find out by itself.
    pub(super) fn vanish(&mut self, client: usize) {
        if let Some(link) = self.clients[client].link {
            self.links[link].client = None;
            self.links[link].vanished = true;
            self.links[link].upward.clear();
            self.clients[client].lose();
            self.oracle.count("vanished");
        }
    }

    /// The client is done with its connection.
    pub(super) fn leave(&mut self, client: usize) {
        if let Some(link) = self.clients[client].link {
            self.links[link].client = None;
            self.links[link].client_ended = true;
            self.links[link].downward.clear();
            self.clients[client].lose();
        }
    }

    /// Channels that were unsubscribed and of which nothing can come any more.
    pub(super) fn forget_drained(&mut self) {
        for client in 0..self.clients.len() {
            let Some(link) = self.clients[client].link else { continue };
            let link = &self.links[link];
            let quiet = link.downward_bytes() == 0
                && !link.sent_due
                && self.shards[link.shard].hub.pending_bytes(link.conn) == 0
                && self.shards[link.shard].hub.queued_bytes(link.conn) == 0
                && self.clients[client].requests.is_empty();
            if quiet {
                let client = &mut self.clients[client];
                client.subscriptions.retain(|_, subscription| subscription.standing != Standing::Draining);
                client.patterns.retain(|_, pattern| pattern.standing != Standing::Draining);
            }
        }
    }
}
