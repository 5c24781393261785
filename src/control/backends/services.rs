//! The addresses of one backend that is asked over HTTP: which of them gets a call, and which another attempt. Home: the task of
//! backends.
//!
//! Invariants: a call is one flight until it is answered or cancelled, whatever the attempts; it waits for others no longer than
//! `batching` says, and not at all without it; each POST is one task; nothing is left of a backend once `is_gone`.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::AbortHandle;

use crate::backend::http::link::Caller;
use crate::backend::pool::{Ending, MemberId, Picked, Pool, RetryBudget, is_sent, told_of};
use crate::backend::rpc::Batching;
use crate::backend::settings::HttpSettings;
use crate::calls::{OwnedCall, OwnedOutcome};
use crate::model::call::{CallFailure, CallKey};
use crate::model::time::Now;
use crate::telemetry::{BackendCounters, BackendMember};

use super::{Happened, Scene};

/// What JSON-RPC writes around a call's method and parameters.
const AROUND_BYTES: usize = 50;

/// What POSTs and looks tell.
#[derive(Debug)]
pub(super) enum Event {
    /// A POST has ended: what became of each of its calls, in their order, or of all of them.
    Answered {
        post: u64,
        outcome: Result<Vec<OwnedOutcome>, CallFailure>,
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
    /// In the order of the configuration.
    addresses: Vec<Address>,
    flights: BTreeMap<CallKey, Flight>,
    /// By numbers that are not given twice.
    posts: BTreeMap<u64, Post>,
    next_post: u64,
    counters: BackendCounters,
}

/// What there is for one address.
#[derive(Default)]
struct Address {
    /// Calls that wait for others.
    gathered: Vec<Attempt>,
    gathered_bytes: usize,
    /// The first of them waits until then.
    due_ns: u64,
    /// POSTs under way.
    posts: usize,
}

/// A call, or a notification, that goes to an address.
struct Attempt {
    call: Arc<OwnedCall>,
    picked: Picked,
    past: Past,
}

/// What was tried of a call before.
#[derive(Clone, Copy, Default)]
struct Past {
    attempts: u32,
    /// One of them may have been done.
    was_sent: bool,
}

/// Where a call is.
struct Flight {
    picked: Picked,
    due_ns: u64,
    /// What it is part of; `None` while it is gathered.
    post: Option<u64>,
}

/// A POST that is under way.
struct Post {
    member: MemberId,
    attempts: Vec<Attempt>,
    /// Of those, the ones that were not cancelled.
    wanted: usize,
    task: AbortHandle,
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
            addresses: links.members.iter().map(|_| Address::default()).collect(),
            flights: BTreeMap::new(),
            posts: BTreeMap::new(),
            next_post: 0,
            counters: BackendCounters::default(),
            settings,
        }
    }

    /// Sends a call, or has it wait for others until [`Services::end_round`] at least.
    ///
    /// # Errors
    /// No address takes calls.
    pub(super) fn call(&mut self, call: OwnedCall, scene: &mut Scene) -> Result<(), CallFailure> {
        self.counters.calls_total += 1;
        self.budget.begin();
        if self.put(Arc::new(call), None, Past::default(), scene) {
            return Ok(());
        }
        self.counters.failed_total += 1;
        Err(CallFailure::Unavailable)
    }

    /// Puts a call behind those for one of the addresses, another than `but` where there is one; whether any takes it.
    fn put(&mut self, call: Arc<OwnedCall>, but: Option<MemberId>, past: Past, scene: &Scene) -> bool {
        let Some(picked) = self.pool.pick(but, scene.now_ns()) else { return false };
        if let Some(key) = call.key {
            self.flights.insert(key, Flight { picked, due_ns: call.due_ns, post: None });
        }
        let batching = self.settings.batching;
        let address = &mut self.addresses[picked.member.index()];
        if address.gathered.is_empty() {
            let wait_ns = batching.map_or(0, |batching| batching.wait_ns);
            address.due_ns = scene.now_ns().saturating_add(wait_ns);
        }
        address.gathered_bytes += bytes_of(&call);
        address.gathered.push(Attempt { call, picked, past });
        if batching.is_none_or(|batching| batching.is_full(address.gathered.len(), address.gathered_bytes)) {
            self.post(picked.member, scene);
        }
        true
    }

    /// Sends what was gathered for an address.
    fn post(&mut self, member: MemberId, scene: &Scene) {
        let caller =
            self.caller.clone().expect("invariant: without it no address is ready, and none is picked");
        let place = &mut self.addresses[member.index()];
        let attempts = std::mem::take(&mut place.gathered);
        (place.gathered_bytes, place.posts) = (0, place.posts + 1);
        let post = self.next_post;
        self.next_post += 1;
        for key in attempts.iter().filter_map(|attempt| attempt.call.key) {
            self.flights.get_mut(&key).expect("invariant: what was gathered is a flight").post = Some(post);
        }
        self.counters.batches_total += u64::from(attempts.len() > 1);
        let address = self.settings.links.members[member.index()].address.clone();
        let calls: Vec<Arc<OwnedCall>> = attempts.iter().map(|attempt| Arc::clone(&attempt.call)).collect();
        let (serial, here) = (scene.serial, scene.here.clone());
        let task = tokio::spawn(async move {
            let outcome = caller.post(&address, &calls).await;
            // Nobody is left to hear of it where the task has ended.
            let _ = here.send(Happened::Service { serial, event: Event::Answered { post, outcome } });
        });
        let wanted = attempts.len();
        self.posts.insert(post, Post { member, attempts, wanted, task: task.abort_handle() });
    }

    /// Whether calls wait for others.
    pub(super) fn is_gathering(&self) -> bool {
        self.addresses.iter().any(|address| !address.gathered.is_empty())
    }

    /// All that has happened at one time is known: sends what is to wait no longer.
    pub(super) fn end_round(&mut self, scene: &Scene) {
        for place in 0..self.addresses.len() {
            let address = &self.addresses[place];
            let (due_ns, is_quiet) = (address.due_ns, address.posts == 0);
            let is_ripe = |batching: Batching| batching.is_ripe(due_ns, scene.now_ns(), is_quiet);
            if !address.gathered.is_empty() && self.settings.batching.is_none_or(is_ripe) {
                self.post(member(place), scene);
            }
        }
    }

    /// Nobody waits for a call any more. A POST of which that is so for all is cut, which tells the service.
    pub(super) fn cancel(&mut self, key: CallKey, scene: &mut Scene) {
        let Some(Flight { picked, due_ns, post }) = self.flights.remove(&key) else { return };
        let is_over = due_ns <= scene.now_ns();
        self.counters.failed_total += u64::from(is_over);
        // One that was not sent says nothing of its address.
        let ending = if is_over && post.is_some() { Ending::Fault } else { Ending::Unjudged };
        self.pool.end(picked, ending, scene.now_ns(), scene.chance());
        let address = &mut self.addresses[picked.member.index()];
        let Some(number) = post else {
            address.gathered.retain(|attempt| attempt.call.key != Some(key));
            address.gathered_bytes = address.gathered.iter().map(|attempt| bytes_of(&attempt.call)).sum();
            return;
        };
        let post = self.posts.get_mut(&number).expect("invariant: a flight's POST is under way");
        post.wanted -= 1;
        if post.wanted == 0 {
            post.task.abort();
            address.posts -= 1;
            self.posts.remove(&number);
        }
    }

    pub(super) fn handle_event(&mut self, event: Event, scene: &mut Scene) {
        match event {
            Event::Looked { member, is_good } => self.pool.end_probe(member, is_good),
            Event::Answered { post, outcome } => self.answered(post, outcome, scene),
        }
    }

    fn answered(&mut self, number: u64, outcome: Result<Vec<OwnedOutcome>, CallFailure>, scene: &mut Scene) {
        // One that was cut may have ended just before.
        let Some(Post { member, attempts, .. }) = self.posts.remove(&number) else { return };
        self.addresses[member.index()].posts -= 1;
        match outcome {
            Ok(outcomes) => {
                for (attempt, outcome) in attempts.into_iter().zip(outcomes) {
                    let ending = Ending::of(outcome.get());
                    self.ended(number, attempt, outcome, ending, scene);
                }
            }
            Err(failure) => {
                // That is one fault of its address, however many calls it costs.
                let mut ending = Ending::Fault;
                for attempt in attempts {
                    if self.ended(number, attempt, OwnedOutcome::Failed(failure), ending, scene) {
                        ending = Ending::Unjudged;
                    }
                }
            }
        }
    }

    /// A POST has ended, and what it says of one of its calls is this; whether its address was judged by that.
    fn ended(
        &mut self,
        post: u64,
        attempt: Attempt,
        outcome: OwnedOutcome,
        ending: Ending,
        scene: &mut Scene,
    ) -> bool {
        let Attempt { call, picked, past: Past { attempts, was_sent } } = attempt;
        let Some(key) = call.key else {
            // What a service answers to a notification, an empty text say, is nobody's business.
            let is_heard = match outcome {
                OwnedOutcome::Result(_)
                | OwnedOutcome::Error(_)
                | OwnedOutcome::Failed(CallFailure::Garbled | CallFailure::TooLong) => true,
                OwnedOutcome::Failed(_) => false,
            };
            let ending = if is_heard { Ending::Good } else { ending };
            self.pool.end(picked, ending, scene.now_ns(), scene.chance());
            return !is_heard;
        };
        // It may have been cancelled, and is not a later call of the same key.
        if self.flights.get(&key).is_none_or(|flight| flight.post != Some(post)) {
            return false;
        }
        self.pool.end(picked, ending, scene.now_ns(), scene.chance());
        if let OwnedOutcome::Failed(failure) = outcome
            && call.due_ns > scene.now_ns()
            && self.budget.take(failure, call.is_idempotent, attempts)
            && self.put(
                call,
                Some(picked.member),
                Past { attempts: attempts + 1, was_sent: was_sent || is_sent(failure) },
                scene,
            )
        {
            self.counters.retries_total += 1;
            return true;
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
        true
    }

    pub(super) fn handle_timeout(&mut self, scene: &mut Scene) {
        self.end_round(scene);
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
        let of_pool = self.caller.as_ref().and_then(|_| self.pool.poll_timeout());
        let gathering = self.addresses.iter().filter(|address| !address.gathered.is_empty());
        gathering.map(|address| address.due_ns).chain(of_pool).min()
    }

    pub(super) fn drain(&mut self) {
        self.pool.drain();
    }

    pub(super) fn abandon(&mut self) {
        for post in std::mem::take(&mut self.posts).into_values() {
            post.task.abort();
        }
        self.addresses.iter_mut().for_each(|address| *address = Address::default());
        self.flights.clear();
    }

    pub(super) fn is_gone(&self) -> bool {
        self.posts.is_empty() && !self.is_gathering()
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

/// What a call adds to the body of a POST, or little more.
fn bytes_of(call: &OwnedCall) -> usize {
    let params = call.params.as_ref().map_or(0, |params| params.len());
    AROUND_BYTES + call.method.len() + params
}

fn member(place: usize) -> MemberId {
    MemberId(u16::try_from(place).expect("invariant: at most BACKEND_ADDRESSES_MAX addresses"))
}
