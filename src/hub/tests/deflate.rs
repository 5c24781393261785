//! permessage-deflate: who gets what compressed, how often it is compressed, and what clients may inflate.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use super::*;
use crate::ws::deflate::{ClientContextTakeover, DeflateSettings, WindowBits};
use crate::ws::frame::{frame_len, frame_payload};
use crate::ws::{CloseCode, Fault};

const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
const TRADES: &str = "trades.BTC-PERPETUAL.raw";
const TEST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"public/test"}"#;

pub(super) fn deflating() -> HubConfig {
    let deflate = DeflateSettings {
        client_window_bits_max: WindowBits::MAX,
        client_context_takeover: ClientContextTakeover::Refused,
    };
    let listener = ListenerPolicy { deflate: Some(deflate), echo: Echo::On, ..ListenerPolicy::default() };
    HubConfig { listeners: vec![listener], ..config() }
}

/// A frame that a client was sent.
#[derive(Debug, PartialEq)]
enum Sent {
    Plain(String),
    Deflated(String),
    Close(u16),
}

impl Sent {
    fn text(&self) -> &str {
        match self {
            Sent::Plain(text) | Sent::Deflated(text) => text,
            Sent::Close(code) => panic!("closed with {code}"),
        }
    }
}

impl World {
    pub(super) fn connect_with_window(&mut self, shard: usize, slot: u32, bits: u8) -> ConnId {
        let offer =
            format!("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits={bits}\r\n");
        let (conn, answer) = self.connect_to(shard, slot, "/ws", &offer);
        assert!(answer.contains(&format!("server_max_window_bits={bits}\r\n")), "{answer}");
        conn
    }

    /// What a connection is sent now, inflated within a window of so many bits.
    fn frames(&mut self, shard: usize, conn: ConnId, bits: u8) -> Vec<Sent> {
        let sent = self.frames_of_any_text(shard, conn, bits);
        for frame in &sent {
            match frame {
                Sent::Plain(text) | Sent::Deflated(text) => check_json(text.as_bytes()),
                Sent::Close(_) => {}
            }
        }
        sent
    }

    /// The same on `/echo`, where a text may be anything.
    fn frames_of_any_text(&mut self, shard: usize, conn: ConnId, bits: u8) -> Vec<Sent> {
        let bytes = self.take(shard, conn);
        let (mut sent, mut rest) = (Vec::new(), &bytes[..]);
        while !rest.is_empty() {
            let (frame, after) = rest.split_at(frame_len(rest));
            let payload = frame_payload(frame);
            sent.push(match frame[0] {
                0x81 => Sent::Plain(String::from_utf8(payload.to_vec()).unwrap()),
                0xc1 => Sent::Deflated(inflate(payload, bits)),
                0x88 => Sent::Close(u16::from_be_bytes([payload[0], payload[1]])),
                other => panic!("unexpected frame {other:#x}"),
            });
            rest = after;
        }
        sent
    }

    fn deflated_total(&self) -> u64 {
        let shards: u64 = self.hubs.iter().map(|hub| hub.home_counters().frames_deflated_total).sum();
        shards + self.market.home_counters().frames_deflated_total
    }
}

/// The frames that a connection is sent now, as texts, and whether they are compressed.
pub(super) fn inflated(world: &mut World, shard: usize, conn: ConnId, bits: u8) -> Vec<(bool, String)> {
    let frames = world.frames(shard, conn, bits);
    frames.iter().map(|sent| (matches!(sent, Sent::Deflated(_)), sent.text().to_owned())).collect()
}

fn inflate(payload: &[u8], bits: u8) -> String {
    let input = [payload, &[0, 0, 0xff, 0xff]].concat();
    let mut out = Vec::with_capacity(1 << 20);
    let mut inflater = Decompress::new_with_window_bits(false, bits);
    inflater.decompress_vec(&input, &mut out, FlushDecompress::Sync).unwrap();
    assert_eq!(inflater.total_in(), input.len() as u64);
    String::from_utf8(out).unwrap()
}

fn deflate(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 100);
    let mut compress = Compress::new(Compression::best(), false);
    compress.compress_vec(payload, &mut out, FlushCompress::Sync).unwrap();
    out.truncate(out.len() - 4);
    out
}

