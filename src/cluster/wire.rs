//! Bytes that cross between nodes, written and read. PURE.
//!
//! Invariants: numbers are little-endian; whatever bytes come, reading ends in a value or a [`WireFault`], never in a panic, and takes memory in proportion to
//! the bytes that are there; sequence numbers and epochs are below 2^53, so that adding to one of them does not overflow.

use crate::model::channel::{Channel, Checksum, MarketChannel};
use crate::model::decimal::{Amount, Price};
use crate::model::encoding::Encoding;
use crate::model::ids::{Epoch, InstrumentId, Seq, Ticket};
use crate::model::instrument::Symbol;

/// The version that is written, and the only one that is read: nodes of a cluster are of one version of what crosses.
pub const WIRE_VERSION: u8 = 1;

/// Why bytes mean nothing here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireFault {
    /// They end before what they announce.
    Short,
    /// Another version wrote them.
    Version(u8),
    /// A number or a text that is none of what may stand there.
    Value,
}

/// What of some bytes is not read yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { left: bytes }
    }

    /// Behind the version and the kind of a message.
    pub(super) fn message(bytes: &'a [u8], kind: u8) -> Result<Reader<'a>, WireFault> {
        let mut reader = Reader::new(bytes);
        match reader.u8()? {
            WIRE_VERSION => {}
            version => return Err(WireFault::Version(version)),
        }
        if reader.u8()? == kind { Ok(reader) } else { Err(WireFault::Value) }
    }

    /// What is left.
    pub(super) fn rest(self) -> &'a [u8] {
        self.left
    }

    pub(super) fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], WireFault> {
        let (bytes, left) = self.left.split_at_checked(count).ok_or(WireFault::Short)?;
        self.left = left;
        Ok(bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], WireFault> {
        let (bytes, left) = self.left.split_first_chunk().ok_or(WireFault::Short)?;
        self.left = left;
        Ok(*bytes)
    }

    pub(super) fn u8(&mut self) -> Result<u8, WireFault> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, WireFault> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, WireFault> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, WireFault> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn i128(&mut self) -> Result<i128, WireFault> {
        self.array().map(i128::from_le_bytes)
    }

    pub(super) fn price(&mut self) -> Result<Price, WireFault> {
        self.array().map(|bytes| Price(i64::from_le_bytes(bytes)))
    }

    pub(super) fn amount(&mut self) -> Result<Amount, WireFault> {
        self.array().map(|bytes| Amount(i64::from_le_bytes(bytes)))
    }

    pub(super) fn seq(&mut self) -> Result<Seq, WireFault> {
        let number = self.u64()?;
        if number < 1 << 53 { Ok(Seq(number)) } else { Err(WireFault::Value) }
    }

    pub(super) fn epoch(&mut self) -> Result<Epoch, WireFault> {
        self.seq().map(|number| Epoch(number.0))
    }

    pub(super) fn flag(&mut self) -> Result<bool, WireFault> {
        self.pick(&[false, true])
    }

    /// One of a closed set, by its number in it.
    pub(super) fn pick<T: Copy>(&mut self, all: &[T]) -> Result<T, WireFault> {
        let number = self.u8()?;
        all.get(usize::from(number)).copied().ok_or(WireFault::Value)
    }

    /// So many things of at least `bytes_min` each, as they were announced: no more than what is left can be.
    pub(super) fn count(&mut self, bytes_min: usize) -> Result<usize, WireFault> {
        let count = usize::try_from(self.u32()?).map_err(|_| WireFault::Short)?;
        if count <= self.left.len() / bytes_min { Ok(count) } else { Err(WireFault::Short) }
    }

    /// Bytes behind their length.
    pub(super) fn run(&mut self) -> Result<&'a [u8], WireFault> {
        let count = self.count(1)?;
        self.bytes(count)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, WireFault> {
        std::str::from_utf8(self.run()?).map_err(|_| WireFault::Value)
    }

    pub(super) fn symbol(&mut self) -> Result<Symbol, WireFault> {
        let count = usize::from(self.u8()?);
        Symbol::parse(self.bytes(count)?).map_err(|_| WireFault::Value)
    }

    pub(super) fn ticket(&mut self) -> Result<Ticket, WireFault> {
        Ok(Ticket { slot: self.u32()?, generation: self.u32()? })
    }

    /// What is told of which instrument, by its name too.
    pub(super) fn topic(&mut self) -> Result<MarketTopic, WireFault> {
        let id = InstrumentId(self.u32()?);
        let encoding = self.pick(&Encoding::ALL)?;
        let (checksum, text) = (self.pick(&CHECKSUMS)?, self.text()?);
        match Channel::parse(text, checksum) {
            Some(Channel::Instrument { instrument: name, channel }) => {
                let mut written = Vec::new();
                channel.write(&mut written, &name);
                // Each topic has one form in bytes.
                let is_as_written = written == text.as_bytes() && checksum_of(channel) == checksum;
                is_as_written.then_some(MarketTopic { id, name, channel, encoding }).ok_or(WireFault::Value)
            }
            Some(
                Channel::Every { .. } | Channel::Topic(_) | Channel::Private(_) | Channel::PlatformState,
            )
            | None => Err(WireFault::Value),
        }
    }
}

