//! How operators ask a shard what it holds, and the venue's thread of its messages: a queue of one question to each, one of one
//! answer back, and a doorbell.
//!
//! Home: each shard, and the venue, has its [`InspectPort`], the control thread the [`Inspector`]. Invariants: at most one question of a
//! shard is under way, so that neither side ever finds a queue full; a shard takes no lock and waits for nobody, and answers
//! over as many turns as it takes; the control thread waits so long and no longer, and what comes too late is dropped before
//! the next question.

use std::sync::Arc;
use std::time::Duration;

use rtrb::{Consumer, Producer, RingBuffer};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::api::shards::ShardState;
use crate::doorbell::Doorbell;
use crate::hub::batch::PublishRefusal;
use crate::hub::inspect::{ConnectionOrder, ConnectionsWalk, TopicOrder, TopicsWalk, TraceOutcome};
use crate::model::channel::TopicName;
use crate::model::ids::{ConnId, Position};
use crate::model::invalidation::Invalidation;
use crate::model::message::{MessageAnswer, MessageRefusal, MessageRequest};

/// How long an answer is waited for, the end of an earlier question included.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the control thread looks for it.
const LOOK: Duration = Duration::from_millis(1);

/// What a shard is asked.
#[derive(Clone, Debug)]
pub enum Question {
    Connections {
        order: ConnectionOrder,
        limit: usize,
    },
    Topics {
        order: TopicOrder,
        limit: usize,
    },
    /// To time the sends of a connection from now on, or no longer.
    Trace {
        conn: ConnId,
        is_on: bool,
    },
    /// What it is about.
    State,
    /// To publish this to a topic whose home it is, or, in a cluster, to have it sequenced by the market's home.
    Publish {
        name: TopicName,
        data: Box<[u8]>,
    },
    /// To forget kept results of backends.
    Invalidate(Arc<Invalidation>),
    /// Of the venue alone: what the office of messages is asked by who operates the gateway.
    Office(MessageRequest),
}

/// What it says.
#[derive(Debug)]
pub enum Reply {
    Connections(ConnectionsWalk),
    Topics(TopicsWalk),
    Traced(TraceOutcome),
    State(Box<ShardState>),
    Published(Result<Position, PublishRefusal>),
    Invalidated,
    Office(Result<MessageAnswer, MessageRefusal>),
}

/// A shard's end.
#[derive(Debug)]
pub struct InspectPort {
    questions: Consumer<Question>,
    replies: Producer<Reply>,
}

/// The control thread's end of one shard.
#[derive(Debug)]
struct Line {
    questions: Producer<Question>,
    replies: Consumer<Reply>,
    doorbell: Doorbell,
    /// What was asked is not answered yet, or nobody took the answer.
    is_asked: bool,
}

/// The control thread's ends of all shards, and of the venue, which comes last.
#[derive(Debug, Default)]
pub struct Inspector {
    lines: Vec<Arc<Mutex<Line>>>,
}

/// The ends for shards with these doorbells, and for the venue with the last of them.
#[must_use]
pub fn ports(doorbells: impl IntoIterator<Item = Doorbell>) -> (Inspector, Vec<InspectPort>) {
    let (mut lines, mut ports) = (Vec::new(), Vec::new());
    for doorbell in doorbells {
        let (asking, questions) = RingBuffer::new(1);
        let (replies, hearing) = RingBuffer::new(1);
        ports.push(InspectPort { questions, replies });
        let line = Line { questions: asking, replies: hearing, doorbell, is_asked: false };
        lines.push(Arc::new(Mutex::new(line)));
    }
    (Inspector { lines }, ports)
}

impl InspectPort {
    /// What is asked, once. It is to be answered before the next is looked for.
    pub fn receive(&mut self) -> Option<Question> {
        self.questions.pop().ok()
    }

    /// # Panics
    /// Nothing was asked.
    pub fn answer(&mut self, reply: Reply) {
        self.replies.push(reply).expect("invariant: the next question comes after the answer was taken");
    }
}

