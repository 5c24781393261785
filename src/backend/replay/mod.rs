//! Recordings that are played: at their own speed, a factor of it, or as fast as they are taken; once or for ever.
//! PURE but for `link.rs`, which opens files. Home: the venue thread.
//! Invariants: memory is bounded by the recording's books, never by its length; events come in the recorded order; a
//! fault ends the replay.

pub mod codec;
pub mod error;
#[cfg(feature = "runtime")]
pub mod link;

pub use error::{FeedError, Place};

use self::codec::{Bytes, Decoder, Fault, Oddities, Step};
use crate::model::market::{FeedBuffer, FeedEvent};
use crate::model::time::Now;

/// Records that one poll reads at most, so that a stretch that tells nothing cannot hold up a turn.
const POLL_RECORDS_MAX: usize = 8_192;

/// Where a recording can be read from its beginning, as often as wanted.
pub trait Source: Send {
    /// The file's name without its folder, for errors and for formats that do not name their instrument.
    fn name(&self) -> &str;

    /// Its bytes from the first one on, decompressed. The end of a compressed frame that is cut off must come as an
    /// error, not as the end of the bytes.
    ///
    /// # Errors
    /// What the file system says.
    fn open(&self) -> std::io::Result<Bytes>;
}

/// How fast recorded time passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speed {
    /// So many thousandths of its own speed; positive. 1,000 is the original.
    Thousandths(u64),
    /// Whatever the polls take.
    Max,
}

impl Speed {
    /// As recorded.
    pub const ORIGINAL: Speed = Speed::Thousandths(1_000);

    /// Parses `max`, or a factor from 0.001 to 1,000,000 with at most three decimals. `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Speed> {
        if text == "max" {
            return Some(Speed::Max);
        }
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole) || !is_number(fraction) || fraction.len() > 3 {
            return None;
        }
        let fraction: u64 = format!("{fraction:0<3}").parse().ok()?;
        let thousandths = whole.parse::<u64>().ok()?.checked_mul(1_000)?.checked_add(fraction)?;
        (1..=1_000_000_000).contains(&thousandths).then_some(Speed::Thousandths(thousandths))
    }

    /// How long after the beginning something is due that was recorded so long after the first record.
    fn scale(self, recorded_ns: u64) -> u64 {
        match self {
            Speed::Max => 0,
            Speed::Thousandths(factor) => {
                let scaled = u128::from(recorded_ns) * 1_000 / u128::from(factor.max(1));
                u64::try_from(scaled).unwrap_or(u64::MAX)
            }
        }
    }

    /// How much recorded time passes in so long.
    fn unscale(self, ns: u64) -> u64 {
        match self {
            Speed::Max => 0,
            Speed::Thousandths(factor) => {
                let recorded = u128::from(ns) * u128::from(factor) / 1_000;
                u64::try_from(recorded).unwrap_or(u64::MAX)
            }
        }
    }
}

/// What comes after the last record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtEnd {
    Finish,
    /// It begins again, with empty books and the recorded times.
    Repeat,
}

/// How far a replay is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayProgress {
    /// Over all repetitions.
    pub records_read: u64,
    /// Events told, over all repetitions.
    pub events: u64,
    /// Times the recording has begun again.
    pub repetitions: u64,
    pub oddities: Oddities,
    pub finished: bool,
}

/// The clocks when the first record of this repetition was due.
#[derive(Clone, Copy, Debug)]
struct Origin {
    mono_ns: u64,
    recorded_ns: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The next records are to be read.
    Reading,
    /// The gathered moment is told from this event on, once it is due on the monotonic clock.
    Telling {
        next: usize,
        due_mono_ns: u64,
        at_end: bool,
    },
    Finished,
}

/// A recording that is played.
pub struct Replay {
    source: Box<dyn Source>,
    decoder: Decoder,
    speed: Speed,
    at_end: AtEnd,
    origin: Option<Origin>,
    /// When the newest moment was recorded.
    recorded_ns: u64,
    stage: Stage,
    moment: FeedBuffer,
    /// Records of earlier repetitions.
    records_before: u64,
    events: u64,
    repetitions: u64,
}

impl Replay {
    /// Finds the format and reads the recording's beginning.
    ///
    /// # Errors
    /// What cannot be opened, or is not a recording of a known format.
    pub fn open(source: Box<dyn Source>, speed: Speed, at_end: AtEnd) -> Result<Replay, FeedError> {
        let name = source.name().to_owned();
        let refuse =
            |fault: Fault| FeedError { file: name.clone(), place: fault.place, reason: fault.reason };
        let open = || {
            source
                .open()
                .map_err(|error| Fault { place: Place::File, reason: format!("cannot be opened: {error}") })
        };
        let decoder = open().and_then(|profile| Decoder::open(profile, open()?, &name)).map_err(refuse)?;
        Ok(Replay {
            decoder,
            source,
            speed,
            at_end,
            origin: None,
            recorded_ns: 0,
            stage: Stage::Reading,
            moment: FeedBuffer::default(),
            records_before: 0,
            events: 0,
            repetitions: 0,
        })
    }

