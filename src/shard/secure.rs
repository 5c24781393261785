//! The TLS connections of one shard, between its ring and its hub: the hub sees plaintext, the ring sees records.
//!
//! Home: one shard. Invariants:
//! - A connection has one send under way, of records that the handshake made or of the hub's bytes: what the hub wants
//!   to send meanwhile waits until that send is complete, and only the hub's own sends are told to it as sent.
//! - Records go out in the order in which they were made.
//! - Before the handshake is done nothing of the hub's goes out, and after a fault nothing of it either.

use std::sync::Arc;

use rustls::ServerConfig;

use crate::hub::{Ending, Hub, Way};
use crate::limits;
use crate::model::ids::ConnId;
use crate::model::time::Now;
use crate::ring::{How, ListenerId, Ring, Transmit};
use crate::tls::{OVERHEAD_BYTES_MAX, Peer, Stream, plain_bytes_max};

/// The room that the hub wants to be given at least: a control frame.
const PLAIN_BYTES_MIN: usize = 256;

/// The TLS connections of a shard, by slot. Plain ones are not in it.
pub(super) struct Secure {
    /// By listener; none where it is plain.
    configs: Vec<Option<Arc<ServerConfig>>>,
    connections: Vec<Option<Box<Connection>>>,
    /// Plaintext of one record, or of one send.
    received: Vec<u8>,
    plain: Vec<u8>,
    /// Those with records of their own to send, each once.
    waiting: Vec<ConnId>,
    open_count: usize,
    /// Of all streams, for what is incomplete or waits.
    held_bytes: usize,
}

/// About what an established connection takes of memory beside the hub's share: 9.2 KB were measured with 1,391 of them.
const CONNECTION_BYTES: usize = 9 * 1024;

struct Connection {
    conn: ConnId,
    stream: Stream,
    sending: Sending,
    closing: Closing,
    /// The hub was told that the peer sends no more.
    heard_end: bool,
    /// The hub has bytes for it, and was not asked for them since a send was under way.
    hub_waits: bool,
    /// It is in `waiting`.
    waits: bool,
    /// What its stream holds, as last counted among all.
    noted_bytes: usize,
}

/// What the send that is under way carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    Nothing,
    /// Handshake records or an alert.
    Records,
    /// Bytes of the hub, which is to hear when they are sent.
    Plaintext,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    No,
    /// Once the last record has been handed to the ring.
    Asked,
}

/// Whose send is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Hubs,
    Ours,
}

impl Secure {
    /// `send_bytes_max` is the length of the longest send buffer.
    pub(super) fn new(configs: Vec<Option<Arc<ServerConfig>>>, send_bytes_max: usize) -> Secure {
        let is_used = configs.iter().any(Option::is_some);
        Secure {
            configs,
            connections: Vec::new(),
            received: Vec::new(),
            plain: vec![0; if is_used { send_bytes_max } else { 0 }],
            waiting: Vec::new(),
            open_count: 0,
            held_bytes: 0,
        }
    }

    /// A connection was accepted. Whether the hub's bytes get through to it.
    pub(super) fn open(&mut self, conn: ConnId, listener: ListenerId) -> Way {
        let Some(config) = &self.configs[usize::from(listener.0)] else { return Way::Open };
        let slot = conn.slot as usize;
        if self.connections.len() <= slot {
            self.connections.resize_with(slot + 1, || None);
        }
        assert!(self.connections[slot].is_none(), "a slot is closed before it is opened again");
        self.connections[slot] = Some(Box::new(Connection {
            conn,
            stream: Stream::new(config),
            sending: Sending::Nothing,
            closing: Closing::No,
            heard_end: false,
            hub_waits: false,
            waits: false,
            noted_bytes: 0,
        }));
        self.open_count += 1;
        Way::Securing
    }

