//! Messages, groups and presence: what is asked for, what is told, and the examples of the documentation.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::auth::Scope;
use crate::dialect::json_rpc::*;
use crate::limits;
use crate::model::ids::{ConnId, HomeId};
use crate::model::message::*;
use crate::model::order::{Client, Label};

const PAGE: &str = include_str!("../../../../docs/protocol.md");
const NOW_MS: u64 = 1_795_242_557_741;

fn label(text: &str) -> Label {
    Label::parse(text).unwrap()
}

fn call(
    method: &str,
    params: &Value,
) -> Result<MessageRequest, (Option<&'static str>, Option<&'static str>)> {
    let text = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
    let Incoming::Single(parsed) = decode(text.as_bytes()) else { panic!("{text}") };
    match parsed.call {
        Ok(Method::Message(MessageCall::Ask(request))) => Ok(request),
        Ok(Method::Message(MessageCall::Send { message, .. })) => Ok(MessageRequest::Send(message)),
        Ok(Method::Message(MessageCall::Subscribe { reception, topics, .. })) => {
            Ok(MessageRequest::Subscribe { reception, topics })
        }
        Ok(other) => panic!("{other:?}"),
        Err(failure) => Err((failure.param, failure.reason)),
    }
}

fn sent(target: Target) -> NewMessage {
    NewMessage {
        target,
        priority: Priority::Normal,
        guarantee: Guarantee::FireAndForget,
        client_id: None,
        ttl_ms: None,
        deliver_at_ms: None,
        receipts: false,
        reply_to: None,
    }
}

#[test]
fn a_send_says_to_whom_and_how_and_carries_its_content_byte_for_byte() {
    let params = r#"{"user":"ops","priority":"critical","confirm":true,"id":"halt-7","ttl_ms":60000,"delay_ms":250,"receipts":true,"reply_to":17,"content":{"b": [1,  "é"],"a":null}}"#;
    let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"message/send","params":{params}}}"#);
    let Incoming::Single(parsed) = decode(text.as_bytes()) else { panic!() };
    let Ok(Method::Message(MessageCall::Send { message, delay_ms, content })) = parsed.call else {
        panic!("{:?}", parsed.call)
    };
    assert_eq!(std::str::from_utf8(content).unwrap(), r#"{"b": [1,  "é"],"a":null}"#);
    assert_eq!(delay_ms, Some(250));
    let expected = NewMessage {
        priority: Priority::Critical,
        guarantee: Guarantee::AtLeastOnce,
        client_id: Some(label("halt-7")),
        ttl_ms: Some(60_000),
        receipts: true,
        reply_to: Some(MessageId(17)),
        ..sent(Target::User(label("ops")))
    };
    assert_eq!(message, expected);
}

#[test]
fn each_target_is_told_by_one_member() {
    for (params, target) in [
        (json!({"user": "ops"}), Target::User(label("ops"))),
        (json!({"session": 7}), Target::Session(SessionId(7))),
        (json!({"topic": "alerts"}), Target::Topic(label("alerts"))),
        (json!({"type": "approval"}), Target::Type(label("approval"))),
        (json!({"group": "desk"}), Target::Group { group: label("desk"), to: Selection::All }),
        (
            json!({"group": "desk", "select": "least_loaded"}),
            Target::Group { group: label("desk"), to: Selection::LeastLoaded },
        ),
    ] {
        let mut params = params;
        params["content"] = json!(1);
        assert_eq!(call("message/send", &params), Ok(MessageRequest::Send(sent(target))), "{params}");
    }
    let group = Target::Group { group: label("desk"), to: Selection::Weighted };
    let params = json!({"group": "desk", "select": "weighted", "content": null});
    assert_eq!(call("group/send", &params), Ok(MessageRequest::Send(sent(group))));
}

