//! One node of a cluster: its lease, and the end of the bridge that it has by it. PURE. Home: the venue's thread.
//!
//! The driver's contract: words of NATS go to [`Node::handle_word`]; then, once a turn and before the market is told, [`Node::look`] says whether this node has become
//! the owner or is it no more, which the driver carries out before anything else: [`Node::own`] once it has a market that resets its shards, after [`Follower::end`] of what it had
//! before, [`Node::follow`] once it has none. What the market says to homes that [`Node::is_bridged`] goes to [`Node::handle_batch`], and [`Node::poll_commands`] to the market; of a node that follows, what shards say goes to its [`Node::follower`]. Last in a
//! turn, [`Node::poll_wish`] is drained.
//!
//! Invariants: nothing is told to other nodes but by an owner whose lease holds at the turn's begin; a node that owns no more has nothing of its market left to tell.

use std::collections::VecDeque;

use crate::hub::batch::Batch;
use crate::hub::market::Succession;
use crate::hub::resetting::Resetting;
use crate::limits;
use crate::model::ids::{Epoch, HomeId, HomeSet};
use crate::model::market::InstrumentState;
use crate::model::order::AccountId;
use crate::model::time::Now;

use super::follower::{Follower, Trouble};
use super::lease::{Lease, LeaseAnswer, Role};
use super::names::{ClusterName, Fence, Place};
use super::owner::Owner;
use super::words::{Wish, Word};

/// What the node is made from.
#[derive(Clone, Copy, Debug)]
pub struct NodeConfig {
    pub name: ClusterName,
    /// Another number for each start.
    pub incarnation: u64,
    /// Whether it has what it needs to own the market.
    pub may_own: bool,
    pub term_ms: u64,
    /// The market's place in the mesh; shards are those before it.
    pub market: HomeId,
}

/// What the driver is to carry out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The market is this node's, and begins so.
    /// `is_halted`: an operator had halted all trading, and nobody has resumed it.
    Own { fence: Fence, succession: Succession, is_halted: bool },
    /// It is no more.
    Cede,
}

/// What a node is, for operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Owner,
    /// It is told the market of this node.
    Follower {
        owner: ClusterName,
    },
    /// Nobody is known to own the market, or the owner has not told it yet.
    Alone,
    /// See [`Role::Spoiled`].
    Spoiled,
}

/// What a node did and does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeCounters {
    /// How often it has become the owner.
    pub takings_total: u64,
    /// Requests of other nodes, and those that mean nothing.
    pub requests_total: u64,
    pub requests_odd_total: u64,
    pub parts_told_total: u64,
    /// Of its own market, those that NATS did not take in time.
    pub parts_dropped_total: u64,
    /// Nodes that followed this one and were given up: silent, begun anew, or with more words than they hear; and the last of those.
    pub nodes_given_up_total: u64,
    pub nodes_deaf_total: u64,
    /// Requests of this node's clients that were refused as not sent, since no owner was there for them.
    pub not_sent_total: u64,
    pub parts_heard_total: u64,
    /// Changes of another node's market (levels, trades, states) that this one has passed on to its shards.
    pub changes_heard_total: u64,
    /// Streams of an owner that were given up, since something of them was lost or did not fit.
    pub streams_lost_total: u64,
}

#[derive(Debug)]
enum End {
    Owner(Box<Owner>),
    Follower(Box<Follower>),
}

/// See the file's head.
#[derive(Debug)]
pub struct Node {
    config: NodeConfig,
    lease: Lease,
    end: End,
    /// Of this node's own market, while it has one.
    fence: Fence,
    /// The newest epoch that any market of this node's own has given; of one that has ended, no older than what its time had come to: orders, messages and
    /// accounts' sequences are numbered by that.
    newest_epoch: Epoch,
    /// By what time, in milliseconds, the last of them began, and when that was on the monotonic clock.
    began: (Epoch, u64),
    is_up: bool,
    is_leaving: bool,
    /// The place that NATS was asked to hear, and when.
    heard: Option<(Place, u64)>,
    wishes: VecDeque<Wish>,
    last_trouble: Option<Trouble>,
    /// Without what the end that it has now counts.
    counters: NodeCounters,
}

