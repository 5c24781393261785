//! One order at a time through a venue link: this process is the client on a WebSocket and the venue at the other end of the
//! link, and spins as both. `in` is from the client's send to the order at the venue, `out` from the venue's answer to the
//! reply at the client. Each order is cancelled before the next, unmeasured, so that nothing piles up. Home: the load thread.
//!
//! The limit hands each message on as the bytes that the server would say (`limit/link.rs`), between the same two sockets: what is
//! beyond it is the dialect, the desk, the link's session and the way between the threads.
//! Invariant: an order or a reply that is missing, an error or in another state than it must be in fails the run.

mod venue;

use std::net::{SocketAddr, TcpListener};

use crate::account::Account;
use crate::client::{STEP_DEADLINE_NS, Single};
use crate::clock::{self, MILLISECOND_NS};
use crate::failure::{Doing, Failure, Result};
use crate::frame;
use crate::histogram::Latencies;
use crate::limit::link as limit;
use crate::link::{AMOUNT, INSTRUMENT, PRICE};
use crate::report::{Comparison, Sample, median};
use crate::scenarios::orders::{Key, login_request};
use crate::scenarios::{Arms, Rig, Window};
use crate::server::{self, Launch, Server};
use crate::wire;

use memchr::memmem;
use venue::Venue;

/// What the server's configuration calls the address of the load's venue by (loadtest/link.toml).
const ADDRESS_VARIABLE: &str = "LOADTEST_VENUE";
/// Bytes of a buy and of a cancel, so that a relay can tell them from what comes before; spaces fill them up.
pub(crate) const REQUEST_BYTES: usize = 192;
const ORDER_KEY: &[u8] = br#""order_id":""#;

/// Who trades, and the claim.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) key: Key,
    /// What the server may add to an order's way there and back, at the median, in microseconds.
    pub(crate) added_us_max: u64,
}

/// Compares the server with the relay, and judges what it adds.
pub(crate) fn run(rig: &Rig, shape: &Shape) -> Result<(Comparison, Account)> {
    let listener = TcpListener::bind("127.0.0.1:0").doing("bind")?;
    let arms = arms(rig, shape, &listener)?;
    let case =
        "link: one order at a time through a venue link and back, one process as client and venue, spinning";
    let comparison = rig.compare(case, &arms, |launch| measure(rig, launch, shape, &listener));
    let account = judge(rig, shape, &comparison);
    Ok((comparison, account))
}

fn arms(rig: &Rig, shape: &Shape, listener: &TcpListener) -> Result<Arms> {
    let address = listener.local_addr().doing("getsockname")?;
    let mut limit = vec!["link".to_owned(), "--venue".to_owned(), address.to_string()];
    let server = rig.server(&[]).map(|launch| with_venue(launch, address));
    if let Some(launch) = &server {
        limit.extend(Link::start(rig, launch, shape, listener)?.learnt()?);
    }
    Ok(rig.arms(rig.limit(&limit)?, server))
}

fn with_venue(mut launch: Launch, address: SocketAddr) -> Launch {
    launch.environment.push((ADDRESS_VARIABLE.to_owned(), address.to_string()));
    launch
}

/// A server between us and us.
struct Link {
    server: Server,
    client: Single,
    venue: Venue,
    login: String,
    ticker: String,
    buy: Vec<u8>,
    text: Vec<u8>,
    frame: Vec<u8>,
}

/// One order's way.
#[derive(Debug, Clone, Copy)]
struct Round {
    in_ns: u64,
    out_ns: u64,
}

impl Link {
    /// Starts the server, whose venue we are, logs in, and awaits the market that we told of.
    fn start(rig: &Rig, launch: &Launch, shape: &Shape, listener: &TcpListener) -> Result<Link> {
        let server = Server::start(launch, rig.cpu_client)?;
        let mut venue = Venue::greet(listener)?;
        let mut client = Single::connect(server.target())?;
        let login = client.ask(&login_request(&shape.key))?;
        let ticker = await_market(&mut client, &mut venue)?;
        let (mut text, mut buy) = (Vec::new(), Vec::new());
        write_buy(&mut text);
        frame::encode_client(frame::TEXT, &text, &mut buy);
        Ok(Link { server, client, venue, login, ticker, buy, text, frame: Vec::new() })
    }

    /// An order there and back, then its end.
    fn round(&mut self) -> Result<Round> {
        self.venue.idle()?;
        let sent_ns = clock::mono_ns();
        self.client.send(&self.buy)?;
        let order = match self.venue.receive() {
            Ok(command) => command.order,
            Err(failure) => return Err(self.explained(failure)),
        };
        let arrived_ns = clock::mono_ns();
        self.venue.accept_order(order)?;
        let reply = self.client.receive()?;
        let received_ns = clock::mono_ns();
        write_cancel(order_id(reply, "open")?, &mut self.text);
        self.cancel()?;
        Ok(Round { in_ns: arrived_ns - sent_ns, out_ns: received_ns - arrived_ns })
    }

