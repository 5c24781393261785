//! permessage-deflate over a socket: agreed on only where a listener allows it, subscribers get what others get, and
//! nothing that a client compresses costs more than a limit says.

use std::io::Write;
use std::net::TcpStream;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use serde_json::{Value, json};

use crate::bytes::{self, CONTINUATION, FIN, PING, PONG, TEST, TEXT};
use crate::client::Client;
use crate::server::Server;

const ON: &str = "[[listen]]\n[listen.deflate]\nenabled = true\n";
/// The bit of a compressed message's first frame.
const RSV1: u8 = 0x40;
/// Compressed messages of one shard that may be incomplete at a time.
const INCOMPLETE_MAX: usize = 1024;

fn upgrade(server: &Server, offer: &str) -> (TcpStream, String) {
    let mut stream = bytes::connect(server.address);
    let fields = ["Sec-WebSocket-Version: 13", &format!("Sec-WebSocket-Extensions: {offer}")];
    stream.write_all(&bytes::request("GET /ws HTTP/1.1", &fields)).unwrap();
    let head = bytes::read_head(&mut stream);
    (stream, head)
}

/// A connection that has agreed to permessage-deflate.
fn open(server: &Server) -> TcpStream {
    let (stream, head) = upgrade(server, "permessage-deflate; client_max_window_bits");
    let answer = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
        client_no_context_takeover; client_max_window_bits=15\r\n";
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains(answer), "{head}");
    stream
}

fn deflate(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 100);
    Compress::new(Compression::best(), false).compress_vec(payload, &mut out, FlushCompress::Sync).unwrap();
    out.truncate(out.len() - 4);
    out
}

fn inflate(payload: &[u8]) -> String {
    let input = [payload, &[0, 0, 0xff, 0xff]].concat();
    let mut out = Vec::with_capacity(1 << 20);
    Decompress::new(false).decompress_vec(&input, &mut out, FlushDecompress::Sync).unwrap();
    String::from_utf8(out).unwrap()
}

/// The next message and whether it came compressed.
fn read_message(stream: &mut TcpStream) -> (Value, bool) {
    let frame = bytes::read_frame(stream);
    let compressed = frame.head == FIN | RSV1 | TEXT;
    assert!(compressed || frame.head == FIN | TEXT, "{frame:?}");
    let text = if compressed { inflate(&frame.payload) } else { String::from_utf8(frame.payload).unwrap() };
    (serde_json::from_str(&text).unwrap(), compressed)
}

fn subscribe(stream: &mut TcpStream, channel: &str) {
    let request =
        json!({"jsonrpc": "2.0", "id": 1, "method": "public/subscribe", "params": {"channels": [channel]}});
    let payload = deflate(request.to_string().as_bytes());
    stream.write_all(&bytes::frame(FIN | RSV1 | TEXT, &payload)).unwrap();
    let (reply, compressed) = read_message(stream);
    assert_eq!((&reply["result"], compressed), (&json!([channel]), false), "replies are never compressed");
}

#[test]
fn a_subscriber_that_agreed_to_compression_gets_what_others_get() {
    let server = Server::start(ON, "0");
    let (mut deflated, mut plain) = (open(&server), Client::connect(server.address));
    subscribe(&mut deflated, "topic.news");
    plain.subscribe("topic.news");
    let mut publisher = Client::connect(server.address);
    let mut came_compressed = 0;
    for number in 0..50 {
        publisher.publish("news", &json!({"number": number, "words": "price amount ".repeat(number)}));
        let note = plain.note();
        let (message, compressed) = read_message(&mut deflated);
        assert_eq!(message["params"], note);
        came_compressed += u64::from(compressed);
    }
    assert!(came_compressed > 40, "{came_compressed}");
    drop((deflated, plain, publisher));
    let ended = server.stop();
    ended.assert_clean();
    assert_eq!(ended.of_shards("frames_deflated_total"), came_compressed);
    assert_eq!(ended.of_shards("deflated_deliveries_total"), came_compressed);
}

#[test]
fn an_offer_is_declined_where_compression_is_off_and_a_malformed_one_refused_anywhere() {
    for config in ["", ON] {
        let server = Server::start(config, "0");
        let (stream, head) = upgrade(&server, "permessage-deflate; server_max_window_bits=7");
        assert!(head.starts_with("HTTP/1.1 101 ") && !head.contains("Extensions"), "{head}");
        drop(stream);
        let (stream, head) = upgrade(&server, "permessage-deflate; server_max_window_bits=\"9");
        assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
        drop(stream);
        let ended = server.stop();
        ended.assert_clean();
        assert_eq!(ended.incidents("extensions_malformed"), 1);
    }
}

