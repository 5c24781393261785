//! The venue of a node in a cluster: it owns the market, or follows who does, and changes from one to the other (decision 0037). Home: the venue's thread.
//!
//! Invariants: whether the node owns is looked at before a turn tells anything; while it follows there is no feed, no link has a connection, and the market is an
//! empty one that nobody is told of; a market that is given up has told its own shards of all that it did.

use std::sync::Arc;

use crate::auth::Accounts;
use crate::backend::replay::FeedError;
use crate::backend::{Feed, FeedSettings};
use crate::cluster::follower::{Follower, Trouble};
use crate::cluster::names::Fence;
use crate::cluster::node::{Change, Node, NodeConfig, NodeCounters, Standing};
use crate::hub::batch::{Batch, Outgoing, Record};
use crate::hub::market::{MarketHome, Succession, Trading};
use crate::hub::resetting::Resetting;
use crate::limits;
use crate::model::ids::{Epoch, HomeId, SourceId};
use crate::model::message::Name;
use crate::model::time::Now;
use crate::nats::NatsPort;
use crate::store::jetstream::JetStore;
use crate::telemetry::NodeReading;

use super::presence::PresenceKeeping;
use super::storing::Storing;
use super::{Stamps, Venue, VenueSettings};

/// Opens the feed from its beginning.
pub type OpenFeed = Box<dyn Fn(&FeedSettings) -> Result<Feed, FeedError> + Send>;

/// What the venue of a node in a cluster is made from besides.
pub struct ClusterSetup {
    pub node: NodeConfig,
    pub port: NatsPort,
    pub open_feed: OpenFeed,
    /// Of durable messages; none where there are none.
    pub store: Option<Arc<JetStore>>,
    /// By their names they are the same on every node.
    pub accounts: Accounts,
}

impl std::fmt::Debug for ClusterSetup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterSetup").field("node", &self.node).finish_non_exhaustive()
    }
}

pub(super) struct Clustered {
    node: Node,
    pub(super) port: NatsPort,
    open_feed: OpenFeed,
    store: Option<Arc<JetStore>>,
    accounts: Accounts,
    /// NATS has said more than a turn takes.
    is_owing: bool,
    pub(super) presence: PresenceKeeping,
    /// What the log was told last that this node is.
    told: Standing,
    /// Until when a stop waits for the lease to be given up.
    leave_by_ns: Option<u64>,
}

impl Clustered {
    pub(super) fn new(setup: ClusterSetup) -> Clustered {
        let ClusterSetup { node, port, open_feed, store, accounts } = setup;
        let node = Node::new(node);
        Clustered {
            node,
            port,
            open_feed,
            store,
            accounts,
            is_owing: false,
            presence: PresenceKeeping::default(),
            told: Standing::Alone,
            leave_by_ns: None,
        }
    }

    pub(super) fn follows(&self) -> bool {
        !self.node.is_owner()
    }

    /// By which the node owns the market; 0 while it follows.
    pub(super) fn owned_fence(&self) -> u64 {
        self.node.owned_fence().map_or(0, |fence| fence.0)
    }

    /// When a turn is due though nobody says anything; `None` for at once.
    pub(super) fn poll_timeout(&self, now: Now) -> Option<u64> {
        (!self.is_owing).then(|| self.node.poll_timeout(now))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.node.memory_bytes()
    }

    pub(super) fn reading(&self, now: Now) -> NodeReading {
        let NodeCounters {
            takings_total,
            requests_total,
            requests_odd_total,
            parts_told_total,
            parts_dropped_total,
            parts_heard_total,
            changes_heard_total,
            streams_lost_total,
            nodes_given_up_total,
            nodes_deaf_total,
            not_sent_total,
        } = self.node.counters();
        NodeReading {
            role: match self.node.standing(now) {
                Standing::Owner => 1,
                Standing::Follower { .. } => 2,
                Standing::Alone => 3,
                Standing::Spoiled => 4,
            },
            fence: self.node.newest_fence().0,
            takings_total,
            requests_total,
            requests_odd_total,
            parts_told_total,
            parts_dropped_total,
            parts_heard_total,
            changes_heard_total,
            streams_lost_total,
            nodes_given_up_total,
            nodes_deaf_total,
            not_sent_total,
        }
    }

    /// Takes what the market says to other nodes out of what goes to threads.
    fn take_bridged(&mut self, outgoing: &mut Outgoing) {
        for to in outgoing.to.iter() {
            if self.node.is_bridged(to) {
                outgoing.to.remove(to);
                self.node.handle_batch(to, &outgoing.batch);
            }
        }
    }

    fn send_wishes(&mut self, now: Now) {
        while let Some(wish) = self.node.poll_wish() {
            if let Err(wish) = self.port.send(wish) {
                self.node.handle_refused(wish, now);
                break;
            }
        }
        self.port.flush();
    }
}

impl Venue {
    /// Whether another node's market is told here, or none.
    pub(super) fn follows(&self) -> bool {
        self.cluster.as_ref().is_some_and(Clustered::follows)
    }

