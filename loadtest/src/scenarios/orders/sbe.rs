//! The same requests and replies as in `script`, in SBE by docs/sbe-messages.md. PURE.
//! Invariant: what correlates a reply with its request is the id that the request has in JSON, so that one ledger judges both.

use serde_json::Value;

use crate::encoding::{self, HEADER_BYTES, SCHEMA, u16_at, u32_at, u64_at};
use crate::failure::{Failure, Result};

use super::script::{AMOUNT, Deed, INSTRUMENT, Market, Reply, Request};

/// Templates, and the blocks of those that are written here.
const TRADE: u16 = 12;
const NEW_ORDER: u16 = 20;
const NEW_ORDER_BLOCK: u16 = 41;
const CANCEL_ORDER: u16 = 22;
const CANCEL_ORDER_BLOCK: u16 = 24;
const ORDER_ACK: u16 = 30;
/// Prices and amounts are in units of 1e-9.
const UNITS: u64 = 1_000_000_000;
/// No time after which it is not to be sent.
const NO_TIME: u64 = u64::MAX;
/// Bytes before a group's entries: how long each is, how many there are.
const GROUP_HEADER_BYTES: usize = 6;

/// Of an acknowledgement.
const CORRELATION_AT: usize = 8;
const ORDER_AT: usize = 32;
const STATUS_AT: usize = 92;

/// The number of the instrument that is traded, from all that there are.
pub(crate) fn instrument_of(listed: &str) -> Result<u32> {
    let told: Value = serde_json::from_str(listed).map_err(|error| Failure::Protocol(error.to_string()))?;
    let all = told["result"].as_array().map_or(&[][..], Vec::as_slice);
    let own = all.iter().find(|definition| definition["instrument_name"] == INSTRUMENT);
    let number = own.and_then(|definition| u32::try_from(definition["instrument_id"].as_u64()?).ok());
    number.ok_or_else(|| Failure::Protocol(format!("{INSTRUMENT} is not listed, or has no number")))
}

/// Writes a request.
pub(crate) fn write_request(request: Request, market: Market, instrument: u32, message: &mut Vec<u8>) {
    let Request { deed, is_buy, order, .. } = request;
    message.clear();
    if deed == Deed::Cancel {
        write_header(message, CANCEL_ORDER_BLOCK, CANCEL_ORDER);
        write_numbers(message, [request.id(), order, NO_TIME]);
        return;
    }
    write_header(message, NEW_ORDER_BLOCK, NEW_ORDER);
    let price = request.price(market) * UNITS;
    write_numbers(message, [request.id(), price, AMOUNT * UNITS, NO_TIME]);
    message.extend_from_slice(&instrument.to_le_bytes());
    let side = if is_buy { b'1' } else { b'2' };
    let (limit, time_in_force) = (b'2', if deed == Deed::Rest { b'1' } else { b'3' });
    // It may take; no flags; no label.
    message.extend_from_slice(&[side, limit, time_in_force, 0, 0, 0, 0]);
}

fn write_header(message: &mut Vec<u8>, block: u16, template: u16) {
    for number in [block, template, SCHEMA, 0] {
        message.extend_from_slice(&number.to_le_bytes());
    }
}

fn write_numbers<const N: usize>(message: &mut Vec<u8>, numbers: [u64; N]) {
    for number in numbers {
        message.extend_from_slice(&number.to_le_bytes());
    }
}

/// The reply that `message` is, or why it is not a good one.
pub(crate) fn read(message: &[u8]) -> Result<Reply> {
    parse(message).ok_or_else(|| {
        Failure::Protocol(format!("not what an order of this load is to be answered: {}", shown(message)))
    })
}

fn parse(message: &[u8]) -> Option<Reply> {
    let (template, block) = encoding::template(message)?;
    if template != ORDER_ACK || HEADER_BYTES + block <= STATUS_AT {
        return None;
    }
    let (number, deed) = Request::of_id(u64_at(message, CORRELATION_AT)?)?;
    let status = match deed {
        Deed::Rest => b'0',
        Deed::Take => b'2',
        Deed::Miss | Deed::Cancel => b'4',
    };
    if message[STATUS_AT] != status {
        return None;
    }
    let trade_seq = match deed {
        Deed::Take => Some(entries(message, block)?.next()?),
        Deed::Rest | Deed::Miss | Deed::Cancel => None,
    };
    Some(Reply { number, deed, order: u64_at(message, ORDER_AT)?, trade_seq })
}

/// The numbers of the trades that a subscriber is told of by `message`; none in any other.
pub(crate) fn trades(message: &[u8]) -> impl Iterator<Item = u64> {
    let block = encoding::template(message).filter(|(template, _)| *template == TRADE);
    block.and_then(|(_, block)| entries(message, block)).into_iter().flatten()
}

/// The first eight bytes of each entry of the group behind the block: of a trade or a fill its number.
fn entries(message: &[u8], block: usize) -> Option<impl Iterator<Item = u64>> {
    let at = HEADER_BYTES + block;
    let entry_bytes = usize::from(u16_at(message, at)?).max(1);
    let count = usize::try_from(u32_at(message, at + 2)?).ok()?;
    let all = message.get(at + GROUP_HEADER_BYTES..)?.get(..entry_bytes.checked_mul(count)?)?;
    Some(all.chunks_exact(entry_bytes).filter_map(|entry| u64_at(entry, 0)))
}

