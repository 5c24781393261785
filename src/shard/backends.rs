//! Links to `tcp` backends on the shard's own ring: between that, the exchange that has their state, and the hub that asks. Home: the
//! shard.
//!
//! Invariants: a connection is a link's from its `Connected` to its `Closed`, and no client's; a link has one send under way, which
//! carries all that a turn has to say on it; what links bring is weighed like what clients bring.

use std::sync::Arc;

use arc_swap::ArcSwap;
use nix::errno::Errno;

use crate::backend::pool::MemberStatus;
use crate::backend::rpc::{Action, Exchange, LinkId, Moment, News, ServiceConfig, ServiceStatus};
use crate::hub::Hub;
use crate::limits;
use crate::model::call::{BackendId, Call, CallFailure, CallKey, CancelledCall};
use crate::model::ids::ConnId;
use crate::model::invalidation::Methods;
use crate::model::time::Now;
use crate::ring::{Event, How, Ring, Transmit};
use crate::telemetry::{BackendCounters, BackendMember, BackendStatus};

use super::Shard;

/// Backends that are reached by links of the shards, as the configuration has them.
pub type Services = Arc<[(BackendId, ServiceConfig)]>;

/// Where a shard tells how they are; the newest is read by whoever asks.
pub type BackendBoard = Arc<ArcSwap<Vec<BackendStatus>>>;

/// See the file's head.
#[derive(Debug)]
pub(super) struct Backends {
    exchange: Exchange,
    services: Services,
    /// Connections that were asked for, by their slots: their generations, and which links they are, if anybody still wanted them.
    conns: Vec<Option<(u32, Option<LinkId>)>>,
    /// Nobody wants them.
    unwanted: Vec<ConnId>,
    /// Makes chance: spreads what many shards would do at one moment.
    seed: u64,
    board: BackendBoard,
    /// Something has happened since it was told.
    is_untold: bool,
    /// It is told no earlier.
    tell_due_ns: u64,
}

impl Backends {
    /// None yet; `seed` is any number, for each shard another.
    pub(super) fn new(seed: u64, board: BackendBoard) -> Backends {
        Backends {
            exchange: Exchange::default(),
            services: Arc::from([]),
            conns: Vec::new(),
            unwanted: Vec::new(),
            seed,
            board,
            is_untold: false,
            tell_due_ns: 0,
        }
    }

    /// Has these from now on.
    pub(super) fn set(&mut self, services: Services, now: Now) {
        if *self.services != *services {
            let moment = self.moment(now);
            self.exchange.set_services(services.to_vec(), moment);
            self.services = services;
            (self.is_untold, self.tell_due_ns) = (true, 0);
        }
    }

    /// Whether calls for a backend go by these links.
    pub(super) fn has_backend(&self, backend: BackendId) -> bool {
        self.exchange.has(backend)
    }

    /// Puts a call on a link.
    ///
    /// # Errors
    /// It is not sent.
    pub(super) fn handle_call(&mut self, call: &Call<'_>, now: Now) -> Result<(), CallFailure> {
        let moment = self.moment(now);
        self.is_untold = true;
        self.exchange.handle_call(call, moment)
    }

    /// Nobody waits for a call any more; whether it was on a link.
    pub(super) fn handle_cancelled(&mut self, call: CancelledCall, hub: &mut Hub, now: Now) -> bool {
        let moment = self.moment(now);
        self.exchange.handle_cancelled(call, moment, &mut |key, news| hear(hub, key, news, now))
    }

