//! In a steady state a turn of the hub, or of the desk, allocates nothing: proven by an allocator that counts. Each test warms up, so
//! that buffers have the size they need, and then counts over ten thousand messages.

mod backends;
#[path = "../../benches/fixture/mod.rs"]
mod fixture;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use tickring::backend::paper::{Paper, PaperConfig};
use tickring::desk::{Desk, DeskConfig, Wanted};
use tickring::hub::history::HistoryLimits;
use tickring::hub::market::MarketHome;
use tickring::hub::overload::OverloadMarks;
use tickring::hub::{Arrival, Framing, Hub, HubConfig, ListenerPolicy, Publishing, Urgency};
use tickring::mail::{OfficeCounters, OfficeGauges};
use tickring::model::book::{Level, LevelUpdate, Side};
use tickring::model::decimal::{Amount, Price};
use tickring::model::encoding::Encoding;
use tickring::model::ids::{ConnId, HomeId, InstrumentId, SourceId, Ticket};
use tickring::model::instrument::{Instrument, InstrumentKind, Symbol};
use tickring::model::market::{Direction, FeedBuffer, FeedEvent, FeedInstrument, InstrumentState};
use tickring::model::order::{
    AccountId, Ask, CancelReason, Client, Label, NewOrder, OrderId, OrderRequest, OrderType, Parties,
    PostOnly, TimeInForce, VenueReport, VenueRequest,
};
use tickring::model::time::Now;
use tickring::ws::deflate::{Agreement, ClientContextTakeover, DeflateSettings, Inflaters, WindowBits};
use tickring::ws::receiver::{ReceiveLimits, Receiver};

use fixture::frame;
use fixture::instrument::definition;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static ALLOCATED_BYTES: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, and a count of what each thread asks it for.
struct Counting;

fn count(bytes: usize) {
    // A thread that ends may free and allocate after its counter is gone: nobody counts there.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
    let _ = ALLOCATED_BYTES.try_with(|count| count.set(count.get() + bytes));
}

