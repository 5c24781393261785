//! The Expert Advisor of src/backend/mt5, compiled as C++ and run in a simulated terminal, against the gateway's side of the
//! venue link over a real socket: ticks, orders and each return code; killed, cut and restarted in the middle.
#![cfg(feature = "runtime")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints what it saw"
)]

use std::process::Command;
use std::time::Duration;

use tickring::backend::tcp::session::LinkEvent;
use tickring::clock;
use tickring::model::decimal::{Amount, Price, UNIT};
use tickring::model::ids::InstrumentId;
use tickring::model::market::{Direction, FeedEvent, FeedInstrument, MarketState};
use tickring::model::order::{
    CancelReason, Liquidity, NewOrder, OrderId, OrderRefusal, PostOnly, TimeInForce, VenueReport,
};

use self::advisor::{Advisor, built};
use self::gateway::{Gateway, Told, limit, market, price};

#[path = "mt5/advisor.rs"]
mod advisor;
#[path = "mt5/gateway.rs"]
mod gateway;

/// For any one event to happen: far more than it takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);
/// Of the numbers of instruments as the advisor lists them.
const GBPUSD: InstrumentId = InstrumentId(1);
const SI: InstrumentId = InstrumentId(2);

/// An advisor that is welcomed, with nothing in doubt; `None` where it can't be built.
fn linked(flags: &[&str]) -> Option<(Advisor, Gateway)> {
    let mut gateway = Gateway::new();
    let mut advisor = Advisor::start(built()?, gateway.port(), flags);
    gateway.take();
    advisor.wait_line("tickring: welcomed, begins anew");
    Some((advisor, gateway))
}

fn accepted(order: u64, points: i64) -> Told {
    Told::Report(VenueReport::Accepted { order: OrderId(order), price: Some(price(points)) })
}

fn rejected(order: u64, why: OrderRefusal) -> Told {
    Told::Report(VenueReport::Rejected { order: OrderId(order), why })
}

fn cancelled(order: u64, why: CancelReason) -> Told {
    Told::Report(VenueReport::Cancelled { order: OrderId(order), why })
}

fn amended(order: u64, points: i64, total: i64) -> Told {
    let (price, total) = (price(points), Amount(total * UNIT));
    Told::Report(VenueReport::Amended { order: OrderId(order), price, total })
}

fn amend_rejected(order: u64, why: OrderRefusal) -> Told {
    Told::Report(VenueReport::AmendRejected { order: OrderId(order), why })
}

fn cancel_rejected(order: u64, why: OrderRefusal) -> Told {
    Told::Report(VenueReport::CancelRejected { order: OrderId(order), why })
}

fn fill(order: u64, points: i64, amount: i64) -> Told {
    Told::Fill(order, price(points), Amount(amount * UNIT))
}