#[test]
fn each_fault_of_compression_closes_with_its_code() {
    let server = Server::start(ON, "0");
    let whole = deflate(TEST.as_bytes());
    let bomb = deflate(&vec![b' '; 50_000_000]);
    assert!(bomb.len() < 60_000, "{}", bomb.len());
    let mut padded = TEST.as_bytes().to_vec();
    padded.resize(60_000, b' ');
    let burst = bytes::frame(FIN | RSV1 | TEXT, &deflate(&padded)).repeat(40);
    let second_bit = [bytes::frame(RSV1 | TEXT, &whole[..5]), bytes::frame(FIN | RSV1, &whole[5..])].concat();
    let cases: [(&str, Vec<u8>, u16, &str); 7] = [
        ("a bomb", bytes::frame(FIN | RSV1 | TEXT, &bomb), 1009, "message_too_big"),
        ("many messages that inflate to much in one read", burst, 1008, "inflated_burst"),
        ("no deflate data", bytes::frame(FIN | RSV1 | TEXT, b"\x07"), 1007, "deflate_invalid"),
        ("half a message", bytes::frame(FIN | RSV1 | TEXT, &whole[..20]), 1007, "deflate_invalid"),
        ("no UTF-8", bytes::frame(FIN | RSV1 | TEXT, &deflate(b"\"\xff\"")), 1007, "text_not_utf8"),
        ("a compressed continuation", second_bit, 1002, "reserved_bits"),
        ("a compressed ping", bytes::frame(FIN | RSV1 | PING, &whole), 1002, "reserved_bits"),
    ];
    let (_, peak_before_kib) = server.resident_kib();
    for (what, sent, code, _) in &cases {
        let mut stream = open(&server);
        stream.write_all(sent).unwrap();
        let mut frame = bytes::read_frame(&mut stream);
        while frame.head == FIN | TEXT {
            frame = bytes::read_frame(&mut stream);
        }
        assert_eq!(frame.close_code(), Some(*code), "{what}");
    }
    let (_, peak_kib) = server.resident_kib();
    assert!(peak_kib < peak_before_kib + 8 * 1024, "{peak_before_kib} KiB became {peak_kib}");
    let ended = server.stop();
    ended.assert_clean();
    ended.assert_incidents(cases.iter().map(|case| case.3));
}

#[test]
fn compressed_messages_arrive_in_any_fragments_with_control_frames_between() {
    let server = Server::start(ON, "0");
    let mut stream = open(&server);
    let payload = deflate(TEST.as_bytes());
    for split in 0..=payload.len() {
        let (front, back) = payload.split_at(split);
        stream.write_all(&bytes::frame(RSV1 | TEXT, front)).unwrap();
        stream.write_all(&bytes::frame(FIN | PING, b"between")).unwrap();
        stream.write_all(&bytes::frame(FIN | CONTINUATION, back)).unwrap();
    }
    let (mut pongs, mut replies) = (0, 0);
    while pongs + replies < 2 * (payload.len() + 1) {
        match bytes::read_frame(&mut stream).head {
            head if head == FIN | PONG => pongs += 1,
            head if head == FIN | TEXT => replies += 1,
            head => panic!("unexpected frame {head:#x}"),
        }
    }
    assert_eq!(pongs, replies);
    drop(stream);
    server.stop().assert_clean();
}

#[test]
fn only_so_many_compressed_messages_may_be_incomplete() {
    let server = Server::start(ON, "0");
    let begun = bytes::frame(RSV1 | TEXT, &deflate(TEST.as_bytes())[..10]);
    let ping = bytes::frame(FIN | PING, b"");
    let mut stalled: Vec<TcpStream> = (0..INCOMPLETE_MAX).map(|_| open(&server)).collect();
    // The first is known to have begun before the others.
    let (oldest, others) = stalled.split_first_mut().unwrap();
    for streams in [std::slice::from_mut(oldest), others] {
        for stream in &mut *streams {
            stream.write_all(&begun).unwrap();
            stream.write_all(&ping).unwrap();
        }
        for stream in streams {
            assert_eq!(bytes::read_frame(stream).head, FIN | PONG);
        }
    }
    // Who sends a whole message is served; where one more is begun, who began first is told to come later.
    let mut stream = open(&server);
    stream.write_all(&bytes::frame(FIN | RSV1 | TEXT, &deflate(TEST.as_bytes()))).unwrap();
    assert_eq!(bytes::read_frame(&mut stream).head, FIN | TEXT);
    stream.write_all(&begun).unwrap();
    assert_eq!(bytes::read_frame(oldest).close_code(), Some(1013));
    stream.write_all(&bytes::frame(FIN | CONTINUATION, &deflate(TEST.as_bytes())[10..])).unwrap();
    assert_eq!(bytes::read_frame(&mut stream).head, FIN | TEXT);
    drop((stream, stalled));
    let ended = server.stop();
    ended.assert_clean();
    assert_eq!(ended.incidents("inflaters_exhausted"), 1);
}
