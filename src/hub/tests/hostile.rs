//! What a peer could try: to make the hub panic, hold memory without bound, or work without bound.

use super::*;
use crate::limits;
use crate::model::channel::{TopicKey, TopicName};

/// Makes every topic of a hub's home taken.
fn fill_home(world: &mut World, shard: usize) {
    for number in 0..limits::TOPICS_PER_HOME_MAX {
        let name = TopicName::parse(format!("taken{number}").as_bytes()).unwrap();
        assert!(world.hubs[shard].home.intern(TopicKey::Client(name), world.now).is_some());
    }
}

#[test]
fn a_subscribe_that_finds_no_room_at_the_home_is_left_out_of_the_reply() {
    let mut world = World::new(1);
    fill_home(&mut world, 0);
    let conn = world.connect(0, 0);
    world.send(0, conn, &subscribe("topic.new"));
    assert_eq!(world.texts(0, conn)[0]["result"], serde_json::json!([]));
    world.send(0, conn, &subscribe("topic.taken1"));
    assert_eq!(world.texts(0, conn)[0]["result"], serde_json::json!(["topic.taken1"]));
}

#[test]
fn a_message_counts_as_published_once_its_home_has_given_it_a_place() {
    let mut world = World::new(2);
    let conn = world.connect(0, 0);
    let check = |world: &mut World, topic: &str, error: Option<i64>, published: u64| {
        world.send(0, conn, &publish(topic, "1"));
        assert_eq!(world.texts(0, conn)[0]["error"]["code"].as_i64(), error, "{topic}");
        let of_shards: Vec<u64> =
            world.hubs.iter().map(|hub| hub.counters.messages_published_total).collect();
        assert_eq!(of_shards, [published, 0], "{topic}");
    };
    for (home, published) in [(0, 1), (1, 2)] {
        fill_home(&mut world, home);
        let of_home = |prefix: &str| {
            let mut names = (0..100).map(|number| format!("{prefix}{number}"));
            let home_of = |name: &String| {
                world.hubs[0].home_of_name(&TopicName::parse(name.as_bytes()).unwrap()).index()
            };
            names.find(|name| home_of(name) == home).unwrap()
        };
        let (taken, new) = (of_home("taken"), of_home("new"));
        check(&mut world, &taken, None, published);
        check(&mut world, &new, Some(10040), published);
    }
    world.hubs[0].config.publishing = Publishing::Nobody;
    check(&mut world, "taken1", Some(13021), 2);
}

#[test]
fn messages_that_nobody_listens_to_leave_nothing_behind() {
    let mut world = World::new(1);
    let conn = world.connect(0, 0);
    let message = publish("unheard", &format!("\"{}\"", "x".repeat(1000)));
    for _ in 0..100 {
        world.send(0, conn, &message);
        world.take(0, conn);
        assert!(world.hubs[0].outbox.data().bytes.is_empty());
    }
}

#[test]
fn replies_that_never_run_dry_do_not_pile_up_what_is_sent() {
    let mut world = World::new(1);
    let conn = world.connect(0, 0);
    let test = r#"{"jsonrpc":"2.0","id":1,"method":"public/test"}"#;
    let mut out = [0; 256];
    world.send(0, conn, test);
    for _ in 0..1000 {
        world.send(0, conn, test);
        world.send(0, conn, test);
        assert!(world.hubs[0].poll_transmit(conn, &mut out) > 0);
        world.hubs[0].handle_sent(conn, world.now);
        assert!(world.hubs[0].poll_transmit(conn, &mut out) > 0);
        world.hubs[0].handle_sent(conn, world.now);
    }
    assert!(world.hubs[0].egress.reply_bytes(0) > 0);
    assert!(world.hubs[0].egress.reply_bytes_held(0) < 4096, "{}", world.hubs[0].egress.reply_bytes_held(0));
}

#[test]
fn a_batch_whose_replies_grow_past_the_limit_is_cut_short() {
    let mut world = World::new(1);
    world.feed(|feed| {
        for number in 0..1000 {
            feed.events.push(FeedEvent::Listed { definition: instrument(&format!("I-{number}")) });
        }
    });
    let conn = world.connect(0, 0);
    let request = r#"{"jsonrpc":"2.0","id":1,"method":"public/get_instruments"}"#;
    world.send(0, conn, &format!("[{}]", vec![request; 100].join(",")));
    assert_eq!(world.texts(0, conn), [serde_json::json!({ "close": 1009 })]);
    assert!(world.hubs[0].counters().requests_total < 100);
    assert!(world.hubs[0].batches.entries.is_empty());
}

