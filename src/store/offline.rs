//! What is done with a store while no server has it, or by asking the one that does: check, compact, export, backup, restore.
//! Home: a command's only thread. Invariants: a backup and a restored store have their names only when they are whole and on the disk;
//! what a server has is not touched.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::clock;
use crate::exit::{Exit, Failure};
use crate::limits;
use crate::model::storage::{Key, StoreOp, Table};

use super::backup::{Head, Reader};
use super::directory::{ClaimError, Directory, store_of};
use super::disk::{Disk, Snapshot, Stamp, file_bytes};
use super::door::{self, REFUSED, write_backup};
use super::file::StoreFile;
use super::trouble::Trouble;

/// For the owner alone, as the store is.
const BACKUP_MODE: u32 = 0o600;
/// Bytes of a refusal that are shown.
const REFUSAL_BYTES_MAX: u64 = 1024;

/// How far a command is: entries or steps done, and of how many.
pub(super) type Note<'a> = &'a mut dyn FnMut(u64, u64);

/// What a store or a backup has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub stamp: Stamp,
    pub schema: u32,
    /// Of each table but [`Table::Meta`].
    pub entries: Vec<(Table, u64)>,
    pub file_bytes: u64,
}

/// Reads all of a store, in a directory, or of a backup.
///
/// # Errors
/// It is not what was written, can't be read, or a server has it.
pub fn check(path: &Path, note: Note<'_>) -> Result<Found, Failure> {
    if !path.is_file() {
        let of_store = |trouble: Trouble| trouble.failure(path);
        let directory = take(path)?;
        let disk = open(&directory)?;
        let snapshot = disk.snapshot().map_err(of_store)?;
        let found = found(&snapshot, file_bytes(&directory.store())).map_err(of_store)?;
        each_of(&snapshot, note, &mut |_, _, _| Ok(())).map_err(of_store)?;
        drop(snapshot);
        disk.close().map_err(of_store)?;
        return Ok(found);
    }
    let mut counts: Vec<(Table, u64)> = Table::ALL[1..].iter().map(|table| (*table, 0)).collect();
    let head = of_backup(path, note, &mut |table, _, _| {
        counts.iter_mut().filter(|(known, _)| *known == table).for_each(|(_, count)| *count += 1);
        Ok(())
    })?;
    Ok(Found { stamp: head.stamp, schema: head.schema, entries: counts, file_bytes: file_bytes(path) })
}

/// Gives what is free in a store's file back to the file system: bytes before and after.
///
/// # Errors
/// Those of [`check`].
pub fn compact(path: &Path) -> Result<(u64, u64), Failure> {
    let directory = take(path)?;
    let before = file_bytes(&directory.store());
    let mut disk = open(&directory)?;
    // Each round moves some; the last finds nothing.
    while disk.compact().map_err(|trouble| trouble.failure(path))? {}
    disk.close().map_err(|trouble| trouble.failure(path))?;
    Ok((before, file_bytes(&directory.store())))
}

/// What is done with each entry of an export.
pub(super) type Take<'a> = &'a mut dyn FnMut(Table, Key, &[u8]) -> io::Result<()>;

/// Goes through all entries of a store, in a directory, of which a running server gives a snapshot, or of a backup.
///
/// # Errors
/// Those of [`check`] and of `take`.
pub fn each_entry(path: &Path, note: Note<'_>, take: Take<'_>) -> Result<(), Failure> {
    if path.is_file() {
        return of_backup(path, note, take).map(drop);
    }
    let of_store = |trouble: Trouble| trouble.failure(path);
    match hold(path)? {
        Held::Ours(directory) => {
            let disk = open(&directory)?;
            let done = disk.snapshot().and_then(|snapshot| each_of(&snapshot, note, take));
            done.and_then(|()| disk.close()).map_err(of_store)
        }
        Held::Servers(process) => {
            let mut reader = Reader::new(BufReader::new(ask(path, process)?)).map_err(of_store)?;
            each_of_reader(&mut reader, note, take).map_err(of_store)
        }
    }
}