impl Node {
    #[must_use]
    pub fn new(config: NodeConfig) -> Node {
        let NodeConfig { name, incarnation, may_own, term_ms, .. } = config;
        Node {
            config,
            lease: Lease::new(name, incarnation, may_own, term_ms),
            end: End::Follower(Box::new(follower(&config, Resetting::default()))),
            fence: Fence(0),
            newest_epoch: Epoch(0),
            began: (Epoch(0), 0),
            is_up: false,
            is_leaving: false,
            heard: None,
            wishes: VecDeque::new(),
            last_trouble: None,
            counters: NodeCounters::default(),
        }
    }

    /// The place in the market's sets of what is for other nodes.
    #[must_use]
    pub fn bridge(&self) -> HomeId {
        HomeId(self.config.market.0 + 1)
    }

    /// Whether what the market says to a home is for [`Node::handle_batch`].
    #[must_use]
    pub fn is_bridged(&self, home: HomeId) -> bool {
        home >= self.bridge()
    }

    /// Takes what NATS says. `number_of` is as in [`Owner::handle_request`].
    pub fn handle_word(&mut self, word: Word, number_of: impl FnMut(&str) -> Option<AccountId>, now: Now) {
        match (word, &mut self.end) {
            (Word::IsUp(is_up), _) => self.is_up = is_up,
            (Word::LeaseAnswered(answer), _) => self.lease.handle_answer(answer, now),
            (Word::LeaseSeen(entry), _) => self.lease.handle_watch(entry, now),
            (Word::Asked { from, bytes }, End::Owner(owner)) => {
                self.counters.requests_total += 1;
                match owner.handle_request(&bytes, number_of, now) {
                    Ok(reply) => self.wishes.push_back(Wish::Answer { to: from, bytes: reply.encode() }),
                    Err(_) => self.counters.requests_odd_total += 1,
                }
            }
            (Word::Hearing(place), End::Follower(follower)) => {
                if follower.place() == Some(place) {
                    follower.handle_subscribed(now);
                }
            }
            (Word::Part(bytes), End::Follower(follower)) => {
                self.counters.parts_heard_total += 1;
                let before = follower.changes_total;
                let heard = follower.handle_part(&bytes, now);
                self.counters.changes_heard_total += follower.changes_total - before;
                self.note(heard);
            }
            (Word::Answered(bytes), End::Follower(follower)) => {
                let answered = follower.handle_reply(&bytes);
                self.note(answered);
            }
            // Of what this node was before.
            (Word::Asked { .. }, End::Follower(_))
            | (Word::Hearing(_) | Word::Part(_) | Word::Answered(_), End::Owner(_)) => {}
        }
    }

    /// Goes on with the lease, and says what this node has become by it. `newest_epoch` is the newest that its market has given.
    pub fn look(&mut self, newest_epoch: Epoch, now: Now) -> Option<Change> {
        // What it gave before counts on: it may take the market again with nobody in between.
        self.newest_epoch = self.newest_epoch.max(newest_epoch);
        let newest_epoch = self.newest_epoch;
        if let Some(request) = self.lease.poll_request(newest_epoch, now) {
            self.wishes.push_back(Wish::Lease(request));
        }
        let role = self.lease.role(now);
        match (&mut self.end, role) {
            (End::Owner(_), Role::Owner { fence, end, .. }) if fence == self.fence && newest_epoch < end => {}
            (End::Owner(_), _) => {
                let (begin, began_ns) = self.began;
                let by_time = Epoch(begin.0 + now.mono_ns.saturating_sub(began_ns) / 1_000_000);
                self.newest_epoch = newest_epoch.max(by_time);
                return Some(Change::Cede);
            }
            // The lease is to reserve more first, as it does by its next request.
            (End::Follower(_), Role::Owner { end, .. }) if newest_epoch.0 + 1 >= end.0 => {}
            (End::Follower(_), Role::Owner { fence, begin, .. }) => {
                // The low bits of revisions differ from owner to owner.
                #[expect(clippy::cast_possible_truncation, reason = "those are what is wanted")]
                let life = fence.0 as u32;
                let begin = begin.max(Epoch(newest_epoch.0 + 1));
                self.began = (begin.max(Epoch(now.unix_ns / 1_000_000)), now.mono_ns);
                let (succession, is_halted) = (Succession { begin, life }, self.lease.is_halted());
                self.lease.set_halted(is_halted);
                return Some(Change::Own { fence, succession, is_halted });
            }
            (End::Follower(follower), Role::Follower { fence, .. }) => follower.handle_owner(fence),
            (End::Follower(_), Role::Nobody | Role::Spoiled) => {}
        }
        self.do_what_is_due(now);
        None
    }

