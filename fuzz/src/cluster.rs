//! What crosses between two nodes of a cluster: an owner with a paper market, and a node that follows it, each with a shard and a client.
//!
//! Property: whatever requests, answers and messages come, nothing panics, at either node, in the follower's shard or in the owner's desk, office and topics;
//! what is read is written to the same bytes. Once all that comes is whole again, and a loss has made the node ask for the state, both nodes have the same market;
//! or the node knows other instruments by these numbers, from a message that was changed on its way, and follows nobody.
//!
//! Input: an odd first byte has the rest be one request, one answer and one word about kept results. Else it is a script: a byte of what happens and one of how, in turns.

use std::collections::VecDeque;
use std::sync::Arc;

use tickring::auth::{Credential, Key, Login, Patterns, Reach, Scopes, Secret, Verdict};
use tickring::backend::paper::{Paper, PaperConfig};
use tickring::cluster::follower::{Follower, Trouble};
use tickring::cluster::names::{ClusterName, Fence, Place};
use tickring::cluster::notices::Notice;
use tickring::cluster::owner::Owner;
use tickring::cluster::requests::{Reply, Request};
use tickring::desk::DeskConfig;
use tickring::hub::market::{MarketHome, Trading};
use tickring::hub::resetting::Resetting;
use tickring::hub::{Arrival, Hub, HubConfig, LoginQuestion};
use tickring::model::ids::{ConnId, HomeId, HomeSet, SourceId};
use tickring::model::market::{FeedBuffer, InstrumentState};
use tickring::model::message::Name;
use tickring::model::order::AccountId;
use tickring::model::time::Now;

const START: Now = Now { mono_ns: 1_000_000_000, unix_ns: 1_790_000_000_000_000_000 };
const SHARD: HomeId = HomeId(0);
const MARKET: HomeId = HomeId(1);
const BRIDGE: HomeId = HomeId(2);
const FENCE: Fence = Fence(7);
const STEPS_MAX: usize = 400;
/// Twice as long as a node waits for its owner before it greets anew.
const HEALING_MS: u64 = 20_000;
const MILLISECOND_NS: u64 = 1_000_000;
const SCOPES: &str = "trade:read_write message:read_write account:read_write";

/// What a client asks for.
const TEXTS: [&str; 12] = [
    r#"{"jsonrpc":"2.0","id":1,"method":"public/auth","params":{"grant_type":"client_credentials","client_id":"a","client_secret":"b"}}"#,
    r#"{"jsonrpc":"2.0","id":2,"method":"public/subscribe","params":{"channels":["book.*.raw","trades.*.raw"]}}"#,
    r#"{"jsonrpc":"2.0","id":3,"method":"public/subscribe","params":{"channels":["ticker.BTC-PERPETUAL.100ms","topic.a"]}}"#,
    r#"{"jsonrpc":"2.0","id":4,"method":"public/unsubscribe","params":{"channels":["book.*.raw"]}}"#,
    r#"{"jsonrpc":"2.0","id":5,"method":"topic/publish","params":{"topic":"a","data":{"n":1}}}"#,
    r#"{"jsonrpc":"2.0","id":6,"method":"private/buy","params":{"instrument_name":"BTC-PERPETUAL","amount":10,"type":"limit","price":1000}}"#,
    r#"{"jsonrpc":"2.0","id":7,"method":"private/sell","params":{"instrument_name":"BTC-PERPETUAL","amount":10,"type":"market"}}"#,
    r#"{"jsonrpc":"2.0","id":8,"method":"private/cancel_all","params":{}}"#,
    r#"{"jsonrpc":"2.0","id":9,"method":"private/subscribe","params":{"channels":["user.orders.any.any.raw","user.trades.any.any.raw"]}}"#,
    r#"{"jsonrpc":"2.0","id":10,"method":"message/send","params":{"user":"account1","content":{"n":1}}}"#,
    r#"{"jsonrpc":"2.0","id":11,"method":"message/subscribe","params":{}}"#,
    r#"{"jsonrpc":"2.0","id":12,"method":"private/get_positions","params":{}}"#,
];

/// See the file's head.
///
/// # Panics
/// Where the property does not hold.
pub fn check(input: &[u8]) {
    let Some((choice, rest)) = input.split_first() else { return };
    if choice & 1 == 1 {
        return check_bytes(rest);
    }
    let mut world = World::new();
    let mut choices = rest.iter().copied();
    for _ in 0..STEPS_MAX {
        let Some(choice) = choices.next() else { break };
        world.act(choice, choices.next().unwrap_or_default());
    }
    world.heal();
    world.judge();
}

