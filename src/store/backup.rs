//! The form of a backup: all entries of a store in one stream, which says when it is whole. Home: whoever writes or reads one.
//!
//! ```text
//! head   "tickring-store-backup 1\n", then a block H: schema u32, identity 16 bytes, commits u64, entries u64, made at u64 (ms since 1970)
//! block  kind 1 byte, length u32, CRC-32 of kind and payload u32, payload
//! E      entries: table 1 byte, key u64, length u32, value; so many as the payload has
//! Z      the end: entries u64; nothing comes behind it
//! ```
//!
//! Numbers are little-endian. Invariant: a stream that was cut, or of which a byte was changed, is not read as a whole one: `Z` is
//! missing, or a sum is another. A store's own form may change; this one is read by every later version.

use std::io::{self, ErrorKind, Read};

use crate::limits;
use crate::model::storage::{StoreFault, Table};

use super::disk::{Entry, Stamp};
use super::schema;
use super::trouble::Trouble;

const MAGIC: &[u8] = b"tickring-store-backup 1\n";
const HEAD: u8 = b'H';
const ENTRIES: u8 = b'E';
const END: u8 = b'Z';
/// Kind, length, sum.
const BLOCK_HEAD_BYTES: usize = 9;
/// A block has a piece of entries, of which one may be long.
const BLOCK_BYTES_MAX: usize = 1 << 30;
const _: () = assert!(limits::STORE_PIECE_BYTES + limits::STORE_VALUE_BYTES_MAX < BLOCK_BYTES_MAX);

/// What a backup is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub schema: u32,
    pub stamp: Stamp,
    /// As many as there are.
    pub entries: u64,
    /// In milliseconds since 1970.
    pub made_unix_ms: u64,
}

/// The beginning of the stream.
pub(super) fn head(head: &Head) -> Vec<u8> {
    let mut payload = Vec::new();
    payload.extend_from_slice(&head.schema.to_le_bytes());
    payload.extend_from_slice(&head.stamp.identity);
    payload.extend_from_slice(&head.stamp.commits.to_le_bytes());
    payload.extend_from_slice(&head.entries.to_le_bytes());
    payload.extend_from_slice(&head.made_unix_ms.to_le_bytes());
    [MAGIC, &block(HEAD, &payload)].concat()
}

/// Some entries of a table.
pub(super) fn entries(table: Table, entries: &[Entry]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(entries.iter().map(|(_, value)| 13 + value.len()).sum());
    for (key, value) in entries {
        payload.push(table.number());
        payload.extend_from_slice(&key.to_le_bytes());
        payload.extend_from_slice(&length(value).to_le_bytes());
        payload.extend_from_slice(value);
    }
    block(ENTRIES, &payload)
}

/// The end of the stream, behind so many entries.
pub(super) fn end(entries: u64) -> Vec<u8> {
    block(END, &entries.to_le_bytes())
}

fn block(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut block = Vec::with_capacity(BLOCK_HEAD_BYTES + payload.len());
    block.push(kind);
    block.extend_from_slice(&length(payload).to_le_bytes());
    block.extend_from_slice(&sum(kind, payload).to_le_bytes());
    block.extend_from_slice(payload);
    block
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("invariant: values are far below 4 GiB (STORE_VALUE_BYTES_MAX)")
}

fn sum(kind: u8, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[kind]);
    hasher.update(payload);
    hasher.finalize()
}

/// Reads a stream, entry by entry.
#[derive(Debug)]
pub struct Reader<R> {
    from: R,
    head: Head,
    read_bytes: u64,
    entries: u64,
    is_ended: bool,
}

/// Entries of tables, as they come.
pub type Entries = Vec<(Table, Entry)>;

impl<R: Read> Reader<R> {
    /// # Errors
    /// It is no backup, or of a version that is newer, or can't be read.
    pub fn new(mut from: R) -> Result<Reader<R>, Trouble> {
        let mut magic = [0; MAGIC.len()];
        from.read_exact(&mut magic).map_err(|error| cut_or(error, "it is no backup of a store"))?;
        if magic != MAGIC {
            return Err(corrupt("it is no backup of a store, or of a newer form"));
        }
        let mut reader = Reader {
            from,
            head: Head {
                schema: 0,
                stamp: Stamp { identity: [0; 16], commits: 0 },
                entries: 0,
                made_unix_ms: 0,
            },
            read_bytes: MAGIC.len() as u64,
            entries: 0,
            is_ended: false,
        };
        let (kind, payload) = reader.block()?;
        let mut rest = Rest(&payload);
        let head = (kind == HEAD).then(|| {
            let schema = u32::from_le_bytes(rest.array()?);
            let identity = rest.array()?;
            let mut number = || Some(u64::from_le_bytes(rest.array()?));
            let (commits, entries, made_unix_ms) = (number()?, number()?, number()?);
            Some(Head { schema, stamp: Stamp { identity, commits }, entries, made_unix_ms })
        });
        reader.head = head.flatten().ok_or_else(|| corrupt("it does not begin with its head"))?;
        if reader.head.schema > schema::VERSION {
            let what =
                format!("it has schema {}, this version knows up to {}", reader.head.schema, schema::VERSION);
            return Err(corrupt(&what).with_hint("use the version that made it, or a newer one"));
        }
        Ok(reader)
    }

    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// Bytes that were read so far.
    #[must_use]
    pub fn read_bytes(&self) -> u64 {
        self.read_bytes
    }

