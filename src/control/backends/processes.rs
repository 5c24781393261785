//! The child processes of one backend: which of them gets a call, when they are started, restarted and given up. Home: the task of
//! backends.
//!
//! Invariants: a place has one child at a time; a call that a child was handed is one flight until it is answered or cancelled; nothing
//! is left of a backend once `is_gone`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::backend::pool::{
    BackoffConfig, BreakerConfig, Ending, MemberConfig, MemberId, Pick, Picked, Pool, PoolConfig,
};
use crate::backend::settings::{ProcessSettings, Start};
use crate::backend::stdio::link::{Event, Link, Why, Word};
use crate::backend::stdio::supervision::{Next, Place, State};
use crate::calls::{OwnedCall, OwnedOutcome};
use crate::limits;
use crate::model::call::{CallFailure, CallKey};
use crate::model::time::Now;
use crate::telemetry::{BackendCounters, BackendMember};

use super::{Happened, Scene};

/// A child by its place and a number that is not given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChildId {
    place: usize,
    number: u64,
}

/// See the file's head.
pub(super) struct Processes {
    name: Box<str>,
    settings: ProcessSettings,
    answer_bytes_max: usize,
    pool: Pool,
    seats: Vec<Seat>,
    flights: BTreeMap<CallKey, Flight>,
    /// Children that have not ended, those that were told to among them.
    alive: usize,
    next_number: u64,
    is_draining: bool,
    counters: BackendCounters,
}

struct Seat {
    place: Place,
    child: Option<Running>,
    /// Calls that it was handed.
    under_way: u32,
    /// Calls in a row that ran out of time.
    timed_out: u32,
    used_ns: u64,
    last_reason: Option<Box<str>>,
}

struct Running {
    number: u64,
    link: Link,
    /// What it has said of calls that go on, and was not heard yet.
    unheard: Arc<AtomicUsize>,
}

struct Flight {
    picked: Picked,
    due_ns: u64,
}

/// Who is asked is who has the least to do; what hangs is ended, not left out.
const POOL: PoolConfig = PoolConfig {
    pick: Pick::LeastConnections,
    breaker: BreakerConfig { faults: 0, open: BackoffConfig { first_ns: 1, longest_ns: 1 }, probes: 1 },
    ejection: None,
    health: None,
};

impl Processes {
    pub(super) fn new(name: &str, settings: ProcessSettings, answer_bytes_max: usize, now: Now) -> Processes {
        let seats = || 1..=settings.pool;
        let members = seats().map(|seat| MemberConfig { address: seat.to_string().into(), weight: 1 });
        let pool = Pool::new(POOL, members.collect(), now.mono_ns, 0);
        let seat = |_| Seat {
            place: Place::new(settings.backoff, settings.failures_max),
            child: None,
            under_way: 0,
            timed_out: 0,
            used_ns: now.mono_ns,
            last_reason: None,
        };
        Processes {
            name: name.into(),
            seats: seats().map(seat).collect(),
            settings,
            answer_bytes_max,
            pool,
            flights: BTreeMap::new(),
            alive: 0,
            next_number: 0,
            is_draining: false,
            counters: BackendCounters::default(),
        }
    }

    pub(super) fn begin(&mut self, scene: &mut Scene) {
        match self.settings.start {
            // Not all at once: each start takes this thread some time.
            Start::Boot => {
                for (nth, seat) in (0..).zip(&mut self.seats) {
                    seat.place.handle_boot(scene.now_ns() + nth * limits::CHILD_STARTS_APART_NS);
                }
            }
            Start::Demand => {}
        }
    }

    /// Hands a call to a child.
    ///
    /// # Errors
    /// It was not sent, and why.
    pub(super) fn call(&mut self, call: OwnedCall, scene: &mut Scene) -> Result<(), CallFailure> {
        self.counters.calls_total += 1;
        let is_free = |seat: &Seat| seat.child.is_some() && seat.under_way == 0;
        if !self.seats.iter().any(is_free) {
            let idle = self.seats.iter().position(|seat| seat.place.state() == State::Idle);
            if let Some(seat) = idle.filter(|_| !self.is_draining) {
                self.start(seat, scene);
            }
        }
        let Some(picked) = self.pool.pick(None, scene.now_ns()) else {
            self.counters.failed_total += 1;
            return Err(CallFailure::Unavailable);
        };
        let seat = &mut self.seats[picked.member.index()];
        let Running { link, .. } = seat.child.as_ref().expect("invariant: who is ready has a child");
        seat.used_ns = scene.now_ns();
        let (key, due_ns) = (call.key, call.due_ns);
        let refused = if !link.has_room() {
            Some(CallFailure::Busy)
        } else if !link.say(Word::Call(call)) {
            // It has ended, and that is not heard of yet: nobody would answer.
            Some(CallFailure::Unavailable)
        } else {
            None
        };
        match (key, refused) {
            (Some(key), None) => {
                seat.under_way += 1;
                self.flights.insert(key, Flight { picked, due_ns });
            }
            (_, Some(_)) | (None, None) => {
                self.pool.end(picked, Ending::Unjudged, scene.now_ns(), scene.chance());
            }
        }
        self.counters.failed_total += u64::from(refused.is_some());
        refused.map_or(Ok(()), Err)
    }

