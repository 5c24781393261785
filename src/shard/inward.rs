//! Connections from within the process, as the ring takes them. Home: its shard. Invariant: without one a turn looks at one empty
//! queue, and no more.

use std::net::SocketAddr;

use nix::errno::Errno;
use slab::Slab;

use crate::auth::Reach;
use crate::hub::Arrival;
use crate::inward::{Inbound, InwardPort};
use crate::limits;
use crate::model::ids::ConnId;

use super::Shard;

/// The shard's end, and whose those are that the ring is about to take.
#[derive(Debug)]
pub(super) struct InwardCalls {
    port: InwardPort,
    /// The hub's policies for them follow those of the ring's listeners: for clients of this host, and for others.
    first_listener: u8,
    /// By the tag that the ring tells them by.
    under_way: Slab<(Reach, Option<SocketAddr>)>,
}

impl InwardCalls {
    pub(super) fn new(port: InwardPort, listeners: usize) -> InwardCalls {
        let first_listener = u8::try_from(listeners).expect("invariant: at most LISTENERS_MAX");
        InwardCalls { port, first_listener, under_way: Slab::new() }
    }
}

impl Shard {
    /// Has the ring take what is handed in; whether there was anything.
    pub(super) fn take_inward(&mut self) -> bool {
        let Some(calls) = &mut self.inward else { return false };
        let mut any = false;
        while calls.under_way.len() < limits::ADOPTIONS_MAX
            && let Some(Inbound { socket, reach, peer }) = calls.port.receive()
        {
            any = true;
            let place = calls.under_way.vacant_key();
            let tag = u32::try_from(place).expect("invariant: fewer are under way than ADOPTIONS_MAX");
            match self.ring.adopt(socket, tag) {
                Ok(()) => _ = calls.under_way.insert((reach, peer)),
                Err(errno) => log::debug!("a connection from within is not taken: {}", errno.desc()),
            }
        }
        any
    }

    /// The ring has taken one: it is as any other, but counts as nobody's.
    pub(super) fn open_inward(&mut self, conn: ConnId, tag: u32) {
        let (listener, peer) = self.end_adoption(tag);
        self.guests.let_in(conn, peer);
        self.hub.handle_open(conn, Arrival { listener, ..Arrival::FIRST }, self.now);
    }

    /// The ring could not take one: whoever asked by it finds it closed.
    pub(super) fn adoption_failed(&mut self, tag: u32, errno: Errno) {
        self.end_adoption(tag);
        log::debug!("a connection from within is not taken: {}", errno.desc());
    }

    /// The ring has taken one, or could not: by which of the hub's policies it comes, and from where.
    fn end_adoption(&mut self, tag: u32) -> (u8, Option<SocketAddr>) {
        let calls = self.inward.as_mut().expect("invariant: the ring adopts what came by the port");
        let (reach, peer) = calls.under_way.remove(tag as usize);
        let listener = match reach {
            Reach::Loopback => calls.first_listener,
            Reach::Anywhere => calls.first_listener + 1,
        };
        (listener, peer)
    }
}