    /// It has the market from here on, as [`Change::Own`] said.
    pub fn own(&mut self, fence: Fence, now: Now) {
        self.counters.takings_total += 1;
        self.fence = fence;
        self.counters = self.counters();
        self.end = End::Owner(Box::new(Owner::new(self.bridge(), self.config.market, fence, now)));
        self.hear_nothing();
        self.wishes.push_back(Wish::Listen(true));
    }

    /// It has no market from here on; `told` is what its shards were told of instruments, in the order of their numbers, and `before` what the market's
    /// home gave at its end.
    pub fn follow(&mut self, told: &[InstrumentState], before: Resetting) {
        // What it had to say as an owner is nobody's any more.
        self.wishes.retain(|wish| match wish {
            Wish::Tell(_) | Wish::Answer { .. } => false,
            Wish::Lease(_) | Wish::Ask(_) | Wish::Listen(_) | Wish::Hear(_) => true,
        });
        self.wishes.push_back(Wish::Listen(false));
        let mut follower = follower(&self.config, before);
        follower.remember(told);
        self.counters = self.counters();
        self.end = End::Follower(Box::new(follower));
    }

    /// Gives the market up if it has it, and does not take it any more.
    pub fn leave(&mut self, now: Now) {
        if !std::mem::replace(&mut self.is_leaving, true) {
            self.lease.release(now);
        }
    }

    /// Whether there is nothing that NATS is still to be asked so that another node can take over at once.
    #[must_use]
    pub fn may_go(&self) -> bool {
        !self.is_up || self.lease.is_idle()
    }

    /// Whether its own market is halted, for the owner after it.
    pub fn set_halted(&mut self, is_halted: bool) {
        self.lease.set_halted(is_halted);
    }

    /// What the market's home says to the bridge, or to where a node's clients ask from.
    pub fn handle_batch(&mut self, to: HomeId, batch: &Batch) {
        let bridge = self.bridge();
        match &mut self.end {
            End::Owner(owner) if to == bridge => owner.handle_batch(batch),
            End::Owner(owner) => owner.handle_words(to, batch),
            End::Follower(_) => panic!("invariant: only the market of an owner speaks to the bridge"),
        }
    }

    /// What other nodes want of the market's home, and from which home.
    pub fn poll_commands(&mut self) -> Option<(HomeId, Batch)> {
        match &mut self.end {
            End::Owner(owner) => owner.poll_commands(),
            End::Follower(_) => None,
        }
    }

    /// The end of a node that follows; none of an owner.
    pub fn follower(&mut self) -> Option<&mut Follower> {
        match &mut self.end {
            End::Owner(_) => None,
            End::Follower(follower) => Some(follower),
        }
    }

    /// By which it owns the market; none while it follows.
    #[must_use]
    pub fn owned_fence(&self) -> Option<Fence> {
        self.is_owner().then_some(self.fence)
    }

    #[must_use]
    pub fn is_owner(&self) -> bool {
        match self.end {
            End::Owner(_) => true,
            End::Follower(_) => false,
        }
    }

    /// What is wanted of NATS next.
    pub fn poll_wish(&mut self) -> Option<Wish> {
        if let Some(wish) = self.wishes.pop_front() {
            return Some(wish);
        }
        let End::Owner(owner) = &mut self.end else { return None };
        let part = owner.poll_part()?;
        self.counters.parts_told_total += 1;
        Some(Wish::Tell(part))
    }

    /// There was no room for a wish. What is told is the next wish again; of others somebody notices that they are lost, or they are wished for again.
    pub fn handle_refused(&mut self, wish: Wish, now: Now) {
        match wish {
            Wish::Lease(_) => self.lease.handle_answer(LeaseAnswer::Unknown, now),
            Wish::Tell(part) => {
                self.counters.parts_told_total -= 1;
                if let End::Owner(owner) = &mut self.end {
                    owner.put_back(part);
                }
            }
            Wish::Ask(_) | Wish::Answer { .. } => {}
            Wish::Listen(_) | Wish::Hear(_) => self.wishes.push_front(wish),
        }
    }

