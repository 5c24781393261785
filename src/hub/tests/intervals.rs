//! The end of an interval in which much has changed: told over several turns, each thing once.

use serde_json::Value;

use super::*;
use crate::limits;
use crate::model::book::Level;
use crate::model::decimal::UNIT;

const INSTRUMENTS: usize = 1_000;

/// Each instrument's best bid is at this price now.
fn quote_all(world: &mut World, price: i64) {
    world.feed(|feed| {
        for instrument in 0..INSTRUMENTS as u32 {
            let bid = Some(Level { price: Price(price * UNIT), amount: Amount(UNIT) });
            let instrument = FeedInstrument(instrument);
            feed.events.push(FeedEvent::Quote { instrument, bid, ask: None, timestamp_ns: 1 });
        }
    });
}

/// One turn of the market's home in which its timers run; the tickers that it told.
fn turn(world: &mut World, conns: &[ConnId]) -> usize {
    world.market.handle_timeout(world.now);
    world.carry();
    let texts: Vec<Value> = conns.iter().flat_map(|conn| world.texts(0, *conn)).collect();
    let channel = |text: &Value| text["params"]["channel"].as_str().map(str::to_owned);
    texts.iter().filter_map(channel).filter(|name| name.starts_with("ticker.")).count()
}

#[test]
fn an_interval_s_end_is_told_over_several_turns_and_each_ticker_once() {
    let mut world = World::new(1);
    world.feed(|feed| {
        for number in 0..INSTRUMENTS {
            feed.events.push(FeedEvent::Listed { definition: instrument(&format!("I-{number}")) });
        }
    });
    let mut conns = Vec::new();
    for (slot, first) in (0..).zip((0..INSTRUMENTS).step_by(50)) {
        let conn = world.connect(0, slot);
        let names: Vec<String> = (first..first + 50).map(|n| format!("ticker.I-{n}.100ms")).collect();
        world.send(0, conn, &subscribe(&names.join("\",\"")));
        world.texts(0, conn);
        conns.push(conn);
    }
    quote_all(&mut world, 90);
    world.now = world.now.plus_ns(100_000_000);
    let first = turn(&mut world, &conns);
    // So much fits in a turn's bytes, at some 500 a ticker.
    assert!((1..limits::INTERVAL_BYTES_PER_TURN / 256).contains(&first), "{first}");
    assert_eq!(world.market.poll_timeout(), Some(0), "{first} were told");
    // What changes meanwhile is told with what is still to be told, or at the next end.
    quote_all(&mut world, 91);
    world.now = world.now.plus_ns(150_000_000);
    let mut told = first;
    while world.market.poll_timeout() == Some(0) {
        told += turn(&mut world, &conns);
    }
    assert_eq!(told, INSTRUMENTS);
    let mut again = 0;
    for _ in 0..10 {
        again += turn(&mut world, &conns);
    }
    assert_eq!(again, first, "those that were told before");
}
