//! Between the thread that judges log-ins and the thread that speaks to NATS: requests about a cluster's sessions one way, their answers and what the bucket tells the
//! other way.
//!
//! Home: the one has the [`SessionPort`], the other the [`SessionEnds`]. Invariants: each request has one answer, whatever NATS does; there is room for all that may be
//! under way; what is told waits for room; what was pushed is seen: the one rings for a sleeper, the other unparks.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::Thread;

use crate::auth::{BucketAnswer, BucketRequest, BucketWord};
use crate::limits;

use super::lanes::{Inlet, InletParts, RETRY, Receiver, Sender, Waiting, queue};

/// What the thread that judges hears.
#[derive(Debug, PartialEq, Eq)]
pub enum SessionWord {
    /// The request that was sent with this number.
    Answered {
        number: u32,
        answer: BucketAnswer,
    },
    Told(BucketWord),
}

#[derive(Debug)]
pub(super) struct SessionRequest {
    pub(super) number: u32,
    pub(super) request: BucketRequest,
}

/// The end of the thread that judges.
#[derive(Debug)]
pub struct SessionPort {
    requests: Sender<SessionRequest>,
    inlet: Waiting,
    words: Receiver<SessionWord>,
}

/// The end of the thread that speaks to NATS, for [`super::start`].
#[derive(Debug)]
pub struct SessionEnds {
    requests: Receiver<SessionRequest>,
    waiting: Waiting,
    words: Sender<SessionWord>,
}

/// By which the thread that judges is told, by any task.
#[derive(Debug)]
pub(super) struct SessionOutlet {
    words: RefCell<Sender<SessionWord>>,
    thread: Thread,
}

/// Both ends.
///
/// # Errors
/// The process is out of descriptors.
pub fn session_lanes() -> io::Result<(SessionPort, SessionEnds)> {
    let waiting = Waiting::new()?;
    let (requests, taken) = queue(limits::SESSION_INQUIRIES_MAX + limits::SESSION_ENDINGS_MAX, |_| 0);
    let (telling, words) = queue(limits::SESSION_WORDS_MAX, |_| 0);
    let port = SessionPort { requests, inlet: waiting.clone(), words };
    Ok((port, SessionEnds { requests: taken, waiting, words: telling }))
}

impl SessionPort {
    /// Sends a request, which is answered by its number; numbers are the caller's. False where there is no room: nobody answers then.
    pub fn send(&mut self, number: u32, request: BucketRequest) -> bool {
        self.requests.send(SessionRequest { number, request }).is_ok()
    }

    /// Wakes the thread if it sleeps and something was sent to it.
    pub fn flush(&mut self) {
        if self.requests.take_unannounced() {
            self.inlet.wake();
        }
    }

    pub fn receive(&mut self) -> Option<SessionWord> {
        self.words.receive()
    }
}

impl SessionEnds {
    /// For who is unparked as this thread, until `stop`.
    pub(super) fn part(
        self,
        thread: Thread,
        stop: &Arc<AtomicBool>,
    ) -> (InletParts<SessionRequest>, SessionOutlet) {
        let parts = InletParts { queue: self.requests, waiting: self.waiting, stop: Arc::clone(stop) };
        (parts, SessionOutlet { words: self.words.into(), thread })
    }

    pub(super) fn doorbell(&self) -> crate::doorbell::Doorbell {
        self.waiting.doorbell.clone()
    }
}

/// The other end of a [`SessionPort`], in the runtime.
pub(super) type SessionInlet = Inlet<SessionRequest>;

impl SessionOutlet {
    /// Waits for room, as long as somebody listens.
    pub(super) async fn say(&self, mut word: SessionWord) {
        while !self.words.borrow().is_abandoned() {
            let sent = self.words.borrow_mut().send(word);
            self.thread.unpark();
            match sent {
                Ok(()) => return,
                Err(back) => word = back,
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{SessionKey, Wanted};

    #[test]
    fn there_is_room_for_all_that_may_be_under_way_and_no_more() {
        let (mut port, _ends) = session_lanes().unwrap();
        let key = SessionKey::parse(&"01".repeat(32)).unwrap();
        let request = BucketRequest { key, wanted: Wanted::Read { waits: false } };
        for number in 0..limits::SESSION_INQUIRIES_MAX + limits::SESSION_ENDINGS_MAX {
            assert!(port.send(u32::try_from(number).unwrap(), request.clone()));
        }
        assert!(!port.send(0, request));
    }
}
