//! Whole nodes of a cluster with one market, without NATS: leases, changes of the owner and bridges carried by hand, with real hubs on each node. Nodes are killed,
//! cut off and lose messages by chance.

use std::collections::BTreeMap;

use serde_json::Value;

use super::cluster::{name_of, number_of};
use super::*;
use crate::cluster::lease::{LeaseAnswer, LeaseEntry, LeaseRequest};
use crate::cluster::names::{ClusterName, Fence, Place};
use crate::cluster::node::{Change, Node, NodeConfig};
use crate::cluster::words::{Asker, Wish, Word};
use crate::model::ids::Epoch;

const TERM_MS: u64 = 2_000;
const STEP_MS: u64 = 25;
const CHANNEL: &str = "book.BTC-PERPETUAL.raw";

/// A process with one shard. While it follows, its world's market is nobody's.
struct Host {
    world: World,
    node: Node,
    listens: bool,
    hears: Option<Place>,
    is_cut: bool,
    words: Vec<Word>,
    clients: Vec<Client>,
    taken: u64,
    /// As its market began.
    began_halted: bool,
}

struct Client {
    conn: ConnId,
    /// It has subscribed, or waits for the answer; where the instrument is not known yet it subscribes again.
    has_asked: bool,
    /// The newest event that it was told: its epoch and number.
    at: Option<(u64, u64)>,
    told: u64,
}

struct Cluster {
    hosts: Vec<Host>,
    now: Now,
    key: Option<LeaseEntry>,
    revision: u64,
    incarnations: u64,
    loses: u64,
    seed: u64,
    /// What anybody was told at a place, by epoch and number.
    events: BTreeMap<(u64, u64), String>,
    price: i64,
}

fn next(seed: &mut u64, below: u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) % below
}

impl Host {
    fn new(number: usize, incarnation: u64, now: Now) -> Host {
        let name = ClusterName::parse(&[b'a' + number as u8]).unwrap();
        let config = NodeConfig { name, incarnation, may_own: true, term_ms: TERM_MS, market: HomeId(1) };
        let mut world = World::new(1);
        world.now = now;
        Host {
            world,
            node: Node::new(config),
            listens: false,
            hears: None,
            is_cut: false,
            words: Vec::new(),
            clients: Vec::new(),
            taken: 0,
            began_halted: false,
        }
    }

    fn connect(&mut self) {
        let conn = self.world.connect(0, self.clients.len() as u32);
        self.clients.push(Client { conn, has_asked: false, at: None, told: 0 });
    }

    /// As the venue's thread does it: words, what the node is by now, the market, shards.
    fn turn(&mut self, now: Now, price: i64) -> Vec<Wish> {
        self.world.now = now;
        for client in self.clients.iter_mut().filter(|client| !client.has_asked) {
            client.has_asked = true;
            self.world.hubs[0].handle_bytes(client.conn, &mut frame(&subscribe(CHANNEL)), now);
        }
        for word in std::mem::take(&mut self.words) {
            self.node.handle_word(word, number_of, now);
        }
        let newest = if self.node.is_owner() { self.world.market.newest_epoch() } else { Epoch(0) };
        match self.node.look(newest, now) {
            Some(Change::Own { fence, succession, is_halted }) => {
                self.began_halted = is_halted;
                self.own(fence, succession, now);
            }
            Some(Change::Cede) => {
                self.carry_own();
                let before = self.world.market.end();
                self.node.follow(self.world.market.instruments(), before);
            }
            None => {}
        }
        if self.node.is_owner() {
            while let Some((from, commands)) = self.node.poll_commands() {
                self.world.market.handle_batch(from, &commands, now);
            }
            self.world.feed_unsent(level(Side::Bid, 100 + price % 5, 1 + price % 7));
            self.carry_own();
        } else {
            self.carry_followed();
        }
        std::iter::from_fn(|| self.node.poll_wish()).collect()
    }

    fn own(&mut self, fence: Fence, succession: market::Succession, now: Now) {
        self.taken += 1;
        let follower = self.node.follower().unwrap();
        let before = follower.end();
        while let Some(outgoing) = follower.poll_mesh() {
            self.world.hubs[0].handle_batch(HomeId(1), &outgoing.batch, now);
        }
        let told = self.node.follower().unwrap().replica().instruments();
        self.world.market = MarketHome::succeeding(HomeId(1), 1, config().history, succession, told, now);
        self.node.own(fence, now);
        self.world.market.reset_shards(before);
        self.world.market.add_replica(self.node.bridge());
        self.world.market.handle_room(self.node.bridge());
        self.world.market.handle_room(HomeId(0));
        self.world.feed_unsent(list("BTC-PERPETUAL"));
    }

