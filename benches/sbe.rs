//! SBE encode and decode, one message at a time, beside what JSON-RPC takes for the same. Run with `cargo bench --bench sbe`.

mod fixture;

use divan::{Bencher, black_box};
use tickring::dialect::json_rpc::{close_notification, open_notification, write_quote};
use tickring::dialect::sbe::generated::{
    BookChange, BookDelta, Interval, LevelAction, NewOrder, NewOrderView, OrdType, OrderFlags, PostOnly,
    Quote, QuoteView, Side, TimeInForce,
};
use tickring::model::decimal::{Amount, Price};
use tickring::model::ids::{Epoch, Seq};

use crate::fixture::instrument::{TICK, instrument};
use crate::fixture::{NOW, UNIT};

#[allow(clippy::print_stdout, reason = "the sizes belong beside the times")]
fn main() {
    // The sizes that the figures are of.
    let (mut json, mut sbe) = (Vec::new(), Vec::new());
    write_json(&mut json);
    quote().encode(&mut sbe);
    println!("a quote: {} bytes in JSON, {} in SBE", json.len(), sbe.len());
    divan::main();
}

fn write_json(out: &mut Vec<u8>) {
    open_notification(out, b"quote.ESH4");
    write_quote(out, &instrument());
    close_notification(out, Epoch(1_700_000_000_000), Seq(123_456), NOW.unix_ns);
}

fn quote() -> Quote {
    let state = instrument();
    let (bid, ask) = (state.book.best_bid(), state.book.best_ask());
    Quote {
        epoch: 1_700_000_000_000,
        seq: 123_456,
        sending_time: NOW.unix_ns,
        event_time: state.timestamp_ns,
        instrument_id: 0,
        bid_price: bid.map(|level| level.price),
        bid_amount: bid.map_or(Amount::ZERO, |level| level.amount),
        ask_price: ask.map(|level| level.price),
        ask_amount: ask.map_or(Amount::ZERO, |level| level.amount),
    }
}

#[divan::bench]
fn encode_quote(bencher: Bencher<'_, '_>) {
    let quote = quote();
    let mut out = Vec::with_capacity(4096);
    bencher.bench_local(|| {
        out.clear();
        black_box(&quote).encode(&mut out);
        black_box(&out);
    });
}

/// What the bar of `encode_quote` is measured against.
#[divan::bench]
fn encode_quote_json(bencher: Bencher<'_, '_>) {
    let state = instrument();
    let mut out = Vec::with_capacity(4096);
    bencher.bench_local(|| {
        out.clear();
        open_notification(&mut out, b"quote.ESH4");
        write_quote(&mut out, black_box(&state));
        close_notification(&mut out, Epoch(1_700_000_000_000), black_box(Seq(123_456)), NOW.unix_ns);
        black_box(&out);
    });
}

/// Every field.
#[divan::bench]
fn decode_quote(bencher: Bencher<'_, '_>) {
    let mut frame = Vec::new();
    quote().encode(&mut frame);
    bencher.bench(|| QuoteView::decode(black_box(&frame)).and_then(|view| view.fields()));
}

#[divan::bench]
fn encode_book_delta_of_2(bencher: Bencher<'_, '_>) {
    let delta = BookDelta {
        epoch: 1_700_000_000_000,
        seq: 123_456,
        sending_time: NOW.unix_ns,
        event_time: NOW.unix_ns,
        change_id: 9,
        prev_change_id: 8,
        checksum: None,
        instrument_id: 0,
        interval: Interval::Raw,
    };
    let change =
        |price| BookChange { price: Price(price), amount: Amount(7 * UNIT), action: LevelAction::Change };
    let (bid, ask) = (change(4_810 * UNIT), change(4_810 * UNIT + TICK));
    let mut out = Vec::with_capacity(4096);
    bencher.bench_local(|| {
        out.clear();
        black_box(&delta).encode(&mut out, [black_box(bid)], [black_box(ask)]);
        black_box(&out);
    });
}

/// Every field and the label.
#[divan::bench]
fn decode_new_order(bencher: Bencher<'_, '_>) {
    let order = NewOrder {
        correlation_id: 8212,
        price: Some(Price(4_810 * UNIT)),
        amount: Amount(UNIT),
        valid_until: None,
        instrument_id: 0,
        side: Side::Buy,
        ord_type: OrdType::Limit,
        time_in_force: TimeInForce::GoodTilCancelled,
        post_only: PostOnly::No,
        flags: OrderFlags::default(),
    };
    let mut frame = Vec::new();
    order.encode(&mut frame, "mine-8212");
    bencher.bench(|| {
        NewOrderView::decode(black_box(&frame))
            .and_then(|view| view.fields().map(|order| (order, view.label().len())))
    });
}
