//! Private channels: whose they are, what they tell, and how they go on after a cut, with one sequence for an account.

use serde_json::{Value, json};

use super::*;
use crate::auth::{Credential, Key, Login, Patterns, Reach, Scopes, Secret, Verdict};
use crate::hub::private::PrivateEvent;
use crate::model::ids::{InstrumentId, Seq};
use crate::model::market::MarketState;
use crate::model::order::AccountId;

/// The kinds of instruments in the world: their names and whether they are options of ETH.
const LISTED: [(&str, InstrumentKind, &str); 2] =
    [("BTC-PERPETUAL", InstrumentKind::Future, "BTC"), ("ETH-OPTION", InstrumentKind::Option, "ETH")];

fn world(shards: u8) -> World {
    let mut world = World::with(shards, &HubConfig { subscriptions_max: 3000, ..config() });
    for (name, kind, base) in LISTED {
        let mut definition = instrument(name);
        definition.kind = kind;
        definition.base_currency = Symbol::parse(base.as_bytes()).unwrap();
        world.feed(|feed| feed.events.push(FeedEvent::Listed { definition }));
    }
    world
}

/// A log-in that no authority has judged.
pub(super) fn login(account: u32, scopes: &str) -> Box<Login> {
    let scopes = Scopes::parse(scopes.split_whitespace()).unwrap();
    let credential = Credential {
        client_id: format!("key{account}").into(),
        account: format!("account{account}").into(),
        name: "".into(),
        key: Key::Secret(Secret::new(b"secret")),
        scopes,
        subscribe: Patterns::new([] as [&str; 0]),
        publish: Patterns::new([] as [&str; 0]),
        call: Patterns::ANY,
        created_unix_ms: 0,
        expires_unix_ms: None,
        reach: Reach::Anywhere,
    };
    Box::new(Login {
        credential: Arc::new(credential),
        account: AccountId(account),
        scopes,
        session: None,
        grant: None,
        expires_unix_ms: u64::MAX,
    })
}

/// Has a connection log in; what it is told of that is not looked at.
pub(super) fn log_in(world: &mut World, shard: usize, conn: ConnId, login: Box<Login>) {
    world.send(
        shard,
        conn,
        r#"{"jsonrpc":"2.0","id":0,"method":"public/auth","params":{"grant_type":"client_credentials","client_id":"a","client_secret":"b"}}"#,
    );
    let Some(LoginQuestion::Judge { ticket, .. }) = world.hubs[shard].poll_question() else {
        panic!("a log-in is judged")
    };
    world.hubs[shard].handle_verdict(ticket, Verdict::Granted { login, tokens: None }, world.now);
    world.carry();
    assert_eq!(world.texts(shard, conn), Vec::<Value>::new());
}

fn trader(world: &mut World, shard: usize, slot: u32, account: u32) -> ConnId {
    let conn = world.connect(shard, slot);
    log_in(world, shard, conn, login(account, "trade:read"));
    conn
}

/// What an event says.
#[derive(Clone, Copy, Default)]
struct Said<'s> {
    order: Option<&'s str>,
    trades: Option<&'s str>,
    positions: Option<&'s str>,
}

