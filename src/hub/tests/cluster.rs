//! Nodes with one market, without NATS: an owner's bridge and followers' carried by hand, with real hubs at each end.

mod messages;
mod topics;
mod trading;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::private::login;
use super::*;
use crate::auth::Verdict;
use crate::cluster::assembly::Loss;
use crate::cluster::follower::{Follower, Trouble};
use crate::cluster::names::{ClusterName, Fence, Place, Places};
use crate::cluster::owner::Owner;
use crate::cluster::parts::Part;
use crate::desk::DeskConfig;
use crate::hub::market::Trading;
use crate::hub::resetting::Resetting;
use crate::model::ids::HomeSet;
use crate::model::message::Name;
use crate::model::order::{AccountId, CancelReason, OrderId, VenueReport, VenueRequest};

/// A node that follows, with two shards.
struct Node {
    world: World,
    follower: Follower,
    subscribed: Option<Place>,
    troubles: Vec<Trouble>,
}

/// The owner's node has one shard.
struct Cluster {
    owner: World,
    bridge: Owner,
    fence: u64,
    nodes: Vec<Node>,
    /// What was published, and to whom.
    published: Vec<Part>,
    /// Of messages, requests and replies: whether the next is lost.
    loses: Box<dyn FnMut() -> bool>,
    venue: Venue,
}

/// Takes orders and lets them rest.
#[derive(Default)]
struct Venue {
    /// It says nothing of what comes.
    is_silent: bool,
    placed: Vec<(OrderId, AccountId)>,
    /// Orders by the labels that clients gave them.
    labels: Vec<String>,
    cancelled: Vec<OrderId>,
}

/// An account's number on a node that follows is ten times the node's, from 1 on, and the account's digit; at the owner the digit.
pub(super) fn name_of(account: AccountId) -> Name {
    Name::parse(&format!("account{}", account.0 % 10)).unwrap()
}

pub(super) fn number_of(name: &str) -> Option<AccountId> {
    name.strip_prefix("account")?.parse().ok().map(AccountId)
}

/// As a cluster's nodes have it.
fn clustered() -> HubConfig {
    HubConfig { topics_at_market: true, ..config() }
}

const BRIDGE: HomeId = HomeId(2);

fn own(now: Now, market: &mut MarketHome, fence: u64) -> Owner {
    market.add_replica(BRIDGE);
    market.handle_room(BRIDGE);
    Owner::new(BRIDGE, HomeId(1), Fence(fence), now)
}

impl Node {
    fn new(number: u8) -> Node {
        let mut shards = HomeSet::EMPTY;
        (0..2).for_each(|shard| shards.insert(HomeId(shard)));
        let name = ClusterName::parse(&[b'b' + number]).unwrap();
        let follower = Follower::new(name, 1, HomeId(2), shards, Resetting::default());
        Node { world: World::with(2, &clustered()), follower, subscribed: None, troubles: Vec::new() }
    }

    fn hear(&mut self, part: &Part) {
        if self.subscribed.is_some_and(|place| part.audience.contains(place))
            && let Err(trouble) = self.follower.handle_part(&part.bytes, self.world.now)
        {
            self.troubles.push(trouble);
        }
    }

    /// A turn of the shards; whether there was anything.
    fn carry(&mut self) -> bool {
        let mut carried = false;
        while let Some(outgoing) = self.follower.poll_mesh() {
            carried = true;
            for to in outgoing.to.iter() {
                self.world.hubs[to.index()].handle_batch(HomeId(2), &outgoing.batch, self.world.now);
            }
        }
        for from in 0..self.world.hubs.len() {
            let home = HomeId(from as u8);
            self.world.hubs[from].seal(self.world.now);
            while let Some(outgoing) = self.world.hubs[from].poll_mesh() {
                carried = true;
                for to in outgoing.to.iter() {
                    if to == HomeId(2) {
                        for record in &outgoing.batch.records {
                            self.follower.handle_record(home, &outgoing.batch, record, name_of);
                        }
                    } else {
                        self.world.hubs[to.index()].handle_batch(home, &outgoing.batch, self.world.now);
                    }
                }
            }
        }
        carried
    }
}

