//! One topic of one instrument at the market's home: what it has gathered and how it is encoded. PURE.
//! Invariant: an event is encoded once, when it is stamped; what is gathered between stamps is bounded.

use crate::limits;
use crate::model::book::{LevelAction, LevelUpdate, Side};
use crate::model::channel::{Interval, MarketChannel};
use crate::model::decimal::{Amount, Price};
use crate::model::encoding::Encoding;
use crate::model::grouping::{GroupedLevel, grouped_asks, grouped_bids};
use crate::model::ids::{InstrumentId, Seq};
use crate::model::instrument::Symbol;
use crate::model::market::{InstrumentState, TRADES_KEPT_MAX, Trade};
use crate::model::time::Now;

use super::batch::Batch;
use super::home::{Home, HomeTopicSlot};
use super::notification::{NotifiedTopic, Said, append_notification};

/// A level as it stood before an interval changed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Touch {
    pub(super) side: Side,
    pub(super) price: Price,
    pub(super) before: Amount,
}

#[derive(Debug)]
pub(super) struct Derived {
    slot: HomeTopicSlot,
    instrument: InstrumentId,
    channel: MarketChannel,
    encoding: Encoding,
    /// The channel as clients spell it.
    name: Vec<u8>,
    /// Whether the interval has something to tell.
    pending: bool,
    /// The trades of the interval.
    trades: Vec<Trade>,
    /// The first state of each level that the interval changed; the same level may stand here more than once, the
    /// earliest first.
    touches: Vec<Touch>,
    /// Touches at which they are folded next.
    fold_at: usize,
    /// The levels of a raw grouped book as last told, to tell it only when they change: bids, `None`, asks.
    told: Vec<Option<GroupedLevel>>,
}

impl Derived {
    #[must_use]
    pub(super) fn new(
        slot: HomeTopicSlot,
        instrument: InstrumentId,
        channel: MarketChannel,
        encoding: Encoding,
        symbol: &Symbol,
    ) -> Derived {
        let mut name = Vec::new();
        channel.write(&mut name, symbol);
        Derived {
            slot,
            instrument,
            channel,
            encoding,
            name,
            pending: false,
            trades: Vec::new(),
            touches: Vec::new(),
            fold_at: limits::INTERVAL_TOUCHES_MAX,
            told: Vec::new(),
        }
    }

    /// Whether it is the topic of this channel in this encoding.
    #[must_use]
    pub(super) fn tells(&self, channel: MarketChannel, encoding: Encoding) -> bool {
        self.channel == channel && self.encoding == encoding
    }

    #[must_use]
    pub(super) fn interval(&self) -> Interval {
        self.channel.interval()
    }

    #[must_use]
    pub(super) fn is_pending(&self) -> bool {
        self.pending
    }

    /// Whether [`Derived::touch`] is to be called.
    #[must_use]
    pub(super) fn gathers_levels(&self) -> bool {
        matches!(self.channel, MarketChannel::Book { .. }) && self.interval() != Interval::Raw
    }

    /// A level is about to change.
    pub(super) fn touch(&mut self, touch: Touch) {
        if self.gathers_levels() {
            self.touches.push(touch);
            if self.touches.len() >= self.fold_at {
                self.fold_touches();
            }
        }
    }

    /// The book changed by `changes`.
    pub(super) fn on_book(
        &mut self,
        home: &mut Home,
        state: &InstrumentState,
        changes: &[(LevelAction, LevelUpdate)],
        best_changed: bool,
        out: &mut Batch,
        now: Now,
    ) {
        match self.channel {
            MarketChannel::Trades { .. } => {}
            MarketChannel::Ticker { interval: Interval::Raw } | MarketChannel::Quote => {
                if best_changed {
                    self.tell_value(home, state, out, now);
                }
            }
            MarketChannel::Ticker { .. } => self.pending |= best_changed,
            MarketChannel::Book { interval: Interval::Raw, .. } => {
                self.tell_changes(home, state, changes, out, now);
            }
            MarketChannel::GroupedBook { interval: Interval::Raw, .. } => {
                self.tell_value(home, state, out, now)
            }
            MarketChannel::Book { .. } | MarketChannel::GroupedBook { .. } => self.pending = true,
        }
    }

    /// A trade happened and is recorded.
    pub(super) fn on_trade(
        &mut self,
        home: &mut Home,
        state: &InstrumentState,
        trade: Trade,
        out: &mut Batch,
        now: Now,
    ) {
        match self.channel {
            MarketChannel::Trades { interval: Interval::Raw } => {
                self.trades.push(trade);
                self.tell_trades(home, state, out, now);
            }
            MarketChannel::Trades { .. } => {
                self.trades.push(trade);
                self.pending = true;
                if self.trades.len() >= TRADES_KEPT_MAX {
                    // A burst is told early rather than gathered without bound.
                    self.pending = false;
                    self.tell_trades(home, state, out, now);
                }
            }
            MarketChannel::Ticker { .. } => self.on_state(home, state, out, now),
            MarketChannel::Quote | MarketChannel::Book { .. } | MarketChannel::GroupedBook { .. } => {}
        }
    }

