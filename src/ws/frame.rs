//! Frame headers (RFC 6455 §5.2): a client's decoded, the server's encoded.
//!
//! PURE. Allocates: never. Invariants: a decoded header is legal for its place in the stream; which fault a byte
//! raises depends on the bytes up to it only, not on how the stream was cut; server frames are unmasked and final.

use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::Fault;

/// The longest header a client sends: two bytes, a 64-bit length, a mask.
pub const CLIENT_HEADER_BYTES_MAX: usize = 14;
/// The longest header the server sends: two bytes and a 64-bit length.
pub const SERVER_HEADER_BYTES_MAX: usize = 10;
/// A control frame's payload in bytes (§5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

const FIN: u8 = 0x80;
const RESERVED_BITS: u8 = 0x70;
/// RSV1: the message is compressed (RFC 7692 §6).
const COMPRESSED: u8 = 0x40;
const OPCODE_BITS: u8 = 0x0f;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const MASK: u8 = 0x80;
const LENGTH_BITS: u8 = 0x7f;
/// The 7-bit length that announces a 16-bit one.
const LENGTH_16: u8 = 126;
/// The 7-bit length that announces a 64-bit one.
const LENGTH_64: u8 = 127;

/// The opcodes that are defined; a reserved one does not get past [`decode_header`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// 0
    Continuation,
    /// 1
    Text,
    /// 2
    Binary,
    /// 8
    Close,
    /// 9
    Ping,
    /// 10
    Pong,
}

/// Where in the stream a header stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// No message is open.
    BetweenMessages,
    /// No message is open, and permessage-deflate is agreed on: the next one may be compressed.
    BeforeCompressible,
    /// A fragmented message is open.
    WithinMessage,
}

/// A client's frame header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// The last frame of its message.
    pub fin: bool,
    /// The first frame of a compressed message (RFC 7692 §6).
    pub compressed: bool,
    /// What the frame is.
    pub opcode: Opcode,
    /// The key its payload is masked with.
    pub mask: [u8; 4],
    /// Less than 2^63.
    pub payload_bytes: u64,
}

impl Opcode {
    /// Close, ping or pong (§5.5).
    pub const fn is_control(self) -> bool {
        match self {
            Self::Close | Self::Ping | Self::Pong => true,
            Self::Continuation | Self::Text | Self::Binary => false,
        }
    }

    fn decode(bits: u8) -> Result<Self, Fault> {
        match OpCode::from(bits & OPCODE_BITS) {
            OpCode::Data(Data::Continue) => Ok(Self::Continuation),
            OpCode::Data(Data::Text) => Ok(Self::Text),
            OpCode::Data(Data::Binary) => Ok(Self::Binary),
            OpCode::Control(Control::Close) => Ok(Self::Close),
            OpCode::Control(Control::Ping) => Ok(Self::Ping),
            OpCode::Control(Control::Pong) => Ok(Self::Pong),
            OpCode::Data(Data::Reserved(_)) | OpCode::Control(Control::Reserved(_)) => {
                Err(Fault::ReservedOpcode)
            }
        }
    }
}

impl From<Opcode> for OpCode {
    fn from(opcode: Opcode) -> Self {
        match opcode {
            Opcode::Continuation => Self::Data(Data::Continue),
            Opcode::Text => Self::Data(Data::Text),
            Opcode::Binary => Self::Data(Data::Binary),
            Opcode::Close => Self::Control(Control::Close),
            Opcode::Ping => Self::Control(Control::Ping),
            Opcode::Pong => Self::Control(Control::Pong),
        }
    }
}

