//! Other nodes of the cluster, which are told which kept results hold no more, and tell so. Home: the task of backends.
//!
//! Invariant: what is said while NATS is away, or by another node while this one is, is noticed when both are there: everything is forgotten then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock;
use crate::cluster::notices::{NoticeCounters, Notices, Teller};
use crate::model::invalidation::Invalidation;
use crate::nats::{NoticePort, NoticeWord};
use crate::telemetry::NoticesReading;

/// What they are spoken to by.
#[derive(Debug)]
pub struct NodesSetup {
    pub me: Teller,
    pub port: NoticePort,
    pub board: Arc<NoticesBoard>,
}

/// What was told and heard, for operators. The task of backends writes, control's other tasks read.
#[derive(Debug, Default)]
pub struct NoticesBoard {
    told: AtomicU64,
    heard: AtomicU64,
    gaps: AtomicU64,
    odd: AtomicU64,
}

/// See the file's head. There are none where there is no cluster.
#[derive(Debug)]
pub(super) struct Nodes(Option<Neighbours>);

#[derive(Debug)]
struct Neighbours {
    notices: Notices,
    port: NoticePort,
    board: Arc<NoticesBoard>,
    /// The thread that speaks to NATS has ended.
    is_over: bool,
}

impl NoticesBoard {
    #[must_use]
    pub fn reading(&self) -> NoticesReading {
        let of = |number: &AtomicU64| number.load(Ordering::Relaxed);
        NoticesReading {
            told_total: of(&self.told),
            heard_total: of(&self.heard),
            gaps_total: of(&self.gaps),
            odd_total: of(&self.odd),
        }
    }

    fn tell(&self, counters: NoticeCounters) {
        let NoticeCounters { told_total, heard_total, gaps_total, odd_total } = counters;
        for (number, total) in [
            (&self.told, told_total),
            (&self.heard, heard_total),
            (&self.gaps, gaps_total),
            (&self.odd, odd_total),
        ] {
            number.store(total, Ordering::Relaxed);
        }
    }
}

impl Nodes {
    pub(super) fn new(setup: Option<NodesSetup>) -> Nodes {
        Nodes(setup.map(|NodesSetup { me, port, board }| Neighbours {
            notices: Notices::new(me),
            port,
            board,
            is_over: false,
        }))
    }

    /// Tells the others; whether NATS was there, `None` where there are none.
    pub(super) fn tell(&mut self, invalidation: Invalidation) -> Option<bool> {
        let Neighbours { notices, port, board, .. } = self.0.as_mut()?;
        let bytes = notices.say(invalidation);
        board.tell(notices.counters);
        Some(port.tell(bytes))
    }

    /// The next that is to be forgotten here; waits for ever where there are no others. May be dropped while it waits.
    pub(super) async fn next(&mut self) -> Invalidation {
        loop {
            let Some(Neighbours { notices, port, board, is_over: is_over @ false }) = &mut self.0 else {
                return std::future::pending().await;
            };
            let forgotten = match port.next().await {
                Some(NoticeWord::Back) => Some(notices.handle_back()),
                Some(NoticeWord::Heard(bytes)) => notices.handle_notice(&bytes, clock::now().mono_ns),
                None => {
                    *is_over = true;
                    None
                }
            };
            board.tell(notices.counters);
            if let Some(invalidation) = forgotten {
                return invalidation;
            }
        }
    }

    /// Says what is due.
    pub(super) fn handle_timeout(&mut self, now_ns: u64) {
        if let Some(Neighbours { notices, port, .. }) = &mut self.0
            && port.is_up()
            && let Some(bytes) = notices.poll_number(now_ns)
        {
            port.tell(bytes);
        }
    }

    /// When [`Nodes::handle_timeout`] has something to do.
    pub(super) fn poll_timeout(&self) -> Option<u64> {
        self.0.as_ref().filter(|others| others.port.is_up()).map(|others| others.notices.poll_timeout())
    }
}
