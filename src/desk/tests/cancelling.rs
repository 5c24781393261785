//! Cancelling: by number, label and filter, on disconnect, by the dead-man timer and the kill switch.

use super::*;
use crate::model::order::DisconnectScope;

fn cancel_all() -> OrderRequest {
    OrderRequest::CancelAll { filter: Filter::default() }
}

fn after(timeout_ms: Option<u32>) -> OrderRequest {
    OrderRequest::CancelAllAfter { timeout_ms }
}

fn guard(scope: DisconnectScope) -> OrderRequest {
    OrderRequest::EnableCancelOnDisconnect { scope }
}

fn depart(floor: &mut Floor, number: u32, how: Departure) {
    floor.desk.handle_departure(client(number), how, floor.now);
    floor.run();
}

#[test]
fn a_cancelled_order_is_answered_as_it_is_then() {
    let mut floor = Floor::new();
    let id = floor.id(0, buy(100, 5));
    assert_eq!(floor.ask(1, cancel(id)), Err(OrderRefusal::OrderNotFound));
    let order = floor.done(0, cancel(id));
    assert_eq!(
        (short(&order), &order["cancel_reason"]),
        ("cancelled 0.0/5.0@100.0".into(), &"user_request".into())
    );
    assert_eq!(floor.ask(0, cancel(id)), Err(OrderRefusal::AlreadyClosed));
    assert_eq!(floor.told(0), ["0 open 0.0/5.0", "0 cancelled 0.0/5.0"]);
    assert!(floor.venue.resting.is_empty());
}

#[test]
fn a_cancel_of_an_order_under_way_waits_behind_it() {
    let mut floor = Floor::new();
    let placed = floor.send(0, place(buy(100, 5)));
    let early = floor.send(0, cancel(OrderId(FIRST)));
    floor.take();
    let late = floor.send(0, cancel(OrderId(FIRST)));
    assert_eq!(floor.sent.len(), 1);
    floor.run();
    assert_eq!(short(&floor.answers[&placed].as_ref().unwrap()["order"]), "open 0.0/5.0@100.0");
    for ticket in [early, late] {
        assert_eq!(short(floor.answers[&ticket].as_ref().unwrap()), "cancelled 0.0/5.0@100.0");
    }
    assert!(floor.venue.resting.is_empty());
}

#[test]
fn a_cancel_overtakes_edits_that_wait() {
    let mut floor = Floor::new();
    let id = floor.id(0, buy(100, 5));
    let first = floor.send(0, edit(id, Some(101), None));
    let second = floor.send(0, edit(id, Some(102), None));
    let gone = floor.send(0, cancel(id));
    floor.run();
    assert_eq!(short(&floor.answers[&first].as_ref().unwrap()["order"]), "open 0.0/5.0@101.0");
    assert_eq!(short(floor.answers[&gone].as_ref().unwrap()), "cancelled 0.0/5.0@101.0");
    assert_eq!(floor.answers[&second], Err(OrderRefusal::AlreadyClosed));
}

#[test]
fn fills_that_come_while_a_cancel_is_under_way_count() {
    let mut floor = Floor::new();
    let id = floor.id(0, buy(100, 5));
    let gone = floor.send(0, cancel(id));
    floor.take();
    let seller = VenueRequest::New { order: OrderId(1), account: AccountId(9), spec: sell(100, 2) };
    floor.venue.handle(&seller, &mut floor.happened);
    floor.run();
    assert_eq!(short(floor.answers[&gone].as_ref().unwrap()), "cancelled 2.0/5.0@100.0");
    // The same where nothing is left to cancel.
    let id = floor.id(0, buy(100, 5));
    let gone = floor.send(0, cancel(id));
    floor.take();
    let seller = VenueRequest::New { order: OrderId(2), account: AccountId(9), spec: sell(100, 5) };
    floor.venue.handle(&seller, &mut floor.happened);
    floor.run();
    assert_eq!(floor.answers[&gone], Err(OrderRefusal::AlreadyClosed));
    assert_eq!(floor.desk.accounts[AccountId(0)].holdings.of(BTC).position.size, 7 * UNIT);
}

#[test]
fn a_fill_after_the_cancel_is_never_lost() {
    let mut floor = Floor::new();
    let id = floor.id(0, buy(100, 5));
    floor.done(0, cancel(id));
    let late = |amount: i64| Happening::Trade {
        instrument: BTC,
        price: Price(100 * UNIT),
        amount: Amount(amount * UNIT),
        direction: Direction::Sell,
        maker: Some(id),
        taker: None,
    };
    floor.happened.push_back(late(2));
    floor.run();
    assert_eq!(floor.told(0).last().unwrap(), "0 cancelled 2.0/5.0 1 trades");
    floor.happened.push_back(late(3));
    floor.run();
    assert_eq!(floor.told(0), ["0 filled 5.0/5.0 1 trades"]);
    // Even beyond the amount: the venue has traded.
    floor.happened.push_back(late(1));
    floor.run();
    assert_eq!(floor.told(0), ["0 filled 6.0/6.0 1 trades"]);
    assert_eq!(floor.desk.accounts[AccountId(0)].holdings.of(BTC).position.size, 6 * UNIT);
    assert_eq!((floor.desk.counters.late_fills_total, floor.desk.counters.overfills_total), (3, 1));
}

