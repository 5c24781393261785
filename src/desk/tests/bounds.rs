//! Every bound reached: a refusal that says so, and no more memory.

use super::*;

#[test]
fn an_account_has_as_many_open_orders_as_it_may() {
    let mut floor = Floor::with(DeskConfig { open_orders_per_account_max: 2, ..config() });
    let id = floor.id(0, buy(90, 1));
    floor.send(0, place(buy(91, 1)));
    assert_eq!(
        floor.ask(0, place(buy(92, 1))),
        Err(OrderRefusal::TooManyOpenOrders),
        "those under way count"
    );
    floor.done(1, place(buy(90, 1)));
    floor.done(0, cancel(id));
    floor.done(0, place(buy(92, 1)));
}

#[test]
fn all_accounts_together_are_bounded_too() {
    let mut floor = Floor::with(DeskConfig { open_orders_max: 2, accounts_max: 3, ..config() });
    floor.done(0, place(buy(90, 1)));
    floor.done(1, place(buy(90, 1)));
    assert_eq!(floor.ask(2, place(buy(90, 1))), Err(OrderRefusal::Full));
    assert_eq!(floor.ask(3, open_orders()), Err(OrderRefusal::Full), "no fourth account");
    assert_eq!(floor.desk.counters.full_total, 2);
}

#[test]
fn requests_that_wait_are_bounded_in_all_by_account_and_by_order() {
    let mut floor = Floor::with(DeskConfig { waiting_per_account_max: 20, waiting_max: 22, ..config() });
    let first = OrderId(FIRST);
    let mut tickets = vec![floor.send(0, place(labelled("a", buy(90, 1))))];
    for _ in 1..limits::WAITING_PER_ORDER_MAX {
        tickets.push(floor.send(0, place(labelled("a", buy(90, 1)))));
    }
    for request in [place(labelled("a", buy(90, 1))), cancel(first), edit(first, Some(91), None)] {
        let ticket = floor.send(0, request);
        assert_eq!(floor.answers[&ticket], Err(OrderRefusal::Full));
    }
    for _ in tickets.len()..20 {
        tickets.push(floor.send(0, place(buy(80, 1))));
    }
    let ticket = floor.send(0, place(buy(80, 1)));
    assert_eq!(floor.answers[&ticket], Err(OrderRefusal::Full));
    for _ in 0..2 {
        tickets.push(floor.send(1, place(buy(80, 1))));
    }
    let ticket = floor.send(1, place(buy(80, 1)));
    assert_eq!(floor.answers[&ticket], Err(OrderRefusal::Full));
    // To cancel all is never refused for that.
    let all = floor.send(0, OrderRequest::CancelAll { filter: Filter::default() });
    floor.run();
    assert!(tickets.iter().all(|ticket| floor.answers[ticket].is_ok()));
    assert_eq!(floor.answers[&all], Ok(5.into()));
    assert_eq!((floor.desk.waiters.len(), floor.desk.accounts[AccountId(0)].waiting), (0, 0));
}

#[test]
fn closed_orders_are_forgotten_oldest_first_and_their_labels_with_them() {
    let mut floor = Floor::with(DeskConfig { closed_orders_per_account_max: 2, ..config() });
    for label in ["a", "b", "c"] {
        let id = floor.id(0, labelled(label, buy(90, 1)));
        floor.done(0, cancel(id));
        // What never was is forgotten before what was.
        floor.venue.quote(BTC, Direction::Sell, 100, 1);
        let taking = NewOrder { post_only: PostOnly::Reject, ..buy(100, 1) };
        assert_eq!(floor.ask(0, place(taking)), Err(OrderRefusal::PostOnly));
    }
    for (label, repeated) in [("c", true.into()), ("b", true.into()), ("a", Value::Null)] {
        assert_eq!(floor.done(0, place(labelled(label, buy(90, 1))))["repeated"], repeated, "{label}");
    }
    let gone = OrderRequest::OrderState { order: OrderId(FIRST) };
    assert_eq!(floor.ask(0, gone), Err(OrderRefusal::OrderNotFound));
    assert_eq!(floor.desk.counters.forgotten_orders_total, 4);
}

#[test]
fn an_account_below_its_fair_share_is_remembered_whatever_others_do() {
    let mut floor =
        Floor::with(DeskConfig { closed_orders_max: 8, fills_max: 8, accounts_max: 4, ..config() });
    let mut trade = |account: u32, label: &str| {
        floor.venue.quote(BTC, Direction::Sell, 100, 1);
        floor.done(account, place(labelled(label, buy(100, 1))));
    };
    trade(1, "early");
    for round in 0..20 {
        trade(0, &round.to_string());
    }
    trade(1, "late");
    for (account, kept) in [(0, 7), (1, 2)] {
        let known = &floor.desk.accounts[AccountId(account)];
        assert_eq!((known.closed.len, known.fills.len()), (kept, kept as usize), "of {account}");
    }
    assert_eq!(floor.done(1, place(labelled("early", buy(100, 1))))["repeated"], true);
    assert_eq!(floor.desk.closed_count, 9);
}

#[test]
fn connections_that_are_to_be_guarded_are_bounded() {
    let mut floor = Floor::with(DeskConfig { connections_max: 1, ..config() });
    floor.done(0, place(buy(90, 1)));
    assert_eq!(floor.ask(1, place(buy(90, 1))), Err(OrderRefusal::Full));
    let call = floor.send_over(1, client(1), false, place(buy(90, 1)));
    floor.run();
    assert!(floor.answers[&call].is_ok());
    floor.desk.handle_departure(client(0), Departure::Disconnected, floor.now);
    floor.done(1, place(buy(90, 1)));
}

#[test]
fn an_account_has_few_sweeps_under_way() {
    let mut floor = Floor::new();
    let count = limits::SWEEPS_PER_ACCOUNT_MAX;
    let all = OrderRequest::CancelAll { filter: Filter::default() };
    let mut tickets = Vec::new();
    for _ in 0..count {
        floor.send(0, place(buy(90, 1)));
        tickets.push(floor.send(0, all));
    }
    floor.send(0, place(buy(90, 1)));
    let ticket = floor.send(0, all);
    assert_eq!(floor.answers[&ticket], Err(OrderRefusal::TooManyCancels));
    floor.run();
    assert!(tickets.iter().all(|ticket| floor.answers[ticket] == Ok(1.into())));
    assert_eq!(floor.done(0, all), 1, "there is room again");
}

#[test]
fn a_long_answer_costs_more_credits_than_a_short_one() {
    let mut floor =
        Floor::with(DeskConfig { credits_max: 1_000, credits_per_s: 1, place_credits: 0, ..config() });
    for at in 0..200 {
        floor.done(0, place(buy(90 + at, 1)));
    }
    let ticket = floor.send(0, open_orders());
    let told = floor.answers[&ticket].as_ref().unwrap().to_string().len();
    assert!(told > 64 * 1_024, "{told}");
    let answers = (1..=1_000).take_while(|_| floor.ask(0, open_orders()).is_ok()).count();
    assert!((50..=250).contains(&answers), "{answers} answers of {told} bytes");
    let short = OrderRequest::OrderState { order: OrderId(FIRST) };
    assert!(matches!(floor.ask(0, short), Err(OrderRefusal::TooManyRequests { credits_left: 0, .. })));
    floor.wait_ms(1_000);
    assert!(floor.ask(0, short).is_ok());
}
