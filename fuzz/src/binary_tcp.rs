//! The byte stream of a connection that speaks binary TCP, and what is sent on one.
//!
//! Property: whatever the bytes, the receiver does not panic; a step takes at least one byte and no more than there are; what it holds
//! stays within the limit; events and fault are those of a plain reading of all bytes at once, in whatever reads they come. And the
//! messages that frames of a WebSocket hold come out the same after they were made length-prefixed, in sends of any size.
//!
//! Input: a byte that chooses the limit, and whether lengths are made true; the cuts (`pieces`); the bytes.

use tickring::binary_tcp::{BINARY_BIT, Event, Fault, LENGTH_BYTES, Receiver, headroom, reframe};
use tickring::ws::frame::{Opcode, SERVER_HEADER_BYTES_MAX, encode_header};

use crate::pieces;

const LIMITS: [u32; 4] = [65_536, 300, 16, 1];
/// A send takes at least so many bytes.
const SEND_BYTES_MIN: usize = 128;
/// `{"jsonrpc":"2.0"}`, and a heartbeat of SBE: no message is shorter.
const MESSAGE_BYTES_MIN: usize = 17;

/// Its messages, and the fault that ended it.
type Meaning = (Vec<Message>, Option<Fault>);

#[derive(Clone, Debug, PartialEq)]
enum Message {
    Text(String),
    Binary(Vec<u8>),
    Heartbeat,
}

/// See the file's head.
///
/// # Panics
/// Where the property does not hold.
pub fn check(input: &[u8]) {
    let Some((choice, rest)) = input.split_first() else { return };
    let limit = LIMITS[usize::from(choice & 3)];
    let (lengths, rest) = pieces::take_lengths(rest);
    let bytes = if choice & 4 == 0 { rest.to_vec() } else { frames(rest) };
    let expected = read_naively(&bytes, limit);
    assert_eq!(receive(limit, [&bytes[..]]), expected, "in one read");
    assert_eq!(receive(limit, pieces::cut(lengths, &bytes)), expected, "in reads of {lengths:?}");
    assert_eq!(receive(limit, bytes.chunks(1)), expected, "byte by byte");
    check_sent(&expected.0, SEND_BYTES_MIN + usize::from(*choice));
}

/// Frames with true lengths: of each a byte of length, from 0x80 on 8 times what is above that, and its message as the input has it; one of
/// an odd length begins with 0 where it is no text.
fn frames(mut rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let [len, after @ ..] = rest {
        let len = if *len < 0x80 { usize::from(*len) } else { 8 * usize::from(*len & 0x7f) };
        let (message, after) = after.split_at(len.min(after.len()));
        let kind = if len % 2 == 1 && message.first() == Some(&0) { BINARY_BIT } else { 0 };
        let len = u32::try_from(len).expect("frames of an input are short");
        out.extend_from_slice(&(kind | len).to_be_bytes());
        out.extend_from_slice(message);
        rest = after;
    }
    out
}

fn receive<'r>(limit: u32, reads: impl IntoIterator<Item = &'r [u8]>) -> Meaning {
    let mut receiver = Receiver::new(limit);
    let mut messages = Vec::new();
    for mut read in reads {
        while !read.is_empty() {
            match receiver.step(read) {
                Ok((taken, event)) => {
                    assert!((1..=read.len()).contains(&taken), "a step took {taken} bytes of {}", read.len());
                    assert!(receiver.incomplete_bytes() <= limit as usize);
                    read = &read[taken..];
                    messages.extend(event.map(|event| match event {
                        Event::Text(text) => Message::Text(text.into_owned()),
                        Event::Binary(bytes) => Message::Binary(bytes.into_owned()),
                        Event::Heartbeat => Message::Heartbeat,
                    }));
                }
                Err(fault) => {
                    assert_eq!(receiver.incomplete_bytes(), 0);
                    assert_eq!(receiver.step(read), Ok((read.len(), None)), "nothing is read after a fault");
                    return (messages, Some(fault));
                }
            }
        }
    }
    (messages, None)
}

fn read_naively(mut bytes: &[u8], limit: u32) -> Meaning {
    let mut messages = Vec::new();
    while bytes.len() >= LENGTH_BYTES {
        let told = bytes[..LENGTH_BYTES].iter().fold(0_u64, |length, byte| length << 8 | u64::from(*byte));
        let (is_binary, length) = (told >= 1 << 31, told % (1 << 31));
        if length > u64::from(limit) {
            return (messages, Some(Fault::TooLong));
        }
        let length = usize::try_from(length).expect("within the limit");
        let Some(message) = bytes.get(LENGTH_BYTES..LENGTH_BYTES + length) else { break };
        match String::from_utf8(message.to_vec()) {
            _ if is_binary => messages.push(Message::Binary(message.to_vec())),
            Ok(text) if text.is_empty() => messages.push(Message::Heartbeat),
            Ok(text) => messages.push(Message::Text(text)),
            Err(_) => return (messages, Some(Fault::NotUtf8)),
        }
        bytes = &bytes[LENGTH_BYTES + length..];
    }
    (messages, None)
}

/// Sends the messages as a hub does: whole frames, and one that does not fit begun in an empty buffer.
fn check_sent(messages: &[Message], send_bytes: usize) {
    let messages: Vec<&Message> = messages.iter().filter(|message| is_sent(message)).collect();
    let mut stream = Vec::new();
    let mut out = vec![0; send_bytes];
    let room = headroom(send_bytes);
    let mut at = room;
    let mut flush = |out: &mut [u8], at: &mut usize, begun: usize| {
        let written = reframe(out, *at - room, begun);
        stream.extend_from_slice(&out[..written]);
        *at = room;
    };
    for message in &messages {
        let (opcode, payload) = match message {
            Message::Text(text) => (Opcode::Text, text.as_bytes()),
            Message::Binary(bytes) => (Opcode::Binary, &bytes[..]),
            Message::Heartbeat => (Opcode::Ping, &[][..]),
        };
        let mut header = [0; SERVER_HEADER_BYTES_MAX];
        let header_bytes = encode_header(opcode, payload.len(), &mut header);
        let frame = [&header[..header_bytes], payload].concat();
        if frame.len() > send_bytes - at {
            flush(&mut out, &mut at, 0);
        }
        let mut rest = &frame[..];
        let mut begun = 0;
        while !rest.is_empty() {
            let count = rest.len().min(send_bytes - at);
            out[at..at + count].copy_from_slice(&rest[..count]);
            (rest, at) = (&rest[count..], at + count);
            if !rest.is_empty() || begun > 0 {
                flush(&mut out, &mut at, begun);
            }
            begun = rest.len();
        }
    }
    flush(&mut out, &mut at, 0);
    let (told, fault) = read_naively(&stream, u32::MAX);
    assert!(fault.is_none() && told.iter().eq(messages), "what is sent is what was said");
}

/// A hub sends no message that is shorter, and at most one heartbeat a send.
fn is_sent(message: &Message) -> bool {
    match message {
        Message::Text(text) => text.len() >= MESSAGE_BYTES_MIN,
        Message::Binary(bytes) => bytes.len() >= MESSAGE_BYTES_MIN,
        Message::Heartbeat => false,
    }
}
