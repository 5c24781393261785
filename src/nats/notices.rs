//! What nodes tell each other of kept results (`cluster/notices.rs`), between control and NATS: each hears what the others say.
//!
//! Home: control has the [`NoticePort`], the thread that speaks to NATS the other ends. Invariants: nobody waits for the other side: what does not fit, or comes while
//! NATS is away, is dropped and counted, for the numbers in it tell those who miss it; that NATS was away is always told.

use async_nats::message::OutboundMessage;
use async_nats::{Message, Subject, Subscriber};
use futures_util::StreamExt;
use tokio::sync::{mpsc, watch};

use crate::limits;

use super::board::add;
use super::link::{Line, LinkState};

/// Control's end.
#[derive(Debug)]
pub struct NoticePort {
    telling: mpsc::Sender<Vec<u8>>,
    heard: mpsc::Receiver<Vec<u8>>,
    state: watch::Receiver<LinkState>,
    /// Which of the connections was told of last.
    connects_told: u64,
}

/// What control hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoticeWord {
    /// NATS is there, for the first time or again: what was said meanwhile was not heard here.
    Back,
    Heard(Vec<u8>),
}

#[derive(Debug)]
pub(super) struct NoticeEnds {
    told: mpsc::Receiver<Vec<u8>>,
    hearing: mpsc::Sender<Vec<u8>>,
    state: watch::Sender<LinkState>,
}

pub(super) fn ends() -> (NoticePort, NoticeEnds) {
    let (telling, told) = mpsc::channel(limits::NATS_NOTICES_MAX);
    let (hearing, heard) = mpsc::channel(limits::NATS_NOTICES_MAX);
    let (stating, state) = watch::channel(LinkState::default());
    (NoticePort { telling, heard, state, connects_told: 0 }, NoticeEnds { told, hearing, state: stating })
}

impl NoticePort {
    /// Whether NATS is there.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.state.borrow().is_up
    }

    /// Has all nodes told, this one too, if NATS is there; whether it was, and there was room.
    pub fn tell(&self, bytes: Vec<u8>) -> bool {
        self.is_up() && self.telling.try_send(bytes).is_ok()
    }

    /// The next word; `None` where the thread that speaks to NATS has ended. May be dropped while it waits.
    pub async fn next(&mut self) -> Option<NoticeWord> {
        loop {
            let LinkState { is_up, connects } = *self.state.borrow_and_update();
            if is_up && connects != self.connects_told {
                self.connects_told = connects;
                return Some(NoticeWord::Back);
            }
            tokio::select! {
                biased;
                changed = self.state.changed() => changed.ok()?,
                heard = self.heard.recv() => return heard.map(NoticeWord::Heard),
            }
        }
    }
}

/// Until the thread ends, or control has.
pub(super) async fn carry(mut line: Line, subject: Subject, ends: NoticeEnds) {
    let NoticeEnds { mut told, hearing, state: stating } = ends;
    let mut state = line.state.clone();
    // Once it is there, so that nothing is said to be there that is not heard.
    let mut subscriber = line.client.subscribe(subject.clone()).await.ok();
    loop {
        stating.send_replace(*state.borrow_and_update());
        tokio::select! {
            biased;
            changed = state.changed() => if changed.is_err() { return },
            message = next(&mut subscriber) => {
                if hearing.try_send(message.payload.into()).is_err() {
                    add(&line.board.dropped_behind, 1);
                }
            }
            bytes = told.recv() => {
                let Some(bytes) = bytes else { return };
                let payload = bytes.into();
                // Who is not told sees so by the next number.
                let message = OutboundMessage { subject: subject.clone(), reply: None, payload, headers: None };
                let _ = line.publish(message).await;
            }
        }
    }
}

/// `None` is a subscription of a client that has ended, with the thread.
async fn next(subscriber: &mut Option<Subscriber>) -> Message {
    if let Some(subscriber) = subscriber
        && let Some(message) = subscriber.next().await
    {
        return message;
    }
    std::future::pending().await
}
