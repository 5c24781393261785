//! Orders and private channels of clients of nodes that follow: one reply each, no order twice, whatever is lost, and whoever owns.

use super::*;
use crate::dialect::json_rpc::{OWNER_AWAY, OWNER_LOST};

fn order(label: &str) -> Value {
    json!({"instrument_name": "BTC-PERPETUAL", "amount": 10, "price": 50, "label": label})
}

fn trading(followers: u8) -> Cluster {
    let mut cluster = Cluster::new(followers);
    cluster.feed(list("BTC-PERPETUAL"));
    cluster
}

fn errors(texts: &[Value]) -> Vec<(u64, i64)> {
    let failed = texts.iter().filter(|text| text["error"].is_object());
    failed.map(|text| (text["id"].as_u64().unwrap(), text["error"]["code"].as_i64().unwrap())).collect()
}

fn closes(texts: &[Value]) -> Vec<u64> {
    texts.iter().filter_map(|text| text["close"].as_u64()).collect()
}

/// Where an account's events stand, of one channel.
fn places(texts: &[Value], channel: &str) -> Vec<(u64, u64, String)> {
    let of = texts.iter().filter(|text| text["params"]["channel"] == channel);
    of.map(|text| {
        let params = &text["params"];
        let state = params["data"]["order_state"].as_str().unwrap_or_default().to_owned();
        (params["epoch"].as_u64().unwrap(), params["seq"].as_u64().unwrap(), state)
    })
    .collect()
}

#[test]
fn a_client_of_a_node_that_follows_trades_and_each_of_its_account_is_told_the_same_at_the_same_places() {
    let mut cluster = trading(2);
    let at_owner = cluster.member_of_owner(0, 3);
    let channel = "user.orders.BTC-PERPETUAL.raw";
    let clients = [(0, 1, 0), (1, 0, 0)].map(|(node, shard, slot)| {
        let conn = cluster.member(node, shard, slot, 3);
        let reply = cluster.ask((node, shard, conn), "private/subscribe", &json!({"channels": [channel]}));
        assert_eq!(reply["result"], json!([channel]));
        (node, shard, conn)
    });
    let stranger = (1, 1, cluster.member(1, 1, 0, 4));
    cluster.ask(stranger, "private/subscribe", &json!({"channels": ["user.orders.any.any.raw"]}));
    cluster.send_to_owner(at_owner, &request(1, "private/subscribe", &json!({"channels": [channel]})));
    let (node, shard, conn) = clients[0];
    cluster.published.clear();
    cluster.send(node, shard, conn, &request(7, "private/buy", &order("a")));
    let mut texts = cluster.texts(node, shard, conn);
    let reply = texts.iter().position(|text| text["id"] == 7).map(|at| texts.remove(at)).unwrap();
    let id = reply["result"]["order"]["order_id"].as_str().unwrap().to_owned();
    assert_eq!((cluster.venue.placed[0].1, cluster.venue.placed.len()), (AccountId(3), 1));
    let reply = cluster.ask(clients[1], "private/cancel", &json!({"order_id": id}));
    assert_eq!(reply["result"]["order_state"], "cancelled", "any of the account may: {reply}");
    texts.extend(cluster.texts(node, shard, conn));
    let told = places(&texts, channel);
    assert_eq!(told.iter().map(|(_, _, state)| state.as_str()).collect::<Vec<_>>(), ["open", "cancelled"]);
    let of_owner = places(&cluster.owner.texts(0, at_owner), channel);
    assert_eq!(of_owner, told);
    assert_eq!(cluster.texts(1, 1, stranger.2), Vec::<Value>::new());

    // To another node: from the place where it was.
    let resume = json!({"channels": [channel], "resume": {channel: {"epoch": told[0].0, "seq": told[0].1}}});
    let conn = cluster.member(1, 1, 1, 3);
    cluster.send(1, 1, conn, &request(8, "private/subscribe", &resume));
    assert_eq!(places(&cluster.texts(1, 1, conn), channel), told[1..]);
}

