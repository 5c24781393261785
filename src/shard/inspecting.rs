//! A shard's answers to operators' questions, a bounded number of slots a turn. Home: its shard, between its turns' input
//! and output. Invariant: without a question a turn looks at one empty queue, and no more.

use crate::api::shards::ShardState;
use crate::hub::inspect::{ConnectionsWalk, TopicsWalk, Walked};
use crate::inspect::{InspectPort, Question, Reply};
use crate::limits;

use super::{Shard, Spin};

/// The shard's end, and what it goes through.
#[derive(Debug)]
pub(super) struct Inspecting {
    port: InspectPort,
    walk: Option<Walk>,
    /// What was published is on its way to its topic's home; another thread's word ends that.
    is_publishing: bool,
}

#[derive(Debug)]
enum Walk {
    Connections(ConnectionsWalk),
    Topics(TopicsWalk),
}

impl Inspecting {
    pub(super) fn new(port: InspectPort) -> Inspecting {
        Inspecting { port, walk: None, is_publishing: false }
    }

    /// Whether the next turn has something to go on with.
    pub(super) fn is_under_way(&self) -> bool {
        self.walk.is_some()
    }
}

impl Shard {
    /// Goes on with what operators ask; whether there was anything to do.
    pub(super) fn take_question(&mut self) -> bool {
        if self.inspecting.is_publishing {
            let Some(outcome) = self.hub.take_published() else { return false };
            self.inspecting.is_publishing = false;
            self.inspecting.port.answer(Reply::Published(outcome));
            return true;
        }
        let Some(walk) = self.inspecting.walk.take() else {
            let Some(question) = self.inspecting.port.receive() else { return false };
            match question {
                Question::Connections { order, limit } => {
                    self.inspecting.walk = Some(Walk::Connections(ConnectionsWalk::new(order, limit)));
                }
                Question::Topics { order, limit } => {
                    self.inspecting.walk = Some(Walk::Topics(TopicsWalk::new(order, limit)));
                }
                Question::Trace { conn, is_on } => {
                    let outcome = self.hub.trace(conn, is_on);
                    self.inspecting.port.answer(Reply::Traced(outcome));
                }
                Question::State => {
                    let state = Box::new(self.state());
                    self.inspecting.port.answer(Reply::State(state));
                }
                Question::Publish { name, data } => match self.hub.handle_publish(name, &data, self.now) {
                    Some(outcome) => self.inspecting.port.answer(Reply::Published(outcome)),
                    None => self.inspecting.is_publishing = true,
                },
                Question::Invalidate(invalidation) => {
                    self.hub.handle_invalidation(&invalidation, self.now);
                    self.inspecting.port.answer(Reply::Invalidated);
                }
                Question::Office(_) => {
                    unreachable!("invariant: the office is at the venue, which alone is asked for it")
                }
            }
            return true;
        };
        self.walk_on(walk);
        true
    }

    fn walk_on(&mut self, walk: Walk) {
        let (steps, now_ns) = (limits::INSPECTED_PER_TURN, self.now.mono_ns);
        let (walked, walk) = match walk {
            Walk::Connections(mut walk) => {
                let peer_of = |conn| self.guests.peer(conn);
                let walked = self.hub.walk_connections(&mut walk, steps, now_ns, peer_of);
                (walked, Walk::Connections(walk))
            }
            Walk::Topics(mut walk) => (self.hub.walk_topics(&mut walk, steps), Walk::Topics(walk)),
        };
        match (walked, walk) {
            (Walked::AsFarAsAllowed, walk) => self.inspecting.walk = Some(walk),
            (Walked::ToTheEnd, Walk::Connections(walk)) => {
                self.inspecting.port.answer(Reply::Connections(walk));
            }
            (Walked::ToTheEnd, Walk::Topics(walk)) => self.inspecting.port.answer(Reply::Topics(walk)),
        }
    }

    /// As it is between two turns. It goes once over the slots of connections and of the mesh, as many as there are.
    fn state(&self) -> ShardState {
        let Shard { hub, ring, mesh, secure, .. } = self;
        let now_ns = self.now.mono_ns;
        let homes = 0..mesh.peers();
        let free = |home| (home != mesh.home()).then(|| mesh.data_free(home));
        ShardState {
            turns_total: self.turns_total,
            parks_total: self.parks_total,
            busy_turns_total: self.busy_turns_total,
            busy_ns_total: self.busy_ns_total,
            turn_ns_max: self.turn_ns_max,
            turn_ns_mean: self.turn_load.mean_ns(),
            idle_ns: now_ns.saturating_sub(self.worked_ns),
            spin_ns: match self.spin {
                Spin::ForNs(spin_ns) => Some(u64::from(spin_ns)),
                Spin::Always => None,
            },
            stance: hub.stance().label(),
            costliest_bytes: hub.costliest_bytes(),
            connections: hub.connection_count(),
            ring_connections: ring.connections(),
            send_buffers_in_use: ring.send_buffers_in_use(),
            sends_unbuffered_total: ring.counters().sends_unbuffered_total,
            is_unbuffered: self.unbuffered,
            data_count: hub.data_count(),
            round: self.round,
            flush_due_ns: self.pace.due_ns().saturating_sub(now_ns),
            owed_bytes: self.owed_bytes,
            timer_due_ns: hub.poll_timeout().map(|due_ns| due_ns.saturating_sub(now_ns)),
            mesh_free: homes.map(free).collect(),
            lagging: hub.lagging().iter().map(|home| home.0).collect(),
            commands_wait: self.carry.is_waiting(),
            joins_wait: hub.joins_wait(),
            questions_wait: hub.has_questions(),
            memory_bytes: hub.memory_bytes() + ring.memory_bytes() + secure.memory_bytes(),
            history_bytes: hub.history_bytes(),
            home_topics: hub.topic_count(),
            is_stopping: self.stop_by_ns.is_some(),
            leaving: self.leaving.clients,
            told: self.leaving.told,
            holds: hub.occupancy(),
        }
    }
}
