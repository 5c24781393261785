//! The net ring against real sockets on loopback: echo, starvation, short sends, closing, full queues, the doorbell.
//!
//! Ports are the kernel's choice and nothing waits for a time to pass: a test ends when what it expects has happened.

#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

use tickring::model::ids::ConnId;
use tickring::ring::{
    Doorbell, Event, How, Listener, ListenerOptions, Ring, RingConfig, RingCounters, Transmit, Wait,
};

/// Small enough to make on every test thread.
fn small() -> RingConfig {
    RingConfig {
        connections_max: 4096,
        submissions_max: 256,
        receive_buffers: 64,
        receive_buffer_bytes: 2048,
        send_small_buffers: 64,
        send_large_buffers: 16,
        ..RingConfig::default()
    }
}

const OPTIONS: ListenerOptions =
    ListenerOptions { backlog_connections_max: 1024, unsent_bytes_low: 16 * 1024, unacknowledged_ms_max: 0 };

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// A ring on a thread of its own that sends back what it receives, until it is stopped.
struct EchoServer {
    address: SocketAddr,
    doorbell: Doorbell,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<EchoReport>,
}

/// What a server has to show when it has stopped.
struct EchoReport {
    counters: RingCounters,
    connections_left: usize,
    send_buffers_left: usize,
}

impl EchoServer {
    fn start(config: RingConfig) -> EchoServer {
        EchoServer::start_with(config, OPTIONS)
    }

    fn start_with(config: RingConfig, options: ListenerOptions) -> EchoServer {
        let (ready, started) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut ring = Ring::new(&config).unwrap();
            let listener = Listener::bind(any_port(), &options).unwrap();
            ready.send((listener.address(), ring.doorbell())).unwrap();
            ring.listen(listener).unwrap();
            serve_echo(ring, &stopped)
        });
        let (address, doorbell) = started.recv().unwrap();
        EchoServer { address, doorbell, stop, thread }
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).unwrap()
    }

    fn stop(self) -> EchoReport {
        self.stop.store(true, Ordering::Release);
        self.doorbell.ring();
        self.thread.join().unwrap()
    }
}

fn serve_echo(mut ring: Ring, stopped: &AtomicBool) -> EchoReport {
    let mut owed: HashMap<ConnId, Vec<u8>> = HashMap::new();
    let mut ready: Vec<ConnId> = Vec::new();
    let mut stopping = false;
    while !(stopping && ring.connections() == 0) {
        ring.turn(Wait::Forever, 0).unwrap();
        while let Some(event) = ring.next_event() {
            match event {
                Event::Accepted { conn, .. } => assert!(owed.insert(conn, Vec::new()).is_none()),
                Event::Received { conn, bytes } => {
                    owed.get_mut(&conn).unwrap().extend_from_slice(bytes);
                    ready.push(conn);
                }
                Event::Sent(conn) => ready.push(conn),
                Event::Eof(conn) => ring.close(conn, How::Graceful),
                Event::ReceiveFailed { conn, .. } | Event::SendFailed { conn, .. } => {
                    ring.close(conn, How::Abort)
                }
                Event::Closed(conn) => assert!(owed.remove(&conn).is_some()),
                Event::Doorbell | Event::AcceptFailed { .. } => {}
            }
        }
        for conn in ready.drain(..) {
            let Some(owed) = owed.get_mut(&conn) else { continue };
            send_owed(&mut ring, conn, owed);
        }
        if stopped.load(Ordering::Acquire) && !stopping {
            stopping = true;
            ring.stop_accepting();
            owed.keys().for_each(|conn| ring.close(*conn, How::Abort));
        }
    }
    EchoReport {
        counters: *ring.counters(),
        connections_left: ring.connections(),
        send_buffers_left: ring.send_buffers_in_use(),
    }
}

fn send_owed(ring: &mut Ring, conn: ConnId, owed: &mut Vec<u8>) {
    let sent = ring.transmit(conn, owed.len(), |buffer| {
        let length = owed.len().min(buffer.len());
        buffer[..length].copy_from_slice(&owed[..length]);
        length
    });
    if let Transmit::Started(length) = sent {
        owed.drain(..length);
    }
}

fn check_echo(stream: &mut TcpStream, message: &[u8]) {
    stream.write_all(message).unwrap();
    let mut echoed = vec![0; message.len()];
    stream.read_exact(&mut echoed).unwrap();
    assert_eq!(echoed, message);
}

fn check_clean(report: &EchoReport) {
    assert_eq!((report.connections_left, report.send_buffers_left), (0, 0));
    assert_eq!(report.counters.closed_total, report.counters.accepted_total);
    assert_eq!((report.counters.completions_stale_total, report.counters.closes_failed_total), (0, 0));
}

#[test]
fn echoes_one_connection() {
    let server = EchoServer::start(small());
    let mut stream = server.connect();
    for _ in 0..100 {
        check_echo(&mut stream, b"sixty-four bytes or so of an order, as a trader would send it");
    }
    drop(stream);
    let report = server.stop();
    check_clean(&report);
    assert_eq!(report.counters.accepted_total, 1);
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
    drop(streams);
    let report = server.stop();
    check_clean(&report);
    assert_eq!(report.counters.accepted_total, 100);
}