#[test]
fn what_is_of_one_account_goes_to_its_nodes_alone_however_many_audiences_a_turn_has() {
    let mut cluster = trading(12);
    let channel = "user.orders.any.any.raw";
    for node in 0..12 {
        let (conn, digit) = (cluster.member(node, 0, 0, node as u32 % 6), node as u32 % 6);
        cluster.ask((node, 0, conn), "private/subscribe", &json!({"channels": [channel]}));
        assert!(digit < 6);
    }
    cluster.published.clear();
    // One turn has events of six accounts, each on two nodes, and answers to six.
    let now = cluster.owner.now;
    for node in 0..6 {
        let conn = ConnId { slot: 0, generation: 1 };
        let text = request(9, "private/buy", &order("a"));
        cluster.nodes[node].world.hubs[0].handle_bytes(conn, &mut frame(&text), now);
    }
    cluster.carry();
    for part in &cluster.published {
        let text = String::from_utf8_lossy(&part.bytes);
        if text.contains("order_id") {
            let nodes: Vec<usize> = part.audience.iter().map(Place::index).collect();
            assert!(nodes.iter().all(|node| node % 6 == nodes[0] % 6), "{nodes:?}");
        }
    }
    for node in 0..12 {
        let conn = ConnId { slot: 0, generation: 1 };
        let texts = cluster.texts(node, 0, conn);
        assert_eq!(places(&texts, channel).len(), 1, "node {node}: {texts:?}");
    }
}

#[test]
fn while_nobody_owns_what_is_asked_is_not_sent() {
    let mut cluster = Cluster::new(0);
    cluster.nodes.push(Node::new(0));
    let conn = cluster.member(0, 0, 0, 3);
    for (method, params) in [
        ("private/get_open_orders", json!({})),
        ("message/send", json!({"user": "account4", "content": 1})),
        ("message/subscribe", json!({})),
        ("topic/publish", json!({"topic": "a", "data": 1})),
    ] {
        let reply = cluster.ask((0, 0, conn), method, &params);
        let told = (&reply["error"]["code"], &reply["error"]["data"]["reason"]);
        assert_eq!(told, (&json!(OWNER_AWAY.code), &json!(OWNER_AWAY.reason)), "{method}");
    }
    assert_eq!(cluster.nodes[0].follower.not_sent_total, 4);
    cluster.appoint();
    cluster.feed(list("BTC-PERPETUAL"));
    let reply = cluster.ask((0, 0, conn), "private/buy", &order("a"));
    assert_eq!(reply["result"]["order"]["order_state"], "open", "it stays, and may ask again: {reply}");
}

#[test]
fn an_owner_that_is_replaced_leaves_what_it_has_not_answered_unknown_and_its_clients_log_in_anew() {
    let mut cluster = trading(1);
    let trader = cluster.member(0, 0, 0, 3);
    let (idle, reader) = (cluster.member(0, 0, 1, 3), cluster.connect(0, 1, 2));
    cluster.send(0, 1, reader, &subscribe("ticker.BTC-PERPETUAL.raw"));
    cluster.texts(0, 1, reader);
    cluster.venue.is_silent = true;
    cluster.send(0, 0, trader, &request(1, "private/buy", &order("a")));
    assert_eq!((cluster.venue.labels.len(), cluster.texts(0, 0, trader)), (1, Vec::new()));
    // The owner is gone: nothing gets through any more.
    cluster.loses = Box::new(|| true);
    cluster.send(0, 0, trader, &request(2, "private/buy", &order("b")));
    cluster.send(0, 0, trader, &request(3, "private/buy", &order("c")));
    cluster.fail_over();
    cluster.loses = Box::new(|| false);
    cluster.feed(list("BTC-PERPETUAL"));
    cluster.appoint();
    let texts = cluster.texts(0, 0, trader);
    let (unknown, not_sent) = (i64::from(OWNER_LOST.code), i64::from(OWNER_AWAY.code));
    let mut told = errors(&texts);
    told.sort_unstable();
    assert_eq!(told, [(1, unknown), (2, unknown), (3, not_sent)], "the second was on its way");
    assert_eq!((closes(&texts), texts.len()), (vec![1012], 4));
    assert_eq!(cluster.venue.labels, ["a"]);
    assert_eq!(cluster.texts(0, 0, idle), Vec::<Value>::new());
    assert_eq!(closes(&cluster.texts(0, 1, reader)), [] as [u64; 0]);
    assert_eq!(cluster.nodes[0].world.hubs[0].incidents().of(Incident::Closed(Closing::OwnerChanged)), 1);
    cluster.venue.is_silent = false;
    let reply = cluster.ask((0, 0, idle), "private/buy", &order("d"));
    assert_eq!(reply["result"]["order"]["order_state"], "open");
    assert_eq!(cluster.nodes[0].world.hubs[0].occupancy().asks, 0);
}

