//! Logging in: what `public/auth` asks for and is answered, what a method needs, what an expired client is told. PURE.
//! The shapes are Deribit's; `docs/protocol.md` has them with examples.

use std::borrow::Cow;
use std::fmt;

use super::errors::Failure;
use super::message_calls::MessageCall;
use super::order_calls::OrderCall;
use super::params::{Param, param, take};
use super::scan::Value;
use super::text::{push, push_list, push_string, push_unsigned};
use crate::auth::{Credential, Login, Refusal, Scope, ScopeRequest, Scopes, Tokens, from_hex};
use crate::limits;

/// Bytes of a `state`, which comes back.
const STATE_BYTES_MAX: usize = 512;

/// Who may call a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Everybody,
    /// Whoever has logged in.
    LoggedIn,
    Scoped(Scope),
}

/// `public/auth`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthParams<'a> {
    pub grant: GrantType<'a>,
    pub scope: ScopeRequest,
    /// Comes back as it is.
    pub state: Option<Cow<'a, str>>,
}

/// By what a client logs in. Each text has at most `limits::PROOF_BYTES_MAX` bytes.
#[derive(Clone, PartialEq, Eq)]
pub enum GrantType<'a> {
    ClientCredentials {
        client_id: Cow<'a, str>,
        client_secret: Cow<'a, str>,
    },
    ClientSignature {
        client_id: Cow<'a, str>,
        timestamp_ms: u64,
        /// Empty if absent, as `data`.
        nonce: Cow<'a, str>,
        data: Cow<'a, str>,
        signature: [u8; 32],
    },
    RefreshToken {
        refresh_token: Cow<'a, str>,
    },
}

/// Without what is secret.
impl fmt::Debug for GrantType<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GrantType::ClientCredentials { client_id, .. } => write!(out, "ClientCredentials({client_id:?})"),
            GrantType::ClientSignature { client_id, .. } => write!(out, "ClientSignature({client_id:?})"),
            GrantType::RefreshToken { .. } => out.write_str("RefreshToken"),
        }
    }
}

impl Access {
    /// Of a method's name. Names under `private/` are never for everybody.
    pub(super) fn of(method: &str) -> Access {
        if method.starts_with("public/") {
            return Access::Everybody;
        }
        if !method.starts_with("private/") {
            return MessageCall::scope_of(method).map_or(Access::Everybody, Access::Scoped);
        }
        match OrderCall::scope_of(method) {
            Some(scope) => Access::Scoped(scope),
            None if method == "private/list_api_keys" => Access::Scoped(Scope::AccountRead),
            None => Access::LoggedIn,
        }
    }

    /// What keeps a client from calling a method; `scopes` are its own if it has logged in.
    #[must_use]
    pub fn refused_to(self, scopes: Option<Scopes>) -> Option<Failure> {
        match (self, scopes) {
            (Access::Everybody, _) | (Access::LoggedIn, Some(_)) => None,
            (Access::LoggedIn | Access::Scoped(_), None) => Some(Failure::NOT_LOGGED_IN),
            (Access::Scoped(scope), Some(scopes)) if scopes.allow(scope) => None,
            (Access::Scoped(scope), Some(_)) => Some(Failure::FORBIDDEN.because(scope.needed())),
        }
    }
}

