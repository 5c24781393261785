//! Texts from clients, and what they mean.

use std::borrow::Cow;

use proptest::prelude::*;

use super::super::*;
use super::written;
use crate::dialect::negotiation::Refusal;
use crate::model::channel::{Checksum, DeliveryClass};
use crate::model::encoding::Form;
use crate::model::ids::{Epoch, Position, Seq};
use crate::model::instrument::InstrumentKind;

/// The errors that a text draws, as `id code message reason param` lines; `-` for a call that decodes, and
/// `notification` for what gets no reply.
fn outcome(text: impl AsRef<[u8]>) -> String {
    let one = |parsed: Parsed<'_>| match (parsed.id, parsed.call) {
        (None, _) => "notification".to_owned(),
        (Some(id), Ok(_)) => format!("{} -", id.as_str()),
        (Some(id), Err(failure)) => told(id, failure),
    };
    match decode(text.as_ref()) {
        Incoming::Single(parsed) => one(parsed),
        Incoming::Batch(entries) => {
            format!("[{}]", entries.into_iter().map(one).collect::<Vec<_>>().join(", "))
        }
        Incoming::Invalid(failure) => told(Id::NULL, failure),
    }
}

fn told(id: Id<'_>, failure: Failure) -> String {
    written(|out| write_error(out, id, failure, Stamps::default()));
    let mut text = format!("{} {} {}", id.as_str(), failure.code, failure.message);
    for more in [failure.reason, failure.param].into_iter().flatten() {
        text.push_str(" | ");
        text.push_str(more);
    }
    text
}

fn check(text: &str, expected: &str) {
    assert_eq!(outcome(text), expected, "{text}");
}

/// The method that a request with these params calls.
fn method(name: &str, params: &str, test: impl FnOnce(Method<'_>)) {
    let text = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"{name}\",\"params\":{params}}}");
    let incoming = decode(text.as_bytes());
    let Incoming::Single(Parsed { call: Ok(method), .. }) = incoming else {
        panic!("{text} gives {incoming:?}");
    };
    test(method);
}

fn refused(name: &str, params: &str, expected: &str) {
    let text = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"{name}\",\"params\":{params}}}");
    check(&text, expected);
}

