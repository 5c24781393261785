//! Orders: traders that are logged in buy, sell and cancel, and an audience that is told of every trade. CPU per request
//! at saturation without the audience (closed loop), then latency from the intended time at half and at 80 % of what the
//! server did, with it (open loop). Home: the load thread, which carries traders and audience.
//!
//! The mix, told in each case's name: `trades` orders a second go through the market and are filled at once by what the
//! venue's own traders have there; of the others `resting` percent rest a tenth away from the market, each cancelled by
//! its connection's next request, and the rest are immediate or cancel at the same prices and find nothing. A round trip is
//! any of these, cancels included; `orders` counts buys and sells alone.
//!
//! The limit answers the same bytes with the server's own texts and fans a trade out to the same sockets (`limit/orders.rs`):
//! what no server can be faster than, since it neither reads an order nor holds a book. Both arms are offered the same
//! rates, shares of what the server did: nothing is learnt at rates that only the limit can answer.
//! With SBE the server is beside itself: the same mix by clients of JSON and by clients of SBE, in turns, at rates that are shares
//! of what it did in the slower of the two.
//! Invariant: a reply that is missing, doubled, an error or in another state than its request must end in fails the run, and
//! so does an audience that is not told of each trade once and in order.

mod sbe;
pub(crate) mod script;
mod traders;

use crate::client::{Clients, Single};
use crate::clock::{self, SECOND_NS};
use crate::encoding::Encoding;
use crate::failure::{Failure, Result};
use crate::histogram::Latencies;
use crate::report::{Comparison, Sample};
use crate::scenarios::request::whole;
use crate::scenarios::{self, Arms, DRAIN_DEADLINE_NS, Rig, SATURATED_SHARE_MIN, Seen, Window};
use crate::schedule::Schedule;
use crate::secure::{Line, Target};
use crate::server::{Launch, Server};
use crate::wire;

use script::{Deed, INSTRUMENT, Market, Request};
use traders::{Answered, Audience, Tongue, Traders};

/// The shares of the server's capacity at which latency is measured, in percent.
const LATENCY_AT_PERCENT: [u64; 2] = [50, 80];
/// How long a saturated run may trade: far beyond every run.
const TRADING_NS_MAX: u64 = 3_600 * SECOND_NS;

/// Who logs in by what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) client_id: String,
    pub(crate) secret: String,
}

/// One orders load.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) connections: usize,
    pub(crate) subscribers: usize,
    /// Orders a second that trade.
    pub(crate) trades_per_s: u64,
    /// Of 100 others, those that rest.
    pub(crate) resting_percent: u64,
    /// Requests in flight on each connection at saturation.
    pub(crate) window: usize,
    /// The connections log in by these in turns.
    pub(crate) keys: Vec<Key>,
    /// With SBE the server is beside itself: once for clients of JSON, once for those of SBE.
    pub(crate) encoding: Encoding,
}

/// `CLIENT_ID:SECRET`.
pub(crate) fn parse_key(text: &str) -> std::result::Result<Key, String> {
    match text.split_once(':') {
        Some((client_id, secret)) if !client_id.is_empty() && !secret.is_empty() => {
            Ok(Key { client_id: client_id.to_owned(), secret: secret.to_owned() })
        }
        Some(_) | None => Err("CLIENT_ID:SECRET".to_owned()),
    }
}

/// Compares at `rate`, or at saturation and at the shares of the server's capacity.
pub(crate) fn run(rig: &Rig, shape: &Shape, rate: Option<u64>) -> Result<Vec<Comparison>> {
    let arms = arms(rig, shape)?;
    if let Some(rate_per_s) = rate {
        return Ok(vec![compare_open(rig, shape, &arms, rate_per_s, "")]);
    }
    let saturation = saturate(rig, shape, &arms);
    let capacity = capacity_of(&saturation, shape.encoding);
    let mut comparisons = vec![saturation];
    let Some(capacity) = capacity else { return Ok(comparisons) };
    for percent in LATENCY_AT_PERCENT {
        let rate_per_s = whole(capacity) * percent / 100;
        let note = format!(" = {percent} % of the server's capacity");
        comparisons.push(compare_open(rig, shape, &arms, rate_per_s.max(1), &note));
    }
    Ok(comparisons)
}

/// Compares at saturation alone.
pub(crate) fn run_saturated(rig: &Rig, shape: &Shape) -> Result<Comparison> {
    Ok(saturate(rig, shape, &arms(rig, shape)?))
}

