//! Pools by hand: who is picked, who is left out, what a reload changes.

use super::*;

const PROBES: HealthConfig = HealthConfig { every_ns: 100, timeout_ns: 50, ill_after: 1, well_after: 1 };

fn config(pick: Pick) -> PoolConfig {
    let open = BackoffConfig { first_ns: 1000, longest_ns: 1000 };
    let breaker = BreakerConfig { faults: 2, open, probes: 1 };
    PoolConfig { pick, breaker, ejection: None, health: None }
}

fn members<const N: usize>(of: [(&str, u32); N]) -> Vec<MemberConfig> {
    of.map(|(address, weight)| MemberConfig { address: address.into(), weight }).to_vec()
}

fn pool<const N: usize>(config: PoolConfig, of: [(&str, u32); N]) -> Pool {
    let mut pool = Pool::new(config, members(of), 0, 0);
    (0..N).for_each(|place| pool.set_ready(id(place), true));
    pool
}

/// By their first letters, each pick left under way.
fn picks(pool: &mut Pool, count: usize) -> String {
    let address = |pool: &Pool, picked: Picked| pool.members[picked.member.index()].config.address.clone();
    (0..count).map(|_| pool.pick(None, 0).map_or("-".into(), |picked| address(pool, picked))).collect()
}

fn call(pool: &mut Pool, ending: Ending, now_ns: u64) -> Option<MemberId> {
    let picked = pool.pick(None, now_ns)?;
    pool.end(picked, ending, now_ns, 0);
    Some(picked.member)
}

fn states(pool: &Pool, now_ns: u64) -> Vec<&'static str> {
    pool.members(now_ns).map(|(_, member)| member.state.as_str()).collect()
}

#[test]
fn in_turn_each_gets_as_many_whatever_its_weight() {
    assert_eq!(picks(&mut pool(config(Pick::RoundRobin), [("a", 1), ("b", 5), ("c", 1)]), 7), "abcabca");
}

#[test]
fn pools_of_the_same_addresses_begin_at_different_ones() {
    let first = |chance| {
        let mut pool =
            Pool::new(config(Pick::RoundRobin), members([("a", 1), ("b", 1), ("c", 1)]), 0, chance);
        (0..3).for_each(|place| pool.set_ready(id(place), true));
        picks(&mut pool, 1)
    };
    assert_eq!([0, 1, 5].map(first), ["a", "b", "c"]);
}

#[test]
fn the_fewest_under_way_for_its_weight_is_picked_and_equals_take_turns() {
    let mut equal = pool(config(Pick::LeastConnections), [("a", 1), ("b", 1), ("c", 1)]);
    assert_eq!(picks(&mut equal, 4), "abca");
    let b = equal.pick(None, 0).unwrap();
    equal.end(b, Ending::Good, 0, 0);
    assert_eq!(picks(&mut equal, 2), "cb");
    let mut weighted = pool(config(Pick::LeastConnections), [("a", 3), ("b", 1)]);
    let picked = picks(&mut weighted, 8);
    assert_eq!((picked.matches('a').count(), picked.matches('b').count()), (6, 2));
}

#[test]
fn by_weight_each_gets_its_share_spread_evenly() {
    let mut pool = pool(config(Pick::Weighted), [("a", 5), ("b", 1), ("c", 1)]);
    assert_eq!(picks(&mut pool, 14), "aabacaaaabacaa");
}

#[test]
fn who_is_not_ready_gets_nothing_and_its_share_is_not_owed() {
    for pick in [Pick::RoundRobin, Pick::LeastConnections, Pick::Weighted] {
        let mut pool = pool(config(pick), [("a", 1), ("b", 1)]);
        pool.set_ready(id(1), false);
        assert_eq!(picks(&mut pool, 10), "aaaaaaaaaa");
        pool.set_ready(id(0), false);
        assert_eq!((picks(&mut pool, 1).as_str(), pool.counters().unserved_total), ("-", 1));
    }
    let mut pool = pool(config(Pick::Weighted), [("a", 1), ("b", 1)]);
    pool.set_ready(id(1), false);
    picks(&mut pool, 10);
    pool.set_ready(id(1), true);
    assert_eq!(picks(&mut pool, 4), "abab");
}

#[test]
fn a_second_attempt_goes_elsewhere_where_there_is_another() {
    let mut two = pool(config(Pick::RoundRobin), [("a", 1), ("b", 1)]);
    assert_eq!(two.pick(Some(id(0)), 0).unwrap().member, id(1));
    assert_eq!(two.pick(Some(id(0)), 0).unwrap().member, id(1));
    let mut one = pool(config(Pick::RoundRobin), [("a", 1)]);
    assert_eq!(one.pick(Some(id(0)), 0).unwrap().member, id(0));
}

