//! Clients' orders among the simulated traders.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::model::decimal::{Amount, Price};
use crate::model::order::{AccountId, NewOrder, OrderType, PostOnly, TimeInForce};

/// A market with one client's view of it: replicas of the books, and what is open of each order.
struct Floor {
    paper: Paper,
    now: Now,
    out: FeedBuffer,
    books: Vec<Book>,
    /// By the order's number, as the reports and trades have it.
    open: BTreeMap<OrderId, Amount>,
    /// What each was in all when last told of.
    totals: BTreeMap<OrderId, Amount>,
    /// Of the fills of clients' orders, makers' and takers'.
    filled: i64,
    timestamp_ns: u64,
    /// All that was told, as text.
    story: String,
    /// What the request under way asks for.
    request: Option<VenueRequest>,
}

impl Floor {
    fn new(config: PaperConfig) -> Floor {
        let mut floor = Floor {
            paper: Paper::new(config),
            now: START,
            out: FeedBuffer::default(),
            books: Vec::new(),
            open: BTreeMap::new(),
            totals: BTreeMap::new(),
            filled: 0,
            timestamp_ns: 0,
            story: String::new(),
            request: None,
        };
        floor.pass(0);
        floor
    }

    /// Lets so much time pass, then takes all that is due.
    fn pass(&mut self, ns: u64) {
        self.now = self.now.plus_ns(ns);
        self.poll(usize::MAX);
        self.check_orders();
    }

    fn poll(&mut self, events_max: usize) -> usize {
        self.out.clear();
        self.paper.poll(self.now, &mut self.out, events_max);
        self.take()
    }

    fn request(&mut self, request: VenueRequest) -> String {
        self.request = Some(request);
        self.out.clear();
        let instrument = FeedInstrument(request.instrument().0);
        self.paper.handle_request(instrument, &request, self.now, &mut self.out);
        let before = self.story.len();
        self.take();
        self.request = None;
        self.check_orders();
        self.story[before..].to_owned()
    }

    fn new_order(&self, order: u64, instrument: u32, direction: Direction) -> VenueRequest {
        VenueRequest::New {
            order: OrderId(order),
            account: AccountId(1),
            spec: NewOrder {
                instrument: InstrumentId(instrument),
                direction,
                order_type: OrderType::Market,
                price: None,
                amount: self.lots(instrument, 1),
                time_in_force: TimeInForce::GoodTilCancelled,
                post_only: PostOnly::No,
                reduce_only: false,
                label: None,
                valid_until_ms: None,
            },
        }
    }

    fn limit(
        &mut self,
        order: u64,
        instrument: u32,
        direction: Direction,
        price: Price,
        lots: i64,
    ) -> String {
        let VenueRequest::New { account, spec, .. } = self.new_order(order, instrument, direction) else {
            unreachable!("it is a new order")
        };
        let amount = self.lots(instrument, lots);
        let spec = NewOrder { order_type: OrderType::Limit, price: Some(price), amount, ..spec };
        self.request(VenueRequest::New { order: OrderId(order), account, spec })
    }

    fn lots(&self, instrument: u32, lots: i64) -> Amount {
        Amount(lots * self.paper.definitions[instrument as usize].min_trade_amount.0)
    }

    fn tick(&self, instrument: u32) -> i64 {
        self.paper.definitions[instrument as usize].tick_size.0
    }

    fn best(&self, instrument: u32, side: Side) -> Price {
        let book = &self.books[instrument as usize];
        match side {
            Side::Bid => book.best_bid().unwrap().price,
            Side::Ask => book.best_ask().unwrap().price,
        }
    }

    /// Applies what was told; returns how many events that were.
    fn take(&mut self) -> usize {
        let out = std::mem::take(&mut self.out);
        for event in &out.events {
            match event {
                FeedEvent::Listed { .. } => self.books.push(Book::default()),
                FeedEvent::Cleared { instrument, levels, timestamp_ns }
                | FeedEvent::Levels { instrument, levels, timestamp_ns } => {
                    self.tell(*timestamp_ns, &format!("{instrument:?} {:?}", levels.of(&out.levels)));
                    let book = &mut self.books[instrument.0 as usize];
                    levels.of(&out.levels).iter().for_each(|update| {
                        book.apply(*update);
                    });
                    let best = (book.best_bid(), book.best_ask());
                    if let (Some(bid), Some(ask)) = best {
                        assert!(bid.price < ask.price, "crossed: {bid:?} {ask:?}");
                    }
                }
                FeedEvent::Trade { instrument, price, amount, direction, parties, timestamp_ns } => {
                    self.tell(*timestamp_ns, &format!("{event:?}"));
                    let side = match direction {
                        Direction::Buy => Side::Ask,
                        Direction::Sell => Side::Bid,
                    };
                    let book = &self.books[instrument.0 as usize];
                    assert!(book.amount_at(side, *price) >= *amount, "traded more than there was");
                    for order in [parties.maker, parties.taker].into_iter().flatten() {
                        let open = self.open.get_mut(&order).expect("a fill of an order that is not open");
                        open.0 -= amount.0;
                        assert!(open.0 >= 0, "{order:?} was filled beyond its amount");
                        self.filled += amount.0;
                    }
                }
                FeedEvent::Report(report) => {
                    self.tell(self.timestamp_ns, &format!("{report:?}"));
                    self.take_report(*report);
                }
                FeedEvent::Quote { .. } | FeedEvent::State { .. } => {
                    panic!("a paper market says no such thing")
                }
            }
        }
        self.out = out;
        self.out.events.len()
    }