/// Decodes the header at the start of `bytes`; gives it and its length. `None` means more bytes are needed.
#[inline]
pub fn decode_header(bytes: &[u8], place: Place) -> Result<Option<(FrameHeader, usize)>, Fault> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    let opcode = check_first_byte(first, place)?;
    let Some(&second) = bytes.get(1) else { return Ok(None) };
    let short_length = second & LENGTH_BITS;
    if second & MASK == 0 {
        return Err(Fault::NotMasked);
    }
    if opcode.is_control() && CONTROL_BYTES_MAX < usize::from(short_length) {
        return Err(Fault::ControlTooLong);
    }
    let (payload_bytes, after_length) = match short_length {
        LENGTH_16 => {
            let Some(long) = bytes[2..].first_chunk() else { return Ok(None) };
            (minimal(u64::from(u16::from_be_bytes(*long)), u64::from(LENGTH_16))?, &bytes[4..])
        }
        LENGTH_64 => {
            let Some(long) = bytes[2..].first_chunk() else { return Ok(None) };
            let payload_bytes = u64::from_be_bytes(*long);
            if payload_bytes >> 63 != 0 {
                return Err(Fault::LengthOverflow);
            }
            (minimal(payload_bytes, 1 << 16)?, &bytes[10..])
        }
        _ => (u64::from(short_length), &bytes[2..]),
    };
    let Some((&mask, payload)) = after_length.split_first_chunk() else { return Ok(None) };
    let (fin, compressed) = (first & FIN != 0, first & COMPRESSED != 0);
    let header = FrameHeader { fin, compressed, opcode, mask, payload_bytes };
    Ok(Some((header, bytes.len() - payload.len())))
}

/// Writes the header of an unmasked, final frame to the front of `out`; gives its length in bytes.
///
/// A control frame of more than [`CONTROL_BYTES_MAX`] is our bug.
#[inline]
pub fn encode_header(opcode: Opcode, payload_bytes: usize, out: &mut [u8; SERVER_HEADER_BYTES_MAX]) -> usize {
    assert!(
        !opcode.is_control() || payload_bytes <= CONTROL_BYTES_MAX,
        "a control frame has 125 bytes at most"
    );
    out[0] = FIN | u8::from(OpCode::from(opcode));
    if let Ok(short @ 0..LENGTH_16) = u8::try_from(payload_bytes) {
        out[1] = short;
        2
    } else if let Ok(long) = u16::try_from(payload_bytes) {
        out[1] = LENGTH_16;
        out[2..4].copy_from_slice(&long.to_be_bytes());
        4
    } else {
        out[1] = LENGTH_64;
        out[2..10].copy_from_slice(&(payload_bytes as u64).to_be_bytes());
        10
    }
}

/// [`encode_header`] for the only frame of a compressed message (RFC 7692 §6), which is no control frame.
#[inline]
pub fn encode_compressed_header(
    opcode: Opcode,
    payload_bytes: usize,
    out: &mut [u8; SERVER_HEADER_BYTES_MAX],
) -> usize {
    assert!(!opcode.is_control(), "control frames are never compressed");
    let header_bytes = encode_header(opcode, payload_bytes, out);
    out[0] |= COMPRESSED;
    header_bytes
}

/// The length in bytes, with its header, of the server's frame for a payload of this length.
#[inline]
pub const fn server_frame_len(payload_bytes: usize) -> usize {
    match payload_bytes {
        0..=125 => 2 + payload_bytes,
        126..=0xffff => 4 + payload_bytes,
        _ => 10 + payload_bytes,
    }
}

/// The length in bytes, with its header, of the server's frame that `bytes` begins with. Only the header is read,
/// which must be there whole; frames are ours, so anything else is our bug.
#[inline]
pub fn frame_len(bytes: &[u8]) -> usize {
    match bytes[1] {
        short @ 0..LENGTH_16 => 2 + usize::from(short),
        LENGTH_16 => 4 + usize::from(u16::from_be_bytes([bytes[2], bytes[3]])),
        LENGTH_64 => {
            let long = bytes[2..].first_chunk().expect("invariant: a server frame's header is whole");
            10 + usize::try_from(u64::from_be_bytes(*long)).expect("invariant: a server frame is in memory")
        }
        _ => unreachable!("invariant: a server frame is not masked"),
    }
}

/// Whether `bytes` are one whole text or binary message of the server and nothing else, compressed or not as is said: for bytes that
/// another process made.
#[must_use]
pub fn is_server_message(bytes: &[u8], compressed: bool) -> bool {
    server_message_bytes(bytes, compressed) == Some(bytes.len())
}

