//! The net ring allocates nothing on the way of a message, nor for a connection in a slot used before.

#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use tickring::doorbell::Doorbell;
use tickring::ring::{Event, How, Listener, ListenerOptions, Ring, RingConfig, Transmit, Wait};

/// The system's allocator, counting what the present thread asks it for.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: as above; `start` came from the system's allocator.
        unsafe { System.dealloc(start, layout) };
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn a_warm_ring_allocates_nothing() {
    let config = RingConfig { connections_max: 64, ..RingConfig::default() };
    let mut ring = Ring::new(&config, Doorbell::new().unwrap()).unwrap();
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = Listener::bind(any_port, &ListenerOptions::default()).unwrap();
    let address = listener.address();
    ring.listen(listener).unwrap();
    let mut allocations = 0;
    for round in 0..20 {
        let before = ALLOCATIONS.get();
        serve_one_connection(&mut ring, address);
        // The first rounds grow the table of sockets.
        allocations += if round < 2 { 0 } else { ALLOCATIONS.get() - before };
    }
    assert_eq!(ring.counters().accepted_total, 20);
    assert_eq!(allocations, 0);
}

fn serve_one_connection(ring: &mut Ring, address: SocketAddr) {
    let mut stream = Some(TcpStream::connect(address).unwrap());
    let mut echoes_left = 50;
    loop {
        ring.turn(Wait::Forever, 0).unwrap();
        while let Some(event) = ring.next_event() {
            let client = stream.as_mut();
            match event {
                Event::Accepted { .. } => client.unwrap().write_all(b"ping").unwrap(),
                Event::Received { conn, bytes } => {
                    let mut message = [0; 4];
                    message.copy_from_slice(bytes);
                    let started = ring.transmit(conn, 4, |buffer| {
                        buffer[..4].copy_from_slice(&message);
                        4
                    });
                    assert_eq!(started, Transmit::Started(4));
                }
                Event::Sent(_) => {
                    let client = client.unwrap();
                    client.read_exact(&mut [0; 4]).unwrap();
                    echoes_left -= 1;
                    if echoes_left > 0 {
                        client.write_all(b"ping").unwrap();
                    } else {
                        stream = None;
                    }
                }
                Event::Eof(conn) => ring.close(conn, How::Graceful),
                Event::Closed(_) => return,
                Event::AcceptFailed { .. }
                | Event::Adopted { .. }
                | Event::AdoptFailed { .. }
                | Event::Connected { .. }
                | Event::ConnectFailed { .. }
                | Event::ReceiveFailed { .. }
                | Event::SendFailed { .. }
                | Event::Doorbell => panic!("{event:?}"),
            }
        }
    }
}