    /// Takes an event if it is of a link, or of an attempt to make one; how many bytes came by it.
    ///
    /// # Errors
    /// It is a client's, and handed back.
    pub(super) fn take<'e>(&mut self, event: Event<'e>, hub: &mut Hub, now: Now) -> Result<u64, Event<'e>> {
        let conn = match &event {
            Event::Received { conn, .. }
            | Event::ReceiveFailed { conn, .. }
            | Event::SendFailed { conn, .. }
            | Event::Eof(conn)
            | Event::Sent(conn)
            | Event::Closed(conn) => *conn,
            Event::Connected { conn, tag } => {
                self.connected(*conn, *tag, now);
                return Ok(0);
            }
            Event::ConnectFailed { tag, errno } => {
                log::debug!("no connection to a backend: {}", errno.desc());
                let moment = self.moment(now);
                self.is_untold = true;
                let tell = &mut |key, news: News<'_>| hear(hub, key, news, now);
                self.exchange.handle_connect_failed(*tag, moment, tell);
                return Ok(0);
            }
            Event::Accepted { .. }
            | Event::AcceptFailed { .. }
            | Event::Adopted { .. }
            | Event::AdoptFailed { .. }
            | Event::Doorbell => return Err(event),
        };
        let slot = conn.slot as usize;
        let Some(link) = self.conns.get(slot).and_then(|own| own.filter(|own| own.0 == conn.generation))
        else {
            return Err(event);
        };
        if let Event::Closed(_) = event {
            self.conns[slot] = None;
        }
        let Some(link) = link.1 else { return Ok(0) };
        self.is_untold = true;
        let moment = self.moment(now);
        let tell = &mut |key, news: News<'_>| hear(hub, key, news, now);
        match event {
            Event::Received { bytes, .. } => {
                self.exchange.handle_bytes(link, conn, bytes, moment, tell);
                return Ok(bytes.len() as u64);
            }
            Event::Sent(_) => self.exchange.mark_dirty(link),
            Event::Eof(_) | Event::ReceiveFailed { .. } | Event::SendFailed { .. } | Event::Closed(_) => {
                self.exchange.handle_over(link, conn, moment, tell);
            }
            Event::Accepted { .. }
            | Event::AcceptFailed { .. }
            | Event::Adopted { .. }
            | Event::AdoptFailed { .. }
            | Event::Connected { .. }
            | Event::ConnectFailed { .. }
            | Event::Doorbell => unreachable!("invariant: these are of no connection that is made"),
        }
        Ok(0)
    }

    /// Does what is due, and what the exchange asks of the ring.
    pub(super) fn drive(&mut self, hub: &mut Hub, ring: &mut Ring, now: Now) {
        let moment = self.moment(now);
        let tell = &mut |key, news: News<'_>| hear(hub, key, news, now);
        self.exchange.handle_timeout(moment, tell);
        for conn in self.unwanted.drain(..) {
            ring.close(conn, How::Abort);
        }
        while let Some(action) = self.exchange.poll_action() {
            match action {
                Action::Close(conn) => ring.close(conn, How::Abort),
                Action::Connect { address, tag, timeout_ns } => {
                    match ring.connect(address, tag, timeout_ns) {
                        Ok(()) => {}
                        // Others are being made, or clients have taken all room.
                        Err(Errno::EBUSY | Errno::ENFILE) => {
                            self.exchange.handle_connect_postponed(tag, moment);
                        }
                        Err(errno) => {
                            log::debug!("no socket for a backend: {}", errno.desc());
                            self.exchange.handle_connect_failed(tag, moment, tell);
                        }
                    }
                }
            }
        }
    }

    /// Hands the ring what links have to say: what that came to, as long as there were buffers.
    pub(super) fn flush(&mut self, ring: &mut Ring, now: Now) -> Flushed {
        let mut any = false;
        while let Some(id) = self.exchange.poll_dirty(now.mono_ns) {
            let Some((conn, bytes)) = self.exchange.unsent(id) else { continue };
            let copy = |out: &mut [u8]| {
                let length = bytes.len().min(out.len());
                out[..length].copy_from_slice(&bytes[..length]);
                length
            };
            match ring.transmit(conn, bytes.len(), copy) {
                Transmit::Started(length) => {
                    any = true;
                    self.exchange.handle_handed(id, length);
                }
                // It is looked at again when its last send is complete, or when it is gone.
                Transmit::Busy | Transmit::Gone | Transmit::Nothing => {}
                Transmit::Unbuffered => {
                    self.exchange.mark_dirty(id);
                    return Flushed { any, is_unbuffered: true };
                }
            }
        }
        Flushed { any, is_unbuffered: false }
    }

    /// Methods of a backend whose kept results hold no more, as it says.
    pub(super) fn poll_invalidated(&mut self, now: Now) -> Option<(BackendId, Methods)> {
        self.exchange.poll_invalidated(now.mono_ns)
    }

    /// Tells how they are, if something has happened, at most once a second.
    fn tell(&mut self, now: Now) {
        if !self.is_untold || now.mono_ns < self.tell_due_ns {
            return;
        }
        (self.is_untold, self.tell_due_ns) = (false, now.mono_ns + limits::BACKEND_TICK_NS);
        self.board.store(Arc::new(self.exchange.statuses(now.mono_ns).map(status).collect()));
    }

    /// When [`Backends::drive`] has something to do, on the monotonic clock, in nanoseconds.
    pub(super) fn poll_timeout(&self) -> Option<u64> {
        let telling = self.is_untold.then_some(self.tell_due_ns);
        [self.exchange.poll_timeout(), telling].into_iter().flatten().min()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.exchange.memory_bytes()
    }

    fn connected(&mut self, conn: ConnId, tag: u32, now: Now) {
        self.is_untold = true;
        let moment = self.moment(now);
        let link = self.exchange.handle_connected(conn, tag, moment);
        if link.is_none() {
            self.unwanted.push(conn);
        }
        let slot = conn.slot as usize;
        if self.conns.len() <= slot {
            self.conns.resize(slot + 1, None);
        }
        self.conns[slot] = Some((conn.generation, link));
    }

    fn moment(&mut self, now: Now) -> Moment {
        // SplitMix64.
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.seed ^ self.seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        Moment { now_ns: now.mono_ns, chance: mixed ^ mixed >> 27 }
    }
}

