//! Messages on a shard, whose office the tests are: who gets what in which order and in which frames, and what the office hears.

use serde_json::{Value, json};

use super::deflate::{deflating, inflated};
use super::http_api::{answers, open, post, say};
use super::private::{log_in, login};
use super::*;
use crate::auth::{Credential, Patterns, Verdict};
use crate::dialect::json_rpc::{self, Failure};
use crate::model::message::*;
use crate::model::order::{AccountId, Label};

const SCOPES: &str = "message:read_write trade:read";

/// What an office was asked and told.
#[derive(Debug, Default)]
pub(super) struct OfficeByHand {
    pub(super) asked: Vec<(MessageAsk, Vec<u8>)>,
    pub(super) written: Vec<(Client, u32)>,
}

fn label(text: &str) -> Label {
    Label::parse(text).unwrap()
}

fn world(shards: u8, config: &HubConfig) -> World {
    let mut world = World::with(shards, config);
    world.office = Some(OfficeByHand::default());
    world
}

fn request(id: u64, method: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()
}

impl World {
    fn member(&mut self, shard: usize, slot: u32, account: u32) -> ConnId {
        let conn = self.connect(shard, slot);
        log_in(self, shard, conn, login(account, SCOPES));
        conn
    }

    /// What was asked since this was last called.
    fn asked_office(&mut self) -> Vec<(MessageAsk, Vec<u8>)> {
        std::mem::take(&mut self.office.as_mut().unwrap().asked)
    }

    /// How much was written to whom since this was last called.
    fn written(&mut self) -> Vec<(ConnId, u32)> {
        let written = std::mem::take(&mut self.office.as_mut().unwrap().written);
        written.into_iter().map(|(client, count)| (client.conn, count)).collect()
    }

    fn say_all(&mut self, shard: usize, outputs: impl IntoIterator<Item = MessageOutput>) {
        for output in outputs {
            self.market.say_message(HomeId(shard as u8), output);
        }
        self.carry();
    }

    /// Answers the only question.
    fn answer_office(&mut self, outcome: Result<MessageAnswer, MessageRefusal>) {
        let asked = self.asked_office();
        assert_eq!(asked.len(), 1, "{asked:?}");
        let MessageAsk { ticket, client, .. } = asked[0].0;
        self.say_all(client.home.index(), [MessageOutput::Answer { to: client.home, ticket, outcome }]);
    }

    /// A connection that subscribes to messages, so.
    fn subscribe_messages(&mut self, shard: usize, conn: ConnId, params: &Value) {
        self.send(shard, conn, &request(1, "message/subscribe", params));
        self.answer_office(Ok(MessageAnswer::Subscribed { session: SessionId(9), waiting: 0 }));
        assert_eq!(self.texts(shard, conn)[0]["result"], json!({"session": 9, "waiting": 0}));
    }

    fn listener(&mut self, shard: usize, slot: u32, account: u32) -> ConnId {
        let conn = self.member(shard, slot, account);
        self.subscribe_messages(shard, conn, &json!({}));
        conn
    }
}

fn delivery(shard: usize, conn: ConnId, id: u64, priority: Priority, content: &str) -> Delivery {
    Delivery {
        client: Client { home: HomeId(shard as u8), conn },
        message: MessageId(id),
        from: label("account9"),
        by: None,
        priority,
        confirm: false,
        attempt: 1,
        is_redelivered: false,
        sent_ms: 5,
        deliver_at_ms: None,
        expires_ms: None,
        client_id: None,
        reply_to: None,
        content: content.as_bytes().into(),
    }
}

fn normal(conn: ConnId, id: u64) -> MessageOutput {
    MessageOutput::Deliver(delivery(0, conn, id, Priority::Normal, "1"))
}

