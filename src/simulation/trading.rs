//! Clients that trade: the desk and the paper venue in the simulated world, over a link to the venue that is slow and is
//! cut at times, with clients that are cut off, come back and go on. PURE. A run is its seed and its size.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::auth::{Credential, Key, Login, Patterns, Reach, Scopes, Secret, Tokens, Verdict};
use crate::backend::paper::{Paper, PaperConfig};
use crate::backend::tcp::codec::Form;
use crate::desk::DeskConfig;
use crate::hub::LoginQuestion;
use crate::hub::history::HistoryLimits;
use crate::hub::market::{Routed, Trading};
use crate::model::book::Side;
use crate::model::ids::{InstrumentId, SourceId};
use crate::model::instrument::Symbol;
use crate::model::market::{FeedBuffer, FeedEvent};
use crate::model::order::{AccountId, OrderId};
use crate::model::time::Now;

use super::client::{push_message, push_text};
use super::ledger::Ledger;
use super::random::Random;
use super::trader::{Asked, Next, Phase, Saying, Trader};
use super::venue_link::{self, FIRST, LINK, VenueLink};
use super::world::{Options, SCRIPT_STEPS_MAX, World};

const INSTRUMENTS: u32 = 5;
/// So many pairs of clients share an account.
const PAIRS: usize = 10;
const EVENTS_PER_S: u32 = 2_000;
/// A client with more open orders than this cancels.
pub(super) const OPEN_MAX: usize = 15;
const ASKED_MAX: usize = 12;
/// Clients of these numbers have a dead-man timer now and then: one in so many.
const TIMED: usize = 12;

/// How much happens.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub operations: u64,
    pub clients: usize,
    /// One operation in so many ends in a cut of its client's connection, and of the link to the venue.
    pub client_cut_in: usize,
    pub venue_cut_in: usize,
    /// How often all of it comes to rest and is judged.
    pub rests: u64,
}

/// What the venue says on its link.
#[derive(Debug)]
enum Said {
    Events(FeedBuffer),
    /// All that was missed was told before this.
    Reconciled,
}

/// The paper venue, its link, and who keeps the accounts.
#[derive(Debug)]
pub(super) struct Venue {
    paper: Paper,
    pub(super) ledger: Ledger,
    pub(super) names: Vec<String>,
    currencies: BTreeMap<String, Vec<u32>>,
    lots: Vec<(i64, i64)>,
    to_venue: VecDeque<Routed>,
    from_venue: VecDeque<Said>,
    /// The venue of the other instruments; gone while something is done to it.
    pub(super) link: Option<Box<VenueLink>>,
    is_up: bool,
    /// What is on the link stays there for a while.
    is_slow: bool,
    /// Nobody comes back.
    is_over: bool,
    cuts: u64,
    unexecuted: u64,
    unreported: u64,
    size: Size,
    operations: u64,
}

/// Runs so many operations of a seed and says how often what happened in it.
///
/// # Panics
/// Where a client's view is not the venue's, or anything is lost, doubled or not conserved: that is the verdict.
#[must_use]
pub fn run_orders(seed: u64, size: Size) -> BTreeMap<&'static str, u64> {
    let mut world = open(Random::new(seed), size);
    for rest in 1..=size.rests {
        let mut steps = 0;
        while world.trading().operations < size.operations * rest / size.rests {
            world.trade();
            steps += 1;
            assert!(steps < 1_000 * size.operations, "nobody trades");
        }
        world.rest_and_judge();
    }
    world.trading().is_over = true;
    super::end(&mut world);
    coverage(world)
}