    /// Nobody waits for a call any more. One that hangs is ended after so many of those whose time was over.
    pub(super) fn cancel(&mut self, key: CallKey, scene: &mut Scene) {
        let Some(Flight { picked, due_ns }) = self.flights.remove(&key) else { return };
        let is_over = due_ns <= scene.now_ns();
        self.pool.end(picked, Ending::Unjudged, scene.now_ns(), scene.chance());
        self.counters.failed_total += u64::from(is_over);
        let called = self.called(picked.member);
        let seat = &mut self.seats[picked.member.index()];
        seat.under_way -= 1;
        let Some(Running { link, .. }) = &seat.child else { return };
        link.say(Word::Cancel(key));
        seat.timed_out += u32::from(is_over);
        if seat.timed_out >= limits::CHILD_CALLS_TIMED_OUT_MAX {
            log::warn!("{called}: {} calls in a row ran out of time: it is killed", seat.timed_out);
            seat.timed_out = 0;
            link.say(Word::Kill);
        }
    }

    pub(super) fn handle_event(&mut self, child: ChildId, event: Event, scene: &mut Scene) {
        match event {
            Event::Answered { key, outcome } => self.answered(child, key, outcome, scene),
            Event::Progressed { key, value } => {
                let running = self.seats[child.place].child.as_ref();
                if let Some(running) = running.filter(|running| running.number == child.number) {
                    running.unheard.fetch_sub(1, Ordering::Relaxed);
                }
                if self.flights.contains_key(&key) {
                    scene.progress.push((key, value));
                }
            }
            Event::Invalidated(methods) => {
                self.counters.invalidations_total += 1;
                scene.invalidated.push(methods);
            }
            Event::Ended { why, counters } => {
                self.alive -= 1;
                self.counters.garbage_total += counters.garbage_total;
                self.counters.late_total += counters.late_total;
                let seat = &self.seats[child.place];
                if seat.child.as_ref().is_some_and(|running| running.number == child.number) {
                    self.ended(child.place, &why, scene);
                }
            }
        }
    }

    fn answered(&mut self, child: ChildId, key: CallKey, outcome: OwnedOutcome, scene: &mut Scene) {
        let Some(Flight { picked, .. }) = self.flights.remove(&key) else { return };
        self.pool.end(picked, Ending::of(outcome.get()), scene.now_ns(), scene.chance());
        let seat = &mut self.seats[child.place];
        seat.under_way -= 1;
        match outcome {
            OwnedOutcome::Result(_) | OwnedOutcome::Error(_) => {
                self.counters.answered_total += 1;
                seat.timed_out = 0;
                seat.place.handle_answer();
            }
            OwnedOutcome::Failed(_) => self.counters.failed_total += 1,
        }
        seat.used_ns = scene.now_ns();
        scene.outcomes.push((key, outcome));
    }

    /// A child has ended that was not told to.
    fn ended(&mut self, place: usize, why: &Why, scene: &mut Scene) {
        self.counters.ends_total += 1;
        self.leave(place);
        if self.is_draining {
            return;
        }
        self.failed(place, &format!("ended: {why}"), scene);
    }

    /// There is no child where there should be one.
    fn failed(&mut self, place: usize, what: &str, scene: &mut Scene) {
        let called = self.called(member(place));
        let seat = &mut self.seats[place];
        seat.last_reason = Some(what.into());
        match seat.place.handle_end(scene.now_ns(), scene.chance()) {
            Next::Restarts { after_ns } => {
                log::warn!("{called} {what}; started again in {} ms", after_ns / 1_000_000);
            }
            Next::GivenUp => {
                let failures = seat.place.failures();
                log::error!("{called} {what}; given up after {failures} failures in a row (max_retries)");
            }
        }
    }

