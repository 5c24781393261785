//! Dialect files: what a server is told to subscribe, publish and answer, and by what its messages are known. PURE.
//! Invariants: a checked dialect renders without a failure; every text that it renders has one length for all ids, stamps and
//! sequences, so that a frame is encoded once and only its digits change.

mod frame_text;
mod reading;

pub(crate) use frame_text::{Fill, Frame, STREAMS_MAX};
pub(crate) use reading::{Reader, Replies, Reply, Told, finder};

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::dialect::frame_text::Template;
use crate::flaw::{self, Flaw};

/// Those that need no file, by name.
const BUILT_IN: &[(&str, &str)] = &[
    ("tickring", include_str!("../../dialects/tickring.toml")),
    ("echo", include_str!("../../dialects/echo.toml")),
    ("broadcast", include_str!("../../dialects/broadcast.toml")),
    ("bun", include_str!("../../dialects/bun.toml")),
    ("uws", include_str!("../../dialects/uws.toml")),
    ("ws", include_str!("../../dialects/ws.toml")),
    ("websockets", include_str!("../../dialects/websockets.toml")),
    ("nats", include_str!("../../dialects/nats.toml")),
    ("tungstenite", include_str!("../../dialects/tungstenite.toml")),
    ("fastwebsockets", include_str!("../../dialects/fastwebsockets.toml")),
    ("limit", include_str!("../../dialects/limit.toml")),
];

/// Names of those that are built in.
pub(crate) fn names() -> Vec<&'static str> {
    BUILT_IN.iter().map(|(name, _)| *name).collect()
}

/// The text of one that is built in.
pub(crate) fn built_in(name: &str) -> Option<&'static str> {
    BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// A dialect as its file has it, checked.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dialect {
    pub(crate) name: String,
    /// Of the upgrade, where the URL has none.
    #[serde(default = "root")]
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) subprotocol: String,
    #[serde(default)]
    pub(crate) frames: Frames,
    #[serde(default = "yes")]
    pub(crate) mask: bool,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    /// What a message that refuses something holds, and what stands before its code; empty where there is no such thing.
    #[serde(default)]
    pub(crate) error: String,
    #[serde(default)]
    pub(crate) error_code: String,
    #[serde(default)]
    pub(crate) hello: Vec<Exchange>,
    #[serde(default)]
    pub(crate) subscribe: Option<Exchange>,
    #[serde(default)]
    pub(crate) publish: Option<Exchange>,
    #[serde(default)]
    pub(crate) delivery: Delivery,
    #[serde(default)]
    pub(crate) echo: Option<Exchange>,
    #[serde(default)]
    pub(crate) order: Option<Order>,
    #[serde(default)]
    pub(crate) start: Start,
    #[serde(default)]
    pub(crate) notes: Notes,
}

/// The opcode of what is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Frames {
    #[default]
    Text,
    Binary,
}

/// A text and the part of its answer that ends the wait; without such a part there is no wait.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exchange {
    #[serde(default)]
    pub(crate) send: String,
    #[serde(default)]
    pub(crate) expect: String,
    /// What stands before the id in an answer; without it, answers are taken in the order of their questions.
    #[serde(default)]
    pub(crate) reply_id: String,
}

/// An order that leaves nothing behind, and the log-in that it needs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Order {
    #[serde(default)]
    pub(crate) login: String,
    #[serde(default)]
    pub(crate) login_expect: String,
    pub(crate) send: String,
    pub(crate) expect: String,
    #[serde(default)]
    pub(crate) reply_id: String,
}

impl Order {
    pub(crate) fn exchange(&self) -> Exchange {
        let Order { send, expect, reply_id, .. } = self.clone();
        Exchange { send, expect, reply_id }
    }
}

/// What stands before the stamp and the sequence of a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Delivery {
    pub(crate) stamp: String,
    pub(crate) sequence: String,
}

