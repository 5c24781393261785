//! Named sessions of a cluster, as this node knows them: what the bucket has told of each, and which are to be ended there. PURE. Home: the authority's.
//!
//! The bucket decides; this is for the ends of sessions that clients of this node are in, and for how many a key has. Invariants: a grant here is one
//! session of a name, from when the node first knows of it until it hears that it is over, and then it is told as ended, once; what the bucket told before is
//! never taken for newer; after the bucket was read again nothing is known that is not in it; what is to be ended is kept until that is so.

mod inquiry;
mod tokens;
mod value;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::grants::GrantId;
use super::signature::Digest;
use crate::limits;

pub(super) use inquiry::{Aim, Progress, Stage};
pub use inquiry::{BucketAnswer, BucketRequest, BucketWord, Ending, Inquiry, Wanted};
pub(super) use tokens::{SharedToken, family_of, mint};
pub use value::{SessionKey, SessionValue};

/// The slot of all these grants, which none of a connection has.
const SLOT: u32 = u32::MAX;
const _: () = assert!(limits::GRANTS_MAX < SLOT as usize);
/// From one look for sessions whose time is over to the next, where there is no room.
const SWEEP_MS: u64 = 60_000;

#[derive(Debug)]
struct Known {
    id: GrantId,
    /// 0: of a reading of the bucket before this one.
    revision: u64,
    value: SessionValue,
}

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct SharedSessions {
    known: BTreeMap<SessionKey, Known>,
    /// Of each client, its sessions.
    of_clients: BTreeSet<(Box<str>, SessionKey)>,
    /// Of each client, what it is opening here, and how often at once: known when the bucket has it.
    opening: BTreeMap<(Box<str>, SessionKey), u32>,
    /// Over, since what is being opened here may have its name: told behind the verdict, by which who takes its own name again is in the new session.
    ended_behind: Vec<(SessionKey, GrantId)>,
    /// By the generations of their grants.
    keys: BTreeMap<u32, SessionKey>,
    generation: u32,
    /// The newest revision that the bucket has told of since it was begun to be read.
    told: u64,
    /// Whether all was told, and changes are.
    is_complete: bool,
    /// Over, and not asked for yet.
    ended: Vec<GrantId>,
    /// To be ended in the bucket: which sessions of each key. More than one where it is not known which of them is there.
    ends: BTreeSet<(SessionKey, Digest)>,
    /// Those of them that nobody carries out yet.
    ends_due: VecDeque<(SessionKey, Digest)>,
    swept_ms: u64,
}

impl GrantId {
    /// Whether it is of a session of a cluster.
    pub(super) fn is_shared(self) -> bool {
        self.slot == SLOT
    }
}

impl SharedSessions {
    /// All of the bucket is told from now on, then what changes.
    pub(super) fn begin(&mut self) {
        (self.told, self.is_complete) = (0, false);
        // Another bucket may have the same name, whose revisions begin anew.
        self.known.values_mut().for_each(|known| known.revision = 0);
    }

    /// The bucket has this for a key since this revision: `None` where it has no session.
    pub(super) fn see(&mut self, key: SessionKey, revision: u64, value: Option<SessionValue>, now_ms: u64) {
        self.told = self.told.max(revision);
        if self.known.get(&key).is_some_and(|known| known.revision > revision) {
            return;
        }
        match value {
            Some(value) => {
                self.put(key, revision, value, now_ms);
            }
            None => self.drop_known(key, true),
        }
    }

    /// All was told: what was not is over.
    pub(super) fn complete(&mut self) {
        self.is_complete = true;
        let gone = self.known.iter().filter(|(_, known)| known.revision == 0).map(|(key, _)| *key);
        let gone: Vec<SessionKey> = gone.collect();
        gone.into_iter().for_each(|key| self.drop_known(key, true));
    }

    /// What changes is not told any more.
    pub(super) fn lose(&mut self) {
        self.is_complete = false;
    }

    pub(super) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// The grant of a session that the bucket has, or had, at this revision, as it answered; one that is over by what it told is ended at once.
    pub(super) fn enter(
        &mut self,
        key: SessionKey,
        revision: u64,
        value: &SessionValue,
        now_ms: u64,
    ) -> GrantId {
        let is_late = self.known.get(&key).map_or(self.told, |known| known.revision) >= revision;
        let found = match self.known.get(&key) {
            Some(known) if is_late => (known.value.family == value.family).then_some(known.id),
            None if is_late => None,
            Some(_) | None => self.put(key, revision, value.clone(), now_ms),
        };
        found.unwrap_or_else(|| {
            let id = self.new_id();
            self.ended.push(id);
            id
        })
    }

    /// Who was in it is told; `None` where it is over already.
    pub(super) fn session_of(&self, id: GrantId) -> Option<(SessionKey, Digest)> {
        let key = self.keys.get(&id.generation).filter(|_| id.is_shared())?;
        self.known.get(key).map(|known| (*key, known.value.family))
    }

    /// Has a session ended here at once, and in the bucket as soon as that can be; `is_told` where those in it have to hear of it.
    pub(super) fn end(&mut self, key: SessionKey, family: Digest, is_told: bool) {
        if self.known.get(&key).is_some_and(|known| known.value.family == family) {
            self.drop_known(key, is_told);
        }
        if self.ends.len() >= limits::SHARED_SESSIONS_MAX {
            // Its time ends it.
            return;
        }
        // Another one of that name that is to be ended stays so: this one may never have taken its place.
        if self.ends.insert((key, family)) {
            self.ends_due.push_back((key, family));
        }
    }

