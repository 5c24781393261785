//! How links are, as shards tell clients without asking the venue's thread. PURE. Home: the venue's thread.
//!
//! Invariants: what shards have is at most one interval old; they are told no more often than once an interval.

use std::sync::Arc;

use crate::limits;
use crate::model::ids::SourceId;
use crate::model::link::{LinkIdentity, LinkState, LinkStatus};
use crate::model::time::Now;

use super::super::batch::Record;
use super::MarketHome;
use super::sources::Sources;

/// What only the one who makes connections knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkNote {
    /// One is tried for, or has yet to greet.
    Connecting,
    /// There is none, and why.
    Failed(Box<str>),
    /// No more attempts are made.
    GivenUp,
}

#[derive(Debug)]
struct Link {
    source: SourceId,
    is_reconciled: bool,
    status: LinkStatus,
}

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Statuses {
    links: Vec<Link>,
    is_changed: bool,
    /// When shards were last told, and of what.
    told_ns: Option<u64>,
    told: Arc<[LinkStatus]>,
}

/// What happens to a link.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Up,
    Reconciled,
    Down(Box<str>),
    Noted(LinkNote),
    /// Another instrument is served.
    Listed,
}

impl Statuses {
    pub(super) fn change(&mut self, source: SourceId, change: Change, now: Now) {
        let Some(link) = self.links.iter_mut().find(|link| link.source == source) else { return };
        self.is_changed = true;
        let state = match change {
            Change::Listed => return,
            Change::Up if link.is_reconciled => LinkState::Up,
            Change::Up => LinkState::Reconciling,
            Change::Reconciled => {
                link.is_reconciled = true;
                LinkState::Up
            }
            Change::Noted(LinkNote::Connecting) => LinkState::Connecting,
            Change::Noted(LinkNote::GivenUp) => LinkState::GivenUp,
            Change::Down(why) | Change::Noted(LinkNote::Failed(why)) => {
                link.is_reconciled = false;
                link.status.last_reason = Some(shortened(why));
                LinkState::Down
            }
        };
        if link.status.state != state {
            (link.status.state, link.status.since_ms) = (state, now.unix_ns / 1_000_000);
        }
    }

    /// When shards are to be told, on the monotonic clock, in nanoseconds.
    pub(super) fn poll_timeout(&self) -> Option<u64> {
        let due_ns = self.told_ns.map_or(0, |told_ns| told_ns + limits::LINK_STATUS_NS);
        self.is_changed.then_some(due_ns)
    }

    /// What shards are to be told now.
    fn take_due(&mut self, sources: &Sources, now: Now) -> Option<Arc<[LinkStatus]>> {
        self.poll_timeout().filter(|due_ns| *due_ns <= now.mono_ns)?;
        (self.is_changed, self.told_ns) = (false, Some(now.mono_ns));
        let status = |link: &Link| LinkStatus {
            instruments: sources.count_served(link.source),
            ..link.status.clone()
        };
        self.told = self.links.iter().map(status).collect();
        Some(Arc::clone(&self.told))
    }

    /// What shards were told last, if anything.
    pub(super) fn told(&self) -> Option<&Arc<[LinkStatus]>> {
        self.told_ns.map(|_| &self.told)
    }
}

impl MarketHome {
    /// Tells clients of a source from now on, as if it were new: the feed, which is up, or a link, which is not yet.
    pub fn add_link(&mut self, source: SourceId, identity: LinkIdentity, now: Now) {
        self.statuses.links.retain(|link| link.source != source);
        let state = if source == SourceId::FEED { LinkState::Up } else { LinkState::Connecting };
        let since_ms = now.unix_ns / 1_000_000;
        let status = LinkStatus { identity, state, since_ms, instruments: 0, last_reason: None };
        let place = self.statuses.links.partition_point(|link| link.source < source);
        self.statuses.links.insert(place, Link { source, is_reconciled: false, status });
        self.statuses.is_changed = true;
    }

    /// Tells clients of this source no more.
    pub fn remove_link(&mut self, source: SourceId) {
        self.statuses.links.retain(|link| link.source != source);
        self.statuses.is_changed = true;
    }

    /// What becomes of a link's connection before there is one; the rest is heard by [`MarketHome::handle_link`].
    pub fn note_link(&mut self, source: SourceId, note: LinkNote, now: Now) {
        self.statuses.change(source, Change::Noted(note), now);
    }

    pub(super) fn tell_statuses(&mut self, now: Now) {
        if let Some(links) = self.statuses.take_due(&self.sources, now) {
            self.tell(Record::Links { links });
        }
    }
}

/// A peer's words are as long as it likes.
fn shortened(mut text: Box<str>) -> Box<str> {
    if text.len() > limits::LINK_REASON_BYTES_MAX {
        let end = text.floor_char_boundary(limits::LINK_REASON_BYTES_MAX);
        text = text[..end].into();
    }
    text
}
