//! Replies as texts.

use super::super::*;
use super::{empty_market, future, market, symbol, written};
use crate::model::encoding::Form;
use crate::model::ids::{Epoch, InstrumentId, Position, Seq};
use crate::model::instrument::{Instrument, InstrumentKind};
use crate::model::market::MarketState;

const STAMPS: Stamps = Stamps {
    in_unix_ns: 1_700_000_000_000_001_999,
    out_unix_ns: 1_700_000_000_000_005_000,
    precision: Precision::Microseconds,
};

/// What a reply has after its value.
const TAIL: &str = ",\"usIn\":1700000000000001,\"usOut\":1700000000000005,\"usDiff\":4,\"testnet\":false}";

fn reply(write: impl FnOnce(&mut Vec<u8>)) -> String {
    written(|out| {
        let Incoming::Single(Parsed { id: Some(id), .. }) = decode(b"{\"id\":\"\\u0037\"}") else { panic!() };
        open_result(out, id);
        write(out);
        close_reply(out, STAMPS);
    })
}

fn check(write: impl FnOnce(&mut Vec<u8>), result: &str) {
    assert_eq!(reply(write), format!("{{\"jsonrpc\":\"2.0\",\"id\":\"\\u0037\",\"result\":{result}{TAIL}"));
}

#[test]
fn writes_the_small_results() {
    check(write_version, concat!("{\"version\":\"", env!("CARGO_PKG_VERSION"), "\"}"));
    for (is_batched, more) in [(false, ""), (true, ",\"batch\":true")] {
        let form = Form::Sbe { is_batched };
        let version = env!("CARGO_PKG_VERSION");
        check(
            |out| write_agreement(out, form),
            &format!("{{\"version\":\"{version}\",\"encoding\":\"sbe\"{more}}}"),
        );
    }
    check(write_ok, "\"ok\"");
    check(|out| write_time(out, 1_700_000_000_123_999_999), "1700000000123");
    check(write_status, "{\"locked\":\"false\",\"locked_indices\":[]}");
    let position = Position { epoch: Epoch(1_700_000_000_000), seq: Seq(9) };
    check(|out| write_position(out, position), "{\"epoch\":1700000000000,\"seq\":9}");
    check(|out| write_channels(out, []), "[]");
    check(|out| write_channels(out, ["quote.*", "a\"b"]), "[\"quote.*\",\"a\\\"b\"]");
}

#[test]
fn tells_nanoseconds_to_those_who_asked() {
    let text = written(|out| {
        open_result(out, Id::NULL);
        write_ok(out);
        close_reply(out, Stamps { precision: Precision::Nanoseconds, ..STAMPS });
    });
    let expected =
        ",\"usDiff\":4,\"usInNs\":1700000000000001999,\"usOutNs\":1700000000000005000,\"testnet\":false}";
    assert!(text.ends_with(expected), "{text}");
}

