//! The venue's side of a venue link, in its binary form, as little as a load needs. PURE.
//! A second implementation on purpose, written from docs/venue-link.md: it shares nothing with the server under test.
//! Invariant: `decode` never reads past the bytes it was given, and takes no message above its bound.

use crate::failure::{Failure, Result};

/// The instrument that the load's venue lists: such that the orders' checks have nothing against [`PRICE`] and [`AMOUNT`].
pub(crate) const INSTRUMENT: &str = "BTC-PERPETUAL";
/// Its best bid, at which the load's orders rest.
pub(crate) const PRICE: u64 = 65_000;
/// The amount of each order.
pub(crate) const AMOUNT: u64 = 10;
/// How the venue is called, and the key that says so, in the server's configuration.
pub(crate) const VENUE: &str = "load";
pub(crate) const KEY: &str = "loadtest";
/// How often the load's venue says that it is there, at least.
pub(crate) const HEARTBEAT_MS: u32 = 1_000;

/// The binary form announces itself by this byte.
const PREAMBLE: u8 = 0x01;
const LENGTH_BYTES: usize = 4;
/// Bytes of a message, length included; more is a fault of the server.
const MESSAGE_BYTES_MAX: usize = 65_536;
/// Prices and amounts are in billionths.
const UNIT: u64 = 1_000_000_000;

pub(crate) const HELLO: u8 = 0x01;
pub(crate) const WELCOME: u8 = 0x02;
const REJECT: u8 = 0x03;
const BYE: u8 = 0x04;
const HEARTBEAT: u8 = 0x05;
const INSTRUMENTS: u8 = 0x10;
const TICK: u8 = 0x11;
pub(crate) const NEW: u8 = 0x20;
pub(crate) const CANCEL: u8 = 0x22;
pub(crate) const ACCEPTED: u8 = 0x30;
pub(crate) const CANCELLED: u8 = 0x35;
/// Of the reasons of `cancelled`: it was asked for.
const ASKED: u8 = 1;
/// Of the kinds of instruments and the sides.
const FUTURE: u8 = 0;

/// Where a numbered message has its number, its length and type before it.
pub(crate) const SEQ_AT: usize = LENGTH_BYTES + 1;

/// A whole message at the start of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: u8,
    /// Length included.
    pub(crate) message_bytes: usize,
}

/// What the gateway says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    Welcome,
    Heartbeat,
    New { seq: u64, order: u64 },
    Cancel { seq: u64, order: u64 },
}

/// The message at the start of `bytes`, once all of it is there.
pub(crate) fn decode(bytes: &[u8]) -> Result<Option<Header>> {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    if length == 0 || MESSAGE_BYTES_MAX - LENGTH_BYTES < length {
        return Err(Failure::Protocol(format!("a message of {length} bytes on the venue link")));
    }
    let kind = rest.first().filter(|_| length <= rest.len());
    Ok(kind.map(|kind| Header { kind: *kind, message_bytes: LENGTH_BYTES + length }))
}

/// What a whole message says.
pub(crate) fn read(message: &[u8]) -> Result<Heard> {
    let kind = message[LENGTH_BYTES];
    let number = |at: usize| {
        let bytes = message.get(at..).and_then(|rest| rest.first_chunk());
        bytes.map(|bytes| u64::from_le_bytes(*bytes))
    };
    let numbers = number(SEQ_AT).zip(number(SEQ_AT + 8));
    match (kind, numbers) {
        (WELCOME, _) => Ok(Heard::Welcome),
        (HEARTBEAT, _) => Ok(Heard::Heartbeat),
        (NEW, Some((seq, order))) => Ok(Heard::New { seq, order }),
        (CANCEL, Some((seq, order))) => Ok(Heard::Cancel { seq, order }),
        (REJECT | BYE, _) => {
            let reason = String::from_utf8_lossy(message.get(SEQ_AT + 1..).unwrap_or_default());
            Err(Failure::Protocol(format!("the venue link was ended: {reason}")))
        }
        (kind, _) => Err(Failure::Protocol(format!("message {kind:#04x} on the venue link is not expected"))),
    }
}

/// Appends the preamble and the hello.
pub(crate) fn write_hello(session: &str, out: &mut Vec<u8>) {
    out.push(PREAMBLE);
    write(HELLO, out, |out| {
        out.extend_from_slice(&1_u16.to_le_bytes());
        out.extend_from_slice(&HEARTBEAT_MS.to_le_bytes());
        out.extend_from_slice(&1_u64.to_le_bytes());
        for text in [VENUE, KEY, session, ""] {
            write_text(text, out);
        }
    });
}

/// Appends the welcome of a gateway that remembers nothing.
pub(crate) fn write_welcome(out: &mut Vec<u8>) {
    write(WELCOME, out, |out| {
        out.extend_from_slice(&1_u16.to_le_bytes());
        out.extend_from_slice(&HEARTBEAT_MS.to_le_bytes());
        out.extend_from_slice(&1_u64.to_le_bytes());
        out.push(0);
        write_text("limit", out);
        write_text("limit.1", out);
    });
}