/// As operators are told.
fn status(service: ServiceStatus<'_>) -> BackendStatus {
    let ServiceStatus { name, counters, members, retried_total, is_up, .. } = service;
    let member = |member: MemberStatus<'_>| BackendMember {
        name: member.address.into(),
        state: member.state.as_str(),
        under_way: member.under_way,
        pid: None,
        last_reason: None,
    };
    BackendStatus {
        name: name.into(),
        kind: "tcp",
        is_up,
        members: members.into_iter().map(member).collect(),
        counters: BackendCounters {
            calls_total: counters.calls_total,
            answered_total: counters.answered_total,
            failed_total: counters.failed_total,
            retries_total: retried_total,
            batches_total: counters.batches_total,
            starts_total: counters.connects_total + counters.connects_failed_total,
            ends_total: 0,
            garbage_total: counters.garbage_total,
            late_total: counters.stray_total,
            invalidations_total: counters.invalidations_total,
        },
    }
}

/// Tells the hub of a call.
fn hear(hub: &mut Hub, key: CallKey, news: News<'_>, now: Now) {
    match news {
        News::Progress(value) => hub.handle_progress(key, value, now),
        News::Ended(outcome) => hub.handle_outcome(key, outcome, now),
    }
}

/// What flushing came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flushed {
    /// Something was sent.
    pub(super) any: bool,
    /// There was no buffer for the rest.
    pub(super) is_unbuffered: bool,
}

impl Shard {
    /// What links have to say, and what is due of them; whether something was sent.
    pub(super) fn turn_backends(&mut self) -> bool {
        self.backends.drive(&mut self.hub, &mut self.ring, self.now);
        self.hand_on_invalidated();
        self.backends.tell(self.now);
        self.act();
        if self.unbuffered {
            return false;
        }
        let Flushed { any, is_unbuffered } = self.backends.flush(&mut self.ring, self.now);
        self.unbuffered = is_unbuffered;
        any
    }
}
