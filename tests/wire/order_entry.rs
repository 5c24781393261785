//! Trading in SBE with a running server, by a client that knows nothing but the schema and the pages of the protocol: what is bought, told of,
//! amended, cancelled, refused and resumed, over a WebSocket and over binary TCP, a message a frame and in batches, beside a client in JSON that sees the same orders.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::{Value, json};

use crate::binary_tcp::TCP;
use crate::bytes::{self, BINARY, FIN, TEXT};
use crate::client::Client;
use crate::orders::{far_below, trader};
use crate::server::Server;
use crate::until;

const SCHEMA: &str = include_str!("../../docs/sbe/tickring.xml");
const INSTRUMENT: &str = "BTC-PERPETUAL";
const HEADER_BYTES: usize = 8;
/// A fill in the group of an acknowledgement, behind the 6 bytes of the group's own header.
const FILL_BYTES: usize = 51;
const UNIT: i64 = 1_000_000_000;
const NO_TIME: u64 = u64::MAX;

/// The value of an XML attribute.
fn attribute<'x>(element: &'x str, name: &str) -> &'x str {
    let (_, rest) =
        element.split_once(&format!(" {name}=\"")).unwrap_or_else(|| panic!("{name} of {element}"));
    rest.split_once('"').unwrap().0
}

/// A message of the schema, up to its first group or text.
#[derive(Clone, Copy)]
struct Layout {
    name: &'static str,
    block: &'static str,
}

impl Layout {
    fn of(name: &'static str) -> Layout {
        let begin = format!("<sbe:message name=\"{name}\"");
        let at = SCHEMA.find(&begin).unwrap_or_else(|| panic!("no message {name}"));
        let message = SCHEMA[at..].split_once("</sbe:message>").unwrap().0;
        let block = message.split("<group").next().unwrap().split("<data").next().unwrap();
        Layout { name, block }
    }

    /// The layout of a message by its header.
    fn of_template(template_id: u16) -> Layout {
        for name in ["OrderAck", "Reject", "ExecutionReport"] {
            let layout = Layout::of(name);
            if layout.number("id") == template_id {
                return layout;
            }
        }
        panic!("template {template_id} is no answer and no report")
    }

    fn number(&self, name: &str) -> u16 {
        attribute(self.block, name).parse().unwrap()
    }

    fn offset(&self, field: &str) -> usize {
        let begin = format!("<field name=\"{field}\"");
        let at = self.block.find(&begin).unwrap_or_else(|| panic!("{}: no field {field}", self.name));
        attribute(&self.block[at..], "offset").parse().unwrap()
    }
}

/// A message under way to the server.
struct Message {
    layout: Layout,
    bytes: Vec<u8>,
}

impl Message {
    fn new(name: &'static str) -> Message {
        let layout = Layout::of(name);
        let mut bytes = Vec::new();
        for number in [layout.number("blockLength"), layout.number("id"), 1, 0] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.resize(HEADER_BYTES + usize::from(layout.number("blockLength")), 0);
        Message { layout, bytes }
    }

    fn with<const N: usize>(mut self, field: &str, value: [u8; N]) -> Message {
        let at = HEADER_BYTES + self.layout.offset(field);
        self.bytes[at..at + N].copy_from_slice(&value);
        self
    }

    fn text(mut self, text: &str) -> Vec<u8> {
        self.bytes.extend_from_slice(&u16::try_from(text.len()).unwrap().to_le_bytes());
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes
    }
}

/// A limit order that may rest, or one at the market where there is no price.
fn new_order(id: u64, instrument: u32, price: Option<i64>, amount: i64, label: &str) -> Vec<u8> {
    Message::new("NewOrder")
        .with("correlationId", id.to_le_bytes())
        .with("price", price.map_or(i64::MIN, |price| price * UNIT).to_le_bytes())
        .with("amount", (amount * UNIT).to_le_bytes())
        .with("validUntil", NO_TIME.to_le_bytes())
        .with("instrumentId", instrument.to_le_bytes())
        .with("side", *b"1")
        .with("ordType", if price.is_some() { *b"2" } else { *b"1" })
        .with("timeInForce", *b"1")
        .text(label)
}

