//! Calls under way and who waits for each: tables with lists through them. PURE. Home: one shard.
//!
//! Invariants: a call that somebody waits for, requests or a processor for its message, is in the table, and no other; who waits is in
//! the list of its connection and in that of its call, once each; a call has a deadline in the wheel; what is counted of a backend is
//! its calls in the table. Memory is taken when more wait than ever before, and not otherwise.

use slab::Slab;

use crate::model::call::{BackendId, CallKey, CancelledCall};
use crate::model::ids::{ConnId, HomeId, Ticket};
use crate::model::message::MessageId;

use super::super::Tickets;
use super::super::requests::KeptReplyTo;
use super::super::timers::Wheel;

/// The end of a list.
const NONE: u32 = u32::MAX;

/// Whom a list is of.
#[derive(Clone, Copy)]
enum Of {
    Conn = 0,
    Flight = 1,
}

/// Neighbours in a list.
#[derive(Clone, Copy, Debug)]
struct Links {
    previous: u32,
    next: u32,
}

/// The ends of a list, and how long it is.
#[derive(Clone, Copy, Debug)]
struct List {
    first: u32,
    last: u32,
    count: u32,
}

impl List {
    const EMPTY: List = List { first: NONE, last: NONE, count: 0 };
}

/// A request that waits for a call's answer.
#[derive(Debug)]
struct Asker {
    reply_to: KeptReplyTo,
    /// The call's slot.
    flight: u32,
    links: [Links; 2],
}

/// A message that a call hands to the backend that processes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::hub) struct Parcel {
    /// The processor, as the office knows it.
    pub(in crate::hub) processor: ConnId,
    pub(in crate::hub) message: MessageId,
    /// Whether it is to be confirmed.
    pub(in crate::hub) confirm: bool,
    /// Whether an earlier attempt may have reached the backend.
    pub(in crate::hub) was_handed: bool,
}

/// A call that is under way, or about to be.
#[derive(Debug)]
struct Flight {
    backend: BackendId,
    due_ns: u64,
    /// It was handed out.
    is_handed: bool,
    /// Where its result is to be kept, and for how long.
    kept_at: Option<u32>,
    ttl_ns: u64,
    askers: List,
    /// What waits for it in place of askers.
    parcel: Option<Parcel>,
}

/// See the file's head.
#[derive(Debug)]
pub(super) struct Table {
    askers: Slab<Asker>,
    flights: Tickets<Flight>,
    /// By the connections' slots.
    by_conn: Vec<List>,
    /// Calls under way, by backend.
    by_backend: Vec<u32>,
    wheel: Wheel,
    /// What the wheel gave and was not looked at yet.
    due: Vec<u32>,
}

/// A request that waits no more.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) reply_to: KeptReplyTo,
    /// Its call, if nobody else waits for that.
    pub(super) ended: Option<Ended>,
}

/// A call that is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) ticket: Ticket,
    pub(super) backend: BackendId,
    pub(super) is_handed: bool,
    /// Where its result was to be kept.
    pub(super) kept_at: Option<u32>,
}

impl Ended {
    /// What its backend is to be told, if it knows of it.
    pub(super) fn cancelled(self, home: HomeId) -> Option<CancelledCall> {
        let Ended { ticket, backend, is_handed, .. } = self;
        is_handed.then_some(CancelledCall { key: CallKey { home, ticket }, backend })
    }
}

impl Flight {
    fn ended(&self, ticket: Ticket) -> Ended {
        Ended { ticket, backend: self.backend, is_handed: self.is_handed, kept_at: self.kept_at }
    }
}

impl Table {
    pub(super) fn new(now_ns: u64) -> Table {
        Table {
            askers: Slab::new(),
            flights: Tickets::default(),
            by_conn: Vec::new(),
            by_backend: Vec::new(),
            wheel: Wheel::new(now_ns),
            due: Vec::new(),
        }
    }

    /// Requests that wait.
    pub(super) fn waiting_count(&self) -> usize {
        self.askers.len()
    }

    /// Calls that they wait for.
    pub(super) fn under_way_count(&self) -> usize {
        self.flights.entries.len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.askers.capacity() * size_of::<Asker>()
            + self.flights.entries.capacity() * size_of::<(u32, Flight)>()
            + self.by_conn.capacity() * size_of::<List>()
    }

