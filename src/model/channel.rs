//! Channels: the subscription keys in Deribit's spelling, parsed once at the edge. PURE.
//!
//! `ticker.{i}.{interval}`, `quote.{i}`, `book.{i}.{interval}`, `book.{i}.{group}.{depth}.{interval}`,
//! `trades.{i}.{interval}` with an instrument or `*` for `{i}`; `topic.{name}` for what clients publish; and an account's own
//! `user.{orders|trades|changes}.{i}.raw` and `user.{orders|trades|changes}.{kind}.{currency}.raw`, where `any` stands for all; and `platform_state`.

use std::fmt;

use super::encoding::Encoding;
use super::ids::InstrumentId;
use super::instrument::{Instrument, InstrumentKind, Symbol};
use super::order::{AccountId, Filter};

/// Bytes of a client topic's name at most.
pub const TOPIC_NAME_BYTES_MAX: usize = 63;

/// How often a channel speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Interval {
    /// Each event.
    Raw,
    /// The changes of 100 ms in one notification.
    Ms100,
    /// The changes of one second in one notification. Deribit names this interval without telling its length.
    Agg2,
}

impl Interval {
    pub const ALL: [Interval; 3] = [Interval::Raw, Interval::Ms100, Interval::Agg2];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Interval::Raw => "raw",
            Interval::Ms100 => "100ms",
            Interval::Agg2 => "agg2",
        }
    }

    /// The length in nanoseconds; 0 for `raw`.
    #[must_use]
    pub const fn period_ns(self) -> u64 {
        match self {
            Interval::Raw => 0,
            Interval::Ms100 => 100_000_000,
            Interval::Agg2 => 1_000_000_000,
        }
    }

    fn parse(text: &str) -> Option<Interval> {
        Interval::ALL.into_iter().find(|interval| interval.as_str() == text)
    }
}

/// How far prices are rounded in a grouped book: `none`, or a number of tick sizes per group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Group(Option<u16>);

impl Group {
    /// Ticks per group, where levels are grouped.
    #[must_use]
    pub const fn ticks_or_none(self) -> Option<u16> {
        self.0
    }

    /// Ticks per group; 1 for `none`.
    #[must_use]
    pub const fn ticks(self) -> u16 {
        match self.0 {
            None => 1,
            Some(ticks) => ticks,
        }
    }

    fn parse(text: &str) -> Option<Group> {
        match text {
            "none" => Some(Group(None)),
            "1" | "2" | "5" | "10" | "25" | "100" | "250" => {
                text.parse().ok().map(|ticks| Group(Some(ticks)))
            }
            _ => None,
        }
    }
}

/// Levels per side of a grouped book: 1, 10 or 20.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Depth(u8);

impl Depth {
    #[must_use]
    pub const fn levels(self) -> usize {
        self.0 as usize
    }

    fn parse(text: &str) -> Option<Depth> {
        match text {
            "1" => Some(Depth(1)),
            "10" => Some(Depth(10)),
            "20" => Some(Depth(20)),
            _ => None,
        }
    }
}

/// Whether a book channel carries the CRC32 checksum of its top ten levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Checksum {
    Absent,
    Crc32,
}

/// What a subscriber is owed when it reads more slowly than its topic speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeliveryClass {
    /// Every event in order; a queue that overflows closes the connection.
    Lossless,
    /// The newest value replaces an unsent older one; a book that fell behind is told again by a snapshot.
    Latest,
}

/// What is told of one instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MarketChannel {
    Ticker { interval: Interval },
    Quote,
    Book { interval: Interval, checksum: Checksum },
    GroupedBook { group: Group, depth: Depth, interval: Interval },
    Trades { interval: Interval },
}

impl MarketChannel {
    #[must_use]
    pub const fn interval(self) -> Interval {
        match self {
            MarketChannel::Quote => Interval::Raw,
            MarketChannel::Ticker { interval }
            | MarketChannel::Book { interval, .. }
            | MarketChannel::GroupedBook { interval, .. }
            | MarketChannel::Trades { interval } => interval,
        }
    }

