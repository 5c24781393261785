//! SIGHUP: instruments of the paper market and links to venues come, go and change while clients trade on others, who notice
//! nothing of it.

use std::net::{SocketAddr, TcpListener, TcpStream};

use serde_json::{Value, json};

use crate::client::Client;
use crate::reload::reload;
use crate::server::Server;
use crate::until;
use crate::venue::{PaperVenue, trader};

const BTC: &str = "BTC-PERPETUAL";
const ETH: &str = "ETH-PERPETUAL";
const SOL: &str = "SOL_USDC-PERPETUAL";

/// Who follows the book of an instrument that stays, and tolerates no hole in it.
struct Watcher {
    client: Client,
    /// Its place and that of its book.
    newest: Option<(Value, u64, u64)>,
    told: u64,
}

impl Watcher {
    fn new(address: SocketAddr) -> Watcher {
        let mut client = Client::connect(address);
        let channels = json!([format!("book.{BTC}.raw"), "ticker.*.raw"]);
        // A shard leaves out what it has not heard of yet, and the log of the venue's thread may be ahead of it.
        until("its shard knows the instrument", || {
            client.call("public/subscribe", &json!({"channels": channels})) == channels
        });
        Watcher { client, newest: None, told: 0 }
    }

    /// The next notification that is not of that book.
    fn next(&mut self) -> Value {
        loop {
            let note = self.client.note();
            if note["channel"] != format!("book.{BTC}.raw") {
                return note;
            }
            let (epoch, seq) = (note["epoch"].clone(), note["seq"].as_u64().unwrap());
            let change_id = note["data"]["change_id"].as_u64().unwrap();
            if let Some((before, last_seq, last_change)) = &self.newest {
                assert_eq!((&epoch, seq), (before, last_seq + 1), "{note}");
                assert_eq!(note["data"]["prev_change_id"], *last_change, "{note}");
            }
            self.newest = Some((epoch, seq, change_id));
            self.told += 1;
        }
    }

    /// Until an instrument's ticker says so.
    fn await_ticker(&mut self, instrument: &str, state: &str) {
        let channel = format!("ticker.{instrument}.raw");
        // Others' notes come for ever, so that the socket's own deadline would not end this.
        until(&format!("the ticker of {instrument} says {state}"), || {
            let note = self.next();
            note["channel"] == channel && note["data"]["state"] == state
        });
    }

    /// It goes on: so many changes of the book more.
    fn go_on(&mut self) {
        let enough = self.told + 20;
        until("the book goes on", || {
            self.next();
            self.told >= enough
        });
    }
}

fn names(client: &mut Client) -> Vec<String> {
    let listed = client.call("public/get_instruments", &json!({"currency": "any"}));
    let name = |of: &Value| of["instrument_name"].as_str().unwrap().to_owned();
    listed.as_array().unwrap().iter().map(name).collect()
}

/// Waits until an order of this instrument rests.
fn rest(client: &mut Client, instrument: &str, label: &str) {
    until(label, || {
        let ticker = client.request("public/ticker", &json!({"instrument_name": instrument}));
        let Some(best) = ticker["result"]["best_bid_price"].as_f64() else { return false };
        let lots = if instrument == SOL { 0.1 } else { 10.0 };
        let price = (best * 0.95).floor();
        let order = json!({"instrument_name": instrument, "amount": lots, "type": "limit", "price": price, "label": label});
        client.request("private/buy", &order)["result"]["order"]["order_state"] == "open"
    });
}

fn state_of(client: &mut Client, label: &str) -> Value {
    client.call("private/get_order_state_by_label", &json!({"currency": "any", "label": label}))[0].clone()
}

/// How an order of this instrument is refused.
fn refusal(client: &mut Client, instrument: &str) -> Value {
    let order = json!({"instrument_name": instrument, "amount": 10, "type": "limit", "price": 1});
    client.request("private/buy", &order)["error"].clone()
}

fn paper(instruments: u32) -> String {
    format!("[feed.paper]\ninstruments = {instruments}\nevents_per_s = 400\n")
}

