//! What was granted by tokens: an opaque pair for each log-in, of which only digests are kept. PURE.
//!
//! Invariants: a grant's access and refresh token are its newest; an older one is worth nothing, and an older refresh token
//! is known for one: two have held it. A grant that a connection holds is for that connection alone. A client has at most
//! `limits::SESSIONS_PER_KEY_MAX` named sessions, each name one grant, so that what is held is bounded by the connections
//! and the keys there are.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use slab::Slab;

use super::credential::{Credential, Keyring};
use super::saved;
use super::scope::Scopes;
use super::signature::{Digest, are_equal, from_hex, hex, sha256};
use crate::limits;
use crate::model::ids::ConnId;

/// A grant; the slot is reused, the generation is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GrantId {
    pub slot: u32,
    pub generation: u32,
}

/// Who may use a grant's tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// One connection of one shard, while it lives.
    Connection { shard: u8, conn: ConnId },
    /// Whoever has them, under the name of a session.
    Session(Box<str>),
}

#[derive(Clone, Debug)]
pub(super) struct Grant {
    pub(super) credential: Arc<Credential>,
    pub(super) scopes: Scopes,
    pub(super) holder: Holder,
    pub(super) access_until_ms: u64,
    pub(super) refresh_until_ms: u64,
    /// Neither its tokens nor what they are renewed to is good any more.
    pub(super) ends_ms: u64,
}

/// Which token of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Access,
    Refresh,
}

/// A token's parts: which grant, and that one has it.
pub(super) struct Parts {
    id: GrantId,
    /// Of a refresh token: what is the same in all of the grant's.
    family: Option<[u8; 32]>,
    secret: Digest,
}

/// What a token is of.
pub(super) enum Found<'g> {
    Newest(GrantId, &'g Grant),
    /// A refresh token that was good once.
    Used(GrantId),
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) generation: u32,
    pub(super) grant: Grant,
    pub(super) access: Digest,
    /// By which any refresh token of it is known. Whoever learns it can end the grant, and do nothing else.
    pub(super) family: [u8; 32],
    pub(super) refresh: Digest,
}

#[derive(Debug, Default)]
pub(super) struct Grants {
    entries: Slab<Entry>,
    generation: u32,
    /// Of each client, its named sessions.
    sessions: HashMap<Arc<str>, Vec<GrantId>, BuildHasherDefault<DefaultHasher>>,
    /// Named ones that are over and were not asked for yet.
    ended: Vec<GrantId>,
    /// Counts what changed of named ones.
    changes_total: u64,
}

/// Why there is no grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ungranted {
    TooManySessions,
    Full,
}

impl Kind {
    pub(super) const fn letter(self) -> char {
        match self {
            Kind::Access => 'a',
            Kind::Refresh => 'r',
        }
    }
}

impl Parts {
    /// `a.SLOT.GENERATION.SECRET` or `r.SLOT.GENERATION.FAMILY.SECRET`, all but the kind in hexadecimal digits.
    pub(super) fn parse(token: &str, kind: Kind) -> Option<Parts> {
        let mut parts = token.split('.');
        let letter = parts.next()?;
        let (slot, generation) = (parts.next()?, parts.next()?);
        let family = match kind {
            Kind::Access => None,
            Kind::Refresh => Some(from_hex(parts.next()?)?),
        };
        let secret = parts.next()?;
        let number = |digits: &str| u32::from_str_radix(digits, 16).ok();
        let id = GrantId { slot: number(slot)?, generation: number(generation)? };
        let is_whole = parts.next().is_none() && letter.chars().eq([kind.letter()]);
        is_whole.then(|| Parts { id, family, secret: sha256(secret.as_bytes()) })
    }
}

/// An access token, made of 32 random bytes, and what is kept of it.
fn mint_access(id: GrantId, random: &[u8; 32]) -> (String, Digest) {
    let secret = hex(random);
    let GrantId { slot, generation } = id;
    (format!("a.{slot:x}.{generation:x}.{secret}"), sha256(secret.as_bytes()))
}

/// The same of a refresh token.
fn mint_refresh(id: GrantId, family: &[u8; 32], random: &[u8; 32]) -> (String, Digest) {
    let (family, secret) = (hex(family), hex(random));
    let GrantId { slot, generation } = id;
    (format!("r.{slot:x}.{generation:x}.{family}.{secret}"), sha256(secret.as_bytes()))
}

impl Grants {
    /// Makes a grant, and its tokens from `random`. A session of the same name is over.
    pub(super) fn add(
        &mut self,
        grant: Grant,
        random: &[[u8; 32]; 2],
        now_ms: u64,
    ) -> Result<(GrantId, [String; 2]), Ungranted> {
        if self.entries.len() >= limits::GRANTS_MAX {
            return Err(Ungranted::Full);
        }
        let client_id = Arc::clone(&grant.credential.client_id);
        if let Holder::Session(name) = &grant.holder {
            self.make_room(&client_id, name, now_ms)?;
        }
        let is_named = matches!(grant.holder, Holder::Session(_));
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let slot = u32::try_from(self.entries.vacant_key()).expect("invariant: GRANTS_MAX is below 2^32");
        let id = GrantId { slot, generation };
        // As hard to guess as the first refresh token's secret, and tells nothing of it.
        let family = sha256(&random[1]);
        let (access_token, access) = mint_access(id, &random[0]);
        let (refresh_token, refresh) = mint_refresh(id, &family, &random[1]);
        self.entries.insert(Entry { generation, grant, access, family, refresh });
        if is_named {
            self.changes_total += 1;
            self.sessions.entry(client_id).or_default().push(id);
        }
        Ok((id, [access_token, refresh_token]))
    }