/// Writes a backup of a store to a file that is not there yet; a running server gives it, or it is read from the directory. How many
/// entries it has, and bytes.
///
/// # Errors
/// Those of [`check`], or the file is there or can't be written.
pub fn backup_of(path: &Path, to: &Path, note: Note<'_>) -> Result<(u64, u64), Failure> {
    let mut part = to.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let unwritten = |error: io::Error| {
        let what = format!("{}: {error}", to.display());
        Failure::new(Exit::OsError, what, "name a file in a directory that you may write and that has room")
    };
    if to.exists() {
        let what = format!("{} is there already", to.display());
        return Err(Failure::new(Exit::Usage, what, "name another file, or remove it"));
    }
    let held = hold(path)?;
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(BACKUP_MODE).open(&part);
    let mut file = Noted { to: BufWriter::new(file.map_err(unwritten)?), fault: None };
    let written = match held {
        Held::Ours(directory) => write_offline(&directory, &mut file, note),
        Held::Servers(process) => ask(path, process)
            .and_then(|from| copy_checked(from, &mut file, note).map_err(|trouble| trouble.failure(path))),
    };
    let Noted { to: file, fault } = file;
    let finished = fault.map_or(written, |error| Err(unwritten(error))).and_then(|entries| {
        let file = file.into_inner().map_err(|error| unwritten(error.into_error()))?;
        file.sync_all().map_err(unwritten)?;
        fs::rename(&part, to).map_err(unwritten)?;
        let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(unwritten)?;
        Ok((entries, file_bytes(to)))
    });
    if finished.is_err() {
        let _ = fs::remove_file(&part);
    }
    finished
}

/// Makes a store of a backup, in a directory that is empty or not there yet; how many entries it has.
///
/// # Errors
/// The directory is in use or not empty, or the backup is not whole.
pub fn restore(from: &Path, path: &Path, note: Note<'_>) -> Result<u64, Failure> {
    let mut reader = open_backup(from)?;
    let directory = Directory::claim(path).map_err(|error| error.failure(path))?;
    let of_directory = |trouble: Trouble| trouble.failure(path);
    if let Some(other) = directory.first_file().map_err(|error| of_directory(error.into()))? {
        let what = format!("{} is not empty: {} is there", path.display(), other.display());
        return Err(Failure::new(Exit::Usage, what, "restore into an empty directory, or move that away"));
    }
    let restored = write_restored(&directory, &mut reader, from, note);
    if restored.is_err() {
        // It never had the store's name.
        let _ = fs::remove_file(directory.part());
    }
    restored
}

fn write_restored(
    directory: &Directory,
    reader: &mut Reader<BufReader<File>>,
    from: &Path,
    note: Note<'_>,
) -> Result<u64, Failure> {
    let of_directory = |trouble: Trouble| trouble.failure(directory.path());
    let part = directory.part();
    let file = directory.open_store(&part).map_err(|error| of_directory(error.into()))?;
    let mut disk = Disk::open_file(StoreFile::new(file, &part), |_| {}).map_err(of_directory)?;
    let total = reader.head().entries;
    let (mut ops, mut bytes, mut count) = (Vec::new(), 0, 0);
    while let Some(entries) = reader.next_entries().map_err(|trouble| trouble.failure(from))? {
        count += entries.len() as u64;
        for (table, (key, value)) in entries {
            let op = StoreOp::Put { table, key, value };
            bytes += op.weight_bytes();
            ops.push(op);
        }
        if bytes >= limits::STORE_COMMIT_BYTES_MAX {
            disk.commit(&ops).map_err(of_directory)?;
            (ops, bytes) = (Vec::new(), 0);
        }
        note(count, total);
    }
    disk.commit(&ops).map_err(of_directory)?;
    disk.close().map_err(of_directory)?;
    directory.finish_part().map_err(|error| of_directory(error.into()))?;
    Ok(count)
}

/// Who has a directory in which there is a store.
enum Held {
    Ours(Directory),
    /// A process; its number, if it is known.
    Servers(Option<u32>),
}

fn hold(path: &Path) -> Result<Held, Failure> {
    // Before anything is made there.
    if !store_of(path).exists() {
        let what = format!("{}: there is no store", path.display());
        return Err(Failure::new(Exit::NoInput, what, "name the directory of store.directory"));
    }
    match Directory::lock(path) {
        Ok(directory) => Ok(Held::Ours(directory)),
        Err(ClaimError::Taken(process)) => Ok(Held::Servers(process)),
        Err(error) => Err(error.failure(path)),
    }
}

/// The same, where no server may have it.
fn take(path: &Path) -> Result<Directory, Failure> {
    match hold(path)? {
        Held::Ours(directory) => Ok(directory),
        Held::Servers(process) => Err(ClaimError::Taken(process).failure(path)),
    }
}

fn open(directory: &Directory) -> Result<Disk, Failure> {
    Disk::open(directory, |_| {}).map_err(|trouble| trouble.failure(directory.path()))
}

fn found(snapshot: &Snapshot, bytes: u64) -> Result<Found, Trouble> {
    let counted = |table: &Table| Ok((*table, snapshot.count(*table)?));
    let entries: Result<Vec<_>, Trouble> = Table::ALL[1..].iter().map(counted).collect();
    Ok(Found {
        stamp: snapshot.stamp(),
        schema: super::schema::VERSION,
        entries: entries?,
        file_bytes: bytes,
    })
}