fn amend(id: u64, order: u64, price: i64) -> Vec<u8> {
    Message::new("AmendOrder")
        .with("correlationId", id.to_le_bytes())
        .with("orderId", order.to_le_bytes())
        .with("price", (price * UNIT).to_le_bytes())
        .with("amount", i64::MIN.to_le_bytes())
        .with("validUntil", NO_TIME.to_le_bytes())
        .with("instrumentId", u32::MAX.to_le_bytes())
        .with("postOnly", [255])
        .with("reduceOnly", [255])
        .text("")
}

fn cancel(id: u64, order: u64) -> Vec<u8> {
    Message::new("CancelOrder")
        .with("correlationId", id.to_le_bytes())
        .with("orderId", order.to_le_bytes())
        .with("validUntil", NO_TIME.to_le_bytes())
        .bytes
}

/// A message that the server has sent.
struct Told {
    layout: Layout,
    bytes: Vec<u8>,
}

impl Told {
    fn read(bytes: Vec<u8>) -> Told {
        let number = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let layout = Layout::of_template(number(2));
        assert_eq!((number(0), number(4), number(6)), (layout.number("blockLength"), 1, 0));
        Told { layout, bytes }
    }

    fn is(&self, name: &str) -> bool {
        self.layout.name == name
    }

    fn field<const N: usize>(&self, field: &str) -> [u8; N] {
        *self.bytes[HEADER_BYTES + self.layout.offset(field)..].first_chunk().unwrap()
    }

    fn u64(&self, field: &str) -> u64 {
        u64::from_le_bytes(self.field(field))
    }

    fn i64(&self, field: &str) -> i64 {
        i64::from_le_bytes(self.field(field))
    }

    fn letter(&self, field: &str) -> char {
        let [byte] = self.field(field);
        byte.into()
    }

    /// What follows the block.
    fn rest(&self) -> &[u8] {
        &self.bytes[HEADER_BYTES + usize::from(self.layout.number("blockLength"))..]
    }

    /// The texts of a message without groups.
    fn texts(&self) -> Vec<&str> {
        let (mut texts, mut rest) = (Vec::new(), self.rest());
        while let Some((length, after)) = rest.split_first_chunk() {
            let (text, after) = after.split_at(u16::from_le_bytes(*length).into());
            texts.push(std::str::from_utf8(text).unwrap());
            rest = after;
        }
        texts
    }

    /// How many fills an acknowledgement has, and the label behind them.
    fn fills_and_label(&self) -> (usize, &str) {
        let rest = self.rest();
        assert_eq!(rest[..2], u16::try_from(FILL_BYTES).unwrap().to_le_bytes());
        let count = u32::from_le_bytes(*rest[2..].first_chunk().unwrap()) as usize;
        let label = &rest[6 + count * FILL_BYTES..];
        assert_eq!(usize::from(u16::from_le_bytes(*label.first_chunk().unwrap())), label.len() - 2);
        (count, std::str::from_utf8(&label[2..]).unwrap())
    }
}

/// How a client is connected.
#[derive(Clone, Copy, Debug)]
enum Way {
    WebSocket,
    BinaryTcp,
}

/// Messages in one frame, each behind its length.
fn batch(messages: &[&[u8]]) -> Vec<u8> {
    let length = |message: &[u8]| u16::try_from(message.len()).unwrap().to_le_bytes();
    messages.iter().flat_map(|message| [&length(message), *message].concat()).collect()
}

/// A connection with SBE.
struct Binary {
    way: Way,
    /// Whether it has asked for several messages in a frame.
    is_batched: bool,
    stream: TcpStream,
    /// Messages of a frame that has been read.
    unread: VecDeque<bytes::Frame>,
    /// Reports that came while something else was waited for.
    reports: VecDeque<Told>,
}

impl Binary {
    fn open(address: SocketAddr) -> Binary {
        Binary::open_by("/ws?encoding=sbe&schema=1&version=0", address)
    }