#[test]
fn instruments_come_and_go_on_every_shard_and_who_trades_others_notices_nothing() {
    for cores in ["0,1", "0"] {
        let mut server = Server::start(&paper(3), cores);
        // The kernel spreads them over the shards.
        let mut clients: Vec<Client> = (0..6).map(|_| Client::connect(server.address)).collect();
        let mut watcher = Watcher::new(server.address);
        let mut client = trader(server.address);
        rest(&mut client, BTC, "stays");
        rest(&mut client, SOL, "goes");
        client.call("private/subscribe", &json!({"channels": ["user.orders.any.any.raw"]}));
        watcher.await_ticker(SOL, "open");

        reload(&mut server, &paper(2), "from now on: feed.paper.instruments 3 → 2");
        let told = client.note()["data"].clone();
        assert_eq!((&told["label"], &told["order_state"]), (&json!("goes"), &json!("cancelled")), "{told}");
        assert_eq!(told["cancel_reason"], "delisted");
        watcher.await_ticker(SOL, "closed");
        for client in &mut clients {
            until("it is gone on every shard", || names(client) == [BTC, ETH]);
            let followed =
                client.call("public/subscribe", &json!({"channels": [format!("ticker.{SOL}.raw")]}));
            assert_eq!(followed, json!([]));
        }
        let error = refusal(&mut client, SOL);
        assert_eq!(
            (&error["code"], &error["data"]["reason"]),
            (&json!(10012), &json!("the instrument is delisted"))
        );
        assert_eq!(state_of(&mut client, "stays")["order_state"], "open");

        let broken = "[feed.paper]\ninstruments = 4\nevents_per_s = 0\n";
        reload(&mut server, broken, "the configuration stays as it was, and all else: ");
        reload(&mut server, &format!("{}seed = 2\n", paper(2)), "feed.paper.seed needs a restart: stays 1");
        assert_eq!(names(&mut client), [BTC, ETH]);

        reload(&mut server, &paper(4), "from now on: feed.paper.instruments 2 → 4");
        watcher.await_ticker(SOL, "open");
        for client in &mut clients {
            until("it is there on every shard", || names(client).len() == 4);
            let of_it = client.call("public/get_instrument", &json!({"instrument_name": SOL}));
            assert_eq!(of_it["instrument_id"], 3, "another than the one that went");
        }
        rest(&mut client, SOL, "comes");
        assert_eq!(state_of(&mut client, "stays")["order_state"], "open");
        watcher.go_on();
        drop((clients, watcher, client));
        server.stop().assert_clean();
    }
}

/// A gateway without a market of its own, with a venue that stays and what else there is.
fn gateway(more: &str) -> String {
    format!(
        "[feed]\nkind = \"none\"\n[venue.a]\nkey = \"of a\"\nlisten = \"127.0.0.1:0\"\ninstruments = [\"{BTC}\"]\n{more}"
    )
}

fn venue_b(key: &str, instrument: &str) -> String {
    gateway(&format!(
        "[venue.b]\nkey = \"{key}\"\nlisten = \"127.0.0.1:0\"\ninstruments = [\"{instrument}\"]\n"
    ))
}

fn start_venue(name: &str, key: &str, to: &str) -> PaperVenue {
    PaperVenue::start(&["--connect", to, "--name", name, "--key", key, "--retry-delay-ms", "5"])
}

/// What cannot be bound changes nothing; an address that is free by then.
fn fail_to_bind(server: &mut Server) -> SocketAddr {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    let broken = venue_b("new", SOL).replace("[venue.a]", "[limits]\nheaders_max = 9\n[venue.a]")
        + &format!("[venue.c]\nkey = \"k\"\nlisten = \"{taken}\"\n");
    let line = reload(server, &broken, "the configuration stays as it was, and all else: ");
    assert!(line.contains(&format!("cannot listen on {taken}: bind: ")), "{line}");
    drop(holder);
    taken
}

