//! Messages compressed one by one (RFC 7692 §7.2.1), as whole frames.
//!
//! PURE. Home: one per thread that compresses. Allocates: a compressor when a window is first asked for, and room for
//! a longer message than any before; nothing per message. Invariant: no frame refers to a message before it.

use flate2::{Compress, Compression, FlushCompress, Status};

use super::WindowBits;
use crate::ws::frame::{Opcode, SERVER_HEADER_BYTES_MAX, encode_compressed_header};

/// What a flush leaves at the end, and what receivers put back (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
/// Windows from 9 to 15 bits.
const WINDOWS: usize = 7;
/// Room that is kept between messages.
const SCRATCH_KEPT_BYTES_MAX: usize = 256 * 1024;

/// See the file's head.
pub struct Deflater {
    level: Compression,
    /// By window bits from 9 on. Some 300 KiB each.
    compressors: [Option<Compress>; WINDOWS],
    frame: Vec<u8>,
}

impl std::fmt::Debug for Deflater {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Deflater").field("level", &self.level).finish_non_exhaustive()
    }
}

impl Deflater {
    /// `level` is zlib's, 1 (fast) to 9 (small).
    #[must_use]
    pub fn new(level: u8) -> Deflater {
        assert!((1..=9).contains(&level), "zlib has levels 1 to 9");
        let level = Compression::new(u32::from(level));
        Deflater { level, compressors: [const { None }; WINDOWS], frame: Vec::new() }
    }

    /// The payload as one compressed frame for all whose window has at least this size; `None` where it would not be
    /// shorter than it is.
    ///
    /// # Panics
    /// For a window below [`WindowBits::DEFLATE_MIN`], which is never agreed on, and for control frames.
    pub fn frame(&mut self, opcode: Opcode, window: WindowBits, payload: &[u8]) -> Option<&[u8]> {
        let bits = window.for_payload(payload.len());
        assert!(WindowBits::DEFLATE_MIN <= bits, "zlib does not compress with such a window");
        let place = &mut self.compressors[usize::from(bits.value() - WindowBits::DEFLATE_MIN.value())];
        let compressor = match place {
            Some(compressor) => {
                compressor.reset();
                compressor
            }
            None => place.insert(Compress::new_with_window_bits(self.level, false, bits.value())),
        };
        if self.frame.capacity() > SCRATCH_KEPT_BYTES_MAX {
            self.frame = Vec::new();
        }
        let room = room_bytes(payload.len());
        if self.frame.len() < SERVER_HEADER_BYTES_MAX + room {
            self.frame.resize(SERVER_HEADER_BYTES_MAX + room, 0);
        }
        let out = &mut self.frame[SERVER_HEADER_BYTES_MAX..][..room];
        let status = compressor.compress(payload, out, FlushCompress::Sync);
        assert!(matches!(status, Ok(Status::Ok | Status::BufError)), "zlib compresses any bytes");
        let written = usize::try_from(compressor.total_out()).expect("invariant: it lies in the room");
        assert!(written < room && out[..written].ends_with(&TAIL), "a flush that had room is through");
        let deflated_bytes = written - TAIL.len();
        if deflated_bytes >= payload.len() {
            return None;
        }
        let mut header = [0; SERVER_HEADER_BYTES_MAX];
        let header_bytes = encode_compressed_header(opcode, deflated_bytes, &mut header);
        let start = SERVER_HEADER_BYTES_MAX - header_bytes;
        self.frame[start..SERVER_HEADER_BYTES_MAX].copy_from_slice(&header[..header_bytes]);
        Some(&self.frame[start..SERVER_HEADER_BYTES_MAX + deflated_bytes])
    }
}

/// Room in which any payload of this length can be flushed whole: at worst nine bits a byte, and the ends of blocks. A flush
/// that is cut short must not be: zlib-rs 0.6.8 forgets on a reset what it still has to hand out, but not where it stands
/// in its buffer, and a later message then overruns that.
const fn room_bytes(payload_bytes: usize) -> usize {
    payload_bytes + payload_bytes / 8 + payload_bytes / 1024 + 64
}

#[cfg(test)]
mod tests {
    use flate2::{Decompress, FlushDecompress};
    use proptest::prelude::*;

    use super::*;

