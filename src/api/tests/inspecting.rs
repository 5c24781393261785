//! What shards say of connections and topics, put together.

use super::*;
use crate::api::connections::{Asked, Order, Place, Told, TraceAsked};
use crate::api::shards::{self, ShardState};
use crate::api::{publish, topics};
use crate::hub::batch::PublishRefusal;
use crate::hub::inspect::{
    ConnectionOrder, ConnectionRow, ConnectionState, SendTimes, TopicOrder, TopicRow, TraceOutcome,
};
use crate::model::channel::{MarketChannel, TopicKey, TopicName};
use crate::model::encoding::Encoding;
use crate::model::ids::{ConnId, Epoch, InstrumentId, Position, Seq};
use crate::model::instrument::Symbol;

fn connection(slot: u32, queued_bytes: u64) -> ConnectionRow {
    ConnectionRow {
        conn: ConnId { slot, generation: 9 },
        peer: "192.0.2.1:5000".parse().ok(),
        state: ConnectionState::Open,
        dialect: Some("json-rpc"),
        client_id: Some("desk".into()),
        age_ns: 12_345_678,
        topics: 2,
        queued_bytes,
        deliveries_total: 7,
        conflated_total: 3,
        sends: None,
    }
}

fn told(shard: usize, slots: &[u32], is_cut: bool) -> Told {
    Told { shard, rows: Some(slots.iter().map(|slot| connection(*slot, 0)).collect()), is_cut }
}

fn body(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body.text).unwrap()
}

/// Shards and slots of a page, and its `next`.
fn page(query: &str, told: Vec<Told>) -> (Vec<(u64, String)>, Value) {
    let body = body(&connections::answer(Asked::read(query, 3).unwrap(), told));
    let rows = body["connections"].as_array().unwrap().iter();
    let ids = rows.map(|row| (row["shard"].as_u64().unwrap(), row["id"].as_str().unwrap().to_owned()));
    (ids.collect(), body["next"].clone())
}

fn ids(ids: &[(u64, &str)]) -> Vec<(u64, String)> {
    ids.iter().map(|(shard, id)| (*shard, (*id).to_owned())).collect()
}

#[test]
fn a_connection_bears_the_names_that_scripts_know() {
    let asked = Asked::read("", 1).unwrap();
    let mut row = connection(3, 5);
    row.sends = Some(SendTimes { counts: [1, 2, 0, 0, 0, 4] });
    let told = vec![Told { shard: 0, rows: Some(vec![row]), is_cut: false }];
    let body = body(&connections::answer(asked, told));
    assert_eq!(
        body["connections"][0],
        json!({
            "shard": 0, "id": "3.9", "peer": "192.0.2.1:5000", "state": "open", "age_ms": 12,
            "dialect": "json-rpc", "client_id": "desk", "topics": 2, "queued_bytes": 5,
            "deliveries_total": 7, "conflated_total": 3,
            "sends": [
                {"le_ns": 100_000, "count": 1}, {"le_ns": 1_000_000, "count": 2},
                {"le_ns": 10_000_000, "count": 0}, {"le_ns": 100_000_000, "count": 0},
                {"le_ns": 1_000_000_000, "count": 0}, {"le_ns": null, "count": 4},
            ],
        })
    );
    assert_eq!((&body["next"], &body["silent"]), (&Value::Null, &json!([])));
}

#[test]
fn a_page_ends_where_the_next_begins() {
    // Shard 0 has more; what shard 1 said as well is for a later page.
    let first = page("limit=2", vec![told(0, &[0, 4], true), told(1, &[1], false), told(2, &[], false)]);
    assert_eq!(first, (ids(&[(0, "0.9"), (0, "4.9")]), json!("0.4")));
    let asked = Asked::read("limit=2&after=0.4", 3).unwrap();
    assert_eq!(asked.order, Order::From(Place { shard: 0, slot: 5 }));
    assert_eq!(asked.of_shard(0), Some(ConnectionOrder::FromSlot(5)));
    assert_eq!(asked.of_shard(1), Some(ConnectionOrder::FromSlot(0)));
    let second =
        page("limit=2&after=0.4", vec![told(0, &[7], false), told(1, &[1], false), told(2, &[3], false)]);
    assert_eq!(second, (ids(&[(0, "7.9"), (1, "1.9")]), json!("1.1")));
    let asked = Asked::read("after=1.1", 3).unwrap();
    assert_eq!(asked.of_shard(0), None, "it is behind us");
    let last = page("limit=2&after=1.1", vec![told(1, &[], false), told(2, &[3], false)]);
    assert_eq!(last, (ids(&[(2, "3.9")]), Value::Null));
    assert_eq!(page("limit=2&after=2.3", vec![told(2, &[], false)]), (vec![], Value::Null));
}

