//! How connections come and go: those that a trusted proxy has made are nobody's until its header of the PROXY protocol has said whom they
//! are from. Home: one shard.
//!
//! Invariants: who is not introduced counts in all, not for an address, and has until the deadline of the handshake; what is behind
//! the header is the client's from its first byte on; where nobody is waited for, a read costs one comparison.

use std::net::{IpAddr, SocketAddr};

use crate::front::Speech;
use crate::front::proxy_protocol::{Receiver, Source};
use crate::guests::Guests;
use crate::hub::{Arrival, Hub, Way};
use crate::model::ids::ConnId;
use crate::model::time::Now;
use crate::ring::ListenerId;

use super::Shard;
use super::secure::Secure;

/// Those of whom the header has not come whole, by slot.
#[derive(Default)]
pub(super) struct Introducing {
    waiting: Vec<Option<Box<Waiting>>>,
    count: usize,
}

struct Waiting {
    conn: ConnId,
    listener: ListenerId,
    receiver: Receiver,
}

impl Introducing {
    /// Bytes of memory that it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.waiting.capacity() * size_of::<Option<Box<Waiting>>>() + self.count * size_of::<Waiting>()
    }

    /// A proxy has connected that is to say first whom it is for.
    fn open(&mut self, conn: ConnId, listener: ListenerId) {
        let slot = conn.slot as usize;
        if self.waiting.len() <= slot {
            self.waiting.resize_with(slot + 1, || None);
        }
        assert!(self.waiting[slot].is_none(), "a slot is closed before it is opened again");
        self.waiting[slot] = Some(Box::new(Waiting { conn, listener, receiver: Receiver::new() }));
        self.count += 1;
    }

    /// The connection is gone.
    pub(super) fn close(&mut self, conn: ConnId) {
        if self.count > 0 && self.find(conn).is_some() {
            self.waiting[conn.slot as usize] = None;
            self.count -= 1;
        }
    }

    /// Takes the header off what has come; what is behind it, if anything, is the client's.
    pub(super) fn receive<'b>(
        &mut self,
        conn: ConnId,
        bytes: &'b mut [u8],
        (secure, guests, hub): (&mut Secure, &mut Guests, &mut Hub),
        now: Now,
    ) -> Option<&'b mut [u8]> {
        if self.count == 0 {
            return Some(bytes);
        }
        let Some(waiting) = self.find(conn) else { return Some(bytes) };
        let listener = waiting.listener;
        let (taken, source) = match waiting.receiver.step(bytes) {
            // It is being ended for another reason.
            _ if !hub.awaits_introduction(conn) => return None,
            Ok((_, None)) => return None,
            Ok((taken, Some(source))) => (taken, source),
            Err(fault) => {
                self.close(conn);
                hub.handle_unintroduced(conn, fault, now);
                return None;
            }
        };
        self.close(conn);
        let refused = match source {
            Source::Client(client) => guests.name(conn, client),
            Source::Proxy => guests.peer(conn).and_then(|proxy| guests.name(conn, proxy)),
        };
        hub.handle_introduced(conn, secure.open(conn, listener), refused, now);
        bytes.get_mut(taken..).filter(|rest| !rest.is_empty())
    }

    fn find(&mut self, conn: ConnId) -> Option<&mut Waiting> {
        let waiting = self.waiting.get_mut(conn.slot as usize)?.as_deref_mut();
        waiting.filter(|waiting| waiting.conn == conn)
    }
}

impl Shard {
    /// A connection was accepted.
    pub(super) fn welcome(&mut self, conn: ConnId, listener: ListenerId, peer: Option<SocketAddr>) {
        let address = peer.map(|peer| peer.ip());
        let speech = self.hub.speech_of(listener.0, address);
        let refused = match speech {
            None => self.guests.arrive(conn, peer),
            Some(Speech::ProxyProtocol | Speech::ForwardedFor) => self.guests.arrive_by_proxy(conn, peer),
        };
        let way = if speech == Some(Speech::ProxyProtocol) {
            self.introducing.open(conn, listener);
            Way::Introducing
        } else {
            self.secure.open(conn, listener)
        };
        let proxy = address.filter(|_| speech == Some(Speech::ForwardedFor));
        self.hub.handle_open(conn, Arrival { listener: listener.0, way, refused, proxy }, self.now);
    }

    /// A connection is gone.
    pub(super) fn forget(&mut self, conn: ConnId) {
        self.introducing.close(conn);
        self.secure.close(conn);
        self.hub.handle_closed(conn, self.now);
        self.guests.leave(conn);
    }

    /// A proxy has named the client of a request.
    pub(super) fn name(&mut self, conn: ConnId, client: IpAddr) {
        // Its port is not told.
        let own = self.guests.peer(conn).filter(|peer| peer.ip().to_canonical() == client);
        let refused = self.guests.name(conn, own.unwrap_or(SocketAddr::new(client, 0)));
        self.hub.handle_named(conn, refused, self.now);
    }
}
