//! A client of tickring's market data in SBE (docs/sbe.md): subscribes to a quote or a book and prints the best prices after each message.
//!
//! `cargo run --example sbe_client -- HOST:PORT INSTRUMENT quote|book [MESSAGES]`: as many messages as asked for, else without end. Ends with
//! 1 if the gateway refuses something or closes, and says why.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{Write, stdout};
use std::net::TcpStream;
use std::process::ExitCode;

use serde_json::{Value, json};
use tickring::dialect::sbe::generated::{BookLevel, LevelAction, Message, SCHEMA_ID, SCHEMA_VERSION};
use tickring::model::decimal::{Amount, Price};
use tungstenite::{Message as Frame, WebSocket};

/// The best prices of an instrument, from its quotes or its book.
#[derive(Default)]
struct Market {
    bids: BTreeMap<Price, Amount>,
    asks: BTreeMap<Price, Amount>,
    change_id: u64,
}

impl Market {
    /// Whether the message is a quote or of a book; others are passed over.
    fn handle(&mut self, frame: &[u8]) -> Result<bool, Box<dyn Error>> {
        match Message::decode(frame)? {
            Message::Quote(quote) => {
                self.bids = quote.bid_price().map(|price| (price, quote.bid_amount())).into_iter().collect();
                self.asks = quote.ask_price().map(|price| (price, quote.ask_amount())).into_iter().collect();
            }
            Message::BookSnapshot(book) => {
                let level = |level: BookLevel| (level.price, level.amount);
                self.bids = book.bids().iter().map(|read| read.map(level)).collect::<Result<_, _>>()?;
                self.asks = book.asks().iter().map(|read| read.map(level)).collect::<Result<_, _>>()?;
                self.change_id = book.change_id();
            }
            Message::BookDelta(book) => {
                if book.prev_change_id() != self.change_id {
                    return Err("a change of the book is missing".into());
                }
                for (side, changes) in [(&mut self.bids, book.bids()), (&mut self.asks, book.asks())] {
                    for change in changes.iter() {
                        let change = change?;
                        match change.action {
                            LevelAction::New | LevelAction::Change => {
                                side.insert(change.price, change.amount)
                            }
                            LevelAction::Delete => side.remove(&change.price),
                        };
                    }
                }
                self.change_id = book.change_id();
            }
            Message::Heartbeat(_)
            | Message::GapNotice(_)
            | Message::Ticker(_)
            | Message::Trade(_)
            | Message::NewOrder(_)
            | Message::AmendOrder(_)
            | Message::CancelOrder(_)
            | Message::OrderAck(_)
            | Message::Reject(_)
            | Message::ExecutionReport(_) => return Ok(false),
        }
        Ok(true)
    }

    fn best(&self) -> String {
        let told = |best: Option<(&Price, &Amount)>| {
            let Some((price, amount)) = best else { return "- x -".to_owned() };
            let mut text = Vec::new();
            price.write(&mut text, 0);
            text.extend_from_slice(b" x ");
            amount.write(&mut text, 0);
            String::from_utf8_lossy(&text).into_owned()
        };
        format!("{} | {}", told(self.bids.last_key_value()), told(self.asks.first_key_value()))
    }
}

/// Subscribes. Data come behind the reply.
fn subscribe(socket: &mut WebSocket<TcpStream>, channel: &str) -> Result<(), Box<dyn Error>> {
    let params = json!({"channels": [channel]});
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": "public/subscribe", "params": params});
    socket.send(Frame::text(request.to_string()))?;
    loop {
        if let Frame::Text(text) = socket.read()? {
            let reply: Value = serde_json::from_str(&text)?;
            return if reply["result"] == json!([channel]) { Ok(()) } else { Err(text.as_str().into()) };
        }
    }
}

/// Prints to `out` after each message, until none is left.
pub(crate) fn run(
    address: &str,
    instrument: &str,
    kind: &str,
    mut left: Option<u64>,
    out: &mut impl Write,
) -> Result<(), Box<dyn Error>> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let url = format!("ws://{address}/ws?encoding=sbe&schema={SCHEMA_ID}&version={SCHEMA_VERSION}");
    let (mut socket, _) = tungstenite::client(url, stream).map_err(|error| error.to_string())?;
    let channel =
        if kind == "book" { format!("book.{instrument}.raw") } else { format!("quote.{instrument}") };
    subscribe(&mut socket, &channel)?;
    let mut market = Market::default();
    while left != Some(0) {
        match socket.read()? {
            Frame::Binary(frame) => {
                if market.handle(&frame)? {
                    writeln!(out, "{}", market.best())?;
                    left = left.map(|left| left - 1);
                }
            }
            Frame::Close(why) => return Err(format!("the gateway closes: {why:?}").into()),
            // The library answers pings.
            Frame::Text(_) | Frame::Ping(_) | Frame::Pong(_) | Frame::Frame(_) => {}
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match &words[..] {
        [address, instrument, kind] => run(address, instrument, kind, None, &mut stdout()),
        [address, instrument, kind, messages] => match messages.parse() {
            Ok(messages) => run(address, instrument, kind, Some(messages), &mut stdout()),
            Err(error) => Err(error.into()),
        },
        _ => Err("usage: sbe_client HOST:PORT INSTRUMENT quote|book [MESSAGES]".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
