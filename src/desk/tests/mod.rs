//! The desk without threads, sockets and clocks: asked by hand, with a naive venue behind a link that tests may cut.
#![expect(clippy::cast_possible_truncation, reason = "the numbers of tests are small")]

mod bounds;
mod cancelling;
mod checks;
mod delisting;
mod links;
mod placing;
mod positions;
mod queries;
mod random;
mod sbe;
mod venue;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::Value;

use self::venue::{Happening, Venue};
use super::*;
use crate::model::decimal::{Amount, Price, UNIT};
use crate::model::encoding::Encoding;
use crate::model::ids::{ConnId, HomeId, Ticket};
use crate::model::instrument::{Instrument, InstrumentKind, Symbol};
use crate::model::market::{Direction, InstrumentState};
use crate::model::order::{
    Ask, Client, Departure, EditOrder, Filter, Label, OrderRef, OrderRequest, OrderType, Parties, PostOnly,
    TimeInForce,
};

const BTC: InstrumentId = InstrumentId(0);
const EUR: InstrumentId = InstrumentId(1);
const MS: u64 = 1_000_000;
/// The number of the first order.
const FIRST: u64 = 1_000;

type Outcome = Result<Value, OrderRefusal>;

/// An event as a client reads it.
#[derive(Clone, Debug)]
struct Told {
    account: AccountId,
    instrument: InstrumentId,
    seq: u64,
    order: Value,
    trades: Vec<Value>,
    position: Option<Value>,
}

/// An event in SBE.
#[derive(Clone, Debug)]
struct Reported {
    account: AccountId,
    seq: u64,
    order: Vec<u8>,
    fills: Vec<Vec<u8>>,
}

/// A desk, its market, a venue and the link between them.
struct Floor {
    desk: Desk,
    market: Vec<InstrumentState>,
    venue: Venue,
    is_linked: bool,
    now: Now,
    asked: u32,
    /// By the ticket's slot.
    answers: BTreeMap<u32, Outcome>,
    events: Vec<Told>,
    /// On their way to the venue, and from it.
    sent: VecDeque<VenueRequest>,
    happened: VecDeque<Happening>,
    /// What events are wanted in.
    wanted: Wanted,
    /// What answers are asked for in.
    encoding: Encoding,
    /// Answers in SBE, by the ticket's slot: their outcome is null.
    acks: BTreeMap<u32, Vec<u8>>,
    reports: Vec<Reported>,
}

fn symbol(text: &str) -> Symbol {
    Symbol::parse(text.as_bytes()).unwrap()
}

fn instrument(name: &str, base: &str, quote: &str, kind: InstrumentKind) -> InstrumentState {
    InstrumentState::new(Arc::new(Instrument {
        name: symbol(name),
        kind,
        base_currency: symbol(base),
        quote_currency: symbol(quote),
        tick_size: Price(UNIT / 2),
        price_decimals: 1,
        min_trade_amount: Amount(UNIT / 10),
        amount_decimals: 1,
        contract_size: Amount(UNIT),
        creation_timestamp_ms: 0,
        expiration_timestamp_ms: None,
    }))
}

/// Limits that are in nobody's way.
fn config() -> DeskConfig {
    DeskConfig { credits_per_s: 0, price_band_bp: 0, ..DeskConfig::default() }
}

impl Floor {
    fn new() -> Floor {
        Floor::with(config())
    }

    fn with(config: DeskConfig) -> Floor {
        let market = vec![
            instrument("BTC-PERPETUAL", "BTC", "USD", InstrumentKind::Future),
            instrument("EUR_USD", "EUR", "USD", InstrumentKind::Spot),
        ];
        let now = Now { mono_ns: 1_000 * MS, unix_ns: 1_700_000_000_000 * MS };
        let mut desk = Desk::new(config, OrderId(FIRST));
        desk.handle_link_up(&[BTC, EUR], now);
        Floor {
            desk,
            market,
            venue: Venue::default(),
            is_linked: true,
            now,
            asked: 0,
            answers: BTreeMap::new(),
            events: Vec::new(),
            sent: VecDeque::new(),
            happened: VecDeque::new(),
            wanted: Wanted::default().and(Encoding::Json),
            encoding: Encoding::Json,
            acks: BTreeMap::new(),
            reports: Vec::new(),
        }
    }

    fn wait_ms(&mut self, ms: u64) {
        self.now = self.now.plus_ns(ms * MS);
    }

