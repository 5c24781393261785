//! What an owner's turn says, told once to each set of nodes that it is for. PURE. Home: the owner's bridge.
//!
//! A record is written for its audience; the records of one audience in a turn are a *section*, with each record's number in the turn, so that
//! who gets several sections puts them together again. A section is cut into *parts*, one message each. A node is told a *stream*: parts that
//! count up from 1 for it, whoever else each is for.
//!
//! Invariants: a node of a part's audience is told its next number, and no other; the last part of a turn for a node says so; a turn without records makes no
//! part; a record is never for fewer nodes than it was said for, and one that is private never for more.

use std::collections::VecDeque;

use crate::hub::batch::{Batch, Record};
use crate::limits;

use super::names::{Fence, Place, Places};
use super::records::{write_record, write_words};
use super::wire::{Put, WIRE_VERSION};

/// What a message begins with, behind the version.
pub(super) const PART: u8 = 1;

/// One message for a set of nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub audience: Places,
    pub bytes: Vec<u8>,
}

impl Part {
    fn memory_bytes(&self) -> usize {
        size_of::<Part>() + self.bytes.len()
    }
}

/// What one node is told.
#[derive(Clone, Copy, Debug)]
struct Stream {
    /// As the node has named it.
    id: u32,
    next: u64,
}

#[derive(Debug)]
struct Section {
    audience: Places,
    bytes: Vec<u8>,
}

/// See the file's head.
#[derive(Debug)]
pub struct Parts {
    fence: Fence,
    streams: [Option<Stream>; limits::CLUSTER_FOLLOWERS_MAX],
    following: Places,
    sections: Vec<Section>,
    /// Of the turn.
    records: u32,
    ready: VecDeque<Part>,
    /// What those take.
    ready_bytes: usize,
    /// Records that were told to all because the turn had too many audiences.
    pub widened_total: u64,
    /// Messages that were dropped since NATS took fewer than were told.
    pub dropped_total: u64,
}

impl Parts {
    /// Of the owner with this fence; nobody follows yet.
    #[must_use]
    pub fn new(fence: Fence) -> Parts {
        Parts {
            fence,
            streams: [None; limits::CLUSTER_FOLLOWERS_MAX],
            following: Places::NONE,
            sections: Vec::new(),
            records: 0,
            ready: VecDeque::new(),
            ready_bytes: 0,
            widened_total: 0,
            dropped_total: 0,
        }
    }

    /// From the next turn on the node at a place is told a new stream, which it has named so.
    ///
    /// # Panics
    /// Within a turn, of which it would be told a part.
    pub fn begin(&mut self, place: Place, stream: u32) {
        assert!(self.sections.is_empty(), "a stream begins between turns");
        self.streams[place.index()] = Some(Stream { id: stream, next: 1 });
        self.following.insert(place);
    }

    /// The node at a place is told nothing more.
    ///
    /// # Panics
    /// Within a turn, of which it was told a part.
    pub fn end(&mut self, place: Place) {
        assert!(self.sections.is_empty(), "a stream ends between turns");
        self.streams[place.index()] = None;
        self.following.remove(place);
    }

    /// The nodes that are told a stream.
    #[must_use]
    pub fn following(&self) -> Places {
        self.following
    }

    /// Says a record of a batch to those of `audience` that follow, or to all; whether anybody does and it is one that crosses.
    pub fn push(&mut self, audience: Places, batch: &Batch, record: &Record) -> bool {
        let audience = Places(audience.0 & self.following.0);
        if audience.is_empty() {
            return false;
        }
        let at = self.section(audience);
        let bytes = &mut self.sections[at].bytes;
        let before = bytes.len();
        bytes.put_u32(self.records);
        if !write_record(bytes, batch, record) {
            bytes.truncate(before);
            return false;
        }
        self.count_record();
        true
    }

    /// The same of a record that is for exactly these, whom others' accounts do not concern: where the turn has too many audiences, it is said to each by
    /// itself.
    pub fn push_private(&mut self, audience: Places, batch: &Batch, record: &Record) {
        let audience = Places(audience.0 & self.following.0);
        if self.has_section(audience) {
            self.push(audience, batch, record);
            return;
        }
        for place in audience.iter() {
            let mut one = Places::NONE;
            one.insert(place);
            self.make_section(one);
            self.push(one, batch, record);
        }
    }