const AN_ORDER: Said<'static> = Said { order: Some(r#"{"o":1}"#), trades: None, positions: None };
const A_FILL: Said<'static> =
    Said { order: Some(r#"{"o":2}"#), trades: Some(r#"{"t":1},{"t":2}"#), positions: Some(r#"{"p":1}"#) };

/// An event of an account, about the first or the second instrument; it is not carried.
fn tell_unsent(world: &mut World, account: u32, instrument: u32, seq: u64, said: Said<'_>) {
    let event = PrivateEvent {
        account: AccountId(account),
        instrument: InstrumentId(instrument),
        seq: Seq(seq),
        order: said.order.map(str::as_bytes),
        trades: said.trades.map(str::as_bytes),
        positions: said.positions.map(str::as_bytes),
        reports: None,
    };
    world.market.tell_private(&event, world.now);
}

fn tell(world: &mut World, account: u32, instrument: u32, seq: u64, said: Said<'_>) {
    tell_unsent(world, account, instrument, seq, said);
    world.carry();
}

/// The reply to a subscribe to some channels, each resumed from a place where one is given, and what comes with it.
fn follow(
    world: &mut World,
    shard: usize,
    conn: ConnId,
    channels: &[&str],
    from: Option<(u64, u64)>,
) -> (Value, Vec<Value>) {
    let mut params = json!({ "channels": channels });
    if let Some((epoch, seq)) = from {
        let place = json!({"epoch": epoch, "seq": seq});
        params["resume"] = channels.iter().map(|channel| ((*channel).to_owned(), place.clone())).collect();
    }
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": "private/subscribe", "params": params});
    world.send(shard, conn, &request.to_string());
    let mut texts = world.texts(shard, conn);
    assert!(!texts.is_empty(), "a subscribe is answered");
    (texts.remove(0), texts)
}

/// A notification's channel, its place and that of the one before it.
type Place<'t> = (&'t str, u64, u64);

fn places(texts: &[Value]) -> Vec<Place<'_>> {
    let place =
        |text: &'_ Value, name: &str| text["params"][name].as_u64().unwrap_or_else(|| panic!("{text}"));
    let each = texts.iter();
    each.map(|text| {
        let channel = text["params"]["channel"].as_str().unwrap_or_else(|| panic!("{text}"));
        (channel, place(text, "seq"), place(text, "prev_seq"))
    })
    .collect()
}

fn epoch(texts: &[Value]) -> u64 {
    texts[0]["params"]["epoch"].as_u64().unwrap()
}

const ORDERS: &str = "user.orders.BTC-PERPETUAL.raw";
const FILLS: &str = "user.trades.any.any.raw";