/// Runs a small trading world that stands when its script begins: the first byte is its seed, the others are choices, what
/// every client, hub, network, clock and the venue does included. Then it comes to rest and is judged.
///
/// # Panics
/// Where [`run_orders`] would.
#[must_use]
pub fn run_orders_script(script: &[u8]) -> BTreeMap<&'static str, u64> {
    let (seed, choices) = script.split_first().map_or((0, script), |(seed, rest)| (*seed, rest));
    let mut random = Random::scripted(choices);
    let clients = random.between(1, 4);
    let client_cut_in = *random.pick(&[5, 20, 200]);
    let venue_cut_in = *random.pick(&[10, 40, 400]);
    let mut world = open(
        Random::new(u64::from(seed)),
        Size { operations: 0, clients, client_cut_in, venue_cut_in, rests: 1 },
    );
    world.come_to_rest();
    world.random = random;
    for _ in 0..SCRIPT_STEPS_MAX {
        if world.random.is_seeded() {
            break;
        }
        world.trade();
    }
    world.rest_and_judge();
    world.trading().is_over = true;
    super::end(&mut world);
    coverage(world)
}

fn open(mut random: Random, size: Size) -> World {
    let options = Options {
        shards: 2,
        clients: size.clients,
        hostile: 0,
        steps: 0,
        send_bytes_max: *random.pick(&[300, 2048, 65_536]),
        room_bytes: 65_536,
        data_batches_max: *random.pick(&[4, 12, 1000]),
        forgets: false,
        queued_bytes_max: 1024 * 1024,
        history: HistoryLimits {
            frames_max: *random.pick(&[2, 16, 1000]),
            bytes_max: 8 * 1024 * 1024,
            replayed_bytes_per_turn: 20_000,
        },
        overloads: false,
        routes: Arc::default(),
    };
    let mut world = World::new(random, options);
    for (number, client) in world.clients.iter_mut().enumerate() {
        let account = if number < 2 * PAIRS { number / 2 } else { number };
        let account = u32::try_from(account).expect("invariant: a world has few accounts and instruments");
        // Of each pair that shares an account one.
        client.reads_sbe = number % 2 == 1;
        client.trader = Some(Box::new(Trader::new(account, client.reads_sbe)));
    }
    let config = DeskConfig { credits_per_s: 0, ..DeskConfig::default() };
    let seed = world.random.bits();
    let linked = world.random.bits();
    let form = *world.random.pick(&[Form::Json, Form::Binary]);
    let paper = |seed| PaperConfig { seed, instruments: INSTRUMENTS, events_per_s: EVENTS_PER_S };
    let names = names_of_link(paper(seed), world.now);
    world.with_market(|market, now| {
        market.set_desk(config, Trading::Open, now);
        market.reserve(&names, LINK);
    });
    world.venue = Some(Box::new(Venue {
        paper: Paper::new(paper(seed)),
        link: Some(Box::new(VenueLink::new(paper(linked), names, form))),
        ledger: Ledger::default(),
        names: Vec::new(),
        currencies: BTreeMap::new(),
        lots: Vec::new(),
        to_venue: VecDeque::new(),
        from_venue: VecDeque::new(),
        is_up: true,
        is_slow: false,
        is_over: false,
        cuts: 0,
        unexecuted: 0,
        unreported: 0,
        size,
        operations: 0,
    }));
    world.feed_paper();
    while world.settle_link() {}
    world
}

fn coverage(world: World) -> BTreeMap<&'static str, u64> {
    let mut coverage = world.oracle.coverage;
    let mut add = |what: &'static str, count: u64| *coverage.entry(what).or_default() += count;
    for trader in world.clients.iter().filter_map(|client| client.trader.as_ref()) {
        let count = trader.count;
        add("operations", count.operations);
        add("private events", count.events);
        add("fills told", count.fills);
        add("replies", count.replies);
        add("refusals", count.refusals);
        add("outcomes unknown", count.unknown);
        add("repeats sent", count.repeats_sent);
        add("repeats recognised", count.repeated);
        add("resumed", count.recovered);
        add("rebuilt", count.rebuilt);
        add("connections cut", count.cuts);
        add("replies lost with a connection", count.lost_replies);
        add("told of cancels on disconnect", count.cancelled_on_disconnect);
        add("answers in SBE", count.acks);
        add("refusals in SBE", count.rejects);
        add("reports in SBE", count.reports);
    }
    let venue = world.venue.expect("it is a trading world");
    add("client sides of trades", venue.ledger.client_trades);
    add("cancels on disconnect", venue.ledger.cancels_on_disconnect);
    let link = venue.link.expect("invariant: who takes the link puts it back");
    add("venue links cut", venue.cuts + link.cuts);
    add("links over a pipe cut", link.cuts);
    add("links over a pipe resumed", link.resumed_total());
    add("bytes lost on links", link.lost_bytes);
    add("requests taken and not executed", venue.unexecuted);
    add("answers not reported before a cut", venue.unreported);
    let desk = world.market.desk_counters();
    add("orders", desk.orders_total);
    add("fills", desk.fills_total);
    add("strange fills or reports", desk.strange_fills_total + desk.overfills_total);
    coverage
}

