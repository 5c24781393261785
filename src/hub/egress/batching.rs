//! Several SBE messages in one binary frame, for clients that asked for it: made of the frames that stand in the buffer of a send. PURE.
//! Allocates: never.
//!
//! Invariants: messages keep their order and their lane's; none waits for another, since only what goes out in the same send is put
//! together; a frame that was cut by the end of a send has one message. What is read is ahead of what is written, by the headroom at
//! first: a message takes two bytes more, and a frame two more or its header two, where its shortest form has 19.

use crate::binary_tcp::headroom;
use crate::dialect::sbe::{BATCHED_LENGTH_BYTES, batched_length};
use crate::limits::BATCH_FRAME_BYTES_MAX;
use crate::ws::frame::{Opcode, SERVER_HEADER_BYTES_MAX, encode_header, frame_len, frame_payload};

/// A final binary frame (RFC 6455 §5.2).
const BINARY: u8 = 0x82;

/// Puts together the messages of the `len` bytes of frames that stand in `out` behind its headroom, and moves all to its front; gives
/// their bytes. The first `begun` bytes are what is left of a frame whose header was sent before, or its beginning; the last frame may
/// be cut, not within its header.
pub(in crate::hub) fn batch_frames(out: &mut [u8], len: usize, begun: usize) -> usize {
    let mut read = headroom(out.len());
    let end = read + len;
    let mut written = begun.min(len);
    out.copy_within(read..read + written, 0);
    read += written;
    while read < end {
        if out[read] == BINARY {
            let run = Run::at(&out[read..end]);
            written += write_run(out, read, written, run);
            read += run.bytes;
        } else {
            let bytes = frame_len(&out[read..]).min(end - read);
            out.copy_within(read..read + bytes, written);
            (read, written) = (read + bytes, written + bytes);
        }
    }
    written
}

/// Frames that become one.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// Of all that there is of them.
    bytes: usize,
    /// Of the frame that they become, without its header, whole.
    payload_bytes: usize,
}

impl Run {
    /// Those at the begin of `frames`: one, and what fits beside it.
    fn at(frames: &[u8]) -> Run {
        let mut run = Run { bytes: 0, payload_bytes: 0 };
        while let Some(rest) = frames.get(run.bytes..).filter(|rest| rest.first() == Some(&BINARY)) {
            let (bytes, header_bytes) = (frame_len(rest), rest.len() - frame_payload(rest).len());
            let payload_bytes = run.payload_bytes + BATCHED_LENGTH_BYTES + bytes - header_bytes;
            let is_whole = bytes <= rest.len();
            if run.bytes > 0 && (payload_bytes > BATCH_FRAME_BYTES_MAX || !is_whole) {
                break;
            }
            run = Run { bytes: run.bytes + bytes.min(rest.len()), payload_bytes };
            if !is_whole {
                break;
            }
        }
        run
    }
}

