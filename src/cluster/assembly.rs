//! A stream of parts put together to turns again, or its loss noticed. PURE. Home: the bridge of a node that follows.
//!
//! Invariants: a turn is given whole, in its order, or not at all; after a loss nothing is given until another stream is begun; what an older owner says,
//! or belongs to an older stream, says nothing. A part of no records counts as any other, so that the loss of the last one is noticed at the next.

use crate::hub::batch::Batch;
use crate::limits;
use crate::model::ids::HomeId;
use crate::model::time::Now;

use super::names::{Fence, Place, Places};
use super::parts::PART;
use super::records::{Words, read_record, read_words};
use super::wire::{Reader, WIRE_VERSION, WireFault};

/// What a message was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Of an older owner, an older stream, for others, or heard before.
    Nothing,
    /// Of a turn that is not whole yet.
    Part,
    /// A turn is whole: [`Assembly::take_turn`] has it.
    Turn,
    /// Of a later owner than this stream's.
    LaterOwner(Fence),
}

/// Why the stream is of no use any more: another is to be begun, with an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Parts in between did not come.
    Missing { expected: u64, came: u64 },
    /// Nothing was heard for `limits::CLUSTER_SILENCE_NS_MAX`.
    Silent,
    /// A message that is none.
    Damaged(WireFault),
    /// A turn of more than `limits::CLUSTER_TURN_BYTES_MAX`.
    TurnTooLong,
}

/// See the file's head.
#[derive(Debug)]
pub struct Assembly {
    me: Place,
    fence: Fence,
    stream: u32,
    next: u64,
    is_lost: bool,
    heard_ns: u64,
    /// Of the turn that is coming, by audience.
    sections: Vec<(Places, Vec<u8>)>,
    held_bytes: usize,
    is_whole: bool,
}

/// Of a turn: those that are told apart, that for all, and that for this node alone.
const SECTIONS_MAX: usize = limits::CLUSTER_AUDIENCES_PER_TURN_MAX + 2;

/// A part as it was read.
struct Header<'a> {
    fence: Fence,
    audience: Places,
    ends: Places,
    stream: u32,
    number: u64,
    piece: &'a [u8],
}

impl Assembly {
    /// Of what the owner with this fence tells the node at its place `me` by a stream that this node has named so.
    #[must_use]
    pub fn new(me: Place, fence: Fence, stream: u32, now: Now) -> Assembly {
        Assembly {
            me,
            fence,
            stream,
            next: 1,
            is_lost: false,
            heard_ns: now.mono_ns,
            sections: Vec::new(),
            held_bytes: 0,
            is_whole: false,
        }
    }

    /// Takes a message.
    ///
    /// # Errors
    /// See [`Loss`]; it is told once.
    ///
    /// # Panics
    /// Where a whole turn was not taken.
    pub fn handle_part(&mut self, bytes: &[u8], now: Now) -> Result<Heard, Loss> {
        assert!(!self.is_whole, "a turn is taken before the next part");
        if self.is_lost {
            return Ok(Heard::Nothing);
        }
        match self.take(bytes, now) {
            Ok(heard) => Ok(heard),
            Err(loss) => Err(self.lose(loss)),
        }
    }

    /// Gives the turn that is whole: its records in their order, of topics whose home is `market`, and words of desk and office by their numbers.
    ///
    /// # Errors
    /// [`Loss::Damaged`]: batch and words have what came before the damage, and are not to be used.
    pub fn take_turn(&mut self, market: HomeId, out: &mut Batch, words: &mut Vec<Words>) -> Result<(), Loss> {
        assert!(self.is_whole, "a turn is taken when it is whole");
        self.is_whole = false;
        let read = read_turn(&self.sections, market, out, words);
        self.sections.clear();
        self.held_bytes = 0;
        read.map_err(|fault| self.lose(Loss::Damaged(fault)))
    }

