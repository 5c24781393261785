//! Who is connected to a shard: from where, and by which claim on the process's places.
//!
//! Home: one shard. Invariants: a guest stands here from its accept to its close; one that was refused holds no claim; no
//! more than `admitted_max` hold one.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::admission::{Admission, Claim, Refused};
use crate::http::Rejection;
use crate::model::ids::ConnId;

/// The connections of one shard.
#[derive(Debug)]
pub struct Guests {
    admission: Arc<Admission>,
    admitted: u32,
    /// The most that there were at a time.
    peak: u32,
    admitted_max: u32,
    /// By the connection's slot.
    guests: Vec<Guest>,
}

#[derive(Debug, Default)]
struct Guest {
    /// Who has the slot.
    conn: Option<ConnId>,
    peer: Option<SocketAddr>,
    claim: Option<Claim>,
}

impl Guests {
    /// Nobody, of up to `admitted_max` at a time.
    #[must_use]
    pub fn new(admission: Arc<Admission>, admitted_max: u32) -> Guests {
        Guests { admission, admitted: 0, peak: 0, admitted_max, guests: Vec::new() }
    }

    /// A connection was accepted; gives why it has no place here, if so.
    pub fn arrive(&mut self, conn: ConnId, peer: Option<SocketAddr>) -> Option<Rejection> {
        self.arrive_counted(conn, peer, peer.map(|peer| peer.ip()))
    }

    /// A trusted proxy has made a connection, which counts for nobody's address until [`Guests::name`]; gives why it has no place
    /// here, if so.
    pub fn arrive_by_proxy(&mut self, conn: ConnId, proxy: Option<SocketAddr>) -> Option<Rejection> {
        self.arrive_counted(conn, proxy, None)
    }

    fn arrive_counted(
        &mut self,
        conn: ConnId,
        peer: Option<SocketAddr>,
        counted: Option<IpAddr>,
    ) -> Option<Rejection> {
        self.let_in(conn, peer);
        if self.admitted >= self.admitted_max {
            return Some(Rejection::ConnectionsFull);
        }
        match self.admission.claim(counted) {
            Ok(claim) => {
                self.place(conn).claim = Some(claim);
                self.admitted += 1;
                self.peak = self.peak.max(self.admitted);
                None
            }
            Err(Refused::Total) => Some(Rejection::ConnectionsFull),
            Err(Refused::PerAddress) => Some(Rejection::AddressFull),
        }
    }

    /// A connection is from this client from now on, whoever it was from; gives why it has no place here any more, if so.
    pub fn name(&mut self, conn: ConnId, client: SocketAddr) -> Option<Rejection> {
        let guest = &mut self.guests[conn.slot as usize];
        assert!(guest.conn == Some(conn), "who is named has arrived and not left");
        guest.peer = Some(client);
        // Who was refused before holds none.
        let claim = guest.claim.take()?;
        if let Some(claim) = self.admission.attribute(claim, client.ip()) {
            guest.claim = Some(claim);
            return None;
        }
        self.admitted -= 1;
        Some(Rejection::AddressFull)
    }

    /// A connection from within the process, which counts against no limit.
    pub fn let_in(&mut self, conn: ConnId, peer: Option<SocketAddr>) {
        let guest = self.place(conn);
        (guest.conn, guest.peer) = (Some(conn), peer);
    }

    fn place(&mut self, conn: ConnId) -> &mut Guest {
        let slot = conn.slot as usize;
        if self.guests.len() <= slot {
            self.guests.resize_with(slot + 1, Guest::default);
        }
        assert!(self.guests[slot].claim.is_none(), "a slot is left before it is taken again");
        &mut self.guests[slot]
    }

    /// A connection is gone.
    pub fn leave(&mut self, conn: ConnId) {
        let guest = std::mem::take(&mut self.guests[conn.slot as usize]);
        if let Some(claim) = guest.claim {
            self.admission.release(claim);
            self.admitted -= 1;
        }
    }

    /// The most that had a place at a time.
    #[must_use]
    pub fn peak(&self) -> u32 {
        self.peak
    }

