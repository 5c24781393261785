//! The gateway's own tools, beside those of backends and without any. Test code.

use super::*;
use crate::dialect::tools::ToolResult;

const LAST_PRICE: &str = r#"{"name":"last_price","arguments":{"instrument_name":"X"}}"#;

/// A backend without a prefix that has a tool of a name of ours.
fn world() -> World {
    let list = r#"{"tools":[{"name":"place_order","of":"b"},{"name":"var"}]}"#;
    World::with_own(&TOOLS, vec![(shared("b", ""), tools(list))])
}

fn result(json: &str, is_error: bool) -> ToolResult {
    ToolResult { json: json.to_owned(), is_error }
}

/// What comes of the newest call.
fn done(world: &mut World, result: &ToolResult) {
    let call = world.calls.pop().unwrap();
    world.relay.handle_called(call, result);
    world.settle();
}

#[test]
fn own_tools_are_listed_first_and_keep_their_names() {
    let mut world = world();
    let client = world.client("{}");
    world.ask(client, "1", "tools/list", "{}");
    assert_eq!(world.seen.remove(0), r#"b: Conflict { list: "tools", name: "place_order", keeper: None }"#);
    let answer = world.seen.remove(0);
    let names: Vec<&str> =
        answer.split(r#"{"name":""#).skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    let own = TOOLS.iter().map(|tool| tool.name);
    assert_eq!(names, own.chain(["var"]).collect::<Vec<_>>());
    world.ask(client, "2", "tools/call", r#"{"name":"var"}"#);
    assert!(world.seen.remove(0).starts_with("b< "), "what is not ours is the backend's");
}

#[test]
fn a_call_is_a_request_of_its_client_and_the_result_is_told_as_text_and_as_it_is() {
    let mut world = World::with_own(&TOOLS, Vec::new());
    let client = world.client("{}");
    let name = format!("c{}", client.0);
    world.ask(client, r#""a""#, "tools/call", LAST_PRICE);
    world.expect(&[&format!(
        r#"for {name}: {{"jsonrpc":"2.0","id":1,"method":"public/ticker","params":{{"instrument_name":"X"}}}}"#
    )]);
    done(&mut world, &result(r#"{"last_price":1.50}"#, false));
    world.expect(&[&format!(
        r#"{name}< {{"jsonrpc":"2.0","id":"a","result":{{"content":[{{"type":"text","text":"{{\"last_price\":1.50}}"}}],"structuredContent":{{"last_price":1.50}},"isError":false}}}}"#
    )]);
    world.ask(client, "2", "tools/call", r#"{"name":"server_status"}"#);
    world.seen.clear();
    done(&mut world, &result(r#"{"code":13009}"#, true));
    assert!(world.seen[0].contains(r#""id":2,"result""#) && world.seen[0].contains(r#""isError":true"#));
    // One that would be no request is an error of the tool.
    world.seen.clear();
    world.ask(client, "3", "tools/call", r#"{"name":"last_price","arguments":{"x":1}}"#);
    assert!(
        world.seen[0].contains(r#"last_price does not take"#) && world.calls.is_empty(),
        "{:?}",
        world.seen
    );
    assert!(!world.relay.is_busy(client));
}

#[test]
fn a_plain_client_calls_them_and_backends_that_start_are_not_waited_for() {
    let mut world = world();
    let link = world.link("b");
    world.relay.handle_link_down(link, 0);
    world.settle();
    let client = world.open();
    world.seen.clear();
    world.ask(client, "1", "tools/call", LAST_PRICE);
    assert!(world.seen[0].starts_with("for "), "{:?}", world.seen);
}

#[test]
fn what_nobody_waits_for_is_not_answered_but_counts_until_it_is_over() {
    let mut world = World::with_own(&TOOLS, Vec::new());
    let client = world.client("{}");
    for _ in 0..limits::MCP_REQUESTS_PER_SESSION_MAX {
        world.ask(client, "1", "tools/call", LAST_PRICE);
        world.say(client, r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#);
    }
    world.seen.clear();
    world.ask(client, "1", "tools/call", LAST_PRICE);
    assert!(world.seen.remove(0).contains("backend_busy"));
    done(&mut world, &result("1", false));
    world.expect(&[]);
    world.ask(client, "1", "tools/call", LAST_PRICE);
    assert!(world.seen.remove(0).starts_with("for "));
    // So does the end of a session.
    world.relay.close_session(client, 0);
    world.settle();
    assert!(world.relay.is_at_rest());
    done(&mut world, &result("1", false));
    world.expect(&[]);
}

#[test]
fn clients_together_have_so_many_under_way() {
    let mut world = World::with_own(&TOOLS, Vec::new());
    for _ in 0..limits::MCP_OWN_CALLS_MAX {
        let client = world.open();
        world.ask(client, "1", "tools/call", LAST_PRICE);
    }
    assert_eq!(world.calls.len(), limits::MCP_OWN_CALLS_MAX);
    let client = world.open();
    world.seen.clear();
    world.ask(client, "1", "tools/call", LAST_PRICE);
    assert!(world.seen[0].contains("backend_busy"), "{:?}", world.seen);
}
