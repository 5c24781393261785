//! Each record crosses as it is, and no bytes are more than a fault.

use super::*;
use crate::model::decimal::{Amount, Price};
use crate::model::ids::{Epoch, Seq, Ticket};
use crate::model::instrument::Symbol;

const MARKET: HomeId = HomeId(2);

fn definition() -> Arc<Instrument> {
    let symbol = |text: &str| Symbol::parse(text.as_bytes()).unwrap();
    Arc::new(Instrument {
        name: symbol("BTC-PERPETUAL"),
        kind: InstrumentKind::Future,
        base_currency: symbol("BTC"),
        quote_currency: symbol("USD"),
        tick_size: Price(500_000_000),
        price_decimals: 1,
        min_trade_amount: Amount(10),
        amount_decimals: 0,
        contract_size: Amount(1),
        creation_timestamp_ms: 5,
        expiration_timestamp_ms: Some(6),
    })
}

fn state() -> InstrumentState {
    let mut state = InstrumentState::new(definition());
    for (side, price) in [(Side::Bid, 10), (Side::Bid, 9), (Side::Ask, 11), (Side::Ask, 14)] {
        state.apply_level(LevelUpdate { side, price: Price(price), amount: Amount(3) });
    }
    for number in 0..300_i64 {
        let hour_ns = 3_600_000_000_000 * number.unsigned_abs();
        let trade = state.stamp_trade(Price(100 + number), Amount(7), Direction::Sell, hour_ns / 20);
        state.record_trade(trade);
    }
    (state.change_id, state.state) = (Seq(77), MarketState::Closed);
    state
}

fn every_record(batch: &mut Batch) -> Vec<Record> {
    let topic = TopicId { home: MARKET, slot: 5, generation: 6 };
    let (ticket, to, instrument) = (Ticket { slot: 1, generation: 2 }, HomeId(1), InstrumentId(3));
    let frame = batch.push_bytes(b"\x81\x02{}");
    let deflated = batch.push_bytes(b"\xc1\x01x");
    let update = LevelUpdate { side: Side::Ask, price: Price(-4), amount: Amount(0) };
    let levels = batch.push_levels(&[update, LevelUpdate { side: Side::Bid, ..update }]);
    let state = state();
    let trade = *state.last_trade().unwrap();
    let link = LinkStatus {
        identity: LinkIdentity { kind: LinkKind::Mt5, venue: "v".into(), link: "l".into() },
        state: LinkState::GivenUp,
        since_ms: 9,
        instruments: 4,
        last_reason: Some("cut".into()),
    };
    let never = LinkStatus { last_reason: None, ..link.clone() };
    vec![
        Record::Listed { definition: definition() },
        Record::Levels { instrument, levels, change_id: Seq(8), timestamp_ns: 9 },
        Record::Traded { instrument, trade },
        Record::StateChanged { instrument, state: MarketState::Delisted, timestamp_ns: 1 },
        Record::Links { links: [link, never].into() },
        Record::Image { instrument, state: Arc::new(state) },
        Record::Frame { topic, seq: Seq(2), prev_seq: Seq(1), change_id: Seq(3), frame },
        Record::Deflated { windows: Windows::from_bits(0b101).unwrap(), frame: deflated },
        Record::Replayed { to, ticket, seq: Seq(4), frame },
        Record::Joined {
            to,
            ticket,
            topic,
            epoch: Epoch(1_700_000_000_000),
            seq: Seq(4),
            change_id: Seq(3),
            outcome: JoinOutcome::Recovered,
        },
        Record::Gap { to },
    ]
}

fn write(batch: &Batch, record: &Record) -> Vec<u8> {
    let mut bytes = Vec::new();
    assert!(write_record(&mut bytes, batch, record), "{record:?} crosses");
    bytes
}

fn read(bytes: &[u8]) -> Result<(Batch, bool), WireFault> {
    let (mut batch, mut reader) = (Batch::default(), Reader::new(bytes));
    read_record(&mut reader, MARKET, &mut batch)?;
    Ok((batch, reader.is_empty()))
}

#[test]
fn every_record_crosses_as_it_is() {
    let mut batch = Batch::default();
    for record in every_record(&mut batch) {
        let bytes = write(&batch, &record);
        let (read, is_whole) = read(&bytes).unwrap();
        assert!(is_whole && read.records.len() == 1);
        assert_eq!(write(&read, &read.records[0]), bytes, "{record:?}");
    }
}