    /// The session is over in the bucket: by our answer to a request.
    pub(super) fn drop_ended(&mut self, key: SessionKey, family: Digest) {
        if self.known.get(&key).is_some_and(|known| known.value.family == family) {
            self.drop_known(key, true);
        }
    }

    /// Has those end for which `is_over` holds, whose clients hear of it otherwise.
    pub(super) fn end_those(&mut self, is_over: impl Fn(&SessionValue) -> bool) {
        let over = self.known.iter().filter(|(_, known)| is_over(&known.value));
        let over: Vec<(SessionKey, Digest)> = over.map(|(key, known)| (*key, known.value.family)).collect();
        over.into_iter().for_each(|(key, family)| self.end(key, family, false));
    }

    /// Whether it is to be ended, so that nobody is let in by it any more.
    pub(super) fn is_ending(&self, key: SessionKey, family: &Digest) -> bool {
        self.ends.contains(&(key, *family))
    }

    /// The next one to be ended in the bucket.
    pub(super) fn poll_end(&mut self) -> Option<Ending> {
        let (key, family) = self.ends_due.pop_front()?;
        Some(Ending::new(key, family))
    }

    /// It is over in the bucket, or was.
    pub(super) fn settle_end(&mut self, ending: &Ending) {
        self.ends.remove(&(ending.key, ending.family));
    }

    /// The bucket has not said whether it is over: it is tried again.
    pub(super) fn put_off_end(&mut self, ending: &Ending) {
        self.ends_due.push_back((ending.key, ending.family));
    }

    /// Whether any is to be ended in the bucket, or is being.
    pub(super) fn has_ends(&self) -> bool {
        !self.ends.is_empty()
    }

    pub(super) fn poll_ended(&mut self) -> Option<GrantId> {
        self.ended.pop()
    }

    /// A session is being opened, until [`SharedSessions::close_opening`].
    pub(super) fn note_opening(&mut self, client_id: &str, key: SessionKey) {
        *self.opening.entry((client_id.into(), key)).or_default() += 1;
    }

    /// It is known by now, or was not made.
    pub(super) fn close_opening(&mut self, client_id: &str, key: SessionKey) {
        let of: (Box<str>, SessionKey) = (client_id.into(), key);
        if let Some(count) = self.opening.get_mut(&of) {
            *count -= 1;
            if *count == 0 {
                self.opening.remove(&of);
                let behind = std::mem::take(&mut self.ended_behind).into_iter();
                let (over, others): (Vec<_>, Vec<_>) = behind.partition(|(of, _)| *of == key);
                self.ended.extend(over.into_iter().map(|(_, id)| id));
                self.ended_behind = others;
            }
        }
    }

    /// How many sessions a client has besides the one of this key, that were made by its key as that is and are not over, or are being opened.
    pub(super) fn count_others(
        &self,
        client_id: &str,
        key: SessionKey,
        fingerprint: &Digest,
        now_ms: u64,
    ) -> usize {
        let range = (client_id.into(), SessionKey::FIRST)..=(client_id.into(), SessionKey::LAST);
        let counts = |other: &SessionKey| {
            self.known.get(other).is_some_and(|known| {
                known.value.fingerprint == *fingerprint && now_ms < known.value.over_ms()
            })
        };
        let known = self.of_clients.range(range.clone()).map(|(_, other)| other);
        let known = known.filter(|&other| *other != key && counts(other));
        let opening = self.opening.range(range).map(|((_, other), _)| other);
        let opening = opening.filter(|&other| *other != key && !counts(other));
        known.chain(opening).take(limits::SESSIONS_PER_KEY_MAX).count()
    }

    /// Whether a session of this key can be known.
    pub(super) fn has_room(&mut self, key: SessionKey, now_ms: u64) -> bool {
        let is_full = |this: &Self| this.known.len() >= limits::SHARED_SESSIONS_MAX;
        if is_full(self) && now_ms >= self.swept_ms + SWEEP_MS {
            self.swept_ms = now_ms;
            let over = self.known.iter().filter(|(_, known)| now_ms >= known.value.over_ms());
            let over: Vec<SessionKey> = over.map(|(key, _)| *key).collect();
            over.into_iter().for_each(|key| self.drop_known(key, true));
        }
        !is_full(self) || self.known.contains_key(&key)
    }

    pub(super) fn count(&self) -> usize {
        self.known.len()
    }

    /// The grant of what a key holds now; `None` where there is no room.
    fn put(&mut self, key: SessionKey, revision: u64, value: SessionValue, now_ms: u64) -> Option<GrantId> {
        if let Some(known) = self.known.get_mut(&key).filter(|known| known.value.family == value.family) {
            (known.revision, known.value) = (revision, value);
            return Some(known.id);
        }
        let before = self.known.get(&key).map(|known| (key, known.id));
        let is_opened = self.opening.contains_key(&(value.client_id.clone(), key));
        self.drop_known(key, !is_opened);
        self.ended_behind.extend(before.filter(|_| is_opened));
        if !self.has_room(key, now_ms) {
            return None;
        }
        let id = self.new_id();
        self.keys.insert(id.generation, key);
        self.of_clients.insert((value.client_id.clone(), key));
        self.known.insert(key, Known { id, revision, value });
        Some(id)
    }

    fn drop_known(&mut self, key: SessionKey, is_told: bool) {
        let Some(Known { id, value, .. }) = self.known.remove(&key) else { return };
        self.keys.remove(&id.generation);
        self.of_clients.remove(&(value.client_id, key));
        self.ended.extend(is_told.then_some(id));
    }

    fn new_id(&mut self) -> GrantId {
        self.generation = self.generation.wrapping_add(1);
        GrantId { slot: SLOT, generation: self.generation }
    }
}
