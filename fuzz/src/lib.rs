//! The fuzz targets, each a plain function of the bytes that a fuzzer chose; a verdict is a panic. The property that a
//! target holds stands at the head of its file.
//!
//! `fuzz_targets/` hands libFuzzer's inputs to them (nightly, feature `libfuzzer`); `tests/replay.rs` hands them the committed
//! corpora, so that every ordinary test run holds what the fuzzer once found. How to fuzz: `docs/fuzzing.md`.

pub mod binary_tcp;
pub mod cluster;
pub mod deflate;
pub mod http_api;
pub mod hub;
pub mod inflate;
pub mod json_rpc;
pub mod linked_world;
pub mod mcp;
pub mod message_records;
pub mod orders;
pub mod pieces;
pub mod rpc_link;
pub mod sbe;
pub mod upgrade;
pub mod venue_link;
pub mod websocket;

/// A target by name, as the folder of its corpus is called.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 14] = [
    ("binary_tcp", binary_tcp::check),
    ("cluster", cluster::check),
    ("deflate", deflate::check),
    ("http_api", http_api::check),
    ("hub", hub::check),
    ("json_rpc", json_rpc::check),
    ("mcp", mcp::check),
    ("message_records", message_records::check),
    ("orders", orders::check),
    ("rpc_link", rpc_link::check),
    ("sbe", sbe::check),
    ("upgrade", upgrade::check),
    ("venue_link", venue_link::check),
    ("websocket", websocket::check),
];
