//! Texts with placeholders, and the frames that they become: encoded and masked once, then only digits change. PURE.
//! Invariant: `patched` neither allocates nor changes a frame's length.

use std::ops::Range;

use crate::dialect::Frames;
use crate::frame;

/// Ids have ten digits and no leading zero.
const ID_BASE: u64 = 1_000_000_000;
const ID_DIGITS: usize = 10;
/// Added to monotonic stamps, so that each has exactly 19 digits and no leading zero.
pub(super) const STAMP_BASE: u64 = 1_000_000_000_000_000_000;
const STAMP_DIGITS: usize = 19;
/// A sequence is the stream's number, from 1,000, in front of twelve digits: 16 in all without a leading zero, which JSON
/// does not allow, and below 2^53, which every parser of it holds.
pub(super) const STREAM_BASE: u64 = 1_000_000_000_000;
pub(super) const STREAM_FIRST: u64 = 1_000;
const SEQUENCE_DIGITS: usize = 16;
/// Streams that can be told apart, the sequence staying below 2^53.
pub(crate) const STREAMS_MAX: u32 = 8_000;

/// The fewest bytes of published data: stamp, sequence and empty padding.
pub(crate) const DATA_BYTES_MIN: usize = 57;

/// A text in pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Id,
    Topic,
    Data,
    Bytes,
}

/// What stands in the places of a text that do not change from message to message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fill<'a> {
    pub(crate) topic: &'a str,
    /// Of the data; less than the least are the least.
    pub(crate) data_bytes: usize,
}

/// A frame ready to be sent but for its digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    bytes: Vec<u8>,
    payload_at: usize,
    mask: [u8; 4],
    ids: Vec<Range<usize>>,
    stamps: Vec<Range<usize>>,
    sequences: Vec<Range<usize>>,
}

