//! How many instructions the hot path takes, counted by callgrind and held against `benches/instructions.json`: exact where a
//! time is not, so that a slip of a few percent is seen on a shared machine. Run with
//! `cargo bench --no-default-features --bench instructions` (needs valgrind); `-- --write` writes the file anew, with a reason in
//! the commit that does so.
//!
//! A case is run by callgrind twice, for few and for more rounds; the difference is what the rounds took, without the start.
//! Counts are those of one compiler: with another, only what is far off fails.

#![expect(clippy::print_stdout, reason = "what it has to say is its output")]

mod fixture;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::{Command, ExitCode};

use serde::Deserialize;
use tickring::backend::paper::{Paper, PaperConfig};
use tickring::dialect::json_rpc::{close_notification, decode, open_notification, write_quote, write_ticker};
use tickring::dialect::sbe::generated::{OrdStatus, OrderAckView};
use tickring::hub::market::MarketHome;
use tickring::model::ids::{Epoch, HomeId, Seq, SourceId};
use tickring::model::market::{FeedBuffer, InstrumentState};
use tickring::ws::{Event, ReceiveLimits, Receiver};

use crate::fixture::instrument::instrument;
use crate::fixture::trading::{Floor, order_in_json, request};
use crate::fixture::{HISTORY, NOW, TICKS_PER_BATCH, Ticks, connect, end_turn, fan, frame, hub};

const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.json");
/// Rounds of the two runs of a case.
const ROUNDS: [u64; 2] = [20, 60];
/// A case fails beyond these, in percent of its baseline: with the baseline's compiler, and with another.
const SLIP_PERCENT_MAX: f64 = 3.0;
const SLIP_PERCENT_MAX_ELSEWHERE: f64 = 20.0;

/// What one round of a case does, and how many of the things that are counted it does.
struct Case {
    name: &'static str,
    /// What one of them is.
    each: &'static str,
    per_round: u64,
    run: fn(u64),
}

const CASES: [Case; 13] = [
    Case { name: "ws_receive_64", each: "a text message of 64 bytes, unmasked", per_round: 1, run: receive },
    Case { name: "json_decode_test", each: "public/test decoded", per_round: 1, run: decode_test },
    Case { name: "json_encode_quote", each: "a quote notification", per_round: 1, run: encode_quote },
    Case { name: "json_encode_ticker", each: "a ticker notification", per_round: 1, run: encode_ticker },
    Case { name: "hub_request", each: "public/test, frame to frame", per_round: 1, run: hub_request },
    Case { name: "hub_delivery", each: "a delivery of a publish to 1,000", per_round: 1_000, run: deliver },
    Case {
        name: "tick_unheard",
        each: "a tick through its home into a shard's cache",
        per_round: TICKS,
        run: tick,
    },
    Case { name: "market_event", each: "a feed's event, encoded for all", per_round: EVENTS, run: market },
    Case {
        name: "order_immediate",
        each: "an order that finds nothing, to its reports",
        per_round: 1,
        run: immediate,
    },
    Case { name: "order_resting", each: "an order that rests and is cancelled", per_round: 1, run: resting },
    Case {
        name: "order_reported",
        each: "order_immediate, to who follows its account",
        per_round: 1,
        run: reported,
    },
    Case { name: "sbe_order_immediate", each: "order_immediate in SBE", per_round: 1, run: immediate_in_sbe },
    Case { name: "sbe_order_reported", each: "order_reported in SBE", per_round: 1, run: reported_in_sbe },
];
const TICKS: u64 = TICKS_PER_BATCH as u64;
const EVENTS: u64 = 256;

/// `benches/instructions.json`.
#[derive(Deserialize)]
struct Baseline {
    /// What `rustc --version` said.
    compiler: String,
    instructions: BTreeMap<String, f64>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        // This is the child that callgrind looks at.
        ["run", name, rounds] => {
            let case = CASES.iter().find(|case| case.name == *name).expect("a case of the list");
            (case.run)(rounds.parse().expect("a number of rounds"));
            ExitCode::SUCCESS
        }
        ["--write"] => match count_all() {
            Ok(counts) => write(&counts),
            Err(why) => fail(&why),
        },
        // `cargo test --benches` starts it to see that it starts.
        ["--test"] => ExitCode::SUCCESS,
        [] => match count_all().and_then(|counts| judge(&counts)) {
            Ok(code) => code,
            Err(why) => fail(&why),
        },
        _ => fail("arguments are none, or --write"),
    }
}

