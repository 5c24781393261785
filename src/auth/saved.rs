//! Named sessions as a text, so that they outlive the process: what is kept of their tokens, and by which key. PURE.
//!
//! Invariants: no token can be made of the text; a session is taken back only for the key that it was made by, as it was, and
//! with the digests that it had; a text that is damaged is none.

use std::sync::Arc;

use super::credential::{Credential, Key, Keyring};
use super::grants::{Entry, Grant, GrantId, Holder};
use super::scope::Scopes;
use super::signature::{Digest, from_hex, hex, sha256};
use crate::limits;

/// What the text begins with.
const HEAD: &str = "tickring sessions 1";
/// What stands for scopes that are none.
const NOTHING: &str = "-";

/// Appends the text of a session; of another grant nothing.
pub(super) fn write(out: &mut String, id: GrantId, entry: &Entry) {
    let Holder::Session(name) = &entry.grant.holder else { return };
    let Grant { credential, scopes, access_until_ms, refresh_until_ms, ends_ms, .. } = &entry.grant;
    let fields = [
        credential.client_id.to_string(),
        hex(&fingerprint(credential)),
        name.to_string(),
        id.slot.to_string(),
        id.generation.to_string(),
        scopes_text(*scopes),
        access_until_ms.to_string(),
        refresh_until_ms.to_string(),
        ends_ms.to_string(),
        hex(&entry.access),
        hex(&entry.family),
        hex(&entry.refresh),
    ];
    out.push_str(&fields.join(" "));
    out.push('\n');
}

/// The text of no sessions.
pub(super) fn empty() -> String {
    format!("{HEAD}\n")
}

/// The sessions of a text, each with its place; those whose key is gone or changed, or whose time is over, are left out.
///
/// # Errors
/// The line that can't be read, counted from 1.
pub(super) fn read(text: &str, keyring: &Keyring, now_ms: u64) -> Result<Vec<(GrantId, Entry)>, usize> {
    let mut lines = text.lines();
    if lines.next() != Some(HEAD) || !text.ends_with('\n') {
        return Err(1);
    }
    let mut found: Vec<(GrantId, Entry)> = Vec::new();
    for (number, line) in (2usize..).zip(lines) {
        let Saved { client_id, fingerprint, id, session, entry } = Saved::parse(line).ok_or(number)?;
        let credential = keyring.find(client_id).filter(|known| self::fingerprint(known) == fingerprint);
        let is_over = now_ms >= entry.access_until_ms.max(entry.refresh_until_ms) || now_ms >= entry.ends_ms;
        let Some(credential) = credential.filter(|known| !is_over && !known.has_expired(now_ms)) else {
            continue;
        };
        let grant = Grant {
            credential: Arc::clone(credential),
            // No more than the key has: it is as it was, so this is what it had.
            scopes: entry.scopes.within(credential.scopes),
            holder: Holder::Session(session.into()),
            access_until_ms: entry.access_until_ms,
            refresh_until_ms: entry.refresh_until_ms,
            ends_ms: entry.ends_ms,
        };
        let Digests { access, family, refresh } = entry.digests;
        found.push((id, Entry { generation: id.generation, grant, access, family, refresh }));
    }
    Ok(found)
}

/// Scopes as one word.
pub(super) fn scopes_text(scopes: Scopes) -> String {
    let words = scopes.words().collect::<Vec<_>>().join("+");
    if words.is_empty() { NOTHING.to_owned() } else { words }
}

pub(super) fn scopes_of(text: &str) -> Option<Scopes> {
    match text {
        NOTHING => Some(Scopes::default()),
        words => Scopes::parse(words.split('+')),
    }
}

struct Saved<'t> {
    client_id: &'t str,
    fingerprint: Digest,
    id: GrantId,
    session: &'t str,
    entry: Times,
}

struct Times {
    scopes: Scopes,
    access_until_ms: u64,
    refresh_until_ms: u64,
    ends_ms: u64,
    digests: Digests,
}

struct Digests {
    access: Digest,
    family: Digest,
    refresh: Digest,
}

impl Saved<'_> {
    fn parse(line: &str) -> Option<Saved<'_>> {
        let fields: Vec<&str> = line.split(' ').collect();
        let &[
            client_id,
            fingerprint,
            session,
            slot,
            generation,
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
        let scopes = scopes_of(words)?;
        let id = GrantId { slot: slot.parse().ok()?, generation: generation.parse().ok()? };
        let is_within = (id.slot as usize) < limits::GRANTS_MAX;
        is_within.then_some(Saved {
            client_id,
            fingerprint: from_hex(fingerprint)?,
            id,
            session,
            entry: Times {
                scopes,
                access_until_ms: access_until.parse().ok()?,
                refresh_until_ms: refresh_until.parse().ok()?,
                ends_ms: ends.parse().ok()?,
                digests: Digests {
                    access: from_hex(access)?,
                    family: from_hex(family)?,
                    refresh: from_hex(refresh)?,
                },
            },
        })
    }
}

/// What changes whenever a key or its rights do.
pub(super) fn fingerprint(credential: &Credential) -> Digest {
    let Credential {
        client_id,
        account,
        name: _,
        key,
        scopes,
        subscribe,
        publish,
        call,
        created_unix_ms,
        expires_unix_ms,
        reach,
    } = credential;
    let key = match key {
        Key::Secret(secret) => sha256(secret.bytes()),
        Key::Digest(digest) => *digest,
        Key::Issued(_) => [0; 32],
    };
    let words = |words: &mut dyn Iterator<Item = &str>| words.collect::<Vec<_>>().join(" ");
    let text = format!(
        "{client_id}\n{account}\n{}\n{}\n{}\n{}\n{}\n{created_unix_ms}\n{expires_unix_ms:?}\n{reach:?}",
        hex(&key),
        words(&mut scopes.words()),
        words(&mut subscribe.words()),
        words(&mut publish.words()),
        words(&mut call.words()),
    );
    sha256(text.as_bytes())
}