    fn inflate(bits: WindowBits, frame: &[u8], payload_bytes: usize) -> Vec<u8> {
        assert_eq!(frame[0], 0xc1, "a whole text frame with RSV1");
        let header_bytes = match frame[1] {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        assert_eq!(crate::ws::frame_len(frame), frame.len());
        let input = [&frame[header_bytes..], &TAIL].concat();
        let mut inflater = Decompress::new_with_window_bits(false, bits.value());
        let mut payload = Vec::with_capacity(payload_bytes + 1);
        // In small pieces, so that references go through the window and not through the output.
        while inflater.total_in() < input.len() as u64 || payload.len() < payload_bytes {
            let mut piece = [0; 64];
            let (taken, made) = (inflater.total_in(), inflater.total_out());
            let rest = &input[usize::try_from(taken).unwrap()..];
            inflater.decompress(rest, &mut piece, FlushDecompress::Sync).unwrap();
            let made = usize::try_from(inflater.total_out() - made).unwrap();
            assert!(made > 0 || inflater.total_in() > taken, "no progress");
            payload.extend_from_slice(&piece[..made]);
        }
        payload
    }

    #[test]
    fn compresses_the_example_of_the_rfc() {
        // RFC 7692 §7.2.3.2 has it after a message before it; alone it takes as many bytes as it saves.
        let mut deflater = Deflater::new(1);
        assert_eq!(deflater.frame(Opcode::Text, WindowBits::MAX, b"Hello"), None);
        let frame = deflater.frame(Opcode::Text, WindowBits::MAX, b"HelloHelloHelloHello").unwrap().to_vec();
        assert!(frame.len() < 20);
        assert_eq!(inflate(WindowBits::MAX, &frame, 20), b"HelloHelloHelloHello");
    }

    #[test]
    fn each_message_stands_alone() {
        let mut deflater = Deflater::new(6);
        let payload = br#"{"channel":"book.BTC-PERPETUAL.raw","channel_id":1}"#.repeat(4);
        let first = deflater.frame(Opcode::Text, WindowBits::MAX, &payload).unwrap().to_vec();
        let second = deflater.frame(Opcode::Text, WindowBits::MAX, &payload).unwrap();
        assert_eq!(first, second);
    }

    #[test]
    fn what_would_not_be_shorter_is_not_compressed() {
        let mut deflater = Deflater::new(9);
        for payload in [&b""[..], b"a", b"ab", b"\x00\xff\x13\x8a\x51\x77"] {
            assert_eq!(deflater.frame(Opcode::Binary, WindowBits::MAX, payload), None, "{payload:?}");
        }
    }

    #[test]
    fn payloads_that_grow_leave_the_compressor_fit_for_the_next() {
        for level in 1..=9 {
            let mut deflater = Deflater::new(level);
            let mut bits: u64 = 0x9e37_79b9_7f4a_7c15;
            for payload_bytes in [70_000, 3, 131_072, 65_536, 1000, 1 << 20, 500, 200_000] {
                let noise = std::iter::from_fn(|| {
                    bits ^= bits << 13;
                    bits ^= bits >> 7;
                    bits ^= bits << 17;
                    Some(bits.to_be_bytes()[0])
                });
                let payload: Vec<u8> = noise.take(payload_bytes).collect();
                assert_eq!(deflater.frame(Opcode::Binary, WindowBits::MAX, &payload), None);
                let text = b"price, amount, ".repeat(payload_bytes / 10);
                let frame = deflater.frame(Opcode::Text, WindowBits::MAX, &text);
                let frame = frame.map(|frame| inflate(WindowBits::MAX, frame, text.len()));
                assert!(frame.is_none_or(|inflated| inflated == text), "level {level}, {payload_bytes}");
            }
        }
    }

    #[test]
    fn a_payload_that_fits_several_windows_is_compressed_alike_for_them() {
        let mut deflater = Deflater::new(1);
        let payload = b"bids, asks, bids, asks, bids, asks, bids, asks".repeat(11);
        assert!(payload.len() <= 512);
        let smallest = deflater.frame(Opcode::Text, WindowBits::DEFLATE_MIN, &payload).unwrap().to_vec();
        assert_eq!(deflater.frame(Opcode::Text, WindowBits::MAX, &payload).unwrap(), smallest);
        assert_eq!(inflate(WindowBits::DEFLATE_MIN, &smallest, payload.len()), payload);
        assert_eq!(deflater.compressors.iter().flatten().count(), 1);
    }

    proptest! {
        #[test]
        fn any_payload_comes_back_within_the_agreed_window(
            words in prop::collection::vec(prop::sample::select(vec!["price", "amount", "12.5", "\u{3b1}", "x", "00000"]), 0..3000),
            bits in 9_u8..=15, level in 1_u8..=9,
        ) {
            let payload = words.concat();
            let window = WindowBits::new(bits).unwrap();
            let mut deflater = Deflater::new(level);
            for _ in 0..2 {
                if let Some(frame) = deflater.frame(Opcode::Text, window, payload.as_bytes()) {
                    prop_assert!(frame.len() < crate::ws::server_frame_len(payload.len()));
                    prop_assert_eq!(inflate(window, frame, payload.len()), payload.as_bytes());
                }
            }
        }
    }
}
