//! A key and what its holder may do; all of them, and who else may say so, as one value that is never changed, only replaced. PURE.
//!
//! Invariant: a keyring's ids are unique and in order; what is secret is in no `Debug` output.

use std::fmt;
use std::sync::Arc;

use super::jwt::Issuer;
use super::pattern::Patterns;
use super::scope::Scopes;
use super::signature::{are_equal, bearer_digest};
use crate::limits;

/// Bytes of a client id, and of an account's name.
const ID_BYTES_MAX: usize = 64;

/// A secret that must be known to check a signature. It is in the memory of the process and nowhere in its output.
#[derive(Clone)]
pub struct Secret(Box<[u8]>);

/// How a client shows that it holds the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// By the secret itself or by a signature.
    Secret(Secret),
    /// By the secret itself: what is kept is its digest (`bearer_digest`).
    Digest([u8; 32]),
    /// By a token that somebody else has signed.
    Issued(Arc<Issuer>),
}

/// From where a client comes, and from where a key is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// A listener on a loopback address.
    Loopback,
    Anywhere,
}

/// A key with its rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    pub client_id: Arc<str>,
    /// Whose it is; an account may have several keys.
    pub account: Box<str>,
    /// For people.
    pub name: Box<str>,
    pub key: Key,
    pub scopes: Scopes,
    /// Channels that it may subscribe to, besides those that everybody may.
    pub subscribe: Patterns,
    /// Topics that it may publish to, besides those that everybody may.
    pub publish: Patterns,
    /// Methods of backends that it may call; those that everybody may call ask for no key.
    pub call: Patterns,
    pub created_unix_ms: u64,
    pub expires_unix_ms: Option<u64>,
    pub reach: Reach,
}

/// All keys of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keyring {
    /// In order of their ids.
    credentials: Vec<Arc<Credential>>,
    issuers: Vec<Arc<Issuer>>,
}

/// Why keys make no keyring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyringFault {
    /// Not 1 to 64 of `A-Z a-z 0-9 _ -`.
    Id(String),
    /// An id stands twice.
    Twice(String),
    TooMany,
    TooManyIssuers,
    /// Of one name.
    TooManyIssuerKeys(String),
}

impl Secret {
    #[must_use]
    pub fn new(bytes: &[u8]) -> Secret {
        Secret(bytes.into())
    }

    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        are_equal(&self.0, &other.0)
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("(secret)")
    }
}

impl Credential {
    /// Whether `secret` is its secret.
    #[must_use]
    pub fn is_shown_by(&self, secret: &str) -> bool {
        match &self.key {
            Key::Secret(own) => are_equal(own.bytes(), secret.as_bytes()),
            Key::Digest(digest) => are_equal(digest, &bearer_digest(&self.client_id, secret)),
            Key::Issued(_) => false,
        }
    }

    #[must_use]
    pub fn has_expired(&self, unix_ms: u64) -> bool {
        self.expires_unix_ms.is_some_and(|expires_ms| unix_ms >= expires_ms)
    }
}

impl Keyring {
    /// # Errors
    /// The first id that is odd, or stands twice; more keys than `limits::KEYS_MAX`.
    pub fn new(credentials: impl IntoIterator<Item = Credential>) -> Result<Keyring, KeyringFault> {
        let mut credentials: Vec<Arc<Credential>> = credentials.into_iter().map(Arc::new).collect();
        if credentials.len() > limits::KEYS_MAX {
            return Err(KeyringFault::TooMany);
        }
        credentials.sort_by(|a, b| a.client_id.cmp(&b.client_id));
        for credential in &credentials {
            for id in [&*credential.client_id, &credential.account] {
                if !is_id(id) {
                    return Err(KeyringFault::Id(id.to_owned()));
                }
            }
        }
        match credentials.windows(2).find(|pair| pair[0].client_id == pair[1].client_id) {
            Some(pair) => Err(KeyringFault::Twice(pair[0].client_id.to_string())),
            None => Ok(Keyring { credentials, issuers: Vec::new() }),
        }
    }

    /// The same with those who sign tokens.
    ///
    /// # Errors
    /// More of them than `limits::ISSUERS_MAX`, or more of one name than `limits::ISSUER_KEYS_MAX`.
    pub fn with_issuers(
        mut self,
        issuers: impl IntoIterator<Item = Issuer>,
    ) -> Result<Keyring, KeyringFault> {
        self.issuers = issuers.into_iter().map(Arc::new).collect();
        if self.issuers.len() > limits::ISSUERS_MAX {
            return Err(KeyringFault::TooManyIssuers);
        }
        let keys_of = |issuer: &Issuer| self.issuers_named(&issuer.name).count();
        match self.issuers.iter().find(|issuer| keys_of(issuer) > limits::ISSUER_KEYS_MAX) {
            Some(issuer) => Err(KeyringFault::TooManyIssuerKeys(issuer.name.to_string())),
            None => Ok(self),
        }
    }

    #[must_use]
    pub fn find(&self, client_id: &str) -> Option<&Arc<Credential>> {
        let at =
            self.credentials.binary_search_by(|credential| (*credential.client_id).cmp(client_id)).ok()?;
        self.credentials.get(at)
    }

    /// Those of a name, each with a key of its own.
    pub(super) fn issuers_named(&self, name: &str) -> impl Iterator<Item = &Arc<Issuer>> {
        self.issuers.iter().filter(move |issuer| *issuer.name == *name)
    }

    /// Whether a credential is in it, unchanged, or whoever has issued it is.
    #[must_use]
    pub fn holds(&self, credential: &Credential) -> bool {
        match &credential.key {
            Key::Issued(issuer) => {
                self.issuers.iter().any(|known| known.upholds(issuer, &credential.account))
            }
            Key::Secret(_) | Key::Digest(_) => {
                self.find(&credential.client_id).is_some_and(|known| **known == *credential)
            }
        }
    }

    /// In order of their ids.
    pub fn credentials(&self) -> impl ExactSizeIterator<Item = &Arc<Credential>> {
        self.credentials.iter()
    }
}

impl fmt::Display for KeyringFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyringFault::Id(id) => write!(out, "{id:?} is not 1 to 64 of A-Z a-z 0-9 _ -"),
            KeyringFault::Twice(id) => write!(out, "{id:?} stands twice"),
            KeyringFault::TooMany => write!(out, "more than {} keys", limits::KEYS_MAX),
            KeyringFault::TooManyIssuers => write!(out, "more than {} issuers", limits::ISSUERS_MAX),
            KeyringFault::TooManyIssuerKeys(name) => {
                write!(out, "{name:?} has more than {} keys", limits::ISSUER_KEYS_MAX)
            }
        }
    }
}

/// Without a dot, which parts the id from the secret in a bearer key.
pub(super) fn is_id(text: &str) -> bool {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    !text.is_empty() && text.len() <= ID_BYTES_MAX && text.bytes().all(is_legal)
}