    /// Bytes of memory that all connections take.
    pub(super) fn memory_bytes(&self) -> usize {
        let tables = self.connections.capacity() * size_of::<Option<Box<Connection>>>();
        let scratch = self.received.capacity() + self.plain.capacity();
        self.open_count * CONNECTION_BYTES + self.held_bytes + tables + scratch
    }

    pub(super) fn has(&self, conn: ConnId) -> bool {
        self.connections.get(conn.slot as usize).is_some_and(Option::is_some)
    }

    /// Bytes came: their plaintext goes to the hub. What they weigh beside their length.
    pub(super) fn receive(&mut self, conn: ConnId, bytes: &mut [u8], hub: &mut Hub, now: Now) -> usize {
        let Some(connection) = find(&mut self.connections, conn) else { return 0 };
        if connection.closing == Closing::Asked {
            return 0;
        }
        let on_plain = |plain: &mut [u8]| hub.handle_bytes(conn, plain, now);
        let was_established = connection.stream.is_established();
        let received = connection.stream.receive(bytes, &mut self.received, on_plain);
        connection.note_held(&mut self.held_bytes);
        connection.announce(&mut self.waiting);
        match received {
            Ok(progress) => {
                if !was_established && connection.stream.is_established() {
                    hub.handle_secured(conn);
                }
                if progress.peer == Peer::Closed {
                    connection.tell_end(hub, now);
                }
                progress.flights as usize * limits::HANDSHAKE_FLIGHT_WEIGHT_BYTES
            }
            Err(fault) => {
                hub.handle_fault(conn, fault, now);
                limits::HANDSHAKE_FLIGHT_WEIGHT_BYTES
            }
        }
    }

    /// The peer's socket sends no more.
    pub(super) fn eof(&mut self, conn: ConnId, hub: &mut Hub, now: Now) {
        if let Some(connection) = find(&mut self.connections, conn) {
            connection.tell_end(hub, now);
        }
    }

    /// The send that was under way is complete.
    pub(super) fn sent(&mut self, conn: ConnId, hub: &mut Hub) -> Sent {
        let Some(connection) = find(&mut self.connections, conn) else { return Sent::Hubs };
        let carried = std::mem::replace(&mut connection.sending, Sending::Nothing);
        connection.announce(&mut self.waiting);
        if std::mem::take(&mut connection.hub_waits) {
            hub.handle_unserved(conn);
        }
        if carried == Sending::Records { Sent::Ours } else { Sent::Hubs }
    }

    /// The connection is to end: what waits of ours goes first, a `close_notify` last.
    pub(super) fn disconnect(&mut self, conn: ConnId, ending: Ending, ring: &mut Ring) {
        let Some(connection) = find(&mut self.connections, conn) else { return };
        if ending == Ending::Abort {
            return ring.close(conn, How::Abort);
        }
        if connection.closing == Closing::Asked {
            return;
        }
        connection.closing = Closing::Asked;
        connection.stream.close_notify();
        if connection.stream.has_outgoing() {
            connection.announce(&mut self.waiting);
        } else {
            ring.close(conn, How::Graceful);
        }
    }

    /// The connection is gone.
    pub(super) fn close(&mut self, conn: ConnId) {
        if let Some(connection) = find(&mut self.connections, conn) {
            self.held_bytes -= connection.noted_bytes;
            self.open_count -= 1;
            self.connections[conn.slot as usize] = None;
        }
    }

    /// Hands the ring what the connections have to say themselves. `Unbuffered` if a send buffer was lacking, `Started`
    /// if something goes out.
    pub(super) fn flush(&mut self, ring: &mut Ring) -> Transmit {
        let mut outcome = Transmit::Nothing;
        while let Some(conn) = self.waiting.pop() {
            let Some(connection) = find(&mut self.connections, conn) else { continue };
            connection.waits = false;
            if connection.sending != Sending::Nothing {
                // The end of that send brings it back.
                continue;
            }
            let stream = &mut connection.stream;
            let transmit = ring.transmit(conn, stream.outgoing_bytes(), |out| stream.take_outgoing(out));
            connection.note_held(&mut self.held_bytes);
            match transmit {
                Transmit::Started(bytes) => {
                    connection.sending = Sending::Records;
                    outcome = Transmit::Started(bytes);
                }
                Transmit::Unbuffered => {
                    connection.announce(&mut self.waiting);
                    return Transmit::Unbuffered;
                }
                Transmit::Busy => panic!("invariant: no send of it is under way"),
                Transmit::Nothing | Transmit::Gone => {}
            }
            connection.close_if_all_is_said(ring);
        }
        outcome
    }

