//! What the messages load says and what it is told: frames that are rendered and masked once and then only change their digits,
//! and the reading of answers and deliveries. PURE.
//! Invariant: every number of a frame has a place of constant length, so that a limit arm can count bytes.

use std::ops::Range;

use memchr::memmem;

use crate::failure::{Failure, Result};
use crate::frame;
use crate::wire;

/// Ids of sends count from here, with ten digits; those of anything else are below.
const SEND_ID_BASE: u64 = 1_000_000_000;
const ID_DIGITS: usize = 10;
/// Added to stamps, so that each has exactly 19 digits and no leading zero.
const STAMP_BASE: u64 = 1_000_000_000_000_000_000;
const STAMP_DIGITS: usize = 19;
/// A place in a stream is the stream's number, from 1,000 on, in front of twelve digits: below 2^53, which every JSON parser holds.
const STREAM_BASE: u64 = 1_000_000_000_000;
const STREAM_FIRST: u64 = 1_000;
const PLACE_DIGITS: usize = 16;
/// Milliseconds since 1970 have thirteen digits until the year 2286.
const DUE_DIGITS: usize = 13;
/// A message's number is below 2^53; spaces stand for the digits that it has not.
const MESSAGE_DIGITS: usize = 16;
/// The fewest bytes of content: stamp, place and empty padding.
pub(super) const CONTENT_BYTES_MIN: u64 = 57;

const REPLY_HEAD: &[u8] = br#"{"jsonrpc":"2.0","id":"#;
const MESSAGE_HEAD: &[u8] = br#"{"jsonrpc":"2.0","method":"message","params":{"id":"#;
const CONTENT_KEY: &[u8] = br#""content":{"at":"#;
const PLACE_KEY: &[u8] = br#","sq":"#;
const AGAIN_KEY: &[u8] = br#""redelivered":true"#;

/// One kind of message of one sender to one receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Post<'a> {
    pub(super) user: &'a str,
    pub(super) priority: &'static str,
    /// At least once, instead of fire and forget.
    pub(super) confirm: bool,
    /// Has a time at which it is due.
    pub(super) is_scheduled: bool,
    /// A request, instead of a notification that nothing answers.
    pub(super) is_answered: bool,
    /// Which stream of the load it belongs to.
    pub(super) stream: usize,
    pub(super) content_bytes: usize,
}

/// A frame ready to be sent but for its digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SendFrame {
    frame: Patched,
    stream: usize,
    id: Option<Range<usize>>,
    due: Option<Range<usize>>,
    stamp: Range<usize>,
    place: Range<usize>,
}

/// A frame with its places.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Patched {
    bytes: Vec<u8>,
    payload_at: usize,
}

