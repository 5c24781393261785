//! Backends that are spoken to over TCP, in lines of JSON-RPC: all that one shard has to do with them. PURE. Home: one shard.
//!
//! The driver's contract. [`Exchange::handle_call`] takes a call or refuses it; how it ends is told to the `tell` of a later call of the
//! exchange. The ticket of a call is another call's only once that one was told of or cancelled. What happens on the ring comes by [`Exchange::handle_connected`], [`Exchange::handle_bytes`] and the like; what the ring is
//! to do is in [`Exchange::poll_action`]; which kept results a backend says hold no more in [`Exchange::poll_invalidated`]; what is to be sent is that of the links of [`Exchange::poll_dirty`]. Time and chance are
//! arguments.
//!
//! Invariants:
//! - A call that was taken is told of once, unless it is cancelled: whatever a backend says later or twice is dropped.
//! - What waits on a link is bounded, and so is what is kept of a line: where it does not go on, calls are refused.
//! - What one call's answer is made of ends that call alone: a line that is no message is skipped, and a link is closed only if it says
//!   nothing else, or nothing at all.
//! - In a steady state nothing is allocated.

mod answers;
mod flights;
pub mod lines;
mod link;
pub mod outbox;
mod reaching;
mod service;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;

use slab::Slab;

pub use self::link::LinkId;
pub use self::outbox::Batching;
pub use self::service::{ServiceConfig, ServiceCounters, ServiceMember};

use self::flights::{Flight, Flights, Owner, WireId};
use self::link::{Link, Phase};
use self::service::{Service, ServiceId};
use crate::backend::codec;
use crate::backend::pool::{Backoff, Ending, MemberId, MemberStatus, Picked};
use crate::limits;
use crate::model::call::{BackendId, Call, CallFailure, CallKey, CallOutcome, CancelledCall};
use crate::model::ids::ConnId;

/// The moment of what happens, and a number that nobody foresees, each time another.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// On the monotonic clock.
    pub now_ns: u64,
    pub chance: u64,
}

/// What is told of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News<'a> {
    /// How far it is: one valid JSON value.
    Progress(&'a [u8]),
    /// Nothing follows.
    Ended(CallOutcome<'a>),
}

/// Who is told of calls.
pub type Tell<'a> = dyn FnMut(CallKey, News<'_>) + 'a;

/// What the ring is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Connect; what comes of it is told by this tag.
    Connect { address: SocketAddr, tag: u32, timeout_ns: u64 },
    /// Close at once.
    Close(ConnId),
}

/// One backend, for operators.
#[derive(Debug)]
pub struct ServiceStatus<'a> {
    pub name: &'a str,
    pub counters: ServiceCounters,
    pub members: Vec<MemberStatus<'a>>,
    pub retried_total: u64,
    /// Whether a call would find a link now.
    pub is_up: bool,
}

/// See the file's head.
#[derive(Debug, Default)]
pub struct Exchange {
    services: Slab<Service>,
    by_backend: Vec<Option<ServiceId>>,
    links: Slab<Link>,
    flights: Flights,
    /// Links that have something to send.
    dirty: VecDeque<LinkId>,
    actions: VecDeque<Action>,
    /// Buffers of requests that were kept, to be used again.
    spare: Vec<Vec<u8>>,
    /// Flights of a link that is over.
    ending: Vec<WireId>,
    /// A backend may have said that results hold no more, and that was not told yet.
    has_invalidated: bool,
    /// Nothing is due before it.
    due_ns: u64,
    /// Counts attempts to connect.
    attempts: u32,
}

impl Exchange {
    /// Whether a backend is one of this exchange.
    #[must_use]
    pub fn has(&self, backend: BackendId) -> bool {
        self.of_backend(backend).is_some()
    }