    /// Says words of desk and office to one node, if it is told a stream.
    pub(super) fn push_words(&mut self, place: Place, number: u64, words: &[u8]) {
        if !self.following.contains(place) {
            return;
        }
        let mut one = Places::NONE;
        one.insert(place);
        let at = self.make_section(one);
        let bytes = &mut self.sections[at].bytes;
        bytes.put_u32(self.records);
        write_words(bytes, number, words);
        self.count_record();
    }

    /// Ends the turn: what was said in it becomes parts.
    pub fn seal(&mut self) {
        self.records = 0;
        self.sections.retain(|section| !section.bytes.is_empty());
        let sections = std::mem::take(&mut self.sections);
        for (at, section) in sections.iter().enumerate() {
            let later = sections[at + 1..].iter().fold(0, |places, section| places | section.audience.0);
            let last = Places(section.audience.0 & !later);
            let mut pieces = section.bytes.chunks(limits::CLUSTER_PART_BYTES).peekable();
            while let Some(piece) = pieces.next() {
                let ends = if pieces.peek().is_none() { last } else { Places::NONE };
                self.tell(section.audience, ends, piece);
            }
        }
    }

    /// Tells all that follow that the owner is there: a turn of no records.
    pub fn heartbeat(&mut self) {
        assert!(self.sections.is_empty(), "a turn is sealed before another is told");
        if !self.following.is_empty() {
            self.tell(self.following, self.following, &[]);
        }
    }

    /// The next message.
    pub fn poll(&mut self) -> Option<Part> {
        let part = self.ready.pop_front()?;
        self.ready_bytes -= part.memory_bytes();
        Some(part)
    }

    /// There was no room for a message: it is the next again. Where too much waits, all of it is dropped: its numbers tell those who miss it.
    pub fn put_back(&mut self, part: Part) {
        if self.ready_bytes > limits::CLUSTER_UNTOLD_BYTES_MAX {
            self.dropped_total += 1 + self.ready.len() as u64;
            self.ready.clear();
            self.ready_bytes = 0;
            return;
        }
        self.ready_bytes += part.memory_bytes();
        self.ready.push_front(part);
    }

    /// Bytes of memory that take what was not polled yet, about.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.ready_bytes
    }

    fn count_record(&mut self) {
        self.records = self.records.checked_add(1).expect("invariant: a turn's records lie in memory");
    }

    /// Whether the turn has a section for exactly this audience, or room for one.
    fn has_section(&self, audience: Places) -> bool {
        self.sections.len() < limits::CLUSTER_AUDIENCES_PER_TURN_MAX
            || self.sections.iter().any(|section| section.audience == audience)
    }

    /// The turn's section for one node, made if need be: a node has one of them at most, besides those that others share.
    fn make_section(&mut self, one: Places) -> usize {
        self.sections.iter().position(|section| section.audience == one).unwrap_or_else(|| {
            self.sections.push(Section { audience: one, bytes: Vec::new() });
            self.sections.len() - 1
        })
    }

    /// The turn's section for an audience, or, where there are too many, that for all.
    fn section(&mut self, audience: Places) -> usize {
        if let Some(at) = self.sections.iter().position(|section| section.audience == audience) {
            return at;
        }
        if self.sections.len() < limits::CLUSTER_AUDIENCES_PER_TURN_MAX || audience == self.following {
            self.sections.push(Section { audience, bytes: Vec::new() });
            return self.sections.len() - 1;
        }
        self.widened_total += 1;
        self.section(self.following)
    }

    fn tell(&mut self, audience: Places, ends: Places, piece: &[u8]) {
        let mut bytes = Vec::with_capacity(16 + 12 * limits::CLUSTER_FOLLOWERS_MAX + piece.len());
        bytes.put_u8(WIRE_VERSION);
        bytes.put_u8(PART);
        bytes.put_u64(self.fence.0);
        bytes.put_u16(audience.0);
        bytes.put_u16(ends.0);
        for place in audience.iter() {
            let stream =
                self.streams[place.index()].as_mut().expect("invariant: an audience is of nodes that follow");
            bytes.put_u32(stream.id);
            bytes.put_u64(stream.next);
            stream.next += 1;
        }
        bytes.put(piece);
        let part = Part { audience, bytes };
        self.ready_bytes += part.memory_bytes();
        self.ready.push_back(part);
    }
}
