//! The opening handshake, the server's side (RFC 6455 §4.2).
//!
//! PURE. Allocates: the accept key, once a connection. Invariant: an `Upgrade` exists only for a request that meets
//! every requirement of §4.2.1 but the path, which is the caller's to know ([`Rejection::NotFound`]).

use tungstenite::handshake::derive_accept_key;

use super::deflate::{self, Agreement, DeflateSettings, ExtensionsMalformed};
use crate::http::{Rejection, Request};

/// The one version there is (RFC 6455 §4.1).
const VERSION: &[u8] = b"13";
/// Characters of 16 bytes in base64, of which the last two are padding.
const KEY_CHARACTERS: usize = 24;

/// A request that asks, correctly, to become a WebSocket.
#[derive(Debug)]
pub struct Upgrade<'r, 'b> {
    /// What `Sec-WebSocket-Accept` answers.
    pub accept_key: String,
    request: &'r Request<'b>,
}

/// Checks an upgrade request. The order of the checks is from the general to the particular, so that the refusal
/// names the first thing to put right.
pub fn upgrade<'r, 'b>(request: &'r Request<'b>) -> Result<Upgrade<'r, 'b>, Rejection> {
    if request.method != "GET" {
        return Err(Rejection::MethodNotAllowed);
    }
    if !request.list_contains("Upgrade", "websocket") || !request.list_contains("Connection", "upgrade") {
        return Err(Rejection::UpgradeRequired);
    }
    if request.single_value("Host").is_none_or(<[u8]>::is_empty) {
        return Err(Rejection::HostNotSingle);
    }
    let length_is_zero = request.values("Content-Length").all(|value| value == b"0");
    if !length_is_zero || request.value("Transfer-Encoding").is_some() {
        return Err(Rejection::BodyInUpgrade);
    }
    if request.single_value("Sec-WebSocket-Version") != Some(VERSION) {
        return Err(Rejection::WebSocketVersion);
    }
    let key = request.single_value("Sec-WebSocket-Key").ok_or(Rejection::KeyNotSingle)?;
    if !is_base64_of_16_bytes(key) {
        return Err(Rejection::KeyMalformed);
    }
    Ok(Upgrade { accept_key: derive_accept_key(key), request })
}

impl<'b> Upgrade<'_, 'b> {
    /// The subprotocols on offer, the client's favourite first (RFC 6455 §11.3.4). What is no token is left out.
    pub fn subprotocols(&self) -> impl Iterator<Item = &'b str> + '_ {
        let offered = self.request.list("Sec-WebSocket-Protocol");
        offered.filter_map(|member| std::str::from_utf8(member).ok()).filter(|member| is_token(member))
    }

    /// The agreement on permessage-deflate, if the client offers it and there are `settings` for it.
    pub fn deflate(&self, settings: Option<&DeflateSettings>) -> Result<Option<Agreement>, Rejection> {
        deflate::negotiate(self.request.values("Sec-WebSocket-Extensions"), settings)
            .map_err(|ExtensionsMalformed| Rejection::ExtensionsMalformed)
    }

    /// The page a browser connects for (RFC 6455 §10.2); other clients send none.
    pub fn origin(&self) -> Option<&'b [u8]> {
        self.request.value("Origin")
    }
}

/// Appends the answer that turns the connection into a WebSocket. `subprotocol` is one of those offered, or none;
/// `deflate` is what [`Upgrade::deflate`] gave.
pub fn write_switching_protocols(
    out: &mut Vec<u8>,
    accept_key: &str,
    subprotocol: Option<&str>,
    deflate: Option<&Agreement>,
) {
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
    );
    out.extend_from_slice(b"Sec-WebSocket-Accept: ");
    out.extend_from_slice(accept_key.as_bytes());
    if let Some(subprotocol) = subprotocol {
        assert!(is_token(subprotocol), "a subprotocol is a token");
        out.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
        out.extend_from_slice(subprotocol.as_bytes());
    }
    if let Some(agreement) = deflate {
        out.extend_from_slice(b"\r\nSec-WebSocket-Extensions: ");
        agreement.write(out);
    }
    out.extend_from_slice(b"\r\n\r\n");
}

