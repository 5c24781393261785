//! JSON-RPC decode and encode, one message at a time. Run with `cargo bench --bench json_rpc`.

mod fixture;

use divan::{Bencher, black_box};
use tickring::dialect::json_rpc::{
    Id, Precision, Stamps, close_notification, close_reply, decode, open_notification, open_result,
    write_book_change, write_quote, write_ticker, write_version,
};
use tickring::model::book::{LevelAction, LevelUpdate, Side};
use tickring::model::channel::Checksum;
use tickring::model::decimal::{Amount, Price};
use tickring::model::ids::{Epoch, Seq};
use tickring::model::market::InstrumentState;

use crate::fixture::instrument::{TICK, instrument};
use crate::fixture::{NOW, UNIT};

fn main() {
    divan::main();
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
    let stamps = Stamps {
        in_unix_ns: NOW.unix_ns,
        out_unix_ns: NOW.unix_ns + 5_000,
        precision: Precision::Microseconds,
    };
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
    let state = instrument();
    let mut out = Vec::with_capacity(4096);
    bencher.bench_local(|| {
        out.clear();
        open_notification(&mut out, b"ticker.ESH4.raw");
        write(&mut out, black_box(&state));
        close_notification(&mut out, Epoch(1_700_000_000_000), black_box(Seq(123_456)), NOW.unix_ns);
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
    let changes = [(Side::Bid, 4_810 * UNIT), (Side::Ask, 4_810 * UNIT + TICK)].map(|(side, price)| {
        (LevelAction::Change, LevelUpdate { side, price: Price(price), amount: Amount(7 * UNIT) })
    });
    bench_notification(bencher, |out, state| {
        write_book_change(out, state, Seq(8), Seq(9), black_box(&changes), checksum);
    });
}
