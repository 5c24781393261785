//! Order entry in SBE, with the desk by hand: one answer to a message, by the rights and bounds that hold in JSON; reports in their
//! frames; who speaks JSON is told the same in JSON.

use serde_json::{Value, json};

use super::private::{log_in, login};
use super::*;
use crate::dialect::sbe::generated::{
    AmendOrder, CancelOrder, ExecutionReportView, NewOrder, OrdType, OrderAckView, OrderFlags, PostOnly,
    RejectView, Side as SbeSide, TimeInForce,
};
use crate::dialect::sbe::{write_fill_report, write_order_ack, write_order_report};
use crate::hub::private::{PrivateEvent, Reports};
use crate::model::encoding::Encoding;
use crate::model::ids::{InstrumentId, Seq};
use crate::model::order::{
    AccountId, ExecType, Fill, Liquidity, Order, OrderId, OrderRefusal, OrderState, OrderType,
};

const IN_SBE: &str = "/ws?encoding=sbe&schema=1&version=0";
pub(super) const ORDERS: &str = "user.orders.any.any.raw";
pub(super) const FILLS: &str = "user.trades.any.any.raw";
const CHANGES: &str = "user.changes.any.any.raw";

fn world(shards: u8) -> World {
    let mut world = World::with(shards, &HubConfig { requests_pending_max: 3, ..config() });
    world.asked = Some(Vec::new());
    world.feed(list("BTC-PERPETUAL"));
    world
}

fn connect(world: &mut World, shard: usize, slot: u32) -> ConnId {
    world.connect_to(shard, slot, IN_SBE, "").0
}

fn trader(world: &mut World, shard: usize, slot: u32, account: u32) -> ConnId {
    let conn = connect(world, shard, slot);
    log_in(world, shard, conn, login(account, "trade:read_write"));
    conn
}

/// A client's binary frame.
fn binary(message: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x82, 0x80 | message.len() as u8];
    assert!(message.len() < 126);
    let mask = [1, 2, 3, 4];
    frame.extend_from_slice(&mask);
    frame.extend(message.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]));
    frame
}

pub(super) fn new_order(correlation_id: u64, instrument_id: u32) -> Vec<u8> {
    let order = NewOrder {
        correlation_id,
        price: Some(Price(100 * UNIT)),
        amount: Amount(10 * UNIT),
        valid_until: None,
        instrument_id,
        side: SbeSide::Buy,
        ord_type: OrdType::Limit,
        time_in_force: TimeInForce::GoodTilCancelled,
        post_only: PostOnly::No,
        flags: OrderFlags::default(),
    };
    let mut message = Vec::new();
    order.encode(&mut message, "mine");
    message
}

/// Has a connection send a message; nothing is carried.
fn put(world: &mut World, shard: usize, conn: ConnId, message: &[u8]) {
    world.hubs[shard].handle_bytes(conn, &mut binary(message), world.now);
}

/// The frames that a connection is sent now: opcode and payload.
fn frames(world: &mut World, shard: usize, conn: ConnId) -> Vec<(u8, Vec<u8>)> {
    let bytes = world.take(shard, conn);
    let (mut frames, mut rest) = (Vec::new(), &bytes[..]);
    while !rest.is_empty() {
        let (frame, after) = rest.split_at(crate::ws::frame::frame_len(rest));
        frames.push((frame[0] & 0xf, crate::ws::frame::frame_payload(frame).to_vec()));
        rest = after;
    }
    frames
}

/// The one binary frame that a connection is sent now.
fn answer(world: &mut World, shard: usize, conn: ConnId) -> Vec<u8> {
    let [(2, message)] = &frames(world, shard, conn)[..] else { panic!("one binary frame") };
    message.clone()
}

/// Correlation, code and reason of the one reject that a connection is sent now.
fn rejected(world: &mut World, shard: usize, conn: ConnId) -> (Option<u64>, i32, String) {
    let message = answer(world, shard, conn);
    let view = RejectView::decode(&message).unwrap();
    (view.correlation_id(), view.code(), view.reason().to_owned())
}