    /// Sends the cancel that is written, carries it out and awaits the reply.
    fn cancel(&mut self) -> Result<()> {
        self.frame.clear();
        frame::encode_client(frame::TEXT, &self.text, &mut self.frame);
        self.client.send(&self.frame)?;
        let order = self.venue.receive()?.order;
        self.venue.cancel_order(order)?;
        order_id(self.client.receive()?, "cancelled").map(drop)
    }

    /// An order that does not come was refused, perhaps: then the reply says why.
    fn explained(&mut self, failure: Failure) -> Failure {
        match self.client.receive() {
            Ok(reply) => Failure::Protocol(format!("{failure}; {}", String::from_utf8_lossy(reply))),
            Err(_) => failure,
        }
    }

    /// The arguments that make the limit say what this server says.
    fn learnt(mut self) -> Result<Vec<String>> {
        self.client.send(&self.buy)?;
        let (order, new) = match self.venue.receive() {
            Ok(command) => (command.order, limit::hex(command.bytes)),
            Err(failure) => return Err(self.explained(failure)),
        };
        self.venue.accept_order(order)?;
        let bought = String::from_utf8_lossy(self.client.receive()?).into_owned();
        write_cancel(order_id(bought.as_bytes(), "open")?, &mut self.text);
        frame::encode_client(frame::TEXT, &self.text, &mut self.frame);
        self.client.send(&self.frame)?;
        let command = self.venue.receive()?;
        let (order, cancel) = (command.order, limit::hex(command.bytes));
        self.venue.cancel_order(order)?;
        let cancelled = String::from_utf8_lossy(self.client.receive()?).into_owned();
        let learnt = [
            ("--login", self.login),
            ("--ticker", self.ticker),
            ("--bought", bought),
            ("--cancelled", cancelled),
            ("--new", new),
            ("--cancel", cancel),
        ];
        Ok(learnt.into_iter().flat_map(|(name, text)| [name.to_owned(), text]).collect())
    }
}

fn measure(rig: &Rig, launch: &Launch, shape: &Shape, listener: &TcpListener) -> Result<Sample> {
    let mut link = Link::start(rig, launch, shape, listener)?;
    let warm_ns = clock::mono_ns() + rig.warmup_ns;
    while clock::mono_ns() < warm_ns {
        link.round()?;
    }
    let (mut there, mut back, mut whole) = (Latencies::new(), Latencies::new(), Latencies::new());
    let window = Window::open(&link.server, 0)?;
    let end_ns = clock::mono_ns() + rig.measured_ns;
    while clock::mono_ns() < end_ns {
        let round = link.round()?;
        there.record(round.in_ns);
        back.record(round.out_ns);
        whole.record(round.in_ns + round.out_ns);
    }
    let seen = window.close(&link.server, 0)?;
    let mut sample = Sample::default();
    let (there, back, whole) = (there.summary(), back.summary(), whole.summary());
    sample.add_us("in p50", there.p50_ns);
    sample.add_us("in p99", there.p99_ns);
    sample.add_us("out p50", back.p50_ns);
    sample.add_us("out p99", back.p99_ns);
    sample.add_us("whole p50", whole.p50_ns);
    sample.add_us("whole p99", whole.p99_ns);
    sample.add_us("whole p99.9", whole.p999_ns);
    sample.add("orders", "1/s", seen.rate_per_s(whole.count));
    sample.add("server CPU", "core", seen.cpu_share());
    Ok(sample)
}

/// What the server adds to the relay's times, pair by pair, and whether that is within the claim.
fn judge(rig: &Rig, shape: &Shape, comparison: &Comparison) -> Account {
    let case = "link: what the server adds to the relay, median of the pairs";
    let mut account = Account { case: case.to_owned(), ..Account::default() };
    for name in ["in p50", "in p99", "out p50", "out p99", "whole p50", "whole p99"] {
        let pairs = comparison.pairs.iter();
        let added = pairs.filter_map(|(limit, subject)| Some(subject.value(name)? - limit.value(name)?));
        let Some(added_us) = median(added.collect()) else { continue };
        account.add(name, "us", added_us);
        if name == "whole p50" {
            let bound_us = shape.added_us_max;
            let claim = format!("an order's way there and back takes at most {bound_us} us longer at p50");
            account.judge(claim, added_us <= f64::from(u32::try_from(bound_us).unwrap_or(u32::MAX)));
        }
    }
    if rig.cpus_server.len() < 2 {
        account.notes.push(
            "the server's shard and venue share one core (--cpu-server): neither can spin beside the other"
                .to_owned(),
        );
    }
    account
}

