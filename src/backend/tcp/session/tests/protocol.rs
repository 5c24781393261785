//! Greetings, heartbeats, the market, acknowledgements, and each breach of the protocol with its reason.

use super::*;

#[test]
fn a_request_without_a_link_is_refused() {
    let mut world = World::new(Form::Json);
    let order = world.place();
    assert_eq!(world.seen[&order].told, Told::Rejected(OrderRefusal::VenueUnavailable));
    world.connect();
    assert_eq!(world.gateway.orders.count(), 0);
}

#[test]
fn who_is_silent_is_cut_and_who_beats_is_not() {
    let mut world = World::new(Form::Json);
    world.connect();
    for _ in 0..20 {
        world.pass(1_000);
    }
    assert!(world.is_up);
    // Nothing of the venue comes any more.
    world.now = world.now.plus_ns(2_499_000_000);
    world.gateway.handle_timeout(world.now);
    assert!(!world.gateway.is_over());
    world.now = world.now.plus_ns(1_000_000);
    assert!(world.gateway.poll_timeout().unwrap() <= world.now.mono_ns);
    world.gateway.handle_timeout(world.now);
    assert!(world.gateway.is_over());
    world.take_events();
    assert_eq!(world.log.last().unwrap(), "down: silent for too long");
}

#[test]
fn a_connection_without_a_hello_is_cut() {
    let mut world = World::new(Form::Json);
    world.gateway.handle_connected(world.now);
    assert_eq!(world.gateway.poll_timeout(), Some(world.now.mono_ns + limits::LINK_GREETING_NS));
    world.gateway.handle_timeout(world.now.plus_ns(limits::LINK_GREETING_NS));
    assert!(world.gateway.is_over());
}

/// What a gateway answers to these lines, as its first connection's.
fn answers(lines: &[&str]) -> (String, String) {
    let mut world = World::new(Form::Json);
    world.gateway.handle_connected(world.now);
    for line in lines {
        world.gateway.handle_bytes(format!("{line}\n").as_bytes(), world.now);
    }
    world.take_events();
    let said = String::from_utf8(world.gateway.unsent().to_vec()).unwrap();
    (said, world.log.last().cloned().unwrap_or_default())
}

const WELCOME: &str = r#"{"type":"welcome","version":1,"gateway":"gw1","session":"gw1.1","next":1,"resumed":false,"heartbeat_ms":1000}"#;

#[test]
fn who_does_not_belong_here_is_told_so() {
    for (hello, expected) in [
        (HELLO.replace("secret", "Secret"), "unknown venue or key"),
        (HELLO.replace("fx", "fy"), "unknown venue or key"),
        (HELLO.replace("\"version\":1", "\"version\":3"), "version 3 is not spoken here"),
        (HELLO.replace("1000", "1"), "heartbeat_ms of 1 is out of range"),
        ("GET / HTTP/1.1".to_owned(), "a first byte of 0x47, neither { nor 0x01"),
        (WELCOME.to_owned(), "welcome is not expected here"),
        ("{}".to_owned(), "type is missing"),
    ] {
        let (said, told) = answers(&[&hello]);
        assert_eq!(said, format!("{{\"type\":\"reject\",\"reason\":\"{expected}\"}}\n"));
        assert_eq!(told, format!("down: {expected}"));
    }
}