fn check_bytes(bytes: &[u8]) {
    if let Ok(request) = Request::decode(bytes) {
        assert_eq!(request.encode(), bytes, "a request is written as it was read");
    }
    if let Ok(reply) = Reply::decode(bytes) {
        assert_eq!(reply.encode(), bytes, "an answer is written as it was read");
    }
    if let Ok(notice) = Notice::decode(bytes) {
        assert_eq!(notice.encode(), bytes, "a word about kept results is written as it was read");
    }
}

/// What crosses, in one direction.
#[derive(Default)]
struct Wire {
    waiting: VecDeque<Vec<u8>>,
    /// Bytes were changed on their way, or made up.
    is_false: bool,
}

impl Wire {
    /// Has something happen to what waits first.
    fn fail(&mut self, how: u8) {
        let count = self.waiting.len();
        match how % 4 {
            0 => _ = self.waiting.pop_front(),
            1 => {
                let first = self.waiting.front().cloned();
                self.waiting.extend(first);
            }
            2 if count > 1 => self.waiting.swap(0, usize::from(how) % count),
            _ => {}
        }
    }

    /// Changes a byte, or cuts the rest off.
    fn falsify(&mut self, how: u8) {
        let Some(first) = self.waiting.front_mut().filter(|bytes| !bytes.is_empty()) else { return };
        self.is_false = true;
        let at = usize::from(how) * first.len() / 256;
        match how % 5 {
            0 => first.truncate(at),
            1 => first[at] = 0,
            2 => first[at] = 255,
            3 => first[at] ^= 1,
            _ => first[at] = first[at].wrapping_add(how),
        }
    }
}

struct World {
    now: Now,
    hubs: [Hub; 2],
    market: MarketHome,
    paper: Paper,
    owner: Owner,
    follower: Follower,
    subscribed: Option<Place>,
    /// A client at each node.
    conns: [ConnId; 2],
    generation: u32,
    requests: Wire,
    replies: Wire,
    parts: Wire,
    has_other_instruments: bool,
}

impl World {
    fn new() -> World {
        let config = HubConfig { topics_at_market: true, ..HubConfig::default() };
        let hub = || Hub::new(SHARD, 1, config.clone(), START);
        let mut market = MarketHome::new(MARKET, 1, config.history, START);
        market.set_desk(DeskConfig::default(), Trading::Open, START);
        market.add_replica(BRIDGE);
        market.handle_room(BRIDGE);
        let mut shards = HomeSet::EMPTY;
        shards.insert(SHARD);
        let name = ClusterName::parse(b"b").expect("a name");
        let none = ConnId { slot: 0, generation: 0 };
        let mut world = World {
            now: START,
            hubs: [hub(), hub()],
            paper: Paper::new(PaperConfig { seed: 1, instruments: 3, events_per_s: 1_000 }),
            owner: Owner::new(BRIDGE, MARKET, FENCE, START),
            follower: Follower::new(name, 1, MARKET, shards, Resetting::default()),
            subscribed: None,
            conns: [none; 2],
            generation: 0,
            requests: Wire::default(),
            replies: Wire::default(),
            parts: Wire::default(),
            has_other_instruments: false,
            market,
        };
        (0..2).for_each(|node| world.connect(node));
        world.follower.handle_owner(FENCE);
        (0..8).for_each(|_| world.pass(100));
        world
    }

    fn act(&mut self, choice: u8, how: u8) {
        match choice % 16 {
            0..=3 => self.pass(u64::from(how)),
            4 => self.pass(20 * u64::from(how)),
            5 => self.parts.fail(how),
            6 => self.requests.fail(how),
            7 => self.replies.fail(how),
            8 => self.parts.falsify(how),
            9 => self.requests.falsify(how),
            10 => self.replies.falsify(how),
            11 => self.connect(usize::from(how) % 2),
            12 => {
                let conn = self.conns[usize::from(how) % 2];
                self.hubs[usize::from(how) % 2].handle_closed(conn, self.now);
            }
            13 => self.turn_without_crossing(),
            _ => self.ask(usize::from(choice) / 16 % 2, TEXTS[usize::from(how) % TEXTS.len()]),
        }
    }