/// Asks until the market is open and has our price; the ticker's reply.
fn await_market(client: &mut Single, venue: &mut Venue) -> Result<String> {
    let request = format!(
        r#"{{"jsonrpc":"2.0","id":1000007,"method":"public/ticker","params":{{"instrument_name":"{INSTRUMENT}"}}}}"#
    );
    let mut frame = Vec::new();
    frame::encode_client(frame::TEXT, request.as_bytes(), &mut frame);
    let price = PRICE.to_string();
    let deadline_ns = clock::mono_ns() + STEP_DEADLINE_NS;
    loop {
        venue.idle()?;
        client.send(&frame)?;
        let reply = client.receive()?;
        let is_open = memmem::find(reply, br#""state":"open""#).is_some();
        if is_open && wire::digits_after(reply, r#""best_bid_price":"#) == Some(price.as_str()) {
            return Ok(String::from_utf8_lossy(reply).into_owned());
        }
        if deadline_ns < clock::mono_ns() {
            let reply = String::from_utf8_lossy(reply);
            return Err(Failure::Deadline(format!("the market that the venue tells of; {reply}")));
        }
        server::sleep_ns(MILLISECOND_NS);
    }
}

fn write_buy(text: &mut Vec<u8>) {
    let request = format!(
        r#"{{"jsonrpc":"2.0","id":1000008,"method":"private/buy","params":{{"instrument_name":"{INSTRUMENT}","amount":{AMOUNT},"price":{PRICE}}}}}"#
    );
    write_padded(&request, text);
}

fn write_cancel(order_id: u64, text: &mut Vec<u8>) {
    let request = format!(
        r#"{{"jsonrpc":"2.0","id":1000009,"method":"private/cancel","params":{{"order_id":"{order_id}"}}}}"#
    );
    write_padded(&request, text);
}

fn write_padded(request: &str, text: &mut Vec<u8>) {
    assert!(request.len() <= REQUEST_BYTES, "ids have the digits that REQUEST_BYTES allows for");
    text.clear();
    text.extend_from_slice(request.as_bytes());
    text.resize(REQUEST_BYTES, b' ');
}

/// The id of the order in a reply, which must tell it in this state.
fn order_id(reply: &[u8], state: &str) -> Result<u64> {
    let is_in_state = memmem::find(reply, format!(r#""order_state":"{state}""#).as_bytes()).is_some();
    let at = memmem::find(reply, ORDER_KEY).filter(|_| is_in_state && wire::is_result(reply));
    let id = at.and_then(|at| wire::number(&reply[at + ORDER_KEY.len()..]));
    id.ok_or_else(|| {
        Failure::Protocol(format!("no order that is {state}: {}", String::from_utf8_lossy(reply)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_tells_its_order_in_the_state_that_it_must_be_in() {
        let reply = br#"{"jsonrpc":"2.0","id":1000008,"result":{"order":{"order_id":"1763751000000001","order_state":"open"},"trades":[]}}"#;
        assert_eq!(order_id(reply, "open").unwrap(), 1_763_751_000_000_001);
        assert!(order_id(reply, "cancelled").is_err());
        let error = br#"{"jsonrpc":"2.0","id":1000008,"error":{"code":1,"data":{"order_id":"1","order_state":"open"}}}"#;
        assert!(order_id(error, "open").is_err());
    }

    #[test]
    fn both_requests_have_the_length_by_which_the_relay_knows_them() {
        let mut text = Vec::new();
        write_buy(&mut text);
        assert_eq!(text.len(), REQUEST_BYTES);
        write_cancel(9_007_199_254_740_991, &mut text);
        assert_eq!(text.len(), REQUEST_BYTES);
    }

    #[test]
    fn what_is_added_is_the_median_of_the_pairs_differences() {
        let sample = |us: f64| {
            let mut sample = Sample::default();
            sample.add("whole p50", "us", us);
            sample
        };
        let pairs = [(10.0, 30.0), (20.0, 70.0), (10.0, 45.0)];
        let comparison = Comparison {
            case: String::new(),
            limit: "limit".to_owned(),
            subject: "server".to_owned(),
            pairs: pairs.map(|(limit, subject)| (sample(limit), sample(subject))).to_vec(),
            refused: Vec::new(),
        };
        let rig = Rig {
            server: None,
            server_arguments: Vec::new(),
            cpus_server: vec![0],
            cpu_client: 1,
            pairs: 3,
            warmup_ns: 0,
            measured_ns: 0,
            generator_lag_ns_max: 0,
            tls: false,
            tcp: false,
        };
        let key = Key { client_id: "demo".to_owned(), secret: "demo".to_owned() };
        for (added_us_max, holds) in [(35, true), (34, false)] {
            let account = judge(&rig, &Shape { key: key.clone(), added_us_max }, &comparison);
            assert_eq!((account.facts[0].value, account.holds()), (35.0, holds));
        }
    }
}
