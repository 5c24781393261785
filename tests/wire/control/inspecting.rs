//! What operators learn of connections and topics, on real sockets: those of all shards, parked ones too.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const CLIENTS: usize = 9;

fn addresses(clients: &[Client]) -> BTreeSet<String> {
    clients.iter().map(|client| client.stream().local_addr().unwrap().to_string()).collect()
}

/// All pages of so many, by their peers.
fn pages(server: &Server, query: &str) -> BTreeMap<String, Value> {
    let (mut all, mut after) = (BTreeMap::new(), String::new());
    loop {
        let page = get(server, &format!("/api/connections?{query}{after}")).json();
        assert_eq!(page["silent"], json!([]), "{page}");
        for row in page["connections"].as_array().unwrap() {
            let before = all.insert(row["peer"].as_str().unwrap().to_owned(), row.clone());
            assert!(before.is_none(), "shown twice: {row}");
        }
        let Some(next) = page["next"].as_str() else { return all };
        after = format!("&after={next}");
    }
}

#[test]
fn connections_of_all_shards_are_listed_page_by_page() {
    let server = Server::start_with("", "0,1", &["--control", "127.0.0.1:0"]);
    assert_eq!(get(&server, "/api/connections").json()["connections"], json!([]), "and they have parked");
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| Client::connect(server.address)).collect();
    clients[0].subscribe("topic.news");
    clients[0].subscribe("topic.alerts");
    for data in 0..3 {
        clients[1].publish("news", &json!(data));
    }
    (0..3).for_each(|_| drop(clients[0].note()));
    let login =
        json!({"grant_type": "client_credentials", "client_id": "demo", "client_secret": "demo-secret"});
    clients[1].call("public/auth", &login);
    for limit in [1, 2, 1000] {
        let rows = pages(&server, &format!("limit={limit}"));
        assert_eq!(rows.keys().cloned().collect::<BTreeSet<_>>(), addresses(&clients), "limit={limit}");
    }
    let of_each: Vec<usize> = (0..2).map(|shard| pages(&server, &format!("shard={shard}")).len()).collect();
    assert_eq!(of_each.iter().sum::<usize>(), CLIENTS, "{of_each:?}");
    let rows = pages(&server, "");
    let row = |client: &Client| rows[&client.stream().local_addr().unwrap().to_string()].clone();
    let subscriber = row(&clients[0]);
    assert_eq!((&subscriber["dialect"], &subscriber["state"]), (&json!("json-rpc"), &json!("open")));
    assert_eq!((&subscriber["topics"], &subscriber["deliveries_total"]), (&json!(2), &json!(3)));
    assert_eq!((&subscriber["client_id"], &subscriber["sends"]), (&Value::Null, &Value::Null));
    assert_eq!(row(&clients[1])["client_id"], "demo");
    // Topics are those that somebody listens to, on whichever shard.
    let topics = get(&server, "/api/topics?sort=deliveries&limit=1").json();
    assert_eq!(topics["topics"].as_array().unwrap().len(), 1, "{topics}");
    assert_eq!(topics["topics"][0]["topic"], "topic.news");
    assert_eq!(
        (&topics["topics"][0]["deliveries_total"], &topics["topics"][0]["seq"]),
        (&json!(3), &json!(3))
    );
    drop(clients);
    server.stop().assert_clean();
}

#[test]
fn topics_are_summed_over_shards() {
    let server = Server::start_with("", "0,1", &["--control", "127.0.0.1:0"]);
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| Client::connect(server.address)).collect();
    clients.iter_mut().for_each(|client| client.subscribe("topic.news"));
    let (_, seq) = clients[0].publish("news", &json!(1));
    clients.iter_mut().for_each(|client| drop(client.note()));
    let topics = get(&server, "/api/topics?sort=subscribers").json();
    let expected = json!([{
        "topic": "topic.news", "encoding": "json", "account": null, "subscribers": CLIENTS, "deliveries_total": CLIENTS, "seq": seq,
    }]);
    assert_eq!(topics, json!({"topics": expected, "silent": []}));
    drop(clients);
    server.stop().assert_clean();
}

#[test]
fn who_does_not_read_is_the_slowest_of_all() {
    let server = start("[limits]\nqueued_bytes_max = 16777216\n");
    let mut stalled = Client::over(bytes::connect_narrow(server.address));
    stalled.subscribe("topic.news");
    let _others: Vec<Client> = (0..3).map(|_| Client::connect(server.address)).collect();
    let mut publisher = Client::connect(server.address);
    let data = json!("x".repeat(8192));
    let peer = stalled.stream().local_addr().unwrap().to_string();
    crate::until("something waits for it", || {
        publisher.publish("news", &data);
        let slowest = get(&server, "/api/connections?sort=queued&limit=1").json()["connections"][0].clone();
        slowest["peer"] == *peer && slowest["queued_bytes"].as_u64().unwrap() > 0
    });
    drop(stalled);
    server.signal(Signal::SIGTERM);
    server.wait();
}

