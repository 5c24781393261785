//! How links come to be, and what becomes of their calls when they end: attempts, losses, probes, idle links, other settings. PURE. Home:
//! one shard.
//!
//! Invariant: a link that ends ends each of its flights: it is tried on another link where that does no harm, or failed.

use super::flights::{Flight, Owner, WireId};
use super::link::{LinkId, Phase};
use super::service::ServiceId;
use super::{Action, Exchange, Moment, News, Tell};
use crate::backend::codec;
use crate::backend::pool::{Ending, MemberId, MemberState, is_sent, told_of};
use crate::limits;
use crate::model::call::{CallFailure, CallOutcome};
use crate::model::ids::ConnId;

/// Bits of a tag that are the link's place.
const TAG_LINK_BITS: u32 = 12;
const _: () = assert!(limits::RPC_LINKS_MAX <= 1 << TAG_LINK_BITS);

impl Exchange {
    /// A connection was made: whose it is. `None`: nobody wants it any more.
    pub fn handle_connected(&mut self, conn: ConnId, tag: u32, moment: Moment) -> Option<LinkId> {
        let id = self.of_attempt(tag)?;
        let link = &mut self.links[id.index()];
        (link.phase, link.used_ns, link.received_ns) = (Phase::Up(conn), moment.now_ns, moment.now_ns);
        self.services[link.service.index()].counters.connects_total += 1;
        self.due_ns = 0;
        self.mark_dirty(id);
        self.note_room(id);
        Some(id)
    }

    /// An attempt came to nothing.
    pub fn handle_connect_failed(&mut self, tag: u32, moment: Moment, tell: &mut Tell<'_>) {
        let Some(id) = self.of_attempt(tag) else { return };
        let link = &self.links[id.index()];
        self.services[link.service.index()].counters.connects_failed_total += 1;
        self.lose(id, CallFailure::Unavailable, moment, tell);
    }

    /// An attempt could not be begun now: it is asked for again.
    pub fn handle_connect_postponed(&mut self, tag: u32, moment: Moment) {
        let Some(id) = self.of_attempt(tag) else { return };
        let until_ns = moment.now_ns + limits::RETRY_NS;
        self.links[id.index()].phase = Phase::Wanted { not_before_ns: until_ns };
        self.due_ns = self.due_ns.min(until_ns);
    }

    /// A connection of a link is over.
    pub fn handle_over(&mut self, id: LinkId, conn: ConnId, moment: Moment, tell: &mut Tell<'_>) {
        if self.links.get(id.index()).is_some_and(|link| link.conn() == Some(conn)) {
            self.lose(id, CallFailure::Lost, moment, tell);
        }
    }

    /// Does what is due: attempts, probes, links without work, arrays that have waited long enough.
    pub fn handle_timeout(&mut self, moment: Moment, tell: &mut Tell<'_>) {
        if self.due_ns > moment.now_ns {
            return;
        }
        self.due_ns = u64::MAX;
        for place in 0..self.services.capacity() {
            if self.services.contains(place) {
                let id = ServiceId(u16::try_from(place).expect("invariant: at most BACKENDS_MAX, twice"));
                self.look_at_service(id, moment);
            }
        }
        for place in 0..self.links.capacity() {
            if self.links.contains(place) {
                let id = LinkId(u16::try_from(place).expect("invariant: at most RPC_LINKS_MAX"));
                self.look_at_link(id, moment, tell);
            }
        }
    }

