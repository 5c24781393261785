//! What a server says on one connection, as it comes: the answer to the upgrade, then frames. PURE.
//! Invariant: nothing is told twice and nothing before it is whole; after a refusal or a close frame nothing is told.

use crate::frame::{self, FrameFault, Header};

/// The longest answer to an upgrade that is waited for, in bytes.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// What an answer says in its head that grants the compression of messages, RFC 7692 §7.
const DEFLATE: &[u8] = b"permessage-deflate";

/// Something whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard<'a> {
    /// The upgrade's answer; 101 opens the connection.
    Answer {
        status: u16,
        has_deflate: bool,
    },
    Message(&'a [u8]),
    Ping(&'a [u8]),
    /// With its code, where it has one. RFC 6455 §5.5.1.
    Close(Option<u16>),
}

/// Why what came is nothing that a server may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Misheard {
    Answer,
    Frame(FrameFault),
    /// A fragment, a masked frame, or an opcode that nothing here expects.
    Header(Header),
}

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Ear {
    received: Vec<u8>,
    taken: usize,
    stage: Stage,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    #[default]
    Answer,
    Frames,
    Over,
}

impl Ear {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.stage == Stage::Over {
            return;
        }
        self.received.drain(..self.taken);
        self.taken = 0;
        self.received.extend_from_slice(bytes);
    }

    /// The next whole thing among what was pushed; call until `None`.
    pub(crate) fn next(&mut self) -> Result<Option<Heard<'_>>, Misheard> {
        match self.stage {
            Stage::Answer => self.next_answer(),
            Stage::Frames => self.next_frame(),
            Stage::Over => Ok(None),
        }
    }

    fn next_answer(&mut self) -> Result<Option<Heard<'_>>, Misheard> {
        let Some(end) = memchr::memmem::find(&self.received, b"\r\n\r\n") else {
            return if ANSWER_BYTES_MAX < self.received.len() { Err(Misheard::Answer) } else { Ok(None) };
        };
        let head = &self.received[..end];
        let status = status(head).ok_or(Misheard::Answer)?;
        let has_deflate = memchr::memmem::find(head, DEFLATE).is_some();
        self.taken = end + 4;
        self.stage = if status == 101 { Stage::Frames } else { Stage::Over };
        Ok(Some(Heard::Answer { status, has_deflate }))
    }

    fn next_frame(&mut self) -> Result<Option<Heard<'_>>, Misheard> {
        loop {
            let rest = &self.received[self.taken..];
            let header = frame::decode(rest).map_err(Misheard::Frame)?;
            let Some(header) = header.filter(|header| header.frame_bytes() <= rest.len()) else {
                return Ok(None);
            };
            if !header.fin || header.mask.is_some() {
                return Err(Misheard::Header(header));
            }
            let payload = self.taken + header.header_bytes..self.taken + header.frame_bytes();
            self.taken = payload.end;
            match header.opcode {
                frame::PONG => {}
                frame::TEXT | frame::BINARY => return Ok(Some(Heard::Message(&self.received[payload]))),
                frame::PING => return Ok(Some(Heard::Ping(&self.received[payload]))),
                frame::CLOSE => {
                    self.stage = Stage::Over;
                    return Ok(Some(Heard::Close(frame::close_code(&self.received[payload]))));
                }
                _ => return Err(Misheard::Header(header)),
            }
        }
    }
}

/// The status of an answer's first line, RFC 9112 §4.
fn status(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.1 ")?;
    let digits = rest.get(..3).filter(|_| rest.get(3).is_none_or(|byte| matches!(byte, b' ' | b'\r')))?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRANTED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";

    /// All that is heard when `bytes` come in pieces of `step`.
    fn heard(bytes: &[u8], step: usize) -> Vec<String> {
        let mut ear = Ear::default();
        let mut told = Vec::new();
        for piece in bytes.chunks(step) {
            ear.push(piece);
            loop {
                match ear.next() {
                    Ok(None) => break,
                    Ok(Some(heard)) => told.push(format!("{heard:?}")),
                    Err(misheard) => {
                        told.push(format!("{misheard:?}"));
                        return told;
                    }
                }
            }
        }
        told
    }

    #[test]
    fn hears_the_same_however_the_bytes_are_split() {
        let mut bytes = GRANTED.to_vec();
        for (opcode, payload) in
            [(frame::TEXT, &b"one"[..]), (frame::PING, b"?"), (frame::PONG, b""), (frame::CLOSE, &[3, 232])]
        {
            frame::encode_server(opcode, payload, &mut bytes);
        }
        frame::encode_server(frame::TEXT, b"never told", &mut bytes);
        let whole = heard(&bytes, bytes.len());
        assert_eq!(whole.len(), 4, "{whole:?}");
        assert_eq!(whole[3], "Close(Some(1000))");
        for step in 1..bytes.len() {
            assert_eq!(heard(&bytes, step), whole, "{step} bytes at a time");
        }
    }

    #[test]
    fn after_a_refusal_nothing_is_told() {
        let refused = b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 2\r\n\r\nno\x81\x00";
        assert_eq!(heard(refused, 7), ["Answer { status: 431, has_deflate: false }"]);
    }

    #[test]
    fn a_granted_extension_is_noticed() {
        let granted = b"HTTP/1.1 101 x\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
        assert_eq!(heard(granted, 9), ["Answer { status: 101, has_deflate: true }"]);
    }

    #[test]
    fn what_no_server_may_say_is_misheard() {
        assert_eq!(heard(b"SSH-2.0-x\r\n\r\n", 50), ["Answer"]);
        assert_eq!(heard(b"HTTP/1.1 1012\r\n\r\n", 50), ["Answer"]);
        let mut masked = GRANTED.to_vec();
        frame::encode_client(frame::TEXT, b"x", &mut masked);
        assert!(heard(&masked, 500)[1].starts_with("Header"), "{:?}", heard(&masked, 500));
        let mut reserved = GRANTED.to_vec();
        reserved.extend_from_slice(&[0xc1, 0]);
        assert_eq!(heard(&reserved, 500)[1], "Frame(ReservedBits)");
    }
}