impl Default for Delivery {
    fn default() -> Delivery {
        Delivery { stamp: r#""at":"#.to_owned(), sequence: r#""sq":"#.to_owned() }
    }
}

/// How `--server` starts it: `{core}` is its first core.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Start {
    #[serde(default)]
    pub(crate) arguments: Vec<String>,
    /// By which the program tells its version instead; without it nobody asks.
    #[serde(default)]
    pub(crate) version: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Notes {
    /// Whether it may leave deliveries out on purpose.
    #[serde(default)]
    pub(crate) conflates: bool,
}

fn root() -> String {
    "/".to_owned()
}

const fn yes() -> bool {
    true
}

impl Dialect {
    /// Reads and checks a file's text.
    pub(crate) fn parse(text: &str) -> Result<Dialect, Flaw> {
        let mut dialect: Dialect = toml::from_str(text).map_err(|error| flaw::of_toml(text, &error))?;
        dialect.unescape();
        dialect.check(text)?;
        Ok(dialect)
    }

    /// In texts, `\r` and `\n` are the line's end also where TOML leaves them alone (between single quotes).
    fn unescape(&mut self) {
        let order = self.order.iter_mut().flat_map(|order| [&mut order.login, &mut order.send]);
        let exchanges = [&mut self.subscribe, &mut self.publish, &mut self.echo].into_iter().flatten();
        let sends = self.hello.iter_mut().chain(exchanges).map(|exchange| &mut exchange.send);
        for text in sends.chain(order) {
            *text = text.replace("\\r", "\r").replace("\\n", "\n");
        }
    }

    fn check(&self, text: &str) -> Result<(), Flaw> {
        let flaw = |section: &str, key: &str, what: String, hint: &str| {
            Err(Flaw { line: flaw::line_of(text, section, key), what, hint: hint.to_owned() })
        };
        if !self.path.starts_with('/') {
            return flaw(
                "",
                "path",
                format!("the path {:?} has no root", self.path),
                "it begins with a slash",
            );
        }
        let fields = self.headers.iter().flat_map(|(name, value)| [name, value]);
        if fields.chain([&self.subprotocol, &self.path]).any(|text| text.contains(['\r', '\n'])) {
            return flaw(
                "headers",
                "",
                "a header field holds a line's end".to_owned(),
                "one field a line, without it",
            );
        }
        for (section, exchange) in [("publish", &self.publish), ("echo", &self.echo)] {
            let Some(exchange) = exchange else { continue };
            if exchange.send.is_empty() {
                return flaw(
                    section,
                    "send",
                    format!("[{section}] sends nothing"),
                    "leave the section out instead",
                );
            }
        }
        if self.echo.as_ref().is_some_and(|echo| echo.expect.is_empty()) {
            let what = "[echo] has no `expect`".to_owned();
            return flaw("echo", "expect", what, "a part that every reply has, by which it is known");
        }
        if self.order.as_ref().is_some_and(|order| order.expect.is_empty()) {
            let what = "[order] has no `expect`".to_owned();
            return flaw(
                "order",
                "expect",
                what,
                "a part that every acknowledgement has, by which it is known",
            );
        }
        if self.publish.as_ref().is_some_and(|publish| !publish.send.contains("{data}")) {
            let hint = "{data} holds the stamp and the sequence by which deliveries are counted";
            return flaw("publish", "send", "[publish] has no {data}".to_owned(), hint);
        }
        if self.delivery.stamp.is_empty() || self.delivery.sequence.is_empty() {
            let hint = "what stands before the digits in a message, such as '\"at\":'";
            return flaw("delivery", "stamp", "[delivery] has an empty key".to_owned(), hint);
        }
        for (section, send) in self.texts() {
            if let Err(unknown) = Template::parse(send) {
                let hint = "there are {id}, {topic}, {data} and {bytes}";
                return flaw(section, "send", format!("no placeholder is called {unknown}"), hint);
            }
        }
        Ok(())
    }