#[test]
fn an_image_is_the_instrument_with_its_book_trades_and_day() {
    let state = state();
    let record = Record::Image { instrument: InstrumentId(0), state: Arc::new(state.clone()) };
    let (read, _) = read(&write(&Batch::default(), &record)).unwrap();
    let Record::Image { state: image, .. } = &read.records[0] else { panic!("an image") };
    assert_eq!((&image.book, image.day(), image.stats()), (&state.book, state.day(), state.stats()));
    assert!(image.trades().eq(state.trades()) && image.definition == state.definition);
    assert_eq!(
        (image.change_id, image.timestamp_ns, image.state),
        (Seq(77), state.timestamp_ns, state.state)
    );
    assert!(state.stats().volume > 0 && state.trades().len() == TRADES_KEPT_MAX);
}

#[test]
fn what_ends_early_is_a_fault_at_every_byte() {
    let mut batch = Batch::default();
    for record in every_record(&mut batch) {
        let bytes = write(&batch, &record);
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end]).is_err(), "{end} bytes of {record:?}");
        }
    }
}

/// Whatever is read of damaged bytes, written again it reads the same.
#[test]
fn damaged_bytes_are_a_fault_or_another_record_that_is_one() {
    let mut batch = Batch::default();
    let (mut faults, mut others) = (0, 0);
    for record in every_record(&mut batch) {
        let bytes = write(&batch, &record);
        for at in 0..bytes.len().min(600) {
            for damage in [1, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= damage;
                match read(&damaged) {
                    Err(_) => faults += 1,
                    Ok((other, _)) => {
                        others += 1;
                        let again = write(&other, &other.records[0]);
                        let (read_again, _) = read(&again).unwrap();
                        assert_eq!(write(&read_again, &read_again.records[0]), again);
                    }
                }
            }
        }
    }
    assert!(faults > 500 && others > 500, "{faults} faults, {others} others");
}

#[test]
fn a_frame_that_would_break_a_client_s_stream_is_a_fault() {
    let topic = TopicId { home: MARKET, slot: 5, generation: 6 };
    for frame in [&b"\x81\x03{}"[..], b"\x81\x01{}", b"\x01\x02{}", b"\x88\x02{}", b"\xc1\x02{}", b""] {
        let mut batch = Batch::default();
        let frame = batch.push_bytes(frame);
        let record = Record::Frame { topic, seq: Seq(1), prev_seq: Seq(0), change_id: Seq(0), frame };
        assert_eq!(read(&write(&batch, &record)).err(), Some(WireFault::Value));
    }
}

#[test]
fn numbers_beyond_their_bounds_are_faults() {
    let batch = Batch::default();
    let instrument = InstrumentId(u32::try_from(limits::INSTRUMENTS_MAX).unwrap());
    let state = Record::StateChanged { instrument, state: MarketState::Open, timestamp_ns: 0 };
    let mut no_topic = write(&batch, &Record::Gap { to: HomeId(64) });
    assert_eq!(read(&no_topic).err(), Some(WireFault::Value), "a home that a set has no bit for");
    assert_eq!(read(&write(&batch, &state)).err(), Some(WireFault::Value));
    no_topic[0] = 12;
    assert_eq!(read(&no_topic).err(), Some(WireFault::Value), "a kind that there is not");
}

/// A shard keeps a table as long as the greatest slot that it was told.
#[test]
fn the_slot_of_a_topic_that_was_refused_is_no_other_s() {
    let batch = Batch::default();
    let joined = |slot, outcome| {
        let topic = TopicId { home: MARKET, slot, generation: 0 };
        let (to, ticket) = (HomeId(1), Ticket { slot: 1, generation: 2 });
        let (epoch, seq, change_id) = (Epoch(1), Seq(0), Seq(0));
        write(&batch, &Record::Joined { to, ticket, topic, epoch, seq, change_id, outcome })
    };
    assert!(read(&joined(u32::MAX, JoinOutcome::Refused)).is_ok());
    assert_eq!(read(&joined(5, JoinOutcome::Refused)).err(), Some(WireFault::Value));
    for outcome in [JoinOutcome::Fresh, JoinOutcome::Recovered, JoinOutcome::NotRecovered] {
        assert!(read(&joined(5, outcome)).is_ok());
        assert_eq!(read(&joined(u32::MAX, outcome)).err(), Some(WireFault::Value));
    }
}

#[test]
fn what_clients_ask_for_does_not_cross_to_those_that_follow() {
    let mut bytes = Vec::new();
    let topic = TopicId { home: MARKET, slot: 5, generation: 6 };
    assert!(!write_record(&mut bytes, &Batch::default(), &Record::Leave { topic }));
    assert!(bytes.is_empty());
}