    /// Asks over a connection whose number is the account's; the answer's ticket.
    fn send(&mut self, account: u32, request: OrderRequest) -> u32 {
        self.send_over(account, client(account), true, request)
    }

    fn send_over(&mut self, account: u32, client: Client, is_connection: bool, request: OrderRequest) -> u32 {
        let slot = self.asked;
        self.asked += 1;
        let ticket = Ticket { slot, generation: 7 };
        let account = AccountId(account);
        let ask = Ask { ticket, account, client, is_connection, encoding: self.encoding, request };
        self.desk.handle_ask(&ask, &self.market, self.now);
        self.collect();
        slot
    }

    /// Asks, lets the venue answer at once, and gives the answer.
    fn ask(&mut self, account: u32, request: OrderRequest) -> Outcome {
        let ticket = self.send(account, request);
        self.run();
        self.answers.remove(&ticket).expect("each ask is answered")
    }

    /// The same, of what is to be done.
    fn done(&mut self, account: u32, request: OrderRequest) -> Value {
        self.ask(account, request).unwrap_or_else(|why| panic!("{request:?}: {why:?}"))
    }

    /// The answer to what the desk knows by itself, while the venue is not heard.
    fn done_now(&mut self, account: u32, request: OrderRequest) -> Value {
        let ticket = self.send(account, request);
        self.answers.remove(&ticket).expect("each ask is answered").unwrap()
    }

    fn id(&mut self, account: u32, spec: NewOrder) -> OrderId {
        id_of(&self.done(account, OrderRequest::Place(spec))["order"])
    }

    /// Carries everything both ways until nothing is under way, if there is a link.
    fn run(&mut self) {
        self.settle();
        while self.is_linked {
            let requests = self.take();
            let reached = self.reach_venue(usize::MAX);
            let told = self.deliver(usize::MAX);
            if requests + reached + told == 0 {
                return;
            }
        }
    }

    /// A link takes what the desk has for the venue.
    fn take(&mut self) -> usize {
        let mut count = 0;
        while let Some(request) = self.desk.poll_request(self.now) {
            self.sent.push_back(request);
            count += 1;
        }
        self.collect();
        count
    }

    /// So many requests reach the venue.
    fn reach_venue(&mut self, count_max: usize) -> usize {
        let count = count_max.min(self.sent.len());
        for request in self.sent.drain(..count) {
            self.venue.handle(&request, &mut self.happened);
        }
        count
    }

    /// So much of what happened reaches the desk.
    fn deliver(&mut self, count_max: usize) -> usize {
        let count = count_max.min(self.happened.len());
        for _ in 0..count {
            let happening = self.happened.pop_front().unwrap();
            self.apply(&happening);
        }
        self.settle();
        count
    }

    fn apply(&mut self, happening: &Happening) {
        match happening {
            Happening::Report(report) => self.desk.handle_report(report, self.now),
            Happening::Trade { instrument, price, amount, direction, maker, taker } => {
                let state = &mut self.market[instrument.index()];
                let trade = state.stamp_trade(*price, *amount, *direction, self.now.unix_ns);
                state.record_trade(trade);
                let parties = Parties { maker: *maker, taker: *taker };
                self.desk.handle_trade(parties, *instrument, &trade, &self.market, self.now);
            }
        }
    }

    fn settle(&mut self) {
        let wanted = self.wanted;
        self.desk.settle(&self.market, |_| wanted, self.now);
        self.collect();
    }

    /// The link dies: what of the requests had not reached the venue is gone, what had happened waits there.
    fn cut(&mut self) {
        self.sent.clear();
        self.is_linked = false;
        self.desk.handle_link_down(&[BTC, EUR], self.now);
        self.settle();
    }

    /// A link is there again, before the venue has told what was missed.
    fn link_up(&mut self) {
        self.is_linked = true;
        self.desk.handle_link_up(&[BTC, EUR], self.now);
    }

    /// The link is back, and the venue tells what was missed.
    fn reconnect(&mut self) {
        if !self.is_linked {
            self.link_up();
        }
        self.deliver(usize::MAX);
        self.desk.handle_reconciled(&[BTC, EUR], self.now);
        self.settle();
        self.run();
    }

