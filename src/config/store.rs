//! The `[store]` table: where durable messages are kept. Home: the main thread.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::check::Range;

/// The store for durable messages.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// Empty for none.
    pub directory: PathBuf,
    /// Whether the server ends where the store can't be opened.
    pub required: bool,
    /// What may wait for the disk.
    pub queue_batches_max: u32,
    pub queue_bytes_max: usize,
}

impl Default for Store {
    fn default() -> Store {
        Store {
            directory: PathBuf::new(),
            required: false,
            queue_batches_max: 4096,
            queue_bytes_max: 64 * 1024 * 1024,
        }
    }
}

impl Store {
    /// The directory, if there is to be a store.
    #[must_use]
    pub fn directory_path(&self) -> Option<&Path> {
        (!self.directory.as_os_str().is_empty()).then_some(self.directory.as_path())
    }

    pub(super) fn ranges(&self) -> [Range; 2] {
        [
            Range {
                key: "store.queue_batches_max",
                value: self.queue_batches_max.into(),
                min: 16,
                max: 1 << 20,
                unit: "batches",
                hint: "by default 4096",
            },
            Range {
                key: "store.queue_bytes_max",
                value: self.queue_bytes_max as u64,
                min: 1 << 20,
                max: 1 << 30,
                unit: "bytes",
                hint: "by default 67108864",
            },
        ]
    }
}
