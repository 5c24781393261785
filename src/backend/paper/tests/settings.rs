//! Other settings while the market goes on.

use super::*;
use crate::model::decimal::{Amount, Price};
use crate::model::order::{AccountId, NewOrder, OrderType, PostOnly, TimeInForce};

fn wanted(instruments: u32) -> PaperConfig {
    PaperConfig { instruments, ..config(1, 1_000) }
}

/// All that is told until nothing is due.
fn poll(paper: &mut Paper, now: Now) -> FeedBuffer {
    let mut out = FeedBuffer::default();
    loop {
        let before = out.events.len();
        paper.poll(now, &mut out, usize::MAX);
        if out.events.len() == before && paper.poll_timeout() > now.mono_ns {
            return out;
        }
    }
}

fn rest(paper: &mut Paper, order: u64, number: u32, now: Now) -> FeedEvent {
    let at = paper.place_of(FeedInstrument(number)).unwrap_or(0);
    let pit = &paper.pits[at];
    let best = pit.book.best(Side::Bid).unwrap().price;
    let price = Price(best.0 - 50 * pit.tick);
    let request = VenueRequest::New {
        order: OrderId(order),
        account: AccountId(1),
        spec: NewOrder {
            instrument: InstrumentId(number),
            direction: Direction::Buy,
            order_type: OrderType::Limit,
            price: Some(price),
            amount: Amount(pit.lot),
            time_in_force: TimeInForce::GoodTilCancelled,
            post_only: PostOnly::No,
            reduce_only: false,
            label: None,
            valid_until_ms: None,
        },
    };
    let mut out = FeedBuffer::default();
    paper.handle_request(FeedInstrument(number), &request, now, &mut out);
    out.events.swap_remove(0)
}

fn delisted(out: &FeedBuffer) -> Vec<u32> {
    let number = |event: &FeedEvent| {
        let FeedEvent::State { instrument, state: MarketState::Delisted, .. } = event else { return None };
        Some(instrument.0)
    };
    out.events.iter().filter_map(number).collect()
}

#[test]
fn the_last_instruments_go_with_their_orders_and_the_others_notice_nothing() {
    let mut paper = Paper::new(wanted(3));
    poll(&mut paper, START);
    for (order, number) in [(1, 2), (2, 2), (3, 0)] {
        assert!(matches!(
            rest(&mut paper, order, number, START),
            FeedEvent::Report(VenueReport::Accepted { .. })
        ));
    }
    paper.set_config(wanted(1));
    let out = poll(&mut paper, START);
    let told: Vec<String> = out.events.iter().map(|event| format!("{event:?}")).collect();
    let cancelled = |order: u64| {
        let report = VenueReport::Cancelled { order: OrderId(order), why: CancelReason::Delisted };
        format!("{:?}", FeedEvent::Report(report))
    };
    assert_eq!(told[..2], [cancelled(1), cancelled(2)]);
    assert_eq!(delisted(&out), [2, 1]);
    assert_eq!((told.len(), paper.client_order_count()), (4, 1));
    let refused = rest(&mut paper, 4, 2, START);
    let why = OrderRefusal::Delisted;
    let expected = FeedEvent::Report(VenueReport::Rejected { order: OrderId(4), why });
    assert_eq!(format!("{refused:?}"), format!("{expected:?}"));
    // The one that is left goes on.
    let out = poll(&mut paper, START.plus_ns(1_000_000_000));
    assert!(out.events.len() > 500);
    for event in &out.events {
        let (FeedEvent::Levels { instrument, .. } | FeedEvent::Trade { instrument, .. }) = event else {
            panic!("neither levels nor a trade: {event:?}")
        };
        assert_eq!(instrument.0, 0);
    }
}

#[test]
fn one_that_comes_again_has_a_number_of_its_own_and_trades() {
    let mut paper = Paper::new(wanted(2));
    poll(&mut paper, START);
    paper.set_config(wanted(1));
    poll(&mut paper, START);
    paper.set_config(wanted(3));
    let out = poll(&mut paper, START);
    let name = |event: &FeedEvent| {
        let FeedEvent::Listed { definition } = event else { return None };
        Some(definition.name)
    };
    let names: Vec<_> = out.events.iter().filter_map(name).collect();
    let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    assert_eq!(names, ["ETH-PERPETUAL", "SOL_USDC-PERPETUAL"]);
    for number in [2, 3] {
        let order = u64::from(number);
        assert!(matches!(
            rest(&mut paper, order, number, START),
            FeedEvent::Report(VenueReport::Accepted { .. })
        ));
    }
    // Its old number is nobody's.
    assert!(matches!(rest(&mut paper, 9, 1, START), FeedEvent::Report(VenueReport::Rejected { .. })));
    let mut seen = std::collections::BTreeSet::new();
    for event in poll(&mut paper, START.plus_ns(500_000_000)).events {
        if let FeedEvent::Levels { instrument, .. } = event {
            seen.insert(instrument.0);
        }
    }
    assert!(seen.into_iter().eq([0, 2, 3]));
}

#[test]
fn a_turn_brings_or_takes_one_instrument_and_what_is_asked_before_the_opening_waits() {
    let mut paper = Paper::new(wanted(2));
    paper.set_config(wanted(4));
    let mut out = FeedBuffer::default();
    let mut turns = 0;
    while paper.poll_timeout() <= START.mono_ns {
        let before = out.events.len();
        paper.poll(START, &mut out, 1);
        assert!(out.events.len() - before <= 2);
        turns += 1;
    }
    assert_eq!((turns, paper.pits.len()), (6, 4));
    paper.set_config(wanted(1));
    for left in [3, 2, 1] {
        paper.poll(START, &mut out, usize::MAX);
        assert_eq!(paper.pits.len(), left);
    }
}

#[test]
fn another_rate_holds_from_the_next_moment_on() {
    let mut paper = Paper::new(wanted(12));
    let count =
        |paper: &mut Paper, second: u64| poll(paper, START.plus_ns(second * 1_000_000_000)).events.len();
    poll(&mut paper, START);
    let slow = count(&mut paper, 1);
    paper.set_config(PaperConfig { events_per_s: 5_000, ..wanted(12) });
    let fast = count(&mut paper, 2);
    assert!((900..1_100).contains(&slow) && (4_500..5_500).contains(&fast), "{slow} {fast}");
}
