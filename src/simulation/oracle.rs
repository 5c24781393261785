//! Judges what clients are told: every text is JSON, every request has one reply and it comes first, every channel is in
//! order and, where it is lossless, without a hole, every book is the reference's. PURE. A verdict is a panic.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::client::{Class, Client, Kind, Request, Standing, Subscription};
use super::json::{Json, Value};
use super::reference::{NaiveBook, NaiveInstrument, NaiveLevel, Reference, units};
use super::sbe;

#[derive(Debug)]
pub(super) struct Oracle {
    pub(super) reference: Reference,
    /// Frames that a topic's history keeps at least; a resume within them must succeed.
    pub(super) history_frames: u64,
    /// Whether the simulated time can reach a topic's linger.
    pub(super) forgets: bool,
    /// Histories may be shortened at any time, and what is new refused.
    pub(super) shortens: bool,
    pub(super) step: u64,
    /// How often what happened, to see that the seeds reach everything.
    pub(super) coverage: BTreeMap<&'static str, u64>,
}

impl Oracle {
    #[must_use]
    pub(super) fn new(history_frames: u64) -> Oracle {
        let (reference, coverage) = (Reference::default(), BTreeMap::new());
        Oracle { reference, history_frames, forgets: false, shortens: false, step: 0, coverage }
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.coverage.entry(what).or_default() += 1;
    }

    /// A client was sent a text.
    pub(super) fn judge_text(&mut self, client: &mut Client, text: &str) {
        let json = parse_told(text);
        if let Value::Array(replies) = &json.value {
            assert!(!replies.is_empty(), "an empty batch of replies");
            self.count("batch reply");
            for reply in replies {
                self.judge_reply(client, reply);
            }
        } else if json.member("method").is_some() {
            let params = json.at("params");
            match json.at("method").text() {
                Some("subscription") => {
                    let is_topic = params.at("channel").text().is_some_and(|name| name.starts_with("topic."));
                    assert!(is_topic || !client.reads_sbe, "client {} reads SBE: {text}", client.number);
                    self.judge_notification(client, params);
                }
                Some("heartbeat") => {
                    assert!(!client.reads_sbe, "client {} reads SBE: {text}", client.number);
                    self.count("heartbeat");
                }
                other => panic!("an unknown notification {other:?}"),
            }
        } else {
            self.judge_reply(client, &json);
        }
    }

    /// A client was sent a binary message; whether it asks for an answer.
    pub(super) fn judge_binary(&mut self, client: &mut Client, message: &[u8]) -> bool {
        assert!(client.reads_sbe, "client {} was sent a binary message unasked", client.number);
        match sbe::read(message) {
            sbe::Told::Notification(params) => {
                self.count("told in SBE");
                self.judge_notification(client, &parse_told(&params));
                false
            }
            sbe::Told::Heartbeat { is_test } => {
                self.count("heartbeat in SBE");
                is_test
            }
            sbe::Told::Gap { channel, epoch, first, last } => {
                self.judge_gap(client, &channel, epoch, first..=last);
                false
            }
        }
    }

    /// Events are left out: from the one after what was told last to the one before what comes next.
    fn judge_gap(&mut self, client: &mut Client, channel: &str, epoch: u64, left_out: RangeInclusive<u64>) {
        let Some(subscription) = client.subscriptions.get_mut(channel) else {
            panic!("client {} is told of a gap in {channel} unasked", client.number)
        };
        if subscription.standing == Standing::Draining {
            return;
        }
        assert_eq!(subscription.class, Class::Latest, "{channel} is lossless");
        assert!(!left_out.is_empty(), "{channel}: a gap of nothing");
        let before = (epoch, left_out.start() - 1);
        assert_eq!(subscription.last, Some(before), "client {}: a gap of {channel}", client.number);
        subscription.skips_to = Some((epoch, left_out.end() + 1));
        self.count("gap notice");
    }

