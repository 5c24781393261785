//! Outgoing connections: made, refused, given up, many at once, beside accepted ones.

use std::io::{Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, getsockname, listen, socket,
};
use tickring::model::ids::ConnId;
use tickring::ring::{ADOPTIONS_MAX, CONNECTS_MAX, Event, How, RingConfig, Wait};

use crate::driven::{Driven, any_port, small};

const NO_TIMEOUT: u64 = u64::MAX;

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(any_port()).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A port that is taken, so that nobody else gets it, and that nobody listens at.
fn deaf_port() -> (OwnedFd, SocketAddr) {
    let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(fd.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
    let bound: SockaddrIn = getsockname(fd.as_raw_fd()).unwrap();
    (fd, SocketAddr::V4(SocketAddrV4::from(bound)))
}

/// A listener whose backlog is full, with the clients in it: to connect to it takes as long as one waits.
fn full_listener() -> (TcpListener, SocketAddr, Vec<TcpStream>) {
    let (listener, address) = listener();
    listen(&listener, Backlog::new(1).unwrap()).unwrap();
    let clients = (0..2).map(|_| TcpStream::connect(address).unwrap()).collect();
    (listener, address, clients)
}

/// Asks for a connection and awaits it.
fn connect(driven: &mut Driven, address: SocketAddr, tag: u32) -> ConnId {
    driven.ring.connect(address, tag, NO_TIMEOUT).unwrap();
    until_connected(driven, tag)
}

fn until_connected(driven: &mut Driven, tag: u32) -> ConnId {
    let mut connected = None;
    driven.until(|event| {
        if let Event::Connected { conn, tag: told } = event {
            assert_eq!(told, tag);
            connected = Some(conn);
        }
        connected.is_some()
    });
    connected.unwrap()
}

fn until_failed(driven: &mut Driven, tag: u32, errno: Errno) {
    driven.until(|event| {
        assert_eq!(event, Event::ConnectFailed { tag, errno });
        true
    });
}

/// What the next so many bytes of a connection are.
fn receive(driven: &mut Driven, from: ConnId, length: usize) -> Vec<u8> {
    let mut received = Vec::new();
    driven.until(|event| {
        if let Event::Received { conn, bytes } = event {
            assert_eq!(conn, from);
            received.extend_from_slice(bytes);
        }
        received.len() >= length
    });
    received
}

#[test]
fn a_connection_made_carries_bytes_both_ways_and_closes_as_an_accepted_one() {
    let mut driven = Driven::new(small());
    let (listener, address) = listener();
    let conn = connect(&mut driven, address, 1);
    let (mut peer, _) = listener.accept().unwrap();
    driven.transmit(conn, b"hello");
    driven.until(|event| event == Event::Sent(conn));
    let mut heard = [0; 5];
    peer.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hello");
    peer.write_all(b"welcome").unwrap();
    assert_eq!(receive(&mut driven, conn, 7), b"welcome");
    driven.ring.close(conn, How::Graceful);
    // Another descriptor of the connection would keep this end open.
    driven.ring.turn(Wait::Poll, 0).unwrap();
    assert_eq!(peer.read(&mut heard).unwrap(), 0);
    drop(peer);
    driven.until_closed(conn);
    driven.check_empty();
    assert_eq!(driven.ring.counters().connected_total, 1);
}

#[test]
fn a_connection_over_ipv6_is_made() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        println!("not run: this host has no IPv6");
        return assert!(std::env::var_os("TICKRING_REQUIRE").is_none(), "TICKRING_REQUIRE is set");
    };
    let mut driven = Driven::new(small());
    let conn = connect(&mut driven, listener.local_addr().unwrap(), 6);
    let (mut peer, _) = listener.accept().unwrap();
    peer.write_all(b"six").unwrap();
    assert_eq!(receive(&mut driven, conn, 3), b"six");
}

#[test]
fn a_ring_connects_to_itself_beside_its_clients() {
    let mut driven = Driven::new(small());
    let (mut client, accepted) = driven.connect();
    driven.ring.connect(driven.address, 3, NO_TIMEOUT).unwrap();
    let (mut near, mut far) = (None, None);
    driven.until(|event| {
        if let Event::Connected { conn, tag: 3 } = event {
            near = Some(conn);
        } else {
            let Event::Accepted { conn, .. } = event else { panic!("{event:?}") };
            far = Some(conn);
        }
        near.is_some() && far.is_some()
    });
    let (near, far) = (near.unwrap(), far.unwrap());
    driven.transmit(near, b"to myself");
    driven.until(|event| event == Event::Sent(near));
    assert_eq!(receive(&mut driven, far, 9), b"to myself");
    client.write_all(b"me too").unwrap();
    assert_eq!(receive(&mut driven, accepted, 6), b"me too");
    for conn in [near, accepted, far] {
        driven.ring.close(conn, How::Abort);
        driven.until_closed(conn);
    }
    driven.check_empty();
}