    fn take_report(&mut self, report: VenueReport) {
        match (report, self.request) {
            (VenueReport::Accepted { order, .. }, Some(VenueRequest::New { spec, .. })) => {
                assert_eq!(self.open.insert(order, spec.amount), None);
                self.totals.insert(order, spec.amount);
            }
            (VenueReport::Amended { order, total, .. }, Some(VenueRequest::Amend { .. })) => {
                let before = self.totals.insert(order, total).expect("it was accepted");
                let open = self.open.get_mut(&order).expect("amended an order that is not open");
                open.0 += total.0 - before.0;
                assert!(*open >= Amount::ZERO, "{order:?} is less than its fills");
            }
            (VenueReport::Cancelled { order, why }, request) => {
                let left = self.open.remove(&order).expect("cancelled an order that is not open");
                assert!(left > Amount::ZERO, "{order:?} was cancelled when it was filled");
                assert_ne!(why, CancelReason::Venue);
                assert!(request.is_some(), "nobody asked for it");
            }
            (
                VenueReport::Rejected { .. }
                | VenueReport::AmendRejected { .. }
                | VenueReport::CancelRejected { .. },
                Some(_),
            ) => {}
            (report, request) => panic!("{report:?} to {request:?}"),
        }
    }

    fn tell(&mut self, timestamp_ns: u64, text: &str) {
        assert!(timestamp_ns >= self.timestamp_ns, "time ran backwards: {text}");
        assert!(timestamp_ns <= self.now.unix_ns, "from the future: {text}");
        self.timestamp_ns = timestamp_ns;
        writeln!(self.story, "{timestamp_ns} {text}").unwrap();
    }

    /// What is open by the reports is what rests in the books.
    fn check_orders(&mut self) {
        self.open.retain(|_, open| *open > Amount::ZERO);
        let resting: u32 = self.paper.pits.iter().map(|pit| pit.book.client_order_count()).sum();
        assert_eq!(resting as usize, self.open.len());
        for (order, open) in &self.open {
            let rests = |pit: &Pit| pit.book.order(pit.book.find(*order)?);
            let resting = self.paper.pits.iter().find_map(rests).expect("an open order rests");
            assert_eq!(resting.amount, *open);
        }
    }

    /// The books are what was told of them, and sound.
    fn check_books(&self) {
        for (pit, book) in self.paper.pits.iter().zip(&self.books) {
            pit.book.assert_invariants();
            assert!(pit.book.levels(Side::Bid).eq(book.bids()), "the replica differs");
            assert!(pit.book.levels(Side::Ask).eq(book.asks()), "the replica differs");
        }
    }

    fn traders_levels(&self, instrument: u32, side: Side) -> usize {
        self.paper.pits[instrument as usize].book.simulated_level_count(side)
    }
}

fn one(seed: u64) -> PaperConfig {
    PaperConfig { seed, instruments: 1, events_per_s: 1_000 }
}

#[test]
fn a_market_order_s_report_trades_and_levels_come_in_one_moment() {
    let mut floor = Floor::new(one(1));
    floor.pass(10_000_000);
    let ask = floor.best(0, Side::Ask);
    let told = floor.request(floor.new_order(1, 0, Direction::Buy));
    let lines: Vec<_> = told.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    assert_eq!(lines[0], "Accepted { order: OrderId(1), price: None }");
    let trade = format!(
        "Trade {{ instrument: FeedInstrument(0), price: {ask:?}, amount: {:?}, direction: Buy, \
         parties: Parties {{ maker: None, taker: Some(OrderId(1)) }}, timestamp_ns: {} }}",
        floor.lots(0, 1),
        floor.timestamp_ns
    );
    assert_eq!(lines[1], trade);
    assert!(lines[2].starts_with("FeedInstrument(0) [LevelUpdate { side: Ask, "), "{}", lines[2]);
    assert_eq!(lines.len(), 3);
    floor.check_books();
}