    fn judge_reply(&mut self, client: &mut Client, reply: &Json<'_>) {
        assert_eq!(reply.at("jsonrpc").text(), Some("2.0"), "{}", reply.raw);
        let id = reply.at("id");
        if id.raw == "null" {
            return self.count("reply to no id");
        }
        let request = client.requests.remove(&id.whole());
        let Some(request) = request else {
            panic!("client {}: a reply to a request that has none open: {}", client.number, reply.raw)
        };
        if let Some(error) = reply.member("error") {
            return self.judge_error(client, &request, error);
        }
        let result = reply.at("result");
        match request {
            Request::Subscribe { channels, resume } => {
                self.judge_subscribed(client, &channels, &resume, reply);
            }
            Request::Unsubscribe => self.count("unsubscribed"),
            Request::UnsubscribeAll | Request::Heartbeat => assert_eq!(result.text(), Some("ok")),
            Request::Publish { serial } => {
                let position = (result.at("epoch").whole(), result.at("seq").whole());
                let channel = self.reference.published[serial].channel.clone();
                self.reference.place(&channel, serial, position);
                self.count("published");
            }
            Request::Test => assert!(result.at("version").text().is_some()),
            Request::Fault { code } => panic!("a fault of code {code} had a result: {}", reply.raw),
            Request::OrderBook { instrument, depth } => self.judge_order_book(&instrument, depth, result),
        }
    }

    fn judge_error(&mut self, client: &mut Client, request: &Request, error: &Json<'_>) {
        let code: i64 = error.at("code").raw.parse().expect("a code is a number");
        match request {
            Request::Fault { code: expected } => {
                assert_eq!(code, *expected, "{}", error.raw);
                self.count("error");
            }
            Request::OrderBook { .. } => assert_eq!(code, 13020, "{}", error.raw),
            Request::Publish { .. } => {
                assert_eq!(code, 10040, "{}", error.raw);
                self.count("publish refused");
            }
            Request::Subscribe { channels, .. } => {
                assert_eq!(code, 10040, "{}", error.raw);
                for channel in channels {
                    client.subscriptions.remove(channel);
                    client.patterns.remove(channel);
                }
            }
            // A flap's first subscribe.
            Request::Unsubscribe if self.shortens => assert_eq!(code, 10040, "{}", error.raw),
            Request::Unsubscribe | Request::UnsubscribeAll | Request::Test | Request::Heartbeat => {
                panic!("an error where there can be none: {}", error.raw)
            }
        }
    }

    fn judge_subscribed(
        &mut self,
        client: &mut Client,
        channels: &[String],
        resume: &[String],
        reply: &Json<'_>,
    ) {
        let accepted: Vec<&str> = reply.at("result").items().iter().filter_map(Json::text).collect();
        for channel in channels {
            if let Some(pattern) = client.patterns.get_mut(channel) {
                assert!(accepted.contains(&channel.as_str()), "{channel} was not accepted: {}", reply.raw);
                if pattern.standing == Standing::Requested {
                    pattern.standing = Standing::Active;
                }
                continue;
            }
            let known = client.subscriptions.get(channel).map(|subscription| subscription.standing);
            if !accepted.contains(&channel.as_str()) {
                assert_ne!(Kind::of(channel), Kind::Topic, "{channel} was refused: {}", reply.raw);
                client.subscriptions.remove(channel);
                continue;
            }
            if known != Some(Standing::Requested) {
                continue;
            }
            let recovered = reply.member("resumed").and_then(|resumed| resumed.member(channel));
            let recovered = recovered.map(|resumed| resumed.at("recovered").value == Value::Boolean(true));
            assert_eq!(recovered.is_some(), resume.contains(channel), "{channel}: {}", reply.raw);
            let place = client.remembered.remove(channel);
            let Some(subscription) = client.subscriptions.get_mut(channel) else { continue };
            subscription.standing = Standing::Active;
            subscription.joined_step = self.step;
            let name = channel.split('.').nth(1).unwrap_or_default();
            let instrument = self.reference.instrument(name);
            subscription.joined_trades = instrument.map_or(0, |instrument| instrument.trades.len());
            match (recovered, place) {
                (Some(true), Some(place)) => {
                    self.count("recovered");
                    let Subscription { last, book, change_id, last_trade, value, .. } = place;
                    (subscription.last, subscription.book, subscription.change_id) = (last, book, change_id);
                    (subscription.last_trade, subscription.value) = (last_trade, value);
                    subscription.resumed = true;
                }
                (Some(false), Some(place)) => self.judge_lost(channel, &place),
                (Some(_), None) => panic!("a resume from nowhere"),
                (None, _) => self.count("joined"),
            }
        }
    }

    /// What was not recovered must be beyond the history.
    fn judge_lost(&mut self, channel: &str, place: &Subscription) {
        self.count("not recovered");
        if self.forgets || self.shortens {
            return;
        }
        let (_, seq) = place.last.unwrap_or_default();
        let missed_max = self.reference.events_max(channel).saturating_sub(seq);
        assert!(
            missed_max > self.history_frames,
            "{channel}: at most {missed_max} events were missed and the history keeps {}",
            self.history_frames
        );
    }

