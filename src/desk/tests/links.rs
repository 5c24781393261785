//! The link cut at every step: what was not sent, what is unknown, and how it is settled.

use super::*;
use crate::model::order::{DisconnectScope, VenueReport};

fn unknown(order: u64) -> Outcome {
    Err(OrderRefusal::OutcomeUnknown { order: OrderId(FIRST + order) })
}

#[test]
fn without_a_link_nothing_is_taken() {
    let mut floor = Floor::new();
    let id = floor.id(0, buy(90, 1));
    floor.cut();
    for request in [place(buy(90, 1)), cancel(id), edit(id, Some(91), None)] {
        assert_eq!(floor.ask(0, request), Err(OrderRefusal::VenueUnavailable));
    }
    assert_eq!(
        floor.ask(0, OrderRequest::CancelAll { filter: Filter::default() }),
        Err(OrderRefusal::VenueUnavailable)
    );
    assert_eq!(floor.done(0, open_orders()).as_array().unwrap().len(), 1, "what rested, rests");
    floor.reconnect();
    assert!(floor.ask(0, cancel(id)).is_ok());
}

#[test]
fn an_instrument_that_never_had_a_link_takes_no_orders() {
    let mut desk = Desk::new(config(), OrderId(1));
    let mut floor = Floor::new();
    std::mem::swap(&mut desk, &mut floor.desk);
    assert_eq!(floor.ask(0, place(buy(90, 1))), Err(OrderRefusal::VenueUnavailable));
    let unlisted = NewOrder { instrument: InstrumentId(77), ..buy(90, 1) };
    assert_eq!(floor.ask(0, place(unlisted)), Err(OrderRefusal::VenueUnavailable));
}

#[test]
fn what_no_link_had_taken_is_not_sent_and_stays_so() {
    let mut floor = Floor::new();
    let ticket = floor.send(0, place(labelled("a", buy(90, 1))));
    let repeat = floor.send(0, place(labelled("a", buy(90, 1))));
    floor.cut();
    assert_eq!(floor.answers[&ticket], Err(OrderRefusal::NotSent));
    assert_eq!(floor.answers[&repeat], Err(OrderRefusal::NotSent));
    floor.reconnect();
    assert!(floor.venue.received.is_empty());
    assert_eq!(floor.told(0), [""; 0]);
    assert_eq!(floor.done(0, place(labelled("a", buy(90, 1))))["repeated"], Value::Null);
}

#[test]
fn what_was_sent_and_not_answered_is_unknown_until_the_venue_tells_that_it_came() {
    let mut floor = Floor::new();
    floor.venue.quote(BTC, Direction::Sell, 90, 1);
    let ticket = floor.send(0, place(labelled("a", buy(90, 3))));
    floor.take();
    floor.reach_venue(1);
    floor.cut();
    assert_eq!(floor.answers[&ticket], unknown(0));
    assert_eq!(floor.told(0), ["0 unknown 0.0/3.0"]);
    assert_eq!(floor.ask(0, place(labelled("a", buy(90, 3)))), unknown(0));
    let state = floor.done(0, OrderRequest::OrderState { order: OrderId(FIRST) });
    assert_eq!(short(&state), "unknown 0.0/3.0@90.0");
    let doubts: Vec<InDoubt> = floor.desk.in_doubt().collect();
    assert_eq!(
        doubts,
        [InDoubt { order: OrderId(FIRST), account: AccountId(0), instrument: BTC, is_new: true }]
    );
    floor.reconnect();
    assert_eq!(floor.told(0), ["0 open 1.0/3.0 1 trades"]);
    let again = floor.done(0, place(labelled("a", buy(90, 3))));
    assert_eq!((short(&again["order"]), &again["repeated"]), ("open 1.0/3.0@90.0".into(), &true.into()));
    assert_eq!((floor.venue.received.len(), floor.desk.in_doubt().count()), (1, 0));
}

#[test]
fn what_was_sent_and_lost_is_rejected_once_the_venue_has_told_all() {
    let mut floor = Floor::new();
    let ticket = floor.send(0, place(labelled("a", buy(90, 3))));
    floor.take();
    floor.cut();
    assert_eq!(floor.answers[&ticket], unknown(0));
    floor.reconnect();
    assert_eq!(floor.told(0), ["0 unknown 0.0/3.0", "0 rejected 0.0/3.0"]);
    assert_eq!(floor.done(0, place(labelled("a", buy(90, 3))))["repeated"], Value::Null);
}

