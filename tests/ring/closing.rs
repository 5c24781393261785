//! Graceful closes, aborts, and what is never to happen after them.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use tickring::ring::{Event, How, Transmit};

use crate::driven::{Driven, small};
use crate::echo_server::{EchoServer, check_echo, check_reads};

#[test]
fn a_graceful_close_sends_everything_first() {
    let mut driven = Driven::new(small());
    let (mut stream, conn) = driven.connect();
    let transmitted_bytes = driven.transmit_until_stuck(conn);
    driven.ring.close(conn, How::Graceful);
    assert_eq!(driven.ring.transmit(conn, 1, |_| 1), Transmit::Gone);
    let reader = std::thread::spawn(move || {
        let mut read = Vec::new();
        stream.read_to_end(&mut read).unwrap();
        read.len()
    });
    // The reader drops its end when it has read ours.
    driven.until_closed(conn);
    assert_eq!(reader.join().unwrap(), transmitted_bytes);
    driven.check_empty();
}

#[test]
fn a_graceful_close_discards_what_the_peer_still_sends() {
    let mut driven = Driven::new(small());
    let (mut stream, conn) = driven.connect();
    driven.ring.pause_receive(conn);
    driven.ring.close(conn, How::Graceful);
    stream.write_all(&[1; 50_000]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    driven.until(|event| {
        assert_eq!(event, Event::Closed(conn));
        true
    });
    assert_eq!(driven.ring.counters().received_bytes_total, 50_000);
    assert_eq!(stream.read(&mut [0; 10]).unwrap(), 0);
    driven.check_empty();
}

#[test]
fn an_end_of_stream_leaves_the_other_direction_open() {
    let mut driven = Driven::new(small());
    let (mut stream, conn) = driven.connect();
    stream.shutdown(Shutdown::Write).unwrap();
    driven.until(|event| event == Event::Eof(conn));
    driven.transmit(conn, b"still");
    driven.until(|event| event == Event::Sent(conn));
    check_reads(&mut stream, b"still");
    driven.ring.close(conn, How::Graceful);
    driven.until_closed(conn);
    assert_eq!(stream.read(&mut [0; 10]).unwrap(), 0);
    driven.check_empty();
}

#[test]
fn an_abort_waits_for_the_send_in_flight_before_the_slot_is_free() {
    let mut driven = Driven::new(small());
    let (stuck, conn) = driven.connect();
    driven.transmit_until_stuck(conn);
    driven.ring.close(conn, How::Abort);
    assert_eq!((driven.ring.connections(), driven.ring.send_buffers_in_use()), (1, 1));
    driven.until(|event| {
        assert_eq!(event, Event::Closed(conn));
        true
    });
    driven.check_empty();
    let (_next, next_conn) = driven.connect();
    assert_eq!(next_conn.slot, conn.slot);
    assert_ne!(next_conn.generation, conn.generation);
    drop(stuck);
}

#[test]
fn an_abort_overrules_a_graceful_close() {
    let mut driven = Driven::new(small());
    let (_stuck, stuck) = driven.connect();
    let (_idle, idle) = driven.connect();
    driven.transmit_until_stuck(stuck);
    for conn in [stuck, idle] {
        driven.ring.close(conn, How::Graceful);
        driven.ring.close(conn, How::Graceful);
        driven.ring.close(conn, How::Abort);
        driven.ring.close(conn, How::Abort);
        driven.until_closed(conn);
    }
    driven.check_empty();
}

#[test]
fn an_id_that_is_void_reaches_nobody() {
    let mut driven = Driven::new(small());
    let (_gone, gone) = driven.connect();
    driven.ring.close(gone, How::Abort);
    driven.until_closed(gone);
    let (mut stream, conn) = driven.connect();
    assert_eq!(gone.slot, conn.slot);
    driven.ring.close(gone, How::Abort);
    driven.ring.pause_receive(gone);
    assert!(!driven.ring.can_transmit(gone));
    assert_eq!(driven.ring.transmit(gone, 1, |_| unreachable!("no buffer is offered")), Transmit::Gone);
    stream.write_all(b"alive").unwrap();
    driven.until(|event| event == Event::Received { conn, bytes: &mut b"alive".to_owned() });
}

#[test]
fn an_abort_of_a_flooding_peer_ends() {
    let mut driven = Driven::new(small());
    let (mut stream, conn) = driven.connect();
    let flood = std::thread::spawn(move || while stream.write_all(&[3; 65_536]).is_ok() {});
    let mut received_bytes = 0;
    driven.until(|event| {
        if let Event::Received { bytes, .. } = event {
            received_bytes += bytes.len();
        }
        received_bytes > 1 << 20
    });
    driven.ring.close(conn, How::Abort);
    driven.until_closed(conn);
    flood.join().unwrap();
    driven.check_empty();
}

#[test]
fn three_thousand_short_connections_leave_nothing_behind() {
    let server = EchoServer::start(small());
    for batch in 0_u8..30 {
        let mut streams: Vec<TcpStream> = (0..100).map(|_| server.connect()).collect();
        for (client, stream) in streams.iter_mut().enumerate() {
            match client % 4 {
                // Closed at once, by end of stream or (with an answer unread) by a reset.
                0 => {}
                1 => stream.write_all(&[batch; 3000]).unwrap(),
                2 => stream.shutdown(Shutdown::Write).unwrap(),
                _ => check_echo(stream, &[batch; 300]),
            }
        }
    }
    let report = server.stop();
    assert!(report.counters.accepted_total <= 3000);
    assert!(
        report.counters.accepted_total >= 2000,
        "only what was in the backlog at the stop may be missing"
    );
}

#[test]
fn a_ring_dropped_with_everything_in_flight_is_safe() {
    let mut driven = Driven::new(small());
    let (stuck, conn) = driven.connect();
    let (mut talking, _) = driven.connect();
    driven.transmit_until_stuck(conn);
    talking.write_all(b"unheard").unwrap();
    drop(driven);
    let read = { talking }.read_to_end(&mut Vec::new());
    assert!(read.is_err() || read.is_ok_and(|count| count == 0));
    drop(stuck);
}