    /// The next entries; `None` behind the last, where the stream is known to be whole.
    ///
    /// # Errors
    /// It was cut or changed, or can't be read.
    pub fn next_entries(&mut self) -> Result<Option<Entries>, Trouble> {
        if self.is_ended {
            return Ok(None);
        }
        let (kind, payload) = self.block()?;
        match kind {
            ENTRIES => {
                let entries = parse(&payload).ok_or_else(|| corrupt("a block of entries is none"))?;
                self.entries += entries.len() as u64;
                Ok(Some(entries))
            }
            END => {
                let counted = Rest(&payload).array().map(u64::from_le_bytes);
                if counted != Some(self.entries) || self.head.entries != self.entries {
                    return Err(corrupt("it has another number of entries than it says"));
                }
                if self.from.read(&mut [0]).map_err(Trouble::from)? > 0 {
                    return Err(corrupt("something comes behind its end"));
                }
                self.is_ended = true;
                Ok(None)
            }
            _ => Err(corrupt("it has a block of an unknown kind")),
        }
    }

    fn block(&mut self) -> Result<(u8, Vec<u8>), Trouble> {
        let mut head = [0; BLOCK_HEAD_BYTES];
        self.from.read_exact(&mut head).map_err(|error| cut_or(error, "it was cut"))?;
        let [kind, l0, l1, l2, l3, s0, s1, s2, s3] = head;
        let bytes = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if bytes > BLOCK_BYTES_MAX {
            return Err(corrupt("a block is too long"));
        }
        // Not made at once: a length that was changed is no reason to take a gigabyte.
        let mut payload = Vec::new();
        self.from.by_ref().take(bytes as u64).read_to_end(&mut payload)?;
        if payload.len() < bytes {
            return Err(corrupt("it was cut"));
        }
        if sum(kind, &payload) != u32::from_le_bytes([s0, s1, s2, s3]) {
            return Err(corrupt("a block was changed: its sum is another"));
        }
        self.read_bytes += (BLOCK_HEAD_BYTES + bytes) as u64;
        Ok((kind, payload))
    }
}

fn parse(payload: &[u8]) -> Option<Entries> {
    let mut rest = Rest(payload);
    let mut entries = Vec::new();
    while !rest.0.is_empty() {
        let [number] = rest.array()?;
        let table = Table::from_number(number)?;
        let key = u64::from_le_bytes(rest.array()?);
        let bytes = u32::from_le_bytes(rest.array()?) as usize;
        let (value, behind) = rest.0.split_at_checked(bytes)?;
        rest = Rest(behind);
        entries.push((table, (key, value.into())));
    }
    Some(entries)
}

/// What is still to be read of a payload.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, behind) = self.0.split_first_chunk()?;
        self.0 = behind;
        Some(*array)
    }
}

fn corrupt(what: &str) -> Trouble {
    Trouble::new(StoreFault::Corrupt, what).with_hint("take another backup")
}

fn cut_or(error: io::Error, what: &str) -> Trouble {
    if error.kind() == ErrorKind::UnexpectedEof { corrupt(what) } else { error.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD_OF_TEST: Head = Head {
        schema: 1,
        stamp: Stamp { identity: [9; 16], commits: 77 },
        entries: 3,
        made_unix_ms: 1_700_000_000_000,
    };

    fn stream() -> Vec<u8> {
        let of_messages = [(1, b"one"[..].into()), (u64::MAX, b""[..].into())];
        let of_groups = [(5, vec![0xFF; 300].into())];
        [
            head(&HEAD_OF_TEST),
            entries(Table::Messages, &of_messages),
            entries(Table::Groups, &of_groups),
            end(3),
        ]
        .concat()
    }

    fn read(bytes: &[u8]) -> Result<Entries, Trouble> {
        let mut reader = Reader::new(bytes)?;
        assert_eq!(reader.head(), HEAD_OF_TEST);
        let mut all = Vec::new();
        while let Some(entries) = reader.next_entries()? {
            all.extend(entries);
        }
        assert_eq!(reader.read_bytes(), bytes.len() as u64);
        Ok(all)
    }

    #[test]
    fn what_was_written_is_read() {
        let expected = [
            (Table::Messages, (1, b"one"[..].into())),
            (Table::Messages, (u64::MAX, b""[..].into())),
            (Table::Groups, (5, vec![0xFF; 300].into())),
        ];
        assert_eq!(read(&stream()).unwrap(), expected);
    }

    #[test]
    fn a_stream_that_was_cut_anywhere_or_has_more_is_refused() {
        let whole = stream();
        for length in 0..whole.len() {
            let fault = read(&whole[..length]).unwrap_err().fault;
            assert_eq!(fault, StoreFault::Corrupt, "cut at {length}");
        }
        assert!(read(&[&whole[..], b"x"].concat()).is_err());
    }

    #[test]
    fn a_stream_of_which_any_byte_was_changed_is_refused() {
        let whole = stream();
        for place in 0..whole.len() {
            let mut changed = whole.clone();
            changed[place] ^= 0x20;
            assert!(read(&changed).is_err(), "changed at {place}");
        }
    }

    #[test]
    fn a_backup_of_a_newer_schema_is_refused_with_a_hint() {
        let newer = head(&Head { schema: 2, ..HEAD_OF_TEST });
        let trouble = Reader::new(&newer[..]).unwrap_err();
        assert_eq!(trouble.what, "it has schema 2, this version knows up to 1");
        assert_eq!(trouble.hint.as_deref(), Some("use the version that made it, or a newer one"));
    }
}
