//! Recordings in memory: what is legal, and what is refused with which words.

use ::dbn::encode::dbn::Encoder;
use ::dbn::encode::{DbnEncodable, EncodeRecord};
use ::dbn::{
    BidAskPair, FlagSet, MappingInterval, MboMsg, Mbp10Msg, Metadata, MetadataBuilder, RecordHeader, SType,
    Schema, SymbolMapping, TradeMsg, UNDEF_PRICE, flags, rtype, v1, v2, v3,
};

use super::*;
use crate::backend::Feed;
use crate::limits;
use crate::model::book::{Book, Level};
use crate::model::decimal::{Amount, Price, UNIT};
use crate::model::ids::InstrumentId;
use crate::model::market::{Direction, FeedInstrument};
use crate::model::order::{AccountId, NewOrder, OrderId, OrderType, PostOnly, TimeInForce, VenueRequest};

const START_NS: u64 = 1_700_000_000_000_000_000;

#[derive(Clone)]
struct Memory {
    name: &'static str,
    bytes: Vec<u8>,
}

impl Source for Memory {
    fn name(&self) -> &str {
        self.name
    }

    fn open(&self) -> std::io::Result<Bytes> {
        Ok(Box::new(std::io::Cursor::new(self.bytes.clone())))
    }
}

/// Plays to the end; the fault as the operator sees it, or all that was told.
fn play(name: &'static str, bytes: impl Into<Vec<u8>>) -> Result<(Vec<Told>, ReplayProgress), String> {
    let source = Memory { name, bytes: bytes.into() };
    let mut replay =
        Replay::open(Box::new(source), Speed::Max, AtEnd::Finish).map_err(|error| error.to_string())?;
    let (mut told, mut out) = (Vec::new(), FeedBuffer::default());
    while !replay.is_finished() {
        out.clear();
        replay.poll(Now::default(), &mut out, 3).map_err(|error| error.to_string())?;
        assert!(out.events.len() <= 3);
        told.extend(out.events.iter().map(|event| Told::of(event, &out)));
    }
    Ok((told, replay.progress()))
}

/// An event with its levels, in short: prices in hundredths, amounts in units.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Listed(String),
    Levels(Vec<(Side, i64, i64)>),
    Cleared(Vec<(Side, i64, i64)>),
    Quote(Option<i64>, Option<i64>),
    Trade(i64, i64, Direction),
}

use crate::model::book::Side;

impl Told {
    fn of(event: &FeedEvent, out: &FeedBuffer) -> Told {
        let cents = |price: Price| price.0 / (UNIT / 100);
        let levels = |levels: crate::model::market::LevelRange| {
            let update = |update: &crate::model::book::LevelUpdate| {
                (update.side, cents(update.price), update.amount.0 / UNIT)
            };
            levels.of(&out.levels).iter().map(update).collect()
        };
        match event {
            FeedEvent::Listed { definition } => Told::Listed(definition.name.as_str().to_owned()),
            FeedEvent::Levels { levels: range, .. } => Told::Levels(levels(*range)),
            FeedEvent::Cleared { levels: range, .. } => Told::Cleared(levels(*range)),
            FeedEvent::Quote { bid, ask, .. } => {
                let price = |level: &Option<Level>| level.map(|level| cents(level.price));
                Told::Quote(price(bid), price(ask))
            }
            FeedEvent::Trade { price, amount, direction, .. } => {
                Told::Trade(cents(*price), amount.0 / UNIT, *direction)
            }
            FeedEvent::State { .. } | FeedEvent::Report(_) => panic!("no format here tells such"),
        }
    }
}

fn metadata(schema: Schema) -> Metadata {
    let day = mbo('A', 'B', 1, 1, 1).ts_recv().unwrap().date();
    let mapping = SymbolMapping {
        raw_symbol: "ES.v.0".to_owned(),
        intervals: vec![MappingInterval {
            start_date: day,
            end_date: day.next_day().unwrap(),
            symbol: "7".to_owned(),
        }],
    };
    MetadataBuilder::new()
        .dataset("GLBX.MDP3")
        .schema(Some(schema))
        .start(START_NS)
        .stype_in(Some(SType::Continuous))
        .stype_out(SType::InstrumentId)
        .mappings(vec![mapping])
        .build()
}