    /// Looks whether the stream has gone silent.
    ///
    /// # Errors
    /// [`Loss::Silent`], once.
    pub fn handle_timeout(&mut self, now: Now) -> Result<(), Loss> {
        match self.poll_timeout() {
            Some(due_ns) if now.mono_ns >= due_ns => Err(self.lose(Loss::Silent)),
            Some(_) | None => Ok(()),
        }
    }

    /// When [`Assembly::handle_timeout`] has something to do, on the monotonic clock.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        (!self.is_lost).then_some(self.heard_ns + limits::CLUSTER_SILENCE_NS_MAX)
    }

    fn lose(&mut self, loss: Loss) -> Loss {
        self.is_lost = true;
        self.sections = Vec::new();
        self.held_bytes = 0;
        loss
    }

    fn take(&mut self, bytes: &[u8], now: Now) -> Result<Heard, Loss> {
        let Some(header) = read_header(bytes, self.me).map_err(Loss::Damaged)? else {
            return Ok(Heard::Nothing);
        };
        if header.fence > self.fence {
            return Ok(Heard::LaterOwner(header.fence));
        }
        if header.fence < self.fence || header.stream != self.stream || header.number < self.next {
            return Ok(Heard::Nothing);
        }
        if header.number > self.next {
            return Err(Loss::Missing { expected: self.next, came: header.number });
        }
        self.next += 1;
        self.heard_ns = now.mono_ns;
        self.hold(header.audience, header.piece)?;
        self.is_whole = header.ends.contains(self.me);
        Ok(if self.is_whole { Heard::Turn } else { Heard::Part })
    }

    fn hold(&mut self, audience: Places, piece: &[u8]) -> Result<(), Loss> {
        self.held_bytes += piece.len();
        if self.held_bytes > limits::CLUSTER_TURN_BYTES_MAX {
            return Err(Loss::TurnTooLong);
        }
        if let Some((_, section)) = self.sections.iter_mut().find(|(of, _)| *of == audience) {
            section.extend_from_slice(piece);
        } else if self.sections.len() < SECTIONS_MAX {
            self.sections.push((audience, piece.to_vec()));
        } else {
            return Err(Loss::Damaged(WireFault::Value));
        }
        Ok(())
    }
}

/// What a part says of itself to one node; `None` where it is not for that.
fn read_header(bytes: &[u8], me: Place) -> Result<Option<Header<'_>>, WireFault> {
    let mut reader = Reader::new(bytes);
    let version = reader.u8()?;
    if version != WIRE_VERSION {
        return Err(WireFault::Version(version));
    }
    if reader.u8()? != PART {
        return Err(WireFault::Value);
    }
    let fence = Fence(reader.u64()?);
    let (audience, ends) = (Places(reader.u16()?), Places(reader.u16()?));
    let mut mine = None;
    for place in audience.iter() {
        let (stream, number) = (reader.u32()?, reader.seq()?.0);
        if place == me {
            mine = Some((stream, number));
        }
    }
    Ok(mine.map(|(stream, number)| Header { fence, audience, ends, stream, number, piece: reader.rest() }))
}

/// Merges sections by their records' numbers, each of which occurs once.
fn read_turn(
    sections: &[(Places, Vec<u8>)],
    market: HomeId,
    out: &mut Batch,
    words: &mut Vec<Words>,
) -> Result<(), WireFault> {
    let mut readers: Vec<(u32, Reader<'_>)> = Vec::with_capacity(sections.len());
    for (_, bytes) in sections.iter().filter(|(_, bytes)| !bytes.is_empty()) {
        let mut reader = Reader::new(bytes);
        readers.push((reader.u32()?, reader));
    }
    let mut newest = None;
    while let Some(at) = (0..readers.len()).min_by_key(|at| readers[*at].0) {
        let (number, reader) = &mut readers[at];
        if newest.is_some_and(|newest| *number <= newest) {
            return Err(WireFault::Value);
        }
        newest = Some(*number);
        match read_words(reader)? {
            Some(said) => words.push(said),
            None => read_record(reader, market, out)?,
        }
        if reader.is_empty() {
            readers.swap_remove(at);
        } else {
            *number = reader.u32()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
