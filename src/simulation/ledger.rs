//! An independent ledger of what clients' orders came to, kept where the venue executes them: orders, fills, positions,
//! cash, and why each order was cancelled. PURE. It knows the venue's words and none of the desk's. A verdict is a panic.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::hub::batch::{Batch, Record};
use crate::model::decimal::{Amount, Price};
use crate::model::market::{Direction, FeedEvent, FeedInstrument};
use crate::model::order::{
    AccountId, Client, Departure, DisconnectScope, Label, NewOrder, OrderId, OrderRequest, Parties,
    VenueReport, VenueRequest, notional,
};

use super::reference::units;
use super::venue_link::FIRST;

/// Orders that are closed and this many orders old are forgotten at a rest.
const KEPT_ORDERS: u64 = 50_000;

/// An order as the venue has it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) account: u32,
    pub(super) label: Option<u64>,
    pub(super) instrument: u32,
    pub(super) is_buy: bool,
    pub(super) reduce_only: bool,
    pub(super) price: i64,
    pub(super) amount: i64,
    pub(super) filled: i64,
    /// The order of the asks: when its own was, or the first of its label.
    asked: u64,
    /// The one that placed it; `None` where it may have been one of several.
    owner: Option<Client>,
}

/// One side of a trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Side {
    pub(super) instrument: u32,
    /// 0 of an instrument whose trades may be lost with a link, so that nobody here knows the market's number.
    pub(super) trade_seq: u64,
    pub(super) order: u64,
    pub(super) price: i64,
    pub(super) amount: i64,
    pub(super) is_maker: bool,
}

/// What an account holds of an instrument; money in units of 1e-9, cost signed as size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) size: i128,
    pub(super) cost: i128,
    pub(super) realized: i128,
    pub(super) cash: i128,
}

/// Who asked first under a label.
#[derive(Clone, Copy, Debug)]
struct Asked {
    at: u64,
    first: Client,
    /// Nobody else has.
    is_sole: bool,
}

/// What an account asked for that cancels more than one order.
#[derive(Clone, Copy, Debug, Default)]
struct Wishes {
    cancel_all: u64,
    has_timer: bool,
}

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    orders: HashMap<u64, Entry>,
    pub(super) open: BTreeSet<u64>,
    /// The order of a label that the venue took.
    labels: HashMap<(u32, u64), u64>,
    asked: HashMap<(u32, u64), Asked>,
    asks: u64,
    cancels: HashSet<u64>,
    label_cancels: HashSet<(u32, u64)>,
    wishes: HashMap<u32, Wishes>,
    guarded: HashSet<Client>,
    /// Those that were guarded when they went.
    departed: HashSet<Client>,
    pub(super) held: BTreeMap<(u32, u32), Held>,
    /// What those hold who are no clients.
    pub(super) house: BTreeMap<u32, Held>,
    /// By account, oldest first.
    pub(super) fills: BTreeMap<u32, Vec<Side>>,
    trades: BTreeMap<u32, u64>,
    pub(super) newest: u64,
    /// By whether the venue is behind a link.
    newest_of: BTreeMap<bool, u64>,
    pub(super) client_trades: u64,
    pub(super) cancels_on_disconnect: u64,
}

/// The number that a label of the simulation stands for.
pub(super) fn label_number(text: &str) -> u64 {
    let parts = text.strip_prefix('c').and_then(|rest| rest.split_once('-'));
    let parts =
        parts.and_then(|(client, count)| Some((client.parse::<u64>().ok()?, count.parse::<u64>().ok()?)));
    let (client, count) = parts.unwrap_or_else(|| panic!("no label of ours: {text}"));
    client << 32 | count
}

impl Ledger {
    pub(super) fn order(&self, id: u64) -> &Entry {
        self.orders.get(&id).unwrap_or_else(|| panic!("the venue has no order {id}"))
    }

    /// The order that the venue took under a label.
    pub(super) fn labelled(&self, account: u32, label: u64) -> Option<u64> {
        self.labels.get(&(account, label)).copied()
    }