/// For who reads why a run failed: what a reject says is text.
fn shown(message: &[u8]) -> String {
    format!("{:?} ({})", encoding::template(message), String::from_utf8_lossy(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKET: Market = Market { bid: 64_999, ask: 65_000 };

    fn written(deed: Deed, is_buy: bool) -> Vec<u8> {
        let mut message = vec![7];
        write_request(Request { number: 7, deed, is_buy, order: 17 }, MARKET, 3, &mut message);
        message
    }

    /// An acknowledgement of request 5 with one fill of trade 9.
    fn ack(deed: Deed, status: u8) -> Vec<u8> {
        let mut message = Vec::new();
        write_header(&mut message, 91, ORDER_ACK);
        let request = Request { number: 5, deed, is_buy: true, order: 0 };
        write_numbers(&mut message, [request.id(), 1, 2, 17]);
        message.resize(STATUS_AT, 0);
        message.push(status);
        message.resize(HEADER_BYTES + 91, 0);
        write_group(&mut message, 51, &[9]);
        message.extend([0, 0]);
        message
    }

    fn write_group(message: &mut Vec<u8>, entry_bytes: u16, numbers: &[u64]) {
        message.extend(entry_bytes.to_le_bytes());
        message.extend(u32::try_from(numbers.len()).unwrap().to_le_bytes());
        for number in numbers {
            let end = message.len() + usize::from(entry_bytes);
            message.extend(number.to_le_bytes());
            message.resize(end, 0xff);
        }
    }

    #[test]
    fn requests_have_their_fields_where_the_page_has_them() {
        let order = written(Deed::Take, false);
        // The block, and an empty label.
        assert_eq!(order.len(), 8 + 41 + 2);
        assert_eq!(order[..8], [41, 0, 20, 0, 1, 0, 0, 0]);
        assert_eq!(u64_at(&order, 8), Some(1_000_000_072));
        assert_eq!(u64_at(&order, 16), Some(61_749 * UNITS));
        assert_eq!(u64_at(&order, 24), Some(10 * UNITS));
        assert_eq!(u64_at(&order, 32), Some(u64::MAX));
        assert_eq!(u32_at(&order, 40), Some(3));
        assert_eq!(order[44..], *b"223\0\0\0\0");
        assert_eq!(written(Deed::Rest, true)[44..47], *b"121");
        let cancel = written(Deed::Cancel, true);
        assert_eq!((cancel.len(), u64_at(&cancel, 16)), (8 + 24, Some(17)));
        assert_eq!(cancel[..8], [24, 0, 22, 0, 1, 0, 0, 0]);
    }

    #[test]
    fn a_reply_is_good_in_the_state_that_its_request_must_end_in() {
        let good = |deed, trade_seq| Some(Reply { number: 5, deed, order: 17, trade_seq });
        let told = |deed, status| parse(&ack(deed, status));
        assert_eq!(told(Deed::Rest, b'0'), good(Deed::Rest, None));
        assert_eq!(told(Deed::Miss, b'4'), good(Deed::Miss, None));
        assert_eq!(told(Deed::Take, b'2'), good(Deed::Take, Some(9)));
        assert_eq!(told(Deed::Cancel, b'4'), good(Deed::Cancel, None));
        for (deed, status) in
            [(Deed::Rest, b'2'), (Deed::Miss, b'0'), (Deed::Take, b'4'), (Deed::Cancel, b'0')]
        {
            assert_eq!(told(deed, status), None, "{deed:?}");
        }
    }

    #[test]
    fn what_is_cut_off_or_of_another_template_is_no_reply() {
        let whole = ack(Deed::Take, b'2');
        for end in 0..whole.len() - 2 {
            assert_eq!(parse(&whole[..end]), None, "{end}");
        }
        let mut reject = whole;
        reject[2] = 31;
        assert!(read(&reject).is_err());
    }

    #[test]
    fn trades_are_told_of_in_their_order_and_by_no_other_message() {
        let mut message = Vec::new();
        write_header(&mut message, 29, TRADE);
        message.resize(HEADER_BYTES + 29, 0);
        write_group(&mut message, 42, &[8, 9]);
        assert_eq!(trades(&message).collect::<Vec<_>>(), [8, 9]);
        assert_eq!(trades(&message[..message.len() - 1]).count(), 0);
        message[2] = 11;
        assert_eq!(trades(&message).count(), 0);
    }

    #[test]
    fn the_instrument_s_number_is_the_one_beside_its_name() {
        let listed = r#"{"result":[{"instrument_name":"A","instrument_id":0},{"instrument_id":3,"instrument_name":"BTC-PERPETUAL"}]}"#;
        assert_eq!(instrument_of(listed).unwrap(), 3);
        assert!(instrument_of(r#"{"result":[{"instrument_name":"A","instrument_id":0}]}"#).is_err());
    }
}
