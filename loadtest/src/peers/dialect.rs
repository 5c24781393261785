//! What a server is spoken to with: the texts of a dialect file, ready to be sent. PURE.
//! Invariant: a text that is sent more than once has a constant length, so that every run sends the same bytes.

use memchr::memmem::{self, Finder};
use serde::Deserialize;

use crate::failure::{Failure, Result};
use crate::frame;
use crate::wire;

/// What `{id}` stands for; replies are told by their order.
const ID: &str = "1000001";
/// The topic of every load.
pub(crate) const TOPIC: &str = "load";
/// Added to times, so that each has 19 digits.
const AT_BASE: u64 = 1_000_000_000_000_000_000;
/// Added to sequences, so that each has 10 digits.
const SEQUENCE_BASE: u64 = 1_000_000_000;
/// The fewest bytes of published data: a time, a sequence, empty padding.
pub(crate) const DATA_BYTES_MIN: usize = 52;

/// A dialect file.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Dialect {
    pub(crate) name: String,
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) subprotocol: String,
    #[serde(default)]
    frames: Frames,
    #[serde(default)]
    pub(crate) hello: Vec<Exchange>,
    subscribe: Exchange,
    publish: Exchange,
    delivery: Delivery,
    pub(crate) echo: Exchange,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Frames {
    #[default]
    Text,
    Binary,
}

/// What is sent, and a part of the answer that ends the wait for it; an empty one is not sent or not waited for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Exchange {
    #[serde(default)]
    pub(crate) send: String,
    #[serde(default)]
    pub(crate) expect: String,
}

#[derive(Debug, Clone, Deserialize)]
struct Delivery {
    stamp: String,
    sequence: String,
}

impl Dialect {
    pub(crate) fn parse(text: &str) -> Result<Dialect> {
        let dialect: Dialect =
            toml::from_str(text).map_err(|error| Failure::Unmet(format!("a dialect file: {error}")))?;
        let publish = &dialect.publish.send;
        if !publish.contains("{data}") || dialect.delivery.stamp.is_empty() || dialect.echo.expect.is_empty()
        {
            return Err(Failure::Unmet(format!(
                "the dialect {} needs {{data}} in [publish], a stamp in [delivery] and what to expect in [echo]",
                dialect.name
            )));
        }
        Ok(dialect)
    }

    /// What a connection says before all else, and then to be subscribed if it is to be.
    pub(crate) fn steps(&self, is_subscriber: bool) -> Vec<Exchange> {
        let subscribe = is_subscriber.then_some(&self.subscribe);
        let steps = self.hello.iter().chain(subscribe);
        let fill = |exchange: &Exchange| Exchange {
            send: fill(&exchange.send, ""),
            expect: exchange.expect.clone(),
        };
        steps.map(fill).collect()
    }

    /// Appends one frame that holds `text`.
    pub(crate) fn encode(&self, text: &str, frame: &mut Vec<u8>) {
        let opcode = match self.frames {
            Frames::Text => frame::TEXT,
            Frames::Binary => frame::BINARY,
        };
        frame::encode_client(opcode, text.as_bytes(), frame);
    }

    /// The frame of one request.
    pub(crate) fn echo_frame(&self) -> Vec<u8> {
        let mut frame = Vec::new();
        self.encode(&fill(&self.echo.send, ""), &mut frame);
        frame
    }

    /// Puts the frame of one publish into `frame`; its data is `data_bytes` long.
    pub(crate) fn publish_frame(&self, at_ns: u64, sequence: u64, data_bytes: usize, frame: &mut Vec<u8>) {
        frame.clear();
        self.encode(&fill(&self.publish.send, &data(at_ns, sequence, data_bytes)), frame);
    }

    pub(crate) fn reader(&self) -> Reader {
        let finder = |text: &str| Finder::new(text.as_bytes()).into_owned();
        Reader { stamp: finder(&self.delivery.stamp), sequence: finder(&self.delivery.sequence) }
    }

    /// How many replies a message holds.
    pub(crate) fn replies(&self, message: &[u8]) -> u64 {
        memmem::find_iter(message, self.echo.expect.as_bytes()).count() as u64
    }
}

fn fill(text: &str, data: &str) -> String {
    let bytes = data.len().to_string();
    // The data last: what it holds is no placeholder.
    text.replace("{id}", ID).replace("{topic}", TOPIC).replace("{bytes}", &bytes).replace("{data}", data)
}