#[test]
fn tells_beside_the_result_which_channels_were_resumed() {
    let text = reply(|out| {
        write_channels(out, ["quote.A", "quote.B"]);
        write_resumed(out, [("quote.A", Recovery::Recovered), ("quote.B", Recovery::Lost)]);
    });
    let expected = "\"result\":[\"quote.A\",\"quote.B\"],\
        \"resumed\":{\"quote.A\":{\"recovered\":true},\"quote.B\":{\"recovered\":false}},\"usIn\"";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn writes_errors_with_what_is_known_of_them() {
    let check = |failure, expected: &str| {
        let text = written(|out| write_error(out, Id::NULL, failure, STAMPS));
        assert_eq!(text, format!("{{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{{{expected}}}{TAIL}"));
    };
    check(Failure::PARSE_ERROR, "\"code\":-32700,\"message\":\"Parse error\"");
    check(
        Failure::INVALID_REQUEST.because("must be \"2.0\"").at("jsonrpc"),
        "\"code\":-32600,\"message\":\"Invalid Request\",\"data\":{\"reason\":\"must be \\\"2.0\\\"\",\"param\":\"jsonrpc\"}",
    );
    check(
        Failure::UNKNOWN_INSTRUMENT,
        "\"code\":13020,\"message\":\"not_found\",\"data\":{\"reason\":\"unknown instrument\",\"param\":\"instrument_name\"}",
    );
    check(Failure::TOO_MANY_REQUESTS, "\"code\":10028,\"message\":\"too_many_requests\"");
}

#[test]
fn a_batch_s_replies_are_one_array_and_none_are_nothing() {
    let mut out = Vec::new();
    BatchReply::default().close(&mut out);
    assert!(out.is_empty());
    let text = written(|out| {
        let mut batch = BatchReply::default();
        for _ in 0..2 {
            batch.open_entry(out);
            write_error(out, Id::NULL, Failure::INVALID_REQUEST, STAMPS);
        }
        batch.close(out);
    });
    assert!(text.starts_with("[{") && text.ends_with("}]") && text.contains("},{"), "{text}");
}

#[test]
fn writes_currencies() {
    let text = reply(|out| write_currencies(out, [&symbol("BTC"), &symbol("USD")]));
    let read: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(read["result"].as_array().unwrap().len(), 2);
    assert_eq!(read["result"][1]["currency"], "USD");
    assert_eq!(read["result"][0]["min_confirmations"], 0);
}

#[test]
fn writes_a_future_with_its_documented_fields() {
    check(
        |out| write_instrument(out, InstrumentId(3), &future(), MarketState::Open),
        "{\"instrument_name\":\"ESH4\",\"instrument_id\":3,\"kind\":\"future\",\"instrument_type\":\"linear\",\
         \"is_active\":true,\"base_currency\":\"ES\",\"quote_currency\":\"USD\",\"counter_currency\":\"USD\",\
         \"price_index\":\"es_usd\",\"tick_size\":0.25,\"block_trade_tick_size\":0.25,\"tick_size_steps\":[],\
         \"min_trade_amount\":1,\"block_trade_min_trade_amount\":1,\"contract_size\":50,\"maker_commission\":0,\
         \"taker_commission\":0,\"block_trade_commission\":0,\"rfq\":false,\"creation_timestamp\":1500000000000,\
         \"expiration_timestamp\":1710000000000,\"future_type\":\"linear\",\"max_leverage\":1,\
         \"max_liquidation_commission\":0,\"settlement_currency\":\"USD\",\"settlement_period\":\"month\"}",
    );
}

#[test]
fn writes_what_only_some_kinds_have() {
    let text = |instrument: &Instrument| {
        written(|out| write_instrument(out, InstrumentId(0), instrument, MarketState::Closed))
    };
    let perpetual = Instrument { expiration_timestamp_ms: None, ..future() };
    assert!(text(&perpetual).contains("\"expiration_timestamp\":32503708800000"));
    assert!(text(&perpetual).ends_with("\"settlement_period\":\"perpetual\"}"));
    let spot = Instrument { kind: InstrumentKind::Spot, ..perpetual };
    assert!(!text(&spot).contains("settlement") && !text(&spot).contains("leverage"));
    assert!(text(&spot).contains("\"is_active\":false"));
    for (name, terms) in [
        ("BTC-27DEC26-100000-C", "\"option_type\":\"call\",\"strike\":100000,"),
        ("XRP_USDC-27DEC26-0d55-P", "\"option_type\":\"put\",\"strike\":0.55,"),
        ("ESH4", "\"expiration_timestamp\":1710000000000,\"settlement_currency\""),
    ] {
        let option = Instrument { kind: InstrumentKind::Option, name: symbol(name), ..future() };
        assert!(text(&option).contains(terms), "{}", text(&option));
    }
}

#[test]
fn writes_the_order_book_to_its_depth() {
    check(
        |out| write_order_book(out, &market(), 1),
        "{\"timestamp\":1700000000123,\"change_id\":7,\"instrument_name\":\"ESH4\",\"state\":\"open\",\
         \"stats\":{\"volume\":6,\"volume_usd\":28830.75,\"volume_notional\":28830.75,\"price_change\":0.2135,\
         \"high\":4810.25,\"low\":4800.00},\"last_price\":4810.25,\"mark_price\":4810.125,\"index_price\":4810.125,\
         \"estimated_delivery_price\":4810.125,\"open_interest\":0,\"min_price\":0,\"max_price\":9223372036,\
         \"best_bid_price\":4810.00,\"best_bid_amount\":22,\"best_ask_price\":4810.25,\"best_ask_amount\":28,\
         \"bids\":[[4810.00,22]],\"asks\":[[4810.25,28]]}",
    );
    let deep = reply(|out| write_order_book(out, &market(), 10_000));
    assert!(
        deep.contains("\"bids\":[[4810.00,22],[4809.75,31]],\"asks\":[[4810.25,28],[4810.50,40]]}"),
        "{deep}"
    );
}

#[test]
fn an_empty_market_has_nulls_for_prices_and_zeros_for_amounts() {
    check(
        |out| write_order_book(out, &empty_market(), 5),
        "{\"timestamp\":1700000000123,\"change_id\":0,\"instrument_name\":\"ESH4\",\"state\":\"open\",\
         \"stats\":{\"volume\":0,\"volume_usd\":0,\"volume_notional\":0,\"price_change\":null,\"high\":null,\
         \"low\":null},\"last_price\":null,\"mark_price\":0.00,\"index_price\":0.00,\
         \"estimated_delivery_price\":0.00,\"open_interest\":0,\"min_price\":0,\"max_price\":9223372036,\
         \"best_bid_price\":null,\"best_bid_amount\":0,\"best_ask_price\":null,\"best_ask_amount\":0,\
         \"bids\":[],\"asks\":[]}",
    );
}

#[test]
fn last_trades_follow_range_count_and_sorting() {
    let state = market();
    let seqs = |params: &str| {
        let text = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"public/get_last_trades_by_instrument\",\
             \"params\":{{\"instrument_name\":\"ESH4\"{params}}}}}"
        );
        let Incoming::Single(Parsed { call: Ok(Method::LastTrades(asked)), .. }) = decode(text.as_bytes())
        else {
            panic!("{text}");
        };
        let reply = written(|out| write_last_trades(out, &state, &asked));
        let read: serde_json::Value = serde_json::from_str(&reply).unwrap();
        let trades = read["trades"].as_array().unwrap();
        let seqs: Vec<_> = trades.iter().map(|trade| trade["trade_seq"].as_u64().unwrap()).collect();
        (seqs, read["has_more"].as_bool().unwrap())
    };
    assert_eq!(seqs(""), (vec![2, 1], false));
    assert_eq!(seqs(",\"sorting\":\"asc\""), (vec![1, 2], false));
    assert_eq!(seqs(",\"count\":1"), (vec![2], true));
    assert_eq!(seqs(",\"count\":1,\"sorting\":\"asc\""), (vec![1], true));
    assert_eq!(seqs(",\"start_seq\":2"), (vec![2], false));
    assert_eq!(seqs(",\"end_seq\":1,\"count\":1"), (vec![1], false));
    assert_eq!(seqs(",\"start_timestamp\":1700000000001"), (vec![], false));
    assert_eq!(seqs(",\"end_timestamp\":1700000000000"), (vec![2, 1], false));
}
