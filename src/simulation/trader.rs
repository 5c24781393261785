//! A client that trades: what it asked, and what it knows of its account's orders, fills and positions, from what it is
//! told alone. PURE. Each word is held against the ledger; a verdict is a panic.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use super::json::Json;
use super::ledger::{Entry, Ledger, Side, label_number, money};
use super::reference::units;
use super::sbe_trader::{REPORTED, Reports};
use super::venue_link::FIRST;

pub(super) const CHANNEL: &str = "user.changes.any.any.raw";
/// Closed orders whose last word is kept, to be asked about; labels that may be repeated.
const RECENT_MAX: usize = 8;

/// How far a connection is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing was asked yet.
    #[default]
    Begun,
    LoggingIn,
    Subscribing,
    /// It asks for what events can no longer tell.
    Rebuilding,
    Ready,
}

/// A request that has no reply yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Login,
    Subscribe {
        resumes: bool,
    },
    RebuildOrders,
    RebuildPositions,
    Place {
        label: u64,
    },
    /// Of an order: to edit or to cancel it, whose refusal says nothing.
    Order {
        id: u64,
    },
    Many,
    /// At rest, where the answer is known.
    OpenOrders,
    Positions,
    Summary {
        instruments: Vec<u32>,
    },
    State {
        id: u64,
        told: String,
    },
    Fills {
        instrument: u32,
    },
}

/// What a client sends: in JSON or in SBE.
#[derive(Clone, Debug)]
pub(super) enum Saying {
    Text(String),
    Message(Vec<u8>),
}

/// What became of the attempts to place one order.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    /// All but its number, to be said again.
    said: Saying,
    sent: u32,
    refused: u32,
    placed: Option<u64>,
}

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Trader {
    pub(super) account: u32,
    pub(super) phase: Phase,
    pub(super) asked: BTreeMap<u64, Asked>,
    next_id: u64,
    pub(super) labels: u64,
    place: Option<(u64, u64)>,
    /// By their ids, as they were last told of.
    pub(super) open: BTreeMap<u64, String>,
    pub(super) closed: VecDeque<(u64, String)>,
    /// How often each was told.
    fills: HashMap<Side, u32>,
    /// All fills of orders from this one on were told.
    complete_from: u64,
    /// Size, average price and realized profit, as printed.
    positions: BTreeMap<String, [String; 3]>,
    /// What events can not tell was asked for and told.
    is_whole: bool,
    touched: BTreeSet<u64>,
    touched_names: BTreeSet<String>,
    pub(super) attempts: VecDeque<(u64, Attempt)>,
    /// Attempts of which the connection took the reply with it.
    pub(super) unanswered: VecDeque<u64>,
    /// The newest fill of the ledger that was compared.
    compared: usize,
    /// Of who trades in SBE.
    pub(super) reports: Option<Box<Reports>>,
    pub(super) count: Counts,
}

/// What it did and met.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) operations: u64,
    pub(super) events: u64,
    pub(super) fills: u64,
    pub(super) replies: u64,
    pub(super) refusals: u64,
    pub(super) unknown: u64,
    pub(super) repeats_sent: u64,
    pub(super) repeated: u64,
    pub(super) recovered: u64,
    pub(super) rebuilt: u64,
    pub(super) cuts: u64,
    pub(super) lost_replies: u64,
    pub(super) cancelled_on_disconnect: u64,
    pub(super) acks: u64,
    pub(super) rejects: u64,
    pub(super) reports: u64,
}

/// What a trader does next because of what it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Nothing,
    Subscribe,
    Rebuild,
}

/// The market's instruments, as the trader needs them.
pub(super) type Names = Vec<String>;

impl Trader {
    pub(super) fn new(account: u32, speaks_sbe: bool) -> Trader {
        let reports = speaks_sbe.then(Box::default);
        Trader { account, reports, ..Trader::default() }
    }

    /// The number of what is asked from now on.
    pub(super) fn ask(&mut self, asked: Asked) -> u64 {
        self.next_id += 1;
        self.asked.insert(self.next_id, asked);
        self.next_id
    }

    /// A request's text.
    pub(super) fn call(&mut self, asked: Asked, method: &str, params: &str) -> String {
        let id = self.ask(asked);
        format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#)
    }