impl Cluster {
    fn new(followers: u8) -> Cluster {
        let mut owner = World::with(1, &clustered());
        owner.market.set_desk(desk(), Trading::Open, owner.now);
        let bridge = own(owner.now, &mut owner.market, 7);
        let nodes = (0..followers).map(Node::new).collect();
        let mut cluster = Cluster {
            owner,
            bridge,
            fence: 7,
            nodes,
            published: Vec::new(),
            loses: Box::new(|| false),
            venue: Venue::default(),
        };
        cluster.appoint();
        cluster
    }

    /// Nodes hear who owns.
    fn appoint(&mut self) {
        for node in &mut self.nodes {
            node.follower.handle_owner(Fence(self.fence));
            // Of another owner it has another place, or the same again.
            if node.follower.place().is_none() {
                node.subscribed = None;
            }
        }
        self.carry();
    }

    /// Another node owns, with a market that begins anew.
    fn fail_over(&mut self) {
        let now = self.owner.now.plus_ns(60 * UNIT as u64);
        self.owner = World::with(1, &clustered());
        self.owner.now = now;
        self.owner.market = MarketHome::new(HomeId(1), 1, config().history, now);
        self.owner.market.set_desk(desk(), Trading::Open, now);
        self.fence += 1;
        self.bridge = own(now, &mut self.owner.market, self.fence);
    }

    fn feed(&mut self, fill: impl FnOnce(&mut FeedBuffer)) {
        self.owner.feed_unsent(fill);
        self.carry();
    }

    fn carry(&mut self) {
        while self.carry_once() {}
    }

    fn carry_once(&mut self) -> bool {
        let (now, mut carried) = (self.owner.now, self.execute());
        self.owner.market.seal();
        while let Some(outgoing) = self.owner.market.poll_mesh() {
            carried = true;
            for to in outgoing.to.iter() {
                match to {
                    BRIDGE => self.bridge.handle_batch(&outgoing.batch),
                    to if self.bridge.is_of_node(to) => self.bridge.handle_words(to, &outgoing.batch),
                    _ => self.owner.hubs[0].handle_batch(HomeId(1), &outgoing.batch, now),
                }
            }
        }
        self.owner.hubs[0].seal(now);
        while let Some(outgoing) = self.owner.hubs[0].poll_mesh() {
            carried = true;
            self.owner.market.handle_batch(HomeId(0), &outgoing.batch, now);
        }
        for node in &mut self.nodes {
            node.world.now = now;
            if let Some(request) = node.follower.poll_request(now) {
                carried = true;
                if !(self.loses)() {
                    let reply = self.bridge.handle_request(&request, number_of, now).unwrap().encode();
                    let outcome = if (self.loses)() { Ok(()) } else { node.follower.handle_reply(&reply) };
                    node.troubles.extend(outcome.err());
                }
            }
            if node.subscribed != node.follower.place() {
                node.subscribed = node.follower.place();
                node.follower.handle_subscribed(now);
                carried = true;
            }
        }
        while let Some((from, commands)) = self.bridge.poll_commands() {
            carried = true;
            self.owner.market.handle_batch(from, &commands, now);
        }
        while let Some(part) = self.bridge.poll_part() {
            carried = true;
            for node in &mut self.nodes {
                if !(self.loses)() {
                    node.hear(&part);
                }
            }
            self.published.push(part);
        }
        self.nodes.iter_mut().fold(carried, |carried, node| node.carry() || carried)
    }

    /// Has the venue do what the desk asks for; whether it was anything.
    fn execute(&mut self) -> bool {
        let mut any = false;
        while let Some(routed) = self.owner.market.poll_request(self.owner.now) {
            any = true;
            let report = match routed.request {
                VenueRequest::New { order, account, spec } => {
                    self.venue.placed.push((order, account));
                    self.venue.labels.extend(spec.label.map(|label| label.as_str().to_owned()));
                    VenueReport::Accepted { order, price: None }
                }
                VenueRequest::Cancel { order, .. } => {
                    self.venue.cancelled.push(order);
                    VenueReport::Cancelled { order, why: CancelReason::UserRequest }
                }
                VenueRequest::Amend { .. } => panic!("no order is amended here"),
            };
            if !self.venue.is_silent {
                self.report(report);
            }
        }
        any
    }

    fn report(&mut self, report: VenueReport) {
        self.owner.feed_unsent(|feed| feed.events.push(FeedEvent::Report(report)));
    }

    /// A client of a node that has logged in; its account has this digit.
    fn member(&mut self, node: usize, shard: usize, slot: u32, digit: u32) -> ConnId {
        let conn = self.connect(node, shard, slot);
        self.send(node, shard, conn, LOG_IN);
        let account = 10 * (node as u32 + 1) + digit;
        judge(&mut self.nodes[node].world.hubs[shard], account, self.owner.now);
        self.carry();
        conn
    }

