//! The echo endpoint: off unless asked for; text as text, binary as binary, large messages and many fragments; and a
//! peer that sends without reading is held, not served from memory without bound.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;

use crate::bytes::{self, BINARY, CONTINUATION, FIN, TEXT};
use crate::server::Server;

const ON: &str = "[[listen]]\necho = true\n";

fn open(server: &Server) -> TcpStream {
    let request = bytes::request("GET /echo HTTP/1.1", &["Sec-WebSocket-Version: 13"]);
    bytes::upgraded_by(&request, bytes::connect(server.address))
}

#[test]
fn there_is_no_echo_unless_it_is_asked_for() {
    let server = Server::start("", "0");
    let mut stream = bytes::connect(server.address);
    stream.write_all(&bytes::request("GET /echo HTTP/1.1", &["Sec-WebSocket-Version: 13"])).unwrap();
    let answer = String::from_utf8(bytes::read_to_end(&mut stream)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    server.stop().assert_clean();
}

#[test]
fn messages_come_back_as_they_are() {
    let server = Server::start(ON, "0");
    let mut stream = open(&server);
    let large = vec![b'x'; 1 << 20];
    for (opcode, payload) in [(TEXT, &b"no JSON"[..]), (BINARY, &[0xff, 0]), (TEXT, b""), (BINARY, &large)] {
        stream.write_all(&bytes::frame(FIN | opcode, payload)).unwrap();
        let frame = bytes::read_any_frame(&mut stream);
        assert!(frame.head == FIN | opcode && frame.payload == payload, "{} bytes", payload.len());
    }
    let mut fragments = bytes::frame(TEXT, b"0");
    for _ in 1..5000 {
        fragments.extend(bytes::frame(CONTINUATION, b"0"));
    }
    fragments.extend(bytes::frame(FIN | CONTINUATION, b"1"));
    stream.write_all(&fragments).unwrap();
    let frame = bytes::read_any_frame(&mut stream);
    assert_eq!((frame.head, frame.payload.len()), (FIN | TEXT, 5001));
    drop(stream);
    server.stop().assert_clean();
}

#[test]
fn a_peer_that_sends_without_reading_is_not_read_on() {
    let server = Server::start(ON, "0");
    let mut stream = open(&server);
    // Until nothing is taken any more while the server serves another: the kernel's buffers of both directions are full
    // and the server has ceased to read.
    let mut other = open(&server);
    stream.set_nonblocking(true).unwrap();
    let frame = bytes::frame(FIN | BINARY, &[7; 32 * 1024]);
    let (mut taken_bytes, mut taken_before) = (0_usize, 0);
    loop {
        match stream.write(&frame[taken_bytes % frame.len()..]) {
            Ok(count) => taken_bytes += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if taken_bytes == taken_before {
                    break;
                }
                taken_before = taken_bytes;
                (0..20).for_each(|_| check_echo(&mut other));
            }
            // A child of another test was stopped.
            Err(error) => assert_eq!(error.kind(), ErrorKind::Interrupted),
        }
        assert!(taken_bytes < 256 << 20, "a peer that does not read is read without end");
    }
    stream.set_nonblocking(false).unwrap();
    // Nothing was lost meanwhile: what was sent whole comes back once it is read.
    for _ in 0..taken_bytes / frame.len() {
        assert_eq!(bytes::read_any_frame(&mut stream).payload.len(), 32 * 1024);
    }
    drop((stream, other));
    let ended = server.stop();
    assert!(ended.of_shards("reads_paused_total") > 0);
    ended.assert_clean();
}

/// A message to and fro.
fn check_echo(stream: &mut TcpStream) {
    stream.write_all(&bytes::frame(FIN | TEXT, b"served?")).unwrap();
    assert_eq!(bytes::read_any_frame(stream).payload, b"served?");
}