fn request(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#)
}

#[test]
fn a_channel_that_is_asked_for_again_and_again_counts_once() {
    let mut world = World::new(1);
    world.feed(|feed| {
        for number in 0..90 {
            feed.events.push(FeedEvent::Listed { definition: instrument(&format!("I-{number}")) });
        }
    });
    let conn = world.connect(0, 0);
    let channels = format!("[{}]", vec!["\"ticker.*.raw\""; 500].join(","));
    for _ in 0..2 {
        world.send(0, conn, &request("public/subscribe", &format!("{{\"channels\":{channels}}}")));
        let texts = world.texts(0, conn);
        assert_eq!(texts[0]["result"].as_array().unwrap().len(), 500);
    }
    assert_eq!(world.hubs[0].topics.subscriptions.len(), 90);
    world.send(0, conn, &request("public/subscribe", r#"{"channels":["quote.*"]}"#));
    assert_eq!(world.texts(0, conn)[0]["error"]["data"]["reason"], "too many subscriptions");
    world.send(0, conn, &request("public/unsubscribe", r#"{"channels":["ticker.*.raw"]}"#));
    assert_eq!(world.hubs[0].topics.subscriptions.len(), 0);
    assert!(world.hubs[0].pattern_sessions.is_empty());
}

#[test]
fn an_unsubscribe_moves_no_more_subscriptions_than_it_ends() {
    let mut world = World::new(1);
    let conn = world.connect(0, 0);
    let topics = |numbers: &[u32]| {
        let names: Vec<String> = numbers.iter().map(|number| format!("\"topic.{number}\"")).collect();
        format!(r#"{{"channels":[{}]}}"#, names.join(","))
    };
    let all: Vec<u32> = (0..100).collect();
    world.send(0, conn, &request("public/subscribe", &topics(&all)));
    let listed = |world: &World| world.hubs[0].sessions[0].as_ref().unwrap().subscriptions.clone();
    let mut before = listed(&world);
    assert_eq!(before.len(), 100);
    for ended in [&[0][..], &[50, 99, 3], &[7], &[98, 97, 1, 96, 2]] {
        world.send(0, conn, &request("public/unsubscribe", &topics(ended)));
        let after = listed(&world);
        assert_eq!(after.len(), before.len() - ended.len());
        let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
        assert!(moved <= ended.len(), "{moved} moved for {ended:?}");
        before = after;
    }
    world.send(0, conn, &request("public/unsubscribe", &topics(&all)));
    world.carry();
    assert!(listed(&world).is_empty());
    assert_eq!(world.hubs[0].topics.topics.len(), 0);
}

#[test]
fn a_wildcard_ends_what_it_stands_for_and_leaves_what_was_named() {
    let mut world = World::new(1);
    world.feed(|feed| {
        for number in 0..9 {
            feed.events.push(FeedEvent::Listed { definition: instrument(&format!("I-{number}")) });
        }
    });
    let conn = world.connect(0, 0);
    let channels = r#"{"channels":["ticker.*.raw","quote.*","ticker.I-4.raw"]}"#;
    world.send(0, conn, &request("public/subscribe", channels));
    assert_eq!(world.hubs[0].topics.subscriptions.len(), 18);
    let end = |world: &mut World, channel: &str, left: usize, with_patterns: usize| {
        world.send(0, conn, &request("public/unsubscribe", &format!(r#"{{"channels":["{channel}"]}}"#)));
        assert_eq!(world.hubs[0].topics.subscriptions.len(), left, "{channel}");
        assert_eq!(world.hubs[0].pattern_sessions.len(), with_patterns, "{channel}");
    };
    end(&mut world, "ticker.*.raw", 10, 1);
    end(&mut world, "quote.*", 1, 0);
    end(&mut world, "ticker.I-4.raw", 0, 0);
}

#[test]
fn questions_to_homes_are_bounded_per_connection() {
    let mut world = World::new(2);
    let conn = world.connect(0, 0);
    for topic in 0..1000 {
        for method in ["public/subscribe", "public/unsubscribe"] {
            let text = request(method, &format!(r#"{{"channels":["topic.{topic}"]}}"#));
            world.hubs[0].handle_bytes(conn, &mut frame(&text), world.now);
        }
    }
    assert!(world.hubs[0].joins.entries.len() <= 100);
    world.carry();
    assert_eq!(world.hubs[0].joins.entries.len(), 0);
    assert_eq!(world.hubs[0].topics.topics.len(), 0);
    assert!(world.texts(0, conn).iter().any(|text| text["error"]["code"].is_number()));
    world.send(0, conn, &subscribe("topic.x"));
    assert_eq!(world.texts(0, conn)[0]["result"], serde_json::json!(["topic.x"]));
}

#[test]
fn the_answer_to_an_ended_subscription_does_not_start_a_later_one() {
    let mut world = World::new(1);
    let publisher = world.connect(0, 1);
    let mut epoch = 0;
    for number in 1..=5 {
        world.send(0, publisher, &publish("t", &number.to_string()));
        epoch = world.texts(0, publisher)[0]["result"]["epoch"].as_u64().unwrap();
    }
    let conn = world.connect(0, 0);
    let resume = format!(r#"{{"channels":["topic.t"],"resume":{{"topic.t":{{"epoch":{epoch},"seq":2}}}}}}"#);
    let texts = [
        subscribe("topic.t"),
        request("public/unsubscribe", r#"{"channels":["topic.t"]}"#),
        request("public/subscribe", &resume),
    ];
    let mut bytes: Vec<u8> = texts.iter().flat_map(|text| frame(text)).collect();
    world.hubs[0].handle_bytes(conn, &mut bytes, world.now);
    world.carry();
    let texts = world.texts(0, conn);
    let data: Vec<_> = texts.iter().filter_map(|text| text["params"]["data"].as_u64()).collect();
    assert_eq!(data, [3, 4, 5]);
    assert_eq!(texts.iter().filter(|text| text["resumed"]["topic.t"]["recovered"] == true).count(), 1);
}

#[test]
fn heartbeats_set_again_and_again_take_one_place_in_the_wheel() {
    let mut world = World::new(1);
    let conn = world.connect(0, 0);
    for _ in 0..1000 {
        for interval in [10, 86_400] {
            world.now = world.now.plus_ns(1_000);
            world.send(0, conn, &request("public/set_heartbeat", &format!(r#"{{"interval":{interval}}}"#)));
        }
        world.take(0, conn);
    }
    assert!(world.hubs[0].wheel.count() <= 4, "{}", world.hubs[0].wheel.count());
    world.send(0, conn, &request("public/set_heartbeat", r#"{"interval":10}"#));
    world.take(0, conn);
    let mut seen = Vec::new();
    for _ in 0..22 {
        world.now = world.now.plus_ns(UNIT as u64);
        world.hubs[0].handle_timeout(world.now);
        seen.extend(world.texts(0, conn));
    }
    assert_eq!(seen[0]["params"]["type"], "test_request");
    assert_eq!(seen.last().unwrap()["close"], 1008);
}

#[test]
fn a_full_pool_of_queues_costs_the_slowest_and_not_the_one_that_reads() {
    let mut world = World::new(1);
    world.hubs[0].egress.set_queued_frames_max(200);
    let [reader, slow, publisher] = [0, 1, 2].map(|slot| world.connect(0, slot));
    for conn in [slow, reader] {
        world.send(0, conn, &subscribe("topic.t"));
        world.take(0, conn);
    }
    for number in 1..=300 {
        world.send(0, publisher, &publish("t", "1"));
        world.take(0, publisher);
        let texts = world.texts(0, reader);
        assert_eq!((texts.len(), &texts[0]["params"]["seq"]), (1, &serde_json::json!(number)));
    }
    assert_eq!(world.texts(0, slow), [serde_json::json!({ "close": 1008 })]);
    assert_eq!(world.count(Closing::LogFull), 1);
}

#[test]
fn a_peer_that_ends_its_side_at_once_still_gets_its_reply_and_its_close_frame() {
    let mut world = World::new(1);
    let asks = world.connect(0, 0);
    world.send(0, asks, r#"{"jsonrpc":"2.0","id":1,"method":"public/test"}"#);
    let closes = world.connect(0, 1);
    world.hubs[0].handle_bytes(closes, &mut [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8], world.now);
    for conn in [asks, closes] {
        world.hubs[0].handle_eof(conn, world.now);
        assert_eq!(world.hubs[0].poll_effect(), None);
    }
    assert_eq!(world.texts(0, asks)[0]["id"], 1);
    assert_eq!(world.texts(0, closes), [serde_json::json!({ "close": 1000 })]);
    for conn in [asks, closes] {
        let ended = Effect::Disconnect { conn, ending: Ending::Graceful };
        assert_eq!(world.hubs[0].poll_effect(), Some(ended));
    }
}

#[test]
fn a_client_that_is_not_read_is_not_called_silent() {
    let mut world = World::new(1);
    world.feed(|feed| {
        for number in 0..1000 {
            feed.events.push(FeedEvent::Listed { definition: instrument(&format!("I-{number}")) });
        }
    });
    let conn = world.connect(0, 0);
    world.send(0, conn, &request("public/get_instruments", "{}"));
    assert_eq!(world.hubs[0].poll_effect(), Some(Effect::PauseReading { conn }));
    let mut out = [0; 256];
    for _ in 0..100 {
        world.now = world.now.plus_ns(UNIT as u64);
        assert_eq!(world.hubs[0].poll_transmit(conn, &mut out), 256);
        world.hubs[0].handle_sent(conn, world.now);
        world.hubs[0].handle_timeout(world.now);
    }
    world.take(0, conn);
    assert_eq!(world.hubs[0].poll_effect(), Some(Effect::ResumeReading { conn }));
}

#[test]
fn a_client_that_comes_back_to_several_channels_is_not_called_slow() {
    let mut world = World::new(1);
    let publisher = world.connect(0, 1);
    let mut resume = Vec::new();
    for topic in ["a", "b", "c"] {
        for _ in 0..25 {
            world.send(0, publisher, &publish(topic, &format!("\"{}\"", "x".repeat(1900))));
            let epoch = world.texts(0, publisher)[0]["result"]["epoch"].as_u64().unwrap();
            resume.push(format!(r#""topic.{topic}":{{"epoch":{epoch},"seq":0}}"#));
        }
        resume.dedup();
    }
    let conn = world.connect(0, 0);
    let channels = r#"["topic.a","topic.b","topic.c"]"#;
    let params = format!(r#"{{"channels":{channels},"resume":{{{}}}}}"#, resume.join(","));
    world.send(0, conn, &request("public/subscribe", &params));
    world.send(0, publisher, &publish("a", "1"));
    assert_eq!(world.texts(0, conn).len(), 1 + 3 * 25 + 1);
    // The allowance is gone with what it was for.
    for _ in 0..100 {
        world.send(0, publisher, &publish("a", &format!("\"{}\"", "x".repeat(1900))));
    }
    assert_eq!(world.texts(0, conn), [serde_json::json!({ "close": 1008 })]);
}

#[test]
fn unread_replies_of_many_connections_together_are_bounded() {
    let mut world = World::new(1);
    // Each leaves as much unread as one may; together they may not.
    let request = r#"{"jsonrpc":"2.0","id":1,"method":"public/test"}"#;
    let batch = format!("[{}]", vec![request; 128].join(","));
    let each_bytes = limits::REPLY_BYTES_MAX / 2;
    let conns: Vec<_> = (0..80).map(|slot| world.connect(0, slot)).collect();
    for conn in &conns {
        let mut held_bytes = 0;
        while held_bytes < each_bytes && world.count(Closing::RepliesUnread) == 0 {
            world.hubs[0].handle_bytes(*conn, &mut frame(&batch), world.now);
            held_bytes += 128 * 135;
        }
    }
    assert!(world.count(Closing::RepliesUnread) > 0);
    assert!(world.hubs[0].held_reply_bytes() <= limits::REPLY_BYTES_PER_SHARD_MAX + limits::REPLY_BYTES_MAX);
    for conn in conns {
        world.hubs[0].handle_closed(conn, world.now);
    }
    assert_eq!(world.hubs[0].held_reply_bytes(), 0);
}

#[test]
fn who_comes_while_the_server_stops_is_turned_away() {
    let mut world = World::new(1);
    world.hubs[0].handle_shutdown(world.now);
    let conn = ConnId { slot: 0, generation: 1 };
    world.hubs[0].handle_open(conn, Arrival::FIRST, world.now);
    assert_eq!(world.hubs[0].poll_effect(), Some(Effect::Disconnect { conn, ending: Ending::Graceful }));
}