#[test]
fn the_simulated_traders_fill_a_client_s_order_as_anybody_s() {
    for direction in [Direction::Buy, Direction::Sell] {
        let mut floor = Floor::new(one(2));
        floor.pass(10_000_000);
        let side = if direction == Direction::Buy { Side::Bid } else { Side::Ask };
        let best = floor.best(0, side);
        floor.limit(1, 0, direction, best, 20);
        assert_eq!(floor.open.len(), 1);
        for _ in 0..20_000 {
            floor.pass(1_000_000);
            if floor.open.is_empty() {
                break;
            }
        }
        assert_eq!(floor.filled, floor.lots(0, 20).0, "nobody came in 20 s");
    }
}

#[test]
fn an_arbitrageur_takes_a_price_that_is_too_good_at_the_next_moment() {
    let mut floor = Floor::new(one(3));
    floor.pass(10_000_000);
    // Far above the fair value: it eats what there is, and what is left of it is a gift.
    let price = Price(floor.best(0, Side::Ask).0 * 2);
    floor.limit(1, 0, Direction::Buy, price, 1_000_000);
    assert_eq!((floor.traders_levels(0, Side::Ask), floor.open.len()), (0, 1));
    let due = floor.paper.poll_timeout();
    floor.pass(due - floor.now.mono_ns);
    assert!(floor.open.is_empty(), "it still rests: {:?}", floor.open);
    assert_eq!(floor.filled, floor.lots(0, 1_000_000).0);
    assert!(floor.traders_levels(0, Side::Ask) >= LEVELS_MIN);
    floor.check_books();
}

#[test]
fn a_book_that_a_client_has_eaten_up_is_filled_again() {
    let mut floor = Floor::new(one(4));
    floor.pass(10_000_000);
    for direction in [Direction::Sell, Direction::Buy] {
        let order = if direction == Direction::Buy { 1 } else { 2 };
        let VenueRequest::New { account, spec, .. } = floor.new_order(order, 0, direction) else {
            unreachable!("it is a new order")
        };
        let spec = NewOrder { amount: floor.lots(0, 1_000_000), ..spec };
        let told = floor.request(VenueRequest::New { order: OrderId(order), account, spec });
        assert!(told.contains("why: Immediate"), "{told}");
    }
    assert_eq!(floor.books[0], Book::default());
    assert!(floor.request(floor.new_order(3, 0, Direction::Buy)).contains("VenueRefused"));
    floor.pass(100_000_000);
    for side in [Side::Bid, Side::Ask] {
        assert!((LEVELS_MIN..=LEVELS_MAX).contains(&floor.traders_levels(0, side)));
    }
    floor.check_books();
}

#[test]
fn an_order_at_the_last_price_that_there_is_leaves_the_traders_unharmed() {
    let (tick, highest) = (listings(1)[0].definition.tick_size.0, traders::TICKS_MAX);
    for (direction, ticks) in [(Direction::Sell, 1), (Direction::Buy, highest)] {
        let mut floor = Floor::new(one(5));
        floor.pass(10_000_000);
        floor.limit(1, 0, direction, Price(ticks * tick), 1_000_000);
        assert_eq!(floor.open.len(), 1);
        for _ in 0..200 {
            floor.pass(1_000_000);
            floor.check_books();
        }
        assert!(floor.open.is_empty());
        for side in [Side::Bid, Side::Ask] {
            assert!((LEVELS_MIN..=LEVELS_MAX).contains(&floor.traders_levels(0, side)));
        }
    }
}

#[test]
fn orders_far_away_stay_and_are_no_depth_and_the_traders_keep_their_own_levels() {
    let mut floor = Floor::new(one(6));
    floor.pass(10_000_000);
    let tick = floor.tick(0);
    for at in 0..150 {
        // From among the traders' farthest levels to far behind them.
        let far = (20 + at) * tick;
        let (bid, ask) = (floor.best(0, Side::Bid), floor.best(0, Side::Ask));
        let order = u64::try_from(2 * at).unwrap();
        floor.limit(order, 0, Direction::Buy, Price(bid.0 - far), 1);
        floor.limit(order + 1, 0, Direction::Sell, Price(ask.0 + far), 1);
    }
    let told = floor.open.clone();
    for _ in 0..500 {
        floor.pass(1_000_000);
        for side in [Side::Bid, Side::Ask] {
            let levels = floor.traders_levels(0, side);
            assert!((LEVELS_MIN..=LEVELS_MAX).contains(&levels), "{levels}");
        }
    }
    let gone = told.keys().filter(|order| !floor.open.contains_key(order)).count();
    assert!(gone < 50, "{gone} of {}: only a price that came so far may fill them", told.len());
    floor.check_books();
}

