//! What the bucket of a cluster's sessions is asked, by whom and why: values that wait for its answer. PURE.
//!
//! Invariants: each request has one answer; a request writes only to what its asker has read, by the revision; an inquiry ends, for its requests are
//! counted and no new one is begun once its time is over.

use std::sync::Arc;

use super::super::authority::{Entropy, Reach};
use super::super::credential::Credential;
use super::super::scope::ScopeRequest;
use super::super::signature::Digest;
use super::value::{SessionKey, SessionValue};

/// One request about one key of the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketRequest {
    pub key: SessionKey,
    pub wanted: Wanted,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// What it holds; `waits` where NATS, if it is away, may take a moment to come back: else there is no answer then.
    Read { waits: bool },
    /// To hold this text for so many seconds, if its last revision is still that one; 0 where it never had one.
    Write { text: String, revision: u64, lasts_s: u64 },
    /// To hold nothing, if its last revision is still that one.
    Delete { revision: u64 },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BucketAnswer {
    /// Since this revision, 0 where it never held anything; `None` where it holds no session.
    Holds { revision: u64, value: Option<Box<SessionValue>> },
    /// It holds what it was to, or nothing, as was asked for.
    Written { revision: u64 },
    /// There is a later revision.
    Refused,
    /// Nobody has answered in time: what was asked for may be done or not.
    Unknown,
}

/// What the bucket tells by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BucketWord {
    /// All that it holds is told from now on.
    Began,
    /// Of one key; `None` where there is no session any more.
    Seen { key: SessionKey, revision: u64, value: Option<Box<SessionValue>> },
    /// That was all; what changes from now on is told.
    Complete,
    /// It tells nothing any more.
    Lost,
}

/// A log-in that is judged once the bucket has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inquiry {
    pub(in crate::auth) key: SessionKey,
    pub(in crate::auth) aim: Aim,
    pub(in crate::auth) scope: ScopeRequest,
    pub(in crate::auth) reach: Reach,
    /// As of [`super::super::Origin`].
    pub(in crate::auth) address: u64,
    pub(in crate::auth) entropy: Entropy,
    pub(in crate::auth) stage: Stage,
    /// What was written, or not: nobody has said.
    pub(in crate::auth) unsure: Option<Box<SessionValue>>,
    /// Of which session the token was found to be used: that is over, whatever the bucket says next.
    pub(in crate::auth) used: Option<Digest>,
    /// Whether its session counts as one that is being opened.
    pub(in crate::auth) opens: bool,
    /// So many more.
    pub(in crate::auth) requests_left: u8,
    /// Nothing is begun from then on.
    pub(in crate::auth) until_ns: u64,
}

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::auth) enum Aim {
    /// A session of this name, by a key.
    Open { credential: Arc<Credential>, name: Box<str> },
    /// To be let in, by an access token.
    Enter { secret: Digest },
    /// To go on, by a refresh token.
    Renew { family: Digest, secret: Digest },
}

/// What the bucket is being asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::auth) enum Stage {
    Reading,
    Writing {
        value: Box<SessionValue>,
        revision: u64,
        lasts_s: u64,
    },
    /// A used token has come: the session is over.
    Ending {
        family: Digest,
        revision: u64,
    },
}

impl Inquiry {
    /// What to ask the bucket now; the answer is for [`super::super::Authority::proceed`].
    #[must_use]
    pub fn request(&self) -> BucketRequest {
        let wanted = match &self.stage {
            Stage::Reading => Wanted::Read { waits: self.unsure.is_some() },
            Stage::Writing { value, revision, lasts_s } => {
                Wanted::Write { text: value.write(), revision: *revision, lasts_s: *lasts_s }
            }
            Stage::Ending { revision, .. } => Wanted::Delete { revision: *revision },
        };
        BucketRequest { key: self.key, wanted }
    }
}

/// So often in a row the bucket says that it was refused, then it is left alone for a while: it may refuse whatever is written.
const REFUSALS_MAX: u8 = 4;

/// A session that is being ended in the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    pub(in crate::auth) key: SessionKey,
    pub(in crate::auth) family: Digest,
    /// At which it is there; `None` before that was asked.
    revision: Option<u64>,
    refusals: u8,
}

/// How far an [`Ending`] is.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::auth) enum Progress {
    Asks(Ending),
    /// It is over, or was.
    Over(Ending),
    Unknown(Ending),
}

impl Ending {
    pub(in crate::auth) fn new(key: SessionKey, family: Digest) -> Ending {
        Ending { key, family, revision: None, refusals: 0 }
    }

    /// What to ask the bucket now; the answer is for [`super::super::Authority::proceed_ending`].
    #[must_use]
    pub fn request(&self) -> BucketRequest {
        let wanted = match self.revision {
            None => Wanted::Read { waits: false },
            Some(revision) => Wanted::Delete { revision },
        };
        BucketRequest { key: self.key, wanted }
    }

    pub(in crate::auth) fn proceed(mut self, answer: BucketAnswer) -> Progress {
        match answer {
            BucketAnswer::Holds { revision, value: Some(value) } if value.family == self.family => {
                self.revision = Some(revision);
                Progress::Asks(self)
            }
            BucketAnswer::Holds { .. } | BucketAnswer::Written { .. } => Progress::Over(self),
            // It was renewed meanwhile, or it is another one by now.
            BucketAnswer::Refused if self.refusals < REFUSALS_MAX => {
                self.refusals += 1;
                self.revision = None;
                Progress::Asks(self)
            }
            BucketAnswer::Refused | BucketAnswer::Unknown => Progress::Unknown(self),
        }
    }
}