/// A node's own market takes the place of another node's, and gives it up again.
#[test]
fn a_node_that_owns_from_now_on_or_no_more_has_its_shards_begin_anew() {
    let mut cluster = trading(1);
    let [first, second, late] = [0, 1, 2].map(|slot| cluster.member(0, 0, slot, 3));
    cluster.loses = Box::new(|| true);
    cluster.send(0, 0, first, &request(1, "private/buy", &order("a")));
    cluster.send(0, 0, second, &request(2, "private/buy", &order("b")));
    let Node { world, follower, .. } = &mut cluster.nodes[0];
    let now = world.now;
    let before = follower.end();
    world.market = MarketHome::new(HomeId(2), 2, config().history, now);
    world.market.set_desk(desk(), Trading::Open, now);
    while let Some(outgoing) = follower.poll_mesh() {
        for to in outgoing.to.iter() {
            world.hubs[to.index()].handle_batch(HomeId(2), &outgoing.batch, now);
        }
    }
    let mut shards = HomeSet::EMPTY;
    [HomeId(0), HomeId(1)].into_iter().for_each(|shard| shards.insert(shard));
    world.market.reset_shards(before);
    // They have a replica already, of another's.
    shards.iter().for_each(|shard| world.market.handle_lag(shard));
    world.feed_unsent(list("BTC-PERPETUAL"));
    shards.iter().for_each(|shard| world.market.handle_room(shard));
    // It was asked before its shard knew.
    let text = request(3, "private/buy", &order("c"));
    world.hubs[0].handle_bytes(late, &mut frame(&text), now);
    world.carry();
    let (unknown, not_sent) = (i64::from(OWNER_LOST.code), i64::from(OWNER_AWAY.code));
    for (conn, told) in [(first, (1, unknown)), (second, (2, not_sent)), (late, (3, unknown))] {
        let texts = world.texts(0, conn);
        assert_eq!((errors(&texts), closes(&texts)), (vec![told], vec![1012]));
    }
    assert_eq!(world.market.poll_request(now), None, "nothing of before");
    assert_eq!(world.market.counters.departures_total, 0);
    let again = world.connect(0, 5);
    world.hubs[0].handle_bytes(again, &mut frame(LOG_IN), now);
    judge(&mut world.hubs[0], 3, now);
    world.send(0, again, &request(4, "private/buy", &order("d")));
    assert!(world.market.poll_request(now).is_some(), "and all of now");
    let before = world.market.end();
    cluster.nodes[0].follower =
        Follower::new(ClusterName::parse(b"b").unwrap(), 2, HomeId(2), shards, before);
    cluster.nodes[0].subscribed = None;
    cluster.loses = Box::new(|| false);
    cluster.appoint();
    let texts = cluster.texts(0, 0, again);
    assert_eq!((errors(&texts), closes(&texts)), (vec![(4, unknown)], vec![1012]));
    let conn = cluster.member(0, 0, 6, 3);
    let reply = cluster.ask((0, 0, conn), "private/buy", &order("e"));
    assert_eq!(reply["result"]["order"]["order_state"], "open");
}

#[test]
fn answers_whose_stream_is_lost_come_with_the_next_one() {
    let mut cluster = trading(1);
    let conn = cluster.member(0, 1, 0, 3);
    let mut losses = 0;
    // The request and its reply get through, all that is told of it does not.
    cluster.loses = Box::new(move || {
        losses += 1;
        losses > 2
    });
    cluster.send(0, 1, conn, &request(1, "private/buy", &order("a")));
    assert_eq!((cluster.venue.labels.len(), cluster.texts(0, 1, conn)), (1, Vec::new()));
    cluster.loses = Box::new(|| false);
    (0..3).for_each(|_| cluster.pass(1_500));
    let texts = cluster.texts(0, 1, conn);
    assert_eq!((&texts[0]["id"], texts.len()), (&json!(1), 1), "{texts:?}");
    assert_eq!(texts[0]["result"]["order"]["order_state"], "open");
    assert!(matches!(cluster.nodes[0].troubles[..], [Trouble::Lost(_)]), "{:?}", cluster.nodes[0].troubles);
}