    fn carry_own(&mut self) {
        let now = self.world.now;
        let mut carried = true;
        while std::mem::take(&mut carried) {
            self.world.market.handle_timeout(now);
            self.world.market.seal();
            while let Some(outgoing) = self.world.market.poll_mesh() {
                carried = true;
                for to in outgoing.to.iter() {
                    match to {
                        HomeId(0) => self.world.hubs[0].handle_batch(HomeId(1), &outgoing.batch, now),
                        to => self.node.handle_batch(to, &outgoing.batch),
                    }
                }
            }
            self.world.hubs[0].seal(now);
            while let Some(outgoing) = self.world.hubs[0].poll_mesh() {
                carried = true;
                self.world.market.handle_batch(HomeId(0), &outgoing.batch, now);
            }
        }
    }

    fn carry_followed(&mut self) {
        let now = self.world.now;
        let follower = self.node.follower().unwrap();
        let mut carried = true;
        while std::mem::take(&mut carried) {
            while let Some(outgoing) = follower.poll_mesh() {
                carried = true;
                self.world.hubs[0].handle_batch(HomeId(1), &outgoing.batch, now);
            }
            self.world.hubs[0].seal(now);
            while let Some(outgoing) = self.world.hubs[0].poll_mesh() {
                carried = true;
                for record in &outgoing.batch.records {
                    follower.handle_record(HomeId(0), &outgoing.batch, record, name_of);
                }
            }
        }
    }
}

impl Cluster {
    fn new(seed: u64) -> Cluster {
        let now = Now { mono_ns: 1_000_000_000, unix_ns: 1_700_000_000_000_000_000 };
        let mut cluster = Cluster {
            hosts: Vec::new(),
            now,
            key: None,
            revision: 0,
            incarnations: 0,
            loses: 0,
            seed,
            events: BTreeMap::new(),
            price: 0,
        };
        for number in 0..3 {
            let host = cluster.start(number);
            cluster.hosts.push(host);
        }
        cluster
    }

    fn start(&mut self, number: usize) -> Host {
        self.incarnations += 1;
        let mut host = Host::new(number, self.incarnations, self.now);
        host.words.push(Word::IsUp(true));
        (0..2).for_each(|_| host.connect());
        host
    }

    fn chance(&mut self, below: u64) -> u64 {
        next(&mut self.seed, below)
    }

    fn is_lost(&mut self, host: usize) -> bool {
        self.hosts[host].is_cut || (self.loses > 0 && self.chance(self.loses) == 0)
    }

    /// Time goes on, every node has a turn, and what they wish of NATS is done.
    fn step(&mut self) {
        self.now = self.now.plus_ns(STEP_MS * 1_000_000);
        self.price += 1;
        for number in 0..self.hosts.len() {
            let wishes = self.hosts[number].turn(self.now, self.price);
            wishes.into_iter().for_each(|wish| self.grant(number, wish));
            self.read(number);
        }
        let owners = self.hosts.iter().filter(|host| host.node.is_owner()).count();
        assert!(owners <= 1, "{owners} nodes own at a time");
    }

    fn grant(&mut self, from: usize, wish: Wish) {
        let is_lost = self.is_lost(from);
        match wish {
            Wish::Lease(request) => {
                // The answer may be lost though it was done.
                let answer = if self.hosts[from].is_cut { LeaseAnswer::Unknown } else { self.lease(request) };
                let answer = if is_lost { LeaseAnswer::Unknown } else { answer };
                self.hosts[from].words.push(Word::LeaseAnswered(answer));
            }
            Wish::Listen(listens) => self.hosts[from].listens = listens,
            Wish::Hear(place) => {
                self.hosts[from].hears = place;
                self.hosts[from].words.extend(place.map(Word::Hearing));
            }
            _ if is_lost => {}
            Wish::Tell(part) => {
                for to in 0..self.hosts.len() {
                    let hears = self.hosts[to].hears.is_some_and(|place| part.audience.contains(place));
                    if hears && !self.is_lost(to) {
                        self.hosts[to].words.push(Word::Part(part.bytes.clone()));
                    }
                }
            }
            Wish::Ask(bytes) => {
                for to in 0..self.hosts.len() {
                    if self.hosts[to].listens && !self.is_lost(to) {
                        let from = Asker(from.to_string());
                        self.hosts[to].words.push(Word::Asked { from, bytes: bytes.clone() });
                    }
                }
            }
            Wish::Answer { to: Asker(to), bytes } => {
                let to: usize = to.parse().unwrap();
                if !self.is_lost(to) {
                    self.hosts[to].words.push(Word::Answered(bytes));
                }
            }
        }
    }

