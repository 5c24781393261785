//! The mix of requests that a desk makes (`benches/fixture/calls.rs`), against the results that a shard keeps.

#[path = "../benches/fixture/mod.rs"]
mod fixture;

use fixture::calls::{Asked, Mix, answer_calls, calling_hub};
use fixture::{NOW, connect, end_turn, frame};

/// A minute of it, from an empty cache on.
const REQUESTS: u64 = 60_000;

#[test]
fn of_the_mix_of_a_desk_85_of_100_requests_are_answered_by_what_is_kept() {
    let (mut hub, mut mix, mut out, mut now) = (calling_hub(), Mix::new(7), vec![0; 64 * 1024], NOW);
    let conn = connect(&mut hub, 0);
    let mut calls = 0;
    for id in 0..REQUESTS {
        let Asked { after_ns, method, of } = mix.draw();
        now = now.plus_ns(after_ns);
        hub.handle_timeout(now);
        let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{"of":{of}}}}}"#);
        hub.handle_bytes(conn, &mut frame(&text), now);
        calls += answer_calls(&mut hub, b"{\"value\":1}", now) as u64;
        end_turn(&mut hub, &mut out);
    }
    let counters = hub.counters();
    let (hits, misses) = (counters.call_cache_hits_total, counters.call_cache_misses_total);
    assert_eq!((hits + misses, misses, counters.requests_failed_total), (REQUESTS, calls, 0));
    assert!(100 * hits >= 85 * REQUESTS, "{hits} of {REQUESTS}");
    assert!(counters.call_cache_expired_total > 0);
}