/// Whether `bytes` are whole text or binary messages of the server, one at least, and nothing else, none of them compressed.
#[must_use]
pub fn are_server_messages(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(message_bytes) = server_message_bytes(rest, false) {
        rest = &rest[message_bytes..];
        if rest.is_empty() {
            return true;
        }
    }
    false
}

/// Bytes of the whole message that `bytes` begin with.
fn server_message_bytes(bytes: &[u8], compressed: bool) -> Option<usize> {
    let (&[first, second], rest) = bytes.split_first_chunk()?;
    let kind = FIN | if compressed { COMPRESSED } else { 0 };
    let is_kind = first == kind | TEXT || first == kind | BINARY;
    let payload_bytes = match second {
        LENGTH_16 => rest.first_chunk().map(|long| u64::from(u16::from_be_bytes(*long))),
        LENGTH_64 => rest.first_chunk().map(|long| u64::from_be_bytes(*long)),
        short @ 0..LENGTH_16 => Some(u64::from(short)),
        _ => None,
    };
    let payload_bytes = usize::try_from(payload_bytes?).ok().filter(|payload| *payload <= bytes.len())?;
    // Ours have the shortest header that says their length.
    let is_shortest = match second {
        LENGTH_16 => (126..=0xffff).contains(&payload_bytes),
        LENGTH_64 => payload_bytes > 0xffff,
        _ => true,
    };
    let message_bytes = server_frame_len(payload_bytes);
    (is_kind && is_shortest && message_bytes <= bytes.len()).then_some(message_bytes)
}

/// The payload of the server's frame that `bytes` is.
#[inline]
pub fn frame_payload(bytes: &[u8]) -> &[u8] {
    let header_bytes = match bytes[1] {
        LENGTH_16 => 4,
        LENGTH_64 => 10,
        _ => 2,
    };
    &bytes[header_bytes..]
}

/// FIN, the reserved bits, and whether the opcode is legal here.
fn check_first_byte(first: u8, place: Place) -> Result<Opcode, Fault> {
    if first & RESERVED_BITS & !COMPRESSED != 0 {
        return Err(Fault::ReservedBits);
    }
    let may_be_compressed = match place {
        Place::BeforeCompressible => matches!(first & OPCODE_BITS, TEXT | BINARY),
        Place::BetweenMessages | Place::WithinMessage => false,
    };
    if first & COMPRESSED != 0 && !may_be_compressed {
        return Err(Fault::ReservedBits);
    }
    let opcode = Opcode::decode(first)?;
    match (opcode, place) {
        (Opcode::Close | Opcode::Ping | Opcode::Pong, _) if first & FIN == 0 => Err(Fault::ControlFragmented),
        (Opcode::Continuation, Place::BetweenMessages | Place::BeforeCompressible) => {
            Err(Fault::ContinuationWithoutStart)
        }
        (Opcode::Text | Opcode::Binary, Place::WithinMessage) => Err(Fault::DataWithinMessage),
        (Opcode::Close | Opcode::Ping | Opcode::Pong, _)
        | (Opcode::Continuation, Place::WithinMessage)
        | (Opcode::Text | Opcode::Binary, Place::BetweenMessages | Place::BeforeCompressible) => Ok(opcode),
    }
}