    /// Requests of a connection that wait.
    pub(super) fn of_conn(&self, conn: ConnId) -> u32 {
        self.by_conn.get(conn.slot as usize).map_or(0, |list| list.count)
    }

    /// Calls that are under way to a backend.
    pub(super) fn of_backend(&self, backend: BackendId) -> u32 {
        self.by_backend.get(backend.index()).copied().unwrap_or(0)
    }

    /// Whether a connection has so many requests or more waiting for a backend; it has `limits.calls_under_way_max` at most in all.
    pub(super) fn has_of_backend(&self, conn: ConnId, backend: BackendId, count: u32) -> bool {
        let Some(list) = self.by_conn.get(conn.slot as usize).filter(|list| list.count >= count) else {
            return false;
        };
        let (mut at, mut found) = (list.first, 0);
        while at != NONE && found < count {
            let asker = &self.askers[at as usize];
            found += u32::from(self.flights.entries[asker.flight as usize].1.backend == backend);
            at = asker.links[Of::Conn as usize].next;
        }
        found == count
    }

    /// Requests that wait for a call.
    pub(super) fn of_flight(&self, ticket: Ticket) -> u32 {
        self.flights.peek(ticket).map_or(0, |flight| flight.askers.count)
    }

    /// A call's result is to be kept there, for so long.
    pub(super) fn keep_at(&mut self, ticket: Ticket, at: u32, ttl_ns: u64) {
        if let Some(flight) = self.flights.peek_mut(ticket) {
            (flight.kept_at, flight.ttl_ns) = (Some(at), ttl_ns);
        }
    }

    /// Where a call's result is to be kept, and for how long.
    pub(super) fn kept_at(&self, ticket: Ticket) -> Option<(u32, u64)> {
        let flight = self.flights.peek(ticket)?;
        Some((flight.kept_at?, flight.ttl_ns))
    }

    /// The next who waits for a call, behind the one at that place: its own place, and where it is answered.
    pub(super) fn next_waiting(&self, ticket: Ticket, behind: Option<u32>) -> Option<(u32, KeptReplyTo)> {
        let at = match behind {
            None => self.flights.peek(ticket)?.askers.first,
            Some(at) => self.askers.get(at as usize)?.links[Of::Flight as usize].next,
        };
        Some((at, self.askers.get(at as usize)?.reply_to))
    }

    /// A call begins; somebody is to join it at once.
    pub(super) fn begin(&mut self, backend: BackendId, due_ns: u64) -> Ticket {
        self.issue(backend, due_ns, None)
    }

    /// A call begins that hands on a message, for which its processor waits.
    pub(super) fn begin_parcel(&mut self, backend: BackendId, due_ns: u64, parcel: Parcel) -> Ticket {
        self.issue(backend, due_ns, Some(parcel))
    }

    /// A call that hands on a message is over; `None` where it is none, or was over before.
    pub(super) fn end_parcel(&mut self, ticket: Ticket) -> Option<Parcel> {
        let parcel = self.flights.peek(ticket)?.parcel?;
        self.forget(ticket);
        Some(parcel)
    }

    fn issue(&mut self, backend: BackendId, due_ns: u64, parcel: Option<Parcel>) -> Ticket {
        let (askers, is_handed) = (List::EMPTY, false);
        let flight = Flight { backend, due_ns, is_handed, kept_at: None, ttl_ns: 0, askers, parcel };
        let ticket = self.flights.issue(flight);
        if self.by_backend.len() <= backend.index() {
            self.by_backend.resize(backend.index() + 1, 0);
        }
        self.by_backend[backend.index()] += 1;
        self.wheel.arm(ticket.slot, due_ns);
        ticket
    }

    /// A request waits for a call that is under way.
    pub(super) fn join(&mut self, ticket: Ticket, reply_to: KeptReplyTo) {
        let slot = reply_to.conn.slot as usize;
        if self.by_conn.len() <= slot {
            self.by_conn.resize(slot + 1, List::EMPTY);
        }
        let links = [Links { previous: NONE, next: NONE }; 2];
        let asker = self.askers.insert(Asker { reply_to, flight: ticket.slot, links });
        let asker = u32::try_from(asker).expect("invariant: at most CALLS_WAITING_MAX wait");
        let flight = self.flights.peek_mut(ticket).expect("invariant: who joins has looked it up");
        push(&mut self.askers, Of::Flight, &mut flight.askers, asker);
        push(&mut self.askers, Of::Conn, &mut self.by_conn[slot], asker);
    }

