//! Requests at a rate, whatever their answers take, over connections that answer in order. Home: the load thread.
//! Invariants: latency counts from the intended time; each reply belongs to the oldest request of its connection; a run ends when each
//! request has its reply, or with none of its numbers.

use std::collections::VecDeque;

use crate::client::Clients;
use crate::clock;
use crate::failure::{Failure, Result};
use crate::histogram::Latencies;
use crate::scenarios::request::check_reply;
use crate::scenarios::{self, DRAIN_DEADLINE_NS, Rig, Seen, Window};
use crate::schedule::Schedule;
use crate::server::Server;

/// What is offered: one request again and again, by each connection in its turn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offered<'a> {
    pub(crate) request: &'a [u8],
    pub(crate) connections: usize,
    pub(crate) rate_per_s: u64,
}

/// What was seen of the measured time.
pub(crate) struct Measured {
    pub(crate) latencies: Latencies,
    pub(crate) lag: Latencies,
    pub(crate) seen: Seen,
    /// Replies.
    pub(crate) count: u64,
}

/// Offers and measures as the rig says; `beside` is done in each turn.
pub(crate) fn measure(
    rig: &Rig,
    offered: Offered<'_>,
    server: &Server,
    clients: &mut Clients,
    mut beside: impl FnMut() -> Result<()>,
) -> Result<Measured> {
    let Offered { request, connections, rate_per_s } = offered;
    let start_ns = clock::mono_ns();
    let measured_from_ns = start_ns + rig.warmup_ns;
    let mut schedule = Schedule::new(start_ns, rate_per_s, rig.warmup_ns + rig.measured_ns);
    let mut intended: Vec<VecDeque<u64>> = vec![VecDeque::new(); connections];
    let (mut latencies, mut lag) = (Latencies::new(), Latencies::new());
    let (mut waiting, mut replies) = (0_u64, 0_u64);
    let mut opened: Option<(Window, u64)> = None;
    let mut seen = None;
    let mut now_ns = start_ns;
    while seen.is_none() || 0 < waiting {
        while let Some((index, intended_ns)) = schedule.poll_due(now_ns) {
            let slot = usize::try_from(index).expect("invariant: usize has 64 bits here") % connections;
            lag.record((now_ns - intended_ns).max(1));
            intended[slot].push_back(intended_ns);
            clients.outbox().send(slot, request)?;
            waiting += 1;
        }
        now_ns = clients.turn(|_, slot, reply| {
            check_reply(reply)?;
            let received_ns = clock::mono_ns();
            let intended_ns = intended[slot].pop_front();
            let intended_ns =
                intended_ns.ok_or_else(|| Failure::Protocol("a reply to nothing".to_owned()))?;
            if measured_from_ns <= intended_ns {
                latencies.record(received_ns - intended_ns);
            }
            waiting -= 1;
            replies += 1;
            Ok(())
        })?;
        beside()?;
        if opened.is_none() && measured_from_ns <= now_ns {
            opened = Some((Window::open(server, clients.idle_ns())?, replies));
        }
        if schedule.is_done()
            && seen.is_none()
            && let Some((window, before)) = &opened
        {
            seen = Some((window.close(server, clients.idle_ns())?, replies - before));
        }
        if start_ns + rig.warmup_ns + rig.measured_ns + DRAIN_DEADLINE_NS < now_ns {
            return Err(Failure::Deadline(format!("{waiting} replies")));
        }
    }
    scenarios::check_generator(&lag, rig.generator_lag_ns_max)?;
    let (seen, count) = seen.expect("invariant: the loop ends only when it is set");
    Ok(Measured { latencies, lag, seen, count })
}
