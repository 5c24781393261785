//! What the bucket of a cluster has of a named session: digests of its tokens and the key that it was made by, as a text. PURE.
//!
//! Invariants: no token can be made of the text; what is read is written as the same bytes again, anything else is no value; a value is taken only for its
//! own key of the bucket, and only for the key of clients that it was made by, as that was.

use std::fmt;
use std::sync::Arc;

use super::super::credential::{Credential, Keyring, is_id};
use super::super::grants::{Grant, Holder};
use super::super::saved::{self, fingerprint};
use super::super::scope::{Scopes, session_name};
use super::super::signature::{Digest, from_hex, hex, sha256};
use crate::limits;

/// What a value begins with.
const HEAD: &str = "tickring session 1";

/// The key of the bucket that a session of this name and client has: a digest of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionKey(Digest);

/// See the file's head. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionValue {
    pub(in crate::auth) client_id: Box<str>,
    pub(in crate::auth) fingerprint: Digest,
    pub(in crate::auth) name: Box<str>,
    pub(in crate::auth) scopes: Scopes,
    pub(in crate::auth) access_until_ms: u64,
    pub(in crate::auth) refresh_until_ms: u64,
    pub(in crate::auth) ends_ms: u64,
    pub(in crate::auth) access: Digest,
    /// What is the same in all of its refresh tokens: which session of this name it is.
    pub(in crate::auth) family: Digest,
    pub(in crate::auth) refresh: Digest,
}

impl SessionKey {
    pub(in crate::auth) const FIRST: SessionKey = SessionKey([0; 32]);
    pub(in crate::auth) const LAST: SessionKey = SessionKey([0xff; 32]);

    #[must_use]
    pub fn of(client_id: &str, name: &str) -> SessionKey {
        SessionKey(sha256(format!("tickring session\n{client_id}\n{name}").as_bytes()))
    }

    /// 64 digits, as it is written.
    #[must_use]
    pub fn parse(text: &str) -> Option<SessionKey> {
        let key = SessionKey(from_hex(text)?);
        (key.to_string() == text).then_some(key)
    }
}

/// As a key of the bucket and in tokens.
impl fmt::Display for SessionKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&hex(&self.0))
    }
}

impl SessionValue {
    /// Of a grant that a session holds; `None` of another.
    pub(in crate::auth) fn of(grant: &Grant, digests: [Digest; 3]) -> Option<SessionValue> {
        let Holder::Session(name) = &grant.holder else { return None };
        let [access, family, refresh] = digests;
        Some(SessionValue {
            client_id: (*grant.credential.client_id).into(),
            fingerprint: fingerprint(&grant.credential),
            name: name.clone(),
            scopes: grant.scopes,
            access_until_ms: grant.access_until_ms,
            refresh_until_ms: grant.refresh_until_ms,
            ends_ms: grant.ends_ms,
            access,
            family,
            refresh,
        })
    }

    /// At most `limits::SESSION_VALUE_BYTES_MAX` bytes.
    #[must_use]
    pub fn write(&self) -> String {
        let fields = [
            self.client_id.to_string(),
            hex(&self.fingerprint),
            self.name.to_string(),
            saved::scopes_text(self.scopes),
            self.access_until_ms.to_string(),
            self.refresh_until_ms.to_string(),
            self.ends_ms.to_string(),
            hex(&self.access),
            hex(&self.family),
            hex(&self.refresh),
        ];
        format!("{HEAD} {}\n", fields.join(" "))
    }

    /// What somebody has written to this key of the bucket, if it is a value of that key.
    #[must_use]
    pub fn parse(key: SessionKey, bytes: &[u8]) -> Option<SessionValue> {
        if bytes.len() > limits::SESSION_VALUE_BYTES_MAX {
            return None;
        }
        let line = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?;
        let fields: Vec<&str> = line.strip_prefix(HEAD)?.strip_prefix(' ')?.split(' ').collect();
        let &[
            client_id,
            fingerprint,
            name,
            words,
            access_until,
            refresh_until,
            ends,
            access,
            family,
            refresh,
        ] = &fields[..]
        else {
            return None;
        };
        let value = SessionValue {
            client_id: is_id(client_id).then_some(client_id)?.into(),
            fingerprint: from_hex(fingerprint)?,
            name: session_name(name)?.into(),
            scopes: saved::scopes_of(words)?,
            access_until_ms: access_until.parse().ok()?,
            refresh_until_ms: refresh_until.parse().ok()?,
            ends_ms: ends.parse().ok()?,
            access: from_hex(access)?,
            family: from_hex(family)?,
            refresh: from_hex(refresh)?,
        };
        let is_own = SessionKey::of(client_id, name) == key && value.write().as_bytes() == bytes;
        is_own.then_some(value)
    }

    /// When none of its tokens is good any more.
    pub(in crate::auth) fn over_ms(&self) -> u64 {
        self.access_until_ms.max(self.refresh_until_ms).min(self.ends_ms)
    }

    /// The key of clients that it was made by, if that is among these as it was.
    pub(in crate::auth) fn credential<'k>(&self, keyring: &'k Keyring) -> Option<&'k Arc<Credential>> {
        keyring.find(&self.client_id).filter(|known| fingerprint(known) == self.fingerprint)
    }

    /// What it grants by its key of clients, and never more than that has.
    pub(in crate::auth) fn grant(&self, credential: Arc<Credential>) -> Grant {
        Grant {
            scopes: self.scopes.within(credential.scopes),
            credential,
            holder: Holder::Session(self.name.clone()),
            access_until_ms: self.access_until_ms,
            refresh_until_ms: self.refresh_until_ms,
            ends_ms: self.ends_ms,
        }
    }
}

