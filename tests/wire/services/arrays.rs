//! Calls that are sent to services over HTTP as JSON-RPC arrays. Which calls share one is a matter of the moment: what becomes of each is not.

use super::*;
use crate::client::reason;

/// Up to ten calls in a POST, each of which waits for others for as long as may be.
const GATHERED: &str = "batch_count_max = 10\nbatch_wait_us = 100000\nbatch_adaptive = false\n";

/// Takes arrays, and answers the calls of one from the last to the first.
fn arrays(head: &str, request: &Value) -> Option<(u16, String)> {
    let alone = std::slice::from_ref(request);
    let calls = request.as_array().map_or(alone, Vec::as_slice);
    let mut answers = Vec::new();
    for call in calls.iter().rev() {
        let result = |value: Value| json!({"jsonrpc": "2.0", "id": call["id"], "result": value});
        match call["method"].as_str().unwrap_or_default() {
            "t/size" => answers.push(result(json!([call["params"][0], calls.len()]))),
            "t/whole" => answers.push(result(call.clone())),
            "t/refuse" => answers.push(json!({"id": call["id"], "error": {"code": -7, "message": "no"}})),
            "t/twice" => answers.extend([result(json!("first")), result(json!("second"))]),
            "t/long" => answers.push(result(json!("x".repeat(100_000)))),
            "t/slow" => {
                thread::park_timeout(Duration::from_millis(300));
                answers.push(result(json!("slow")));
            }
            "t/head" => answers.push(result(json!(head))),
            // Says nothing of it.
            _ => {}
        }
    }
    let body = match &*answers {
        [answer] if !request.is_array() => answer.to_string(),
        answers => json!(answers).to_string(),
    };
    Some((200, body))
}

/// Sends these at once, and gives the reply to each, in their order.
fn at_once(client: &mut Client, calls: &[(&str, Value)]) -> Vec<Value> {
    let ids: Vec<u64> = calls.iter().map(|(method, params)| client.send(method, params)).collect();
    let mut replies: Vec<Value> = calls.iter().map(|_| client.message()).collect();
    replies.sort_by_key(|reply| reply["id"].as_u64());
    assert!(replies.iter().zip(ids).all(|(reply, id)| reply["id"] == id), "one reply each: {replies:?}");
    replies
}