fn encode<R: DbnEncodable>(schema: Schema, records: &[R]) -> Vec<u8> {
    encode_version(::dbn::DBN_VERSION, schema, records)
}

fn encode_version<R: DbnEncodable>(version: u8, schema: Schema, records: &[R]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let metadata = Metadata { version, ..metadata(schema) };
    let mut encoder = Encoder::new(&mut bytes, &metadata).unwrap();
    for record in records {
        encoder.encode_record(record).unwrap();
    }
    bytes
}

fn c(letter: char) -> std::ffi::c_char {
    std::ffi::c_char::try_from(u8::try_from(letter).unwrap()).unwrap()
}

/// An order's record with the price in hundredths, the last of its event.
fn mbo(action: char, side: char, order_id: u64, cents: i64, size: u32) -> MboMsg {
    MboMsg {
        hd: RecordHeader::new::<MboMsg>(rtype::MBO, 1, 7, START_NS),
        order_id,
        price: cents * (UNIT / 100),
        size,
        flags: FlagSet::new(flags::LAST),
        action: c(action),
        side: c(side),
        ts_recv: START_NS,
        ..MboMsg::default()
    }
}

fn orders(records: &[MboMsg]) -> Result<Vec<Told>, String> {
    let (mut told, _) = play("a.dbn", encode(Schema::Mbo, records))?;
    assert_eq!(told.remove(0), Told::Listed("ES_v_0".to_owned()));
    Ok(told)
}

#[test]
fn orders_add_up_to_levels() {
    use Side::{Ask, Bid};
    let told = orders(&[
        mbo('A', 'B', 1, 1_000, 5),
        mbo('A', 'B', 2, 1_000, 3),
        mbo('A', 'A', 3, 1_100, 2),
        mbo('M', 'B', 2, 900, 4),
        mbo('C', 'B', 1, 1_000, 2),
        mbo('C', 'B', 1, 1_000, 3),
        mbo('T', 'B', 0, 1_100, 1),
        mbo('F', 'A', 3, 1_100, 1),
        mbo('N', 'N', 0, 0, 0),
        mbo('M', 'B', 2, 900, 0),
    ]);
    let expected = [
        Told::Levels(vec![(Bid, 1_000, 5)]),
        Told::Levels(vec![(Bid, 1_000, 8)]),
        Told::Levels(vec![(Ask, 1_100, 2)]),
        Told::Levels(vec![(Bid, 900, 4), (Bid, 1_000, 5)]),
        Told::Levels(vec![(Bid, 1_000, 3)]),
        Told::Levels(vec![(Bid, 1_000, 0)]),
        Told::Trade(1_100, 1, Direction::Buy),
        Told::Levels(vec![(Bid, 900, 0)]),
    ];
    assert_eq!(told.unwrap(), expected);
}

#[test]
fn an_event_of_several_records_is_told_once_at_its_end() {
    let first = MboMsg { flags: FlagSet::empty(), ..mbo('A', 'B', 1, 1_000, 5) };
    let trade = MboMsg { flags: FlagSet::empty(), ..mbo('T', 'A', 0, 1_000, 5) };
    let told = orders(&[first, trade, mbo('C', 'B', 1, 1_000, 4)]).unwrap();
    let expected = [Told::Trade(1_000, 5, Direction::Sell), Told::Levels(vec![(Side::Bid, 1_000, 1)])];
    assert_eq!(told, expected);
}

#[test]
fn a_clear_empties_the_book_and_is_told_with_what_follows_in_its_event() {
    let clear = MboMsg { flags: FlagSet::empty(), price: UNDEF_PRICE, ..mbo('R', 'N', 0, 0, 0) };
    let told = orders(&[mbo('A', 'B', 1, 1_000, 5), clear, mbo('A', 'B', 1, 900, 2)]).unwrap();
    let expected = [Told::Levels(vec![(Side::Bid, 1_000, 5)]), Told::Cleared(vec![(Side::Bid, 900, 2)])];
    assert_eq!(told, expected);
}