fn saturate(rig: &Rig, shape: &Shape, arms: &Arms) -> Comparison {
    let case =
        format!("orders: {}, no subscribers, closed loop, window {}, saturation", mix(shape), shape.window);
    let alone = Shape { subscribers: 0, ..shape.clone() };
    rig.compare(&case, arms, |launch| {
        measure_saturation(rig, launch, &alone, encoding_of(launch, arms, shape))
    })
}

/// Round trips a second that the server did: in the slower encoding, where it is beside itself.
fn capacity_of(saturation: &Comparison, encoding: Encoding) -> Option<f64> {
    let (limit, subject) = (saturation.limit_median("round trips"), saturation.subject_median("round trips"));
    match encoding {
        Encoding::Json => subject,
        Encoding::Sbe => Some(limit?.min(subject?)),
    }
}

/// The arms may be one server; which of them it is says its place.
fn encoding_of(launch: &Launch, arms: &Arms, shape: &Shape) -> Encoding {
    if std::ptr::eq(launch, &arms.subject) { shape.encoding } else { Encoding::Json }
}

fn mix(shape: &Shape) -> String {
    format!(
        "{} connections of {} keys, {} trades/s, {} % of the other orders rest and are cancelled",
        shape.connections,
        shape.keys.len(),
        shape.trades_per_s,
        shape.resting_percent
    )
}

fn compare_open(rig: &Rig, shape: &Shape, arms: &Arms, rate_per_s: u64, note: &str) -> Comparison {
    let case = format!(
        "orders: {}, {} subscribers of the trades, open loop, {rate_per_s}/s{note}",
        mix(shape),
        shape.subscribers
    );
    rig.compare(&case, arms, |launch| {
        measure_open(rig, launch, shape, rate_per_s, encoding_of(launch, arms, shape))
    })
}

fn arms(rig: &Rig, shape: &Shape) -> Result<Arms> {
    let server = rig.server(&[]);
    if shape.encoding == Encoding::Sbe {
        let subject = server
            .ok_or_else(|| Failure::Unmet("a limit says nothing in SBE: name a --server".to_owned()))?;
        return Ok(Arms { limit: subject.clone(), limit_name: "JSON", subject, subject_name: "SBE" });
    }
    let mut limit = vec!["orders".to_owned()];
    if let Some(launch) = &server {
        limit.extend(learnt_texts(rig, launch, shape)?);
    }
    Ok(rig.arms(rig.limit(&limit)?, server))
}

/// Trades once in each way and returns the arguments that make the limit say what the server says.
fn learnt_texts(rig: &Rig, launch: &Launch, shape: &Shape) -> Result<Vec<String>> {
    let server = Server::start(launch, rig.cpu_client)?;
    let mut subscriber = Single::connect(server.address)?;
    subscriber.ask(&subscribe_request())?;
    let mut trader = Single::connect(server.address)?;
    let mut arguments = vec!["--login".to_owned(), trader.ask(&login_request(&shape.keys[0]))?];
    let ticker = trader.ask(&ticker_request())?;
    let market = market_of(ticker.as_bytes())?;
    arguments.extend(["--ticker".to_owned(), ticker]);
    let (mut order, mut text) = (0, Vec::new());
    let deeds = [Deed::Rest, Deed::Cancel, Deed::Miss, Deed::Take];
    for (number, deed) in (0..).zip(deeds) {
        script::write_request(Request { number, deed, is_buy: true, order }, market, &mut text);
        let reply = trader.ask(&String::from_utf8_lossy(&text))?;
        order = script::Reader::new().read(reply.as_bytes())?.order;
        arguments.extend([format!("--{}", deed.name()), reply]);
    }
    let notification = String::from_utf8_lossy(subscriber.receive()?).into_owned();
    arguments.extend(["--notification".to_owned(), notification]);
    Ok(arguments)
}

pub(crate) fn login_request(key: &Key) -> String {
    let Key { client_id, secret } = key;
    format!(
        r#"{{"jsonrpc":"2.0","id":1000006,"method":"public/auth","params":{{"grant_type":"client_credentials","client_id":"{client_id}","client_secret":"{secret}"}}}}"#
    )
}

fn ticker_request() -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":1000007,"method":"public/ticker","params":{{"instrument_name":"{INSTRUMENT}"}}}}"#
    )
}

fn subscribe_request() -> String {
    wire::subscribe_request(&[format!("trades.{INSTRUMENT}.raw")], "")
}

fn market_of(ticker: &[u8]) -> Result<Market> {
    Market::parse(ticker).ok_or_else(|| {
        Failure::Protocol(format!("no market in the ticker {}", String::from_utf8_lossy(ticker)))
    })
}

struct Load {
    server: Server,
    clients: Clients,
    traders: Traders,
    audience: Audience,
    latencies: Latencies,
    measured_from_ns: u64,
}