const fn minimal(payload_bytes: u64, payload_bytes_min: u64) -> Result<u64, Fault> {
    if payload_bytes < payload_bytes_min { Err(Fault::LengthNotMinimal) } else { Ok(payload_bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tungstenite::protocol::frame::FrameHeader as Oracle;

    const LENGTHS: [usize; 9] = [0, 1, 125, 126, 127, 65535, 65536, 65537, 1 << 40];
    const OPCODES: [Opcode; 6] =
        [Opcode::Continuation, Opcode::Text, Opcode::Binary, Opcode::Close, Opcode::Ping, Opcode::Pong];

    fn fits(opcode: Opcode, length: usize) -> bool {
        !opcode.is_control() || length <= CONTROL_BYTES_MAX
    }

    #[test]
    fn encodes_as_tungstenite_does_and_knows_the_length() {
        for opcode in OPCODES {
            for length in LENGTHS.into_iter().filter(|length| fits(opcode, *length)) {
                let mut expected = Vec::new();
                Oracle { opcode: opcode.into(), ..Oracle::default() }
                    .format(length as u64, &mut expected)
                    .unwrap();
                let mut out = [0; SERVER_HEADER_BYTES_MAX];
                let header_bytes = encode_header(opcode, length, &mut out);
                assert_eq!(&out[..header_bytes], expected, "{opcode:?} {length}");
                assert_eq!(server_frame_len(length), header_bytes + length);
                assert_eq!(frame_len(&out[..header_bytes]), header_bytes + length);
                assert_eq!(frame_payload(&out[..header_bytes]), b"");
            }
        }
    }

    #[test]
    fn a_message_of_the_server_is_told_from_anything_else() {
        for length in [0, 1, 125, 126, 127, 65535, 65536] {
            for (opcode, compressed) in [(Opcode::Text, false), (Opcode::Binary, false), (Opcode::Text, true)]
            {
                let mut header = [0; SERVER_HEADER_BYTES_MAX];
                let header_bytes = if compressed {
                    encode_compressed_header(opcode, length, &mut header)
                } else {
                    encode_header(opcode, length, &mut header)
                };
                let mut bytes = header[..header_bytes].to_vec();
                bytes.resize(header_bytes + length, b'x');
                assert!(is_server_message(&bytes, compressed) && !is_server_message(&bytes, !compressed));
                bytes.push(b'x');
                assert!(!is_server_message(&bytes, compressed), "{length}: a byte more");
                bytes.truncate(header_bytes + length.saturating_sub(1));
                assert!(!is_server_message(&bytes, compressed) || length == 0, "{length}: a byte less");
            }
        }
        let no_messages: [&[u8]; 6] =
            [b"", b"\x81", b"\x89\x00", b"\x01\x00", b"\x81\x80abcd", b"\x81\x7e\x00\x01x"];
        no_messages.into_iter().for_each(|bytes| assert!(!is_server_message(bytes, false), "{bytes:?}"));
        assert!(!is_server_message(&[0x81, 127, 255, 255, 255, 255, 255, 255, 255, 255], false));
    }

    #[test]
    fn decodes_what_tungstenite_encodes_and_asks_for_more_before() {
        for opcode in OPCODES {
            let place =
                if opcode == Opcode::Continuation { Place::WithinMessage } else { Place::BetweenMessages };
            for length in LENGTHS.into_iter().filter(|length| fits(opcode, *length)) {
                let mask = [1, 2, 3, 4];
                let oracle = Oracle { opcode: opcode.into(), mask: Some(mask), ..Oracle::default() };
                let mut bytes = Vec::new();
                oracle.format(length as u64, &mut bytes).unwrap();
                let expected =
                    FrameHeader { fin: true, compressed: false, opcode, mask, payload_bytes: length as u64 };
                assert_eq!(decode_header(&bytes, place), Ok(Some((expected, bytes.len()))));
                for cut in 0..bytes.len() {
                    assert_eq!(
                        decode_header(&bytes[..cut], place),
                        Ok(None),
                        "{opcode:?} {length} cut at {cut}"
                    );
                }
            }
        }
    }

    #[test]
    fn finds_the_boundaries_of_frames_in_a_buffer() {
        let mut buffer = Vec::new();
        for length in [0, 5, 125, 126, 300, 65535, 65536] {
            let mut header = [0; SERVER_HEADER_BYTES_MAX];
            let header_bytes = encode_header(Opcode::Binary, length, &mut header);
            buffer.extend_from_slice(&header[..header_bytes]);
            buffer.resize(buffer.len() + length, 0xff);
        }
        let (mut at, mut frames) = (0, 0);
        while at < buffer.len() {
            at += frame_len(&buffer[at..]);
            frames += 1;
        }
        assert_eq!((at, frames), (buffer.len(), 7));
    }
}