    fn lease(&mut self, request: LeaseRequest) -> LeaseAnswer {
        let (value, expected) = match request {
            LeaseRequest::Read => return LeaseAnswer::Holds(self.key),
            LeaseRequest::Create { value } => (value, 0),
            LeaseRequest::Update { value, revision } => (value, revision),
        };
        if self.key.map_or(0, |entry| entry.revision) != expected {
            return LeaseAnswer::Refused;
        }
        self.revision += 1;
        let entry = LeaseEntry { revision: self.revision, value };
        self.key = Some(entry);
        for host in self.hosts.iter_mut().filter(|host| !host.is_cut) {
            host.words.push(Word::LeaseSeen(entry));
        }
        LeaseAnswer::Written { revision: self.revision }
    }

    /// What clients of a node were told: in sequence within an epoch, by epochs that rise, and the same as everybody at that place.
    fn read(&mut self, number: usize) {
        let host = &mut self.hosts[number];
        for client in &mut host.clients {
            for text in host.world.texts(0, client.conn) {
                client.has_asked &= text["result"] != serde_json::json!([]);
                let params = &text["params"];
                let (Some(epoch), Some(seq)) = (params["epoch"].as_u64(), params["seq"].as_u64()) else {
                    continue;
                };
                client.told += 1;
                let is_snapshot = params["data"]["type"] == "snapshot";
                if let Some((of, at)) = client.at {
                    assert!(epoch >= of, "epochs rise: {text}");
                    assert!(epoch > of || seq == at + 1 || (is_snapshot && seq >= at), "after {at}: {text}");
                }
                client.at = Some((epoch, seq));
                if !is_snapshot {
                    let data = without_stamps(params["data"].clone());
                    let told = self.events.entry((epoch, seq)).or_insert_with(|| data.clone());
                    assert_eq!(*told, data, "at {epoch}, {seq}");
                }
            }
        }
    }

    fn pass(&mut self, ms: u64) {
        (0..ms / STEP_MS).for_each(|_| self.step());
    }

    fn owner(&self) -> Option<usize> {
        self.hosts.iter().position(|host| host.node.is_owner())
    }

    /// Every client is told on.
    fn assert_told(&mut self) {
        let before: Vec<u64> = self.told();
        self.pass(1_000);
        let after = self.told();
        assert!(before.iter().zip(&after).all(|(before, after)| after > before), "{before:?} {after:?}");
    }

    fn told(&self) -> Vec<u64> {
        self.hosts.iter().flat_map(|host| host.clients.iter().map(|client| client.told)).collect()
    }
}

fn without_stamps(mut data: Value) -> String {
    if let Some(data) = data.as_object_mut() {
        data.retain(|key, _| !key.starts_with("us"));
    }
    data.to_string()
}

#[test]
fn the_first_node_that_finds_no_lease_owns_and_the_others_tell_its_market() {
    let mut cluster = Cluster::new(1);
    cluster.pass(TERM_MS + 1_000);
    assert!(cluster.owner().is_some());
    cluster.assert_told();
    assert_eq!(cluster.hosts.iter().map(|host| host.taken).sum::<u64>(), 1);
}

#[test]
fn a_node_takes_over_within_the_lease_when_the_owner_is_killed_and_clients_see_another_epoch() {
    let mut cluster = Cluster::new(2);
    cluster.pass(TERM_MS + 1_000);
    let first = cluster.owner().unwrap();
    let epoch = cluster.hosts[(first + 1) % 3].clients[0].at.unwrap().0;
    cluster.hosts.remove(first);
    cluster.pass(TERM_MS + 500);
    assert!(cluster.owner().is_some());
    cluster.assert_told();
    for client in cluster.hosts.iter().flat_map(|host| &host.clients) {
        assert!(client.at.unwrap().0 > epoch);
    }
}

#[test]
fn a_node_that_leaves_hands_over_at_once_and_goes_on_telling_its_clients() {
    let mut cluster = Cluster::new(3);
    cluster.pass(TERM_MS + 1_000);
    let first = cluster.owner().unwrap();
    let now = cluster.now;
    cluster.hosts[first].node.leave(now);
    cluster.pass(500);
    assert!(cluster.owner().is_some_and(|owner| owner != first), "within a quarter of the term");
    assert!(cluster.hosts[first].node.may_go());
    cluster.pass(1_000);
    cluster.assert_told();
}

