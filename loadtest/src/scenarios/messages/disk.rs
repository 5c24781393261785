//! What the disk does by itself: appends of one page to a file whose blocks are there already, each made durable by `fdatasync`,
//! in the folder that the store is in, a millisecond apart: back to back they are quicker than any that somebody waits for, and over
//! before the disk or the kernel stalls once. Home: the load thread, while the server is not running.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::clock::{self, MILLISECOND_NS, SECOND_NS};
use crate::failure::{Doing, Result};
use crate::histogram::Latencies;
use crate::server;

const PAGE_BYTES: usize = 4096;
/// Appends of one probe, and from the begin of one to that of the next.
const APPENDS: u64 = 2_000;
const DISTANCE_NS: u64 = MILLISECOND_NS;
/// A slow disk makes fewer.
const PROBE_NS_MAX: u64 = 5 * SECOND_NS;

/// Adds the times of one probe to `latencies`.
pub(super) fn probe(folder: &Path, latencies: &mut Latencies) -> Result<()> {
    let path = folder.join("probe");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .doing("make the probe's file")?;
    let page = [0x5a_u8; PAGE_BYTES];
    // Written beforehand, not only allocated, so that no append has to change what the file system knows of the file.
    for place in 0..APPENDS {
        file.write_all_at(&[0; PAGE_BYTES], place * PAGE_BYTES as u64).doing("fill the probe's file")?;
    }
    file.sync_all().doing("fsync")?;
    let started_ns = clock::mono_ns();
    for place in 0..APPENDS {
        server::sleep_ns((started_ns + place * DISTANCE_NS).saturating_sub(clock::mono_ns()));
        let before_ns = clock::mono_ns();
        file.write_all_at(&page, place * PAGE_BYTES as u64).doing("append")?;
        file.sync_data().doing("fdatasync")?;
        let now_ns = clock::mono_ns();
        latencies.record(now_ns - before_ns);
        if started_ns + PROBE_NS_MAX < now_ns {
            break;
        }
    }
    drop(file);
    fs::remove_file(&path).doing("remove the probe's file")
}