    /// Something that only tickers tell changed.
    pub(super) fn on_state(&mut self, home: &mut Home, state: &InstrumentState, out: &mut Batch, now: Now) {
        match self.channel {
            MarketChannel::Ticker { interval: Interval::Raw } => self.tell_value(home, state, out, now),
            MarketChannel::Ticker { .. } => self.pending = true,
            MarketChannel::Trades { .. }
            | MarketChannel::Quote
            | MarketChannel::Book { .. }
            | MarketChannel::GroupedBook { .. } => {}
        }
    }

    /// The interval has ended: tells what it gathered, if anything.
    pub(super) fn end_interval(
        &mut self,
        home: &mut Home,
        state: &InstrumentState,
        out: &mut Batch,
        now: Now,
    ) {
        if !self.pending {
            return;
        }
        self.pending = false;
        match self.channel {
            MarketChannel::Trades { .. } => self.tell_trades(home, state, out, now),
            MarketChannel::Ticker { .. } | MarketChannel::Quote | MarketChannel::GroupedBook { .. } => {
                self.tell_value(home, state, out, now);
            }
            MarketChannel::Book { .. } => {
                self.fold_touches();
                let net = |touch: &Touch| {
                    let amount = state.book.amount_at(touch.side, touch.price);
                    let update = LevelUpdate { side: touch.side, price: touch.price, amount };
                    match (touch.before == Amount::ZERO, amount == Amount::ZERO) {
                        _ if touch.before == amount => None,
                        (true, _) => Some((LevelAction::New, update)),
                        (false, true) => Some((LevelAction::Delete, update)),
                        (false, false) => Some((LevelAction::Change, update)),
                    }
                };
                let changes: Vec<_> = self.touches.iter().filter_map(net).collect();
                self.touches.clear();
                if state.change_id != home.change_id(self.slot) {
                    self.tell_changes(home, state, &changes, out, now);
                }
            }
        }
    }

    /// Keeps only the earliest touch of each level.
    fn fold_touches(&mut self) {
        self.touches.sort_by_key(|touch| (touch.side, touch.price));
        self.touches.dedup_by_key(|touch| (touch.side, touch.price));
        self.fold_at = limits::INTERVAL_TOUCHES_MAX.max(2 * self.touches.len());
    }

    fn tell_value(&mut self, home: &mut Home, state: &InstrumentState, out: &mut Batch, now: Now) {
        // Only where every state is an event: a shard tells who joins within an interval what the book is at that moment, so
        // that a book which is by its end what it was at its beginning is news to them.
        if let MarketChannel::GroupedBook { group, depth, interval: Interval::Raw } = self.channel {
            let kept = self.told.len();
            self.told.extend(grouped_bids(state, group, depth).map(Some));
            self.told.push(None);
            self.told.extend(grouped_asks(state, group, depth).map(Some));
            let same = self.told[..kept] == self.told[kept..];
            self.told.drain(..kept);
            if same {
                return;
            }
        }
        self.publish(home, Seq(0), state, &Said::Value, out, now);
    }

    fn tell_trades(&mut self, home: &mut Home, state: &InstrumentState, out: &mut Batch, now: Now) {
        let mut trades = std::mem::take(&mut self.trades);
        self.publish(home, Seq(0), state, &Said::Trades(&trades), out, now);
        trades.clear();
        self.trades = trades;
    }

    fn tell_changes(
        &mut self,
        home: &mut Home,
        state: &InstrumentState,
        changes: &[(LevelAction, LevelUpdate)],
        out: &mut Batch,
        now: Now,
    ) {
        let previous = home.change_id(self.slot);
        self.publish(home, state.change_id, state, &Said::BookChange { previous, changes }, out, now);
    }

    fn publish(
        &self,
        home: &mut Home,
        change_id: Seq,
        state: &InstrumentState,
        said: &Said<'_>,
        out: &mut Batch,
        now: Now,
    ) {
        let Derived { instrument, channel, encoding, .. } = *self;
        let topic = NotifiedTopic { instrument, channel, encoding, name: &self.name };
        let position = home.next_position(self.slot);
        let frame = append_notification(&mut out.bytes, &topic, state, said, position, now.unix_ns);
        home.publish(self.slot, change_id, frame, out, now);
    }
}