#[test]
fn a_request_waits_until_the_moment_that_is_being_told_is_told() {
    let mut halves = 0;
    for seed in 1..40 {
        let mut floor = Floor::new(one(seed));
        floor.now = floor.now.plus_ns(50_000_000);
        // One event at a time, until a moment has told a trade and not its levels.
        while floor.poll(1) > 0 {
            if matches!(floor.out.events[..], [FeedEvent::Trade { .. }]) {
                halves += 1;
                let told = floor.request(floor.new_order(1, 0, Direction::Buy));
                let accepted = told.lines().position(|line| line.contains("Accepted")).unwrap();
                let before = told.lines().nth(accepted.checked_sub(1).unwrap()).unwrap();
                assert!(before.contains("LevelUpdate"), "{told}");
                floor.check_books();
                break;
            }
        }
        floor.pass(10_000_000);
        floor.check_books();
    }
    assert!(halves > 20, "{halves}");
}

#[test]
fn what_clients_do_moves_neither_the_choice_of_instruments_nor_fair_values() {
    let moves = |orders: bool| {
        let mut floor = Floor::new(config(11, 1_000));
        let mut moves = String::new();
        for number in 0..2_000 {
            if orders {
                let instrument = u32::try_from(number % 12).unwrap();
                let direction = if number % 3 == 0 { Direction::Buy } else { Direction::Sell };
                let best = floor.best(instrument, Side::Bid);
                floor.limit(number, instrument, direction, best, 1 + i64::try_from(number % 50).unwrap());
            }
            let due = floor.paper.poll_timeout();
            floor.pass(due.saturating_sub(floor.now.mono_ns));
            writeln!(moves, "{:?} {:?}", floor.paper.told, floor.paper.underlyings).unwrap();
        }
        (moves, floor.filled)
    };
    let (alone, with_clients) = (moves(false), moves(true));
    assert!(with_clients.1 > 0 && alone.1 == 0);
    assert_eq!(alone.0, with_clients.0);
}

#[test]
fn before_the_opening_and_for_what_is_not_listed_nothing_is_done() {
    let mut paper = Paper::new(one(1));
    let mut out = FeedBuffer::default();
    let cancel =
        |instrument| VenueRequest::Cancel { order: OrderId(1), instrument: InstrumentId(instrument) };
    let mut answer = |paper: &mut Paper, request: VenueRequest| {
        out.clear();
        let instrument = FeedInstrument(request.instrument().0);
        paper.handle_request(instrument, &request, START, &mut out);
        format!("{:?}", out.events)
    };
    let closed = "[Report(CancelRejected { order: OrderId(1), why: BookClosed })]";
    assert_eq!(answer(&mut paper, cancel(0)), closed);
    paper.poll(START, &mut FeedBuffer::default(), 1);
    assert_eq!(answer(&mut paper, cancel(0)), closed);
    paper.poll(START, &mut FeedBuffer::default(), 1);
    let unknown = "[Report(CancelRejected { order: OrderId(1), why: OrderNotFound })]";
    assert_eq!(answer(&mut paper, cancel(0)), unknown);
    let unlisted = "[Report(CancelRejected { order: OrderId(1), why: VenueUnavailable })]";
    assert_eq!(answer(&mut paper, cancel(1)), unlisted);
}

#[test]
fn a_request_after_a_sleep_is_told_in_the_present() {
    let mut floor = Floor::new(one(1));
    let hour_ns = 3_600_000_000_000;
    floor.now = floor.now.plus_ns(hour_ns);
    floor.request(floor.new_order(1, 0, Direction::Buy));
    assert!(floor.timestamp_ns > START.unix_ns + hour_ns - LATE_NS_MAX, "{}", floor.timestamp_ns);
    floor.pass(1_000_000);
}

/// What one of the clients does, in numbers that are made to fit the market when it is done.
#[derive(Clone, Copy, Debug)]
struct Wish {
    kind: u8,
    account: u32,
    instrument: u32,
    is_bid: bool,
    /// From the best price of the own side, in ticks; positive is farther from the other side.
    distance: i64,
    lots: i64,
    time_in_force: u8,
    post_only: u8,
    /// Which earlier order an amendment or a cancel means.
    earlier: u64,
    /// How long after the one before.
    pause_us: u64,
}