/// A market's topic as it crosses. The owner refuses one whose name is not its instrument's: nodes would mean different ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarketTopic {
    pub id: InstrumentId,
    pub name: Symbol,
    pub channel: MarketChannel,
    pub encoding: Encoding,
}

const CHECKSUMS: [Checksum; 2] = [Checksum::Absent, Checksum::Crc32];

/// Writing is appending.
pub(super) trait Put {
    fn put(&mut self, bytes: &[u8]);

    fn put_u8(&mut self, number: u8) {
        self.put(&[number]);
    }

    fn put_u16(&mut self, number: u16) {
        self.put(&number.to_le_bytes());
    }

    fn put_u32(&mut self, number: u32) {
        self.put(&number.to_le_bytes());
    }

    fn put_u64(&mut self, number: u64) {
        self.put(&number.to_le_bytes());
    }

    fn put_count(&mut self, count: usize) {
        self.put_u32(u32::try_from(count).expect("invariant: what a turn tells is below 4 GiB"));
    }

    fn put_run(&mut self, bytes: &[u8]) {
        self.put_count(bytes.len());
        self.put(bytes);
    }

    fn put_symbol(&mut self, symbol: &Symbol) {
        let bytes = symbol.as_bytes();
        self.put_u8(u8::try_from(bytes.len()).expect("invariant: a symbol has at most 31 bytes"));
        self.put(bytes);
    }

    fn put_ticket(&mut self, ticket: Ticket) {
        self.put_u32(ticket.slot);
        self.put_u32(ticket.generation);
    }

    fn put_topic(&mut self, topic: &MarketTopic) {
        let checksum = checksum_of(topic.channel);
        let mut text = Vec::new();
        topic.channel.write(&mut text, &topic.name);
        self.put_u32(topic.id.0);
        self.put_u8(number_of(topic.encoding, &Encoding::ALL));
        self.put_u8(number_of(checksum, &CHECKSUMS));
        self.put_run(&text);
    }
}

impl Put for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

fn checksum_of(channel: MarketChannel) -> Checksum {
    match channel {
        MarketChannel::Book { checksum, .. } => checksum,
        MarketChannel::Ticker { .. }
        | MarketChannel::Quote
        | MarketChannel::GroupedBook { .. }
        | MarketChannel::Trades { .. } => Checksum::Absent,
    }
}

/// The number of a value in the list of all.
pub(super) fn number_of<T: PartialEq>(value: T, all: &[T]) -> u8 {
    let at = all.iter().position(|one| *one == value).expect("invariant: the list has them all");
    u8::try_from(at).expect("invariant: such lists are short")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_crosses_as_it_is() {
        for text in [
            "ticker.A.raw",
            "ticker.A.100ms",
            "quote.A",
            "book.A.agg2",
            "book.A.none.10.100ms",
            "trades.A.raw",
        ] {
            for (encoding, checksum) in [(Encoding::Json, Checksum::Crc32), (Encoding::Sbe, Checksum::Absent)]
            {
                let Some(Channel::Instrument { instrument: name, channel }) = Channel::parse(text, checksum)
                else {
                    panic!("{text} is a channel");
                };
                let topic = MarketTopic { id: InstrumentId(7), name, channel, encoding };
                let mut bytes = Vec::new();
                bytes.put_topic(&topic);
                assert_eq!(Reader::new(&bytes).topic(), Ok(topic), "{text}");
            }
        }
    }

    #[test]
    fn what_is_no_instrument_s_channel_does_not_cross() {
        for text in
            ["ticker.*.raw", "topic.a", "user.orders.any.raw", "platform_state", "quote", "quote.A.B.C.D"]
        {
            let mut bytes = vec![0; 6];
            bytes.put_run(text.as_bytes());
            assert_eq!(Reader::new(&bytes).topic(), Err(WireFault::Value), "{text}");
        }
    }

    #[test]
    fn a_count_that_cannot_be_is_found_before_memory_is_taken_for_it() {
        assert_eq!(Reader::new(&[255, 255, 255, 255, 1]).count(1), Err(WireFault::Short));
        assert_eq!(Reader::new(&[2, 0, 0, 0, 1, 2]).count(1), Ok(2));
        assert_eq!(Reader::new(&[2, 0, 0, 0, 1, 2]).count(2), Err(WireFault::Short));
    }

    #[test]
    fn numbers_that_could_overflow_are_refused() {
        assert_eq!(Reader::new(&(1_u64 << 53).to_le_bytes()).seq(), Err(WireFault::Value));
        assert_eq!(Reader::new(&((1_u64 << 53) - 1).to_le_bytes()).seq(), Ok(Seq((1 << 53) - 1)));
    }
}