#[test]
fn an_order_that_was_in_doubt_is_remembered_like_any_other_where_memory_is_full() {
    let mut floor = Floor::with(DeskConfig { closed_orders_per_account_max: 2, ..config() });
    for price in [90, 91] {
        let id = floor.id(0, buy(price, 3));
        floor.done(0, cancel(id));
    }
    let ticket = floor.send(0, place(buy(92, 3)));
    floor.take();
    floor.cut();
    let Err(OrderRefusal::OutcomeUnknown { order }) = floor.answers[&ticket] else {
        panic!("it is in doubt")
    };
    floor.reconnect();
    let state = floor.done(0, OrderRequest::OrderState { order });
    assert_eq!(short(&state), "rejected 0.0/3.0@92.0", "who was told to ask by its number gets an answer");
}

#[test]
fn an_edit_in_doubt_is_settled_either_way() {
    for reached in [0, 1] {
        let mut floor = Floor::new();
        let id = floor.id(0, buy(90, 3));
        let asked = floor.send(0, edit(id, Some(95), Some(5)));
        floor.take();
        let queued = floor.send(0, edit(id, Some(96), None));
        let gone = floor.send(0, cancel(id));
        floor.reach_venue(reached);
        floor.cut();
        assert_eq!(floor.answers[&asked], unknown(0));
        assert_eq!(floor.answers[&queued], Err(OrderRefusal::NotSent));
        assert_eq!(floor.answers[&gone], Err(OrderRefusal::NotSent));
        floor.link_up();
        let early = floor.send(0, edit(id, Some(97), None));
        assert_eq!(floor.answers[&early], unknown(0), "as long as nobody knows what would be edited");
        floor.reconnect();
        let state = floor.done(0, OrderRequest::OrderState { order: id });
        let expected = ["open 0.0/3.0@90.0", "open 0.0/5.0@95.0"][reached];
        assert_eq!(short(&state), expected);
        assert_eq!(floor.venue.resting.len(), 1, "the cancel that was not sent is not sent later");
    }
}

#[test]
fn a_cancel_in_doubt_is_settled_either_way() {
    for reached in [0, 1] {
        let mut floor = Floor::new();
        let id = floor.id(0, buy(90, 3));
        let one = floor.send(0, cancel(id));
        let all = floor.send(0, OrderRequest::CancelAll { filter: Filter::default() });
        floor.take();
        floor.reach_venue(reached);
        floor.cut();
        assert_eq!((&floor.answers[&one], &floor.answers[&all]), (&unknown(0), &unknown(0)));
        floor.reconnect();
        let expected = [["0 open 0.0/3.0"], ["0 cancelled 0.0/3.0"]][reached];
        assert_eq!(floor.told(0)[2..], expected);
        assert_eq!(floor.venue.resting.len(), 1 - reached);
    }
}

#[test]
fn the_desk_s_own_cancels_outlive_a_link_and_are_asked_for_when_it_is_back() {
    let mut floor = Floor::new();
    floor.done(0, OrderRequest::EnableCancelOnDisconnect { scope: DisconnectScope::Connection });
    floor.done(0, place(buy(90, 1)));
    floor.send(0, place(buy(91, 1)));
    floor.take();
    floor.reach_venue(1);
    floor.cut();
    floor.desk.handle_departure(client(0), Departure::Disconnected, floor.now);
    assert_eq!(floor.take(), 0);
    floor.reconnect();
    assert!(floor.venue.resting.is_empty());
    // Or taken by a link that dies before it arrives.
    floor.done(1, place(buy(90, 1)));
    floor.done(1, OrderRequest::CancelAllAfter { timeout_ms: Some(5) });
    floor.wait_ms(5);
    floor.desk.handle_timeout(floor.now);
    floor.take();
    floor.cut();
    floor.reconnect();
    assert!(floor.venue.resting.is_empty());
    assert_eq!(floor.told(1).last().unwrap(), "2 cancelled 0.0/1.0");
    // Or still to be taken by it.
    floor.done(1, place(buy(90, 1)));
    floor.done_now(1, OrderRequest::Halt { is_on: true, everybody: false });
    floor.cut();
    floor.reconnect();
    assert!(floor.venue.resting.is_empty());
}

/// The link takes what the desk asks for, one cancel of this order, and the venue refuses.
fn refuse_cancel(floor: &mut Floor, order: OrderId) {
    assert_eq!(floor.take(), 1);
    let request = floor.sent.pop_front().unwrap();
    assert_eq!(request, VenueRequest::Cancel { order, instrument: BTC });
    let why = OrderRefusal::TooManyRequests { credits_left: 0, retry_after_ms: 1 };
    floor.happened.push_back(Happening::Report(VenueReport::CancelRejected { order, why }));
    floor.deliver(1);
}