    /// The same of a client of the owner's.
    fn member_of_owner(&mut self, slot: u32, digit: u32) -> ConnId {
        let conn = self.owner.connect(0, slot);
        self.send_to_owner(conn, LOG_IN);
        judge(&mut self.owner.hubs[0], digit, self.owner.now);
        self.carry();
        conn
    }

    /// The reply to a request, and what else the client is told.
    fn ask_and_hear(
        &mut self,
        (node, shard, conn): (usize, usize, ConnId),
        method: &str,
        params: &Value,
    ) -> (Value, Vec<Value>) {
        self.send(node, shard, conn, &request(5, method, params));
        let mut texts = self.texts(node, shard, conn);
        let reply = texts.iter().position(|text| text["id"] == 5);
        let reply = reply.unwrap_or_else(|| panic!("{method} is answered: {texts:?}"));
        (texts.remove(reply), texts)
    }

    /// The reply to a request.
    fn ask(&mut self, at: (usize, usize, ConnId), method: &str, params: &Value) -> Value {
        self.ask_and_hear(at, method, params).0
    }

    /// Time goes on; what waits for it is done.
    fn pass(&mut self, ms: u64) {
        self.owner.now = self.owner.now.plus_ns(ms * 1_000_000);
        self.bridge.handle_timeout(self.owner.now);
        for node in &mut self.nodes {
            node.troubles.extend(node.follower.handle_timeout(self.owner.now).err());
        }
        self.carry();
    }

    fn send(&mut self, node: usize, shard: usize, conn: ConnId, text: &str) {
        let now = self.owner.now;
        self.nodes[node].world.hubs[shard].handle_bytes(conn, &mut frame(text), now);
        self.carry();
    }

    fn send_to_owner(&mut self, conn: ConnId, text: &str) {
        let now = self.owner.now;
        self.owner.hubs[0].handle_bytes(conn, &mut frame(text), now);
        self.carry();
    }

    fn texts(&mut self, node: usize, shard: usize, conn: ConnId) -> Vec<Value> {
        self.nodes[node].world.texts(shard, conn)
    }

    fn connect(&mut self, node: usize, shard: usize, slot: u32) -> ConnId {
        self.nodes[node].world.connect(shard, slot)
    }
}

const SCOPES: &str = "trade:read_write message:read_write account:read_write";

const LOG_IN: &str = r#"{"jsonrpc":"2.0","id":0,"method":"public/auth","params":{"grant_type":"client_credentials","client_id":"a","client_secret":"b"}}"#;

/// Lets the only log-in that waits pass.
fn judge(hub: &mut Hub, account: u32, now: Now) {
    let Some(LoginQuestion::Judge { ticket, .. }) = hub.poll_question() else { panic!("a log-in is judged") };
    let login = login(account, SCOPES);
    hub.handle_verdict(ticket, Verdict::Granted { login, tokens: None }, now);
}

fn desk() -> DeskConfig {
    DeskConfig { credits_per_s: 0, price_band_bp: 0, ..DeskConfig::default() }
}

fn request(id: u64, method: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()
}

fn resume(channel: &str, epoch: &Value, seq: u64) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"public/subscribe","params":{{"channels":["{channel}"],"resume":{{"{channel}":{{"epoch":{epoch},"seq":{seq}}}}}}}}}"#
    )
}

fn prices(texts: &[Value]) -> Vec<i64> {
    let trades = texts.iter().filter_map(|text| text["params"]["data"].as_array());
    trades.flatten().map(|trade| trade["price"].as_f64().unwrap() as i64).collect()
}