    fn open_by(target: &str, address: SocketAddr) -> Binary {
        let request = bytes::request(&format!("GET {target} HTTP/1.1"), &["Sec-WebSocket-Version: 13"]);
        let stream = bytes::upgraded_by(&request, bytes::connect(address));
        Binary::on(Way::WebSocket, target.ends_with("&batch=true"), stream)
    }

    fn on(way: Way, is_batched: bool, stream: TcpStream) -> Binary {
        Binary { way, is_batched, stream, unread: VecDeque::new(), reports: VecDeque::new() }
    }

    /// The same by another listener, which speaks binary TCP.
    fn open_tcp(address: SocketAddr, is_batched: bool) -> Binary {
        let mut client = Binary::on(Way::BinaryTcp, is_batched, bytes::connect(address));
        let mut asked =
            json!({"client_name": "a", "client_version": "1", "encoding": "sbe", "schema": 1, "version": 0});
        if is_batched {
            asked["batch"] = true.into();
        }
        assert_eq!(client.call("public/hello", &asked)["result"]["encoding"], "sbe");
        client
    }

    fn trader(address: SocketAddr) -> Binary {
        Binary::open(address).logged_in()
    }

    fn logged_in(mut self) -> Binary {
        let login =
            json!({"grant_type": "client_credentials", "client_id": "demo", "client_secret": "demo-secret"});
        assert!(self.call("public/auth", &login)["result"]["access_token"].is_string());
        self
    }

    /// The next message, as a WebSocket's frame of its own.
    fn read(&mut self) -> bytes::Frame {
        while self.unread.is_empty() {
            let frame = self.read_frame();
            if !self.is_batched || frame.head != FIN | BINARY {
                return frame;
            }
            let mut rest = &frame.payload[..];
            while let Some((length, after)) = rest.split_first_chunk() {
                let length = u16::from_le_bytes(*length);
                let (message, after) = after.split_at(if length == 0 { after.len() } else { length.into() });
                self.unread.push_back(bytes::Frame { head: frame.head, payload: message.to_vec() });
                rest = after;
            }
            assert!(rest.is_empty() && !self.unread.is_empty());
        }
        self.unread.pop_front().unwrap()
    }

    /// The next frame, as a WebSocket has it.
    fn read_frame(&mut self) -> bytes::Frame {
        match self.way {
            Way::WebSocket => bytes::read_frame(&mut self.stream),
            Way::BinaryTcp => {
                let mut length = [0; 4];
                self.stream.read_exact(&mut length).unwrap();
                let length = u32::from_be_bytes(length);
                let mut payload = vec![0; (length & 0x7fff_ffff) as usize];
                self.stream.read_exact(&mut payload).unwrap();
                bytes::Frame { head: FIN | if length >> 31 == 1 { BINARY } else { TEXT }, payload }
            }
        }
    }

    fn write(&mut self, kind: u8, message: &[u8]) {
        let payload = if self.is_batched && kind == BINARY { &batch(&[message])[..] } else { message };
        let frame = match self.way {
            Way::WebSocket => bytes::frame(FIN | kind, payload),
            Way::BinaryTcp => {
                let bit = if kind == BINARY { 0x8000_0000 } else { 0 };
                let length = bit | u32::try_from(payload.len()).unwrap();
                [&length.to_be_bytes(), payload].concat()
            }
        };
        self.stream.write_all(&frame).unwrap();
    }

    /// The next frame that is no report.
    fn next(&mut self) -> bytes::Frame {
        loop {
            let frame = self.read();
            if frame.head == FIN | BINARY
                && frame.payload[2..4] == Layout::of("ExecutionReport").number("id").to_le_bytes()
            {
                self.reports.push_back(Told::read(frame.payload));
            } else {
                return frame;
            }
        }
    }

    fn call(&mut self, method: &str, params: &Value) -> Value {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        self.write(TEXT, request.to_string().as_bytes());
        let frame = self.next();
        assert_eq!(frame.head, FIN | TEXT, "control is text");
        serde_json::from_slice(&frame.payload).unwrap()
    }

