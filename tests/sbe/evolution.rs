//! A schema's second version beside its first: an old decoder reads a new message, a new one an old message.

#[allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "codecs as a library has them; a test takes a part of them"
)]
mod after;
#[allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "codecs as a library has them; a test takes a part of them"
)]
mod before;

use tickring::dialect::sbe::wire::{Decimal, DecodeError};
use tickring::model::decimal::Price;

fn old_report() -> before::Report {
    before::Report { number: 5, colour: before::Colour::Green }
}

fn new_report() -> after::Report {
    after::Report {
        number: 5,
        colour: after::Colour::Green,
        mark: Some(Price(-7)),
        background: Some(after::Colour::Blue),
        sum: Some(Decimal { mantissa: 12, exponent: -3 }),
        count: Some(9),
    }
}

fn new_line(price: i64) -> after::Line {
    after::Line { price: Price(price), weight: Some(3), colour: Some(after::Colour::Red) }
}

#[test]
fn an_old_decoder_reads_a_new_message() {
    let mut frame = Vec::new();
    new_report().encode(&mut frame, [new_line(1), new_line(2)], "mine", "a reason");
    let view = before::ReportView::decode(&frame).unwrap();
    assert_eq!(view.fields(), Ok(old_report()));
    let lines: Vec<before::Line> = view.lines().iter().map(Result::unwrap).collect();
    assert_eq!(lines, [1, 2].map(|price| before::Line { price: Price(price) }));
    assert_eq!(view.label(), "mine");
    frame.pop();
    assert!(before::ReportView::decode(&frame).is_ok(), "what is behind all that is known is not looked at");
    assert!(matches!(after::ReportView::decode(&frame), Err(DecodeError::Truncated)));

    let mut frame = Vec::new();
    after::Table { number: 6 }.encode(
        &mut frame,
        [after::TableLine { price: Price(1) }],
        [after::Note { number: 8 }],
    );
    let view = before::TableView::decode(&frame).unwrap();
    assert_eq!((view.number(), view.lines().len()), (6, 1));
}

#[test]
fn an_old_decoder_is_told_of_a_new_word_where_it_meets_it() {
    let mut frame = Vec::new();
    after::Report { colour: after::Colour::Blue, ..new_report() }.encode(&mut frame, [], "", "");
    let view = before::ReportView::decode(&frame).unwrap();
    assert_eq!(view.colour(), Err(DecodeError::UnknownValue { field: "colour", value: 2 }));
    assert_eq!(view.number(), 5);
}

#[test]
fn an_old_decoder_does_not_know_a_new_message() {
    let mut frame = Vec::new();
    after::Farewell { number: 1 }.encode(&mut frame);
    assert_eq!(before::Message::decode(&frame).err(), Some(DecodeError::Template { template_id: 3 }));
}

#[test]
fn a_new_decoder_reads_an_old_message() {
    let mut frame = Vec::new();
    old_report().encode(&mut frame, [before::Line { price: Price(1) }], "mine");
    let view = after::ReportView::decode(&frame).unwrap();
    let expected = after::Report { mark: None, background: None, sum: None, count: None, ..new_report() };
    assert_eq!(view.fields(), Ok(expected));
    let lines: Vec<after::Line> = view.lines().iter().map(Result::unwrap).collect();
    assert_eq!(lines, [after::Line { weight: None, colour: None, ..new_line(1) }]);
    assert_eq!((view.label(), view.reason()), ("mine", ""));
    frame.push(0);
    assert!(matches!(after::ReportView::decode(&frame), Err(DecodeError::Trailing)));

    let mut frame = Vec::new();
    before::Table { number: 6 }.encode(&mut frame, [before::TableLine { price: Price(1) }]);
    let view = after::TableView::decode(&frame).unwrap();
    assert_eq!((view.lines().len(), view.notes().len()), (1, 0));
}

#[test]
fn a_new_decoder_reads_its_own_messages_whole() {
    let mut frame = Vec::new();
    new_report().encode(&mut frame, [new_line(1)], "mine", "a reason");
    let view = after::ReportView::decode(&frame).unwrap();
    assert_eq!((view.fields(), view.reason()), (Ok(new_report()), "a reason"));
    assert_eq!(view.lines().iter().next(), Some(Ok(new_line(1))));
}
