//! How messages, dead letters, names and groups are written in the store. PURE. The key stands beside a record and is not in it.
//!
//! Invariants: a record begins with its version; what a newer version wrote, or damaged bytes, are refused and never a panic; what is
//! decoded is encoded to the same bytes. Numbers are little-endian, texts follow their length of one byte, content is the rest.

use crate::limits;
use crate::model::message::{DeathCause, Guarantee, MessageId, MessageState, Name, Priority, Via};
use crate::model::order::Label;
use crate::model::storage::StoreFault;

/// The version that is written, and the only one there is.
const VERSION: u8 = 1;

/// A message that is not over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageRecord<'a> {
    /// The first part of the same send, and how many parts it had.
    pub first: MessageId,
    pub count: u32,
    pub from: Name,
    pub to: Name,
    /// Whether it was for one connection, which is gone with its process.
    pub is_for_session: bool,
    pub priority: Priority,
    /// Deliveries, but perhaps for the last ones before a crash.
    pub attempts: u8,
    pub receipts: bool,
    pub sent_ms: u64,
    pub due_ms: Option<u64>,
    pub expires_ms: Option<u64>,
    pub client_id: Option<Label>,
    pub reply_to: Option<MessageId>,
    pub via: Option<Via>,
    /// The last reason for which it was rejected.
    pub reason: Option<Label>,
    pub content: &'a [u8],
}

/// A dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LetterRecord<'a> {
    pub cause: DeathCause,
    pub died_ms: u64,
    pub message: MessageRecord<'a>,
}

/// The name of a send that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoneRecord {
    pub from: Name,
    pub to: Name,
    pub client_id: Label,
    pub count: u32,
    pub state: MessageState,
    pub priority: Priority,
    pub guarantee: Guarantee,
    pub attempts: u8,
    pub sent_ms: u64,
    pub expires_ms: Option<u64>,
    pub until_ms: u64,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRecord {
    pub name: Name,
    pub owner: Name,
    pub expires_ms: Option<u64>,
    pub message_ttl_ms: Option<u64>,
    /// With their weights.
    pub members: Vec<(Name, u32)>,
}

mod flag {
    pub(super) const RECEIPTS: u16 = 1;
    pub(super) const SESSION: u16 = 1 << 1;
    pub(super) const DUE: u16 = 1 << 2;
    pub(super) const EXPIRES: u16 = 1 << 3;
    pub(super) const CLIENT_ID: u16 = 1 << 4;
    pub(super) const REPLY_TO: u16 = 1 << 5;
    pub(super) const GROUP: u16 = 1 << 6;
    pub(super) const TOPIC: u16 = 1 << 7;
    pub(super) const REASON: u16 = 1 << 8;
    pub(super) const TYPE: u16 = 1 << 9;
    pub(super) const ALL: u16 = (1 << 10) - 1;
    /// By way of what it came: one of these at most.
    pub(super) const VIA: u16 = GROUP | TOPIC | TYPE;
}

impl<'a> MessageRecord<'a> {
    #[must_use]
    pub fn encode(&self) -> Box<[u8]> {
        let mut out = Vec::with_capacity(MessageRecord::bytes_max(self.content.len()));
        self.write(&mut out);
        out.into()
    }

