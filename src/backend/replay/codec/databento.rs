//! Databento's binary encoding, versions 1 to 3: framing and metadata with the `dbn` crate, then records to events.
//! PURE. Home: the venue thread. Format: databento.com/docs/standards-and-conventions/databento-binary-encoding.
//!
//! Times told to clients are `ts_event`, or `ts_recv` in a snapshot, whose orders are older than it; the schedule of a
//! replay is `ts_recv`. Prices are kept as they are, in units of 1e-9; one contract is an amount of 1.

use std::collections::BTreeMap;

use ::dbn::decode::dbn::fsm::{DbnFsm, ProcessResult};
use ::dbn::{
    Action, InstrumentClass, InstrumentDefMsg, MboMsg, Mbp1Msg, Mbp10Msg, Metadata, RecordRef, Schema,
    Side as DbnSide, SymbolMappingMsg, TradeMsg, TsSymbolMap, UNDEF_PRICE, UNDEF_TIMESTAMP,
    VersionUpgradePolicy, v1, v2,
};

use super::levels::{TopTen, amount, level};
use super::listing::{Definition, Listings, Ticks};
use super::mbo::{MboBook, unknown};
use super::{Bytes, Fault, Oddities, PROFILE_RECORDS_MAX, Step};
use crate::backend::replay::error::Place;
use crate::model::book::{LevelUpdate, Side};
use crate::model::decimal::Price;
use crate::model::instrument::InstrumentKind;
use crate::model::market::{Direction, FeedBuffer, FeedEvent, FeedInstrument};
use crate::model::order::Parties;

/// Bytes that are read at a time.
const CHUNK_BYTES: usize = 64 * 1024;
/// Bytes of metadata at most: the symbols of a whole exchange; more is a broken length.
pub const METADATA_BYTES_MAX: u32 = 64 * 1024 * 1024;
/// Events that are gathered until the end of an exchange's event; one that is longer is told in parts.
const MOMENT_EVENTS_MAX: usize = 1_024;

/// Records out of bytes.
struct Frames {
    bytes: Bytes,
    fsm: DbnFsm,
    chunk: Vec<u8>,
    /// Records read so far; the last one's number, counted from 1.
    records_read: u64,
    /// The format's, 1 to 3; definitions and mappings differ.
    version: u8,
}

impl Frames {
    fn open(bytes: Bytes) -> Result<(Frames, Metadata), Fault> {
        // As it is: `dbn` 0.73 panics when it upgrades a record that is too short for its kind, see `Record::of`.
        let fsm = DbnFsm::builder()
            .compat_size(0)
            .upgrade_policy(VersionUpgradePolicy::AsIs)
            .build()
            .map_err(|error| Fault::file(error.to_string()))?;
        let mut frames = Frames { bytes, fsm, chunk: vec![0; CHUNK_BYTES], records_read: 0, version: 0 };
        frames.check_length()?;
        loop {
            match frames.fsm.process() {
                ProcessResult::Metadata(metadata) => {
                    frames.version = metadata.version;
                    return Ok((frames, metadata));
                }
                ProcessResult::ReadMore(_) => {
                    if frames.read_more()? == 0 {
                        return Err(Fault::file("its metadata is cut off: the file is truncated"));
                    }
                }
                ProcessResult::Err(error) => return Err(Fault::file(format!("bad metadata: {error}"))),
                ProcessResult::Record(()) => return Err(Fault::file("has a record before its metadata")),
            }
        }
    }