/// A client's frame with this first byte, masked by zeros.
fn client_frame(head: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![head];
    match u16::try_from(payload.len()).unwrap() {
        len @ 0..=125 => frame.push(0x80 | len as u8),
        len => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&len.to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

#[test]
fn an_event_is_compressed_once_for_all_subscribers_of_all_shards() {
    let mut world = World::with(3, &deflating());
    world.feed(list("BTC-PERPETUAL"));
    // On each shard: windows of 15, 12 and 9 bits, two each, and two without any.
    let mut clients = Vec::new();
    for number in 0..24_u32 {
        let (shard, slot) = (number as usize % 3, number / 3);
        let bits = [15, 12, 9, 0][slot as usize % 4];
        let conn =
            if bits == 0 { world.connect(shard, slot) } else { world.connect_with_window(shard, slot, bits) };
        world.send(shard, conn, &subscribe(TRADES));
        assert!(matches!(&world.frames(shard, conn, 15)[..], [Sent::Plain(reply)] if reply.contains(TRADES)));
        clients.push((shard, conn, bits));
    }
    let encoded = world.market.home_counters().frames_encoded_total;
    for price in 100..110 {
        world.feed(trade(price));
    }
    assert_eq!(world.deflated_total(), 10, "one compression serves all windows that an event fits");
    let home = world.market.home_counters();
    assert_eq!(home.frames_encoded_total - encoded, 10);
    assert!(home.deflated_bytes_out_total * 4 < home.deflated_bytes_in_total * 3);
    let expected = world.frames(clients[3 * 3].0, clients[3 * 3].1, 15);
    assert!(expected.len() == 10 && expected.iter().all(|sent| matches!(sent, Sent::Plain(_))));
    for (shard, conn, bits) in clients.into_iter().filter(|(shard, conn, _)| (*shard, conn.slot) != (0, 3)) {
        let sent = world.frames(shard, conn, bits.max(9));
        assert!(sent.iter().all(|sent| matches!(sent, Sent::Deflated(_)) == (bits > 0)), "{bits}");
        assert!(sent.iter().map(Sent::text).eq(expected.iter().map(Sent::text)), "{bits}");
    }
    let deliveries: u64 = world.hubs.iter().map(|hub| hub.counters().deflated_deliveries_total).sum();
    assert_eq!(deliveries, 10 * 18);
}

#[test]
fn a_long_event_is_compressed_once_for_each_window_that_it_does_not_fit() {
    let mut world = World::with(2, &deflating());
    let mut clients = Vec::new();
    for (slot, bits) in (0..).zip([15, 13, 12, 10, 9, 9]) {
        for shard in 0..2 {
            let conn = world.connect_with_window(shard, slot, bits);
            world.send(shard, conn, &subscribe("topic.long"));
            world.frames(shard, conn, 15);
            clients.push((shard, conn, bits));
        }
    }
    let words: Vec<String> = (0..350).map(|number| format!("\"word{}\"", number * number % 977)).collect();
    let data = format!("[{}]", words.join(","));
    assert!((2048..4000).contains(&data.len()));
    let publisher = world.connect(0, 10);
    for _ in 0..5 {
        world.send(0, publisher, &publish("long", &data));
    }
    // 15, 13 and 12 bits; 10; 9.
    assert_eq!(world.deflated_total(), 5 * 3);
    for (shard, conn, bits) in clients {
        let sent = world.frames(shard, conn, bits);
        assert_eq!(sent.len(), 5);
        assert!(
            sent.iter().all(|sent| matches!(sent, Sent::Deflated(text) if text.contains(&data))),
            "{bits}"
        );
    }
}

#[test]
fn nothing_is_compressed_once_nobody_reads_it() {
    let mut world = World::with(2, &deflating());
    world.feed(list("BTC-PERPETUAL"));
    let plain = world.connect(0, 0);
    let deflated = [(0, world.connect_with_window(0, 1, 15)), (1, world.connect_with_window(1, 0, 9))];
    world.send(0, plain, &subscribe(TRADES));
    world.feed(trade(100));
    assert_eq!(world.deflated_total(), 0);
    for (shard, conn) in deflated {
        world.send(shard, conn, &subscribe(TRADES));
    }
    world.feed(trade(101));
    assert_eq!(world.deflated_total(), 1);
    let (shard, first) = deflated[0];
    let leave = subscribe(TRADES).replace("subscribe", "unsubscribe");
    world.send(shard, first, &leave);
    world.feed(trade(102));
    assert_eq!(world.deflated_total(), 2, "the other shard's reads it still");
    let (shard, second) = deflated[1];
    world.hubs[shard].handle_closed(second, world.now);
    world.carry();
    world.feed(trade(103));
    assert_eq!(world.deflated_total(), 2);
    assert_eq!(world.frames(0, plain, 15).len(), 5, "the reply and four trades");
}

#[test]
fn only_channels_of_the_configured_kinds_and_long_enough_messages_are_compressed() {
    let kinds = ChannelKinds::of([ChannelKind::Book, ChannelKind::Topic]);
    let deflation = Deflation { kinds, message_bytes_min: 400, ..Deflation::default() };
    let mut world = World::with(1, &HubConfig { deflation, ..deflating() });
    world.feed(list("BTC-PERPETUAL"));
    let conn = world.connect_with_window(0, 0, 15);
    let publisher = world.connect(0, 1);
    world.send(0, conn, &subscribe(TRADES));
    world.send(0, conn, &subscribe("topic.alerts"));
    world.frames(0, conn, 15);
    world.feed(trade(100));
    world.send(0, publisher, &publish("alerts", "\"short\""));
    world.send(0, publisher, &publish("alerts", &format!("\"{}\"", "long ".repeat(100))));
    let sent = world.frames(0, conn, 15);
    assert!(matches!(&sent[..], [Sent::Plain(_), Sent::Plain(_), Sent::Deflated(_)]), "{sent:?}");
}

#[test]
fn snapshots_are_compressed_and_replies_are_not() {
    let mut world = World::with(1, &deflating());
    world.feed(list("BTC-PERPETUAL"));
    for price in 100..140 {
        world.feed(level(Side::Bid, price, 5));
    }
    let clients =
        [world.connect_with_window(0, 0, 15), world.connect_with_window(0, 1, 15), world.connect(0, 2)];
    let sent = clients.map(|conn| {
        world.send(0, conn, &subscribe("book.BTC-PERPETUAL.raw"));
        world.frames(0, conn, 15)
    });
    assert!(matches!(&sent[0][..], [Sent::Plain(_), Sent::Deflated(_)]));
    assert_eq!(sent[0], sent[1]);
    assert!(matches!(&sent[2][..], [Sent::Plain(_), Sent::Plain(value)] if value == sent[0][1].text()));
    world.feed(level(Side::Ask, 200, 7));
    let sent = clients.map(|conn| world.frames(0, conn, 15));
    assert_eq!(sent[0][0].text(), sent[2][0].text());
}

#[test]
fn a_gap_changes_nothing_about_who_reads_what() {
    let mut world = World::with(1, &deflating());
    world.feed(list("BTC-PERPETUAL"));
    let conn = world.connect_with_window(0, 0, 15);
    world.send(0, conn, &subscribe(TRADES));
    world.feed(trade(100));
    world.frames(0, conn, 15);
    world.market.handle_lag(HomeId(0));
    world.feed(trade(101));
    world.market.handle_room(HomeId(0));
    world.carry();
    world.feed(trade(102));
    let sent = world.frames(0, conn, 15);
    // What was missed is replayed as it is.
    assert!(matches!(&sent[..], [Sent::Plain(_), Sent::Deflated(_)]), "{sent:?}");
}

#[test]
fn a_compressed_request_is_answered() {
    let mut world = World::with(1, &deflating());
    let (conn, answer) = world.connect_to(0, 0, "/ws", OFFER);
    assert!(answer.contains("permessage-deflate; server_no_context_takeover; client_no_context_takeover"));
    let frame = client_frame(0xc1, &deflate(TEST.as_bytes()));
    world.hubs[0].handle_bytes(conn, &mut frame.clone(), world.now);
    for byte in frame {
        world.hubs[0].handle_bytes(conn, &mut [byte], world.now);
    }
    assert_eq!(world.frames(0, conn, 15).len(), 2);
    assert_eq!(world.hubs[0].counters().inflated_bytes_total, 2 * TEST.len() as u64);
}

#[test]
fn an_offer_to_a_listener_without_compression_is_declined() {
    let mut world = World::new(1);
    let (conn, answer) = world.connect_to(0, 0, "/ws", OFFER);
    assert!(!answer.contains("Extensions"));
    world.hubs[0].handle_bytes(conn, &mut client_frame(0xc1, &deflate(TEST.as_bytes())), world.now);
    assert_eq!(world.frames(0, conn, 15), [Sent::Close(CloseCode::PROTOCOL_ERROR.value())]);
}

#[test]
fn a_bomb_is_closed_before_it_is_expanded() {
    let mut world = World::with(1, &deflating());
    let (conn, _) = world.connect_to(0, 0, "/ws", OFFER);
    let bomb = deflate(&vec![b' '; 10_000_000]);
    assert!(bomb.len() < 20_000);
    world.hubs[0].handle_bytes(conn, &mut client_frame(0xc1, &bomb), world.now);
    assert_eq!(world.frames(0, conn, 15), [Sent::Close(CloseCode::MESSAGE_TOO_BIG.value())]);
    assert_eq!(world.hubs[0].counters().inflated_bytes_total, 65_537);
    assert_eq!(world.hubs[0].incidents().of(Incident::Broken(Fault::MessageTooBig)), 1);
}

#[test]
fn many_small_frames_of_one_read_inflate_to_a_bounded_sum() {
    let mut world = World::with(1, &deflating());
    let (conn, _) = world.connect_to(0, 0, "/ws", OFFER);
    let mut text = TEST.as_bytes().to_vec();
    text.resize(65_536, b' ');
    let mut read = client_frame(0xc1, &deflate(&text)).repeat(20);
    world.hubs[0].handle_bytes(conn, &mut read, world.now);
    let sent = world.frames(0, conn, 15);
    // Nine messages make more than half a MiB; they are answered.
    assert_eq!((sent.len(), sent.last()), (10, Some(&Sent::Close(CloseCode::POLICY_VIOLATION.value()))));
    assert_eq!(world.count(Closing::InflatedBurst), 1);
    assert!(world.hubs[0].counters().inflated_bytes_total <= limits::INFLATED_BYTES_PER_READ_MAX + 65_536);
}

#[test]
fn a_connection_that_goes_in_the_middle_of_a_message_gives_its_inflater_back() {
    let mut world = World::with(1, &deflating());
    let conns: Vec<ConnId> = (0..20).map(|slot| world.connect_to(0, slot, "/ws", OFFER).0).collect();
    for conn in &conns {
        world.hubs[0].handle_bytes(*conn, &mut client_frame(0x41, b""), world.now);
    }
    assert_eq!(world.hubs[0].occupancy().inflaters, 20);
    for conn in conns {
        world.hubs[0].handle_closed(conn, world.now);
    }
    assert_eq!(world.hubs[0].occupancy().total(), 0);
}

#[test]
fn who_began_a_message_first_makes_room_for_who_begins_one_when_all_inflaters_are_taken() {
    let mut world = World::with(1, &deflating());
    let begun = client_frame(0x41, &deflate(TEST.as_bytes())[..10]);
    let most = u32::try_from(limits::INCOMPLETE_DEFLATED_MAX).unwrap();
    let mut stalled: Vec<ConnId> = (0..most).map(|slot| world.connect_to(0, slot, "/ws", OFFER).0).collect();
    // The order is that of their messages, not of their coming.
    stalled.swap(0, 5);
    for conn in &stalled {
        world.now = world.now.plus_ns(1);
        world.hubs[0].handle_bytes(*conn, &mut begun.clone(), world.now);
    }
    // Who has ended a message and begun another is the youngest.
    let (again, mut end) = (stalled.remove(1), client_frame(0x80, &deflate(TEST.as_bytes())[10..]));
    world.hubs[0].handle_bytes(again, &mut end, world.now);
    assert_eq!(world.frames(0, again, 15).len(), 1);
    world.hubs[0].handle_bytes(again, &mut begun.clone(), world.now);
    let closed = |world: &World| world.hubs[0].incidents().of(Incident::Broken(Fault::InflatersExhausted));
    assert_eq!((world.hubs[0].occupancy().inflaters, closed(&world)), (most as usize, 0));
    for (number, oldest) in (0..).zip(&stalled[..10]) {
        let (late, _) = world.connect_to(0, most + number, "/ws", OFFER);
        let frame = client_frame(0xc1, &deflate(TEST.as_bytes()));
        let (first, second) = frame.split_at(frame.len() / 2);
        world.hubs[0].handle_bytes(late, &mut first.to_vec(), world.now);
        assert_eq!(world.frames(0, *oldest, 15), [Sent::Close(CloseCode::TRY_AGAIN_LATER.value())]);
        assert_eq!(world.hubs[0].occupancy().inflaters, most as usize);
        world.hubs[0].handle_bytes(late, &mut second.to_vec(), world.now);
        assert!(matches!(&world.frames(0, late, 15)[..], [Sent::Plain(_)]));
        // The place that it leaves is taken: the next one finds none.
        world.hubs[0].handle_bytes(late, &mut begun.clone(), world.now);
    }
    assert_eq!(closed(&world), 10);
    for conn in stalled.into_iter().chain([again]) {
        world.hubs[0].handle_closed(conn, world.now);
    }
    assert_eq!(world.hubs[0].occupancy().inflaters, 10, "those who came late");
}

#[test]
fn an_echo_comes_back_compressed_if_that_makes_it_shorter() {
    let mut world = World::with(1, &deflating());
    let (conn, _) = world.connect_to(0, 0, "/echo", OFFER);
    let long = "price amount ".repeat(50);
    for text in ["short", &long] {
        let frame = client_frame(0xc1, &deflate(text.as_bytes()));
        world.hubs[0].handle_bytes(conn, &mut frame.clone(), world.now);
    }
    let sent = world.frames_of_any_text(0, conn, 15);
    assert_eq!(sent, [Sent::Plain("short".to_owned()), Sent::Deflated(long)]);
}