    /// Another client in place of the one before.
    fn connect(&mut self, node: usize) {
        let (hub, now) = (&mut self.hubs[node], self.now);
        if self.generation >= 2 {
            hub.handle_closed(self.conns[node], now);
        }
        self.generation += 1;
        let conn = ConnId { slot: self.generation % 8, generation: self.generation };
        hub.handle_open(conn, Arrival::FIRST, now);
        let head = "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        hub.handle_bytes(conn, &mut head.as_bytes().to_vec(), now);
        self.conns[node] = conn;
    }

    fn ask(&mut self, node: usize, text: &str) {
        let len = u8::try_from(text.len()).expect("the texts are short");
        let mut frame = vec![0x81, 0x80 | 126, 0, len, 0, 0, 0, 0];
        if len < 126 {
            frame.splice(1..4, [0x80 | len]);
        }
        frame.extend_from_slice(text.as_bytes());
        self.hubs[node].handle_bytes(self.conns[node], &mut frame, self.now);
    }

    /// Time goes on, and all that waits arrives.
    fn pass(&mut self, ms: u64) {
        self.now = self.now.plus_ns(ms * MILLISECOND_NS);
        self.turn_without_crossing();
        while self.cross() {
            self.turn_without_crossing();
        }
    }

    /// What each node does by itself.
    fn turn_without_crossing(&mut self) {
        let mut buffer = FeedBuffer::default();
        self.paper.poll(self.now, &mut buffer, 256);
        self.market.handle_feed(SourceId::FEED, &buffer, self.now);
        self.market.handle_timeout(self.now);
        self.owner.handle_timeout(self.now);
        let timed_out = self.follower.handle_timeout(self.now);
        self.note(timed_out);
        for node in 0..2 {
            self.hubs[node].handle_timeout(self.now);
        }
        while self.turn_of_owner() || self.turn_of_follower() {}
        for (hub, conn) in self.hubs.iter_mut().zip(self.conns) {
            let mut out = [0; 4096];
            while hub.poll_transmit(conn, &mut out) > 0 {
                hub.handle_sent(conn, self.now);
            }
        }
    }

    fn turn_of_owner(&mut self) -> bool {
        let mut any = self.execute();
        judge_login(&mut self.hubs[0], 1, self.now);
        self.market.seal();
        while let Some(outgoing) = self.market.poll_mesh() {
            any = true;
            for to in outgoing.to.iter() {
                if to == BRIDGE {
                    self.owner.handle_batch(&outgoing.batch);
                } else if self.owner.is_of_node(to) {
                    self.owner.handle_words(to, &outgoing.batch);
                } else {
                    self.hubs[0].handle_batch(MARKET, &outgoing.batch, self.now);
                }
            }
        }
        self.hubs[0].seal(self.now);
        while let Some(outgoing) = self.hubs[0].poll_mesh() {
            any = true;
            self.market.handle_batch(SHARD, &outgoing.batch, self.now);
        }
        while let Some((from, commands)) = self.owner.poll_commands() {
            any = true;
            self.market.handle_batch(from, &commands, self.now);
        }
        while let Some(part) = self.owner.poll_part() {
            if self.subscribed.is_some_and(|place| part.audience.contains(place)) {
                self.parts.waiting.push_back(part.bytes);
            }
        }
        any
    }

    fn turn_of_follower(&mut self) -> bool {
        let mut any = false;
        judge_login(&mut self.hubs[1], 2, self.now);
        while let Some(outgoing) = self.follower.poll_mesh() {
            any = true;
            self.hubs[1].handle_batch(MARKET, &outgoing.batch, self.now);
        }
        self.hubs[1].seal(self.now);
        while let Some(outgoing) = self.hubs[1].poll_mesh() {
            any = true;
            for record in &outgoing.batch.records {
                self.follower.handle_record(SHARD, &outgoing.batch, record, name_of);
            }
        }
        while let Some(request) = self.follower.poll_request(self.now) {
            self.requests.waiting.push_back(request);
        }
        any
    }

    /// Has the paper venue do what the desk asks for; whether it was anything.
    fn execute(&mut self) -> bool {
        let mut any = false;
        while let Some(routed) = self.market.poll_request(self.now) {
            any = true;
            let mut buffer = FeedBuffer::default();
            self.paper.handle_request(routed.instrument, &routed.request, self.now, &mut buffer);
            self.market.handle_feed(SourceId::FEED, &buffer, self.now);
        }
        any
    }

