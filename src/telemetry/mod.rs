//! What the gateway measures: one table of metrics, the boards on which threads tell their values, and the texts in which
//! they are read. PURE.
//!
//! Home: each thread that counts writes one board; whoever is asked for metrics reads them all. Invariants: a board has one
//! writer, and its reader never makes it wait: single values are right, values of one moment may be a turn apart. What is in no
//! table is not told; docs/metrics.md is the tables, which a test holds.

pub mod alerts;
mod backends;
mod board;
mod csv;
mod json;
pub mod latency;
mod page;
pub mod profile;
mod prometheus;
mod rates;
mod ring;
mod snapshot;
mod summary;
mod table;
mod window;

pub use backends::{BackendCounters, BackendMember, BackendStatus, merged_backends};
pub use board::Board;
pub use csv::csv;
pub use json::json;
pub use page::page;
pub use prometheus::{Form, exposition};
pub use rates::{Rates, Totals};
pub use ring::RingCounters;
pub use snapshot::{Family, Sample, Snapshot};
pub use summary::Summary;
pub use table::{
    BACKEND, INCIDENTS, Kind, LATENCY, MeshReading, Metric, NatsReading, NodeReading, NoticesReading,
    PROCESS, ProcessReading, SHARD, SHARED, ShardReading, StoreReading, ThreadReading, VENUE, VenueReading,
};
pub use window::{Looks, Window};

#[cfg(test)]
mod tests;