    /// When [`Node::look`] has something to do at the latest, on the monotonic clock.
    #[must_use]
    pub fn poll_timeout(&self, now: Now) -> u64 {
        let lease_ns = self.lease.poll_timeout().unwrap_or(u64::MAX);
        let own_ns = match &self.end {
            End::Owner(owner) => owner.poll_timeout(),
            End::Follower(follower) => follower.poll_timeout(),
        };
        // A lease that runs out is to be noticed though nothing else happens.
        lease_ns.min(own_ns).min(now.mono_ns + limits::CLUSTER_LOOK_NS)
    }

    /// Bytes of memory that it takes, about.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        match &self.end {
            End::Owner(owner) => owner.memory_bytes(),
            End::Follower(follower) => follower.memory_bytes(),
        }
    }

    /// What it did, by all ends that it has had.
    #[must_use]
    pub fn counters(&self) -> NodeCounters {
        let mut all = self.counters;
        match &self.end {
            End::Owner(owner) => {
                all.parts_dropped_total += owner.dropped_total();
                all.nodes_given_up_total += owner.given_up_total;
                all.nodes_deaf_total += owner.deaf_total;
            }
            End::Follower(follower) => all.not_sent_total += follower.not_sent_total,
        }
        all
    }

    #[must_use]
    pub fn standing(&self, now: Now) -> Standing {
        match (&self.end, self.lease.role(now)) {
            (_, Role::Spoiled) => Standing::Spoiled,
            (End::Owner(_), _) => Standing::Owner,
            (End::Follower(follower), Role::Follower { owner, .. }) if follower.is_told() => {
                Standing::Follower { owner }
            }
            (End::Follower(_), _) => Standing::Alone,
        }
    }

    #[must_use]
    pub fn is_up(&self) -> bool {
        self.is_up
    }

    /// The least that is believed of an owner.
    #[must_use]
    pub fn newest_fence(&self) -> Fence {
        self.lease.newest_fence()
    }

    /// Why a stream was given up since this was last asked, the last time.
    pub fn take_trouble(&mut self) -> Option<Trouble> {
        self.last_trouble.take()
    }

    fn do_what_is_due(&mut self, now: Now) {
        match &mut self.end {
            End::Owner(owner) => owner.handle_timeout(now),
            End::Follower(follower) => {
                let timely = follower.handle_timeout(now);
                let (request, place) = (follower.poll_request(now), follower.place());
                let awaits_hearing = follower.awaits_hearing();
                self.note(timely);
                self.wishes.extend(request.map(Wish::Ask));
                match place {
                    None => self.hear_nothing(),
                    Some(place) if awaits_hearing => self.hear(place, now),
                    // If it is to be heard anew, that is asked for at once.
                    Some(place) => self.heard = Some((place, 0)),
                }
            }
        }
    }

    fn hear_nothing(&mut self) {
        if self.heard.take().is_some() {
            self.wishes.push_back(Wish::Hear(None));
        }
    }

    /// Asks to hear a place, and again where that is not answered.
    fn hear(&mut self, place: Place, now: Now) {
        let is_asked = self
            .heard
            .is_some_and(|(of, asked_ns)| of == place && now.mono_ns < asked_ns + limits::CLUSTER_REQUEST_NS);
        if !is_asked {
            self.heard = Some((place, now.mono_ns));
            self.wishes.push_back(Wish::Hear(Some(place)));
        }
    }

    fn note(&mut self, outcome: Result<(), Trouble>) {
        if let Err(trouble) = outcome {
            self.counters.streams_lost_total += 1;
            self.last_trouble = Some(trouble);
        }
    }
}

fn follower(config: &NodeConfig, before: Resetting) -> Follower {
    let mut shards = HomeSet::EMPTY;
    (0..config.market.0).for_each(|shard| shards.insert(HomeId(shard)));
    Follower::new(config.name, config.incarnation, config.market, shards, before)
}