    /// Has these backends from now on. One that is not among them leaves: what is under way to it is still answered.
    pub fn set_services(&mut self, services: Vec<(BackendId, ServiceConfig)>, moment: Moment) {
        for (_, service) in &mut self.services {
            if !services.iter().any(|(backend, _)| *backend == service.backend) && !service.is_leaving {
                service.is_leaving = true;
                service.pool.drain();
                self.by_backend[service.backend.index()] = None;
            }
        }
        for (nth, (backend, config)) in (1..).zip(services) {
            let chance = moment.chance.wrapping_mul(nth);
            match self.of_backend(backend) {
                Some(id) => self.services[id.index()].set_config(config, moment.now_ns, chance),
                None => {
                    let service = Service::new(backend, config, moment.now_ns, chance);
                    let place = self.services.insert(service);
                    let id = ServiceId(u16::try_from(place).expect("invariant: at most BACKENDS_MAX, twice"));
                    if self.by_backend.len() <= backend.index() {
                        self.by_backend.resize(backend.index() + 1, None);
                    }
                    self.by_backend[backend.index()] = Some(id);
                }
            }
        }
        self.arrange_links(moment);
    }

    /// Takes a call: how it ends is told later, but for a notification.
    ///
    /// # Errors
    /// It was not taken: nobody is there, or too much is under way.
    pub fn handle_call(&mut self, call: &Call<'_>, moment: Moment) -> Result<(), CallFailure> {
        let id = self.of_backend(call.backend).ok_or(CallFailure::Unavailable)?;
        let taken = self.take_call_of(id, call, moment);
        let counters = &mut self.services[id.index()].counters;
        counters.calls_total += 1;
        counters.failed_total += u64::from(taken.is_err());
        taken
    }

    fn take_call_of(&mut self, id: ServiceId, call: &Call<'_>, moment: Moment) -> Result<(), CallFailure> {
        if self.flights.len() >= limits::RPC_FLIGHTS_MAX {
            return Err(CallFailure::Busy);
        }
        let service = &mut self.services[id.index()];
        let Some(picked) = service.pool.pick(None, moment.now_ns) else {
            let is_full = service.is_full(&self.links);
            return Err(if is_full { CallFailure::Busy } else { CallFailure::Unavailable });
        };
        service.retries.begin();
        let link = service.best_link(picked.member, &self.links);
        match call.key {
            Some(key) => self.put_call(key, call, id, (picked, link), moment),
            None => {
                let batching = service.config.batching;
                service.pool.end(picked, Ending::Unjudged, moment.now_ns, moment.chance);
                let Call { method, params, trace_parent, .. } = *call;
                self.links[link.index()].outbox.put(batching, moment.now_ns, |out| {
                    codec::write_request(out, None, method, params, trace_parent);
                });
            }
        }
        self.put_on(link, moment.now_ns);
        self.wake_idle_link(id, picked.member, link);
        Ok(())
    }

    fn put_call(
        &mut self,
        key: CallKey,
        call: &Call<'_>,
        service_id: ServiceId,
        (picked, link_id): (Picked, LinkId),
        moment: Moment,
    ) {
        let Call { method, params, trace_parent, due_ns, is_idempotent, .. } = *call;
        let service = &self.services[service_id.index()];
        let (batching, is_retried) = (service.config.batching, service.config.retry.attempts_max > 0);
        let id = self.flights.next_id();
        let mut kept = (is_idempotent && is_retried).then(|| self.spare.pop().unwrap_or_default());
        let link = &mut self.links[link_id.index()];
        let span = link.outbox.put(batching, moment.now_ns, |out| match &mut kept {
            Some(kept) => {
                codec::write_request(kept, Some(id.number()), method, params, trace_parent);
                out.extend_from_slice(kept);
            }
            None => codec::write_request(out, Some(id.number()), method, params, trace_parent),
        });
        link.in_flight += 1;
        self.flights.insert(Flight {
            owner: Owner::Call { key, picked },
            service: service_id,
            link: link_id,
            span,
            begun_ns: moment.now_ns,
            due_ns,
            retries: 0,
            was_sent: false,
            is_idempotent,
            kept,
        });
    }