    pub(super) fn open_of(&self, account: u32) -> impl Iterator<Item = u64> + '_ {
        self.open.iter().copied().filter(move |id| self.orders[id].account == account)
    }

    // What clients ask the desk for.

    /// A shard's batch reaches the market's home.
    pub(super) fn note_batch(&mut self, batch: &Batch) {
        for record in &batch.records {
            if let Record::Ask { at } = record {
                let ask = batch.ask(*at);
                self.asks += 1;
                self.note_ask(ask.account.0, ask.client, &ask.request);
            } else if let Record::Departed { client, how } = record {
                let was_guarded = self.guarded.remove(client);
                if was_guarded && *how == Departure::Disconnected {
                    self.departed.insert(*client);
                }
            }
        }
    }

    fn note_ask(&mut self, account: u32, client: Client, request: &OrderRequest) {
        let at = self.asks;
        match request {
            OrderRequest::Place(NewOrder { label: Some(label), .. }) => {
                let fresh = Asked { at, first: client, is_sole: true };
                let asked = self.asked.entry((account, number(label))).or_insert(fresh);
                asked.is_sole &= asked.first == client;
            }
            OrderRequest::Cancel { order, .. } => _ = self.cancels.insert(order.0),
            OrderRequest::CancelByLabel { label, .. } => {
                self.label_cancels.insert((account, number(label)));
            }
            OrderRequest::CancelAll { .. } => self.wishes.entry(account).or_default().cancel_all = at,
            OrderRequest::CancelAllAfter { .. } => self.wishes.entry(account).or_default().has_timer = true,
            OrderRequest::EnableCancelOnDisconnect { scope: DisconnectScope::Connection } => {
                self.guarded.insert(client);
            }
            OrderRequest::DisableCancelOnDisconnect { scope: DisconnectScope::Connection } => {
                self.guarded.remove(&client);
            }
            OrderRequest::OpenOrders { .. }
            | OrderRequest::OrderState { .. }
            | OrderRequest::OrderStateByLabel { .. }
            | OrderRequest::OrderHistory { .. }
            | OrderRequest::UserTrades(_)
            | OrderRequest::Position { .. }
            | OrderRequest::Positions { .. }
            | OrderRequest::AccountSummary { .. }
            | OrderRequest::AccountSummaries
            | OrderRequest::EnableCancelOnDisconnect { .. }
            | OrderRequest::DisableCancelOnDisconnect { .. }
            | OrderRequest::GetCancelOnDisconnect { .. }
            | OrderRequest::Halt { .. }
            | OrderRequest::Place(_)
            | OrderRequest::Edit(_) => {}
        }
    }

    // What the venue is asked for and does.

    /// The venue executes a request.
    pub(super) fn note_request(&mut self, request: &VenueRequest) {
        match request {
            VenueRequest::New { order, account, spec } => self.note_new(*order, *account, spec),
            // A cancel of the desk's own goes out when the link is there again, be the order in doubt: it may never have come here.
            VenueRequest::Cancel { order, .. } if !self.orders.contains_key(&order.0) => {}
            VenueRequest::Cancel { order, .. } => self.note_cancel(order.0),
            VenueRequest::Amend { order, .. } => _ = self.order(order.0),
        }
    }

    fn note_new(&mut self, order: OrderId, account: AccountId, spec: &NewOrder) {
        let id = order.0;
        let newest = self.newest_of.entry(spec.instrument.0 >= FIRST).or_default();
        assert!(id > *newest, "order {id} is sent twice, or late");
        *newest = id;
        self.newest = self.newest.max(id);
        let label = spec.label.as_ref().map(number);
        let asked = label.and_then(|label| self.asked.get(&(account.0, label)).copied());
        if let Some(earlier) = label.and_then(|label| self.labelled(account.0, label)) {
            panic!("orders {earlier} and {id} of account {} have one label", account.0);
        }
        let entry = Entry {
            account: account.0,
            label,
            instrument: spec.instrument.0,
            is_buy: spec.direction == Direction::Buy,
            reduce_only: spec.reduce_only,
            price: spec.price.map_or(0, |price| price.0),
            amount: spec.amount.0,
            filled: 0,
            asked: asked.map_or(0, |asked| asked.at),
            owner: asked.filter(|asked| asked.is_sole).map(|asked| asked.first),
        };
        self.orders.insert(id, entry);
    }

    /// No order is cancelled but for a reason.
    fn note_cancel(&mut self, id: u64) {
        let entry = self.order(id).clone();
        let wishes = self.wishes.get(&entry.account).copied().unwrap_or_default();
        let is_asked = self.cancels.contains(&id)
            || entry.label.is_some_and(|label| self.label_cancels.contains(&(entry.account, label)))
            || wishes.cancel_all >= entry.asked && wishes.cancel_all > 0
            || wishes.has_timer
            || entry.reduce_only;
        let is_deserted = entry.owner.is_none_or(|owner| self.departed.contains(&owner));
        assert!(is_asked || is_deserted, "order {id} is cancelled without a reason: {entry:?}");
        self.cancels_on_disconnect += u64::from(!is_asked && entry.owner.is_some());
    }

    /// What the venue said, in its order; what clients' requests did is among it.
    pub(super) fn note_events(&mut self, events: &[FeedEvent], quote: impl Fn(FeedInstrument) -> u32) {
        for event in events {
            if let FeedEvent::Trade { instrument, price, amount, direction, parties, .. } = event {
                let at = quote(*instrument);
                let is_buy = *direction == Direction::Buy;
                self.note_trade(at, (price.0, amount.0), is_buy, *parties);
            } else if let FeedEvent::Report(report) = event {
                self.note_report(report);
            }
        }
    }

    fn note_report(&mut self, report: &VenueReport) {
        match *report {
            VenueReport::Accepted { order, price } => {
                let entry = self.orders.get_mut(&order.0).expect("it was asked for");
                entry.price = price.map_or(0, |price| price.0);
                let (account, label) = (entry.account, entry.label);
                self.open.insert(order.0);
                if let Some(label) = label {
                    let earlier = self.labels.insert((account, label), order.0);
                    assert_eq!(earlier, None, "label {label:x} of account {account}");
                }
            }
            VenueReport::Amended { order, price, total } => {
                let entry = self.orders.get_mut(&order.0).expect("it was asked for");
                entry.price = price.0;
                entry.amount = total.0;
                assert!(entry.filled <= entry.amount, "order {} is less than its fills", order.0);
                if entry.filled == entry.amount {
                    self.open.remove(&order.0);
                }
            }
            VenueReport::Cancelled { order, .. } => _ = self.open.remove(&order.0),
            VenueReport::Rejected { order, .. } => _ = self.orders.remove(&order.0),
            VenueReport::AmendRejected { .. } | VenueReport::CancelRejected { .. } => {}
        }
    }

    fn note_trade(&mut self, instrument: u32, terms: (i64, i64), is_buy: bool, parties: Parties) {
        let count = self.trades.entry(instrument).or_default();
        *count += 1;
        let trade_seq = if instrument < FIRST { *count } else { 0 };
        let sides = [(parties.taker, is_buy, false), (parties.maker, !is_buy, true)];
        for (order, is_buy, is_maker) in sides {
            let (price, amount) = terms;
            let Some(order) = order.map(|order| order.0) else {
                self.house.entry(instrument).or_default().trade(is_buy, price, amount);
                continue;
            };
            let entry = self.orders.get_mut(&order).expect("a side of a trade is an order of the venue's");
            assert!(self.open.contains(&order), "order {order} is filled and not open");
            assert_eq!(entry.is_buy, is_buy, "order {order} trades the other way");
            entry.filled += amount;
            assert!(entry.filled <= entry.amount, "order {order} is filled beyond its amount");
            if entry.filled == entry.amount {
                self.open.remove(&order);
            }
            let account = entry.account;
            self.held.entry((account, instrument)).or_default().trade(is_buy, price, amount);
            let side = Side { instrument, trade_seq, order, price, amount, is_maker };
            self.fills.entry(account).or_default().push(side);
            self.client_trades += 1;
        }
    }

    // Rest.

    /// Of the connections that went with cancel-on-disconnect no order is left, and all that is held adds up to nothing.
    pub(super) fn judge_rest(&self) {
        for id in &self.open {
            let owner = self.orders[id].owner;
            let is_deserted = owner.is_some_and(|owner| self.departed.contains(&owner));
            assert!(!is_deserted, "order {id} outlives its connection: {:?}", self.orders[id]);
        }
        for (instrument, house) in &self.house {
            let each = self.held.iter().filter(|((_, of), _)| of == instrument);
            let (size, cash) = each.fold((house.size, house.cash), |(size, cash), (_, held)| {
                (size + held.size, cash + held.cash)
            });
            assert_eq!((size, cash), (0, 0), "what is held of instrument {instrument}");
        }
        for ((account, instrument), held) in &self.held {
            assert_eq!(held.cash, held.realized - held.cost, "account {account}, instrument {instrument}");
        }
    }

    /// What is long over.
    pub(super) fn forget(&mut self) {
        let oldest = self.newest.saturating_sub(KEPT_ORDERS);
        let open = &self.open;
        self.orders.retain(|id, _| *id >= oldest || open.contains(id));
        self.labels.retain(|_, id| *id >= oldest || open.contains(id));
        let orders = &self.orders;
        self.cancels.retain(|id| orders.contains_key(id));
        let oldest = self.asks.saturating_sub(4 * KEPT_ORDERS);
        self.asked.retain(|_, asked| asked.at >= oldest);
        let asked = &self.asked;
        self.label_cancels.retain(|label| asked.contains_key(label));
    }

    /// An order that was cancelled because its connection went was that connection's.
    pub(super) fn judge_disconnect(&self, id: u64) {
        let Some(entry) = self.orders.get(&id) else { return };
        let is_deserted = entry.owner.is_none_or(|owner| self.departed.contains(&owner));
        assert!(is_deserted, "order {id} is cancelled on a disconnect that was none: {entry:?}");
    }
}

impl Held {
    /// By average cost; what a closed part cost is rounded towards zero.
    fn trade(&mut self, is_buy: bool, price: i64, amount: i64) {
        let sign = if is_buy { 1 } else { -1 };
        let (value, signed) = (notional(Price(price), Amount(amount)) * sign, i128::from(amount) * sign);
        self.cash -= value;
        if self.size * signed >= 0 {
            self.size += signed;
            self.cost += value;
            return;
        }
        let closed = self.size.abs().min(signed.abs());
        let closed_cost = self.cost * closed / self.size.abs();
        let proceeds = value * closed / signed.abs();
        self.realized -= proceeds + closed_cost;
        self.cost += value - proceeds - closed_cost;
        self.size += signed;
    }
}

fn number(label: &Label) -> u64 {
    label_number(label.as_str())
}

/// A decimal as units of 1e-9, beyond what 64 bits hold.
pub(super) fn money(text: &str) -> i128 {
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let whole: i128 = whole.parse().unwrap_or_else(|_| panic!("not a decimal: {text}"));
    sign * (whole * 1_000_000_000 + i128::from(units(&format!("0.{fraction}"))))
}