fn receipt(conn: ConnId, id: u64) -> MessageOutput {
    let status = MessageStatus {
        message: MessageId(id),
        to: label("account2"),
        priority: Priority::Low,
        guarantee: Guarantee::FireAndForget,
        state: MessageState::Delivered,
        attempts: 1,
        sent_ms: 5,
        next_ms: None,
        expires_ms: None,
        client_id: None,
    };
    let client = Client { home: HomeId(0), conn };
    MessageOutput::Receipt { client, receipt: Receipt { status, cause: None, at_ms: 6 } }
}

fn ids(texts: &[Value]) -> Vec<u64> {
    texts.iter().filter_map(|text| text["params"]["id"].as_u64()).collect()
}

#[test]
fn a_subscribe_and_a_send_say_whose_they_are_and_what_they_want() {
    let mut world = world(2, &config());
    let conn = world.member(1, 3, 7);
    world.send(1, conn, &request(1, "message/subscribe", &json!({"under_way_max": 5, "topics": ["a"]})));
    let asked = world.asked_office();
    let MessageAsk { account, user, client, is_connection, .. } = asked[0].0;
    assert_eq!((account, user.as_str(), is_connection), (AccountId(7), "account7", true));
    assert_eq!(client, Client { home: HomeId(1), conn });
    let reception = Reception { under_way_max: 5 };
    assert_eq!(asked[0].0.request, MessageRequest::Subscribe { reception, topics: [label("a")].into() });
    let params = json!({"user": "account2", "delay_ms": 1500, "content": [1, {"a": null}]});
    world.send(1, conn, &request(2, "message/send", &params));
    let (ask, content) = world.asked_office().remove(0);
    assert_eq!(content, br#"[1,{"a":null}]"#);
    let MessageRequest::Send(message) = ask.request else { panic!("{ask:?}") };
    let due_ms = world.now.unix_ns / 1_000_000 + 1_500;
    assert_eq!((message.deliver_at_ms, message.guarantee), (Some(due_ms), Guarantee::FireAndForget));
}

#[test]
fn the_reply_to_a_subscribe_comes_before_the_first_message_though_it_is_in_a_batch() {
    let mut world = world(1, &config());
    let conn = world.member(0, 0, 1);
    let (subscribe, status) =
        (request(1, "message/subscribe", &json!({})), request(2, "message/status", &json!({"id": 5})));
    world.send(0, conn, &format!("[{subscribe},{status}]"));
    let asked = world.asked_office();
    let answer =
        |at: usize, outcome| MessageOutput::Answer { to: HomeId(0), ticket: asked[at].0.ticket, outcome };
    let subscribed = MessageAnswer::Subscribed { session: SessionId(9), waiting: 1 };
    world.say_all(0, [answer(0, Ok(subscribed)), normal(conn, 17)]);
    assert_eq!(world.texts(0, conn), Vec::<Value>::new(), "the batch is not answered");
    world.say_all(0, [answer(1, Err(MessageRefusal::MessageNotFound))]);
    let texts = world.texts(0, conn);
    assert_eq!(
        (texts.len(), texts[0][0]["id"].clone(), texts[1]["method"].clone()),
        (2, json!(1), json!("message"))
    );
}

#[test]
fn messages_come_by_priority_behind_replies_and_reports_and_before_the_market() {
    let mut world = world(1, &config());
    world.feed(list("BTC-PERPETUAL"));
    let conn = world.listener(0, 0, 1);
    world.send(0, conn, &subscribe("trades.BTC-PERPETUAL.raw"));
    assert_eq!(world.texts(0, conn).len(), 1);
    world.feed(trade(100));
    let of = |id, priority| MessageOutput::Deliver(delivery(0, conn, id, priority, r#"{"x":  1}"#));
    world.say_all(
        0,
        [
            of(1, Priority::Low),
            of(2, Priority::Normal),
            of(3, Priority::Low),
            of(4, Priority::High),
            of(5, Priority::Critical),
            of(6, Priority::High),
            of(7, Priority::Critical),
        ],
    );
    world.send(0, conn, r#"{"jsonrpc":"2.0","id":8,"method":"public/test"}"#);
    let texts = world.texts(0, conn);
    assert_eq!(texts[0]["id"], 8);
    assert_eq!(ids(&texts), [5, 7, 4, 6, 2, 1, 3]);
    assert_eq!(texts.last().unwrap()["params"]["channel"], "trades.BTC-PERPETUAL.raw");
    assert_eq!(texts[1]["params"]["content"], json!({"x": 1}));
    assert_eq!(texts.len(), 9);
}

#[test]
fn a_critical_message_is_sent_at_once_and_another_waits_for_the_pace() {
    let mut world = world(1, &config());
    let conn = world.listener(0, 0, 1);
    while world.hubs[0].poll_ready(Urgency::Any).is_some() {}
    world.say_all(0, [normal(conn, 1)]);
    assert_eq!(world.hubs[0].poll_ready(Urgency::Reply), None);
    world.say_all(0, [MessageOutput::Deliver(delivery(0, conn, 2, Priority::Critical, "1"))]);
    assert_eq!(world.hubs[0].poll_ready(Urgency::Reply), Some(conn));
    assert_eq!(ids(&world.texts(0, conn)), [2, 1]);
}

#[test]
fn a_long_message_goes_in_parts_and_a_critical_one_follows_its_end() {
    let mut world = world(1, &config());
    let conn = world.listener(0, 0, 1);
    let long = format!("\"{}\"", "x".repeat(20_000));
    world.say_all(0, [MessageOutput::Deliver(delivery(0, conn, 1, Priority::Low, &long))]);
    let mut first = [0; 4096];
    assert_eq!(world.hubs[0].poll_transmit(conn, &mut first), 4096);
    world.say_all(0, [MessageOutput::Deliver(delivery(0, conn, 2, Priority::Critical, "1"))]);
    world.hubs[0].handle_sent(conn, world.now);
    let rest = world.take(0, conn);
    let sent = [&first[..], &rest].concat();
    let begun = crate::ws::frame::frame_len(&sent);
    let value: Value = serde_json::from_slice(crate::ws::frame::frame_payload(&sent[..begun])).unwrap();
    assert_eq!((value["params"]["id"].clone(), sent.len() - begun < 400), (json!(1), true));
    world.carry();
    assert_eq!(world.written(), [(conn, 1), (conn, 1)]);
}

#[test]
fn the_office_hears_of_what_is_written_and_needs_no_confirmation() {
    let mut world = world(1, &config());
    let conn = world.listener(0, 0, 1);
    let confirmed = Delivery { confirm: true, ..delivery(0, conn, 2, Priority::Normal, "1") };
    let presence = Presence { user: label("account2"), is_present: true, since_ms: None, sessions: 1 };
    let client = Client { home: HomeId(0), conn };
    world.say_all(
        0,
        [
            normal(conn, 1),
            MessageOutput::Deliver(confirmed),
            receipt(conn, 3),
            MessageOutput::Presence { client, presence },
        ],
    );
    assert_eq!(world.written(), [], "nothing is written yet");
    let texts = world.texts(0, conn);
    let methods: Vec<_> = texts.iter().map(|text| text["method"].as_str().unwrap()).collect();
    assert_eq!(methods, ["message", "message", "message_receipt", "presence"]);
    world.carry();
    assert_eq!(world.written(), [(conn, 3)]);
    world.say_all(
        0,
        [MessageOutput::Deliver(Delivery { confirm: true, ..delivery(0, conn, 5, Priority::Low, "1") })],
    );
    assert_eq!(world.texts(0, conn).len(), 1);
    world.carry();
    assert_eq!(world.written(), []);
}

#[test]
fn messages_that_wait_leave_in_one_frame_where_a_client_asks_for_that_and_critical_ones_alone() {
    let mut world = world(1, &config());
    let conn = world.member(0, 0, 1);
    world.subscribe_messages(0, conn, &json!({"batch": {"messages_max": 3}}));
    let of = |id, priority| MessageOutput::Deliver(delivery(0, conn, id, priority, "1"));
    world.say_all(0, (1..=4).map(|id| normal(conn, id)).chain([receipt(conn, 5), of(6, Priority::Critical)]));
    let texts = world.texts(0, conn);
    assert_eq!(ids(&texts[..1]), [6]);
    assert_eq!(ids(texts[1].as_array().unwrap()), [1, 2, 3]);
    let methods: Vec<_> = texts[2].as_array().unwrap().iter().map(|text| text["method"].clone()).collect();
    assert_eq!((methods, texts.len()), (vec![json!("message"), json!("message_receipt")], 3));
    world.carry();
    assert_eq!(world.written(), [(conn, 6)]);
    world.say_all(0, [normal(conn, 7)]);
    assert_eq!(ids(&world.texts(0, conn)), [7], "one by itself is no array");
}

#[test]
fn a_batch_is_no_longer_than_its_client_asks_for() {
    let mut world = world(1, &config());
    let conn = world.member(0, 0, 1);
    world.subscribe_messages(0, conn, &json!({"batch": {"bytes_max": 16_384}}));
    let content = format!("\"{}\"", "x".repeat(5_000));
    let outputs = (1..=6).map(|id| MessageOutput::Deliver(delivery(0, conn, id, Priority::Low, &content)));
    world.say_all(0, outputs.collect::<Vec<_>>());
    let mut out = vec![0; 65_536];
    let written = world.hubs[0].poll_transmit(conn, &mut out);
    let (mut rest, mut counts) = (&out[..written], Vec::new());
    while !rest.is_empty() {
        let (frame, after) = rest.split_at(crate::ws::frame::frame_len(rest));
        let value: Value = serde_json::from_slice(crate::ws::frame::frame_payload(frame)).unwrap();
        assert!(frame.len() <= 16_384);
        counts.push(value.as_array().unwrap().len());
        rest = after;
    }
    assert_eq!(counts, [3, 3], "of 5,000 bytes and some 300 more");
}

#[test]
fn long_messages_are_compressed_for_whom_asks_and_has_agreed_on_it() {
    let mut world = world(1, &deflating());
    let plain = world.member(0, 0, 1);
    world.send(0, plain, &request(1, "message/subscribe", &json!({"compress_from_bytes": 100})));
    let error = world.texts(0, plain).remove(0)["error"].clone();
    assert_eq!(error["data"]["param"], "compress_from_bytes");
    let conn = world.connect_with_window(0, 1, 12);
    log_in(&mut world, 0, conn, login(2, SCOPES));
    world.subscribe_messages(0, conn, &json!({"compress_from_bytes": 1_000}));
    let long = format!("\"{}\"", "x".repeat(5_000));
    let outputs = [normal(conn, 1), MessageOutput::Deliver(delivery(0, conn, 2, Priority::Normal, &long))];
    world.say_all(0, outputs.clone());
    let frames = inflated(&mut world, 0, conn, 12);
    assert_eq!(frames.iter().map(|(is_deflated, _)| *is_deflated).collect::<Vec<_>>(), [false, true]);
    assert!(frames[1].1.contains(&long));
    assert_eq!(world.hubs[0].counters().messages_deflated_total, 1);
    // What a turn compresses is bounded; beyond that it goes as it is.
    let longest = format!("\"{}\"", "x".repeat(60_000));
    let outputs = (3..=6).map(|id| MessageOutput::Deliver(delivery(0, conn, id, Priority::Normal, &longest)));
    world.say_all(0, outputs.collect::<Vec<_>>());
    let frames = inflated(&mut world, 0, conn, 12);
    assert_eq!(
        frames.iter().map(|(is_deflated, _)| *is_deflated).collect::<Vec<_>>(),
        [true, true, true, false]
    );
}

#[test]
fn who_does_not_subscribe_gets_nothing_and_who_unsubscribes_nothing_more() {
    let mut world = world(1, &config());
    let stranger = world.member(0, 0, 1);
    world.say_all(0, [normal(stranger, 1), receipt(stranger, 2)]);
    assert_eq!(world.texts(0, stranger), Vec::<Value>::new());
    let conn = world.listener(0, 1, 2);
    world.say_all(0, [normal(conn, 3)]);
    world.hubs[0].handle_bytes(conn, &mut frame(&request(2, "message/unsubscribe", &json!({}))), world.now);
    // It was under way: the office has it delivered elsewhere, or later.
    world.say_all(0, [normal(conn, 4)]);
    world.answer_office(Ok(MessageAnswer::Done));
    let texts = world.texts(0, conn);
    assert_eq!((texts.len(), texts[0]["result"].clone()), (1, json!("ok")));
    assert_eq!(world.hubs[0].counters().messages_too_late_total, 3);
    world.carry();
    assert_eq!(world.written(), []);
}

#[test]
fn who_becomes_another_account_gets_nothing_of_the_first_one_s() {
    let mut world = world(1, &config());
    let conn = world.listener(0, 0, 1);
    world.say_all(0, [normal(conn, 1)]);
    log_in(&mut world, 0, conn, login(2, SCOPES));
    assert_eq!(world.departed.len(), 1);
    world.say_all(0, [normal(conn, 2)]);
    assert_eq!(world.texts(0, conn), Vec::<Value>::new());
    world.subscribe_messages(0, conn, &json!({}));
    world.say_all(0, [normal(conn, 3)]);
    assert_eq!(ids(&world.texts(0, conn)), [3]);
}

#[test]
fn an_answer_for_the_account_before_opens_nothing_to_the_next_one() {
    let mut world = world(1, &config());
    let conn = world.member(0, 0, 1);
    world.send(0, conn, &request(1, "message/subscribe", &json!({})));
    let asked = world.asked_office();
    log_in(&mut world, 0, conn, login(2, SCOPES));
    world.send(0, conn, &request(2, "message/pending", &json!({})));
    let outcome = Ok(MessageAnswer::Subscribed { session: SessionId(9), waiting: 1 });
    let answer = MessageOutput::Answer { to: HomeId(0), ticket: asked[0].0.ticket, outcome };
    world.say_all(0, [answer, normal(conn, 1)]);
    let texts = world.texts(0, conn);
    assert_eq!((texts.len(), texts[0]["id"].clone()), (1, json!(1)));
}

#[test]
fn a_log_in_with_less_scope_or_by_another_key_ends_the_subscription_and_a_newer_token_does_not() {
    for (scopes, client_id, goes_on) in
        [(SCOPES, "key1", true), ("trade:read", "key1", false), (SCOPES, "key1b", false)]
    {
        let mut world = world(1, &config());
        let conn = world.listener(0, 0, 1);
        let mut again = login(1, scopes);
        let credential = Credential { client_id: client_id.into(), ..(*again.credential).clone() };
        again.credential = Arc::new(credential);
        log_in(&mut world, 0, conn, again);
        let asked = world.asked_office();
        let ended = asked.iter().any(|(ask, _)| ask.request == MessageRequest::Unsubscribe);
        world.say_all(0, [normal(conn, 1)]);
        assert_eq!(
            (ended, world.texts(0, conn).len()),
            (!goes_on, usize::from(goes_on)),
            "{scopes} {client_id}"
        );
        let answers = asked.into_iter().map(|(ask, _)| MessageOutput::Answer {
            to: HomeId(0),
            ticket: ask.ticket,
            outcome: Ok(MessageAnswer::Done),
        });
        world.say_all(0, answers.collect::<Vec<_>>());
        assert_eq!(world.texts(0, conn), Vec::<Value>::new());
        assert_eq!(world.hubs[0].occupancy().asks, 0);
    }
}

#[test]
fn who_does_not_read_is_closed_at_the_bound_and_nothing_of_it_is_left() {
    let mut world = world(1, &config());
    let conn = world.listener(0, 0, 1);
    let count = limits::MESSAGES_WAITING_MAX as u64;
    world.say_all(0, (1..=count).map(|id| normal(conn, id)).collect::<Vec<_>>());
    assert_eq!(world.count(Closing::MessagesUnread), 0);
    assert!(world.hubs[0].occupancy().held_message_bytes > 0);
    assert_eq!(world.hubs[0].waiting_bytes(conn).messages, world.hubs[0].occupancy().held_message_bytes);
    world.say_all(0, [normal(conn, count + 1)]);
    assert_eq!(world.count(Closing::MessagesUnread), 1);
    assert_eq!(world.texts(0, conn), [json!({"close": 1008})]);
    assert_eq!(world.departed.len(), 1, "the office hears that it is gone");
    world.hubs[0].handle_closed(conn, world.now);
    world.carry();
    assert_eq!(world.hubs[0].occupancy().total(), 0);
}

#[test]
fn the_bytes_of_what_waits_are_bounded_too_though_one_message_may_be_any() {
    let mut world = world(1, &config());
    let conn = world.listener(0, 0, 1);
    let content: Arc<[u8]> =
        format!("\"{}\"", "x".repeat(limits::MESSAGE_BYTES_WAITING_MAX)).into_bytes().into();
    let long = Delivery { content, ..delivery(0, conn, 1, Priority::Low, "") };
    world.say_all(0, [MessageOutput::Deliver(long.clone())]);
    assert_eq!(world.count(Closing::MessagesUnread), 0);
    world.say_all(0, [MessageOutput::Deliver(long)]);
    assert_eq!(world.count(Closing::MessagesUnread), 1);
}

#[test]
fn what_the_office_refuses_is_an_error_and_what_needs_another_scope_is_not_asked() {
    let mut world = world(1, &config());
    let conn = world.member(0, 0, 1);
    world.send(0, conn, &request(1, "message/ack", &json!({"id": 17})));
    world.answer_office(Err(MessageRefusal::NotDelivered));
    let Failure { code, reason, .. } = json_rpc::message_failure(MessageRefusal::NotDelivered);
    let error = world.texts(0, conn).remove(0)["error"].clone();
    assert_eq!((error["code"].clone(), error["data"]["reason"].as_str()), (json!(code), reason));
    world.send(0, conn, &request(2, "message/dead_letters/list", &json!({})));
    let error = world.texts(0, conn).remove(0)["error"].clone();
    assert_eq!(
        (error["code"].clone(), error["data"]["reason"].clone()),
        (json!(13021), json!("needs scope message:admin"))
    );
    let nobody = world.connect(0, 1);
    world.send(0, nobody, &request(3, "message/pending", &json!({})));
    assert_eq!(world.texts(0, nobody)[0]["error"]["code"], 13009);
    assert_eq!(world.asked_office(), []);
}

#[test]
fn a_topic_takes_the_right_to_publish_and_to_subscribe() {
    let config = HubConfig { publishing: Publishing::ByKey, public_subscribe: Patterns::none(), ..config() };
    let mut world = world(1, &config);
    let conn = world.member(0, 0, 1);
    world.send(0, conn, &request(1, "message/send", &json!({"topic": "alerts", "content": 1})));
    world.send(0, conn, &request(2, "message/subscribe", &json!({"topics": ["alerts"]})));
    let texts = world.texts(0, conn);
    let params: Vec<_> = texts.iter().map(|text| text["error"]["data"]["param"].as_str().unwrap()).collect();
    assert_eq!((params, texts[0]["error"]["code"].clone()), (vec!["topic", "topics"], json!(13021)));
    let mut allowed = login(1, SCOPES);
    let credential = Credential {
        subscribe: Patterns::new(["topic.alerts"]),
        publish: Patterns::new(["alerts"]),
        call: Patterns::ANY,
        ..(*allowed.credential).clone()
    };
    allowed.credential = Arc::new(credential);
    log_in(&mut world, 0, conn, allowed);
    world.send(0, conn, &request(3, "message/send", &json!({"topic": "alerts", "content": 1})));
    world.send(0, conn, &request(4, "message/subscribe", &json!({"topics": ["alerts"]})));
    assert_eq!(world.asked_office().len(), 2);
}

#[test]
fn over_http_a_message_is_sent_and_confirmed_but_nothing_is_subscribed_to() {
    let mut world = world(1, &config());
    let conn = open(&mut world, 0);
    let bearer = "Authorization: Bearer a.b\r\n";
    say(&mut world, 0, conn, &post("/message/subscribe", bearer, "{}"));
    let Some(LoginQuestion::Judge { ticket, .. }) = world.hubs[0].poll_question() else {
        panic!("what it shows is judged")
    };
    let login = login(7, SCOPES);
    world.hubs[0].handle_verdict(ticket, Verdict::Granted { login, tokens: None }, world.now);
    world.carry();
    assert_eq!(answers(&mut world, 0, conn)[0].0, 400);
    say(&mut world, 0, conn, &post("/message/send", bearer, r#"{"user":"account2","content":{"a":1}}"#));
    world.carry();
    let (ask, content) = world.asked_office().remove(0);
    assert_eq!((ask.is_connection, ask.user.as_str(), &content[..]), (false, "account7", &br#"{"a":1}"#[..]));
    let accepted = MessageAnswer::Accepted {
        first: MessageId(17),
        count: 1,
        state: MessageState::Queued,
        is_repeated: false,
    };
    let answer = MessageOutput::Answer { to: HomeId(0), ticket: ask.ticket, outcome: Ok(accepted) };
    world.say_all(0, [answer]);
    let (status, _, body) = answers(&mut world, 0, conn).remove(0);
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, body["result"]["id"].clone()), (200, json!(17)));
    world.hubs[0].handle_closed(conn, world.now);
    world.carry();
    assert_eq!((world.departed.len(), world.hubs[0].occupancy().total()), (0, 0));
}

#[test]
fn a_window_of_four_lets_a_hundred_messages_through_as_they_are_written_and_a_critical_one_past_it() {
    let mut world = World::with(2, &config());
    let (alice, bob) = (world.member(0, 0, 1), world.member(1, 0, 2));
    world.send(1, bob, &request(1, "message/subscribe", &json!({"under_way_max": 4})));
    assert_eq!(world.texts(1, bob)[0]["result"]["waiting"], 0);
    for content in 0..100 {
        let params = json!({"user": "account2", "content": content});
        world.send(0, alice, &request(content, "message/send", &params));
    }
    let params = json!({"user": "account2", "priority": "critical", "content": "halt"});
    world.send(0, alice, &request(100, "message/send", &params));
    let replies = world.texts(0, alice);
    assert!(replies.iter().all(|reply| reply["result"]["state"] == "queued"), "{replies:?}");
    let mut got = Vec::new();
    loop {
        let texts = world.texts(1, bob);
        if texts.is_empty() {
            break;
        }
        assert!(texts.len() <= 4 + usize::from(got.is_empty()), "{} at a time", texts.len());
        got.extend(texts.into_iter().map(|text| text["params"]["content"].clone()));
        world.carry();
    }
    let expected = [json!("halt")].into_iter().chain((0..100).map(|content| json!(content)));
    assert_eq!(got, expected.collect::<Vec<_>>());
    for (shard, conn) in [(0, alice), (1, bob)] {
        world.hubs[shard].handle_closed(conn, world.now);
        world.carry();
        assert_eq!(world.hubs[shard].occupancy().total(), 0);
    }
}