#[test]
fn faults_in_a_row_break_a_member_and_one_good_call_later_mends_it() {
    let mut pool = pool(config(Pick::RoundRobin), [("a", 1)]);
    call(&mut pool, Ending::Fault, 0);
    assert!(pool.is_available(0));
    call(&mut pool, Ending::Fault, 0);
    assert_eq!((states(&pool, 999), call(&mut pool, Ending::Good, 999)), (vec!["broken"], None));
    assert_eq!(states(&pool, 1000), ["trying"]);
    let probe = pool.pick(None, 1000).unwrap();
    assert_eq!((pool.pick(None, 1000), pool.is_available(1000)), (None, false));
    pool.end(probe, Ending::Good, 1000, 0);
    assert_eq!((states(&pool, 1000), pool.counters().opened_total), (vec!["up"], 1));
}

#[test]
fn what_an_outcome_says_of_its_member() {
    let failed = |failure| Ending::of(CallOutcome::Failed(failure));
    assert_eq!(Ending::of(CallOutcome::Result(b"1")), Ending::Good);
    assert_eq!(Ending::of(CallOutcome::Error(b"{}")), Ending::Good);
    assert_eq!(failed(CallFailure::Busy), Ending::Unjudged);
    assert_eq!(failed(CallFailure::Lost), Ending::Fault);
}

#[test]
fn an_outlier_is_left_out_for_a_while() {
    let ejection = EjectionConfig { interval_ns: 100, calls_min: 5, worse_percent: 20, ejected_ns: 1000 };
    let breaker = BreakerConfig { faults: 0, ..config(Pick::RoundRobin).breaker };
    let config = PoolConfig { ejection: Some(ejection), breaker, ..config(Pick::RoundRobin) };
    let mut pool = pool(config, [("a", 1), ("b", 1)]);
    for nth in 0..40 {
        let ending = if nth % 4 == 0 { Ending::Fault } else { Ending::Good };
        call(&mut pool, ending, 1);
    }
    assert_eq!(pool.poll_timeout(), Some(100));
    pool.handle_timeout(99);
    assert_eq!(states(&pool, 99), ["up", "up"]);
    pool.handle_timeout(100);
    assert_eq!((states(&pool, 100), pool.counters().ejected_total), (vec!["ejected", "up"], 1));
    assert_eq!(states(&pool, 1100), ["up", "up"]);
}

#[test]
fn who_fails_its_probes_gets_no_calls_until_one_ends_well() {
    let config = PoolConfig { health: Some(PROBES), ..config(Pick::RoundRobin) };
    let mut pool = pool(config, [("a", 1), ("b", 1)]);
    assert_eq!(pool.poll_timeout(), Some(0));
    assert_eq!([(); 3].map(|()| pool.poll_probe(0)), [Some(id(0)), Some(id(1)), None]);
    pool.end_probe(id(0), false);
    pool.end_probe(id(1), true);
    assert_eq!((states(&pool, 0), pool.poll_timeout()), (vec!["ill", "up"], Some(100)));
    assert_eq!(picks(&mut pool, 2), "bb");
    assert_eq!(pool.poll_probe(100), Some(id(0)));
    pool.end_probe(id(0), true);
    assert_eq!(states(&pool, 100), ["up", "up"]);
    let counters = pool.counters();
    assert_eq!((counters.probes_total, counters.probes_failed_total), (3, 1));
}

#[test]
fn a_reload_keeps_who_stays_drains_who_leaves_and_reuses_its_place() {
    let mut pool = pool(config(Pick::RoundRobin), [("a", 1), ("b", 1)]);
    let (a, b) = (pool.pick(None, 0).unwrap(), pool.pick(None, 0).unwrap());
    pool.set_config(config(Pick::RoundRobin), members([("b", 2), ("c", 1)]), 0, 0);
    assert_eq!(states(&pool, 0), ["draining", "up", "down"]);
    pool.set_ready(id(2), true);
    assert_eq!(picks(&mut pool, 4), "bcbc");
    pool.end(a, Ending::Good, 0, 0);
    pool.end(b, Ending::Good, 0, 0);
    assert_eq!(states(&pool, 0), ["up", "up"]);
    pool.set_config(config(Pick::RoundRobin), members([("b", 2), ("c", 1), ("d", 1)]), 0, 0);
    let addresses: Vec<&str> = pool.members(0).map(|(_, member)| member.address).collect();
    assert_eq!(addresses, ["d", "b", "c"]);
}

#[test]
fn an_address_that_comes_back_while_it_leaves_stays() {
    let mut pool = pool(config(Pick::RoundRobin), [("a", 1)]);
    let picked = pool.pick(None, 0).unwrap();
    pool.set_config(config(Pick::RoundRobin), vec![], 0, 0);
    assert_eq!(pool.pick(None, 0), None);
    pool.set_config(config(Pick::RoundRobin), members([("a", 1)]), 0, 0);
    assert_eq!(pool.pick(None, 0).unwrap().member, picked.member);
}

#[test]
fn a_drained_pool_picks_nobody_and_counts_what_is_still_under_way() {
    let mut pool = pool(config(Pick::RoundRobin), [("a", 1)]);
    let picked = pool.pick(None, 0).unwrap();
    pool.drain();
    assert_eq!((pool.pick(None, 0), pool.under_way(), states(&pool, 0)), (None, 1, vec!["draining"]));
    pool.end(picked, Ending::Good, 0, 0);
    assert_eq!(pool.under_way(), 0);
}