#[test]
fn what_is_wrong_in_a_request_is_named() {
    const ONE_TARGET: &str = "one of user, session, group, topic, type is needed";
    const NAME: &str = "must be 1 to 64 bytes without control characters";
    for (method, params, param, reason) in [
        ("message/send", json!({"content": 1}), None, ONE_TARGET),
        ("message/send", json!({"content": 1, "user": "a", "topic": "b"}), None, ONE_TARGET),
        ("message/send", json!({"content": 1, "user": "a", "type": "b"}), None, ONE_TARGET),
        (
            "message/send",
            json!({"user": "backend:a", "content": 1}),
            Some("user"),
            "what a backend processes is sent by its type",
        ),
        ("message/send", json!({"type": "", "content": 1}), Some("type"), NAME),
        ("message/send", json!({"user": "a"}), Some("content"), "value required"),
        ("message/send", json!({"user": "", "content": 1}), Some("user"), NAME),
        ("message/send", json!({"user": 5, "content": 1}), Some("user"), "wrong format"),
        ("message/send", json!({"session": 0, "content": 1}), Some("session"), "wrong format"),
        (
            "message/send",
            json!({"user": "a", "select": "all", "content": 1}),
            Some("select"),
            "of a group only",
        ),
        (
            "message/send",
            json!({"user": "a", "content": 1, "priority": "urgent"}),
            Some("priority"),
            "must be one of low, normal, high, critical",
        ),
        ("message/send", json!({"user": "a", "content": 1, "ttl_ms": 0}), Some("ttl_ms"), "wrong format"),
        (
            "message/send",
            json!({"user": "a", "content": 1, "deliver_at": 5, "delay_ms": 5}),
            Some("delay_ms"),
            "deliver_at is told as well",
        ),
        ("message/send", json!({"user": "a", "content": 1, "id": "a\nb"}), Some("id"), NAME),
        ("message/ack", json!({}), Some("id"), "value required"),
        ("message/ack", json!({"id": "17"}), Some("id"), "wrong format"),
        ("message/nack", json!({"id": 1, "delay_ms": -1}), Some("delay_ms"), "wrong format"),
        ("message/pending", json!({"count": 1_001}), Some("count"), "wrong format"),
        ("message/subscribe", json!({"under_way_max": 4_097}), Some("under_way_max"), "wrong format"),
        ("message/subscribe", json!({"topics": "a"}), Some("topics"), "wrong format"),
        ("message/subscribe", json!({"topics": vec!["t"; 65]}), Some("topics"), "more of them than may be"),
        ("message/subscribe", json!({"batch": {"messages_max": 1}}), Some("messages_max"), "wrong format"),
        ("group/create", json!({}), Some("group"), "value required"),
        ("group/join", json!({"group": "g", "weight": 1_001}), Some("weight"), "wrong format"),
        ("presence/get", json!({}), None, "one of users, group is needed"),
        ("presence/subscribe", json!({"users": []}), Some("users"), "value required"),
        (
            "message/dead_letters/purge",
            json!({"id": 1, "all": true}),
            None,
            "one of id, \"all\":true is needed",
        ),
    ] {
        assert_eq!(call(method, &params), Err((param, Some(reason))), "{method} {params}");
    }
}

#[test]
fn a_number_names_a_message_and_a_text_is_its_sender_s_name_for_it() {
    let status = |message| Ok(MessageRequest::Status { message });
    assert_eq!(call("message/status", &json!({"id": 17})), status(MessageKey::Id(MessageId(17))));
    assert_eq!(call("message/status", &json!({"id": "17"})), status(MessageKey::ClientId(label("17"))));
}

