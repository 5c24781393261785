//! What one server is told, frame by frame: its dialect, as far as the cases here need it. PURE.
//! Invariant: a text that is sent more than once has a constant length, so that every run sends the same bytes.

use crate::dialect::{Dialect, Exchange, Fill, Frame, Reader, Replies};
use crate::failure::{Failure, Result};

/// The topic of every load.
const TOPIC: &str = "load";

/// A dialect that can do every case.
#[derive(Debug, Clone)]
pub(crate) struct Words {
    dialect: Dialect,
    subscribe: Exchange,
    publish: Exchange,
    echo: Exchange,
}

/// One thing that is said, and a part of the answer that is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// Empty where nothing is said.
    pub(crate) frame: Vec<u8>,
    pub(crate) expect: String,
}

impl Words {
    pub(crate) fn parse(text: &str) -> Result<Words> {
        let dialect =
            Dialect::parse(text).map_err(|flaw| Failure::File(format!("a dialect file: {flaw}")))?;
        let lacks = |what: &str| Failure::File(format!("the dialect {} has no [{what}]", dialect.name));
        Ok(Words {
            subscribe: dialect.subscribe.clone().ok_or_else(|| lacks("subscribe"))?,
            publish: dialect.publish.clone().ok_or_else(|| lacks("publish"))?,
            echo: dialect.echo.clone().ok_or_else(|| lacks("echo"))?,
            dialect,
        })
    }

    #[cfg(test)]
    pub(crate) fn name(&self) -> &str {
        &self.dialect.name
    }

    pub(crate) fn path(&self) -> &str {
        &self.dialect.path
    }

    /// The upgrade's request.
    pub(crate) fn upgrade(&self, host: &str, key: &str) -> String {
        self.dialect.upgrade(host, &self.dialect.path, key)
    }

    /// What a connection says before all else, and then to be subscribed if it is to be.
    pub(crate) fn steps(&self, is_subscriber: bool) -> Vec<Step> {
        let subscribe = is_subscriber.then_some(&self.subscribe);
        let steps = self.dialect.hello.iter().chain(subscribe);
        let step = |exchange: &Exchange| Step {
            frame: if exchange.send.is_empty() {
                Vec::new()
            } else {
                self.frame(&exchange.send, 0).patched(0, 0, 0, 0).to_vec()
            },
            expect: exchange.expect.clone(),
        };
        steps.map(step).collect()
    }

    /// The frame of one request.
    pub(crate) fn echo_frame(&self) -> Vec<u8> {
        self.frame(&self.echo.send, 0).patched(0, 0, 0, 0).to_vec()
    }

    /// The frame of a publish; each has its own time and sequence.
    pub(crate) fn publish_frame(&self, data_bytes: usize) -> Frame {
        self.frame(&self.publish.send, data_bytes)
    }

    /// Finds deliveries.
    pub(crate) fn reader(&self) -> Reader {
        Reader::new(&self.dialect)
    }

    /// Knows replies, by their order.
    pub(crate) fn replies(&self) -> Replies {
        let in_order = Exchange { reply_id: String::new(), ..self.echo.clone() };
        Replies::new(&in_order).expect("invariant: a checked dialect's [echo] has an `expect`")
    }

    fn frame(&self, send: &str, data_bytes: usize) -> Frame {
        self.dialect.frame(send, Fill { topic: TOPIC, data_bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame;

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
    fn every_dialect_here_can_do_every_case_and_bears_its_file_s_name() {
        for (name, text) in FILES {
            let words = Words::parse(text).unwrap();
            assert_eq!(words.name(), name);
            assert!(!words.steps(true).is_empty() && !words.echo_frame().is_empty());
        }
    }

    #[test]
    fn the_limit_is_told_the_very_bytes_that_it_counts() {
        let words = Words::parse(FILES[1].1).unwrap();
        assert_eq!(payload(&words.echo_frame()), crate::wire::TEST_REQUEST);
        let publish = payload(words.publish_frame(100).patched(1, 7, 0, 1));
        assert_eq!(crate::wire::published(publish.as_bytes()).map(<[u8]>::len), Some(100));
    }

    #[test]
    fn nats_speaks_first_and_is_told_the_length_of_what_it_gets() {
        let words = Words::parse(FILES[6].1).unwrap();
        let steps = words.steps(true);
        assert_eq!((steps[0].frame.len(), steps[0].expect.as_str()), (0, "INFO "));
        assert!(payload(&steps[1].frame).ends_with("}\r\nPING\r\n"));
        assert_eq!(payload(&steps[2].frame), "SUB load 1\r\nPING\r\n");
        let mut publish = words.publish_frame(100);
        let text = payload(publish.patched(0, 7, 0, 1));
        let (head, rest) = text.split_once("\r\n").unwrap();
        assert_eq!((head, rest.len()), ("PUB load 100", 102));
    }

    #[test]
    fn what_is_published_is_json_in_every_dialect() {
        for (name, text) in FILES {
            let publish = payload(Words::parse(text).unwrap().publish_frame(100).patched(1, 7, 0, 1));
            let data = &publish[publish.find(r#"{"at":"#).unwrap()..][..100];
            let read: serde_json::Result<serde_json::Value> = serde_json::from_str(data);
            assert!(read.is_ok(), "{name}: {data}");
        }
    }

    #[test]
    fn a_dialect_that_cannot_publish_is_refused() {
        let failure = Words::parse("name = 'x'\n[subscribe]\nsend = 's'").unwrap_err().to_string();
        assert_eq!(failure, "the dialect x has no [publish]");
    }
}
