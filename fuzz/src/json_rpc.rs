//! The decoder of requests.
//!
//! Property: whatever the text, nothing panics; what the decoder takes for JSON serde_json takes too, and the other way
//! round where the text is UTF-8, has no unpaired surrogate and nests no deeper than the documented bound; a call means
//! what serde_json reads in it; the replies written for it are read back by serde_json, and the id in them is byte for byte
//! the client's.
//!
//! Input: the text of one message.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;
use tickring::auth::{Credential, Key, Login, Patterns, Reach, Scopes, Tokens};
use tickring::dialect::json_rpc::{
    self, Access, AuthParams, BATCH_REQUESTS_MAX, BatchReply, Failure, GrantType, ID_BYTES_MAX, Id, Incoming,
    JSON_DEPTH_MAX, MessageCall, Method, OrderCall, Parsed, Precision, Recovery, SessionTokens, Stamps,
};
use tickring::model::decimal::{Amount, UNIT};
use tickring::model::ids::{Epoch, InstrumentId, Seq};
use tickring::model::message::{Guarantee, MessageRequest, Target};
use tickring::model::order::{AccountId, OrderRequest};

const STAMPS: Stamps = Stamps {
    in_unix_ns: 1_700_000_000_000_001_234,
    out_unix_ns: 1_700_000_000_000_005_678,
    precision: Precision::Nanoseconds,
};

/// A reply as any client would read it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reply<'a> {
    jsonrpc: &'a str,
    #[serde(borrow)]
    id: &'a RawValue,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    resumed: Option<&'a RawValue>,
    error: Option<ErrorObject>,
    #[serde(rename = "usIn")]
    us_in: u64,
    #[serde(rename = "usOut")]
    us_out: u64,
    #[serde(rename = "usDiff")]
    us_diff: u64,
    #[serde(rename = "usInNs")]
    us_in_ns: u64,
    #[serde(rename = "usOutNs")]
    us_out_ns: u64,
    testnet: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ErrorObject {
    code: i32,
    message: String,
    #[serde(default)]
    data: BTreeMap<String, String>,
}

/// See the file's head.
///
/// # Panics
/// Where the property does not hold.
pub fn check(input: &[u8]) {
    let incoming = json_rpc::decode(input);
    let is_json = match &incoming {
        Incoming::Invalid(failure) => failure.code != Failure::PARSE_ERROR.code,
        Incoming::Single(_) | Incoming::Batch(_) => true,
    };
    let is_over_long = matches!(incoming, Incoming::Invalid(failure) if failure.reason.is_some_and(|reason| reason.contains("batch than")));
    if !is_over_long {
        assert_eq!(is_json, is_strict_json(input), "{incoming:?}");
    }
    // `None` as well where a number is beyond what serde_json represents.
    let value: Option<Value> = if is_json { serde_json::from_slice(input).ok() } else { None };
    match &incoming {
        Incoming::Single(parsed) => {
            assert!(value.as_ref().is_none_or(Value::is_object));
            check_parsed(parsed, value.as_ref());
            if let Some(reply) = reply_to(parsed) {
                check_reply(parsed, &read(&reply));
            }
        }
        Incoming::Batch(batch) => check_batch(batch, value.as_ref()),
        Incoming::Invalid(failure) => {
            let parsed = Parsed { id: Some(Id::NULL), access: Access::Everybody, call: Err(*failure) };
            let reply = reply_to(&parsed).expect("what is no request is answered");
            check_reply(&parsed, &read(&reply));
        }
    }
}

fn check_batch(batch: &[Parsed<'_>], value: Option<&Value>) {
    assert!((1..=BATCH_REQUESTS_MAX).contains(&batch.len()));
    if let Some(value) = value {
        assert_eq!(value.as_array().map(Vec::len), Some(batch.len()));
    }
    let mut text = Vec::new();
    let mut written = BatchReply::default();
    for (at, parsed) in batch.iter().enumerate() {
        check_parsed(parsed, value.map(|value| &value[at]));
        if let Some(reply) = reply_to(parsed) {
            written.open_entry(&mut text);
            text.extend_from_slice(&reply);
        }
    }
    written.close(&mut text);
    let answered: Vec<&Parsed<'_>> = batch.iter().filter(|parsed| parsed.id.is_some()).collect();
    if answered.is_empty() {
        return assert!(text.is_empty(), "a batch of notifications has no reply");
    }
    let replies: Vec<Reply<'_>> = serde_json::from_slice(&text).expect("a batch of replies is JSON");
    assert_eq!(replies.len(), answered.len());
    for (parsed, reply) in answered.into_iter().zip(&replies) {
        check_reply(parsed, reply);
    }
}

fn read(reply: &[u8]) -> Reply<'_> {
    serde_json::from_slice(reply)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(reply)))
}

