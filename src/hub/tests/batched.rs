//! Several SBE messages in a frame, for who asked: the same messages in the same order as one a frame, over a WebSocket and binary TCP,
//! whatever the sends; orders in either way.

use super::length_prefixed::{TCP, closing, config_of_both, open, send, sent_by};
use super::length_prefixed_sbe::{IN_SBE, NAME, SBE, TEST, Told, binary, hello, read_frames, text, world};
use super::order_entry::{FILLS, ORDERS, ack, answer_all, new_order, places, tell};
use super::private::{log_in, login};
use super::*;
use crate::dialect::sbe::generated::{BookSnapshotView, GapNoticeView, OrderAckView};
use crate::dialect::sbe::{batched_length, split_batch};
use crate::ws::frame::{frame_len, frame_payload};

const BATCHED: &str = "/ws?encoding=sbe&schema=1&version=0&batch=true";
const SEND_BYTES: [usize; 6] = [256, 257, 333, 1000, 4096, 65_536];

fn in_batches(messages: &[&[u8]]) -> Vec<u8> {
    messages.iter().flat_map(|message| [&batched_length(message.len()), *message].concat()).collect()
}

/// A client's frame of up to 65,535 bytes.
fn masked(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x82];
    match payload.len() {
        len @ 0..126 => frame.push(0x80 | len as u8),
        len => frame.extend([&[0x80 | 126][..], &(len as u16).to_be_bytes()].concat()),
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// The frames that a connection is sent now, in sends of so many bytes.
fn frames(world: &mut World, conn: ConnId, send_bytes: usize, is_tcp: bool) -> Vec<Told> {
    let all = sent_by(world, conn, send_bytes);
    if is_tcp {
        return read_frames(&all);
    }
    let (mut frames, mut rest) = (Vec::new(), &all[..]);
    while !rest.is_empty() {
        let (frame, after) = rest.split_at(frame_len(rest));
        frames.push((frame[0] & 0xf, frame_payload(frame).to_vec()));
        rest = after;
    }
    frames
}

/// The messages in batched frames, as frames of their own.
fn messages(frames: &[Told]) -> Vec<Told> {
    let mut all = Vec::new();
    for (opcode, payload) in frames {
        if *opcode != 2 {
            all.push((*opcode, payload.clone()));
            continue;
        }
        let mut rest = &payload[..];
        let before = all.len();
        while !rest.is_empty() {
            let (message, after) = split_batch(rest).unwrap();
            all.push((2, message.to_vec()));
            rest = after;
        }
        let count = all.len() - before;
        assert!(count == 1 || (count > 1 && payload.len() <= limits::BATCH_FRAME_BYTES_MAX), "{count}");
    }
    all
}

/// A connection of each kind that has batches, without what it was greeted with.
fn both(world: &mut World) -> [(ConnId, bool); 2] {
    let (ws, _) = world.connect_to(0, 1, BATCHED, "");
    let tcp = open(world, 2, TCP);
    send(world, tcp, &hello(&format!("{SBE},\"batch\":true")));
    let greeted = frames(world, tcp, 4096, true);
    assert_eq!(text(&greeted[0])["result"]["batch"], true);
    [(ws, false), (tcp, true)]
}

fn ask(world: &mut World, (conn, is_tcp): (ConnId, bool), request: &str) {
    if is_tcp {
        send(world, conn, request);
    } else {
        world.send(0, conn, request);
    }
}

fn put(world: &mut World, (conn, is_tcp): (ConnId, bool), payload: &[u8]) {
    let mut bytes = if is_tcp { binary(payload) } else { masked(payload) };
    world.hubs[0].handle_bytes(conn, &mut bytes, world.now);
}

#[test]
fn who_asks_for_batches_is_told_the_same_in_fewer_frames() {
    for send_bytes in SEND_BYTES {
        let mut world = world();
        world.feed(level(Side::Bid, 100, 5));
        let (single, _) = world.connect_to(0, 0, IN_SBE, "");
        let all = [[(single, false)].as_slice(), &both(&mut world)].concat();
        for channel in ["quote.{}", "trades.{}.raw", "book.{}.none.20.100ms", "book.{}.raw"] {
            all.iter().for_each(|conn| ask(&mut world, *conn, &subscribe(&channel.replace("{}", NAME))));
        }
        for price in 100..140 {
            world.feed(trade(price));
            world.feed(level(Side::Ask, price + 50, 7));
            if price == 120 {
                all.iter().for_each(|conn| ask(&mut world, *conn, TEST));
            }
        }
        let expected = frames(&mut world, single, send_bytes, false);
        for (conn, is_tcp) in all[1..].iter().copied() {
            let told = frames(&mut world, conn, send_bytes, is_tcp);
            assert_eq!(messages(&told), expected, "by {send_bytes}");
            assert!(
                send_bytes < 1000 || told.len() * 3 < expected.len(),
                "{} of {}",
                told.len(),
                expected.len()
            );
        }
    }
}

#[test]
fn who_falls_behind_is_told_the_same_gap_and_value_by_either_way() {
    for send_bytes in SEND_BYTES {
        let mut world = world();
        let (single, _) = world.connect_to(0, 0, IN_SBE, "");
        let tcp = open(&mut world, 3, TCP);
        send(&mut world, tcp, &hello(SBE));
        frames(&mut world, tcp, 4096, true);
        let batched = both(&mut world);
        let all = [[(single, false), (tcp, true)], batched].concat();
        for conn in &all {
            ask(&mut world, *conn, &subscribe("book.BTC-PERPETUAL.raw"));
            frames(&mut world, conn.0, 4096, conn.1);
        }
        (0..2000).for_each(|number| world.feed(level(Side::Bid, 100 + number % 50, 1 + number % 7)));
        let expected = frames(&mut world, single, send_bytes, false);
        let [.., (2, gap), (2, value)] = &expected[..] else { panic!("{}", expected.len()) };
        assert!(GapNoticeView::decode(gap).is_ok() && BookSnapshotView::decode(value).is_ok());
        assert!(value.len() > 800, "longer than the smallest send");
        assert_eq!(frames(&mut world, tcp, send_bytes, true), expected, "by {send_bytes}");
        for (conn, is_tcp) in batched {
            let told = frames(&mut world, conn, send_bytes, is_tcp);
            assert_eq!(messages(&told), expected, "by {send_bytes}");
        }
    }
}

#[test]
fn nothing_waits_for_company() {
    let mut world = world();
    for (conn, first) in both(&mut world).into_iter().zip([100, 200]) {
        ask(&mut world, conn, &subscribe("quote.BTC-PERPETUAL"));
        frames(&mut world, conn.0, 4096, conn.1);
        for price in first..first + 3 {
            world.feed(level(Side::Bid, price, 5));
            let told = frames(&mut world, conn.0, 4096, conn.1);
            assert_eq!((told.len(), messages(&told).len()), (1, 1), "at once, and alone");
        }
    }
}

fn traders(world: &mut World) -> [(ConnId, bool); 2] {
    let [ws, (tcp, _)] = both(world);
    log_in(world, 0, ws.0, login(7, "trade:read_write"));
    let grant = r#"{"grant_type":"client_credentials","client_id":"a","client_secret":"b"}"#;
    send(world, tcp, &format!(r#"{{"jsonrpc":"2.0","id":0,"method":"public/auth","params":{grant}}}"#));
    let Some(LoginQuestion::Judge { ticket, .. }) = world.hubs[0].poll_question() else {
        panic!("a log-in is judged")
    };
    let verdict = crate::auth::Verdict::Granted { login: login(7, "trade:read_write"), tokens: None };
    world.hubs[0].handle_verdict(ticket, verdict, world.now);
    [ws, (tcp, true)]
}

#[test]
fn a_frame_of_several_orders_is_served_up_to_where_it_breaks_off() {
    let mut world = world();
    let orders = [1, 2, 3].map(|id| new_order(id, 0));
    let [first, second, third] = orders.each_ref().map(|order| &order[..]);
    for conn in traders(&mut world) {
        put(&mut world, conn, &in_batches(&[first, second]));
        assert_eq!(answer_all(&mut world, Ok(&ack())).len(), 2);
        let acks = frames(&mut world, conn.0, 4096, conn.1);
        assert_eq!(acks.len(), 1, "answers of a turn share a frame: {acks:?}");
        let correlations: Vec<u64> = messages(&acks)
            .iter()
            .map(|(_, ack)| OrderAckView::decode(ack).unwrap().correlation_id())
            .collect();
        assert_eq!(correlations, [1, 2]);
        let mut to_the_end = vec![0, 0];
        to_the_end.extend_from_slice(third);
        put(&mut world, conn, &to_the_end);
        assert_eq!(answer_all(&mut world, Ok(&ack())).len(), 1, "0 is the rest of the frame");
        frames(&mut world, conn.0, 4096, conn.1);
        let whole = in_batches(&[first, second]);
        put(&mut world, conn, &whole[..whole.len() - 1]);
        assert_eq!(answer_all(&mut world, Ok(&ack())).len(), 1);
        let told = frames(&mut world, conn.0, 4096, conn.1);
        let (end, acks) = told.split_last().unwrap();
        assert_eq!(messages(acks).len(), 1);
        let reason = Closing::BatchCut.reason();
        match conn.1 {
            true => assert_eq!(text(end), closing(1007, reason)),
            false => assert_eq!((end.0, &end.1[..2]), (8, &1007_u16.to_be_bytes()[..])),
        }
    }
    assert_eq!(world.count(Closing::BatchCut), 2);
    let mut other = length_prefixed_sbe::world();
    for conn in both(&mut other) {
        put(&mut other, conn, &[]);
    }
    assert_eq!(other.count(Closing::BatchCut), 2, "a frame has a message at least");
}

#[test]
fn each_order_of_a_frame_counts_as_a_message() {
    let config =
        HubConfig { rates: RateLimits { messages_per_s_max: 10, bytes_per_s_max: 0 }, ..config_of_both() };
    let mut world = World::with(1, &config);
    for conn in both(&mut world) {
        let order = new_order(1, 0);
        put(&mut world, conn, &in_batches(&[&order[..]; 40]));
        let told = frames(&mut world, conn.0, 4096, conn.1);
        let rejects = messages(&told[..told.len() - 1]).len();
        assert!((5..=10).contains(&rejects), "{rejects} of 40 are looked at");
    }
    assert_eq!(world.count(Closing::MessageRate), 2);
}

#[test]
fn reports_and_control_frames_come_whole_in_sends_of_any_size() {
    const FILLS_COUNT: usize = 400;
    for send_bytes in SEND_BYTES {
        let mut world = world();
        let traders = traders(&mut world);
        for conn in traders {
            for channel in [ORDERS, FILLS] {
                ask(&mut world, conn, &subscribe(channel).replace("public", "private"));
            }
            frames(&mut world, conn.0, 4096, conn.1);
        }
        tell(&mut world, 1, FILLS_COUNT);
        tell(&mut world, 2, 1);
        let mut ping = [&[0x89, 0x80 | 125, 0, 0, 0, 0][..], &[b'p'; 125]].concat();
        world.hubs[0].handle_bytes(traders[0].0, &mut ping, world.now);
        let mut expected = vec![(1, 0, None)];
        expected.extend((0..FILLS_COUNT as u64).map(|trade| (1, 0, Some(trade))));
        expected.extend([(2, 1, None), (2, 1, Some(0))]);
        for (conn, is_tcp) in traders {
            let mut told = frames(&mut world, conn, send_bytes, is_tcp);
            if !is_tcp {
                assert_eq!(told.remove(0), (10, vec![b'p'; 125]), "by {send_bytes}");
            }
            assert_eq!(places(&messages(&told)), expected, "by {send_bytes}");
        }
    }
}

#[test]
fn an_upgrade_s_answer_goes_ahead_of_batches_in_the_same_send() {
    let mut world = world();
    world.generations += 1;
    let conn = ConnId { slot: 0, generation: world.generations };
    world.hubs[0].handle_open(conn, Arrival::FIRST, world.now);
    let mut request = format!(
        "GET {BATCHED} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes();
    let order = new_order(1, 0);
    request.extend(masked(&in_batches(&[&order, &order])));
    world.hubs[0].handle_bytes(conn, &mut request, world.now);
    let sent = world.take(0, conn);
    let head = sent.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
    assert!(sent.starts_with(b"HTTP/1.1 101 "));
    assert_eq!(frame_len(&sent[head..]), sent.len() - head, "one frame: {:?}", &sent[head..]);
    assert_eq!(sent[head], 0x82, "{}", String::from_utf8_lossy(&sent[head..]));
    let rejects = messages(&[(2, frame_payload(&sent[head..]).to_vec())]);
    assert_eq!(rejects.len(), 2, "who has not logged in may not trade");
}