impl Load {
    /// Connects the traders and logs them in, then the audience, each from a source address of its own.
    fn start(rig: &Rig, launch: &Launch, shape: &Shape, encoding: Encoding) -> Result<Load> {
        let server = Server::start(launch, rig.cpu_client)?;
        let mut clients = Clients::new()?;
        let mut told = None;
        for key in shape.keys.iter().cycle().take(shape.connections) {
            let mut trader = Single::connect_asking(server.target(), encoding.fields())?;
            trader.ask(&login_request(key))?;
            if told.is_none() {
                let market = market_of(trader.ask(&ticker_request())?.as_bytes())?;
                told = Some((market, tongue(&mut trader, shape, encoding)?));
            }
            clients.add(trader.into_line()?);
        }
        for number in 0..shape.subscribers {
            clients.add(subscribed(number, server.target(), encoding)?);
        }
        let (market, tongue) =
            told.ok_or_else(|| Failure::Unmet("nobody trades (--connections)".to_owned()))?;
        Ok(Load {
            server,
            clients,
            traders: Traders::new(shape.connections, tongue, market, shape.resting_percent),
            audience: Audience::new(shape.connections, shape.subscribers, encoding),
            latencies: Latencies::new(),
            measured_from_ns: clock::mono_ns() + rig.warmup_ns,
        })
    }

    fn send(&mut self, slot: usize, is_take: bool, intended_ns: u64) -> Result<()> {
        let frame = self.traders.next_frame(slot, is_take, intended_ns)?;
        self.clients.outbox().send(slot, frame)
    }

    /// One turn. `next` says whether the connection that was answered is to ask again at once, and if so whether for a trade.
    fn turn(&mut self, mut next: impl FnMut() -> Option<bool>) -> Result<u64> {
        let Load { clients, traders, audience, latencies, measured_from_ns, .. } = self;
        clients.turn(|outbox, slot, message| {
            if audience.has(slot) {
                return audience.take(slot, message);
            }
            let intended_ns = traders.take_reply(slot, message)?;
            let received_ns = clock::mono_ns();
            if *measured_from_ns <= intended_ns {
                latencies.record(received_ns.saturating_sub(intended_ns));
            }
            match next() {
                Some(is_take) => outbox.send(slot, traders.next_frame(slot, is_take, received_ns)?),
                None => Ok(()),
            }
        })
    }
}

/// In which the traders ask; in SBE they call the instrument by its number.
fn tongue(trader: &mut Single, shape: &Shape, encoding: Encoding) -> Result<Tongue> {
    Ok(match encoding {
        Encoding::Json => Tongue::Json { is_padded: shape.encoding == Encoding::Json },
        Encoding::Sbe => {
            Tongue::Sbe { instrument: sbe::instrument_of(&trader.ask(wire::INSTRUMENTS_REQUEST)?)? }
        }
    })
}

fn subscribed(number: usize, target: Target, encoding: Encoding) -> Result<Line> {
    let mut subscriber = Single::connect_as_asking(number, target, encoding.fields())?;
    subscriber.ask(&subscribe_request())?;
    subscriber.into_line()
}

fn measure_saturation(rig: &Rig, launch: &Launch, shape: &Shape, encoding: Encoding) -> Result<Sample> {
    let mut load = Load::start(rig, launch, shape, encoding)?;
    let start_ns = clock::mono_ns();
    let mut trades = Schedule::new(start_ns, shape.trades_per_s, TRADING_NS_MAX);
    for slot in 0..shape.connections {
        for _ in 0..shape.window {
            load.send(slot, false, start_ns)?;
        }
    }
    let mut run_until = |load: &mut Load, until_ns: u64| -> Result<Answered> {
        let mut now_ns = clock::mono_ns();
        while now_ns < until_ns {
            now_ns = load.turn(|| Some(trades.poll_due(now_ns).is_some()))?;
        }
        Ok(load.traders.answered)
    };
    let before = run_until(&mut load, start_ns + rig.warmup_ns)?;
    let opened = Window::open(&load.server, load.clients.idle_ns())?;
    let after = run_until(&mut load, clock::mono_ns() + rig.measured_ns)?;
    let seen = opened.close(&load.server, load.clients.idle_ns())?;
    let deadline_ns = clock::mono_ns() + DRAIN_DEADLINE_NS;
    while 0 < load.traders.waiting_count() {
        if deadline_ns < load.turn(|| None)? {
            return Err(Failure::Deadline(format!("{} replies", load.traders.waiting_count())));
        }
    }
    seen.check_saturated()?;
    let mut sample = Sample::default();
    describe(&mut sample, &seen, &after.since(&before));
    Ok(sample)
}

