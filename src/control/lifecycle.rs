//! How far the process is, told by the main thread, read by the control thread. Home: shared by the two.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::api::Phase;
use crate::clock;

/// Moments on the monotonic clock, 0 before they have come.
#[derive(Debug)]
pub struct Lifecycle {
    begun_ns: u64,
    begun_unix_ns: u64,
    ready_ns: AtomicU64,
    draining_ns: AtomicU64,
}

impl Lifecycle {
    /// The process begins now.
    #[must_use]
    pub fn begin() -> Lifecycle {
        let now = clock::now();
        Lifecycle {
            begun_ns: now.mono_ns,
            begun_unix_ns: now.unix_ns,
            ready_ns: AtomicU64::new(0),
            draining_ns: AtomicU64::new(0),
        }
    }

    /// Every shard listens.
    pub fn ready(&self) {
        self.ready_ns.store(clock::now().mono_ns.max(1), Ordering::Release);
    }

    /// The stop begins.
    pub fn drain(&self) {
        self.draining_ns.store(clock::now().mono_ns.max(1), Ordering::Release);
    }

    #[must_use]
    pub fn phase(&self) -> Phase {
        let has_come = |moment: &AtomicU64| moment.load(Ordering::Acquire) != 0;
        match (has_come(&self.ready_ns), has_come(&self.draining_ns)) {
            (_, true) => Phase::Draining,
            (true, false) => Phase::Serving,
            (false, false) => Phase::Starting,
        }
    }

    #[must_use]
    pub fn begun_unix_ns(&self) -> u64 {
        self.begun_unix_ns
    }

    #[must_use]
    pub fn uptime_ns(&self, now_ns: u64) -> u64 {
        now_ns.saturating_sub(self.begun_ns)
    }

    /// How long the start took; 0 before its end.
    #[must_use]
    pub fn startup_ns(&self) -> u64 {
        self.ready_ns.load(Ordering::Acquire).saturating_sub(self.begun_ns)
    }

    /// How long ago the stop began; 0 before.
    #[must_use]
    pub fn drain_ns(&self, now_ns: u64) -> u64 {
        match self.draining_ns.load(Ordering::Acquire) {
            0 => 0,
            since_ns => now_ns.saturating_sub(since_ns),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_serves_and_drains() {
        let lifecycle = Lifecycle::begin();
        assert_eq!(
            (lifecycle.phase(), lifecycle.startup_ns(), lifecycle.drain_ns(u64::MAX)),
            (Phase::Starting, 0, 0)
        );
        lifecycle.ready();
        assert_eq!(lifecycle.phase(), Phase::Serving);
        lifecycle.drain();
        assert_eq!(lifecycle.phase(), Phase::Draining);
        // Who is told to stop before it is ready never is.
        let lifecycle = Lifecycle::begin();
        lifecycle.drain();
        lifecycle.ready();
        assert_eq!(lifecycle.phase(), Phase::Draining);
    }
}
