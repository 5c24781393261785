//! Echo, starved and paused receives.

use std::io::Write;
use std::net::TcpStream;

use tickring::ring::{Event, RingConfig, Wait};

use crate::driven::{Driven, small};
use crate::echo_server::{EchoServer, check_echo, check_reads};

#[test]
fn echoes_one_connection() {
    let server = EchoServer::start(small());
    let mut stream = server.connect();
    for _ in 0..100 {
        check_echo(&mut stream, b"sixty-four bytes or so of an order, as a trader would send it");
    }
    drop(stream);
    assert_eq!(server.stop().counters.accepted_total, 1);
}

#[test]
fn echoes_a_hundred_connections() {
    let server = EchoServer::start(small());
    let mut streams: Vec<TcpStream> = (0..100).map(|_| server.connect()).collect();
    for round in 0_u8..10 {
        for stream in &mut streams {
            check_echo(stream, &[round; 120]);
        }
    }
    assert_eq!(server.stop().counters.accepted_total, 100);
}

#[test]
fn survives_running_out_of_receive_buffers() {
    let mut driven = Driven::new(RingConfig { receive_buffers: 4, receive_buffer_bytes: 512, ..small() });
    let mut clients = driven.connect_many(64);
    let message: Vec<u8> = (0..=u8::MAX).cycle().take(8192).collect();
    for (stream, _) in &mut clients {
        stream.write_all(&message).unwrap();
    }
    let mut received: Vec<Vec<u8>> = vec![Vec::new(); clients.len()];
    let mut left_bytes = clients.len() * message.len();
    driven.until(|event| {
        if let Event::Received { conn, bytes } = event {
            let client = clients.iter().position(|(_, id)| *id == conn).unwrap();
            received[client].extend_from_slice(bytes);
            left_bytes -= bytes.len();
        }
        left_bytes == 0
    });
    assert!(received.iter().all(|received| *received == message));
    assert!(driven.ring.counters().receives_starved_total > 0);
}

#[test]
fn a_starved_server_answers_all() {
    let server = EchoServer::start(RingConfig { receive_buffers: 4, receive_buffer_bytes: 256, ..small() });
    let mut streams: Vec<TcpStream> = (0..64).map(|_| server.connect()).collect();
    for stream in &mut streams {
        stream.write_all(&[9; 4096]).unwrap();
    }
    for stream in &mut streams {
        check_reads(stream, &[9; 4096]);
    }
    drop(streams);
    server.stop();
}

#[test]
fn a_paused_connection_gets_its_bytes_after_it_is_resumed() {
    let mut driven = Driven::new(small());
    let (mut paused, conn) = driven.connect();
    let (mut other, other_conn) = driven.connect();
    driven.ring.pause_receive(conn);
    // Long enough for the cancel to have completed: another connection's bytes make the trip.
    for _ in 0..3 {
        other.write_all(b"go").unwrap();
        driven.until(|event| matches!(event, Event::Received { conn, .. } if conn == other_conn));
    }
    paused.write_all(b"wait").unwrap();
    other.write_all(b"go").unwrap();
    driven.until(|event| {
        assert!(!matches!(event, Event::Received { conn: from, .. } if from == conn));
        matches!(event, Event::Received { .. })
    });
    driven.ring.resume_receive(conn);
    driven.until(|event| event == Event::Received { conn, bytes: &mut b"wait".to_owned() });
}

#[test]
fn pausing_and_resuming_at_once_loses_nothing() {
    let mut driven = Driven::new(small());
    let (mut stream, conn) = driven.connect();
    let mut received = Vec::new();
    for round in 0_u8..200 {
        driven.ring.pause_receive(conn);
        stream.write_all(&[round; 100]).unwrap();
        if round % 3 > 0 {
            driven.ring.turn(Wait::Poll, 0).unwrap();
        }
        driven.ring.resume_receive(conn);
        while let Some(event) = driven.ring.next_event() {
            if let Event::Received { bytes, .. } = event {
                received.extend_from_slice(bytes);
            }
        }
    }
    if received.len() < 200 * 100 {
        driven.until(|event| {
            if let Event::Received { bytes, .. } = event {
                received.extend_from_slice(bytes);
            }
            received.len() == 200 * 100
        });
    }
    let expected: Vec<u8> = (0_u8..200).flat_map(|round| [round; 100]).collect();
    assert!(received == expected);
}

#[test]
fn who_sends_far_ahead_waits_for_itself_and_others_are_heard_at_once() {
    let mut driven =
        Driven::new(RingConfig { receive_buffers: 1024, receive_buffers_each_max: 8, ..small() });
    let (mut flooding, flooding_conn) = driven.connect();
    let (mut other, other_conn) = driven.connect();
    let mut sent = 0;
    flooding.set_nonblocking(true).unwrap();
    while let Ok(bytes) = flooding.write(&[7; 8192]) {
        sent += bytes;
    }
    other.write_all(b"go").unwrap();
    // Nothing is taken before all that the kernel has to give is here.
    while driven.ring.counters().received_bytes_total < 2 {
        driven.ring.turn(Wait::Poll, 0).unwrap();
        assert_eq!(driven.ring.next_completion(), None);
    }
    other.write_all(b"on").unwrap();
    for _ in 0..10 {
        driven.ring.turn(Wait::Poll, 0).unwrap();
        assert_eq!(driven.ring.next_completion(), None);
    }
    let mut order = Vec::new();
    let mut taken = 0;
    driven.until(|event| {
        let Event::Received { conn, bytes } = event else { panic!("{event:?}") };
        order.push(conn);
        taken += if conn == flooding_conn { bytes.len() } else { 0 };
        taken == sent
    });
    let heard = order.iter().rposition(|conn| *conn == other_conn).unwrap();
    assert!(heard <= 3, "one of each in turn, but {heard} came before");
    assert!(driven.ring.counters().receives_full_total > 0);
    assert_eq!(driven.ring.counters().receives_starved_total, 0);
}
