//! JSON-RPC decode and encode, one message at a time. Run with `cargo bench --bench json_rpc`.

use std::sync::Arc;

use divan::{Bencher, black_box};
use tickring::dialect::json_rpc::{
    Id, Precision, Stamps, close_notification, close_reply, decode, open_notification, open_result,
    write_book_change, write_quote, write_ticker, write_version,
};
use tickring::model::book::{LevelAction, LevelUpdate, Side};
use tickring::model::channel::Checksum;
use tickring::model::decimal::{Amount, Price};
use tickring::model::ids::{Epoch, Seq};
use tickring::model::instrument::{Instrument, InstrumentKind, Symbol};
use tickring::model::market::{Direction, InstrumentState};

fn main() {
    divan::main();
}

const TICK: i64 = 250_000_000;
const LOT: i64 = 1_000_000_000;
const EVENT_NS: u64 = 1_700_000_000_000_000_000;

fn symbol(text: &str) -> Symbol {
    Symbol::parse(text.as_bytes()).expect("a legal symbol")
}

/// Ten levels a side and one trade.
fn market() -> InstrumentState {
    let mut state = InstrumentState::new(Arc::new(Instrument {
        name: symbol("ESH4"),
        kind: InstrumentKind::Future,
        base_currency: symbol("ES"),
        quote_currency: symbol("USD"),
        tick_size: Price(TICK),
        price_decimals: 2,
        min_trade_amount: Amount(LOT),
        amount_decimals: 0,
        contract_size: Amount(50 * LOT),
        creation_timestamp_ms: 0,
        expiration_timestamp_ms: None,
    }));
    for distance in 0..10 {
        let amount = Amount((distance + 20) * LOT);
        let bid = Price(4_810 * LOT - distance * TICK);
        state.apply_level(LevelUpdate { side: Side::Bid, price: bid, amount });
        let ask = Price(4_810 * LOT + (distance + 1) * TICK);
        state.apply_level(LevelUpdate { side: Side::Ask, price: ask, amount });
    }
    let trade = state.stamp_trade(Price(4_810 * LOT), Amount(LOT), Direction::Buy, EVENT_NS);
    state.record_trade(trade);
    state
}

#[divan::bench]
fn decode_test() {
    let text = br#"{"jsonrpc":"2.0","id":8212,"method":"public/test","params":{}}"#;
    black_box(decode(black_box(text)));
}

#[divan::bench(args = [100, 1000, 10_000])]
fn decode_publish(bencher: Bencher<'_, '_>, data_bytes: usize) {
    let data = "x".repeat(data_bytes);
    let text = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"topic/publish","params":{{"topic":"alerts","data":{{"t":"{data}"}}}}}}"#
    );
    bencher.bench(|| {
        black_box(decode(black_box(text.as_bytes())));
    });
}

#[divan::bench]
fn decode_subscribe_10(bencher: Bencher<'_, '_>) {
    let channels: Vec<_> = (0..10).map(|number| format!("\"ticker.BTC-{number}.raw\"")).collect();
    let text = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"public/subscribe","params":{{"channels":[{}]}}}}"#,
        channels.join(",")
    );
    bencher.bench(|| {
        black_box(decode(black_box(text.as_bytes())));
    });
}

#[divan::bench]
fn encode_test_reply(bencher: Bencher<'_, '_>) {
    let mut out = Vec::with_capacity(1024);
    let stamps =
        Stamps { in_unix_ns: EVENT_NS, out_unix_ns: EVENT_NS + 5_000, precision: Precision::Microseconds };
    bencher.bench_local(|| {
        out.clear();
        open_result(&mut out, black_box(Id::NULL));
        write_version(&mut out);
        close_reply(&mut out, black_box(stamps));
        black_box(&out);
    });
}

/// A whole notification around what `write` writes.
fn bench_notification(bencher: Bencher<'_, '_>, write: impl Fn(&mut Vec<u8>, &InstrumentState)) {
    let state = market();
    let mut out = Vec::with_capacity(4096);
    bencher.bench_local(|| {
        out.clear();
        open_notification(&mut out, b"ticker.ESH4.raw");
        write(&mut out, black_box(&state));
        close_notification(&mut out, Epoch(1_700_000_000_000), black_box(Seq(123_456)), EVENT_NS);
        black_box(&out);
    });
}

#[divan::bench]
fn encode_ticker(bencher: Bencher<'_, '_>) {
    bench_notification(bencher, write_ticker);
}

#[divan::bench]
fn encode_quote(bencher: Bencher<'_, '_>) {
    bench_notification(bencher, write_quote);
}

#[divan::bench(args = [Checksum::Absent, Checksum::Crc32])]
fn encode_book_change(bencher: Bencher<'_, '_>, checksum: Checksum) {
    let changes = [(Side::Bid, 4_810 * LOT), (Side::Ask, 4_810 * LOT + TICK)].map(|(side, price)| {
        (LevelAction::Change, LevelUpdate { side, price: Price(price), amount: Amount(7 * LOT) })
    });
    bench_notification(bencher, |out, state| {
        write_book_change(out, state, Seq(8), Seq(9), black_box(&changes), checksum);
    });
}
