//! The addresses of one backend that is asked over HTTP: which of them gets a call, and which another attempt. Home: the task of
//! backends.
//!
//! Invariants: a call is one flight until it is answered or cancelled, whatever the attempts; each attempt is one task; nothing is
//! left of a backend once `is_gone`.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::AbortHandle;

use crate::backend::http::link::Caller;
use crate::backend::pool::{Ending, MemberId, Picked, Pool, RetryBudget, is_sent, told_of};
use crate::backend::settings::HttpSettings;
use crate::calls::{OwnedCall, OwnedOutcome};
use crate::model::call::{CallFailure, CallKey};
use crate::model::time::Now;
use crate::telemetry::{BackendCounters, BackendMember};

use super::{Happened, Scene};

/// What attempts and looks tell.
#[derive(Debug)]
pub(super) enum Event {
    /// An attempt of a call has ended; of a notification where there is no key.
    Answered {
        key: Option<CallKey>,
        picked: Picked,
        outcome: OwnedOutcome,
    },
    Looked {
        member: MemberId,
        is_good: bool,
    },
}

/// See the file's head.
pub(super) struct Services {
    settings: HttpSettings,
    /// Why there is none is in the log.
    caller: Option<Caller>,
    pool: Pool,
    budget: RetryBudget,
    flights: BTreeMap<CallKey, Flight>,
    /// Notifications on their way.
    notes: usize,
    counters: BackendCounters,
}

struct Flight {
    call: Arc<OwnedCall>,
    picked: Picked,
    /// Of the attempt that is under way.
    attempt: AbortHandle,
    retries: u32,
    /// An attempt before it may have been done.
    was_sent: bool,
}

impl Services {
    pub(super) fn new(name: &str, settings: HttpSettings, answer_bytes_max: usize, now: Now) -> Services {
        let links = &settings.links;
        let mut pool = Pool::new(links.pool, links.members.clone(), now.mono_ns, 0);
        let caller = match Caller::new(&settings, answer_bytes_max) {
            Ok(caller) => Some(caller),
            Err(error) => {
                log::error!("backend {name} is not asked: {error}");
                None
            }
        };
        for place in 0..links.members.len() {
            pool.set_ready(member(place), caller.is_some());
        }
        Services {
            budget: RetryBudget::new(links.retry),
            caller,
            pool,
            flights: BTreeMap::new(),
            notes: 0,
            counters: BackendCounters::default(),
            settings,
        }
    }

    /// Sends a call.
    ///
    /// # Errors
    /// No address takes calls.
    pub(super) fn call(&mut self, call: OwnedCall, scene: &mut Scene) -> Result<(), CallFailure> {
        self.counters.calls_total += 1;
        self.budget.begin();
        let call = Arc::new(call);
        let Some((picked, attempt)) = self.attempt(&call, None, scene) else {
            self.counters.failed_total += 1;
            return Err(CallFailure::Unavailable);
        };
        match call.key {
            Some(key) => {
                self.flights.insert(key, Flight { call, picked, attempt, retries: 0, was_sent: false });
            }
            None => self.notes += 1,
        }
        Ok(())
    }

    /// Begins an attempt at one of the addresses, another than `but` where there is one.
    fn attempt(
        &mut self,
        call: &Arc<OwnedCall>,
        but: Option<MemberId>,
        scene: &Scene,
    ) -> Option<(Picked, AbortHandle)> {
        let caller = self.caller.clone()?;
        let picked = self.pool.pick(but, scene.now_ns())?;
        let address = self.settings.links.members[picked.member.index()].address.clone();
        let (serial, here, call) = (scene.serial, scene.here.clone(), Arc::clone(call));
        let task = tokio::spawn(async move {
            let outcome = caller.call(&address, &call).await;
            let event = Event::Answered { key: call.key, picked, outcome };
            // Nobody is left to hear of it where the task has ended.
            let _ = here.send(Happened::Service { serial, event });
        });
        Some((picked, task.abort_handle()))
    }

    /// Nobody waits for a call any more: its request is cut, which tells the service so.
    pub(super) fn cancel(&mut self, key: CallKey, scene: &mut Scene) {
        let Some(Flight { call, picked, attempt, .. }) = self.flights.remove(&key) else { return };
        attempt.abort();
        let is_over = call.due_ns <= scene.now_ns();
        let ending = if is_over { Ending::Fault } else { Ending::Unjudged };
        self.counters.failed_total += u64::from(is_over);
        self.pool.end(picked, ending, scene.now_ns(), scene.chance());
    }

