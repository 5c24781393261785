//! Random operations of several accounts over a link that is cut at random, held against the naive venue: every order,
//! fill, position and the cash are the venue's, nothing is lost or doubled, each ask has one answer, and what clients read
//! on their private channels leads to the same.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::model::order::{DisconnectScope, notional};

const ACCOUNTS: u32 = 4;

#[derive(Clone, Debug)]
enum Act {
    Place { account: u32, is_buy: bool, price: i64, amount: i64, shape: u8, label: Option<u8> },
    Edit { account: u32, nth: usize, price: Option<i64>, amount: Option<i64>, reduce_only: Option<bool> },
    Cancel { account: u32, nth: usize },
    CancelByLabel { account: u32, label: u8 },
    CancelAll { account: u32 },
    CancelAllAfter { account: u32, timeout_ms: Option<u32> },
    Guard { account: u32, is_on: bool },
    Depart { account: u32, is_graceful: bool },
    Halt { account: u32, is_on: bool, everybody: bool },
    HouseQuotes { is_buy: bool, price: i64, amount: i64 },
    Wait { ms: u64 },
    Take,
    ReachVenue { count: usize },
    Deliver { count: usize },
    Run,
    Cut,
    LinkUp,
    Reconnect,
}

fn act() -> impl Strategy<Value = Act> {
    let account = 0..ACCOUNTS;
    let label = prop::option::weighted(0.5, 0u8..12);
    prop_oneof![
        12 => (account.clone(), any::<bool>(), 95i64..106, 1i64..6, 0u8..8, label).prop_map(
            |(account, is_buy, price, amount, shape, label)| Act::Place { account, is_buy, price, amount, shape, label }
        ),
        4 => (
            account.clone(),
            0usize..8,
            prop::option::of(95i64..106),
            prop::option::of(1i64..9),
            prop::option::weighted(0.2, any::<bool>()),
        )
            .prop_map(|(account, nth, price, amount, reduce_only)| Act::Edit { account, nth, price, amount, reduce_only }),
        4 => (account.clone(), 0usize..8).prop_map(|(account, nth)| Act::Cancel { account, nth }),
        1 => (account.clone(), 0u8..12).prop_map(|(account, label)| Act::CancelByLabel { account, label }),
        1 => account.clone().prop_map(|account| Act::CancelAll { account }),
        1 => (account.clone(), prop::option::of(1u32..40))
            .prop_map(|(account, timeout_ms)| Act::CancelAllAfter { account, timeout_ms }),
        1 => (account.clone(), any::<bool>()).prop_map(|(account, is_on)| Act::Guard { account, is_on }),
        1 => (account.clone(), any::<bool>()).prop_map(|(account, is_graceful)| Act::Depart { account, is_graceful }),
        1 => (account, prop::bool::weighted(0.3), prop::bool::weighted(0.2))
            .prop_map(|(account, is_on, everybody)| Act::Halt { account, is_on, everybody }),
        2 => (any::<bool>(), 95i64..106, 1i64..6)
            .prop_map(|(is_buy, price, amount)| Act::HouseQuotes { is_buy, price, amount }),
        2 => (0u64..20).prop_map(|ms| Act::Wait { ms }),
        5 => Just(Act::Take),
        4 => (1usize..4).prop_map(|count| Act::ReachVenue { count }),
        4 => (1usize..5).prop_map(|count| Act::Deliver { count }),
        3 => Just(Act::Run),
        2 => Just(Act::Cut),
        1 => Just(Act::LinkUp),
        3 => Just(Act::Reconnect),
    ]
}

struct Play {
    floor: Floor,
}

impl Play {
    fn new() -> Play {
        let config =
            DeskConfig { open_orders_per_account_max: 12, position_max: Amount(30 * UNIT), ..config() };
        Play { floor: Floor::with(config) }
    }

