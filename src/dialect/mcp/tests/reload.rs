//! Backends that come, go and change while clients are there. Test code.

use super::*;

const TOOLS_CHANGED: &str = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
const RESOURCES_CHANGED: &str = r#"{"jsonrpc":"2.0","method":"notifications/resources/list_changed"}"#;
const CALL_RISK: &str = r#"{"name":"risk__var"}"#;
const CALL_FILES: &str = r#"{"name":"files__read"}"#;
const DONE: &str = r#"{"jsonrpc":"2.0","id":N,"result":{"done":1}}"#;

/// As they stand in `two`, by their places.
fn files() -> (BackendKey, BackendSettings) {
    (BackendKey(0), shared("files", "files__"))
}

fn risk() -> (BackendKey, BackendSettings) {
    (BackendKey(1), shared("risk", "risk__"))
}

fn name_of(client: SessionId) -> String {
    format!("c{}", client.0)
}

fn var() -> Server {
    tools(r#"{"tools":[{"name":"var"}]}"#)
}

/// One that has resources and tells their changes.
fn resources() -> Server {
    Server {
        capabilities: r#"{"resources":{"subscribe":true}}"#,
        lists: BTreeMap::from([
            ("resources/list", r#"{"resources":[{"uri":"a:1","name":"one"}]}"#),
            ("resources/templates/list", r#"{"resourceTemplates":[]}"#),
        ]),
    }
}

const UPDATED: &str =
    r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"a:1"}}"#;

#[test]
fn the_same_backends_again_are_not_touched_and_nobody_is_told() {
    let mut world = two();
    let client = world.client("{}");
    world.ask(client, "1", "tools/call", CALL_RISK);
    world.seen.clear();
    world.reload(vec![files(), risk()]);
    world.expect(&[]);
    world.server("risk", DONE);
    assert!(world.told(&name_of(client))[0].contains(r#""id":1,"result":{"done":1}"#));
}

#[test]
fn one_that_comes_is_listed_and_called_and_the_others_go_on() {
    let mut world = two();
    let client = world.client("{}");
    world.ask(client, "1", "tools/call", CALL_RISK);
    world.seen.clear();
    let new = world.key(shared("new", "new__"), var());
    world.reload(vec![files(), risk(), new]);
    world.expect(&[&format!("c5< {TOOLS_CHANGED}")]);
    world.server("risk", r#"{"jsonrpc":"2.0","id":6,"result":{}}"#);
    world.ask(client, "2", "tools/list", "{}");
    world.ask(client, "3", "tools/call", r#"{"name":"new__var"}"#);
    assert!(world.seen[0].contains(r#""id":1,"result""#), "{:?}", world.seen);
    assert!(world.seen[1].contains("risk__var") && world.seen[1].contains("new__var"), "{:?}", world.seen);
    assert!(world.seen[2].starts_with("new< "), "{:?}", world.seen);
}

#[test]
fn one_that_goes_answers_what_it_was_asked_and_is_closed_then() {
    let mut world = two();
    let client = world.client("{}");
    for id in ["1", "2"] {
        world.ask(client, id, "tools/call", CALL_RISK);
    }
    let second = world.last_id;
    world.seen.clear();
    world.reload(vec![files()]);
    world.expect(&[&format!("c5< {TOOLS_CHANGED}")]);
    // It has no name any more, and is asked for nothing.
    world.ask(client, "3", "tools/call", CALL_RISK);
    world.ask(client, "4", "tools/list", "{}");
    assert!(world.seen[0].contains("unknown_name"), "{:?}", world.seen);
    assert!(!world.seen[1].contains("risk__") && world.seen[1].contains("files__read"), "{:?}", world.seen);
    world.seen.clear();
    world.last_id = second - 1;
    world.server("risk", DONE);
    world.expect(&[r#"c5< {"jsonrpc":"2.0","id":1,"result":{"done":1}}"#]);
    assert!(world.relay.state(risk().0).is_some_and(|state| state.requests == 1));
    world.last_id = second;
    world.server("risk", DONE);
    world.expect(&[r#"c5< {"jsonrpc":"2.0","id":2,"result":{"done":1}}"#, "close risk", "risk: Left"]);
    assert!(world.relay.state(risk().0).is_none());
    // What it says to the end is nobody's.
    world.server("risk", DONE);
    world.expect(&[]);
    world.wait(100 * S);
    world.expect(&[]);
}

#[test]
fn one_that_goes_and_was_asked_nothing_is_closed_at_once() {
    let mut world = two();
    world.reload(vec![risk()]);
    world.expect(&["close files", "files: Left"]);
    world.reload(Vec::new());
    world.expect(&["close risk", "risk: Left"]);
}

#[test]
fn one_that_goes_and_hangs_costs_one_error_within_its_timeout_whatever_it_says() {
    let mut world = two();
    let client = world.client("{}");
    world.ask(client, "1", "tools/call", r#"{"name":"risk__var","_meta":{"progressToken":1}}"#);
    world.wait(20 * S);
    world.seen.clear();
    world.reload(vec![files()]);
    world.seen.clear();
    let progress =
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":N,"progress":1}}"#;
    let mut waited_s = 0;
    while world.relay.state(risk().0).is_some() {
        world.server("risk", progress);
        world.wait(S);
        waited_s += 1;
    }
    assert_eq!(waited_s, 30, "its timeout, from the reload");
    let errors: Vec<&str> = world.told("c5").into_iter().filter(|line| line.contains("error")).collect();
    assert!(errors.len() == 1 && errors[0].contains("backend_timed_out"), "{errors:?}");
    assert_eq!(world.seen[world.seen.len() - 2..], ["close risk", "risk: Left"]);
    assert!(world.told("risk")[0].contains("notifications/cancelled"));
}

#[test]
fn one_that_goes_and_dies_tells_so_once_and_is_not_started_again() {
    let mut world = two();
    let client = world.client("{}");
    world.ask(client, "1", "tools/call", CALL_RISK);
    world.reload(vec![files()]);
    world.seen.clear();
    world.relay.handle_link_down(world.link("risk"), 0);
    world.settle();
    assert!(world.seen.len() == 3 && world.seen[0].contains("backend_lost"), "{:?}", world.seen);
    world.seen.clear();
    world.wait(100 * S);
    world.expect(&[]);
    // Nor is one that was down already.
    world.relay.handle_link_down(world.link("files"), 0);
    world.settle();
    world.seen.clear();
    world.reload(Vec::new());
    assert_eq!(world.seen, [&format!("c5< {TOOLS_CHANGED}"), "close files", "files: Left"]);
    assert_eq!(world.relay.poll_timeout(), None);
}

#[test]
fn a_cancelled_request_or_a_client_that_goes_is_not_waited_for() {
    let mut world = two();
    let (one, other) = (world.client("{}"), world.client("{}"));
    world.ask(one, "1", "tools/call", CALL_RISK);
    world.ask(other, "1", "tools/call", CALL_FILES);
    world.reload(Vec::new());
    world.seen.clear();
    world.say(one, r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#);
    assert_eq!(world.seen[1..], [&format!("{} cancelled", name_of(one)), "close risk", "risk: Left"]);
    world.seen.clear();
    world.relay.close_session(other, 0);
    world.settle();
    assert_eq!(world.seen[1..], ["close files", "files: Left"]);
}

#[test]
fn one_that_changes_answers_what_it_was_asked_while_the_new_one_has_its_names() {
    let mut world = two();
    let client = world.client("{}");
    world.ask(client, "1", "tools/call", CALL_RISK);
    let asked = world.last_id;
    world.seen.clear();
    let new = world.key(shared("risk", "risk__"), tools(r#"{"tools":[{"name":"var"},{"name":"more"}]}"#));
    world.reload(vec![files(), new]);
    // Once for the one that goes, and once when the new one has told that it is there.
    world.expect(&[&format!("c5< {TOOLS_CHANGED}"), &format!("c5< {TOOLS_CHANGED}")]);
    world.ask(client, "2", "tools/list", "{}");
    assert!(world.seen.remove(0).contains("risk__more"));
    world.ask(client, "3", "tools/call", CALL_RISK);
    world.server("risk'", DONE);
    assert!(world.seen[0].starts_with("risk'< ") && world.seen[1].contains(r#""id":3,"result""#));
    world.seen.clear();
    world.last_id = asked;
    world.server("risk", DONE);
    world.expect(&[r#"c5< {"jsonrpc":"2.0","id":1,"result":{"done":1}}"#, "close risk", "risk: Left"]);
}

#[test]
fn what_waits_for_one_that_is_starting_is_sent_and_answered_though_that_one_goes() {
    let mut world = two();
    let (link, client) = (world.link("risk"), world.client("{}"));
    world.relay.handle_link_down(link, 0);
    world.settle();
    world.now_ns = S;
    world.relay.handle_timeout(S);
    let introduction = std::iter::from_fn(|| world.relay.poll_output())
        .find_map(|output| if let Output::ToServer { text, .. } = output { Some(text) } else { None });
    world.seen.clear();
    world.ask(client, "1", "tools/call", CALL_RISK);
    world.ask(client, "2", "tools/list", "{}");
    world.expect(&[]);
    world.reload(vec![files()]);
    // The list does not wait for it any more.
    assert!(world.seen.pop().unwrap().contains(r#""id":2,"result""#));
    world.expect(&[&format!("c5< {TOOLS_CHANGED}")]);
    world.serve(link, &introduction.unwrap());
    world.settle();
    world.expect(&[r#"risk< {"jsonrpc":"2.0","id":N,"method":"tools/call","params":{"name":"var"}}"#]);
    world.server("risk", DONE);
    world.expect(&[r#"c5< {"jsonrpc":"2.0","id":1,"result":{"done":1}}"#, "close risk", "risk: Left"]);
}

#[test]
fn subscriptions_go_with_their_backend_and_come_again_with_the_one_that_has_its_name() {
    let mut world = World::new(vec![(shared("r", "r__"), resources())]);
    let (one, two) = (world.client("{}"), world.client("{}"));
    for client in [one, two] {
        world.ask(client, "1", "resources/subscribe", r#"{"uri":"a:1"}"#);
        world.server("r", r#"{"jsonrpc":"2.0","id":N,"result":{}}"#);
    }
    // One more is under way.
    let three = world.client("{}");
    world.ask(three, "1", "resources/subscribe", r#"{"uri":"a:1"}"#);
    let asked = world.last_id;
    world.seen.clear();
    let new = world.key(shared("r", "r__"), resources());
    world.reload(vec![new]);
    let again = r#"{"jsonrpc":"2.0","id":N,"method":"resources/subscribe","params":{"uri":"a:1"}}"#;
    assert_eq!(world.told("r'"), [again], "{:?}", world.seen);
    assert_eq!(world.told(&name_of(one)), [RESOURCES_CHANGED; 2]);
    world.seen.clear();
    // The old one tells nobody any more.
    world.server("r", UPDATED);
    world.expect(&[]);
    world.server("r'", UPDATED);
    assert_eq!(world.seen.len(), 2);
    world.last_id = asked;
    world.server("r", r#"{"jsonrpc":"2.0","id":N,"result":{}}"#);
    world.seen.clear();
    world.server("r'", UPDATED);
    assert_eq!(world.seen.len(), 3, "who was answered by the old one is told by the new one");
    world.seen.clear();
    // Where nobody has its name they are over, and do not count.
    world.reload(Vec::new());
    assert_eq!(world.told(&name_of(one)), [RESOURCES_CHANGED]);
    let third = world.key(shared("r", "r__"), resources());
    world.reload(vec![third]);
    assert!(world.told("r''").is_empty(), "{:?}", world.seen);
    for nth in 0..limits::MCP_SUBSCRIPTIONS_PER_SESSION_MAX {
        world.ask(one, "1", "resources/subscribe", &format!(r#"{{"uri":"a:{nth}"}}"#));
        world.server("r''", r#"{"jsonrpc":"2.0","id":N,"result":{}}"#);
    }
    assert!(world.seen.iter().all(|line| !line.contains("backend_busy")));
}

#[test]
fn an_unsubscribe_that_the_old_one_answers_holds_for_the_new_one() {
    let mut world = World::new(vec![(shared("r", "r__"), resources())]);
    let client = world.client("{}");
    world.ask(client, "1", "resources/subscribe", r#"{"uri":"a:1"}"#);
    world.server("r", DONE);
    world.ask(client, "2", "resources/unsubscribe", r#"{"uri":"a:1"}"#);
    let asked = world.last_id;
    let new = world.key(shared("r", "r__"), resources());
    world.reload(vec![new]);
    world.seen.clear();
    world.last_id = asked;
    world.server("r", DONE);
    let told = r#"r'< {"jsonrpc":"2.0","id":N,"method":"resources/unsubscribe","params":{"uri":"a:1"}}"#;
    assert!(world.seen.iter().any(|line| line == told), "{:?}", world.seen);
    world.seen.clear();
    world.server("r'", UPDATED);
    world.expect(&[]);
}

#[test]
fn each_session_that_had_its_own_has_its_own_of_the_new_one() {
    let own = || settings("own", "", Instances::PerSession);
    let mut world = World::new(vec![(own(), resources())]);
    let (one, two) = (world.client("{}"), world.client("{}"));
    world.ask(two, "1", "resources/subscribe", r#"{"uri":"a:1"}"#);
    world.server("own", DONE);
    world.ask(two, "2", "resources/read", r#"{"uri":"a:1"}"#);
    world.seen.clear();
    let new = world.key(own(), resources());
    world.reload(vec![new]);
    // The one with nothing under way ends.
    assert_eq!(world.seen.iter().filter(|line| *line == "close own").count(), 1);
    assert_eq!(world.backend_of.values().filter(|place| **place == 1).count(), 2);
    assert_eq!(world.told("own'").len(), 1, "subscribed again: {:?}", world.seen);
    world.seen.clear();
    world.server("own'", UPDATED);
    assert_eq!(world.told(&name_of(two)).len(), 1);
    assert!(world.told(&name_of(one)).is_empty());
    world.relay.close_session(two, 0);
    world.settle();
    assert_eq!(world.seen.last().unwrap(), "own: Left");
    world.relay.close_session(one, 0);
    world.settle();
    assert!(world.relay.is_at_rest());
}

#[test]
fn one_of_each_session_that_comes_is_started_by_who_asks() {
    let mut world = two();
    let client = world.client("{}");
    let own = world.key(settings("own", "own__", Instances::PerSession), var());
    world.reload(vec![files(), risk(), own]);
    assert_eq!(world.told("c5").len(), 3, "tools, prompts and resources: {:?}", world.seen);
    assert!(!world.backend_of.values().any(|place| *place == 2));
    world.seen.clear();
    world.ask(client, "1", "tools/list", "{}");
    assert!(world.seen.iter().any(|line| line.contains("own__var")), "{:?}", world.seen);
}

#[test]
fn shared_and_per_session_are_exchanged_with_subscriptions() {
    let mut world = World::new(vec![(shared("r", ""), resources())]);
    let clients = [world.client("{}"), world.client("{}")];
    for client in clients {
        world.ask(client, "1", "resources/subscribe", r#"{"uri":"a:1"}"#);
        world.server("r", DONE);
    }
    world.seen.clear();
    let own = world.key(settings("r", "", Instances::PerSession), resources());
    world.reload(vec![own]);
    assert_eq!(world.told("r'").len(), 2, "one each: {:?}", world.seen);
    world.seen.clear();
    let again = world.key(shared("r", ""), resources());
    world.reload(vec![again]);
    assert_eq!(world.told("r''").len(), 1, "one for both: {:?}", world.seen);
    world.seen.clear();
    world.server("r''", UPDATED);
    assert_eq!(world.seen.len(), 2);
}

#[test]
fn names_are_judged_anew_when_their_keeper_goes_and_by_another_order() {
    let of = |list| tools(list);
    let mut world = World::new(vec![
        (shared("a", ""), of(r#"{"tools":[{"name":"x","of":"a"}]}"#)),
        (shared("b", ""), of(r#"{"tools":[{"name":"x","of":"b"}]}"#)),
        (shared("c", ""), of(r#"{"tools":[{"name":"x","of":"c"}]}"#)),
    ]);
    let client = world.client("{}");
    let name = name_of(client);
    world.ask(client, "1", "tools/list", "{}");
    world.seen.clear();
    let key = |nth: u64, name| (BackendKey(nth), shared(name, ""));
    world.reload(vec![key(1, "b"), key(2, "c")]);
    world.expect(&[
        r#"c: Conflict { list: "tools", name: "x", keeper: Some(BackendKey(1)) }"#,
        &format!("{name}< {TOOLS_CHANGED}"),
        "close a",
        "a: Left",
    ]);
    world.ask(client, "2", "tools/call", r#"{"name":"x"}"#);
    assert!(world.seen.remove(0).starts_with("b< "));
    world.reload(vec![key(2, "c"), key(1, "b")]);
    world.expect(&[
        r#"b: Conflict { list: "tools", name: "x", keeper: Some(BackendKey(2)) }"#,
        &format!("{name}< {TOOLS_CHANGED}"),
    ]);
    world.ask(client, "3", "tools/call", r#"{"name":"x"}"#);
    assert!(world.seen.remove(0).starts_with("c< "));
    world.reload(vec![key(2, "c")]);
    assert!(world.seen.iter().all(|line| !line.contains("Conflict")));
}

#[test]
fn who_may_see_a_backend_no_more_is_told_and_loses_what_it_had_of_it() {
    let limited = |needs| (BackendKey(0), BackendSettings { needs, ..shared("r", "r__") });
    let mut world = World::new(vec![(shared("r", "r__"), resources())]);
    let trader = world.client("{}");
    let reader = world.relay.open_session(SessionKind::Lasting, Level::Read).unwrap();
    world.say(reader, r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{}}}"#);
    world.say(reader, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    for client in [trader, reader] {
        world.ask(client, "1", "resources/subscribe", r#"{"uri":"a:1"}"#);
        world.server("r", DONE);
    }
    world.seen.clear();
    world.reload(vec![limited(Level::ReadWrite)]);
    world.expect(&[&format!("{}< {RESOURCES_CHANGED}", name_of(reader))]);
    world.server("r", UPDATED);
    assert!(world.told(&name_of(trader)).len() == 1 && world.seen.len() == 1, "{:?}", world.seen);
    world.ask(reader, "2", "resources/read", r#"{"uri":"a:1"}"#);
    assert!(world.seen[1].contains("unknown_resource"), "{:?}", world.seen);
    world.seen.clear();
    world.reload(vec![limited(Level::Read)]);
    world.expect(&[&format!("{}< {RESOURCES_CHANGED}", name_of(reader))]);
    world.ask(reader, "3", "resources/read", r#"{"uri":"a:1"}"#);
    assert!(world.seen[0].starts_with("r< "), "{:?}", world.seen);
}

#[test]
fn what_a_backend_that_goes_has_asked_of_a_client_is_withdrawn() {
    let own = settings("own", "own__", Instances::PerSession);
    let mut world = World::new(vec![(own, var())]);
    let client = world.client(r#"{"sampling":{}}"#);
    world.server("own", r#"{"jsonrpc":"2.0","id":"q","method":"sampling/createMessage","params":{}}"#);
    assert!(world.seen[0].contains("sampling/createMessage"), "{:?}", world.seen);
    world.seen.clear();
    world.reload(Vec::new());
    let told = world.told(&name_of(client));
    assert!(told.iter().any(|line| line.contains("notifications/cancelled")), "{:?}", world.seen);
    assert_eq!(world.seen[world.seen.len() - 2..], ["close own", "own: Left"]);
}

#[test]
fn a_backend_that_changes_again_and_again_leaves_nothing() {
    let mut world = World::new(vec![(shared("r", "r__"), resources())]);
    let client = world.client("{}");
    world.ask(client, "100", "resources/subscribe", r#"{"uri":"a:1"}"#);
    let subscribed = world.last_id;
    for nth in 0..10 {
        let read = format!("{nth}");
        world.ask(client, &read, "resources/read", r#"{"uri":"a:1"}"#);
        let new = world.key(shared("r", "r__"), resources());
        world.reload(vec![new]);
    }
    world.seen.clear();
    // Ten changes later, the first of them answers.
    world.last_id = subscribed;
    world.server("r", DONE);
    let newest = "r".to_owned() + &"'".repeat(10);
    world.seen.clear();
    world.server(&newest, UPDATED);
    world.expect(&[&format!("{}< {UPDATED}", name_of(client))]);
    world.relay.close_session(client, 0);
    world.settle();
    assert!(world.relay.is_at_rest());
    // But for the unsubscribe, whose answer matters to nobody.
    world.wait(30 * S);
    assert_eq!(world.relay.poll_timeout(), None);
}

#[test]
fn a_new_one_is_told_so_many_subscriptions_at_a_time_and_of_what_is_still_wanted_then() {
    let mut world = World::new(vec![(shared("r", "r__"), resources())]);
    let client = world.client("{}");
    let uri = |nth: usize| format!(r#"{{"uri":"a:{nth:02}"}}"#);
    for nth in 0..20 {
        world.ask(client, "1", "resources/subscribe", &uri(nth));
        world.server("r", r#"{"jsonrpc":"2.0","id":N,"result":{}}"#);
    }
    world.seen.clear();
    let new = world.key(shared("r", "r__"), resources());
    world.reload(vec![new]);
    let told =
        |world: &World, method: &str| world.told("r'").iter().filter(|line| line.contains(method)).count();
    assert_eq!(told(&world, "resources/subscribe"), limits::MCP_OWN_REQUESTS_PER_LINK_MAX);
    let newest = world.last_id;
    // The last of those that wait is not wanted any more when its turn comes.
    world.ask(client, "2", "resources/unsubscribe", &uri(19));
    world.server("r'", r#"{"jsonrpc":"2.0","id":N,"result":{}}"#);
    for id in (newest - 15)..=newest {
        world.last_id = id;
        world.server("r'", r#"{"jsonrpc":"2.0","id":N,"result":{}}"#);
    }
    assert_eq!(told(&world, "resources/subscribe"), 19, "{:?}", world.seen);
}

#[test]
fn an_address_to_subscribe_to_has_its_bound() {
    let mut world = World::new(vec![(shared("r", "r__"), resources())]);
    let client = world.client("{}");
    let uri = |bytes: usize| format!(r#"{{"uri":"{}"}}"#, "a".repeat(bytes));
    world.ask(client, "1", "resources/subscribe", &uri(limits::MCP_SUBSCRIBED_URI_BYTES_MAX));
    assert_eq!(world.told("r").len(), 1);
    world.seen.clear();
    world.ask(client, "2", "resources/subscribe", &uri(limits::MCP_SUBSCRIBED_URI_BYTES_MAX + 1));
    assert!(world.seen.len() == 1 && world.seen[0].contains("uri is longer"), "{:?}", world.seen);
}

#[test]
fn while_a_changed_one_has_not_told_what_it_has_no_other_is_asked_under_its_names() {
    let mut world = World::new(vec![(shared("a", ""), var()), (shared("b", ""), var())]);
    let client = world.client("{}");
    world.ask(client, "0", "tools/list", "{}");
    world.seen.clear();
    // The new one is slow: it says nothing until it is served by hand.
    let (new, b) = (world.key(shared("a", ""), var()), (BackendKey(1), shared("b", "")));
    world.relay.set_backends(vec![new, b], world.now_ns);
    let mut introduction = None;
    while let Some(output) = world.relay.poll_output() {
        match output {
            Output::Open { link, backend } => {
                world.backend_of.insert(link, place(backend));
            }
            Output::ToServer { link, text } => introduction = Some((link, text)),
            Output::ToClient { .. }
            | Output::Cancelled { .. }
            | Output::Call { .. }
            | Output::Close { .. }
            | Output::News { .. } => {}
        }
    }
    world.ask(client, "1", "tools/call", r#"{"name":"var"}"#);
    assert!(world.told("b").is_empty(), "{:?}", world.seen);
    let (link, text) = introduction.unwrap();
    world.serve(link, &text);
    world.settle();
    assert_eq!(
        world.told("a'"),
        [r#"{"jsonrpc":"2.0","id":N,"method":"tools/call","params":{"name":"var"}}"#]
    );
}

#[test]
fn a_timeout_that_was_made_shorter_holds_for_what_was_asked_before_one_goes() {
    let mut world = two();
    let client = world.client("{}");
    world.ask(client, "1", "tools/call", CALL_RISK);
    let shorter = BackendSettings { request_timeout_ns: 5 * S, ..risk().1 };
    world.reload(vec![files(), (risk().0, shorter)]);
    world.reload(vec![files()]);
    world.seen.clear();
    world.wait(5 * S);
    assert!(world.told(&name_of(client))[0].contains("backend_timed_out"), "{:?}", world.seen);
    assert!(world.relay.state(risk().0).is_none());
}