#[test]
fn a_node_that_falls_silent_is_given_up_and_its_clients_orders_are_cancelled_once() {
    let mut cluster = trading(2);
    let conn = cluster.member(0, 0, 0, 3);
    let other = cluster.member(1, 0, 0, 4);
    for (node, conn) in [(0, conn), (1, other)] {
        let on = json!({"scope": "connection"});
        let reply = cluster.ask((node, 0, conn), "private/enable_cancel_on_disconnect", &on);
        assert_eq!(reply["result"], "ok");
        cluster.ask((node, 0, conn), "private/buy", &order("a"));
    }
    let placed = cluster.venue.placed.clone();
    let departed = cluster.owner.market.counters.departures_total;
    let gone = cluster.nodes.remove(0);
    for _ in 0..12 {
        cluster.pass(1_000);
    }
    assert_eq!(cluster.venue.cancelled, [placed[0].0]);
    assert_eq!(cluster.owner.market.counters.departures_total - departed, 1);
    // It is there again: what it says is of before.
    cluster.nodes.insert(0, gone);
    (0..8).for_each(|_| cluster.pass(1_000));
    let texts = cluster.texts(0, 0, conn);
    assert_eq!(closes(&texts), [1012], "{texts:?}");
    assert_eq!((cluster.venue.cancelled.len(), cluster.bridge.following()), (1, Places(3)));
    let again = cluster.member(0, 0, 1, 3);
    let open = cluster.ask((0, 0, again), "private/get_open_orders", &json!({}));
    assert_eq!(open["result"], json!([]));
    cluster.nodes[1].world.hubs[0].handle_closed(other, cluster.owner.now);
    cluster.carry();
    assert_eq!(cluster.venue.cancelled.len(), 2, "the other's own disconnect counts too");
}

#[test]
fn a_node_has_its_place_again_only_when_nothing_is_to_come_for_who_was_there() {
    let mut cluster = trading(1);
    let conn = cluster.member(0, 0, 0, 3);
    cluster.venue.is_silent = true;
    cluster.send(0, 0, conn, &request(1, "private/buy", &order("a")));
    let before = cluster.nodes[0].subscribed.unwrap();
    // Another process of the same name, whose tickets have the same numbers.
    cluster.nodes[0] = Node::new(0);
    cluster.nodes[0].follower = follower(0, 2);
    cluster.nodes[0].world.now = cluster.owner.now;
    cluster.appoint();
    assert_ne!(cluster.nodes[0].subscribed.unwrap(), before, "an answer is to come there");
    cluster.feed(level(Side::Bid, 1, 1));
    let conn = cluster.member(0, 0, 0, 3);
    cluster.send(0, 0, conn, &request(1, "private/buy", &order("b")));
    let placed = cluster.venue.placed.clone();
    cluster.report(VenueReport::Accepted { order: placed[0].0, price: None });
    cluster.carry();
    assert_eq!(cluster.texts(0, 0, conn), Vec::<Value>::new(), "that was another's");
    cluster.report(VenueReport::Accepted { order: placed[1].0, price: None });
    cluster.carry();
    let id = cluster.texts(0, 0, conn)[0]["result"]["order"]["order_id"].as_str().unwrap().to_owned();
    assert_eq!(id, placed[1].0.0.to_string());
    cluster.nodes[0] = Node::new(0);
    cluster.nodes[0].follower = follower(0, 3);
    cluster.nodes[0].world.now = cluster.owner.now;
    cluster.appoint();
    assert_eq!(cluster.nodes[0].subscribed, Some(before), "nothing is to come there any more");
}

fn follower(number: u8, incarnation: u64) -> Follower {
    let mut shards = HomeSet::EMPTY;
    (0..2).for_each(|shard| shards.insert(HomeId(shard)));
    let name = ClusterName::parse(&[b'b' + number]).unwrap();
    Follower::new(name, incarnation, HomeId(2), shards, Resetting::default())
}

/// What became of an order as its client was told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Placed,
    NotSent,
    Unknown,
}