#[test]
fn clients_of_each_node_are_told_the_same_events_at_the_same_places() {
    let mut cluster = Cluster::new(2);
    cluster.feed(list("BTC-PERPETUAL"));
    cluster.feed(level(Side::Bid, 100, 5));
    let at_owner = cluster.owner.connect(0, 0);
    let channels = ["book.BTC-PERPETUAL.raw", "trades.BTC-PERPETUAL.raw", "ticker.BTC-PERPETUAL.raw"];
    let conns: Vec<_> = [(0, 0), (0, 1), (1, 1)]
        .into_iter()
        .map(|(node, shard)| (node, shard, cluster.connect(node, shard, 0)))
        .collect();
    for channel in channels {
        cluster.send_to_owner(at_owner, &subscribe(channel));
        for (node, shard, conn) in &conns {
            cluster.send(*node, *shard, *conn, &subscribe(channel));
        }
    }
    let mut told: Vec<Vec<Value>> = vec![Vec::new(); 4];
    for number in 0..20 {
        if number > 0 {
            cluster.feed(level(Side::Ask, 101 + number % 3, 7 + number));
            cluster.feed(trade(90 + number));
        }
        told[0].extend(cluster.owner.texts(0, at_owner));
        for (told, (node, shard, conn)) in told[1..].iter_mut().zip(&conns) {
            told.extend(cluster.texts(*node, *shard, *conn));
        }
    }
    let events = |texts: &[Value]| {
        let events = texts.iter().filter(|text| text["params"]["seq"].is_u64());
        events.map(|text| text["params"].clone()).collect::<Vec<_>>()
    };
    assert!(events(&told[0]).len() > 60, "{}", events(&told[0]).len());
    for other in &told[1..] {
        assert_eq!(events(other), events(&told[0]));
        assert_eq!(other[0]["result"], json!([channels[0]]), "the reply comes first");
    }
    assert!(cluster.nodes.iter().all(|node| node.troubles.is_empty() && node.follower.troubles_total == 0));
}

#[test]
fn a_client_that_moves_to_another_node_resumes_there_and_back() {
    let mut cluster = Cluster::new(1);
    cluster.feed(list("BTC-PERPETUAL"));
    let channel = "trades.BTC-PERPETUAL.raw";
    let conn = cluster.owner.connect(0, 0);
    cluster.send_to_owner(conn, &subscribe(channel));
    cluster.feed(trade(1));
    let seen = cluster.owner.texts(0, conn);
    let epoch = seen[1]["params"]["epoch"].clone();
    cluster.owner.hubs[0].handle_closed(conn, cluster.owner.now);
    (2..=5).for_each(|price| cluster.feed(trade(price)));
    let conn = cluster.connect(0, 1, 0);
    cluster.send(0, 1, conn, &resume(channel, &epoch, 1));
    assert_eq!(prices(&cluster.texts(0, 1, conn)), [2, 3, 4, 5]);
    cluster.nodes[0].world.hubs[1].handle_closed(conn, cluster.owner.now);
    cluster.feed(trade(6));
    let conn = cluster.owner.connect(0, 3);
    cluster.send_to_owner(conn, &resume(channel, &epoch, 5));
    assert_eq!(prices(&cluster.owner.texts(0, conn)), [6]);
}

#[test]
fn an_event_goes_to_the_nodes_whose_clients_want_it_and_state_to_all() {
    let mut cluster = Cluster::new(2);
    cluster.feed(list("BTC-PERPETUAL"));
    let conn = cluster.connect(1, 0, 0);
    cluster.send(1, 0, conn, &subscribe("trades.BTC-PERPETUAL.raw"));
    cluster.published.clear();
    cluster.feed(trade(1));
    let place = cluster.nodes[1].subscribed.unwrap();
    let mut wanted = Places::NONE;
    wanted.insert(place);
    let audiences = |cluster: &mut Cluster| {
        let mut audiences: Vec<u16> = cluster.published.drain(..).map(|part| part.audience.0).collect();
        audiences.sort_unstable();
        audiences
    };
    let mut both = vec![3, wanted.0];
    both.sort_unstable();
    assert_eq!(audiences(&mut cluster), both, "the trade for all, its event for one");
    let unsubscribe = r#"{"jsonrpc":"2.0","id":2,"method":"public/unsubscribe_all","params":{}}"#;
    cluster.send(1, 0, conn, unsubscribe);
    cluster.published.clear();
    cluster.feed(trade(2));
    assert_eq!(audiences(&mut cluster), [3], "nobody wants its event any more");
}

#[test]
fn a_part_that_is_lost_is_noticed_and_lossless_subscribers_miss_nothing() {
    let mut cluster = Cluster::new(1);
    cluster.feed(list("BTC-PERPETUAL"));
    let conn = cluster.connect(0, 1, 0);
    cluster.send(0, 1, conn, &subscribe("trades.BTC-PERPETUAL.raw"));
    cluster.feed(trade(1));
    cluster.loses = Box::new(|| true);
    cluster.feed(trade(2));
    cluster.loses = Box::new(|| false);
    cluster.feed(trade(3));
    cluster.pass(1_500);
    cluster.feed(trade(4));
    assert_eq!(prices(&cluster.texts(0, 1, conn)), [1, 2, 3, 4]);
    assert!(matches!(cluster.nodes[0].troubles[..], [Trouble::Lost(_)]), "{:?}", cluster.nodes[0].troubles);
}

