//! A parked ring wakes: by its doorbell, by a deadline, by a thousand sockets at once.

use std::io::Write;
use std::sync::mpsc;

use tickring::doorbell::Doorbell;
use tickring::ring::{Event, Ring, Wait};

use crate::driven::{Driven, small};

#[test]
fn the_doorbell_wakes_a_parked_ring() {
    let (ready, started) = mpsc::channel();
    let (woken, wakes) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let mut ring = Ring::new(&small(), Doorbell::new().unwrap()).unwrap();
        ready.send(ring.doorbell()).unwrap();
        let mut left = 1000;
        while left > 0 {
            ring.turn(Wait::Forever, 0).unwrap();
            while let Some(event) = ring.next_event() {
                assert_eq!(event, Event::Doorbell);
                left -= 1;
                woken.send(()).unwrap();
            }
        }
        *ring.counters()
    });
    let doorbell = started.recv().unwrap();
    for _ in 0..1000 {
        doorbell.ring();
        wakes.recv().unwrap();
    }
    assert_eq!(thread.join().unwrap().doorbells_total, 1000);
}

#[test]
fn a_doorbell_rung_before_the_ring_parks_is_not_lost() {
    let mut driven = Driven::new(small());
    let doorbell = driven.ring.doorbell();
    for _ in 0..100 {
        std::thread::scope(|scope| {
            scope.spawn(|| doorbell.ring());
        });
        driven.until(|event| event == Event::Doorbell);
    }
}

#[test]
fn a_turn_ends_at_its_deadline_without_an_event() {
    let mut driven = Driven::new(small());
    driven.ring.turn(Wait::Until(2_000_000), 1_000_000).unwrap();
    assert_eq!(driven.ring.next_event(), None);
    // A deadline that has passed does not wait at all.
    driven.ring.turn(Wait::Until(1), 1_000_000).unwrap();
    assert_eq!(driven.ring.next_event(), None);
}

#[test]
fn a_thousand_sockets_that_became_readable_meanwhile_are_all_received() {
    let mut driven = Driven::new(small());
    let mut clients = driven.connect_many(1000);
    for round in 0_u8..3 {
        for (stream, _) in &mut clients {
            stream.write_all(&[round; 50]).unwrap();
        }
        let mut left_bytes = clients.len() * 50;
        driven.until(|event| {
            if let Event::Received { bytes, .. } = event {
                left_bytes -= bytes.len();
            }
            left_bytes == 0
        });
    }
}
