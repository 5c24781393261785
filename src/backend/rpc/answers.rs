//! What a backend says: the bytes of a link to the outcomes of calls. PURE. Home: one shard.
//!
//! Invariant: what is wrong with one answer ends the call that it was for, where that can be known, and no other; where it can't, that call
//! ends at its deadline.

use super::flights::{Owner, WireId};
use super::lines::Piece;
use super::link::LinkId;
use super::{Exchange, Moment, News, Tell};
use crate::backend::codec::{self, Message};
use crate::backend::pool::Ending;
use crate::limits;
use crate::model::call::{BackendId, CallFailure, CallOutcome};
use crate::model::ids::ConnId;
use crate::model::invalidation::Methods;

impl Exchange {
    /// Takes bytes that came on a connection of a link.
    pub fn handle_bytes(
        &mut self,
        id: LinkId,
        conn: ConnId,
        bytes: &[u8],
        moment: Moment,
        tell: &mut Tell<'_>,
    ) {
        let Some(link) = self.links.get_mut(id.index()).filter(|link| link.conn() == Some(conn)) else {
            return;
        };
        (link.received_ns, link.silent_timeouts) = (moment.now_ns, 0);
        link.backoff.succeed();
        let mut lines = std::mem::take(&mut link.lines);
        lines.take(bytes, &mut |piece| self.handle_piece(id, piece, moment, tell));
        let Some(link) = self.links.get_mut(id.index()) else { return };
        let is_broken = link.is_broken || lines.skipped_bytes() > limits::RPC_SKIPPED_BYTES_MAX;
        link.lines = lines;
        if is_broken {
            self.lose(id, CallFailure::Garbled, moment, tell);
        }
    }

    fn handle_piece(&mut self, id: LinkId, piece: Piece<'_>, moment: Moment, tell: &mut Tell<'_>) {
        // It may have left with its last call; of one that is broken nothing more is taken.
        if self.links.get(id.index()).is_none_or(|link| link.is_broken) {
            return;
        }
        match piece {
            Piece::Line(b"") => {}
            Piece::Line(line) => {
                let take = &mut |message: Message<'_>| self.handle_message(id, message, moment, tell);
                let read = codec::read_each(line, take);
                let is_garbage = read.is_err();
                if let Some(link) = self.links.get_mut(id.index()) {
                    link.garbage_lines = if is_garbage { link.garbage_lines + 1 } else { 0 };
                    link.is_broken |= link.garbage_lines >= limits::RPC_GARBAGE_LINES_MAX;
                }
                if is_garbage {
                    self.count_garbage(id);
                    let named = codec::id_of_beginning(line).or_else(|| codec::id_of_end(line));
                    let of = self.call_of(id, named).or_else(|| self.only_call_of(id));
                    self.fail_one(of, CallFailure::Garbled, moment, tell);
                }
            }
            Piece::TooLong(head) => {
                let of = self.call_of(id, codec::id_of_beginning(head));
                self.fail_one(of, CallFailure::TooLong, moment, tell);
            }
            Piece::SkippedTo(tail) => {
                let of = self.call_of(id, codec::id_of_end(tail));
                self.fail_one(of, CallFailure::TooLong, moment, tell);
            }
        }
    }

    fn handle_message(&mut self, id: LinkId, message: Message<'_>, moment: Moment, tell: &mut Tell<'_>) {
        match message {
            Message::Answer { id: number, outcome } => match self.flight_of(id, number) {
                Some(flight) => self.answer(id, flight, outcome, moment, tell),
                None => self.count_stray(id),
            },
            Message::Garbled { id: number } => match self.flight_of(id, number) {
                Some((wire, _)) => {
                    self.count_garbage(id);
                    self.fail_one(Some(wire), CallFailure::Garbled, moment, tell);
                }
                None => self.count_stray(id),
            },
            Message::Told => {}
            Message::Invalidated { methods } => self.note_invalidated(id, methods),
            Message::Progress { id: number, value } => {
                if let Some((_, Owner::Call { key, .. })) = self.flight_of(id, number) {
                    tell(key, News::Progress(value));
                }
            }
            Message::Asked { id: theirs } => self.refuse(id, theirs, moment),
            Message::Stray => self.count_stray(id),
        }
    }