/// Whether serde_json takes it by the grammar, and the two documented restrictions hold.
fn is_strict_json(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    serde_json::from_str::<IgnoredAny>(text).is_ok()
        && deepest(text) <= JSON_DEPTH_MAX
        && surrogates_are_paired(text)
}

/// The most containers that are open at once in a text that is JSON.
fn deepest(text: &str) -> usize {
    let (mut deepest, mut depth, mut in_string, mut escaped) = (0, 0usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth -= 1,
            _ => {}
        }
    }
    deepest
}

fn surrogates_are_paired(text: &str) -> bool {
    let mut rest = text;
    let mut high_before = false;
    while let Some(at) = rest.find('\\') {
        let follows_at_once = at == 0;
        let escape = &rest[at + 1..];
        let unit = escape.strip_prefix('u').and_then(|hex| u32::from_str_radix(hex.get(..4)?, 16).ok());
        let is_low = unit.is_some_and(|unit| (0xdc00..0xe000).contains(&unit));
        if is_low != (high_before && follows_at_once && is_low)
            || (high_before && !(follows_at_once && is_low))
        {
            return false;
        }
        high_before = unit.is_some_and(|unit| (0xd800..0xdc00).contains(&unit));
        let first = escape.chars().next().map_or(0, char::len_utf8);
        rest = &escape[if unit.is_some() { 5 } else { first }..];
    }
    !high_before
}

/// What the decoder says of a request, beside what serde_json reads in it.
fn check_parsed(parsed: &Parsed<'_>, value: Option<&Value>) {
    if let Some(id) = parsed.id {
        assert!(id.as_str().len() <= ID_BYTES_MAX && !id.as_str().is_empty());
    }
    let (Ok(method), Some(value)) = (&parsed.call, value) else { return };
    // Members do not stand twice in what is accepted, so that both have read the same ones.
    let id: Option<Value> =
        parsed.id.map(|id| serde_json::from_str(id.as_str()).expect("the whole text was read"));
    assert_eq!(id.as_ref(), value.get("id"));
    assert_eq!(value["jsonrpc"], "2.0");
    let called = value["method"].as_str().expect("a method is a text");
    let (name, is_right) = read_beside(method, called, &value["params"]);
    let is_private_twin = called.strip_prefix("private/").is_some_and(|rest| {
        ["subscribe", "unsubscribe", "unsubscribe_all"].contains(&rest) && name == format!("public/{rest}")
    });
    let is_second_name =
        called.strip_suffix("_and_time").is_some_and(|rest| rest == name && name.contains("_trades_by_"));
    assert!(called == name || is_private_twin || is_second_name, "{called} was taken for {name}");
    let is_for_who_logged_in = matches!(method, Method::Message(_)) || called.starts_with("private/");
    assert_eq!(parsed.access != Access::Everybody, is_for_who_logged_in, "{called}");
    assert!(is_right, "{method:?} was read in {value}");
}