#[test]
fn a_shard_that_is_silent_is_named_and_not_waited_for_by_the_next_page() {
    let silent = Told { shard: 1, rows: None, is_cut: false };
    let asked = Asked::read("limit=2", 3).unwrap();
    let body = body(&connections::answer(asked, vec![told(0, &[0], false), silent, told(2, &[1, 2], true)]));
    assert_eq!((&body["silent"], &body["next"]), (&json!([1]), &json!("2.1")));
}

#[test]
fn one_shard_may_be_asked_alone_and_the_slowest_of_all_come_first() {
    let asked = Asked::read("shard=1&sort=queued", 2).unwrap();
    assert_eq!((asked.of_shard(0), asked.of_shard(1)), (None, Some(ConnectionOrder::Queued)));
    let rows =
        |queued: &[u64]| Some((0..).zip(queued).map(|(slot, bytes)| connection(slot, *bytes)).collect());
    let told = vec![
        Told { shard: 0, rows: rows(&[5, 900]), is_cut: false },
        Told { shard: 1, rows: rows(&[70, 900, 1]), is_cut: false },
    ];
    let slowest = page("sort=queued&limit=3", told);
    assert_eq!(slowest, (ids(&[(0, "1.9"), (1, "1.9"), (1, "0.9")]), Value::Null));
}

#[test]
fn odd_questions_are_refused_and_long_ones_cut() {
    for odd in [
        "shard=2",
        "shard=x",
        "limit=0",
        "limit=-1",
        "limit=",
        "after=1",
        "after=x.1",
        "after=0.4294967295",
        "sort=age",
        "sort=queued&after=0.1",
    ] {
        assert_eq!(Asked::read(odd, 2).unwrap_err().status, 400, "{odd}");
    }
    assert_eq!(Asked::read("limit=99999", 2).unwrap().limit, 1000);
    assert_eq!(Asked::read("", 2).unwrap().limit, 100);
    for odd in ["sort=name", "limit=0"] {
        assert_eq!(topics::Asked::read(odd).unwrap_err().status, 400, "{odd}");
    }
}

fn topic(name: &str, subscribers: u64, deliveries_total: u64, seq: u64) -> TopicRow {
    let key = TopicKey::Client(TopicName::parse(name.as_bytes()).unwrap());
    TopicRow { key, symbol: None, subscribers, deliveries_total, seq: Seq(seq) }
}

#[test]
fn topics_are_summed_over_shards() {
    let ask = |query: &str| {
        let told = vec![
            (0, Some(vec![topic("a", 1, 10, 5), topic("b", 9, 4, 2)])),
            (1, Some(vec![topic("a", 2, 20, 4), topic("c", 1, 30, 1)])),
            (2, None),
        ];
        body(&topics::answer(topics::Asked::read(query).unwrap(), told))
    };
    let by_deliveries = ask("limit=2");
    assert_eq!(
        by_deliveries,
        json!({
            "topics": [
                {"topic": "topic.a", "encoding": "json", "account": null, "subscribers": 3, "deliveries_total": 30, "seq": 5},
                {"topic": "topic.c", "encoding": "json", "account": null, "subscribers": 1, "deliveries_total": 30, "seq": 1},
            ],
            "silent": [2],
        })
    );
    assert_eq!(ask("sort=subscribers")["topics"][0]["topic"], "topic.b");
    assert_eq!(topics::Asked::read("sort=deliveries").unwrap().order, TopicOrder::Deliveries);
}

#[test]
fn a_channel_in_each_encoding_is_a_topic_of_its_own() {
    let quote = |encoding, subscribers| TopicRow {
        key: TopicKey::Market { instrument: InstrumentId(0), channel: MarketChannel::Quote, encoding },
        symbol: Symbol::parse(b"A").ok(),
        subscribers,
        deliveries_total: 0,
        seq: Seq(1),
    };
    let told = vec![
        (0, Some(vec![quote(Encoding::Json, 1), quote(Encoding::Sbe, 4)])),
        (1, Some(vec![quote(Encoding::Sbe, 5)])),
    ];
    let topics =
        body(&topics::answer(topics::Asked::read("sort=subscribers").unwrap(), told))["topics"].take();
    let seen: Vec<_> = topics
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (&row["topic"], &row["encoding"], row["subscribers"].as_u64()))
        .collect();
    let name = json!("quote.A");
    assert_eq!(seen, [(&name, &json!("sbe"), Some(9)), (&name, &json!("json"), Some(1))]);
}