    fn act(&mut self, act: &Act) {
        let floor = &mut self.floor;
        match *act {
            Act::Place { account, is_buy, price, amount, shape, label } => {
                let order = shaped(is_buy, price, amount, shape);
                let label = label.and_then(|label| Label::parse(&label.to_string()));
                floor.send(account, place(NewOrder { label, ..order }));
            }
            Act::Edit { account, nth, price, amount, reduce_only } => {
                let Some(order) = nth_order(floor, account, nth) else { return };
                let OrderRequest::Edit(request) = edit(order, price, amount) else { unreachable!() };
                floor.send(account, OrderRequest::Edit(EditOrder { reduce_only, ..request }));
            }
            Act::Cancel { account, nth } => {
                if let Some(order) = nth_order(floor, account, nth) {
                    floor.send(account, cancel(order));
                }
            }
            Act::CancelByLabel { account, label } => {
                let label = Label::parse(&label.to_string()).unwrap();
                floor.send(account, OrderRequest::CancelByLabel { label, currency: None });
            }
            Act::CancelAll { account } => {
                floor.send(account, OrderRequest::CancelAll { filter: Filter::default() });
            }
            Act::CancelAllAfter { account, timeout_ms } => {
                floor.send(account, OrderRequest::CancelAllAfter { timeout_ms });
            }
            Act::Guard { account, is_on } => {
                let scope = DisconnectScope::Connection;
                floor.send(
                    account,
                    if is_on {
                        OrderRequest::EnableCancelOnDisconnect { scope }
                    } else {
                        OrderRequest::DisableCancelOnDisconnect { scope }
                    },
                );
            }
            Act::Depart { account, is_graceful } => {
                let how = if is_graceful { Departure::LoggedOut } else { Departure::Disconnected };
                floor.desk.handle_departure(client(account), how, floor.now);
            }
            Act::Halt { account, is_on, everybody } => {
                floor.send(account, OrderRequest::Halt { is_on, everybody });
            }
            Act::HouseQuotes { .. }
            | Act::Wait { .. }
            | Act::Take
            | Act::ReachVenue { .. }
            | Act::Deliver { .. }
            | Act::Run
            | Act::Cut
            | Act::LinkUp
            | Act::Reconnect => self.befall(act),
        }
    }

    /// What no client does.
    fn befall(&mut self, act: &Act) {
        let floor = &mut self.floor;
        match *act {
            Act::HouseQuotes { is_buy, price, amount } => {
                let direction = if is_buy { Direction::Buy } else { Direction::Sell };
                let crosses = floor.venue.resting.iter().any(|other| {
                    other.direction != direction
                        && if is_buy { other.price.0 <= price * UNIT } else { other.price.0 >= price * UNIT }
                });
                if !crosses {
                    floor.venue.quote(BTC, direction, price, amount);
                }
            }
            Act::Wait { ms } => {
                floor.wait_ms(ms);
                floor.desk.handle_timeout(floor.now);
            }
            Act::Take | Act::ReachVenue { .. } | Act::Deliver { .. } if !floor.is_linked => floor.settle(),
            Act::Take => {
                floor.take();
            }
            Act::ReachVenue { count } => {
                floor.reach_venue(count);
            }
            Act::Deliver { count } => {
                floor.deliver(count);
            }
            Act::Run => floor.run(),
            Act::Cut => floor.cut(),
            Act::LinkUp if floor.is_linked => {}
            Act::LinkUp => floor.link_up(),
            Act::Reconnect => floor.reconnect(),
            Act::Place { .. }
            | Act::Edit { .. }
            | Act::Cancel { .. }
            | Act::CancelByLabel { .. }
            | Act::CancelAll { .. }
            | Act::CancelAllAfter { .. }
            | Act::Guard { .. }
            | Act::Depart { .. }
            | Act::Halt { .. } => panic!("a client's: {act:?}"),
        }
    }

    /// Lets everything arrive, then holds all against all.
    fn check(mut self) -> Result<(), TestCaseError> {
        self.act(&Act::Reconnect);
        self.floor.run();
        let floor = &mut self.floor;
        prop_assert_eq!(floor.answers.len() as u32, floor.asked, "each ask has its answer");
        prop_assert_eq!((floor.desk.waiters.len(), floor.desk.sweeps.len()), (0, 0));
        prop_assert_eq!(floor.desk.in_doubt().count(), 0);
        let counters = floor.desk.counters;
        prop_assert_eq!((counters.strange_fills_total, counters.overfills_total), (0, 0));
        check_orders(floor)?;
        check_holdings(floor)?;
        check_channels(floor)?;
        check_labels(floor)
    }
}

