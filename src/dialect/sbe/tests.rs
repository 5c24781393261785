//! Each message is read back as it was written, and no bytes at all are anything but a message or an error.

use proptest::prelude::*;

use super::generated::*;
use super::wire::{Decimal, DecodeError, Entries, Entry, HEADER_BYTES, Header};
use crate::model::decimal::{Amount, Price};

/// What a property test has drawn, taken byte by byte; zeros behind its end.
pub(super) struct Choices(std::vec::IntoIter<u8>);

impl Choices {
    pub(super) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.0.next().unwrap_or(0))
    }

    pub(super) fn one_of<T: Copy, const N: usize>(&mut self, all: [T; N]) -> T {
        all[usize::from(self.bytes::<1>()[0]) % N]
    }

    /// Never the value that stands for none: it can't be told from none.
    pub(super) fn maybe<T: PartialEq + Null>(&mut self, some: impl FnOnce(&mut Choices) -> T) -> Option<T> {
        let is_some = self.bytes::<1>()[0] & 1 == 1;
        Some(some(self)).filter(|value| is_some && !value.is_null())
    }

    fn list<T: Sample>(&mut self) -> Vec<T> {
        (0..self.bytes::<1>()[0] % 5).map(|_| T::sample(self)).collect()
    }

    fn text(&mut self) -> &'static str {
        self.one_of([
            "",
            "mine-1",
            "Ordre n° 7 / été",
            "0123456789012345678901234567890123456789012345678901234567890123",
        ])
    }
}

/// Any value of a message or an entry.
pub(super) trait Sample {
    fn sample(choices: &mut Choices) -> Self;
}

/// Whether a value is the one that stands for none.
pub(super) trait Null {
    fn is_null(&self) -> bool {
        false
    }
}

macro_rules! null_at {
    ($($number:ty: $null:expr),*) => { $(impl Null for $number { fn is_null(&self) -> bool { *self == $null } })* };
}
null_at!(u8: u8::MAX, u16: u16::MAX, u32: u32::MAX, u64: u64::MAX, Price: Price(i64::MIN), Amount: Amount(i64::MIN));
impl Null for Decimal {
    fn is_null(&self) -> bool {
        self.mantissa == i64::MIN
    }
}
macro_rules! never_null {
    ($($word:ty),*) => { $(impl Null for $word {})* };
}
never_null!(Interval, PostOnly, Flag, TimeInForce, CancelReason, Liquidity, TickDirection);

fn all<E: Entry>(entries: Entries<'_, E>) -> Vec<E> {
    assert_eq!(entries.iter().len(), entries.len());
    entries.iter().collect::<Result<_, _>>().unwrap()
}