    /// What other nodes say, and what this one is by now.
    pub(super) fn take_cluster(&mut self) {
        let Some(cluster) = &mut self.cluster else { return };
        if self.stop.is_told() {
            cluster.node.leave(self.now);
            cluster.leave_by_ns.get_or_insert(self.now.mono_ns + limits::CLUSTER_LEAVE_NS);
        }
        cluster.is_owing = true;
        for _ in 0..limits::CLUSTER_WORDS_PER_TURN {
            let Some(word) = cluster.port.receive() else {
                cluster.is_owing = false;
                break;
            };
            self.is_busy = true;
            let accounts = &cluster.accounts;
            cluster.node.handle_word(word, |name| accounts.intern(name).ok(), self.now);
        }
        let owes_presence = self.take_presence();
        let Some(cluster) = &mut self.cluster else { return };
        cluster.is_owing |= owes_presence;
        let newest_epoch = if cluster.follows() { Epoch(0) } else { self.market.newest_epoch() };
        match cluster.node.look(newest_epoch, self.now) {
            Some(Change::Own { fence, succession, is_halted }) => {
                self.take_market(fence, succession, is_halted)
            }
            Some(Change::Cede) => self.cede(),
            None => {}
        }
        self.take_commands();
        self.tell_standing();
    }

    /// What other nodes want of this one's market.
    fn take_commands(&mut self) {
        while let Some((from, commands)) =
            self.cluster.as_mut().and_then(|cluster| cluster.node.poll_commands())
        {
            for record in &commands.records {
                self.market.handle_record(from, &commands, record, self.now);
                self.execute();
            }
        }
    }

    /// The turn of a node that follows.
    pub(super) fn turn_following(&mut self) {
        self.take_pressure();
        if self.now.mono_ns >= self.board_due_ns {
            self.tell_board();
        }
        // What was asked of the owner that this node was is not done to a later market.
        self.switch.take();
        self.refuse_question();
        self.hear_shards();
        self.links.handle_timeout(&mut self.ring, &mut self.market, self.now);
        self.links.flush(&mut self.ring, &mut self.market, self.now);
        self.tell_shards();
        self.send_wishes();
        self.links.tell_news(&mut self.market, self.now);
    }

    /// What the market says to other nodes goes to them; what is left goes to threads.
    pub(super) fn take_bridged(&mut self, outgoing: &mut Outgoing) {
        if let Some(cluster) = &mut self.cluster {
            cluster.take_bridged(outgoing);
        }
    }

    pub(super) fn send_wishes(&mut self) {
        self.send_presence();
        if let Some(cluster) = &mut self.cluster {
            if !cluster.follows() {
                cluster.node.set_halted(self.market.desk().is_halted());
            }
            cluster.send_wishes(self.now);
        }
    }

    /// Whether the process may end: another node can take over at once, or cannot be told so.
    pub(super) fn may_leave(&self) -> bool {
        self.cluster.as_ref().is_none_or(|cluster| {
            cluster.follows()
                && (cluster.node.may_go()
                    || cluster.leave_by_ns.is_some_and(|by_ns| self.now.mono_ns >= by_ns))
        })
    }

    /// What shards say to the market, which is another node's.
    fn hear_shards(&mut self) {
        let mut taken_ns = None;
        for _ in 0..limits::BATCHES_PER_TURN_MAX {
            let Some((from, batch, done)) = self.next_batch(&mut taken_ns) else { break };
            self.is_busy = true;
            batch.records[done..].iter().for_each(|record| self.hear_shard(from, &batch, record));
        }
    }

    fn hear_shard(&mut self, from: HomeId, batch: &Batch, record: &Record) {
        let Some(cluster) = &mut self.cluster else { return };
        let accounts = &cluster.accounts;
        let name_of = |account| {
            let name = accounts.name(account).and_then(|name| Name::parse(&name));
            name.expect("invariant: who asks has logged in by a name of 1 to 64 letters, digits, _ and -")
        };
        if let Some(follower) = cluster.node.follower() {
            follower.handle_record(from, batch, record, name_of);
        }
    }

    /// What the owner says, to this node's shards.
    fn tell_shards(&mut self) {
        if self.carry.is_waiting() {
            self.carry.retry(&mut self.mesh);
        }
        let Some(follower) = self.cluster.as_mut().and_then(|cluster| cluster.node.follower()) else {
            return;
        };
        for shard in follower.lagging().iter() {
            if self.mesh.data_free(shard.index()) > limits::MESH_DATA_BATCHES_MAX / 2 {
                follower.handle_room(shard);
            }
        }
        let stamps = Stamps { stamped_ns: self.now.mono_ns, sealed_ns: self.now.mono_ns };
        while let Some(outgoing) = follower.poll_mesh() {
            self.is_busy = true;
            self.carry.push(&mut self.mesh, &outgoing, stamps);
            while let Some(shard) = self.carry.poll_lag() {
                follower.handle_lag(shard);
            }
        }
        self.mesh.ring_doorbells();
    }

