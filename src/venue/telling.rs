//! What the venue tells its board. Home: its thread, every tenth of a second and before it sleeps: plain stores, no allocation.

use crate::limits;
use crate::telemetry::{MeshReading, ThreadReading, VenueReading};

use super::Venue;

impl Venue {
    /// Copies all counters to where operators read them, and how links are.
    pub(super) fn tell_board(&mut self) {
        self.board_due_ns = self.now.mono_ns + limits::BOARD_TICK_NS;
        let Venue { market, ring, mesh, .. } = self;
        let topics = market.home_counters();
        let thread = ThreadReading {
            topics: &topics,
            topics_count: market.topic_count() as u64,
            history_bytes: market.history_bytes() as u64,
            memory_bytes: market.memory_bytes() as u64,
            ring: ring.counters(),
            mesh: MeshReading { lagging: market.lagging().iter().count() as u64, ..mesh.sent() },
            turns_total: self.turns_total,
            parks_total: self.parks_total,
        };
        let node = self.cluster.as_ref().map(|cluster| cluster.reading(self.now)).unwrap_or_default();
        let links = market.link_statuses();
        self.board.tell_venue(
            &thread,
            &VenueReading {
                market: &market.counters,
                desk: &market.desk_counters(),
                office: &market.office_counters(),
                held: &market.office_gauges(),
                is_halted: market.desk().is_halted(),
                instruments: market.instruments().len() as u64,
                links: links.map_or(&[], |links| links),
                node,
            },
        );
        if let Some(links) = links {
            self.switch.show_links(links);
        }
    }
}
