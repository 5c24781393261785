//! The thread itself: its tasks, and how they end.
//!
//! Home: the thread that speaks to NATS. Invariant: after a stop the lease's request that was sent is carried out first of all, and nothing is waited for longer than
//! `limits::NATS_STOP_NS_MAX`.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::timeout;

use crate::cluster::lease::LeaseRequest;
use crate::cluster::words::Word;
use crate::limits;

use super::NatsSetup;
use super::board::NatsBoard;
use super::hearing::{Listener, Wanted};
use super::lanes::{Inlet, Order, Outlet, ThreadEnds};
use super::lease::Bucket;
use super::link::{self, Line, LinkState};
use super::reports::Connection;
use super::speaking::Speaker;
use super::subjects::Subjects;

/// Requests about the lease that may wait: one is under way at a time.
const LEASE_REQUESTS_MAX: usize = 4;
/// How long the runtime waits for look-ups of names that nobody waits for any more.
const LOOKUPS_TIME_MAX: Duration = Duration::from_millis(100);

/// Until there is a stop.
pub(super) fn run(runtime: Runtime, setup: NatsSetup, ends: ThreadEnds, board: Arc<NatsBoard>) {
    let tasks = LocalSet::new();
    tasks
        .block_on(&runtime, work(setup, ends, board))
        .expect("invariant: addresses and doorbells were good when the thread was made");
    drop(tasks);
    runtime.shutdown_timeout(LOOKUPS_TIME_MAX);
}

async fn work(setup: NatsSetup, ends: ThreadEnds, board: Arc<NatsBoard>) -> io::Result<()> {
    let reports = Rc::default();
    let (market, market_watcher) = link::connect(&setup, Connection::Market, &reports, &board).await?;
    let (lease, lease_watcher) = link::connect(&setup, Connection::Lease, &reports, &board).await?;
    spawn_local(market_watcher.watch());
    spawn_local(lease_watcher.watch());
    let (outlet, mut orders, messages) = (Rc::new(ends.outlet), ends.orders.watch()?, ends.messages.watch()?);
    spawn_local(tell_state(market.state.clone(), Rc::clone(&outlet)));

    let subjects = Subjects::new(&setup.cluster, &setup.node, setup.incarnation);
    let (wanting, wanted) = watch::channel(Wanted::default());
    let (line, names) = (market.clone(), subjects.clone());
    spawn_local(Listener::new(line, setup.cluster, names, Rc::clone(&outlet), wanted).listen());
    let speaker = Speaker { line: market.clone(), cluster: setup.cluster, subjects, board };
    let speaking = spawn_local(speaker.speak(messages));

    let bucket = Rc::new(Bucket::new(&setup, &lease));
    spawn_local(Rc::clone(&bucket).watch(Rc::clone(&outlet)));
    let (asking, requests) = mpsc::channel(LEASE_REQUESTS_MAX);
    let serving = spawn_local(bucket.serve(requests, outlet));

    take_orders(&mut orders, asking, &wanting).await;
    let finish = async {
        // A task that panics has aborted the process already.
        let _ = serving.await;
        flush(&lease).await;
        let _ = speaking.await;
        flush(&market).await;
    };
    if timeout(Duration::from_nanos(limits::NATS_STOP_NS_MAX), finish).await.is_err() {
        log::warn!("NATS has not taken all that it was told before the stop");
    }
    Ok(())
}

/// Until there is a stop and nothing is left.
async fn take_orders(
    orders: &mut Inlet<Order>,
    asking: mpsc::Sender<LeaseRequest>,
    wanting: &watch::Sender<Wanted>,
) {
    while let Some(order) = orders.next().await {
        match order {
            // It ends behind this alone.
            Order::Lease(request) => {
                let _ = asking.send(request).await;
            }
            Order::Listen(listens) => wanting.send_modify(|wanted| wanted.listens = listens),
            Order::Hear(place) => wanting.send_modify(|wanted| {
                wanted.place = place;
                wanted.hears += 1;
            }),
        }
    }
}

/// Tells when NATS is there and when it is not any more, also where it was away for so short that nobody has looked.
async fn tell_state(mut state: watch::Receiver<LinkState>, outlet: Rc<Outlet>) {
    let mut told = LinkState::default();
    loop {
        let now = *state.borrow_and_update();
        let is_other = now.connects != told.connects;
        if told.is_up && (!now.is_up || is_other) {
            outlet.answer(Word::IsUp(false)).await;
        }
        if now.is_up && (!told.is_up || is_other) {
            outlet.answer(Word::IsUp(true)).await;
        }
        told = now;
        if state.changed().await.is_err() {
            return;
        }
    }
}

/// Until the system has what was told.
async fn flush(line: &Line) {
    let is_up = line.state.borrow().is_up;
    if is_up {
        // It fails where the connection has gone, and with it what was told.
        let _ = line.client.flush().await;
    }
}