    /// The grant that a token is of, and whether it is that grant's newest.
    pub(super) fn find(&self, parts: &Parts) -> Option<Found<'_>> {
        let entry = self.entry(parts.id)?;
        let newest = |kept| are_equal(kept, &parts.secret).then_some(Found::Newest(parts.id, &entry.grant));
        match parts.family {
            None => newest(&entry.access),
            Some(family) if are_equal(&entry.family, &family) => {
                newest(&entry.refresh).or(Some(Found::Used(parts.id)))
            }
            Some(_) => None,
        }
    }

    /// New tokens for a grant; the old ones are worth nothing from now on.
    pub(super) fn renew(&mut self, id: GrantId, grant: Grant, random: &[[u8; 32]; 2]) -> Option<[String; 2]> {
        let entry =
            self.entries.get_mut(id.slot as usize).filter(|entry| entry.generation == id.generation)?;
        let (access_token, access) = mint_access(id, &random[0]);
        let (refresh_token, refresh) = mint_refresh(id, &entry.family, &random[1]);
        (entry.grant, entry.access, entry.refresh) = (grant, access, refresh);
        self.changes_total += 1;
        Some([access_token, refresh_token])
    }

    pub(super) fn remove(&mut self, id: GrantId) {
        if self.entry(id).is_none() {
            return;
        }
        let entry = self.entries.remove(id.slot as usize);
        if matches!(entry.grant.holder, Holder::Session(_)) {
            self.ended.push(id);
            self.changes_total += 1;
        }
        let client_id = &entry.grant.credential.client_id;
        if let Some(named) = self.sessions.get_mut(client_id) {
            named.retain(|known| *known != id);
            if named.is_empty() {
                self.sessions.remove(client_id);
            }
        }
    }

    /// Drops what was granted to keys that are not in the ring any more, or are changed.
    pub(super) fn keep_those_of(&mut self, keyring: &Keyring) {
        let gone: Vec<GrantId> = self
            .entries
            .iter()
            .filter(|(_, entry)| !keyring.holds(&entry.grant.credential))
            .filter_map(|(slot, entry)| {
                let slot = u32::try_from(slot).ok()?;
                Some(GrantId { slot, generation: entry.generation })
            })
            .collect();
        gone.into_iter().for_each(|id| self.remove(id));
        // Whoever is in them is told by the keyring.
        self.ended.clear();
    }

    /// The next named one that is over.
    pub(super) fn poll_ended(&mut self) -> Option<GrantId> {
        self.ended.pop()
    }

    /// Those that were before this process, in place of what there is.
    pub(super) fn restored(saved: Vec<(GrantId, Entry)>) -> Grants {
        let mut grants = Grants::default();
        let mut places = Vec::with_capacity(saved.len());
        for (id, entry) in saved {
            grants.generation = grants.generation.max(id.generation);
            let client_id = Arc::clone(&entry.grant.credential.client_id);
            let named = grants.sessions.entry(client_id).or_default();
            if named.len() < limits::SESSIONS_PER_KEY_MAX {
                named.push(id);
                places.push((id.slot as usize, entry));
            }
        }
        grants.entries = places.into_iter().collect();
        // Of a place that stood twice the last holds.
        let entries = &grants.entries;
        for named in grants.sessions.values_mut() {
            named.retain(|id| {
                entries.get(id.slot as usize).is_some_and(|entry| entry.generation == id.generation)
            });
        }
        grants
    }

    /// The text of the named ones in the order of their places, for [`Grants::restored`] of a later process.
    pub(super) fn text(&self) -> String {
        let mut text = saved::empty();
        for (slot, entry) in &self.entries {
            let slot = u32::try_from(slot).expect("invariant: GRANTS_MAX is below 2^32");
            saved::write(&mut text, GrantId { slot, generation: entry.generation }, entry);
        }
        text
    }

    /// Counts what changed of named ones.
    pub(super) fn changes_total(&self) -> u64 {
        self.changes_total
    }

    pub(super) fn count(&self) -> usize {
        self.entries.len()
    }

    fn entry(&self, id: GrantId) -> Option<&Entry> {
        self.entries.get(id.slot as usize).filter(|entry| entry.generation == id.generation)
    }

    /// Ends a client's session of this name and those that are over by themselves.
    fn make_room(&mut self, client_id: &Arc<str>, name: &str, now_ms: u64) -> Result<(), Ungranted> {
        let named = self.sessions.get(client_id).map_or(&[][..], Vec::as_slice);
        let is_over = |id: &GrantId| {
            self.entry(*id).is_none_or(|Entry { grant, .. }| {
                let is_same = matches!(&grant.holder, Holder::Session(known) if **known == *name);
                is_same || now_ms >= grant.access_until_ms.max(grant.refresh_until_ms)
            })
        };
        let over: Vec<GrantId> = named.iter().copied().filter(is_over).collect();
        if named.len() - over.len() >= limits::SESSIONS_PER_KEY_MAX {
            return Err(Ungranted::TooManySessions);
        }
        over.into_iter().for_each(|id| self.remove(id));
        Ok(())
    }
}