fn shaped(is_buy: bool, price: i64, amount: i64, shape: u8) -> NewOrder {
    let order = if is_buy { buy(price, amount) } else { sell(price, amount) };
    match shape {
        0 => NewOrder { order_type: OrderType::Market, price: None, ..order },
        1 => NewOrder { time_in_force: TimeInForce::ImmediateOrCancel, ..order },
        2 => NewOrder { time_in_force: TimeInForce::FillOrKill, ..order },
        3 => NewOrder { post_only: PostOnly::Reject, ..order },
        4 => NewOrder { reduce_only: true, ..order },
        _ => order,
    }
}

/// One of the account's newest orders, open or not, if it has as many.
fn nth_order(floor: &Floor, account: u32, nth: usize) -> Option<OrderId> {
    let mut own: Vec<OrderId> = floor
        .desk
        .orders
        .all()
        .filter(|(_, held)| held.order.account.0 == account)
        .map(|(_, held)| held.order.id)
        .collect();
    own.sort_unstable();
    own.iter().rev().nth(nth).copied()
}

/// Every order that reached the venue is the desk's, with the venue's fills; what rests there is open here, and nothing
/// else is.
fn check_orders(floor: &Floor) -> Result<(), TestCaseError> {
    let mut filled: BTreeMap<OrderId, (i64, i128)> = BTreeMap::new();
    for booked in &floor.venue.booked {
        if let Some(order) = booked.order {
            let sums = filled.entry(order).or_default();
            sums.0 += booked.amount.0;
            sums.1 += notional(booked.price, booked.amount);
        }
    }
    for (id, account, spec) in &floor.venue.received {
        let slot = floor.desk.orders.find(*id).expect("none is forgotten in so short a time");
        let order = floor.desk.orders[slot].order;
        prop_assert_eq!(
            (order.account, order.direction, order.label),
            (*account, spec.direction, spec.label)
        );
        let (amount, value) = filled.remove(id).unwrap_or_default();
        prop_assert_eq!((order.filled.0, order.filled_notional), (amount, value), "fills of {:?}", id);
        let resting = floor.venue.resting.iter().find(|resting| resting.order == Some(*id));
        match resting {
            Some(resting) => {
                prop_assert_eq!(order.state, crate::model::order::OrderState::Open);
                prop_assert_eq!((order.left(), order.price), (resting.left, Some(resting.price)));
            }
            None => prop_assert!(order.state.is_final(), "{order:?}"),
        }
    }
    prop_assert!(filled.is_empty());
    let open = floor.desk.orders.all().filter(|(_, held)| !held.is_closed()).count();
    let resting = floor.venue.resting.iter().filter(|resting| resting.order.is_some()).count();
    prop_assert_eq!(open, resting);
    prop_assert_eq!(floor.desk.open_count as usize, open);
    Ok(())
}