    fn collect(&mut self) {
        while let Some(output) = self.desk.poll_output() {
            let json = |range| serde_json::from_slice::<Value>(self.desk.bytes(range)).unwrap();
            match output {
                Output::Answer { to, ticket, outcome } => {
                    assert_eq!((to, ticket.generation), (HomeId(3), 7));
                    let outcome = match self.encoding {
                        Encoding::Json => outcome.map(json),
                        Encoding::Sbe => outcome.map(|range| {
                            self.acks.insert(ticket.slot, self.desk.bytes(range).to_vec());
                            Value::Null
                        }),
                    };
                    let before = self.answers.insert(ticket.slot, outcome);
                    assert!(before.is_none(), "ticket {} is answered twice", ticket.slot);
                }
                Output::Event { account, instrument, seq, json: told, sbe } => {
                    if let Some(SbeEvent { order, fills, fills_count }) = sbe {
                        let (order, fills) = (self.desk.bytes(order).to_vec(), self.desk.bytes(fills));
                        let report_bytes = fills.len().checked_div(fills_count as usize).unwrap_or(1);
                        let fills = fills.chunks(report_bytes).map(<[u8]>::to_vec).collect();
                        self.reports.push(Reported { account, seq: seq.0, order, fills });
                    }
                    let Some(JsonEvent { order, trades, position }) = told else { continue };
                    let list = trades.map_or_else(String::new, |range| {
                        String::from_utf8(self.desk.bytes(range).to_vec()).unwrap()
                    });
                    self.events.push(Told {
                        account,
                        instrument,
                        seq: seq.0,
                        order: json(order),
                        trades: serde_json::from_str(&format!("[{list}]")).unwrap(),
                        position: position.map(json),
                    });
                }
            }
        }
    }

    /// What the account was told since it was last asked for: `id state filled/amount[ Ntrades]`.
    fn told(&mut self, account: u32) -> Vec<String> {
        let (own, others) =
            std::mem::take(&mut self.events).into_iter().partition(|told| told.account.0 == account);
        self.events = others;
        let line = |told: &Told| {
            let id = id_of(&told.order).0 - FIRST;
            let state = told.order["order_state"].as_str().unwrap();
            let trades = match told.trades.len() {
                0 => String::new(),
                count => format!(" {count} trades"),
            };
            format!("{id} {state} {}/{}{trades}", told.order["filled_amount"], told.order["amount"])
        };
        let own: Vec<Told> = own;
        own.iter().map(line).collect()
    }
}

fn client(number: u32) -> Client {
    Client { home: HomeId(3), conn: ConnId { slot: number, generation: 1 } }
}

fn id_of(order: &Value) -> OrderId {
    OrderId(order["order_id"].as_str().unwrap().parse().unwrap())
}

/// In whole numbers.
fn limit(direction: Direction, price: i64, amount: i64) -> NewOrder {
    NewOrder {
        instrument: BTC,
        direction,
        order_type: OrderType::Limit,
        price: Some(Price(price * UNIT)),
        amount: Amount(amount * UNIT),
        time_in_force: TimeInForce::GoodTilCancelled,
        post_only: PostOnly::No,
        reduce_only: false,
        label: None,
        valid_until_ms: None,
    }
}

fn buy(price: i64, amount: i64) -> NewOrder {
    limit(Direction::Buy, price, amount)
}

fn sell(price: i64, amount: i64) -> NewOrder {
    limit(Direction::Sell, price, amount)
}

fn labelled(text: &str, order: NewOrder) -> NewOrder {
    NewOrder { label: Label::parse(text), ..order }
}

fn place(order: NewOrder) -> OrderRequest {
    OrderRequest::Place(order)
}

fn cancel(order: OrderId) -> OrderRequest {
    OrderRequest::Cancel { order, valid_until_ms: None }
}

fn edit(order: OrderId, price: Option<i64>, amount: Option<i64>) -> OrderRequest {
    OrderRequest::Edit(EditOrder {
        order: OrderRef::Id(order),
        instrument: None,
        amount: amount.map(|amount| Amount(amount * UNIT)),
        price: price.map(|price| Price(price * UNIT)),
        post_only: None,
        reduce_only: None,
        valid_until_ms: None,
    })
}

fn open_orders() -> OrderRequest {
    OrderRequest::OpenOrders { filter: Filter::default() }
}

/// `state filled/amount@price` of an order.
fn short(order: &Value) -> String {
    let text = |name: &str| order[name].to_string();
    format!(
        "{} {}/{}@{}",
        order["order_state"].as_str().unwrap(),
        text("filled_amount"),
        text("amount"),
        text("price")
    )
}