impl SendFrame {
    pub(super) fn new(post: &Post<'_>) -> SendFrame {
        let mut text = br#"{"jsonrpc":"2.0","#.to_vec();
        let id = post.is_answered.then(|| {
            text.extend_from_slice(br#""id":"#);
            let place = reserve(&mut text, ID_DIGITS);
            text.push(b',');
            place
        });
        let Post { user, priority, confirm, .. } = post;
        text.extend_from_slice(
            format!(
                r#""method":"message/send","params":{{"user":"{user}","priority":"{priority}","confirm":{confirm},"#
            )
            .as_bytes(),
        );
        let due = post.is_scheduled.then(|| {
            text.extend_from_slice(br#""deliver_at":"#);
            let place = reserve(&mut text, DUE_DIGITS);
            text.push(b',');
            place
        });
        text.extend_from_slice(CONTENT_KEY);
        let content_start = text.len() - br#"{"at":"#.len();
        let stamp = reserve(&mut text, STAMP_DIGITS);
        text.extend_from_slice(PLACE_KEY);
        let place = reserve(&mut text, PLACE_DIGITS);
        text.extend_from_slice(br#","pad":""#);
        text.resize((content_start + post.content_bytes - 2).max(text.len()), b'x');
        text.extend_from_slice(br#""}}}"#);
        SendFrame { frame: Patched::new(&text), stream: post.stream, id, due, stamp, place }
    }

    /// The frame of message `number` of its stream; `due_ms` stands where it has a time.
    pub(super) fn patched(&mut self, number: u64, stamp_ns: u64, due_ms: u64) -> &[u8] {
        if let Some(id) = &self.id {
            self.frame.write(id, SEND_ID_BASE + number % (9 * SEND_ID_BASE));
        }
        if let Some(due) = &self.due {
            self.frame.write(due, due_ms);
        }
        self.frame.write(&self.stamp, STAMP_BASE + stamp_ns);
        let stream = STREAM_FIRST + self.stream as u64;
        self.frame.write(&self.place, stream * STREAM_BASE + number % STREAM_BASE);
        &self.frame.bytes
    }

    pub(super) fn is_answered(&self) -> bool {
        self.id.is_some()
    }

    pub(super) fn stream(&self) -> usize {
        self.stream
    }
}

/// The frame that confirms a message, as a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AckFrame {
    frame: Patched,
    message: Range<usize>,
}

impl AckFrame {
    pub(super) fn new() -> AckFrame {
        let mut text = br#"{"jsonrpc":"2.0","method":"message/ack","params":{"id":"#.to_vec();
        let message = reserve(&mut text, MESSAGE_DIGITS);
        text.extend_from_slice(b"}}");
        AckFrame { frame: Patched::new(&text), message }
    }

    pub(super) fn patched(&mut self, message: u64) -> &[u8] {
        self.frame.write(&self.message, message);
        &self.frame.bytes
    }
}

impl Patched {
    fn new(text: &[u8]) -> Patched {
        let mut bytes = Vec::new();
        frame::encode_client(frame::TEXT, text, &mut bytes);
        Patched { payload_at: bytes.len() - text.len(), bytes }
    }

    /// Writes a number at the end of its place, spaces before it.
    fn write(&mut self, place: &Range<usize>, number: u64) {
        let payload = &mut self.bytes[self.payload_at..];
        let mut rest = Some(number);
        for at in place.clone().rev() {
            let byte = match rest {
                Some(digits) => {
                    rest = Some(digits / 10).filter(|left| *left > 0);
                    b'0' + u8::try_from(digits % 10).expect("invariant: a digit")
                }
                None => b' ',
            };
            payload[at] = byte ^ frame::MASK[at % frame::MASK.len()];
        }
        assert!(rest.is_none(), "{number} has more than {} digits", place.len());
    }
}

fn reserve(text: &mut Vec<u8>, digits: usize) -> Range<usize> {
    let start = text.len();
    text.resize(start + digits, b'0');
    start..text.len()
}

/// A message as its receiver is told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delivered {
    /// The gateway's number of it.
    pub(super) message: u64,
    pub(super) stamp_ns: u64,
    pub(super) stream: usize,
    pub(super) number: u64,
    /// Marked as one that may have been delivered before.
    pub(super) is_again: bool,
}

/// What a connection is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// The result of a send: its number in its stream.
    Accepted(u64),
    /// The result of anything else, by its id.
    Result(u64),
    Message(Delivered),
}

/// Reads what comes.
pub(super) struct Reader {
    content: memmem::Finder<'static>,
    again: memmem::Finder<'static>,
}

impl Reader {
    pub(super) fn new() -> Reader {
        Reader { content: memmem::Finder::new(CONTENT_KEY), again: memmem::Finder::new(AGAIN_KEY) }
    }

    /// An error, or anything that the load did not ask for, fails the run with its text.
    pub(super) fn read(&self, message: &[u8]) -> Result<Said> {
        let said = match message.strip_prefix(REPLY_HEAD) {
            Some(reply) => Reader::read_reply(reply),
            None => self.read_message(message).map(Said::Message),
        };
        said.ok_or_else(|| Failure::Protocol(format!("not asked for: {}", String::from_utf8_lossy(message))))
    }

    fn read_reply(reply: &[u8]) -> Option<Said> {
        let id = wire::number(reply)?;
        let rest = reply.get(reply.iter().position(|byte| !byte.is_ascii_digit())?..)?;
        if !rest.starts_with(br#","result":"#) {
            return None;
        }
        Some(id.checked_sub(SEND_ID_BASE).map_or(Said::Result(id), Said::Accepted))
    }

    fn read_message(&self, text: &[u8]) -> Option<Delivered> {
        let message = wire::number(text.strip_prefix(MESSAGE_HEAD)?)?;
        let at = self.content.find(text)?;
        let (head, content) = text.split_at(at);
        let content = content.get(CONTENT_KEY.len()..)?;
        let stamp_ns = wire::number(content)?.checked_sub(STAMP_BASE)?;
        let place = wire::number(content.get(STAMP_DIGITS..)?.strip_prefix(PLACE_KEY)?)?;
        Some(Delivered {
            message,
            stamp_ns,
            stream: usize::try_from((place / STREAM_BASE).checked_sub(STREAM_FIRST)?).ok()?,
            number: place % STREAM_BASE,
            is_again: self.again.find(head).is_some(),
        })
    }
}

/// `id` is below those of sends.
pub(super) fn subscribe_request(id: u64, under_way_max: u32) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"message/subscribe","params":{{"under_way_max":{under_way_max}}}}}"#
    )
}

/// Asks how many messages wait for the user that is logged in.
pub(super) const PENDING_REQUEST: &str =
    r#"{"jsonrpc":"2.0","id":8,"method":"message/pending","params":{"count":1}}"#;

