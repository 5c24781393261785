//! A ring on a thread of its own that sends back what it receives, until it is stopped.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

use tickring::doorbell::Doorbell;
use tickring::model::ids::ConnId;
use tickring::ring::{Event, How, Listener, Ring, RingConfig, RingCounters, Transmit, Wait};

use crate::driven::{OPTIONS, any_port};

pub(crate) struct EchoServer {
    pub(crate) address: SocketAddr,
    doorbell: Doorbell,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<EchoReport>,
}

/// What a server has to show when it has stopped.
pub(crate) struct EchoReport {
    pub(crate) counters: RingCounters,
    pub(crate) connections_left: usize,
    pub(crate) send_buffers_left: usize,
}

impl EchoServer {
    pub(crate) fn start(config: RingConfig) -> EchoServer {
        EchoServer::start_on(config, any_port())
    }

    pub(crate) fn start_on(config: RingConfig, address: SocketAddr) -> EchoServer {
        let (ready, started) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut ring = Ring::new(&config, Doorbell::new().unwrap()).unwrap();
            let listener = Listener::bind(address, &OPTIONS).unwrap();
            ready.send((listener.address(), ring.doorbell())).unwrap();
            ring.listen(listener).unwrap();
            serve(ring, &stopped)
        });
        let (address, doorbell) = started.recv().unwrap();
        EchoServer { address, doorbell, stop, thread }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).unwrap()
    }

    /// Closes what is open, and checks that nothing is left.
    pub(crate) fn stop(self) -> EchoReport {
        self.stop.store(true, Ordering::Release);
        self.doorbell.ring();
        let report = self.thread.join().unwrap();
        assert_eq!((report.connections_left, report.send_buffers_left), (0, 0));
        assert_eq!(report.counters.closed_total, report.counters.accepted_total);
        assert_eq!((report.counters.completions_stale_total, report.counters.closes_failed_total), (0, 0));
        report
    }
}

pub(crate) fn check_echo(stream: &mut TcpStream, message: &[u8]) {
    stream.write_all(message).unwrap();
    check_reads(stream, message);
}

pub(crate) fn check_reads(stream: &mut TcpStream, expected: &[u8]) {
    let mut read = vec![0; expected.len()];
    stream.read_exact(&mut read).unwrap();
    assert!(read == expected, "what was sent comes back, in order");
}

fn serve(mut ring: Ring, stopped: &AtomicBool) -> EchoReport {
    let mut owed: BTreeMap<ConnId, Vec<u8>> = BTreeMap::new();
    let mut ready: Vec<ConnId> = Vec::new();
    let mut stopping = false;
    while !(stopping && ring.connections() == 0) {
        ring.turn(Wait::Forever, 0).unwrap();
        while let Some(event) = ring.next_event() {
            match event {
                Event::Accepted { conn, .. } => {
                    assert!(owed.insert(conn, Vec::new()).is_none());
                    if stopping {
                        ring.close(conn, How::Abort);
                    }
                }
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
                Event::Connected { .. } | Event::ConnectFailed { .. } => panic!("it connects to nobody"),
                Event::Adopted { .. } | Event::AdoptFailed { .. } => panic!("nothing is handed in"),
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
    match sent {
        Transmit::Started(length) => drop(owed.drain(..length)),
        Transmit::Nothing | Transmit::Busy | Transmit::Gone => {}
        Transmit::Unbuffered => panic!("the pool is meant to suffice here"),
    }
}