#[test]
fn each_channel_tells_what_its_filter_takes_in_its_own_shape_with_the_place_of_the_event_before() {
    let mut world = world(1);
    let conn = trader(&mut world, 0, 0, 7);
    let changes = "user.changes.option.ETH.raw";
    let by_quote = "user.orders.any.USD.raw";
    let channels = [ORDERS, FILLS, changes, by_quote];
    let (reply, told) = follow(&mut world, 0, conn, &channels, None);
    assert_eq!((reply["result"].clone(), told.len()), (json!(channels), 0));
    tell(&mut world, 7, 0, 1, AN_ORDER);
    tell(&mut world, 7, 1, 2, AN_ORDER);
    tell(&mut world, 7, 1, 5, A_FILL);
    tell(&mut world, 7, 0, 6, Said { positions: Some(r#"{"p":2}"#), ..Said::default() });
    tell(&mut world, 7, 0, 9, A_FILL);
    let texts = world.texts(0, conn);
    let mut told = places(&texts);
    told.sort_by_key(|(channel, seq, _)| (*seq, *channel));
    assert_eq!(
        told,
        [
            (ORDERS, 1, 0),
            (by_quote, 1, 0),
            (changes, 2, 0),
            (by_quote, 2, 1),
            (changes, 5, 2),
            (by_quote, 5, 2),
            (FILLS, 5, 0),
            (ORDERS, 9, 1),
            (by_quote, 9, 5),
            (FILLS, 9, 5),
        ]
    );
    let data = |channel: &str, seq: u64| {
        let is_it = |text: &&Value| text["params"]["channel"] == channel && text["params"]["seq"] == seq;
        texts.iter().find(is_it).unwrap()["params"]["data"].clone()
    };
    assert_eq!(data(ORDERS, 9), json!({"o": 2}));
    assert_eq!(data(FILLS, 9), json!([{"t": 1}, {"t": 2}]));
    assert_eq!(
        data(changes, 5),
        json!({"instrument_name": "ETH-OPTION", "trades": [{"t": 1}, {"t": 2}], "positions": [{"p": 1}],
            "orders": [{"o": 2}]})
    );
    assert_eq!(
        data(changes, 2),
        json!({"instrument_name": "ETH-OPTION", "trades": [], "positions": [], "orders": [{"o": 1}]})
    );
}

#[test]
fn an_event_is_encoded_once_for_each_view_however_many_connections_and_shards_follow() {
    let mut world = world(2);
    for (shard, slot) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let conn = trader(&mut world, shard, slot, 7);
        follow(&mut world, shard, conn, &[ORDERS, FILLS], None);
    }
    let before = world.market.home_counters().frames_encoded_total;
    tell(&mut world, 7, 0, 1, A_FILL);
    assert_eq!(world.market.home_counters().frames_encoded_total - before, 2);
    assert_eq!(world.hubs[1].counters().deliveries_total, 4);
}

#[test]
fn nobody_gets_what_is_of_another_account_whatever_it_subscribes_to_or_resumes_from() {
    let mut world = world(1);
    let (mine, other) = (trader(&mut world, 0, 0, 1), trader(&mut world, 0, 1, 2));
    for conn in [mine, other] {
        follow(&mut world, 0, conn, &[ORDERS, FILLS], None);
    }
    tell(&mut world, 1, 0, 1, A_FILL);
    assert_eq!(world.texts(0, other), Vec::<Value>::new());
    let told = world.texts(0, mine);
    assert_eq!(told.len(), 2);
    tell(&mut world, 2, 0, 1, AN_ORDER);
    assert_eq!(world.texts(0, mine), Vec::<Value>::new());
    assert_eq!(places(&world.texts(0, other)), [(ORDERS, 1, 0)]);
    tell(&mut world, 1, 0, 2, AN_ORDER);
    // By the place of another account it resumes its own.
    let again = trader(&mut world, 0, 2, 2);
    let (reply, told) = follow(&mut world, 0, again, &[ORDERS], Some((epoch(&told), 0)));
    assert_eq!(reply["resumed"][ORDERS]["recovered"], true);
    assert_eq!(told[0]["params"]["data"], json!({"o": 1}), "its own order");
    assert_eq!(places(&told), [(ORDERS, 1, 0)]);
}

#[test]
fn private_channels_want_a_log_in_and_the_scope_to_read_trades() {
    let mut world = world(1);
    let conn = world.connect(0, 0);
    for method in ["public/subscribe", "private/subscribe"] {
        let request = subscribe(ORDERS).replace("public/subscribe", method);
        world.send(0, conn, &request);
        assert_eq!(world.texts(0, conn)[0]["error"]["code"], 13009, "{method}");
    }
    log_in(&mut world, 0, conn, login(1, "account:read"));
    let (reply, _) = follow(&mut world, 0, conn, &[ORDERS], None);
    assert_eq!(reply["error"]["code"], 13021);
    assert_eq!(reply["error"]["data"]["reason"], "needs scope trade:read");
    log_in(&mut world, 0, conn, login(1, "trade:read"));
    world.send(0, conn, &subscribe(ORDERS));
    assert_eq!(world.texts(0, conn)[0]["result"], json!([ORDERS]), "by the public method too");
    let unknown =
        ["user.orders.NONE.raw", "user.orders.any.NONE.raw", "user.orders.BTC-PERPETUAL.100ms", FILLS];
    let (reply, _) = follow(&mut world, 0, conn, &unknown, None);
    assert_eq!(reply["result"], json!([FILLS]), "what is none is left out");
}

#[test]
fn private_subscriptions_end_with_the_log_in_and_begin_anew_with_the_next() {
    let mut world = world(1);
    let conn = trader(&mut world, 0, 0, 1);
    let mut seq = 0;
    let mut is_told = |world: &mut World, account: u32| {
        seq += 1;
        tell(world, account, 0, seq, AN_ORDER);
        !world.texts(0, conn).is_empty()
    };
    follow(&mut world, 0, conn, &[ORDERS], None);
    assert!(is_told(&mut world, 1));
    log_in(&mut world, 0, conn, login(1, "trade:read_write"));
    assert!(is_told(&mut world, 1), "the same account by another log-in");
    log_in(&mut world, 0, conn, login(2, "trade:read"));
    assert!(!is_told(&mut world, 1) && !is_told(&mut world, 2), "another account");
    follow(&mut world, 0, conn, &[ORDERS], None);
    assert!(!is_told(&mut world, 1) && is_told(&mut world, 2));
    log_in(&mut world, 0, conn, login(2, "account:read"));
    assert!(!is_told(&mut world, 2), "a log-in that may not");
    let mut short = login(2, "trade:read");
    short.expires_unix_ms = world.now.unix_ns / 1_000_000 + 1_000;
    log_in(&mut world, 0, conn, short);
    follow(&mut world, 0, conn, &[ORDERS], None);
    assert!(is_told(&mut world, 2));
    world.now = world.now.plus_ns(2 * UNIT as u64);
    world.hubs[0].handle_timeout(world.now);
    assert_eq!(world.texts(0, conn).len(), 1, "it is told that it is nobody");
    assert!(!is_told(&mut world, 2), "an expired log-in");
    assert_eq!(world.hubs[0].occupancy().subscriptions, 0);
}

#[test]
fn who_unsubscribes_is_told_no_more() {
    let mut world = world(1);
    let conn = trader(&mut world, 0, 0, 1);
    follow(&mut world, 0, conn, &[ORDERS, FILLS], None);
    let request = subscribe(ORDERS).replace("public/subscribe", "private/unsubscribe");
    world.send(0, conn, &request);
    assert_eq!(world.texts(0, conn)[0]["result"], json!([ORDERS]));
    world.send(0, conn, &request);
    assert_eq!(world.texts(0, conn)[0]["result"], json!([]));
    tell(&mut world, 1, 0, 1, A_FILL);
    assert_eq!(places(&world.texts(0, conn)), [(FILLS, 1, 0)]);
}

/// A world in which account 1 had events, of which those of the first instrument are 1, 3 and 5, the fill among them 3; the
/// epoch is told too.
fn with_history(shards: u8) -> (World, u64) {
    let mut world = world(shards);
    let conn = trader(&mut world, 0, 0, 1);
    follow(&mut world, 0, conn, &[ORDERS, FILLS], None);
    for (seq, instrument, said) in [
        (1, 0, AN_ORDER),
        (2, 1, AN_ORDER),
        (3, 0, A_FILL),
        (4, 1, AN_ORDER),
        (5, 0, AN_ORDER),
        (6, 1, AN_ORDER),
    ] {
        tell(&mut world, 1, instrument, seq, said);
    }
    let epoch = epoch(&world.texts(0, conn));
    world.hubs[0].handle_closed(conn, world.now);
    world.carry();
    (world, epoch)
}

#[test]
fn who_comes_back_gets_all_of_a_view_after_its_place_even_where_that_is_no_event_of_the_view() {
    let after: [(u64, &[Place<'_>]); 7] = [
        (0, &[(ORDERS, 1, 0), (ORDERS, 3, 1), (ORDERS, 5, 3)]),
        (1, &[(ORDERS, 3, 1), (ORDERS, 5, 3)]),
        (2, &[(ORDERS, 3, 1), (ORDERS, 5, 3)]),
        (3, &[(ORDERS, 5, 3)]),
        (4, &[(ORDERS, 5, 3)]),
        (5, &[]),
        (6, &[]),
    ];
    for (shard, (seq, missed)) in (0..2).flat_map(|shard| after.map(|case| (shard, case))) {
        let (mut world, epoch) = with_history(2);
        let conn = trader(&mut world, shard, 3, 1);
        let (reply, told) = follow(&mut world, shard, conn, &[ORDERS], Some((epoch, seq)));
        assert_eq!(reply["resumed"][ORDERS]["recovered"], true, "{seq}");
        assert_eq!(places(&told), missed, "{seq}");
        tell(&mut world, 1, 0, 8, AN_ORDER);
        assert_eq!(places(&world.texts(shard, conn)), [(ORDERS, 8, 5)], "{seq}");
    }
    for (from, why) in [(0, "the future"), (1, "another life")] {
        let (mut world, epoch) = with_history(1);
        let conn = trader(&mut world, 0, 3, 1);
        let place = if from == 0 { (epoch, 7) } else { (epoch - 1, 3) };
        let (reply, told) = follow(&mut world, 0, conn, &[ORDERS], Some(place));
        assert_eq!((reply["resumed"][ORDERS]["recovered"].clone(), told.len()), (json!(false), 0), "{why}");
    }
}

#[test]
fn one_place_resumes_every_view_of_an_account() {
    let (mut world, epoch) = with_history(2);
    let conn = trader(&mut world, 1, 0, 1);
    let (reply, told) = follow(&mut world, 1, conn, &[ORDERS, FILLS], Some((epoch, 2)));
    for channel in [ORDERS, FILLS] {
        assert_eq!(reply["resumed"][channel]["recovered"], true);
    }
    let mut told = places(&told);
    told.sort_unstable();
    assert_eq!(told, [(ORDERS, 3, 1), (ORDERS, 5, 3), (FILLS, 3, 0)]);
    // The newest place that it knows is beyond the newest fill.
    let again = trader(&mut world, 0, 1, 1);
    let (reply, told) = follow(&mut world, 0, again, &[ORDERS, FILLS], Some((epoch, 5)));
    assert_eq!((reply["resumed"][FILLS]["recovered"].clone(), told.len()), (json!(true), 0));
}

#[test]
fn who_is_cut_off_before_the_first_event_resumes_from_the_place_that_its_subscribe_was_told() {
    let (mut world, epoch) = with_history(2);
    for (shard, slot) in [(0, 0), (0, 1), (1, 0)] {
        let conn = trader(&mut world, shard, slot, 1);
        let (reply, _) = follow(&mut world, shard, conn, &[ORDERS], None);
        let place = &reply["places"][ORDERS];
        assert_eq!(place["epoch"], epoch);
        let seq = place["seq"].as_u64().unwrap();
        assert!((5..=6).contains(&seq), "nothing after the newest event of the view: {seq}");
        assert_eq!(follow(&mut world, shard, conn, &["quote.BTC-PERPETUAL"], None).0.get("places"), None);
    }
    let conn = trader(&mut world, 1, 5, 1);
    let (reply, _) = follow(&mut world, 1, conn, &[ORDERS], Some((epoch, 3)));
    assert_eq!(reply.get("places"), None, "it goes on from where it was");
}

#[test]
fn a_view_that_is_new_begins_where_its_account_stands_and_does_not_claim_what_was_before() {
    let (mut world, epoch) = with_history(1);
    let channel = "user.changes.any.any.raw";
    for (slot, (seq, recovered)) in [(5, false), (6, true), (7, false)].into_iter().enumerate() {
        let conn = trader(&mut world, 0, 10 + slot as u32, 1);
        let (reply, told) = follow(&mut world, 0, conn, &[channel], Some((epoch, seq)));
        assert_eq!(
            (reply["resumed"][channel]["recovered"].clone(), told.len()),
            (json!(recovered), 0),
            "{seq}"
        );
    }
    let conn = trader(&mut world, 0, 20, 1);
    follow(&mut world, 0, conn, &[channel], None);
    tell(&mut world, 1, 1, 7, AN_ORDER);
    assert_eq!(places(&world.texts(0, conn)), [(channel, 7, 6)]);
}

#[test]
fn what_history_has_forgotten_is_said_to_be_lost() {
    let mut world = world(1);
    let conn = trader(&mut world, 0, 0, 1);
    follow(&mut world, 0, conn, &[ORDERS], None);
    // Each second event is of the view; 64 of them are kept.
    for seq in 1..=200 {
        tell(&mut world, 1, seq as u32 % 2, seq, AN_ORDER);
    }
    let epoch = epoch(&world.texts(0, conn));
    for (slot, (seq, recovered)) in [(71, false), (72, true), (73, true)].into_iter().enumerate() {
        let conn = trader(&mut world, 0, 1 + slot as u32, 1);
        let (reply, told) = follow(&mut world, 0, conn, &[ORDERS], Some((epoch, seq)));
        assert_eq!(reply["resumed"][ORDERS]["recovered"], recovered, "{seq}");
        let count = [0, 64, 64][slot];
        assert_eq!(told.len(), count, "{seq}");
    }
}

#[test]
fn what_the_mesh_has_lost_is_told_in_order_from_the_history() {
    let mut world = world(2);
    let conn = trader(&mut world, 0, 0, 1);
    follow(&mut world, 0, conn, &[ORDERS, FILLS], None);
    tell(&mut world, 1, 0, 1, AN_ORDER);
    world.texts(0, conn);
    world.market.handle_lag(HomeId(0));
    for (seq, instrument) in [(2, 1), (4, 0), (5, 0), (7, 1), (8, 0)] {
        tell(&mut world, 1, instrument, seq, A_FILL);
    }
    assert_eq!(world.texts(0, conn), Vec::<Value>::new());
    world.market.handle_room(HomeId(0));
    tell(&mut world, 1, 0, 9, A_FILL);
    let texts = world.texts(0, conn);
    let of = |channel: &str| {
        let places = places(&texts).into_iter().filter(|(of, ..)| *of == channel);
        places.map(|(_, seq, prev)| (seq, prev)).collect::<Vec<_>>()
    };
    assert_eq!(of(ORDERS), [(4, 1), (5, 4), (8, 5), (9, 8)]);
    assert_eq!(of(FILLS), [(2, 0), (4, 2), (5, 4), (7, 5), (8, 7), (9, 8)]);
}

#[test]
fn reports_go_before_market_data_and_do_not_wait_for_the_pace() {
    let mut world = world(1);
    let conn = trader(&mut world, 0, 0, 1);
    follow(&mut world, 0, conn, &[ORDERS, "trades.BTC-PERPETUAL.raw"], None);
    while world.hubs[0].poll_ready(Urgency::Any).is_some() {}
    world.feed(trade(100));
    assert_eq!(world.hubs[0].poll_ready(Urgency::Reply), None, "a trade waits for the pace");
    tell(&mut world, 1, 0, 1, AN_ORDER);
    world.feed(trade(101));
    tell(&mut world, 1, 0, 2, AN_ORDER);
    assert_eq!(world.hubs[0].poll_ready(Urgency::Reply), Some(conn));
    let channels: Vec<Value> =
        world.texts(0, conn).iter().map(|text| text["params"]["channel"].clone()).collect();
    let trades = "trades.BTC-PERPETUAL.raw";
    assert_eq!(channels, [json!(ORDERS), json!(ORDERS), json!(trades), json!(trades)]);
}

#[test]
fn a_report_is_never_spared_a_slow_reader_who_is_closed_instead() {
    let mut world = world(1);
    let conn = trader(&mut world, 0, 0, 1);
    let request = subscribe(ORDERS).replace(r#""channels""#, r#""class":"latest","channels""#);
    world.send(0, conn, &request);
    world.texts(0, conn);
    let long = format!(r#"{{"o":"{}"}}"#, "x".repeat(1000));
    for seq in 1..100 {
        tell(&mut world, 1, 0, seq, Said { order: Some(&long), ..Said::default() });
    }
    assert_eq!(world.texts(0, conn).last(), Some(&json!({ "close": 1008 })));
    assert_eq!(world.count(Closing::QueueFull), 1);
}

#[test]
fn a_view_that_nobody_follows_is_kept_for_ten_minutes_and_its_account_s_sequence_goes_on() {
    let (mut world, epoch) = with_history(1);
    let sweep = |world: &mut World, seconds: u64| {
        world.now = world.now.plus_ns(seconds * UNIT as u64);
        world.market.handle_timeout(world.now);
    };
    sweep(&mut world, 500);
    assert_eq!(world.market.topic_count(), 2);
    let before = world.market.memory_bytes();
    sweep(&mut world, 101);
    sweep(&mut world, 1);
    assert_eq!(world.market.topic_count(), 0);
    assert!(world.market.memory_bytes() < before, "the views have gone too");
    tell(&mut world, 1, 0, 7, AN_ORDER);
    let conn = trader(&mut world, 0, 0, 1);
    let (reply, _) = follow(&mut world, 0, conn, &[ORDERS], Some((epoch, 6)));
    assert_eq!(reply["resumed"][ORDERS]["recovered"], false, "the event between is gone");
    let again = trader(&mut world, 0, 1, 1);
    let (reply, _) = follow(&mut world, 0, again, &[ORDERS], Some((epoch, 7)));
    assert_eq!(reply["resumed"][ORDERS]["recovered"], true);
    tell(&mut world, 1, 0, 8, AN_ORDER);
    assert_eq!(places(&world.texts(0, conn)), [(ORDERS, 8, 7)]);
}

#[test]
fn an_account_has_no_more_views_than_it_may() {
    let mut world = world(1);
    for number in 0..400 {
        world.feed(list(&format!("I{number}")));
    }
    let names: Vec<String> = (0..400)
        .flat_map(|number| ["orders", "trades", "changes"].map(|what| format!("user.{what}.I{number}.raw")))
        .collect();
    let mut taken = 0;
    for (slot, account) in [(0, 1), (1, 2)] {
        let conn = trader(&mut world, 0, slot, account);
        for names in names.chunks(300) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let (reply, _) = follow(&mut world, 0, conn, &names, None);
            taken += reply["result"].as_array().unwrap().len();
        }
    }
    assert_eq!(taken, 2 * limits::VIEWS_PER_ACCOUNT_MAX, "each has its own");
}

#[test]
fn who_does_not_read_its_reports_makes_room_for_who_does() {
    let mut world = World::with(1, &HubConfig { queued_bytes_max: u32::MAX, ..config() });
    world.feed(list("BTC-PERPETUAL"));
    let (reader, slow) = (trader(&mut world, 0, 0, 1), trader(&mut world, 0, 1, 1));
    for conn in [reader, slow] {
        follow(&mut world, 0, conn, &[ORDERS], None);
    }
    // More than all segments of the log hold.
    let long = format!(r#"{{"o":"{}"}}"#, "x".repeat(200_000));
    for seq in 1..=300 {
        tell(&mut world, 1, 0, seq, Said { order: Some(&long), ..Said::default() });
        assert!(world.take(0, reader).len() > 200_000, "{seq}");
    }
    assert_eq!(world.count(Closing::LogFull), 1);
    assert_eq!(world.texts(0, slow), [json!({ "close": 1008 })]);
    world.hubs[0].handle_closed(slow, world.now);

    world.hubs[0].egress.set_queued_frames_max(200);
    let slow = trader(&mut world, 0, 1, 1);
    follow(&mut world, 0, slow, &[ORDERS], None);
    for seq in 301..=600 {
        tell(&mut world, 1, 0, seq, AN_ORDER);
        assert_eq!(places(&world.texts(0, reader)), [(ORDERS, seq, seq - 1)]);
    }
    assert_eq!(world.count(Closing::LogFull), 2);
    assert_eq!(world.texts(0, slow), [json!({ "close": 1008 })]);
}

#[test]
fn an_instrument_s_channel_ends_for_those_of_that_name_before_too() {
    let mut world = world(1);
    let conn = trader(&mut world, 0, 0, 7);
    follow(&mut world, 0, conn, &[ORDERS], None);
    let gone = FeedInstrument(0);
    world.feed(|feed| {
        feed.events.push(FeedEvent::State {
            instrument: gone,
            state: MarketState::Delisted,
            timestamp_ns: 1,
        });
    });
    world.feed(list("BTC-PERPETUAL"));
    follow(&mut world, 0, conn, &[ORDERS], None);
    tell(&mut world, 7, 0, 1, AN_ORDER);
    tell(&mut world, 7, 2, 2, AN_ORDER);
    assert_eq!(world.texts(0, conn).len(), 2, "of both that have had the name");
    let request =
        json!({"jsonrpc": "2.0", "id": 1, "method": "private/unsubscribe", "params": {"channels": [ORDERS]}});
    world.send(0, conn, &request.to_string());
    assert_eq!(world.texts(0, conn)[0]["result"], json!([ORDERS]));
    tell(&mut world, 7, 0, 3, AN_ORDER);
    tell(&mut world, 7, 2, 4, AN_ORDER);
    assert_eq!(world.texts(0, conn), Vec::<Value>::new());
}
