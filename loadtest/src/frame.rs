//! WebSocket frames (RFC 6455 §5.2), as little as a load generator and its limit arms need. PURE.
//! This is a second implementation on purpose: it shares nothing with the server under test.
//! Invariant: `decode` never reads past the bytes it was given and never accepts a payload above its bound.

/// A text message.
pub(crate) const TEXT: u8 = 0x1;
/// A binary message.
pub(crate) const BINARY: u8 = 0x2;
/// Close handshake, RFC 6455 §5.5.1.
pub(crate) const CLOSE: u8 = 0x8;
/// Ping, RFC 6455 §5.5.2.
pub(crate) const PING: u8 = 0x9;
/// Pong, RFC 6455 §5.5.3.
pub(crate) const PONG: u8 = 0xA;

/// The largest payload taken, in bytes: a book snapshot fits many times over.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The mask of every client frame. A fixed one lets a frame be encoded once; it protects nothing on loopback.
pub(crate) const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) fin: bool,
    pub(crate) opcode: u8,
    pub(crate) mask: Option<[u8; 4]>,
    pub(crate) header_bytes: usize,
    pub(crate) payload_bytes: usize,
}

impl Header {
    /// Header and payload together.
    pub(crate) fn frame_bytes(&self) -> usize {
        self.header_bytes + self.payload_bytes
    }
}

/// Why bytes are not a frame that this tool takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameFault {
    ReservedBits,
    TooLong,
}

/// The header at the start of `bytes`, or `None` while it is incomplete.
pub(crate) fn decode(bytes: &[u8]) -> Result<Option<Header>, FrameFault> {
    let &[first, second, ..] = bytes else { return Ok(None) };
    if first & 0x70 != 0 {
        return Err(FrameFault::ReservedBits);
    }
    let (payload_bytes, length_end) = match second & 0x7f {
        126 => match bytes.get(2..4) {
            Some(&[a, b]) => (u64::from(u16::from_be_bytes([a, b])), 4),
            Some(_) | None => return Ok(None),
        },
        127 => match bytes.get(2..10).and_then(|long| <[u8; 8]>::try_from(long).ok()) {
            Some(long) => (u64::from_be_bytes(long), 10),
            None => return Ok(None),
        },
        short => (u64::from(short), 2),
    };
    let payload_bytes = usize::try_from(payload_bytes).map_err(|_| FrameFault::TooLong)?;
    if PAYLOAD_BYTES_MAX < payload_bytes {
        return Err(FrameFault::TooLong);
    }
    let (mask, header_bytes) = if second & 0x80 == 0 {
        (None, length_end)
    } else {
        match bytes.get(length_end..length_end + 4).and_then(|mask| <[u8; 4]>::try_from(mask).ok()) {
            Some(mask) => (Some(mask), length_end + 4),
            None => return Ok(None),
        }
    };
    Ok(Some(Header { fin: first & 0x80 != 0, opcode: first & 0x0f, mask, header_bytes, payload_bytes }))
}

/// Appends a whole server frame (unmasked).
pub(crate) fn encode_server(opcode: u8, payload: &[u8], frame: &mut Vec<u8>) {
    encode_header(opcode, 0, payload.len(), frame);
    frame.extend_from_slice(payload);
}

/// Appends a whole client frame, masked with `MASK`.
pub(crate) fn encode_client(opcode: u8, payload: &[u8], frame: &mut Vec<u8>) {
    encode_header(opcode, 0x80, payload.len(), frame);
    frame.extend_from_slice(&MASK);
    let start = frame.len();
    frame.extend_from_slice(payload);
    apply_mask(&mut frame[start..], MASK);
}

fn encode_header(opcode: u8, mask_bit: u8, payload_bytes: usize, frame: &mut Vec<u8>) {
    frame.push(0x80 | opcode);
    if let Ok(short) = u8::try_from(payload_bytes)
        && short < 126
    {
        frame.push(mask_bit | short);
    } else if let Ok(medium) = u16::try_from(payload_bytes) {
        frame.push(mask_bit | 126);
        frame.extend_from_slice(&medium.to_be_bytes());
    } else {
        frame.push(mask_bit | 127);
        frame.extend_from_slice(&(payload_bytes as u64).to_be_bytes());
    }
}

/// How messages stand in the bytes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// RFC 6455.
    WebSocket,
    /// tickring's binary TCP, written from docs/binary-tcp.md: four bytes of length, big-endian, then a message; an empty one is a
    /// heartbeat.
    LengthPrefixed,
}

/// Of a length-prefixed frame.
const PREFIX_BYTES: usize = 4;

