//! Accepting up to the table's size and not beyond; stopping.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use tickring::doorbell::Doorbell;
use tickring::ring::{Event, How, LISTENERS_MAX, Listener, Ring, RingConfig, RingError, Wait};

use crate::driven::{Driven, OPTIONS, any_port, small};
use crate::echo_server::{EchoServer, check_echo};

#[test]
fn clients_beyond_the_table_are_served_as_slots_free() {
    let server = EchoServer::start(RingConfig { connections_max: 8, ..small() });
    let streams: Vec<TcpStream> = (0..20).map(|_| server.connect()).collect();
    for mut stream in streams {
        check_echo(&mut stream, b"my turn");
    }
    let report = server.stop();
    assert_eq!((report.counters.accepted_total, report.counters.accepts_failed_total), (20, 0));
}

#[test]
fn no_more_connections_than_the_table_holds_are_accepted() {
    let mut driven = Driven::new(RingConfig { connections_max: 8, ..small() });
    let mut waiting: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(driven.address).unwrap()).collect();
    let mut accepted = Vec::new();
    driven.until(|event| {
        if let Event::Accepted { conn, .. } = event {
            accepted.push(conn);
        }
        accepted.len() == 8
    });
    for _ in 0..10 {
        driven.ring.turn(Wait::Poll, 0).unwrap();
        assert_eq!(driven.ring.next_event(), None);
    }
    driven.ring.close(accepted[3], How::Abort);
    driven.until(|event| matches!(event, Event::Accepted { .. }));
    assert_eq!(driven.ring.connections(), 8);
    waiting.clear();
}

#[test]
fn a_burst_beyond_one_turns_accepts_is_accepted() {
    let mut driven = Driven::new(RingConfig { connections_max: 600, ..small() });
    let streams: Vec<TcpStream> = (0..500).map(|_| TcpStream::connect(driven.address).unwrap()).collect();
    let mut left = streams.len();
    driven.until(|event| {
        left -= usize::from(matches!(event, Event::Accepted { .. }));
        left == 0
    });
    assert_eq!(driven.ring.connections(), 500);
}

#[test]
fn crossing_from_many_at_a_time_to_one_by_one_loses_no_client() {
    // Many at a time above 2,049 free slots (twice the backlog), one by one from 1,024 on.
    let mut driven = Driven::new(RingConfig { connections_max: 2100, ..small() });
    let mut clients = Vec::new();
    for _ in 0..21 {
        let burst: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(driven.address).unwrap()).collect();
        let mut left = burst.len();
        driven.until(|event| {
            left -= usize::from(matches!(event, Event::Accepted { .. }));
            left == 0
        });
        clients.extend(burst);
    }
    assert_eq!(driven.ring.connections(), 2100);
    assert_eq!(driven.ring.counters().accepts_failed_total, 0);
    let mut beyond = TcpStream::connect(driven.address).unwrap();
    beyond.write_all(b"patience").unwrap();
    drop(clients.split_off(2099));
    let mut left = None;
    driven.until(|event| {
        if let Event::Eof(conn) = event {
            left = Some(conn);
        }
        left.is_some()
    });
    driven.ring.close(left.unwrap(), How::Graceful);
    driven.until(|event| matches!(event, Event::Received { bytes, .. } if bytes == b"patience"));
}

#[test]
fn a_ring_that_stopped_accepting_refuses() {
    let mut driven = Driven::new(small());
    let (mut stream, conn) = driven.connect();
    driven.ring.stop_accepting();
    let refused = loop {
        driven.ring.turn(Wait::Poll, 0).unwrap();
        while driven.ring.next_event().is_some() {}
        match TcpStream::connect(driven.address) {
            Ok(early) => drop(early),
            Err(error) => break error.kind(),
        }
    };
    assert_eq!(refused, ErrorKind::ConnectionRefused);
    driven.transmit(conn, b"bye");
    driven.ring.close(conn, How::Graceful);
    let mut read = Vec::new();
    let reader = std::thread::spawn(move || stream.read_to_end(&mut read).map(|_| read));
    driven.until_closed(conn);
    assert_eq!(reader.join().unwrap().unwrap(), b"bye");
}

#[test]
fn listeners_are_told_apart_and_bounded() {
    let mut ring = Ring::new(&small(), Doorbell::new().unwrap()).unwrap();
    let mut addresses = Vec::new();
    for index in 0..LISTENERS_MAX {
        let listener = Listener::bind(any_port(), &OPTIONS).unwrap();
        addresses.push(listener.address());
        assert_eq!(usize::from(ring.listen(listener).unwrap().0), index);
    }
    let beyond = Listener::bind(any_port(), &OPTIONS).unwrap();
    assert_eq!(ring.listen(beyond).unwrap_err(), RingError::Listeners);
    let mut driven = Driven { ring, address: addresses[5] };
    let _stream = TcpStream::connect(addresses[5]).unwrap();
    driven.until(|event| matches!(event, Event::Accepted { listener, .. } if listener.0 == 5));
}