#[test]
fn who_is_to_be_timed_is_named_as_in_the_list() {
    let (asked, conn) = TraceAsked::read(br#"{"shard":1,"id":"3.9","traced":true}"#).unwrap();
    assert_eq!((asked.shard, conn), (1, ConnId { slot: 3, generation: 9 }));
    for odd in ["", "{}", r#"{"shard":1,"id":"3","traced":true}"#, r#"{"shard":1,"id":"3.9","traced":1}"#] {
        assert_eq!(TraceAsked::read(odd.as_bytes()).unwrap_err().status, 400, "{odd}");
    }
    let status = |outcome| asked.answered(outcome).status;
    let outcomes = [Some(TraceOutcome::Done), Some(TraceOutcome::Gone), Some(TraceOutcome::Full), None];
    assert_eq!(outcomes.map(status), [200, 404, 409, 504]);
}

#[test]
fn lists_are_as_the_document_says() {
    let document = World::new([0, 0]).value(Route::OpenApi, "").1;
    let schemas = &document["components"]["schemas"];
    let connections = body(&connections::answer(Asked::read("", 1).unwrap(), vec![told(0, &[1], false)]));
    check_schema(&schemas["Connections"], &connections, "Connections");
    check_schema(&schemas["Connection"], &connections["connections"][0], "Connection");
    let topics =
        body(&topics::answer(topics::Asked::read("").unwrap(), vec![(0, Some(vec![topic("a", 1, 1, 1)]))]));
    check_schema(&schemas["Topics"], &topics, "Topics");
    check_schema(&schemas["Topic"], &topics["topics"][0], "Topic");
}

#[test]
fn what_is_published_is_checked_as_a_clients_is_and_stays_as_it_was_written() {
    let (name, payload) = publish::read(br#" {"payload": {"a" : [1,2]} , "topic":"topic.a/b"} "#).unwrap();
    assert_eq!((name.as_str(), payload), ("a/b", &br#"{"a" : [1,2]}"#[..]));
    let deep = |depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        publish::read(format!(r#"{{"topic":"topic.a","payload":{open}{close}}}"#).as_bytes()).is_ok()
    };
    let max = crate::dialect::json_rpc::JSON_DEPTH_MAX - 2;
    assert_eq!((deep(max), deep(max + 1)), (true, false));
    let long = format!(r#"{{"topic":"topic.{}","payload":1}}"#, "x".repeat(64));
    for odd in [
        "",
        "[]",
        "{}",
        r#"{"topic":"topic.a"}"#,
        r#"{"topic":"a","payload":1}"#,
        r#"{"topic":"topic.","payload":1}"#,
        r#"{"topic":"topic.a b","payload":1}"#,
        r#"{"topic":"user.a","payload":1}"#,
        r#"{"topic":1,"payload":1}"#,
        r#"{"topic":"topic.a","payload":}"#,
        r#"{"topic":"topic.a","payload":"\ud800"}"#,
        r#"{"topic":"topic.a","payload":1} 2"#,
        r#"{"topic":"topic.a","payload":1,"payload":2}"#,
        &long,
    ] {
        assert_eq!(publish::read(odd.as_bytes()).unwrap_err().status, 400, "{odd}");
    }
    assert_eq!(publish::read(b"{\"topic\":\"topic.a\",\"payload\":\"\xff\"}").unwrap_err().status, 400);
}

#[test]
fn what_came_of_publishing_is_told_by_its_status() {
    let name = TopicName::parse(b"a").unwrap();
    let place = Position { epoch: Epoch(7), seq: Seq(3) };
    let told = publish::answered(&name, Some(Ok(place)));
    assert_eq!(body(&told), json!({"topic": "topic.a", "epoch": 7, "seq": 3}));
    let document = World::new([0, 0]).value(Route::OpenApi, "").1;
    check_schema(&document["components"]["schemas"]["Published"], &body(&told), "Published");
    let refused = |refusal| publish::answered(&name, Some(Err(refusal)));
    for refusal in [PublishRefusal::TooManyTopics, PublishRefusal::Overloaded, PublishRefusal::OwnerAway] {
        assert_eq!((refused(refusal).status, refused(refusal).retry_after_s), (503, Some(1)));
    }
    assert_eq!(refused(PublishRefusal::OwnerLost).status, 504);
    assert_eq!(publish::answered(&name, None).status, 504);
    assert_eq!((publish::too_fast().status, publish::turned_off().status), (429, 403));
}

#[test]
fn shards_say_what_they_are_about_under_their_numbers() {
    let state = ShardState { turns_total: 7, stance: "guarded", ..ShardState::default() };
    let told = body(&shards::answer(&[(0, None), (1, Some(Box::new(state)))]));
    assert_eq!((&told["silent"], &told["shards"][0]["shard"]), (&json!([0]), &json!(1)));
    assert_eq!(
        (&told["shards"][0]["turns_total"], &told["shards"][0]["stance"]),
        (&json!(7), &json!("guarded"))
    );
    assert_eq!(told["shards"][0]["holds"]["sessions"], 0);
    assert_eq!(shards::turned_off().status, 403);
    let document = World::new([0, 0]).value(Route::OpenApi, "").1;
    check_schema(&document["components"]["schemas"]["Shards"], &told, "Shards");
}
