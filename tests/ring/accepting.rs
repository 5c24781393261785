//! Accepting up to the table's size and not beyond; stopping.

use std::array::from_fn;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;
use std::thread::{self, JoinHandle};

use nix::libc;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, setsockopt, socket, sockopt,
};
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
    let waiting: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(driven.address).unwrap()).collect();
    let own: Vec<Option<SocketAddr>> = waiting.iter().map(|stream| stream.local_addr().ok()).collect();
    let mut accepted = Vec::new();
    let mut peers = Vec::new();
    driven.until(|event| {
        if let Event::Accepted { conn, peer, .. } = event {
            accepted.push(conn);
            peers.push(peer);
        }
        accepted.len() == 8
    });
    assert_eq!(peers, own[..8]);
    for _ in 0..10 {
        driven.ring.turn(Wait::Poll, 0).unwrap();
        assert_eq!(driven.ring.next_event(), None);
    }
    driven.ring.close(accepted[3], How::Abort);
    driven.until(|event| matches!(event, Event::Accepted { peer, .. } if peer == own[8]));
    assert_eq!(driven.ring.connections(), 8);
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
fn a_thousand_peers_that_come_at_once_are_each_told_apart() {
    let mut driven = Driven::new(small());
    let address = driven.address;
    // From 250 addresses each, so that no two differ in the port alone.
    let connect = move || (1..=250).map(|last| connect_from([127, 0, 7, last], address)).collect();
    let threads: [JoinHandle<Vec<TcpStream>>; 4] = from_fn(|_| thread::spawn(connect));
    let mut told = BTreeMap::new();
    let mut heard = 0;
    driven.until(|event| {
        if let Event::Accepted { conn, peer, .. } = event {
            assert!(told.insert(conn, peer.unwrap()).is_none());
        } else if let Event::Received { conn, bytes } = event {
            assert_eq!(std::str::from_utf8(bytes).unwrap(), told[&conn].to_string());
            heard += 1;
        }
        heard == 1000
    });
    let mut own: Vec<SocketAddr> = Vec::new();
    for thread in threads {
        own.extend(thread.join().unwrap().iter().map(|stream| stream.local_addr().unwrap()));
    }
    let mut told: Vec<SocketAddr> = told.into_values().collect();
    own.sort_unstable();
    told.sort_unstable();
    assert_eq!(told, own);
}

/// A client that says where it connected from.
fn connect_from(source: [u8; 4], address: SocketAddr) -> TcpStream {
    let SocketAddr::V4(address) = address else { panic!("the test listens on IPv4") };
    let (stream, flags) = (SockType::Stream, SockFlag::SOCK_CLOEXEC);
    let client = socket(AddressFamily::Inet, stream, flags, None).unwrap();
    bind(client.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(source.into(), 0))).unwrap();
    connect(client.as_raw_fd(), &SockaddrIn::from(address)).unwrap();
    let mut client = TcpStream::from(client);
    let own = client.local_addr().unwrap();
    client.write_all(own.to_string().as_bytes()).unwrap();
    client
}

#[test]
fn a_peer_on_ipv6_is_told_as_such() {
    let Ok(listener) = Listener::bind("[::1]:0".parse().unwrap(), &OPTIONS) else {
        println!("not run: this host has no IPv6");
        return assert!(std::env::var_os("TICKRING_REQUIRE").is_none(), "TICKRING_REQUIRE is set");
    };
    let mut ring = Ring::new(&small(), Doorbell::new().unwrap()).unwrap();
    let address = listener.address();
    ring.listen(listener).unwrap();
    let mut driven = Driven { ring, address };
    let own = TcpStream::connect(address).unwrap().local_addr().unwrap();
    assert!(own.is_ipv6());
    driven.until(|event| matches!(event, Event::Accepted { peer, .. } if peer == Some(own)));
}

