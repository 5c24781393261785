//! The database: tables of keys and bytes, changed by commits that are whole or not at all (redb, decision 0020).
//!
//! Home: the store's thread, or a command while no server runs. Invariants: a [`Disk`] that exists was read as a whole and found to be
//! what was written; each commit counts up [`Stamp::commits`] in the same transaction, so that whoever opens the file anew knows which
//! were the last to come through; after an error a `Disk` is good for nothing but to be dropped.

use std::path::Path;

use redb::{
    Builder, Database, ReadTransaction, ReadableDatabase, ReadableTableMetadata, StorageBackend,
    TableDefinition, WriteTransaction,
};

use crate::limits;
use crate::model::storage::{Key, StoreFault, StoreOp, Table};

use super::directory::Directory;
use super::file::StoreFile;
use super::schema;
use super::trouble::Trouble;

/// Keys in [`Table::Meta`].
pub(super) const VERSION: Key = 0;
const COMMITS: Key = 1;
const IDENTITY: Key = 2;
/// What is written to see whether there is room.
const PROBE: Key = 3;

/// The names are on disk and never change their meaning.
pub(super) const fn definition(table: Table) -> TableDefinition<'static, Key, &'static [u8]> {
    TableDefinition::new(match table {
        Table::Meta => "meta",
        Table::Messages => "messages",
        Table::DeadLetters => "dead_letters",
        Table::Groups => "groups",
        Table::Done => "done",
    })
}

/// One entry of a table.
pub(super) type Entry = (Key, Box<[u8]>);

/// Which store it is, and how far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Chosen at random when it was made.
    pub identity: [u8; 16],
    /// Commits since.
    pub commits: u64,
}

/// See the file's head.
#[derive(Debug)]
pub(super) struct Disk {
    database: Database,
    stamp: Stamp,
}

impl Disk {
    /// Opens the store of a directory, made if it is not there, and reads all of it once; `note` is told how far that is, of 1.
    ///
    /// # Errors
    /// It can't be read or written, is not what was written, or was written by a newer version.
    pub(super) fn open(directory: &Directory, note: impl Fn(f64) + 'static) -> Result<Disk, Trouble> {
        if directory.has_part() {
            let what = "a restore was begun here and not finished";
            let hint = "remove what is in the directory and restore again";
            return Err(Trouble::new(StoreFault::Corrupt, what).with_hint(hint));
        }
        let path = directory.store();
        let file = StoreFile::new(directory.open_store(&path)?, &path);
        Disk::open_file(file, note)
    }

    /// The same of any file.
    ///
    /// # Errors
    /// Those of [`Disk::open`].
    pub(super) fn open_file(
        file: impl StorageBackend,
        note: impl Fn(f64) + 'static,
    ) -> Result<Disk, Trouble> {
        let mut builder = Builder::new();
        builder.set_cache_size(limits::STORE_CACHE_BYTES);
        // A file that was damaged is found so here, and not by an assertion later.
        builder.set_check_integrity_on_open(true);
        builder.set_repair_callback(move |session| note(session.progress()));
        let database = builder.create_with_backend(file)?;
        schema::upgrade(&database)?;
        let stamp = stamp_of(&database.begin_read()?)?;
        Ok(Disk { database, stamp })
    }

    #[must_use]
    pub(super) fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Has all operations on the disk, in their order.
    ///
    /// # Errors
    /// After one it is unknown whether they are: the file has to be opened anew, and [`Disk::stamp`] says.
    pub(super) fn commit<'a>(&mut self, ops: impl IntoIterator<Item = &'a StoreOp>) -> Result<(), Trouble> {
        let writing = self.database.begin_write()?;
        let commits = self.stamp.commits + 1;
        write(&writing, ops)?;
        writing.open_table(definition(Table::Meta))?.insert(COMMITS, &commits.to_be_bytes()[..])?;
        writing.commit()?;
        self.stamp.commits = commits;
        Ok(())
    }

    /// Whether there is room for what is usual: writes so much, and takes it away.
    ///
    /// # Errors
    /// There is not. As after a commit.
    pub(super) fn probe(&mut self) -> Result<(), Trouble> {
        let value = vec![0; limits::STORE_PROBE_BYTES].into();
        self.commit([&StoreOp::Put { table: Table::Meta, key: PROBE, value }])?;
        self.commit([&StoreOp::Remove { table: Table::Meta, key: PROBE }])
    }

    /// What there is now, whatever is committed later.
    ///
    /// # Errors
    /// Those of the disk.
    pub(super) fn snapshot(&self) -> Result<Snapshot, Trouble> {
        Snapshot::of(self.database.begin_read()?, self.stamp)
    }

    /// Gives what is free in the file back to the file system; whether there was something.
    ///
    /// # Errors
    /// Those of the disk.
    pub(super) fn compact(&mut self) -> Result<bool, Trouble> {
        Ok(self.database.compact()?)
    }

    /// Ends it in order, so that the next one to open it has less to look at.
    ///
    /// # Errors
    /// Those of the disk; what was committed is there all the same.
    pub(super) fn close(self) -> Result<(), Trouble> {
        Ok(self.database.close()?)
    }
}