    /// Appends the channel's text for one instrument.
    pub fn write(self, out: &mut Vec<u8>, instrument: &Symbol) {
        self.write_of(out, instrument.as_bytes());
    }

    /// Appends the channel's text for every instrument.
    pub fn write_every(self, out: &mut Vec<u8>) {
        self.write_of(out, b"*");
    }

    fn write_of(self, out: &mut Vec<u8>, instrument: &[u8]) {
        let (kind, interval) = match self {
            MarketChannel::Ticker { interval } => ("ticker.", Some(interval)),
            MarketChannel::Quote => ("quote.", None),
            MarketChannel::Book { interval, .. } | MarketChannel::GroupedBook { interval, .. } => {
                ("book.", Some(interval))
            }
            MarketChannel::Trades { interval } => ("trades.", Some(interval)),
        };
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(instrument);
        if let MarketChannel::GroupedBook { group, depth, .. } = self {
            out.push(b'.');
            let mut number = itoa::Buffer::new();
            let group = group.0.map_or("none", |ticks| number.format(ticks));
            out.extend_from_slice(group.as_bytes());
            out.push(b'.');
            out.extend_from_slice(itoa::Buffer::new().format(depth.0).as_bytes());
        }
        if let Some(interval) = interval {
            out.push(b'.');
            out.extend_from_slice(interval.as_str().as_bytes());
        }
    }
}

/// The name of a topic that clients publish: 1 to 63 of `A-Z a-z 0-9 _ - : / .`. The private fields make every
/// `TopicName` a legal one, so it goes into a JSON string as it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicName {
    bytes: [u8; TOPIC_NAME_BYTES_MAX],
    len: u8,
}

impl TopicName {
    /// `None` for a text that is empty, too long or has a character outside the set.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<TopicName> {
        if text.is_empty() || text.len() > TOPIC_NAME_BYTES_MAX {
            return None;
        }
        let mut bytes = [0; TOPIC_NAME_BYTES_MAX];
        for (place, byte) in bytes.iter_mut().zip(text) {
            if !byte.is_ascii_alphanumeric() && !matches!(byte, b'_' | b'-' | b':' | b'/' | b'.') {
                return None;
            }
            *place = *byte;
        }
        Some(TopicName { bytes, len: u8::try_from(text.len()).ok()? })
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).expect("invariant: `parse` makes topic names of ASCII alone")
    }

    /// FNV-1a, fixed for ever: the topic's home among `shards` is this modulo their number.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.as_bytes()
            .iter()
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which of an account's own events are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PrivateKind {
    /// What becomes of its orders.
    Orders,
    /// Its fills.
    Trades,
    /// Both, and its positions.
    Changes,
}

impl PrivateKind {
    pub const ALL: [PrivateKind; 3] = [PrivateKind::Orders, PrivateKind::Trades, PrivateKind::Changes];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            PrivateKind::Orders => "orders",
            PrivateKind::Trades => "trades",
            PrivateKind::Changes => "changes",
        }
    }
}

/// The instruments that a private channel is about, as a client wrote them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Instruments {
    One(Symbol),
    /// `None` stands for `any`.
    Group {
        kind: Option<InstrumentKind>,
        currency: Option<Symbol>,
    },
}

/// A private channel as a client wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PrivateChannel {
    pub what: PrivateKind,
    pub of: Instruments,
}

impl PrivateChannel {
    /// Of what comes after `user.`.
    fn parse(text: &str) -> Option<PrivateChannel> {
        let mut parts = text.split('.');
        let what = parts.next()?;
        let what = PrivateKind::ALL.into_iter().find(|kind| kind.as_str() == what)?;
        let of = match (parts.next()?, parts.next()?, parts.next(), parts.next()) {
            (instrument, "raw", None, None) => Instruments::One(Symbol::parse(instrument.as_bytes()).ok()?),
            (kind, currency, Some("raw"), None) => {
                let kind = match kind {
                    "any" => None,
                    kind => Some(InstrumentKind::ALL.into_iter().find(|known| known.as_str() == kind)?),
                };
                let currency = match currency {
                    "any" => None,
                    currency => Some(Symbol::parse(currency.as_bytes()).ok()?),
                };
                Instruments::Group { kind, currency }
            }
            _ => return None,
        };
        Some(PrivateChannel { what, of })
    }

