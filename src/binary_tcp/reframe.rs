//! From a WebSocket's frames to length-prefixed ones, in place: an event is encoded once for both, and lies once in a shard's log.
//!
//! PURE. Allocates: never. Invariant: what is read is ahead of what is written, by the headroom at first and then by what frames leave
//! of it: four bytes of length take two more than the shortest WebSocket header, and a message has 17 bytes at least, in either encoding.

use super::{BINARY_BIT, LENGTH_BYTES};
use crate::ws::frame::{frame_len, frame_payload};

/// A final text frame, a final binary one, and a final ping (RFC 6455 §5.2).
const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const PING: u8 = 0x89;

/// Bytes at the front of a buffer of this length that are to be left free for [`reframe`]: `{"jsonrpc":"2.0"}` in its frame grows
/// from 19 bytes to 21, which is less than an eighth, and one ping from 2 to 4.
#[must_use]
pub const fn headroom(buffer_bytes: usize) -> usize {
    buffer_bytes / 8 + LENGTH_BYTES
}

/// Bytes of a buffer that has room for so many bytes of frames behind its headroom.
#[must_use]
pub const fn buffer_bytes(frames_bytes: usize) -> usize {
    (frames_bytes + LENGTH_BYTES) * 8 / 7 + 1
}

/// Turns the WebSocket frames that stand in `out` behind its headroom, `len` bytes of them, into length-prefixed ones at its
/// front; gives their bytes. The first `begun` bytes are what is left of a frame whose header was sent before, or its beginning; the last frame may be
/// cut, not within its header.
///
/// # Panics
/// There is another frame than a message's or a ping: that is our bug.
#[must_use]
pub fn reframe(out: &mut [u8], len: usize, begun: usize) -> usize {
    let mut read = headroom(out.len());
    let end = read + len;
    let mut written = begun.min(len);
    out.copy_within(read..read + written, 0);
    read += written;
    while read < end {
        let frame = &out[read..end];
        let kind = match frame[0] {
            TEXT | PING => 0,
            BINARY => BINARY_BIT,
            other => unreachable!("invariant: what waits is text, SBE or a ping, not {other:#x}"),
        };
        let payload_here = frame_payload(frame).len();
        let header_bytes = frame.len() - payload_here;
        let payload_bytes = frame_len(frame) - header_bytes;
        let length = u32::try_from(payload_bytes).ok().filter(|length| length & BINARY_BIT == 0);
        let length =
            length.expect("invariant: a frame is shorter than 2 GiB, by the bounds on what a turn takes");
        let payload = read + header_bytes;
        let payload_here = payload_here.min(payload_bytes);
        assert!(written + LENGTH_BYTES <= payload, "invariant: what is written does not reach what is read");
        out[written..written + LENGTH_BYTES].copy_from_slice(&(kind | length).to_be_bytes());
        written += LENGTH_BYTES;
        out.copy_within(payload..payload + payload_here, written);
        written += payload_here;
        read = payload + payload_here;
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::frame::{Opcode, SERVER_HEADER_BYTES_MAX, encode_header};

    fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
        let mut header = [0; SERVER_HEADER_BYTES_MAX];
        let header_bytes = encode_header(opcode, payload.len(), &mut header);
        [&header[..header_bytes], payload].concat()
    }

    fn prefixed(payload: &[u8]) -> Vec<u8> {
        [&u32::try_from(payload.len()).unwrap().to_be_bytes(), payload].concat()
    }

    /// Sends `frames`, a stream of WebSocket frames that begin at `starts`, in buffers of `buffer_bytes`, as a hub does: whole frames, and
    /// one that does not fit begun in an empty buffer.
    fn reframed(frames: &[Vec<u8>], buffer_bytes: usize) -> Vec<u8> {
        let mut sent = Vec::new();
        let mut begun: &[u8] = &[];
        let mut next = 0;
        while next < frames.len() || !begun.is_empty() {
            let mut out = vec![0xee; buffer_bytes];
            let room = headroom(buffer_bytes);
            let (mut at, begun_bytes) = (room, begun.len());
            let count = begun.len().min(buffer_bytes - at);
            out[at..at + count].copy_from_slice(&begun[..count]);
            (begun, at) = (&begun[count..], at + count);
            while begun.is_empty()
                && let Some(frame) = frames.get(next)
            {
                let space = buffer_bytes - at;
                if frame.len() > space && at > room {
                    break;
                }
                let count = frame.len().min(space);
                out[at..at + count].copy_from_slice(&frame[..count]);
                (begun, at, next) = (&frame[count..], at + count, next + 1);
            }
            let written = reframe(&mut out, at - room, begun_bytes);
            sent.extend_from_slice(&out[..written]);
        }
        sent
    }

    #[test]
    fn frames_of_all_lengths_keep_their_payload_in_buffers_of_all_sizes() {
        let payloads: Vec<Vec<u8>> = [17, 18, 125, 126, 127, 300, 65_535, 65_536, 70_000, 17, 40]
            .into_iter()
            .zip(b'a'..)
            .map(|(len, fill)| vec![fill; len])
            .collect();
        let frames: Vec<Vec<u8>> = payloads.iter().map(|payload| frame(Opcode::Text, payload)).collect();
        let expected: Vec<u8> = payloads.iter().flat_map(|payload| prefixed(payload)).collect();
        for buffer_bytes in [128, 129, 200, 4096, 65_536, 1 << 20] {
            assert!(reframed(&frames, buffer_bytes) == expected, "{buffer_bytes}");
        }
    }

    #[test]
    fn the_headroom_serves_a_buffer_full_of_the_shortest_messages_behind_a_ping() {
        let mut frames = vec![frame(Opcode::Ping, b"")];
        frames.resize(10_000, frame(Opcode::Text, b"{\"jsonrpc\":\"2.0\"}"));
        let mut expected = prefixed(b"");
        expected.extend(prefixed(b"{\"jsonrpc\":\"2.0\"}").repeat(9_999));
        for buffer_bytes in 128..600 {
            assert!(reframed(&frames, buffer_bytes) == expected, "{buffer_bytes}");
        }
        assert!(reframed(&frames, 65_536) == expected);
    }

    #[test]
    fn a_buffer_is_as_long_as_its_frames_and_its_headroom_and_little_more() {
        for frames_bytes in 0..10_000 {
            let room = buffer_bytes(frames_bytes) - headroom(buffer_bytes(frames_bytes));
            assert!((frames_bytes..frames_bytes + 4).contains(&room), "{frames_bytes}");
        }
    }

    #[test]
    fn what_is_no_text_has_the_first_bit_of_its_length_and_room_as_text_has() {
        let beat = [7; 17];
        let mut frames = vec![frame(Opcode::Binary, &beat); 5_000];
        frames.push(frame(Opcode::Text, b"{\"jsonrpc\":\"2.0\"}"));
        frames.push(frame(Opcode::Binary, &[8; 70_000]));
        let binary = |payload: &[u8]| {
            let mut framed = prefixed(payload);
            framed[0] |= 0x80;
            framed
        };
        let expected =
            [binary(&beat).repeat(5_000), prefixed(b"{\"jsonrpc\":\"2.0\"}"), binary(&[8; 70_000])].concat();
        for buffer_bytes in (128..300).chain([65_536]) {
            assert!(reframed(&frames, buffer_bytes) == expected, "{buffer_bytes}");
        }
    }

    #[test]
    fn a_ping_is_an_empty_frame() {
        let stream = [frame(Opcode::Ping, b""), frame(Opcode::Text, b"{\"jsonrpc\":\"2.0\"}")];
        let expected = [prefixed(b""), prefixed(b"{\"jsonrpc\":\"2.0\"}")].concat();
        assert_eq!(reframed(&stream, 128), expected);
    }
}