fn fail(why: &str) -> ExitCode {
    eprintln!("instructions: {why}");
    ExitCode::FAILURE
}

fn count_all() -> Result<Vec<f64>, String> {
    CASES.iter().map(count).collect()
}

/// Instructions for each of what the case does.
#[expect(clippy::cast_precision_loss, reason = "some 1e9 instructions are far below 2^53")]
fn count(case: &Case) -> Result<f64, String> {
    let few = collected(case, ROUNDS[0])?;
    let more = collected(case, ROUNDS[1])?;
    let rounds = ROUNDS[1] - ROUNDS[0];
    Ok(more.saturating_sub(few) as f64 / (rounds * case.per_round) as f64)
}

/// What callgrind counts for a whole process.
fn collected(case: &Case, rounds: u64) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["run", case.name, &rounds.to_string()])
        .output()
        .map_err(|error| format!("valgrind: {error} (Debian's package `valgrind`)"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let count = said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    count.filter(|_| output.status.success()).ok_or_else(|| format!("{}: {said}", case.name))
}

fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output();
    output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn judge(counts: &[f64]) -> Result<ExitCode, String> {
    let text = std::fs::read_to_string(BASELINE).map_err(|error| format!("{BASELINE}: {error}"))?;
    let baseline: Baseline = serde_json::from_str(&text).map_err(|error| format!("{BASELINE}: {error}"))?;
    let here = compiler();
    let slip_max = if here == baseline.compiler { SLIP_PERCENT_MAX } else { SLIP_PERCENT_MAX_ELSEWHERE };
    println!("baseline by {}; here {here}: at most {slip_max} % more", baseline.compiler);
    let mut slipped = Vec::new();
    for (case, count) in CASES.iter().zip(counts) {
        let Some(before) = baseline.instructions.get(case.name) else {
            return Err(format!("{} is not in the baseline: -- --write", case.name));
        };
        let percent = (count / before - 1.0) * 100.0;
        println!("{:<20}{count:>12.1}{before:>12.1}{percent:>+8.1} %  {}", case.name, case.each);
        if slip_max < percent {
            slipped.push(case.name);
        }
    }
    if slipped.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    Err(format!("more instructions than before: {}", slipped.join(", ")))
}

fn write(counts: &[f64]) -> ExitCode {
    let lines = CASES.iter().zip(counts).map(|(case, count)| format!("    \"{}\": {count:.1}", case.name));
    let text = format!(
        "{{\n  \"compiler\": \"{}\",\n  \"instructions\": {{\n{}\n  }}\n}}\n",
        compiler(),
        lines.collect::<Vec<_>>().join(",\n")
    );
    match std::fs::write(BASELINE, &text) {
        Ok(()) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => fail(&format!("{BASELINE}: {error}")),
    }
}

// The cases. Each does its rounds; what it needs for them is made before, and is the same however many there are.

fn receive(rounds: u64) {
    let limits = ReceiveLimits { frame_bytes_max: 1 << 20, message_bytes_max: 1 << 20, fragments_max: 64 };
    let mut receiver = Receiver::new(limits);
    let mut frame = frame(&"7".repeat(64));
    for _ in 0..rounds {
        match receiver.step(black_box(&mut frame)) {
            Ok((_, Some(Event::Text(text)))) => assert_eq!(text.len(), 64),
            outcome => panic!("a whole text message is received: {outcome:?}"),
        }
    }
}

fn decode_test(rounds: u64) {
    let text = br#"{"jsonrpc":"2.0","id":8212,"method":"public/test","params":{}}"#;
    for _ in 0..rounds {
        black_box(decode(black_box(text)));
    }
}

fn encode_quote(rounds: u64) {
    encode(rounds, b"quote.ESH4", write_quote);
}

fn encode_ticker(rounds: u64) {
    encode(rounds, b"ticker.ESH4.raw", write_ticker);
}

fn encode(rounds: u64, channel: &[u8], write: fn(&mut Vec<u8>, &InstrumentState)) {
    let state = instrument();
    let mut out = Vec::with_capacity(4096);
    for _ in 0..rounds {
        out.clear();
        open_notification(&mut out, black_box(channel));
        write(&mut out, black_box(&state));
        close_notification(&mut out, Epoch(1_700_000_000_000), black_box(Seq(123_456)), NOW.unix_ns);
        black_box(&out);
    }
}

fn hub_request(rounds: u64) {
    let (mut hub, mut out) = (hub(), vec![0; 64 * 1024]);
    let conn = connect(&mut hub, 0);
    let mut test = request("public/test", "{}");
    for _ in 0..rounds {
        hub.handle_bytes(conn, black_box(&mut test), NOW);
        assert!(end_turn(&mut hub, &mut out) > 0);
    }
}

fn deliver(rounds: u64) {
    let mut out = vec![0; 64 * 1024];
    let (mut hub, publisher, mut publish) = fan(1_000, &mut out);
    for _ in 0..rounds {
        hub.handle_bytes(publisher, black_box(&mut publish), NOW);
        assert!(end_turn(&mut hub, &mut out) > 1_000);
    }
}

fn tick(rounds: u64) {
    let (mut hub, mut ticks) = (hub(), Ticks::new());
    for _ in 0..rounds {
        ticks.next(|outgoing| hub.handle_batch(HomeId(1), black_box(&outgoing.batch), NOW));
    }
}

fn market(rounds: u64) {
    let (mut paper, mut feed, mut now) = (Paper::new(PaperConfig::default()), FeedBuffer::default(), NOW);
    let mut market = MarketHome::new(HomeId(1), 1, HISTORY, now);
    for _ in 0..rounds {
        feed.clear();
        while (feed.events.len() as u64) < EVENTS {
            now = now.plus_ns(100_000_000);
            let missing = usize::try_from(EVENTS).expect("a few") - feed.events.len();
            paper.poll(now, &mut feed, missing);
        }
        market.handle_feed(SourceId::FEED, &feed, now);
        market.seal();
        while market.poll_mesh().is_some() {}
    }
}

fn immediate(rounds: u64) {
    buy(rounds, Floor::open());
}

fn reported(rounds: u64) {
    let mut floor = Floor::open();
    floor.follow_reports();
    buy(rounds, floor);
}

fn buy(rounds: u64, mut floor: Floor) {
    let mut order = order_in_json();
    let reply = floor.ask(&mut order);
    assert!(reply.contains(r#""order_state":"cancelled""#), "{reply}");
    for _ in 0..rounds {
        assert!(floor.act(black_box(&mut order)) > 0);
    }
}

fn immediate_in_sbe(rounds: u64) {
    buy_in_sbe(rounds, Floor::open_in_sbe(), 1);
}

fn reported_in_sbe(rounds: u64) {
    let mut floor = Floor::open_in_sbe();
    floor.follow_reports();
    buy_in_sbe(rounds, floor, 2);
}

/// The order of [`buy`], after which the client is sent so many frames.
fn buy_in_sbe(rounds: u64, mut floor: Floor, frames: usize) {
    let mut order = floor.order_in_sbe();
    floor.act(&mut order);
    let told = floor.frames_said();
    let ack = OrderAckView::decode(told[0]).expect("an acknowledgement is first");
    assert_eq!((ack.ord_status(), told.len()), (Ok(OrdStatus::Cancelled), frames));
    for _ in 0..rounds {
        assert!(floor.act(black_box(&mut order)) > 0);
    }
}

fn resting(rounds: u64) {
    let mut floor = Floor::open();
    let mut order =
        request("private/buy", r#"{"instrument_name":"ESH7","amount":1,"type":"limit","price":6700}"#);
    let mut cancel = request("private/cancel_all_by_instrument", r#"{"instrument_name":"ESH7"}"#);
    let reply = floor.ask(&mut order);
    assert!(reply.contains(r#""order_state":"open""#), "{reply}");
    let reply = floor.ask(&mut cancel);
    assert!(reply.contains(r#""result":1"#), "{reply}");
    for _ in 0..rounds {
        assert!(floor.act(black_box(&mut order)) > 0);
        assert!(floor.act(black_box(&mut cancel)) > 0);
    }
}