#[test]
fn where_nobody_listens_the_connection_is_refused_and_a_later_one_made() {
    let mut driven = Driven::new(small());
    let (_fd, deaf) = deaf_port();
    for tag in 0..100 {
        driven.ring.connect(deaf, tag, NO_TIMEOUT).unwrap();
        until_failed(&mut driven, tag, Errno::ECONNREFUSED);
    }
    let (_listener, address) = listener();
    connect(&mut driven, address, 100);
    let counters = driven.ring.counters();
    assert_eq!((counters.connected_total, counters.connects_failed_total), (1, 100));
}

#[test]
fn an_address_that_no_connection_leads_to_is_told() {
    let mut driven = Driven::new(small());
    driven.ring.connect("255.255.255.255:9".parse().unwrap(), 1, NO_TIMEOUT).unwrap();
    until_failed(&mut driven, 1, Errno::ENETUNREACH);
}

#[test]
fn a_parked_ring_gives_up_a_connection_that_takes_too_long() {
    let mut driven = Driven::new(small());
    let (_listener, address, _clients) = full_listener();
    const TIMEOUT_NS: u64 = 1_000_000;
    driven.ring.connect(address, 4, TIMEOUT_NS).unwrap();
    let mut now_ns = 0;
    let failed = loop {
        // Nothing but the deadline ends this wait.
        driven.ring.turn(Wait::Forever, now_ns).unwrap();
        now_ns += TIMEOUT_NS;
        if let Some(event) = driven.ring.next_event() {
            break event;
        }
    };
    assert_eq!(failed, Event::ConnectFailed { tag: 4, errno: Errno::ETIMEDOUT });
}

#[test]
fn as_many_as_may_be_under_way_end_each_with_its_own_event_and_no_more_are_begun() {
    let mut driven = Driven::new(small());
    let (_listener, open) = listener();
    let (_fd, deaf) = deaf_port();
    let (_full, full, _clients) = full_listener();
    let addresses = [open, deaf, full];
    let asked = u32::try_from(CONNECTS_MAX).unwrap();
    for tag in 0..asked {
        driven.ring.connect(addresses[tag as usize % 3], tag, 10).unwrap();
    }
    assert_eq!(driven.ring.connect(open, 99, 10), Err(Errno::EBUSY));
    let (mut told, mut now_ns) = (vec![None; CONNECTS_MAX], 0);
    while told.contains(&None) {
        driven.ring.turn(Wait::Poll, now_ns).unwrap();
        now_ns += 5;
        while let Some(event) = driven.ring.next_event() {
            let (tag, outcome) = if let Event::Connected { tag, .. } = event {
                (tag, Ok(()))
            } else {
                let Event::ConnectFailed { tag, errno } = event else { panic!("{event:?}") };
                (tag, Err(errno))
            };
            assert_eq!(told[tag as usize].replace(outcome), None);
        }
    }
    let expected = [Ok(()), Err(Errno::ECONNREFUSED), Err(Errno::ETIMEDOUT)];
    for (tag, told) in told.into_iter().enumerate() {
        assert_eq!(told, Some(expected[tag % 3]));
    }
    connect(&mut driven, open, 99);
}

#[test]
fn a_full_table_begins_no_connection_and_one_under_way_keeps_its_slot_from_accepts() {
    let mut driven = Driven::new(RingConfig { connections_max: 3, ..small() });
    // One slot is the accept's that waits.
    driven.ring.turn(Wait::Poll, 0).unwrap();
    let (_listener, full, _clients) = full_listener();
    driven.ring.connect(full, 1, 50).unwrap();
    driven.ring.connect(full, 2, 100).unwrap();
    assert_eq!(driven.ring.connect(full, 3, 100), Err(Errno::ENFILE));
    let clients: Vec<TcpStream> = (0..2).map(|_| TcpStream::connect(driven.address).unwrap()).collect();
    let own: Vec<_> = clients.iter().map(|client| client.local_addr().ok()).collect();
    driven.until(|event| matches!(event, Event::Accepted { peer, .. } if peer == own[0]));
    for _ in 0..10 {
        driven.ring.turn(Wait::Poll, 0).unwrap();
        assert_eq!(driven.ring.next_event(), None);
    }
    // The one that is given up makes room.
    driven.ring.turn(Wait::Poll, 50).unwrap();
    until_failed(&mut driven, 1, Errno::ETIMEDOUT);
    driven.until(|event| matches!(event, Event::Accepted { peer, .. } if peer == own[1]));
    assert_eq!(driven.ring.connections(), 2);
}