fn measure_open(
    rig: &Rig,
    launch: &Launch,
    shape: &Shape,
    rate_per_s: u64,
    encoding: Encoding,
) -> Result<Sample> {
    let mut load = Load::start(rig, launch, shape, encoding)?;
    let start_ns = clock::mono_ns();
    load.measured_from_ns = start_ns + rig.warmup_ns;
    let lasts_ns = rig.warmup_ns + rig.measured_ns;
    let mut schedule = Schedule::new(start_ns, rate_per_s, lasts_ns);
    let mut trades = Schedule::new(start_ns, shape.trades_per_s, lasts_ns);
    let mut lag = Latencies::new();
    let mut opened: Option<(Window, Answered, u64)> = None;
    let mut seen = None;
    let mut now_ns = start_ns;
    while seen.is_none()
        || 0 < load.traders.waiting_count()
        || !load.audience.is_complete(load.traders.trade_seq)
    {
        while let Some((index, intended_ns)) = schedule.poll_due(now_ns) {
            let slot = usize::try_from(index).expect("invariant: usize has 64 bits here") % shape.connections;
            lag.record((now_ns - intended_ns).max(1));
            load.send(slot, trades.poll_due(intended_ns).is_some(), intended_ns)?;
        }
        now_ns = load.turn(|| None)?;
        if opened.is_none() && load.measured_from_ns <= now_ns {
            let window = Window::open(&load.server, load.clients.idle_ns())?;
            opened = Some((window, load.traders.answered, load.audience.trades));
        }
        if let Some((window, before, told)) = opened.as_ref().filter(|_| schedule.is_done() && seen.is_none())
        {
            let closed = window.close(&load.server, load.clients.idle_ns())?;
            seen = Some((closed, load.traders.answered.since(before), load.audience.trades - told));
        }
        if start_ns + lasts_ns + DRAIN_DEADLINE_NS < now_ns {
            return Err(Failure::Deadline(format!(
                "{} replies, or a subscriber's trades",
                load.traders.waiting_count()
            )));
        }
    }
    scenarios::check_generator(&lag, rig.generator_lag_ns_max)?;
    let (seen, answered, told) = seen.expect("invariant: the loop ends only when it is set");
    Ok(describe_open(&load, &seen, &answered, told, &lag))
}

fn describe_open(load: &Load, seen: &Seen, answered: &Answered, told: u64, lag: &Latencies) -> Sample {
    let summary = load.latencies.summary();
    let mut sample = Sample::default();
    sample.add_us("latency p50", summary.p50_ns);
    sample.add_us("latency p99", summary.p99_ns);
    sample.add_us("latency p99.9", summary.p999_ns);
    sample.add_us("latency max", summary.max_ns);
    describe(&mut sample, seen, answered);
    sample.add("trades told", "1/s", seen.rate_per_s(told));
    let Audience { notifications, notification_bytes, trades, .. } = &load.audience;
    sample.add("trades a notification", "count", scenarios::ratio(*trades, (*notifications).max(1)));
    sample.add("notification", "bytes", scenarios::ratio(*notification_bytes, (*notifications).max(1)));
    sample.add_us("generator lag p99", lag.summary().p99_ns);
    if SATURATED_SHARE_MIN <= scenarios::ratio(seen.cpu.busiest_ns, seen.elapsed_ns) {
        sample.caveats.push(
            "its core was saturated at this rate: the latencies are those of a growing queue".to_owned(),
        );
    }
    sample
}

fn describe(sample: &mut Sample, seen: &Seen, answered: &Answered) {
    sample.add("round trips", "1/s", seen.rate_per_s(answered.requests()));
    sample.add("orders", "1/s", seen.rate_per_s(answered.orders()));
    sample.add("CPU per round trip", "us", seen.cpu_us_each(answered.requests()));
    sample.add("CPU per order", "us", seen.cpu_us_each(answered.orders()));
    sample.add("orders that traded", "1/s", seen.rate_per_s(answered.takes));
    sample.add("cancels", "1/s", seen.rate_per_s(answered.cancels));
    sample.add("reply", "bytes", scenarios::ratio(answered.reply_bytes, answered.requests().max(1)));
    seen.describe(sample);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_an_id_and_a_secret_that_may_have_colons() {
        let key = parse_key("demo:a:b").unwrap();
        assert_eq!((key.client_id.as_str(), key.secret.as_str()), ("demo", "a:b"));
        for text in ["demo", ":a", "demo:"] {
            assert!(parse_key(text).is_err(), "{text}");
        }
    }
}
