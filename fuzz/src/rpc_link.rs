//! What a backend over TCP says, in lines.
//!
//! Property: whatever the bytes, and however they are cut into reads, nothing panics; each call that is under way ends once, the same way
//! for every cut, and the same results are said to hold no more; what is told as a result or an error is one valid JSON value; once the link is lost nothing is under way.
//!
//! Input: how the bytes are cut (`pieces`), a byte of choices, then the bytes. The ids of the calls are 1048576, 2097153, 3145730 and so on.

use tickring::backend::pool::{BackoffConfig, BreakerConfig, MemberConfig, Pick, PoolConfig, RetryConfig};
use tickring::backend::rpc::{Action, Exchange, Moment, News, ServiceConfig, ServiceMember};
use tickring::model::call::{BackendId, Call, CallKey, CallOutcome};
use tickring::model::ids::{ConnId, HomeId, Ticket};
use tickring::model::invalidation::Methods;

use crate::pieces;

const BACKEND: BackendId = BackendId(0);
const CONN: ConnId = ConnId { slot: 1, generation: 1 };
const NOW: Moment = Moment { now_ns: 1_000_000_000, chance: 1 };
const LINE_BYTES_MAX: usize = 200;

/// Choices of the first byte: the lowest three bits are how many calls are under way, less one.
const MAY_BE_SENT_TWICE: u8 = 8;

/// See the file's head.
///
/// # Panics
/// Where the property does not hold.
pub fn check(input: &[u8]) {
    let (lengths, rest) = pieces::take_lengths(input);
    let Some((choices, bytes)) = rest.split_first() else { return };
    let whole = ends(*choices, std::iter::once(bytes));
    let cut = ends(*choices, pieces::cut(lengths, bytes));
    assert_eq!(cut, whole, "the cut matters");
    let mut slots: Vec<u32> = whole.0.iter().map(|(slot, _)| *slot).collect();
    slots.sort_unstable();
    let calls = u32::from(choices & 7) + 1;
    assert_eq!(slots, (0..calls).collect::<Vec<_>>(), "each call ends once");
}

/// How the calls end, in order, and which methods' results hold no more.
fn ends<'b>(choices: u8, pieces: impl Iterator<Item = &'b [u8]>) -> (Vec<(u32, String)>, Option<Methods>) {
    let mut exchange = Exchange::default();
    exchange.set_services(vec![(BACKEND, config())], NOW);
    let mut ends = Vec::new();
    let mut tell = |key: CallKey, news: News<'_>| match news {
        News::Progress(value) => drop(json(value)),
        News::Ended(outcome) => ends.push((key.ticket.slot, text(outcome))),
    };
    exchange.handle_timeout(NOW, &mut tell);
    let Some(Action::Connect { tag, .. }) = exchange.poll_action() else { panic!("a link is asked for") };
    let link = exchange.handle_connected(CONN, tag, NOW).expect("it is wanted");
    for slot in 0..u32::from(choices & 7) + 1 {
        let key = CallKey { home: HomeId(0), ticket: Ticket { slot, generation: 1 } };
        let call = Call {
            key: Some(key),
            backend: BACKEND,
            conn: CONN,
            account: None,
            method: "a/b",
            params: Some(b"[]"),
            trace_parent: None,
            is_idempotent: choices & MAY_BE_SENT_TWICE != 0,
            due_ns: u64::MAX,
        };
        exchange.handle_call(&call, NOW).expect("the link is up");
    }
    while let Some(id) = exchange.poll_dirty(NOW.now_ns) {
        let bytes = exchange.unsent(id).map_or(0, |(_, bytes)| bytes.len());
        exchange.handle_handed(id, bytes);
    }
    for piece in pieces {
        exchange.handle_bytes(link, CONN, piece, NOW, &mut tell);
    }
    exchange.handle_over(link, CONN, NOW, &mut tell);
    assert_eq!(exchange.under_way(), 0, "a link that is lost has nothing under way");
    let invalidated = exchange.poll_invalidated(NOW.now_ns);
    assert_eq!(exchange.poll_invalidated(NOW.now_ns), None, "all that was said is one");
    (ends, invalidated.map(|(_, methods)| methods))
}

fn text(outcome: CallOutcome<'_>) -> String {
    match outcome {
        CallOutcome::Result(result) => json(result),
        CallOutcome::Error(error) => format!("error {}", json(error)),
        CallOutcome::Failed(failure) => format!("{failure:?}"),
    }
}

fn json(bytes: &[u8]) -> String {
    serde_json::from_slice::<&serde_json::value::RawValue>(bytes).expect("one valid value").get().to_owned()
}

fn config() -> ServiceConfig {
    let wait = BackoffConfig { first_ns: 1_000, longest_ns: 1_000 };
    ServiceConfig {
        name: "fuzz".into(),
        members: vec![ServiceMember {
            config: MemberConfig { address: "a".into(), weight: 1 },
            addresses: vec!["127.0.0.1:1".parse().expect("an address")],
        }],
        pool: PoolConfig {
            pick: Pick::RoundRobin,
            breaker: BreakerConfig { faults: 0, open: wait, probes: 1 },
            ejection: None,
            health: None,
        },
        links: 1,
        idle_ns: 0,
        connect_timeout_ns: 1_000,
        backoff: wait,
        retry: RetryConfig { attempts_max: 1, percent_max: 20 },
        batching: None,
        health_method: "".into(),
        line_bytes_max: LINE_BYTES_MAX,
    }
}