/// Each message with all that it may carry: what is written is read back, and nothing that is cut off, or has more behind it, is read.
macro_rules! round_trip {
    ($choices:ident, $name:ident, $view:ident, [$($group:ident),*], [$($text:ident),*]) => {{
        let message = $name::sample(&mut $choices);
        $(let $group = $choices.list();)*
        $(let $text = $choices.text();)*
        let mut out = b"what stood there".to_vec();
        message.encode(&mut out $(, $group.iter().copied())* $(, $text)*);
        let frame = &out[16..];
        assert_eq!(&out[..16], b"what stood there");
        let view = $view::decode(frame).unwrap();
        assert_eq!(view.fields(), Ok(message));
        $(assert_eq!(all(view.$group()), $group);)*
        $(assert_eq!(view.$text(), $text);)*
        assert!(matches!(Message::decode(frame), Ok(Message::$name(_))));
        for cut in 0..frame.len() {
            assert_eq!($view::decode(&frame[..cut]).err(), Some(DecodeError::Truncated), "cut at {cut}");
        }
        out.push(0);
        assert_eq!($view::decode(&out[16..]).err(), Some(DecodeError::Trailing));
    }};
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(drawn in prop::collection::vec(any::<u8>(), 0..1500)) {
        let mut choices = Choices(drawn.into_iter());
        round_trip!(choices, Heartbeat, HeartbeatView, [], []);
        round_trip!(choices, GapNotice, GapNoticeView, [], []);
        round_trip!(choices, Ticker, TickerView, [], []);
        round_trip!(choices, Quote, QuoteView, [], []);
        round_trip!(choices, Trade, TradeView, [trades], []);
        round_trip!(choices, BookSnapshot, BookSnapshotView, [bids, asks], []);
        round_trip!(choices, BookDelta, BookDeltaView, [bids, asks], []);
        round_trip!(choices, NewOrder, NewOrderView, [], [label]);
        round_trip!(choices, AmendOrder, AmendOrderView, [], [label]);
        round_trip!(choices, CancelOrder, CancelOrderView, [], []);
        round_trip!(choices, OrderAck, OrderAckView, [fills], [label]);
        round_trip!(choices, Reject, RejectView, [], [message, reason, param]);
        round_trip!(choices, ExecutionReport, ExecutionReportView, [], [label]);
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(
        template_id in prop::sample::select(&[1, 2, 10, 11, 12, 13, 14, 20, 21, 22, 30, 31, 32, 33]),
        block_length in 0_u16..200,
        version in 0_u16..3,
        bytes in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let header = Header { block_length, template_id, schema_id: SCHEMA_ID, version };
        let _ = Message::decode(&[&header.to_bytes()[..], &bytes].concat());
        let _ = Message::decode(&bytes);
    }
}

const QUOTE: Quote = Quote {
    epoch: 1_795_242_557_732,
    seq: 3,
    sending_time: 1_795_242_557_734_542_168,
    event_time: 1_795_242_557_734_000_000,
    instrument_id: 7,
    bid_price: Some(Price(64_000_500_000_000)),
    bid_amount: Amount(30_000_000_000),
    ask_price: None,
    ask_amount: Amount(0),
};

fn quote() -> Vec<u8> {
    let mut out = Vec::new();
    QUOTE.encode(&mut out);
    out
}

#[test]
fn a_quote_is_these_76_bytes() {
    let hex: String = quote().iter().map(|byte| format!("{byte:02x}")).collect();
    let expected = [
        "44000b0001000000",
        "2481cbfca1010000",
        "0300000000000000",
        "585b6e3b98fbe918",
        "8015663b98fbe918",
        "07000000",
        "00651147353a0000",
        "00ac23fc06000000",
        "0000000000000080",
        "0000000000000000",
    ];
    assert_eq!(hex, expected.concat());
}

#[test]
fn a_header_of_another_schema_or_message_is_refused() {
    let mut frame = quote();
    assert_eq!(TickerView::decode(&frame).err(), Some(DecodeError::Template { template_id: 11 }));
    frame[2] = 99;
    assert_eq!(Message::decode(&frame).err(), Some(DecodeError::Template { template_id: 99 }));
    frame[2] = 11;
    frame[4] = 2;
    assert_eq!(QuoteView::decode(&frame).err(), Some(DecodeError::Schema { schema_id: 2 }));
    frame[4] = 1;
    frame[0] = 67;
    assert_eq!(QuoteView::decode(&frame).err(), Some(DecodeError::BlockTooShort { block_length: 67 }));
}

#[test]
fn a_word_that_is_not_known_is_told_of_its_field_alone() {
    let mut frame = Vec::new();
    Heartbeat { sending_time: 5, kind: HeartbeatKind::Beat }.encode(&mut frame);
    frame[HEADER_BYTES + 8] = 9;
    let view = HeartbeatView::decode(&frame).unwrap();
    assert_eq!(view.kind(), Err(DecodeError::UnknownValue { field: "kind", value: 9 }));
    assert_eq!(view.sending_time(), 5);
}

/// A book without levels, whose first group's header is what it is told.
fn book_with(block_length: u16, count: u32) -> Result<usize, DecodeError> {
    let mut frame = Vec::new();
    let mut choices = Choices(Vec::new().into_iter());
    BookSnapshot::sample(&mut choices).encode(&mut frame, [], []);
    let head = HEADER_BYTES + usize::from(BookSnapshot::BLOCK_LENGTH);
    frame[head..head + 2].copy_from_slice(&block_length.to_le_bytes());
    frame[head + 2..head + 6].copy_from_slice(&count.to_le_bytes());
    BookSnapshotView::decode(&frame).map(|view| view.bids().len())
}

#[test]
fn a_group_that_says_more_than_there_is_is_refused() {
    assert_eq!(book_with(16, 0), Ok(0));
    assert_eq!(book_with(0, 0), Ok(0), "of no entries no length matters");
    assert_eq!(book_with(16, 1), Err(DecodeError::Truncated));
    assert_eq!(book_with(u16::MAX, u32::MAX), Err(DecodeError::Truncated));
    assert_eq!(book_with(0, u32::MAX), Err(DecodeError::BlockTooShort { block_length: 0 }));
    assert_eq!(book_with(15, 1), Err(DecodeError::BlockTooShort { block_length: 15 }));
}

#[test]
fn a_label_that_is_not_utf_8_is_refused() {
    let mut frame = Vec::new();
    AmendOrder::sample(&mut Choices(Vec::new().into_iter())).encode(&mut frame, "x");
    *frame.last_mut().unwrap() = 0xff;
    assert_eq!(AmendOrderView::decode(&frame).err(), Some(DecodeError::NotUtf8 { field: "label" }));
}

#[test]
fn a_number_too_large_for_units_of_1e_9_loses_its_last_digits_alone() {
    let of = |units| Decimal::from_units(units);
    assert_eq!(of(-5), Decimal { mantissa: -5, exponent: -9 });
    assert_eq!(of(i128::from(i64::MAX)), Decimal { mantissa: i64::MAX, exponent: -9 });
    assert_eq!(of(i128::from(i64::MAX) + 1), Decimal { mantissa: i64::MAX / 10, exponent: -8 });
    assert_eq!(of(i128::from(i64::MIN)), Decimal { mantissa: i64::MIN / 10, exponent: -8 });
    assert_eq!(of(i128::MAX), Decimal { mantissa: 1_701_411_834_604_692_317, exponent: 11 });
}