/// Lets the time come at which the desk asks again.
fn wait_for_retry(floor: &mut Floor) {
    let due_ns = floor.now.mono_ns + limits::CANCEL_RETRY_NS;
    assert_eq!((floor.take(), floor.desk.poll_timeout()), (0, Some(due_ns)));
    floor.wait_ms(999);
    floor.desk.handle_timeout(floor.now);
    assert_eq!(floor.take(), 0);
    floor.wait_ms(1);
    floor.desk.handle_timeout(floor.now);
}

#[test]
fn a_cancel_of_the_desk_s_own_that_is_refused_is_asked_for_again() {
    let mut floor = Floor::new();
    let id = floor.id(0, buy(90, 1));
    floor.done_now(0, OrderRequest::Halt { is_on: true, everybody: false });
    for _ in 0..3 {
        refuse_cancel(&mut floor, id);
        wait_for_retry(&mut floor);
    }
    floor.run();
    assert_eq!(floor.told(0).last().unwrap(), "0 cancelled 0.0/1.0");
    assert_eq!((floor.desk.poll_timeout(), floor.desk.counters.cancels_given_up_total), (None, 0));
}

#[test]
fn a_cancel_that_is_always_refused_is_given_up_and_counted() {
    let mut floor = Floor::new();
    let id = floor.id(0, buy(90, 1));
    floor.done_now(0, OrderRequest::Halt { is_on: true, everybody: false });
    for _ in 1..limits::CANCELS_REFUSED_MAX {
        refuse_cancel(&mut floor, id);
        wait_for_retry(&mut floor);
    }
    refuse_cancel(&mut floor, id);
    assert_eq!((floor.desk.poll_timeout(), floor.desk.counters.cancels_given_up_total), (None, 1));
    assert_eq!(floor.done(0, open_orders()).as_array().unwrap().len(), 1);
    // Asked for once more, it is tried as often again.
    floor.done_now(0, OrderRequest::Halt { is_on: true, everybody: false });
    refuse_cancel(&mut floor, id);
    wait_for_retry(&mut floor);
    floor.run();
    assert!(floor.venue.resting.is_empty());
}

#[test]
fn a_client_or_another_link_does_not_wait_for_the_next_attempt() {
    for is_cut in [false, true] {
        let mut floor = Floor::new();
        let id = floor.id(0, buy(90, 1));
        floor.done_now(0, OrderRequest::Halt { is_on: true, everybody: false });
        refuse_cancel(&mut floor, id);
        floor.done_now(0, OrderRequest::Halt { is_on: true, everybody: false });
        assert_eq!(floor.take(), 0, "the switch thrown again is no other reason");
        if is_cut {
            floor.cut();
            floor.reconnect();
        } else {
            assert!(floor.ask(0, cancel(id)).is_ok());
        }
        assert!(floor.venue.resting.is_empty());
        floor.wait_ms(1_000);
        floor.desk.handle_timeout(floor.now);
        assert_eq!((floor.take(), floor.desk.poll_timeout()), (0, None));
    }
}

#[test]
fn a_cancel_of_a_client_s_that_is_refused_is_not_asked_for_again() {
    let mut floor = Floor::new();
    let id = floor.id(0, buy(90, 1));
    let ticket = floor.send(0, cancel(id));
    refuse_cancel(&mut floor, id);
    assert!(floor.answers[&ticket].is_err());
    assert_eq!((floor.take(), floor.desk.poll_timeout()), (0, None));
}

#[test]
fn one_link_s_death_is_no_matter_for_another_s_instruments() {
    let mut floor = Floor::new();
    let ticket = floor.send(0, place(NewOrder { instrument: EUR, ..buy(90, 1) }));
    floor.take();
    floor.desk.handle_link_down(&[BTC], floor.now);
    floor.run();
    assert!(floor.answers[&ticket].is_ok());
    assert_eq!(floor.ask(0, place(buy(90, 1))), Err(OrderRefusal::VenueUnavailable));
}

