//! Time as an argument. Only `src/clock.rs` makes a [`Now`] from a real clock; tests and the simulation make their own.

/// One reading of both clocks, taken once per stage of a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Nanoseconds on the monotonic clock: deadlines and durations.
    pub mono_ns: u64,
    /// Nanoseconds since 1970-01-01T00:00:00Z: what clients are told.
    pub unix_ns: u64,
}

impl Now {
    /// The same instant moved forward by `ns` nanoseconds on both clocks.
    #[must_use]
    pub const fn plus_ns(self, ns: u64) -> Now {
        Now { mono_ns: self.mono_ns + ns, unix_ns: self.unix_ns + ns }
    }
}