#[test]
fn an_owner_that_is_replaced_is_followed_by_another_epoch() {
    let mut cluster = Cluster::new(1);
    cluster.feed(list("BTC-PERPETUAL"));
    cluster.feed(level(Side::Bid, 100, 5));
    let conn = cluster.connect(0, 0, 0);
    cluster.send(0, 0, conn, &subscribe("book.BTC-PERPETUAL.raw"));
    let epoch = |texts: &[Value]| texts.last().unwrap()["params"]["epoch"].as_u64().unwrap();
    let first = epoch(&cluster.texts(0, 0, conn));
    cluster.fail_over();
    cluster.feed(list("BTC-PERPETUAL"));
    cluster.feed(level(Side::Bid, 99, 3));
    assert!(cluster.texts(0, 0, conn).is_empty(), "the new owner is not known yet");
    cluster.appoint();
    let texts = cluster.texts(0, 0, conn);
    assert!(epoch(&texts) > first, "{texts:?}");
    let data = &texts.last().unwrap()["params"]["data"];
    assert_eq!((&data["type"], &data["bids"]), (&json!("snapshot"), &json!([["new", 99.0, 3]])));
    cluster.feed(level(Side::Bid, 99, 4));
    assert_eq!(cluster.texts(0, 0, conn)[0]["params"]["data"]["bids"], json!([["change", 99.0, 4]]));
}

#[test]
fn an_owner_with_other_instruments_is_not_followed_until_there_is_a_later_one() {
    let mut cluster = Cluster::new(1);
    cluster.feed(list("BTC-PERPETUAL"));
    cluster.fail_over();
    cluster.feed(list("ETH-PERPETUAL"));
    cluster.appoint();
    let troubles = cluster.nodes[0].troubles.clone();
    assert_eq!(troubles.last(), Some(&Trouble::OtherInstruments));
    assert!(!cluster.nodes[0].follower.is_told());
    cluster.pass(10_000);
    assert_eq!(cluster.nodes[0].troubles, troubles, "it is not tried again and again");
    cluster.fail_over();
    cluster.feed(list("BTC-PERPETUAL"));
    cluster.appoint();
    assert!(cluster.nodes[0].follower.is_told());
}

#[test]
fn an_owner_that_lists_its_instruments_after_it_is_followed_has_each_of_them_once() {
    let mut cluster = Cluster::new(1);
    cluster.feed(list("BTC-PERPETUAL"));
    cluster.fail_over();
    cluster.appoint();
    let channel = "trades.BTC-PERPETUAL.raw";
    let early = cluster.connect(0, 0, 0);
    cluster.send(0, 0, early, &subscribe(channel));
    assert_eq!(cluster.texts(0, 0, early)[0]["result"], json!([]), "the new owner does not have it yet");
    cluster.feed(list("BTC-PERPETUAL"));
    cluster.pass(1_500);
    let conn = cluster.connect(0, 1, 0);
    cluster.send(0, 1, conn, &subscribe(channel));
    cluster.feed(trade(1));
    let texts = cluster.texts(0, 1, conn);
    assert_eq!((&texts[0]["result"], prices(&texts)), (&json!([channel]), vec![1]));
}

#[test]
fn a_shard_that_lags_is_mended_by_its_own_node() {
    let mut cluster = Cluster::new(1);
    cluster.feed(list("BTC-PERPETUAL"));
    let conns = [cluster.connect(0, 0, 0), cluster.connect(0, 1, 0)];
    for (shard, conn) in conns.into_iter().enumerate() {
        cluster.send(0, shard, conn, &subscribe("trades.BTC-PERPETUAL.raw"));
    }
    cluster.feed(trade(1));
    cluster.nodes[0].follower.handle_lag(HomeId(1));
    (2..=4).for_each(|price| cluster.feed(trade(price)));
    cluster.nodes[0].follower.handle_room(HomeId(1));
    cluster.carry();
    cluster.feed(trade(5));
    for (shard, conn) in conns.into_iter().enumerate() {
        assert_eq!(prices(&cluster.texts(0, shard, conn)), [1, 2, 3, 4, 5], "shard {shard}");
    }
    assert!(cluster.nodes[0].troubles.is_empty());
}