impl World {
    pub(super) fn trading(&mut self) -> &mut Venue {
        self.venue.as_deref_mut().expect("it is a trading world")
    }

    /// Something happens.
    fn trade(&mut self) {
        if self.random.chance(10) {
            let cut_in = self.trading().size.venue_cut_in;
            self.move_link(cut_in);
        }
        match self.random.below(100) {
            0..30 => self.act(),
            30..45 => _ = (0..8).map(|_| self.carry_one()).count(),
            45..85 => self.progress_some_link(),
            85..90 => {
                let ns = self.random.below(1_000_000);
                self.advance(ns as u64);
                self.feed_paper();
                self.serve_desk();
            }
            90..97 => self.move_venue(),
            _ => _ = self.tell_room(),
        }
        self.judge_logins();
        for home in 0..=self.shards.len() {
            if self.random.chance(25) {
                self.end_turn(home);
            }
        }
    }

    fn progress_some_link(&mut self) {
        let client = self.random.below(self.clients.len());
        let shard = self.random.below(self.shards.len());
        let slots = self.shards[shard].slots.len();
        let link = if slots == 0 || self.random.chance(70) {
            self.clients[client].link
        } else {
            let slot = self.random.below(slots);
            self.shards[shard].slots[slot]
        };
        if let Some(link) = link {
            self.receive(link);
            self.write(link);
            self.read(link);
        }
    }

    fn judge_logins(&mut self) {
        for shard in 0..self.shards.len() {
            while let Some(question) = self.shards[shard].hub.poll_question() {
                let LoginQuestion::Judge { ticket, request } = question else { continue };
                let link = self.link_of(shard, request.origin.conn);
                let client = link.and_then(|link| self.links[link].client);
                let account = client.and_then(|client| self.clients[client].trader.as_ref());
                let account = account.map_or(u32::MAX, |trader| trader.account);
                let verdict = Verdict::Granted { login: login(account), tokens: Some(Box::new(tokens())) };
                let now = self.now;
                self.with_hub(shard, |hub| hub.handle_verdict(ticket, verdict, now));
            }
        }
    }

    // The venue and its link.

    /// The market says what it has due.
    fn feed_paper(&mut self) {
        let now = self.now;
        let venue = self.trading();
        let mut feed = FeedBuffer::default();
        venue.paper.poll(now, &mut feed, 256);
        if feed.events.is_empty() {
            return;
        }
        for event in &feed.events {
            if let FeedEvent::Listed { definition } = event {
                let at = u32::try_from(venue.names.len())
                    .expect("invariant: a world has few accounts and instruments");
                venue.names.push(definition.name.as_str().to_owned());
                venue.lots.push((definition.tick_size.0, definition.min_trade_amount.0));
                venue.currencies.entry(definition.quote_currency.as_str().to_owned()).or_default().push(at);
            }
        }
        let own = venue_link::own(feed.events.clone(), |instrument| instrument < FIRST);
        venue.ledger.note_events(&own, |instrument| instrument.0);
        venue.from_venue.push_back(Said::Events(feed));
        if !venue.is_slow {
            self.hear_venue();
        }
    }