#[test]
fn a_market_that_an_operator_has_halted_stays_halted_whoever_owns_it_until_it_is_resumed() {
    let mut cluster = Cluster::new(5);
    cluster.pass(TERM_MS + 1_000);
    for (is_halted, is_killed) in [(true, true), (true, false), (false, false)] {
        let owner = cluster.owner().unwrap();
        cluster.hosts[owner].node.set_halted(is_halted);
        cluster.pass(TERM_MS / 2);
        let now = cluster.now;
        if is_killed {
            cluster.hosts[owner] = cluster.start(owner);
        } else {
            cluster.hosts[owner].node.leave(now);
        }
        cluster.pass(TERM_MS + 500);
        let next = cluster.owner().unwrap();
        assert!(next != owner || is_killed);
        assert_eq!(cluster.hosts[next].began_halted, is_halted);
    }
}

#[test]
fn a_node_that_owns_again_with_nobody_in_between_gives_other_epochs() {
    let mut cluster = Cluster::new(6);
    cluster.pass(TERM_MS + 1_000);
    // Who owns after another begins beyond all that the other has reserved, which is ahead of the time.
    while cluster.hosts.len() > 1 {
        let owner = cluster.owner().unwrap();
        cluster.hosts.remove(owner);
        cluster.pass(TERM_MS + 1_000);
    }
    for _ in 0..3 {
        let epoch = cluster.hosts[0].clients[0].at.unwrap().0;
        cluster.hosts[0].is_cut = true;
        cluster.pass(TERM_MS);
        assert_eq!(cluster.owner(), None);
        cluster.hosts[0].is_cut = false;
        cluster.pass(TERM_MS + 1_000);
        cluster.assert_told();
        assert!(cluster.hosts[0].clients[0].at.unwrap().0 > epoch);
    }
    assert_eq!(cluster.hosts[0].taken, 4);
}

#[test]
fn an_owner_that_is_cut_off_ceases_before_another_owns_and_follows_that_when_it_is_back() {
    let mut cluster = Cluster::new(4);
    cluster.pass(TERM_MS + 1_000);
    let first = cluster.owner().unwrap();
    cluster.hosts[first].is_cut = true;
    cluster.pass(TERM_MS - TERM_MS / 4 + 2 * STEP_MS);
    assert!(!cluster.hosts[first].node.is_owner());
    cluster.pass(TERM_MS);
    assert!(cluster.owner().is_some_and(|owner| owner != first));
    cluster.hosts[first].is_cut = false;
    cluster.pass(4_000);
    cluster.assert_told();
}

#[test]
fn what_a_node_has_counted_as_an_owner_counts_on_when_it_follows() {
    let mut cluster = Cluster::new(7);
    cluster.pass(TERM_MS + 1_000);
    let first = cluster.owner().unwrap();
    assert_eq!(cluster.hosts[first].node.counters().nodes_given_up_total, 0);
    cluster.hosts[(first + 1) % 3].is_cut = true;
    cluster.pass(limits::CLUSTER_FOLLOWER_SILENCE_NS_MAX / 1_000_000 + 1_000);
    assert_eq!(cluster.hosts[first].node.counters().nodes_given_up_total, 1);
    let now = cluster.now;
    cluster.hosts[first].node.leave(now);
    cluster.pass(1_000);
    assert_ne!(cluster.owner(), Some(first));
    let counters = cluster.hosts[first].node.counters();
    assert_eq!((counters.takings_total, counters.nodes_given_up_total, counters.nodes_deaf_total), (1, 1, 0));
}

/// Whatever happens, one node owns at most, whoever is told is told in sequence and the same as everybody; and once all is well again, everybody is told on.
#[test]
fn nodes_that_are_killed_cut_off_and_lose_messages_by_chance_tell_one_market() {
    let (mut takings, mut places) = (0, 0);
    for seed in 0..12 {
        let mut cluster = Cluster::new(seed);
        for _ in 0..12 {
            let victim = cluster.chance(3) as usize;
            match cluster.chance(4) {
                0 => {
                    let started = cluster.start(victim);
                    takings += std::mem::replace(&mut cluster.hosts[victim], started).taken;
                }
                1 => cluster.hosts[victim].is_cut = true,
                2 => cluster.hosts[victim].is_cut = false,
                _ => cluster.loses = [0, 40, 200][cluster.chance(3) as usize],
            }
            let ms = cluster.chance(5_000);
            cluster.pass(ms);
        }
        cluster.loses = 0;
        cluster.hosts.iter_mut().for_each(|host| host.is_cut = false);
        cluster.pass(2 * TERM_MS + 6_000);
        cluster.assert_told();
        takings += cluster.hosts.iter().map(|host| host.taken).sum::<u64>();
        places += cluster.events.len();
    }
    assert!(takings > 24 && places > 5_000, "{takings} takings, {places} places");
}
