//! What of the venue's thread can be set again while it runs. Home: that thread, at the start of a turn.

use crate::backend::FeedSettings;
use crate::desk::{DeskConfig, InstrumentLimits};
use crate::hub::Deflation;
use crate::hub::history::HistoryLimits;
use crate::hub::overload::OverloadMarks;
use crate::mail::OfficeConfig;
use crate::model::instrument::Symbol;
use crate::shard::Spin;

use super::Venue;

/// What the configuration sets of the venue, and may set again.
#[derive(Clone, Debug)]
pub struct VenueSettings {
    pub history: HistoryLimits,
    pub deflation: Deflation,
    pub desk: DeskConfig,
    pub instruments: Vec<(Symbol, InstrumentLimits)>,
    pub office: OfficeConfig,
    pub overload: OverloadMarks,
    pub spin: Spin,
    pub feed: FeedSettings,
}

impl Venue {
    /// Goes by newer settings from this turn on, if there are any.
    pub(super) fn take_settings(&mut self) {
        let Some(newer) = self.newer_settings.take() else { return };
        self.settings = VenueSettings::clone(&newer);
        let VenueSettings { history, deflation, desk, instruments, office, overload, spin, feed } =
            self.settings.clone();
        self.market.set_history(history);
        self.market.set_deflation(deflation);
        self.market.set_desk_config(desk);
        self.market.set_instrument_limits(instruments);
        self.market.set_office_config(office);
        self.overload.set_marks(overload);
        self.spin = spin;
        self.feed.set(&feed, self.now);
        // All that came until now, oldest first; the last of them has the links that there are to be.
        while let Ok(links) = self.newer_links.try_recv() {
            self.links.change(links, &mut self.ring, &mut self.market, self.now);
        }
    }
}
