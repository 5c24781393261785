//! What a server says on one connection, as it comes: the answer to the upgrade, then messages, whole ones and those that come
//! in fragments. PURE. It copies nothing but what a read cuts in two. All clients of this program that count what is wrong hear by
//! it; those of [`crate::client`], to which a server's fault is the end, do not.
//! Invariants: nothing is told twice and nothing before it is whole; after a refusal or a close frame nothing is told.

use memchr::memmem;

use crate::frame::{self, FrameFault, Header};
use crate::wire;

/// What an answer says in its head that grants the compression of messages.
const DEFLATE: &[u8] = b"permessage-deflate";
/// The longest answer to an upgrade that is waited for, in bytes.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// Something whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard<'a> {
    /// The upgrade's answer; 101 with the right key opens the connection.
    Answer {
        status: u16,
        has_key: bool,
        /// It grants the compression of messages, RFC 7692 §7.
        has_deflate: bool,
    },
    Message(&'a [u8]),
    Ping(&'a [u8]),
    /// With its code, where it has one.
    Close(Option<u16>),
}

/// Why what came is nothing that a server may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Misheard {
    Answer,
    TooLong,
    ReservedBits,
    Masked,
    Opcode,
    Fragment,
}

impl Misheard {
    /// As it is counted.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Misheard::Answer => "protocol: no answer to an upgrade",
            Misheard::TooLong => "protocol: a message above 4 MiB",
            Misheard::ReservedBits => "protocol: reserved bits",
            Misheard::Masked => "protocol: a masked frame",
            Misheard::Opcode => "protocol: an unknown opcode",
            Misheard::Fragment => "protocol: fragments out of order",
        }
    }
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    #[default]
    Answer,
    Frames,
    Over,
}

/// See the file's head.
#[derive(Debug, Default)]
pub(crate) struct Ear {
    /// The begin of something whose rest has not come.
    unfinished: Vec<u8>,
    /// The fragments of a message so far.
    fragments: Vec<u8>,
    is_fragmented: bool,
    stage: Stage,
}

impl Ear {
    /// Of a connection whose upgrade was answered already.
    pub(crate) fn opened() -> Ear {
        Ear { stage: Stage::Frames, ..Ear::default() }
    }