#[test]
fn links_come_go_and_change_and_the_others_are_not_touched() {
    let mut server = Server::start(&gateway(""), "0,1");
    let a = start_venue("a", "of a", &server.venue_addresses[0].to_string());
    server.wait_for_log("venue link a: takes orders of 1 instruments");
    let mut watcher = Watcher::new(server.address);
    let mut client = trader(server.address);
    rest(&mut client, BTC, "stays");

    // One comes.
    let told = reload(&mut server, &venue_b("of b", ETH), "venues are waited for on ");
    let to = told.split("waited for on ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    server.wait_for_log("from now on: [venue.b] absent → there");
    let b = start_venue("b", "of b", &to);
    server.wait_for_log("venue link b: takes orders of 1 instruments");
    rest(&mut client, ETH, "of b");
    watcher.await_ticker(ETH, "open");

    // It changes: it alone ends, as by a cut, and takes who has the new key.
    reload(&mut server, &venue_b("new", ETH), "venue.b.key *** → ***");
    b.wait_for("disconnected: ");
    b.wait_for("unknown venue or key");
    watcher.await_ticker(ETH, "closed");
    assert_eq!(refusal(&mut client, ETH)["code"], 13028);
    assert_eq!(
        state_of(&mut client, "of b")["order_state"],
        "open",
        "it is the venue's to say what became of it"
    );
    b.kill();
    let b = start_venue("b", "new", &to);
    until("the venue that has forgotten the order is believed", || {
        state_of(&mut client, "of b")["order_state"] == "cancelled"
    });
    rest(&mut client, ETH, "to be delisted");

    // Its instrument goes, and another comes.
    reload(&mut server, &venue_b("new", SOL), "venue.b.instruments ");
    until("its order is cancelled over the next connection", || {
        let order = state_of(&mut client, "to be delisted");
        order["order_state"] == "cancelled" && order["cancel_reason"] == "delisted"
    });
    assert_eq!(refusal(&mut client, ETH)["code"], 10012);
    rest(&mut client, SOL, "of b's other");
    assert_eq!(names(&mut client), [BTC, SOL]);

    let free = fail_to_bind(&mut server);
    assert_eq!(state_of(&mut client, "of b's other")["order_state"], "open");

    // It goes, and nobody is waited for there.
    reload(&mut server, &gateway(""), "from now on: [venue.b] there → absent");
    b.wait_for("disconnected: ");
    watcher.await_ticker(SOL, "closed");
    assert_eq!(refusal(&mut client, SOL)["code"], 13028);
    until("clients are told of one link", || {
        let links = client.call("public/get_venues", &json!({}));
        links.as_array().unwrap().len() == 1 && links[0]["link"] == "a"
    });
    until("its socket is closed", || TcpStream::connect(&to).is_err());
    assert_eq!(state_of(&mut client, "of b's other")["order_state"], "open");
    assert_eq!(b.stop(), Some(0));

    // It comes again, elsewhere, and is asked what became of the order.
    let venue = PaperVenue::start(&["--listen", &free.to_string(), "--name", "b", "--key", "new"]);
    let connects = gateway(&format!(
        "[venue.b]\nkey = \"new\"\nconnect = [\"{free}\"]\nretry_delay_ms = 10\ninstruments = [\"{SOL}\"]\n"
    ));
    reload(&mut server, &connects, "from now on: [venue.b] absent → there");
    rest(&mut client, SOL, "again");
    until("what the venue does not know is over", || {
        state_of(&mut client, "of b's other")["order_state"] == "cancelled"
    });

    watcher.go_on();
    assert_eq!(state_of(&mut client, "stays")["order_state"], "open");
    assert!(!server.log().contains("venue link a: down"), "{}", server.log());
    drop((watcher, client));
    server.stop().assert_clean();
    assert_eq!((a.stop(), venue.stop()), (Some(0), Some(0)));
}

#[test]
fn a_name_that_the_paper_market_gives_up_is_a_venue_s_by_its_next_connection() {
    let toml =
        |instruments| format!("{}[venue.a]\nkey = \"of a\"\nlisten = \"127.0.0.1:0\"\n", paper(instruments));
    let mut server = Server::start(&toml(3), "0");
    let to = server.venue_addresses[0].to_string();
    let a = start_venue("a", "of a", &to);
    a.wait_for("welcome");
    let mut client = trader(server.address);
    let of_venue = |client: &mut Client| {
        let links = client.call("public/get_venues", &json!({}));
        links.as_array().unwrap().iter().find(|link| link["link"] == "a").unwrap()["instruments"].clone()
    };
    until("the venue has what the paper market has not", || of_venue(&mut client) == 9);
    reload(&mut server, &toml(2), "from now on: feed.paper.instruments 3 → 2");
    until("the name is free", || !names(&mut client).iter().any(|name| name == SOL));
    a.kill();
    let a = start_venue("a", "of a", &to);
    until("the venue has it", || of_venue(&mut client) == 10);
    rest(&mut client, SOL, "of the venue");
    drop(client);
    server.stop().assert_clean();
    assert_eq!(a.stop(), Some(0));
}
