//! A WebSocket address taken apart. PURE. RFC 6455 §3: `ws://host[:port][/path][?query]` or `wss:`, no fragment.

use crate::exit::{Exit, Failure};

/// Where to connect and what to ask for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Url {
    /// A name or an address; an IPv6 address without its brackets.
    pub host: String,
    pub port: u16,
    /// Over TLS.
    pub is_secure: bool,
    /// The whole address, as the handshake wants it.
    pub text: String,
}

const PORT: u16 = 80;
const SECURE_PORT: u16 = 443;

impl Url {
    /// # Errors
    /// Not such an address.
    pub(super) fn parse(text: &str) -> Result<Url, Failure> {
        let bad = || {
            let hint = "write it as ws://127.0.0.1:9001/ws";
            Failure::new(Exit::Usage, format!("{text} is not a WebSocket address"), hint)
        };
        let (rest, is_secure) = match text.strip_prefix("wss://") {
            Some(rest) => (rest, true),
            None => (text.strip_prefix("ws://").ok_or_else(bad)?, false),
        };
        if rest.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#') {
            return Err(bad());
        }
        let authority = &rest[..rest.find(['/', '?']).unwrap_or(rest.len())];
        let (host, port) = match authority.strip_prefix('[') {
            Some(bracketed) => bracketed.split_once(']').ok_or_else(bad)?,
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        if host.is_empty() || authority.contains('@') {
            return Err(bad());
        }
        let port = match port.strip_prefix(':') {
            Some(digits) => digits.parse().map_err(|_| bad())?,
            None if port.is_empty() && is_secure => SECURE_PORT,
            None if port.is_empty() => PORT,
            None => return Err(bad()),
        };
        Ok(Url { host: host.to_owned(), port, is_secure, text: text.to_owned() })
    }

    /// The same with more of a query.
    pub(super) fn asking(mut self, query: &str) -> Url {
        self.text.push(if self.text.contains('?') { '&' } else { '?' });
        self.text.push_str(query);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_an_address_apart() {
        for (text, host, port) in [
            ("ws://127.0.0.1:9001/ws", "127.0.0.1", 9001),
            ("ws://localhost/ws/api/v2", "localhost", 80),
            ("ws://h:1?a=b:c", "h", 1),
            ("ws://[::1]:9001/ws", "::1", 9001),
            ("ws://[::1]", "::1", 80),
            ("wss://h/", "h", 443),
            ("wss://h:1/", "h", 1),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.host.as_str(), url.port, url.text.as_str()), (host, port, text));
            assert_eq!(url.is_secure, text.starts_with("wss"));
        }
    }

    #[test]
    fn asks_for_more_in_its_query() {
        for (text, asking) in [("ws://h/ws", "ws://h/ws?a=b"), ("ws://h/ws?x=y", "ws://h/ws?x=y&a=b")] {
            assert_eq!(Url::parse(text).unwrap().asking("a=b").text, asking);
        }
    }

    #[test]
    fn refuses_what_it_cannot_connect_to() {
        for text in [
            "",
            "127.0.0.1:9001",
            "http://h/",
            "ws://",
            "wss://",
            "ws://:1/",
            "ws://h:x/",
            "ws://h:70000",
            "ws://[::1",
            "ws://[::1]9",
            "ws://u@h/",
            "ws://h/a b",
            "ws://h/#f",
        ] {
            assert_eq!(Url::parse(text).unwrap_err().exit, Exit::Usage, "{text}");
        }
    }
}
