//! The hub without sockets: publishing to subscribers, the last-value cache, requests. Run with
//! `cargo bench --no-default-features --bench hub`.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use tickring::hub::batch::Outgoing;
use tickring::hub::history::HistoryLimits;
use tickring::hub::market::MarketHome;
use tickring::hub::overload::OverloadMarks;
use tickring::hub::{Arrival, Hub, HubConfig, ListenerPolicy, Publishing, Urgency};
use tickring::model::book::{LevelUpdate, Side};
use tickring::model::decimal::{Amount, Price};
use tickring::model::ids::{ConnId, HomeId, SourceId};
use tickring::model::instrument::{Instrument, InstrumentKind, Symbol};
use tickring::model::market::{FeedBuffer, FeedEvent, FeedInstrument};
use tickring::model::time::Now;
use tickring::ws::receiver::ReceiveLimits;

fn main() {
    divan::main();
}

const UNIT: i64 = 1_000_000_000;
const HISTORY: HistoryLimits =
    HistoryLimits { frames_max: 4096, bytes_max: 1024 * 1024, replayed_bytes_per_turn: 4 * 1024 * 1024 };
const NOW: Now = Now { mono_ns: 1, unix_ns: 1_700_000_000_000_000_000 };

fn hub() -> Hub {
    let config = HubConfig {
        receive: ReceiveLimits { frame_bytes_max: 65_536, message_bytes_max: 65_536, fragments_max: 64 },
        queued_bytes_max: 1024 * 1024,
        subscriptions_max: 1024,
        handshake_timeout_ns: 10_000_000_000,
        idle_timeout_ns: 0,
        close_timeout_ns: 2_000_000_000,
        write_timeout_ns: 30_000_000_000,
        history: HISTORY,
        overload: OverloadMarks::default(),
        publishing: Publishing::Anyone,
        listeners: vec![ListenerPolicy { ping_interval_ns: 0, ..ListenerPolicy::default() }],
        ..HubConfig::default()
    };
    Hub::new(HomeId(0), 1, config, NOW)
}

fn connect(hub: &mut Hub, slot: u32) -> ConnId {
    let conn = ConnId { slot, generation: 1 };
    hub.handle_open(conn, Arrival::FIRST, NOW);
    let mut request = b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        .to_vec();
    hub.handle_bytes(conn, &mut request, NOW);
    conn
}

/// A client's text frame. Its mask is zero, so that it is the same after it was unmasked.
fn frame(text: &str) -> Vec<u8> {
    let len = u16::try_from(text.len()).expect("short");
    let mut frame = vec![0x81];
    match u8::try_from(len) {
        Ok(len @ 0..=125) => frame.push(0x80 | len),
        Ok(_) | Err(_) => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&len.to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(text.as_bytes());
    frame
}

/// The end of a turn and its flush; gives the bytes that were sent.
fn end_turn(hub: &mut Hub, out: &mut [u8]) -> usize {
    hub.seal(NOW);
    while hub.poll_mesh().is_some() {}
    let mut sent = 0;
    while let Some(conn) = hub.poll_ready(Urgency::Any) {
        sent += hub.poll_transmit(conn, out);
        hub.handle_sent(conn, NOW);
    }
    while hub.poll_effect().is_some() {}
    sent
}

/// One message of a client to all subscribers, decode to the bytes of each one's send; per delivery.
#[divan::bench(args = [1, 100, 1000])]
fn publish_to_subscribers(bencher: Bencher<'_, '_>, subscribers: u32) {
    let mut hub = hub();
    let mut out = vec![0; 64 * 1024];
    let mut subscribe = frame(
        r#"{"jsonrpc":"2.0","id":1,"method":"public/subscribe","params":{"channels":["topic.alerts"]}}"#,
    );
    for slot in 0..subscribers {
        let conn = connect(&mut hub, slot);
        hub.handle_bytes(conn, &mut subscribe, NOW);
        end_turn(&mut hub, &mut out);
    }
    let publisher = connect(&mut hub, subscribers);
    let mut publish = frame(
        r#"{"jsonrpc":"2.0","id":1,"method":"topic/publish","params":{"topic":"alerts","data":{"text":"x"}}}"#,
    );
    bencher.counter(ItemsCount::new(subscribers)).bench_local(|| {
        hub.handle_bytes(publisher, &mut publish, NOW);
        black_box(end_turn(&mut hub, &mut out))
    });
}

/// A request from its frame to the bytes of its reply.
#[divan::bench]
fn public_test(bencher: Bencher<'_, '_>) {
    let mut hub = hub();
    let mut out = vec![0; 64 * 1024];
    let conn = connect(&mut hub, 0);
    let mut test = frame(r#"{"jsonrpc":"2.0","id":8212,"method":"public/test","params":{}}"#);
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| {
        hub.handle_bytes(conn, &mut test, NOW);
        black_box(end_turn(&mut hub, &mut out))
    });
}

const TICKS_PER_BATCH: u32 = 64;
const BATCHES: u64 = 100;

/// A market of 12 instruments whose books move at the top, as the batches that its home has sealed.
fn ticks() -> Vec<Outgoing> {
    let mut market = MarketHome::new(HomeId(1), 1, HISTORY, NOW);
    let mut feed = FeedBuffer::default();
    let symbol = |text: &str| Symbol::parse(text.as_bytes()).expect("a legal symbol");
    for number in 0..12 {
        let definition = Box::new(Instrument {
            name: symbol(&format!("I-{number}")),
            kind: InstrumentKind::Future,
            base_currency: symbol("ES"),
            quote_currency: symbol("USD"),
            tick_size: Price(UNIT / 4),
            price_decimals: 2,
            min_trade_amount: Amount(UNIT),
            amount_decimals: 0,
            contract_size: Amount(50 * UNIT),
            creation_timestamp_ms: 0,
            expiration_timestamp_ms: None,
        });
        feed.events.push(FeedEvent::Listed { definition });
    }
    let mut batches = Vec::new();
    let mut tick = 0;
    for _ in 0..BATCHES {
        for _ in 0..TICKS_PER_BATCH {
            tick += 1;
            fill(&mut feed, tick);
        }
        market.handle_feed(SourceId::FEED, &feed, NOW);
        feed.clear();
        market.seal();
        while let Some(outgoing) = market.poll_mesh() {
            batches.push(outgoing);
        }
    }
    batches
}

/// One level of one book gets an amount that it did not have.
fn fill(feed: &mut FeedBuffer, tick: i64) {
    let (side, sign) = if tick % 2 == 0 { (Side::Bid, -1) } else { (Side::Ask, 1) };
    let price = Price(4_800 * UNIT + sign * (1 + tick / 24 % 20) * UNIT / 4);
    let levels = feed.push_levels([LevelUpdate { side, price, amount: Amount(tick * UNIT) }]);
    let instrument = FeedInstrument(u32::try_from(tick / 2 % 12).expect("less than 12"));
    feed.events.push(FeedEvent::Levels { instrument, levels, timestamp_ns: NOW.unix_ns });
}

/// Ticks that nobody has subscribed to, in batches of 64, into a shard's last-value cache; per tick.
#[divan::bench]
fn apply_ticks_to_the_cache(bencher: Bencher<'_, '_>) {
    let batches = ticks();
    let count = u64::from(TICKS_PER_BATCH) * BATCHES;
    bencher.counter(ItemsCount::new(count)).with_inputs(hub).bench_local_values(|mut hub| {
        for outgoing in &batches {
            hub.handle_batch(HomeId(1), &outgoing.batch, NOW);
        }
        hub
    });
}