    /// A call is handed out; false where nobody waits for it any more.
    pub(super) fn hand_out(&mut self, ticket: Ticket) -> bool {
        let flight = self.flights.peek_mut(ticket);
        flight.map(|flight| flight.is_handed = true).is_some()
    }

    /// Whether a call is under way, by its ticket.
    pub(super) fn has(&self, ticket: Ticket) -> bool {
        self.flights.peek(ticket).is_some()
    }

    /// The first request that waits for a call leaves; `None` where none waits for it, or it is over.
    pub(super) fn leave_flight(&mut self, ticket: Ticket) -> Option<Left> {
        let first = self.flights.peek(ticket)?.askers.first;
        (first != NONE).then(|| self.leave(first))
    }

    /// The first request of a connection that waits leaves.
    pub(super) fn leave_conn(&mut self, conn: ConnId) -> Option<Left> {
        let first = self.by_conn.get(conn.slot as usize)?.first;
        (first != NONE).then(|| self.leave(first))
    }

    /// The request of a connection that has this id leaves, the oldest if there are several.
    pub(super) fn leave_named(&mut self, conn: ConnId, id: &str) -> Option<Left> {
        let mut at = self.by_conn.get(conn.slot as usize)?.first;
        while at != NONE {
            let asker = &self.askers[at as usize];
            if asker.reply_to.get().id.is_some_and(|own| own.as_str() == id) {
                return Some(self.leave(at));
            }
            at = asker.links[Of::Conn as usize].next;
        }
        None
    }

    /// The next call whose time is over; those who wait for it are still to leave.
    pub(super) fn next_due(&mut self, now_ns: u64) -> Option<Ended> {
        if self.due.is_empty() {
            self.wheel.expire(now_ns, &mut self.due);
        }
        while let Some(slot) = self.due.pop() {
            let Some((generation, flight)) = self.flights.entries.get(slot as usize) else { continue };
            if now_ns >= flight.due_ns {
                let ticket = Ticket { slot, generation: *generation };
                return Some(flight.ended(ticket));
            }
            self.wheel.arm(slot, flight.due_ns);
        }
        None
    }

    /// When [`Table::next_due`] is to be asked next; 0 for at once.
    pub(super) fn poll_timeout(&self) -> Option<u64> {
        if self.due.is_empty() { self.wheel.next_deadline_ns() } else { Some(0) }
    }

    fn leave(&mut self, at: u32) -> Left {
        let Asker { reply_to, flight: slot, links } = self.askers.remove(at as usize);
        unlink(&mut self.askers, Of::Conn, &mut self.by_conn[reply_to.conn.slot as usize], links);
        let (generation, flight) = &mut self.flights.entries[slot as usize];
        unlink(&mut self.askers, Of::Flight, &mut flight.askers, links);
        if flight.askers.count > 0 {
            return Left { reply_to, ended: None };
        }
        let ticket = Ticket { slot, generation: *generation };
        let ended = flight.ended(ticket);
        self.forget(ticket);
        Left { reply_to, ended: Some(ended) }
    }

    /// A call that nobody waits for any more leaves the tables.
    fn forget(&mut self, ticket: Ticket) {
        let flight = self.flights.redeem(ticket).expect("invariant: it was there when it was looked up");
        self.by_backend[flight.backend.index()] -= 1;
        self.wheel.disarm(ticket.slot);
    }
}

/// Appends to a list.
fn push(askers: &mut Slab<Asker>, of: Of, list: &mut List, at: u32) {
    askers[at as usize].links[of as usize] = Links { previous: list.last, next: NONE };
    match list.last {
        NONE => list.first = at,
        last => askers[last as usize].links[of as usize].next = at,
    }
    list.last = at;
    list.count += 1;
}

/// Closes the gap that one leaves whose neighbours were `links`.
fn unlink(askers: &mut Slab<Asker>, of: Of, list: &mut List, links: [Links; 2]) {
    let Links { previous, next } = links[of as usize];
    match previous {
        NONE => list.first = next,
        previous => askers[previous as usize].links[of as usize].next = next,
    }
    match next {
        NONE => list.last = previous,
        next => askers[next as usize].links[of as usize].previous = previous,
    }
    list.count -= 1;
}