    pub(super) fn handle_event(&mut self, event: Event, scene: &mut Scene) {
        match event {
            Event::Looked { member, is_good } => self.pool.end_probe(member, is_good),
            Event::Answered { key: None, picked, outcome } => {
                self.notes = self.notes.saturating_sub(1);
                // What a service answers to a notification, an empty text say, is nobody's business.
                let ending = match outcome {
                    OwnedOutcome::Result(_)
                    | OwnedOutcome::Error(_)
                    | OwnedOutcome::Failed(CallFailure::Garbled | CallFailure::TooLong) => Ending::Good,
                    OwnedOutcome::Failed(_) => Ending::Fault,
                };
                self.pool.end(picked, ending, scene.now_ns(), scene.chance());
            }
            Event::Answered { key: Some(key), picked, outcome } => self.answered(key, picked, outcome, scene),
        }
    }

    fn answered(&mut self, key: CallKey, picked: Picked, outcome: OwnedOutcome, scene: &mut Scene) {
        // An attempt that was cut may have ended just before; it is not that of a later call of the same key.
        let Some(flight) = self.flights.get_mut(&key).filter(|flight| flight.picked == picked) else {
            return;
        };
        self.pool.end(picked, Ending::of(outcome.get()), scene.now_ns(), scene.chance());
        let (call, retries, was_sent) = (Arc::clone(&flight.call), flight.retries, flight.was_sent);
        if let OwnedOutcome::Failed(failure) = outcome
            && call.due_ns > scene.now_ns()
            && self.budget.take(failure, call.is_idempotent, retries)
            && let Some((picked, attempt)) = self.attempt(&call, Some(picked.member), scene)
        {
            self.counters.retries_total += 1;
            let (retries, was_sent) = (retries + 1, was_sent || is_sent(failure));
            self.flights.insert(key, Flight { call, picked, attempt, retries, was_sent });
            return;
        }
        self.flights.remove(&key);
        let outcome = match outcome {
            OwnedOutcome::Result(_) | OwnedOutcome::Error(_) => {
                self.counters.answered_total += 1;
                outcome
            }
            OwnedOutcome::Failed(failure) => {
                self.counters.failed_total += 1;
                OwnedOutcome::Failed(told_of(failure, was_sent))
            }
        };
        scene.outcomes.push((key, outcome));
    }

    pub(super) fn handle_timeout(&mut self, scene: &mut Scene) {
        self.pool.handle_timeout(scene.now_ns());
        let (Some(caller), Some(health)) = (self.caller.clone(), self.settings.links.pool.health) else {
            return;
        };
        while let Some(member) = self.pool.poll_probe(scene.now_ns()) {
            let address = self.settings.links.members[member.index()].address.clone();
            let (serial, here, caller) = (scene.serial, scene.here.clone(), caller.clone());
            tokio::spawn(async move {
                let is_good = caller.look(&address, health.timeout_ns).await;
                let _ = here.send(Happened::Service { serial, event: Event::Looked { member, is_good } });
            });
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<u64> {
        // One that nothing can be asked of looks at nobody.
        self.caller.as_ref().and_then(|_| self.pool.poll_timeout())
    }

    pub(super) fn drain(&mut self) {
        self.pool.drain();
    }

    pub(super) fn abandon(&mut self) {
        for flight in std::mem::take(&mut self.flights).into_values() {
            flight.attempt.abort();
        }
        self.notes = 0;
    }

    pub(super) fn is_gone(&self) -> bool {
        self.flights.is_empty() && self.notes == 0
    }

    pub(super) fn is_up(&self, now_ns: u64) -> bool {
        self.pool.is_available(now_ns)
    }

    pub(super) fn members(&self, now_ns: u64) -> Vec<BackendMember> {
        let member = |(_, status): (MemberId, crate::backend::pool::MemberStatus<'_>)| BackendMember {
            name: status.address.into(),
            state: status.state.as_str(),
            under_way: status.under_way,
            pid: None,
            last_reason: None,
        };
        self.pool.members(now_ns).map(member).collect()
    }

    pub(super) fn counters(&self) -> BackendCounters {
        let starts_total = self.caller.as_ref().map_or(0, Caller::connections_total);
        BackendCounters { starts_total, ..self.counters }
    }
}

fn member(place: usize) -> MemberId {
    MemberId(u16::try_from(place).expect("invariant: at most BACKEND_ADDRESSES_MAX addresses"))
}