/// Appends the instrument, and the best prices that make a market of it.
pub(crate) fn write_market(time_ms: u64, out: &mut Vec<u8>) {
    let billionths = |units: u64, out: &mut Vec<u8>| out.extend_from_slice(&(units * UNIT).to_le_bytes());
    write(INSTRUMENTS, out, |out| {
        out.extend_from_slice(&1_u16.to_le_bytes());
        write_text(INSTRUMENT, out);
        out.push(FUTURE);
        write_text("BTC", out);
        write_text("USD", out);
        for units in [1, AMOUNT, AMOUNT] {
            billionths(units, out);
        }
        out.extend_from_slice(&0_u64.to_le_bytes());
    });
    write(TICK, out, |out| {
        write_text(INSTRUMENT, out);
        for price in [PRICE, PRICE + 1] {
            out.push(1);
            billionths(price, out);
            billionths(1_000 * AMOUNT, out);
        }
        out.extend_from_slice(&time_ms.to_le_bytes());
    });
}

/// Appends a heartbeat: all commands before `next` are here.
pub(crate) fn write_heartbeat(next: u64, out: &mut Vec<u8>) {
    write(HEARTBEAT, out, |out| out.extend_from_slice(&next.to_le_bytes()));
}

/// Appends that an order rests.
pub(crate) fn write_accepted(seq: u64, order: u64, out: &mut Vec<u8>) {
    write(ACCEPTED, out, |out| {
        write_numbers(seq, order, out);
        write_text("", out);
        out.push(0);
    });
}

/// Appends that an order is cancelled, as was asked.
pub(crate) fn write_cancelled(seq: u64, order: u64, out: &mut Vec<u8>) {
    write(CANCELLED, out, |out| {
        write_numbers(seq, order, out);
        out.push(ASKED);
    });
}

/// Puts another number into a numbered message.
pub(crate) fn set_seq(seq: u64, message: &mut [u8]) {
    message[SEQ_AT..SEQ_AT + 8].copy_from_slice(&seq.to_le_bytes());
}

fn write_numbers(seq: u64, order: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&seq.to_le_bytes());
    out.extend_from_slice(&order.to_le_bytes());
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    out.push(u8::try_from(text.len()).expect("invariant: the load's texts are short"));
    out.extend_from_slice(text.as_bytes());
}

fn write(kind: u8, out: &mut Vec<u8>, fields: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    out.push(kind);
    fields(out);
    let length = out.len() - start - LENGTH_BYTES;
    let length = u32::try_from(length).expect("invariant: the load's messages are short");
    out[start..start + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sample of docs/venue-link.md.
    const CANCEL_513: [u8; 21] = [0x11, 0, 0, 0, 0x22, 2, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0];

    #[test]
    fn a_message_is_there_once_all_its_bytes_are() {
        for end in 0..CANCEL_513.len() {
            assert_eq!(decode(&CANCEL_513[..end]).unwrap(), None);
        }
        let two = [CANCEL_513, CANCEL_513].concat();
        assert_eq!(decode(&two).unwrap(), Some(Header { kind: CANCEL, message_bytes: 21 }));
        assert_eq!(read(&CANCEL_513).unwrap(), Heard::Cancel { seq: 2, order: 513 });
        assert!(decode(&[0, 0, 0, 0, 1]).is_err());
        assert!(decode(&u32::MAX.to_le_bytes()).is_err());
    }

    #[test]
    fn what_is_written_is_as_documented() {
        let mut out = Vec::new();
        write_accepted(3, 513, &mut out);
        let fields = [&[0x13, 0, 0, 0, 0x30][..], &3_u64.to_le_bytes(), &513_u64.to_le_bytes(), &[0, 0]];
        assert_eq!(out, fields.concat());
        set_seq(4, &mut out);
        assert_eq!(out[SEQ_AT], 4);
        out.clear();
        write_cancelled(3, 513, &mut out);
        assert_eq!((out[4], out.last(), out.len()), (0x35, Some(&1), 22));
        out.clear();
        write_heartbeat(7, &mut out);
        assert_eq!(out, [9, 0, 0, 0, 5, 7, 0, 0, 0, 0, 0, 0, 0]);
        out.clear();
        write_welcome(&mut out);
        assert_eq!(read(&out).unwrap(), Heard::Welcome);
    }

    #[test]
    fn a_link_that_is_ended_fails_the_run_with_the_reason() {
        let mut out = Vec::new();
        write(BYE, &mut out, |out| write_text("silent for too long", out));
        let said = format!("{:?}", read(&out).unwrap_err());
        assert!(said.contains("silent for too long"), "{said}");
        assert!(read(&[1, 0, 0, 0, 0x37]).is_err() && read(&[1, 0, 0, 0, NEW]).is_err());
    }
}