    fn judge_order_book(&mut self, instrument: &str, depth: usize, result: &Json<'_>) {
        let instrument = self.reference.instrument(instrument).expect("answered, so listed");
        let change_id = usize::try_from(result.at("change_id").whole()).expect("few changes");
        let book = &instrument.books[change_id];
        assert_eq!(pairs(result.at("bids")), book.best_bids(depth), "{}", result.raw);
        assert_eq!(pairs(result.at("asks")), book.best_asks(depth), "{}", result.raw);
        self.count("order book");
    }

    fn judge_notification(&mut self, client: &mut Client, params: &Json<'_>) {
        let channel = params.at("channel").text().expect("a channel is a text").to_string();
        let position = (params.at("epoch").whole(), params.at("seq").whole());
        let data = params.at("data");
        if !client.subscriptions.contains_key(&channel) {
            let pattern = pattern_of(&channel);
            let Some(pattern) = client.patterns.get(&pattern) else {
                panic!("client {} is told of {channel} unasked", client.number)
            };
            assert_ne!(pattern.standing, Standing::Requested, "{channel} before the reply");
            let mut subscription = Subscription::new(&channel, pattern.class, false);
            subscription.standing = pattern.standing;
            subscription.joined_step = u64::MAX;
            subscription.joined_trades = usize::MAX;
            client.subscriptions.insert(channel.clone(), subscription);
            self.count("told by pattern");
        }
        let number = client.number;
        let subscription = client.subscriptions.get_mut(&channel).expect("it was just put there");
        match subscription.standing {
            Standing::Requested => panic!("client {number}: {channel} before the reply that announces it"),
            Standing::Draining => return,
            Standing::Active => {}
        }
        let snapshot = data.member("type").and_then(Json::text) == Some("snapshot");
        check_order(number, &channel, subscription, position, snapshot);
        if let Some(next) = subscription.skips_to.take() {
            assert_eq!(position, next, "client {number}: {channel} behind a gap that it was told of");
        }
        self.reference.see(&channel, position);
        match subscription.kind {
            Kind::Topic => self.judge_message(&channel, position, data),
            Kind::Trades => self.judge_trades(&channel, subscription, position, data),
            Kind::Book => self.judge_book(&channel, subscription, data, snapshot),
            Kind::Ticker | Kind::Quote | Kind::GroupedBook => {
                subscription.value = data.raw.to_string();
                self.count("value");
            }
        }
        subscription.first.get_or_insert(position);
        subscription.last = Some(position);
    }

    fn judge_message(&mut self, channel: &str, position: (u64, u64), data: &Json<'_>) {
        if self.reference.is_unchecked(channel, data.raw) {
            self.count("message of a hostile client");
            return self.reference.tell(channel, position, data.raw);
        }
        let serial = match &data.value {
            Value::Object(_) => data.at("serial").whole(),
            Value::Array(items) => items[0].whole(),
            Value::Number(_) => data.whole(),
            Value::Null | Value::Boolean(_) | Value::Text(_) => panic!("nobody published {}", data.raw),
        };
        let serial = usize::try_from(serial).expect("few messages");
        assert_eq!(self.reference.published[serial].data, data.raw, "{channel} at {position:?}");
        self.reference.place(channel, serial, position);
        self.reference.tell(channel, position, data.raw);
        self.count("message");
    }

    fn judge_trades(
        &mut self,
        channel: &str,
        subscription: &mut Subscription,
        position: (u64, u64),
        data: &Json<'_>,
    ) {
        self.reference.tell(channel, position, data.raw);
        let name = channel.split('.').nth(1).unwrap_or_default();
        let instrument = self.reference.instrument(name).expect("told, so listed");
        assert!(!data.items().is_empty(), "{channel}: no trades in {}", data.raw);
        for trade in data.items() {
            let trade_seq = trade.at("trade_seq").whole();
            if let Some(last) = subscription.last_trade {
                assert_eq!(trade_seq, last + 1, "{channel}: a trade is missing or told twice");
            }
            let expected = &instrument.trades[usize::try_from(trade_seq).expect("few trades") - 1];
            let told = (units(trade.at("price").raw), units(trade.at("amount").raw));
            assert_eq!(told, (expected.price, expected.amount), "{}", trade.raw);
            assert_eq!(trade.at("direction").text() == Some("buy"), expected.buy, "{}", trade.raw);
            subscription.first_trade.get_or_insert(trade_seq);
            subscription.last_trade = Some(trade_seq);
        }
        self.count("trades");
    }