    /// When [`Exchange::handle_timeout`] has something to do, on the monotonic clock, in nanoseconds, or before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        (self.due_ns != u64::MAX && !self.services.is_empty()).then_some(self.due_ns)
    }

    fn look_at_service(&mut self, id: ServiceId, moment: Moment) {
        let now_ns = moment.now_ns;
        let mut late = std::mem::take(&mut self.ending);
        let mut probes = std::mem::take(&mut self.services[id.index()].probes);
        probes.retain(|wire| match self.flights.due_ns(*wire) {
            Some(due_ns) if due_ns <= now_ns => {
                late.push(*wire);
                false
            }
            Some(_) => true,
            None => false,
        });
        self.services[id.index()].probes = probes;
        for wire in late.drain(..) {
            self.finish(wire, Ending::Fault, moment);
        }
        self.ending = late;
        // It may have left with its last probe.
        let Some(service) = self.services.get_mut(id.index()) else { return };
        let is_leaving = service.is_leaving;
        if !is_leaving {
            service.pool.handle_timeout(now_ns);
            while let Some(member) = self.services[id.index()].pool.poll_probe(now_ns) {
                self.probe(id, member, moment);
            }
        }
        let service = &self.services[id.index()];
        let of_probes = service.probes.iter().filter_map(|wire| self.flights.due_ns(*wire)).min();
        let of_pool = service.pool.poll_timeout().filter(|_| !is_leaving);
        let dues = [of_pool, of_probes, service.invalidated.poll_timeout()];
        self.due_ns = dues.into_iter().flatten().fold(self.due_ns, u64::min);
    }

    fn look_at_link(&mut self, id: LinkId, moment: Moment, tell: &mut Tell<'_>) {
        let now_ns = moment.now_ns;
        let link = &mut self.links[id.index()];
        let idle_ns = self.services[link.service.index()].config.idle_ns;
        let mut due_ns = link.outbox.due_ns().unwrap_or(u64::MAX);
        if due_ns <= now_ns {
            self.mark_dirty(id);
        }
        let link = &mut self.links[id.index()];
        match link.phase {
            Phase::Waiting { until_ns } if until_ns > now_ns => due_ns = due_ns.min(until_ns),
            Phase::Wanted { not_before_ns } if not_before_ns > now_ns => due_ns = due_ns.min(not_before_ns),
            Phase::Waiting { .. } | Phase::Wanted { .. } => self.connect(id, moment, tell),
            Phase::Up(conn) if idle_ns > 0 && link.has_gone_quiet() => {
                let idle_at_ns = link.used_ns.saturating_add(idle_ns);
                if idle_at_ns > now_ns {
                    due_ns = due_ns.min(idle_at_ns);
                } else {
                    link.phase = Phase::Idle;
                    link.lines.clear();
                    self.actions.push_back(Action::Close(conn));
                    self.note_room(id);
                }
            }
            // It is looked at again when it may have become quiet.
            Phase::Up(_) if idle_ns > 0 => due_ns = due_ns.min(now_ns.saturating_add(idle_ns)),
            Phase::Up(_) | Phase::Idle | Phase::Connecting => {}
        }
        self.due_ns = self.due_ns.min(due_ns.max(now_ns + 1));
    }

    /// Has an idle link connected.
    pub(super) fn want(&mut self, id: LinkId) {
        self.links[id.index()].phase = Phase::Wanted { not_before_ns: 0 };
        self.due_ns = 0;
    }

    fn connect(&mut self, id: LinkId, moment: Moment, tell: &mut Tell<'_>) {
        let link = &mut self.links[id.index()];
        let service = &self.services[link.service.index()];
        let addresses = service.addresses(&link.address);
        let Some(address) = addresses.get(link.attempt.checked_rem(addresses.len()).unwrap_or(0)) else {
            // Its address was taken from the configuration while it waited.
            return self.lose(id, CallFailure::Unavailable, moment, tell);
        };
        self.attempts = self.attempts.wrapping_add(1);
        let tag = self.attempts << TAG_LINK_BITS | u32::from(id.0);
        (link.phase, link.tag, link.attempt) = (Phase::Connecting, tag, link.attempt.wrapping_add(1));
        let timeout_ns = service.config.connect_timeout_ns;
        self.actions.push_back(Action::Connect { address: *address, tag, timeout_ns });
    }

    fn of_attempt(&self, tag: u32) -> Option<LinkId> {
        let place = tag & ((1 << TAG_LINK_BITS) - 1);
        let id = LinkId(u16::try_from(place).expect("invariant: twelve bits"));
        let link = self.links.get(id.index())?;
        (link.phase == Phase::Connecting && link.tag == tag).then_some(id)
    }

    fn probe(&mut self, service_id: ServiceId, member: MemberId, moment: Moment) {
        let service = &mut self.services[service_id.index()];
        let (Some(health), links) = (service.health(), &self.links) else { return };
        let up = service.links.get(member.index()).into_iter().flatten().copied();
        let can = |id: &LinkId| links[id.index()].conn().is_some() && !links[id.index()].is_leaving;
        let Some(link_id) = up.filter(can).min_by_key(|id| links[id.index()].in_flight) else {
            // Whether it can be reached is seen without a probe.
            service.pool.skip_probe(member);
            return;
        };
        let (batching, wire) = (service.config.batching, self.flights.next_id());
        let link = &mut self.links[link_id.index()];
        let span = link.outbox.put(batching, moment.now_ns, |out| {
            codec::write_request(out, Some(wire.number()), &service.config.health_method, None, None);
        });
        link.in_flight += 1;
        service.probes.push(wire);
        self.flights.insert(Flight {
            owner: Owner::Probe(member),
            service: service_id,
            link: link_id,
            span,
            begun_ns: moment.now_ns,
            due_ns: moment.now_ns.saturating_add(health.timeout_ns),
            retries: 0,
            was_sent: false,
            is_idempotent: false,
            kept: None,
        });
        self.mark_dirty(link_id);
        self.note_room(link_id);
    }

    /// A link is over: its flights are tried elsewhere or fail, those that were not sent as unavailable.
    pub(super) fn lose(&mut self, id: LinkId, failure: CallFailure, moment: Moment, tell: &mut Tell<'_>) {
        let link = &mut self.links[id.index()];
        if let Some(conn) = link.conn() {
            self.actions.push_back(Action::Close(conn));
            self.services[link.service.index()].counters.links_lost_total += 1;
        }
        let until_ns = moment.now_ns.saturating_add(link.backoff.fail(moment.chance));
        link.phase = Phase::Waiting { until_ns };
        self.due_ns = self.due_ns.min(until_ns);
        (link.silent_timeouts, link.garbage_lines, link.is_broken) = (0, 0, false);
        link.lines.clear();
        let outbox = std::mem::take(&mut link.outbox);
        self.note_room(id);
        let mut ending = std::mem::take(&mut self.ending);
        ending.extend(self.flights.on_link(id));
        // One loss is one fault, however many calls it costs.
        let mut verdict = Ending::Fault;
        for wire in ending.drain(..) {
            let span = self.flights.get(wire).expect("invariant: it was just found").span;
            let failure = if outbox.is_handed(span) { failure } else { CallFailure::Unavailable };
            self.fail(wire, failure, verdict, outbox.unsent_at(span), moment, tell);
            verdict = Ending::Unjudged;
        }
        self.ending = ending;
        if self.links.contains(id.index()) {
            self.dismiss_if_done(id);
        }
    }

    /// A flight has failed; `unsent` is its request if nothing of it was sent.
    pub(super) fn fail(
        &mut self,
        wire: WireId,
        failure: CallFailure,
        verdict: Ending,
        unsent: Option<&[u8]>,
        moment: Moment,
        tell: &mut Tell<'_>,
    ) {
        let Some(flight) = self.flights.get(wire) else { return };
        match flight.owner {
            Owner::Probe(_) => self.finish(wire, Ending::Fault, moment),
            Owner::Call { key, .. } => {
                let (service, was_sent) = (flight.service, flight.was_sent);
                if !self.try_again(wire, failure, verdict, unsent, moment) {
                    self.services[service.index()].counters.failed_total += 1;
                    self.finish(wire, verdict, moment);
                    tell(key, News::Ended(CallOutcome::Failed(told_of(failure, was_sent))));
                }
            }
        }
    }

    /// Puts a call that failed on another link, if it may be tried again and there is one.
    fn try_again(
        &mut self,
        wire: WireId,
        failure: CallFailure,
        verdict: Ending,
        unsent: Option<&[u8]>,
        moment: Moment,
    ) -> bool {
        let now_ns = moment.now_ns;
        let Some(flight) = self.flights.get(wire) else { return false };
        let Owner::Call { key, picked } = flight.owner else { return false };
        let service = &mut self.services[flight.service.index()];
        let may_be = flight.due_ns > now_ns && (flight.kept.is_some() || unsent.is_some());
        if !may_be || !service.pool.is_available(now_ns) {
            return false;
        }
        if !service.retries.take(failure, flight.is_idempotent, flight.retries) {
            return false;
        }
        let Some(again) = service.pool.pick(Some(picked.member), now_ns) else { return false };
        service.pool.end(picked, verdict, now_ns, moment.chance);
        let (old_id, new_id) = (flight.link, service.best_link(again.member, &self.links));
        let link = &mut self.links[new_id.index()];
        let bytes = flight.kept.as_deref().or(unsent).unwrap_or_default();
        flight.span = link.outbox.put(service.config.batching, now_ns, |out| out.extend_from_slice(bytes));
        link.in_flight += 1;
        (flight.owner, flight.link) = (Owner::Call { key, picked: again }, new_id);
        (flight.begun_ns, flight.retries) = (now_ns, flight.retries + 1);
        flight.was_sent |= is_sent(failure);
        self.leave_link(old_id);
        self.put_on(new_id, now_ns);
        true
    }

    /// Has each member of each service as many links as are configured, and others leave.
    pub(super) fn arrange_links(&mut self, moment: Moment) {
        for place in 0..self.services.capacity() {
            if self.services.contains(place) {
                let id = ServiceId(u16::try_from(place).expect("invariant: at most BACKENDS_MAX, twice"));
                self.arrange_links_of(id, moment);
            }
        }
        self.due_ns = 0;
    }

    fn arrange_links_of(&mut self, id: ServiceId, moment: Moment) {
        let service = &self.services[id.index()];
        let is_staying = |state| state != MemberState::Draining;
        let members: Vec<(MemberId, Box<str>)> = service
            .pool
            .members(moment.now_ns)
            .filter(|(_, status)| is_staying(status.state))
            .map(|(member, status)| (member, status.address.into()))
            .collect();
        let (wanted, backoff) = (usize::from(service.config.links), service.config.backoff);
        let line_bytes_max = service.config.line_bytes_max;
        let all: Vec<LinkId> = service.links.iter().flatten().copied().collect();
        for link_id in all {
            let kept = |links: &slab::Slab<super::Link>, member: MemberId| {
                let own = self.services[id.index()].links[member.index()].iter();
                own.filter(|other| **other != link_id && !links[other.index()].is_leaving).count()
            };
            let link = &self.links[link_id.index()];
            let is_of_member =
                members.iter().any(|(member, address)| *member == link.member && *address == link.address);
            let is_leaving = !is_of_member || (!link.is_leaving && kept(&self.links, link.member) >= wanted);
            let link = &mut self.links[link_id.index()];
            link.is_leaving |= is_leaving;
            link.backoff.set_config(backoff);
            link.lines.set_line_bytes_max(line_bytes_max);
            self.note_room(link_id);
            self.dismiss_if_done(link_id);
            if !self.services.contains(id.index()) {
                return;
            }
        }
        for (member, address) in members {
            let own = self.services[id.index()].links.get(member.index()).map_or(&[][..], Vec::as_slice);
            let staying = own.iter().filter(|own| !self.links[own.index()].is_leaving).count();
            for nth in staying..wanted {
                if self.links.len() < limits::RPC_LINKS_MAX as usize {
                    self.new_link(id, member, &address, nth);
                }
            }
        }
        self.forget_if_gone(id);
    }
}
