//! A shard's answers to operators' questions, a bounded number of slots a turn. Home: its shard, between its turns' input
//! and output. Invariant: without a question a turn looks at one empty queue, and no more.

use crate::hub::inspect::{ConnectionsWalk, TopicsWalk, Walked};
use crate::inspect::{InspectPort, Question, Reply};
use crate::limits;

use super::Shard;

/// The shard's end, and what it goes through.
#[derive(Debug)]
pub(super) struct Inspecting {
    port: InspectPort,
    walk: Option<Walk>,
}

#[derive(Debug)]
enum Walk {
    Connections(ConnectionsWalk),
    Topics(TopicsWalk),
}

impl Inspecting {
    pub(super) fn new(port: InspectPort) -> Inspecting {
        Inspecting { port, walk: None }
    }

    /// Whether the next turn has something to go on with.
    pub(super) fn is_under_way(&self) -> bool {
        self.walk.is_some()
    }
}

impl Shard {
    /// Goes on with what operators ask; whether there was anything to do.
    pub(super) fn take_question(&mut self) -> bool {
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
                Question::Publish { name, data } => {
                    let outcome = self.hub.handle_publish(name, &data, self.now);
                    self.inspecting.port.answer(Reply::Published(outcome));
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
}