    /// Appends the channel's text.
    pub fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"user.");
        out.extend_from_slice(self.what.as_str().as_bytes());
        out.push(b'.');
        match self.of {
            Instruments::One(instrument) => out.extend_from_slice(instrument.as_bytes()),
            Instruments::Group { kind, currency } => {
                out.extend_from_slice(kind.map_or("any", InstrumentKind::as_str).as_bytes());
                out.push(b'.');
                out.extend_from_slice(currency.as_ref().map_or(b"any", Symbol::as_bytes));
            }
        }
        out.extend_from_slice(b".raw");
    }
}

/// Which of an account's events a private topic tells: those of the filter's instruments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PrivateView {
    pub what: PrivateKind,
    pub filter: Filter,
}

impl PrivateView {
    /// Whether it tells of this instrument.
    #[must_use]
    pub fn takes(&self, instrument: InstrumentId, definition: &Instrument) -> bool {
        let Filter { instrument: only, kind, currency } = self.filter;
        only.is_none_or(|only| only == instrument)
            && kind.is_none_or(|kind| kind == definition.kind)
            && currency.is_none_or(|currency| {
                currency == definition.base_currency || currency == definition.quote_currency
            })
    }

    /// The channel that means it; `name_of` gives the name of the filter's instrument.
    #[must_use]
    pub fn channel(&self, name_of: impl FnOnce(InstrumentId) -> Symbol) -> PrivateChannel {
        let Filter { instrument, kind, currency } = self.filter;
        let of = instrument.map_or(Instruments::Group { kind, currency }, |id| Instruments::One(name_of(id)));
        PrivateChannel { what: self.what, of }
    }
}

/// A channel as a client wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// One instrument's channel.
    Instrument { instrument: Symbol, channel: MarketChannel },
    /// `*`: the channel of every instrument, those listed later included.
    Every { channel: MarketChannel },
    /// What clients publish under a name.
    Topic(TopicName),
    /// What happens to the orders of the account that asks.
    Private(PrivateChannel),
    /// Whether the server is about to go: no topic, but a word to each connection.
    PlatformState,
}

/// The channel [`Channel::PlatformState`].
pub const PLATFORM_STATE: &str = "platform_state";

/// A stream with a sequence of its own: what a channel means once its instrument is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TopicKey {
    Market {
        instrument: InstrumentId,
        channel: MarketChannel,
        encoding: Encoding,
    },
    Client(TopicName),
    /// All private topics of an account share one sequence.
    Private {
        account: AccountId,
        view: PrivateView,
    },
}