    fn judge_book(
        &mut self,
        channel: &str,
        subscription: &mut Subscription,
        data: &Json<'_>,
        snapshot: bool,
    ) {
        let change_id = data.at("change_id").whole();
        let mut book = if snapshot {
            self.count("book snapshot");
            NaiveBook::default()
        } else {
            self.count("book change");
            assert_eq!(data.at("prev_change_id").whole(), subscription.change_id, "{channel}: {}", data.raw);
            subscription.book.take().unwrap_or_else(|| panic!("{channel}: a change before a snapshot"))
        };
        apply_levels(&mut book, data);
        let name = channel.split('.').nth(1).unwrap_or_default();
        let instrument = self.reference.instrument(name).expect("told, so listed");
        let expected = &*instrument.books[usize::try_from(change_id).expect("few changes")];
        assert_eq!(&book, expected, "{channel} at change {change_id}");
        let checksum = data.member("checksum").map(Json::whole);
        let expected = subscription
            .checksum
            .then(|| u64::from(expected.checksum(instrument.price_decimals, instrument.amount_decimals)));
        assert_eq!(checksum, expected, "{channel} at change {change_id}");
        subscription.book = Some(book);
        subscription.change_id = change_id;
    }

    /// Everything has been carried and read and all intervals have ended: each client knows all there is to know.
    pub(super) fn judge_rest(&mut self, client: &Client) {
        let number = client.number;
        assert!(client.requests.is_empty(), "client {number} waits for replies to {:?}", client.requests);
        for (pattern, entry) in &client.patterns {
            let told_at_once = Kind::of(pattern).is_value() || Kind::of(pattern) == Kind::Book;
            if entry.standing == Standing::Active && told_at_once {
                for instrument in &self.reference.instruments {
                    let channel = pattern.replace('*', &instrument.name);
                    // Who came after it was gone does not follow it.
                    if instrument.delisted {
                        continue;
                    }
                    assert!(client.subscriptions.contains_key(&channel), "client {number}: no {channel}");
                }
            }
        }
        for (channel, subscription) in &client.subscriptions {
            if subscription.standing == Standing::Active {
                self.judge_channel_at_rest(number, channel, subscription);
            }
        }
        self.count("client at rest");
    }

    fn judge_channel_at_rest(&self, number: usize, channel: &str, subscription: &Subscription) {
        if subscription.kind == Kind::Topic {
            return self.judge_topic_at_rest(number, channel, subscription);
        }
        let name = channel.split('.').nth(1).unwrap_or_default();
        let instrument = self.reference.instrument(name).expect("subscribed, so listed");
        match subscription.kind {
            Kind::Topic => {}
            Kind::Trades => {
                let count = instrument.trades.len() as u64;
                let told_last = subscription.last_trade == Some(count);
                let owed = instrument.trades.len() > subscription.joined_trades
                    || subscription.first_trade.is_some()
                    || subscription.resumed;
                assert!(told_last || !owed, "client {number}: {channel} ends before trade {count}");
                if let (Some(first), false) = (subscription.first_trade, subscription.resumed) {
                    let latest = (subscription.joined_trades as u64).saturating_add(1);
                    assert!(first <= latest, "client {number}: {channel} lacks trades at its start");
                }
            }
            Kind::Book => {
                let book = subscription.book.as_ref();
                let book = book.unwrap_or_else(|| panic!("client {number}: {channel} has no snapshot"));
                assert_eq!(book, &**instrument.book(), "client {number}: {channel}");
            }
            Kind::Ticker | Kind::Quote | Kind::GroupedBook => {
                assert!(!subscription.value.is_empty(), "client {number}: {channel} has no value");
                check_value(number, channel, subscription, instrument);
            }
        }
    }

    fn judge_topic_at_rest(&self, number: usize, channel: &str, subscription: &Subscription) {
        let newest = self.reference.newest(channel);
        let first_owed = self.reference.first_after(channel, subscription.joined_step);
        match subscription.last {
            Some(last) => {
                assert_eq!(Some(last), newest, "client {number}: {channel} does not end at the newest");
                if let (Some(first), Some(owed), false) =
                    (subscription.first, first_owed, subscription.resumed)
                    && subscription.class == Class::Lossless
                {
                    assert!(first <= owed, "client {number}: {channel} lacks messages at its start");
                }
            }
            None => assert_eq!(first_owed, None, "client {number}: {channel} was told nothing"),
        }
    }
}