/// Positions and cash are those of the venue's trades; with the house's they sum up to nothing; what counts as working is
/// what is open.
fn check_holdings(floor: &Floor) -> Result<(), TestCaseError> {
    let (mut sizes, mut cash): (BTreeMap<Option<u32>, i64>, BTreeMap<Option<u32>, i128>) = Default::default();
    for booked in &floor.venue.booked {
        let owner = booked.account.map(|account| account.0);
        let sign = if booked.direction == Direction::Buy { 1 } else { -1 };
        *sizes.entry(owner).or_default() += sign * booked.amount.0;
        *cash.entry(owner).or_default() -= i128::from(sign) * notional(booked.price, booked.amount);
    }
    let mut sums = (sizes.get(&None).copied().unwrap_or(0), cash.get(&None).copied().unwrap_or(0));
    for account in 0..ACCOUNTS {
        let Some(known) = floor.desk.accounts.get(AccountId(account)) else { continue };
        let holding = known.holdings.of(BTC);
        let held = known.holdings.cash(symbol("USD"));
        prop_assert_eq!(holding.position.size, sizes.get(&Some(account)).copied().unwrap_or(0));
        prop_assert_eq!(held, cash.get(&Some(account)).copied().unwrap_or(0));
        prop_assert_eq!(held, holding.position.realized - holding.position.cost);
        sums.0 += holding.position.size;
        sums.1 += held;
        let mut working = ([0i128; 2], [0i128; 2]);
        for resting in
            floor.venue.resting.iter().filter(|resting| resting.account == Some(AccountId(account)))
        {
            let at = usize::from(resting.direction == Direction::Sell);
            working.0[at] += i128::from(resting.left.0);
            let slot = floor.desk.orders.find(resting.order.unwrap()).unwrap();
            if floor.desk.orders[slot].order.reduce_only {
                working.1[at] += i128::from(resting.left.0);
            }
        }
        prop_assert_eq!((holding.working, holding.reducing), working);
        prop_assert!(holding.reducing[0] <= i128::from(holding.closable(Direction::Buy)));
        prop_assert!(holding.reducing[1] <= i128::from(holding.closable(Direction::Sell)));
    }
    prop_assert_eq!(sums, (0, 0));
    Ok(())
}

/// A client that reads its private channels from the start knows its orders, fills and position as the venue does.
fn check_channels(floor: &Floor) -> Result<(), TestCaseError> {
    for account in 0..ACCOUNTS {
        let own = || floor.events.iter().filter(|told| told.account.0 == account);
        let numbers: Vec<u64> = own().map(|told| told.seq).collect();
        prop_assert_eq!(&numbers, &(1..=numbers.len() as u64).collect::<Vec<_>>());
        let mut orders: BTreeMap<u64, &Value> = BTreeMap::new();
        let (mut fills, mut position) = (0.0, 0.0);
        for told in own() {
            orders.insert(id_of(&told.order).0, &told.order);
            for fill in &told.trades {
                prop_assert_eq!(&fill["order_id"], &told.order["order_id"]);
                let sign = if fill["direction"] == "buy" { 1.0 } else { -1.0 };
                fills += sign * fill["amount"].as_f64().unwrap();
            }
            if let Some(told) = &told.position {
                position = told["size"].as_f64().unwrap();
            }
        }
        prop_assert_eq!(fills, position);
        let holding = floor.desk.accounts.get(AccountId(account)).map(|known| known.holdings.of(BTC));
        prop_assert_eq!(position, holding.map_or(0.0, |holding| holding.position.size as f64 / UNIT as f64));
        for (id, of, _) in floor.venue.received.iter().filter(|(_, of, _)| of.0 == account) {
            let slot = floor.desk.orders.find(*id).unwrap();
            let order = floor.desk.orders[slot].order;
            if order.state == crate::model::order::OrderState::Rejected && !orders.contains_key(&id.0) {
                continue;
            }
            let mut json = Vec::new();
            crate::dialect::json_rpc::write_order(&mut json, &order, &floor.market[0].definition);
            let expected: Value = serde_json::from_slice(&json).unwrap();
            prop_assert_eq!(orders.get(&id.0).copied(), Some(&expected), "of {:?}", of);
        }
    }
    Ok(())
}

/// No label has more than one order that was not rejected.
fn check_labels(floor: &Floor) -> Result<(), TestCaseError> {
    let mut seen: BTreeMap<(AccountId, Label), OrderId> = BTreeMap::new();
    for (id, account, spec) in &floor.venue.received {
        let slot = floor.desk.orders.find(*id).unwrap();
        let is_rejected = floor.desk.orders[slot].order.state == crate::model::order::OrderState::Rejected;
        if let Some(label) = spec.label.filter(|_| !is_rejected) {
            let before = seen.insert((*account, label), *id);
            prop_assert_eq!(before, None, "a second order of {:?}", label);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn the_desk_s_word_is_the_venue_s_whatever_happens_to_the_link(acts in prop::collection::vec(act(), 1..120)) {
        let mut play = Play::new();
        for act in &acts {
            play.act(act);
        }
        play.check()?;
    }
}
