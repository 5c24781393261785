//! Reports that come again, late, or wrong.

use super::*;

#[test]
fn a_report_that_comes_again_is_told_once() {
    let mut world = World::new(Form::Json);
    world.gateway.handle_connected(world.now);
    let refusal =
        |seq: u64| format!(r#"{{"type":"cancel_rejected","seq":{seq},"order":5,"reason":"refused"}}"#);
    for line in [HELLO, &refusal(1), &refusal(1), &refusal(2), &refusal(1)] {
        world.gateway.handle_bytes(format!("{line}\n").as_bytes(), world.now);
    }
    world.take_events();
    assert_eq!(world.log.iter().filter(|line| line.starts_with("CancelRejected")).count(), 2);
    assert_eq!(world.gateway.counters.repeated_total, 2);
    assert!(!world.gateway.is_over());
}

#[test]
fn a_fill_that_comes_after_its_order_is_over_is_told() {
    let mut world = World::new(Form::Json);
    world.connect();
    let order = world.place();
    world.carry();
    world.cancel(order);
    world.carry();
    assert_eq!((world.seen[&order].told, world.gateway.orders.count()), (Told::Cancelled, 0));
    world.venue.session.report(Report::Filled(Filled {
        order,
        price: Price(LOT),
        amount: Amount(LOT),
        liquidity: Liquidity::Maker,
        print: true,
        trade: None,
        time_ms: 5,
    }));
    let bytes = world.venue.session.unsent().to_vec();
    world.gateway.handle_bytes(&bytes, world.now);
    let Some(LinkEvent::Fill(fill)) = world.gateway.poll_event() else { panic!("no fill") };
    assert_eq!((fill.order, fill.instrument, fill.direction), (order, FeedInstrument(0), Direction::Buy));
    assert_eq!(world.gateway.counters.strange_total, 0);
}

const LISTING: &str = r#"{"type":"instruments","instruments":[{"name":"X","kind":"spot","base":"A","quote":"B","tick_size":1,"min_amount":1}]}"#;

#[test]
fn what_a_venue_says_wrongly_of_an_order_is_asked_for_and_not_waited_for() {
    for wrong in [
        r#"{"type":"accepted","seq":1,"order":1,"price":1.1212000000000002}"#,
        r#"{"type":"accepted","seq":2,"order":1}"#,
        r#"{"type":"amended","seq":1,"order":1,"price":9000000000,"total":9000000000}"#,
        r#"{"type":"order_status","seq":1,"order":1,"state":"filled"}"#,
        r#"{"type":"heartbeat","next":9}"#,
    ] {
        let mut world = World::new(Form::Json);
        let say = |world: &mut World, line: &str| {
            world.gateway.handle_bytes(format!("{line}\n").as_bytes(), world.now);
            world.take_events();
        };
        world.gateway.handle_connected(world.now);
        say(&mut world, HELLO);
        say(&mut world, LISTING);
        world.place();
        say(&mut world, wrong);
        assert!(world.gateway.is_over(), "{wrong}");
        world.gateway.handle_closed();
        world.gateway.handle_connected(world.now);
        say(&mut world, &HELLO.replace(r#""next":1"#, r#""peer":"gw1.1","next":2"#));
        let said = String::from_utf8(world.gateway.unsent().to_vec()).unwrap();
        assert!(said.contains(r#""session":"gw1.2","next":1,"resumed":false"#), "{wrong}: {said}");
        assert!(said.contains(r#"{"type":"status","seq":1,"order":1}"#), "{wrong}: {said}");
    }
}

#[test]
fn an_order_status_that_leaves_a_fill_or_its_price_out_is_not_guessed_at() {
    for (status, expected) in [
        (r#""state":"filled""#, "order_status without what was filled, or its price"),
        (r#""state":"cancelled","filled":4"#, "order_status without what was filled, or its price"),
        (r#""state":"filled","filled":10,"average":2"#, ""),
    ] {
        let mut world = World::new(Form::Json);
        world.gateway.handle_connected(world.now);
        let spec = NewOrder {
            instrument: LISTED_AS,
            direction: Direction::Sell,
            order_type: OrderType::Market,
            price: None,
            amount: Amount(10 * LOT),
            time_in_force: TimeInForce::ImmediateOrCancel,
            post_only: PostOnly::No,
            reduce_only: false,
            label: None,
            valid_until_ms: None,
        };
        for line in [HELLO, LISTING] {
            world.gateway.handle_bytes(format!("{line}\n").as_bytes(), world.now);
        }
        let order = OrderId(1);
        world
            .gateway
            .handle_request(FeedInstrument(0), &VenueRequest::New { order, account: AccountId(1), spec });
        let line = format!("{{\"type\":\"order_status\",\"seq\":1,\"order\":1,{status}}}\n");
        world.gateway.handle_bytes(line.as_bytes(), world.now);
        let mut told = (0, String::new());
        while let Some(event) = world.gateway.poll_event() {
            match event {
                LinkEvent::Fill(fill) => told.0 += fill.amount.0 / LOT,
                LinkEvent::Down { why, .. } => told.1 = why.to_string(),
                LinkEvent::Feed(_) | LinkEvent::Up { .. } | LinkEvent::Reconciled => {}
            }
        }
        assert_eq!(told, (if expected.is_empty() { 10 } else { 0 }, expected.to_owned()), "{status}");
    }
}
