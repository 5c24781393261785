//! The `[overload]` table: when the gateway takes on less. Home: the main thread.

use serde::{Deserialize, Serialize};

/// Marks in percent of `limits.memory_bytes_max`, and of turns in milliseconds.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Overload {
    /// Past it nobody new is let in.
    pub guard_percent: u32,
    pub guard_leave_percent: u32,
    /// Past it the costliest slow consumers are closed.
    pub shed_percent: u32,
    pub shed_leave_percent: u32,
    /// Turns of a shard at which it lets nobody new in; 0 never.
    pub turn_ms_max: u32,
    /// How long a raised stance stands at least.
    pub dwell_ms: u32,
}

impl Default for Overload {
    fn default() -> Overload {
        Overload {
            guard_percent: 80,
            guard_leave_percent: 70,
            shed_percent: 90,
            shed_leave_percent: 80,
            turn_ms_max: 50,
            dwell_ms: 1_000,
        }
    }
}
