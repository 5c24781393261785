//! Frames as raw bytes: each fault of a client has its close code, and what is legal is served in any pieces.

use std::io::Write;
use std::net::TcpStream;

use crate::bytes::{self, BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEST, TEXT};
use crate::server::Server;

/// Sends bytes after the upgrade and expects a close frame with this code, then the end.
fn check_fault(server: &Server, what: &str, sent: &[u8], code: u16) {
    let mut stream = bytes::open(server.address);
    stream.write_all(sent).unwrap();
    let frame = bytes::read_frame(&mut stream);
    assert_eq!(frame.close_code(), Some(code), "{what}");
    assert!(frame.payload.len() > 2, "{what}: a reason is given");
    assert_eq!(bytes::read_to_end(&mut stream), b"", "{what}: nothing follows a close frame");
}

fn check_reply(stream: &mut TcpStream) {
    let frame = bytes::read_frame(stream);
    assert_eq!(frame.head, FIN | TEXT);
    let reply = String::from_utf8(frame.payload).unwrap();
    assert!(reply.contains(r#""id":7,"result""#), "{reply}");
}

#[test]
fn each_fault_closes_with_its_code() {
    let server =
        Server::start("[limits]\nmessage_bytes_max = 2048\nframe_bytes_max = 1024\nfragments_max = 8\n", "0");
    let text = |payload: &[u8]| bytes::frame(FIN | TEXT, payload);
    let fragments = [
        bytes::frame(TEXT, &[b' '; 1000]),
        bytes::frame(CONTINUATION, &[b' '; 1000]),
        bytes::frame(CONTINUATION, &[b' '; 1000]),
    ];
    let overflow = [&[FIN | TEXT, 0x80 | 127, 0x80][..], &[0; 11]].concat();
    let cases: [(&str, Vec<u8>, u16, &str); 18] = [
        ("no mask", bytes::unmasked_frame(FIN | TEXT, TEST.as_bytes()), 1002, "not_masked"),
        ("a reserved bit", bytes::frame(FIN | 0x40 | TEXT, b"{}"), 1002, "reserved_bits"),
        ("a reserved operation", bytes::frame(FIN | 3, b"{}"), 1002, "reserved_opcode"),
        (
            "a continuation of nothing",
            bytes::frame(FIN | CONTINUATION, b"{}"),
            1002,
            "continuation_without_start",
        ),
        (
            "a message in a message",
            [bytes::frame(TEXT, b"{"), text(b"}")].concat(),
            1002,
            "data_within_message",
        ),
        ("a ping in fragments", bytes::frame(PING, b""), 1002, "control_fragmented"),
        ("a long ping", bytes::frame(FIN | PING, &[0; 126]), 1002, "control_too_long"),
        ("a close of one byte", bytes::frame(FIN | CLOSE, &[3]), 1002, "close_truncated"),
        ("a close with 1006", bytes::frame(FIN | CLOSE, &1006_u16.to_be_bytes()), 1002, "close_code_illegal"),
        ("no UTF-8", text(b"\"\xff\""), 1007, "text_not_utf8"),
        ("a character cut off", text(b"\"\xc3"), 1007, "text_not_utf8"),
        ("a long frame", bytes::frame(FIN | TEXT, &[b' '; 1025]), 1009, "frame_too_big"),
        ("a long message", fragments.concat(), 1009, "message_too_big"),
        (
            "a length in too many bytes",
            vec![FIN | TEXT, 0x80 | 126, 0, 2, 0, 0, 0, 0],
            1002,
            "length_not_minimal",
        ),
        ("a length without end", overflow, 1002, "length_overflow"),
        (
            "a reason that is no UTF-8",
            bytes::frame(FIN | CLOSE, b"\x03\xe8\xff"),
            1007,
            "close_reason_not_utf8",
        ),
        (
            "many fragments",
            [bytes::frame(TEXT, b""), bytes::frame(CONTINUATION, b"").repeat(8)].concat(),
            1008,
            "too_many_fragments",
        ),
        ("binary", bytes::frame(FIN | BINARY, b"\x01"), 1003, "binary_message"),
    ];
    for (what, sent, code, _) in &cases {
        check_fault(&server, what, sent, *code);
    }
    let ended = server.stop();
    ended.assert_clean();
    ended.assert_incidents(cases.iter().map(|case| case.3));
}

#[test]
fn control_frames_interleave_with_fragments() {
    let server = Server::start("", "0");
    let mut stream = bytes::open(server.address);
    let (front, back) = TEST.as_bytes().split_at(10);
    stream.write_all(&bytes::frame(TEXT, front)).unwrap();
    stream.write_all(&bytes::frame(FIN | PING, b"between")).unwrap();
    let pong = bytes::read_frame(&mut stream);
    assert_eq!((pong.head, pong.payload.as_slice()), (FIN | PONG, &b"between"[..]));
    stream.write_all(&bytes::frame(FIN | PONG, b"unasked")).unwrap();
    stream.write_all(&bytes::frame(CONTINUATION, b"")).unwrap();
    stream.write_all(&bytes::frame(FIN | CONTINUATION, back)).unwrap();
    check_reply(&mut stream);
    drop(stream);
    server.stop().assert_clean();
}

#[test]
fn frames_are_reassembled_wherever_they_are_split() {
    let server = Server::start("", "0");
    let frame = bytes::frame(FIN | TEXT, TEST.as_bytes());
    let mut stream = bytes::open(server.address);
    for split in 1..frame.len() {
        let (front, back) = frame.split_at(split);
        stream.write_all(front).unwrap();
        stream.write_all(back).unwrap();
    }
    stream.write_all(&frame.repeat(200)).unwrap();
    for _ in 1..frame.len() + 200 {
        check_reply(&mut stream);
    }
    drop(stream);
    server.stop().assert_clean();
}

#[test]
fn a_close_is_answered_with_its_code() {
    let server = Server::start("", "0");
    for code in [Some(1000_u16), Some(1001), Some(4321), None] {
        let mut stream = bytes::open(server.address);
        let payload = code.map_or(Vec::new(), |code| [&code.to_be_bytes()[..], b"bye"].concat());
        // What comes after a close frame is not read.
        let after = bytes::frame(FIN | TEXT, TEST.as_bytes());
        stream.write_all(&[bytes::frame(FIN | CLOSE, &payload), after].concat()).unwrap();
        assert_eq!(bytes::read_frame(&mut stream).close_code(), code);
        assert_eq!(bytes::read_to_end(&mut stream), b"");
    }
    server.stop().assert_clean();
}

#[test]
fn a_client_that_does_not_answer_a_close_is_let_go() {
    let server = Server::start("", "0");
    let mut stream = bytes::open(server.address);
    stream.write_all(&bytes::frame(FIN | BINARY, b"")).unwrap();
    assert_eq!(bytes::read_frame(&mut stream).close_code(), Some(1003));
    assert_eq!(bytes::read_to_end(&mut stream), b"");
    // The socket is still open on this side.
    let ended = server.stop();
    ended.assert_clean();
    drop(stream);
}
