//! Log-ins of a cluster's named sessions, which are judged by what its bucket holds: what is asked, what the answer means, what is told where there is none. PURE.
//!
//! Invariants: nobody is let in by what this node remembers: the bucket is read first; what is written stands on what was read; a token that was good once ends its
//! session; who is told that nothing was done has lost nothing; nothing is begun while the ends of sessions would not be heard of.

use std::sync::Arc;

use super::super::accounts;
use super::super::credential::{Credential, Keyring, Reach, Secret};
use super::super::grants::{Grant, GrantId, Holder, Kind};
use super::super::saved::fingerprint;
use super::super::shared::{
    Aim, BucketAnswer, BucketWord, Ending, Inquiry, Progress, SessionKey, SessionValue, SharedSessions,
    SharedToken, Stage, family_of, mint,
};
use super::super::signature::{Digest, are_equal};
use super::{
    Authority, Denial, Entropy, Judged, Proof, Proven, Refusal, Request, Verdict, asked_end_ms, login_of,
    tokens_of,
};
use crate::limits;
use crate::model::time::Now;

/// What is to come of an answer.
enum Next {
    /// To ask as the inquiry's stage says.
    Ask,
    Grant {
        id: GrantId,
        grant: Grant,
        tokens: Option<[String; 2]>,
    },
}

impl Authority {
    /// Has named sessions be those of a cluster from now on. For one that has judged nobody yet.
    pub fn share_sessions(&mut self) {
        self.shared = Some(SharedSessions::default());
    }

    /// What the bucket tells by itself. Sessions that are over by it are told by [`Authority::poll_ended`].
    pub fn handle_bucket_word(&mut self, word: BucketWord, now: Now) {
        let Some(shared) = &mut self.shared else { return };
        match word {
            BucketWord::Began => shared.begin(),
            BucketWord::Seen { key, revision, value } => {
                shared.see(key, revision, value.map(|value| *value), ms(now));
            }
            BucketWord::Complete => shared.complete(),
            BucketWord::Lost => shared.lose(),
        }
    }

    /// The next session that is to be ended in the bucket; to be asked for as [`Ending::request`] says.
    pub fn poll_ending(&mut self) -> Option<Ending> {
        self.shared.as_mut()?.poll_end()
    }

    /// The bucket has answered: what to ask next, if anything. One that it has not answered about is polled again.
    pub fn proceed_ending(&mut self, ending: Ending, answer: BucketAnswer) -> Option<Ending> {
        let shared = self.shared.as_mut()?;
        match ending.proceed(answer) {
            Progress::Asks(ending) => return Some(ending),
            Progress::Over(ending) => shared.settle_end(&ending),
            Progress::Unknown(ending) => shared.put_off_end(&ending),
        }
        None
    }

    /// Whether sessions are still to be ended in the bucket, or are being.
    #[must_use]
    pub fn has_endings(&self) -> bool {
        self.shared.as_ref().is_some_and(SharedSessions::has_ends)
    }

    /// The bucket has answered what the inquiry asked.
    pub fn proceed(&mut self, mut inquiry: Box<Inquiry>, answer: BucketAnswer, now: Now) -> Judged {
        let stepped = self.step(&mut inquiry, answer, now).and_then(|next| match next {
            Next::Ask if inquiry.requests_left == 0 || now.mono_ns >= inquiry.until_ns => {
                Err(self.give_up(&inquiry))
            }
            next @ (Next::Ask | Next::Grant { .. }) => Ok(next),
        });
        if !matches!(stepped, Ok(Next::Ask)) {
            self.close_opening(&inquiry);
        }
        match stepped {
            Ok(Next::Ask) => {
                inquiry.requests_left -= 1;
                Judged::Asks(inquiry)
            }
            Ok(Next::Grant { id, grant, tokens }) => {
                let account = self.accounts.intern(&grant.credential.account);
                Judged::Verdict(match account {
                    Ok(account) => Verdict::Granted {
                        login: Box::new(login_of(Some(id), &grant, account)),
                        tokens: tokens.map(|tokens| Box::new(tokens_of(tokens, &grant, ms(now)))),
                    },
                    Err(accounts::Full) => Verdict::Refused(Refusal::Full),
                })
            }
            Err(denial) => Judged::Verdict(self.refuse(denial, inquiry.address)),
        }
    }

