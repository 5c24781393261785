//! What operators and the venue's thread share: the kill switch of everybody, how links are, and what the node is to its cluster.
//!
//! Home: shared. The control thread asks, the venue's thread does. Nobody waits: an ask is a number that the venue looks at once a
//! turn, and the newest ask counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use crate::cluster::node::Standing;
use crate::model::link::LinkStatus;

/// See the file's head.
#[derive(Debug)]
pub struct HaltSwitch {
    /// Twice the number of asks, and 1 where the newest is to halt.
    asked: AtomicU64,
    /// As `asked` was when it was taken; the venue's own.
    taken: AtomicU64,
    done: AtomicU64,
    /// What the node is to the market.
    standing: ArcSwap<Standing>,
    links: ArcSwap<Box<[LinkStatus]>>,
}

impl Default for HaltSwitch {
    fn default() -> HaltSwitch {
        let number = || AtomicU64::new(0);
        HaltSwitch {
            asked: number(),
            taken: number(),
            done: number(),
            standing: ArcSwap::from_pointee(Standing::Owner),
            links: ArcSwap::from_pointee(Box::default()),
        }
    }
}

impl HaltSwitch {
    /// Asks to halt or to resume; the number to ask [`HaltSwitch::is_done`] by. The venue's doorbell is to be rung then.
    pub fn ask(&self, is_on: bool) -> u64 {
        let next = |asked: u64| Some(((asked / 2 + 1) * 2) | u64::from(is_on));
        // The closure always gives a number.
        let before = self.asked.fetch_update(Ordering::Release, Ordering::Relaxed, next).unwrap_or_default();
        before / 2 + 1
    }

    /// Whether that ask, or a later one, was carried out.
    #[must_use]
    pub fn is_done(&self, number: u64) -> bool {
        self.done.load(Ordering::Acquire) / 2 >= number
    }

    /// What is newly asked for. Called by the venue's thread alone.
    pub fn take(&self) -> Option<bool> {
        let asked = self.asked.load(Ordering::Acquire);
        if asked == self.taken.load(Ordering::Relaxed) {
            return None;
        }
        self.taken.store(asked, Ordering::Relaxed);
        Some(asked & 1 == 1)
    }

    /// What was taken is carried out. Called by the venue's thread alone.
    pub fn done(&self) {
        self.done.store(self.taken.load(Ordering::Relaxed), Ordering::Release);
    }

    /// Shows what the node is to the market; one by itself owns it. Called by the venue's thread alone.
    pub fn show_standing(&self, standing: Standing) {
        self.standing.store(Arc::new(standing));
    }

    /// As it was last shown.
    #[must_use]
    pub fn standing(&self) -> Standing {
        **self.standing.load()
    }

    /// Shows how links are; nothing is done where they were shown already.
    pub fn show_links(&self, links: &Arc<[LinkStatus]>) {
        if **self.links.load().as_ref() != **links {
            self.links.store(Arc::new(links.iter().cloned().collect()));
        }
    }

    /// As they were last shown.
    #[must_use]
    pub fn links(&self) -> Arc<Box<[LinkStatus]>> {
        self.links.load_full()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_ask_is_taken_once_and_known_to_be_done() {
        let switch = HaltSwitch::default();
        assert_eq!(switch.take(), None);
        let first = switch.ask(true);
        let second = switch.ask(false);
        assert_eq!(switch.take(), Some(false));
        assert!(!switch.is_done(first));
        let third = switch.ask(true);
        switch.done();
        assert!(switch.is_done(first) && switch.is_done(second) && !switch.is_done(third));
        assert_eq!(switch.take(), Some(true));
        switch.done();
        assert!(switch.is_done(third));
        assert_eq!(switch.take(), None);
    }
}