#[test]
fn the_parts_that_need_no_gateway_pass_their_own_test() {
    let Some(folder) = built() else { return };
    let output = Command::new(folder.join("selftest")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn symbols_are_listed_as_the_terminal_has_them() {
    let mut gateway = Gateway::new();
    let Some(folder) = built() else { return };
    let _advisor = Advisor::start(folder, gateway.port(), &[]);
    let mut listed = Vec::new();
    let stream = gateway.listener.accept().unwrap().0;
    gateway.attach(stream);
    gateway.wait("three instruments", |event| {
        if let LinkEvent::Feed(FeedEvent::Listed { definition }) = event {
            listed.push((**definition).clone());
        }
        (listed.len() == 3).then_some(())
    });
    let told: Vec<_> = listed
        .iter()
        .map(|one| {
            (one.name.to_string(), one.tick_size.0, one.min_trade_amount.0 / UNIT, one.contract_size.0 / UNIT)
        })
        .collect();
    let pip = UNIT / 100_000;
    assert_eq!(told[0], ("EURUSD".into(), pip, 1_000, 100_000));
    assert_eq!(told[1], ("GBPUSD_m".into(), pip, 1_000, 100_000));
    assert_eq!(told[2], ("Si-9_27".into(), UNIT, 1_000, 1_000));
    assert!(listed[0].expiration_timestamp_ms.is_none() && listed[2].expiration_timestamp_ms.is_some());
}

#[test]
fn ticks_arrive_once_and_in_order_however_many_there_are_of_a_millisecond() {
    let Some((mut advisor, mut gateway)) = linked(&[]) else { return };
    // More than a turn takes.
    advisor.control("burst EURUSD 2500");
    advisor.control("price EURUSD 1.05000 1.05002");
    let mut bids = Vec::new();
    gateway.wait("the last price", |event| {
        let LinkEvent::Feed(FeedEvent::Quote { instrument: FeedInstrument(0), bid, timestamp_ns, .. }) =
            event
        else {
            return None;
        };
        let bid = bid.unwrap().price;
        // The trade server's clock is three hours ahead.
        assert!(timestamp_ns.abs_diff(clock::now().unix_ns) < 3_600_000_000_000, "{timestamp_ns} is not UTC");
        if bid == price(105_000) {
            return Some(());
        }
        bids.push(bid);
        None
    });
    let expected: Vec<Price> = (0..=2_500).map(|down| price(112_119 - down)).collect();
    let wrong = bids.iter().zip(&expected).position(|(found, expected)| found != expected);
    assert_eq!((wrong, bids.len()), (None, expected.len()));
}

#[test]
fn an_order_rests_is_moved_and_cancelled() {
    let Some((advisor, mut gateway)) = linked(&[]) else { return };
    assert_eq!(gateway.told(), Told::Reconciled);
    gateway.new_order(1, limit(Direction::Buy, 112_000, 5_000));
    assert_eq!(gateway.told(), accepted(1, 112_000));
    gateway.amend(1, price(112_010), Amount(5_000 * UNIT));
    assert_eq!(gateway.told(), amended(1, 112_010, 5_000));
    // A terminal can't change for how much a resting order is.
    gateway.amend(1, price(112_010), Amount(4_000 * UNIT));
    assert_eq!(gateway.told(), amend_rejected(1, OrderRefusal::InvalidAmount));
    gateway.amend(1, price(113_000), Amount(5_000 * UNIT));
    assert_eq!(gateway.told(), amend_rejected(1, OrderRefusal::PriceTooHigh));
    // Answered in order, though asked at once.
    gateway.amend(1, price(112_020), Amount(5_000 * UNIT));
    gateway.cancel(1);
    assert_eq!(gateway.told(), amended(1, 112_020, 5_000));
    assert_eq!(gateway.told(), cancelled(1, CancelReason::UserRequest));
    gateway.cancel(1);
    assert_eq!(gateway.told(), cancel_rejected(1, OrderRefusal::AlreadyClosed));
    gateway.cancel(77);
    assert_eq!(gateway.told(), cancel_rejected(77, OrderRefusal::OrderNotFound));
    assert_eq!(advisor.stop(), Some(0));
    let why = gateway.wait("its end", |event| {
        let LinkEvent::Down { why, .. } = event else { return None };
        Some(why.to_string())
    });
    assert_eq!(why, "ended by the peer: stopped, reason 1");
}

#[test]
fn orders_are_filled_at_once_in_parts_and_where_they_rest() {
    let Some((mut advisor, mut gateway)) = linked(&[]) else { return };
    assert_eq!(gateway.told(), Told::Reconciled);
    gateway.new_order(1, market(Direction::Buy, 5_000));
    assert_eq!(gateway.told(), Told::Report(VenueReport::Accepted { order: OrderId(1), price: None }));
    assert_eq!(gateway.told(), fill(1, 112_121, 5_000));
    // Two of five thousand are there; what is left of a market order does not rest.
    advisor.control("liquidity EURUSD 0.02");
    gateway.new_order(2, market(Direction::Sell, 5_000));
    assert_eq!(gateway.told(), Told::Report(VenueReport::Accepted { order: OrderId(2), price: None }));
    assert_eq!(gateway.told(), fill(2, 112_119, 2_000));
    assert_eq!(gateway.told(), cancelled(2, CancelReason::Immediate));
    advisor.control("liquidity EURUSD 0.03");
    gateway.new_order(3, limit(Direction::Buy, 112_100, 5_000));
    assert_eq!(gateway.told(), accepted(3, 112_100));
    advisor.control("price EURUSD 1.12097 1.12099");
    let (liquidity, amount) = gateway.wait("a fill of what rests", |event| {
        let LinkEvent::Fill(fill) = event else { return None };
        Some((fill.liquidity, fill.amount))
    });
    assert_eq!((liquidity, amount), (Liquidity::Maker, Amount(3_000 * UNIT)));
    gateway.amend(3, price(112_090), Amount(2_000 * UNIT));
    assert_eq!(gateway.told(), amend_rejected(3, OrderRefusal::AmountBelowFilled));
    gateway.amend(3, price(112_090), Amount(5_000 * UNIT));
    assert_eq!(gateway.told(), amended(3, 112_090, 5_000));
    advisor.control("liquidity EURUSD 10");
    advisor.control("price EURUSD 1.12080 1.12085");
    assert_eq!(gateway.told(), fill(3, 112_090, 2_000));
    gateway.cancel(3);
    assert_eq!(gateway.told(), cancel_rejected(3, OrderRefusal::AlreadyClosed));
}

#[test]
fn what_a_person_does_in_the_terminal_is_told() {
    let Some((mut advisor, mut gateway)) = linked(&[]) else { return };
    assert_eq!(gateway.told(), Told::Reconciled);
    gateway.new_order(1, limit(Direction::Buy, 112_000, 5_000));
    assert_eq!(gateway.told(), accepted(1, 112_000));
    advisor.control("move 1.1201");
    assert_eq!(gateway.told(), amended(1, 112_010, 5_000));
    advisor.control("delete");
    assert_eq!(gateway.told(), cancelled(1, CancelReason::Venue));
}

/// Where nothing may rest beyond the other side's best, a limit that takes is a deal that may not deviate beyond it.
#[test]
fn a_limit_that_takes_keeps_its_price_or_is_refused() {
    let Some((mut advisor, mut gateway)) = linked(&[]) else { return };
    assert_eq!(gateway.told(), Told::Reconciled);
    gateway.new_order(1, limit(Direction::Buy, 112_125, 1_000));
    assert_eq!(gateway.told(), accepted(1, 112_125));
    assert_eq!(gateway.told(), fill(1, 112_121, 1_000));
    // The price runs away beyond the limit while the request is under way.
    advisor.control("hold");
    gateway.new_order(2, limit(Direction::Buy, 112_125, 1_000));
    gateway.turn();
    advisor.wait_line("terminal: request 2");
    advisor.control("price EURUSD 1.12126 1.12128");
    advisor.control("release");
    assert_eq!(gateway.told(), rejected(2, OrderRefusal::FillOrKill));
    let immediate =
        NewOrder { time_in_force: TimeInForce::ImmediateOrCancel, ..limit(Direction::Buy, 112_100, 1_000) };
    gateway.new_order(3, immediate);
    assert_eq!(gateway.told(), accepted(3, 112_100));
    assert_eq!(gateway.told(), cancelled(3, CancelReason::Immediate));
    let fill_or_kill = NewOrder { time_in_force: TimeInForce::FillOrKill, ..immediate };
    gateway.new_order(4, fill_or_kill);
    assert_eq!(gateway.told(), rejected(4, OrderRefusal::FillOrKill));
    // Market execution keeps to no price.
    gateway.new_order(5, NewOrder { instrument: GBPUSD, ..limit(Direction::Buy, 130_010, 1_000) });
    assert_eq!(gateway.told(), rejected(5, OrderRefusal::PriceTooHigh));
    gateway.new_order(6, NewOrder { instrument: GBPUSD, ..limit(Direction::Sell, 129_990, 1_000) });
    assert_eq!(gateway.told(), rejected(6, OrderRefusal::PriceTooLow));
}

#[test]
fn an_exchange_takes_limits_that_take_and_rests_what_is_left() {
    let Some((mut advisor, mut gateway)) = linked(&[]) else { return };
    assert_eq!(gateway.told(), Told::Reconciled);
    advisor.control("liquidity Si-9.27 2");
    let whole = |order, units: i64, lots: i64| {
        let spec = limit(Direction::Buy, 1, lots * 1_000);
        (order, NewOrder { instrument: SI, price: Some(Price(units * UNIT)), ..spec })
    };
    let (order, spec) = whole(1, 90_015, 5);
    gateway.new_order(order, spec);
    let price = Some(Price(90_015 * UNIT));
    assert_eq!(gateway.told(), Told::Report(VenueReport::Accepted { order: OrderId(1), price }));
    assert_eq!(gateway.told(), Told::Fill(1, Price(90_014 * UNIT), Amount(2_000 * UNIT)));
    gateway.cancel(1);
    assert_eq!(gateway.told(), cancelled(1, CancelReason::UserRequest));
    let (order, spec) = whole(2, 90_014, 1);
    gateway.new_order(order, NewOrder { post_only: PostOnly::Reject, ..spec });
    assert_eq!(gateway.told(), rejected(2, OrderRefusal::PostOnly));
    advisor.control("liquidity Si-9.27 0");
    gateway.new_order(3, NewOrder { time_in_force: TimeInForce::FillOrKill, ..spec });
    assert_eq!(gateway.told(), rejected(3, OrderRefusal::FillOrKill));
    // Trades that the terminal tells are the market's.
    advisor.control("trade Si-9.27 90014 3");
    let (price, amount, direction) = gateway.wait("a trade", |event| {
        let LinkEvent::Feed(FeedEvent::Trade { price, amount, direction, .. }) = event else { return None };
        Some((*price, *amount, *direction))
    });
    assert_eq!((price.0 / UNIT, amount.0 / UNIT, direction), (90_014, 3_000, Direction::Buy));
}

#[test]
fn what_can_not_be_done_here_is_not_sent() {
    let Some((mut advisor, mut gateway)) = linked(&[]) else { return };
    assert_eq!(gateway.told(), Told::Reconciled);
    let post_only = |mode| NewOrder { post_only: mode, ..limit(Direction::Buy, 112_130, 1_000) };
    let cases = [
        (post_only(PostOnly::Reject), OrderRefusal::PostOnly),
        (limit(Direction::Buy, 112_000, 1_500), OrderRefusal::InvalidAmount),
        (limit(Direction::Buy, 112_000, 20_000_000), OrderRefusal::AmountTooLarge),
        (
            NewOrder { price: Some(Price(1_120_005_000)), ..limit(Direction::Buy, 1, 1_000) },
            OrderRefusal::PriceTick,
        ),
        (
            NewOrder { valid_until_ms: Some(1_000), ..limit(Direction::Buy, 112_000, 1_000) },
            OrderRefusal::TimedOut,
        ),
    ];
    for (order, (spec, why)) in (1..).zip(cases) {
        gateway.new_order(order, spec);
        assert_eq!(gateway.told(), rejected(order, why));
    }
    gateway.new_order(10, post_only(PostOnly::Slide));
    assert_eq!(gateway.told(), accepted(10, 112_120));
    // Not so near: the symbol's stops level.
    advisor.control("stops EURUSD 30");
    gateway.new_order(11, post_only(PostOnly::Slide));
    assert_eq!(gateway.told(), accepted(11, 112_091));
    let valid_until_ms = Some(clock::now().unix_ns / 1_000_000 + 3_600_000);
    gateway.new_order(12, NewOrder { valid_until_ms, ..limit(Direction::Sell, 112_200, 1_000) });
    assert_eq!(gateway.told(), accepted(12, 112_200));
    advisor.control("offline");
    gateway.wait("a closed market", |event| {
        matches!(event, LinkEvent::Feed(FeedEvent::State { state: MarketState::Closed, .. })).then_some(())
    });
    gateway.new_order(13, limit(Direction::Buy, 112_000, 1_000));
    assert_eq!(gateway.told(), rejected(13, OrderRefusal::VenueUnavailable));
}

#[test]
fn each_return_code_is_told_in_the_words_of_the_link() {
    use OrderRefusal as Why;
    let Some((mut advisor, mut gateway)) = linked(&[]) else { return };
    assert_eq!(gateway.told(), Told::Reconciled);
    let codes = [
        (10_004, Why::FillOrKill),
        (10_006, Why::VenueRefused),
        (10_007, Why::VenueRefused),
        (10_011, Why::VenueRefused),
        (10_012, Why::TimedOut),
        (10_013, Why::VenueRefused),
        (10_014, Why::InvalidAmount),
        (10_015, Why::PriceTooHigh),
        (10_016, Why::VenueRefused),
        (10_017, Why::BookClosed),
        (10_018, Why::BookClosed),
        (10_019, Why::NotionalTooLarge),
        (10_020, Why::FillOrKill),
        (10_021, Why::VenueUnavailable),
        (10_022, Why::VenueRefused),
        (10_023, Why::VenueRefused),
        (10_024, Why::Full),
        (10_026, Why::VenueUnavailable),
        (10_027, Why::VenueUnavailable),
        (10_028, Why::VenueRefused),
        (10_029, Why::VenueRefused),
        (10_030, Why::VenueRefused),
        (10_031, Why::VenueUnavailable),
        (10_032, Why::VenueRefused),
        (10_033, Why::TooManyOpenOrders),
        (10_034, Why::AmountTooLarge),
        (10_035, Why::VenueRefused),
        (10_036, Why::ReduceOnly),
        (10_038, Why::ReduceOnly),
        (10_039, Why::ReduceOnly),
        (10_040, Why::TooManyOpenOrders),
        (10_041, Why::VenueRefused),
        (10_042, Why::VenueRefused),
        (10_043, Why::VenueRefused),
        (10_044, Why::ReduceOnly),
        (10_045, Why::ReduceOnly),
        (10_046, Why::VenueRefused),
    ];
    for (code, why) in codes {
        advisor.control(&format!("retcode {code}"));
        gateway.new_order(code, limit(Direction::Buy, 112_000, 1_000));
        assert_eq!(gateway.told(), rejected(code, why), "of {code}");
    }
    // What the terminal does not even send.
    advisor.control("unsent 10027");
    gateway.new_order(1, limit(Direction::Buy, 112_000, 1_000));
    assert_eq!(gateway.told(), rejected(1, Why::VenueUnavailable));
    gateway.new_order(2, limit(Direction::Buy, 112_000, 1_000));
    assert_eq!(gateway.told(), accepted(2, 112_000));
    advisor.control("retcode 10029");
    gateway.amend(2, price(112_001), Amount(1_000 * UNIT));
    assert_eq!(gateway.told(), amend_rejected(2, Why::VenueRefused));
    advisor.control("retcode 10024");
    gateway.cancel(2);
    assert_eq!(gateway.told(), cancel_rejected(2, Why::Full));
    // A symbol out of its session.
    advisor.control("close EURUSD");
    gateway.new_order(3, limit(Direction::Buy, 112_000, 1_000));
    assert_eq!(gateway.told(), rejected(3, Why::BookClosed));
}

#[test]
fn answers_that_are_lost_are_found_in_the_terminals_lists() {
    let Some((mut advisor, mut gateway)) = linked(&[]) else { return };
    assert_eq!(gateway.told(), Told::Reconciled);
    advisor.control("lose");
    gateway.new_order(1, limit(Direction::Buy, 112_000, 1_000));
    assert_eq!(gateway.told(), accepted(1, 112_000));
    advisor.control("lose");
    gateway.amend(1, price(112_001), Amount(1_000 * UNIT));
    assert_eq!(gateway.told(), amended(1, 112_001, 1_000));
    advisor.control("lose");
    gateway.cancel(1);
    assert_eq!(gateway.told(), cancelled(1, CancelReason::UserRequest));
    advisor.control("lose");
    gateway.new_order(2, market(Direction::Buy, 1_000));
    assert_eq!(gateway.told(), Told::Report(VenueReport::Accepted { order: OrderId(2), price: None }));
    assert_eq!(gateway.told(), fill(2, 112_121, 1_000));
    // Codes that leave it open are no refusals.
    advisor.control("answer 10012");
    gateway.new_order(5, market(Direction::Buy, 1_000));
    assert_eq!(gateway.told(), Told::Report(VenueReport::Accepted { order: OrderId(5), price: None }));
    assert_eq!(gateway.told(), fill(5, 112_121, 1_000));
    // Requests that never arrive are refused once they would be in a list.
    gateway.new_order(3, limit(Direction::Buy, 112_000, 1_000));
    assert_eq!(gateway.told(), accepted(3, 112_000));
    advisor.control("drop");
    gateway.amend(3, price(112_001), Amount(1_000 * UNIT));
    assert_eq!(gateway.told(), amend_rejected(3, OrderRefusal::TimedOut));
    advisor.control("drop");
    gateway.cancel(3);
    assert_eq!(gateway.told(), cancel_rejected(3, OrderRefusal::TimedOut));
    advisor.control("drop");
    gateway.new_order(4, limit(Direction::Buy, 112_000, 1_000));
    assert_eq!(gateway.told(), rejected(4, OrderRefusal::TimedOut));
}

#[test]
fn a_cut_loses_no_report_and_doubles_none() {
    let Some((mut advisor, mut gateway)) = linked(&[]) else { return };
    assert_eq!(gateway.told(), Told::Reconciled);
    gateway.new_order(1, limit(Direction::Buy, 112_000, 5_000));
    assert_eq!(gateway.told(), accepted(1, 112_000));
    gateway.cut();
    advisor.control("liquidity EURUSD 0.02");
    advisor.control("price EURUSD 1.11990 1.11995");
    gateway.take();
    advisor.wait_line("tickring: welcomed, goes on where it was");
    assert_eq!(gateway.told(), Told::Reconciled);
    assert_eq!(gateway.told(), fill(1, 112_000, 2_000));
    gateway.cancel(1);
    assert_eq!(gateway.told(), cancelled(1, CancelReason::UserRequest));
    assert_eq!((gateway.session.counters.resumed_total, gateway.session.counters.strange_total), (1, 0));
}

#[test]
fn a_gateway_that_is_silent_is_left() {
    let Some((mut advisor, mut gateway)) = linked(&[]) else { return };
    // Nobody drives it meanwhile.
    advisor.wait_line("tickring: disconnected: silent for too long");
    gateway.cut();
    gateway.take();
    advisor.wait_line("tickring: welcomed, goes on where it was");
}

#[test]
fn an_advisor_that_is_killed_in_the_middle_tells_what_became_of_orders() {
    let Some((mut advisor, mut gateway)) = linked(&[]) else { return };
    assert_eq!(gateway.told(), Told::Reconciled);
    gateway.new_order(1, limit(Direction::Buy, 112_000, 1_000));
    assert_eq!(gateway.told(), accepted(1, 112_000));
    gateway.new_order(2, limit(Direction::Buy, 111_900, 5_000));
    assert_eq!(gateway.told(), accepted(2, 111_900));
    // It has sent these three when it is killed; the third never arrives.
    advisor.control("hold");
    gateway.new_order(3, limit(Direction::Sell, 112_300, 1_000));
    gateway.new_order(4, market(Direction::Buy, 2_000));
    gateway.turn();
    advisor.wait_line("terminal: request 4");
    advisor.control("drop");
    gateway.new_order(5, limit(Direction::Sell, 112_400, 1_000));
    gateway.turn();
    advisor.wait_line("terminal: request 5");
    advisor.kill_advisor();
    // The first is filled while nobody looks.
    advisor.control("price EURUSD 1.11998 1.12000");
    advisor.control("release");
    gateway.wait("down", |event| matches!(event, LinkEvent::Down { .. }).then_some(()));
    gateway.take();
    advisor.wait_line("tickring: welcomed, begins anew");
    let mut told = Vec::new();
    while told.last() != Some(&Told::Reconciled) {
        told.push(gateway.told());
    }
    told.sort_by_key(|one| format!("{one:?}"));
    let mut expected = vec![
        fill(1, 112_000, 1_000),
        accepted(3, 112_300),
        Told::Report(VenueReport::Accepted { order: OrderId(4), price: None }),
        fill(4, 112_000, 2_000),
        rejected(5, OrderRefusal::NotSent),
        Told::Reconciled,
    ];
    expected.sort_by_key(|one| format!("{one:?}"));
    assert_eq!(told, expected);
    // It goes on with those that rest.
    gateway.amend(2, price(111_901), Amount(5_000 * UNIT));
    assert_eq!(gateway.told(), amended(2, 111_901, 5_000));
    for order in [2, 3] {
        gateway.cancel(order);
        assert_eq!(gateway.told(), cancelled(order, CancelReason::UserRequest));
    }
}

/// An advisor that begins can't know what its predecessor's requests, which are still on their way, will become.
#[test]
fn what_is_in_no_list_yet_is_not_called_unknown() {
    let Some((mut advisor, mut gateway)) = linked(&["--settle-ms", "20000"]) else { return };
    assert_eq!(gateway.told(), Told::Reconciled);
    advisor.control("hold");
    gateway.new_order(1, limit(Direction::Buy, 112_000, 1_000));
    gateway.turn();
    advisor.wait_line("terminal: request 1");
    advisor.kill_advisor();
    gateway.wait("down", |event| matches!(event, LinkEvent::Down { .. }).then_some(()));
    gateway.take();
    // It has heard the question, and ticks that come after it.
    advisor.control("price EURUSD 1.12001 1.12002");
    gateway.wait("a price", |event| {
        assert!(!matches!(event, LinkEvent::Feed(FeedEvent::Report(_))), "{event:?} though nobody knows");
        let LinkEvent::Feed(FeedEvent::Quote { bid, .. }) = event else { return None };
        (bid.unwrap().price == price(112_001)).then_some(())
    });
    advisor.control("release");
    assert_eq!((gateway.told(), gateway.told()), (accepted(1, 112_000), Told::Reconciled));
}

#[test]
fn a_gateway_of_an_older_fence_is_sent_away_and_the_owner_goes_on_where_it_was() {
    let Some((mut advisor, mut gateway)) = linked(&[]) else { return };
    assert_eq!(gateway.told(), Told::Reconciled);
    gateway.change_owner("owner", 7);
    gateway.take();
    advisor.wait_line("tickring: welcomed, begins anew");
    assert_eq!(gateway.told(), Told::Reconciled);
    gateway.new_order(1, limit(Direction::Buy, 112_000, 1_000));
    assert_eq!(gateway.told(), accepted(1, 112_000));
    let owner = gateway.change_owner("older", 6);
    let stream = gateway.listener.accept().unwrap().0;
    gateway.attach(stream);
    let why = gateway.wait("down", |event| {
        let LinkEvent::Down { why, .. } = event else { return None };
        Some(why.to_string())
    });
    assert_eq!(why, "fence 6 is older than 7");
    assert!(gateway.session.outdated().is_some());
    advisor.wait_line("tickring: disconnected: fence 6 is older than 7");
    // It has no orders, so that nothing of it is in doubt.
    assert_eq!(gateway.told(), Told::Reconciled);
    gateway.change(owner);
    gateway.take();
    advisor.wait_line("tickring: welcomed, goes on where it was");
    assert_eq!(gateway.told(), Told::Reconciled);
    gateway.cancel(1);
    assert_eq!(gateway.told(), cancelled(1, CancelReason::UserRequest));
}

#[test]
fn what_another_gateway_has_forgotten_is_cancelled() {
    let Some((mut advisor, mut gateway)) = linked(&[]) else { return };
    assert_eq!(gateway.told(), Told::Reconciled);
    gateway.new_order(1, limit(Direction::Buy, 112_000, 1_000));
    assert_eq!(gateway.told(), accepted(1, 112_000));
    gateway.restart();
    gateway.take();
    advisor.wait_line("tickring: welcomed, begins anew");
    assert_eq!(gateway.told(), Told::Reconciled);
    gateway.new_order(2, limit(Direction::Buy, 112_000, 1_000));
    assert_eq!(gateway.told(), accepted(2, 112_000));
    gateway.drive_until(|| advisor.has_line("order 1 is of a gateway that has forgotten it"));
    // The new one's own is left alone.
    gateway.cancel(2);
    assert_eq!(gateway.told(), cancelled(2, CancelReason::UserRequest));
}

#[test]
fn a_hedging_account_makes_a_position_smaller_only_where_it_is_asked_to() {
    let Some((_advisor, mut gateway)) = linked(&["--hedging", "1"]) else { return };
    assert_eq!(gateway.told(), Told::Reconciled);
    let accepted_at_market =
        |order| Told::Report(VenueReport::Accepted { order: OrderId(order), price: None });
    let reduce = |amount| NewOrder { reduce_only: true, ..market(Direction::Sell, amount) };
    gateway.new_order(1, market(Direction::Buy, 2_000));
    assert_eq!((gateway.told(), gateway.told()), (accepted_at_market(1), fill(1, 112_121, 2_000)));
    // Another position, of the other side.
    gateway.new_order(2, market(Direction::Sell, 1_000));
    assert_eq!((gateway.told(), gateway.told()), (accepted_at_market(2), fill(2, 112_119, 1_000)));
    gateway.new_order(3, reduce(3_000));
    assert_eq!(gateway.told(), rejected(3, OrderRefusal::ReduceOnly));
    gateway.new_order(4, reduce(2_000));
    assert_eq!((gateway.told(), gateway.told()), (accepted_at_market(4), fill(4, 112_119, 2_000)));
    gateway.new_order(5, reduce(1_000));
    assert_eq!(gateway.told(), rejected(5, OrderRefusal::ReduceOnly));
    // What rests always opens a position there.
    gateway.new_order(6, NewOrder { reduce_only: true, ..limit(Direction::Buy, 112_000, 1_000) });
    assert_eq!(gateway.told(), rejected(6, OrderRefusal::ReduceOnly));
}
