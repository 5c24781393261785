//! A ring that the test turns itself, with clients in the same thread: what happens between two turns is up to the test.

use std::net::{SocketAddr, TcpStream};

use tickring::doorbell::Doorbell;
use tickring::model::ids::ConnId;
use tickring::ring::{Event, Listener, ListenerOptions, Ring, RingConfig, Transmit, Wait};

pub(crate) const OPTIONS: ListenerOptions =
    ListenerOptions { backlog_connections_max: 1024, unsent_bytes_low: 16 * 1024, unacknowledged_ms_max: 0 };

/// What is sent over and over to a peer that does not read: a large send buffer of bytes that tell their place.
pub(crate) static STUCK_PATTERN: [u8; 65_536] = {
    let mut pattern = [0; 65_536];
    let mut place = 0;
    while place < pattern.len() {
        // 251 is prime, so no power of two of bytes can go missing unseen.
        pattern[place] = (place % 251).to_le_bytes()[0];
        place += 1;
    }
    pattern
};

/// Small enough to make one for every test.
pub(crate) fn small() -> RingConfig {
    RingConfig {
        connections_max: 4096,
        submissions_max: 256,
        receive_buffers: 64,
        receive_buffer_bytes: 2048,
        send_small_buffers: 512,
        send_large_buffers: 16,
        ..RingConfig::default()
    }
}

pub(crate) fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

pub(crate) struct Driven {
    pub(crate) ring: Ring,
    pub(crate) address: SocketAddr,
}

impl Driven {
    pub(crate) fn new(config: RingConfig) -> Driven {
        let mut ring = Ring::new(&config, Doorbell::new().unwrap()).unwrap();
        let listener = Listener::bind(any_port(), &OPTIONS).unwrap();
        let address = listener.address();
        ring.listen(listener).unwrap();
        Driven { ring, address }
    }

    /// Takes events, turning and waiting when there are none, until `is_done` says so.
    pub(crate) fn until(&mut self, mut is_done: impl FnMut(Event<'_>) -> bool) {
        loop {
            while let Some(event) = self.ring.next_event() {
                if is_done(event) {
                    return;
                }
            }
            self.ring.turn(Wait::Forever, 0).unwrap();
        }
    }

    /// A client and its connection.
    pub(crate) fn connect(&mut self) -> (TcpStream, ConnId) {
        let stream = TcpStream::connect(self.address).unwrap();
        let mut accepted = None;
        self.until(|event| {
            if let Event::Accepted { conn, .. } = event {
                accepted = Some(conn);
            }
            accepted.is_some()
        });
        (stream, accepted.unwrap())
    }

    /// So many clients and their connections, in the same order.
    pub(crate) fn connect_many(&mut self, count: usize) -> Vec<(TcpStream, ConnId)> {
        (0..count).map(|_| self.connect()).collect()
    }

    pub(crate) fn until_closed(&mut self, conn: ConnId) {
        self.until(|event| event == Event::Closed(conn));
    }

    /// Sends to a connection that must be able to.
    pub(crate) fn transmit(&mut self, conn: ConnId, bytes: &[u8]) {
        let started = self.ring.transmit(conn, bytes.len(), |buffer| {
            buffer[..bytes.len()].copy_from_slice(bytes);
            bytes.len()
        });
        assert_eq!(started, Transmit::Started(bytes.len()));
    }

    /// Sends to a peer that does not read, until no more goes into the kernel: one transmit stays in flight. Returns the
    /// bytes of all transmits, that one's included.
    pub(crate) fn transmit_until_stuck(&mut self, conn: ConnId) -> usize {
        let mut transmitted_bytes = 0;
        loop {
            self.transmit(conn, &STUCK_PATTERN);
            transmitted_bytes += STUCK_PATTERN.len();
            // Loopback delivers within the send, so a send that is not complete after a few turns is stuck.
            let mut sent = false;
            for _ in 0..8 {
                self.ring.turn(Wait::Poll, 0).unwrap();
                while let Some(event) = self.ring.next_event() {
                    assert_eq!(event, Event::Sent(conn));
                    sent = true;
                }
            }
            if !sent {
                return transmitted_bytes;
            }
        }
    }

    /// Checks that nothing of any connection is left.
    pub(crate) fn check_empty(&self) {
        assert_eq!((self.ring.connections(), self.ring.send_buffers_in_use()), (0, 0));
        let counters = self.ring.counters();
        assert_eq!(counters.accepted_total + counters.connected_total, counters.closed_total);
        assert_eq!((counters.completions_stale_total, counters.closes_failed_total), (0, 0));
    }
}