    /// Takes what was read; `tell` gets everything that is whole by now, and says whether it wants more.
    pub(crate) fn take(
        &mut self,
        bytes: &[u8],
        mut tell: impl FnMut(Heard<'_>) -> bool,
    ) -> Result<(), Misheard> {
        if self.unfinished.is_empty() {
            let consumed = self.take_whole(bytes, &mut tell)?;
            if self.stage != Stage::Over {
                self.unfinished.extend_from_slice(&bytes[consumed..]);
            }
            return Ok(());
        }
        let mut unfinished = std::mem::take(&mut self.unfinished);
        unfinished.extend_from_slice(bytes);
        let consumed = self.take_whole(&unfinished, &mut tell)?;
        unfinished.drain(..consumed);
        self.unfinished = unfinished;
        Ok(())
    }

    fn take_whole(
        &mut self,
        bytes: &[u8],
        tell: &mut impl FnMut(Heard<'_>) -> bool,
    ) -> Result<usize, Misheard> {
        let mut consumed = 0;
        loop {
            let rest = &bytes[consumed..];
            let taken = match self.stage {
                Stage::Answer => self.take_answer(rest, tell)?,
                Stage::Frames => self.take_frame(rest, tell)?,
                Stage::Over => return Ok(bytes.len()),
            };
            let Some(taken) = taken else { return Ok(consumed) };
            consumed += taken;
        }
    }

    fn take_answer(
        &mut self,
        rest: &[u8],
        tell: &mut impl FnMut(Heard<'_>) -> bool,
    ) -> Result<Option<usize>, Misheard> {
        let Some(end) = memmem::find(rest, b"\r\n\r\n") else {
            return if ANSWER_BYTES_MAX < rest.len() { Err(Misheard::Answer) } else { Ok(None) };
        };
        let head = &rest[..end];
        let status = status(head).ok_or(Misheard::Answer)?;
        let has_key = memmem::find(head, wire::ACCEPT).is_some();
        let has_deflate = memmem::find(head, DEFLATE).is_some();
        self.stage = if status == 101 { Stage::Frames } else { Stage::Over };
        self.tell(tell, Heard::Answer { status, has_key, has_deflate });
        Ok(Some(end + 4))
    }

    fn take_frame(
        &mut self,
        rest: &[u8],
        tell: &mut impl FnMut(Heard<'_>) -> bool,
    ) -> Result<Option<usize>, Misheard> {
        let header = frame::decode(rest).map_err(|fault| match fault {
            FrameFault::ReservedBits => Misheard::ReservedBits,
            FrameFault::TooLong => Misheard::TooLong,
        })?;
        let Some(header) = header.filter(|header| header.frame_bytes() <= rest.len()) else {
            return Ok(None);
        };
        if header.mask.is_some() {
            return Err(Misheard::Masked);
        }
        let payload = &rest[header.header_bytes..header.frame_bytes()];
        match header.opcode {
            frame::PONG => {}
            frame::PING => self.tell(tell, Heard::Ping(payload)),
            frame::CLOSE => {
                self.stage = Stage::Over;
                self.tell(tell, Heard::Close(frame::close_code(payload)));
            }
            CONTINUATION | frame::TEXT | frame::BINARY => self.take_data(header, payload, tell)?,
            _ => return Err(Misheard::Opcode),
        }
        Ok(Some(header.frame_bytes()))
    }

    /// A message, or a fragment of one, RFC 6455 §5.4.
    fn take_data(
        &mut self,
        header: Header,
        payload: &[u8],
        tell: &mut impl FnMut(Heard<'_>) -> bool,
    ) -> Result<(), Misheard> {
        let is_more = header.opcode == CONTINUATION;
        if is_more != self.is_fragmented {
            return Err(Misheard::Fragment);
        }
        if header.fin && !is_more {
            self.tell(tell, Heard::Message(payload));
            return Ok(());
        }
        if frame::PAYLOAD_BYTES_MAX < self.fragments.len() + payload.len() {
            return Err(Misheard::TooLong);
        }
        self.fragments.extend_from_slice(payload);
        self.is_fragmented = !header.fin;
        if header.fin {
            let message = std::mem::take(&mut self.fragments);
            self.tell(tell, Heard::Message(&message));
        }
        Ok(())
    }

    fn tell(&mut self, tell: &mut impl FnMut(Heard<'_>) -> bool, heard: Heard<'_>) {
        if !tell(heard) {
            self.stage = Stage::Over;
        }
    }
}

/// The rest of a fragmented message.
const CONTINUATION: u8 = 0x0;

/// The status of an answer's first line, RFC 9112 §4.
fn status(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.1 ").or_else(|| head.strip_prefix(b"HTTP/1.0 "))?;
    let digits = rest.get(..3).filter(|_| rest.get(3).is_none_or(|byte| matches!(byte, b' ' | b'\r')))?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRANTED: &[u8] =
        b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

    /// All that is heard when `bytes` come in pieces of `step`.
    fn heard(bytes: &[u8], step: usize) -> Vec<String> {
        let mut ear = Ear::default();
        let mut told = Vec::new();
        for piece in bytes.chunks(step) {
            let taken = ear.take(piece, |heard| {
                told.push(format!("{heard:?}"));
                true
            });
            if let Err(misheard) = taken {
                told.push(format!("{misheard:?}"));
                return told;
            }
        }
        told
    }

    fn frame_of(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first, u8::try_from(payload.len()).unwrap()];
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn hears_the_same_however_the_bytes_are_split() {
        let mut bytes = GRANTED.to_vec();
        for (first, payload) in [
            (0x81, &b"one"[..]),
            (0x01, b"t"),
            (0x89, b"?"),
            (0x00, b"w"),
            (0x80, b"o"),
            (0x8a, b""),
            (0x88, &[3, 232]),
            (0x81, b"never told"),
        ] {
            bytes.extend(frame_of(first, payload));
        }
        let whole = heard(&bytes, bytes.len());
        let message = |text: &str| format!("{:?}", Heard::Message(text.as_bytes()));
        assert_eq!(whole[0], "Answer { status: 101, has_key: true, has_deflate: false }");
        assert_eq!(
            whole[1..],
            [
                message("one"),
                format!("{:?}", Heard::Ping(b"?")),
                message("two"),
                "Close(Some(1000))".to_owned()
            ]
        );
        for step in 1..bytes.len() {
            assert_eq!(heard(&bytes, step), whole, "{step} bytes at a time");
        }
    }

    #[test]
    fn after_a_refusal_nothing_is_told() {
        let refused = b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 2\r\n\r\nno\x81\x00";
        assert_eq!(heard(refused, 7), ["Answer { status: 431, has_key: false, has_deflate: false }"]);
    }

    #[test]
    fn a_granted_extension_and_a_wrong_key_are_noticed() {
        let granted = b"HTTP/1.1 101 x\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
        assert_eq!(heard(granted, 9), ["Answer { status: 101, has_key: false, has_deflate: true }"]);
    }

    #[test]
    fn who_wants_no_more_is_told_no_more() {
        let mut bytes = GRANTED.to_vec();
        bytes.extend(frame_of(0x81, b"one").repeat(3));
        let mut count = 0;
        let mut ear = Ear::default();
        let taken = ear.take(&bytes, |_| {
            count += 1;
            count < 2
        });
        assert_eq!((taken, count), (Ok(()), 2));
    }

    #[test]
    fn what_no_server_may_say_is_misheard() {
        let second = |bytes: &[u8]| heard(&[GRANTED, bytes].concat(), 500)[1].clone();
        assert_eq!(heard(b"SSH-2.0-x\r\n\r\n", 50), ["Answer"]);
        assert_eq!(heard(b"HTTP/1.1 1012\r\n\r\n", 50), ["Answer"]);
        assert_eq!(second(&[0x81, 0x81, 1, 2, 3, 4, 5]), "Masked");
        assert_eq!(second(&[0xc1, 0]), "ReservedBits");
        assert_eq!(second(&[0x83, 0]), "Opcode");
        assert_eq!(second(&[0x80, 0]), "Fragment");
        assert_eq!(second(&[0x01, 0, 0x81, 0]), "Fragment");
    }
}