fn order() -> Order {
    Order {
        id: OrderId(42),
        account: AccountId(7),
        instrument: InstrumentId(0),
        direction: Direction::Buy,
        order_type: OrderType::Limit,
        time_in_force: crate::model::order::TimeInForce::GoodTilCancelled,
        post_only: crate::model::order::PostOnly::No,
        reduce_only: false,
        label: None,
        state: OrderState::Open,
        price: Some(Price(100 * UNIT)),
        amount: Amount(10 * UNIT),
        filled: Amount::ZERO,
        filled_notional: 0,
        is_replaced: false,
        cancel_reason: None,
        created_ns: 1,
        updated_ns: 2,
    }
}

pub(super) fn ack() -> Vec<u8> {
    let mut ack = Vec::new();
    write_order_ack(&mut ack, &order(), false, []);
    ack
}

/// Answers all that was asked, and gives it.
pub(super) fn answer_all(world: &mut World, outcome: Result<&[u8], OrderRefusal>) -> Vec<Ask> {
    world.carry();
    let asked = world.asked.replace(Vec::new()).unwrap();
    for ask in &asked {
        world.market.answer_ask(ask.client.home, ask.ticket, outcome);
    }
    world.carry();
    asked
}

#[test]
fn a_message_becomes_the_ask_that_json_makes_and_its_answer_has_its_correlation() {
    let mut world = world(2);
    let (conn, other) = (trader(&mut world, 1, 5, 7), world.connect(1, 6));
    log_in(&mut world, 1, other, login(7, "trade:read_write"));
    let buy = json!({"instrument_name": "BTC-PERPETUAL", "amount": 10, "price": 100, "label": "mine"});
    let text = json!({"jsonrpc": "2.0", "id": 1, "method": "private/buy", "params": buy}).to_string();
    world.hubs[1].handle_bytes(other, &mut frame(&text), world.now);
    put(&mut world, 1, conn, &new_order(u64::MAX - 1, 0));
    world.carry();
    let asked = world.asked.replace(Vec::new()).unwrap();
    let [json, sbe] = &asked[..] else { panic!("two asks") };
    assert_eq!((sbe.request, sbe.account, sbe.is_connection), (json.request, AccountId(7), true));
    assert_eq!((json.encoding, sbe.encoding, sbe.client.conn), (Encoding::Json, Encoding::Sbe, conn));
    let received_ns = world.now.unix_ns;
    world.now = world.now.plus_ns(5_000);
    // One answer for one ask, whatever comes twice.
    world.market.answer_ask(HomeId(1), sbe.ticket, Ok(&ack()));
    world.market.answer_ask(HomeId(1), sbe.ticket, Ok(&ack()));
    world.hubs[1].handle_timeout(world.now);
    world.carry();
    let message = answer(&mut world, 1, conn);
    let told = OrderAckView::decode(&message).unwrap().fields().unwrap();
    assert_eq!((told.correlation_id, told.order_id), (u64::MAX - 1, 42));
    assert_eq!((told.received_time, told.sending_time), (received_ns, received_ns + 5_000));
    assert_eq!(world.hubs[1].occupancy().asks, 1, "that of the one who speaks JSON");
}