#[test]
fn the_sends_of_a_connection_are_timed_when_a_key_that_may_asks() {
    let server = start("");
    let address = server.control.unwrap();
    let mut client = Client::connect(server.address);
    let row = || get(&server, "/api/connections").json()["connections"][0].clone();
    let id = row()["id"].clone();
    let trace = |authorization: &str, id: &Value, traced: bool| {
        let body = json!({"shard": 0, "id": id, "traced": traced}).to_string();
        ask(address, "POST /api/connections/trace", authorization, &body).status
    };
    assert_eq!(trace("", &id, true), 401);
    assert_eq!(trace(DEMO, &json!("77.77"), true), 404);
    assert_eq!(row()["sends"], Value::Null);
    assert_eq!(trace(DEMO, &id, true), 200);
    (0..5).for_each(|_| drop(client.call("public/test", &json!({}))));
    crate::until("five sends are timed", || {
        let sends = row()["sends"].clone();
        let counts = sends.as_array().unwrap().iter().map(|bucket| bucket["count"].as_u64().unwrap());
        counts.sum::<u64>() == 5
    });
    assert_eq!(trace(DEMO, &id, false), 200);
    assert_eq!(row()["sends"], Value::Null);
    assert_eq!(ask(address, "POST /api/connections/trace", DEMO, "{}").status, 400);
    assert_eq!(get(&server, "/api/connections?sort=age").status, 400);
    assert_eq!(get(&server, "/api/topics?limit=0").status, 400);
    drop(client);
    server.stop().assert_clean();
}

#[test]
fn what_an_operator_publishes_reaches_who_listens_on_any_shard() {
    let limits = "[limits]\nmessages_per_s_max = 20\nmessage_bytes_max = 1024\nframe_bytes_max = 1024\n";
    let server = Server::start_with(limits, "0,1", &["--control", "127.0.0.1:0"]);
    let address = server.control.unwrap();
    let publish = |authorization: &str, body: &str| ask(address, "POST /api/publish", authorization, body);
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| Client::connect(server.address)).collect();
    let mut publisher = Client::connect(server.address);
    // Names enough that both shards are home to some.
    let topics = ["a", "b", "c", "d"];
    for client in &mut clients {
        topics.iter().for_each(|topic| client.subscribe(&format!("topic.{topic}")));
    }
    assert_eq!(publish("", r#"{"topic":"topic.a","payload":1}"#).status, 401);
    for topic in topics {
        let answer = publish(DEMO, &format!(r#"{{"topic":"topic.{topic}","payload":{{"x" : 1.50}}}}"#));
        assert_eq!(answer.status, 200, "{answer:?}");
        let (told, by_client) = (answer.json(), publisher.publish(topic, &json!(2)));
        for client in &mut clients {
            let text = client.text();
            assert!(text.contains(r#""data":{"x" : 1.50}"#), "byte for byte: {text}");
            let note: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(note["params"]["channel"], told["topic"]);
            assert_eq!((&note["params"]["epoch"], &note["params"]["seq"]), (&told["epoch"], &told["seq"]));
            // One stream, whoever publishes.
            let after = client.note();
            assert_eq!((&after["data"], &after["seq"]), (&json!(2), &json!(by_client.1)));
            assert_eq!(by_client, (told["epoch"].as_u64().unwrap(), told["seq"].as_u64().unwrap() + 1));
        }
    }
    assert_eq!(publish(DEMO, r#"{"topic":"a","payload":1}"#).status, 400);
    assert_eq!(
        publish(DEMO, &format!(r#"{{"topic":"topic.a","payload":"{}"}}"#, "x".repeat(1024))).status,
        413
    );
    crate::until("it is too fast", || {
        let answer = publish(DEMO, r#"{"topic":"topic.elsewhere","payload":1}"#);
        assert!(answer.status == 200 || answer.field("retry-after") == "1", "{answer:?}");
        answer.status == 429
    });
    drop((clients, publisher));
    server.stop().assert_clean();
    let server = start("[topics]\npublish = false\n");
    let refused =
        ask(server.control.unwrap(), "POST /api/publish", DEMO, r#"{"topic":"topic.a","payload":1}"#);
    assert_eq!(refused.status, 403, "{refused:?}");
    server.stop().assert_clean();
}

#[test]
fn each_shard_says_what_it_is_about_where_that_is_turned_on() {
    let server = start("");
    assert_eq!(get(&server, "/debug/shards").status, 403);
    server.stop().assert_clean();
    let server = Server::start_with("[control]\ndebug = true\n", "0,1", &["--control", "127.0.0.1:0"]);
    let clients: Vec<Client> = (0..CLIENTS).map(|_| Client::connect(server.address)).collect();
    let told = get(&server, "/debug/shards").json();
    assert_eq!(told["silent"], json!([]));
    let shards = told["shards"].as_array().unwrap();
    assert_eq!(shards.iter().map(|state| state["shard"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1]);
    let sum = |pointer: &str| -> u64 {
        shards.iter().map(|state| state.pointer(pointer).unwrap().as_u64().unwrap()).sum()
    };
    let clients_total = CLIENTS as u64;
    assert_eq!((sum("/connections"), sum("/holds/sessions")), (clients_total, clients_total));
    for state in shards {
        assert_eq!((&state["stance"], &state["is_stopping"]), (&json!("normal"), &json!(false)));
        // Two shards and the venue.
        assert_eq!(state["mesh_free"].as_array().unwrap().len(), 3, "{state}");
        assert!(state["turns_total"].as_u64().unwrap() > 0);
    }
    drop(clients);
    server.stop().assert_clean();
}
