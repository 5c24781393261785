//! What a shard tells its board. Home: its shard, every tenth of a second and before it sleeps: plain stores, no allocation.

use std::fmt;

use crate::limits;
use crate::telemetry::{MeshReading, ShardReading, ThreadReading};

use super::{Shard, ShardReport};

impl fmt::Display for ShardReport {
    /// For people; its `Debug` has every counter.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ShardReport { home, hub, incidents, turns_total, turn_ns_max, .. } = self;
        write!(
            out,
            "shard-{} has ended: {} connections, {} messages of {} bytes received, {} deliveries, {} bytes sent, refused or closed by us: \
             {incidents:?}; {turns_total} turns, the longest of {} us",
            home.0,
            hub.connections_opened_total,
            hub.messages_received_total,
            hub.bytes_received_total,
            hub.deliveries_total,
            hub.bytes_transmitted_total,
            turn_ns_max / 1000,
        )
    }
}

impl Shard {
    /// Copies all counters to where operators read them.
    pub(super) fn tell_board(&mut self) {
        let is_due = self.now.mono_ns >= self.board_due_ns;
        if is_due {
            self.board_due_ns = self.now.mono_ns + limits::BOARD_TICK_NS;
        }
        let Shard { hub, ring, secure, mesh, .. } = self;
        // A shard that parks often begins it anew no more often than others.
        let deepest_frames = if is_due { hub.take_deepest_frames() } else { hub.deepest_frames() };
        let topics = hub.home_counters();
        let thread = ThreadReading {
            topics: &topics,
            topics_count: hub.topic_count() as u64,
            history_bytes: hub.history_bytes() as u64,
            memory_bytes: (hub.memory_bytes() + ring.memory_bytes() + secure.memory_bytes()) as u64,
            ring: ring.counters(),
            mesh: MeshReading { lagging: hub.lagging().iter().count() as u64, ..mesh.sent() },
            turns_total: self.turns_total,
            parks_total: self.parks_total,
        };
        let (counters, incidents) = (hub.counters(), hub.incidents());
        let turn_ns_mean = self.turn_load.mean_ns();
        self.board.tell_shard(
            &thread,
            &ShardReading {
                hub: &counters,
                incidents: &incidents,
                connections: hub.connection_count(),
                connections_peak: self.guests.peak().into(),
                busy_turns_total: self.busy_turns_total,
                busy_ns_total: self.busy_ns_total,
                turn_ns_max: self.turn_ns_max,
                turn_ns_mean,
                costliest_bytes: hub.costliest_bytes(),
                deepest_frames,
            },
        );
    }
}