#[cfg(test)]
pub(in crate::auth) mod tests {
    use super::super::super::credential::{Key, Reach, Secret};
    use super::super::super::pattern::Patterns;
    use super::*;

    pub(in crate::auth) fn key_of_clients(client_id: &str, secret: &str) -> Credential {
        Credential {
            client_id: client_id.into(),
            account: "desk".into(),
            name: "".into(),
            key: Key::Secret(Secret::new(secret.as_bytes())),
            scopes: Scopes::ALL,
            subscribe: Patterns::ANY,
            publish: Patterns::none(),
            call: Patterns::ANY,
            created_unix_ms: 0,
            expires_unix_ms: None,
            reach: Reach::Anywhere,
        }
    }

    pub(in crate::auth) fn value(client_id: &str, name: &str, family: u8) -> SessionValue {
        let grant = Grant {
            credential: Arc::new(key_of_clients(client_id, "s")),
            scopes: Scopes::parse(["trade:read", "account:read_write"]).unwrap(),
            holder: Holder::Session(name.into()),
            access_until_ms: 1_000,
            refresh_until_ms: 2_000,
            ends_ms: u64::MAX,
        };
        SessionValue::of(&grant, [[1; 32], [family; 32], [3; 32]]).unwrap()
    }

    #[test]
    fn what_is_written_is_read_as_the_same_and_the_longest_fits() {
        let longest = "x".repeat(64);
        let scopes = Scopes { message_admin: true, control_write: true, ..Scopes::ALL };
        let whole = SessionValue {
            scopes,
            access_until_ms: u64::MAX,
            refresh_until_ms: u64::MAX,
            ..value(&longest, &longest, 2)
        };
        for value in [
            value("hmac", "desk.1", 2),
            SessionValue { scopes: Scopes::default(), ..value("a", "b", 0) },
            whole,
        ] {
            let (key, text) = (SessionKey::of(&value.client_id, &value.name), value.write());
            assert!(text.len() <= limits::SESSION_VALUE_BYTES_MAX, "{}", text.len());
            assert_eq!(SessionValue::parse(key, text.as_bytes()), Some(value));
        }
    }

    #[test]
    fn the_text_is_this_one() {
        let (one, two, three) = ("01".repeat(32), "02".repeat(32), "03".repeat(32));
        let print = hex(&fingerprint(&key_of_clients("hmac", "s")));
        let text = format!(
            "tickring session 1 hmac {print} desk account:read_write+trade:read 1000 2000 18446744073709551615 {one} {two} {three}\n"
        );
        assert_eq!(value("hmac", "desk", 2).write(), text);
    }

    #[test]
    fn what_is_damaged_too_long_or_another_key_s_is_no_value() {
        let (value, key) = (value("hmac", "desk", 2), SessionKey::of("hmac", "desk"));
        let text = value.write();
        let is_none = |text: &str| assert_eq!(SessionValue::parse(key, text.as_bytes()), None, "{text}");
        is_none("");
        is_none(text.trim_end());
        is_none(&format!("{text}\n"));
        is_none(&format!("{} {}\n", text.trim_end(), "x".repeat(limits::SESSION_VALUE_BYTES_MAX)));
        for (from, to) in [
            ("session 1", "session 2"),
            ("hmac", "hmad"),
            ("hmac", "h.ac"),
            (" desk ", " desc "),
            (" desk ", " desk  "),
            (" desk ", " "),
            ("trade:read", "trade:all"),
            ("account:read_write+trade:read", "trade:read+account:read_write"),
            (" 1000 ", " 01000 "),
            (" 1000 ", " +1000 "),
            (" 1000 ", " -1 "),
            ("01", "0A"),
            ("01", "0g"),
        ] {
            let damaged = text.replacen(from, to, 1);
            assert_ne!(damaged, text, "{from}");
            is_none(&damaged);
        }
        assert_eq!(SessionValue::parse(key, &[0xff; 10]), None);
        assert_eq!(SessionValue::parse(SessionKey::of("hmac", "other"), text.as_bytes()), None);
    }

    #[test]
    fn whatever_byte_is_another_it_is_no_value_or_another_that_is_written_as_it_was_read() {
        let (key, text) = (SessionKey::of("hmac", "desk"), value("hmac", "desk", 2).write().into_bytes());
        for at in 0..text.len() {
            for byte in *b" +-019afzA\n\0\xff" {
                let mut damaged = text.clone();
                damaged[at] = byte;
                if let Some(value) = SessionValue::parse(key, &damaged) {
                    assert_eq!(value.write().as_bytes(), damaged);
                }
                assert_eq!(SessionValue::parse(key, &text[..at]), None);
            }
        }
    }

    #[test]
    fn a_key_of_the_bucket_tells_neither_name_and_is_no_other_s() {
        let key = SessionKey::of("hmac", "desk");
        let text = key.to_string();
        assert!(
            text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) && !text.contains("hmac")
        );
        assert_eq!(SessionKey::parse(&text), Some(key));
        for odd in [&text[1..], &text.to_ascii_uppercase(), "market", ""] {
            assert_eq!(SessionKey::parse(odd), None);
        }
        assert_ne!(key, SessionKey::of("hma", "cdesk"));
    }
}
