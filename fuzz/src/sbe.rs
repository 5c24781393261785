//! A message of Simple Binary Encoding as a client sends one.
//!
//! Property: whatever the bytes, they are a message or an error, and nothing panics. What is read of a message, written again, is read back
//! the same; a frame that is cut off anywhere is refused, and so is one with more behind it. Taken for a batch, a frame is split into what
//! lies in it, by its lengths alone.
//!
//! Input: a byte that chooses a message, whose header is then made true but for its length; 0 leaves the bytes as they are. Then the frame.

use tickring::dialect::sbe::generated::*;
use tickring::dialect::sbe::wire::{DecodeError, Entries, Entry};
use tickring::dialect::sbe::{BATCHED_LENGTH_BYTES, split_batch};

const TEMPLATES: [u16; 13] = [
    Heartbeat::TEMPLATE_ID,
    GapNotice::TEMPLATE_ID,
    Ticker::TEMPLATE_ID,
    Quote::TEMPLATE_ID,
    Trade::TEMPLATE_ID,
    BookSnapshot::TEMPLATE_ID,
    BookDelta::TEMPLATE_ID,
    NewOrder::TEMPLATE_ID,
    AmendOrder::TEMPLATE_ID,
    CancelOrder::TEMPLATE_ID,
    OrderAck::TEMPLATE_ID,
    Reject::TEMPLATE_ID,
    ExecutionReport::TEMPLATE_ID,
];

/// See the file's head.
///
/// # Panics
/// Where the property does not hold.
pub fn check(input: &[u8]) {
    check_batch(input);
    let Some((choice, rest)) = input.split_first() else { return };
    let mut frame = rest.to_vec();
    let template = usize::from(*choice).checked_sub(1).map(|place| TEMPLATES[place % TEMPLATES.len()]);
    if let (Some(template), true) = (template, frame.len() >= 8) {
        frame[2..4].copy_from_slice(&template.to_le_bytes());
        frame[4..6].copy_from_slice(&SCHEMA_ID.to_le_bytes());
        frame[6..8].copy_from_slice(&SCHEMA_VERSION.to_le_bytes());
    }
    let Ok(message) = Message::decode(&frame) else { return };
    let Some(written) = write_again(&message) else { return };
    let again = Message::decode(&written).expect("what was written is read");
    assert_eq!(write_again(&again).as_ref(), Some(&written), "what is read back is what was read");
    for cut in 0..written.len() {
        assert_eq!(Message::decode(&written[..cut]).err(), Some(DecodeError::Truncated), "cut at {cut}");
    }
    assert_eq!(Message::decode(&[&written[..], &[0]].concat()).err(), Some(DecodeError::Trailing));
    let is_of_a_later_version = frame[6..8] != SCHEMA_VERSION.to_le_bytes();
    assert!(written.len() <= frame.len() || is_of_a_later_version, "more is read than there is");
}

fn check_batch(mut frame: &[u8]) {
    while let Some((message, rest)) = split_batch(frame) {
        assert_eq!(BATCHED_LENGTH_BYTES + message.len() + rest.len(), frame.len(), "nothing is lost");
        let told = u16::from_le_bytes([frame[0], frame[1]]);
        assert!(usize::from(told) == message.len() || (told == 0 && rest.is_empty()));
        frame = rest;
    }
    assert!(
        frame.len() < BATCHED_LENGTH_BYTES
            || usize::from(frame[0]) + 256 * usize::from(frame[1]) > frame.len() - 2
    );
}

/// The entries of a group; `None` where one has a word that is not known.
fn all<E: Entry>(entries: Entries<'_, E>) -> Option<Vec<E>> {
    assert_eq!(entries.is_empty(), entries.iter().next().is_none());
    entries.iter().collect::<Result<_, _>>().ok()
}

/// Writes what was read; `None` where a word is not known.
fn write_again(message: &Message<'_>) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match message {
        Message::Heartbeat(view) => view.fields().ok()?.encode(&mut out),
        Message::GapNotice(view) => view.fields().ok()?.encode(&mut out),
        Message::Ticker(view) => view.fields().ok()?.encode(&mut out),
        Message::Quote(view) => view.fields().ok()?.encode(&mut out),
        Message::Trade(view) => view.fields().ok()?.encode(&mut out, all(view.trades())?),
        Message::BookSnapshot(view) => {
            view.fields().ok()?.encode(&mut out, all(view.bids())?, all(view.asks())?);
        }
        Message::BookDelta(view) => {
            view.fields().ok()?.encode(&mut out, all(view.bids())?, all(view.asks())?);
        }
        Message::NewOrder(view) => view.fields().ok()?.encode(&mut out, view.label()),
        Message::AmendOrder(view) => view.fields().ok()?.encode(&mut out, view.label()),
        Message::CancelOrder(view) => view.fields().ok()?.encode(&mut out),
        Message::OrderAck(view) => view.fields().ok()?.encode(&mut out, all(view.fills())?, view.label()),
        Message::Reject(view) => {
            view.fields().ok()?.encode(&mut out, view.message(), view.reason(), view.param());
        }
        Message::ExecutionReport(view) => view.fields().ok()?.encode(&mut out, view.label()),
    }
    Some(out)
}
