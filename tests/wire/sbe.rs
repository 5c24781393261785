//! Market data in SBE on real sockets: the same events as in JSON, whichever shard serves whom, over a cut, and no upgrade that gives
//! something else than was asked for.
#![expect(clippy::wildcard_enum_match_arm, reason = "whatever else comes fails the test")]

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use serde_json::{Value, json};
use tickring::dialect::sbe::generated::{Message, SCHEMA_ID, SCHEMA_VERSION};
use tungstenite::WebSocket;

use crate::bytes;
use crate::client::Client;
use crate::server::Server;

const NAME: &str = "BTC-PERPETUAL";
const BOOK: &str = "book.BTC-PERPETUAL.raw";
/// Changes of a book that both encodings are to have told.
const COMMON_CHANGES: usize = 300;
/// Far more than a reader of both needs for that.
const MESSAGES_MAX: usize = 100_000;

/// A client whose market data are in SBE.
struct Binary {
    socket: WebSocket<TcpStream>,
    /// Those that came before a reply.
    kept: Vec<Vec<u8>>,
}

impl Binary {
    fn connect(address: SocketAddr) -> Binary {
        let query = format!("encoding=sbe&schema={SCHEMA_ID}&version={SCHEMA_VERSION}");
        let stream = bytes::connect(address);
        let (socket, _) = tungstenite::client(format!("ws://{address}/ws?{query}"), stream).unwrap();
        Binary { socket, kept: Vec::new() }
    }

