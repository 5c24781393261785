//! The `[limits]` table: what one client, and all of them, may ask of the gateway. Home: the main thread.

use serde::{Deserialize, Serialize};

/// Each ends or refuses a connection, or a request, with a code of its own: `docs/limits.md`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Of the whole process.
    pub connections_max: u32,
    /// IPv6 by /64; 0 for no limit.
    pub connections_per_address_max: u32,
    /// An upgrade request.
    pub head_bytes_max: usize,
    /// Its header fields.
    pub headers_max: usize,
    pub handshake_timeout_ms: u32,
    /// A client's message after reassembly.
    pub message_bytes_max: usize,
    /// One frame of a client.
    pub frame_bytes_max: usize,
    /// Frames of one message.
    pub fragments_max: u32,
    /// From the first byte of a message to its last; 0 for no limit.
    pub message_timeout_ms: u32,
    /// Per connection, control frames included; 0 for no limit.
    pub messages_per_s_max: u32,
    /// Per connection; 0 for no limit.
    pub bytes_per_s_max: u32,
    /// Per connection: requests that wait for another thread.
    pub requests_pending_max: u16,
    /// Per connection: calls of backends' methods that are not answered.
    pub calls_under_way_max: u32,
    /// Results of backends that each shard keeps; 0 keeps none.
    pub call_cache_entries_max: usize,
    /// Bytes of those and of what they are known by.
    pub call_cache_bytes_max: usize,
    /// Per connection, wildcards counted by the channels they stand for.
    pub subscriptions_max: usize,
    /// Unsent bytes per connection.
    pub queued_bytes_max: usize,
    /// For one send to be taken.
    pub write_timeout_ms: u32,
    /// Nothing received, not even a pong; 0 never.
    pub idle_timeout_ms: u32,
    /// For the peer to take our close frame and to end its side.
    pub close_timeout_ms: u32,
    /// Of all threads together, for what clients can make grow.
    pub memory_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections_max: 50_000,
            connections_per_address_max: 16_384,
            head_bytes_max: 8 * 1024,
            headers_max: 64,
            handshake_timeout_ms: 5_000,
            message_bytes_max: 64 * 1024,
            frame_bytes_max: 64 * 1024,
            fragments_max: 1024,
            message_timeout_ms: 30_000,
            messages_per_s_max: 0,
            bytes_per_s_max: 0,
            requests_pending_max: 256,
            calls_under_way_max: 128,
            call_cache_entries_max: 16_384,
            call_cache_bytes_max: 64 << 20,
            subscriptions_max: 1024,
            queued_bytes_max: 1024 * 1024,
            write_timeout_ms: 30_000,
            idle_timeout_ms: 120_000,
            close_timeout_ms: 2_000,
            memory_bytes_max: 1_500_000_000,
        }
    }
}