    /// Nobody waits for a call any more; whether it was under way here.
    pub fn handle_cancelled(&mut self, call: CancelledCall, moment: Moment, tell: &mut Tell<'_>) -> bool {
        let Some(id) = self.flights.of_call(call.key) else { return false };
        let now_ns = moment.now_ns;
        let (link_id, is_late, is_silent) = {
            let flight = self.flights.get(id).expect("invariant: it was just found");
            let link = &self.links[flight.link.index()];
            (flight.link, flight.due_ns <= now_ns, link.received_ns < flight.begun_ns)
        };
        let link = &mut self.links[link_id.index()];
        let batching = self.services[link.service.index()].config.batching;
        // Also where the request has not left yet: it does once the link is up.
        link.outbox.put(batching, now_ns, |out| codec::write_cancel(out, id.number()));
        if link.conn().is_some() {
            link.silent_timeouts += u32::from(is_late && is_silent);
        }
        self.services[link.service.index()].counters.failed_total += u64::from(is_late);
        let is_hung = link.silent_timeouts >= limits::RPC_SILENT_TIMEOUTS_MAX;
        self.finish(id, if is_late { Ending::Fault } else { Ending::Unjudged }, moment);
        self.mark_dirty(link_id);
        if is_hung && self.links.contains(link_id.index()) {
            self.lose(link_id, CallFailure::Lost, moment, tell);
        }
        true
    }

    /// A link that has something to send, each once until it is marked again; [`Exchange::unsent`] is what.
    pub fn poll_dirty(&mut self, now_ns: u64) -> Option<LinkId> {
        while let Some(id) = self.dirty.pop_front() {
            let Some(link) = self.links.get_mut(id.index()) else { continue };
            link.is_dirty = false;
            let batching = self.services[link.service.index()].config.batching;
            let has_bytes = link.close_due(batching, now_ns);
            self.services[link.service.index()].counters.batches_total += link.outbox.take_batches();
            if let Some(due_ns) = link.outbox.due_ns() {
                self.due_ns = self.due_ns.min(due_ns);
            }
            if has_bytes && link.conn().is_some() {
                return Some(id);
            }
        }
        None
    }

    /// The connection of a link and what it has to send; none while it is not connected.
    #[must_use]
    pub fn unsent(&self, id: LinkId) -> Option<(ConnId, &[u8])> {
        let link = self.links.get(id.index())?;
        Some((link.conn()?, link.outbox.unsent()))
    }

    /// So many of these bytes are on their way.
    pub fn handle_handed(&mut self, id: LinkId, bytes: usize) {
        self.links[id.index()].outbox.handed(bytes);
        self.note_room(id);
        self.dismiss_if_done(id);
    }

    /// A link can send on.
    pub fn mark_dirty(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(id.index()) else { return };
        if !std::mem::replace(&mut link.is_dirty, true) {
            self.dirty.push_back(id);
        }
    }

