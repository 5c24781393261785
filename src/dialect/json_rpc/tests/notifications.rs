//! Notifications as texts, the checksum by hand, and grouped books against a naive rebuild.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::*;
use super::{empty_market, market, update, written};
use crate::model::book::{Book, LevelAction, LevelUpdate, Side};
use crate::model::channel::{Channel, Checksum, Depth, Group, MarketChannel};
use crate::model::decimal::{Amount, Price};
use crate::model::ids::{Epoch, Seq};
use crate::model::market::InstrumentState;

fn grouping(text: &str) -> (Group, Depth) {
    match Channel::parse(text, Checksum::Absent) {
        Some(Channel::Every { channel: MarketChannel::GroupedBook { group, depth, .. } }) => (group, depth),
        other => panic!("{text} is {other:?}"),
    }
}

#[test]
fn frames_an_event_with_its_place_in_the_stream() {
    let text = written(|out| {
        open_notification(out, b"topic.alerts");
        write_topic(out, b"{ \"a\":1.50 }");
        close_notification(out, Epoch(1_700_000_000_000), Seq(12), 1_700_000_000_123_456_789);
    });
    assert_eq!(
        text,
        "{\"jsonrpc\":\"2.0\",\"method\":\"subscription\",\"params\":{\"channel\":\"topic.alerts\",\
         \"data\":{ \"a\":1.50 },\"epoch\":1700000000000,\"seq\":12,\"ns\":1700000000123456789}}"
    );
}

#[test]
fn writes_heartbeats() {
    assert_eq!(
        written(|out| write_heartbeat(out, Heartbeat::TestRequest)),
        "{\"jsonrpc\":\"2.0\",\"method\":\"heartbeat\",\"params\":{\"type\":\"test_request\"}}"
    );
    assert_eq!(
        written(|out| write_heartbeat(out, Heartbeat::Beat)),
        "{\"jsonrpc\":\"2.0\",\"method\":\"heartbeat\",\"params\":{\"type\":\"heartbeat\"}}"
    );
}

#[test]
fn writes_tickers_and_quotes() {
    let ticker = written(|out| write_ticker(out, &market()));
    assert!(
        ticker.starts_with("{\"timestamp\":1700000000123,\"instrument_name\":\"ESH4\",\"state\":\"open\",")
    );
    assert!(ticker.ends_with(
        "\"best_bid_price\":4810.00,\"best_bid_amount\":22,\"best_ask_price\":4810.25,\"best_ask_amount\":28}"
    ));
    assert_eq!(
        written(|out| write_quote(out, &market())),
        "{\"timestamp\":1700000000123,\"instrument_name\":\"ESH4\",\"best_bid_price\":4810.00,\"best_bid_amount\":22,\
         \"best_ask_price\":4810.25,\"best_ask_amount\":28}"
    );
    assert_eq!(
        written(|out| write_quote(out, &empty_market())),
        "{\"timestamp\":1700000000123,\"instrument_name\":\"ESH4\",\"best_bid_price\":null,\"best_bid_amount\":0,\
         \"best_ask_price\":null,\"best_ask_amount\":0}"
    );
}

#[test]
fn writes_a_snapshot_and_then_changes() {
    let mut state = market();
    assert_eq!(
        written(|out| write_book_snapshot(out, &state, Checksum::Absent)),
        "{\"type\":\"snapshot\",\"timestamp\":1700000000123,\"instrument_name\":\"ESH4\",\"change_id\":7,\
         \"bids\":[[\"new\",4810.00,22],[\"new\",4809.75,31]],\"asks\":[[\"new\",4810.25,28],[\"new\",4810.50,40]]}"
    );
    let updates = [
        update(Side::Ask, "4810.25", "0"),
        update(Side::Bid, "4810.00", "23"),
        update(Side::Bid, "4809.75", "31"),
        update(Side::Ask, "4811.00", "5"),
    ];
    let changes = updates.map(|update| (state.apply_level(update), update));
    assert_eq!(
        written(|out| write_book_change(out, &state, Seq(7), Seq(8), &changes, Checksum::Absent)),
        "{\"type\":\"change\",\"timestamp\":1700000000123,\"instrument_name\":\"ESH4\",\"change_id\":8,\
         \"prev_change_id\":7,\"bids\":[[\"change\",4810.00,23]],\
         \"asks\":[[\"delete\",4810.25,0],[\"new\",4811.00,5]]}"
    );
    let empty = written(|out| write_book_change(out, &state, Seq(8), Seq(9), &[], Checksum::Absent));
    assert!(empty.ends_with("\"bids\":[],\"asks\":[]}"));
}