#[test]
fn cancel_all_takes_what_the_filter_lets_through_and_tells_how_many() {
    let mut floor = Floor::new();
    let in_eur = |order: NewOrder| NewOrder { instrument: EUR, ..order };
    for order in [buy(1, 1), buy(2, 1), in_eur(buy(3, 1)), labelled("x", buy(4, 1))] {
        floor.done(0, place(order));
    }
    floor.done(1, place(buy(1, 1)));
    let of = |filter| OrderRequest::CancelAll { filter };
    let none = Filter { kind: Some(InstrumentKind::Option), ..Filter::default() };
    assert_eq!(floor.done(0, of(none)), 0);
    let label = Label::parse("x").unwrap();
    let by_label = |currency| OrderRequest::CancelByLabel { label, currency };
    assert_eq!(floor.done(0, by_label(Some(symbol("EUR")))), 0);
    assert_eq!(floor.done(0, by_label(Some(symbol("BTC")))), 1);
    assert_eq!(floor.done(0, by_label(None)), 0);
    assert_eq!(floor.done(0, of(Filter { instrument: Some(EUR), ..Filter::default() })), 1);
    assert_eq!(floor.done(0, of(Filter { currency: Some(symbol("USD")), ..Filter::default() })), 2);
    assert_eq!(floor.done(0, cancel_all()), 0);
    assert_eq!(floor.venue.resting.len(), 1, "of the other account");
}

#[test]
fn cancel_all_counts_only_what_it_cancelled() {
    let mut floor = Floor::new();
    for price in [90, 91, 92] {
        floor.done(0, place(buy(price, 1)));
    }
    let placed = floor.send(0, place(buy(80, 1)));
    let ticket = floor.send(0, cancel_all());
    let second = floor.send(0, cancel_all());
    assert_eq!(floor.answers[&second], Ok(0.into()), "all are the first one's to count");
    floor.take();
    let seller = VenueRequest::New { order: OrderId(1), account: AccountId(9), spec: sell(92, 1) };
    floor.venue.handle(&seller, &mut floor.happened);
    floor.run();
    assert_eq!(floor.answers[&ticket], Ok(3.into()), "two at rest and one under way; one was filled");
    assert!(floor.answers[&placed].is_ok());
    assert!(floor.venue.resting.is_empty() && floor.desk.sweeps.is_empty());
}

#[test]
fn a_guarded_connection_that_goes_takes_its_own_orders_with_it() {
    let mut floor = Floor::new();
    let early = floor.id(0, buy(80, 1));
    floor.done(0, guard(DisconnectScope::Connection));
    floor.done(0, place(buy(90, 1)));
    let other = floor.send_over(0, client(55), true, place(buy(91, 1)));
    let call = floor.send_over(0, client(56), false, place(buy(92, 1)));
    floor.run();
    assert!(floor.answers[&other].is_ok() && floor.answers[&call].is_ok());
    floor.told(0);
    depart(&mut floor, 0, Departure::Disconnected);
    assert_eq!(floor.told(0), ["0 cancelled 0.0/1.0", "1 cancelled 0.0/1.0"]);
    let state = floor.done(0, OrderRequest::OrderState { order: early });
    assert_eq!(state["cancel_reason"], "cancel_on_disconnect");
    assert_eq!(floor.venue.resting.len(), 2, "of another connection and of none");
    assert_eq!(floor.desk.counters.cancels_on_disconnect_total, 2);
}

#[test]
fn nothing_is_cancelled_after_a_log_out_or_without_being_asked_for() {
    let mut floor = Floor::new();
    floor.done(0, place(buy(90, 1)));
    depart(&mut floor, 0, Departure::Disconnected);
    floor.done(0, guard(DisconnectScope::Connection));
    floor.done(0, place(buy(91, 1)));
    depart(&mut floor, 0, Departure::LoggedOut);
    depart(&mut floor, 0, Departure::Disconnected);
    // A later log-in on the same connection does not own what an earlier one placed.
    floor.done(0, guard(DisconnectScope::Connection));
    depart(&mut floor, 0, Departure::Disconnected);
    floor.done(0, guard(DisconnectScope::Connection));
    floor.done(0, OrderRequest::DisableCancelOnDisconnect { scope: DisconnectScope::Connection });
    floor.done(0, place(buy(92, 1)));
    depart(&mut floor, 0, Departure::Disconnected);
    assert_eq!(floor.venue.resting.len(), 3);
}