/// # Errors
/// Parameters that do not fit the grant.
pub(super) fn decode_auth(params: Option<Value<'_>>) -> Result<AuthParams<'_>, Failure> {
    let names = [
        "grant_type",
        "client_id",
        "client_secret",
        "refresh_token",
        "timestamp",
        "signature",
        "nonce",
        "data",
        "scope",
        "state",
    ];
    let values = take(params, names)?;
    let at = |place: usize| param(names[place], values[place]);
    let grant = match &*at(0).required_text()? {
        "client_credentials" => {
            GrantType::ClientCredentials { client_id: proof(at(1))?, client_secret: proof(at(2))? }
        }
        "client_signature" => {
            let timestamp = at(4).unsigned(0..=u64::MAX)?;
            let signature = at(5).required_text()?;
            GrantType::ClientSignature {
                client_id: proof(at(1))?,
                timestamp_ms: timestamp.ok_or(Failure::value_required("timestamp"))?,
                nonce: bounded(at(6))?.unwrap_or_default(),
                data: bounded(at(7))?.unwrap_or_default(),
                signature: from_hex(&signature).ok_or(Failure::wrong_format("signature"))?,
            }
        }
        "refresh_token" => GrantType::RefreshToken { refresh_token: proof(at(3))? },
        _ => {
            let reason = "must be one of client_credentials, client_signature, refresh_token";
            return Err(Failure::invalid_param("grant_type", reason));
        }
    };
    let scope = bounded(at(8))?.unwrap_or_default();
    let state = at(9).text()?;
    if state.as_ref().is_some_and(|state| state.len() > STATE_BYTES_MAX) {
        return Err(Failure::invalid_param("state", "more than 512 bytes"));
    }
    Ok(AuthParams { grant, scope: ScopeRequest::parse(&scope).ok_or(Failure::wrong_format("scope"))?, state })
}

fn proof(param: Param<'_>) -> Result<Cow<'_, str>, Failure> {
    bounded(param)?.ok_or(Failure::value_required(param.name))
}

fn bounded(param: Param<'_>) -> Result<Option<Cow<'_, str>>, Failure> {
    let text = param.text()?;
    match text.as_ref().is_some_and(|text| text.len() > limits::PROOF_BYTES_MAX) {
        true => Err(Failure::invalid_param(param.name, "more than 4096 bytes")),
        false => Ok(text),
    }
}

/// The error of a log-in that is refused.
#[must_use]
pub const fn refusal(refusal: Refusal) -> Failure {
    let invalid = Failure::INVALID_CREDENTIALS;
    match refusal {
        Refusal::Credentials => invalid,
        Refusal::CredentialExpired => invalid.because("the key has expired"),
        Refusal::ElsewhereOnly => invalid.because("this key is taken on loopback listeners only"),
        Refusal::Timestamp => invalid.because("too far from the server's time").at("timestamp"),
        Refusal::Replayed => invalid.because("used before").at("signature"),
        Refusal::Token => Failure::UNAUTHORIZED.because("invalid_token"),
        Refusal::TokenExpired => Failure::UNAUTHORIZED.because("token has expired"),
        Refusal::TooManyFailures => {
            Failure::TOO_MANY_REQUESTS.because("too many failed log-ins from this address")
        }
        Refusal::TooManySignatures => Failure::TOO_MANY_REQUESTS.because("too many signatures of this key"),
        Refusal::TooManySessions => Failure::FORBIDDEN.because("too many named sessions of this key"),
        Refusal::Full => Failure::RETRY.because("no room for another log-in"),
        Refusal::SessionsAway => {
            Failure::UNAVAILABLE.because("not done: where named sessions are kept is not reached")
        }
        Refusal::SessionUnknown => Failure::OUTCOME_UNKNOWN.because(
            "whether the session was renewed is not known: log in by the key if its token is refused",
        ),
    }
}

/// The result of `public/auth`.
pub fn write_granted(out: &mut Vec<u8>, login: &Login, tokens: &Tokens, state: Option<&str>) {
    push(out, "{\"access_token\":");
    push_string(out, &tokens.access);
    push(out, ",\"enabled_features\":[],\"expires_in\":");
    push_unsigned(out, tokens.expires_in_s);
    push(out, ",\"refresh_token\":");
    push_string(out, &tokens.refresh);
    push(out, ",\"scope\":\"");
    push_scopes(out, login.scopes);
    if login.scopes != Scopes::default() {
        out.push(b' ');
    }
    match &login.session {
        None => push(out, "connection\""),
        Some(name) => {
            push(out, "session:");
            push(out, name);
            push(out, "\",\"sid\":");
            push_string(out, name);
        }
    }
    if let Some(state) = state {
        push(out, ",\"state\":");
        push_string(out, state);
    }
    push(out, ",\"token_type\":\"bearer\"}");
}

/// The result of `private/list_api_keys`: an account's keys without their secrets.
pub fn write_keys<'k>(out: &mut Vec<u8>, keys: impl Iterator<Item = &'k Credential>, unix_ms: u64) {
    out.push(b'[');
    push_list(out, keys.enumerate(), |out, (place, key)| {
        push(out, "{\"id\":");
        push_unsigned(out, place as u64 + 1);
        push(out, ",\"client_id\":");
        push_string(out, &key.client_id);
        push(out, ",\"name\":");
        push_string(out, &key.name);
        push(out, ",\"account\":");
        push_string(out, &key.account);
        push(out, ",\"enabled\":");
        push(out, if key.has_expired(unix_ms) { "false" } else { "true" });
        push(out, ",\"default\":false,\"enabled_features\":[],\"max_scope\":\"");
        push_scopes(out, key.scopes);
        push(out, "\",\"timestamp\":");
        push_unsigned(out, key.created_unix_ms);
        push(out, ",\"expires_at\":");
        match key.expires_unix_ms {
            Some(expires_ms) => push_unsigned(out, expires_ms),
            None => push(out, "null"),
        }
        let lists = [
            (",\"subscribe\":[", &key.subscribe),
            ("],\"publish\":[", &key.publish),
            ("],\"call\":[", &key.call),
        ];
        for (member, patterns) in lists {
            push(out, member);
            push_list(out, patterns.words(), push_string);
        }
        push(out, "]}");
    });
    out.push(b']');
}

/// The notification that a log-in is over, and the client what it was before.
pub fn write_login_expired(out: &mut Vec<u8>) {
    push(out, "{\"jsonrpc\":\"2.0\",\"method\":\"session\",\"params\":{\"type\":\"expired\"}}");
}

/// Words that JSON needs not escape.
fn push_scopes(out: &mut Vec<u8>, scopes: Scopes) {
    for (place, word) in scopes.words().enumerate() {
        push(out, if place > 0 { " " } else { "" });
        push(out, word);
    }
}
