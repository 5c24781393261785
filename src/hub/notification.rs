//! What is told of the market, as the frame that goes out: JSON-RPC in a text frame, or SBE in a binary one. PURE.
//! Invariant: both encodings say the same, and each is made of the event alone, never of the other.

use crate::dialect::json_rpc;
use crate::model::book::{LevelAction, LevelUpdate};
use crate::model::channel::MarketChannel;
use crate::model::encoding::Encoding;
use crate::model::ids::{InstrumentId, Position, Seq};
use crate::model::market::{InstrumentState, Trade};

use super::batch::ByteRange;
use super::text_frame::{append_frame, append_text_frame, replace_with_frame};
use crate::dialect::sbe::market::{self as sbe, Stamp};
use crate::ws::frame::Opcode;

/// Why a channel's notifications are of its kind.
const NEVER_SAID: &str = "invariant: `Derived` tells changes of books and trades of trades, and `TopicKind` asks for values of all but trades";

/// Whose notification it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct NotifiedTopic<'a> {
    pub(super) instrument: InstrumentId,
    pub(super) channel: MarketChannel,
    pub(super) encoding: Encoding,
    /// The channel as clients spell it.
    pub(super) name: &'a [u8],
}

/// What a notification says of an instrument.
#[derive(Clone, Copy, Debug)]
pub(super) enum Said<'a> {
    /// All there is to say.
    Value,
    /// The oldest first.
    Trades(&'a [Trade]),
    /// What leads from the book at `previous` to the book as it is.
    BookChange { previous: Seq, changes: &'a [(LevelAction, LevelUpdate)] },
}

/// Appends a whole frame that says it and stands at `position`, and says where the frame is.
///
/// # Panics
/// Where the channel never says such a thing.
pub(super) fn append_notification(
    bytes: &mut Vec<u8>,
    topic: &NotifiedTopic<'_>,
    state: &InstrumentState,
    said: &Said<'_>,
    position: Position,
    unix_ns: u64,
) -> ByteRange {
    match topic.encoding {
        Encoding::Json => append_text_frame(bytes, |bytes| {
            json_rpc::open_notification(bytes, topic.name);
            match (*said, topic.channel) {
                (Said::Value, channel) => write_json_value(bytes, channel, state),
                (Said::Trades(trades), _) => json_rpc::write_trades(bytes, state, trades.iter()),
                (Said::BookChange { previous, changes }, MarketChannel::Book { checksum, .. }) => {
                    json_rpc::write_book_change(bytes, state, previous, state.change_id, changes, checksum);
                }
                (Said::BookChange { .. }, _) => panic!("{NEVER_SAID}"),
            }
            json_rpc::close_notification(bytes, position.epoch, position.seq, unix_ns);
        }),
        Encoding::Sbe => append_frame(bytes, Opcode::Binary, |bytes| {
            let stamp = Stamp { position, unix_ns };
            write_sbe(bytes, topic.instrument, topic.channel, state, said, stamp);
        }),
    }
}

/// Makes `frame` the one that says all there is to say on a channel as of an event.
pub(super) fn replace_with_value(
    frame: &mut Vec<u8>,
    instrument: InstrumentId,
    channel: MarketChannel,
    encoding: Encoding,
    state: &InstrumentState,
    position: Position,
    unix_ns: u64,
) {
    let mut name = Vec::new();
    match encoding {
        Encoding::Json => channel.write(&mut name, &state.definition.name),
        // It names its topics by number.
        Encoding::Sbe => {}
    }
    let topic = NotifiedTopic { instrument, channel, encoding, name: &name };
    replace_with_frame(frame, |bytes| {
        append_notification(bytes, &topic, state, &Said::Value, position, unix_ns)
    });
}

fn write_sbe(
    bytes: &mut Vec<u8>,
    instrument: InstrumentId,
    channel: MarketChannel,
    state: &InstrumentState,
    said: &Said<'_>,
    stamp: Stamp,
) {
    match (*said, channel) {
        (Said::Value, MarketChannel::Quote) => sbe::write_quote(bytes, instrument, state, stamp),
        (Said::Value, MarketChannel::Ticker { interval }) => {
            sbe::write_ticker(bytes, instrument, interval, state, stamp);
        }
        (Said::Value, MarketChannel::GroupedBook { group, depth, interval }) => {
            sbe::write_grouped_book(bytes, instrument, (group, depth, interval), state, stamp);
        }
        (Said::Value, MarketChannel::Book { interval, checksum }) => {
            sbe::write_book_snapshot(bytes, instrument, interval, checksum, state, stamp);
        }
        (Said::BookChange { previous, changes }, MarketChannel::Book { interval, checksum }) => {
            let (book, changed) = ((interval, checksum), (previous, changes));
            sbe::write_book_change(bytes, instrument, book, state, changed, stamp);
        }
        (Said::Trades(trades), MarketChannel::Trades { interval }) => {
            sbe::write_trades(bytes, instrument, interval, trades, stamp);
        }
        (Said::Value, MarketChannel::Trades { .. }) | (Said::Trades(_) | Said::BookChange { .. }, _) => {
            panic!("{NEVER_SAID}")
        }
    }
}

fn write_json_value(bytes: &mut Vec<u8>, channel: MarketChannel, state: &InstrumentState) {
    match channel {
        MarketChannel::Ticker { .. } => json_rpc::write_ticker(bytes, state),
        MarketChannel::Quote => json_rpc::write_quote(bytes, state),
        MarketChannel::GroupedBook { group, depth, .. } => {
            json_rpc::write_grouped_book(bytes, state, group, depth)
        }
        MarketChannel::Book { checksum, .. } => json_rpc::write_book_snapshot(bytes, state, checksum),
        MarketChannel::Trades { .. } => panic!("{NEVER_SAID}"),
    }
}