/// Whether `key` decodes to 16 bytes. The four bits that the last character has too many are not looked at: they
/// carry nothing, and the accept key is made of the characters.
fn is_base64_of_16_bytes(key: &[u8]) -> bool {
    let Some((characters, padding)) = key.split_last_chunk::<2>() else { return false };
    key.len() == KEY_CHARACTERS
        && padding == b"=="
        && characters.iter().all(|byte| matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/'))
}

/// A token of RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    let is_token_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_token_byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http;
    use crate::ws::deflate::{ClientContextTakeover, WindowBits};

    /// The client's handshake of RFC 6455 §1.2.
    const EXAMPLE: &str = "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://example.com\r\n\
        Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Version: 13\r\n\r\n";

    /// The example with one text replaced by another.
    fn check(from: &str, to: &str, expected: &str) {
        assert!(EXAMPLE.contains(from), "{from}");
        let head = EXAMPLE.replace(from, to);
        let request = http::parse(head.as_bytes()).unwrap().unwrap();
        let shown = match upgrade(&request) {
            Ok(_) => "101".to_owned(),
            Err(rejection) => format!("{} {rejection:?}", rejection.status().code()),
        };
        assert_eq!(shown, expected, "{from:?} replaced by {to:?}");
    }

    #[test]
    fn answers_the_example_of_the_rfc() {
        let request = http::parse(EXAMPLE.as_bytes()).unwrap().unwrap();
        let upgrade = upgrade(&request).unwrap();
        assert_eq!(upgrade.subprotocols().collect::<Vec<_>>(), ["chat", "superchat"]);
        assert_eq!(upgrade.deflate(None), Ok(None));
        assert_eq!(upgrade.origin(), Some(&b"http://example.com"[..]));
        let mut out = Vec::new();
        write_switching_protocols(&mut out, &upgrade.accept_key, Some("chat"), None);
        let expected = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn names_no_subprotocol_where_none_is_chosen() {
        let mut out = Vec::new();
        write_switching_protocols(&mut out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", None, None);
        assert!(out.ends_with(b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"));
    }

    #[test]
    fn accepts_what_clients_really_send() {
        check("Connection: Upgrade", "Connection: keep-alive, Upgrade", "101");
        check("Connection: Upgrade", "connection: UPGRADE", "101");
        check("Upgrade: websocket", "Upgrade: WebSocket", "101");
        check("Upgrade: websocket", "Upgrade: h2c, websocket", "101");
        check("Origin: http://example.com", "Content-Length: 0", "101");
        check("/chat", "ws://server.example.com/chat", "101");
    }

    #[test]
    fn rejects_other_methods() {
        check("GET", "POST", "405 MethodNotAllowed");
        check("GET", "get", "405 MethodNotAllowed");
    }

    #[test]
    fn asks_for_an_upgrade_where_none_is_asked_for() {
        check("Upgrade: websocket\r\n", "", "426 UpgradeRequired");
        check("Upgrade: websocket", "Upgrade: h2c", "426 UpgradeRequired");
        check("Upgrade: websocket", "Upgrade: websockets", "426 UpgradeRequired");
        check("Connection: Upgrade\r\n", "", "426 UpgradeRequired");
        check("Connection: Upgrade", "Connection: close", "426 UpgradeRequired");
    }

    #[test]
    fn rejects_missing_empty_and_repeated_hosts() {
        check("Host: server.example.com\r\n", "", "400 HostNotSingle");
        check("Host: server.example.com", "Host:", "400 HostNotSingle");
        check("Host: server.example.com", "Host: a\r\nHost: b", "400 HostNotSingle");
    }

    #[test]
    fn rejects_a_body() {
        check("Origin: http://example.com", "Content-Length: 5", "400 BodyInUpgrade");
        check("Origin: http://example.com", "Transfer-Encoding: chunked", "400 BodyInUpgrade");
    }

    #[test]
    fn rejects_other_versions() {
        check("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8", "426 WebSocketVersion");
        check("Sec-WebSocket-Version: 13\r\n", "", "426 WebSocketVersion");
        let twice = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 8";
        check("Sec-WebSocket-Version: 13", twice, "426 WebSocketVersion");
    }

    #[test]
    fn rejects_bad_keys() {
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        check("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", "400 KeyNotSingle");
        check(
            key,
            "dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "400 KeyNotSingle",
        );
        for bad in ["", "=", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQAA", "dGhlIHNhbXBsZSBub25j"] {
            check(key, bad, "400 KeyMalformed");
        }
        check(key, "dGhlIHNhbXBsZSBub2-jZQ==", "400 KeyMalformed");
        check(key, "dGhlIHNhbXBsZSBub25jZQAAZQ==", "400 KeyMalformed");
    }

    #[test]
    fn leaves_out_offers_that_are_no_tokens() {
        let head =
            EXAMPLE.replace("chat, superchat", "a b, mcp ,, \u{e9}, sbe.1\r\nSec-WebSocket-Protocol: x");
        let request = http::parse(head.as_bytes()).unwrap().unwrap();
        assert_eq!(upgrade(&request).unwrap().subprotocols().collect::<Vec<_>>(), ["mcp", "sbe.1", "x"]);
    }

    #[test]
    fn agrees_on_permessage_deflate_over_several_fields_and_says_so() {
        let settings = DeflateSettings {
            client_window_bits_max: WindowBits::MAX,
            client_context_takeover: ClientContextTakeover::Refused,
        };
        let offer = "Sec-WebSocket-Extensions: x; y=\"z\"\r\nSec-WebSocket-Extensions: permessage-deflate";
        let head = EXAMPLE.replace("Origin: http://example.com", offer);
        let request = http::parse(head.as_bytes()).unwrap().unwrap();
        let agreement = upgrade(&request).unwrap().deflate(Some(&settings)).unwrap();
        let mut out = Vec::new();
        write_switching_protocols(&mut out, "key", None, agreement.as_ref());
        assert!(String::from_utf8(out).unwrap().ends_with(
            "\r\nSec-WebSocket-Accept: key\r\nSec-WebSocket-Extensions: permessage-deflate; \
             server_no_context_takeover; client_no_context_takeover\r\n\r\n"
        ));
    }

    #[test]
    fn rejects_extensions_that_break_the_grammar_whether_or_not_they_are_on() {
        let offer = "Sec-WebSocket-Extensions: permessage-deflate; =";
        let head = EXAMPLE.replace("Origin: http://example.com", offer);
        let request = http::parse(head.as_bytes()).unwrap().unwrap();
        assert_eq!(upgrade(&request).unwrap().deflate(None), Err(Rejection::ExtensionsMalformed));
    }
}