    /// What the ring is to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Calls and probes under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.flights.len()
    }

    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let of_link = |link: &Link| link.outbox.memory_bytes() + link.lines.memory_bytes();
        let links: usize = self.links.iter().map(|(_, link)| of_link(link)).sum();
        let spare: usize = self.spare.iter().map(Vec::capacity).sum();
        links + spare + self.flights.memory_bytes()
    }

    /// All backends that are configured, as they are.
    pub fn statuses(&self, now_ns: u64) -> impl Iterator<Item = ServiceStatus<'_>> {
        self.by_backend.iter().flatten().map(move |id| {
            let service = &self.services[id.index()];
            ServiceStatus {
                name: &service.config.name,
                counters: service.counters,
                members: service.pool.members(now_ns).map(|(_, status)| status).collect(),
                retried_total: service.retries.retried_total(),
                is_up: service.pool.is_available(now_ns),
            }
        })
    }

    fn of_backend(&self, backend: BackendId) -> Option<ServiceId> {
        *self.by_backend.get(backend.index())?
    }

    /// Something was put on a link.
    fn put_on(&mut self, id: LinkId, now_ns: u64) {
        let link = &mut self.links[id.index()];
        link.used_ns = now_ns;
        if link.phase == Phase::Idle {
            self.want(id);
        }
        self.mark_dirty(id);
        self.note_room(id);
    }

    /// Where a call joins others on its link, another link is connected for those to come.
    fn wake_idle_link(&mut self, service: ServiceId, member: MemberId, of: LinkId) {
        if self.links[of.index()].in_flight < limits::RPC_CALLS_BEFORE_ANOTHER_LINK {
            return;
        }
        if let Some(idle) = self.services[service.index()].idle_link(member, &self.links) {
            self.want(idle);
        }
    }

    /// Tells the service whether a link takes calls, if that has changed.
    fn note_room(&mut self, id: LinkId) {
        let link = &mut self.links[id.index()];
        let has_room = link.takes_calls();
        if std::mem::replace(&mut link.has_room, has_room) != has_room {
            self.services[link.service.index()].note_room(link.member, has_room);
        }
    }

    /// A flight is over, and its member judged by its ending.
    fn finish(&mut self, id: WireId, ending: Ending, moment: Moment) {
        let Flight { owner, service, link: link_id, kept, .. } = self.flights.remove(id);
        if let Some(mut kept) = kept
            && self.spare.len() < limits::RPC_SPARE_BUFFERS_MAX
        {
            kept.clear();
            self.spare.push(kept);
        }
        let pool = &mut self.services[service.index()].pool;
        match owner {
            Owner::Call { picked, .. } => {
                pool.end(picked, ending, moment.now_ns, moment.chance);
                self.links[link_id.index()].used_ns = moment.now_ns;
            }
            // Its member's place may be another's by now.
            Owner::Probe(member) if self.links[link_id.index()].is_leaving => pool.skip_probe(member),
            Owner::Probe(member) => pool.end_probe(member, ending == Ending::Good),
        }
        self.leave_link(link_id);
    }

    /// One flight fewer is on a link.
    fn leave_link(&mut self, id: LinkId) {
        let link = &mut self.links[id.index()];
        link.in_flight -= 1;
        if link.outbox.due_ns().is_some() {
            // It may have nothing to wait for any more.
            self.mark_dirty(id);
        }
        self.note_room(id);
        self.dismiss_if_done(id);
    }

    /// A link that is to go goes once nothing is under way on it.
    fn dismiss_if_done(&mut self, id: LinkId) {
        let link = &self.links[id.index()];
        if !link.is_leaving || !link.has_gone_quiet() {
            return;
        }
        self.actions.extend(link.conn().map(Action::Close));
        let (service_id, member) = (link.service, link.member);
        self.links.remove(id.index());
        let service = &mut self.services[service_id.index()];
        service.links[member.index()].retain(|own| *own != id);
        self.forget_if_gone(service_id);
    }

    fn forget_if_gone(&mut self, id: ServiceId) {
        let service = &self.services[id.index()];
        if service.is_leaving && service.links.iter().all(Vec::is_empty) && service.pool.under_way() == 0 {
            self.services.remove(id.index());
        }
    }

    fn new_link(&mut self, service_id: ServiceId, member: MemberId, address: &str, attempt: usize) {
        let service = &self.services[service_id.index()];
        let (backoff, line_bytes_max) = (Backoff::new(service.config.backoff), service.config.line_bytes_max);
        let link = Link::new(service_id, member, address.into(), attempt, backoff, line_bytes_max);
        let place = self.links.insert(link);
        let id = LinkId(u16::try_from(place).expect("invariant: at most RPC_LINKS_MAX"));
        let of_members = &mut self.services[service_id.index()].links;
        if of_members.len() <= member.index() {
            of_members.resize_with(member.index() + 1, Vec::new);
        }
        of_members[member.index()].push(id);
        self.due_ns = 0;
        self.note_room(id);
    }
}