// SAFETY: each call is handed on to `System` with the caller's own arguments, and counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps `alloc`'s contract, which is `System`'s.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: `block` came from `System` by one of these calls, with this layout.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count(bytes);
        // SAFETY: `block` came from `System` by one of these calls, with this layout.
        unsafe { System.realloc(block, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const UNIT: i64 = 1_000_000_000;
const WARM_UP: u64 = 5_000;
const COUNTED: u64 = 10_000;

/// Runs `turn` until buffers have grown, then asserts that it allocates no more.
fn assert_allocates_nothing(mut turn: impl FnMut(u64)) {
    (0..WARM_UP).for_each(&mut turn);
    let before = ALLOCATIONS.get();
    (WARM_UP..WARM_UP + COUNTED).for_each(turn);
    assert_eq!(ALLOCATIONS.get() - before, 0, "allocations over {COUNTED} messages");
}

struct World {
    hub: Hub,
    now: Now,
    out: Vec<u8>,
}

impl World {
    fn new() -> World {
        let now = Now { mono_ns: 1, unix_ns: 1_700_000_000_000_000_000 };
        let config = HubConfig {
            receive: ReceiveLimits { frame_bytes_max: 65_536, message_bytes_max: 65_536, fragments_max: 64 },
            queued_bytes_max: 1024 * 1024,
            subscriptions_max: 100,
            handshake_timeout_ns: 10_000_000_000,
            idle_timeout_ns: 0,
            close_timeout_ns: 2_000_000_000,
            write_timeout_ns: 30_000_000_000,
            history: HISTORY,
            overload: OverloadMarks::default(),
            publishing: Publishing::Anyone,
            listeners: vec![
                ListenerPolicy {
                    ping_interval_ns: 0,
                    deflate: Some(DeflateSettings {
                        client_window_bits_max: WindowBits::MAX,
                        client_context_takeover: ClientContextTakeover::Refused,
                    }),
                    ..ListenerPolicy::default()
                },
                ListenerPolicy {
                    framing: Framing::LengthPrefixed,
                    ping_interval_ns: 0,
                    ..ListenerPolicy::default()
                },
            ],
            ..HubConfig::default()
        };
        World { hub: Hub::new(HomeId(0), 1, config, now), now, out: vec![0; 64 * 1024] }
    }

    fn connect(&mut self, slot: u32) -> ConnId {
        self.connect_with(slot, "")
    }

    /// A client of binary TCP.
    fn connect_tcp(&mut self, slot: u32) -> ConnId {
        let conn = ConnId { slot, generation: 1 };
        self.hub.handle_open(conn, Arrival { listener: 1, ..Arrival::FIRST }, self.now);
        conn
    }

    /// A client that has agreed to compression for a window of so many bits.
    fn connect_deflated(&mut self, slot: u32, bits: u8) -> ConnId {
        let offer = format!("permessage-deflate; server_max_window_bits={bits}");
        self.connect_with(slot, &format!("Sec-WebSocket-Extensions: {offer}\r\n"))
    }

    fn connect_with(&mut self, slot: u32, headers: &str) -> ConnId {
        let conn = ConnId { slot, generation: 1 };
        self.hub.handle_open(conn, Arrival::FIRST, self.now);
        let mut request = format!(
            "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{headers}\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        .into_bytes();
        self.hub.handle_bytes(conn, &mut request, self.now);
        self.flush();
        conn
    }

    /// A client's frame, its mask zero: unmasking leaves it as it is, so it can be sent again.
    fn send(&mut self, conn: ConnId, frame: &mut [u8]) {
        self.now = self.now.plus_ns(1_000);
        self.hub.handle_bytes(conn, frame, self.now);
        while self.hub.poll_effect().is_some() {}
    }

    /// The end of a turn and its flush; gives the bytes that were sent.
    fn flush(&mut self) -> usize {
        self.hub.seal(self.now);
        while self.hub.poll_mesh().is_some() {}
        let mut sent = 0;
        while let Some(conn) = self.hub.poll_ready(Urgency::Any) {
            sent += self.hub.poll_transmit(conn, &mut self.out);
            self.hub.handle_sent(conn, self.now);
        }
        while self.hub.poll_effect().is_some() {}
        sent
    }

    /// Carries what the market and the hub say to one another until both are silent, then flushes.
    fn carry(&mut self, market: &mut MarketHome) -> usize {
        loop {
            market.seal();
            let mut carried = false;
            while let Some(outgoing) = market.poll_mesh() {
                self.hub.handle_batch(HomeId(1), &outgoing.batch, self.now);
            }
            self.hub.seal(self.now);
            while let Some(outgoing) = self.hub.poll_mesh() {
                carried = true;
                market.handle_batch(HomeId(0), &outgoing.batch, self.now);
            }
            if !carried {
                return self.flush();
            }
        }
    }
}

const HISTORY: HistoryLimits =
    HistoryLimits { frames_max: 256, bytes_max: 64 * 1024, replayed_bytes_per_turn: 4 * 1024 * 1024 };

fn subscribe(channels: &str) -> Vec<u8> {
    frame(&format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"public/subscribe","params":{{"channels":[{channels}]}}}}"#
    ))
}

