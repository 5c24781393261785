//! Compressed messages inflated as they arrive (RFC 7692 §7.2.2).
//!
//! PURE. Home: the pool, one per thread; an inflater, the message that is under way; a history, its connection.
//! Allocates: an inflater where the pool has none to spare. Invariants: no more than one byte is made beyond the room
//! that was given; what is made, and whether the input is faulty, depends on the input only, not on how it was cut.
//!
//! A block with BFINAL set ends a stream; what follows it begins another (§7.2.3.4). A history, where one is kept,
//! outlives it. Each message must end where a block ends, after the four bytes that its sender took off are put back.

use flate2::{Decompress, FlushDecompress, Status};

use super::WindowBits;
use crate::ws::Fault;

/// Heap bytes of one inflater, about: a window of 32 KiB and zlib's tables.
pub const INFLATER_BYTES: usize = 47 * 1024;

/// Bytes that are made in one go, and so between two checks of what was made.
const PIECE_BYTES: usize = 8 * 1024;
/// Inflaters that are kept for the next messages.
const IDLE_MAX: usize = 8;
/// What ends a message: the bytes that its sender took off, and a last block of nothing. Only where a block has ended
/// does that end the stream, just there.
const END: [u8; 6] = [0x00, 0x00, 0xff, 0xff, 0x03, 0x00];

/// The inflaters of one thread: those that messages have, and some that wait for one.
#[derive(Debug)]
pub struct Inflaters {
    idle: Vec<Decompress>,
    lent: usize,
    incomplete_max: usize,
    piece: Vec<u8>,
    inflated_bytes_total: u64,
    restarts_total: u64,
}

impl Inflaters {
    /// A pool for receivers of which at most `incomplete_max` may be in the middle of a compressed message at a time.
    #[must_use]
    pub const fn new(incomplete_max: usize) -> Inflaters {
        Inflaters {
            idle: Vec::new(),
            lent: 0,
            incomplete_max,
            piece: Vec::new(),
            inflated_bytes_total: 0,
            restarts_total: 0,
        }
    }

    /// Bytes that inflating has made so far: work that the received bytes don't show.
    #[must_use]
    pub const fn inflated_bytes_total(&self) -> u64 {
        self.inflated_bytes_total
    }

    /// Streams begun so far, of which a message may have many that make nothing.
    #[must_use]
    pub const fn restarts_total(&self) -> u64 {
        self.restarts_total
    }

    /// Bytes of memory that inflaters take, lent and idle.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        (self.lent + self.idle.len()) * INFLATER_BYTES + self.piece.capacity()
    }

    /// Inflaters that messages have.
    #[must_use]
    pub const fn lent(&self) -> usize {
        self.lent
    }

    /// An inflater for a message that is here whole.
    pub(in crate::ws) fn lend(&mut self, history: Option<&History>) -> Inflater {
        self.lent += 1;
        self.restarts_total += 1;
        let decompress = self.idle.pop().unwrap_or_else(|| Decompress::new(false));
        let mut inflater = Inflater { decompress, at: Place::Start };
        inflater.restart(history);
        inflater
    }

    /// An inflater for a message that may be long in coming.
    pub(in crate::ws) fn lend_for_long(&mut self, history: Option<&History>) -> Result<Inflater, Fault> {
        if self.lent < self.incomplete_max { Ok(self.lend(history)) } else { Err(Fault::InflatersExhausted) }
    }

    /// Takes an inflater back; one that is in the middle of a stream is not used again, so that nothing of what broke it
    /// is left.
    pub(in crate::ws) fn give_back(&mut self, inflater: Inflater) {
        self.lent -= 1;
        let is_fresh = match inflater.at {
            Place::Start | Place::StreamEnd => true,
            Place::Stream => false,
        };
        if is_fresh && self.idle.len() < IDLE_MAX {
            self.idle.push(inflater.decompress);
        }
    }
}

/// What a message's next byte is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Nothing has come yet.
    Start,
    Stream,
    /// A block with BFINAL set has ended.
    StreamEnd,
}

/// The state of one message.
#[derive(Debug)]
pub(in crate::ws) struct Inflater {
    decompress: Decompress,
    at: Place,
}