#[test]
fn how_messages_are_put_into_frames_is_told_with_the_subscription() {
    let subscribe = |params: Value| {
        let request = json!({"jsonrpc": "2.0", "method": "message/subscribe", "params": params}).to_string();
        let Incoming::Single(parsed) = decode(request.as_bytes()) else { panic!() };
        let Ok(Method::Message(MessageCall::Subscribe { reception, presentation, .. })) = parsed.call else {
            panic!("{:?}", parsed.call)
        };
        (reception.under_way_max, presentation)
    };
    assert_eq!(subscribe(json!({})), (limits::MESSAGES_UNDER_WAY, Presentation::default()));
    let batch = |messages_max, bytes_max| Some(FrameBatch { messages_max, bytes_max });
    for (params, expected) in [
        (json!({"batch": {}}), Presentation { batch: batch(256, 65_536), ..Presentation::default() }),
        (
            json!({"batch": {"messages_max": 2, "bytes_max": 1}, "compress_from_bytes": 512}),
            Presentation { batch: batch(2, 1), compress_from_bytes: Some(512) },
        ),
    ] {
        assert_eq!(subscribe(params).1, expected);
    }
}

#[test]
fn each_method_has_its_scope_and_those_about_the_connection_are_not_called_over_http() {
    let parsed = |method: &str, params: Value| {
        let text = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        let Incoming::Single(parsed) = decode(text.as_bytes()) else { panic!() };
        (parsed.access, parsed.call.map(|call| call.is_of_connection()))
    };
    for (method, params, scope, of_connection) in [
        ("message/subscribe", json!({}), Scope::MessageRead, true),
        ("message/unsubscribe", json!({}), Scope::MessageRead, true),
        ("presence/unsubscribe", json!({}), Scope::MessageRead, true),
        ("presence/get", json!({"users": ["a"]}), Scope::MessageRead, false),
        ("message/ack", json!({"id": 1}), Scope::MessageRead, false),
        ("message/send", json!({"user": "a", "content": 1}), Scope::MessageReadWrite, false),
        ("group/delete", json!({"group": "a"}), Scope::MessageReadWrite, false),
        ("message/dead_letters/list", json!({}), Scope::MessageAdmin, false),
    ] {
        assert_eq!(parsed(method, params), (Access::Scoped(scope), Ok(of_connection)), "{method}");
    }
    for unknown in [
        "message/",
        "message/x",
        "message/process",
        "group/",
        "group/x",
        "presence/x",
        "message/dead_letters/",
    ] {
        assert_eq!(parsed(unknown, json!({})), (Access::Everybody, Err(Failure::METHOD_NOT_FOUND)));
    }
}