#[test]
fn an_owner_that_goes_silent_is_a_loss_and_shards_are_told_again_when_it_is_heard() {
    let mut cluster = Cluster::new(1);
    cluster.feed(list("BTC-PERPETUAL"));
    cluster.loses = Box::new(|| true);
    (0..3).for_each(|_| cluster.pass(1_000));
    assert_eq!(cluster.nodes[0].troubles, [Trouble::Lost(Loss::Silent)]);
    assert!(!cluster.nodes[0].follower.is_told());
    cluster.loses = Box::new(|| false);
    cluster.pass(1_000);
    assert!(cluster.nodes[0].follower.is_told());
}

#[test]
fn messages_that_are_none_do_not_put_off_the_next_stream_ever_further() {
    let mut cluster = Cluster::new(1);
    cluster.feed(list("BTC-PERPETUAL"));
    let now = cluster.owner.now;
    for _ in 0..100 {
        assert!(cluster.nodes[0].follower.handle_part(b"none", now).is_err());
    }
    cluster.pass(1_000);
    assert!(cluster.nodes[0].follower.is_told());
}

/// Numbers by chance, as a seed has them.
fn next(seed: &mut u64, below: u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) % below
}

/// Messages, requests and replies are lost by chance while clients of two nodes come, resume and go: whoever stays is told each trade once and in order, as
/// histories reach back far enough, and every book ends as the owner's.
#[test]
fn whatever_is_lost_between_nodes_no_client_misses_or_doubles_a_trade() {
    let mut troubles = 0;
    for seed in 0..60_u64 {
        let (mut chance, mut losing) = (seed, seed.wrapping_mul(77));
        let mut cluster = Cluster::new(2);
        cluster.feed(list("BTC-PERPETUAL"));
        let mut clients: BTreeMap<(usize, usize), (ConnId, Vec<i64>)> = BTreeMap::new();
        cluster.loses = Box::new(move || next(&mut losing, 25) == 0);
        for price in 1..=40_i64 {
            let at = (next(&mut chance, 2) as usize, next(&mut chance, 2) as usize);
            // One who comes is told from its reply on, so nobody comes while trades are lost unheard.
            if price <= 3 && !clients.contains_key(&at) {
                cluster.loses = Box::new(|| false);
                cluster.pass(5_000);
                let conn = cluster.connect(at.0, at.1, 0);
                cluster.send(at.0, at.1, conn, &subscribe("trades.BTC-PERPETUAL.raw"));
                let told = cluster.texts(at.0, at.1, conn);
                assert_eq!(told[0]["result"], json!(["trades.BTC-PERPETUAL.raw"]), "seed {seed}");
                clients.insert(at, (conn, vec![price - 1]));
                cluster.loses = Box::new(move || next(&mut losing, 25) == 0);
            }
            cluster.feed(trade(price));
            cluster.feed(level(Side::Bid, 50 + price % 7, 1 + price % 4));
            if next(&mut chance, 3) == 0 {
                cluster.pass(next(&mut chance, 2_500));
            }
        }
        cluster.loses = Box::new(|| false);
        (0..5).for_each(|_| cluster.pass(1_500));
        cluster.feed(trade(41));
        for ((node, shard), (conn, mut seen)) in clients {
            seen.extend(prices(&cluster.texts(node, shard, conn)));
            assert_eq!(seen, (seen[0]..=41).collect::<Vec<_>>(), "seed {seed}, node {node}, shard {shard}");
        }
        for node in 0..2 {
            let conn = cluster.connect(node, 0, 9);
            cluster.send(node, 0, conn, &subscribe("book.BTC-PERPETUAL.raw"));
            let data = cluster.texts(node, 0, conn).last().unwrap()["params"]["data"].clone();
            let state = &cluster.owner.market.instruments()[0];
            let bids: Vec<Value> = state
                .book
                .bids()
                .map(|bid| json!(["new", (bid.price.0 / UNIT) as f64, bid.amount.0 / UNIT]))
                .collect();
            assert_eq!((&data["bids"], &data["change_id"]), (&json!(bids), &json!(state.change_id.0)));
            troubles += cluster.nodes[node].troubles.len();
        }
    }
    assert!(troubles > 60, "{troubles} losses were noticed");
}
