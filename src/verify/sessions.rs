//! A cluster's named sessions, for the thread that judges log-ins: what waits for their bucket, and what is to be ended there.
//!
//! Home: that thread. Invariants: nobody else's log-in waits for the bucket; what waits is bounded, and each has one request under way, which is answered; a session
//! that is to be ended is tried until it is, or until the thread ends.

use std::time::Duration;

use slab::Slab;

use crate::auth::{
    Authority, BucketAnswer, BucketRequest, BucketWord, Ending, Inquiry, Judged, Refusal, Verdict,
};
use crate::hub::batch::Ticket;
use crate::limits;
use crate::model::time::Now;
use crate::nats::{SessionPort, SessionWord};

/// Words that are taken before log-ins have their turn.
const WORDS_PER_ROUND: usize = 256;
/// From one try to end sessions that the bucket has not answered about, or refuses to end, to the next.
const RETRY_NS: u64 = 1_000_000_000;

/// Who waits for an answer of the bucket.
enum Waiting {
    Judging {
        /// The shard's.
        line: usize,
        ticket: Ticket,
        inquiry: Box<Inquiry>,
    },
    Ending(Ending),
}

/// See the file's head.
pub(super) struct SharedLine {
    port: SessionPort,
    waiting: Slab<Waiting>,
    endings: usize,
    /// Nothing is ended before.
    retry_ns: u64,
    /// Since when there is a stop.
    stopping_ns: Option<u64>,
}

impl SharedLine {
    pub(super) fn new(port: SessionPort) -> SharedLine {
        SharedLine { port, waiting: Slab::new(), endings: 0, retry_ns: 0, stopping_ns: None }
    }

    /// Asks for a log-in; one that there is no room for is refused.
    pub(super) fn ask(&mut self, line: usize, ticket: Ticket, inquiry: Box<Inquiry>) -> Result<(), Verdict> {
        if self.waiting.len() - self.endings >= limits::SESSION_INQUIRIES_MAX {
            return Err(Verdict::Refused(Refusal::Full));
        }
        let request = inquiry.request();
        self.send(Waiting::Judging { line, ticket, inquiry }, request);
        Ok(())
    }

    /// Takes what the bucket says, and has `say` hear of each verdict; whether there was anything.
    pub(super) fn receive(
        &mut self,
        authority: &mut Authority,
        now: Now,
        mut say: impl FnMut(usize, Ticket, Verdict),
    ) -> bool {
        let mut taken = 0;
        while taken < WORDS_PER_ROUND
            && let Some(word) = self.port.receive()
        {
            taken += 1;
            match word {
                SessionWord::Told(word) => {
                    if word == BucketWord::Complete {
                        self.retry_ns = 0;
                    }
                    authority.handle_bucket_word(word, now);
                }
                SessionWord::Answered { number, answer } => {
                    let waiting = self.waiting.remove(number as usize);
                    self.proceed(waiting, answer, authority, now, &mut say);
                }
            }
        }
        taken > 0
    }

    /// Begins to end what is to be ended, and sends what is to be asked.
    pub(super) fn flush(&mut self, authority: &mut Authority, now_ns: u64) {
        while self.endings < limits::SESSION_ENDINGS_MAX
            && now_ns >= self.retry_ns
            && let Some(ending) = authority.poll_ending()
        {
            self.endings += 1;
            let request = ending.request();
            self.send(Waiting::Ending(ending), request);
        }
        self.port.flush();
    }

    /// How long the thread may sleep at most; `None` where nothing but a word is waited for.
    pub(super) fn wait(&self, authority: &Authority, now_ns: u64) -> Option<Duration> {
        let is_put_off = authority.has_endings() && self.endings == 0;
        is_put_off.then(|| Duration::from_nanos(self.retry_ns.saturating_sub(now_ns)))
    }

    /// Whether a stop has to wait no more: all is ended that is to be, or its time is over.
    pub(super) fn is_done(&mut self, authority: &Authority, now_ns: u64) -> bool {
        let since_ns = *self.stopping_ns.get_or_insert(now_ns);
        if !authority.has_endings() {
            return true;
        }
        let is_late = now_ns >= since_ns + limits::SESSION_STOP_NS_MAX;
        if is_late {
            log::warn!("some named sessions were ended on this node alone: NATS has not answered");
        }
        is_late
    }

    fn proceed(
        &mut self,
        waiting: Waiting,
        answer: BucketAnswer,
        authority: &mut Authority,
        now: Now,
        say: &mut impl FnMut(usize, Ticket, Verdict),
    ) {
        match waiting {
            Waiting::Judging { line, ticket, inquiry } => match authority.proceed(inquiry, answer, now) {
                Judged::Verdict(verdict) => say(line, ticket, verdict),
                Judged::Asks(inquiry) => {
                    let request = inquiry.request();
                    self.send(Waiting::Judging { line, ticket, inquiry }, request);
                }
            },
            Waiting::Ending(ending) => {
                let is_over = matches!(answer, BucketAnswer::Holds { .. } | BucketAnswer::Written { .. });
                match authority.proceed_ending(ending, answer) {
                    Some(ending) => {
                        let request = ending.request();
                        self.send(Waiting::Ending(ending), request);
                    }
                    None => {
                        self.endings -= 1;
                        if !is_over {
                            self.retry_ns = now.mono_ns + RETRY_NS;
                        }
                    }
                }
            }
        }
    }

    fn send(&mut self, waiting: Waiting, request: BucketRequest) {
        let number = u32::try_from(self.waiting.insert(waiting)).expect("invariant: few wait");
        let is_sent = self.port.send(number, request);
        assert!(is_sent, "there is room for all that may wait");
    }
}