/// The name of a method, and whether its parameters were read as serde_json reads them.
fn read_beside<'t>(method: &Method<'_>, called: &'t str, params: &Value) -> (&'t str, bool) {
    let text = |name: &str| params[name].as_str().unwrap_or_default();
    match method {
        Method::Hello(hello) => (
            "public/hello",
            hello.client_name == text("client_name") && hello.client_version == text("client_version"),
        ),
        Method::Test { expected_result } => {
            ("public/test", expected_result.as_deref().unwrap_or_default() == text("expected_result"))
        }
        Method::Time => ("public/get_time", true),
        Method::Status => ("public/status", true),
        Method::Currencies => ("public/get_currencies", true),
        Method::Venues => ("public/get_venues", true),
        Method::Instruments { currency, .. } => {
            ("public/get_instruments", currency.as_ref().is_none_or(|currency| *currency == text("currency")))
        }
        Method::Instrument { instrument_name } => {
            ("public/get_instrument", *instrument_name == text("instrument_name"))
        }
        Method::Ticker { instrument_name } => ("public/ticker", *instrument_name == text("instrument_name")),
        Method::OrderBook { instrument_name, depth } => {
            let asked = params["depth"].as_u64().unwrap_or(5);
            (
                "public/get_order_book",
                *instrument_name == text("instrument_name") && u64::from(*depth) == asked,
            )
        }
        Method::LastTrades(trades) => {
            let asked = params["count"].as_u64().unwrap_or(10);
            let is_right =
                trades.instrument_name == text("instrument_name") && u64::from(trades.count) == asked;
            (
                "public/get_last_trades_by_instrument",
                is_right && trades.start_seq == params["start_seq"].as_u64(),
            )
        }
        Method::Subscribe(subscribe) => ("public/subscribe", is_subscribe_read_right(subscribe, params)),
        Method::Unsubscribe { channels } => ("public/unsubscribe", are_texts(channels, &params["channels"])),
        Method::UnsubscribeAll => ("public/unsubscribe_all", true),
        Method::SetHeartbeat { interval_s } => {
            ("public/set_heartbeat", params["interval"].as_u64() == Some(u64::from(*interval_s)))
        }
        Method::DisableHeartbeat => ("public/disable_heartbeat", true),
        Method::Publish { topic, data } => {
            let told: Value = serde_json::from_slice(data).expect("what is published is one value");
            ("topic/publish", *topic == text("topic") && told == params["data"])
        }
        Method::Auth(auth) => ("public/auth", is_read_right(auth, params)),
        Method::Logout { tokens } => {
            let are_kept = *tokens == SessionTokens::Kept;
            ("private/logout", are_kept == (params["invalidate_token"] == Value::Bool(false)))
        }
        Method::ListKeys => ("private/list_api_keys", true),
        // Its names are those of `private/`; which of them it is shows in what is asked for.
        Method::Order(call) => (called, called.starts_with("private/") && is_order_read_right(call, params)),
        Method::Message(call) => (called, is_message_read_right(call, called, params)),
        Method::Foreign(call) => {
            let told: Value = call.params.map_or(Value::Null, |text| {
                serde_json::from_slice(text).expect("what a backend is told is one value")
            });
            (called, call.method == called && json_rpc::check_foreign(called).is_ok() && told == *params)
        }
        Method::Cancel { id } => {
            let id: Value = serde_json::from_str(id.as_str()).expect("an id is JSON");
            ("$/cancelRequest", id == params["id"])
        }
    }
}

fn is_subscribe_read_right(subscribe: &json_rpc::SubscribeParams<'_>, params: &Value) -> bool {
    let empty = serde_json::Map::new();
    let resume = params["resume"].as_object().unwrap_or(&empty);
    let is_resumed = subscribe.resume.iter().all(|(channel, place)| {
        let told = &resume[channel.as_ref()];
        // A channel that stands twice in `resume` is read twice here and once there.
        subscribe.resume.len() != resume.len()
            || (told["epoch"].as_u64(), told["seq"].as_u64()) == (Some(place.epoch.0), Some(place.seq.0))
    });
    are_texts(&subscribe.channels, &params["channels"]) && is_resumed
}