    fn answer(
        &mut self,
        id: LinkId,
        (wire, owner): (WireId, Owner),
        outcome: CallOutcome<'_>,
        moment: Moment,
        tell: &mut Tell<'_>,
    ) {
        if let Owner::Call { .. } = owner
            && let Some(link) = self.links.get(id.index())
        {
            self.services[link.service.index()].counters.answered_total += 1;
        }
        self.finish(wire, Ending::Good, moment);
        match owner {
            Owner::Call { key, .. } => tell(key, News::Ended(outcome)),
            Owner::Probe(_) => {}
        }
    }

    /// Results of a backend's methods hold no more.
    fn note_invalidated(&mut self, id: LinkId, methods: Option<&str>) {
        let Some(link) = self.links.get(id.index()) else { return };
        let service = &mut self.services[link.service.index()];
        match codec::read_methods(methods) {
            Some(methods) => {
                service.invalidated.add(methods);
                self.has_invalidated = true;
            }
            None => service.counters.garbage_total += 1,
        }
    }

    /// Methods of a backend whose results hold no more, some times a second for each at most.
    pub fn poll_invalidated(&mut self, now_ns: u64) -> Option<(BackendId, Methods)> {
        if !self.has_invalidated {
            return None;
        }
        for (_, service) in &mut self.services {
            if let Some(methods) = service.invalidated.poll(now_ns) {
                service.counters.invalidations_total += 1;
                return Some((service.backend, methods));
            }
        }
        let due = self.services.iter().filter_map(|(_, service)| service.invalidated.poll_timeout()).min();
        self.has_invalidated = due.is_some();
        self.due_ns = self.due_ns.min(due.unwrap_or(u64::MAX));
        None
    }

    /// A backend asks for something: the gateway has no methods for it. Who does not read the answers gets none.
    fn refuse(&mut self, id: LinkId, theirs: &str, moment: Moment) {
        let Some(link) = self.links.get_mut(id.index()) else { return };
        if link.outbox.waiting_bytes() >= limits::RPC_UNSENT_BYTES_MAX {
            return;
        }
        let batching = self.services[link.service.index()].config.batching;
        link.outbox.put(batching, moment.now_ns, |out| codec::write_not_found(out, theirs));
        self.mark_dirty(id);
    }

    fn count_garbage(&mut self, id: LinkId) {
        if let Some(link) = self.links.get(id.index()) {
            self.services[link.service.index()].counters.garbage_total += 1;
        }
    }

    fn count_stray(&mut self, id: LinkId) {
        if let Some(link) = self.links.get(id.index()) {
            self.services[link.service.index()].counters.stray_total += 1;
        }
    }

    fn fail_one(&mut self, of: Option<WireId>, failure: CallFailure, moment: Moment, tell: &mut Tell<'_>) {
        if let Some(wire) = of {
            self.fail(wire, failure, Ending::Fault, None, moment, tell);
        }
    }

    /// What is under way on a link under this number.
    fn flight_of(&mut self, id: LinkId, number: u64) -> Option<(WireId, Owner)> {
        let wire = WireId::of(number)?;
        let flight = self.flights.get(wire).filter(|flight| flight.link == id)?;
        Some((wire, flight.owner))
    }

    fn call_of(&mut self, id: LinkId, number: Option<u64>) -> Option<WireId> {
        self.flight_of(id, number?).map(|(wire, _)| wire)
    }

    /// The call that alone is under way on a link: whatever comes is for it.
    fn only_call_of(&self, id: LinkId) -> Option<WireId> {
        let link = self.links.get(id.index())?;
        if link.in_flight == 1 { self.flights.on_link(id).next() } else { None }
    }
}
