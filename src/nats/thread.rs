//! The thread itself: its tasks, and how they end.
//!
//! Home: the thread that speaks to NATS. Invariant: after a stop the lease's request that was sent is carried out first of all, and nothing is waited for longer than
//! `limits::NATS_STOP_NS_MAX`.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::{LocalSet, spawn_local, unconstrained};
use tokio::time::timeout;

use crate::cluster::lease::LeaseRequest;
use crate::cluster::words::Word;
use crate::limits;

use super::NatsSetup;
use super::board::{NatsBoard, add};
use super::hearing::{Listener, Wanted};
use super::lanes::{Inlet, InletParts, Order, Outlet, ThreadEnds};
use super::lease::{Bucket, Ended};
use super::link::{self, Line, LinkState};
use super::notices::{self, NoticeEnds};
use super::presence;
use super::reports::{Connection, Reports};
use super::session_lanes::{SessionOutlet, SessionRequest};
use super::sessions;
use super::speaking::Speaker;
use super::subjects::Subjects;

/// Requests about the lease that may wait: one is under way at a time.
const LEASE_REQUESTS_MAX: usize = 4;
/// How long the runtime waits for look-ups of names that nobody waits for any more.
const LOOKUPS_TIME_MAX: Duration = Duration::from_millis(100);

/// Both directions of what is said about named sessions.
type SessionLine = (InletParts<SessionRequest>, SessionOutlet);

/// Until there is a stop.
pub(super) fn run(
    runtime: Runtime,
    setup: NatsSetup,
    ends: ThreadEnds,
    of_notices: NoticeEnds,
    sessions: SessionLine,
    board: Arc<NatsBoard>,
) {
    let tasks = LocalSet::new();
    tasks
        .block_on(&runtime, work(setup, ends, of_notices, sessions, board))
        .expect("invariant: addresses and doorbells were good when the thread was made");
    drop(tasks);
    runtime.shutdown_timeout(LOOKUPS_TIME_MAX);
}

async fn work(
    setup: NatsSetup,
    ends: ThreadEnds,
    of_notices: NoticeEnds,
    (session_requests, session_outlet): SessionLine,
    board: Arc<NatsBoard>,
) -> io::Result<()> {
    let reports = Rc::<RefCell<Reports>>::default();
    let (market, market_watcher) = link::connect(&setup, Connection::Market, &reports, &board).await?;
    spawn_local(market_watcher.watch());
    let (outlet, mut orders, messages) = (Rc::new(ends.outlet), ends.orders.watch()?, ends.messages.watch()?);
    spawn_local(tell_state(market.state.clone(), Rc::clone(&outlet)));
    // A stop does not wait for it: what is not written of presence is seen again.
    let wishes = ends.presence.watch()?;
    spawn_local(presence::keep(setup.clone(), wishes, Rc::clone(&outlet), Arc::clone(&board)));

    let subjects = Subjects::new(&setup.cluster, &setup.node, setup.incarnation);
    spawn_local(notices::carry(market.clone(), subjects.notices.clone(), of_notices));
    let (wanting, wanted) = watch::channel(Wanted::default());
    let (line, names) = (market.clone(), subjects.clone());
    let listener = Listener::new(line, setup.cluster, names, Rc::clone(&outlet), wanted);
    // It takes all that was read before more is: else a burst of short messages overflows its subscription.
    spawn_local(unconstrained(listener.listen()));
    let (line, cluster, of_speaker) = (market.clone(), setup.cluster, Arc::clone(&board));
    let speaker = Speaker { line, cluster, subjects, board: of_speaker };
    let speaking = spawn_local(speaker.speak(messages));
    let (of_sessions, requests) = (setup.clone(), session_requests.watch()?);
    let carried =
        sessions::carry(of_sessions, requests, session_outlet, Rc::clone(&reports), Arc::clone(&board));
    let carrying = spawn_local(carried);
    let (asking, requests) = mpsc::channel(LEASE_REQUESTS_MAX);
    let leasing = spawn_local(carry_lease(setup, requests, outlet, reports, board));

    take_orders(&mut orders, asking, &wanting).await;
    let finish = async {
        // A task that panics has aborted the process already.
        let _ = leasing.await;
        let _ = speaking.await;
        let _ = carrying.await;
        flush(&market).await;
    };
    if timeout(Duration::from_nanos(limits::NATS_STOP_NS_MAX), finish).await.is_err() {
        log::warn!("NATS has not taken all that it was told before the stop");
    }
    Ok(())
}

/// By one client after another, until there are no more requests.
async fn carry_lease(
    setup: NatsSetup,
    mut requests: mpsc::Receiver<LeaseRequest>,
    outlet: Rc<Outlet>,
    reports: Rc<RefCell<Reports>>,
    board: Arc<NatsBoard>,
) -> io::Result<()> {
    loop {
        let (line, watcher) = link::connect(&setup, Connection::Lease, &reports, &board).await?;
        let bucket = Bucket::new(&setup, &line);
        let ended = tokio::select! {
            ended = bucket.serve(&mut requests, &outlet) => ended,
            () = watcher.watch() => Ended::Worn,
            () = bucket.watch(&outlet) => Ended::Worn,
        };
        match ended {
            Ended::NoRequests => {
                flush(&line).await;
                return Ok(());
            }
            Ended::Worn => add(&board.reconnects, 1),
        }
    }
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
