//! Who may change the state of the gateway. PURE.
//!
//! Whoever shows a key of the file with the scope `control:write` may; where there is no file, the key that everybody knows may as
//! well, but by loopback or a Unix socket alone.

use std::sync::Arc;

use crate::auth::{Credential, Keyring, Reach};

use super::Answer;

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Loopback, or a Unix socket.
    Local,
    Remote,
}

/// The key that an `Authorization` field shows, `Bearer CLIENT_ID.SECRET`, if it is one of ours and may be shown by this way: the one
/// that everybody knows where there is no file by loopback or a Unix socket alone.
#[must_use]
pub fn identify(
    keyring: &Keyring,
    authorization: Option<&str>,
    way: Way,
    unix_ms: u64,
) -> Option<Arc<Credential>> {
    shown(keyring, authorization, unix_ms).filter(|key| key.reach != Reach::Loopback || way == Way::Local)
}

/// The key that an `Authorization` field shows, if it may change the state of the gateway.
///
/// # Errors
/// The answer to who may not: 401 without a key of ours, 403 by one that may not.
pub fn authorize(
    keyring: &Keyring,
    authorization: Option<&str>,
    way: Way,
    unix_ms: u64,
) -> Result<Arc<Credential>, Answer> {
    let credential = shown(keyring, authorization, unix_ms)
        .ok_or_else(|| Answer::error(401, "show a key: Authorization: Bearer CLIENT_ID.SECRET"))?;
    let may = match credential.reach {
        Reach::Loopback => way == Way::Local,
        Reach::Anywhere => credential.scopes.control_write,
    };
    if may { Ok(credential) } else { Err(Answer::error(403, "needs scope control:write")) }
}

fn shown(keyring: &Keyring, authorization: Option<&str>, unix_ms: u64) -> Option<Arc<Credential>> {
    let (client_id, secret) = authorization.and_then(bearer)?.split_once('.')?;
    let known = keyring.find(client_id).filter(|known| known.is_shown_by(secret))?;
    (!known.has_expired(unix_ms)).then(|| Arc::clone(known))
}

fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whether a `Host` field is one by which a page of a browser cannot be made to reach us (DNS rebinding): an address, or
/// `localhost`. Asked where only this machine is to reach us.
#[must_use]
pub fn is_local_host(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || address.parse::<std::net::IpAddr>().is_ok()
}
