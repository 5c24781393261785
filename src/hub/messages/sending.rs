//! Messages on their way into the bytes of a connection's next send: one by one or several in a frame, plain or compressed. PURE.
//! Home: one shard.
//!
//! Invariant: what has been put into a send is off its queue, and what has not is on it.

use crate::dialect::json_rpc::{self, FrameBatch, Presentation};
use crate::limits;
use crate::model::ids::ConnId;
use crate::ws::deflate::WindowBits;
use crate::ws::frame::{Opcode, SERVER_HEADER_BYTES_MAX};

use super::super::Hub;
use super::super::egress::{OutIs, Waiting};
use super::super::text_frame::append_text_frame;

/// Of an array, before each entry and behind the last.
const BRACKET_BYTES: usize = 1;

/// Where frames begin and how long a payload is, in the buffer that they are written in.
struct Written {
    /// Messages and notices in the frame.
    entries: usize,
    frame_start: usize,
    payload_start: usize,
}

impl Hub {
    /// Moves messages into `out`, in the order of their urgency; returns the bytes written.
    pub(in crate::hub) fn transmit_messages(&mut self, conn: ConnId, out: &mut [u8], out_is: OutIs) -> usize {
        let slot = conn.slot;
        let (presentation, window) = self.presentation(conn);
        let mut frame = std::mem::take(&mut self.scratch);
        let (mut written, mut payload_bytes) = (0, 0);
        while !self.egress.has_started(slot) && payload_bytes < limits::FLUSH_BYTES as usize {
            let out_is = if written == 0 { out_is } else { OutIs::Begun };
            let room = out.len() - written;
            let Some(made) = self.write_message_frame(slot, presentation.batch, room, out_is, &mut frame)
            else {
                break;
            };
            let payload = &frame[made.payload_start..];
            payload_bytes += payload.len();
            let compresses =
                presentation.compress_from_bytes.is_some_and(|bytes| payload.len() >= bytes as usize)
                    && self.deflated_bytes < limits::MESSAGE_BYTES_DEFLATED_PER_TURN;
            let deflated = window.filter(|_| compresses).and_then(|window| {
                self.deflated_bytes += payload.len();
                self.home.deflater.frame(Opcode::Text, window, payload)
            });
            let bytes = deflated.unwrap_or(&frame[made.frame_start..]);
            let count = self.egress.transmit_value(slot, bytes, &mut out[written..], out_is);
            if count == 0 {
                break;
            }
            written += count;
            self.counters.messages_deflated_total += u64::from(deflated.is_some());
            self.take_written(conn, made.entries);
        }
        self.scratch = frame;
        written
    }

    /// Writes the next frame, of as many messages as go into one, without taking them; `None` if it has to wait.
    fn write_message_frame(
        &mut self,
        slot: u32,
        batch: Option<FrameBatch>,
        room: usize,
        out_is: OutIs,
        frame: &mut Vec<u8>,
    ) -> Option<Written> {
        let first = self.egress.messages(slot).next()?;
        if out_is == OutIs::Begun && first.content_bytes() > room {
            return None;
        }
        let FrameBatch { messages_max, bytes_max } =
            batch.filter(|_| !first.is_critical()).unwrap_or(FrameBatch { messages_max: 1, bytes_max: 0 });
        // The rest of a frame that does not fit would keep more urgent ones waiting.
        let bytes_max = room.min(bytes_max as usize);
        let (mut entries, mut payload_bytes) = (0, SERVER_HEADER_BYTES_MAX + BRACKET_BYTES);
        for waiting in self.egress.messages(slot).take(messages_max as usize) {
            let more_bytes = waiting.payload_bytes_max() + BRACKET_BYTES;
            if entries > 0 && payload_bytes + more_bytes > bytes_max {
                break;
            }
            payload_bytes += more_bytes;
            entries += 1;
        }
        frame.clear();
        let mut payload_len = 0;
        let range = append_text_frame(frame, |out| {
            let start = out.len();
            for (at, waiting) in self.egress.messages(slot).take(entries).enumerate() {
                match (at, entries) {
                    (_, 1) => {}
                    (0, _) => out.push(b'['),
                    (_, _) => out.push(b','),
                }
                match waiting {
                    Waiting::Message(delivery) => json_rpc::write_message(out, delivery),
                    Waiting::Receipt(receipt) => json_rpc::write_receipt(out, receipt),
                    Waiting::Presence(presence) => json_rpc::write_presence_change(out, presence),
                }
            }
            if entries > 1 {
                out.push(b']');
            }
            payload_len = out.len() - start;
        });
        Some(Written { entries, frame_start: range.start as usize, payload_start: frame.len() - payload_len })
    }

    /// Takes what was put into a send off its queue.
    fn take_written(&mut self, conn: ConnId, entries: usize) {
        let mut handed = 0;
        for _ in 0..entries {
            handed += match self.egress.pop_message(conn.slot) {
                Some(Waiting::Message(delivery)) => u32::from(!delivery.confirm),
                Some(Waiting::Receipt(_) | Waiting::Presence(_)) => 1,
                None => break,
            };
            self.counters.deliveries_total += 1;
        }
        if let Some(identity) = self.session(conn).and_then(|session| session.identity.as_deref_mut()) {
            identity.hearing.handed += handed;
        }
    }

    fn presentation(&mut self, conn: ConnId) -> (Presentation, Option<WindowBits>) {
        let Some(session) = self.session(conn) else { return Default::default() };
        let presentation = session.identity.as_deref().and_then(|known| known.hearing.presentation);
        (presentation.unwrap_or_default(), session.compression.window())
    }
}
