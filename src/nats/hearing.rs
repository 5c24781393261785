//! What NATS brings: parts for this node's place, requests while it owns, answers, and this node's own echo, by which it knows that a subscription holds.
//!
//! Home: a task of the thread that speaks to NATS. Invariants: it never waits for the market's thread: what does not fit is dropped and counted; a request that wants its
//! answer elsewhere than at a node of this cluster is dropped; `Hearing` is said only when an echo came back that was sent behind the subscription.

use std::future;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::message::OutboundMessage;
use async_nats::{Client, Message, Subject, Subscriber};
use futures_util::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior};

use crate::clock;
use crate::cluster::names::{ClusterName, Place, subscription_of};
use crate::cluster::words::{Asker, Word};

use super::board::{NatsBoard, add};
use super::lanes::Outlet;
use super::link::Line;
use super::subjects::Subjects;

/// How often an echo is sent beside when one is waited for.
const ECHO: Duration = Duration::from_secs(1);
/// Messages of one subscription that are taken before others have their turn, and the market's thread is rung for.
const MESSAGES_PER_ROUND: usize = 64;

/// What the market's thread wants to be heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) listens: bool,
    pub(super) place: Option<Place>,
    /// How often a place was wished for: each is answered, but for those that another overtakes.
    pub(super) hears: u64,
}

/// See the file's head.
pub(super) struct Listener {
    line: Line,
    cluster: ClusterName,
    subjects: Subjects,
    outlet: Rc<Outlet>,
    board: Arc<NatsBoard>,
    wanted: watch::Receiver<Wanted>,
    /// What of `wanted` holds.
    holds: Wanted,
    parts: Option<Subscriber>,
    requests: Option<Subscriber>,
    echo: Echo,
}

#[derive(Default)]
struct Echo {
    sent: u64,
    sent_ns: u64,
    /// To be answered when an echo of this number or a later one comes back.
    awaited: Option<(Place, u64)>,
}

impl Listener {
    pub(super) fn new(
        line: Line,
        cluster: ClusterName,
        subjects: Subjects,
        outlet: Rc<Outlet>,
        wanted: watch::Receiver<Wanted>,
    ) -> Listener {
        let board = Arc::clone(&line.board);
        Listener {
            line,
            cluster,
            subjects,
            outlet,
            board,
            wanted,
            holds: Wanted::default(),
            parts: None,
            requests: None,
            echo: Echo::default(),
        }
    }

    /// Until the thread ends.
    pub(super) async fn listen(mut self) {
        let mut replies = subscribe(&self.line.client, self.subjects.replies.clone()).await;
        let mut echoes = subscribe(&self.line.client, self.subjects.echoes.clone()).await;
        let mut ticks = ticks();
        loop {
            tokio::select! {
                biased;
                Ok(()) = self.wanted.changed() => self.change().await,
                _ = ticks.tick() => self.send_echo().await,
                message = next(&mut echoes) => self.hear_echo(&message).await,
                message = next(&mut replies) => {
                    self.drain(message, &mut replies, Listener::hear_reply);
                }
                message = next(&mut self.requests) => {
                    let mut requests = self.requests.take();
                    self.drain(message, &mut requests, Listener::hear_request);
                    self.requests = requests;
                }
                message = next(&mut self.parts) => {
                    let mut parts = self.parts.take();
                    self.drain(message, &mut parts, Listener::hear_part);
                    self.parts = parts;
                }
            }
        }
    }

    async fn change(&mut self) {
        let wanted = *self.wanted.borrow_and_update();
        if wanted.listens != self.holds.listens {
            end(self.requests.take()).await;
            if wanted.listens {
                self.requests = subscribe(&self.line.client, self.subjects.requests.clone()).await;
            }
        }
        if wanted.place != self.holds.place {
            end(self.parts.take()).await;
            if let Some(place) = wanted.place {
                let subject = Subject::from(subscription_of(&self.cluster, place));
                self.parts = subscribe(&self.line.client, subject).await;
            }
        }
        if wanted.hears != self.holds.hears {
            self.echo.awaited = wanted.place.map(|place| (place, self.echo.sent + 1));
            self.send_echo().await;
        }
        self.holds = wanted;
    }

    /// Tells NATS something that comes back.
    async fn send_echo(&mut self) {
        let is_up = self.line.state.borrow().is_up;
        if !is_up {
            return;
        }
        self.echo.sent += 1;
        self.echo.sent_ns = clock::now().mono_ns;
        let payload = self.echo.sent.to_le_bytes().to_vec().into();
        let subject = self.subjects.echoes.clone();
        self.line.publish(OutboundMessage { subject, reply: None, payload, headers: None }).await;
    }

    async fn hear_echo(&mut self, message: &Message) {
        let Ok(number) = <[u8; 8]>::try_from(&*message.payload).map(u64::from_le_bytes) else { return };
        if number == self.echo.sent {
            let took_ns = clock::now().mono_ns.saturating_sub(self.echo.sent_ns);
            self.board.round_trip_ns.store(took_ns, Ordering::Relaxed);
        }
        if let Some((place, _)) = self.echo.awaited.take_if(|(_, awaited)| number >= *awaited) {
            self.outlet.answer(Word::Hearing(place)).await;
        }
    }

    /// Takes a message and those that have come behind it.
    fn drain(
        &mut self,
        first: Message,
        more: &mut Option<Subscriber>,
        hear: fn(&Listener, Message) -> Option<Word>,
    ) {
        let mut message = Some(first);
        let mut left = MESSAGES_PER_ROUND;
        while let Some(one) = message.take() {
            self.tell(one, hear);
            left -= 1;
            if left > 0 {
                message = next(more).now_or_never();
            }
        }
        self.outlet.ring();
    }

    fn tell(&self, message: Message, hear: fn(&Listener, Message) -> Option<Word>) {
        let bytes = message.payload.len() as u64;
        let Some(word) = hear(self, message) else {
            return add(&self.board.dropped_strange, 1);
        };
        if self.outlet.hear(word) {
            add(&self.board.heard_messages, 1);
            add(&self.board.heard_bytes, bytes);
        } else {
            add(&self.board.dropped_behind, 1);
        }
    }

    fn hear_part(&self, message: Message) -> Option<Word> {
        Some(Word::Part(message.payload.into()))
    }

    fn hear_reply(&self, message: Message) -> Option<Word> {
        Some(Word::Answered(message.payload.into()))
    }

    fn hear_request(&self, message: Message) -> Option<Word> {
        let reply = message.reply.filter(|reply| self.subjects.is_for_replies(reply))?;
        Some(Word::Asked { from: Asker(reply.to_string()), bytes: message.payload.into() })
    }
}

/// The next message of a subscription that there is, else never.
async fn next(subscriber: &mut Option<Subscriber>) -> Message {
    if let Some(subscriber) = subscriber
        && let Some(message) = subscriber.next().await
    {
        return message;
    }
    future::pending().await
}

/// It holds for as long as the subscriber lives, also over reconnections. `None` where the client has ended, with the thread.
async fn subscribe(client: &Client, subject: Subject) -> Option<Subscriber> {
    client.subscribe(subject).await.ok()
}

async fn end(subscriber: Option<Subscriber>) {
    if let Some(mut subscriber) = subscriber {
        // Only a client that has ended cannot.
        let _ = subscriber.unsubscribe().await;
    }
}

fn ticks() -> Interval {
    let mut ticks = tokio::time::interval(ECHO);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
