//! One receiver of a soak: how it behaves, and what it has received. Home: the load thread.
//! Invariants: a number that was never sent, one that comes again without being marked, or a first one behind a later one fails the run.

use std::collections::VecDeque;

use crate::client::Single;
use crate::clock::{MILLISECOND_NS, SECOND_NS};
use crate::failure::{Failure, Result};
use crate::scenarios::messages::site;
use crate::scenarios::messages::texts::{AckFrame, Delivered, Reader, Said};
use crate::secure::Target;

/// Messages under way to a receiver that keeps up, and to one that does not.
const UNDER_WAY_MAX: u32 = 64;
const UNDER_WAY_SLOW_MAX: u32 = 4;
/// What one that comes and goes has not confirmed when it does: it is delivered again.
const LEFT_BEHIND: usize = 3;
/// How long one that comes and goes stays, and stays away: from the first to as much more.
const STAY_NS: u64 = SECOND_NS;
const AWAY_NS: u64 = 500 * MILLISECOND_NS;

/// How a receiver behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// It is there, and confirms at once.
    Steady,
    /// It is there, and confirms half of what is sent.
    Slow,
    /// It comes, confirms all but the last, and goes without a word, again and again.
    Flapping,
    /// It comes once all has been sent.
    Absent,
}

impl Manner {
    pub(super) const ALL: [Manner; 4] = [Manner::Steady, Manner::Slow, Manner::Flapping, Manner::Absent];
}

/// What was received of one stream.
#[derive(Debug, Clone, Default)]
pub(super) struct Received {
    has: Vec<bool>,
    pub(super) distinct: u64,
    pub(super) repeated: u64,
}

impl Received {
    /// A delivery of number `number`, of which `sent` were sent so far.
    pub(super) fn note(&mut self, number: u64, is_again: bool, sent: u64) -> Result<()> {
        let odd = |what: &str| Failure::Protocol(format!("message {number} of {sent} {what}"));
        if sent <= number {
            return Err(odd("was never sent"));
        }
        let place = usize::try_from(number).expect("invariant: usize has 64 bits here");
        if self.has.get(place).copied().unwrap_or(false) {
            self.repeated += 1;
            return if is_again { Ok(()) } else { Err(odd("came again and does not say so")) };
        }
        if place < self.has.len() {
            return Err(odd("came behind a later one"));
        }
        self.has.resize(place, false);
        self.has.push(true);
        self.distinct += 1;
        Ok(())
    }
}

/// See the file's head.
pub(super) struct Receiver {
    pub(super) manner: Manner,
    pub(super) received: Received,
    user: usize,
    line: Option<Single>,
    /// Connections so far.
    pub(super) visits: u64,
    /// When one that comes and goes does so next.
    turns_ns: u64,
    /// Delivered and not confirmed, the oldest first.
    unconfirmed: VecDeque<u64>,
    confirms_ns: u64,
    distance_ns: u64,
    ack: AckFrame,
}

impl Receiver {
    /// Of user `user`, of whom a slow one confirms once in `distance_ns`.
    pub(super) fn new(manner: Manner, user: usize, distance_ns: u64) -> Receiver {
        Receiver {
            manner,
            received: Received::default(),
            user,
            line: None,
            visits: 0,
            turns_ns: 0,
            unconfirmed: VecDeque::new(),
            confirms_ns: 0,
            distance_ns,
            ack: AckFrame::new(),
        }
    }

    /// Comes and goes as it is its manner, hears what there is, and confirms; whether it heard something.
    pub(super) fn turn(
        &mut self,
        target: Target,
        reader: &Reader,
        sent: u64,
        now_ns: u64,
        chance: &mut Chance,
    ) -> Result<bool> {
        match self.manner {
            Manner::Absent => return Ok(false),
            Manner::Steady | Manner::Slow if self.line.is_none() => self.come(target)?,
            Manner::Flapping if self.turns_ns <= now_ns => {
                let stays = self.line.take().is_none();
                self.unconfirmed.clear();
                if stays {
                    self.come(target)?;
                }
                let least_ns = if stays { STAY_NS } else { AWAY_NS };
                self.turns_ns = now_ns + least_ns + chance.below(least_ns);
            }
            Manner::Steady | Manner::Slow | Manner::Flapping => {}
        }
        let has_heard = self.hear(reader, sent)?;
        match self.manner {
            Manner::Slow => {
                if self.confirms_ns <= now_ns && self.confirm()? {
                    self.confirms_ns = now_ns + self.distance_ns;
                }
            }
            Manner::Flapping => while self.unconfirmed.len() > LEFT_BEHIND && self.confirm()? {},
            Manner::Steady | Manner::Absent => while self.confirm()? {},
        }
        Ok(has_heard)
    }

    /// Is there from now on, and takes all at once; whether it heard something.
    pub(super) fn take_rest(&mut self, target: Target, reader: &Reader, sent: u64) -> Result<bool> {
        if self.line.is_none() {
            self.come(target)?;
        }
        let has_heard = self.hear(reader, sent)?;
        while self.confirm()? {}
        Ok(has_heard)
    }

    fn come(&mut self, target: Target) -> Result<()> {
        let under_way_max = if self.manner == Manner::Slow { UNDER_WAY_SLOW_MAX } else { UNDER_WAY_MAX };
        self.line = Some(site::subscribe(self.user, self.user, under_way_max, target)?);
        self.visits += 1;
        Ok(())
    }

    fn hear(&mut self, reader: &Reader, sent: u64) -> Result<bool> {
        let Some(line) = &mut self.line else { return Ok(false) };
        let mut has_heard = false;
        while let Some(message) = line.poll()? {
            has_heard = true;
            match reader.read(message)? {
                Said::Message(Delivered { message, number, is_again, .. }) => {
                    self.received.note(number, is_again, sent)?;
                    self.unconfirmed.push_back(message);
                }
                Said::Accepted(_) | Said::Result(_) => {
                    return Err(Failure::Protocol("an answer to who has asked nothing".to_owned()));
                }
            }
        }
        Ok(has_heard)
    }

    /// Confirms the oldest; whether there was one.
    fn confirm(&mut self) -> Result<bool> {
        let (Some(line), Some(message)) = (&mut self.line, self.unconfirmed.pop_front()) else {
            return Ok(false);
        };
        line.send(self.ack.patched(message))?;
        Ok(true)
    }
}

/// Numbers that are the same in every run (xorshift).
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_overflowed_leaves_a_hole_and_what_comes_again_says_so() {
        let mut received = Received::default();
        received.note(0, false, 5).unwrap();
        received.note(3, true, 5).unwrap();
        received.note(3, true, 5).unwrap();
        assert_eq!((received.distinct, received.repeated), (2, 1));
    }

    #[test]
    fn what_was_never_sent_comes_again_unmarked_or_out_of_order_fails_the_run() {
        let mut received = Received::default();
        received.note(2, false, 5).unwrap();
        let told = |outcome: Result<()>| outcome.unwrap_err().to_string();
        assert!(told(received.note(5, false, 5)).contains("was never sent"));
        assert!(told(received.note(2, false, 5)).contains("does not say so"));
        assert!(told(received.note(1, false, 5)).contains("behind a later one"));
    }
}