    /// Has the venue do what the desk asks for, now or when its link has taken it.
    pub(super) fn serve_desk(&mut self) {
        if self.venue.is_none() {
            return;
        }
        let is_lazy = self.trading().is_slow && !self.resting;
        if is_lazy && self.random.chance(50) {
            return;
        }
        loop {
            let now = self.now;
            let Some(routed) = self.market.poll_request(now) else { return };
            if routed.source == LINK {
                self.send_over_link(&routed);
                continue;
            }
            self.trading().to_venue.push_back(routed);
            if !is_lazy {
                self.reach_venue();
                self.hear_venue();
            }
        }
    }

    /// The venue executes what its link has taken.
    fn reach_venue(&mut self) {
        let now = self.now;
        let venue = self.trading();
        while let Some(Routed { source: _, instrument, request }) = venue.to_venue.pop_front() {
            let mut feed = FeedBuffer::default();
            venue.ledger.note_request(&request);
            venue.paper.handle_request(instrument, &request, now, &mut feed);
            venue.ledger.note_events(&feed.events, |instrument| instrument.0);
            venue.from_venue.push_back(Said::Events(feed));
        }
    }

    /// What the venue said is told.
    fn hear_venue(&mut self) {
        while self.trading().is_up
            && let Some(said) = self.trading().from_venue.pop_front()
        {
            self.with_market(|market, now| match said {
                Said::Events(feed) => market.handle_feed(SourceId::FEED, &feed, now),
                Said::Reconciled => market.handle_reconciled(&instruments(), now),
            });
        }
    }

    /// Something of the link to the venue: it moves, is slow or fast from now on, is cut or is there again.
    fn move_venue(&mut self) {
        let cut_in = self.trading().size.venue_cut_in;
        if !self.trading().is_up {
            if self.random.chance(30) {
                self.reconnect_venue();
            }
            return;
        }
        match self.random.below(100) {
            0..30 => self.reach_venue(),
            30..60 => self.hear_venue(),
            60..65 => self.trading().is_slow ^= true,
            // A step in four is an operation, one in forty comes here.
            _ if self.random.below(cut_in.div_ceil(10)) == 0 => return self.cut_venue(),
            _ => {}
        }
        self.serve_desk();
    }

    fn cut_venue(&mut self) {
        let venue = self.trading();
        venue.is_up = false;
        venue.cuts += 1;
        venue.unexecuted += venue.to_venue.len() as u64;
        venue.to_venue.clear();
        venue.from_venue.retain(|said| matches!(said, Said::Events(_)));
        let is_report = |event: &FeedEvent| matches!(event, FeedEvent::Report(_));
        let reports = venue.from_venue.iter().map(|said| match said {
            Said::Events(feed) => feed.events.iter().filter(|event| is_report(event)).count(),
            Said::Reconciled => 0,
        });
        venue.unreported += reports.sum::<usize>() as u64;
        self.with_market(|market, now| market.handle_link_down(&instruments(), now));
    }

    /// The link is there again; the venue tells what was missed, and that this was all.
    fn reconnect_venue(&mut self) {
        if self.trading().is_up {
            return;
        }
        self.trading().is_up = true;
        self.with_market(|market, now| market.handle_link_up(&instruments(), now));
        self.trading().from_venue.push_back(Said::Reconciled);
        self.serve_desk();
    }

    // Rest.

    /// In a world at rest those who are gone come back, and the venue's link moves; whether anything did.
    pub(super) fn serve_traders(&mut self) -> bool {
        if self.venue.is_none() {
            return false;
        }
        self.judge_logins();
        self.reconnect_venue();
        let is_carried = self.settle_link();
        let venue = self.trading();
        let mut moved = is_carried || !venue.to_venue.is_empty() || !venue.from_venue.is_empty();
        let is_over = venue.is_over;
        self.reach_venue();
        self.hear_venue();
        self.serve_desk();
        for client in 0..if is_over { 0 } else { self.clients.len() } {
            moved |= self.come_back(client);
        }
        moved
    }