    /// What the bucket has to be asked before this can be judged; `None` where it is none of its business.
    pub(super) fn inquiry(
        &mut self,
        request: &Request,
        now: Now,
        entropy: &Entropy,
    ) -> Result<Option<Box<Inquiry>>, Denial> {
        if self.shared.is_none() {
            return Ok(None);
        }
        let found = match &request.proof {
            Proof::Secret { .. } | Proof::Signature(_) => match &request.scope.session {
                Some(name) => match self.prove(request, ms(now))? {
                    Proven::Key(credential) => {
                        let key = SessionKey::of(&credential.client_id, name);
                        Some((key, Aim::Open { credential, name: name.clone() }))
                    }
                    Proven::Refresh(..) | Proven::Bearer(_) | Proven::Access(..) => None,
                },
                None => None,
            },
            Proof::Refresh { token } => {
                let token = shared_token(token, Kind::Refresh);
                token.and_then(|SharedToken { key, family, secret }| {
                    Some((key, Aim::Renew { family: family?, secret }))
                })
            }
            Proof::Bearer { token } if self.is_key_of_letter(token) => None,
            Proof::Bearer { token } => {
                let token = shared_token(token, Kind::Access);
                token.map(|SharedToken { key, secret, .. }| (key, Aim::Enter { secret }))
            }
            Proof::SignedCall(_) => None,
        };
        Ok(found.map(|(key, aim)| {
            Box::new(Inquiry {
                key,
                aim,
                scope: request.scope.clone(),
                reach: request.origin.reach,
                address: request.origin.address,
                entropy: *entropy,
                stage: Stage::Reading,
                unsure: None,
                used: None,
                opens: false,
                requests_left: limits::SESSION_REQUESTS_MAX - 1,
                until_ns: now.mono_ns.saturating_add(limits::SESSION_INQUIRY_NS_MAX),
            })
        }))
    }

    /// Ends what was made by keys that are not as they were; who is in it is told by the keyring.
    pub(super) fn end_sessions_of_changed_keys(&mut self, before: &Keyring) {
        let Some(shared) = &mut self.shared else { return };
        let is_same = |old: &Credential| {
            self.keyring.find(&old.client_id).is_some_and(|new| fingerprint(new) == fingerprint(old))
        };
        let changed = before.credentials().filter(|old| !is_same(old));
        let changed = changed.map(|old| (Arc::clone(&old.client_id), fingerprint(old)));
        // In order of their ids, as they are there.
        let changed: Vec<(Arc<str>, Digest)> = changed.collect();
        shared.end_those(|value| {
            let at = changed.binary_search_by(|(client_id, _)| (**client_id).cmp(&*value.client_id));
            at.is_ok_and(|at| changed[at].1 == value.fingerprint)
        });
    }

    /// A session of a cluster is over.
    pub(super) fn forget_shared(&mut self, grant: GrantId) {
        let Some(shared) = &mut self.shared else { return };
        if let Some((key, family)) = shared.session_of(grant) {
            shared.end(key, family, true);
        }
    }

    fn step(&mut self, inquiry: &mut Inquiry, answer: BucketAnswer, now: Now) -> Result<Next, Denial> {
        let stage = std::mem::replace(&mut inquiry.stage, Stage::Reading);
        match (stage, answer) {
            (Stage::Reading, BucketAnswer::Holds { revision, value }) => {
                self.on_read(inquiry, revision, value.map(|value| *value), now)
            }
            (Stage::Writing { value, .. }, BucketAnswer::Written { revision }) => {
                self.on_written(inquiry, &value, revision, now)
            }
            (Stage::Ending { family, .. }, BucketAnswer::Written { .. }) => {
                if let Some(shared) = &mut self.shared {
                    shared.drop_ended(inquiry.key, family);
                }
                Err(USED)
            }
            // Somebody was faster: what there is by now decides.
            (Stage::Writing { .. } | Stage::Ending { .. }, BucketAnswer::Refused) => Ok(Next::Ask),
            (Stage::Writing { value, .. }, BucketAnswer::Unknown | BucketAnswer::Holds { .. }) => {
                inquiry.unsure = Some(value);
                Ok(Next::Ask)
            }
            (Stage::Ending { family, .. }, BucketAnswer::Unknown | BucketAnswer::Holds { .. }) => {
                if let Some(shared) = &mut self.shared {
                    shared.end(inquiry.key, family, true);
                }
                Err(USED)
            }
            (
                Stage::Reading,
                BucketAnswer::Unknown | BucketAnswer::Refused | BucketAnswer::Written { .. },
            ) => {
                // What was written may be found yet.
                if inquiry.unsure.is_some() { Ok(Next::Ask) } else { Err(self.give_up(inquiry)) }
            }
        }
    }

