//! Where data and orders come from and go to. Add a backend: a folder here and one line in this file. PURE.
//! A feed is a value that the venue thread polls each turn.

pub mod codec;
pub mod http;
pub mod paper;
pub mod pool;
pub mod replay;
pub mod rpc;
pub mod settings;
pub mod stdio;
pub mod tcp;

use self::paper::{Paper, PaperConfig};
use self::replay::{AtEnd, FeedError, Replay, ReplayProgress, Speed};
use crate::model::link::{LinkIdentity, LinkKind};
use crate::model::market::{FeedBuffer, FeedEvent, FeedInstrument};
use crate::model::order::{OrderRefusal, VenueReport, VenueRequest};
use crate::model::time::Now;

/// A source of market data, and where orders for it go.
#[derive(Debug)]
pub enum Feed {
    Paper(Box<Paper>),
    Replay(Box<Replay>),
    /// Nothing: there are links to venues only.
    None,
}

/// What of a feed can be set while it runs; each takes what is its own.
#[derive(Clone, Copy, Debug)]
pub struct FeedSettings {
    pub paper: PaperConfig,
    pub speed: Speed,
    pub at_end: AtEnd,
}

impl Feed {
    /// Goes by these settings from now on. What it says of that comes with the next polls.
    pub fn set(&mut self, settings: &FeedSettings, now: Now) {
        match self {
            Feed::Paper(paper) => paper.set_config(settings.paper),
            Feed::Replay(replay) => replay.set_playing(settings.speed, settings.at_end, now),
            Feed::None => {}
        }
    }

    /// Appends the events that are due at `now`, at most `events_max`; what did not fit comes with the next poll. The
    /// first events list the feed's instruments, others follow when they are first seen.
    ///
    /// # Errors
    /// What a recording has that it should not, with its file, place and reason. The feed is finished then.
    pub fn poll(&mut self, now: Now, out: &mut FeedBuffer, events_max: usize) -> Result<(), FeedError> {
        match self {
            Feed::Paper(paper) => {
                paper.poll(now, out, events_max);
                Ok(())
            }
            Feed::Replay(replay) => replay.poll(now, out, events_max),
            Feed::None => Ok(()),
        }
    }

    /// Asks for something of an order, and appends what comes of it: all of it at once, from the feeds that there are. A
    /// recording takes no orders. `instrument` is the feed's number, that in the request the market's.
    pub fn handle_request(
        &mut self,
        instrument: FeedInstrument,
        request: &VenueRequest,
        now: Now,
        out: &mut FeedBuffer,
    ) {
        match self {
            Feed::Paper(paper) => paper.handle_request(instrument, request, now, out),
            Feed::Replay(_) | Feed::None => {
                out.events.push(FeedEvent::Report(refusal(request, OrderRefusal::VenueUnavailable)));
            }
        }
    }

    /// Appends what has happened already and found no room in the last poll.
    pub fn tell_rest(&mut self, out: &mut FeedBuffer) {
        match self {
            Feed::Paper(paper) => paper.tell_rest(out),
            // Nobody trades on a recording, so nobody is the worse for hearing it later.
            Feed::Replay(_) | Feed::None => {}
        }
    }

    /// What clients are told that it is; `None` where there is none.
    #[must_use]
    pub fn identity(&self) -> Option<LinkIdentity> {
        let kind = match self {
            Feed::Paper(_) => LinkKind::Paper,
            Feed::Replay(_) => LinkKind::Replay,
            Feed::None => return None,
        };
        Some(LinkIdentity { kind, venue: kind.as_str().into(), link: kind.as_str().into() })
    }

    /// Whether it takes orders.
    #[must_use]
    pub const fn takes_orders(&self) -> bool {
        match self {
            Feed::Paper(_) => true,
            Feed::Replay(_) | Feed::None => false,
        }
    }

    /// When something is due next, on the monotonic clock, in nanoseconds; in the past where something is due already,
    /// `None` where nothing follows.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        match self {
            Feed::Paper(paper) => Some(paper.poll_timeout()),
            Feed::Replay(replay) => replay.poll_timeout(),
            Feed::None => None,
        }
    }

    /// How far a replay is; `None` for what has no end.
    #[must_use]
    pub fn progress(&self) -> Option<ReplayProgress> {
        match self {
            Feed::Paper(_) | Feed::None => None,
            Feed::Replay(replay) => Some(replay.progress()),
        }
    }

    /// Whether nothing follows.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        match self {
            Feed::Paper(_) | Feed::None => false,
            Feed::Replay(replay) => replay.is_finished(),
        }
    }
}

/// The report that nothing was done, and why.
const fn refusal(request: &VenueRequest, why: OrderRefusal) -> VenueReport {
    match request {
        VenueRequest::New { order, .. } => VenueReport::Rejected { order: *order, why },
        VenueRequest::Amend { order, .. } => VenueReport::AmendRejected { order: *order, why },
        VenueRequest::Cancel { order, .. } => VenueReport::CancelRejected { order: *order, why },
    }
}