    /// A client connects, or logs in; whether it did.
    fn come_back(&mut self, client: usize) -> bool {
        let Some(link) = self.clients[client].link else {
            let shard = self.random.below(self.shards.len());
            self.open_link(client, shard);
            self.clients[client].deaf = false;
            return true;
        };
        let known = &mut self.clients[client];
        let is_begun = known.trader.as_ref().is_some_and(|trader| trader.phase == Phase::Begun);
        if !known.open || known.closing || !is_begun {
            return false;
        }
        let text = known.trader.as_mut().map(|trader| trader.log_in()).unwrap_or_default();
        self.send(link, &text);
        true
    }

    fn rest_and_judge(&mut self) {
        self.come_to_rest();
        for client in 0..self.clients.len() {
            self.ask_at_rest(client);
        }
        self.come_to_rest();
        let venue = self.venue.take().expect("it is a trading world");
        for client in &mut self.clients {
            client.trader.as_mut().expect("all trade").judge_rest(&venue.ledger);
        }
        venue.ledger.judge_rest();
        let mut resting = 0;
        let link = &venue.link.as_ref().expect("invariant: who takes the link puts it back").venue;
        for id in &venue.ledger.open {
            let entry = venue.ledger.order(*id);
            let paper = if entry.instrument < FIRST { &venue.paper } else { link.paper() };
            let found = paper.resting(InstrumentId(entry.instrument), OrderId(*id));
            let found = found.unwrap_or_else(|| panic!("order {id} does not rest: {entry:?}"));
            let expected = (entry.price, entry.amount - entry.filled, entry.is_buy, entry.account);
            let owner = found.owner.map_or(u32::MAX, |owner| owner.account.0);
            assert_eq!((found.price.0, found.amount.0, found.side == Side::Bid, owner), expected);
            resting += 1;
        }
        let in_books = venue.paper.client_order_count() + link.paper().client_order_count();
        assert_eq!(in_books, resting, "orders in the venue's books");
        self.venue = Some(venue);
        self.trading().ledger.forget();
    }