    pub(super) fn handle_timeout(&mut self, scene: &mut Scene) {
        if self.is_draining {
            return;
        }
        for place in 0..self.seats.len() {
            if self.seats[place].place.is_due(scene.now_ns()) {
                self.start(place, scene);
            }
            if self.idle_until(place).is_some_and(|until_ns| until_ns <= scene.now_ns()) {
                log::info!("{} has nothing to do, and is stopped", self.called(member(place)));
                self.stop(place);
            }
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<u64> {
        if self.is_draining {
            return None;
        }
        let starts = self.seats.iter().filter_map(|seat| seat.place.poll_timeout());
        starts.chain((0..self.seats.len()).filter_map(|place| self.idle_until(place))).min()
    }

    pub(super) fn drain(&mut self) {
        self.is_draining = true;
        self.pool.drain();
        (0..self.seats.len()).for_each(|place| self.stop(place));
    }

    /// Nobody waits for any of them any more.
    pub(super) fn forget_calls(&mut self) {
        self.flights.clear();
    }

    pub(super) fn is_gone(&self) -> bool {
        self.alive == 0
    }

    /// Whether one runs, or would be started by a call.
    pub(super) fn is_up(&self) -> bool {
        self.seats.iter().any(|seat| matches!(seat.place.state(), State::Running { .. } | State::Idle))
    }

    pub(super) fn members(&self) -> Vec<BackendMember> {
        let member = |(place, seat): (usize, &Seat)| BackendMember {
            name: (place + 1).to_string().into(),
            state: seat.place.state().as_str(),
            under_way: seat.under_way,
            pid: seat.child.as_ref().map(|running| running.link.pid()),
            last_reason: seat.last_reason.clone(),
        };
        self.seats.iter().enumerate().map(member).collect()
    }

    pub(super) fn counters(&self) -> BackendCounters {
        self.counters
    }

    /// When a child that was started on demand has had nothing to do for too long.
    fn idle_until(&self, place: usize) -> Option<u64> {
        let seat = &self.seats[place];
        let is_kept = self.settings.start == Start::Boot || self.settings.idle_timeout_ns == 0;
        (!is_kept && seat.child.is_some() && seat.under_way == 0)
            .then(|| seat.used_ns.saturating_add(self.settings.idle_timeout_ns))
    }

    fn start(&mut self, place: usize, scene: &mut Scene) {
        let child = ChildId { place, number: self.next_number };
        self.next_number += 1;
        let (serial, here) = (scene.serial, scene.here.clone());
        // Nobody is left to hear of it where the task has ended.
        let unheard = Arc::new(AtomicUsize::new(0));
        let said = Arc::clone(&unheard);
        let tell = move |event| {
            if matches!(event, Event::Progressed { .. })
                && said.fetch_add(1, Ordering::Relaxed) >= limits::CHILD_PROGRESS_MAX
            {
                said.fetch_sub(1, Ordering::Relaxed);
                return;
            }
            let _ = here.send(Happened::Process { serial, child, event });
        };
        let called = self.called(member(place));
        match Link::start(&self.settings, called.clone(), self.answer_bytes_max, tell) {
            Ok(link) => {
                log::info!("{called} is process {}", link.pid());
                self.alive += 1;
                self.counters.starts_total += 1;
                self.pool.set_ready(member(place), true);
                let seat = &mut self.seats[place];
                seat.child = Some(Running { number: child.number, link, unheard });
                seat.used_ns = scene.now_ns();
                seat.timed_out = 0;
                seat.place.handle_start(scene.now_ns());
            }
            Err(error) => self.failed(place, &format!("cannot be started: {error}"), scene),
        }
    }

    /// Tells a child to end, if there is one; its place is free.
    fn stop(&mut self, place: usize) {
        let of_it = self.flights.values().filter(|flight| flight.picked.member == member(place));
        // Who waits for an answer of it has that, if it comes in time.
        let by_ns = of_it.map(|flight| flight.due_ns).max().unwrap_or_default();
        if let Some(Running { link, .. }) = &self.seats[place].child {
            link.say(Word::Stop { by_ns });
            self.seats[place].place.handle_stop();
            self.leave(place);
        }
    }

    fn leave(&mut self, place: usize) {
        self.seats[place].child = None;
        self.pool.set_ready(member(place), false);
    }

    /// As the log calls a child.
    fn called(&self, member: MemberId) -> String {
        match self.settings.pool {
            1 => format!("backend {}", self.name),
            _ => format!("backend {}, process {}", self.name, member.index() + 1),
        }
    }
}

fn member(place: usize) -> MemberId {
    MemberId(u16::try_from(place).expect("invariant: at most PROCESSES_MAX places"))
}
