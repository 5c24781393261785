//! The byte stream of a connection after its upgrade.
//!
//! Property: whatever the bytes, the receiver does not panic; a step takes at least one byte and no more than there are; what
//! it holds stays within the limits, and is nothing once the stream has ended; events and fault are those of a reading of
//! RFC 6455, and of RFC 7692 by an own inflater (`inflate`), that is written here, plainly, over all bytes at once, in whatever
//! reads they come: in one, in those that the input asks for, and one by one.
//!
//! Input: a byte that chooses the limits, whether what follows is raw or the grammar of [`frames`], and whether
//! permessage-deflate is agreed on; the cuts (`pieces`); the bytes.

use std::borrow::Cow;

use tickring::ws::deflate::{Agreement, ClientContextTakeover, INFLATER_BYTES, Inflaters, WindowBits};
use tickring::ws::receiver::{Event, ReceiveLimits, Receiver};
use tickring::ws::{CloseCode, CloseFrame, Fault, Opcode};

use crate::inflate::{Stop, inflate_message};
use crate::pieces;

/// A receiver's own record of what is incomplete, beside the bytes: an upper bound.
const RECORD_BYTES_MAX: usize = 256;
const CONTROL_BYTES_MAX: usize = 125;

const LIMITS: [ReceiveLimits; 4] = [
    ReceiveLimits { frame_bytes_max: 65_536, message_bytes_max: 65_536, fragments_max: 1024 },
    ReceiveLimits { frame_bytes_max: 300, message_bytes_max: 500, fragments_max: 4 },
    ReceiveLimits { frame_bytes_max: 16, message_bytes_max: 24, fragments_max: 2 },
    ReceiveLimits { frame_bytes_max: 1, message_bytes_max: 1, fragments_max: 1 },
];

