//! Who listens to `platform_state` is told that the server is about to go, once and before the close frame.

use super::*;

const UNSUBSCRIBE: &str =
    r#"{"jsonrpc":"2.0","id":3,"method":"public/unsubscribe","params":{"channels":["platform_state"]}}"#;

fn listener(world: &mut World, slot: u32) -> ConnId {
    let conn = world.connect(0, slot);
    world.send(0, conn, &subscribe("platform_state"));
    let texts = world.texts(0, conn);
    assert_eq!(texts[0]["result"], serde_json::json!(["platform_state"]));
    assert_eq!(texts.len(), 1, "nothing is said while all is well");
    conn
}

fn is_notice(text: &serde_json::Value) -> bool {
    let params = &text["params"];
    params["channel"] == "platform_state" && params["data"] == serde_json::json!({"maintenance": true})
}

#[test]
fn listeners_are_told_at_once_a_part_a_turn_and_closed_later() {
    let mut world = World::new(1);
    let (first, other, last) = (listener(&mut world, 0), world.connect(0, 1), listener(&mut world, 2));
    let now = world.now;
    assert!(!world.hubs[0].has_untold());
    assert_eq!(world.hubs[0].begin_shutdown(now), 3);
    world.hubs[0].tell_platform(2, now);
    assert!(is_notice(&world.texts(0, first)[0]));
    assert_eq!(world.texts(0, other), Vec::<serde_json::Value>::new());
    assert_eq!(world.texts(0, last), Vec::<serde_json::Value>::new());
    assert!(world.hubs[0].has_untold());
    world.hubs[0].tell_platform(2, now);
    assert!(!world.hubs[0].has_untold());
    assert!(is_notice(&world.texts(0, last)[0]));
    world.hubs[0].shut_down(3, now);
    for conn in [first, other, last] {
        assert_eq!(world.texts(0, conn), [serde_json::json!({"close": 1001})], "and not told again");
    }
}

#[test]
fn who_is_closed_before_its_turn_is_told_first() {
    let mut world = World::new(1);
    let conn = listener(&mut world, 0);
    let now = world.now;
    world.hubs[0].handle_shutdown(now);
    let texts = world.texts(0, conn);
    assert!(is_notice(&texts[0]), "{texts:?}");
    assert_eq!(texts[1..], [serde_json::json!({"close": 1001})]);
}

#[test]
fn who_listens_no_longer_is_not_told() {
    for request in [UNSUBSCRIBE, r#"{"jsonrpc":"2.0","id":3,"method":"public/unsubscribe_all"}"#] {
        let mut world = World::new(1);
        let conn = listener(&mut world, 0);
        world.send(0, conn, request);
        let reply = world.texts(0, conn);
        let expected = if request == UNSUBSCRIBE {
            serde_json::json!(["platform_state"])
        } else {
            serde_json::json!("ok")
        };
        assert_eq!(reply[0]["result"], expected);
        let now = world.now;
        world.hubs[0].handle_shutdown(now);
        assert_eq!(world.texts(0, conn), [serde_json::json!({"close": 1001})]);
    }
    // It was not subscribed to: it is not in the list.
    let mut world = World::new(1);
    let conn = world.connect(0, 0);
    world.send(0, conn, UNSUBSCRIBE);
    assert_eq!(world.texts(0, conn)[0]["result"], serde_json::json!([]));
}

#[test]
fn the_notice_does_not_come_before_the_reply_that_announces_it() {
    let mut world = World::new(2);
    let conn = world.connect(0, 0);
    let text = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"public/subscribe","params":{{"channels":["platform_state","topic.{}"]}}}}"#,
        of_home(1)
    );
    // The other shard has not answered yet.
    let now = world.now;
    world.hubs[0].handle_bytes(conn, &mut frame(&text), now);
    world.hubs[0].begin_shutdown(now);
    world.hubs[0].tell_platform(usize::from(u8::MAX), now);
    assert_eq!(world.texts(0, conn), Vec::<serde_json::Value>::new());
    world.carry();
    world.hubs[0].shut_down(1, now);
    let texts = world.texts(0, conn);
    assert_eq!(texts[0]["id"], 1, "{texts:?}");
    assert!(is_notice(&texts[1]), "{texts:?}");
    assert_eq!(texts[2..], [serde_json::json!({"close": 1001})]);
}