#[test]
fn writes_trades() {
    let state = market();
    let text = written(|out| write_trades(out, &state, state.trades().skip(1)));
    assert_eq!(
        text,
        "[{\"trade_seq\":2,\"trade_id\":\"ESH4-2\",\"timestamp\":1700000000000,\"price\":4810.25,\"amount\":3,\
         \"direction\":\"sell\",\"instrument_name\":\"ESH4\",\"tick_direction\":0,\"mark_price\":4810.125,\
         \"index_price\":4810.125}]"
    );
}

/// CRC-32 bit by bit, as its definition has it.
fn crc32(text: &str) -> u32 {
    !text.bytes().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 })
    })
}

#[test]
fn the_checksum_is_that_of_the_top_levels_as_printed() {
    assert_eq!(crc32("123456789"), 0xcbf4_3926, "the check value of CRC-32/ISO-HDLC");
    let mut state = market();
    let expected = crc32("4810.00:22:4810.25:28:4809.75:31:4810.50:40");
    assert_eq!(checksum(&state.book, &state.definition), expected);
    let text = written(|out| write_book_snapshot(out, &state, Checksum::Crc32));
    assert!(text.ends_with(&format!("]],\"checksum\":{expected}}}")), "{text}");
    state.apply_level(update(Side::Ask, "4810.50", "0"));
    let one_sided = crc32("4810.00:22:4810.25:28:4809.75:31");
    let text = written(|out| write_book_change(out, &state, Seq(7), Seq(8), &[], Checksum::Crc32));
    assert!(text.ends_with(&format!("\"checksum\":{one_sided}}}")), "{text}");
    assert_eq!(checksum(&Book::default(), &state.definition), 0);
}

#[test]
fn the_checksum_covers_ten_levels_a_side() {
    let mut state = empty_market();
    let level = |ticks: i64| Price(ticks * 250_000_000);
    for ticks in 0..12 {
        state.apply_level(LevelUpdate {
            side: Side::Bid,
            price: level(100 - ticks),
            amount: Amount(1_000_000_000),
        });
    }
    let covered = checksum(&state.book, &state.definition);
    for ticks in [90, 89] {
        state.apply_level(LevelUpdate { side: Side::Bid, price: level(ticks), amount: Amount(0) });
        assert_eq!(checksum(&state.book, &state.definition), covered);
    }
    state.apply_level(LevelUpdate { side: Side::Bid, price: level(91), amount: Amount(0) });
    assert_ne!(checksum(&state.book, &state.definition), covered);
}

#[test]
fn groups_round_bids_down_and_asks_up() {
    let mut state = empty_market();
    for level in [
        update(Side::Bid, "4810.00", "1"),
        update(Side::Bid, "4809.75", "2"),
        update(Side::Bid, "4809.25", "4"),
        update(Side::Ask, "4810.25", "8"),
        update(Side::Ask, "4810.50", "16"),
        update(Side::Ask, "4811.00", "32"),
    ] {
        state.apply_level(level);
    }
    let text = |channel| {
        let (group, depth) = grouping(channel);
        written(|out| write_grouped_book(out, &state, group, depth))
    };
    assert!(text("book.*.2.10.100ms").ends_with(
        "\"change_id\":0,\"bids\":[[4810.00,1],[4809.50,2],[4809.00,4]],\"asks\":[[4810.50,24],[4811.00,32]]}"
    ));
    assert!(text("book.*.none.1.100ms").ends_with("\"bids\":[[4810.00,1]],\"asks\":[[4810.25,8]]}"));
    assert!(text("book.*.250.20.agg2").ends_with("\"bids\":[[4750.00,7]],\"asks\":[[4812.50,56]]}"));
}

/// Levels as ticks and amount.
type Groups = Vec<(i64, i64)>;