#[test]
fn answers_the_examples_of_the_specification() {
    let call = r#"{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}"#;
    check(call, "1 -32601 Method not found");
    check(r#"{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}"#, "notification");
    check(r#"{"jsonrpc": "2.0", "method": "foobar"}"#, "notification");
    check(r#"{"jsonrpc": "2.0", "method": "foobar", "id": "1"}"#, "\"1\" -32601 Method not found");
    check(r#"{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]"#, "null -32700 Parse error");
    check(
        r#"{"jsonrpc": "2.0", "method": 1, "params": "bar"}"#,
        "null -32600 Invalid Request | must be a string | method",
    );
    let batch =
        r#"[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"}, {"jsonrpc": "2.0", "method"]"#;
    check(batch, "null -32700 Parse error");
    check("[]", "null -32600 Invalid Request | empty batch");
    check("[1]", "[null -32600 Invalid Request | not an object]");
    let not_an_object = "null -32600 Invalid Request | not an object";
    check("[1,2,3]", &format!("[{not_an_object}, {not_an_object}, {not_an_object}]"));
    check(
        r#"[
            {"jsonrpc": "2.0", "method": "public/test", "params": {}, "id": "1"},
            {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]},
            {"foo": "boo"},
            {"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},
            {"jsonrpc": "2.0", "method": "public/get_time", "id": "9"}
        ]"#,
        "[\"1\" -, notification, null -32600 Invalid Request | must be \"2.0\" | jsonrpc, \
         \"5\" -32601 Method not found, \"9\" -]",
    );
    check(
        r#"[{"jsonrpc":"2.0","method":"notify_sum","params":[1,2,4]},{"jsonrpc":"2.0","method":"notify_hello"}]"#,
        "[notification, notification]",
    );
}

#[test]
fn echoes_ids_of_all_kinds_byte_for_byte() {
    for id in
        ["1", "-7", "1.50", "1e3", "12345678901234567890123", "null", "\"\"", "\"a\\u0062\\n\"", "\"é\""]
    {
        check(&format!(r#"{{"jsonrpc":"2.0","method":"public/test","id": {id} }}"#), &format!("{id} -"));
    }
    for id in ["{}", "[1]", "true"] {
        let text = format!(r#"{{"jsonrpc":"2.0","method":"public/test","id":{id}}}"#);
        check(&text, "null -32600 Invalid Request | wrong format | id");
    }
    let text = |bytes: usize| {
        format!(r#"{{"jsonrpc":"2.0","method":"public/test","id":"{}"}}"#, "x".repeat(bytes - 2))
    };
    assert!(outcome(text(ID_BYTES_MAX)).ends_with(" -"));
    check(&text(ID_BYTES_MAX + 1), "null -32600 Invalid Request | too long | id");
}

#[test]
fn refuses_what_is_no_request() {
    for text in ["1", "\"a\"", "null", "true"] {
        check(text, "null -32600 Invalid Request | not an object");
    }
    for text in ["", " ", "{", "{}}", "{} {}", "[{}", "nul", "{\"a\":01}", "[1,]", "\u{feff}{}"] {
        check(text, "null -32700 Parse error");
    }
    assert_eq!(outcome(b"{\"a\":\"\xff\"}"), "null -32700 Parse error | not UTF-8");
    for version in ["", r#""jsonrpc":"1.0","#, r#""jsonrpc":2.0,"#, r#""jsonrpc":null,"#] {
        let text = format!(r#"{{{version}"method":"public/test","id":3}}"#);
        check(&text, "3 -32600 Invalid Request | must be \"2.0\" | jsonrpc");
    }
    for params in ["1", "\"a\"", "null", "true"] {
        let text = format!(r#"{{"jsonrpc":"2.0","method":"public/test","id":3,"params":{params}}}"#);
        check(&text, "3 -32600 Invalid Request | must be an object | params");
    }
    let reply = r#"{"jsonrpc":"2.0","id":4,"result":{"version":"1"}}"#;
    check(reply, "4 -32600 Invalid Request | must be a string | method");
}

#[test]
fn refuses_a_member_that_stands_twice() {
    let text = r#"{"jsonrpc":"2.0","id":1,"method":"public/test","method":"topic/publish"}"#;
    check(text, "1 -32600 Invalid Request | given twice | method");
    let text = r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"public/test"}"#;
    check(text, "null -32600 Invalid Request | given twice | id");
    let text = r#"{"jsonrpc":"2.0","id":1,"method":"public/test","params":{},"par\u0061ms":{}}"#;
    check(text, "1 -32600 Invalid Request | given twice | params");
    let twice = r#"{"topic":"a","data":1,"data":2}"#;
    refused("topic/publish", twice, "1 -32602 Invalid params | given twice | data");
}

#[test]
fn takes_no_positional_parameters_but_none() {
    check(r#"{"jsonrpc":"2.0","id":1,"method":"public/test","params":[]}"#, "1 -");
    refused("public/test", "[\"x\"]", "1 -32602 Invalid params | params are taken by name | params");
    refused("public/get_time", "[1]", "1 -32602 Invalid params | params are taken by name | params");
}

#[test]
fn reads_through_escapes_white_space_and_unknown_members() {
    let text = " {\r\n\t\"jsonrpc\" : \"\\u0032.0\" , \"x\":[{\"id\":9}] , \"\\u0069d\" : 5 ,\n \"method\":\"public\\/test\" } ";
    check(text, "5 -");
    method("public/ticker", r#"{"instrument_name":"ES\u0048\u0034","unknown":{}}"#, |method| {
        assert_eq!(method, Method::Ticker { instrument_name: "ESH4".into() });
    });
}

#[test]
fn bounds_depth_and_batches() {
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"public/test","x":{open}{close}}}"#)
    };
    check(&nested(JSON_DEPTH_MAX - 1), "1 -");
    check(&nested(JSON_DEPTH_MAX), "null -32700 Parse error");
    check(&format!("[{}]", nested(JSON_DEPTH_MAX - 2)), "[1 -]");
    check(&format!("[{}]", nested(JSON_DEPTH_MAX - 1)), "null -32700 Parse error");
    for bomb in ["[", "{\"a\":", "[{\"a\":["] {
        check(&bomb.repeat(300_000), "null -32700 Parse error");
    }
    let batch = |count: usize| format!("[{}]", vec!["{}"; count].join(","));
    assert!(matches!(decode(batch(BATCH_REQUESTS_MAX).as_bytes()), Incoming::Batch(_)));
    let too_long = "null -32600 Invalid Request | more requests in the batch than allowed";
    check(&batch(BATCH_REQUESTS_MAX + 1), too_long);
}

#[test]
fn survives_a_mebibyte_of_anything() {
    for unit in ["\u{0}", "\\", "\"", "\"\\", "9", "a", "{\"", ",", "é", "\\u", " "] {
        assert!(outcome(unit.repeat((1 << 20) / unit.len())).starts_with("null -32"));
    }
    let text = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"{}\"}}", "m".repeat(1 << 20));
    check(&text, "1 -32601 Method not found");
}

#[test]
fn decodes_the_session_methods() {
    let hello = r#"{"client_name":"me","client_version":"1","nanoseconds":true}"#;
    method("public/hello", hello, |method| {
        let Method::Hello(hello) = method else { panic!("{method:?}") };
        assert_eq!((hello.client_name, hello.client_version), ("me".into(), "1".into()));
        assert_eq!((hello.precision, hello.form), (Precision::Nanoseconds, Ok(None)));
    });
    let sbe = |is_batched| Ok(Some(Form::Sbe { is_batched }));
    for (asked, expected) in [
        (r#""encoding":"sbe","schema":1,"version":0"#, sbe(false)),
        (r#""encoding":"sbe","schema":1,"version":0,"batch":true"#, sbe(true)),
        (r#""encoding":"sbe","schema":1,"version":0,"batch":1"#, Err(Refusal::Encoding)),
        (r#""encoding":"json","schema":null"#, Ok(Some(Form::Json))),
        (r#""batch":true"#, Err(Refusal::Encoding)),
        (r#""encoding":"sbe","schema":"1","version":0"#, Err(Refusal::Encoding)),
        (r#""encoding":["sbe"]"#, Err(Refusal::Encoding)),
        (r#""version":0"#, Err(Refusal::Encoding)),
    ] {
        let params = format!(r#"{{"client_name":"me","client_version":"1",{asked}}}"#);
        method("public/hello", &params, |method| {
            let Method::Hello(hello) = method else { panic!("{method:?}") };
            assert_eq!(hello.form, expected, "{asked}");
        });
    }
    let missing = "1 -32602 Invalid params | value required | client_version";
    refused("public/hello", r#"{"client_name":"me"}"#, missing);
    let exception = r#"{"expected_result":"exception"}"#;
    method("public/test", exception, |method| {
        assert_eq!(method, Method::Test { expected_result: Some("exception".into()) });
    });
    for (name, expected) in [
        ("public/get_time", Method::Time),
        ("public/status", Method::Status),
        ("public/get_currencies", Method::Currencies),
        ("public/get_venues", Method::Venues),
        ("public/unsubscribe_all", Method::UnsubscribeAll),
        ("public/disable_heartbeat", Method::DisableHeartbeat),
    ] {
        method(name, "{}", |method| assert_eq!(method, expected));
    }
    method("public/set_heartbeat", r#"{"interval":10}"#, |method| {
        assert_eq!(method, Method::SetHeartbeat { interval_s: 10 });
    });
    let required = "1 -32602 Invalid params | value required | interval";
    refused("public/set_heartbeat", "{}", required);
    for interval in ["9", "86401", "18446744073709551615"] {
        let params = format!(r#"{{"interval":{interval}}}"#);
        refused(
            "public/set_heartbeat",
            &params,
            "1 -32602 Invalid params | must be 10 to 86400 seconds | interval",
        );
    }
    refused(
        "public/set_heartbeat",
        r#"{"interval":"10"}"#,
        "1 -32602 Invalid params | wrong format | interval",
    );
    refused("private/nothing", "{}", "1 -32601 Method not found");
}

#[test]
fn decodes_the_market_methods() {
    let wanted = r#"{"currency":"any","kind":"option","expired":true}"#;
    method("public/get_instruments", wanted, |method| {
        let kind = Some(InstrumentKind::Option);
        assert_eq!(method, Method::Instruments { currency: None, kind, expiry: Expiry::Expired });
    });
    method("public/get_instruments", r#"{"currency":"BTC"}"#, |method| {
        let expected =
            Method::Instruments { currency: Some("BTC".into()), kind: None, expiry: Expiry::Active };
        assert_eq!(method, expected);
    });
    let reason = "must be one of future, option, spot, future_combo, option_combo";
    refused(
        "public/get_instruments",
        r#"{"kind":"x"}"#,
        &format!("1 -32602 Invalid params | {reason} | kind"),
    );
    method("public/get_instrument", r#"{"instrument_name":"ESH4"}"#, |method| {
        assert_eq!(method, Method::Instrument { instrument_name: "ESH4".into() });
    });
    for params in ["{}", r#"{"instrument_name":null}"#] {
        refused("public/ticker", params, "1 -32602 Invalid params | value required | instrument_name");
    }
    refused(
        "public/ticker",
        r#"{"instrument_name":1}"#,
        "1 -32602 Invalid params | wrong format | instrument_name",
    );
    for (depth, expected) in [("null", 5), ("1", 1), ("10000", 10_000)] {
        let params = format!(r#"{{"instrument_name":"ESH4","depth":{depth}}}"#);
        method("public/get_order_book", &params, |method| {
            assert_eq!(method, Method::OrderBook { instrument_name: "ESH4".into(), depth: expected });
        });
    }
    let reason = "must be one of 1, 5, 10, 20, 50, 100, 1000, 10000";
    let params = r#"{"instrument_name":"ESH4","depth":7}"#;
    refused("public/get_order_book", params, &format!("1 -32602 Invalid params | {reason} | depth"));
}

#[test]
fn decodes_last_trades() {
    let name = "public/get_last_trades_by_instrument";
    method(name, r#"{"instrument_name":"ESH4"}"#, |method| {
        let Method::LastTrades(asked) = method else { panic!("{method:?}") };
        assert_eq!((asked.count, asked.sorting), (10, Sorting::Descending));
    });
    let all = r#"{"instrument_name":"ESH4","start_seq":3,"end_seq":9,"count":1000,"sorting":"asc"}"#;
    method(name, all, |method| {
        let Method::LastTrades(asked) = method else { panic!("{method:?}") };
        assert_eq!((asked.start_seq, asked.end_seq), (Some(3), Some(9)));
        assert_eq!((asked.count, asked.sorting), (1000, Sorting::Ascending));
    });
    let since = r#"{"instrument_name":"ESH4","start_timestamp":5,"include_old":true}"#;
    method("public/get_last_trades_by_instrument_and_time", since, |method| {
        let Method::LastTrades(asked) = method else { panic!("{method:?}") };
        assert_eq!((asked.start_timestamp_ms, asked.end_timestamp_ms), (Some(5), None));
    });
    for count in ["0", "1001", "-1", "1.0"] {
        let params = format!(r#"{{"instrument_name":"ESH4","count":{count}}}"#);
        refused(name, &params, "1 -32602 Invalid params | wrong format | count");
    }
}

#[test]
fn decodes_subscriptions() {
    let params = r#"{"channels":["book.ESH4.raw","topic.\u0061"],"class":"lossless","checksum":true,
        "resume":{"book.ESH4.raw":{"epoch":5,"seq":6}}}"#;
    method("public/subscribe", params, |method| {
        let Method::Subscribe(asked) = method else { panic!("{method:?}") };
        assert_eq!(asked.channels, ["book.ESH4.raw", "topic.a"]);
        assert_eq!((asked.class, asked.checksum), (Some(DeliveryClass::Lossless), Checksum::Crc32));
        assert_eq!(asked.resume, [("book.ESH4.raw".into(), Position { epoch: Epoch(5), seq: Seq(6) })]);
    });
    method("public/unsubscribe", r#"{"channels":[]}"#, |method| {
        assert_eq!(method, Method::Unsubscribe { channels: Vec::new() });
    });
    let invalid = |params: &str, expected: &str| {
        refused("public/subscribe", params, &format!("1 -32602 Invalid params | {expected}"));
    };
    invalid("{}", "value required | channels");
    invalid(r#"{"channels":"a"}"#, "wrong format | channels");
    invalid(r#"{"channels":[1]}"#, "wrong format | channels");
    invalid(r#"{"channels":[],"class":"fast"}"#, "must be one of lossless, latest | class");
    invalid(r#"{"channels":[],"checksum":1}"#, "wrong format | checksum");
    for resume in ["[]", r#"{"a":1}"#, r#"{"a":{"epoch":1}}"#, r#"{"a":{"epoch":1,"seq":-1}}"#] {
        invalid(&format!(r#"{{"channels":[],"resume":{resume}}}"#), "wrong format | resume");
    }
    let many = format!(r#"{{"channels":[{}]}}"#, vec!["\"a\""; SUBSCRIBE_CHANNELS_MAX + 1].join(","));
    invalid(&many, "more than 500 channels | channels");
}

#[test]
fn hands_published_values_on_byte_for_byte() {
    for data in
        ["null", "\"a\\u0062\"", "{ \"a\" : [1.50,\n2e1] , \"a\":{} }", "[]", "1.0000000000000000000001"]
    {
        let params = format!(r#"{{"data": {data} ,"topic":"alerts"}}"#);
        method("topic/publish", &params, |method| {
            let expected = Method::Publish { topic: "alerts".into(), data: data.as_bytes() };
            assert_eq!(method, expected);
        });
    }
    refused("topic/publish", r#"{"topic":"a"}"#, "1 -32602 Invalid params | value required | data");
    refused("topic/publish", r#"{"data":1}"#, "1 -32602 Invalid params | value required | topic");
    let bad_escape =
        r#"{"jsonrpc":"2.0","id":1,"method":"topic/publish","params":{"topic":"a","data":"\uZZZZ"}}"#;
    check(bad_escape, "null -32700 Parse error");
}

#[test]
fn borrows_all_strings_that_have_no_escape() {
    method("topic/publish", r#"{"topic":"alerts","data":{"a":"\n"}}"#, |method| {
        assert!(matches!(method, Method::Publish { topic: Cow::Borrowed("alerts"), .. }));
    });
    method("public/test", r#"{"expected_result":"é"}"#, |method| {
        assert!(matches!(method, Method::Test { expected_result: Some(Cow::Borrowed("é")) }));
    });
}

proptest! {
    #[test]
    fn bytes_of_any_kind_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&bytes);
    }

    #[test]
    fn damaged_requests_never_panic(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut text = br#"[{"jsonrpc":"2.0","id":"\u00e9","method":"public/subscribe","params":{"channels":["a"],
            "resume":{"a":{"epoch":1,"seq":2}}}},{"jsonrpc":"2.0","method":"topic/publish","params":{"data":[1]}}]"#
            .to_vec();
        let at = at.index(text.len());
        if cut { text.truncate(at) } else { text[at] = byte }
        let _ = outcome(&text);
    }

    #[test]
    fn any_value_is_published_as_it_stands(depth in 0usize..40, text in "\\PC{0,40}") {
        let data = format!("{}{}{}", "[".repeat(depth), serde_json::to_string(&text).unwrap(), "]".repeat(depth));
        let request = format!(r#"{{"jsonrpc":"2.0","method":"topic/publish","params":{{"topic":"t","data":{data}}}}}"#);
        let Incoming::Single(Parsed { id: None, call: Ok(Method::Publish { data: seen, .. }), .. }) =
            decode(request.as_bytes()) else { panic!("{request}") };
        prop_assert_eq!(seen, data.as_bytes());
    }
}