    fn texts(&self) -> Vec<(&'static str, &str)> {
        let sections = [("subscribe", &self.subscribe), ("publish", &self.publish), ("echo", &self.echo)];
        let exchanges =
            sections.into_iter().filter_map(|(name, one)| Some((name, one.as_ref()?.send.as_str())));
        let hello = self.hello.iter().map(|exchange| ("hello", exchange.send.as_str()));
        let order =
            self.order.iter().flat_map(|order| [("order", order.login.as_str()), ("order", &order.send)]);
        hello.chain(exchanges).chain(order).collect()
    }

    /// One text as a frame whose digits can be changed.
    pub(crate) fn frame(&self, send: &str, fill: Fill<'_>) -> Frame {
        let template = Template::parse(send).expect("invariant: checked when the file was read");
        template.frame(self.frames, self.mask, fill)
    }

    /// The upgrade's request; `key` is the one of the opening handshake, RFC 6455 §4.1.
    pub(crate) fn upgrade(&self, host: &str, path: &str, key: &str) -> String {
        let mut request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
        );
        if !self.subprotocol.is_empty() {
            request.push_str(&format!("Sec-WebSocket-Protocol: {}\r\n", self.subprotocol));
        }
        for (name, value) in &self.headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flaw(text: &str) -> String {
        Dialect::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn every_dialect_that_is_built_in_holds_and_has_its_own_name() {
        for name in names() {
            let dialect =
                Dialect::parse(built_in(name).unwrap()).unwrap_or_else(|flaw| panic!("{name}: {flaw}"));
            assert_eq!(dialect.name, name);
        }
    }

    #[test]
    fn the_least_dialect_is_a_name() {
        let dialect = Dialect::parse("name = \"x\"").unwrap();
        assert_eq!((dialect.path.as_str(), dialect.mask, dialect.frames), ("/", true, Frames::Text));
        assert_eq!(dialect.delivery.stamp, "\"at\":");
    }

    #[test]
    fn a_line_s_end_may_be_written_in_either_kind_of_quotes() {
        let single = Dialect::parse("name = \"x\"\n[echo]\nsend = 'PING\\r\\n'\nexpect = 'PONG'").unwrap();
        let double = Dialect::parse("name = \"x\"\n[echo]\nsend = \"PING\\r\\n\"\nexpect = 'PONG'").unwrap();
        assert_eq!(single.echo.as_ref().unwrap().send, "PING\r\n");
        assert_eq!(single, double);
    }

    #[test]
    fn a_flaw_names_its_line_and_what_to_do() {
        assert_eq!(
            flaw("name = \"x\"\n\n[publish]\nsend = 'pub {topik} {data}'"),
            "line 4: no placeholder is called {topik} (there are {id}, {topic}, {data} and {bytes})"
        );
        assert_eq!(
            flaw("name = \"x\"\n[publish]\nsend = 'pub'"),
            "line 3: [publish] has no {data} ({data} holds the stamp and the sequence by which deliveries are counted)"
        );
        assert_eq!(
            flaw("name = \"x\"\npath = \"ws\""),
            "line 2: the path \"ws\" has no root (it begins with a slash)"
        );
        let unknown = flaw("name = \"x\"\n[echo]\nsent = 'x'");
        assert!(unknown.starts_with("line 3: unknown field `sent`"), "{unknown}");
        assert!(flaw("name = \"x\"\n[echo]\nsend = 'x'").starts_with("line 2: [echo] has no `expect`"));
    }

    #[test]
    fn an_upgrade_has_the_fields_of_the_dialect() {
        let text = "name = \"x\"\nsubprotocol = \"v1\"\nheaders = { \"X-Key\" = \"k\" }";
        let request = Dialect::parse(text).unwrap().upgrade("h:1", "/p?q=1", "KEY==");
        assert!(request.starts_with("GET /p?q=1 HTTP/1.1\r\nHost: h:1\r\n"), "{request}");
        assert!(
            request.ends_with("Key: KEY==\r\nSec-WebSocket-Protocol: v1\r\nX-Key: k\r\n\r\n"),
            "{request}"
        );
    }
}