#[test]
fn answering_requests_allocates_nothing() {
    let mut world = World::new();
    let conns: Vec<_> = (0..100).map(|slot| world.connect(slot)).collect();
    let mut test = frame(r#"{"jsonrpc":"2.0","id":8212,"method":"public/test","params":{}}"#);
    let mut ping = vec![0x89, 0x84, 0, 0, 0, 0, b'p', b'i', b'n', b'g'];
    assert_allocates_nothing(|number| {
        for conn in &conns[..usize::try_from(number % 100).unwrap() + 1] {
            world.send(*conn, &mut test);
            world.send(*conn, &mut ping);
        }
        assert!(world.flush() > 0);
        world.hub.handle_timeout(world.now);
    });
}

#[test]
fn binary_tcp_allocates_nothing() {
    let [mut subscribe, mut publish] = [
        r#"{"jsonrpc":"2.0","id":1,"method":"public/subscribe","params":{"channels":["topic.t"]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"topic/publish","params":{"topic":"t","data":"the quick brown fox"}}"#,
    ]
    .map(|text| [&u32::try_from(text.len()).expect("short").to_be_bytes(), text.as_bytes()].concat());
    // A heartbeat too.
    publish.extend_from_slice(&[0; 4]);
    let mut world = World::new();
    let conns: Vec<_> = (0..50).map(|slot| world.connect_tcp(slot)).collect();
    conns.iter().for_each(|conn| world.send(*conn, &mut subscribe));
    world.flush();
    assert_allocates_nothing(|number| {
        world.send(conns[usize::try_from(number % 50).unwrap()], &mut publish);
        assert!(world.flush() > 50 * 100);
    });
    assert_eq!(world.hub.counters().deliveries_total, 50 * (WARM_UP + COUNTED));
}

#[test]
fn publishing_to_subscribers_allocates_nothing() {
    let mut world = World::new();
    for slot in 0..50 {
        let conn = world.connect(slot);
        world.send(conn, &mut subscribe("\"topic.alerts\""));
    }
    let publisher = world.connect(50);
    world.flush();
    let mut publish = frame(
        r#"{"jsonrpc":"2.0","id":1,"method":"topic/publish","params":{"topic":"alerts","data":{"text":"the quick brown fox"}}}"#,
    );
    let before = world.hub.counters().deliveries_total;
    assert_allocates_nothing(|_| {
        world.send(publisher, &mut publish);
        assert!(world.flush() > 50 * 100);
    });
    assert_eq!(world.hub.counters().deliveries_total - before, 50 * (WARM_UP + COUNTED));
}

/// A market of one instrument.
fn market(now: Now) -> (MarketHome, FeedBuffer) {
    let definition = Box::new(definition("ESH4"));
    let mut market = MarketHome::new(HomeId(1), 1, HISTORY, now);
    let mut feed = FeedBuffer::default();
    feed.events.push(FeedEvent::Listed { definition });
    market.handle_feed(SourceId::FEED, &feed, now);
    (market, feed)
}

/// Two levels, a quote and a trade.
fn fill(feed: &mut FeedBuffer, number: u64) {
    feed.clear();
    let step = i64::try_from(number % 40).expect("small");
    let instrument = FeedInstrument(0);
    let timestamp_ns = 1_700_000_000_000_000_000 + number;
    let amount = Amount((1 + i64::try_from(number % 97).expect("small")) * UNIT);
    let bid = Price(4_800 * UNIT - step * UNIT / 4);
    let ask = Price(4_801 * UNIT + step * UNIT / 4);
    let levels = feed.push_levels([
        LevelUpdate { side: Side::Bid, price: bid, amount },
        LevelUpdate { side: Side::Ask, price: ask, amount },
    ]);
    feed.events.push(FeedEvent::Levels { instrument, levels, timestamp_ns });
    let (bid, ask) = (Some(Level { price: bid, amount }), Some(Level { price: ask, amount }));
    if number % 40 == 39 {
        feed.events.push(FeedEvent::Quote { instrument, bid, ask, timestamp_ns });
    }
    let price = Price(4_800 * UNIT + step * UNIT / 4);
    let direction = Direction::Buy;
    feed.events.push(FeedEvent::Trade {
        instrument,
        price,
        amount,
        direction,
        parties: Parties::default(),
        timestamp_ns,
    });
}

#[test]
fn market_data_allocates_nothing() {
    let mut world = World::new();
    let (mut market, mut feed) = market(world.now);
    world.carry(&mut market);
    let channels =
        "\"book.ESH4.raw\",\"ticker.ESH4.raw\",\"trades.ESH4.raw\",\"quote.ESH4\",\"book.ESH4.none.10.raw\"";
    // In either encoding.
    let conns: Vec<_> = (0..10)
        .map(|slot| match slot % 2 {
            0 => world.connect(slot),
            _ => world.connect_with(slot, "Sec-WebSocket-Protocol: sbe.tickring.v1\r\n"),
        })
        .collect();
    for conn in conns {
        world.send(conn, &mut subscribe(channels));
    }
    world.carry(&mut market);
    assert_allocates_nothing(|number| {
        world.now = world.now.plus_ns(10_000);
        fill(&mut feed, number);
        market.handle_feed(SourceId::FEED, &feed, world.now);
        let sent = world.carry(&mut market);
        assert!(sent > 10 * 300, "every subscriber is told");
    });
}

#[test]
fn orders_on_the_paper_market_allocate_nothing() {
    let mut now = Now { mono_ns: 1, unix_ns: 1_700_000_000_000_000_000 };
    let mut paper = Paper::new(PaperConfig { seed: 1, instruments: 1, events_per_s: 10_000 });
    let mut feed = FeedBuffer::default();
    paper.poll(now, &mut feed, usize::MAX);
    // BTC-PERPETUAL, around 65,000 in steps of a half, in lots of 10.
    let instrument = InstrumentId(0);
    let new = |number: u64, price: Option<Price>| VenueRequest::New {
        order: OrderId(number),
        account: AccountId(1 + u32::try_from(number % 3).expect("small")),
        spec: NewOrder {
            instrument,
            direction: if number.is_multiple_of(2) { Direction::Buy } else { Direction::Sell },
            order_type: price.map_or(OrderType::Market, |_| OrderType::Limit),
            price,
            amount: Amount(50 * UNIT),
            time_in_force: TimeInForce::GoodTilCancelled,
            post_only: PostOnly::No,
            reduce_only: false,
            label: None,
            valid_until_ms: None,
        },
    };
    let (mut trades, mut cancelled) = (0, 0);
    assert_allocates_nothing(|number| {
        now = now.plus_ns(100_000);
        feed.clear();
        paper.poll(now, &mut feed, usize::MAX);
        let step = i64::try_from(number * 7 % 50).expect("small");
        let price = Price((64_980 + step) * UNIT);
        let (order, amount) = (OrderId(number.saturating_sub(20)), Amount(60 * UNIT));
        let amended = Some(Price(price.0 + UNIT));
        let requests = [
            new(number, if number.is_multiple_of(16) { None } else { Some(price) }),
            VenueRequest::Amend { order, instrument, price: amended, total: amount, post_only: PostOnly::No },
            VenueRequest::Cancel { order: OrderId(number.saturating_sub(40)), instrument },
        ];
        for request in &requests {
            paper.handle_request(FeedInstrument(0), request, now, &mut feed);
        }
        for event in &feed.events {
            trades += u64::from(matches!(event, FeedEvent::Trade { .. }));
            cancelled += u64::from(matches!(event, FeedEvent::Report(VenueReport::Cancelled { .. })));
        }
    });
    assert!(trades > COUNTED / 4 && cancelled > COUNTED / 4, "{trades} trades, {cancelled} cancelled");
}

#[test]
fn compressing_for_subscribers_allocates_nothing() {
    let mut world = World::new();
    let (mut market, mut feed) = market(world.now);
    world.carry(&mut market);
    let connect = |slot: u32| match slot % 4 {
        0 => world.connect(slot),
        1 => world.connect_deflated(slot, 9),
        _ => world.connect_deflated(slot, 15),
    };
    let conns: Vec<_> = (0..10).map(connect).collect();
    for conn in conns {
        world.send(conn, &mut subscribe("\"book.ESH4.raw\",\"trades.ESH4.raw\",\"book.ESH4.none.10.raw\""));
    }
    world.carry(&mut market);
    assert_allocates_nothing(|number| {
        world.now = world.now.plus_ns(10_000);
        fill(&mut feed, number);
        market.handle_feed(SourceId::FEED, &feed, world.now);
        let sent = world.carry(&mut market);
        assert!(sent > 10 * 100, "every subscriber is told");
    });
    assert!(market.home_counters().frames_deflated_total > 3 * COUNTED);
}

#[test]
fn an_incomplete_compressed_message_costs_what_is_said() {
    let limits = ReceiveLimits { frame_bytes_max: 1000, message_bytes_max: 1000, fragments_max: 2 };
    let mut inflaters = Inflaters::new(2);
    let mut begin = || {
        let mut receiver = Receiver::new(limits);
        receiver.agree_on_deflate(&Agreement {
            server_window_bits: None,
            client_window_bits: None,
            client_context_takeover: ClientContextTakeover::Refused,
        });
        let before = ALLOCATED_BYTES.get();
        let mut begun = [0x41, 0x80, 0, 0, 0, 0];
        assert_eq!(receiver.step_inflating(&mut begun, &mut inflaters), Ok((6, None)));
        (ALLOCATED_BYTES.get() - before, receiver.buffered_bytes())
    };
    // The first also makes what all share.
    begin();
    let (held_bytes, said_bytes) = begin();
    assert!(held_bytes <= said_bytes && said_bytes < held_bytes * 5 / 4, "{held_bytes}, said {said_bytes}");
}

/// What the venue says to each request: the seller's orders rest, the buyer's meet them.
fn answer_as_venue(desk: &mut Desk, encoding: Encoding, market: &[InstrumentState], now: Now) {
    while let Some(request) = desk.poll_request(now) {
        match request {
            VenueRequest::New { order, spec, .. } => {
                desk.handle_report(&VenueReport::Accepted { order, price: spec.price }, now);
                if spec.direction == Direction::Buy {
                    let trade = market[0].stamp_trade(Price(UNIT), spec.amount, Direction::Buy, now.unix_ns);
                    let maker = OrderId(order.0 - 1);
                    let parties = Parties { maker: Some(maker), taker: Some(order) };
                    desk.handle_trade(parties, InstrumentId(0), &trade, market, now);
                }
            }
            VenueRequest::Cancel { order, .. } => {
                desk.handle_report(&VenueReport::Cancelled { order, why: CancelReason::UserRequest }, now);
            }
            VenueRequest::Amend { .. } => panic!("nothing is edited here"),
        }
        desk.settle(market, |_| Wanted::default().and(encoding), now);
    }
    while desk.poll_output().is_some() {}
}

#[test]
fn an_order_that_is_filled_or_cancelled_allocates_nothing() {
    check_orders_allocate_nothing(Encoding::Json);
}

#[test]
fn an_order_that_is_filled_or_cancelled_allocates_nothing_in_sbe_either() {
    check_orders_allocate_nothing(Encoding::Sbe);
}

fn check_orders_allocate_nothing(encoding: Encoding) {
    let symbol = |text: &str| Symbol::parse(text.as_bytes()).expect("short");
    let market = [InstrumentState::new(Arc::new(Instrument {
        name: symbol("BTC-PERPETUAL"),
        kind: InstrumentKind::Future,
        base_currency: symbol("BTC"),
        quote_currency: symbol("USD"),
        tick_size: Price(UNIT),
        price_decimals: 0,
        min_trade_amount: Amount(UNIT),
        amount_decimals: 0,
        contract_size: Amount(UNIT),
        creation_timestamp_ms: 0,
        expiration_timestamp_ms: None,
    }))];
    let mut now = Now { mono_ns: 1, unix_ns: 1_700_000_000_000_000_000 };
    let config = DeskConfig {
        closed_orders_per_account_max: 200,
        fills_per_account_max: 200,
        credits_max: 1_000,
        credits_per_s: 1_000_000,
        ..DeskConfig::default()
    };
    let mut desk = Desk::new(config, OrderId(1));
    desk.handle_link_up(&[InstrumentId(0)], now);
    let mut labels = [0; 20];
    assert_allocates_nothing(|turn| {
        now = now.plus_ns(1_000_000);
        let mut next = 3 * turn + 1;
        for (account, direction) in [(0, Direction::Sell), (1, Direction::Buy), (0, Direction::Sell)] {
            // As a formatted text, without the allocation.
            let mut number = next;
            for digit in &mut labels {
                *digit = b'0' + u8::try_from(number % 10).expect("a digit");
                number /= 10;
            }
            let place = OrderRequest::Place(NewOrder {
                instrument: InstrumentId(0),
                direction,
                order_type: OrderType::Limit,
                price: Some(Price(UNIT)),
                amount: Amount(UNIT),
                time_in_force: TimeInForce::GoodTilCancelled,
                post_only: PostOnly::No,
                reduce_only: false,
                label: Label::parse(std::str::from_utf8(&labels).expect("digits")),
                valid_until_ms: None,
            });
            let client = Client { home: HomeId(0), conn: ConnId { slot: account, generation: 1 } };
            let ticket = Ticket { slot: 1, generation: 1 };
            let (account, is_connection) = (AccountId(account), true);
            let ask = Ask { ticket, account, client, is_connection, encoding, request: place };
            desk.handle_ask(&ask, &market, now);
            answer_as_venue(&mut desk, encoding, &market, now);
            next += 1;
        }
        let last = OrderRequest::Cancel { order: OrderId(next - 1), valid_until_ms: None };
        let client = Client { home: HomeId(0), conn: ConnId { slot: 0, generation: 1 } };
        let ticket = Ticket { slot: 1, generation: 1 };
        let (account, is_connection) = (AccountId(0), true);
        let ask = Ask { ticket, account, client, is_connection, encoding, request: last };
        desk.handle_ask(&ask, &market, now);
        answer_as_venue(&mut desk, encoding, &market, now);
    });
    let counters = desk.counters;
    assert_eq!(counters.refusals_total, 0);
    assert_eq!(
        (counters.orders_total, counters.fills_total),
        (3 * (WARM_UP + COUNTED), 2 * (WARM_UP + COUNTED))
    );
}

#[test]
fn telling_a_board_allocates_nothing() {
    use tickring::desk::DeskCounters;
    use tickring::hub::home::HomeCounters;
    use tickring::hub::market::MarketCounters;
    use tickring::telemetry::{Board, MeshReading, RingCounters, ShardReading, ThreadReading, VenueReading};

    let mut world = World::new();
    world.connect(0);
    let (shard, venue) = (Board::of_shard(0), Board::of_venue());
    assert_allocates_nothing(|turns_total| {
        let (hub, incidents, topics) =
            (world.hub.counters(), world.hub.incidents(), world.hub.home_counters());
        let thread = ThreadReading {
            topics: &topics,
            topics_count: world.hub.topic_count() as u64,
            history_bytes: world.hub.history_bytes() as u64,
            memory_bytes: world.hub.memory_bytes() as u64,
            ring: &RingCounters::default(),
            mesh: MeshReading::default(),
            turns_total,
            parks_total: 0,
        };
        let reading = ShardReading {
            hub: &hub,
            incidents: &incidents,
            connections: world.hub.connection_count(),
            connections_peak: 1,
            busy_turns_total: turns_total,
            busy_ns_total: 0,
            turn_ns_max: 0,
            turn_ns_mean: 0,
            costliest_bytes: 0,
            deepest_frames: 0,
        };
        shard.tell_shard(&thread, &reading);
        let reading = VenueReading {
            market: &MarketCounters::default(),
            desk: &DeskCounters::default(),
            office: &OfficeCounters::default(),
            held: &OfficeGauges::default(),
            is_halted: false,
            instruments: 1,
            links: &[],
            node: tickring::telemetry::NodeReading::default(),
        };
        venue.tell_venue(&ThreadReading { topics: &HomeCounters::default(), ..thread }, &reading);
    });
}

#[test]
fn a_turn_that_is_measured_allocates_nothing() {
    use tickring::telemetry::latency::{Histograms, Stage, exchange};

    let mut world = World::new();
    let (mut recorder, mut taker) = exchange(&Stage::ALL);
    let mut sum = Histograms::of(&Stage::ALL);
    assert_allocates_nothing(|turn| {
        let marks = world.hub.marks();
        marks.replies.add(turn, 1);
        marks.replies.add(turn / 2, 3);
        for (since_ns, count) in marks.replies.drain() {
            recorder.record_all(Stage::Request, 2 * turn - since_ns, count);
        }
        recorder.record(Stage::Turn, turn * 1_000);
        if turn % 100 == 0 {
            taker.ask();
        }
        recorder.hand_over();
        taker.take(|full| sum.add(full));
    });
    let asked = sum.stage(Stage::Request).unwrap().len();
    assert_eq!(asked, 4 * (WARM_UP + COUNTED - 99));
}
