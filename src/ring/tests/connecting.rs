//! Outgoing connections, with what only the inside of a ring shows: descriptors, places, completions that come late.

use std::net::TcpListener;
use std::path::PathBuf;

use nix::sys::socket::SockaddrStorage;

use super::*;

const TAG: u32 = 7;

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A listener that takes no further connection: the kernel drops what would begin one. With the clients that fill it.
fn full_listener() -> (TcpListener, SocketAddr, [TcpStream; 2]) {
    let (listener, address) = listener();
    socket::listen(&listener, socket::Backlog::new(1).unwrap()).unwrap();
    let clients = std::array::from_fn(|_| TcpStream::connect(address).unwrap());
    (listener, address, clients)
}

/// The socket of the attempt in the first place, as the process's list of descriptors names it.
fn first_socket(ring: &Ring) -> PathBuf {
    let fd = ring.connector.first_socket().as_raw_fd();
    std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap()
}

fn is_open(socket: &PathBuf) -> bool {
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap();
    descriptors.flatten().any(|entry| std::fs::read_link(entry.path()).is_ok_and(|name| name == *socket))
}

fn until_connected(ring: &mut Ring) -> ConnId {
    let mut connected = None;
    until(ring, |event| {
        if let Event::Connected { conn, tag: TAG } = event {
            connected = Some(conn);
        }
        connected.is_some()
    });
    connected.unwrap()
}

fn until_failed(ring: &mut Ring, errno: Errno) {
    until(ring, |event| {
        assert_eq!(event, Event::ConnectFailed { tag: TAG, errno });
        true
    });
}

#[test]
fn a_connection_made_leaves_no_ordinary_descriptor_and_sends_without_delay() {
    let (mut ring, _) = ring(16, 16);
    let (_listener, address) = listener();
    ring.connect(address, TAG, u64::MAX).unwrap();
    let name = first_socket(&ring);
    assert!(is_open(&name));
    let nodelay = socket::getsockopt(ring.connector.first_socket(), socket::sockopt::TcpNoDelay);
    assert_eq!(nodelay, Ok(true));
    let conn = until_connected(&mut ring);
    assert!(!is_open(&name));
    assert_eq!((ring.connections(), ring.connector.deadline_ns()), (1, None));
    ring.close(conn, How::Abort);
    until(&mut ring, |event| event == Event::Closed(conn));
}

#[test]
fn a_refused_connection_leaves_no_descriptor() {
    let (mut ring, _) = ring(16, 16);
    let bound = listener_that_does_not_listen();
    ring.connect(bound.1, TAG, u64::MAX).unwrap();
    let name = first_socket(&ring);
    until_failed(&mut ring, Errno::ECONNREFUSED);
    assert!(!is_open(&name));
    assert_eq!(ring.counters().connects_failed_total, 1);
}

/// Keeps its port from others.
fn listener_that_does_not_listen() -> (OwnedFd, SocketAddr) {
    use socket::{AddressFamily, SockFlag, SockType};
    let fd = socket::socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    let any = SockaddrStorage::from(SocketAddr::from(([127, 0, 0, 1], 0)));
    socket::bind(fd.as_raw_fd(), &any).unwrap();
    let bound: SockaddrStorage = socket::getsockname(fd.as_raw_fd()).unwrap();
    (fd, socket_address(&bound).unwrap())
}

#[test]
fn a_connection_given_up_leaves_no_descriptor_and_its_place_is_free_again() {
    let (mut ring, _) = ring(16, 16);
    let (_listener, address, _clients) = full_listener();
    for round in 0..3 * CONNECTS_MAX as u64 {
        ring.connect(address, TAG, 10).unwrap();
        let name = first_socket(&ring);
        ring.turn(Wait::Poll, round * 10).unwrap();
        assert_eq!(ring.next_event(), None);
        // Not before its time.
        ring.turn(Wait::Poll, round * 10 + 9).unwrap();
        assert_eq!((ring.next_event(), is_open(&name)), (None, true));
        ring.turn(Wait::Poll, round * 10 + 10).unwrap();
        until_failed(&mut ring, Errno::ETIMEDOUT);
        assert!(!is_open(&name));
        while ring.connector.is_cancelling() {
            assert_eq!(ring.next_event(), None);
            ring.turn(Wait::Poll, 0).unwrap();
        }
    }
    assert_eq!(ring.counters().completions_stale_total, 0);
}