/// Writes the frame that the run at `read` becomes; gives its bytes.
fn write_run(out: &mut [u8], mut read: usize, start: usize, run: Run) -> usize {
    let end = read + run.bytes;
    let mut header = [0; SERVER_HEADER_BYTES_MAX];
    let header_bytes = encode_header(Opcode::Binary, run.payload_bytes, &mut header);
    let mut written = start + header_bytes;
    while read < end {
        let frame = &out[read..end];
        let here = frame_payload(frame).len();
        let payload = end - here;
        let message_bytes = frame_len(frame) - (payload - read);
        let here = here.min(message_bytes);
        let after_length = written + BATCHED_LENGTH_BYTES;
        assert!(after_length <= payload, "invariant: what is written does not reach what is read");
        if written == start + header_bytes {
            out[start..written].copy_from_slice(&header[..header_bytes]);
        }
        out[written..after_length].copy_from_slice(&batched_length(message_bytes));
        out.copy_within(payload..payload + here, after_length);
        (read, written) = (payload + here, after_length + here);
    }
    written - start
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dialect::sbe::split_batch;

    fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
        let mut header = [0; SERVER_HEADER_BYTES_MAX];
        let header_bytes = encode_header(opcode, payload.len(), &mut header);
        [&header[..header_bytes], payload].concat()
    }

    /// Frames as they are sent, in buffers of `buffer_bytes`: whole ones, and one that does not fit begun in an empty buffer.
    fn sent(frames: &[Vec<u8>], buffer_bytes: usize) -> Vec<u8> {
        let (mut sent, mut begun, mut next) = (Vec::new(), &[][..], 0);
        while next < frames.len() || !begun.is_empty() {
            let mut out = vec![0xee; buffer_bytes];
            let room = headroom(buffer_bytes);
            let begun_bytes = begun.len();
            let count = begun_bytes.min(buffer_bytes - room);
            out[room..room + count].copy_from_slice(&begun[..count]);
            let mut at = room + count;
            begun = &begun[count..];
            while begun.is_empty()
                && let Some(frame) = frames.get(next)
                && (frame.len() <= buffer_bytes - at || at == room)
            {
                let count = frame.len().min(buffer_bytes - at);
                out[at..at + count].copy_from_slice(&frame[..count]);
                (begun, at, next) = (&frame[count..], at + count, next + 1);
            }
            let written = batch_frames(&mut out, at - room, begun_bytes);
            sent.extend_from_slice(&out[..written]);
        }
        sent
    }

    /// What a client reads: of each frame its opcode and its messages.
    fn read(mut stream: &[u8]) -> Vec<(u8, Vec<Vec<u8>>)> {
        let mut frames = Vec::new();
        while !stream.is_empty() {
            let (frame, after) = stream.split_at(frame_len(stream));
            let (opcode, mut payload) = (frame[0], frame_payload(frame));
            let mut messages = Vec::new();
            while opcode == BINARY && !payload.is_empty() {
                let (message, rest) = split_batch(payload).unwrap();
                messages.push(message.to_vec());
                payload = rest;
            }
            if opcode != BINARY {
                messages.push(payload.to_vec());
            }
            frames.push((opcode, messages));
            stream = after;
        }
        frames
    }

    #[test]
    fn messages_of_a_send_share_frames_in_their_order_and_texts_stay_between_them() {
        let quotes: Vec<Vec<u8>> = (0..40).map(|fill| vec![fill; 76]).collect();
        let mut frames: Vec<Vec<u8>> = quotes.iter().map(|quote| frame(Opcode::Binary, quote)).collect();
        frames.insert(3, frame(Opcode::Text, b"{\"jsonrpc\":\"2.0\"}"));
        let told = read(&sent(&frames, 65_536));
        let counts: Vec<(u8, usize)> =
            told.iter().map(|(opcode, messages)| (*opcode, messages.len())).collect();
        // A frame of 1,400 bytes has 17 messages of 78.
        assert_eq!(counts, [(0x82, 3), (0x81, 1), (0x82, 17), (0x82, 17), (0x82, 3)]);
        let all: Vec<Vec<u8>> =
            told.into_iter().filter(|(opcode, _)| *opcode == BINARY).flat_map(|(_, all)| all).collect();
        assert_eq!(all, quotes);
    }

    #[test]
    fn messages_of_all_lengths_come_whole_in_buffers_of_all_sizes() {
        let lengths = [17, 18, 76, 125, 126, 1_396, 1_398, 1_399, 17, 65_534, 65_535, 65_536, 70_000, 17, 40];
        let messages: Vec<Vec<u8>> =
            lengths.into_iter().zip(b'a'..).map(|(len, fill)| vec![fill; len]).collect();
        let frames: Vec<Vec<u8>> = messages.iter().map(|message| frame(Opcode::Binary, message)).collect();
        for buffer_bytes in [256, 257, 300, 1000, 4096, 65_536, 1 << 20] {
            let told = read(&sent(&frames, buffer_bytes));
            assert!(told.iter().all(
                |(_, all)| all.len() == 1 || all.iter().map(|one| one.len() + 2).sum::<usize>() <= 1_400
            ));
            let all: Vec<Vec<u8>> = told.into_iter().flat_map(|(_, all)| all).collect();
            assert!(all == messages, "{buffer_bytes}");
        }
    }

    #[test]
    fn the_headroom_serves_a_buffer_full_of_the_shortest_messages_between_the_shortest_texts() {
        for texts in [false, true] {
            let mut frames = vec![frame(Opcode::Binary, &[7; 17]); 8_000];
            if texts {
                frames.iter_mut().skip(1).step_by(2).for_each(|at| *at = frame(Opcode::Text, &[b' '; 17]));
            }
            for buffer_bytes in (256..600).chain([65_536]) {
                let told = read(&sent(&frames, buffer_bytes));
                let all: usize = told.iter().map(|(_, all)| all.len()).sum();
                assert_eq!(all, 8_000, "{buffer_bytes}");
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_to_be_sent_in_its_order(
            drawn in prop::collection::vec((any::<bool>(), prop_oneof![8 => 17..200_usize, 1 => 200..3_000_usize, 1 => 65_000..66_000_usize]), 1..60),
            buffer_bytes in prop_oneof![256..2_000_usize, Just(65_536)],
        ) {
            let of = |(at, (is_binary, len)): (usize, &(bool, usize))| {
                (if *is_binary { Opcode::Binary } else { Opcode::Text }, vec![u8::try_from(at).unwrap(); *len])
            };
            let payloads: Vec<(Opcode, Vec<u8>)> = drawn.iter().enumerate().map(of).collect();
            let frames: Vec<Vec<u8>> = payloads.iter().map(|(opcode, payload)| frame(*opcode, payload)).collect();
            let told = read(&sent(&frames, buffer_bytes)).into_iter().flat_map(|(opcode, all)| {
                all.into_iter().map(move |payload| (opcode == BINARY, payload))
            });
            let expected = payloads.into_iter().map(|(opcode, payload)| (opcode == Opcode::Binary, payload));
            prop_assert!(told.eq(expected));
        }
    }
}