    /// Refuses a length of metadata that would have it reserve gigabytes. The length is bytes 4 to 8, little endian.
    fn check_length(&mut self) -> Result<(), Fault> {
        while self.fsm.data().len() < 8 {
            if self.read_more()? == 0 {
                return Err(Fault::file("its metadata is cut off: the file is truncated"));
            }
        }
        let length = self.fsm.data()[4..8].iter().rev().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
        if length > METADATA_BYTES_MAX {
            return Err(Fault::file(format!("bad metadata: a length of {length} bytes")));
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Option<RecordRef<'_>>, Fault> {
        loop {
            self.check_record_length()?;
            match self.fsm.process() {
                ProcessResult::Record(()) => {
                    self.records_read += 1;
                    return Ok(self.fsm.last_record());
                }
                ProcessResult::ReadMore(_) => {
                    if self.read_more()? == 0 {
                        if self.fsm.data().is_empty() {
                            return Ok(None);
                        }
                        return Err(self.fault("the record is cut off: the file is truncated"));
                    }
                }
                ProcessResult::Err(error) => return Err(self.fault(&error.to_string())),
                ProcessResult::Metadata(_) => return Err(self.fault("metadata in the middle of the file")),
            }
        }
    }

    /// Refuses a length after which the next record would begin where none can: every record of the format is whole
    /// words of eight bytes, and `dbn` 0.73 asserts so instead of saying so. The first byte is the length in words of
    /// four.
    fn check_record_length(&self) -> Result<(), Fault> {
        match self.fsm.data().first() {
            Some(words) if !words.is_multiple_of(2) => {
                Err(self.fault(&format!("a length of {} bytes is not a record's", u32::from(*words) * 4)))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn read_more(&mut self) -> Result<usize, Fault> {
        loop {
            match self.bytes.read(&mut self.chunk) {
                Ok(count) => {
                    self.fsm.write_all(&self.chunk[..count]);
                    return Ok(count);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.fault(&error.to_string())),
            }
        }
    }

    /// What is wrong with the record after the last one.
    fn fault(&self, reason: &str) -> Fault {
        Fault { place: Place::Record(self.records_read + 1), reason: reason.to_owned() }
    }
}

/// The increments of a recording's first prices; stops at the first record that is wrong, which the replay then names.
pub fn profile(bytes: Bytes) -> Result<Ticks, Fault> {
    let (mut frames, metadata) = Frames::open(bytes)?;
    check_schema(&metadata)?;
    let mut ticks = Ticks::default();
    while frames.records_read < PROFILE_RECORDS_MAX {
        let Ok(Some(record)) = frames.next() else { break };
        let key = record.header().instrument_id;
        let mut see = |price: i64| {
            if price != UNDEF_PRICE {
                ticks.see(key, price);
            }
        };
        if let Ok(message) = record.try_get::<MboMsg>() {
            see(message.price);
        } else if let Ok(message) = record.try_get::<TradeMsg>() {
            see(message.price);
        } else if let Ok(message) = record.try_get::<Mbp1Msg>() {
            message.levels.iter().for_each(|pair| [pair.bid_px, pair.ask_px].into_iter().for_each(&mut see));
        } else if let Ok(message) = record.try_get::<Mbp10Msg>() {
            message.levels.iter().for_each(|pair| [pair.bid_px, pair.ask_px].into_iter().for_each(&mut see));
        }
    }
    Ok(ticks)
}

fn check_schema(metadata: &Metadata) -> Result<(), Fault> {
    match metadata.schema {
        None
        | Some(
            Schema::Mbo | Schema::Mbp1 | Schema::Mbp10 | Schema::Tbbo | Schema::Trades | Schema::Definition,
        ) => Ok(()),
        Some(other) => Err(Fault::file(format!(
            "schema {other} is not supported; mbo, mbp-1, mbp-10, tbbo, trades and definition are"
        ))),
    }
}

/// What is kept of an instrument beyond its listing.
#[derive(Debug)]
enum Depth {
    Orders(Box<MboBook>),
    TopTen(TopTen),
}

pub struct DbnDecoder {
    frames: Frames,
    symbols: TsSymbolMap,
    /// Names that came in records.
    mapped: BTreeMap<u32, String>,
    listings: Listings,
    depths: BTreeMap<u32, Depth>,
    updates: Vec<LevelUpdate>,
    records_skipped: u64,
    /// The schedule's time so far; it never runs backwards.
    moment_ns: u64,
    /// Books to clear before anything else: the recording has begun again.
    restarted: bool,
}

impl DbnDecoder {
    pub fn open(bytes: Bytes, ticks: Ticks) -> Result<DbnDecoder, Fault> {
        let (frames, metadata) = Frames::open(bytes)?;
        check_schema(&metadata)?;
        Ok(DbnDecoder {
            frames,
            // Without a mapping by number, instruments are named by their number.
            symbols: TsSymbolMap::from_metadata(&metadata).unwrap_or_default(),
            mapped: BTreeMap::new(),
            listings: Listings::new(ticks),
            depths: BTreeMap::new(),
            updates: Vec::new(),
            records_skipped: 0,
            moment_ns: 0,
            restarted: false,
        })
    }

    pub fn restart(&mut self, bytes: Bytes) -> Result<(), Fault> {
        self.frames = Frames::open(bytes)?.0;
        self.restarted = true;
        self.moment_ns = 0;
        Ok(())
    }

    pub fn records_read(&self) -> u64 {
        self.frames.records_read
    }

    pub fn oddities(&self) -> Oddities {
        let unknown = |depth: &Depth| match depth {
            Depth::Orders(book) => book.orders_unknown,
            Depth::TopTen(_) => 0,
        };
        Oddities {
            orders_unknown: self.depths.values().map(unknown).sum(),
            records_skipped: self.records_skipped,
        }
    }

    pub fn read(&mut self, out: &mut FeedBuffer) -> Result<Step, Fault> {
        let version = self.frames.version;
        let Some(record) = self.frames.next()? else {
            return self.end(out);
        };
        // Copied, so that the books can be changed while it is looked at; 368 bytes at most.
        let record = Record::of(&record, version);
        let place = Place::Record(self.frames.records_read);
        let fault = |reason: String| Fault { place, reason };
        match record.map_err(fault)? {
            Record::Skipped => {
                self.records_skipped += 1;
                Ok(Step::Quiet)
            }
            Record::Definition(message) => {
                self.listings.define(message.hd.instrument_id, definition(&message));
                if self.listings.number(message.hd.instrument_id).is_none() {
                    self.list(message.hd.instrument_id, message.ts_recv, out).map_err(fault)?;
                }
                Ok(self.moment(message.ts_recv, out))
            }
            Record::Mapping { instrument_id, symbol } => {
                if self.mapped.len() < super::listing::INSTRUMENTS_MAX {
                    self.mapped.insert(instrument_id, symbol);
                }
                Ok(Step::Quiet)
            }
            Record::Mbo(message) => self.read_mbo(&message, out).map_err(fault),
            Record::Mbp1(message) => self.read_mbp1(&message, out).map_err(fault),
            Record::Mbp10(message) => self.read_mbp10(&message, out).map_err(fault),
            Record::Trade(message) => {
                let instrument = self.list(message.hd.instrument_id, message.ts_recv, out).map_err(fault)?;
                let print = Print {
                    price: message.price,
                    size: message.size,
                    side: message.side().ok(),
                    timestamp_ns: stamp(message.hd.ts_event, message.ts_recv),
                };
                print.tell(instrument, None, out).map_err(fault)?;
                Ok(self.moment(message.ts_recv, out))
            }
        }
    }

    fn read_mbo(&mut self, message: &MboMsg, out: &mut FeedBuffer) -> Result<Step, String> {
        let key = message.hd.instrument_id;
        let instrument = self.list(key, message.ts_recv, out)?;
        let timestamp_ns = if message.flags.is_snapshot() {
            message.ts_recv
        } else {
            stamp(message.hd.ts_event, message.ts_recv)
        };
        let depth = self
            .depths
            .entry(key)
            .or_insert_with(|| Depth::Orders(Box::new(MboBook::new(instrument, message.hd.publisher_id))));
        let Depth::Orders(book) = depth else {
            return Err("orders of an instrument that was told by levels before".to_owned());
        };
        book.apply(message, timestamp_ns, out)?;
        if message.action().is_ok_and(|action| action == Action::Trade) {
            let side = message.side().ok();
            let print = Print { price: message.price, size: message.size, side, timestamp_ns };
            let bid = book.sums().best_bid().map(|level| level.price);
            print.tell(instrument, bid, out)?;
        }
        if message.flags.is_last() {
            book.flush(out);
        } else if out.events.len() < MOMENT_EVENTS_MAX {
            return Ok(Step::Quiet);
        }
        let step = self.moment(message.ts_recv, out);
        let stood_before = message.flags.is_snapshot() && step != Step::Quiet;
        Ok(if stood_before { Step::Snapshot } else { step })
    }

    fn read_mbp1(&mut self, message: &Mbp1Msg, out: &mut FeedBuffer) -> Result<Step, String> {
        let instrument = self.list(message.hd.instrument_id, message.ts_recv, out)?;
        let timestamp_ns = stamp(message.hd.ts_event, message.ts_recv);
        let (bid, ask) = (level(&message.levels[0], Side::Bid), level(&message.levels[0], Side::Ask));
        out.events.push(FeedEvent::Quote { instrument, bid, ask, timestamp_ns });
        if message.action().map_err(|_| unknown("action", message.action.cast_unsigned()))? == Action::Trade {
            let side = message.side().ok();
            let print = Print { price: message.price, size: message.size, side, timestamp_ns };
            print.tell(instrument, bid.map(|level| level.price), out)?;
        }
        Ok(self.moment(message.ts_recv, out))
    }

    fn read_mbp10(&mut self, message: &Mbp10Msg, out: &mut FeedBuffer) -> Result<Step, String> {
        let key = message.hd.instrument_id;
        let instrument = self.list(key, message.ts_recv, out)?;
        let timestamp_ns = stamp(message.hd.ts_event, message.ts_recv);
        let Depth::TopTen(top) = self.depths.entry(key).or_insert_with(|| Depth::TopTen(TopTen::default()))
        else {
            return Err("levels of an instrument that was told by orders before".to_owned());
        };
        let action = message.action().map_err(|_| unknown("action", message.action.cast_unsigned()))?;
        if action == Action::Trade {
            let print =
                Print { price: message.price, size: message.size, side: message.side().ok(), timestamp_ns };
            let bid = level(&message.levels[0], Side::Bid).map(|level| level.price);
            print.tell(instrument, bid, out)?;
        }
        if action == Action::Clear {
            top.clear();
            let levels = out.push_levels([]);
            out.events.push(FeedEvent::Cleared { instrument, levels, timestamp_ns });
        }
        top.replace(&message.levels, &mut self.updates);
        if !self.updates.is_empty() {
            let levels = out.push_levels(self.updates.iter().copied());
            out.events.push(FeedEvent::Levels { instrument, levels, timestamp_ns });
        }
        Ok(self.moment(message.ts_recv, out))
    }

    /// The instrument's number; lists it if it is new, and after a restart clears all books first.
    fn list(&mut self, key: u32, ts_recv: u64, out: &mut FeedBuffer) -> Result<FeedInstrument, String> {
        if std::mem::take(&mut self.restarted) {
            self.clear_all(ts_recv, out);
        }
        if let Some(number) = self.listings.number(key) {
            return Ok(number);
        }
        let name = self.mapped.get(&key).or_else(|| self.symbols.get_for_ts(ts_recv, key));
        self.listings
            .list(key, name.map(String::as_str), InstrumentKind::Future, out)
            .ok_or_else(|| "more instruments than a recording may have".to_owned())
    }

    fn clear_all(&mut self, timestamp_ns: u64, out: &mut FeedBuffer) {
        for depth in self.depths.values_mut() {
            match depth {
                Depth::Orders(book) => book.restart(),
                Depth::TopTen(top) => top.clear(),
            }
        }
        self.listings.clear_all(timestamp_ns, out);
    }

    fn moment(&mut self, ts_recv: u64, out: &FeedBuffer) -> Step {
        if ts_recv != UNDEF_TIMESTAMP {
            self.moment_ns = self.moment_ns.max(ts_recv);
        }
        if out.events.is_empty() { Step::Quiet } else { Step::Moment { recorded_ns: self.moment_ns } }
    }

    /// Tells what the last records did without an end of their event.
    fn end(&mut self, out: &mut FeedBuffer) -> Result<Step, Fault> {
        if self.frames.records_read == 0 {
            return Err(Fault::file("has no records"));
        }
        for depth in self.depths.values_mut() {
            if let Depth::Orders(book) = depth {
                book.flush(out);
            }
        }
        Ok(Step::End)
    }
}

/// A record of a kind that says something here, as a copy.
enum Record {
    Mbo(MboMsg),
    Mbp1(Mbp1Msg),
    Mbp10(Box<Mbp10Msg>),
    Trade(TradeMsg),
    Definition(Box<InstrumentDefMsg>),
    Mapping { instrument_id: u32, symbol: String },
    Skipped,
}

impl Record {
    /// A record of a known kind that is too short for it is an error.
    fn of(record: &RecordRef<'_>, version: u8) -> Result<Record, String> {
        let broken = |error: ::dbn::Error| error.to_string();
        Ok(if record.has::<MboMsg>() {
            Record::Mbo(record.try_get::<MboMsg>().map_err(broken)?.clone())
        } else if record.has::<Mbp1Msg>() {
            Record::Mbp1(record.try_get::<Mbp1Msg>().map_err(broken)?.clone())
        } else if record.has::<Mbp10Msg>() {
            Record::Mbp10(Box::new(record.try_get::<Mbp10Msg>().map_err(broken)?.clone()))
        } else if record.has::<TradeMsg>() {
            Record::Trade(record.try_get::<TradeMsg>().map_err(broken)?.clone())
        } else if record.has::<InstrumentDefMsg>() {
            let message = match version {
                1 => record.try_get::<v1::InstrumentDefMsg>().map(InstrumentDefMsg::from),
                2 => record.try_get::<v2::InstrumentDefMsg>().map(InstrumentDefMsg::from),
                _ => record.try_get::<InstrumentDefMsg>().cloned(),
            };
            Record::Definition(Box::new(message.map_err(broken)?))
        } else if record.has::<SymbolMappingMsg>() {
            let symbol = match version {
                1 => {
                    record.try_get::<v1::SymbolMappingMsg>().and_then(v1::SymbolMappingMsg::stype_out_symbol)
                }
                _ => record.try_get::<SymbolMappingMsg>().and_then(SymbolMappingMsg::stype_out_symbol),
            };
            let symbol = symbol.map_err(broken)?.to_owned();
            Record::Mapping { instrument_id: record.header().instrument_id, symbol }
        } else {
            Record::Skipped
        })
    }
}

/// A trade as a record tells it.
struct Print {
    price: i64,
    size: u32,
    /// The aggressor's; `None` where the byte is not one of the format's.
    side: Option<DbnSide>,
    timestamp_ns: u64,
}

impl Print {
    /// A trade without an aggressor (an auction's, an implied one's) is told as a sale if it was at the bid or below,
    /// else as a purchase. A size of 0 says nothing.
    fn tell(
        self,
        instrument: FeedInstrument,
        bid: Option<Price>,
        out: &mut FeedBuffer,
    ) -> Result<(), String> {
        if self.price == UNDEF_PRICE {
            return Err("a trade without a price".to_owned());
        }
        if self.size == 0 {
            return Ok(());
        }
        let price = Price(self.price);
        let direction = match self.side {
            None => return Err("a trade whose side is not one of the format's".to_owned()),
            Some(DbnSide::Ask) => Direction::Sell,
            Some(DbnSide::Bid) => Direction::Buy,
            Some(_) if bid.is_some_and(|bid| price <= bid) => Direction::Sell,
            Some(_) => Direction::Buy,
        };
        let (amount, timestamp_ns) = (amount(self.size), self.timestamp_ns);
        out.events.push(FeedEvent::Trade {
            instrument,
            price,
            amount,
            direction,
            parties: Parties::default(),
            timestamp_ns,
        });
        Ok(())
    }
}

/// The exchange's time where there is one.
fn stamp(ts_event: u64, ts_recv: u64) -> u64 {
    if ts_event == UNDEF_TIMESTAMP { ts_recv } else { ts_event }
}

fn definition(message: &InstrumentDefMsg) -> Definition {
    let text = |field: ::dbn::Result<&str>| field.unwrap_or_default().to_owned();
    let kind = match message.instrument_class() {
        Ok(InstrumentClass::Call | InstrumentClass::Put) => InstrumentKind::Option,
        Ok(InstrumentClass::FutureSpread | InstrumentClass::MixedSpread) => InstrumentKind::FutureCombo,
        Ok(InstrumentClass::OptionSpread) => InstrumentKind::OptionCombo,
        Ok(
            InstrumentClass::Stock
            | InstrumentClass::Bond
            | InstrumentClass::Index
            | InstrumentClass::FxSpot
            | InstrumentClass::CommoditySpot,
        ) => InstrumentKind::Spot,
        Ok(_) | Err(_) => InstrumentKind::Future,
    };
    Definition {
        name: text(message.raw_symbol()),
        kind,
        base: text(message.asset()),
        quote: text(message.currency()),
        tick: Some(message.min_price_increment).filter(|tick| *tick > 0 && *tick != UNDEF_PRICE),
        expiration_ns: Some(message.expiration).filter(|ns| *ns != 0 && *ns != UNDEF_TIMESTAMP),
    }
}