#[test]
fn calls_of_one_moment_are_an_array_and_each_answer_finds_its_own() {
    let service = Service::start(arrays);
    let (server, mut client) = start(&[service.url()], GATHERED);
    let calls: Vec<(&str, Value)> = (0..30).map(|number| ("t/size", json!([number]))).collect();
    let mut sizes = Vec::new();
    for (number, reply) in at_once(&mut client, &calls).iter().enumerate() {
        assert_eq!(reply["result"][0], number, "{reply}");
        sizes.push(reply["result"][1].as_u64().unwrap());
    }
    assert!(
        sizes.iter().all(|size| (1..=10).contains(size)) && sizes.iter().any(|size| *size > 1),
        "{sizes:?}"
    );
    assert!(service.calls() < 30);
    crate::until("operators are told", || {
        let told = status(&server);
        told["calls"]["batches"].as_u64() > Some(0) && told["calls"]["answered"] == 30
    });
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn without_the_key_each_call_is_a_post_of_its_own() {
    let service = Service::start(arrays);
    let (_server, mut client) = start(&[service.url()], "");
    let calls: Vec<(&str, Value)> = (0..30).map(|number| ("t/size", json!([number]))).collect();
    assert!(at_once(&mut client, &calls).iter().all(|reply| reply["result"][1] == 1));
    assert_eq!(service.calls(), 30);
}

#[test]
fn in_an_array_each_call_has_an_end_of_its_own() {
    let service = Service::start(arrays);
    let (server, mut client) =
        start(&[service.url()], &format!("{GATHERED}timeout_ms = 5000\nbreaker_failures = 0\n"));
    let replies = at_once(
        &mut client,
        &[
            ("t/size", json!([7])),
            ("t/refuse", json!([])),
            ("t/silent", json!([])),
            ("t/twice", json!([])),
            ("t/long", json!([])),
            ("t/size", json!([8])),
        ],
    );
    assert_eq!((&replies[0]["result"][0], &replies[5]["result"][0]), (&json!(7), &json!(8)));
    assert_eq!(replies[1]["error"]["code"], -7, "{}", replies[1]);
    assert!(reason(&replies[2]).contains("no JSON-RPC answer"), "{}", replies[2]);
    assert_eq!(replies[3]["result"], "first");
    assert!(reason(&replies[4]).contains("longer than may be"), "{}", replies[4]);
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn an_answer_that_is_longer_than_all_of_its_calls_may_have_is_not_held() {
    let service = Service::start(arrays);
    let (server, mut client) = start(&[service.url()], &format!("{GATHERED}breaker_failures = 0\n"));
    let calls: Vec<(&str, Value)> = (0..10).map(|number| ("t/long", json!([number]))).collect();
    for reply in at_once(&mut client, &calls) {
        assert!(reason(&reply).contains("longer than may be"), "{reply}");
    }
    assert_eq!(client.call("t/size", &json!([1])), json!([1, 1]));
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn a_call_that_is_alone_is_an_object_whose_trace_is_a_header() {
    let service = Service::start(arrays);
    let (_server, mut client) = start(&[service.url()], "batch_count_max = 10\n");
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for (method, part) in [("t/head", format!("traceparent: {parent}\r\n")), ("t/whole", String::new())] {
        client.send_text(
            &json!({"jsonrpc": "2.0", "id": "x", "method": method, "traceparent": parent}).to_string(),
        );
        let reply = client.message();
        match reply["result"].as_str() {
            Some(head) => assert!(head.to_ascii_lowercase().contains(&part), "{head}"),
            None => assert_eq!(reply["result"], json!({"jsonrpc": "2.0", "id": 1, "method": "t/whole"})),
        }
    }
}

#[test]
fn a_service_that_takes_no_arrays_fails_each_call_by_one_error() {
    let service = Service::start(|_, request| {
        let answer = if request.is_array() {
            json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32600, "message": "Invalid Request"}})
        } else {
            json!({"jsonrpc": "2.0", "id": request["id"], "result": "alone"})
        };
        Some((200, answer.to_string()))
    });
    let (server, mut client) = start(&[service.url()], &format!("{GATHERED}breaker_failures = 0\n"));
    let calls: Vec<(&str, Value)> = (0..10).map(|number| ("t/any", json!([number]))).collect();
    for reply in at_once(&mut client, &calls) {
        assert!(reply["result"] == "alone" || reason(&reply).contains("no JSON-RPC answer"), "{reply}");
    }
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn calls_of_an_array_that_is_cut_go_elsewhere_where_they_may_and_are_one_fault_of_the_address() {
    let (bad, good) = (Service::start(broken), Service::start(arrays));
    let keys = "idempotent = [\"t/size\"]\nbreaker_failures = 0\nejection_percent = 0\n";
    let (_server, mut client) = start(&[bad.url(), good.url()], &format!("{GATHERED}{keys}"));
    let calls: Vec<(&str, Value)> = (0..10).map(|number| ("t/size", json!([number]))).collect();
    for (number, reply) in at_once(&mut client, &calls).iter().enumerate() {
        assert_eq!(reply["result"][0], number, "{reply}");
    }
    assert!(bad.calls() > 0);
    let bad = Service::start(broken);
    let (server, mut client) = start(&[bad.url()], &format!("{GATHERED}breaker_failures = 2\n"));
    for reply in at_once(&mut client, &calls) {
        let is_expected =
            ["ended before an answer", "not available"].iter().any(|why| reason(&reply).contains(why));
        assert!(is_expected, "{reply}");
    }
    let posts = bad.calls();
    let is_broken = posts > 1;
    crate::until("operators are told", || status(&server)["calls"]["failed"] == 10);
    assert_eq!(status(&server)["members"][0]["state"] == "broken", is_broken, "{posts} POSTs failed");
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn who_leaves_takes_no_call_of_anybody_else_along() {
    let service = Service::start(arrays);
    let (server, mut client) = start(&[service.url()], GATHERED);
    for _ in 0..3 {
        let mut leaver = Client::connect(server.address);
        leaver.send("t/slow", &json!([]));
        client.send("t/slow", &json!([]));
        drop(leaver);
        assert_eq!(client.message()["result"], "slow");
    }
    assert_eq!(server.stop().code, Some(0));
}