fn write<'a>(writing: &WriteTransaction, ops: impl IntoIterator<Item = &'a StoreOp>) -> Result<(), Trouble> {
    // Opened once each, however often it is named.
    let mut tables = [const { None }; Table::ALL.len()];
    for op in ops {
        let (StoreOp::Put { table, .. } | StoreOp::Remove { table, .. }) = op;
        let place = &mut tables[usize::from(table.number())];
        let opened = match place {
            Some(opened) => opened,
            None => place.insert(writing.open_table(definition(*table))?),
        };
        match op {
            StoreOp::Put { key, value, .. } => drop(opened.insert(key, &value[..])?),
            StoreOp::Remove { key, .. } => drop(opened.remove(key)?),
        }
    }
    Ok(())
}

/// What a new store says of itself.
pub(super) fn write_stamp(writing: &WriteTransaction) -> Result<(), Trouble> {
    let mut identity = [0; 16];
    aws_lc_rs::rand::fill(&mut identity)
        .expect("invariant: aws-lc gives random bytes or ends the process by itself");
    let mut meta = writing.open_table(definition(Table::Meta))?;
    meta.insert(COMMITS, &0_u64.to_be_bytes()[..])?;
    meta.insert(IDENTITY, &identity[..])?;
    Ok(())
}

fn stamp_of(reading: &ReadTransaction) -> Result<Stamp, Trouble> {
    let meta = reading.open_table(definition(Table::Meta))?;
    let commits =
        meta.get(COMMITS)?.and_then(|value| Some(u64::from_be_bytes(value.value().try_into().ok()?)));
    let identity = meta.get(IDENTITY)?.and_then(|value| value.value().try_into().ok());
    match (identity, commits) {
        (Some(identity), Some(commits)) => Ok(Stamp { identity, commits }),
        _ => Err(Trouble::new(StoreFault::Corrupt, "the store does not say which it is")),
    }
}

/// What a store had at one moment. While there is one, what is removed keeps its place in the file.
pub(super) struct Snapshot {
    reading: ReadTransaction,
    stamp: Stamp,
}

impl Snapshot {
    fn of(reading: ReadTransaction, stamp: Stamp) -> Result<Snapshot, Trouble> {
        Ok(Snapshot { reading, stamp })
    }

    #[must_use]
    pub(super) fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Entries of a table.
    ///
    /// # Errors
    /// Those of the disk.
    pub(super) fn count(&self, table: Table) -> Result<u64, Trouble> {
        Ok(self.reading.open_table(definition(table))?.len()?)
    }

    /// Entries from a key on in the order of keys, so many bytes of them and at least one; none where there are no more.
    ///
    /// # Errors
    /// Those of the disk.
    pub(super) fn piece(&self, table: Table, from: Key) -> Result<Vec<Entry>, Trouble> {
        let opened = self.reading.open_table(definition(table))?;
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for entry in opened.range(from..)? {
            let (key, value) = entry?;
            let value: Box<[u8]> = value.value().into();
            bytes += size_of::<Entry>() + value.len();
            entries.push((key.value(), value));
            if bytes >= limits::STORE_PIECE_BYTES {
                break;
            }
        }
        Ok(entries)
    }

    /// The next piece of a walk; none behind the last. A walk goes on after an error, through a snapshot of the same [`Stamp`].
    ///
    /// # Errors
    /// Those of the disk: the walk is where it was.
    pub(super) fn next_piece(&self, walk: &mut Walk) -> Result<Option<(Table, Vec<Entry>)>, Trouble> {
        while let Some((table, rest)) = walk.tables.split_first() {
            let piece = self.piece(*table, walk.from)?;
            let next = piece.last().and_then(|(last, _)| last.checked_add(1));
            *walk = match next {
                Some(from) => Walk { from, ..*walk },
                None => Walk { tables: rest, from: 0 },
            };
            if !piece.is_empty() {
                return Ok(Some((*table, piece)));
            }
        }
        Ok(None)
    }

    /// All entries, piece by piece.
    ///
    /// # Errors
    /// Those of the disk, and those of `take`.
    pub(super) fn each_piece<E: From<Trouble>>(
        &self,
        mut take: impl FnMut(Table, Vec<Entry>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut walk = Walk::default();
        while let Some((table, piece)) = self.next_piece(&mut walk)? {
            take(table, piece)?;
        }
        Ok(())
    }
}

/// How far somebody is who goes through all entries: table for table, by keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    tables: &'static [Table],
    from: Key,
}

impl Default for Walk {
    fn default() -> Walk {
        // Without `Table::Meta`, which is the store's own.
        Walk { tables: &Table::ALL[1..], from: 0 }
    }
}

/// The length of the file, which is the most that the store has taken of the disk.
#[must_use]
pub(super) fn file_bytes(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}
