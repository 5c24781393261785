//! What a hub does about overload. PURE. Home: one shard.
//!
//! Past the first mark nobody new is let in and histories do not grow; if it is memory's mark, what is only kept for reuse is
//! given back, while long turns alone keep it.
//! Past the second the costliest slow consumers are closed, costliest first over all shards, until the process is below
//! the mark; market data conflates sooner, and nobody subscribes to more. Below the marks all of that ends by itself.
//! Invariants: who keeps up is never closed; a tick closes a bounded number.

use crate::dialect::json_rpc::Failure;
use crate::http::Rejection;
use crate::limits;
use crate::model::ids::ConnId;
use crate::model::time::Now;

use super::Hub;
use super::incident::Closing;
use super::overload::{Pressure, Stance};

impl Hub {
    /// The shard says what weighs on it, and on the process: at each tick of [`limits::PRESSURE_TICK_NS`].
    pub fn handle_pressure(&mut self, pressure: Pressure, now: Now) {
        self.now = now;
        let (before, was_short) = (self.overload.stance(), self.overload.is_short_of_memory());
        let stance = self.overload.observe(pressure, now.mono_ns);
        self.pressure_due_ns = now.mono_ns + limits::PRESSURE_TICK_NS;
        self.note_stance(stance);
        if !self.overload.is_short_of_memory() {
            // Long turns alone: to give back what the next turn takes again would make them longer.
            self.costliest_bytes = 0;
            if stance.max(before) != Stance::Normal {
                self.home.handle_stance(stance, pressure);
            }
            return;
        }
        if !was_short {
            self.topics.trim();
        }
        self.trim();
        self.shed(pressure);
        let costliest_bytes = pressure.costliest_bytes.max(self.costliest_bytes);
        self.home.handle_stance(stance, Pressure { costliest_bytes, ..pressure });
        self.settle_overflows();
    }

    /// How much the hub takes on.
    #[must_use]
    pub fn stance(&self) -> Stance {
        self.overload.stance()
    }

    /// What waits for the costliest slow consumer here; 0 where there is none, or nobody needs to know.
    #[must_use]
    pub fn costliest_bytes(&self) -> u64 {
        self.costliest_bytes
    }

    /// The most frames that waited for one connection since this was last asked.
    pub fn take_deepest_frames(&mut self) -> u64 {
        self.egress.take_deepest_frames().into()
    }

    /// The same, and it goes on.
    #[must_use]
    pub fn deepest_frames(&self) -> u64 {
        self.egress.deepest_frames().into()
    }

    /// When [`Hub::handle_pressure`] is due although nothing else is: while the stance is raised, and while something is
    /// held that may have to go because others need the room.
    pub(super) fn pressure_due_ns(&self) -> Option<u64> {
        let waits = self.egress.holds_unread() || self.unfinished_bytes + self.batched_bytes > 0;
        if self.overload.stance() != Stance::Normal || waits {
            return Some(self.pressure_due_ns);
        }
        self.home.has_histories().then_some(self.pressure_due_ns + limits::PRESSURE_LOOK_NS)
    }

    /// Why nobody new is let in, if so.
    pub(super) fn overload_rejection(&self) -> Option<Rejection> {
        match self.overload.stance() {
            Stance::Normal => None,
            Stance::Guarded | Stance::Shedding => Some(Rejection::Overloaded),
        }
    }

    /// Why a client that is here gets nothing new, if so.
    pub(super) fn overload_failure(&self) -> Option<Failure> {
        match self.overload.stance() {
            Stance::Normal | Stance::Guarded => None,
            Stance::Shedding => Some(Failure::RETRY.because("the server is overloaded")),
        }
    }

    /// Closes the costliest slow consumers while too much is held.
    fn shed(&mut self, pressure: Pressure) {
        let excess_bytes = self.overload.excess_bytes(pressure);
        // Shards shed side by side: one whose costliest is cheap beside another's waits for that one to go.
        let elsewhere_bytes = usize::try_from(pressure.costliest_bytes).unwrap_or(usize::MAX);
        let least_bytes = limits::SHED_BYTES_MIN.max(elsewhere_bytes / 2);
        let mut slow: Vec<(usize, ConnId)> = self.slow_consumers().collect();
        if excess_bytes == 0 {
            self.costliest_bytes = slow.iter().map(|(bytes, _)| *bytes as u64).max().unwrap_or(0);
            return;
        }
        slow.sort_unstable_by_key(|(bytes, conn)| (std::cmp::Reverse(*bytes), conn.slot));
        let before = self.memory_bytes();
        let mut closed = 0;
        for (bytes, conn) in slow.iter().take(limits::SHED_PER_TICK_MAX) {
            let freed_bytes = before.saturating_sub(self.memory_bytes());
            if freed_bytes as u64 >= excess_bytes || *bytes < least_bytes {
                break;
            }
            self.begin_close(*conn, Closing::Shed);
            self.egress.trim();
            closed += 1;
        }
        self.costliest_bytes = slow.get(closed).map_or(0, |(bytes, _)| *bytes as u64);
    }

    /// Those who keep more waiting than it costs to come back, with the bytes.
    fn slow_consumers(&self) -> impl Iterator<Item = (usize, ConnId)> + '_ {
        self.sessions.iter().flatten().filter(|session| session.is_answered()).filter_map(|session| {
            let bytes = self.egress.unread_bytes(session.conn.slot)
                + session.receiver.incomplete_bytes()
                + session.batched_bytes;
            (bytes >= limits::SHED_BYTES_MIN).then_some((bytes, session.conn))
        })
    }

    fn note_stance(&mut self, stance: Stance) {
        self.counters.overload_stance = stance as u64;
        self.counters.overload_entered_total = self.overload.entered_total;
        self.counters.overload_left_total = self.overload.left_total;
    }
}