    fn send(&mut self, message: &[u8]) {
        self.write(BINARY, message);
    }

    /// The answer to a message.
    fn ask(&mut self, message: &[u8]) -> Told {
        self.send(message);
        let frame = self.next();
        assert_eq!(frame.head, FIN | BINARY);
        Told::read(frame.payload)
    }

    /// The acknowledgement of what must be done.
    fn done(&mut self, message: &[u8]) -> Told {
        let told = self.ask(message);
        assert!(told.is("OrderAck"), "{}: {:?}", told.layout.name, told.is("Reject").then(|| told.texts()));
        assert_eq!(told.field::<8>("correlationId"), message[HEADER_BYTES..HEADER_BYTES + 8]);
        assert!(0 < told.u64("receivedTime") && told.u64("receivedTime") <= told.u64("sendingTime"));
        told
    }

    fn report(&mut self) -> Told {
        if let Some(report) = self.reports.pop_front() {
            return report;
        }
        let frame = self.read();
        assert_eq!(frame.head, FIN | BINARY, "{}", String::from_utf8_lossy(&frame.payload));
        let told = Told::read(frame.payload);
        assert!(told.is("ExecutionReport"), "{}", told.layout.name);
        told
    }

    fn instrument(&mut self) -> u32 {
        let found = self.call("public/get_instrument", &json!({"instrument_name": INSTRUMENT}));
        found["result"]["instrument_id"].as_u64().unwrap().try_into().unwrap()
    }
}

#[test]
fn a_client_that_knows_the_schema_buys_amends_cancels_and_is_told_what_json_is() {
    let ways = [Way::WebSocket, Way::BinaryTcp].into_iter().flat_map(|way| [(way, false), (way, true)]);
    for (way, is_batched) in ways {
        let server = Server::start(TCP, "0,1");
        let mut json = trader(server.address);
        let client = match way {
            Way::WebSocket if is_batched => {
                Binary::open_by("/ws?encoding=sbe&schema=1&version=0&batch=true", server.address)
            }
            Way::WebSocket => Binary::open(server.address),
            Way::BinaryTcp => Binary::open_tcp(server.addresses[1], is_batched),
        };
        check_trading(&mut json, client.logged_in());
        drop(json);
        server.stop().assert_clean();
    }
}

fn check_trading(json: &mut Client, mut client: Binary) {
    let instrument = client.instrument();
    let channels = ["user.orders.any.any.raw", "user.trades.any.any.raw"];
    let subscribed = client.call("private/subscribe", &json!({"channels": channels}));
    assert_eq!(subscribed["result"], json!(channels));

    let bought = client.done(&new_order(1, instrument, None, 20, "bought"));
    assert_eq!((bought.letter("ordStatus"), bought.i64("filledAmount")), ('2', 20 * UNIT));
    assert_eq!(bought.i64("price"), i64::MIN, "a market order has none");
    let (fills, label) = bought.fills_and_label();
    assert!(fills > 0 && label == "bought", "{fills} fills of {label}");
    let order = json!({"order_id": bought.u64("orderId").to_string()});
    let known = json.call("private/get_order_state", &order);
    assert_eq!((&known["order_state"], &known["filled_amount"]), (&json!("filled"), &json!(20)));
    #[expect(clippy::cast_precision_loss, reason = "a price of some ten thousand")]
    let average = bought.i64("averagePrice") as f64 / 1e9;
    assert_eq!(known["average_price"].as_f64(), Some(average));
    let report = client.report();
    assert_eq!((report.letter("execType"), report.letter("ordStatus")), ('F', '2'));
    assert_eq!((report.u64("seq"), report.u64("prevSeq")), (1, 0));
    let mut filled = 0;
    for _ in 0..fills {
        let fill = client.report();
        assert_eq!((fill.u64("seq"), fill.u64("orderId")), (1, bought.u64("orderId")));
        assert_eq!((fill.letter("execType"), fill.field::<1>("liquidity")), ('F', [2]));
        filled += fill.i64("lastAmount");
    }
    assert_eq!(filled, 20 * UNIT);

    let price = far_below(json, 5);
    let rests = client.done(&new_order(2, instrument, Some(price), 10, "rests"));
    assert_eq!(
        (rests.letter("ordStatus"), rests.i64("price"), rests.fills_and_label().0),
        ('0', price * UNIT, 0)
    );
    assert_eq!(client.report().letter("execType"), '0');
    let again = client.done(&new_order(3, instrument, Some(price), 10, "rests"));
    assert_eq!(
        (again.u64("orderId"), again.field::<1>("flags")[0] & 4),
        (rests.u64("orderId"), 4),
        "repeated"
    );
    let amended = client.done(&amend(4, rests.u64("orderId"), price - 1));
    assert_eq!((amended.i64("price"), amended.i64("amount")), ((price - 1) * UNIT, 10 * UNIT));
    assert_eq!(client.report().letter("execType"), '5');
    let cancelled = client.done(&cancel(5, rests.u64("orderId")));
    assert_eq!((cancelled.letter("ordStatus"), cancelled.field::<1>("cancelReason")), ('4', [0]));
    let report = client.report();
    assert_eq!((report.letter("execType"), report.u64("orderId")), ('4', rests.u64("orderId")));
    assert_eq!(json.call("private/get_open_orders", &json!({})), json!([]));
}

