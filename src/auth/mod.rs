//! Who a client is and what it may do: credentials, signatures, tokens, scopes, patterns. PURE: time and entropy are
//! arguments. Home: one [`Authority`] for the whole process, on the thread of `verify.rs`; a shard holds the
//! [`Login`]s of its own connections and the newest [`Keyring`], which nobody changes once it is made.
//!
//! Reading order: `scope` and `pattern` (what may be done), `credential` (who), `signature`, `jwt`, `replay`, `failures` and
//! `grants` (how it is told), `accounts` (whose it is), `saved` (what outlives the process), `shared` (what a cluster keeps), then `authority`, which puts them
//! together. Docs: decision 0010, `docs/protocol.md`.

mod accounts;
pub mod authority;
mod credential;
mod failures;
mod grants;
mod jwt;
mod pattern;
mod replay;
mod saved;
mod scope;
mod shared;
mod signature;
#[cfg(test)]
mod tests;

pub use accounts::Accounts;
pub use authority::{
    Authority, Entropy, Judged, Login, Origin, Proof, Reach, Refusal, Request, Settings, Signed, Tokens,
    Verdict,
};
pub use credential::{Credential, Key, Keyring, KeyringFault, Secret};
pub use failures::Bucket;
pub use grants::GrantId;
pub use jwt::{Issuer, TokenKey};
pub use pattern::{Patterns, is_pattern};
pub use scope::{Level, Scope, ScopeRequest, Scopes};
pub use shared::{
    BucketAnswer, BucketRequest, BucketWord, Ending, Inquiry, SessionKey, SessionValue, Wanted,
};
pub use signature::{bearer_digest, from_hex, hex};