    /// Hands the ring what the hub has for the connection.
    pub(super) fn transmit(&mut self, conn: ConnId, hub: &mut Hub, ring: &mut Ring, now: Now) -> Transmit {
        let Some(connection) = find(&mut self.connections, conn) else { return Transmit::Gone };
        if connection.closing == Closing::Asked {
            return Transmit::Gone;
        }
        if !connection.stream.is_established() {
            // Ended by a fault: what the hub has left no one could read.
            ring.close(conn, How::Abort);
            return Transmit::Gone;
        }
        if connection.sending != Sending::Nothing {
            connection.hub_waits = true;
            return Transmit::Nothing;
        }
        let Connection { stream, sending, hub_waits, .. } = connection;
        let plain = &mut self.plain;
        let mut fault = None;
        let pending = hub.pending_bytes(conn);
        let bytes_hint = stream.outgoing_bytes() + pending + (pending / 16_384 + 3) * OVERHEAD_BYTES_MAX;
        let transmit = ring.transmit(conn, bytes_hint, |out| {
            let written = stream.take_outgoing(out);
            *sending = Sending::Records;
            let room = plain_bytes_max(out.len() - written);
            if stream.has_outgoing() || room < PLAIN_BYTES_MIN {
                *hub_waits = true;
                return written;
            }
            let plain_bytes = hub.poll_transmit(conn, &mut plain[..room]);
            if plain_bytes == 0 {
                return written;
            }
            *sending = Sending::Plaintext;
            match stream.encrypt(&plain[..plain_bytes], &mut out[written..]) {
                Ok(encrypted) => written + encrypted,
                Err(found) => {
                    fault = Some(found);
                    written
                }
            }
        });
        connection.note_held(&mut self.held_bytes);
        if !matches!(transmit, Transmit::Started(_)) {
            connection.sending = Sending::Nothing;
        }
        if let Some(fault) = fault {
            connection.announce(&mut self.waiting);
            hub.handle_fault(conn, fault, now);
        }
        transmit
    }
}

impl Connection {
    /// Takes note of what its stream holds by now.
    fn note_held(&mut self, of_all_bytes: &mut usize) {
        let held_bytes = self.stream.held_bytes();
        *of_all_bytes = *of_all_bytes - self.noted_bytes + held_bytes;
        self.noted_bytes = held_bytes;
    }

    /// Puts it among those that wait, if it has records to send and could send them.
    fn announce(&mut self, waiting: &mut Vec<ConnId>) {
        if self.stream.has_outgoing() && self.sending == Sending::Nothing && !self.waits {
            self.waits = true;
            waiting.push(self.conn);
        }
    }

    fn tell_end(&mut self, hub: &mut Hub, now: Now) {
        if !self.heard_end && self.closing == Closing::No {
            self.heard_end = true;
            hub.handle_eof(self.conn, now);
        }
    }

    /// The ring closes behind the send that is under way.
    fn close_if_all_is_said(&self, ring: &mut Ring) {
        if self.closing == Closing::Asked && !self.stream.has_outgoing() {
            ring.close(self.conn, How::Graceful);
        }
    }
}

/// The connection of an id, unless it is void.
fn find(connections: &mut [Option<Box<Connection>>], conn: ConnId) -> Option<&mut Connection> {
    connections.get_mut(conn.slot as usize)?.as_deref_mut().filter(|connection| connection.conn == conn)
}
