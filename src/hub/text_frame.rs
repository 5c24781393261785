//! Frames as servers send them, built in place: the payload is written first, then its header before it. PURE.

use crate::ws::frame::{Opcode, SERVER_HEADER_BYTES_MAX, encode_header};

use super::batch::{ByteRange, byte_range};

/// Appends a whole text frame whose payload `write` appends, and says where the frame is; up to eight bytes before it
/// are left unused, since its header's length is known last.
pub(super) fn append_text_frame(bytes: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> ByteRange {
    append_frame(bytes, Opcode::Text, write)
}

/// The same of a frame of another kind.
pub(super) fn append_frame(
    bytes: &mut Vec<u8>,
    opcode: Opcode,
    write: impl FnOnce(&mut Vec<u8>),
) -> ByteRange {
    let reserved = bytes.len();
    bytes.extend_from_slice(&[0; SERVER_HEADER_BYTES_MAX]);
    let payload = bytes.len();
    write(bytes);
    let payload_len = bytes.len() - payload;
    let mut header = [0; SERVER_HEADER_BYTES_MAX];
    let header_len = encode_header(opcode, payload_len, &mut header);
    let start = reserved + SERVER_HEADER_BYTES_MAX - header_len;
    bytes[start..payload].copy_from_slice(&header[..header_len]);
    byte_range(start, header_len + payload_len)
}

/// Makes `frame` one whole text frame and nothing else.
pub(super) fn replace_with_text_frame(frame: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    replace_with_frame(frame, |bytes| append_text_frame(bytes, write));
}

/// The same of the frame that `append` appends.
pub(super) fn replace_with_frame(frame: &mut Vec<u8>, append: impl FnOnce(&mut Vec<u8>) -> ByteRange) {
    frame.clear();
    let range = append(frame);
    frame.drain(..range.start as usize);
}
