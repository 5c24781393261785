//! What only the inside of a ring can bring about: stale completions, receives the kernel ends, overflown completions.

mod connecting;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};

use io_uring::opcode;
use io_uring::types::Fixed;
use nix::sys::socket;

use super::peers::socket_address;
use super::queue::Completion;
use super::*;

fn ring(connections_max: u32, submissions_max: u32) -> (Ring, SocketAddr) {
    listening(Ring::new(&small(connections_max, submissions_max), Doorbell::new().unwrap()).unwrap())
}

fn small(connections_max: u32, submissions_max: u32) -> RingConfig {
    RingConfig {
        connections_max,
        submissions_max,
        receive_buffers: 8,
        send_small_buffers: 8,
        send_large_buffers: 1,
        ..RingConfig::default()
    }
}

fn listening(mut ring: Ring) -> (Ring, SocketAddr) {
    let listener =
        Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), &ListenerOptions::default()).unwrap();
    let address = listener.address();
    ring.listen(listener).unwrap();
    (ring, address)
}

fn until(ring: &mut Ring, mut is_done: impl FnMut(Event<'_>) -> bool) {
    loop {
        while let Some(event) = ring.next_event() {
            if is_done(event) {
                return;
            }
        }
        ring.turn(Wait::Forever, 0).unwrap();
    }
}

fn connect(ring: &mut Ring, address: SocketAddr) -> (TcpStream, ConnId) {
    let stream = TcpStream::connect(address).unwrap();
    let mut accepted = None;
    until(ring, |event| {
        if let Event::Accepted { conn, .. } = event {
            accepted = Some(conn);
        }
        accepted.is_some()
    });
    (stream, accepted.unwrap())
}

/// A cancel of an operation that is not there completes at once with whatever token it is given.
fn submit_with_token(ring: &mut Ring, token: Token, target: Token) {
    ring.queue.cancel(token, target, &mut ring.counters);
}

const NOBODY: Token = Token { operation: Operation::Send, generation: 0, slot: u32::MAX };

#[test]
fn a_late_completion_with_an_old_generation_is_ignored() {
    let (mut ring, address) = ring(16, 16);
    let (_first, gone) = connect(&mut ring, address);
    ring.close(gone, How::Abort);
    until(&mut ring, |event| event == Event::Closed(gone));
    let (mut stream, conn) = connect(&mut ring, address);
    assert_eq!(gone.slot, conn.slot);
    for operation in [Operation::Receive, Operation::Send, Operation::Shutdown, Operation::Close] {
        let late = Token { operation, generation: gone.generation, slot: gone.slot };
        submit_with_token(&mut ring, late, NOBODY);
    }
    let nobodys = Token { operation: Operation::Receive, generation: 1, slot: 9999 };
    submit_with_token(&mut ring, nobodys, NOBODY);
    ring.turn(Wait::Poll, 0).unwrap();
    stream.write_all(b"mine").unwrap();
    until(&mut ring, |event| {
        assert_eq!(event, Event::Received { conn, bytes: &mut b"mine".to_owned() });
        true
    });
    assert_eq!(ring.counters().completions_stale_total, 5);
    assert_eq!(ring.connections(), 1);
}

#[test]
fn a_receive_that_the_kernel_ended_is_armed_again() {
    let (mut ring, address) = ring(16, 16);
    let (mut stream, conn) = connect(&mut ring, address);
    for round in 1..=10 {
        let receive = Token { operation: Operation::Receive, generation: conn.generation, slot: conn.slot };
        let unasked = Token { operation: Operation::CancelReceive, generation: 0, slot: conn.slot };
        submit_with_token(&mut ring, unasked, receive);
        ring.turn(Wait::Poll, 0).unwrap();
        stream.write_all(b"again").unwrap();
        until(&mut ring, |event| {
            assert_eq!(event, Event::Received { conn, bytes: &mut b"again".to_owned() });
            true
        });
        assert_eq!(ring.counters().receives_rearmed_total, round);
    }
}

#[test]
fn what_waits_to_be_submitted_is_work() {
    let (mut ring, _) = ring(16, 16);
    let turn = |ring: &mut Ring| {
        ring.turn(Wait::Poll, 0).unwrap();
        assert_eq!(ring.next_event(), None);
    };
    while ring.has_work() {
        turn(&mut ring);
    }
    submit_with_token(&mut ring, Token { operation: Operation::Receive, generation: 0, slot: 0 }, NOBODY);
    assert!(!ring.queue.has_completions() && !ring.queue.has_deferred(), "the kernel knows nothing of it");
    assert!(ring.has_work());
    while ring.counters().completions_stale_total < 1 {
        assert!(ring.has_work());
        turn(&mut ring);
    }
    assert!(!ring.has_work());
}

#[test]
fn completions_beyond_the_queue_are_all_reaped() {
    let (mut ring, address) = ring(16, 16);
    let completions_max = u64::from(ring.queue.uring().params().cq_entries());
    let (mut stream, conn) = connect(&mut ring, address);
    let asked = completions_max * 5;
    for _ in 0..asked {
        submit_with_token(&mut ring, Token { operation: Operation::Receive, generation: 0, slot: 0 }, NOBODY);
    }
    stream.write_all(b"after all").unwrap();
    until(&mut ring, |event| {
        assert_eq!(event, Event::Received { conn, bytes: &mut b"after all".to_owned() });
        true
    });
    while ring.counters().completions_stale_total < asked {
        ring.turn(Wait::Poll, 0).unwrap();
        assert_eq!(ring.next_event(), None);
    }
    assert!(ring.counters().completions_overflowed_total > 0);
    assert_eq!(ring.counters().completions_stale_total, asked);
}

#[test]
fn the_doorbell_is_watched_again_after_the_kernel_ended_it() {
    let (mut ring, _) = ring(16, 16);
    let doorbell = Token { operation: Operation::Doorbell, generation: 0, slot: 0 };
    submit_with_token(&mut ring, Token { operation: Operation::Receive, generation: 0, slot: 0 }, doorbell);
    until(&mut ring, |event| event == Event::Doorbell);
    ring.doorbell().ring();
    until(&mut ring, |event| event == Event::Doorbell);
}

#[test]
fn a_lent_buffer_goes_back_with_the_next_call() {
    let (mut ring, address) = ring(16, 16);
    let (mut stream, _) = connect(&mut ring, address);
    stream.write_all(b"lent").unwrap();
    until(&mut ring, |event| matches!(event, Event::Received { .. }));
    assert!(ring.lent.is_some());
    ring.turn(Wait::Poll, 0).unwrap();
    assert!(ring.lent.is_none());
}

#[test]
fn a_wait_ends_when_accepting_is_due_again() {
    let (mut ring, _) = ring(16, 16);
    ring.turn(Wait::Poll, 100).unwrap();
    assert_eq!(ring.patience(Wait::Forever), Patience::Unbounded);
    assert_eq!(ring.patience(Wait::Until(150)), Patience::Nanos(50));
    assert_eq!(ring.patience(Wait::Until(100)), Patience::None);
    assert_eq!(ring.patience(Wait::Poll), Patience::None);
    let failed = Completion { bits: 0, result: -libc::ENFILE, buffer: None, more: true };
    let _ = ring.acceptors[0].completed(0, &failed, 100);
    assert!(matches!(ring.patience(Wait::Forever), Patience::Nanos(1..)));
    assert_eq!(ring.patience(Wait::Until(150)), Patience::Nanos(50));
}

#[test]
fn accepting_goes_on_by_itself_when_what_made_it_fail_is_over() {
    let (mut ring, _) = ring(16, 16);
    let listener = Listener::bind(([127, 0, 0, 1], 0).into(), &ListenerOptions::default()).unwrap();
    let fd = listener.raw_fd();
    ring.listen(listener).unwrap();
    ring.turn(Wait::Poll, 100).unwrap();
    // A socket that does not listen fails every accept.
    socket::shutdown(fd, socket::Shutdown::Read).unwrap();
    until(&mut ring, |event| {
        assert_eq!(event, Event::AcceptFailed { listener: ListenerId(1), errno: Errno::EINVAL });
        true
    });
    while ring.next_event().is_some() {}
    let failed = ring.counters().accepts_failed_total;
    // SAFETY: the ring keeps the listener open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    socket::listen(&borrowed, socket::Backlog::new(16).unwrap()).unwrap();
    // It may be another port now.
    let address = socket_address(&socket::getsockname(fd).unwrap()).unwrap();
    let own = TcpStream::connect(address).unwrap().local_addr().unwrap();
    let until_ns = ring.acceptors[1].deadline_ns().unwrap();
    for now_ns in [until_ns - 1, until_ns] {
        assert_eq!(ring.next_event(), None);
        ring.turn(Wait::Poll, now_ns).unwrap();
    }
    until(&mut ring, |event| matches!(event, Event::Accepted { peer, .. } if peer == Some(own)));
    assert_eq!(ring.counters().accepts_failed_total, failed);
}

#[test]
fn an_accepted_connection_has_the_options_of_its_listener() {
    let (mut ring, _) = ring(16, 16);
    let options = ListenerOptions { unacknowledged_ms_max: 12_345, ..ListenerOptions::default() };
    let listener = Listener::bind(([127, 0, 0, 1], 0).into(), &options).unwrap();
    let address = listener.address();
    ring.listen(listener).unwrap();
    let (_stream, conn) = connect(&mut ring, address);
    let file = ring.sockets[conn.slot as usize].file;
    let install = opcode::FixedFdInstall::new(Fixed(file), 0).build().user_data(0);
    // SAFETY: the thread has the ring to itself, and the entry refers to no memory.
    unsafe { ring.queue.uring().submission_shared().push(&install) }.unwrap();
    ring.queue.uring().submit_and_wait(1).unwrap();
    let installed = std::iter::from_fn(|| ring.queue.pop()).find(|completion| completion.bits == 0).unwrap();
    match installed.outcome() {
        Ok(fd) => {
            // SAFETY: made just now, and nobody else's.
            let fd = unsafe { OwnedFd::from_raw_fd(fd.cast_signed()) };
            assert_eq!(socket::getsockopt(&fd, socket::sockopt::TcpUserTimeout), Ok(12_345));
            assert_eq!(socket::getsockopt(&fd, socket::sockopt::TcpNoDelay), Ok(true));
        }
        // A kernel before 6.8 cannot make an ordinary descriptor of a direct one.
        Err(errno) => assert_eq!(errno, Errno::EINVAL),
    }
}

/// The connection's end arrives, and is left there.
fn receive_end(ring: &mut Ring, conn: ConnId) {
    let socket = &mut ring.sockets[conn.slot as usize];
    ring.received.end(conn, &mut socket.waiting, Ending::Eof);
}

#[test]
fn a_completed_send_is_told_before_what_was_received_earlier_and_is_left() {
    let (mut ring, address) = ring(16, 16);
    let (_stream, conn) = connect(&mut ring, address);
    receive_end(&mut ring, conn);
    let sent = ring.transmit(conn, 4, |out| {
        out[..4].copy_from_slice(b"room");
        4
    });
    assert_eq!(sent, Transmit::Started(4));
    while !ring.queue.has_completions() {
        ring.turn(Wait::Forever, 0).unwrap();
    }
    assert_eq!(ring.next_event(), Some(Event::Sent(conn)));
    assert_eq!(ring.next_event(), Some(Event::Eof(conn)));
}

#[test]
fn what_was_received_of_a_connection_that_is_closed_meanwhile_is_dropped_and_its_buffers_are_free() {
    let (mut ring, address) = ring(16, 16);
    // More often than there are buffers.
    for _ in 0..10 {
        let (mut stream, conn) = connect(&mut ring, address);
        stream.write_all(b"unheard").unwrap();
        while ring.sockets[conn.slot as usize].waiting.buffers() == 0 {
            ring.turn(Wait::Forever, 0).unwrap();
            assert_eq!(ring.next_completion(), None);
        }
        receive_end(&mut ring, conn);
        ring.close(conn, How::Abort);
        until(&mut ring, |event| {
            assert_eq!(event, Event::Closed(conn));
            true
        });
        assert_eq!(ring.next_event(), None);
    }
    assert_eq!(ring.counters().receives_starved_total, 0);
}

#[test]
fn a_ring_beside_another_wakes_it_each_time_it_has_work() {
    let (mut waited_in, _) = ring(16, 16);
    let (mut beside, address) = listening(Ring::beside(&small(16, 16), waited_in.doorbell()).unwrap());
    let (mut stream, conn) = connect(&mut beside, address);
    for round in 0..5 {
        beside.turn(Wait::Poll, 0).unwrap();
        assert!(!beside.has_work(), "{round}");
        let writer = std::thread::spawn(move || {
            stream.write_all(b"work").unwrap();
            stream
        });
        // What is there is deferred until the ring is entered, and nobody enters it meanwhile.
        while !beside.has_work() {
            waited_in.turn(Wait::Forever, 0).unwrap();
            while waited_in.next_event().is_some() {}
        }
        stream = writer.join().unwrap();
        until(&mut beside, |event| event == Event::Received { conn, bytes: &mut b"work".to_owned() });
    }
}

#[test]
fn work_that_a_ring_beside_another_got_before_ends_the_wait_at_once() {
    let (mut waited_in, _) = ring(16, 16);
    let (mut beside, address) = listening(Ring::beside(&small(16, 16), waited_in.doorbell()).unwrap());
    beside.turn(Wait::Poll, 0).unwrap();
    let _stream = TcpStream::connect(address).unwrap();
    while !beside.has_work() {
        std::thread::yield_now();
    }
    waited_in.turn(Wait::Forever, 0).unwrap();
    assert!(beside.has_work());
}