impl Inspector {
    /// How many shards there are.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.lines.len().saturating_sub(1)
    }

    /// The number to ask the venue by.
    #[must_use]
    pub fn venue(&self) -> usize {
        self.shards()
    }

    /// Asks one shard, or the venue; `None` where it does not answer in time.
    pub async fn ask(&self, shard: usize, question: Question) -> Option<Reply> {
        let line = Arc::clone(self.lines.get(shard)?);
        ask_line(line, question).await
    }

    /// Asks these shards at a time; each with its answer, in their order, `None` where it does not answer in time.
    pub async fn ask_each(
        &self,
        questions: impl IntoIterator<Item = (usize, Question)>,
    ) -> Vec<(usize, Option<Reply>)> {
        let mut asks = JoinSet::new();
        for (shard, question) in questions {
            let line = Arc::clone(&self.lines[shard]);
            asks.spawn(async move { (shard, ask_line(line, question).await) });
        }
        let mut replies = asks.join_all().await;
        replies.sort_unstable_by_key(|(shard, _)| *shard);
        replies
    }
}

async fn ask_line(line: Arc<Mutex<Line>>, question: Question) -> Option<Reply> {
    let asked = async {
        let mut line = line.lock().await;
        // What somebody did not wait for.
        line.settle().await?;
        line.is_asked = true;
        line.questions.push(question).expect("invariant: one question is under way, and this is it");
        line.doorbell.ring();
        line.settle().await?
    };
    tokio::time::timeout(PATIENCE, asked).await.ok().flatten()
}

impl Line {
    /// Waits for the answer to what was asked, if anything was; `None` where the shard has ended.
    async fn settle(&mut self) -> Option<Option<Reply>> {
        while self.is_asked {
            if let Ok(reply) = self.replies.pop() {
                self.is_asked = false;
                return Some(Some(reply));
            }
            if self.replies.is_abandoned() {
                return None;
            }
            tokio::time::sleep(LOOK).await;
        }
        Some(None)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use nix::poll::PollTimeout;

    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
    }

    fn question() -> Question {
        Question::Topics { order: TopicOrder::Deliveries, limit: 3 }
    }

    fn answered(reply: Option<&Reply>) -> bool {
        reply.is_some_and(|reply| matches!(reply, Reply::Topics(_)))
    }

    fn topics() -> Reply {
        Reply::Topics(TopicsWalk::new(TopicOrder::Deliveries, 3))
    }

    #[test]
    fn each_shard_is_rung_for_and_answers_for_itself() {
        let doorbells = [Doorbell::new().unwrap(), Doorbell::new().unwrap()];
        let (inspector, ports) = ports(doorbells.clone());
        assert_eq!((inspector.shards(), inspector.venue()), (1, 1), "the last one is the venue's");
        let shards: Vec<_> = ports
            .into_iter()
            .zip(doorbells)
            .map(|(mut port, doorbell)| {
                thread::spawn(move || {
                    doorbell.rings(PollTimeout::NONE);
                    assert!(matches!(port.receive(), Some(Question::Topics { limit: 3, .. })));
                    assert!(port.receive().is_none(), "asked once");
                    port.answer(topics());
                })
            })
            .collect();
        let replies = runtime().block_on(inspector.ask_each([(1, question()), (0, question())]));
        let shown: Vec<_> = replies.iter().map(|(shard, reply)| (*shard, answered(reply.as_ref()))).collect();
        assert_eq!(shown, [(0, true), (1, true)]);
        shards.into_iter().for_each(|shard| shard.join().unwrap());
    }

    #[test]
    fn what_comes_too_late_is_no_answer_to_the_next_question() {
        let (inspector, mut ports) = ports([Doorbell::new().unwrap()]);
        let runtime = runtime();
        assert!(runtime.block_on(inspector.ask(0, question())).is_none(), "a shard that does not turn");
        assert!(matches!(ports[0].receive(), Some(Question::Topics { .. })));
        ports[0].answer(topics());
        let mut port = ports.remove(0);
        let conn = ConnId { slot: 1, generation: 1 };
        let shard = thread::spawn(move || {
            loop {
                if let Some(asked) = port.receive() {
                    assert!(matches!(asked, Question::Trace { .. }));
                    return port.answer(Reply::Traced(TraceOutcome::Gone));
                }
                thread::yield_now();
            }
        });
        let reply = runtime.block_on(inspector.ask(0, Question::Trace { conn, is_on: true }));
        assert!(matches!(reply, Some(Reply::Traced(TraceOutcome::Gone))), "{reply:?}");
        shard.join().unwrap();
    }

    #[test]
    fn a_shard_that_has_ended_is_not_waited_for() {
        let (inspector, ports) = ports([Doorbell::new().unwrap()]);
        drop(ports);
        // Without the patience of `ask`: who waited here would wait for ever.
        let settled = runtime().block_on(async {
            let mut line = inspector.lines[0].lock().await;
            line.is_asked = true;
            line.settle().await
        });
        assert!(settled.is_none());
    }
}