fn until_completion(ring: &mut Ring) {
    while !ring.queue.has_completions() {
        ring.turn(Wait::Forever, 0).unwrap();
    }
}

#[test]
fn a_ring_dropped_at_any_step_of_a_connect_leaves_no_descriptor() {
    let (_full_listener, full, _clients) = full_listener();
    let (_listener, open) = listener();
    let begun = |ring: &mut Ring| ring.turn(Wait::Poll, 0).unwrap();
    let given_up = |ring: &mut Ring| {
        begun(ring);
        ring.turn(Wait::Poll, 10).unwrap();
    };
    let connected = until_completion;
    let installing = |ring: &mut Ring| {
        connected(ring);
        assert_eq!(ring.next_event(), None);
    };
    let installed = |ring: &mut Ring| {
        installing(ring);
        until_completion(ring);
    };
    type Reach<'a> = &'a dyn Fn(&mut Ring);
    let steps: [(SocketAddr, Reach<'_>); 6] = [
        (full, &|_| {}),
        (full, &begun),
        (full, &given_up),
        (open, &connected),
        (open, &installing),
        (open, &installed),
    ];
    for (address, reach) in steps {
        let (mut ring, _) = ring(16, 16);
        ring.connect(address, TAG, 10).unwrap();
        let name = first_socket(&ring);
        reach(&mut ring);
        assert!(is_open(&name));
        drop(ring);
        assert!(!is_open(&name));
    }
}

#[test]
fn a_deadline_that_comes_when_the_connection_is_made_already_changes_nothing() {
    let (mut ring, _) = ring(16, 16);
    let (listener, address) = listener();
    ring.connect(address, TAG, 10).unwrap();
    until_completion(&mut ring);
    ring.turn(Wait::Poll, 10).unwrap();
    let conn = until_connected(&mut ring);
    let (mut peer, _) = listener.accept().unwrap();
    peer.write_all(b"in time").unwrap();
    until(&mut ring, |event| event == Event::Received { conn, bytes: &mut b"in time".to_owned() });
    assert!(!ring.connector.is_cancelling());
}

#[test]
fn the_wait_of_a_parked_ring_ends_at_the_first_deadline() {
    let (mut ring, _) = ring(16, 16);
    let (_listener, address, _clients) = full_listener();
    ring.turn(Wait::Poll, 100).unwrap();
    ring.connect(address, 1, 70).unwrap();
    ring.connect(address, 2, 50).unwrap();
    assert_eq!(ring.patience(Wait::Forever), Patience::Unbounded);
    // The time runs from the turn that begins them.
    ring.turn(Wait::Poll, 1000).unwrap();
    assert_eq!(ring.patience(Wait::Forever), Patience::Nanos(50));
    assert_eq!(ring.patience(Wait::Until(1020)), Patience::Nanos(20));
    ring.turn(Wait::Poll, 1050).unwrap();
    until(&mut ring, |event| event == Event::ConnectFailed { tag: 2, errno: Errno::ETIMEDOUT });
    assert_eq!(ring.connector.deadline_ns(), Some(1070));
}

#[test]
fn who_connected_to_itself_is_refused() {
    let (mut ring, _) = ring(16, 16);
    let (fd, address) = listener_that_does_not_listen();
    ring.connect(address, TAG, u64::MAX).unwrap();
    drop(fd);
    // What else is chance: the kernel gives the socket the port that it connects to.
    let own = SockaddrStorage::from(address);
    socket::bind(ring.connector.first_socket().as_raw_fd(), &own).unwrap();
    until_failed(&mut ring, Errno::ECONNREFUSED);
}
