//! The versions of what is on the disk, and the way from each to the next. Home: whoever opens a store.
//!
//! Invariant: a store is brought up to [`VERSION`] by one transaction, before anybody reads it; one that is newer is left alone.

use redb::{Database, ReadableDatabase, TableError, WriteTransaction};

use crate::model::storage::{StoreFault, Table};

use super::disk::{self, definition};
use super::trouble::Trouble;

/// What this version writes.
pub const VERSION: u32 = 1;

/// A step to the next version.
type Step = fn(&WriteTransaction) -> Result<(), Trouble>;

/// From each version, beginning with 0, which is that of a store that does not say one: new, or with tables of entries alone.
const STEPS: [Step; VERSION as usize] = [name_and_count];

/// Brings the store up to [`VERSION`].
///
/// # Errors
/// It is newer, or the disk fails.
pub(super) fn upgrade(database: &Database) -> Result<(), Trouble> {
    let version = version_of(database)?;
    if version == VERSION {
        return Ok(());
    }
    if version > VERSION {
        let what = format!(
            "the store was written by a newer version (schema {version}, this one knows up to {VERSION})"
        );
        let hint = "run the version that wrote it, or restore a backup of this one";
        return Err(Trouble::new(StoreFault::Corrupt, what).with_hint(hint));
    }
    let writing = database.begin_write()?;
    for step in &STEPS[version as usize..] {
        step(&writing)?;
    }
    writing.open_table(definition(Table::Meta))?.insert(disk::VERSION, &VERSION.to_be_bytes()[..])?;
    writing.commit()?;
    if version > 0 {
        log::info!("the store was brought from schema {version} to {VERSION}");
    }
    Ok(())
}

fn version_of(database: &Database) -> Result<u32, Trouble> {
    let meta = match database.begin_read()?.open_table(definition(Table::Meta)) {
        Ok(meta) => meta,
        Err(TableError::TableDoesNotExist(_)) => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    let Some(value) = meta.get(disk::VERSION)? else { return Ok(0) };
    let version = value.value().try_into().map(u32::from_be_bytes);
    version.map_err(|_| Trouble::new(StoreFault::Corrupt, "the version of the store's schema is no number"))
}

/// 0 to 1: all tables are there, and the store has a name and counts its commits.
fn name_and_count(writing: &WriteTransaction) -> Result<(), Trouble> {
    for table in Table::ALL {
        writing.open_table(definition(table))?;
    }
    disk::write_stamp(writing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::storage::StoreOp;
    use crate::store::directory::Directory;
    use crate::store::disk::Disk;
    use crate::store::scratch::Scratch;

    fn open(directory: &Directory) -> Result<Disk, Trouble> {
        Disk::open(directory, |_| {})
    }

    #[test]
    fn a_store_without_a_version_keeps_its_entries_and_gets_one() {
        let scratch = Scratch::new("schema0");
        let directory = Directory::claim(scratch.path()).unwrap();
        let old = Database::create(directory.store()).unwrap();
        let writing = old.begin_write().unwrap();
        writing.open_table(definition(Table::Messages)).unwrap().insert(7, &b"kept"[..]).unwrap();
        writing.commit().unwrap();
        assert_eq!(version_of(&old).unwrap(), 0);
        drop(old);
        let mut disk = open(&directory).unwrap();
        let identity = disk.stamp().identity;
        assert_eq!(disk.stamp().commits, 0);
        let entries = disk.snapshot().unwrap().piece(Table::Messages, 0).unwrap();
        assert_eq!(entries, [(7, b"kept"[..].into())]);
        disk.commit([&StoreOp::Remove { table: Table::Messages, key: 7 }]).unwrap();
        disk.close().unwrap();
        let disk = open(&directory).unwrap();
        assert_eq!((disk.stamp().identity, disk.stamp().commits), (identity, 1), "it is upgraded once");
    }

    #[test]
    fn a_store_of_a_newer_version_is_left_as_it_is_and_the_hint_says_what_to_run() {
        let scratch = Scratch::new("schema9");
        let directory = Directory::claim(scratch.path()).unwrap();
        open(&directory).unwrap().close().unwrap();
        let newer = Database::create(directory.store()).unwrap();
        let writing = newer.begin_write().unwrap();
        let version = &9_u32.to_be_bytes()[..];
        writing.open_table(definition(Table::Meta)).unwrap().insert(disk::VERSION, version).unwrap();
        writing.commit().unwrap();
        drop(newer);
        let failure = open(&directory).unwrap_err().failure(directory.path());
        let line = "the store was written by a newer version (schema 9, this one knows up to 1): run the version that wrote \
                    it, or restore a backup of this one";
        assert!(failure.to_string().ends_with(line), "{failure}");
        assert_eq!(version_of(&Database::create(directory.store()).unwrap()).unwrap(), 9);
    }
}
