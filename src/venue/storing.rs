//! The venue's way to the store and back: batches of what is to be durable, at the end of a turn, and what the store says of those before. Home:
//! the venue's thread.
//!
//! Invariant: a batch that the office has made reaches the store, in the order in which it was made, however long there is no room.

use crate::hub::market::MarketHome;
use crate::limits;
use crate::model::storage::{StoreBatch, StoreState, StoreWord};
use crate::model::time::Now;
use crate::store::StoreHandle;

use super::Venue;

/// The handle, and a batch that found no room.
#[derive(Debug)]
pub(super) struct Storing {
    handle: StoreHandle,
    unsent: Option<StoreBatch>,
    /// It has said more than a turn takes.
    is_owing: bool,
}

impl Storing {
    /// From here on the office knows that there is a store, and that it has not said yet what it has.
    pub(super) fn new(handle: StoreHandle, market: &mut MarketHome, now: Now) -> Storing {
        market.handle_store(StoreWord::State(StoreState::Loading), now);
        Storing { handle, unsent: None, is_owing: false }
    }

    /// Whether a batch waits for room, of which nobody rings.
    pub(super) fn waits(&self) -> bool {
        self.unsent.is_some()
    }

    /// Whether it has something to commit.
    pub(super) fn is_at_work(&self) -> bool {
        self.handle.waiting_bytes() > 0
    }

    /// Whether it has perhaps said more than was heard.
    pub(super) fn is_owing(&self) -> bool {
        self.is_owing
    }

    /// Sends a batch, or keeps it; whether another one may follow.
    fn send(&mut self, batch: StoreBatch) -> bool {
        self.unsent = self.handle.send(batch).err();
        self.unsent.is_none()
    }
}

impl Venue {
    /// What the store says, up to a bound.
    pub(super) fn take_store(&mut self) {
        let Some(store) = &mut self.store else { return };
        store.is_owing = false;
        for _ in 0..limits::STORE_WORDS_PER_TURN {
            let Some(word) = store.handle.receive() else { return };
            self.is_busy = true;
            self.market.handle_store(word, self.now);
        }
        store.is_owing = true;
    }

    /// Has the turn's changes stored: behind all that was asked in it, so that one commit is for many.
    pub(super) fn send_store(&mut self) {
        let Some(store) = &mut self.store else { return };
        if let Some(batch) = store.unsent.take()
            && !store.send(batch)
        {
            return;
        }
        while store.handle.room().batches > 0
            && let Some(batch) = self.market.poll_store_batch()
        {
            self.is_busy = true;
            if !store.send(batch) {
                return;
            }
        }
    }

    /// At the stop: all that the office still has for the store, as far as that takes it. What does not get through was promised to
    /// nobody: its senders have had no answer.
    pub(super) fn send_last_batches(&mut self) {
        let Some(store) = &mut self.store else { return };
        while let Some(batch) = store.unsent.take().or_else(|| self.market.poll_store_batch()) {
            if !store.send(batch) {
                log::warn!("some of the last changes to messages are not stored: the disk is behind");
                return;
            }
        }
    }
}
