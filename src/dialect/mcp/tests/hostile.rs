//! Clients and backends that mean ill, or are broken. Test code.

use proptest::prelude::*;

use super::*;

#[test]
fn no_text_of_a_client_is_two_lines_for_a_backend() {
    let mut world = two();
    let client = world.client("{}");
    let smuggled = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"risk__var\",\n{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"evil\"}\n}}";
    world.say(client, smuggled);
    assert!(world.seen[0].contains("-32700"), "{:?}", world.seen);
    world.seen.clear();
    world.say(
        client,
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\n\"name\":\r\n\"risk__var\"}}",
    );
    world.expect(&[r#"risk< {"jsonrpc":"2.0","id":N,"method":"tools/call","params":{ "name":  "var"}}"#]);
}

#[test]
fn what_is_under_way_for_a_client_and_at_a_backend_is_bounded() {
    let mut world = two();
    let client = world.client("{}");
    for id in 0..9 {
        world.ask(client, &id.to_string(), "tools/call", r#"{"name":"risk__var"}"#);
    }
    assert!(world.seen[8].contains(r#""id":8,"error""#) && world.seen[8].contains("backend_busy"));
    world.ask(client, "0", "tools/call", r#"{"name":"risk__var"}"#);
    assert!(world.seen[9].contains("a request with this id is under way"));
    let mut opened = 1;
    while world.relay.open_session(SessionKind::Passing, Level::None).is_some() {
        opened += 1;
    }
    assert_eq!(opened, limits::MCP_SESSIONS_MAX);
}

#[test]
fn a_request_waits_in_bounded_company() {
    let mut world = World::new(vec![(
        BackendSettings { requests_max: 10_000, ..shared("a", "") },
        tools(r#"{"tools":[]}"#),
    )]);
    let client = world.client("{}");
    for id in 0..=limits::MCP_REQUESTS_PER_SESSION_MAX {
        world.ask(client, &id.to_string(), "tools/call", r#"{"name":"x"}"#);
    }
    assert_eq!(world.seen.iter().filter(|line| line.contains("backend_busy")).count(), 1);
}

#[test]
fn what_a_backend_says_that_is_none_of_it_is_passed_over_or_ends_it() {
    let mut world = two();
    let client = world.client("{}");
    for noise in ["", "Server is listening", "[]", "17", r#"{"jsonrpc":"2.0","id":null,"error":{}}"#] {
        world.server("risk", noise);
        world.expect(&[]);
    }
    world.ask(client, "1", "tools/call", r#"{"name":"risk__var"}"#);
    world.seen.clear();
    // An answer that is none.
    world.server("risk", r#"{"jsonrpc":"2.0","id":N}"#);
    assert!(world.seen.len() == 1 && world.seen[0].contains("backend_bad_answer"));
    world.ask(client, "2", "tools/call", r#"{"name":"risk__var"}"#);
    world.seen.clear();
    world.server("risk", r#"{"jsonrpc":"2.0","id":"#);
    assert!(world.seen[0].contains(r#""id":2,"error""#) && world.seen[0].contains("backend_bad_answer"));
    assert!(world.seen[1..].iter().any(|line| line == "close risk"), "{:?}", world.seen);
    // Another backend's requests are not its to answer.
    world.seen.clear();
    world.ask(client, "3", "tools/call", r#"{"name":"files__read"}"#);
    world.seen.clear();
    world.wait(S);
    world.seen.clear();
    let id = world.last_id;
    for wrong in 0..=id {
        world.relay.handle_server(
            world.link("risk"),
            &format!(r#"{{"jsonrpc":"2.0","id":{wrong},"result":{{}}}}"#),
            world.now_ns,
        );
    }
    world.settle();
    assert!(world.seen.iter().all(|line| !line.contains(r#""id":3"#)), "{:?}", world.seen);
}

#[test]
fn a_backend_that_speaks_another_protocol_is_not_up() {
    for answer in [
        r#"{"jsonrpc":"2.0","id":N,"error":{"code":1,"message":"no"}}"#,
        r#"{"jsonrpc":"2.0","id":N,"result":{"protocolVersion":"1"}}"#,
        r#"{"jsonrpc":"2.0","id":N,"result":7}"#,
    ] {
        let mut relay = Relay::new(Settings { own: &[], gateway_version: "1" });
        relay.set_backends(vec![(BackendKey(0), shared("x", ""))], 0);
        let mut link = None;
        while let Some(output) = relay.poll_output() {
            if let Output::ToServer { link: one, text } = output {
                let value: serde_json::Value = serde_json::from_str(&text).unwrap();
                relay.handle_server(one, &answer.replace('N', &value["id"].to_string()), 0);
                link = Some(one);
            }
        }
        let seen: Vec<Output> = std::iter::from_fn(|| relay.poll_output()).collect();
        assert!(seen.is_empty() && link.is_some());
        assert!(relay.poll_timeout().is_some(), "it is tried again");
    }
}

fn piece() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("initialize"),
        Just("tools/list"),
        Just("tools/call"),
        Just("resources/subscribe"),
        Just("resources/unsubscribe"),
        Just("notifications/cancelled"),
        Just("notifications/progress"),
        Just("notifications/initialized"),
        Just("notifications/tools/list_changed"),
        Just("sampling/createMessage"),
        Just("completion/complete"),
        Just("prompts/get"),
        Just("logging/setLevel"),
        Just("ping"),
        Just("notifications/message")
    ];
    let params = prop_oneof![
        Just(r#"{"name":"risk__var","_meta":{"progressToken":1}}"#),
        Just(r#"{"uri":"a:1"}"#),
        Just(r#"{"requestId":1}"#),
        Just(r#"{"progressToken":9,"progress":1}"#),
        Just(r#"{"level":"info"}"#),
        Just(r#"{"protocolVersion":"2025-11-25","capabilities":{"sampling":{}}}"#),
        Just("[]"),
        Just("{"),
        Just(r#"{"ref":{"type":"ref/prompt","name":"risk__a"}}"#)
    ];
    prop_oneof![
        (0..12_u64, word, params).prop_map(|(id, method, params)| match id {
            0 => format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#),
            id => format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#),
        }),
        (0..40_u64).prop_map(|id| format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{{"tools":[{{"name":"var"}}]}}}}"#
        )),
        (0..40_u64).prop_map(|id| format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{}}}}"#)),
        "[\\[\\]{}\",:0-9a-z ]{0,40}",
    ]
}

proptest! {
    /// Whatever is said by whom and when: no panic, an answer at most to each request, and nothing is left when all are gone.
    #[test]
    fn nothing_that_is_said_breaks_the_relay(script in prop::collection::vec((0..8_u8, piece()), 0..60)) {
        let mut world = two();
        let clients = [world.client(r#"{"sampling":{}}"#), world.client("{}")];
        let mut wanted = vec![(BackendKey(0), shared("files", "files__")), (BackendKey(1), shared("risk", "risk__"))];
        for (who, text) in &script {
            let links = [world.newest("risk"), world.newest("files")];
            match who {
                0 | 1 => world.say(clients[usize::from(*who)], text),
                2 | 3 => {
                    world.relay.handle_server(links[usize::from(*who - 2)], text, world.now_ns);
                    world.settle();
                }
                4 => world.wait(7 * S),
                // One goes or comes, or both are in another order; or one changes, and is for each session or for all.
                6 => {
                    let (name, prefix) = (if text.len() % 2 == 0 { "risk" } else { "files" }, "risk__");
                    match wanted.iter().position(|(_, one)| &*one.name == name) {
                        Some(place) if text.len() % 3 == 0 => drop(wanted.remove(place)),
                        Some(_) => wanted.reverse(),
                        None => {
                            let server = tools(r#"{"tools":[{"name":"var"}]}"#);
                            wanted.push(world.key(shared(name, prefix), server));
                        }
                    }
                    world.reload(wanted.clone());
                }
                7 if !wanted.is_empty() => {
                    let place = text.len() % wanted.len();
                    let instances = [Instances::Shared, Instances::PerSession][text.len() % 2];
                    let other = BackendSettings { instances, ..wanted[place].1.clone() };
                    wanted[place] = world.key(other, tools(r#"{"tools":[{"name":"var"}]}"#));
                    world.reload(wanted.clone());
                }
                _ => {
                    world.relay.handle_link_down(links[0], world.now_ns);
                    world.settle();
                }
            }
        }
        for client in clients {
            world.relay.close_session(client, world.now_ns);
        }
        world.settle();
        world.wait(1000 * S);
        prop_assert!(world.relay.is_at_rest());
    }
}
