//! Opens recordings: the only file of the feeds that touches the file system. Home: the venue thread, which reads
//! ahead at most the decoders' chunks; memory is bounded by them and zstd's window (128 MiB at most by its default).
//! A read from a disk can stall the venue thread; a gateway that trades does not replay.

use std::fs::File;
use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result};
use std::path::{Path, PathBuf};

use ::dbn::decode::DynReader;

use super::codec::Bytes;
use super::{AtEnd, FeedError, Place, Replay, Source, Speed};

/// Bytes that one read of the file asks for.
const READ_BYTES: usize = 128 * 1024;

/// Opens a recording: DBN or CSV, plain or in zstd, found by content.
///
/// # Errors
/// What cannot be opened, or is not a recording of a known format.
pub fn open(path: &Path, speed: Speed, at_end: AtEnd) -> std::result::Result<Replay, FeedError> {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    // It is opened more than once, and a read must end: a pipe or a device does neither.
    if path.exists() && !path.is_file() {
        let reason = if path.is_dir() { "is a folder" } else { "is no ordinary file" };
        let reason = format!("{reason}, not a recording");
        return Err(FeedError { file: name, place: Place::File, reason });
    }
    Replay::open(Box::new(FileSource { path: path.to_owned(), name }), speed, at_end)
}

struct FileSource {
    path: PathBuf,
    name: String,
}

impl Source for FileSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn open(&self) -> Result<Bytes> {
        let file = BufReader::with_capacity(READ_BYTES, File::open(&self.path)?);
        Ok(Box::new(decompress(file)?))
    }
}

/// Decompresses what begins as a zstd frame, and leaves anything else as it is.
fn decompress(mut bytes: impl BufRead + Send + 'static) -> Result<impl Read + Send> {
    // `dbn` would look at this buffer as well; an error of the disk is told here, in its own words.
    bytes.fill_buf()?;
    let inner = DynReader::inferred_with_buffer(bytes).map_err(Error::other)?;
    Ok(Whole(inner))
}

/// A reader whose frame that is cut off is an error. zstd says `UnexpectedEof`, which readers are tempted to take for
/// the end.
struct Whole<R>(R);

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.0.read(buffer).map_err(|error| {
            if error.kind() == ErrorKind::UnexpectedEof {
                return Error::new(
                    ErrorKind::InvalidData,
                    "the zstd frame is cut off: the file is truncated",
                );
            }
            error
        })
    }
}
