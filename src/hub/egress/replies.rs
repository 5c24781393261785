//! The reply lane of one connection: whole frames, or bytes where HTTP is spoken, the oldest first. PURE. Home: one shard.
//!
//! Invariant: `sent` of the bytes are on their way already, and are forgotten once they are the larger part.

use super::{Started, whole_frames};
use crate::ws::frame::frame_len;

#[derive(Debug, Default)]
pub(super) struct Replies {
    pub(super) frames: Vec<u8>,
    pub(super) sent: usize,
}

impl Replies {
    /// Drops what is sent once that is the larger part, so that a lane that never runs dry doesn't grow for ever, and
    /// each byte is moved at most once.
    pub(super) fn forget_sent(&mut self) {
        if self.sent > self.frames.len() - self.sent {
            self.frames.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Moves what fits into `out`.
    pub(super) fn transmit_bytes(&mut self, out: &mut [u8]) -> usize {
        let waiting = &self.frames[self.sent..];
        let count = waiting.len().min(out.len());
        out[..count].copy_from_slice(&waiting[..count]);
        self.sent += count;
        count
    }

    /// Moves whole frames into `out`; a frame longer than an empty `out` is begun.
    pub(super) fn transmit(
        &mut self,
        out: &mut [u8],
        out_is_empty: bool,
        started: &mut Option<Box<Started>>,
    ) -> usize {
        let waiting = &self.frames[self.sent..];
        if waiting.len() <= out.len() {
            out[..waiting.len()].copy_from_slice(waiting);
            self.sent = self.frames.len();
            return waiting.len();
        }
        let whole = whole_frames(waiting, out.len());
        if whole == 0 && out_is_empty {
            let len = frame_len(waiting);
            let (begun, count) = Started::begin(waiting[..len].to_vec(), out, false);
            self.sent += len;
            *started = Some(Box::new(begun));
            return count;
        }
        out[..whole].copy_from_slice(&waiting[..whole]);
        self.sent += whole;
        whole
    }
}