#[test]
fn orders_that_were_never_shown_are_legal_and_counted() {
    let bytes = encode(
        Schema::Mbo,
        &[mbo('C', 'B', 9, 1_000, 5), mbo('M', 'A', 8, 1_100, 5), mbo('C', 'A', 8, 1_100, 5)],
    );
    let (told, progress) = play("a.dbn", bytes).unwrap();
    assert_eq!(progress.oddities.orders_unknown, 2);
    assert_eq!((progress.records_read, progress.events, told.len()), (3, 3, 3));
}

#[test]
fn impossible_orders_are_refused_by_number_and_reason() {
    let good = || mbo('A', 'B', 88, 1_000, 5);
    let undefined = || MboMsg { price: UNDEF_PRICE, ..mbo('A', 'B', 1, 0, 5) };
    let publisher = || {
        let mut message = mbo('A', 'B', 1, 1_000, 5);
        message.hd.publisher_id = 2;
        message
    };
    for (bad, expected) in [
        (good(), "order 88 added, but it rests already"),
        (mbo('C', 'B', 88, 1_000, 6), "order 88 cancelled by 6, but only 5 rest"),
        (mbo('A', 'N', 1, 1_000, 5), "order 1 has no side"),
        (mbo('A', 'x', 1, 1_000, 5), "side 'x' is not one of the format's"),
        (mbo('y', 'B', 1, 1_000, 5), "action 'y' is not one of the format's"),
        (mbo('A', 'B', 1, 1_000, 0), "order 1 added with size 0"),
        (mbo('A', 'B', 1, 1_000, u32::MAX), "order 1 has the impossible size 4294967295"),
        (undefined(), "order 1 has no price"),
        (MboMsg { price: UNDEF_PRICE, ..mbo('T', 'B', 0, 0, 5) }, "a trade without a price"),
        (publisher(), "publisher 2 beside 1 in one book: consolidated recordings are not supported"),
    ] {
        assert_eq!(orders(&[good(), bad]), Err(format!("a.dbn: record 2: {expected}")));
    }
}

#[test]
fn a_book_or_an_event_of_more_levels_than_any_exchange_has_is_refused() {
    let most = limits::RECORDED_LEVELS_MAX as i64;
    let add = |cents: i64| mbo('A', 'B', cents as u64, cents, 5);
    let whole: Vec<_> = (1..=most).map(add).collect();
    assert_eq!(orders(&whole).unwrap().len() as i64, most);
    let failure = orders(&[whole, vec![add(most + 1)]].concat()).unwrap_err();
    assert!(failure.contains("a book of more than 32768 levels"), "{failure}");
    let within = |message: MboMsg| MboMsg { flags: FlagSet::empty(), ..message };
    let passing = |cents: i64| [within(add(cents)), within(mbo('C', 'B', cents as u64, cents, 5))];
    let again: Vec<_> = (0..2 * most).flat_map(|number| passing(1 + number % most)).collect();
    assert_eq!(orders(&[again, vec![add(1)]].concat()).unwrap().len(), 1, "the same levels again and again");
    let failure = orders(&(1..=most + 1).flat_map(passing).collect::<Vec<_>>()).unwrap_err();
    assert!(failure.contains("an event that changes more than 32768 levels"), "{failure}");
}

#[test]
fn the_ten_best_levels_are_told_as_differences() {
    let record = |bid: i64, ask: i64, action: char| {
        let empty = BidAskPair {
            bid_px: UNDEF_PRICE,
            ask_px: UNDEF_PRICE,
            bid_sz: 0,
            ask_sz: 0,
            bid_ct: 0,
            ask_ct: 0,
        };
        let mut levels = std::array::from_fn(|_| empty.clone());
        let unit = UNIT / 100;
        levels[0] =
            BidAskPair { bid_px: bid * unit, ask_px: ask * unit, bid_sz: 1, ask_sz: 2, bid_ct: 1, ask_ct: 1 };
        Mbp10Msg {
            hd: RecordHeader::new::<Mbp10Msg>(rtype::MBP_10, 1, 7, START_NS),
            price: ask * unit,
            size: 1,
            action: c(action),
            side: c('B'),
            ts_recv: START_NS,
            levels,
            ..Mbp10Msg::default()
        }
    };
    let bytes = encode(Schema::Mbp10, &[record(10, 12, 'A'), record(11, 12, 'T'), record(11, 12, 'A')]);
    use Side::{Ask, Bid};
    let expected = [
        Told::Listed("ES_v_0".to_owned()),
        Told::Levels(vec![(Bid, 10, 1), (Ask, 12, 2)]),
        Told::Trade(12, 1, Direction::Buy),
        Told::Levels(vec![(Bid, 10, 0), (Bid, 11, 1)]),
    ];
    assert_eq!(play("a.dbn", bytes).unwrap().0, expected);
}