#[test]
fn answers_come_in_the_order_in_which_was_asked_also_between_the_encodings() {
    let mut world = world(1);
    let conn = trader(&mut world, 0, 0, 1);
    put(&mut world, 0, conn, &new_order(1, 0));
    let text = r#"{"jsonrpc":"2.0","id":2,"method":"private/cancel_all"}"#;
    world.hubs[0].handle_bytes(conn, &mut frame(text), world.now);
    let mut cancel = Vec::new();
    CancelOrder { correlation_id: 3, order_id: 42, valid_until: None }.encode(&mut cancel);
    put(&mut world, 0, conn, &cancel);
    let refusal = OrderRefusal::OrderNotFound;
    assert_eq!(answer_all(&mut world, Err(refusal)).len(), 3);
    let frames = frames(&mut world, 0, conn);
    let [(2, first), (1, second), (2, third)] = &frames[..] else { panic!("{frames:?}") };
    assert_eq!(RejectView::decode(first).unwrap().correlation_id(), Some(1));
    assert_eq!(serde_json::from_slice::<Value>(second).unwrap()["error"]["code"], 10004);
    let third = RejectView::decode(third).unwrap();
    assert_eq!((third.correlation_id(), third.code(), third.ref_template_id()), (Some(3), 10004, Some(22)));
}

#[test]
fn who_may_not_trade_is_told_so_and_nothing_is_sent() {
    let mut world = world(1);
    let conn = connect(&mut world, 0, 0);
    put(&mut world, 0, conn, &new_order(1, 0));
    assert_eq!(rejected(&mut world, 0, conn), (Some(1), 13009, "log in first: public/auth".to_owned()));
    log_in(&mut world, 0, conn, login(1, "trade:read"));
    put(&mut world, 0, conn, &new_order(2, 0));
    assert_eq!(rejected(&mut world, 0, conn), (Some(2), 13021, "needs scope trade:read_write".to_owned()));
    assert_eq!(answer_all(&mut world, Ok(&ack())).len(), 0);
}

#[test]
fn more_than_may_wait_is_rejected_at_once_and_goes_when_there_is_room() {
    let mut world = world(1);
    let conn = trader(&mut world, 0, 0, 1);
    for id in 1..=4 {
        put(&mut world, 0, conn, &new_order(id, 0));
    }
    let reason = "not sent: too many requests in flight".to_owned();
    assert_eq!(rejected(&mut world, 0, conn), (Some(4), 10040, reason));
    assert_eq!(answer_all(&mut world, Ok(&ack())).len(), 3);
    let answered: Vec<u64> = frames(&mut world, 0, conn)
        .iter()
        .map(|(_, message)| OrderAckView::decode(message).unwrap().correlation_id())
        .collect();
    assert_eq!(answered, [1, 2, 3]);
    put(&mut world, 0, conn, &new_order(5, 0));
    assert_eq!(answer_all(&mut world, Ok(&ack())).len(), 1);
}

#[test]
fn an_instrument_that_nobody_has_never_reaches_the_desk() {
    let mut world = world(1);
    let conn = trader(&mut world, 0, 0, 1);
    for instrument_id in [1, u32::MAX] {
        put(&mut world, 0, conn, &new_order(1, instrument_id));
        assert_eq!(rejected(&mut world, 0, conn), (Some(1), 13020, "unknown instrument".to_owned()));
    }
    let amend = AmendOrder {
        correlation_id: 2,
        order_id: Some(1),
        price: None,
        amount: None,
        valid_until: None,
        instrument_id: Some(1),
        post_only: None,
        reduce_only: None,
    };
    let mut message = Vec::new();
    amend.encode(&mut message, "");
    put(&mut world, 0, conn, &message);
    assert_eq!(rejected(&mut world, 0, conn), (Some(2), 13020, "unknown instrument".to_owned()));
    assert_eq!(answer_all(&mut world, Ok(&ack())).len(), 0);
}

#[test]
fn an_order_without_a_correlation_is_rejected_and_never_reaches_the_desk() {
    let mut world = world(1);
    let conn = trader(&mut world, 0, 0, 1);
    put(&mut world, 0, conn, &new_order(u64::MAX, 0));
    assert_eq!(rejected(&mut world, 0, conn), (None, -32602, "value required".to_owned()));
    assert_eq!(answer_all(&mut world, Ok(&ack())), Vec::<Ask>::new());
}