fn each_of(snapshot: &Snapshot, note: Note<'_>, take: Take<'_>) -> Result<(), Trouble> {
    let tables = &Table::ALL[1..];
    let mut total = 0;
    for table in tables {
        total += snapshot.count(*table)?;
    }
    let mut done = 0;
    snapshot.each_piece(|table, entries| {
        for (key, value) in &entries {
            take(table, *key, value)?;
        }
        done += entries.len() as u64;
        note(done, total);
        Ok(())
    })
}

fn open_backup(path: &Path) -> Result<Reader<BufReader<File>>, Failure> {
    let file = File::open(path).map_err(|error| {
        let exit = if error.kind() == ErrorKind::NotFound { Exit::NoInput } else { Exit::OsError };
        Failure::new(
            exit,
            format!("{}: {error}", path.display()),
            "name a file that tickring store backup made",
        )
    })?;
    Reader::new(BufReader::new(file)).map_err(|trouble| trouble.failure(path))
}

fn of_backup(path: &Path, note: Note<'_>, take: Take<'_>) -> Result<Head, Failure> {
    let mut reader = open_backup(path)?;
    each_of_reader(&mut reader, note, take).map_err(|trouble| trouble.failure(path))?;
    Ok(reader.head())
}

fn each_of_reader<R: Read>(reader: &mut Reader<R>, note: Note<'_>, take: Take<'_>) -> Result<(), Trouble> {
    let (total, mut done) = (reader.head().entries, 0);
    while let Some(entries) = reader.next_entries()? {
        for (table, (key, value)) in &entries {
            take(*table, *key, value)?;
        }
        done += entries.len() as u64;
        note(done, total);
    }
    Ok(())
}

/// Asks the server that has a directory: the stream of a backup.
fn ask(path: &Path, process: Option<u32>) -> Result<impl Read + use<>, Failure> {
    let process = process.map_or_else(String::new, |process| format!(" by process {process}"));
    let refused = |what: &str| {
        let what = format!("{} is in use{process}, which gives no backup: {what}", path.display());
        Failure::new(Exit::Unavailable, what, "be the server's user or root, or stop the server first")
    };
    let mut stream = door::knock(path).map_err(|error| refused(&error.to_string()))?;
    let mut begin = [0; REFUSED.len()];
    stream.read_exact(&mut begin).map_err(|error| refused(&error.to_string()))?;
    if begin == REFUSED.as_bytes() {
        let mut why = String::new();
        // What can't be read is left out.
        let _ = stream.take(REFUSAL_BYTES_MAX).read_to_string(&mut why);
        return Err(refused(why.trim()));
    }
    Ok(io::Cursor::new(begin).chain(stream))
}

fn write_offline(directory: &Directory, file: &mut impl Write, note: Note<'_>) -> Result<u64, Failure> {
    let disk = open(directory)?;
    let mut blocks = 0;
    let written = disk.snapshot().and_then(|snapshot| {
        write_backup(&snapshot, clock::now().unix_ns / 1_000_000, |bytes| {
            blocks += 1;
            note(blocks, 0);
            Ok(file.write_all(bytes)?)
        })
    });
    let written = written.map_err(|trouble| trouble.failure(directory.path()))?;
    note(written, written);
    disk.close().map_err(|trouble| trouble.failure(directory.path()))?;
    Ok(written)
}

/// Copies a stream to a file while it is read: what is no whole backup is found here, and not by who needs it.
fn copy_checked(from: impl Read, to: &mut impl Write, note: Note<'_>) -> Result<u64, Trouble> {
    let mut reader = Reader::new(Copying { from, to })?;
    let total = reader.head().entries;
    let mut done = 0;
    while let Some(entries) = reader.next_entries()? {
        done += entries.len() as u64;
        note(done, total);
    }
    Ok(done)
}

/// A file, and what was said of it first that was not well: so that nobody takes it for the store's.
struct Noted<W> {
    to: W,
    fault: Option<io::Error>,
}

impl<W: Write> Write for Noted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.write(bytes).map_err(|error| {
            let kind = error.kind();
            self.fault.get_or_insert(error);
            kind.into()
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

struct Copying<'a, R, W> {
    from: R,
    to: &'a mut W,
}

impl<R: Read, W: Write> Read for Copying<'_, R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.from.read(buffer)?;
        self.to.write_all(&buffer[..bytes])?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_refuses_is_known_to_be_the_files() {
        let to = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut noted = Noted { to, fault: None };
        assert!(noted.write_all(b"x").is_err() && noted.write_all(b"y").is_err());
        assert_eq!(noted.fault.unwrap().raw_os_error(), Some(nix::libc::ENOSPC));
    }
}
