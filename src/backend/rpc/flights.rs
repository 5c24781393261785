//! Calls and probes that are under way to backends. PURE. Home: one shard.
//!
//! Invariants: an id on the wire names one flight, and never another one later; a call of the hub is under way once. Memory is taken when
//! more are under way than ever before, and not otherwise.

use slab::Slab;

use super::link::LinkId;
use super::outbox::Span;
use super::service::ServiceId;
use crate::backend::pool::{MemberId, Picked};
use crate::limits;
use crate::model::call::CallKey;

/// The id of a call on the way to its backend and back; below 2^53, so that every JSON reader has it exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WireId(u64);

/// The low bits of a [`WireId`]: a flight's place. The rest is its generation.
pub(super) const WIRE_SLOT_BITS: u32 = 20;
const GENERATION_BITS: u32 = 32;
const _: () = assert!(WIRE_SLOT_BITS + GENERATION_BITS < 53);
// Beside calls there are probes, one or two for each member.
const _: () = assert!(2 * limits::RPC_FLIGHTS_MAX < 1 << WIRE_SLOT_BITS);

impl WireId {
    /// # Panics
    /// The slot has more than [`WIRE_SLOT_BITS`] bits: our own bug.
    pub(super) const fn new(slot: u32, generation: u32) -> WireId {
        assert!(slot >> WIRE_SLOT_BITS == 0, "a slot of the table of calls");
        WireId((generation as u64) << WIRE_SLOT_BITS | slot as u64)
    }

    /// `None` for a number that no flight ever has.
    pub(super) const fn of(number: u64) -> Option<WireId> {
        if number >> (WIRE_SLOT_BITS + GENERATION_BITS) == 0 { Some(WireId(number)) } else { None }
    }

    /// As it is written.
    pub(super) const fn number(self) -> u64 {
        self.0
    }

    #[expect(clippy::cast_possible_truncation, reason = "the low bits are meant")]
    pub(super) const fn slot(self) -> u32 {
        self.0 as u32 & ((1 << WIRE_SLOT_BITS) - 1)
    }

    #[expect(clippy::cast_possible_truncation, reason = "`of` takes no more")]
    pub(super) const fn generation(self) -> u32 {
        (self.0 >> WIRE_SLOT_BITS) as u32
    }
}

/// Who waits for the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Call { key: CallKey, picked: Picked },
    Probe(MemberId),
}

/// A request that was put on a link.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) owner: Owner,
    pub(super) service: ServiceId,
    pub(super) link: LinkId,
    /// Where it lies in what the link sends.
    pub(super) span: Span,
    pub(super) begun_ns: u64,
    pub(super) due_ns: u64,
    pub(super) retries: u32,
    /// An attempt before this one may have been done.
    pub(super) was_sent: bool,
    pub(super) is_idempotent: bool,
    /// As it was written, if it may have to be sent again.
    pub(super) kept: Option<Vec<u8>>,
}

/// No flight.
const NONE: u32 = u32::MAX;

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Flights {
    entries: Slab<(u32, Flight)>,
    generation: u32,
    /// Of the hub's calls, by the slots of their tickets.
    by_ticket: Vec<u32>,
}

impl Flights {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<(u32, Flight)>() + self.by_ticket.capacity() * size_of::<u32>()
    }

    /// The id of the next flight.
    pub(super) fn next_id(&self) -> WireId {
        let slot = u32::try_from(self.entries.vacant_key()).expect("invariant: below RPC_FLIGHTS_MAX");
        WireId::new(slot, self.generation.wrapping_add(1))
    }

    pub(super) fn insert(&mut self, flight: Flight) -> WireId {
        let id = self.next_id();
        self.generation = id.generation();
        if let Owner::Call { key, .. } = flight.owner {
            let ticket = key.ticket.slot as usize;
            if self.by_ticket.len() <= ticket {
                self.by_ticket.resize(ticket + 1, NONE);
            }
            let before = std::mem::replace(&mut self.by_ticket[ticket], id.slot());
            assert_eq!(
                before, NONE,
                "invariant: a ticket is another call's only once the one before is over"
            );
        }
        self.entries.insert((id.generation(), flight));
        id
    }

    pub(super) fn get(&mut self, id: WireId) -> Option<&mut Flight> {
        let (generation, flight) = self.entries.get_mut(id.slot() as usize)?;
        (*generation == id.generation()).then_some(flight)
    }

    pub(super) fn remove(&mut self, id: WireId) -> Flight {
        let (generation, flight) = self.entries.remove(id.slot() as usize);
        assert_eq!(generation, id.generation(), "a flight ends once");
        if let Owner::Call { key, .. } = flight.owner {
            self.by_ticket[key.ticket.slot as usize] = NONE;
        }
        flight
    }

    /// The flight of a call of the hub.
    pub(super) fn of_call(&self, key: CallKey) -> Option<WireId> {
        let slot = *self.by_ticket.get(key.ticket.slot as usize)?;
        let (generation, flight) = self.entries.get(slot as usize)?;
        let is_it = matches!(flight.owner, Owner::Call { key: own, .. } if own == key);
        is_it.then(|| WireId::new(slot, *generation))
    }

    /// All that are on a link.
    pub(super) fn on_link(&self, link: LinkId) -> impl Iterator<Item = WireId> {
        let slots = self.entries.iter().filter(move |(_, (_, flight))| flight.link == link);
        slots.map(|(slot, (generation, _))| {
            WireId::new(u32::try_from(slot).expect("invariant: below RPC_FLIGHTS_MAX"), *generation)
        })
    }

    /// When a flight's time is over, if it is under way.
    pub(super) fn due_ns(&self, id: WireId) -> Option<u64> {
        let (generation, flight) = self.entries.get(id.slot() as usize)?;
        (*generation == id.generation()).then_some(flight.due_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_carries_slot_and_generation_and_is_exact_in_every_reader() {
        let id = WireId::new((1 << WIRE_SLOT_BITS) - 1, u32::MAX);
        assert_eq!((id.slot(), id.generation()), ((1 << WIRE_SLOT_BITS) - 1, u32::MAX));
        assert!(id.number() < 1 << 53);
        assert_eq!(WireId::of(id.number()), Some(id));
        assert_eq!(WireId::of(1 << 52), None);
    }
}