#[test]
fn what_breaks_the_protocol_is_cut_with_its_reason() {
    for (line, expected) in [
        (r#"{"type":"accepted","seq":2,"order":1}"#, "seq 2 where 1 is expected"),
        (r#"{"type":"heartbeat","next":7}"#, "next 7 was never said"),
        (r#"{"type":"tick","instrument":"X","time_ms":1}"#, "an instrument that was not listed"),
        (r#"{"type":"cancel","seq":1,"order":1}"#, "a command is not expected here"),
        (r#"{"type":"dance"}"#, "an unknown type"),
        (HELLO, "hello is not expected here"),
    ] {
        let (said, told) = answers(&[HELLO, line]);
        assert_eq!(said, format!("{WELCOME}\n{{\"type\":\"bye\",\"reason\":\"{expected}\"}}\n"));
        assert_eq!(told, format!("down: {expected}"));
    }
    let (most, price) = ("9223372036.854775807", "9000000000");
    let filled = format!(r#""order":1,"price":{price},"amount":{most},"liquidity":"maker","time_ms":1"#);
    let instruments = r#"{"type":"instruments","instruments":[{"name":"X","kind":"spot","base":"A","quote":"B","tick_size":1,"min_amount":1}]}"#;
    let trade = format!(r#""instrument":"X","price":{price},"amount":{most},"side":"buy","time_ms":1"#);
    for (kind, fields) in [
        ("filled", format!(r#""seq":1,{filled}"#)),
        ("amended", format!(r#""seq":1,"order":1,"price":-{price},"total":{most}"#)),
        (
            "order_status",
            format!(r#""seq":1,"order":1,"state":"open","filled":{most},"average":1,"amount":1"#),
        ),
        ("trade", trade),
    ] {
        let (_, told) = answers(&[HELLO, instruments, &format!(r#"{{"type":"{kind}",{fields}}}"#)]);
        assert_eq!(told, format!("down: {kind} of more than can be counted"));
    }
    let (said, told) = answers(&[HELLO, r#"{"type":"bye","reason":"lunch"}"#]);
    assert_eq!((said, told.as_str()), (format!("{WELCOME}\n"), "down: ended by the peer: lunch"));
}

#[test]
fn a_market_comes_as_the_feed_tells_it() {
    let mut world = World::new(Form::Binary);
    world.connect();
    let (eurusd, level) = (symbol("EURUSD"), |price| Some(Level { price: Price(price), amount: Amount(5) }));
    let levels: Vec<LevelUpdate> = [(crate::model::book::Side::Bid, 7), (crate::model::book::Side::Ask, 9)]
        .map(|(side, price)| LevelUpdate { side, price: Price(price), amount: Amount(2) })
        .into();
    let range = crate::model::market::LevelRange { start: 0, count: 2 };
    for message in [
        Message::Tick(Tick { instrument: eurusd, bid: level(7), ask: None, time_ms: 3 }),
        Message::Book(BookUpdate { instrument: eurusd, is_snapshot: true, levels: range, time_ms: 4 }),
        Message::Book(BookUpdate { instrument: eurusd, is_snapshot: false, levels: range, time_ms: 5 }),
    ] {
        world.venue.session.tell(&message, &levels);
    }
    let bytes = world.venue.session.unsent().to_vec();
    world.gateway.handle_bytes(&bytes, world.now);
    let instrument = FeedInstrument(0);
    let Some(LinkEvent::Feed(FeedEvent::Quote { instrument: of, bid, ask, timestamp_ns })) =
        world.gateway.poll_event()
    else {
        panic!("no quote")
    };
    assert_eq!((of, bid, ask, timestamp_ns), (instrument, level(7), None, 3_000_000));
    let Some(LinkEvent::Feed(FeedEvent::Cleared { levels: told, .. })) = world.gateway.poll_event() else {
        panic!("no snapshot")
    };
    assert_eq!(told.of(world.gateway.levels()), levels);
    let Some(LinkEvent::Feed(FeedEvent::Levels { levels: told, timestamp_ns, .. })) =
        world.gateway.poll_event()
    else {
        panic!("no update")
    };
    assert_eq!((told.of(world.gateway.levels()), timestamp_ns), (&levels[..], 5_000_000));
    assert!(world.gateway.poll_event().is_none());
}

#[test]
fn a_fill_of_a_maker_is_a_trade_of_whoever_took() {
    let fill = LinkFill {
        order: OrderId(4),
        instrument: FeedInstrument(2),
        direction: Direction::Buy,
        liquidity: Liquidity::Maker,
        price: Price(1),
        amount: Amount(2),
        print: true,
        timestamp_ns: 9,
    };
    let FeedEvent::Trade { direction, parties, .. } = fill.trade() else { panic!("no trade") };
    assert_eq!((direction, parties.maker, parties.taker), (Direction::Sell, Some(OrderId(4)), None));
    let FeedEvent::Trade { direction, parties, .. } =
        (LinkFill { liquidity: Liquidity::Taker, ..fill }).trade()
    else {
        panic!("no trade")
    };
    assert_eq!((direction, parties.maker, parties.taker), (Direction::Buy, None, Some(OrderId(4))));
}

#[test]
fn many_commands_are_acknowledged_before_a_heartbeat_is_due() {
    let mut world = World::new(Form::Binary);
    world.connect();
    for _ in 0..1_000 {
        world.place();
        world.carry();
    }
    assert!(world.gateway.said.kept_count() <= limits::LINK_ACKNOWLEDGED_EVERY as usize);
}

#[test]
fn a_venue_that_never_acknowledges_is_cut_before_anything_is_dropped() {
    let mut world = World::new(Form::Binary);
    world.connect();
    // Nothing is carried, so that nothing is acknowledged.
    while !world.gateway.is_over() {
        world.place();
    }
    assert_eq!(world.log.last().unwrap(), "down: too far behind");
    let count = world.seen.values().filter(|seen| seen.told == Told::Sent).count();
    assert_eq!(count, limits::LINK_UNACKNOWLEDGED_MAX);
    world.cut();
    settle(&mut world);
    world.check_agreement();
}