/// Groups bids and asks with maps and whole ticks.
fn naive_groups(state: &InstrumentState, group: i64, depth: usize) -> (Groups, Groups) {
    let tick = state.definition.tick_size.0;
    let (mut bids, mut asks) = (BTreeMap::<i64, i64>::new(), BTreeMap::<i64, i64>::new());
    for level in state.book.bids() {
        *bids.entry((level.price.0 / tick).div_euclid(group) * group).or_default() += level.amount.0;
    }
    for level in state.book.asks() {
        *asks.entry(-(-(level.price.0 / tick)).div_euclid(group) * group).or_default() += level.amount.0;
    }
    (bids.into_iter().rev().take(depth).collect(), asks.into_iter().take(depth).collect())
}

proptest! {
    #[test]
    fn grouped_books_agree_with_a_naive_rebuild(
        levels in prop::collection::vec((any::<bool>(), -300i64..300, 1i64..50), 0..120),
        (name, group) in prop::sample::select(vec![("none", 1), ("1", 1), ("2", 2), ("5", 5), ("25", 25), ("250", 250)]),
        depth in prop::sample::select(vec![1usize, 10, 20]),
    ) {
        let mut state = empty_market();
        let tick = state.definition.tick_size.0;
        for (bid, ticks, lots) in levels {
            let side = if bid { Side::Bid } else { Side::Ask };
            state.apply_level(LevelUpdate { side, price: Price(ticks * tick), amount: Amount(lots * 1_000_000_000) });
        }
        let (asked_group, asked_depth) = grouping(&format!("book.*.{name}.{depth}.raw"));
        let text = written(|out| write_grouped_book(out, &state, asked_group, asked_depth));
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        let side = |name: &str| -> Groups {
            let number = |value: &serde_json::Value, unit: i64| {
                Price::parse(value.to_string().as_bytes()).unwrap().0 / unit
            };
            let levels = read[name].as_array().unwrap().iter();
            levels.map(|level| (number(&level[0], tick), number(&level[1], 1))).collect()
        };
        prop_assert_eq!((side("bids"), side("asks")), naive_groups(&state, group, depth));
    }

    #[test]
    fn a_client_that_applies_changes_has_the_book(
        batches in prop::collection::vec(prop::collection::vec((any::<bool>(), 1i64..20, 0i64..4), 0..8), 1..12),
    ) {
        let mut state = market();
        let mut replica: BTreeMap<(String, String), String> = BTreeMap::new();
        let snapshot = written(|out| write_book_snapshot(out, &state, Checksum::Crc32));
        apply(&mut replica, &snapshot);
        for batch in batches {
            let changes: Vec<_> = batch.into_iter().map(|(bid, ticks, lots)| {
                let side = if bid { Side::Bid } else { Side::Ask };
                let price = Price(4_800_000_000_000 + ticks * 250_000_000);
                let update = LevelUpdate { side, price, amount: Amount(lots * 1_000_000_000) };
                (state.apply_level(update), update)
            }).collect();
            let previous = state.change_id;
            state.change_id = previous.next();
            let text = written(|out| {
                write_book_change(out, &state, previous, state.change_id, &changes, Checksum::Crc32);
            });
            apply(&mut replica, &text);
        }
        let mut expected = BTreeMap::new();
        apply(&mut expected, &written(|out| write_book_snapshot(out, &state, Checksum::Absent)));
        prop_assert_eq!(replica, expected);
    }
}

/// Applies a snapshot or a change as a client would.
fn apply(replica: &mut BTreeMap<(String, String), String>, text: &str) {
    let read: serde_json::Value = serde_json::from_str(text).unwrap();
    for side in ["bids", "asks"] {
        for level in read[side].as_array().unwrap() {
            let key = (side.to_owned(), level[1].to_string());
            match level[0].as_str().unwrap() {
                "delete" => assert!(replica.remove(&key).is_some(), "{text}"),
                "new" => assert!(replica.insert(key, level[2].to_string()).is_none(), "{text}"),
                word => {
                    assert_eq!(word, "change");
                    assert!(replica.insert(key, level[2].to_string()).is_some(), "{text}");
                }
            }
        }
    }
}

#[test]
fn a_change_that_is_none_is_never_told() {
    let state = market();
    let changes = [(LevelAction::Unchanged, update(Side::Bid, "4810.00", "22"))];
    let text = written(|out| write_book_change(out, &state, Seq(7), Seq(7), &changes, Checksum::Absent));
    assert!(text.ends_with("\"bids\":[],\"asks\":[]}"));
}