#[test]
fn a_ring_dropped_with_connections_under_way_makes_none() {
    let mut driven = Driven::new(small());
    let (full, address, clients) = full_listener();
    for tag in 0..4 {
        driven.ring.connect(address, tag, NO_TIMEOUT).unwrap();
    }
    driven.ring.turn(Wait::Poll, 0).unwrap();
    assert_eq!(driven.ring.next_event(), None);
    drop(driven);
    let waiting: Vec<_> = clients.iter().map(|client| client.local_addr().unwrap()).collect();
    for own in waiting {
        assert_eq!(full.accept().unwrap().1, own);
    }
    let late = TcpStream::connect(address).unwrap();
    assert_eq!(full.accept().unwrap().1, late.local_addr().unwrap());
}

fn adopt(driven: &mut Driven, socket: UnixStream, tag: u32) -> ConnId {
    driven.ring.adopt(socket.into(), tag).unwrap();
    let mut adopted = None;
    driven.until(|event| {
        if let Event::Adopted { conn, tag: told } = event {
            assert_eq!(told, tag);
            adopted = Some(conn);
        }
        adopted.is_some()
    });
    adopted.unwrap()
}

#[test]
fn a_socket_that_is_handed_in_is_a_connection_like_any_other() {
    let mut driven = Driven::new(small());
    for tag in 0..100 {
        let (mut own, theirs) = UnixStream::pair().unwrap();
        // What has come before it is in the table is not lost.
        own.write_all(b"ping").unwrap();
        let conn = adopt(&mut driven, theirs, tag);
        driven.until(|event| event == Event::Received { conn, bytes: &mut b"ping".to_vec() });
        driven.transmit(conn, b"pong");
        driven.until(|event| event == Event::Sent(conn));
        let mut told = [0; 4];
        own.read_exact(&mut told).unwrap();
        assert_eq!(&told, b"pong");
        driven.ring.close(conn, How::Graceful);
        drop(own);
        driven.until_closed(conn);
    }
    assert_eq!(driven.ring.counters().accepted_total, 100);
}

#[test]
fn a_socket_is_taken_while_as_many_connects_as_may_be_wait_for_an_answer() {
    let mut driven = Driven::new(small());
    let (_listener, full, _clients) = full_listener();
    for tag in (0..).take(CONNECTS_MAX) {
        driven.ring.connect(full, tag, NO_TIMEOUT).unwrap();
    }
    assert_eq!(driven.ring.connect(full, 99, NO_TIMEOUT), Err(Errno::EBUSY));
    let pairs: Vec<_> = (0..=ADOPTIONS_MAX).map(|_| UnixStream::pair().unwrap()).collect();
    let (mut own, theirs): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    let taken: Vec<_> = theirs.into_iter().map(|socket| driven.ring.adopt(socket.into(), 100)).collect();
    assert_eq!((taken[0], taken[ADOPTIONS_MAX]), (Ok(()), Err(Errno::EBUSY)));
    assert_eq!(own[ADOPTIONS_MAX].read(&mut [0; 1]).unwrap(), 0, "one too many is closed");
    let mut adopted = 0;
    driven.until(|event| {
        adopted += usize::from(matches!(event, Event::Adopted { tag: 100, .. }));
        adopted == ADOPTIONS_MAX
    });
}

#[test]
fn a_full_table_takes_no_socket_and_closes_it() {
    let mut driven = Driven::new(RingConfig { connections_max: 2, ..small() });
    // One slot is the accept's that waits.
    driven.ring.turn(Wait::Poll, 0).unwrap();
    let (_own, theirs) = UnixStream::pair().unwrap();
    adopt(&mut driven, theirs, 0);
    let (mut own, theirs) = UnixStream::pair().unwrap();
    assert_eq!(driven.ring.adopt(theirs.into(), 1), Err(Errno::ENFILE));
    assert_eq!(own.read(&mut [0; 1]).unwrap(), 0);
}