#[test]
fn what_is_refused_is_refused_as_in_json_and_the_connection_goes_on() {
    let server = Server::start("[orders]\namount_max = 1000\ncredits_max = 9\ncredits_per_s = 1\n", "0");
    let mut json = trader(server.address);
    let price = far_below(&mut json, 5);
    let mut client = Binary::open(server.address);
    let instrument = client.instrument();
    let order = |id: u64, amount: i64| new_order(id, instrument, Some(price), amount, "");
    let check = |client: &mut Binary, message: &[u8], code: i32, texts: [&str; 3]| {
        let told = client.ask(message);
        assert!(told.is("Reject"), "{code}: {}", told.layout.name);
        assert_eq!((i32::from_le_bytes(told.field("code")), told.texts()), (code, texts.to_vec()));
        told
    };
    let not_logged_in = ["unauthorized", "log in first: public/auth", ""];
    check(&mut client, &order(1, 10), 13_009, not_logged_in);
    drop(client);
    let mut client = Binary::trader(server.address);
    let whole = order(2, 10);
    let told = check(&mut client, &whole[..30], -32_700, ["Parse error", "the message is cut off", ""]);
    assert_eq!((told.u64("correlationId"), told.field("refTemplateId")), (2, 20_u16.to_le_bytes()));
    let twice = [&whole[..], &whole].concat();
    check(&mut client, &twice, -32_700, ["Parse error", "bytes follow the message", ""]);
    let beat = Message::new("Heartbeat").bytes;
    let told = check(&mut client, &beat, -32_601, ["Method not found", "", ""]);
    assert_eq!(told.u64("correlationId"), u64::MAX, "a heartbeat has none");
    let wrong_side =
        Message { layout: Layout::of("NewOrder"), bytes: order(3, 10) }.with("side", *b"9").bytes;
    check(&mut client, &wrong_side, -32_602, ["Invalid params", "unknown value", "side"]);
    let nowhere = new_order(4, instrument + 1_000, Some(price), 10, "");
    check(&mut client, &nowhere, 13_020, ["not_found", "unknown instrument", "instrument_id"]);
    let told = check(&mut client, &cancel(5, 17), 10_004, ["order_not_found", "", ""]);
    assert_eq!((told.u64("correlationId"), told.u64("orderId")), (5, u64::MAX));
    let small = ["invalid_amount", "must be a multiple of the smallest order amount", "amount"];
    check(&mut client, &order(6, 15), 10_021, small);
    // What JSON refuses in other words is refused in the same ones here.
    let reply = json.request(
        "private/buy",
        &json!({"instrument_name": INSTRUMENT, "amount": 15, "price": price, "type": "limit"}),
    );
    assert_eq!(
        (&reply["error"]["message"], &reply["error"]["data"]["reason"]),
        (&json!(small[0]), &json!(small[1]))
    );
    let mut last = client.ask(&order(7, 10));
    until("the credits are used up", || {
        last = client.ask(&order(8, 10));
        last.is("Reject")
    });
    assert_eq!(i32::from_le_bytes(last.field("code")), 10_028);
    assert_eq!(last.field("creditsLeft"), 0_u32.to_le_bytes());
    assert!((1..=1000).contains(&u32::from_le_bytes(last.field("retryAfterMs"))));
    drop(client);
    drop(json);
    server.stop().assert_clean();
}

