//! Recordings become feed events here, one record at a time. PURE: bytes come from any reader. Home: the venue thread.
//! Add a format: a file here, a variant of [`Decoder`] and a line in [`Decoder::open`].
//! Invariants: what is read is bounded ([`PROFILE_RECORDS_MAX`], [`SNIFF_BYTES`], a line, a record, its books), never a
//! whole file; no byte of a file can make it panic.

pub mod csv;
pub mod databento;
pub mod levels;
pub mod listing;
pub mod mbo;

use std::fmt;
use std::io::Read;

use self::csv::CsvDecoder;
use self::databento::DbnDecoder;
use self::listing::Ticks;
use super::error::Place;
use crate::model::market::FeedBuffer;

/// Where a decoder's bytes come from, decompressed.
pub type Bytes = Box<dyn Read + Send>;

/// Records that are looked at before the replay to learn the increments of prices: some milliseconds of work, and enough
/// to see a book's every increment many times.
pub const PROFILE_RECORDS_MAX: u64 = 20_000;
/// Bytes that tell the formats apart.
pub const SNIFF_BYTES: usize = 256;

/// What is wrong, where; the replay adds the file's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub place: Place,
    pub reason: String,
}

impl Fault {
    fn file(reason: impl Into<String>) -> Fault {
        Fault { place: Place::File, reason: reason.into() }
    }
}

/// What one record gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing to tell yet.
    Quiet,
    /// The buffer has what happened at this recorded time, in nanoseconds since 1970.
    Moment { recorded_ns: u64 },
    /// The buffer has what stood before the recorded time began: due at once, however long nothing happens after it.
    Snapshot,
    /// There are no more records; the buffer may hold what the last ones left.
    End,
}

/// What a recording has that is odd but legal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Oddities {
    /// Cancels and modifications of orders that the recording never showed: it begins in mid-session.
    pub orders_unknown: u64,
    /// Records of kinds that say nothing about a market's levels and trades: status, statistics, system.
    pub records_skipped: u64,
}

pub enum Decoder {
    Csv(Box<CsvDecoder>),
    Dbn(Box<DbnDecoder>),
}

impl Decoder {
    /// Finds the format by its content and reads its beginning: `profile` to learn the increments, then `bytes`, the
    /// same recording again, to play it. `file_name` names the instrument where the format does not.
    ///
    /// # Errors
    /// An unknown format, or a beginning that is not what the format says.
    pub fn open(profile: Bytes, bytes: Bytes, file_name: &str) -> Result<Decoder, Fault> {
        let (head, profile) = sniff(profile)?;
        if head.is_empty() {
            return Err(Fault::file("the file is empty"));
        }
        if head.starts_with(b"DBN") {
            let ticks = databento::profile(profile)?;
            return Ok(Decoder::Dbn(Box::new(DbnDecoder::open(bytes, ticks)?)));
        }
        let Some(layout) = csv::Layout::sniff(&head) else {
            return Err(Fault::file(format!(
                "of a format that is not known here ({}); known are Databento DBN, histdata CSV and TrueFX CSV, \
                 plain or in zstd",
                describe(&head)
            )));
        };
        let ticks = csv::profile(profile, layout);
        Ok(Decoder::Csv(Box::new(CsvDecoder::open(bytes, layout, file_name, ticks))))
    }

    /// Begins again with the same recording: books are cleared, instruments keep their numbers.
    ///
    /// # Errors
    /// See [`Decoder::open`].
    pub fn restart(&mut self, bytes: Bytes) -> Result<(), Fault> {
        match self {
            Decoder::Csv(csv) => {
                csv.restart(bytes);
                Ok(())
            }
            Decoder::Dbn(dbn) => dbn.restart(bytes),
        }
    }

    /// Reads one record; its events are appended to `out`.
    ///
    /// # Errors
    /// What the record has that it should not.
    pub fn read(&mut self, out: &mut FeedBuffer) -> Result<Step, Fault> {
        match self {
            Decoder::Csv(csv) => csv.read(out),
            Decoder::Dbn(dbn) => dbn.read(out),
        }
    }

    /// Records read since the start or the last restart.
    #[must_use]
    pub fn records_read(&self) -> u64 {
        match self {
            Decoder::Csv(csv) => csv.records_read(),
            Decoder::Dbn(dbn) => dbn.records_read(),
        }
    }

    #[must_use]
    pub fn oddities(&self) -> Oddities {
        match self {
            Decoder::Csv(_) => Oddities::default(),
            Decoder::Dbn(dbn) => dbn.oddities(),
        }
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = match self {
            Decoder::Csv(_) => "csv",
            Decoder::Dbn(_) => "dbn",
        };
        f.debug_struct("Decoder")
            .field("format", &format)
            .field("records_read", &self.records_read())
            .finish()
    }
}

/// The first bytes, and a reader that still has them.
fn sniff(mut bytes: Bytes) -> Result<(Vec<u8>, Bytes), Fault> {
    let mut head = Vec::with_capacity(SNIFF_BYTES);
    bytes
        .by_ref()
        .take(SNIFF_BYTES as u64)
        .read_to_end(&mut head)
        .map_err(|error| Fault::file(format!("cannot be read: {error}")))?;
    let whole = std::io::Cursor::new(head.clone()).chain(bytes);
    Ok((head, Box::new(whole)))
}

/// The beginning of a foreign file, for the error line.
fn describe(head: &[u8]) -> String {
    let known: [(&[u8], &str); 6] = [
        (b"\x89PNG", "a PNG image"),
        (b"PK\x03\x04", "a ZIP archive: unpack it first"),
        (b"\x1f\x8b", "a gzip file: unpack it first"),
        (b"\xff\xd8\xff", "a JPEG image"),
        (b"%PDF", "a PDF document"),
        (b"\x28\xb5\x2f\xfd", "zstd inside zstd, or zstd in a build without it"),
    ];
    match known.iter().find(|(magic, _)| head.starts_with(magic)) {
        Some((_, name)) => (*name).to_owned(),
        None => {
            let start: String = head.iter().take(24).map(|byte| byte.escape_ascii().to_string()).collect();
            format!("it begins with \"{start}\"")
        }
    }
}