#[test]
fn a_peer_that_gave_up_before_it_was_accepted_delays_nobody() {
    let mut driven = Driven::new(small());
    for _ in 0..100 {
        let gone = TcpStream::connect(driven.address).unwrap();
        // Closing with this resets the connection.
        setsockopt(&gone, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 }).unwrap();
    }
    let stays = TcpStream::connect(driven.address).unwrap();
    let own = stays.local_addr().unwrap();
    driven.until(|event| matches!(event, Event::Accepted { peer, .. } if peer == Some(own)));
}

#[test]
fn an_idle_listener_keeps_few_slots_from_a_busy_one_and_has_them_when_it_needs_them() {
    // An eighth of 64 slots for two listeners: four accepts each.
    let mut ring =
        Ring::new(&RingConfig { connections_max: 64, ..small() }, Doorbell::new().unwrap()).unwrap();
    let listeners: [Listener; 2] = from_fn(|_| Listener::bind(any_port(), &OPTIONS).unwrap());
    let [idle, busy] = listeners.each_ref().map(Listener::address);
    for listener in listeners {
        ring.listen(listener).unwrap();
    }
    let mut driven = Driven { ring, address: busy };
    let _busy: Vec<TcpStream> = (0..70).map(|_| TcpStream::connect(busy).unwrap()).collect();
    let mut accepted = [0; 2];
    driven.until(|event| {
        count(&mut accepted, &event);
        accepted[1] == 60
    });
    for _ in 0..10 {
        driven.ring.turn(Wait::Poll, 0).unwrap();
        assert_eq!(driven.ring.next_event(), None);
    }
    let _late: Vec<TcpStream> = (0..4).map(|_| TcpStream::connect(idle).unwrap()).collect();
    driven.until(|event| {
        count(&mut accepted, &event);
        accepted == [4, 60]
    });
}

fn count(accepted: &mut [usize; 2], event: &Event<'_>) {
    if let Event::Accepted { listener, .. } = event {
        accepted[usize::from(listener.0)] += 1;
    }
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
    let reader = thread::spawn(move || stream.read_to_end(&mut read).map(|_| read));
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

#[test]
fn one_listener_is_stopped_for_itself_and_another_may_have_its_number() {
    let mut ring = Ring::new(&small(), Doorbell::new().unwrap()).unwrap();
    let mut addresses = Vec::new();
    let mut listen = |ring: &mut Ring| {
        let listener = Listener::bind(any_port(), &OPTIONS).unwrap();
        let address = listener.address();
        addresses.push(address);
        (ring.listen(listener).unwrap(), address)
    };
    let (_, stays) = listen(&mut ring);
    let (goes, gone) = listen(&mut ring);
    for _ in 2..LISTENERS_MAX {
        listen(&mut ring);
    }
    // The kernel has accepts of both.
    ring.turn(Wait::Poll, 0).unwrap();
    ring.stop_listening(goes);
    let (further, address) = listen(&mut ring);
    assert_eq!(usize::from(further.0), LISTENERS_MAX, "the number of one that is being stopped is its own");
    loop {
        ring.turn(Wait::Poll, 0).unwrap();
        while ring.next_event().is_some() {}
        match TcpStream::connect(gone) {
            Ok(early) => drop(early),
            Err(error) => break assert_eq!(error.kind(), ErrorKind::ConnectionRefused),
        }
    }
    ring.stop_listening(further);
    let (again, newest) = loop {
        ring.turn(Wait::Poll, 0).unwrap();
        while ring.next_event().is_some() {}
        if TcpStream::connect(address).is_err() {
            break listen(&mut ring);
        }
    };
    assert_eq!(again, goes);
    for (address, number) in [(stays, 0), (newest, again.0)] {
        let mut driven = Driven { ring, address };
        let _stream = TcpStream::connect(address).unwrap();
        driven.until(|event| matches!(event, Event::Accepted { listener, .. } if listener.0 == number));
        ring = driven.ring;
    }
}