#[test]
fn a_message_that_is_none_is_rejected_and_the_connection_goes_on_but_without_a_header_it_ends() {
    let mut world = world(1);
    let conn = trader(&mut world, 0, 0, 1);
    let whole = new_order(1, 0);
    put(&mut world, 0, conn, &whole[..20]);
    assert_eq!(rejected(&mut world, 0, conn), (Some(1), -32700, "the message is cut off".to_owned()));
    put(&mut world, 0, conn, &whole[..8]);
    assert_eq!(rejected(&mut world, 0, conn), (None, -32700, "the message is cut off".to_owned()));
    put(&mut world, 0, conn, &whole);
    put(&mut world, 0, conn, &whole[..7]);
    assert_eq!(answer_all(&mut world, Ok(&ack())).len(), 1);
    let frames = frames(&mut world, 0, conn);
    let [(2, ack), (8, close)] = &frames[..] else { panic!("{frames:?}") };
    assert_eq!(OrderAckView::decode(ack).unwrap().correlation_id(), 1, "what was sent is answered first");
    assert_eq!(close[..2], 1007_u16.to_be_bytes());
    assert_eq!(world.count(Closing::Headless), 1);
}

#[test]
fn who_goes_while_it_waits_gets_no_answer_and_neither_does_who_comes_after_it() {
    let mut world = world(1);
    let conn = trader(&mut world, 0, 0, 1);
    put(&mut world, 0, conn, &new_order(1, 0));
    world.carry();
    world.hubs[0].handle_closed(conn, world.now);
    let next = connect(&mut world, 0, 0);
    assert_eq!(answer_all(&mut world, Ok(&ack())).len(), 1);
    assert_eq!(frames(&mut world, 0, next), []);
    assert_eq!(world.departed, [(Client { home: HomeId(0), conn }, Departure::Disconnected)]);
    assert_eq!(world.hubs[0].occupancy().asks, 0);
}

fn fill(trade_seq: u64) -> Fill {
    Fill {
        order: OrderId(42),
        instrument: InstrumentId(0),
        trade_seq: Seq(trade_seq),
        direction: Direction::Buy,
        liquidity: Liquidity::Taker,
        order_type: OrderType::Limit,
        state: OrderState::Open,
        post_only: crate::model::order::PostOnly::No,
        reduce_only: false,
        label: None,
        price: Price(100 * UNIT),
        amount: Amount(UNIT),
        profit: 0,
        tick_direction: 0,
        mark_price: Price(100 * UNIT),
        timestamp_ns: 1,
        is_self_trade: false,
    }
}