    pub(super) fn log_in(&mut self) -> String {
        self.phase = Phase::LoggingIn;
        let params = r#"{"grant_type":"client_credentials","client_id":"a","client_secret":"b"}"#;
        self.call(Asked::Login, "public/auth", params)
    }

    pub(super) fn subscribe(&mut self) -> String {
        self.phase = Phase::Subscribing;
        // One place resumes all channels of an account, in either encoding.
        let channels = self.channels();
        let resume = self.place.map(|(epoch, seq)| {
            let places =
                channels.iter().map(|channel| format!(r#""{channel}":{{"epoch":{epoch},"seq":{seq}}}"#));
            format!(r#","resume":{{{}}}"#, places.collect::<Vec<_>>().join(","))
        });
        let resumes = resume.is_some();
        let params =
            format!(r#"{{"channels":["{}"]{}}}"#, channels.join("\",\""), resume.unwrap_or_default());
        self.call(Asked::Subscribe { resumes }, "private/subscribe", &params)
    }

    fn channels(&self) -> Vec<&'static str> {
        let reported = self.reports.iter().flat_map(|_| REPORTED);
        std::iter::once(CHANNEL).chain(reported).collect()
    }

    pub(super) fn rebuild(&mut self) -> [String; 2] {
        self.phase = Phase::Rebuilding;
        self.touched.clear();
        self.touched_names.clear();
        [
            self.call(Asked::RebuildOrders, "private/get_open_orders", "{}"),
            self.call(Asked::RebuildPositions, "private/get_positions", "{}"),
        ]
    }

    /// Places an order of a label of its own, or again one that it tried before.
    pub(super) fn attempt(&mut self, label: u64, said: Saying) -> Saying {
        self.attempts.push_back((label, Attempt { said, sent: 0, refused: 0, placed: None }));
        if self.attempts.len() > 4 * RECENT_MAX {
            self.attempts.pop_front();
        }
        self.try_again(label).expect("it is the newest")
    }

    /// `None` where it is forgotten.
    pub(super) fn try_again(&mut self, label: u64) -> Option<Saying> {
        let (_, attempt) = self.attempts.iter_mut().find(|(known, _)| *known == label)?;
        attempt.sent += 1;
        Some(match attempt.said.clone() {
            Saying::Text(text) => {
                let (method, params) = text.split_once(' ').expect("a method and parameters");
                Saying::Text(self.call(Asked::Place { label }, method, params))
            }
            Saying::Message(message) => Saying::Message(self.call_in_sbe(Asked::Place { label }, message)),
        })
    }

    /// Its connection is gone, and the replies with it.
    pub(super) fn lose(&mut self) {
        self.phase = Phase::Begun;
        if let Some(reports) = &mut self.reports {
            reports.lose();
        }
        for asked in std::mem::take(&mut self.asked).into_values() {
            self.count.lost_replies += 1;
            if let Asked::Place { label } = asked {
                self.unanswered.push_back(label);
            }
        }
    }

    /// It was told something.
    pub(super) fn hear(&mut self, text: &str, names: &Names, ledger: &Ledger) -> Next {
        let json = Json::parse(text).unwrap_or_else(|fault| panic!("{fault}"));
        if json.member("method").is_some() {
            self.take_event(json.at("params"), names, ledger);
            return Next::Nothing;
        }
        let id = json.at("id").whole();
        let Some(asked) = self.asked.remove(&id) else { panic!("no request is open for {text}") };
        self.count.replies += 1;
        if let Some(error) = json.member("error") {
            self.take_refusal(&asked, error.at("code").raw == "20001", error.raw);
            return Next::Nothing;
        }
        self.take_reply(asked, &json, names, ledger)
    }

    /// It is refused, or its outcome is not known.
    pub(super) fn take_refusal(&mut self, asked: &Asked, is_unknown: bool, error: &str) {
        self.count.refusals += 1;
        self.count.unknown += u64::from(is_unknown);
        match asked {
            Asked::Place { label } if is_unknown => self.unanswered.push_back(*label),
            Asked::Place { label } => {
                if let Some((_, attempt)) = self.attempts.iter_mut().find(|(known, _)| known == label) {
                    attempt.refused += 1;
                }
            }
            Asked::Order { .. } | Asked::Many => {}
            Asked::Login
            | Asked::Subscribe { .. }
            | Asked::RebuildOrders
            | Asked::RebuildPositions
            | Asked::OpenOrders
            | Asked::Positions
            | Asked::Summary { .. }
            | Asked::State { .. }
            | Asked::Fills { .. } => {
                panic!("account {}: {asked:?} is refused: {error}", self.account)
            }
        }
    }

    fn take_reply(&mut self, asked: Asked, json: &Json<'_>, names: &Names, ledger: &Ledger) -> Next {
        let result = json.at("result");
        match asked {
            Asked::Login => return Next::Subscribe,
            Asked::Subscribe { resumes } => return self.take_subscribed(resumes, json, ledger),
            Asked::RebuildOrders => self.take_open_orders(result),
            Asked::RebuildPositions => {
                self.take_positions(result);
                self.phase = Phase::Ready;
                self.is_whole = true;
            }
            Asked::Place { label } => self.take_placed(label, result, ledger),
            Asked::Order { id } => {
                let order = result.member("order").unwrap_or(result);
                assert_eq!(id_of(order), id, "a reply is of the order that was asked for");
            }
            Asked::Many => {}
            Asked::OpenOrders => self.judge_open_orders(result, names, ledger),
            Asked::Positions => self.judge_positions(result, names, ledger),
            Asked::Summary { instruments } => self.judge_summary(result, &instruments, ledger),
            Asked::State { id, told } => assert_eq!(result.raw, told, "order {id} as it was told of last"),
            Asked::Fills { instrument } => self.judge_fills(instrument, result, ledger),
        }
        Next::Nothing
    }

    fn take_subscribed(&mut self, resumes: bool, json: &Json<'_>, ledger: &Ledger) -> Next {
        assert_eq!(json.at("result").items().len(), self.channels().len(), "{}", json.raw);
        let resumed_from = self.place.filter(|_| resumes);
        if let Some(reports) = &mut self.reports {
            reports.begin(json, resumed_from);
        }
        let recovered = resumes && json.at("resumed").at(CHANNEL).at("recovered").raw == "true";
        if recovered {
            self.count.recovered += 1;
            // It was cut off before it had all.
            if !self.is_whole {
                return Next::Rebuild;
            }
            self.phase = Phase::Ready;
            return Next::Nothing;
        }
        self.count.rebuilt += 1;
        self.place = None;
        self.is_whole = false;
        self.complete_from = ledger.newest + 1;
        Next::Rebuild
    }

    // Events.

    fn take_event(&mut self, params: &Json<'_>, names: &Names, ledger: &Ledger) {
        assert_eq!(params.at("channel").text(), Some(CHANNEL));
        self.count.events += 1;
        let (epoch, seq) = (params.at("epoch").whole(), params.at("seq").whole());
        let prev_seq = params.at("prev_seq").whole();
        if let Some(place) = self.place {
            assert_eq!((epoch, prev_seq), place, "account {}: {}", self.account, params.raw);
        }
        // The channel has all that is of the account.
        assert_eq!(seq, prev_seq + 1, "account {}: {}", self.account, params.raw);
        self.place = Some((epoch, seq));
        let data = params.at("data");
        if let Some(reports) = &mut self.reports {
            reports.take_event(seq, data);
        }
        let name = data.at("instrument_name").text().expect("a name").to_owned();
        for order in data.at("orders").items() {
            self.take_order(order, ledger);
        }
        for fill in data.at("trades").items() {
            self.take_fill(fill, names, ledger);
        }
        for position in data.at("positions").items() {
            self.positions.insert(name.clone(), printed(position));
            self.touched_names.insert(name.clone());
        }
    }

    fn take_order(&mut self, order: &Json<'_>, ledger: &Ledger) {
        let id = id_of(order);
        self.touched.insert(id);
        let is_over = match order.at("order_state").text() {
            Some("open" | "unknown") => false,
            Some("filled" | "cancelled" | "rejected") => true,
            other => panic!("no state of an order: {other:?}"),
        };
        if order.member("cancel_reason").and_then(Json::text) == Some("cancel_on_disconnect") {
            self.count.cancelled_on_disconnect += 1;
            ledger.judge_disconnect(id);
        }
        if !is_over {
            self.open.insert(id, order.raw.to_owned());
            return;
        }
        self.open.remove(&id);
        self.closed.retain(|(known, _)| *known != id);
        self.closed.push_back((id, order.raw.to_owned()));
        if self.closed.len() > RECENT_MAX {
            self.closed.pop_front();
        }
    }

    fn take_fill(&mut self, fill: &Json<'_>, names: &Names, ledger: &Ledger) {
        self.count.fills += 1;
        let side = side_of(fill, names);
        let entry = ledger.order(side.order);
        let direction = if entry.is_buy { "buy" } else { "sell" };
        assert_eq!((entry.account, fill.at("direction").text()), (self.account, Some(direction)));
        let count = self.fills.entry(side).or_default();
        *count += 1;
        assert!(*count == 1 || side.trade_seq == 0, "a fill is told twice: {}", fill.raw);
    }

    // Replies.

    fn take_open_orders(&mut self, result: &Json<'_>) {
        let touched = &self.touched;
        self.open.retain(|id, _| touched.contains(id));
        for order in result.items() {
            let id = id_of(order);
            if !self.touched.contains(&id) {
                self.open.insert(id, order.raw.to_owned());
            }
        }
        // What closed meanwhile closed as nobody knows.
        self.closed.retain(|(id, _)| self.touched.contains(id));
    }

    fn take_positions(&mut self, result: &Json<'_>) {
        let touched = &self.touched_names;
        self.positions.retain(|name, _| touched.contains(name));
        for position in result.items() {
            let name = position.at("instrument_name").text().expect("a name");
            if !self.touched_names.contains(name) {
                self.positions.insert(name.to_owned(), printed(position));
            }
        }
    }

    fn take_placed(&mut self, label: u64, result: &Json<'_>, ledger: &Ledger) {
        let order = result.at("order");
        assert_eq!(label_number(order.at("label").text().expect("a label")), label);
        self.take_labelled(label, id_of(order), result.member("repeated").is_some(), ledger);
    }

    /// It was told the order of a label.
    pub(super) fn take_labelled(&mut self, label: u64, id: u64, is_repeat: bool, ledger: &Ledger) {
        self.count.repeated += u64::from(is_repeat);
        assert_eq!(ledger.labelled(self.account, label), Some(id), "the order of a label");
        if let Some((_, attempt)) = self.attempts.iter_mut().find(|(known, _)| *known == label) {
            assert!(attempt.placed.is_none_or(|placed| placed == id), "a second order: {id}, {attempt:?}");
            attempt.placed = Some(id);
        }
    }

    // Rest.

    /// What it was told of fills is the ledger's; what it was refused does not exist; no reply is owed.
    pub(super) fn judge_rest(&mut self, ledger: &Ledger) {
        assert!(self.asked.is_empty(), "account {}: no reply: {:?}", self.account, self.asked);
        assert_eq!(self.phase, Phase::Ready, "account {}", self.account);
        if let Some(reports) = &self.reports {
            reports.judge_rest();
        }
        let known = ledger.fills.get(&self.account).map_or(&[][..], Vec::as_slice);
        for side in &known[self.compared..] {
            match self.fills.get_mut(side) {
                Some(count @ 2..) => *count -= 1,
                Some(_) => _ = self.fills.remove(side),
                None => assert!(side.order < self.complete_from, "a fill is lost: {side:?}"),
            }
        }
        self.compared = known.len();
        assert!(self.fills.is_empty(), "fills that never were: {:?}", self.fills);
        for (label, attempt) in &self.attempts {
            let order = ledger.labelled(self.account, *label);
            assert!(attempt.placed.is_none() || attempt.placed == order, "{label:x}: {attempt:?}, {order:?}");
            assert!(attempt.refused < attempt.sent || order.is_none(), "refused, and there: {order:?}");
        }
        let open: Vec<u64> = ledger.open_of(self.account).collect();
        let told: Vec<u64> = self.open.keys().copied().collect();
        assert_eq!(told, open, "account {}: the orders that it was told are open", self.account);
    }

    fn judge_open_orders(&self, result: &Json<'_>, names: &Names, ledger: &Ledger) {
        let items = result.items();
        assert_eq!(items.len(), self.open.len(), "{}", result.raw);
        for order in items {
            let id = id_of(order);
            assert_eq!(self.open.get(&id).map(String::as_str), Some(order.raw), "as it was told of last");
            let Entry { instrument, is_buy, price, amount, filled, .. } = *ledger.order(id);
            assert_eq!(order.at("instrument_name").text(), Some(names[instrument as usize].as_str()));
            assert_eq!(order.at("direction").text(), Some(if is_buy { "buy" } else { "sell" }));
            let numbers = ["price", "amount", "filled_amount"].map(|name| units(order.at(name).raw));
            assert_eq!(numbers, [price, amount, filled], "{}", order.raw);
        }
    }

    fn judge_positions(&self, result: &Json<'_>, names: &Names, ledger: &Ledger) {
        let mut told = BTreeMap::new();
        for position in result.items() {
            told.insert(position.at("instrument_name").text().expect("a name"), position);
        }
        for (at, name) in (0..).zip(names) {
            let held = ledger.held.get(&(self.account, at)).copied().unwrap_or_default();
            let position = told.remove(name.as_str());
            assert_eq!(position.is_some(), held.size != 0, "account {}: {name}", self.account);
            let known = self.positions.get(name);
            let known_size = known.map_or(0, |[size, ..]| money(size));
            assert_eq!(known_size, held.size, "account {}: {name}, as told", self.account);
            let Some(position) = position else { continue };
            assert_eq!(known, Some(&printed(position)), "account {}", self.account);
            let number = |name: &str| money(position.at(name).raw);
            let worth = held.size * number("mark_price") / 1_000_000_000;
            let expected = [held.size, held.realized, worth - held.cost];
            let numbers = ["size", "realized_profit_loss", "floating_profit_loss"].map(number);
            assert_eq!(numbers, expected, "account {}: {}", self.account, position.raw);
        }
        assert!(told.is_empty(), "positions that never were: {told:?}");
    }

    fn judge_summary(&self, result: &Json<'_>, instruments: &[u32], ledger: &Ledger) {
        let held = instruments.iter().filter_map(|at| ledger.held.get(&(self.account, *at)));
        let (realized, cash, cost) = held.fold((0, 0, 0), |(realized, cash, cost), held| {
            (realized + held.realized, cash + held.cash, cost + held.cost)
        });
        let number = |name: &str| money(result.at(name).raw);
        assert_eq!(number("session_rpl"), realized, "account {}", self.account);
        assert_eq!(number("balance"), realized, "account {}", self.account);
        // Worth is both the equity without the cash and the gain without the cost.
        assert_eq!(number("equity") - cash, number("session_upl") + cost, "account {}", self.account);
    }

    fn judge_fills(&self, instrument: u32, result: &Json<'_>, ledger: &Ledger) {
        let known = ledger.fills.get(&self.account).map_or(&[][..], Vec::as_slice);
        let mut own: Vec<Side> =
            known.iter().rev().filter(|side| side.instrument == instrument).take(20).copied().collect();
        let names = vec![String::new(); 1];
        let mut told: Vec<Side> = Vec::new();
        for fill in result.at("trades").items() {
            let side = side_of(fill, &names);
            let trade_seq = if instrument < FIRST { side.trade_seq } else { 0 };
            told.push(Side { instrument, trade_seq, ..side });
        }
        // Both sides of one trade may be one account's, in either order.
        let key = |side: &Side| (side.trade_seq, side.order);
        let cut = if own.len() == 20 { 19 } else { own.len() };
        own.truncate(cut);
        told.truncate(cut);
        own.sort_by_key(key);
        told.sort_by_key(key);
        assert_eq!(told, own, "account {}: its newest fills", self.account);
    }
}

pub(super) fn id_of(order: &Json<'_>) -> u64 {
    let text = order.at("order_id").text().expect("an id is a text");
    text.parse().expect("an id is a number")
}

fn printed(position: &Json<'_>) -> [String; 3] {
    ["size", "average_price", "realized_profit_loss"].map(|name| position.at(name).raw.to_owned())
}

fn side_of(fill: &Json<'_>, names: &Names) -> Side {
    let name = fill.at("instrument_name").text().expect("a name");
    let at = names.iter().position(|known| known == name).unwrap_or_default();
    let instrument = u32::try_from(at).expect("invariant: a world has few instruments");
    Side {
        instrument,
        trade_seq: if instrument < FIRST { fill.at("trade_seq").whole() } else { 0 },
        order: id_of(fill),
        price: units(fill.at("price").raw),
        amount: units(fill.at("amount").raw),
        is_maker: fill.at("liquidity").text() == Some("M"),
    }
}