    /// The market is this node's from here on.
    fn take_market(&mut self, fence: Fence, succession: Succession, is_halted: bool) {
        let Some(cluster) = &mut self.cluster else { return };
        let feed = match (cluster.open_feed)(&self.settings.feed) {
            Ok(feed) => feed,
            Err(error) => {
                log::error!("cluster: this node cannot own the market, and gives it up: {error}");
                return cluster.node.leave(self.now);
            }
        };
        let before = self.end_following();
        let Some(cluster) = &mut self.cluster else { return };
        let bridge = cluster.node.bridge();
        let Some(follower) = cluster.node.follower() else { return };
        let told = follower.replica().instruments();
        let market = MarketHome::succeeding(
            HomeId(self.shards),
            self.shards,
            self.settings.history,
            succession,
            told,
            self.now,
        );
        cluster.node.own(fence, self.now);
        (self.market, self.feed) = (market, feed);
        furnish(&mut self.market, &self.settings, &self.feed, succession.begun(self.now));
        if is_halted {
            self.market.halt_everybody(true, self.now);
        }
        self.market.reset_shards(before);
        self.open_store(fence);
        self.set_presence_owner(Some(fence));
        self.market.add_replica(bridge);
        self.market.handle_room(bridge);
        self.links.begin(fence.0, &mut self.market, self.now);
        (self.given_up_told, self.finished_told) = (0, false);
        let halted = if is_halted { ", in which all trading is halted, as it was" } else { "" };
        log::info!("cluster: this node owns the market from here on (fence {}){halted}", fence.0);
    }

    /// The owner before is not followed any more: shards are told what it was not sent.
    fn end_following(&mut self) -> Resetting {
        let follower = self.cluster.as_mut().and_then(|cluster| cluster.node.follower());
        let before = follower.map(Follower::end).unwrap_or_default();
        self.tell_shards();
        before
    }

    /// The market is this node's no more: its shards are told what has become of its orders, other nodes nothing.
    fn cede(&mut self) {
        self.links.rest(&mut self.market, self.now);
        let had_orders = self.feed.takes_orders();
        if had_orders {
            self.market.halt_everybody(true, self.now);
            self.execute_all();
            // A turn goes through so many orders: all of them are gone through here.
            while self.market.desk().poll_timeout() == Some(0) {
                self.market.handle_timeout(self.now);
                self.execute_all();
            }
        }
        self.say();
        self.set_presence_owner(None);
        let before = self.market.end();
        let Some(cluster) = &mut self.cluster else { return };
        cluster.node.follow(self.market.instruments(), before);
        self.market = MarketHome::new(HomeId(self.shards), self.shards, self.settings.history, self.now);
        self.feed = Feed::None;
        self.store = None;
        self.given_up_told = 0;
        // Those of the market that was would be shown as they were, up, for as long as another node owns.
        self.switch.show_links(&Arc::default());
        log::warn!(
            "cluster: this node owns the market no more{}",
            if had_orders { ": orders of its paper market are cancelled" } else { "" }
        );
    }

    /// Has what is durable from where the owner before has left it.
    fn open_store(&mut self, fence: Fence) {
        let Some(store) = self.cluster.as_ref().and_then(|cluster| cluster.store.as_ref()) else { return };
        match store.open(fence) {
            Ok(handle) => self.store = Some(Storing::new(handle, &mut self.market, self.now)),
            Err(error) => {
                log::error!("cluster: durable messages are refused: no thread for their store: {error}")
            }
        }
    }

    /// Says in the log what this node has become.
    fn tell_standing(&mut self) {
        let Some(cluster) = &mut self.cluster else { return };
        match cluster.node.take_trouble() {
            None => {}
            Some(Trouble::OtherInstruments) => log::warn!(
                "cluster: the owner has other instruments under the numbers that this node knows: it is not followed; start this node again to follow it"
            ),
            Some(trouble) => log::debug!("cluster: the owner's stream is begun anew: {trouble:?}"),
        }
        let standing = cluster.node.standing(self.now);
        if std::mem::replace(&mut cluster.told, standing) == standing {
            return;
        }
        self.switch.show_standing(standing);
        match standing {
            Standing::Follower { owner } => log::info!("cluster: this node follows {owner}"),
            Standing::Alone => log::warn!(
                "cluster: no node is known to own the market: clients hear nothing of it until one does"
            ),
            Standing::Spoiled => log::error!(
                "cluster: the bucket of the lease was deleted, or something else writes it: this node owns and follows nobody until it is started again"
            ),
            // It was said when it was taken.
            Standing::Owner => {}
        }
    }
}

/// What a market has by the configuration.
pub(super) fn furnish(market: &mut MarketHome, settings: &VenueSettings, feed: &Feed, now: Now) {
    let VenueSettings { deflation, desk, instruments, office, .. } = settings.clone();
    market.set_deflation(deflation);
    let trading = if feed.takes_orders() { Trading::Open } else { Trading::Closed };
    market.set_desk(desk, trading, now);
    market.set_instrument_limits(instruments);
    market.set_office_config(office);
    market.make_ready();
    if let Some(identity) = feed.identity() {
        market.add_link(SourceId::FEED, identity, now);
    }
}
