//! The store for durable messages, by the configuration. Home: the main thread.

use std::sync::Arc;

use crate::config::Config;
use crate::doorbell::Doorbell;
use crate::exit::{Exit, Failure};
use crate::rt;
use crate::store::{self, Directory, Refused, Store, StoreHandle, StoreSetup};
use crate::telemetry::StoreReading;

/// A directory that is taken, or may be later; none without a store.
pub(super) type Claimed = Option<Result<Directory, Refused>>;

/// Takes the store's directory, before anything is started.
pub(super) fn claim(config: &Config) -> Result<Claimed, Failure> {
    let Some(path) = config.store.directory_path() else { return Ok(None) };
    match store::claim(path)? {
        Err(Refused { trouble, .. }) if config.store.required => Err(trouble.failure(path)),
        claimed => Ok(Some(claimed)),
    }
}

/// Starts the store's thread, which rings this doorbell. Where the store is required, this waits until it is open.
pub(super) fn start(
    config: &Config,
    claimed: Claimed,
    doorbell: &Doorbell,
) -> Result<(Option<Store>, Option<StoreHandle>), Failure> {
    let Some(directory) = claimed else { return Ok((None, None)) };
    let setup = StoreSetup {
        directory,
        doorbell: doorbell.clone(),
        queue_batches_max: config.store.queue_batches_max as usize,
        queue_bytes_max: config.store.queue_bytes_max,
        give_way: rt::give_way,
    };
    let (store, handle) = Store::start(setup).map_err(super::os)?;
    if config.store.required
        && let Err(trouble) = store.await_opened()
    {
        return Err(trouble.failure(&config.store.directory));
    }
    Ok((Some(store), Some(handle)))
}

/// Has what was sent committed.
pub(super) fn stop(store: Option<Store>, config: &Config) -> Option<Failure> {
    let store = store?;
    let progress = Arc::clone(store.progress());
    if store.stop() {
        return None;
    }
    let StoreReading { queued_batches, .. } = progress.reading(crate::clock::now().mono_ns);
    let what = format!(
        "{}: the disk does not answer: {queued_batches} batches of the store may be lost",
        config.store.directory.display()
    );
    Some(Failure::new(
        Exit::OsError,
        what,
        "nobody was told that they are stored; look at the kernel's log (dmesg)",
    ))
}