/// A text that some client was sent.
///
/// # Panics
/// If it is not JSON, or has a member twice where no client wrote it so.
#[must_use]
pub(super) fn parse_told(text: &str) -> Json<'_> {
    let json = Json::parse(text).unwrap_or_else(|fault| panic!("{fault}"));
    let is_message = json.member("params").and_then(|params| params.member("channel"));
    let is_message = is_message.and_then(Json::text).is_some_and(|channel| channel.starts_with("topic."));
    assert!(is_message || !json.repeats_a_member(), "a member stands twice in {text}");
    json
}

/// The channel with a star in its instrument's place.
#[must_use]
pub(super) fn pattern_of(channel: &str) -> String {
    let parts: Vec<&str> = channel.split('.').collect();
    let starred = parts.iter().enumerate().map(|(at, part)| if at == 1 { "*" } else { *part });
    starred.collect::<Vec<_>>().join(".")
}

fn check_order(
    number: usize,
    channel: &str,
    subscription: &Subscription,
    position: (u64, u64),
    snapshot: bool,
) {
    let Some(last) = subscription.last else { return };
    let class = subscription.class;
    if snapshot {
        // A snapshot may stand at an event that was told as a change: then it repeats what is known.
        assert!(position >= last, "client {number}: {channel} goes back from {last:?} to {position:?}");
        assert!(class == Class::Latest, "client {number}: {channel} is lossless and got a snapshot midway");
        return;
    }
    assert!(position > last, "client {number}: {channel} goes from {last:?} to {position:?}");
    if class == Class::Lossless || subscription.kind == Kind::Book {
        let next = (last.0, last.1 + 1);
        assert_eq!(position, next, "client {number}: {channel} has a hole after {last:?}");
    }
}

fn apply_levels(book: &mut NaiveBook, data: &Json<'_>) {
    use crate::model::book::Side;
    for (side, name) in [(Side::Bid, "bids"), (Side::Ask, "asks")] {
        for level in data.at(name).items() {
            let [action, price, amount] = level.items() else { panic!("not a level: {}", level.raw) };
            let level = (units(price.raw), units(amount.raw));
            let known = match side {
                Side::Bid => book.bids.contains_key(&level.0),
                Side::Ask => book.asks.contains_key(&level.0),
            };
            let expected = match (known, level.1) {
                (false, _) => "new",
                (true, 0) => "delete",
                (true, _) => "change",
            };
            assert_eq!(action.text(), Some(expected), "{}", data.raw);
            assert!(book.set(side, level), "a level that is told has changed: {}", data.raw);
        }
    }
}

fn check_value(number: usize, channel: &str, subscription: &Subscription, instrument: &NaiveInstrument) {
    let data = Json::parse(&subscription.value).expect("parsed before");
    let book = instrument.book();
    let said = || format!("client {number}: {channel}: {}", subscription.value);
    if subscription.kind == Kind::GroupedBook {
        let parts: Vec<&str> = channel.split('.').collect();
        let ticks: i64 = parts[2].parse().unwrap_or(1);
        let depth: usize = parts[3].parse().expect("a depth is a number");
        let (bids, asks) = book.grouped(ticks * instrument.tick, depth);
        assert_eq!((pairs(data.at("bids")), pairs(data.at("asks"))), (bids, asks), "{}", said());
        return;
    }
    for (price, amount, best) in [
        ("best_bid_price", "best_bid_amount", book.best_bids(1)),
        ("best_ask_price", "best_ask_amount", book.best_asks(1)),
    ] {
        let (price, amount) = (optional(data.at(price)), units(data.at(amount).raw));
        let best = best.first().copied();
        assert_eq!(
            (price, amount),
            (best.map(|level| level.0), best.map_or(0, |level| level.1)),
            "{}",
            said()
        );
    }
    if subscription.kind == Kind::Ticker {
        let last = instrument.trades.last().map(|trade| trade.price);
        assert_eq!(optional(data.at("last_price")), last, "{}", said());
        assert_eq!(
            data.at("state").text(),
            Some(if instrument.open { "open" } else { "closed" }),
            "{}",
            said()
        );
    }
}

fn optional(json: &Json<'_>) -> Option<i64> {
    (json.raw != "null").then(|| units(json.raw))
}

fn pairs(levels: &Json<'_>) -> Vec<NaiveLevel> {
    let pair = |level: &Json<'_>| (units(level.items()[0].raw), units(level.items()[1].raw));
    levels.items().iter().map(pair).collect()
}