fn delivery() -> Delivery {
    Delivery {
        client: Client { home: HomeId(0), conn: ConnId { slot: 0, generation: 0 } },
        message: MessageId(1_795_242_557_741_001),
        from: label("risk"),
        by: Some(Via::Group(label("desk"))),
        priority: Priority::Critical,
        confirm: true,
        attempt: 2,
        is_redelivered: true,
        sent_ms: NOW_MS,
        deliver_at_ms: None,
        expires_ms: Some(NOW_MS + 60_000),
        client_id: Some(label("halt-7")),
        reply_to: None,
        content: Arc::from(&br#"{"halt":"BTC-PERPETUAL"}"#[..]),
    }
}

#[test]
fn a_backend_is_told_of_a_message_as_documented() {
    let page = include_str!("../../../../docs/messages.md");
    let delivery = Delivery {
        from: label("alice"),
        by: Some(Via::Type(label("approval"))),
        priority: Priority::Normal,
        attempt: 1,
        is_redelivered: false,
        expires_ms: None,
        client_id: Some(label("order-1")),
        content: Arc::from(&br#"{"book":1}"#[..]),
        ..delivery()
    };
    let params = written(|out| write_delivery(out, &delivery));
    let line = format!(r#"> {{"jsonrpc":"2.0","id":7,"method":"message/process","params":{params}}}"#);
    assert!(page.contains(&line), "{line}");
}

fn status(state: MessageState) -> MessageStatus {
    MessageStatus {
        message: MessageId(1_795_242_557_741_001),
        to: label("ops"),
        priority: Priority::Critical,
        guarantee: Guarantee::AtLeastOnce,
        state,
        attempts: 2,
        sent_ms: NOW_MS,
        next_ms: None,
        expires_ms: Some(NOW_MS + 60_000),
        client_id: Some(label("halt-7")),
    }
}

fn presence() -> Presence {
    Presence { user: label("ops"), is_present: true, since_ms: Some(NOW_MS - 5_000), sessions: 2 }
}

fn letter(content: Option<Arc<[u8]>>) -> DeadLetter {
    DeadLetter {
        status: MessageStatus { attempts: 8, ..status(MessageState::Dead) },
        from: label("risk"),
        cause: DeathCause::Attempts,
        died_ms: NOW_MS + 120_000,
        reason: Some(label("cannot parse it")),
        content_bytes: 24,
        content,
    }
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn the_longest_message_is_no_longer_than_is_reckoned_with() {
    // The worst of names: a control character is none, and a quote or a backslash takes two bytes.
    let name = Label::parse(&"\"".repeat(64)).unwrap();
    let content: Arc<[u8]> = Arc::from(&b"1"[..]);
    let most = Delivery {
        message: MessageId(u64::MAX),
        from: name,
        by: Some(Via::Topic(name)),
        attempt: u32::MAX,
        sent_ms: u64::MAX,
        deliver_at_ms: Some(u64::MAX),
        expires_ms: Some(u64::MAX),
        client_id: Some(name),
        reply_to: Some(MessageId(u64::MAX)),
        content,
        ..delivery()
    };
    let text = written(|out| write_message(out, &most));
    let reckoned = message_bytes_max(&most);
    assert!(
        text.len() <= reckoned && reckoned < text.len() + 128,
        "{} bytes, {reckoned} reckoned",
        text.len()
    );
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["params"]["from"].as_str(), Some(name.as_str()));
    let receipt = Receipt {
        status: MessageStatus {
            to: name,
            client_id: Some(name),
            next_ms: Some(u64::MAX),
            ..status(MessageState::Dead)
        },
        cause: Some(DeathCause::SessionGone),
        at_ms: u64::MAX,
    };
    assert!(written(|out| write_receipt(out, &receipt)).len() <= receipt_bytes_max(&receipt));
    let presence = Presence { user: name, since_ms: Some(u64::MAX), sessions: u32::MAX, ..presence() };
    assert!(written(|out| write_presence_change(out, &presence)).len() <= presence_bytes_max(&presence));
}

#[test]
fn each_refusal_has_a_code_and_a_reason() {
    use MessageRefusal::*;
    let all = [
        MessageNotFound,
        UnknownUser,
        UnknownSession,
        UnknownGroup,
        GroupExists,
        EmptyGroup,
        NotAMember,
        TooLate,
        InvalidTime,
        NotDelivered,
        TooMany,
        SenderFull,
        Full,
        StoreAbsent,
        StoreLoading,
        StoreDiskFull,
        StoreFaulty,
        StoreAway,
        StoreTaken,
        StoreBusy,
        NeedsConnection,
        NotSubscribed,
        NoProcessor,
    ];
    let (_, section) = PAGE.split_once("\n## Messages\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    for refusal in all {
        let Failure { code, reason, .. } = message_failure(refusal);
        let row = match reason {
            Some(reason) => format!("| {code} | `{reason}` |"),
            None => format!("| {code} | |"),
        };
        assert!(section.contains(&row), "{refusal:?}: {row}");
    }
}

/// What the writer of a method's result writes.
fn result_of(method: &str) -> String {
    let answer = match method {
        "message/subscribe" => MessageAnswer::Subscribed { session: SessionId(7), waiting: 3 },
        "message/send" | "group/send" => MessageAnswer::Accepted {
            first: MessageId(1_795_242_557_741_001),
            count: if method == "group/send" { 3 } else { 1 },
            state: MessageState::Queued,
            is_repeated: false,
        },
        "message/status" => MessageAnswer::Status(status(MessageState::Delivered)),
        "message/pending" => MessageAnswer::Pending {
            total: 1,
            bytes: 24,
            messages: [MessageStatus { attempts: 0, ..status(MessageState::Queued) }].into(),
        },
        "group/members" => MessageAnswer::Members {
            group: label("desk"),
            expires_ms: Some(NOW_MS + 86_400_000),
            members: [GroupMember { user: label("ops"), weight: 3, is_present: true, waiting: 1 }].into(),
        },
        "presence/get" | "presence/subscribe" => MessageAnswer::Presence([presence()].into()),
        "presence/unsubscribe" => MessageAnswer::Presence(Box::default()),
        "message/dead_letters/list" => {
            MessageAnswer::DeadLetters { total: 1, letters: [letter(None)].into() }
        }
        "message/dead_letters/get" => {
            return written(|out| write_dead_letter(out, &letter(Some(delivery().content))));
        }
        "message/dead_letters/requeue" | "message/dead_letters/purge" => MessageAnswer::Count(1),
        _ => MessageAnswer::Done,
    };
    written(|out| write_message_answer(out, &answer))
}

/// The example again, by what takes and writes it.
fn example_of(line: &str, request: &str) -> String {
    let told: Value = serde_json::from_str(line.strip_prefix("< ").unwrap()).unwrap();
    match told["method"].as_str() {
        Some("message") => return written(|out| write_message(out, &delivery())),
        Some("message_receipt") => {
            let receipt =
                Receipt { status: status(MessageState::Confirmed), cause: None, at_ms: NOW_MS + 1_500 };
            return written(|out| write_receipt(out, &receipt));
        }
        Some("presence") => return written(|out| write_presence_change(out, &presence())),
        Some(_) | None => {}
    }
    let Incoming::Single(parsed) = decode(request.as_bytes()) else { panic!("{request}") };
    assert!(matches!(parsed.call, Ok(Method::Message(_))), "{request}: {:?}", parsed.call);
    let value: Value = serde_json::from_str(request).unwrap();
    let stamps = Stamps {
        in_unix_ns: told["usIn"].as_u64().unwrap() * 1000,
        out_unix_ns: told["usOut"].as_u64().unwrap() * 1000,
        precision: Precision::Microseconds,
    };
    written(|out| match told.get("error") {
        Some(_) => {
            write_error(out, parsed.id.unwrap(), message_failure(MessageRefusal::NotDelivered), stamps)
        }
        None => {
            open_result(out, parsed.id.unwrap());
            out.extend_from_slice(result_of(value["method"].as_str().unwrap()).as_bytes());
            close_reply(out, stamps);
        }
    })
}

#[test]
fn the_documented_messages_are_taken_and_told_as_documented() {
    let (_, section) = PAGE.split_once("\n## Messages\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let (mut request, mut methods, mut expected, mut documented) =
        ("", Vec::new(), String::new(), String::new());
    for line in section.lines() {
        if let Some(asked) = line.strip_prefix("> ") {
            request = asked;
            let value: Value = serde_json::from_str(asked).unwrap_or_else(|error| panic!("{error}: {asked}"));
            methods.push(value["method"].as_str().unwrap().to_owned());
            expected.push_str(&format!("{line}\n"));
            documented.push_str(&format!("{line}\n"));
        } else if line.starts_with("< ") {
            expected.push_str(&format!("< {}\n", example_of(line, request)));
            documented.push_str(&format!("{line}\n"));
        }
    }
    assert!(documented == expected, "the page is to have:\n{expected}");
    let (table, _) = section.split_once("\n\n**").unwrap();
    let named = table.split('`').filter(|word| {
        ["message/", "group/", "presence/"].iter().any(|prefix| word.starts_with(prefix))
            && !word.contains('…')
    });
    let without_example: Vec<_> = named.filter(|name| !methods.iter().any(|method| method == name)).collect();
    assert!(without_example.is_empty(), "{without_example:?}");
    assert!(methods.len() >= 21, "{methods:?}");
}
