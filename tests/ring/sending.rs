//! Long, short and refused sends; a submission queue that is far too small.

use std::io::{Read, Write};
use std::net::TcpStream;

use nix::sys::socket::{setsockopt, sockopt};
use tickring::ring::{Event, How, RingConfig, ShortSends, Transmit, Wait};

use crate::driven::{Driven, STUCK_PATTERN, small};
use crate::echo_server::{EchoServer, check_reads};

/// Megabytes to a peer that begins to read only when all is written, and then little by little.
fn check_slow_reader(short_sends: ShortSends) {
    let server = EchoServer::start(RingConfig { short_sends, ..small() });
    let mut stream = server.connect();
    setsockopt(&stream, sockopt::RcvBuf, &131_072).unwrap();
    let message: Vec<u8> = (0_u32..1 << 20).flat_map(u32::to_le_bytes).collect();
    stream.write_all(&message).unwrap();
    for chunk in message.chunks(5000) {
        check_reads(&mut stream, chunk);
    }
    drop(stream);
    assert_eq!(server.stop().counters.sent_bytes_total, 4 << 20);
}

#[test]
fn a_slow_reader_gets_everything_in_order() {
    check_slow_reader(ShortSends::RingContinues);
    check_slow_reader(ShortSends::KernelContinues);
}

#[test]
fn a_short_send_is_continued_where_it_stopped() {
    let mut driven = Driven::new(RingConfig { short_sends: ShortSends::RingContinues, ..small() });
    let (mut stream, conn) = driven.connect();
    stream.set_nonblocking(true).unwrap();
    let mut position: usize = 0;
    // How much the kernel takes of a send is its affair; sooner or later it takes a part.
    while driven.ring.counters().sends_short_total == 0 {
        let end = position + driven.transmit_until_stuck(conn);
        while position < end {
            let mut bytes = [0; 5000];
            let length = stream.read(&mut bytes).unwrap_or_default();
            for byte in &bytes[..length] {
                assert_eq!(*byte, STUCK_PATTERN[position % STUCK_PATTERN.len()]);
                position += 1;
            }
            driven.ring.turn(Wait::Poll, 0).unwrap();
            while driven.ring.next_event().is_some() {}
        }
    }
}

#[test]
fn a_second_transmit_waits_for_the_first() {
    let mut driven = Driven::new(small());
    let (mut stream, conn) = driven.connect();
    assert!(driven.ring.can_transmit(conn));
    driven.transmit(conn, b"first");
    assert!(!driven.ring.can_transmit(conn));
    assert_eq!(driven.ring.transmit(conn, 6, |_| unreachable!("no buffer is offered")), Transmit::Busy);
    driven.until(|event| event == Event::Sent(conn));
    assert_eq!(driven.ring.transmit(conn, 6, |_| 0), Transmit::Nothing);
    driven.transmit(conn, b"second");
    driven.until(|event| event == Event::Sent(conn));
    check_reads(&mut stream, b"firstsecond");
}

#[test]
fn a_transmit_without_a_free_buffer_is_refused_and_possible_later() {
    let config = RingConfig { send_small_buffers: 1, send_large_buffers: 1, ..small() };
    let mut driven = Driven::new(config);
    let clients = driven.connect_many(3);
    driven.transmit(clients[0].1, b"small");
    driven.transmit(clients[1].1, b"large");
    assert_eq!(driven.ring.transmit(clients[2].1, 1, |_| 1), Transmit::Unbuffered);
    assert_eq!(driven.ring.counters().sends_unbuffered_total, 1);
    driven.until(|event| matches!(event, Event::Sent(_)));
    driven.transmit(clients[2].1, b"now");
}

#[test]
fn a_reset_peer_fails_the_send_in_flight() {
    let mut driven = Driven::new(small());
    let (stream, conn) = driven.connect();
    driven.transmit_until_stuck(conn);
    // Closing with unread bytes resets the connection.
    drop(stream);
    let (mut send_failed, mut receive_ended) = (false, false);
    driven.until(|event| {
        if matches!(event, Event::SendFailed { .. }) {
            send_failed = true;
        } else {
            assert!(matches!(event, Event::ReceiveFailed { .. } | Event::Eof(_)), "{event:?}");
            receive_ended = true;
        }
        send_failed && receive_ended
    });
    assert_eq!(driven.ring.counters().sends_failed_total, 1);
    driven.ring.close(conn, How::Abort);
    driven.until_closed(conn);
    driven.check_empty();
}

#[test]
fn hundreds_of_operations_go_through_four_submission_entries() {
    let mut driven = Driven::new(RingConfig { submissions_max: 4, ..small() });
    let mut clients = driven.connect_many(300);
    for (_, conn) in &clients {
        driven.transmit(*conn, b"to everybody");
    }
    let mut left = clients.len();
    driven.until(|event| {
        left -= usize::from(matches!(event, Event::Sent(_)));
        left == 0
    });
    assert!(driven.ring.counters().submissions_full_total > 0);
    for (stream, conn) in &mut clients {
        check_reads(stream, b"to everybody");
        driven.ring.close(*conn, How::Abort);
    }
    let mut left = clients.len();
    driven.until(|event| {
        left -= usize::from(matches!(event, Event::Closed(_)));
        left == 0
    });
    driven.check_empty();
}

#[test]
fn two_rings_share_a_port() {
    let first = EchoServer::start(small());
    let second = EchoServer::start_on(small(), first.address);
    assert_eq!(first.address, second.address);
    let mut streams: Vec<TcpStream> = (0..64).map(|_| first.connect()).collect();
    for stream in &mut streams {
        stream.write_all(b"whichever").unwrap();
        let mut echoed = [0; 9];
        stream.read_exact(&mut echoed).unwrap();
        assert_eq!(&echoed, b"whichever");
    }
    drop(streams);
    let accepted = first.stop().counters.accepted_total + second.stop().counters.accepted_total;
    assert_eq!(accepted, 64);
}

#[test]
fn a_poll_with_nothing_to_do_makes_no_system_call() {
    let mut driven = Driven::new(small());
    let (_stream, _) = driven.connect();
    while driven.ring.counters().enters_total < 100 {
        driven.ring.turn(Wait::Poll, 0).unwrap();
        assert!(driven.ring.next_event().is_none());
        let before = driven.ring.counters().enters_total;
        driven.ring.turn(Wait::Poll, 0).unwrap();
        if driven.ring.counters().enters_total == before {
            return;
        }
    }
    panic!("an idle ring has nothing to enter for");
}