    /// Goes on at this speed from here on, and does this at the end, if that is still to come.
    pub fn set_playing(&mut self, speed: Speed, at_end: AtEnd, now: Now) {
        self.at_end = at_end;
        let before = std::mem::replace(&mut self.speed, speed);
        let Some(origin) = self.origin.as_mut().filter(|_| before != speed) else { return };
        // What is told next waits for as much of recorded time as it did; from there on both clocks go on anew.
        origin.mono_ns = now.mono_ns;
        if let Stage::Telling { due_mono_ns, .. } = &mut self.stage
            && *due_mono_ns > now.mono_ns
        {
            let left_ns = before.unscale(*due_mono_ns - now.mono_ns);
            *due_mono_ns = now.mono_ns.saturating_add(speed.scale(left_ns));
            origin.mono_ns = *due_mono_ns;
        }
        origin.recorded_ns = self.recorded_ns;
    }

    /// See [`super::Feed::poll`].
    ///
    /// # Errors
    /// See [`super::Feed::poll`].
    pub fn poll(&mut self, now: Now, out: &mut FeedBuffer, events_max: usize) -> Result<(), FeedError> {
        let end = out.events.len().saturating_add(events_max);
        let mut records = 0;
        while out.events.len() < end && records < POLL_RECORDS_MAX {
            match self.stage {
                Stage::Reading => {
                    records += 1;
                    if let Err(fault) = self.read(now) {
                        self.stage = Stage::Finished;
                        let file = self.source.name().to_owned();
                        return Err(FeedError { file, place: fault.place, reason: fault.reason });
                    }
                }
                Stage::Telling { due_mono_ns, .. } if due_mono_ns > now.mono_ns => break,
                Stage::Telling { next, due_mono_ns, at_end } => {
                    let next = self.tell(next, end, out);
                    self.stage = if next < self.moment.events.len() {
                        Stage::Telling { next, due_mono_ns, at_end }
                    } else {
                        self.moment.clear();
                        if at_end { Stage::Finished } else { Stage::Reading }
                    };
                }
                Stage::Finished => break,
            }
        }
        Ok(())
    }

    /// See [`super::Feed::poll_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        match self.stage {
            Stage::Reading => Some(0),
            Stage::Telling { due_mono_ns, .. } => Some(due_mono_ns),
            Stage::Finished => None,
        }
    }

    /// See [`super::Feed::is_finished`].
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.stage == Stage::Finished
    }

    #[must_use]
    pub fn progress(&self) -> ReplayProgress {
        ReplayProgress {
            records_read: self.records_before + self.decoder.records_read(),
            events: self.events,
            repetitions: self.repetitions,
            oddities: self.decoder.oddities(),
            finished: self.is_finished(),
        }
    }

    fn read(&mut self, now: Now) -> Result<(), Fault> {
        match self.decoder.read(&mut self.moment)? {
            Step::Quiet => {}
            Step::Moment { recorded_ns } => {
                self.recorded_ns = recorded_ns;
                let origin = *self.origin.get_or_insert(Origin { mono_ns: now.mono_ns, recorded_ns });
                let after = self.speed.scale(recorded_ns.saturating_sub(origin.recorded_ns));
                let due_mono_ns = origin.mono_ns.saturating_add(after);
                self.stage = Stage::Telling { next: 0, due_mono_ns, at_end: false };
            }
            Step::Snapshot => self.stage = Stage::Telling { next: 0, due_mono_ns: 0, at_end: false },
            Step::End => self.end()?,
        }
        Ok(())
    }

    /// What the last records left is due at once; then it is over, or begins again.
    fn end(&mut self) -> Result<(), Fault> {
        let over = self.at_end == AtEnd::Finish;
        self.stage = match (self.moment.events.is_empty(), over) {
            (true, true) => Stage::Finished,
            (true, false) => Stage::Reading,
            (false, _) => Stage::Telling { next: 0, due_mono_ns: 0, at_end: over },
        };
        if over {
            return Ok(());
        }
        self.records_before += self.decoder.records_read();
        self.repetitions += 1;
        self.origin = None;
        let cannot = |error| Fault { place: Place::File, reason: format!("cannot be opened again: {error}") };
        let bytes = self.source.open().map_err(cannot)?;
        self.decoder.restart(bytes)
    }

    /// Moves events of the moment into `out` while there is room; returns the next one's number.
    fn tell(&mut self, first: usize, end: usize, out: &mut FeedBuffer) -> usize {
        let room = end - out.events.len();
        let last = self.moment.events.len().min(first.saturating_add(room));
        for event in &self.moment.events[first..last] {
            let mut event = event.clone();
            match &mut event {
                FeedEvent::Levels { levels, .. } | FeedEvent::Cleared { levels, .. } => {
                    *levels = out.push_levels(levels.of(&self.moment.levels).iter().copied());
                }
                FeedEvent::Listed { .. }
                | FeedEvent::Quote { .. }
                | FeedEvent::Trade { .. }
                | FeedEvent::Report(_)
                | FeedEvent::State { .. } => {}
            }
            out.events.push(event);
        }
        self.events += (last - first) as u64;
        last
    }
}

impl std::fmt::Debug for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay")
            .field("file", &self.source.name())
            .field("decoder", &self.decoder)
            .field("speed", &self.speed)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
