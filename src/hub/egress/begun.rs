//! What has begun to be sent and did not fit. PURE. Home: one shard.
//!
//! Invariants: frames are sent whole and in their order, nothing between them; where they are to become others in the send's buffer, no
//! send ends within a header of them.

use crate::ws::frame::{frame_len, frame_payload};

/// A frame, or some that are sent together, or the answer to an upgrade; and how much of it is sent.
#[derive(Debug)]
pub(super) struct Started {
    bytes: Vec<u8>,
    sent: usize,
    is_head: bool,
}

impl Started {
    /// An answer to an upgrade, of which nothing is sent.
    pub(super) fn head(bytes: Vec<u8>) -> Started {
        Started { bytes, sent: 0, is_head: true }
    }

    /// Fills `out` with the begin of frames that are longer; gives the rest, and the bytes that were moved.
    pub(super) fn begin(bytes: Vec<u8>, out: &mut [u8], keeps_headers_whole: bool) -> (Started, usize) {
        let mut started = Started { bytes, sent: 0, is_head: false };
        let count = started.transmit(out, keeps_headers_whole);
        (started, count)
    }

    /// Moves what fits into `out`, which takes a header at least; returns the bytes.
    pub(super) fn transmit(&mut self, out: &mut [u8], keeps_headers_whole: bool) -> usize {
        let mut end = self.bytes.len().min(self.sent + out.len());
        if keeps_headers_whole && !self.is_head && end < self.bytes.len() {
            let (frame, header_bytes) = self.frame_at(end);
            if end < frame + header_bytes {
                end = frame;
            }
        }
        let count = end - self.sent;
        out[..count].copy_from_slice(&self.bytes[self.sent..end]);
        self.sent = end;
        count
    }

    pub(super) fn left_bytes(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Bytes that are left of the frame whose header is sent; all that are left of an answer to an upgrade.
    pub(super) fn left_of_frame_bytes(&self) -> usize {
        if self.left_bytes() == 0 || self.is_head {
            return self.left_bytes();
        }
        let (frame, _) = self.frame_at(self.sent);
        if frame == self.sent { 0 } else { frame + frame_len(&self.bytes[frame..]) - self.sent }
    }

    /// Bytes of memory.
    pub(super) fn held_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Where the frame begins in which the byte at `place` lies, and the bytes of its header.
    fn frame_at(&self, place: usize) -> (usize, usize) {
        let mut start = 0;
        loop {
            let frame = &self.bytes[start..];
            if place < start + frame_len(frame) {
                return (start, frame.len() - frame_payload(frame).len());
            }
            start += frame_len(frame);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::frame::{Opcode, SERVER_HEADER_BYTES_MAX, encode_header};

    fn frame(payload_bytes: usize) -> Vec<u8> {
        let mut header = [0; SERVER_HEADER_BYTES_MAX];
        let header_bytes = encode_header(Opcode::Binary, payload_bytes, &mut header);
        [&header[..header_bytes], &vec![9; payload_bytes]].concat()
    }

    #[test]
    fn several_frames_go_over_sends_of_any_size_without_a_cut_in_a_header() {
        let payloads = [60, 200, 20, 126, 125, 70_000, 17, 300];
        let frames: Vec<Vec<u8>> = payloads.map(frame).to_vec();
        let all = frames.concat();
        let mut starts = Vec::new();
        for frame in &frames {
            let at = starts.last().map_or(0, |(at, bytes)| at + bytes);
            starts.push((at, frame.len()));
        }
        for send_bytes in (10..400).chain([4096, 100_000]) {
            let mut out = vec![0; send_bytes];
            let (mut started, mut count) = Started::begin(all.clone(), &mut out, true);
            let mut sent = out[..count].to_vec();
            while started.left_bytes() > 0 {
                let place = sent.len();
                let (start, bytes) =
                    starts.iter().find(|(start, bytes)| (*start..start + bytes).contains(&place)).unwrap();
                let header_bytes = if *bytes < 128 {
                    2
                } else if *bytes < 65_536 {
                    4
                } else {
                    10
                };
                assert!(place == *start || place >= start + header_bytes, "{send_bytes}: cut at {place}");
                let left = if place == *start { 0 } else { start + bytes - place };
                assert_eq!(started.left_of_frame_bytes(), left, "{send_bytes}: cut at {place}");
                count = started.transmit(&mut out, true);
                assert!(count > 0);
                sent.extend_from_slice(&out[..count]);
            }
            assert!(sent == all, "{send_bytes}");
            assert_eq!(started.left_of_frame_bytes(), 0);
        }
    }

    #[test]
    fn what_is_cut_anywhere_fills_each_send() {
        let mut out = [0; 61];
        let (mut started, count) = Started::begin([frame(59), frame(20)].concat(), &mut out[..60], false);
        assert_eq!((count, started.left_bytes()), (60, 23));
        assert_eq!(started.transmit(&mut out[..2], false), 2);
        assert_eq!(started.transmit(&mut out, false), 21);
    }
}
