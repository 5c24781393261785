//! The checksum of a book's top, by which a client knows that its own book is right. PURE.

use crate::model::book::{Book, Level};
use crate::model::instrument::Instrument;

/// Levels of each side that the checksum covers.
pub const CHECKSUM_LEVELS: usize = 10;

/// CRC-32 (ISO-HDLC, the one of zlib and PNG) of the text `price:amount` of the best bid, the best ask, the second bid,
/// the second ask and so on to the tenth, joined by `:`, numbers as they are printed in the book; a level that is
/// missing is passed over, and the checksum of an empty book is 0.
#[must_use]
pub fn checksum(book: &Book, instrument: &Instrument) -> u32 {
    let mut text = Vec::with_capacity(64 * CHECKSUM_LEVELS);
    checksum_at_end(&mut text, book, instrument)
}

/// The same without an allocation of its own: the text is put behind `out` and taken away again.
pub fn checksum_at_end(out: &mut Vec<u8>, book: &Book, instrument: &Instrument) -> u32 {
    let start = out.len();
    let (mut bids, mut asks) = (book.bids(), book.asks());
    for _ in 0..CHECKSUM_LEVELS {
        for level in [bids.next(), asks.next()].into_iter().flatten() {
            push_level(out, start, level, instrument);
        }
    }
    let checksum = crc32fast::hash(&out[start..]);
    out.truncate(start);
    checksum
}

fn push_level(out: &mut Vec<u8>, start: usize, level: Level, instrument: &Instrument) {
    if out.len() > start {
        out.push(b':');
    }
    level.price.write(out, instrument.price_decimals);
    out.push(b':');
    level.amount.write(out, instrument.amount_decimals);
}
