//! A WebSocket address taken apart. PURE. RFC 6455 §3: `ws://host[:port][/path][?query]`, no fragment.

use crate::exit::{Exit, Failure};

/// Where to connect and what to ask for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Url {
    /// A name or an address; an IPv6 address without its brackets.
    pub host: String,
    pub port: u16,
    /// The whole address, as the handshake wants it.
    pub text: String,
}

const PORT_DEFAULT: u16 = 80;

impl Url {
    /// # Errors
    /// Not such an address, or one over TLS, which `watch` does not speak.
    pub(super) fn parse(text: &str) -> Result<Url, Failure> {
        let bad = || {
            let hint = "write it as ws://127.0.0.1:9001/ws";
            Failure::new(Exit::Usage, format!("{text} is not a WebSocket address"), hint)
        };
        if text.starts_with("wss://") {
            let hint = "use ws:// on the machine itself, or a TLS-terminating proxy";
            return Err(Failure::new(
                Exit::Usage,
                format!("{text} is over TLS, which watch does not speak"),
                hint,
            ));
        }
        let rest = text.strip_prefix("ws://").ok_or_else(bad)?;
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
            None if port.is_empty() => PORT_DEFAULT,
            None => return Err(bad()),
        };
        Ok(Url { host: host.to_owned(), port, text: text.to_owned() })
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
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.host.as_str(), url.port, url.text.as_str()), (host, port, text));
        }
    }

    #[test]
    fn refuses_what_it_cannot_connect_to() {
        for text in [
            "",
            "127.0.0.1:9001",
            "http://h/",
            "wss://h/",
            "ws://",
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