    /// # Errors
    /// [`StoreFault::Corrupt`]: damaged, or of a newer version.
    pub fn decode(bytes: &'a [u8]) -> Result<MessageRecord<'a>, StoreFault> {
        let mut reader = Reader::versioned(bytes)?;
        MessageRecord::read(&mut reader)
    }

    /// Bytes of the record of a message with so much content, or some more.
    #[must_use]
    pub const fn bytes_max(content_bytes: usize) -> usize {
        FIXED_BYTES_MAX + content_bytes
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        let mut flags = 0;
        let mut set = |is_set: bool, bit: u16| flags |= if is_set { bit } else { 0 };
        set(self.receipts, flag::RECEIPTS);
        set(self.is_for_session, flag::SESSION);
        set(self.due_ms.is_some(), flag::DUE);
        set(self.expires_ms.is_some(), flag::EXPIRES);
        set(self.client_id.is_some(), flag::CLIENT_ID);
        set(self.reply_to.is_some(), flag::REPLY_TO);
        set(matches!(self.via, Some(Via::Group(_))), flag::GROUP);
        set(matches!(self.via, Some(Via::Topic(_))), flag::TOPIC);
        set(matches!(self.via, Some(Via::Type(_))), flag::TYPE);
        set(self.reason.is_some(), flag::REASON);
        out.extend_from_slice(&flags.to_le_bytes());
        out.extend_from_slice(&[self.priority as u8, self.attempts]);
        put(out, self.first.0);
        out.extend_from_slice(&self.count.to_le_bytes());
        put(out, self.sent_ms);
        self.due_ms.into_iter().chain(self.expires_ms).for_each(|ms| put(out, ms));
        put_text(out, &self.from);
        put_text(out, &self.to);
        self.client_id.iter().for_each(|text| put_text(out, text));
        self.reply_to.into_iter().for_each(|id| put(out, id.0));
        match &self.via {
            Some(Via::Group(name) | Via::Topic(name) | Via::Type(name)) => put_text(out, name),
            None => {}
        }
        self.reason.iter().for_each(|text| put_text(out, text));
        out.extend_from_slice(self.content);
    }

    fn read(reader: &mut Reader<'a>) -> Result<MessageRecord<'a>, StoreFault> {
        let flags = u16::from_le_bytes(reader.array()?);
        let has = |bit: u16| flags & bit != 0;
        if flags & !flag::ALL != 0 || (flags & flag::VIA).count_ones() > 1 {
            return Err(StoreFault::Corrupt);
        }
        let priority = priority(reader.byte()?)?;
        let attempts = reader.byte()?;
        let first = reader.id()?;
        let count = reader.u32()?;
        let sent_ms = reader.u64()?;
        Ok(MessageRecord {
            first,
            count,
            priority,
            attempts,
            sent_ms,
            is_for_session: has(flag::SESSION),
            receipts: has(flag::RECEIPTS),
            due_ms: reader.optional(has(flag::DUE), Reader::u64)?,
            expires_ms: reader.optional(has(flag::EXPIRES), Reader::u64)?,
            from: reader.text()?,
            to: reader.text()?,
            client_id: reader.optional(has(flag::CLIENT_ID), Reader::text)?,
            reply_to: reader.optional(has(flag::REPLY_TO), Reader::id)?,
            via: match flags & flag::VIA {
                flag::GROUP => Some(Via::Group(reader.text()?)),
                flag::TOPIC => Some(Via::Topic(reader.text()?)),
                flag::TYPE => Some(Via::Type(reader.text()?)),
                _ => None,
            },
            reason: reader.optional(has(flag::REASON), Reader::text)?,
            content: std::mem::take(&mut reader.left),
        })
    }
}

impl<'a> LetterRecord<'a> {
    #[must_use]
    pub fn encode(&self) -> Box<[u8]> {
        let mut out = Vec::with_capacity(2 * FIXED_BYTES_MAX + self.message.content.len());
        out.push(VERSION);
        out.push(self.cause as u8);
        put(&mut out, self.died_ms);
        self.message.write(&mut out);
        out.into()
    }

    /// # Errors
    /// As [`MessageRecord::decode`].
    pub fn decode(bytes: &'a [u8]) -> Result<LetterRecord<'a>, StoreFault> {
        let mut reader = Reader::versioned(bytes)?;
        let cause = *CAUSES.get(usize::from(reader.byte()?)).ok_or(StoreFault::Corrupt)?;
        let died_ms = reader.u64()?;
        Ok(LetterRecord { cause, died_ms, message: MessageRecord::decode(reader.left)? })
    }
}

impl DoneRecord {
    #[must_use]
    pub fn encode(&self) -> Box<[u8]> {
        let mut out = Vec::with_capacity(FIXED_BYTES_MAX);
        out.extend_from_slice(&[VERSION, self.state as u8, self.priority as u8, self.attempts]);
        out.push(u8::from(self.guarantee == Guarantee::AtLeastOnce));
        out.push(u8::from(self.expires_ms.is_some()));
        out.extend_from_slice(&self.count.to_le_bytes());
        put(&mut out, self.sent_ms);
        put(&mut out, self.until_ms);
        self.expires_ms.into_iter().for_each(|ms| put(&mut out, ms));
        for text in [&self.from, &self.to, &self.client_id] {
            put_text(&mut out, text);
        }
        out.into()
    }

    /// # Errors
    /// As [`MessageRecord::decode`].
    pub fn decode(bytes: &[u8]) -> Result<DoneRecord, StoreFault> {
        let mut reader = Reader::versioned(bytes)?;
        let state = *STATES.get(usize::from(reader.byte()?)).ok_or(StoreFault::Corrupt)?;
        let priority = priority(reader.byte()?)?;
        let attempts = reader.byte()?;
        let guarantee = if reader.flag()? { Guarantee::AtLeastOnce } else { Guarantee::FireAndForget };
        let has_expiry = reader.flag()?;
        let record = DoneRecord {
            state,
            priority,
            attempts,
            guarantee,
            count: reader.u32()?,
            sent_ms: reader.u64()?,
            until_ms: reader.u64()?,
            expires_ms: reader.optional(has_expiry, Reader::u64)?,
            from: reader.text()?,
            to: reader.text()?,
            client_id: reader.text()?,
        };
        reader.end()?;
        Ok(record)
    }
}

impl GroupRecord {
    #[must_use]
    pub fn encode(&self) -> Box<[u8]> {
        let mut out = Vec::with_capacity(FIXED_BYTES_MAX + 32 * self.members.len());
        out.push(VERSION);
        for ms in [self.expires_ms, self.message_ttl_ms] {
            out.push(u8::from(ms.is_some()));
            ms.into_iter().for_each(|ms| put(&mut out, ms));
        }
        put_text(&mut out, &self.name);
        put_text(&mut out, &self.owner);
        for (name, weight) in &self.members {
            put_text(&mut out, name);
            out.extend_from_slice(&weight.to_le_bytes());
        }
        out.into()
    }

    /// # Errors
    /// As [`MessageRecord::decode`].
    pub fn decode(bytes: &[u8]) -> Result<GroupRecord, StoreFault> {
        let mut reader = Reader::versioned(bytes)?;
        let has_end = reader.flag()?;
        let expires_ms = reader.optional(has_end, Reader::u64)?;
        let has_ttl = reader.flag()?;
        let message_ttl_ms = reader.optional(has_ttl, Reader::u64)?;
        let (name, owner) = (reader.text()?, reader.text()?);
        let mut members = Vec::new();
        while !reader.left.is_empty() {
            if members.len() >= limits::GROUP_MEMBERS_MAX as usize {
                return Err(StoreFault::Corrupt);
            }
            members.push((reader.text()?, reader.u32()?));
        }
        Ok(GroupRecord { name, owner, expires_ms, message_ttl_ms, members })
    }
}

/// What a record has besides its content: six texts and some numbers.
const FIXED_BYTES_MAX: usize = 6 * 65 + 64;

const CAUSES: [DeathCause; 5] = [
    DeathCause::Attempts,
    DeathCause::Expired,
    DeathCause::Overflow,
    DeathCause::TooOld,
    DeathCause::SessionGone,
];
const STATES: [MessageState; 7] = [
    MessageState::Scheduled,
    MessageState::Queued,
    MessageState::Delivered,
    MessageState::Confirmed,
    MessageState::Expired,
    MessageState::Dead,
    MessageState::Cancelled,
];
const PRIORITIES: [Priority; 4] = [Priority::Low, Priority::Normal, Priority::High, Priority::Critical];
// The numbers are on disk.
const _: () = assert!(
    CAUSES[4] as u8 == 4 && STATES[6] as u8 == 6 && PRIORITIES[3] as u8 == 3,
    "each stands at its own number"
);

fn priority(number: u8) -> Result<Priority, StoreFault> {
    PRIORITIES.get(usize::from(number)).copied().ok_or(StoreFault::Corrupt)
}

fn put(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &Label) {
    let bytes = text.as_str().as_bytes();
    out.push(u8::try_from(bytes.len()).expect("invariant: a label has at most 64 bytes"));
    out.extend_from_slice(bytes);
}

/// What of a record is not read yet.
struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    fn versioned(bytes: &'a [u8]) -> Result<Reader<'a>, StoreFault> {
        match bytes.split_first() {
            Some((&VERSION, left)) => Ok(Reader { left }),
            Some(_) | None => Err(StoreFault::Corrupt),
        }
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], StoreFault> {
        let (head, left) = self.left.split_at_checked(count).ok_or(StoreFault::Corrupt)?;
        self.left = left;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreFault> {
        self.bytes(N)?.try_into().map_err(|_| StoreFault::Corrupt)
    }

    fn byte(&mut self) -> Result<u8, StoreFault> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    fn flag(&mut self) -> Result<bool, StoreFault> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(StoreFault::Corrupt),
        }
    }

    fn u32(&mut self) -> Result<u32, StoreFault> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, StoreFault> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn id(&mut self) -> Result<MessageId, StoreFault> {
        self.u64().map(MessageId)
    }

    fn text(&mut self) -> Result<Label, StoreFault> {
        let len = usize::from(self.byte()?);
        let text = std::str::from_utf8(self.bytes(len)?).map_err(|_| StoreFault::Corrupt)?;
        Label::parse(text).ok_or(StoreFault::Corrupt)
    }

    fn optional<T>(
        &mut self,
        is_there: bool,
        read: impl FnOnce(&mut Reader<'a>) -> Result<T, StoreFault>,
    ) -> Result<Option<T>, StoreFault> {
        is_there.then(|| read(self)).transpose()
    }

    fn end(&self) -> Result<(), StoreFault> {
        if self.left.is_empty() { Ok(()) } else { Err(StoreFault::Corrupt) }
    }
}