impl Framing {
    /// The header at the start of `bytes`, or `None` while it is incomplete. A heartbeat is a ping.
    pub(crate) fn decode(self, bytes: &[u8]) -> Result<Option<Header>, FrameFault> {
        if self == Framing::WebSocket {
            return decode(bytes);
        }
        let Some(length) = bytes.first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
        let payload_bytes = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| FrameFault::TooLong)?;
        if PAYLOAD_BYTES_MAX < payload_bytes {
            return Err(FrameFault::TooLong);
        }
        let opcode = if payload_bytes == 0 { PING } else { TEXT };
        Ok(Some(Header { fin: true, opcode, mask: None, header_bytes: PREFIX_BYTES, payload_bytes }))
    }
}

/// Appends whole client frames, which `frames` holds, as length-prefixed ones. A pong is a heartbeat.
pub(crate) fn encode_prefixed(mut frames: &[u8], out: &mut Vec<u8>) -> Result<(), FrameFault> {
    while let Some(header) = decode(frames)? {
        let payload = &frames[header.header_bytes..header.frame_bytes()];
        let length = u32::try_from(payload.len()).map_err(|_| FrameFault::TooLong)?;
        out.extend_from_slice(&length.to_be_bytes());
        let start = out.len();
        out.extend_from_slice(payload);
        apply_mask(&mut out[start..], header.mask.unwrap_or_default());
        frames = &frames[header.frame_bytes()..];
    }
    Ok(())
}

/// The code in a close frame's payload, RFC 6455 §5.5.1.
pub(crate) fn close_code(payload: &[u8]) -> Option<u16> {
    payload.first_chunk().map(|code| u16::from_be_bytes(*code))
}

/// Masks or unmasks in place, RFC 6455 §5.3.
pub(crate) fn apply_mask(payload: &mut [u8], mask: [u8; 4]) {
    for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_for_a_websocket_become_length_prefixed_and_are_read_back() {
        let mut frames = Vec::new();
        for payload in [&b"{}"[..], b"", &[b'x'; 300], &[b'y'; 70_000]] {
            encode_client(if payload.is_empty() { PONG } else { TEXT }, payload, &mut frames);
        }
        let mut prefixed = Vec::new();
        encode_prefixed(&frames, &mut prefixed).unwrap();
        let mut rest = &prefixed[..];
        let mut read = Vec::new();
        while let Some(header) = Framing::LengthPrefixed.decode(rest).unwrap() {
            read.push((header.opcode, rest[header.header_bytes..header.frame_bytes()].to_vec()));
            rest = &rest[header.frame_bytes()..];
        }
        let expected =
            [(TEXT, b"{}".to_vec()), (PING, vec![]), (TEXT, vec![b'x'; 300]), (TEXT, vec![b'y'; 70_000])];
        assert_eq!(read, expected);
        assert_eq!(Framing::LengthPrefixed.decode(b"HTTP"), Err(FrameFault::TooLong));
    }

    #[test]
    fn decodes_what_it_encodes_at_every_length_form() {
        for payload_bytes in [0, 1, 125, 126, 127, 65_535, 65_536] {
            let payload = vec![b'x'; payload_bytes];
            let mut server = Vec::new();
            encode_server(TEXT, &payload, &mut server);
            let header = decode(&server).unwrap().unwrap();
            assert_eq!((header.opcode, header.fin, header.mask), (TEXT, true, None));
            assert_eq!(header.frame_bytes(), server.len());

            let mut client = Vec::new();
            encode_client(BINARY, &payload, &mut client);
            let header = decode(&client).unwrap().unwrap();
            assert_eq!((header.opcode, header.mask), (BINARY, Some(MASK)));
            apply_mask(&mut client[header.header_bytes..], MASK);
            assert_eq!(&client[header.header_bytes..], payload);
        }
    }

    #[test]
    fn waits_for_every_byte_of_a_header() {
        let mut frame = Vec::new();
        encode_client(TEXT, &[0; 70_000], &mut frame);
        for cut in 0..14 {
            assert_eq!(decode(&frame[..cut]), Ok(None), "{cut} bytes");
        }
        assert!(decode(&frame[..14]).unwrap().is_some());
    }

    #[test]
    fn rejects_reserved_bits_and_payloads_above_the_bound() {
        assert_eq!(decode(&[0xc1, 0x00]), Err(FrameFault::ReservedBits));
        assert_eq!(decode(&[0x81, 127, 0, 0, 0, 1, 0, 0, 0, 0]), Err(FrameFault::TooLong));
    }

    #[test]
    fn masks_the_example_of_the_rfc() {
        // RFC 6455 §5.7, "a single-frame masked text message".
        let mut hello = *b"\x7f\x9f\x4d\x51\x58";
        apply_mask(&mut hello, MASK);
        assert_eq!(&hello, b"Hello");
    }
}