/// What a connection's messages may refer to where context takeover was agreed on: the end of what they said.
#[derive(Debug)]
pub(in crate::ws) struct History {
    bytes_max: usize,
    bytes: Vec<u8>,
}

impl Inflater {
    /// Inflates the next bytes of the message and gives what they make to `each`, piece by piece. `room` is how much
    /// the message may still make.
    pub(in crate::ws) fn feed(
        &mut self,
        mut input: &[u8],
        mut room: usize,
        pool: &mut Inflaters,
        mut history: Option<&mut History>,
        mut each: impl FnMut(&[u8]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        pool.piece.resize(PIECE_BYTES, 0);
        while !input.is_empty() {
            if self.at == Place::StreamEnd {
                self.restart(history.as_deref());
                pool.restarts_total += 1;
            }
            self.at = Place::Stream;
            loop {
                // One byte more than there is room for tells what is too big from what just fits.
                let piece_bytes = PIECE_BYTES.min(room.saturating_add(1));
                let piece = &mut pool.piece[..piece_bytes];
                let (taken, made, status) = self.step(input, piece);
                pool.inflated_bytes_total += made as u64;
                input = &input[taken..];
                let allowed = &piece[..made.min(room)];
                if let Some(history) = &mut history {
                    history.push(allowed);
                }
                if !allowed.is_empty() {
                    each(allowed)?;
                }
                if room < made {
                    return Err(Fault::MessageTooBig);
                }
                room -= made;
                if status? == Status::StreamEnd {
                    self.at = Place::StreamEnd;
                    break;
                }
                if made < piece_bytes {
                    assert!(input.is_empty(), "an inflater with room takes all there is");
                    break;
                }
            }
        }
        Ok(())
    }

    /// Whether the message may end here. Nothing can be fed after.
    ///
    /// A message of no bytes at all is taken for an empty one (some senders' zlib makes nothing of nothing), and one
    /// that ends with the last bit of a stream for a whole one.
    pub(in crate::ws) fn finish(&mut self) -> Result<(), Fault> {
        match self.at {
            Place::Start | Place::StreamEnd => Ok(()),
            Place::Stream => {
                let mut nothing = [0];
                match self.step(&END, &mut nothing) {
                    (6, 0, Ok(Status::StreamEnd)) => {
                        self.at = Place::StreamEnd;
                        Ok(())
                    }
                    _ => Err(Fault::DeflateInvalid),
                }
            }
        }
    }

    fn step(&mut self, input: &[u8], out: &mut [u8]) -> (usize, usize, Result<Status, Fault>) {
        let (taken, made) = (self.decompress.total_in(), self.decompress.total_out());
        let status = self.decompress.decompress(input, out, FlushDecompress::None);
        let progress = |from: u64, to: u64| usize::try_from(to - from).expect("invariant: within a buffer");
        (
            progress(taken, self.decompress.total_in()),
            progress(made, self.decompress.total_out()),
            status.map_err(|_| Fault::DeflateInvalid),
        )
    }

    fn restart(&mut self, history: Option<&History>) {
        self.decompress.reset(false);
        if let Some(history) = history.filter(|history| !history.bytes.is_empty()) {
            let set = self.decompress.set_dictionary(&history.bytes);
            assert!(set.is_ok(), "a raw stream takes any dictionary");
        }
    }
}

impl History {
    pub(in crate::ws) fn new(window: WindowBits) -> History {
        History { bytes_max: window.bytes(), bytes: Vec::new() }
    }

    /// Heap bytes held.
    pub(in crate::ws) fn capacity_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    fn push(&mut self, made: &[u8]) {
        let kept = &made[made.len().saturating_sub(self.bytes_max)..];
        let surplus = (self.bytes.len() + kept.len()).saturating_sub(self.bytes_max);
        self.bytes.drain(..surplus);
        let missing = self.bytes.len() + kept.len();
        if self.bytes.capacity() < missing {
            let wanted = missing.max(2 * self.bytes.capacity()).min(self.bytes_max);
            self.bytes.reserve_exact(wanted - self.bytes.len());
        }
        self.bytes.extend_from_slice(kept);
    }
}