#[test]
fn the_account_s_scope_is_what_its_new_connections_begin_with() {
    let mut floor = Floor::new();
    floor.done(0, place(buy(90, 1)));
    floor.done(0, guard(DisconnectScope::Account));
    let of = |scope| OrderRequest::GetCancelOnDisconnect { scope };
    assert_eq!(floor.done(0, of(DisconnectScope::Connection))["enabled"], false);
    assert_eq!(floor.done(0, of(DisconnectScope::Account))["enabled"], true);
    let later = floor.send_over(0, client(55), true, place(buy(91, 1)));
    let asked = floor.send_over(0, client(55), true, of(DisconnectScope::Connection));
    floor.run();
    assert!(floor.answers[&later].is_ok());
    assert_eq!(floor.answers[&asked].as_ref().unwrap()["enabled"], true);
    depart(&mut floor, 0, Departure::Disconnected);
    assert_eq!(floor.venue.resting.len(), 2);
    depart(&mut floor, 55, Departure::Disconnected);
    assert_eq!(floor.venue.resting.len(), 1);
}

#[test]
fn a_call_without_a_connection_cannot_guard_it() {
    let mut floor = Floor::new();
    for request in [
        guard(DisconnectScope::Connection),
        OrderRequest::DisableCancelOnDisconnect { scope: DisconnectScope::Connection },
        OrderRequest::GetCancelOnDisconnect { scope: DisconnectScope::Connection },
    ] {
        let ticket = floor.send_over(0, client(0), false, request);
        assert_eq!(floor.answers[&ticket], Err(OrderRefusal::NeedsConnection));
    }
    let ticket = floor.send_over(0, client(0), false, guard(DisconnectScope::Account));
    assert_eq!(floor.answers[&ticket], Ok("ok".into()));
}

#[test]
fn an_order_under_way_when_its_connection_goes_is_cancelled_once_it_is_there() {
    let mut floor = Floor::new();
    floor.done(0, guard(DisconnectScope::Connection));
    floor.send(0, place(buy(90, 1)));
    floor.take();
    floor.desk.handle_departure(client(0), Departure::Disconnected, floor.now);
    assert_eq!(floor.take(), 0);
    floor.run();
    assert!(floor.venue.resting.is_empty() && floor.venue.received.len() == 1);
    assert_eq!(floor.told(0), ["0 open 0.0/1.0", "0 cancelled 0.0/1.0"]);
}

#[test]
fn the_dead_man_timer_cancels_all_unless_it_is_wound_up_again() {
    let mut floor = Floor::new();
    floor.done(0, place(buy(90, 1)));
    floor.done(1, place(buy(90, 1)));
    assert_eq!(floor.desk.poll_timeout(), None);
    assert_eq!(floor.done(0, after(Some(100))), "ok");
    let start_ns = floor.now.mono_ns;
    floor.wait_ms(60);
    floor.done(0, after(Some(100)));
    floor.done(1, after(Some(1_000)));
    assert_eq!(floor.desk.poll_timeout(), Some(start_ns + 160 * MS));
    floor.wait_ms(99);
    floor.desk.handle_timeout(floor.now);
    floor.run();
    assert_eq!(floor.venue.resting.len(), 2);
    floor.wait_ms(1);
    floor.desk.handle_timeout(floor.now);
    floor.run();
    assert_eq!(floor.venue.resting.len(), 1);
    assert_eq!(floor.events.last().unwrap().order["cancel_reason"], "cancel_all_after");
    // It has run out, and says nothing of later orders; turned off it does nothing.
    floor.done(0, place(buy(91, 1)));
    floor.done(1, after(None));
    assert_eq!(floor.desk.poll_timeout(), None);
}

#[test]
fn the_kill_switch_cancels_all_and_refuses_until_it_is_lifted() {
    let mut floor = Floor::new();
    let halt = |is_on, everybody| OrderRequest::Halt { is_on, everybody };
    let id = floor.id(0, buy(90, 1));
    let other = floor.id(1, buy(90, 1));
    assert_eq!(floor.done(0, halt(true, false)), "ok");
    assert_eq!(floor.done(0, OrderRequest::OrderState { order: id })["cancel_reason"], "halted");
    assert_eq!(floor.ask(0, place(buy(90, 1))), Err(OrderRefusal::Halted));
    assert!(floor.ask(1, edit(other, Some(91), None)).is_ok());
    floor.done(0, halt(false, false));
    floor.done(0, place(buy(90, 1)));
    floor.done(2, halt(true, true));
    assert!(floor.venue.resting.is_empty());
    for account in [0, 1, 2, 3] {
        assert_eq!(floor.ask(account, place(buy(90, 1))), Err(OrderRefusal::Halted));
    }
    floor.done(2, halt(false, true));
    floor.done(3, place(buy(90, 1)));
}