#[test]
fn trades_alone_are_a_feed_too() {
    let trade = |side: char| TradeMsg {
        hd: RecordHeader::new::<TradeMsg>(rtype::MBP_0, 1, 8, START_NS),
        price: 5 * UNIT,
        size: 3,
        action: c('T'),
        side: c(side),
        ts_recv: START_NS,
        ..TradeMsg::default()
    };
    let bytes = encode(Schema::Trades, &[trade('A'), trade('N')]);
    let expected = [
        Told::Listed("ID8".to_owned()),
        Told::Trade(500, 3, Direction::Sell),
        Told::Trade(500, 3, Direction::Buy),
    ];
    assert_eq!(play("a.dbn", bytes).unwrap().0, expected);
}

#[test]
fn files_that_are_no_recording_are_refused_with_the_reason() {
    let whole = encode(Schema::Mbo, &[mbo('A', 'B', 1, 1_000, 5), mbo('A', 'B', 2, 1_000, 5)]);
    let mut huge = whole.clone();
    huge[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut version = whole.clone();
    version[3] = 99;
    let cut = &whole[..whole.len() - 1];
    let empty: [MboMsg; 0] = [];
    for (name, bytes, expected) in [
        ("empty.csv", Vec::new(), "empty.csv: the file is empty"),
        (
            "x.dbn",
            b"\x89PNG\r\n\x1a\n....".to_vec(),
            "x.dbn: of a format that is not known here (a PNG image)",
        ),
        (
            "x.csv",
            b"hello, world\n".to_vec(),
            "x.csv: of a format that is not known here (it begins with \"hello",
        ),
        ("x.dbn", b"DBN".to_vec(), "x.dbn: its metadata is cut off: the file is truncated"),
        ("x.dbn", whole[..40].to_vec(), "x.dbn: its metadata is cut off: the file is truncated"),
        ("x.dbn", huge, "x.dbn: bad metadata: a length of 4294967295 bytes"),
        ("x.dbn", version, "x.dbn: bad metadata: "),
        ("x.dbn", cut.to_vec(), "x.dbn: record 2: the record is cut off: the file is truncated"),
        ("x.dbn", encode(Schema::Mbo, &empty), "x.dbn: has no records"),
        ("x.dbn", encode(Schema::Ohlcv1S, &empty), "x.dbn: schema ohlcv-1s is not supported; mbo, "),
    ] {
        let error = play(name, bytes).unwrap_err();
        assert!(error.starts_with(expected), "{error}\n{expected}");
    }
}

#[test]
fn ticks_that_cannot_be_are_refused_by_line_and_reason() {
    let good = "20200101 170000065,1.121200,1.121720,0\n";
    for (bad, expected) in [
        ("20200101 170000066,1.2,1.1,0\n", "crossed: the bid is above the ask"),
        ("20200101 170000066,0.000,1.1,0\n", "bid is zero"),
        ("20200101 170000066,1.1,-1.1,0\n", "ask -1.1 is negative"),
        ("20200101 170000066,1.1,abc,0\n", "ask \"abc\" is not a decimal number"),
        ("20200101 170000066,1.1,1.2,x\n", "volume \"x\" is not a number"),
        ("20200101 170000066,1.1,1.2\n", "3 columns where 4 belong"),
        ("20200101 170000066,1.1,1.2,0,0\n", "5 columns where 4 belong"),
        ("20200101 170000064,1.1,1.2,0\n", "time runs backwards: earlier than the line before it"),
        ("20201301 170000064,1.1,1.2,0\n", "\"20201301 170000064\" is not a time"),
        ("20200101 170000066,1.121", "the last line is cut off: the file is truncated"),
        ("\u{0}\u{1}\n", "1 columns where 4 belong"),
    ] {
        let error = play("eurusd.csv", format!("{good}{bad}")).map(|_| ()).unwrap_err();
        assert_eq!(error, format!("eurusd.csv: line 2: {expected}"));
    }
    let long = play("eurusd.csv", format!("{good}{}", "9".repeat(100_000))).map(|_| ());
    assert_eq!(long, Err("eurusd.csv: line 2: longer than 512 bytes".to_owned()));
    let heading = play("eurusd.csv", "timestamp,bid,ask\n").map(|_| ());
    assert_eq!(heading, Err("eurusd.csv: has no ticks".to_owned()));
}

#[test]
fn ticks_of_several_pairs_become_several_instruments() {
    let text = "EUR/USD,20130101 22:00:00.295,1.31920,1.31932\r\nUSD/JPY,20130101 22:00:00.295,86.65,86.65\r\n\r\n\
                EUR/USD,20130101 22:00:01.000,1.32000,1.33000";
    let (told, progress) = play("any.csv", text).unwrap_or_else(|error| panic!("{error}"));
    let expected = [
        Told::Listed("EUR_USD".to_owned()),
        Told::Quote(Some(131), Some(131)),
        Told::Listed("USD_JPY".to_owned()),
        Told::Quote(Some(8_665), Some(8_665)),
        Told::Quote(Some(132), Some(133)),
    ];
    assert_eq!(told, expected);
    assert_eq!((progress.records_read, progress.events), (3, 5));
}

#[test]
fn recorded_time_passes_at_the_asked_speed() {
    let text = "20200101 000000000,1.1,1.2,0\n20200101 000001000,1.1,1.2,0\n20200101 000003000,1.1,1.2,0\n";
    for (speed, dues) in [(Speed::ORIGINAL, [1_000, 3_000]), (Speed::parse("2.5").unwrap(), [400, 1_200])] {
        let source = Memory { name: "eurusd.csv", bytes: text.into() };
        let mut replay = Replay::open(Box::new(source), speed, AtEnd::Finish).unwrap();
        let start = Now { mono_ns: 77_000_000, unix_ns: 1 };
        let mut out = FeedBuffer::default();
        for (due_ms, events) in [(0, 2), (dues[0], 3), (dues[1], 4)] {
            let due = start.plus_ns(due_ms * 1_000_000);
            if due_ms > 0 {
                assert_eq!(replay.poll_timeout(), Some(due.mono_ns));
                replay.poll(Now { mono_ns: due.mono_ns - 1, ..due }, &mut out, 9).unwrap();
                assert_eq!(out.events.len(), events - 1);
            }
            replay.poll(due, &mut out, 9).unwrap();
            assert_eq!(out.events.len(), events);
        }
        assert!(replay.is_finished());
        assert_eq!(replay.poll_timeout(), None);
    }
}

#[test]
fn another_speed_holds_for_what_is_left_of_the_wait_and_from_there_on() {
    let text = "20200101 000000000,1.1,1.2,0\n20200101 000001000,1.1,1.2,0\n20200101 000003000,1.1,1.2,0\n";
    let fast = Speed::parse("10").unwrap();
    for (speed, at_ms, dues) in
        [(fast, 500, &[550, 750][..]), (Speed::Max, 500, &[500]), (Speed::ORIGINAL, 1, &[1_000, 3_000])]
    {
        let source = Memory { name: "eurusd.csv", bytes: text.into() };
        let mut replay = Replay::open(Box::new(source), Speed::ORIGINAL, AtEnd::Repeat).unwrap();
        let start = Now { mono_ns: 77_000_000, unix_ns: 1 };
        let after = |ms: u64| start.plus_ns(ms * 1_000_000);
        let mut out = FeedBuffer::default();
        replay.poll(start, &mut out, 9).unwrap();
        replay.set_playing(speed, AtEnd::Finish, after(at_ms));
        for due_ms in dues {
            assert_eq!(replay.poll_timeout(), Some(after(*due_ms).mono_ns), "{speed:?}");
            replay.poll(after(*due_ms), &mut out, 9).unwrap();
        }
        assert!(replay.is_finished());
        assert_eq!((out.events.len(), replay.progress().repetitions), (4, 0));
    }
}

#[test]
fn speeds_are_factors_or_max() {
    let check = |text: &str, expected| assert_eq!(Speed::parse(text), expected, "{text}");
    check("max", Some(Speed::Max));
    check("1", Some(Speed::ORIGINAL));
    check("0.5", Some(Speed::Thousandths(500)));
    check("1000000", Some(Speed::Thousandths(1_000_000_000)));
    for text in ["", "0", "-1", "1.", ".5", "1.2345", "1e3", "MAX", "1000001", "99999999999999999999"] {
        check(text, None);
    }
}

/// The same contract as each version of the format defines it.
fn definitions() -> [(u8, Vec<u8>); 3] {
    let symbol = |letters: &mut [std::ffi::c_char]| letters[..2].copy_from_slice(&[c('E'), c('S')]);
    let hd = RecordHeader::new::<v3::InstrumentDefMsg>(rtype::INSTRUMENT_DEF, 1, 7, START_NS);
    let tick = UNIT / 4;
    let mut first =
        v1::InstrumentDefMsg { min_price_increment: tick, ts_recv: START_NS, ..Default::default() };
    let mut second =
        v2::InstrumentDefMsg { min_price_increment: tick, ts_recv: START_NS, ..Default::default() };
    let mut third =
        v3::InstrumentDefMsg { min_price_increment: tick, ts_recv: START_NS, ..Default::default() };
    for header in [&mut first.hd, &mut second.hd, &mut third.hd] {
        header.instrument_id = hd.instrument_id;
    }
    symbol(&mut first.raw_symbol);
    symbol(&mut second.raw_symbol);
    symbol(&mut third.raw_symbol);
    [
        (1, encode_version(1, Schema::Definition, &[first])),
        (2, encode_version(2, Schema::Definition, &[second])),
        (3, encode_version(3, Schema::Definition, &[third])),
    ]
}

#[test]
fn definitions_of_all_versions_name_instruments_and_their_increments() {
    for (version, bytes) in definitions() {
        let source = Memory { name: "a.dbn", bytes };
        let mut replay = Replay::open(Box::new(source), Speed::Max, AtEnd::Finish).unwrap();
        let mut out = FeedBuffer::default();
        replay.poll(Now::default(), &mut out, 9).unwrap_or_else(|error| panic!("version {version}: {error}"));
        let FeedEvent::Listed { definition } = &out.events[0] else { panic!("{:?}", out.events) };
        assert_eq!((definition.name.as_str(), definition.tick_size), ("ES", Price(UNIT / 4)));
        assert_eq!((definition.price_decimals, definition.expiration_timestamp_ms), (2, None));
    }
}

/// `dbn` itself panics on both.
#[test]
fn lengths_that_are_no_record_s_are_refused() {
    let mut odd = encode(Schema::Mbo, &[mbo('A', 'B', 1, 1_000, 5)]);
    let at = odd.len() - size_of::<MboMsg>();
    odd[at] = 13;
    let error = play("a.dbn", odd).map(|_| ()).unwrap_err();
    assert_eq!(error, "a.dbn: record 1: a length of 52 bytes is not a record's");
    let [(_, mut short), ..] = definitions();
    let at = short.len() - size_of::<v1::InstrumentDefMsg>();
    short[at] = 8;
    let error = play("a.dbn", short).map(|_| ()).unwrap_err();
    assert!(error.starts_with("a.dbn: record 1: ") && error.contains("insufficient length"), "{error}");
}

#[test]
fn no_byte_that_is_changed_makes_it_panic_or_hang() {
    let whole = encode(Schema::Mbo, &(1..6).map(|id| mbo('A', 'B', id, 1_000, 5)).collect::<Vec<_>>());
    let csv = b"20200101 170000065,1.121200,1.121720,0\n20200101 170000066,1.121200,1.121720,0\n".to_vec();
    let [(_, first), (_, second), (_, third)] = definitions();
    let orders_1 = encode_version(1, Schema::Mbo, &[mbo('A', 'B', 1, 1_000, 5), mbo('C', 'B', 1, 1_000, 5)]);
    for (name, original) in
        [("a.dbn", whole), ("a.csv", csv), ("1", first), ("2", second), ("3", third), ("o", orders_1)]
    {
        for at in 0..original.len() {
            for byte in [0, 1, 0x7f, 0x80, 0xff, original[at] ^ 1] {
                let mut bytes = original.clone();
                bytes[at] = byte;
                // Either is right: many bytes say nothing here.
                let _ = play(name, bytes);
            }
            let _ = play(name, &original[..at]);
        }
    }
}

#[test]
fn a_recording_without_records_is_not_repeated() {
    let source = Memory { name: "empty.dbn", bytes: encode::<MboMsg>(Schema::Mbo, &[]) };
    let mut replay = Replay::open(Box::new(source), Speed::Max, AtEnd::Repeat).unwrap();
    let error = replay.poll(Now::default(), &mut FeedBuffer::default(), 16).unwrap_err();
    assert_eq!(error.to_string(), "empty.dbn: has no records");
}

#[test]
fn a_repeated_recording_clears_its_books_first() {
    let records = [mbo('A', 'B', 1, 1_000, 5), mbo('A', 'A', 2, 1_100, 5)];
    let source = Memory { name: "a.dbn", bytes: encode(Schema::Mbo, &records) };
    let mut replay = Replay::open(Box::new(source), Speed::Max, AtEnd::Repeat).unwrap();
    let (mut out, mut book) = (FeedBuffer::default(), Book::default());
    replay.poll(Now::default(), &mut out, 7).unwrap();
    let told: Vec<_> = out.events.iter().map(|event| Told::of(event, &out)).collect();
    let (bid, ask) = (Told::Levels(vec![(Side::Bid, 1_000, 5)]), Told::Levels(vec![(Side::Ask, 1_100, 5)]));
    let cleared = Told::Cleared(Vec::new());
    let listed = Told::Listed("ES_v_0".to_owned());
    assert_eq!(told, [listed, bid.clone(), ask.clone(), cleared.clone(), bid, ask, cleared]);
    out.levels.iter().for_each(|update| {
        book.apply(*update);
    });
    assert_eq!(book.best_bid(), Some(Level { price: Price(10 * UNIT), amount: Amount(5 * UNIT) }));
}

#[test]
fn a_recording_takes_no_orders_and_goes_on() {
    let source = Memory { name: "eurusd.csv", bytes: "20200101 000000000,1.1,1.2,0\n".into() };
    let replay = Replay::open(Box::new(source), Speed::Max, AtEnd::Finish).unwrap();
    let (mut feed, mut out) = (Feed::Replay(Box::new(replay)), FeedBuffer::default());
    let (order, instrument) = (OrderId(1), InstrumentId(0));
    let (price, amount, post_only) = (Some(Price(UNIT)), Amount(UNIT), PostOnly::No);
    let spec = NewOrder {
        instrument,
        direction: Direction::Buy,
        order_type: OrderType::Limit,
        price,
        amount,
        time_in_force: TimeInForce::GoodTilCancelled,
        post_only,
        reduce_only: false,
        label: None,
        valid_until_ms: None,
    };
    for (request, expected) in [
        (VenueRequest::New { order, account: AccountId(1), spec }, "Rejected"),
        (VenueRequest::Amend { order, instrument, price, total: amount, post_only }, "AmendRejected"),
        (VenueRequest::Cancel { order, instrument }, "CancelRejected"),
    ] {
        out.clear();
        feed.handle_request(FeedInstrument(0), &request, Now::default(), &mut out);
        let expected = format!("[Report({expected} {{ order: OrderId(1), why: VenueUnavailable }})]");
        assert_eq!(format!("{:?}", out.events), expected);
    }
    out.clear();
    feed.poll(Now::default(), &mut out, 9).unwrap();
    assert_eq!(out.events.len(), 2);
}