fn wish() -> impl Strategy<Value = Wish> {
    let what = (0u8..10, 1u32..4, 0u32..3, any::<bool>(), -30i64..60, 1i64..40);
    let how = (0u8..4, 0u8..4, 0u64..60, 0u64..8_000);
    (what, how).prop_map(|(what, how)| Wish {
        kind: what.0,
        account: what.1,
        instrument: what.2,
        is_bid: what.3,
        distance: what.4,
        lots: what.5,
        time_in_force: how.0,
        post_only: how.1,
        earlier: how.2,
        pause_us: how.3,
    })
}

impl Wish {
    fn request(&self, floor: &Floor, number: u64) -> VenueRequest {
        let (side, away) = if self.is_bid { (Side::Bid, -1) } else { (Side::Ask, 1) };
        let tick = floor.tick(self.instrument);
        // A side may be eaten up.
        let book = &floor.books[self.instrument as usize];
        let near = if self.is_bid { book.best_bid() } else { book.best_ask() };
        let far = if self.is_bid { book.best_ask() } else { book.best_bid() };
        let near = near.or(far).map_or(Price(tick * 1_000), |level| level.price);
        let price = Price(near.0 + away * self.distance * tick);
        let amount = floor.lots(self.instrument, if self.kind == 0 { 100 * self.lots } else { self.lots });
        let (order, instrument) = (OrderId(self.earlier), InstrumentId(self.instrument));
        let post_only = match self.post_only {
            0 => PostOnly::Slide,
            1 => PostOnly::Reject,
            _ => PostOnly::No,
        };
        match self.kind {
            7 => VenueRequest::Cancel { order, instrument },
            8 => VenueRequest::Amend { order, instrument, price: None, total: amount, post_only },
            9 => VenueRequest::Amend { order, instrument, price: Some(price), total: amount, post_only },
            _ => {
                let is_market = self.kind == 1;
                let time_in_force = match self.time_in_force {
                    0 => TimeInForce::ImmediateOrCancel,
                    1 => TimeInForce::FillOrKill,
                    _ => TimeInForce::GoodTilCancelled,
                };
                let spec = NewOrder {
                    instrument,
                    direction: if side == Side::Bid { Direction::Buy } else { Direction::Sell },
                    order_type: if is_market { OrderType::Market } else { OrderType::Limit },
                    price: (!is_market).then_some(price),
                    amount,
                    time_in_force,
                    post_only,
                    reduce_only: false,
                    label: None,
                    valid_until_ms: None,
                };
                VenueRequest::New { order: OrderId(number), account: AccountId(self.account), spec }
            }
        }
    }
}

/// The story of a market in which clients have these wishes, polled `polls` times between two of them.
fn story_of(seed: u64, wishes: &[Wish], polls: u64) -> (String, i64) {
    let mut floor = Floor::new(PaperConfig { seed, instruments: 3, events_per_s: 2_000 });
    for (number, wish) in (0..).zip(wishes) {
        let pause_ns = wish.pause_us * 1_000 / polls * polls;
        for _ in 0..polls {
            floor.pass(pause_ns / polls);
        }
        // The remainder of the division, so that the request comes at the same time however often it is polled.
        floor.pass(wish.pause_us * 1_000 - pause_ns);
        let request = wish.request(&floor, number);
        floor.request(request);
        floor.check_books();
    }
    floor.pass(100_000_000);
    floor.check_books();
    (floor.story, floor.filled)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_clients_do_all_is_conserved_told_and_repeatable(
        seed in any::<u64>(),
        wishes in prop::collection::vec(wish(), 1..60),
    ) {
        let (story, _) = story_of(seed, &wishes, 1);
        prop_assert_eq!(&story_of(seed, &wishes, 7).0, &story);
    }
}

#[test]
fn a_crowd_of_clients_orders_that_the_traders_meet_does_not_hold_the_market_up() {
    let mut floor = Floor::new(one(7));
    floor.pass(10_000_000);
    let price = Price(floor.best(0, Side::Ask).0 * 2);
    floor.limit(1, 0, Direction::Buy, price, 1_000_000);
    for order in 2..1_002 {
        floor.limit(order, 0, Direction::Buy, price, 1);
    }
    assert_eq!(floor.open.len(), 1_001);
    let due = floor.paper.poll_timeout();
    floor.pass(due - floor.now.mono_ns);
    assert!(floor.open.is_empty(), "an arbitrageur takes them all at once");
    // With all levels that the traders touched, at most as long as their ladders have orders.
    let gap_ns = 1_000_000;
    assert!(floor.paper.poll_timeout() - floor.now.mono_ns < 400 * gap_ns);
    floor.check_books();
}