#[test]
fn the_kill_switch_of_everybody_refuses_at_once_and_cancels_a_part_at_a_time() {
    let many = 2 * limits::DESK_ORDERS_PER_TIMEOUT + 100;
    let mut floor = Floor::with(DeskConfig {
        open_orders_per_account_max: many,
        waiting_per_account_max: many,
        ..config()
    });
    for at in 0..many {
        floor.send(at % 2, place(buy(90, 1)));
    }
    let halt = |is_on| OrderRequest::Halt { is_on, everybody: true };
    let looked_at = |floor: &Floor| floor.desk.counters.looked_at_total as u32;
    floor.done_now(9, halt(true));
    assert_eq!(looked_at(&floor), limits::DESK_ORDERS_PER_TIMEOUT);
    let ticket = floor.send(0, place(buy(90, 1)));
    assert_eq!(floor.answers[&ticket], Err(OrderRefusal::Halted));
    // What comes once it is lifted is not cancelled, though the rest of what was there is.
    floor.done_now(9, halt(false));
    let after = OrderId(floor.desk.next_order.0);
    floor.send(0, place(buy(91, 1)));
    while let Some(due_ns) = floor.desk.poll_timeout() {
        let before = looked_at(&floor);
        assert_eq!(due_ns, 0);
        floor.desk.handle_timeout(floor.now);
        assert!(looked_at(&floor) - before <= limits::DESK_ORDERS_PER_TIMEOUT);
    }
    assert_eq!(floor.desk.counters.cancels_on_halt_total, u64::from(many));
    let left = floor.desk.orders.all().filter(|(_, held)| held.cancel_wanted.is_none());
    assert_eq!(left.map(|(_, held)| held.order.id).collect::<Vec<_>>(), [after]);
}

#[test]
fn timers_that_run_out_together_cancel_so_much_in_a_turn_and_no_more() {
    let mut floor = Floor::new();
    for account in 0..20 {
        for _ in 0..1_000 {
            floor.send(account, place(buy(90, 1)));
        }
        floor.done_now(account, after(Some(5)));
    }
    floor.wait_ms(5);
    for turn in 1..=3 {
        assert!(floor.desk.poll_timeout().is_some_and(|due_ns| due_ns <= floor.now.mono_ns));
        floor.desk.handle_timeout(floor.now);
        assert_eq!(floor.desk.counters.cancels_on_timeout_total, 20_000.min(turn * 9_000));
    }
    assert_eq!(floor.desk.poll_timeout(), None);
}

#[test]
fn a_cancel_whose_time_is_over_is_not_sent() {
    let mut floor = Floor::new();
    let id = floor.id(0, buy(90, 1));
    let now_ms = floor.now.unix_ns / MS;
    let until = |valid_until_ms| OrderRequest::Cancel { order: id, valid_until_ms: Some(valid_until_ms) };
    assert_eq!(floor.ask(0, until(now_ms)), Err(OrderRefusal::TimedOut));
    let ticket = floor.send(0, until(now_ms + 2));
    floor.wait_ms(2);
    floor.run();
    assert_eq!(floor.answers[&ticket], Err(OrderRefusal::TimedOut));
    assert_eq!(floor.venue.resting.len(), 1);
    // One without a time lends it to one that waits for the same.
    let tickets = [floor.send(0, until(now_ms + 4)), floor.send(0, cancel(id))];
    floor.wait_ms(5);
    floor.run();
    assert!(tickets.iter().all(|ticket| floor.answers[ticket].is_ok()));
}

#[test]
fn a_fill_that_comes_before_its_order_is_accepted_lets_a_cancel_follow() {
    let mut floor = Floor::new();
    floor.send(0, guard(DisconnectScope::Connection));
    floor.send(0, place(buy(100, 5)));
    floor.take();
    floor.desk.handle_departure(client(0), Departure::Disconnected, floor.now);
    floor.settle();
    assert_eq!(floor.take(), 0, "one step at a time");
    let id = OrderId(FIRST);
    floor.apply(&Happening::Trade {
        instrument: BTC,
        price: Price(100 * UNIT),
        amount: Amount(UNIT),
        direction: Direction::Buy,
        maker: None,
        taker: Some(id),
    });
    floor.settle();
    assert_eq!(floor.take(), 1);
    assert_eq!(floor.sent.back(), Some(&VenueRequest::Cancel { order: id, instrument: BTC }));
}
