//! From the lanes of a connection to the bytes of its next send. PURE. Home: one shard.
//! Invariant: a value is taken when the socket can take bytes, so it is the newest there is.

use crate::binary_tcp::{headroom, reframe};
use crate::model::ids::ConnId;
use crate::model::time::Now;

use super::Hub;
use super::effect::{Effect, Ending};
use super::egress::{DataLane, OutIs, Urgency, batch_frames};
use super::encoding::replace_with_gap_notice;
use super::session::{Phase, Ping};

/// A send of one that has batches has so many bytes at least: a control frame has 127, beside a headroom of an eighth.
const BATCHING_BYTES_MIN: usize = 192;

impl Hub {
    /// The next connection with bytes to send and no send under way.
    pub fn poll_ready(&mut self, urgency: Urgency) -> Option<ConnId> {
        self.egress.poll_ready(urgency)
    }

    /// How many connections at most have something to send that is not urgent: what a paced flush would send.
    #[must_use]
    pub fn data_count(&self) -> usize {
        self.egress.data_count()
    }

    /// A connection of [`Hub::poll_ready`] could not be served: it is ready still.
    pub fn handle_unserved(&mut self, conn: ConnId) {
        if self.egress.lanes_of(conn).is_some() {
            self.egress.make_ready(conn.slot);
        }
    }

    /// About how many bytes wait for a connection: what size of buffer serves.
    #[must_use]
    pub fn pending_bytes(&self, conn: ConnId) -> usize {
        self.egress.pending_bytes(conn.slot)
    }

    /// Fills `out` with the connection's next bytes and returns their number; the connection is not ready again
    /// before [`Hub::handle_sent`]. 0 if there is nothing to send after all.
    ///
    /// # Panics
    /// If `out` is shorter than the largest control frame, or than 256 bytes where messages share frames.
    pub fn poll_transmit(&mut self, conn: ConnId, out: &mut [u8]) -> usize {
        assert!(out.len() >= 128, "a send takes at least a control frame");
        if self.egress.lanes_of(conn).is_none() {
            return 0;
        }
        let written = if self.egress.sends_frames_as_they_are(conn.slot) {
            self.gather(conn, out)
        } else {
            self.gather_otherwise(conn, out)
        };
        if written > 0 {
            self.egress.begin_write(conn.slot);
            self.counters.bytes_transmitted_total += written as u64;
            let begun_ns = self.now.mono_ns;
            if let Some(session) = self.session(conn) {
                session.write_begun_ns = Some(begun_ns);
            }
            self.resume_reading(conn);
        }
        written
    }

    /// Moves a WebSocket's frames into `out`, lane by lane; returns their bytes.
    #[inline]
    pub(super) fn gather(&mut self, conn: ConnId, out: &mut [u8]) -> usize {
        let slot = conn.slot;
        let held_bytes = self.egress.held_bytes(slot);
        let (mut written, data_may_follow) = self.egress.transmit_first(slot, out);
        if data_may_follow {
            let (room, out_is) = (&mut out[written..], OutIs::at(written));
            written += if self.egress.has_market_only(slot) {
                self.egress.transmit_queue(slot, DataLane::Market, room, out_is)
            } else {
                self.transmit_lanes(conn, room, out_is)
            };
            // Earlier events of a value's topic may be queued: the value comes after them.
            if self.egress.data_is_sent(slot) {
                written += self.transmit_values(slot, &mut out[written..], OutIs::at(written));
            }
        }
        self.egress.note_held(slot, held_bytes);
        written
    }

    /// Moves frames that become others in `out`: those of SBE share some, all become length-prefixed, or both.
    fn gather_otherwise(&mut self, conn: ConnId, out: &mut [u8]) -> usize {
        let slot = conn.slot;
        let begun_bytes = self.egress.begun_frame_bytes(slot);
        let room = if self.egress.is_length_prefixed(slot) { headroom(out.len()) } else { 0 };
        let behind = &mut out[room..];
        let gathered = if self.egress.is_batched(slot) {
            assert!(behind.len() >= BATCHING_BYTES_MIN, "a control frame fits behind the headroom");
            let room = headroom(behind.len());
            let gathered = self.gather(conn, &mut behind[room..]);
            batch_frames(behind, gathered, begun_bytes)
        } else {
            self.gather(conn, behind)
        };
        if room > 0 { reframe(out, gathered, begun_bytes) } else { gathered }
    }