fn data(at_ns: u64, sequence: u64, data_bytes: usize) -> String {
    assert!(DATA_BYTES_MIN <= data_bytes, "published data holds a time and a sequence");
    let mut data = format!(r#"{{"at":{},"sq":{},"pad":""#, AT_BASE + at_ns, SEQUENCE_BASE + sequence);
    data.extend(std::iter::repeat_n('x', data_bytes - 2 - data.len()));
    data.push_str(r#""}"#);
    data
}

/// Finds deliveries in messages.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    stamp: Finder<'static>,
    sequence: Finder<'static>,
}

impl Reader {
    /// Tells `take` the intended time and the sequence of every delivery in `message`.
    pub(crate) fn read(&self, message: &[u8], mut take: impl FnMut(u64, u64)) {
        let mut rest = message;
        while let Some(at) = self.stamp.find(rest) {
            rest = &rest[at + self.stamp.needle().len()..];
            let at_ns = wire::number(rest).and_then(|at| at.checked_sub(AT_BASE));
            let Some(at) = self.sequence.find(rest) else { return };
            rest = &rest[at + self.sequence.needle().len()..];
            let sequence = wire::number(rest).and_then(|number| number.checked_sub(SEQUENCE_BASE));
            if let Some((at_ns, sequence)) = at_ns.zip(sequence) {
                take(at_ns, sequence);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: [(&str, &str); 9] = [
        ("tickring", include_str!("../../dialects/tickring.toml")),
        ("limit", include_str!("../../dialects/limit.toml")),
        ("bun", include_str!("../../dialects/bun.toml")),
        ("uws", include_str!("../../dialects/uws.toml")),
        ("ws", include_str!("../../dialects/ws.toml")),
        ("websockets", include_str!("../../dialects/websockets.toml")),
        ("nats", include_str!("../../dialects/nats.toml")),
        ("tungstenite", include_str!("../../dialects/tungstenite.toml")),
        ("fastwebsockets", include_str!("../../dialects/fastwebsockets.toml")),
    ];

    fn payload(frame: &[u8]) -> String {
        let header = frame::decode(frame).unwrap().unwrap();
        let mut payload = frame[header.header_bytes..].to_vec();
        frame::apply_mask(&mut payload, frame::MASK);
        String::from_utf8(payload).unwrap()
    }

    #[test]
    fn every_dialect_parses_and_bears_its_file_s_name() {
        for (name, text) in FILES {
            assert_eq!(Dialect::parse(text).unwrap().name, name);
        }
    }

    #[test]
    fn every_dialect_sends_constant_lengths_and_leaves_no_placeholder() {
        for (name, text) in FILES {
            let dialect = Dialect::parse(text).unwrap();
            let mut frames = [Vec::new(), Vec::new()];
            dialect.publish_frame(7, 0, 100, &mut frames[0]);
            dialect.publish_frame(1_400_000_000_000, 4_000_000, 100, &mut frames[1]);
            assert_eq!(frames[0].len(), frames[1].len(), "{name}");
            let mut sent: Vec<String> = frames.iter().map(|frame| payload(frame)).collect();
            sent.extend(dialect.steps(true).into_iter().map(|step| step.send));
            sent.push(payload(&dialect.echo_frame()));
            for text in sent {
                for placeholder in ["{id}", "{topic}", "{data}", "{bytes}"] {
                    assert!(!text.contains(placeholder), "{name}: {text}");
                }
            }
        }
    }

    #[test]
    fn what_was_published_is_read_back_wherever_it_stands_and_however_often() {
        let reader = Dialect::parse(FILES[6].1).unwrap().reader();
        let first = data(1_400_000_000_007, 42, DATA_BYTES_MIN);
        let second = data(1_400_000_000_008, 43, 100);
        assert_eq!((first.len(), second.len()), (DATA_BYTES_MIN, 100));
        let message = format!("MSG load 1 52\r\n{first}\r\nMSG load 1 100\r\n{second}\r\n");
        let mut read = Vec::new();
        reader.read(message.as_bytes(), |at_ns, sequence| read.push((at_ns, sequence)));
        assert_eq!(read, [(1_400_000_000_007, 42), (1_400_000_000_008, 43)]);
    }

    #[test]
    fn nats_is_told_the_length_of_what_it_gets() {
        let dialect = Dialect::parse(FILES[6].1).unwrap();
        let mut frame = Vec::new();
        dialect.publish_frame(7, 1, 100, &mut frame);
        assert_eq!(frame[0] & 0x0f, frame::BINARY);
        let text = payload(&frame);
        let (head, rest) = text.split_once("\r\n").unwrap();
        assert_eq!((head, rest.len()), ("PUB load 100", 102));
        assert_eq!(dialect.replies(b"PONG\r\nPONG\r\n"), 2);
    }

    #[test]
    fn a_dialect_without_data_is_refused() {
        let text = FILES[2].1.replace("{data}", "");
        assert!(Dialect::parse(&text).unwrap_err().to_string().contains("{data}"));
    }
}