    /// All that the desk tells of an account, where it is known what it must be.
    fn ask_at_rest(&mut self, client: usize) {
        let Some(link) = self.clients[client].link else { panic!("client {client} has not come back") };
        let instrument = self.random.below(INSTRUMENTS as usize);
        let (currencies, name) = {
            let venue = self.trading();
            (venue.currencies.clone(), venue.names[instrument].clone())
        };
        let trader = self.clients[client].trader.as_mut().expect("all trade");
        let mut texts = vec![
            trader.call(Asked::OpenOrders, "private/get_open_orders", "{}"),
            trader.call(Asked::Positions, "private/get_positions", "{}"),
        ];
        for (currency, instruments) in currencies {
            let params = format!(r#"{{"currency":"{currency}"}}"#);
            texts.push(trader.call(Asked::Summary { instruments }, "private/get_account_summary", &params));
        }
        // Those since the last rest: the desk forgets older ones.
        for (id, told) in std::mem::take(&mut trader.closed) {
            let params = format!(r#"{{"order_id":"{id}"}}"#);
            texts.push(trader.call(Asked::State { id, told }, "private/get_order_state", &params));
        }
        let asked = Asked::Fills {
            instrument: u32::try_from(instrument)
                .expect("invariant: a world has few accounts and instruments"),
        };
        let params = format!(r#"{{"instrument_name":"{name}","count":20}}"#);
        texts.push(trader.call(asked, "private/get_user_trades_by_instrument", &params));
        for text in texts {
            self.send(link, &text);
        }
    }

    // Clients.

    /// A client was told something; what it says to that goes to `out`.
    pub(super) fn hear_trader(&mut self, client: usize, text: &str, out: &mut Vec<u8>) {
        let venue = self.venue.as_ref().expect("it is a trading world");
        let trader = self.clients[client].trader.as_mut().expect("it trades");
        match trader.hear(text, &venue.names, &venue.ledger) {
            Next::Nothing => {}
            Next::Subscribe => push_text(out, &trader.subscribe(), &mut self.random),
            Next::Rebuild => {
                for text in trader.rebuild() {
                    push_text(out, &text, &mut self.random);
                }
            }
        }
    }

    /// A client was told something in SBE.
    pub(super) fn hear_trader_in_sbe(&mut self, client: usize, message: &[u8]) {
        let venue = self.venue.as_ref().expect("it is a trading world");
        let trader = self.clients[client].trader.as_mut().expect("it trades");
        trader.hear_in_sbe(message, &venue.ledger);
    }

    fn send(&mut self, link: usize, text: &str) {
        self.send_message(link, 1, text.as_bytes());
    }

    fn send_message(&mut self, link: usize, opcode: u8, payload: &[u8]) {
        let mut out = Vec::new();
        push_message(&mut out, opcode, payload, &mut self.random);
        self.links[link].upward.extend(out);
    }

    fn act(&mut self) {
        let client = self.random.below(self.clients.len());
        let Some(link) = self.clients[client].link else {
            if self.random.chance(30) {
                self.come_back(client);
            }
            return;
        };
        if self.come_back(client) || self.clients[client].closing {
            return;
        }
        let trader = self.clients[client].trader.as_ref().expect("all trade");
        if trader.phase == Phase::Ready && trader.asked.len() < ASKED_MAX {
            match super::wishes::wish(self, client) {
                Saying::Text(text) => self.send(link, &text),
                Saying::Message(message) => self.send_message(link, 2, &message),
            }
            self.trading().operations += 1;
        }
        let cut_in = self.trading().size.client_cut_in;
        if self.random.below(cut_in) == 0 {
            // In the middle of what it sends, or before the shard has any of it.
            if self.random.chance(60) {
                self.receive(link);
            }
            self.links[link].cut = true;
            self.clients[client].trader.as_mut().expect("all trade").count.cuts += 1;
        }
    }

    /// Smallest steps of price and amount, and the best prices as far as there are any.
    pub(super) fn terms(&mut self, instrument: usize) -> (i64, i64, i64) {
        let (tick, lot) = self.trading().lots[instrument];
        let at = InstrumentId(
            u32::try_from(instrument).expect("invariant: a world has few accounts and instruments"),
        );
        let book = &self.market.state(at).expect("it is listed").book;
        let best = book.bids().next().or_else(|| book.asks().next());
        (tick, lot, best.map_or(100 * tick, |level| level.price.0))
    }
}

/// Whether this client has a dead-man timer at times.
pub(super) const fn is_timed(client: usize) -> bool {
    client % TIMED == TIMED - 1
}

/// Those that are not the feed's.
fn names_of_link(paper: PaperConfig, now: Now) -> Vec<Symbol> {
    let mut feed = FeedBuffer::default();
    Paper::new(paper).poll(now, &mut feed, INSTRUMENTS as usize);
    let name = |event: &FeedEvent| {
        let FeedEvent::Listed { definition } = event else { panic!("a market begins with its instruments") };
        definition.name
    };
    feed.events[FIRST as usize..].iter().map(name).collect()
}

/// The feed's, whose link is this file's own.
fn instruments() -> Vec<InstrumentId> {
    (0..FIRST).map(InstrumentId).collect()
}

fn tokens() -> Tokens {
    Tokens { access: "access".to_owned(), refresh: "refresh".to_owned(), expires_in_s: 1_000_000 }
}

fn login(account: u32) -> Box<Login> {
    let scopes = Scopes::parse(["trade:read_write", "account:read_write"]).expect("known");
    let credential = Credential {
        client_id: "a".into(),
        account: format!("account{account}").into(),
        name: "".into(),
        key: Key::Secret(Secret::new(b"secret")),
        scopes,
        subscribe: Patterns::ANY,
        publish: Patterns::ANY,
        call: Patterns::ANY,
        created_unix_ms: 0,
        expires_unix_ms: None,
        reach: Reach::Anywhere,
    };
    Box::new(Login {
        credential: Arc::new(credential),
        account: AccountId(account),
        scopes,
        session: None,
        grant: None,
        expires_unix_ms: u64::MAX,
    })
}