    /// Reports, then messages, then the market, each lane as far as the one before is empty. Most sends have the market's alone.
    #[cold]
    fn transmit_lanes(&mut self, conn: ConnId, out: &mut [u8], out_is: OutIs) -> usize {
        let slot = conn.slot;
        let begun = |written: usize| if written == 0 { out_is } else { OutIs::Begun };
        let mut written = self.egress.transmit_queue(slot, DataLane::Reports, out, out_is);
        if self.egress.has_messages(slot) && self.egress.has_no_reports(slot) {
            written += self.transmit_messages(conn, &mut out[written..], begun(written));
        }
        if self.egress.has_market_only(slot) && !self.egress.has_started(slot) {
            written +=
                self.egress.transmit_queue(slot, DataLane::Market, &mut out[written..], begun(written));
        }
        written
    }

    /// All bytes of the last [`Hub::poll_transmit`] are written.
    pub fn handle_sent(&mut self, conn: ConnId, now: Now) {
        self.now = now;
        let ping_waits = self.egress.ping_waits(conn);
        let Some(session) = self.session(conn) else { return };
        let begun_ns = session.write_begun_ns.take();
        let is_traced = session.is_traced;
        let handed = session.take_handed();
        if session.ping == Ping::Queued && !ping_waits {
            // From here on the peer has it, and not before: ahead of it in a send may be the rest of a long frame.
            session.ping = Ping::Sent { at_ns: now.mono_ns };
            self.arm_deadline(conn);
        }
        if is_traced && let Some(begun_ns) = begun_ns {
            self.note_sent(conn, now.mono_ns.saturating_sub(begun_ns));
        }
        if handed > 0 {
            self.report_written(conn, handed);
        }
        self.egress.end_write(conn.slot);
        let drained = self.egress.is_drained(conn.slot);
        if let Some(Phase::Closing { ending_asked, .. }) =
            self.session(conn).map(|session| &mut session.phase)
            && drained
            && !*ending_asked
        {
            *ending_asked = true;
            self.effects.push_back(Effect::Disconnect { conn, ending: Ending::Graceful });
        }
    }

    fn transmit_values(&mut self, slot: u32, out: &mut [u8], out_is: OutIs) -> usize {
        let mut written = 0;
        while let Some(subscription) = self.egress.lanes(slot).values_head {
            let entry = self.topics.subscription(subscription);
            let (topic, compression, told) = (entry.topic, entry.compression, entry.told);
            if !self.refresh_value(topic) {
                // An interval's book: the next boundary brings it.
                self.egress.unlist(&mut self.topics.subscriptions, slot, subscription);
                continue;
            }
            let out_is = if written == 0 { out_is } else { OutIs::Begun };
            let out = &mut out[written..];
            let has_notice =
                replace_with_gap_notice(&mut self.scratch, self.topics.topic(topic), told, self.now.unix_ns);
            let (deflater, deflation) = (&mut self.home.deflater, &self.config.deflation);
            let value = self.topics.value_for(topic, compression, deflater, deflation);
            let count = if has_notice {
                // Both or neither: what comes between would lie behind a gap that it is not behind.
                self.scratch.extend_from_slice(value);
                self.egress.transmit_value(slot, &self.scratch, out, out_is)
            } else {
                self.egress.transmit_value(slot, value, out, out_is)
            };
            if count == 0 {
                break;
            }
            written += count;
            self.counters.deliveries_total += 1;
            self.topics.topic(topic).deliveries_total += 1;
            self.egress.lanes(slot).deliveries_total += 1;
            self.egress.unlist(&mut self.topics.subscriptions, slot, subscription);
            self.topics.follow(subscription);
            if self.egress.has_started(slot) {
                break;
            }
        }
        written
    }
}