    /// The reply to a request, which is JSON all the same.
    fn request(&mut self, method: &str, params: &Value) -> Value {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        self.socket.send(tungstenite::Message::text(request.to_string())).unwrap();
        loop {
            match self.socket.read().unwrap() {
                tungstenite::Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                tungstenite::Message::Binary(message) => self.kept.push(message.to_vec()),
                tungstenite::Message::Ping(_) | tungstenite::Message::Pong(_) => {}
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    fn message(&mut self) -> Vec<u8> {
        if !self.kept.is_empty() {
            return self.kept.remove(0);
        }
        loop {
            match self.socket.read().unwrap() {
                tungstenite::Message::Binary(message) => return message.to_vec(),
                tungstenite::Message::Ping(_) | tungstenite::Message::Pong(_) => {}
                other => panic!("unexpected {other:?}"),
            }
        }
    }
}

/// Levels of a book by side and price, all in units of 1e-9.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Book {
    levels: BTreeMap<(&'static str, i64), i64>,
    change_id: u64,
}

impl Book {
    fn set(&mut self, side: &'static str, price: i64, amount: i64) {
        if amount == 0 {
            self.levels.remove(&(side, price)).expect("what is deleted was there");
        } else {
            self.levels.insert((side, price), amount);
        }
    }

    fn take_json(&mut self, note: &Value) {
        let data = &note["data"];
        if data["type"] == "snapshot" {
            self.levels.clear();
        } else {
            assert_eq!(data["prev_change_id"], self.change_id, "{note}");
        }
        for side in ["bids", "asks"] {
            for level in data[side].as_array().unwrap() {
                self.set(side, units(&level[1]), units(&level[2]));
            }
        }
        self.change_id = data["change_id"].as_u64().unwrap();
    }

    fn take_sbe(&mut self, message: &[u8]) {
        match Message::decode(message).unwrap() {
            Message::BookSnapshot(book) => {
                self.levels.clear();
                for (side, levels) in [("bids", book.bids()), ("asks", book.asks())] {
                    levels.iter().map(Result::unwrap).for_each(|level| {
                        self.set(side, level.price.0, level.amount.0);
                    });
                }
                self.change_id = book.change_id();
            }
            Message::BookDelta(book) => {
                assert_eq!(book.prev_change_id(), self.change_id);
                for (side, changes) in [("bids", book.bids()), ("asks", book.asks())] {
                    changes.iter().map(Result::unwrap).for_each(|change| {
                        self.set(side, change.price.0, change.amount.0);
                    });
                }
                self.change_id = book.change_id();
            }
            other => panic!("no message of a book: {other:?}"),
        }
    }
}

/// A printed number in units of 1e-9.
fn units(number: &Value) -> i64 {
    let text = number.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    format!("{whole}{fraction:0<9}").parse().unwrap_or_else(|_| panic!("no decimal of nine places: {text}"))
}

#[test]
fn a_book_is_the_same_in_both_encodings_at_every_change_on_two_shards() {
    let server = Server::start("[feed.paper]\nevents_per_s = 4000\n", "0,1");
    // Which shard accepts is the kernel's choice: none of 20 is left out.
    let mut json: Vec<Client> = (0..10).map(|_| Client::connect(server.address)).collect();
    let mut binary: Vec<Binary> = (0..10).map(|_| Binary::connect(server.address)).collect();
    let params = json!({"channels": [BOOK], "class": "lossless"});
    for client in &mut json {
        assert_eq!(client.call("public/subscribe", &params), json!([BOOK]));
    }
    for client in &mut binary {
        assert_eq!(client.request("public/subscribe", &params)["result"], json!([BOOK]));
    }
    let mut by_json: Vec<(Book, BTreeMap<u64, Book>)> = vec![Default::default(); json.len()];
    let mut by_sbe = by_json.clone();
    let mut common = 0;
    for _ in 0..MESSAGES_MAX {
        for (client, (book, told)) in json.iter_mut().zip(&mut by_json) {
            book.take_json(&client.note());
            told.insert(book.change_id, book.clone());
        }
        for (client, (book, told)) in binary.iter_mut().zip(&mut by_sbe) {
            book.take_sbe(&client.message());
            told.insert(book.change_id, book.clone());
        }
        // From where all had joined to where all have come.
        let all = || by_json.iter().chain(&by_sbe).map(|(_, told)| told);
        let from = all().filter_map(|told| told.keys().next()).max().unwrap();
        let to = all().filter_map(|told| told.keys().next_back()).min().unwrap();
        if from > to {
            continue;
        }
        let first: Vec<&Book> = by_json[0].1.range(from..=to).map(|(_, book)| book).collect();
        common = first.len();
        if common >= COMMON_CHANGES {
            for told in all() {
                assert!(told.range(from..=to).map(|(_, book)| book).eq(first.iter().copied()));
            }
            break;
        }
    }
    assert!(common >= COMMON_CHANGES, "only {common} changes in common");
    drop((json, binary));
    let ended = server.stop();
    ended.assert_clean();
    assert!(ended.each_shard("connections_opened_total").iter().all(|opened| *opened > 0));
}

#[test]
fn every_kind_of_message_comes_and_names_the_instrument_by_its_number() {
    let server = Server::start("[feed.paper]\nevents_per_s = 4000\n", "0");
    let mut client = Binary::connect(server.address);
    let instrument = client.request("public/get_instrument", &json!({"instrument_name": NAME}));
    let id = instrument["result"]["instrument_id"].as_u64().unwrap();
    let channels = json!({"channels": [
        "quote.BTC-PERPETUAL", "ticker.BTC-PERPETUAL.100ms", "trades.BTC-PERPETUAL.raw", BOOK,
        "book.BTC-PERPETUAL.5.10.100ms",
    ]});
    assert_eq!(client.request("public/subscribe", &channels)["result"], channels["channels"]);
    let mut awaited = vec!["quote", "ticker", "trade", "snapshot", "grouped", "delta"];
    for _ in 0..MESSAGES_MAX {
        let message = client.message();
        let (kind, of) = match Message::decode(&message).unwrap() {
            Message::Quote(quote) => ("quote", quote.instrument_id()),
            Message::Ticker(ticker) => ("ticker", ticker.instrument_id()),
            Message::Trade(trade) => ("trade", trade.instrument_id()),
            Message::BookSnapshot(book) if book.depth() == Some(10) => ("grouped", book.instrument_id()),
            Message::BookSnapshot(book) => ("snapshot", book.instrument_id()),
            Message::BookDelta(book) => ("delta", book.instrument_id()),
            other => panic!("unexpected {other:?}"),
        };
        assert_eq!(u64::from(of), id);
        awaited.retain(|awaited| *awaited != kind);
        if awaited.is_empty() {
            break;
        }
    }
    assert!(awaited.is_empty(), "never told: {awaited:?}");
    drop(client);
    server.stop().assert_clean();
}

#[test]
fn a_stream_goes_on_over_a_cut_on_whichever_shard() {
    const CUTS: usize = 30;
    let server = Server::start("[feed.paper]\nevents_per_s = 4000\n", "0,1");
    let channel = "trades.BTC-PERPETUAL.raw";
    // Who keeps the stream alive.
    let mut steady = Binary::connect(server.address);
    assert_eq!(
        steady.request("public/subscribe", &json!({"channels": [channel]}))["result"],
        json!([channel])
    );
    let place = |message: &[u8]| match Message::decode(message).unwrap() {
        Message::Trade(told) => {
            let last = told.trades().iter().last().unwrap().unwrap();
            (told.epoch(), told.seq(), last.trade_seq)
        }
        other => panic!("no trades: {other:?}"),
    };
    let (epoch, mut seq, mut trade_seq) = place(&steady.message());
    for _ in 0..CUTS {
        let mut client = Binary::connect(server.address);
        let places = json!({channel: {"epoch": epoch, "seq": seq}});
        let reply = client.request("public/subscribe", &json!({"channels": [channel], "resume": places}));
        assert_eq!(reply["resumed"][channel]["recovered"], true, "{reply}");
        for _ in 0..5 {
            let (epoch_then, next, traded) = place(&client.message());
            assert_eq!((epoch_then, next, traded), (epoch, seq + 1, trade_seq + 1));
            (seq, trade_seq) = (next, traded);
        }
        bytes::set_reset_on_close(client.socket.get_ref());
    }
    drop(steady);
    let ended = server.stop();
    ended.assert_clean();
    assert!(ended.each_shard("connections_opened_total").iter().all(|opened| *opened > 0));
}

#[test]
fn watch_prints_what_it_is_told_in_sbe() {
    let server = Server::start("[feed.paper]\nevents_per_s = 4000\n", "0");
    let url = format!("ws://{}/ws", server.address);
    let watch = |form: &[&str]| {
        let fixed = ["watch", "--sbe", "--count", "20", "--url", &url, "quote.BTC-PERPETUAL"];
        let output = Command::new(env!("CARGO_BIN_EXE_tickring")).args(fixed).args(form).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let told = watch(&[]);
    assert_eq!(told.lines().count(), 20);
    for line in told.lines() {
        assert!(
            line.contains("quote.BTC-PERPETUAL") && line.contains("bid ") && line.contains("ask "),
            "{line}"
        );
    }
    let raw = watch(&["--raw"]);
    assert_eq!(raw.lines().count(), 20);
    for line in raw.lines() {
        let message = data_encoding::HEXLOWER.decode(line.as_bytes()).unwrap();
        assert!(matches!(Message::decode(&message), Ok(Message::Quote(_))), "{line}");
    }
    server.stop().assert_clean();
}

#[test]
fn what_is_asked_for_and_not_spoken_is_refused_with_what_is() {
    let server = Server::start("", "0");
    let version = "Sec-WebSocket-Version: 13";
    let supported = format!("encoding=sbe&schema={SCHEMA_ID}&version={SCHEMA_VERSION}");
    let refused = |query: &str, field: &str, expected: &str| {
        let mut stream = bytes::connect(server.address);
        let line = format!("GET /ws?{query} HTTP/1.1");
        stream.write_all(&bytes::request(&line, &[version, field])).unwrap();
        let answer = String::from_utf8(bytes::read_to_end(&mut stream)).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{query}: {answer}");
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        assert!(body.contains(expected), "{query}: {answer}");
    };
    let queries = [
        "encoding=xml",
        "encoding=sbe",
        "encoding=sbe&schema=2&version=0",
        "encoding=sbe&schema=1&version=1",
    ];
    queries.iter().for_each(|query| refused(query, "A: 1", &supported));
    refused("encoding=json", "Sec-WebSocket-Protocol: sbe.tickring.v1", &supported);
    refused("", "Sec-WebSocket-Protocol: sbe.tickring.v2", "sbe.tickring.v1");
    let ended = server.stop();
    ended.assert_clean();
    let unknown = std::iter::repeat_n("encoding_unknown", queries.len() + 1);
    ended.assert_incidents(unknown.chain(["subprotocol_unknown"]));
}