/// Messages, requests and replies are lost, owners replaced and nodes cut off by chance while clients of two nodes trade: each request has one reply, no
/// order is placed twice, one that was told as placed was placed, and one that was told as not sent was not.
#[test]
fn whatever_is_lost_between_nodes_each_order_has_one_answer_and_is_placed_once_at_most() {
    let mut told_so = BTreeMap::new();
    for seed in 0..60_u64 {
        let (mut chance, mut losing) = (seed, seed.wrapping_mul(99));
        let mut cluster = trading(2);
        let mut placed: Vec<String> = Vec::new();
        let mut clients: BTreeMap<(usize, usize), ConnId> = BTreeMap::new();
        let mut told: BTreeMap<u64, Told> = BTreeMap::new();
        let (mut number, mut slots) = (100, 0);
        let loses = |one_in: u64, losing: u64| {
            let mut losing = losing;
            Box::new(move || next(&mut losing, one_in) == 0) as Box<dyn FnMut() -> bool>
        };
        cluster.loses = loses(25, losing);
        for _ in 0..80 {
            let at = (next(&mut chance, 2) as usize, next(&mut chance, 2) as usize);
            match next(&mut chance, 40) {
                0 => {
                    placed.append(&mut cluster.venue.labels);
                    cluster.fail_over();
                    cluster.feed(list("BTC-PERPETUAL"));
                    cluster.appoint();
                }
                1 => cluster.loses = loses(2, losing),
                2..6 => {
                    cluster.loses = loses(25, losing);
                    cluster.pass(next(&mut chance, 4_000));
                }
                6 => cluster.venue.is_silent = true,
                7 => cluster.venue.is_silent = false,
                _ => {
                    let conn = *clients.entry(at).or_insert_with(|| {
                        slots += 1;
                        cluster.member(at.0, at.1, slots, 3)
                    });
                    number += 1;
                    cluster.send(
                        at.0,
                        at.1,
                        conn,
                        &request(number, "private/buy", &order(&format!("l{number}"))),
                    );
                }
            }
            losing = losing.wrapping_add(1);
            hear(&mut cluster, &mut clients, &mut told, seed);
        }
        cluster.loses = Box::new(|| false);
        cluster.venue.is_silent = false;
        let unanswered = cluster.venue.placed.clone();
        unanswered
            .into_iter()
            .for_each(|(order, _)| cluster.report(VenueReport::Accepted { order, price: None }));
        for _ in 0..20 {
            cluster.pass(1_000);
            hear(&mut cluster, &mut clients, &mut told, seed);
        }
        placed.append(&mut cluster.venue.labels);
        for id in 101..=number {
            let one = *told.get(&id).unwrap_or_else(|| panic!("seed {seed}: request {id} is answered"));
            let times = check(one, &placed, &format!("l{id}"));
            *told_so.entry(format!("{one:?} {times}")).or_insert(0) += 1;
        }
        for node in &cluster.nodes {
            assert!(node.world.hubs.iter().all(|hub| hub.occupancy().asks == 0), "seed {seed}");
        }
    }
    let all = ["NotSent 0", "Placed 1", "Unknown 0", "Unknown 1"];
    assert_eq!(told_so.keys().map(String::as_str).collect::<Vec<_>>(), all, "{told_so:?}");
}

/// How often an order was placed of which its client was told so.
fn check(told: Told, placed: &[String], label: &str) -> usize {
    let times = placed.iter().filter(|placed| *placed == label).count();
    match told {
        Told::Placed => assert_eq!(times, 1, "{label}"),
        Told::NotSent => assert_eq!(times, 0, "{label}"),
        Told::Unknown => assert!(times <= 1, "{label}"),
    }
    times
}

/// Notes what clients are told; those that are closed are no clients any more.
fn hear(
    cluster: &mut Cluster,
    clients: &mut BTreeMap<(usize, usize), ConnId>,
    told: &mut BTreeMap<u64, Told>,
    seed: u64,
) {
    let now: Vec<_> = clients.iter().map(|(at, conn)| (*at, *conn)).collect();
    for (at, conn) in now {
        for text in cluster.texts(at.0, at.1, conn) {
            if text["close"] == 1012 {
                clients.remove(&at);
                continue;
            }
            let id = text["id"].as_u64().unwrap_or_else(|| panic!("seed {seed}: {text}"));
            let code = text["error"]["code"].as_i64();
            let one = match code {
                None => Told::Placed,
                Some(code) if code == i64::from(OWNER_AWAY.code) => Told::NotSent,
                Some(code) if code == i64::from(OWNER_LOST.code) => Told::Unknown,
                Some(_) => panic!("seed {seed}: {text}"),
            };
            assert!(told.insert(id, one).is_none(), "seed {seed}: {id} is answered twice");
        }
    }
}