/// How many there are, by the answer to [`PENDING_REQUEST`].
pub(super) fn pending_total(reply: &[u8]) -> Option<u64> {
    wire::digits_after(reply, r#""result":{"total":"#)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const POST: Post<'static> = Post {
        user: "u007",
        priority: "low",
        confirm: true,
        is_scheduled: false,
        is_answered: true,
        stream: 3,
        content_bytes: 80,
    };

    pub(super) fn unmasked(frame: &[u8]) -> String {
        let header = frame::decode(frame).unwrap().unwrap();
        let mut text = frame[header.header_bytes..].to_vec();
        frame::apply_mask(&mut text, frame::MASK);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_send_is_json_with_content_of_the_asked_length() {
        let mut send = SendFrame::new(&POST);
        let text = unmasked(send.patched(12, 77, 0));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&value["id"], &value["params"]["user"]), (&1_000_000_012.into(), &"u007".into()));
        assert_eq!(value["params"]["content"]["at"], 1_000_000_000_000_000_077_u64);
        assert_eq!(value["params"]["content"]["sq"], 1_003_000_000_000_012_u64);
        let content = text.split_once(r#""content":"#).unwrap().1;
        assert_eq!(content.len() - "}}".len(), 80);
        assert!(send.is_answered() && send.stream() == 3);
    }

    #[test]
    fn content_below_the_least_has_the_least() {
        let mut send = SendFrame::new(&Post { content_bytes: 57, ..POST });
        let text = unmasked(send.patched(0, 0, 0));
        assert!(text.contains(r#""pad":""}"#), "{text}");
        assert_eq!(text.split_once(r#""content":"#).unwrap().1.len() as u64 - 2, CONTENT_BYTES_MIN);
    }

    #[test]
    fn one_that_is_scheduled_or_not_answered_says_so() {
        let mut send = SendFrame::new(&Post { is_scheduled: true, is_answered: false, ..POST });
        let value: serde_json::Value =
            serde_json::from_str(&unmasked(send.patched(1, 2, 1_795_322_218_999))).unwrap();
        assert_eq!(value["params"]["deliver_at"], 1_795_322_218_999_u64);
        assert!(value.get("id").is_none() && !send.is_answered());
    }

    #[test]
    fn a_confirmation_names_its_message_whatever_its_digits() {
        let mut ack = AckFrame::new();
        for message in [1, 1_795_322_218_999_001, (1 << 53) - 1, 7] {
            let value: serde_json::Value = serde_json::from_str(&unmasked(ack.patched(message))).unwrap();
            assert_eq!(value["params"]["id"], message);
        }
    }

    fn delivery(marked: bool, content: &str) -> String {
        format!(
            r#"{{"jsonrpc":"2.0","method":"message","params":{{"id":44,"from":"u1","attempt":1,"redelivered":{marked},"content":{content}}}}}"#
        )
    }

    #[test]
    fn a_delivery_is_read_back_as_it_was_sent() {
        let text = unmasked(SendFrame::new(&POST).patched(12, 77, 0));
        let content = text.split_once(r#""content":"#).unwrap().1;
        let content = &content[..content.len() - 2];
        for marked in [false, true] {
            let said = Reader::new().read(delivery(marked, content).as_bytes()).unwrap();
            let expected = Delivered { message: 44, stamp_ns: 77, stream: 3, number: 12, is_again: marked };
            assert_eq!(said, Said::Message(expected));
        }
    }

    #[test]
    fn results_are_told_apart_by_their_ids_and_all_else_fails_the_run() {
        let reader = Reader::new();
        let reply = |id: u64, rest: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},{rest}}}"#);
        let accepted = reply(1_000_000_005, r#""result":{"id":7,"count":1}"#);
        assert_eq!(reader.read(accepted.as_bytes()).unwrap(), Said::Accepted(5));
        assert_eq!(reader.read(reply(8, r#""result":"ok""#).as_bytes()).unwrap(), Said::Result(8));
        for odd in [
            reply(1_000_000_005, r#""error":{"code":10040,"message":"retry"}"#),
            r#"{"jsonrpc":"2.0","method":"message_receipt","params":{"id":1}}"#.to_owned(),
            delivery(false, "{}"),
        ] {
            assert!(reader.read(odd.as_bytes()).is_err(), "{odd}");
        }
    }

    #[test]
    fn what_waits_is_read_from_the_answer() {
        let reply = br#"{"jsonrpc":"2.0","id":8,"result":{"total":62500,"bytes":9,"messages":[]}}"#;
        assert_eq!(pending_total(reply), Some(62_500));
        assert_eq!(pending_total(br#"{"jsonrpc":"2.0","id":8,"error":{"code":1}}"#), None);
        let subscribe: serde_json::Value = serde_json::from_str(&subscribe_request(9, 64)).unwrap();
        assert_eq!(subscribe["params"]["under_way_max"], 64);
    }
}
