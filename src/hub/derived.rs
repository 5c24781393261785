//! One topic of one instrument at the market's home: what it has gathered and how it is encoded. PURE.
//! Invariant: an event is encoded once, when it is stamped; what is gathered between stamps is bounded.

use crate::dialect::json_rpc;
use crate::limits;
use crate::model::book::{LevelAction, LevelUpdate, Side};
use crate::model::channel::{Interval, MarketChannel};
use crate::model::decimal::{Amount, Price};
use crate::model::ids::{Position, Seq};
use crate::model::instrument::Symbol;
use crate::model::market::{InstrumentState, TRADES_KEPT_MAX, Trade};
use crate::model::time::Now;

use super::batch::Batch;
use super::home::{Home, HomeTopicSlot};
use super::text_frame::append_text_frame;

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
    channel: MarketChannel,
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
    /// The data of a raw grouped book as last told, to tell it only when it changes.
    told: Vec<u8>,
}

impl Derived {
    #[must_use]
    pub(super) fn new(slot: HomeTopicSlot, channel: MarketChannel, instrument: &Symbol) -> Derived {
        let mut name = Vec::new();
        channel.write(&mut name, instrument);
        Derived {
            slot,
            channel,
            name,
            pending: false,
            trades: Vec::new(),
            touches: Vec::new(),
            fold_at: limits::INTERVAL_TOUCHES_MAX,
            told: Vec::new(),
        }
    }

    #[must_use]
    pub(super) fn channel(&self) -> MarketChannel {
        self.channel
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
            json_rpc::write_grouped_levels(&mut self.told, state, group, depth);
            let same = self.told[..kept] == self.told[kept..];
            self.told.drain(..kept);
            if same {
                return;
            }
        }
        let channel = self.channel;
        self.publish(home, Seq(0), out, now, |bytes| write_value(bytes, channel, state));
    }

    fn tell_trades(&mut self, home: &mut Home, state: &InstrumentState, out: &mut Batch, now: Now) {
        let mut trades = std::mem::take(&mut self.trades);
        self.publish(home, Seq(0), out, now, |bytes| json_rpc::write_trades(bytes, state, trades.iter()));
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
        let MarketChannel::Book { checksum, .. } = self.channel else {
            panic!("invariant: called for books only, by the arms of `on_book` and `end_interval`");
        };
        let previous = home.change_id(self.slot);
        self.publish(home, state.change_id, out, now, |bytes| {
            json_rpc::write_book_change(bytes, state, previous, state.change_id, changes, checksum);
        });
    }

    fn publish(
        &self,
        home: &mut Home,
        change_id: Seq,
        out: &mut Batch,
        now: Now,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let place = home.next_position(self.slot);
        let frame = append_text_frame(&mut out.bytes, |bytes| {
            json_rpc::open_notification(bytes, &self.name);
            write(bytes);
            json_rpc::close_notification(bytes, place.epoch, place.seq, now.unix_ns);
        });
        home.publish(self.slot, change_id, frame, out, now);
    }
}

/// Appends the data of a channel whose newest notification says all there is to say.
///
/// # Panics
/// For channels that tell changes or trades.
pub(super) fn write_value(bytes: &mut Vec<u8>, channel: MarketChannel, state: &InstrumentState) {
    match channel {
        MarketChannel::Ticker { .. } => json_rpc::write_ticker(bytes, state),
        MarketChannel::Quote => json_rpc::write_quote(bytes, state),
        MarketChannel::GroupedBook { group, depth, .. } => {
            json_rpc::write_grouped_book(bytes, state, group, depth)
        }
        MarketChannel::Book { checksum, .. } => json_rpc::write_book_snapshot(bytes, state, checksum),
        MarketChannel::Trades { .. } => {
            panic!("invariant: values are asked for by `TopicKind`, which has trades as events")
        }
    }
}

/// Appends the notification that says all there is to say on a channel as of an event.
pub(super) fn write_notification(
    bytes: &mut Vec<u8>,
    channel: MarketChannel,
    state: &InstrumentState,
    position: Position,
    unix_ns: u64,
) {
    let mut name = Vec::new();
    channel.write(&mut name, &state.definition.name);
    json_rpc::open_notification(bytes, &name);
    write_value(bytes, channel, state);
    json_rpc::close_notification(bytes, position.epoch, position.seq, unix_ns);
}
