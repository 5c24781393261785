//! What clients and backends see, case by case. Test code.

use super::*;

#[test]
fn tools_of_all_backends_are_one_list_under_prefixes() {
    let mut world = two();
    let client = world.client("{}");
    world.ask(client, "1", "tools/list", "{}");
    world.expect(&[
        r#"c5< {"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"files__read","x-new":[1e400]},{"name":"risk__var"}]}}"#,
    ]);
    // From what is known already.
    world.ask(client, r#""two""#, "tools/list", "{}");
    assert!(world.seen[0].starts_with(r#"c5< {"jsonrpc":"2.0","id":"two","result""#));
}

#[test]
fn a_call_reaches_its_backend_under_its_own_name_and_the_answer_comes_back_as_it_is() {
    let mut world = two();
    let client = world.client("{}");
    world.ask(
        client,
        r#""a""#,
        "tools/call",
        r#"{"name":"risk__var","arguments":{"x":1.00,"name":"risk__"}}"#,
    );
    world.expect(&[
        r#"risk< {"jsonrpc":"2.0","id":N,"method":"tools/call","params":{"name":"var","arguments":{"x":1.00,"name":"risk__"}}}"#,
    ]);
    world
        .server("risk", r#"{"jsonrpc":"2.0","id":N,"result":{"content":[{"type":"hologram"}],"later":1.0}}"#);
    world.expect(&[
        r#"c5< {"jsonrpc":"2.0","id":"a","result":{"content":[{"type":"hologram"}],"later":1.0}}"#,
    ]);
    // A second answer is nobody's.
    world.server("risk", r#"{"jsonrpc":"2.0","id":N,"result":{}}"#);
    world.expect(&[]);
    assert_eq!(world.relay.state(BackendKey(1)).unwrap().counters.late_total, 1);
    world.ask(client, "2", "tools/call", r#"{"name":"risk__var"}"#);
    world.seen.clear();
    world.server("risk", r#"{"jsonrpc":"2.0","id":N,"error":{"code":-5,"message":"no","data":{"k":1}}}"#);
    world.expect(&[r#"c5< {"jsonrpc":"2.0","id":2,"error":{"code":-5,"message":"no","data":{"k":1}}}"#]);
}

#[test]
fn what_nobody_offers_is_refused_with_its_reason() {
    let mut world = two();
    let client = world.client("{}");
    for (method, params, expected) in [
        (
            "tools/call",
            r#"{"name":"nope"}"#,
            r#"-32602,"message":"no backend offers nope","data":{"reason":"unknown_name"}"#,
        ),
        ("tools/call", "{}", r#"-32602,"message":"name is missing","data":{"reason":"invalid_params"}"#),
        (
            "resources/read",
            r#"{"uri":"x:y"}"#,
            r#"-32002,"message":"Resource not found: x:y","data":{"reason":"unknown_resource","uri":"x:y"}"#,
        ),
        (
            "tasks/list",
            "{}",
            r#"-32601,"message":"there is no such method","data":{"reason":"unknown_method"}"#,
        ),
        (
            "tools/list",
            r#"{"cursor":"x"}"#,
            r#"-32602,"message":"cursor is none of ours","data":{"reason":"invalid_params"}"#,
        ),
        (
            "logging/setLevel",
            r#"{"level":"loud"}"#,
            r#"-32602,"message":"level is none of RFC 5424's","data":{"reason":"invalid_params"}"#,
        ),
        (
            "initialize",
            r#"{"protocolVersion":"2025-11-25"}"#,
            r#"-32600,"message":"this session is initialized already","data":{"reason":"invalid_request"}"#,
        ),
    ] {
        world.ask(client, "9", method, params);
        world.expect(&[&format!(r#"c5< {{"jsonrpc":"2.0","id":9,"error":{{"code":{expected}}}}}"#)]);
    }
}

#[test]
fn progress_comes_back_under_the_clients_own_token() {
    let mut world = two();
    let (one, other) = (world.client("{}"), world.client("{}"));
    world.ask(other, "1", "tools/call", r#"{"name":"risk__var"}"#);
    world.ask(one, "1", "tools/call", r#"{"name":"risk__var","_meta":{"k":1,"progressToken":"t"}}"#);
    let id = world.last_id;
    world.expect(&[
        r#"risk< {"jsonrpc":"2.0","id":N,"method":"tools/call","params":{"name":"var"}}"#,
        &format!(
            r#"risk< {{"jsonrpc":"2.0","id":N,"method":"tools/call","params":{{"name":"var","_meta":{{"k":1,"progressToken":{id}}}}}}}"#
        ),
    ]);
    world.server(
        "risk",
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":N,"progress":0.5}}"#,
    );
    world.expect(&[&format!(
        r#"c{}< {{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":"t","progress":0.5}}}}"#,
        one.0
    )]);
    // A token that nobody gave.
    world.server(
        "risk",
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}"#,
    );
    world.expect(&[]);
}

#[test]
fn a_cancellation_travels_and_the_late_answer_is_nobodys() {
    let mut world = two();
    let client = world.client("{}");
    world.ask(client, "1", "tools/call", r#"{"name":"risk__var"}"#);
    world.seen.clear();
    let id = world.last_id;
    world.say(client, r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#);
    let told = format!(
        r#"risk< {{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id},"reason":"nobody waits for it any more"}}}}"#
    );
    world.expect(&[&told, "c5 cancelled"]);
    world.server("risk", r#"{"jsonrpc":"2.0","id":N,"result":{}}"#);
    world.expect(&[]);
    // So does the end of a session.
    world.ask(client, "1", "tools/call", r#"{"name":"risk__var"}"#);
    world.seen.clear();
    world.relay.close_session(client, world.now_ns);
    world.settle();
    assert!(world.seen.len() == 1 && world.seen[0].contains("notifications/cancelled"));
}

#[test]
fn a_question_goes_to_the_only_client_and_its_answer_back() {
    let mut world = two();
    let (one, other) = (world.client(r#"{"sampling":{}}"#), world.client(r#"{"sampling":{}}"#));
    let question = r#"{"jsonrpc":"2.0","id":"q","method":"sampling/createMessage","params":{"maxTokens":1}}"#;
    world.server("risk", question);
    assert!(
        world.seen[0].contains(r#""id":"q","error":{"code":-32000"#)
            && world.seen[0].contains("no_one_client")
    );
    world.ask(one, "1", "tools/call", r#"{"name":"risk__var"}"#);
    world.seen.clear();
    world.server("risk", question);
    let sent = world.seen.pop().unwrap();
    let id = sent.split("\"id\":").nth(1).unwrap().split(',').next().unwrap().to_owned();
    assert_eq!(
        sent,
        format!(
            r#"c{}< {{"jsonrpc":"2.0","id":{id},"method":"sampling/createMessage","params":{{"maxTokens":1}}}}"#,
            one.0
        )
    );
    // Another client can't answer for it.
    world.say(other, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#));
    world.expect(&[]);
    world.say(one, &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"role":"assistant"}}}}"#));
    world.expect(&[r#"risk< {"jsonrpc":"2.0","id":"q","result":{"role":"assistant"}}"#]);
    // Two at a time: it can't say whom it means.
    world.ask(other, "1", "tools/call", r#"{"name":"risk__var"}"#);
    world.seen.clear();
    world.server("risk", question);
    assert!(world.seen[0].contains("no_one_client"));
    // What a client can't do it is not asked.
    world.seen.clear();
    world.relay.close_session(other, 0);
    world.server("risk", r#"{"jsonrpc":"2.0","id":5,"method":"elicitation/create","params":{}}"#);
    assert!(world.seen.iter().any(|line| line.contains("client_cannot")));
}

#[test]
fn each_session_has_its_own_where_instances_are_per_session() {
    let mut world =
        World::new(vec![(settings("own", "", Instances::PerSession), tools(r#"{"tools":[{"name":"t"}]}"#))]);
    assert!(world.backend_of.is_empty(), "nobody is there yet");
    let one = world.client(r#"{"roots":{}}"#);
    let first = world.link("own");
    let two = world.client(r#"{"roots":{}}"#);
    let second = world.link("own");
    assert_ne!(first, second);
    world.relay.handle_server(first, r#"{"jsonrpc":"2.0","id":1,"method":"roots/list"}"#, 0);
    world.settle();
    assert!(world.seen[0].starts_with(&format!("c{}< ", one.0)), "{:?}", world.seen);
    world.seen.clear();
    world.relay.close_session(two, 0);
    world.settle();
    world.expect(&["close own"]);
}

#[test]
fn requests_on_a_backend_that_ends_have_one_error_each_and_it_is_started_again() {
    let mut world = two();
    let client = world.client("{}");
    world.ask(client, "1", "tools/call", r#"{"name":"risk__var"}"#);
    world.ask(client, "2", "tools/call", r#"{"name":"files__read"}"#);
    world.seen.clear();
    let link = world.link("risk");
    world.relay.handle_link_down(link, 0);
    world.settle();
    let lost = r#"c5< {"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"the backend ended before its answer; what became of it is not known","data":{"reason":"backend_lost"}}}"#;
    world.expect(&["risk: Down { pause_ns: 500000000 }", lost]);
    world.ask(client, "3", "tools/call", r#"{"name":"risk__var"}"#);
    assert!(world.seen[0].contains("backend_unavailable"));
    world.seen.clear();
    // Its clients hear when it is there again.
    world.wait(S / 2);
    world.expect(&[r#"c5< {"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#]);
    // The next pause is longer.
    world.relay.handle_link_down(link, world.now_ns);
    world.settle();
    world.expect(&["risk: Down { pause_ns: 1000000000 }"]);
}

#[test]
fn a_backend_that_does_not_answer_in_time_costs_one_clear_error() {
    let mut world = two();
    let client = world.client("{}");
    world.ask(client, "1", "tools/call", r#"{"name":"risk__var","_meta":{"progressToken":1}}"#);
    world.seen.clear();
    world.wait(20 * S);
    world.server(
        "risk",
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":N,"progress":1}}"#,
    );
    world.wait(29 * S);
    assert_eq!(world.seen.len(), 1, "progress prolongs it: {:?}", world.seen);
    world.seen.clear();
    world.wait(S);
    assert!(world.seen[0].contains("notifications/cancelled"));
    assert!(world.seen[1].contains(r#""id":1,"error":{"code":-32001"#));
    // But not for ever.
    world.seen.clear();
    world.ask(client, "2", "tools/call", r#"{"name":"risk__var","_meta":{"progressToken":1}}"#);
    let told = (0..).find(|_| {
        world.server("risk", r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":N,"progress":1}}"#);
        world.wait(10 * S);
        world.seen.iter().any(|line| line.contains("-32001"))
    });
    assert_eq!(told, Some(29));
}

#[test]
fn a_changed_list_is_asked_for_again_and_each_client_told_once() {
    let mut world = two();
    let client = world.client("{}");
    world.ask(client, "1", "tools/list", "{}");
    world.seen.clear();
    world.servers[1].lists.insert("tools/list", r#"{"tools":[{"name":"new"}]}"#);
    let changed = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
    world.server("risk", changed);
    world.server("risk", changed);
    world.expect(&[&format!("c5< {changed}")]);
    world.ask(client, "2", "tools/list", "{}");
    assert!(world.seen[0].contains("risk__new") && !world.seen[0].contains("risk__var"));
}

#[test]
fn of_two_with_one_name_the_first_in_the_configuration_keeps_it() {
    let mut world = World::new(vec![
        (shared("a", ""), tools(r#"{"tools":[{"name":"x","of":"a"},{"name":"x","of":"again"}]}"#)),
        (shared("b", ""), tools(r#"{"tools":[{"name":"x","of":"b"},{"name":"y"}]}"#)),
    ]);
    let client = world.client("{}");
    world.ask(client, "1", "tools/list", "{}");
    world.expect(&[
        r#"b: Conflict { list: "tools", name: "x", keeper: Some(BackendKey(0)) }"#,
        r#"c5< {"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"x","of":"a"},{"name":"y"}]}}"#,
    ]);
    for (name, server) in [("x", "a<"), ("y", "b<")] {
        world.ask(client, "2", "tools/call", &format!(r#"{{"name":"{name}"}}"#));
        assert!(world.seen.pop().unwrap().starts_with(server));
        world.server(&server[..1], r#"{"jsonrpc":"2.0","id":N,"result":{}}"#);
        world.seen.clear();
    }
}

#[test]
fn a_plain_client_lists_and_calls_tools_without_initialize() {
    let mut world = two();
    let client = world.open();
    world.ask(client, "1", "tools/list", "{}");
    world.ask(client, "2", "tools/call", r#"{"name":"files__read"}"#);
    world.ask(client, "3", "prompts/list", "{}");
    assert!(world.seen[0].contains("files__read"));
    assert!(world.seen[1].starts_with("files< "));
    assert!(world.seen[2].contains(r#""id":3,"error":{"code":-32600,"message":"initialize comes first""#));
}

#[test]
fn requests_wait_for_backends_that_are_starting_but_not_for_ever() {
    let mut world = World::new(vec![(shared("slow", "s__"), tools(r#"{"tools":[{"name":"t"}]}"#))]);
    let link = world.link("slow");
    world.relay.handle_link_down(link, 0);
    world.settle();
    world.now_ns = S;
    world.relay.handle_timeout(S);
    // It is being started, and says nothing yet.
    let introduction = std::iter::from_fn(|| world.relay.poll_output())
        .find_map(|output| if let Output::ToServer { text, .. } = output { Some(text) } else { None });
    let client = world.open();
    world.seen.clear();
    world.ask(client, "1", "tools/list", "{}");
    world.ask(client, "2", "tools/call", r#"{"name":"s__t"}"#);
    world.ask(client, "3", "tools/call", r#"{"name":"s__t"}"#);
    world.say(client, r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":3}}"#);
    world.expect(&[&format!("c{} cancelled", client.0)]);
    world.serve(link, &introduction.unwrap());
    world.settle();
    assert!(world.seen[0].starts_with("slow< ") && world.seen[0].contains("tools/call"), "{:?}", world.seen);
    assert!(world.seen[1].contains(r#""tools":[{"name":"s__t"}]"#), "{:?}", world.seen);
    assert_eq!(world.seen.len(), 2, "what was cancelled is not sent");
    world.seen.clear();
    world.relay.handle_link_down(link, world.now_ns);
    let until = world.relay.poll_timeout().unwrap();
    world.relay.handle_timeout(until);
    while world.relay.poll_output().is_some() {}
    world.now_ns = until;
    world.ask(client, "4", "tools/list", "{}");
    world.expect(&[]);
    world.wait(limits::MCP_LISTS_WAIT_NS);
    assert!(world.seen[0].contains(r#""id":4,"result""#), "what was known from before: {:?}", world.seen);
}

#[test]
fn who_subscribed_is_told_and_the_backend_is_unsubscribed_by_the_last() {
    let mut world = World::new(vec![(
        shared("r", "r__"),
        Server {
            capabilities: r#"{"resources":{"subscribe":true}}"#,
            lists: BTreeMap::from([
                ("resources/list", r#"{"resources":[{"uri":"a:1","name":"one"}]}"#),
                ("resources/templates/list", r#"{"resourceTemplates":[{"uriTemplate":"t:{x}","name":"t"}]}"#),
            ]),
        },
    )]);
    let (one, two) = (world.client("{}"), world.client("{}"));
    for client in [one, two] {
        world.ask(client, "1", "resources/subscribe", r#"{"uri":"a:1"}"#);
        world.server("r", r#"{"jsonrpc":"2.0","id":N,"result":{}}"#);
    }
    world.seen.clear();
    world.server(
        "r",
        r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"a:1"}}"#,
    );
    assert_eq!(world.seen.len(), 2);
    world.seen.clear();
    world.ask(one, "2", "resources/unsubscribe", r#"{"uri":"a:1"}"#);
    world.expect(&[&format!(r#"c{}< {{"jsonrpc":"2.0","id":2,"result":{{}}}}"#, one.0)]);
    world.server(
        "r",
        r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"a:1"}}"#,
    );
    assert!(world.seen.len() == 1 && world.seen[0].starts_with(&format!("c{}<", two.0)));
    world.seen.clear();
    world.relay.close_session(two, 0);
    world.settle();
    world.expect(&[r#"r< {"jsonrpc":"2.0","id":N,"method":"resources/unsubscribe","params":{"uri":"a:1"}}"#]);
    world.ask(one, "3", "resources/read", r#"{"uri":"t:7"}"#);
    world.expect(&[r#"r< {"jsonrpc":"2.0","id":N,"method":"resources/read","params":{"uri":"t:7"}}"#]);
    world.ask(
        one,
        "4",
        "completion/complete",
        r#"{"ref":{"type":"ref/resource","uri":"t:{x}"},"argument":{"name":"x","value":""}}"#,
    );
    assert!(world.seen[0].starts_with("r< "));
}

#[test]
fn messages_for_the_log_come_from_the_level_that_a_client_wants() {
    let mut world = two();
    let (one, two) = (world.client("{}"), world.client("{}"));
    world.ask(one, "1", "logging/setLevel", r#"{"level":"warning"}"#);
    assert_eq!(world.seen.len(), 3, "both backends and the answer: {:?}", world.seen);
    world.ask(two, "1", "logging/setLevel", r#"{"level":"info"}"#);
    world.ask(one, "2", "tools/call", r#"{"name":"risk__var"}"#);
    world.seen.clear();
    let say = |level: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"{level}","data":1}}}}"#
        )
    };
    world.server("risk", &say("info"));
    world.expect(&[]);
    world.server("risk", &say("error"));
    assert!(world.seen.len() == 1 && world.seen[0].starts_with(&format!("c{}<", one.0)));
    world.seen.clear();
    world.ask(two, "2", "tools/call", r#"{"name":"risk__var"}"#);
    world.seen.clear();
    world.server("risk", &say("error"));
    world.expect(&[]);
    assert_eq!(world.relay.state(BackendKey(1)).unwrap().counters.unaddressed_total, 1);
}

#[test]
fn prompts_and_completions_carry_the_prefix() {
    let mut world = World::new(vec![(
        shared("p", "p__"),
        Server {
            capabilities: r#"{"prompts":{},"completions":{}}"#,
            lists: BTreeMap::from([("prompts/list", r#"{"prompts":[{"name":"hi"}]}"#)]),
        },
    )]);
    let client = world.client("{}");
    world.ask(client, "1", "prompts/get", r#"{"name":"p__hi"}"#);
    world.ask(
        client,
        "2",
        "completion/complete",
        r#"{"ref":{"type":"ref/prompt","name":"p__hi"},"argument":{"name":"a","value":"b"}}"#,
    );
    world.expect(&[
        r#"p< {"jsonrpc":"2.0","id":N,"method":"prompts/get","params":{"name":"hi"}}"#,
        r#"p< {"jsonrpc":"2.0","id":N,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"hi"},"argument":{"name":"a","value":"b"}}}"#,
    ]);
}

#[test]
fn a_backend_is_not_there_for_whom_it_is_not_for() {
    let mut world = World::new(vec![
        (
            BackendSettings { needs: Level::ReadWrite, ..shared("secret", "s__") },
            tools(r#"{"tools":[{"name":"t"}]}"#),
        ),
        (shared("open", "o__"), tools(r#"{"tools":[{"name":"t"}]}"#)),
    ]);
    let client = world.relay.open_session(SessionKind::Lasting, Level::Read).unwrap();
    world.ask(client, "1", "tools/list", "{}");
    assert!(world.seen[0].contains(r#"[{"name":"o__t"}]"#), "{:?}", world.seen);
    world.seen.clear();
    world.ask(client, "2", "tools/call", r#"{"name":"s__t"}"#);
    assert!(world.seen[0].contains("unknown_name"), "{:?}", world.seen);
}
