//! A control frame as it waits to be sent. PURE. Home: the connection that it is for.
//! Invariant: it is one whole frame of a server.

use crate::ws::frame::{Opcode, SERVER_HEADER_BYTES_MAX, encode_header};

/// The largest control frame: two bytes of header and 125 of payload. RFC 6455 §5.5.
pub(super) const CONTROL_FRAME_BYTES_MAX: usize = 127;

/// A whole control frame.
#[derive(Debug)]
pub(super) struct ControlFrame {
    bytes: [u8; CONTROL_FRAME_BYTES_MAX],
    len: u8,
}

impl ControlFrame {
    /// `payload` is at most 125 bytes.
    pub(super) fn of(opcode: Opcode, payload: &[u8]) -> ControlFrame {
        let mut header = [0; SERVER_HEADER_BYTES_MAX];
        let header_len = encode_header(opcode, payload.len(), &mut header);
        ControlFrame::new(&header[..header_len], payload)
    }

    pub(super) fn new(header: &[u8], payload: &[u8]) -> ControlFrame {
        let mut bytes = [0; CONTROL_FRAME_BYTES_MAX];
        let len = header.len() + payload.len();
        bytes[..header.len()].copy_from_slice(header);
        bytes[header.len()..len].copy_from_slice(payload);
        ControlFrame {
            bytes,
            len: u8::try_from(len).expect("invariant: the bytes have just found room in 127"),
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}