impl Template {
    /// The pieces of a text, or the placeholder that nobody knows. Braces around anything but a word are text, as JSON has them.
    pub(super) fn parse(text: &str) -> Result<Template, String> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            let (before, braced) = rest.split_at(open);
            literal.push_str(before);
            let word = braced[1..].split('}').next().unwrap_or_default();
            let is_word =
                !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            if !is_word || braced.len() < word.len() + 2 {
                literal.push('{');
                rest = &braced[1..];
                continue;
            }
            let piece = match word {
                "id" => Piece::Id,
                "topic" => Piece::Topic,
                "data" => Piece::Data,
                "bytes" => Piece::Bytes,
                unknown => return Err(format!("{{{unknown}}}")),
            };
            pieces.extend([Piece::Text(std::mem::take(&mut literal)), piece]);
            rest = &braced[word.len() + 2..];
        }
        literal.push_str(rest);
        pieces.push(Piece::Text(literal));
        Ok(Template(pieces))
    }

    pub(super) fn frame(&self, frames: Frames, is_masked: bool, fill: Fill<'_>) -> Frame {
        let mut text = String::new();
        let (mut ids, mut stamps, mut sequences) = (Vec::new(), Vec::new(), Vec::new());
        let data_bytes = fill.data_bytes.max(DATA_BYTES_MIN);
        for piece in &self.0 {
            match piece {
                Piece::Text(literal) => text.push_str(literal),
                Piece::Topic => text.push_str(fill.topic),
                Piece::Bytes => text.push_str(&data_bytes.to_string()),
                Piece::Id => push_digits(&mut text, ID_DIGITS, &mut ids),
                Piece::Data => {
                    let begin = text.len();
                    text.push_str(r#"{"at":"#);
                    push_digits(&mut text, STAMP_DIGITS, &mut stamps);
                    text.push_str(r#","sq":"#);
                    push_digits(&mut text, SEQUENCE_DIGITS, &mut sequences);
                    text.push_str(r#","pad":""#);
                    while text.len() < begin + data_bytes - 2 {
                        text.push('x');
                    }
                    text.push_str(r#""}"#);
                }
            }
        }
        let opcode = match frames {
            Frames::Text => frame::TEXT,
            Frames::Binary => frame::BINARY,
        };
        let mut bytes = Vec::new();
        if is_masked {
            frame::encode_client(opcode, text.as_bytes(), &mut bytes);
        } else {
            frame::encode_server(opcode, text.as_bytes(), &mut bytes);
        }
        let payload_at = bytes.len() - text.len();
        let mask = if is_masked { frame::MASK } else { [0; 4] };
        Frame { bytes, payload_at, mask, ids, stamps, sequences }
    }
}

fn push_digits(text: &mut String, count: usize, places: &mut Vec<Range<usize>>) {
    places.push(text.len()..text.len() + count);
    text.extend(std::iter::repeat_n('0', count));
}

impl Frame {
    /// The frame with request number `id`, the intended time and number `sequence` of `stream` in it.
    pub(crate) fn patched(&mut self, id: u64, stamp_ns: u64, stream: u32, sequence: u64) -> &[u8] {
        let Frame { bytes, payload_at, mask, ids, stamps, sequences } = self;
        let payload = &mut bytes[*payload_at..];
        for place in ids.iter() {
            write_digits(payload, place, *mask, ID_BASE + id % (9 * ID_BASE));
        }
        for place in stamps.iter() {
            write_digits(payload, place, *mask, STAMP_BASE + stamp_ns);
        }
        for place in sequences.iter() {
            let number = (STREAM_FIRST + u64::from(stream)) * STREAM_BASE + sequence % STREAM_BASE;
            write_digits(payload, place, *mask, number);
        }
        &self.bytes
    }

    /// The frame where no digit of it matters.
    pub(crate) fn plain(&mut self, id: u64) -> &[u8] {
        self.patched(id, 0, 0, 0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.len() == self.payload_at
    }
}

/// The request number of an id as a frame has it.
pub(super) fn request_number(id: u64) -> Option<u64> {
    id.checked_sub(ID_BASE)
}

fn write_digits(payload: &mut [u8], place: &Range<usize>, mask: [u8; 4], value: u64) {
    let mut rest = value;
    for at in place.clone().rev() {
        let digit = b'0' + u8::try_from(rest % 10).expect("invariant: a digit");
        payload[at] = digit ^ mask[at % 4];
        rest /= 10;
    }
    debug_assert!(rest == 0, "a number has the digits of its place");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(bytes: &[u8]) -> String {
        let header = frame::decode(bytes).unwrap().unwrap();
        let mut payload = bytes[header.header_bytes..].to_vec();
        if let Some(mask) = header.mask {
            frame::apply_mask(&mut payload, mask);
        }
        String::from_utf8(payload).unwrap()
    }

    fn frame_of(text: &str, is_masked: bool) -> Frame {
        let fill = Fill { topic: "t-7", data_bytes: 60 };
        Template::parse(text).unwrap().frame(Frames::Text, is_masked, fill)
    }

    #[test]
    fn digits_are_patched_under_the_mask_and_without_one() {
        for is_masked in [true, false] {
            let mut frame = frame_of(r#"{"id":{id},"to":"{topic}","d":{data},"n":{bytes}}"#, is_masked);
            let bytes = frame.bytes.len();
            assert_eq!(
                payload(frame.patched(42, 7, 2, 9)),
                r#"{"id":1000000042,"to":"t-7","d":{"at":1000000000000000007,"sq":1002000000000009,"pad":"xxx"},"n":60}"#
            );
            frame.patched(u64::MAX, u64::MAX / 100, STREAMS_MAX - 1, u64::MAX);
            assert_eq!(frame.bytes.len(), bytes);
        }
    }

    #[test]
    fn data_has_the_asked_length_or_the_least() {
        for (asked, given) in [(0, DATA_BYTES_MIN), (57, 57), (58, 58), (400, 400)] {
            let fill = Fill { topic: "", data_bytes: asked };
            let mut frame = Template::parse("{data}").unwrap().frame(Frames::Binary, true, fill);
            assert_eq!(payload(frame.plain(0)).len(), given);
        }
    }

    #[test]
    fn braces_that_hold_no_word_are_text() {
        for text in ["{}", "{\"a\":{}}", "{", "{id", "{A}", "}{"] {
            assert_eq!(payload(frame_of(text, true).plain(1)), text);
        }
        assert_eq!(payload(frame_of("{{id}}", true).plain(1)), "{1000000001}");
        assert_eq!(Template::parse("{idd}"), Err("{idd}".to_owned()));
    }
}