    /// An inquiry is over, and its session with it, or that is known.
    fn close_opening(&mut self, inquiry: &Inquiry) {
        if let (Some(shared), Aim::Open { credential, .. }, true) =
            (&mut self.shared, &inquiry.aim, inquiry.opens)
        {
            shared.close_opening(&credential.client_id, inquiry.key);
        }
    }

    /// What is told of an inquiry that is not judged in time.
    fn give_up(&mut self, inquiry: &Inquiry) -> Denial {
        let Some(shared) = &mut self.shared else { return Refusal::SessionsAway.into() };
        if let Some(family) = inquiry.used {
            shared.end(inquiry.key, family, true);
            return USED;
        }
        let Some(unsure) = &inquiry.unsure else { return Refusal::SessionsAway.into() };
        if let Aim::Open { .. } = inquiry.aim {
            // Nobody has its tokens.
            shared.end(inquiry.key, unsure.family, true);
        }
        Refusal::SessionUnknown.into()
    }

    fn on_read(
        &mut self,
        inquiry: &mut Inquiry,
        revision: u64,
        value: Option<SessionValue>,
        now: Now,
    ) -> Result<Next, Denial> {
        let is_ours = |ours: &SessionValue, found: &SessionValue| {
            (ours.family, ours.refresh) == (found.family, found.refresh)
        };
        if let (Some(ours), Some(found)) = (&inquiry.unsure, &value)
            && is_ours(ours, found)
        {
            return self.on_written(inquiry, found, revision, now);
        }
        let Some(shared) = &self.shared else { return Err(self.give_up(inquiry)) };
        if !shared.is_complete() {
            return Err(self.give_up(inquiry));
        }
        let value = value.filter(|value| !shared.is_ending(inquiry.key, &value.family));
        match inquiry.aim.clone() {
            Aim::Open { credential, name } => self.open(inquiry, revision, credential, name, now),
            Aim::Enter { secret } => self.let_in(inquiry, revision, value, &secret, now),
            Aim::Renew { family, secret } => self.renew(inquiry, revision, value, [family, secret], now),
        }
    }

    fn open(
        &mut self,
        inquiry: &mut Inquiry,
        revision: u64,
        credential: Arc<Credential>,
        name: Box<str>,
        now: Now,
    ) -> Result<Next, Denial> {
        let now_ms = ms(now);
        if !self.keyring.holds(&credential) {
            return Err(Refusal::Credentials.into());
        }
        self.accounts.intern(&credential.account).map_err(|accounts::Full| Refusal::Full)?;
        let Some(shared) = &mut self.shared else { return Err(Refusal::SessionsAway.into()) };
        let (key, print) = (inquiry.key, fingerprint(&credential));
        if shared.count_others(&credential.client_id, key, &print, now_ms) >= limits::SESSIONS_PER_KEY_MAX {
            return Err(Refusal::TooManySessions.into());
        }
        if !shared.has_room(key, now_ms) {
            return Err(Refusal::Full.into());
        }
        if !std::mem::replace(&mut inquiry.opens, true) {
            shared.note_opening(&credential.client_id, key);
        }
        let scopes = inquiry.scope.within(credential.scopes);
        let ends_ms = asked_end_ms(&inquiry.scope, now_ms);
        let grant = self.timed(credential, scopes, Holder::Session(name), ends_ms, now_ms);
        self.write(inquiry, &grant, family_of(&inquiry.entropy), revision, now_ms)
    }

    fn let_in(
        &mut self,
        inquiry: &Inquiry,
        revision: u64,
        value: Option<SessionValue>,
        secret: &Digest,
        now: Now,
    ) -> Result<Next, Denial> {
        let found = self.credential_of(value).filter(|(value, _)| are_equal(&value.access, secret));
        let Some((value, credential)) = found else {
            // It may have been a guess at the secret of a key that is called as tokens begin.
            let is_guess = self.keyring.find(ACCESS_LETTER).is_some();
            return Err(if is_guess { Refusal::Credentials.into() } else { Refusal::Token.into() });
        };
        if ms(now) >= value.access_until_ms {
            return Err(Refusal::TokenExpired.into());
        }
        check_credential(&credential, inquiry.reach, ms(now))?;
        let Some(shared) = &mut self.shared else { return Err(Refusal::SessionsAway.into()) };
        let id = shared.enter(inquiry.key, revision, &value, ms(now));
        Ok(Next::Grant { id, grant: value.grant(credential), tokens: None })
    }

