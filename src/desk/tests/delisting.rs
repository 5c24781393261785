//! Instruments that are traded no more.

use super::*;
use crate::model::market::MarketState;

fn delist(floor: &mut Floor, instrument: InstrumentId) {
    floor.market[instrument.index()].state = MarketState::Delisted;
    floor.desk.handle_delisted(instrument);
    floor.desk.handle_timeout(floor.now);
    floor.settle();
}

fn in_euros(order: NewOrder) -> NewOrder {
    NewOrder { instrument: EUR, ..order }
}

#[test]
fn its_open_orders_of_all_accounts_are_cancelled_and_new_ones_refused_and_others_go_on() {
    let mut floor = Floor::new();
    let stays = floor.id(0, buy(90, 1));
    floor.done(0, place(in_euros(buy(90, 1))));
    floor.done(1, place(in_euros(sell(110, 2))));
    // One is on its way to the venue.
    let under_way = floor.send(1, place(in_euros(buy(91, 1))));
    floor.take();
    floor.told(0);
    floor.told(1);
    delist(&mut floor, EUR);
    floor.run();
    assert!(floor.answers[&under_way].is_ok(), "it was there before it was cancelled");
    assert_eq!(floor.venue.resting.iter().map(|resting| resting.order).collect::<Vec<_>>(), [Some(stays)]);
    let reasons: Vec<_> =
        floor.events.iter().filter_map(|told| told.order["cancel_reason"].as_str()).collect();
    assert_eq!(reasons, ["delisted"; 3]);
    assert_eq!(floor.told(0), ["1 cancelled 0.0/1.0"]);
    assert_eq!(floor.told(1), ["3 open 0.0/1.0", "2 cancelled 0.0/2.0", "3 cancelled 0.0/1.0"]);
    assert_eq!(floor.desk.counters.cancels_on_delisting_total, 3);
    assert_eq!(floor.desk.poll_timeout(), None, "nothing is left to be done");
    assert_eq!(floor.ask(0, place(in_euros(buy(90, 1)))), Err(OrderRefusal::Delisted));
    assert!(floor.ask(0, place(buy(90, 1))).is_ok());
}

#[test]
fn what_is_open_while_its_link_is_down_is_cancelled_once_it_is_up() {
    let mut floor = Floor::new();
    floor.done(0, place(in_euros(buy(90, 1))));
    floor.cut();
    delist(&mut floor, EUR);
    floor.run();
    assert_eq!(floor.venue.resting.len(), 1);
    assert_eq!(floor.ask(0, place(in_euros(buy(90, 1)))), Err(OrderRefusal::Delisted));
    floor.reconnect();
    floor.run();
    assert!(floor.venue.resting.is_empty());
    assert_eq!(floor.told(0).last().unwrap(), "0 cancelled 0.0/1.0");
}

#[test]
fn many_orders_are_gone_through_a_part_at_a_time() {
    let config = DeskConfig { open_orders_per_account_max: 100_000, ..config() };
    let mut floor = Floor::with(config);
    let many = limits::DESK_ORDERS_PER_TIMEOUT + 100;
    for _ in 0..many {
        floor.done(0, place(in_euros(buy(90, 1))));
    }
    delist(&mut floor, EUR);
    assert_eq!(floor.desk.counters.cancels_on_delisting_total, u64::from(limits::DESK_ORDERS_PER_TIMEOUT));
    assert_eq!(floor.desk.poll_timeout(), Some(0));
    floor.desk.handle_timeout(floor.now);
    floor.run();
    assert!(floor.venue.resting.is_empty());
    assert_eq!(floor.desk.poll_timeout(), None);
}

#[test]
fn what_goes_while_orders_are_gone_through_is_looked_for_from_the_first_and_the_rest_is_counted_once() {
    let config = DeskConfig { open_orders_per_account_max: 100_000, ..config() };
    let mut floor = Floor::with(config);
    floor.done(0, place(buy(90, 1)));
    let many = limits::DESK_ORDERS_PER_TIMEOUT;
    for _ in 0..many {
        floor.done(0, place(in_euros(buy(90, 1))));
    }
    delist(&mut floor, EUR);
    delist(&mut floor, BTC);
    floor.desk.handle_timeout(floor.now);
    floor.run();
    assert!(floor.venue.resting.is_empty());
    assert_eq!(floor.desk.counters.cancels_on_delisting_total, u64::from(many) + 1);
}

#[test]
fn however_many_instruments_go_in_a_turn_all_orders_are_gone_through_once() {
    let looked_at = |instruments: u32| {
        let mut floor = Floor::new();
        floor.done(0, place(in_euros(buy(90, 1))));
        let before = floor.desk.counters.looked_at_total;
        (100..99 + instruments).for_each(|other| floor.desk.handle_delisted(InstrumentId(other)));
        delist(&mut floor, EUR);
        assert_eq!(floor.desk.counters.cancels_on_delisting_total, 1);
        assert_eq!(floor.desk.poll_timeout(), None);
        floor.desk.counters.looked_at_total - before
    };
    assert_eq!(looked_at(4_000), looked_at(1));
}