#[test]
fn a_message_without_a_whole_header_closes_with_1007() {
    let server = Server::start("", "0");
    let mut client = Binary::open(server.address);
    client.send(&[0; 7]);
    assert_eq!(bytes::read_frame(&mut client.stream).close_code(), Some(1007));
    drop(client);
    let ended = server.stop();
    ended.assert_clean();
    ended.assert_incidents(["sbe_header_missing"]);
}

#[test]
fn several_orders_in_one_frame_are_each_answered_up_to_where_it_breaks_off() {
    let server = Server::start(TCP, "0");
    let by_websocket = Binary::open_by("/ws?encoding=sbe&schema=1&version=0&batch=true", server.address);
    for client in [by_websocket, Binary::open_tcp(server.addresses[1], true)] {
        let mut client = client.logged_in();
        let [first, second] = [cancel(1, 17), cancel(2, 18)];
        let whole = batch(&[&first, &second, &first]);
        client.is_batched = false;
        client.write(BINARY, &whole[..whole.len() - 1]);
        client.is_batched = true;
        for id in [1, 2] {
            let told = Told::read(client.read().payload);
            assert_eq!((told.u64("correlationId"), told.texts()[0]), (id, "order_not_found"));
        }
        match client.way {
            Way::WebSocket => assert_eq!(client.read().close_code(), Some(1007)),
            Way::BinaryTcp => {
                let told: Value = serde_json::from_slice(&client.read().payload).unwrap();
                assert_eq!(told["params"]["code"], 1007);
            }
        }
    }
    let ended = server.stop();
    ended.assert_clean();
    ended.assert_incidents(["sbe_batch_cut", "sbe_batch_cut"]);
}

#[test]
fn who_is_cut_off_resumes_its_reports_and_its_orders_are_cancelled_if_it_said_so() {
    let server = Server::start("", "0,1");
    let mut json = trader(server.address);
    let price = far_below(&mut json, 5);
    let mut client = Binary::trader(server.address);
    let instrument = client.instrument();
    client.call("private/enable_cancel_on_disconnect", &json!({"scope": "connection"}));
    let channel = "user.orders.any.any.raw";
    let subscribed = client.call("private/subscribe", &json!({"channels": [channel]}));
    let epoch = subscribed["places"][channel]["epoch"].as_u64().unwrap();
    let rests = client.done(&new_order(1, instrument, Some(price), 10, ""));
    let report = client.report();
    assert_eq!((report.u64("epoch"), report.u64("seq")), (epoch, 1));
    bytes::reset(client.stream);
    let state = json!({"order_id": rests.u64("orderId").to_string()});
    until("the order of the connection that is gone is cancelled", || {
        json.call("private/get_order_state", &state)["order_state"] == "cancelled"
    });
    let mut client = Binary::trader(server.address);
    let resume = json!({"channels": [channel], "resume": {channel: {"epoch": epoch, "seq": 1}}});
    let resumed = client.call("private/subscribe", &resume);
    assert_eq!(resumed["resumed"][channel]["recovered"], true, "{resumed}");
    let report = client.report();
    assert_eq!((report.u64("seq"), report.u64("prevSeq"), report.letter("execType")), (2, 1, '4'));
    assert_eq!(report.field::<1>("cancelReason"), [1], "its connection is gone");
    drop(client);
    drop(json);
    server.stop().assert_clean();
}
