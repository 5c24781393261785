//! The venue's way to what a cluster keeps of who is present: what the owner before has left goes to the office, what the office wants kept to the thread that
//! speaks to NATS. Home: the venue's thread.
//!
//! Invariants: an office hears of what is kept by its own taking of the market alone; what finds no room is told back to it, and nothing waits here.

use crate::cluster::names::Fence;
use crate::cluster::words::PresenceWish;
use crate::limits;
use crate::model::presence::KeptWord;

use super::Venue;

/// For whom presence is kept.
#[derive(Debug, Default)]
pub(super) struct PresenceKeeping {
    /// By what this node owns the market.
    owned: Option<Fence>,
    /// What of that the thread that speaks to NATS was told.
    told: Option<Fence>,
}

impl Venue {
    /// This node owns by this, or no more.
    pub(super) fn set_presence_owner(&mut self, owned: Option<Fence>) {
        let Some(cluster) = &mut self.cluster else { return };
        cluster.presence.owned = owned;
        if owned.is_some() {
            self.market.keep_presence(self.now);
        }
    }

    /// What is told of what is kept, up to a bound; whether there may be more.
    pub(super) fn take_presence(&mut self) -> bool {
        let Some(cluster) = &mut self.cluster else { return false };
        for _ in 0..limits::PRESENCE_WORDS_PER_TURN {
            let Some(told) = cluster.port.receive_presence() else { return false };
            self.is_busy = true;
            if cluster.presence.owned == Some(told.fence) {
                self.market.handle_kept(&told.word, self.now);
            }
        }
        true
    }

    /// Hands on what is to be kept.
    pub(super) fn send_presence(&mut self) {
        let Some(cluster) = &mut self.cluster else { return };
        let PresenceKeeping { owned, told } = cluster.presence;
        if owned != told {
            let wish = owned.map_or(PresenceWish::End, PresenceWish::Begin);
            if cluster.port.send_presence(wish).is_err() {
                return;
            }
            cluster.presence.told = owned;
        }
        if owned.is_none() {
            return;
        }
        while let Some(kept) = self.market.poll_kept(self.now) {
            if cluster.port.send_presence(PresenceWish::Write(kept)).is_err() {
                return self.market.handle_kept(&KeptWord::Unwritten(kept), self.now);
            }
        }
    }
}