    /// One message each way; whether there was any.
    fn cross(&mut self) -> bool {
        let mut any = false;
        if let Some(request) = self.requests.waiting.pop_front() {
            any = true;
            if let Ok(reply) = self.owner.handle_request(&request, number_of, self.now) {
                self.replies.waiting.push_back(reply.encode());
            }
        }
        if let Some(reply) = self.replies.waiting.pop_front() {
            any = true;
            let heard = self.follower.handle_reply(&reply);
            self.note(heard);
        }
        if self.subscribed != self.follower.place() {
            any = true;
            self.subscribed = self.follower.place();
            self.follower.handle_subscribed(self.now);
        }
        if let Some(part) = self.parts.waiting.pop_front() {
            any = true;
            let heard = self.follower.handle_part(&part, self.now);
            self.note(heard);
        }
        any
    }

    fn note(&mut self, heard: Result<(), Trouble>) {
        self.has_other_instruments |= heard == Err(Trouble::OtherInstruments);
    }

    /// Nothing is changed any more; of what the owner says next one message is lost, so that the node asks for the state.
    fn heal(&mut self) {
        self.pass(HEALING_MS);
        for _ in 0..HEALING_MS / 500 {
            self.pass(500);
        }
        self.now = self.now.plus_ns(5 * MILLISECOND_NS);
        self.turn_without_crossing();
        self.parts.waiting.clear();
        for _ in 0..HEALING_MS / 500 {
            self.pass(500);
        }
    }

    fn judge(&self) {
        let was_falsified = self.parts.is_false || self.requests.is_false || self.replies.is_false;
        if self.has_other_instruments {
            assert!(was_falsified, "an owner tells what its instruments are");
            return;
        }
        assert!(self.follower.is_told(), "the node follows again");
        let here = self.market.instruments().iter();
        let there: Vec<&InstrumentState> =
            self.follower.replica().instruments().map(|(_, state)| state).collect();
        assert_eq!(here.len(), there.len(), "the same instruments");
        for (here, there) in here.zip(there) {
            assert_eq!(here.definition.name, there.definition.name);
            assert_eq!(here.change_id, there.change_id, "{:?}", here.definition.name);
            let levels = |state: &InstrumentState| format!("{:?}", state.book);
            assert_eq!(levels(here), levels(there), "{:?}", here.definition.name);
        }
    }
}

/// Lets whoever logs in be that account, as each node numbers it.
fn judge_login(hub: &mut Hub, account: u32, now: Now) {
    while let Some(question) = hub.poll_question() {
        let LoginQuestion::Judge { ticket, .. } = question else { continue };
        let scopes = Scopes::parse(SCOPES.split_whitespace()).expect("scopes");
        let credential = Credential {
            client_id: "key".into(),
            account: "account1".into(),
            name: "".into(),
            key: Key::Secret(Secret::new(b"secret")),
            scopes,
            subscribe: Patterns::new([] as [&str; 0]),
            publish: Patterns::new([] as [&str; 0]),
            call: Patterns::ANY,
            created_unix_ms: 0,
            expires_unix_ms: None,
            reach: Reach::Anywhere,
        };
        let login = Login {
            credential: Arc::new(credential),
            account: AccountId(account),
            scopes,
            session: None,
            grant: None,
            expires_unix_ms: u64::MAX,
        };
        hub.handle_verdict(ticket, Verdict::Granted { login: Box::new(login), tokens: None }, now);
    }
}

fn name_of(_: AccountId) -> Name {
    Name::parse("account1").expect("a name")
}

/// The owner has a number for each account that a message may name, changed ones too, up to a bound.
fn number_of(name: &str) -> Option<AccountId> {
    match name {
        "account1" => Some(AccountId(1)),
        _ => name.bytes().last().map(|byte| AccountId(10 + u32::from(byte % 16))).filter(|id| id.0 < 20),
    }
}

#[cfg(test)]
mod tests {
    use tickring::dialect::json_rpc::{self, Incoming};

    use super::TEXTS;

    /// One that is refused for its form asks nobody for anything.
    #[test]
    fn what_clients_ask_for_is_understood() {
        for text in TEXTS {
            assert!(u8::try_from(text.len()).is_ok(), "the frame has a byte for it: {text}");
            let Incoming::Single(parsed) = json_rpc::decode(text.as_bytes()) else { panic!("{text}") };
            assert!(parsed.call.is_ok(), "{text}: {:?}", parsed.call);
        }
    }
}
