//! What is kept on a disk beyond the process, as its owner and the store's thread speak of it. PURE. Home: the venue's thread writes
//! operations and hears words, the store's thread does the reverse.
//!
//! Invariants: the store knows nothing of what it keeps but tables, keys and bytes; batches become durable in the order of their
//! numbers, each as a whole or not at all; a batch that was sent is answered once, by [`StoreWord::Stored`] or [`StoreWord::Refused`].

use std::fmt;

/// A table of the store. The number is on disk and never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// What the store itself remembers, the version of its schema foremost. Nobody else writes it.
    Meta = 0,
    Messages = 1,
    DeadLetters = 2,
    Groups = 3,
    Done = 4,
}

impl Table {
    /// In the order of their numbers, which is the order in which they are loaded.
    pub const ALL: [Table; 5] =
        [Table::Meta, Table::Messages, Table::DeadLetters, Table::Groups, Table::Done];

    /// Its name in files and exports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Table::Meta => "meta",
            Table::Messages => "messages",
            Table::DeadLetters => "dead_letters",
            Table::Groups => "groups",
            Table::Done => "done",
        }
    }

    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    #[must_use]
    pub fn from_number(number: u8) -> Option<Table> {
        Table::ALL.into_iter().find(|table| table.number() == number)
    }

    /// The table of this name, as [`Table::as_str`] writes it.
    #[must_use]
    pub fn parse(name: &str) -> Option<Table> {
        Table::ALL.into_iter().find(|table| table.as_str() == name)
    }
}

/// Big-endian on disk, so that scans are in the order of keys.
pub type Key = u64;

/// One change of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreOp {
    /// In place of what the key had before.
    Put { table: Table, key: Key, value: Box<[u8]> },
    /// A key that there is not is no fault.
    Remove { table: Table, key: Key },
}

impl StoreOp {
    /// What it counts for where queues are bounded by bytes: its value and a fixed cost.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        size_of::<StoreOp>()
            + match self {
                StoreOp::Put { value, .. } => value.len(),
                StoreOp::Remove { .. } => 0,
            }
    }
}

/// Operations that become durable together or not at all. On a full disk only what makes room is taken: batches that remove, and put at most
/// `limits::STORE_PUT_BYTES_PER_REMOVE` for each entry that they remove.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreBatch {
    /// Rises by one a batch; the first may be any.
    pub number: u64,
    /// In this order: of several on one key the last holds. Values are bounded by `limits::STORE_VALUE_BYTES_MAX`.
    pub ops: Vec<StoreOp>,
}

impl StoreBatch {
    /// What it counts for where queues are bounded by bytes.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        size_of::<StoreBatch>() + self.ops.iter().map(StoreOp::weight_bytes).sum::<usize>()
    }
}

/// What the store says to who writes into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreWord {
    /// At the start, some of what a table has, in the order of keys, in pieces of a bounded number of bytes: table for table in the
    /// order of [`Table::ALL`] without [`Table::Meta`], then [`StoreWord::Loaded`].
    Entries { table: Table, entries: Vec<(Key, Box<[u8]>)> },
    /// All that there was has been told.
    Loaded,
    /// All batches up to and with this one that were not refused are on the disk.
    Stored { through: u64 },
    /// This batch is not, and nothing of it is; later ones may be.
    Refused { number: u64, fault: StoreFault },
    /// How the store is, whenever it changes.
    State(StoreState),
}

/// How the store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoreState {
    /// The configuration has none.
    #[default]
    Absent,
    /// It is opened, and tells what it has; batches wait. Where that ends in a fault, and the same store is readable again, it is this once
    /// more, and goes on with what was not told yet; what was told holds.
    Loading,
    /// It takes batches.
    Ready,
    /// It refuses batches, for this fault, until it is [`StoreState::Ready`] again.
    Faulty(StoreFault),
}

impl StoreState {
    /// Its name in metrics and answers, without the fault.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            StoreState::Absent => "absent",
            StoreState::Loading => "loading",
            StoreState::Ready => "ready",
            StoreState::Faulty(_) => "faulty",
        }
    }
}

/// Why the store does not take what it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StoreFault {
    /// There is no space left, a quota is used up, or a file may not get longer.
    DiskFull,
    /// The file system or the directory may not be written.
    ReadOnly,
    /// What is on the disk is not what was written there, or was written by a newer version.
    Corrupt,
    /// The disk failed otherwise.
    Io,
    /// The servers that keep it cannot be reached.
    Away,
    /// Another node has it, as the owner of the market after this one.
    Taken,
}

impl StoreFault {
    pub const ALL: [StoreFault; 6] = [
        StoreFault::DiskFull,
        StoreFault::ReadOnly,
        StoreFault::Corrupt,
        StoreFault::Io,
        StoreFault::Away,
        StoreFault::Taken,
    ];

    /// Its name in metrics and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            StoreFault::DiskFull => "disk_full",
            StoreFault::ReadOnly => "read_only",
            StoreFault::Corrupt => "corrupt",
            StoreFault::Io => "io",
            StoreFault::Away => "away",
            StoreFault::Taken => "taken",
        }
    }
}

impl fmt::Display for StoreFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StoreFault::DiskFull => "the disk is full",
            StoreFault::ReadOnly => "the disk is read-only",
            StoreFault::Corrupt => "the store is corrupt",
            StoreFault::Io => "the disk fails",
            StoreFault::Away => "the store cannot be reached",
            StoreFault::Taken => "another node has the store",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_found_by_its_number_and_by_its_name_and_no_other_is() {
        for (number, table) in (0..).zip(Table::ALL) {
            assert_eq!((table.number(), Table::from_number(number)), (number, Some(table)));
            assert_eq!(Table::parse(table.as_str()), Some(table));
        }
        assert_eq!((Table::from_number(5), Table::parse("Messages")), (None, None));
    }

    #[test]
    fn a_batch_weighs_its_values_and_something_for_each_operation() {
        let put = StoreOp::Put { table: Table::Messages, key: 1, value: vec![7; 100].into() };
        let remove = StoreOp::Remove { table: Table::Messages, key: 1 };
        assert_eq!(put.weight_bytes(), 100 + remove.weight_bytes());
        let batch = StoreBatch { number: 1, ops: vec![put, remove] };
        assert!(batch.weight_bytes() > 100 + 2 * size_of::<StoreOp>());
    }
}