    /// Where the connection comes from, unless it is gone.
    #[must_use]
    pub fn peer(&self, conn: ConnId) -> Option<SocketAddr> {
        let guest = self.guests.get(conn.slot as usize)?;
        guest.peer.filter(|_| guest.conn == Some(conn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conn(slot: u32) -> ConnId {
        ConnId { slot, generation: 1 }
    }

    fn peer(text: &str) -> Option<SocketAddr> {
        text.parse().ok()
    }

    #[test]
    fn each_limit_refuses_and_who_leaves_makes_room() {
        let admission = Arc::new(Admission::new(3, 2, (1, 2)));
        let mut guests = Guests::new(Arc::clone(&admission), 3);
        let mut others = Guests::new(Arc::clone(&admission), 10);
        assert_eq!(guests.arrive(conn(0), peer("192.0.2.1:1")), None);
        assert_eq!(guests.arrive(conn(5), peer("192.0.2.1:2")), None);
        assert_eq!(guests.arrive(conn(1), peer("192.0.2.1:3")), Some(Rejection::AddressFull));
        assert_eq!(guests.peer(conn(1)), peer("192.0.2.1:3"));
        guests.leave(conn(1));
        assert_eq!(guests.peer(conn(1)), None);
        guests.let_in(conn(1), peer("192.0.2.1:4"));
        assert_eq!((guests.peer(conn(1)), guests.peak()), (peer("192.0.2.1:4"), 2), "it counts for nobody");
        guests.leave(conn(1));
        assert_eq!(guests.peer(ConnId { slot: 0, generation: 2 }), None, "another has the slot");
        assert_eq!(others.arrive(conn(0), peer("192.0.2.2:1")), None);
        assert_eq!(others.arrive(conn(1), peer("192.0.2.3:1")), Some(Rejection::ConnectionsFull));
        others.leave(conn(0));
        assert_eq!(guests.arrive(conn(2), None), None);
        // The shard's own limit comes before the claim.
        assert_eq!(guests.arrive(conn(3), peer("192.0.2.9:1")), Some(Rejection::ConnectionsFull));
        for slot in [0, 2, 3, 5] {
            guests.leave(conn(slot));
        }
        assert_eq!(admission.connections(), 0);
    }

    #[test]
    fn who_comes_by_a_proxy_counts_for_an_address_once_it_is_known_whose_it_is() {
        let admission = Arc::new(Admission::new(4, 1, (1, 2)));
        let mut guests = Guests::new(Arc::clone(&admission), 10);
        let proxy = peer("10.0.0.1:1");
        let name = |guests: &mut Guests, slot, text: &str| guests.name(conn(slot), peer(text).unwrap());
        for slot in 0..3 {
            assert_eq!(
                guests.arrive_by_proxy(conn(slot), proxy),
                None,
                "the proxy may have as many as it likes"
            );
        }
        assert_eq!(name(&mut guests, 0, "192.0.2.1:7"), None);
        assert_eq!(guests.peer(conn(0)), peer("192.0.2.1:7"));
        assert_eq!(name(&mut guests, 1, "192.0.2.1:8"), Some(Rejection::AddressFull));
        assert_eq!((guests.peer(conn(1)), admission.connections()), (peer("192.0.2.1:8"), 2));
        assert_eq!(name(&mut guests, 1, "192.0.2.9:8"), None, "it has been refused, and counts for nobody");
        // Whose it is may change, and then counts for that one alone.
        assert_eq!(name(&mut guests, 0, "192.0.2.2:0"), None);
        assert_eq!(name(&mut guests, 2, "192.0.2.1:9"), None);
        assert_eq!(guests.arrive(conn(3), peer("192.0.2.2:1")), Some(Rejection::AddressFull));
        for slot in 0..4 {
            guests.leave(conn(slot));
        }
        assert_eq!((admission.connections(), guests.admitted), (0, 0));
        assert_eq!(guests.arrive_by_proxy(conn(0), proxy), None);
        assert_eq!(name(&mut guests, 0, "192.0.2.1:7"), None, "nothing of before is left");
        guests.leave(conn(0));
    }
}