fn is_message_read_right(call: &MessageCall<'_>, called: &str, params: &Value) -> bool {
    let is = |name: &str, read: Option<&str>| params[name].as_str() == read;
    match call {
        MessageCall::Subscribe { reception, topics, .. } => {
            let told: Vec<&str> =
                params["topics"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            called == "message/subscribe"
                && params["under_way_max"]
                    .as_u64()
                    .is_none_or(|told| told == u64::from(reception.under_way_max))
                && topics.iter().map(|topic| topic.as_str()).eq(told)
        }
        MessageCall::Send { message, delay_ms, content } => {
            let read: Value = serde_json::from_slice(content).expect("what is sent is one value");
            let target = match &message.target {
                Target::User(user) => is("user", Some(user.as_str())),
                Target::Session(session) => params["session"].as_u64() == Some(session.0),
                Target::Group { group, .. } => is("group", Some(group.as_str())),
                Target::Topic(topic) => is("topic", Some(topic.as_str())),
                Target::Type(kind) => is("type", Some(kind.as_str())),
            };
            ["message/send", "group/send"].contains(&called)
                && target
                && read == params["content"]
                && is("id", message.client_id.as_ref().map(|id| id.as_str()))
                && params["ttl_ms"].as_u64() == message.ttl_ms
                && params["deliver_at"].as_u64() == message.deliver_at_ms
                && params["delay_ms"].as_u64() == *delay_ms
                && params["confirm"].as_bool().unwrap_or(false)
                    == (message.guarantee == Guarantee::AtLeastOnce)
        }
        MessageCall::Ask(MessageRequest::Acknowledge { message }) => {
            called == "message/ack" && params["id"].as_u64() == Some(message.0)
        }
        MessageCall::Ask(MessageRequest::JoinGroup { group, weight }) => {
            called == "group/join"
                && is("group", Some(group.as_str()))
                && params["weight"].as_u64().unwrap_or(1) == u64::from(*weight)
        }
        MessageCall::Ask(_) => {
            ["message/", "group/", "presence/"].iter().any(|prefix| called.starts_with(prefix))
        }
    }
}

fn is_order_read_right(call: &OrderCall<'_>, params: &Value) -> bool {
    if call.instrument_name().is_some_and(|name| params["instrument_name"].as_str() != Some(name)) {
        return false;
    }
    let resolved = call.clone().resolve(|_| Some((InstrumentId(1), Amount(UNIT))));
    let Ok(OrderRequest::Place(order)) = resolved else { return true };
    let told = [&params["amount"], &params["contracts"]]
        .into_iter()
        .find_map(|value| value.as_f64().or_else(|| value.as_str()?.parse().ok()))
        .unwrap_or_default();
    let read = order.amount.0 as f64 / UNIT as f64;
    order.instrument == InstrumentId(1) && (read - told).abs() <= told.abs() * 1e-12
}

fn is_read_right(auth: &AuthParams<'_>, params: &Value) -> bool {
    let text = |name: &str| params[name].as_str().unwrap_or_default();
    let is_right = match &auth.grant {
        GrantType::ClientCredentials { client_id, client_secret } => {
            text("grant_type") == "client_credentials"
                && (&**client_id, &**client_secret) == (text("client_id"), text("client_secret"))
        }
        GrantType::ClientSignature { client_id, timestamp_ms, nonce, data, signature } => {
            let digits: String = signature.iter().map(|byte| format!("{byte:02x}")).collect();
            text("grant_type") == "client_signature"
                && (&**client_id, &**nonce, &**data) == (text("client_id"), text("nonce"), text("data"))
                && params["timestamp"].as_u64() == Some(*timestamp_ms)
                && digits.eq_ignore_ascii_case(text("signature"))
        }
        GrantType::RefreshToken { refresh_token } => {
            text("grant_type") == "refresh_token" && **refresh_token == *text("refresh_token")
        }
    };
    is_right && auth.state.as_deref() == params["state"].as_str()
}

fn are_texts(read: &[Cow<'_, str>], value: &Value) -> bool {
    value.as_array().is_some_and(|list| {
        list.len() == read.len() && list.iter().zip(read).all(|(value, text)| value.as_str() == Some(text))
    })
}

/// The reply to a request, if there is to be one.
fn reply_to(parsed: &Parsed<'_>) -> Option<Vec<u8>> {
    let id = parsed.id?;
    let mut out = Vec::new();
    let method = match &parsed.call {
        Err(failure) => {
            json_rpc::write_error(&mut out, id, *failure, STAMPS);
            return Some(out);
        }
        Ok(method) => method,
    };
    json_rpc::open_result(&mut out, id);
    if let Method::Subscribe(subscribe) = method {
        json_rpc::write_channels(&mut out, subscribe.channels.iter().map(AsRef::as_ref));
        let resumed = subscribe.resume.iter().map(|(channel, _)| (channel.as_ref(), Recovery::Recovered));
        json_rpc::write_resumed(&mut out, resumed);
    } else if let Method::Unsubscribe { channels } = method {
        json_rpc::write_channels(&mut out, channels.iter().map(AsRef::as_ref));
    } else if let Method::Auth(auth) = method {
        let login = login(auth.scope.session.clone());
        json_rpc::write_granted(&mut out, &login, &tokens(), auth.state.as_deref());
    } else {
        json_rpc::write_version(&mut out);
    }
    if let Method::Publish { data, .. } = method {
        check_notification(data);
    }
    json_rpc::close_reply(&mut out, STAMPS);
    Some(out)
}

fn check_reply(parsed: &Parsed<'_>, reply: &Reply<'_>) {
    assert_eq!(reply.jsonrpc, "2.0");
    assert_eq!(Some(reply.id.get()), parsed.id.map(Id::as_str), "an id comes back byte for byte");
    let stamps = (reply.us_in, reply.us_out, reply.us_diff, reply.us_in_ns, reply.us_out_ns);
    let (us_in, us_out) = (STAMPS.in_unix_ns / 1000, STAMPS.out_unix_ns / 1000);
    assert_eq!(stamps, (us_in, us_out, us_out - us_in, STAMPS.in_unix_ns, STAMPS.out_unix_ns));
    assert!(!reply.testnet);
    assert_eq!((reply.error.is_some(), reply.result.is_some()), (parsed.call.is_err(), parsed.call.is_ok()));
    match (&parsed.call, &reply.error) {
        (Err(failure), Some(error)) => {
            assert_eq!((error.code, error.message.as_str()), (failure.code, failure.message));
            let told =
                (error.data.get("reason").map(String::as_str), error.data.get("param").map(String::as_str));
            assert_eq!(told, (failure.reason, failure.param));
        }
        (Ok(Method::Subscribe(subscribe)), _) => {
            let channels: Vec<String> = read_part(reply.result);
            assert!(channels.iter().eq(subscribe.channels.iter()));
            let resumed: BTreeMap<String, BTreeMap<String, bool>> = read_part(reply.resumed);
            assert!(subscribe.resume.iter().all(|(channel, _)| resumed[channel.as_ref()]["recovered"]));
        }
        (Ok(Method::Unsubscribe { channels }), _) => {
            let told: Vec<String> = read_part(reply.result);
            assert!(told.iter().eq(channels.iter()));
        }
        (Ok(Method::Auth(auth)), _) => {
            let granted: Value = read_part(reply.result);
            assert_eq!(granted["state"].as_str(), auth.state.as_deref());
            assert_eq!(granted["sid"].as_str(), auth.scope.session.as_deref());
            let last =
                auth.scope.session.as_ref().map_or("connection".to_owned(), |sid| format!("session:{sid}"));
            assert_eq!(
                granted["scope"].as_str().and_then(|scope| scope.split(' ').next_back()),
                Some(&*last)
            );
        }
        (Ok(_) | Err(_), _) => {}
    }
}

fn login(session: Option<Box<str>>) -> Login {
    let credential = Credential {
        client_id: "k".into(),
        account: "a".into(),
        name: "".into(),
        key: Key::Digest([0; 32]),
        scopes: Scopes::ALL,
        subscribe: Patterns::ANY,
        publish: Patterns::none(),
        call: Patterns::ANY,
        created_unix_ms: 0,
        expires_unix_ms: None,
        reach: Reach::Anywhere,
    };
    Login {
        credential: Arc::new(credential),
        account: AccountId(0),
        scopes: Scopes::ALL,
        session,
        grant: None,
        expires_unix_ms: 0,
    }
}

fn tokens() -> Tokens {
    Tokens { access: "a.0.1.00".to_owned(), refresh: "r.0.1.00".to_owned(), expires_in_s: 1 }
}

fn read_part<'a, T: Deserialize<'a>>(part: Option<&'a RawValue>) -> T {
    serde_json::from_str(part.expect("it was written").get()).expect("it is of its type")
}

/// A published value can't break the notification that carries it.
fn check_notification(published: &[u8]) {
    let mut out = Vec::new();
    json_rpc::open_notification(&mut out, b"topic.t");
    json_rpc::write_topic(&mut out, published);
    json_rpc::close_notification(&mut out, Epoch(5), Seq(6), 7);
    let members: BTreeMap<&str, &RawValue> = serde_json::from_slice(&out).expect("a notification is JSON");
    let params: BTreeMap<&str, &RawValue> = serde_json::from_str(members["params"].get()).expect("an object");
    assert_eq!(params["data"].get().as_bytes(), published);
    let rest = ["channel", "epoch", "seq", "ns"].map(|name| params[name].get());
    assert_eq!((params.len(), rest), (5, ["\"topic.t\"", "5", "6", "7"]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_depth_and_surrogates_as_documented() {
        assert_eq!(["1", "[]", r#"[{"[[\"[":[]}]"#].map(deepest), [0, 1, 3]);
        for (text, expected) in [
            (r#""\ud83d\ude00""#, true),
            (r#""\ud83d""#, false),
            (r#""\ude00""#, false),
            (r#""\ud83dx\ude00""#, false),
            (r#""\ud83d\n""#, false),
            (r#""\\ud83d""#, true),
            (r#""\u00e9\\\ud83d\ude00""#, true),
            (r#"["\ud83d","\ude00"]"#, false),
        ] {
            assert_eq!(surrogates_are_paired(text), expected, "{text}");
        }
    }
}