#[test]
fn reports_that_fit_nothing_are_counted_and_change_nothing() {
    let mut floor = Floor::new();
    let id = floor.id(0, buy(90, 3));
    let closed = floor.id(0, buy(90, 3));
    floor.done(0, cancel(closed));
    floor.told(0);
    let why = OrderRefusal::OrderNotFound;
    let amended = |order, total| VenueReport::Amended { order, price: Price(UNIT), total: Amount(total) };
    let strange = [
        VenueReport::Accepted { order: OrderId(5), price: None },
        VenueReport::Accepted { order: id, price: None },
        VenueReport::Accepted { order: closed, price: None },
        VenueReport::AmendRejected { order: id, why },
        VenueReport::CancelRejected { order: id, why },
        VenueReport::CancelRejected { order: closed, why },
        amended(id, 0),
        amended(id, -5),
        amended(closed, 5),
        VenueReport::Rejected { order: closed, why },
        VenueReport::Cancelled { order: closed, why: CancelReason::Venue },
    ];
    floor.happened.extend(strange.map(Happening::Report));
    for (order, amount) in [(OrderId(5), 1), (id, 0), (id, -1)] {
        floor.happened.push_back(Happening::Trade {
            instrument: BTC,
            price: Price(UNIT),
            amount: Amount(amount),
            direction: Direction::Buy,
            maker: Some(order),
            taker: None,
        });
    }
    floor.run();
    assert_eq!(floor.told(0), [""; 0]);
    let counters = floor.desk.counters;
    assert_eq!((counters.strange_reports_total, counters.strange_fills_total), (strange.len() as u64, 3));
    assert_eq!(short(&floor.done(0, OrderRequest::OrderState { order: id })), "open 0.0/3.0@90.0");
}

#[test]
fn what_a_venue_makes_of_orders_is_counted_however_much_it_is() {
    let mut floor = Floor::new();
    let ids = [floor.id(0, buy(90, 3)), floor.id(0, buy(90, 3))];
    for order in ids {
        let (price, total) = (Price(UNIT), Amount(i64::MAX));
        floor.happened.push_back(Happening::Report(VenueReport::Amended { order, price, total }));
    }
    floor.run();
    let holding = floor.desk.accounts[AccountId(0)].holdings.of(BTC);
    assert_eq!(holding.working[0], 2 * i128::from(i64::MAX));
    assert_eq!(floor.ask(0, place(buy(90, 1))), Err(OrderRefusal::AmountTooLarge));
    for id in ids {
        floor.done(0, cancel(id));
    }
    floor.done(0, place(buy(90, 1)));
}

#[test]
fn a_trade_of_another_instrument_or_of_more_than_can_be_counted_fills_nothing() {
    let mut floor = Floor::new();
    let id = floor.id(0, buy(90, 3));
    floor.told(0);
    for (instrument, price, amount) in
        [(EUR, Price(90 * UNIT), UNIT), (BTC, Price(i64::MAX), i64::MAX), (BTC, Price(-i64::MAX), i64::MAX)]
    {
        let (amount, direction) = (Amount(amount), Direction::Sell);
        let (maker, taker) = (Some(id), None);
        floor.happened.push_back(Happening::Trade { instrument, price, amount, direction, maker, taker });
    }
    floor.run();
    assert_eq!((floor.told(0), floor.desk.counters.strange_fills_total), (Vec::new(), 3));
    assert_eq!(
        floor.done(0, OrderRequest::Positions { filter: Filter::default() }),
        Value::Array(Vec::new())
    );
}

#[test]
fn what_a_venue_does_by_itself_is_told() {
    let mut floor = Floor::new();
    let id = floor.id(0, buy(90, 3));
    let amended = VenueReport::Amended { order: id, price: Price(80 * UNIT), total: Amount(2 * UNIT) };
    let gone = VenueReport::Cancelled { order: id, why: CancelReason::Venue };
    for report in [amended, gone] {
        floor.happened.push_back(Happening::Report(report));
        floor.run();
    }
    assert_eq!(floor.told(0), ["0 open 0.0/3.0", "0 open 0.0/2.0", "0 cancelled 0.0/2.0"]);
}

#[test]
fn a_fill_says_nothing_of_an_edit_that_is_in_doubt() {
    let mut floor = Floor::new();
    let id = floor.id(0, buy(90, 3));
    floor.venue.quote(BTC, Direction::Sell, 200, 9);
    let OrderRequest::Edit(request) = edit(id, Some(80), None) else { unreachable!() };
    let edited = EditOrder { post_only: Some(PostOnly::Reject), ..request };
    floor.send(0, OrderRequest::Edit(edited));
    floor.take();
    let seller = VenueRequest::New { order: OrderId(1), account: AccountId(9), spec: sell(90, 1) };
    floor.venue.handle(&seller, &mut floor.happened);
    floor.reach_venue(1);
    floor.cut();
    floor.link_up();
    floor.deliver(2);
    assert_eq!(floor.told(0)[1..], ["0 unknown 0.0/3.0", "0 unknown 1.0/3.0 1 trades"]);
    floor.reconnect();
    let order = floor.done(0, OrderRequest::OrderState { order: id });
    assert_eq!((short(&order), &order["post_only"]), ("open 1.0/3.0@80.0".into(), &true.into()));
    assert_eq!(floor.desk.counters.strange_reports_total, 1, "the seller is nobody's");
}