    fn renew(
        &mut self,
        inquiry: &mut Inquiry,
        revision: u64,
        value: Option<SessionValue>,
        [family, secret]: [Digest; 2],
        now: Now,
    ) -> Result<Next, Denial> {
        let now_ms = ms(now);
        let found = self.credential_of(value).filter(|(value, _)| are_equal(&value.family, &family));
        let (value, credential) = found.ok_or(Refusal::Token)?;
        if !are_equal(&value.refresh, &secret) {
            (inquiry.used, inquiry.stage) = (Some(family), Stage::Ending { family, revision });
            return Ok(Next::Ask);
        }
        if now_ms >= value.refresh_until_ms {
            return Err(Refusal::TokenExpired.into());
        }
        check_credential(&credential, inquiry.reach, now_ms)?;
        self.accounts.intern(&credential.account).map_err(|accounts::Full| Refusal::Full)?;
        let old = value.grant(credential);
        let scopes = inquiry.scope.within(old.scopes);
        let ends_ms = old.ends_ms.min(asked_end_ms(&inquiry.scope, now_ms));
        let grant = self.timed(old.credential, scopes, old.holder, ends_ms, now_ms);
        self.write(inquiry, &grant, family, revision, now_ms)
    }

    /// Has what a grant is written to the bucket. What was written and not answered is written once more, as it was.
    fn write(
        &self,
        inquiry: &mut Inquiry,
        grant: &Grant,
        family: Digest,
        revision: u64,
        now_ms: u64,
    ) -> Result<Next, Denial> {
        let (_, [access, refresh]) = mint(inquiry.key, &family, &inquiry.entropy);
        let value = match inquiry.unsure.clone() {
            Some(ours) => ours,
            None => {
                let value = SessionValue::of(grant, [access, family, refresh]);
                Box::new(value.expect("invariant: a session's grant is written, and no other"))
            }
        };
        let left_s = value.over_ms().saturating_sub(now_ms).div_ceil(1000);
        let lasts_s = left_s.saturating_add(limits::SESSION_CLOCKS_APART_S);
        inquiry.stage = Stage::Writing { value, revision, lasts_s };
        Ok(Next::Ask)
    }

    fn on_written(
        &mut self,
        inquiry: &Inquiry,
        value: &SessionValue,
        revision: u64,
        now: Now,
    ) -> Result<Next, Denial> {
        let Some(shared) = &mut self.shared else { return Err(Refusal::SessionsAway.into()) };
        let Some(credential) = value.credential(&self.keyring) else {
            // It is gone since.
            shared.end(inquiry.key, value.family, true);
            return Err(Refusal::Credentials.into());
        };
        if shared.is_ending(inquiry.key, &value.family) {
            // Somebody has logged out of it meanwhile.
            return Err(Refusal::Token.into());
        }
        let id = shared.enter(inquiry.key, revision, value, ms(now));
        let (tokens, _) = mint(inquiry.key, &value.family, &inquiry.entropy);
        Ok(Next::Grant { id, grant: value.grant(Arc::clone(credential)), tokens: Some(tokens) })
    }

    /// A session with the key of clients that it is of, if that is as it was.
    fn credential_of(&self, value: Option<SessionValue>) -> Option<(SessionValue, Arc<Credential>)> {
        let value = value?;
        let credential = Arc::clone(value.credential(&self.keyring)?);
        Some((value, credential))
    }

    /// Whether a bearer's text is the key and secret of a client whose id is a token's letter.
    fn is_key_of_letter(&self, token: &Secret) -> bool {
        let text = std::str::from_utf8(token.bytes()).ok();
        let secret = text.and_then(|text| text.strip_prefix(ACCESS_LETTER)?.strip_prefix('.'));
        let known = self.keyring.find(ACCESS_LETTER);
        secret.zip(known).is_some_and(|(secret, known)| known.is_shown_by(secret))
    }
}

const ACCESS_LETTER: &str = "a";

/// A refresh token that was good once: it counts as a failure of the address.
const USED: Denial = Denial { refusal: Refusal::Token, counts: true };

fn shared_token(token: &Secret, kind: Kind) -> Option<SharedToken> {
    SharedToken::parse(std::str::from_utf8(token.bytes()).ok()?, kind)
}

fn check_credential(credential: &Credential, reach: Reach, now_ms: u64) -> Result<(), Refusal> {
    if credential.has_expired(now_ms) {
        return Err(Refusal::CredentialExpired);
    }
    if credential.reach == Reach::Loopback && reach != Reach::Loopback {
        return Err(Refusal::ElsewhereOnly);
    }
    Ok(())
}

fn ms(now: Now) -> u64 {
    now.unix_ns / 1_000_000
}