/// An event of account 7 in both encodings, with so many fills.
pub(super) fn tell(world: &mut World, seq: u64, fills_count: usize) {
    let (mut order_report, mut fills) = (Vec::new(), Vec::new());
    write_order_report(&mut order_report, &order(), ExecType::Trade);
    (0..fills_count).for_each(|at| write_fill_report(&mut fills, &fill(at as u64)));
    let event = PrivateEvent {
        account: AccountId(7),
        instrument: InstrumentId(0),
        seq: Seq(seq),
        order: Some(br#"{"o":1}"#),
        trades: (fills_count > 0).then_some(br#"{"t":1}"#),
        positions: None,
        reports: Some(Reports { order: &order_report, fills: &fills, fills_count }),
    };
    world.market.tell_private(&event, world.now);
    world.carry();
}

/// The reply of a subscribe to some channels, resumed from a place where one is given.
fn follow(
    world: &mut World,
    shard: usize,
    conn: ConnId,
    channels: &[&str],
    from: Option<(u64, u64)>,
) -> (Value, Vec<(u8, Vec<u8>)>) {
    let mut params = json!({ "channels": channels });
    if let Some((epoch, seq)) = from {
        let place = json!({"epoch": epoch, "seq": seq});
        params["resume"] = channels.iter().map(|channel| ((*channel).to_owned(), place.clone())).collect();
    }
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": "private/subscribe", "params": params});
    world.send(shard, conn, &request.to_string());
    let mut frames = frames(world, shard, conn);
    let (opcode, reply) = frames.remove(0);
    assert_eq!(opcode, 1, "control is text");
    (serde_json::from_slice(&reply).unwrap(), frames)
}

/// Sequence, the one before and the trade of each report.
pub(super) fn places(frames: &[(u8, Vec<u8>)]) -> Vec<(u64, u64, Option<u64>)> {
    let place = |(opcode, message): &(u8, Vec<u8>)| {
        assert_eq!(*opcode, 2);
        let view = ExecutionReportView::decode(message).unwrap();
        (view.seq(), view.prev_seq(), view.trade_seq())
    };
    frames.iter().map(place).collect()
}

#[test]
fn orders_and_fills_are_told_in_reports_a_frame_each_and_changes_in_json() {
    let mut world = world(2);
    let conn = trader(&mut world, 1, 0, 7);
    follow(&mut world, 1, conn, &[ORDERS], None);
    tell(&mut world, 1, 0);
    tell(&mut world, 2, 2);
    assert_eq!(places(&frames(&mut world, 1, conn)), [(1, 0, None), (2, 1, None)]);
    world.send(1, conn, &subscribe(ORDERS).replace("subscribe", "unsubscribe").replace("public", "private"));
    follow(&mut world, 1, conn, &[FILLS], None);
    tell(&mut world, 3, 0);
    tell(&mut world, 4, 2);
    assert_eq!(places(&frames(&mut world, 1, conn)), [(4, 2, Some(0)), (4, 2, Some(1))]);
    follow(&mut world, 1, conn, &[CHANGES], None);
    tell(&mut world, 5, 0);
    let told = frames(&mut world, 1, conn);
    let [(1, text)] = &told[..] else { panic!("{told:?}") };
    assert_eq!(serde_json::from_slice::<Value>(text).unwrap()["params"]["data"]["orders"], json!([{"o": 1}]));
}

#[test]
fn one_sequence_is_told_in_both_encodings_and_resumed_in_either() {
    let mut world = world(1);
    let (sbe, json) = (trader(&mut world, 0, 0, 7), world.connect(0, 1));
    log_in(&mut world, 0, json, login(7, "trade:read"));
    let (reply, _) = follow(&mut world, 0, sbe, &[ORDERS], None);
    follow(&mut world, 0, json, &[ORDERS], None);
    let epoch = reply["places"][ORDERS]["epoch"].as_u64().unwrap();
    tell(&mut world, 1, 0);
    tell(&mut world, 2, 1);
    let texts = world.texts(0, json);
    let seqs: Vec<&Value> = texts.iter().map(|text| &text["params"]["seq"]).collect();
    assert_eq!((seqs, &texts[1]["params"]["data"]), (vec![&json!(1), &json!(2)], &json!({"o": 1})));
    assert_eq!(places(&frames(&mut world, 0, sbe)), [(1, 0, None), (2, 1, None)]);
    world.hubs[0].handle_closed(sbe, world.now);
    tell(&mut world, 3, 0);
    let again = trader(&mut world, 0, 2, 7);
    let (reply, missed) = follow(&mut world, 0, again, &[ORDERS], Some((epoch, 1)));
    assert_eq!(reply["resumed"][ORDERS]["recovered"], true);
    assert_eq!(places(&missed), [(2, 1, None), (3, 2, None)]);
}

#[test]
fn a_binary_message_where_json_alone_is_spoken_ends_the_connection() {
    let mut world = world(1);
    let conn = world.connect(0, 0);
    log_in(&mut world, 0, conn, login(1, "trade:read_write"));
    put(&mut world, 0, conn, &new_order(1, 0));
    assert_eq!(world.texts(0, conn), [json!({"close": 1003})]);
    assert_eq!(answer_all(&mut world, Ok(&ack())), Vec::<Ask>::new());
}
