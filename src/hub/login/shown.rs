//! What a request shows of who it is from: its `Authorization`. PURE. Home: one shard.
//! Invariant: what is made of it is bounded by the request that it comes with.

use data_encoding::BASE64;

use crate::auth::{Proof, Secret, Signed, from_hex};
use crate::http::{self, Rejection};
use crate::limits;

/// The scheme of a request's own signature.
const SIGNED: &[u8] = b"deri-hmac-sha256";

/// The one `Authorization` field, if there is any, as RFC 6750 §2.1 has it.
pub(super) fn bearer_token<'b>(request: &http::Request<'b>) -> Result<Option<&'b [u8]>, Rejection> {
    if request.value("Authorization").is_none() {
        return Ok(None);
    }
    let value = request.single_value("Authorization").ok_or(Rejection::BearerRefused)?;
    let (scheme, token) = value.split_at_checked("Bearer ".len()).ok_or(Rejection::BearerRefused)?;
    let token = token.trim_ascii();
    let is_bearer = scheme.eq_ignore_ascii_case(b"Bearer ") && !token.is_empty();
    let fits = token.len() <= limits::PROOF_BYTES_MAX;
    if is_bearer && fits { Ok(Some(token)) } else { Err(Rejection::BearerRefused) }
}

/// What an `Authorization` shows: a bearer token (RFC 6750), a key and its secret (RFC 7617), or a signature over the request.
pub(super) fn proof_shown(value: &[u8], request: &http::Request<'_>, body: &[u8]) -> Option<Proof> {
    let space = value.iter().position(|byte| *byte == b' ')?;
    let (scheme, shown) = (&value[..space], value[space..].trim_ascii());
    if shown.is_empty() || shown.len() > limits::PROOF_BYTES_MAX {
        return None;
    }
    if scheme.eq_ignore_ascii_case(b"Bearer") {
        return Some(Proof::Bearer { token: Secret::new(shown) });
    }
    if scheme.eq_ignore_ascii_case(SIGNED) {
        return signed_call(shown, request, body).map(Proof::SignedCall);
    }
    if !scheme.eq_ignore_ascii_case(b"Basic") {
        return None;
    }
    let pair = BASE64.decode(shown).ok()?;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    let client_id = std::str::from_utf8(&pair[..colon]).ok()?;
    Some(Proof::Secret { client_id: client_id.into(), secret: Secret::new(&pair[colon + 1..]) })
}

/// Deribit's way to sign one request: `id=KEY,ts=MILLISECONDS,nonce=TEXT,sig=HEX` over the time, the nonce, and method, target
/// and body, each with a line feed behind it.
fn signed_call(shown: &[u8], request: &http::Request<'_>, body: &[u8]) -> Option<Signed> {
    let (mut client_id, mut timestamp_ms, mut nonce, mut signature) = (None, None, None, None);
    for field in std::str::from_utf8(shown).ok()?.split(',') {
        let (name, value) = field.trim_ascii().split_once('=')?;
        let is_first = match name {
            "id" => client_id.replace(value).is_none(),
            "ts" => timestamp_ms.replace(value.parse().ok()?).is_none(),
            "nonce" => nonce.replace(value).is_none(),
            "sig" => signature.replace(from_hex(value)?).is_none(),
            _ => return None,
        };
        if !is_first {
            return None;
        }
    }
    let mut data = format!("{}\n{}", request.method, request.path);
    if let Some(query) = request.query {
        data.push('?');
        data.push_str(query);
    }
    data.push('\n');
    data.push_str(std::str::from_utf8(body).ok()?);
    data.push('\n');
    Some(Signed {
        client_id: client_id?.into(),
        timestamp_ms: timestamp_ms?,
        nonce: nonce?.into(),
        data: data.into(),
        signature: signature?,
    })
}

/// Whether an `Authorization` is a signature, which is good once.
pub(in crate::hub) fn is_signature(value: &[u8]) -> bool {
    let scheme = value.split(|byte| *byte == b' ').next();
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(SIGNED))
}