/// What a stream meant: its events, and the fault that ended it.
type Meaning = (Vec<Event<'static>>, Option<Fault>);

/// See the file's head.
///
/// # Panics
/// Where the property does not hold.
pub fn check(input: &[u8]) {
    let Some((choice, rest)) = input.split_first() else { return };
    let limits = LIMITS[usize::from(choice & 3)];
    let (lengths, rest) = pieces::take_lengths(rest);
    let bytes = if choice & 4 == 0 { Cow::Borrowed(rest) } else { Cow::Owned(frames(rest)) };
    let agreement = agreement(*choice);
    let rules = Rules { limits, agreement };
    let expected = read_naively(&bytes, &rules);
    assert_eq!(receive(&rules, [&*bytes]), expected, "in one read");
    assert_eq!(receive(&rules, pieces::cut(lengths, &bytes)), expected, "in reads of {lengths:?}");
    assert_eq!(receive(&rules, bytes.chunks(1)), expected, "byte by byte");
}

/// What holds on the connection.
struct Rules {
    limits: ReceiveLimits,
    agreement: Option<Agreement>,
}

impl Rules {
    /// Bytes of earlier messages that a message may refer to; `None` where it may not.
    fn history_bytes(&self) -> Option<usize> {
        let agreement = self.agreement.as_ref()?;
        let window = agreement.client_window_bits.unwrap_or(WindowBits::MAX);
        (agreement.client_context_takeover == ClientContextTakeover::Allowed).then_some(window.bytes())
    }
}

fn agreement(choice: u8) -> Option<Agreement> {
    let client_context_takeover = match choice & 16 {
        0 => ClientContextTakeover::Refused,
        _ => ClientContextTakeover::Allowed,
    };
    let client_window_bits = if choice & 32 == 0 { None } else { WindowBits::new(8 + (choice >> 6)) };
    let agreement = Agreement { server_window_bits: None, client_window_bits, client_context_takeover };
    (choice & 8 != 0).then_some(agreement)
}

/// Frames with true lengths and masks: of each its first byte, a byte of length (from 0x80 on 8 times what is above that), and
/// its payload as the input has it.
#[must_use]
pub fn frames(mut rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let [first, len, after @ ..] = rest {
        let len = if *len < 0x80 { usize::from(*len) } else { 8 * usize::from(*len & 0x7f) };
        let (payload, after) = after.split_at(len.min(after.len()));
        let mask = [*first, 0x5a, !*first, 0xa5];
        push_frame(&mut out, *first, mask, payload);
        rest = after;
    }
    out
}

/// A masked frame.
pub fn push_frame(out: &mut Vec<u8>, first: u8, mask: [u8; 4], payload: &[u8]) {
    out.push(first);
    match u16::try_from(payload.len()).expect("frames of an input are short") {
        len @ 0..126 => out.push(0x80 | len.to_be_bytes()[1]),
        len => {
            out.push(0x80 | 126);
            out.extend_from_slice(&len.to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

fn receive<'r>(rules: &Rules, reads: impl IntoIterator<Item = &'r [u8]>) -> Meaning {
    let limits = rules.limits;
    let mut receiver = Receiver::new(limits);
    let mut inflaters = Inflaters::new(1);
    if let Some(agreement) = &rules.agreement {
        receiver.agree_on_deflate(agreement);
    }
    let mut events = Vec::new();
    for read in reads {
        let mut input = read.to_vec();
        let mut at = 0;
        while at < input.len() {
            let rest = input.len() - at;
            match receiver.step_inflating(&mut input[at..], &mut inflaters) {
                Ok((taken, event)) => {
                    assert!((1..=rest).contains(&taken), "a step took {taken} bytes of {rest}");
                    at += taken;
                    events.extend(event.map(owned));
                }
                Err(fault) => {
                    assert!(receiver.is_closed() && receiver.buffered_bytes() == 0);
                    assert_eq!(inflaters.lent(), 0);
                    let mut more = [0x89];
                    let after = receiver.step_inflating(&mut more, &mut inflaters);
                    assert_eq!(after, Ok((1, None)), "nothing is read after a fault");
                    return (events, Some(fault));
                }
            }
            let held = receiver.buffered_bytes();
            let deflate_bytes = INFLATER_BYTES + rules.history_bytes().unwrap_or_default();
            let deflate_bytes = if rules.agreement.is_some() { deflate_bytes } else { 0 };
            let held_max =
                limits.message_bytes_max as usize + RECORD_BYTES_MAX + CONTROL_BYTES_MAX + deflate_bytes;
            assert!(held <= held_max, "{held} bytes are held");
            assert!(!receiver.is_closed() || held == 0, "{held} bytes are held after the end");
        }
    }
    receiver.release(&mut inflaters);
    assert_eq!(inflaters.lent(), 0, "an inflater is not given back");
    (events, None)
}

fn owned(event: Event<'_>) -> Event<'static> {
    match event {
        Event::Text(text) => Event::Text(Cow::Owned(text.into_owned())),
        Event::Binary(bytes) => Event::Binary(Cow::Owned(bytes.into_owned())),
        Event::Ping(bytes) => Event::Ping(Cow::Owned(bytes.into_owned())),
        Event::Pong(bytes) => Event::Pong(Cow::Owned(bytes.into_owned())),
        Event::Close(CloseFrame { code, reason }) => {
            Event::Close(CloseFrame { code, reason: Cow::Owned(reason.into_owned()) })
        }
    }
}

/// A message whose last frame has not come.
struct Unfinished {
    is_text: bool,
    is_compressed: bool,
    /// As it came.
    payload: Vec<u8>,
    frames: u32,
}

/// What all bytes of a stream mean.
fn read_naively(mut bytes: &[u8], rules: &Rules) -> Meaning {
    let mut events = Vec::new();
    let mut unfinished = None;
    let mut history = Vec::new();
    loop {
        match take_frame(bytes, &mut unfinished, &mut history, rules) {
            Err(fault) => return (events, Some(fault)),
            Ok(None) => return (events, None),
            Ok(Some((taken, event))) => {
                bytes = &bytes[taken..];
                let closes = matches!(event, Some(Event::Close(_)));
                events.extend(event);
                if closes {
                    return (events, None);
                }
            }
        }
    }
}

/// A header that has come whole.
struct Header<'b> {
    opcode: Opcode,
    is_compressed: bool,
    fin: bool,
    mask: &'b [u8],
    bytes: usize,
    payload_bytes: usize,
}

/// Reads the header at the front, or gives `None` where it does not end here. A fault is seen with the first byte that shows
/// it, and what is too much before any of it comes.
fn take_header<'b>(
    bytes: &'b [u8],
    unfinished: Option<&Unfinished>,
    rules: &Rules,
) -> Result<Option<Header<'b>>, Fault> {
    let limits = rules.limits;
    let Some(first) = bytes.first() else { return Ok(None) };
    // RSV1 stands on the first frame of a message that is compressed (RFC 7692 §6).
    let may_compress = rules.agreement.is_some() && unfinished.is_none() && matches!(first & 0x0f, 1 | 2);
    let is_compressed = may_compress && first & 0x40 != 0;
    let opcode = check_first(if is_compressed { first & !0x40 } else { *first }, unfinished.is_some())?;
    let Some(second) = bytes.get(1) else { return Ok(None) };
    if second & 0x80 == 0 {
        return Err(Fault::NotMasked);
    }
    let long = match second & 0x7f {
        126 | 127 if opcode.is_control() => return Err(Fault::ControlTooLong),
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let Some(length) = bytes.get(2..2 + long) else { return Ok(None) };
    let length = length.iter().fold(0, |length: u64, byte| length << 8 | u64::from(*byte));
    let len = match long {
        0 => u64::from(second & 0x7f),
        8 if length >> 63 == 1 => return Err(Fault::LengthOverflow),
        2 if length < 126 => return Err(Fault::LengthNotMinimal),
        8 if length < 65_536 => return Err(Fault::LengthNotMinimal),
        _ => length,
    };
    let Some(mask) = bytes.get(2 + long..6 + long) else { return Ok(None) };
    if !opcode.is_control() {
        let (before, frames) =
            unfinished.map_or((0, 0), |unfinished| (unfinished.payload.len() as u64, unfinished.frames));
        if len > u64::from(limits.frame_bytes_max) {
            return Err(Fault::FrameTooBig);
        }
        let compressed = is_compressed || unfinished.is_some_and(|unfinished| unfinished.is_compressed);
        if !compressed && before + len > u64::from(limits.message_bytes_max) {
            return Err(Fault::MessageTooBig);
        }
        if frames >= limits.fragments_max {
            return Err(Fault::TooManyFragments);
        }
    }
    let payload_bytes = usize::try_from(len).expect("within the limits");
    Ok(Some(Header { opcode, is_compressed, fin: first & 0x80 != 0, mask, bytes: 6 + long, payload_bytes }))
}

/// Reads the frame at the front: its length and its event, or `None` where it does not end here.
fn take_frame(
    bytes: &[u8],
    unfinished: &mut Option<Unfinished>,
    history: &mut Vec<u8>,
    rules: &Rules,
) -> Result<Option<(usize, Option<Event<'static>>)>, Fault> {
    let Some(header) = take_header(bytes, unfinished.as_ref(), rules)? else { return Ok(None) };
    let arrived = &bytes[header.bytes..];
    let is_whole = arrived.len() >= header.payload_bytes;
    let masked = &arrived[..header.payload_bytes.min(arrived.len())];
    let payload: Vec<u8> =
        masked.iter().zip(header.mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    let taken = header.bytes + header.payload_bytes;
    if header.opcode.is_control() {
        return if is_whole { Ok(Some((taken, Some(control(header.opcode, payload)?)))) } else { Ok(None) };
    }
    let (is_text, is_compressed) = (header.opcode == Opcode::Text, header.is_compressed);
    let message =
        unfinished.get_or_insert(Unfinished { is_text, is_compressed, payload: Vec::new(), frames: 0 });
    message.payload.extend_from_slice(&payload);
    message.frames += u32::from(is_whole);
    let ends = is_whole && header.fin;
    let content = content(message, ends, history, rules)?;
    if !is_whole {
        return Ok(None);
    }
    if !ends {
        return Ok(Some((taken, None)));
    }
    let is_text = message.is_text;
    *unfinished = None;
    let event = if is_text {
        Event::Text(Cow::Owned(String::from_utf8(content).map_err(|_| Fault::TextNotUtf8)?))
    } else {
        Event::Binary(Cow::Owned(content))
    };
    Ok(Some((taken, Some(event))))
}

/// What a message says as far as it has come.
fn content(message: &Unfinished, ends: bool, history: &mut Vec<u8>, rules: &Rules) -> Result<Vec<u8>, Fault> {
    let bytes_max = rules.limits.message_bytes_max as usize;
    let (content, end) = if message.is_compressed {
        let known = rules.history_bytes().map(|bytes_max| (&history[..], bytes_max));
        inflate_message(&message.payload, ends, known, bytes_max)
    } else {
        (message.payload.clone(), Ok(()))
    };
    let stopped = match end {
        Ok(()) | Err(Stop::More) => None,
        Err(Stop::Invalid) => Some(Fault::DeflateInvalid),
        Err(Stop::TooMuch) => Some(Fault::MessageTooBig),
    };
    if message.is_text
        && let Err(error) = std::str::from_utf8(&content)
        && (error.error_len().is_some() || (ends && stopped.is_none()))
    {
        return Err(Fault::TextNotUtf8);
    }
    if let (true, true, Some(kept)) = (ends, message.is_compressed, rules.history_bytes()) {
        history.extend_from_slice(&content);
        history.drain(..history.len().saturating_sub(kept));
    }
    stopped.map_or(Ok(content), Err)
}

fn check_first(first: u8, within_message: bool) -> Result<Opcode, Fault> {
    if first & 0x70 != 0 {
        return Err(Fault::ReservedBits);
    }
    let opcode = match first & 0x0f {
        0 => Opcode::Continuation,
        1 => Opcode::Text,
        2 => Opcode::Binary,
        8 => Opcode::Close,
        9 => Opcode::Ping,
        10 => Opcode::Pong,
        _ => return Err(Fault::ReservedOpcode),
    };
    match opcode {
        Opcode::Close | Opcode::Ping | Opcode::Pong if first & 0x80 == 0 => Err(Fault::ControlFragmented),
        Opcode::Continuation if !within_message => Err(Fault::ContinuationWithoutStart),
        Opcode::Text | Opcode::Binary if within_message => Err(Fault::DataWithinMessage),
        Opcode::Continuation
        | Opcode::Text
        | Opcode::Binary
        | Opcode::Close
        | Opcode::Ping
        | Opcode::Pong => Ok(opcode),
    }
}

fn control(opcode: Opcode, payload: Vec<u8>) -> Result<Event<'static>, Fault> {
    if opcode != Opcode::Close {
        let payload = Cow::Owned(payload);
        return Ok(if opcode == Opcode::Ping { Event::Ping(payload) } else { Event::Pong(payload) });
    }
    let Some((high, reason)) = payload.split_first() else {
        return Ok(Event::Close(CloseFrame { code: None, reason: Cow::Borrowed("") }));
    };
    let Some((low, reason)) = reason.split_first() else { return Err(Fault::CloseTruncated) };
    let number = u16::from_be_bytes([*high, *low]);
    let may_be_sent = matches!(number, 1000..=1003 | 1007..=1014 | 3000..=4999);
    let code = CloseCode::received(number);
    assert_eq!(code.map(CloseCode::value), may_be_sent.then_some(number), "close code {number}");
    let Some(code) = code else { return Err(Fault::CloseCodeIllegal) };
    let reason = String::from_utf8(reason.to_vec()).map_err(|_| Fault::CloseReasonNotUtf8)?;
    Ok(Event::Close(CloseFrame { code: Some(code), reason: Cow::Owned(reason) }))
}