impl Channel {
    /// Parses a channel; `checksum` is what a `book` channel is to carry. `None` for anything that is not a channel.
    #[must_use]
    pub fn parse(text: &str, checksum: Checksum) -> Option<Channel> {
        if text == PLATFORM_STATE {
            return Some(Channel::PlatformState);
        }
        let (kind, rest) = text.split_once('.')?;
        if kind == "topic" {
            return TopicName::parse(rest.as_bytes()).map(Channel::Topic);
        }
        if kind == "user" {
            return PrivateChannel::parse(rest).map(Channel::Private);
        }
        let mut parts = rest.split('.');
        let instrument = parts.next()?;
        let channel = match (kind, parts.next(), parts.next(), parts.next()) {
            ("quote", None, None, None) => MarketChannel::Quote,
            ("ticker", Some(interval), None, None) => {
                MarketChannel::Ticker { interval: Interval::parse(interval)? }
            }
            ("trades", Some(interval), None, None) => {
                MarketChannel::Trades { interval: Interval::parse(interval)? }
            }
            ("book", Some(interval), None, None) => {
                MarketChannel::Book { interval: Interval::parse(interval)?, checksum }
            }
            ("book", Some(group), Some(depth), Some(interval)) => MarketChannel::GroupedBook {
                group: Group::parse(group)?,
                depth: Depth::parse(depth)?,
                interval: Interval::parse(interval)?,
            },
            _ => return None,
        };
        if parts.next().is_some() {
            return None;
        }
        match instrument {
            "*" => Some(Channel::Every { channel }),
            name => {
                let instrument = Symbol::parse(name.as_bytes()).ok()?;
                Some(Channel::Instrument { instrument, channel })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_round_trip(text: &str) {
        let Some(Channel::Instrument { instrument, channel }) = Channel::parse(text, Checksum::Absent) else {
            panic!("{text} did not parse as an instrument's channel");
        };
        let mut out = Vec::new();
        channel.write(&mut out, &instrument);
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }

    #[test]
    fn reads_and_writes_every_form() {
        for text in [
            "ticker.BTC-PERPETUAL.raw",
            "ticker.BTC-PERPETUAL.100ms",
            "quote.EUR_USD",
            "book.ESH4.agg2",
            "book.ESH4.none.20.100ms",
            "book.ESH4.25.10.agg2",
            "trades.ESH4.raw",
        ] {
            check_round_trip(text);
        }
    }

    #[test]
    fn takes_a_star_for_every_instrument_and_a_topic_by_name() {
        let ticker = MarketChannel::Ticker { interval: Interval::Raw };
        assert_eq!(
            Channel::parse("ticker.*.raw", Checksum::Absent),
            Some(Channel::Every { channel: ticker })
        );
        let name = TopicName::parse(b"desk.alerts").unwrap();
        assert_eq!(Channel::parse("topic.desk.alerts", Checksum::Absent), Some(Channel::Topic(name)));
    }

    #[test]
    fn reads_and_writes_what_is_private_by_instrument_and_by_kind_and_currency() {
        let btc = Symbol::parse(b"BTC").unwrap();
        let group = |kind, currency| Instruments::Group { kind, currency };
        for (text, what, of) in [
            ("user.orders.ESH4.raw", PrivateKind::Orders, Instruments::One(Symbol::parse(b"ESH4").unwrap())),
            ("user.trades.any.any.raw", PrivateKind::Trades, group(None, None)),
            (
                "user.changes.option_combo.BTC.raw",
                PrivateKind::Changes,
                group(Some(InstrumentKind::OptionCombo), Some(btc)),
            ),
            ("user.orders.any.BTC.raw", PrivateKind::Orders, group(None, Some(btc))),
            ("user.orders.spot.any.raw", PrivateKind::Orders, group(Some(InstrumentKind::Spot), None)),
        ] {
            let Some(Channel::Private(channel)) = Channel::parse(text, Checksum::Absent) else {
                panic!("{text} did not parse as a private channel");
            };
            assert_eq!(channel, PrivateChannel { what, of }, "{text}");
            let mut out = Vec::new();
            channel.write(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    #[test]
    fn refuses_what_is_not_a_channel() {
        for text in [
            "",
            "ticker",
            "ticker.X",
            "ticker.X.1s",
            "quote.X.raw",
            "book.X.none.20",
            "book.X.none.7.raw",
            "book.X.3.10.raw",
            "trades.X.raw.raw",
            "topic.",
            "topic.a b",
            "ticker..raw",
            "foo.X.raw",
            "book.X.1.1.raw.1",
            "user",
            "user.orders",
            "user.orders.raw",
            "user.orders.X",
            "user.orders.X.100ms",
            "user.orders.*.raw",
            "user.portfolio.X.raw",
            "user.orders.perpetual.BTC.raw",
            "user.orders.future..raw",
            "user.orders.future.BTC.raw.raw",
            "user.orders.future.BTC.agg2",
        ] {
            assert_eq!(Channel::parse(text, Checksum::Absent), None, "{text}");
        }
    }
}
