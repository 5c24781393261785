//! Judges what clients show: a key, a signature, a token. PURE. Home: the thread of `verify.rs`, one for the process, so
//! that a signature that one shard has taken is known to all, and no shard's turn waits for arithmetic.
//!
//! Invariants: nothing is looked at of an address that has failed too often; what is remembered is bounded; a verdict
//! depends on the request, the time, the entropy and what was judged before, on nothing else.

mod held;

use std::fmt;
use std::sync::Arc;

use super::accounts::{self, Accounts};
use super::credential::{Credential, Key, Keyring, Secret};
use super::failures::Failures;
use super::grants::{Found, Grant, GrantId, Grants, Holder, Kind, Parts, Ungranted};
use super::jwt::Token;
use super::replay::{Bounds, Replays, Untaken};
use super::saved;
use super::scope::{ScopeRequest, Scopes};
use super::shared::{Inquiry, SharedSessions};
use super::signature::{are_equal, client_signature};
use crate::limits;
use crate::model::ids::ConnId;
use crate::model::order::AccountId;
use crate::model::time::Now;

pub use super::credential::Reach;

/// 32 random bytes for each of two tokens.
pub type Entropy = [[u8; 32]; 2];

/// How long things are good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A log-in on a connection, whose tokens end with it.
    pub connection_s: u32,
    /// An access token of a named session.
    pub access_s: u32,
    /// A refresh token of a named session.
    pub refresh_s: u32,
    /// How old a signature's timestamp may be, and how far the clock of an issuer of tokens may be ahead.
    pub signature_window_ms: u64,
    /// Of one address; 0 sets no limit.
    pub failures_per_minute_max: u32,
}

/// As an empty configuration file has it.
impl Default for Settings {
    fn default() -> Settings {
        Settings {
            connection_s: 31_536_000,
            access_s: 900,
            refresh_s: 604_800,
            signature_window_ms: 60_000,
            failures_per_minute_max: 60,
        }
    }
}

/// Which connection asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    pub shard: u8,
    pub conn: ConnId,
    pub reach: Reach,
    /// A keyed hash of what identifies the peer's address, and in its high half of the network that it is in.
    pub address: u64,
}

/// What a client shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// `client_credentials`.
    Secret { client_id: Box<str>, secret: Secret },
    /// `client_signature`.
    Signature(Signed),
    /// `Authorization: deri-hmac-sha256`: a signature over one request, and good for that one alone.
    SignedCall(Signed),
    /// `refresh_token`.
    Refresh { token: Secret },
    /// `Authorization: Bearer`: an access token, a key, or a JWT.
    Bearer { token: Secret },
}

/// What a client has signed, and its HMAC-SHA-256 over `timestamp_ms\nnonce\ndata`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    pub client_id: Box<str>,
    pub timestamp_ms: u64,
    pub nonce: Box<str>,
    pub data: Box<str>,
    pub signature: [u8; 32],
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub proof: Proof,
    pub scope: ScopeRequest,
    pub origin: Origin,
}

/// A client that has shown who it is, on one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    pub credential: Arc<Credential>,
    /// The credential's.
    pub account: AccountId,
    /// What of the credential's it has.
    pub scopes: Scopes,
    /// Its named session, if it is one.
    pub session: Option<Box<str>>,
    /// None where it came by a key in its upgrade request.
    pub grant: Option<GrantId>,
    pub expires_unix_ms: u64,
}

/// What a client is given to come back by.
#[derive(Clone, PartialEq, Eq)]
pub struct Tokens {
    pub access: String,
    pub refresh: String,
    pub expires_in_s: u64,
}

impl Login {
    /// The grant of its named session, if it is in one.
    #[must_use]
    pub fn named_grant(&self) -> Option<GrantId> {
        self.grant.filter(|_| self.session.is_some())
    }
}

/// Without what is secret.
impl fmt::Debug for Tokens {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Tokens(for {} s)", self.expires_in_s)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Granted { login: Box<Login>, tokens: Option<Box<Tokens>> },
    Refused(Refusal),
}

/// What comes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    Verdict(Verdict),
    /// Of a session of a cluster: its bucket has to be asked first; the answer is for [`Authority::proceed`].
    Asks(Box<Inquiry>),
}

/// Why a client is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No such key, or not its secret, or not its signature.
    Credentials,
    /// The key is right and its time is over.
    CredentialExpired,
    /// The key is right and not for those who come by this listener.
    ElsewhereOnly,
    /// The signature's timestamp is too far from now, or from before the start.
    Timestamp,
    /// The signature was taken before.
    Replayed,
    /// No token of ours, not the newest, or another connection's.
    Token,
    TokenExpired,
    /// The address has failed too often.
    TooManyFailures,
    /// More signatures within the window than are remembered.
    TooManySignatures,
    TooManySessions,
    /// No room for another grant, or another account.
    Full,
    /// Where the cluster keeps its sessions is not reached: nothing was done.
    SessionsAway,
    /// It did not answer, so whether the session was made or renewed is not known.
    SessionUnknown,
}

impl Refusal {
    pub const ALL: [Refusal; 13] = [
        Refusal::Credentials,
        Refusal::CredentialExpired,
        Refusal::ElsewhereOnly,
        Refusal::Timestamp,
        Refusal::Replayed,
        Refusal::Token,
        Refusal::TokenExpired,
        Refusal::TooManyFailures,
        Refusal::TooManySignatures,
        Refusal::TooManySessions,
        Refusal::Full,
        Refusal::SessionsAway,
        Refusal::SessionUnknown,
    ];

    /// Whether it may have been a guess at what can be guessed: secrets are as good as those who chose them, tokens of ours
    /// are 32 random bytes.
    const fn is_guess(self) -> bool {
        match self {
            Refusal::Credentials => true,
            Refusal::CredentialExpired
            | Refusal::ElsewhereOnly
            | Refusal::Timestamp
            | Refusal::Replayed
            | Refusal::Token
            | Refusal::TokenExpired
            | Refusal::TooManyFailures
            | Refusal::TooManySignatures
            | Refusal::TooManySessions
            | Refusal::Full
            | Refusal::SessionsAway
            | Refusal::SessionUnknown => false,
        }
    }
}

/// A refusal, and whether it counts as a failure of the address.
struct Denial {
    refusal: Refusal,
    counts: bool,
}

impl From<Refusal> for Denial {
    fn from(refusal: Refusal) -> Denial {
        Denial { refusal, counts: refusal.is_guess() }
    }
}

/// What was shown to be true.
enum Proven {
    Key(Arc<Credential>),
    /// To be renewed.
    Refresh(GrantId, Grant),
    /// By what the connection sent with its upgrade or a request: no tokens are made of it.
    Bearer(Arc<Credential>),
    Access(GrantId, Grant),
}

/// See the file's head.
#[derive(Debug)]
pub struct Authority {
    keyring: Arc<Keyring>,
    settings: Settings,
    grants: Grants,
    /// Named ones of a cluster; none of a node by itself.
    shared: Option<SharedSessions>,
    accounts: Accounts,
    replays: Replays,
    failures: Failures,
    /// What was signed up to then may have been taken by the authority before this one.
    unsure_until_ms: u64,
}

impl Authority {
    /// One that knows of nothing before `started`.
    #[must_use]
    pub fn new(keyring: Arc<Keyring>, settings: Settings, started: Now) -> Authority {
        let bounds = Bounds {
            max: limits::SIGNATURES_MAX,
            per_client_max: limits::SIGNATURES_PER_KEY_MAX,
            fair_share: limits::SIGNATURES_FAIR_SHARE,
        };
        Authority {
            keyring,
            settings,
            grants: Grants::default(),
            shared: None,
            accounts: Accounts::new(limits::ACCOUNTS_MAX as usize),
            replays: Replays::new(bounds),
            failures: Failures::new(settings.failures_per_minute_max),
            unsure_until_ms: started.unix_ns / 1_000_000 + lead_ms(&settings),
        }
    }

    /// Takes back the named sessions that [`Authority::sessions`] told of in an earlier process, but for those whose time is over
    /// and those of keys that are gone or changed; how many. Before anything is judged.
    ///
    /// # Errors
    /// The line that can't be read, counted from 1; nothing is taken then.
    pub fn restore(&mut self, text: &str, now: Now) -> Result<usize, usize> {
        let saved = saved::read(text, &self.keyring, now.unix_ns / 1_000_000)?;
        self.grants = Grants::restored(saved);
        Ok(self.grants.count())
    }

    /// The named sessions as a text, in which no token is.
    #[must_use]
    pub fn sessions(&self) -> String {
        self.grants.text()
    }

    /// Rises whenever [`Authority::sessions`] has changed.
    #[must_use]
    pub fn sessions_version(&self) -> u64 {
        self.grants.changes_total()
    }

    pub fn judge(&mut self, request: &Request, now: Now, entropy: &Entropy) -> Judged {
        let address = request.origin.address;
        if self.failures.is_full(address, now.mono_ns) {
            return Judged::Verdict(Verdict::Refused(Refusal::TooManyFailures));
        }
        match self.inquiry(request, now, entropy) {
            Ok(Some(inquiry)) => return Judged::Asks(inquiry),
            Ok(None) => {}
            Err(denial) => return Judged::Verdict(self.refuse(denial, address)),
        }
        let now_ms = now.unix_ns / 1_000_000;
        let verdict = self
            .prove(request, now_ms)
            .and_then(|proven| self.grant(proven, request, now_ms, entropy).map_err(Denial::from));
        Judged::Verdict(match verdict {
            Ok((login, tokens)) => Verdict::Granted { login: Box::new(login), tokens: tokens.map(Box::new) },
            Err(denial) => self.refuse(denial, address),
        })
    }

    /// Takes other keys. What was granted to those that are gone, or changed, is worth nothing from now on.
    /// Shards close whoever logged in by those.
    pub fn replace(&mut self, keyring: Arc<Keyring>) {
        let before = std::mem::replace(&mut self.keyring, keyring);
        self.grants.keep_those_of(&self.keyring);
        self.end_sessions_of_changed_keys(&before);
    }

    /// Numbers accounts by this table from now on, which others read too. For one that has judged nobody yet.
    pub fn share_accounts(&mut self, accounts: Accounts) {
        self.accounts = accounts;
    }

    /// Has other lifetimes and limits hold for log-ins from now on. The window of signatures stays: one that was forgotten by a
    /// shorter window would be taken again by a longer one.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = Settings { signature_window_ms: self.settings.signature_window_ms, ..settings };
        self.failures.set_max(settings.failures_per_minute_max);
    }

    /// A log-in is over.
    pub fn forget(&mut self, grant: GrantId) {
        if grant.is_shared() {
            self.forget_shared(grant);
        } else {
            self.grants.remove(grant);
        }
    }

    /// The next named session that has ended since: to be told to all shards, since any may have clients in it.
    pub fn poll_ended(&mut self) -> Option<GrantId> {
        self.grants.poll_ended().or_else(|| self.shared.as_mut()?.poll_ended())
    }

    /// How many grants there are, sessions of a cluster that are known among them.
    #[must_use]
    pub fn grant_count(&self) -> usize {
        self.grants.count() + self.shared.as_ref().map_or(0, SharedSessions::count)
    }

    fn refuse(&mut self, denial: Denial, address: u64) -> Verdict {
        if denial.counts {
            self.failures.note(address);
        }
        Verdict::Refused(denial.refusal)
    }

    fn prove(&mut self, request: &Request, now_ms: u64) -> Result<Proven, Denial> {
        let origin = &request.origin;
        let proven = match &request.proof {
            Proof::Secret { client_id, secret } => Proven::Key(self.by_secret(client_id, secret)?),
            Proof::Signature(signed) => Proven::Key(self.by_signature(signed, now_ms)?),
            Proof::SignedCall(signed) => Proven::Bearer(self.by_signature(signed, now_ms)?),
            Proof::Refresh { token } => self.by_refresh(token, now_ms)?,
            Proof::Bearer { token } => self.by_bearer(token, now_ms)?,
        };
        let credential = proven.credential();
        if credential.has_expired(now_ms) {
            return Err(Refusal::CredentialExpired.into());
        }
        if credential.reach == Reach::Loopback && origin.reach != Reach::Loopback {
            return Err(Refusal::ElsewhereOnly.into());
        }
        match proven.holder() {
            // What a connection holds is for it alone.
            Some(Holder::Connection { shard, conn }) if (*shard, *conn) != (origin.shard, origin.conn) => {
                Err(Refusal::Token.into())
            }
            Some(Holder::Connection { .. } | Holder::Session(_)) | None => Ok(proven),
        }
    }

    fn by_secret(&self, client_id: &str, secret: &Secret) -> Result<Arc<Credential>, Refusal> {
        let text = std::str::from_utf8(secret.bytes()).map_err(|_| Refusal::Credentials)?;
        let known = self.keyring.find(client_id).filter(|known| known.is_shown_by(text));
        known.cloned().ok_or(Refusal::Credentials)
    }

    fn by_signature(&mut self, signed: &Signed, now_ms: u64) -> Result<Arc<Credential>, Refusal> {
        let Signed { client_id, timestamp_ms, nonce, data, signature } = signed;
        let credential = self.keyring.find(client_id).ok_or(Refusal::Credentials)?;
        let Key::Secret(secret) = &credential.key else { return Err(Refusal::Credentials) };
        let expected = client_signature(secret.bytes(), *timestamp_ms, nonce, data);
        if !are_equal(&expected, signature) {
            return Err(Refusal::Credentials);
        }
        let (lead_ms, window_ms) = (lead_ms(&self.settings), self.settings.signature_window_ms);
        let oldest_ms = now_ms.saturating_sub(window_ms).max(self.unsure_until_ms + 1);
        if !(oldest_ms..=now_ms + lead_ms).contains(timestamp_ms) {
            return Err(Refusal::Timestamp);
        }
        // Whatever its timestamp, it is out of the window by then.
        let until_ms = now_ms + lead_ms + window_ms;
        match self.replays.take(&credential.client_id, expected, now_ms, until_ms) {
            Ok(()) => Ok(Arc::clone(credential)),
            Err(Untaken::Replayed) => Err(Refusal::Replayed),
            Err(Untaken::TooMany) => Err(Refusal::TooManySignatures),
        }
    }

    /// A refresh token that was good once has been in two hands, of which one may be a thief's: neither keeps the grant
    /// (RFC 9700 §4.14.2).
    fn by_refresh(&mut self, token: &Secret, now_ms: u64) -> Result<Proven, Denial> {
        let text = std::str::from_utf8(token.bytes()).map_err(|_| Refusal::Token)?;
        let parts = Parts::parse(text, Kind::Refresh).ok_or(Refusal::Token)?;
        match self.grants.find(&parts) {
            Some(Found::Newest(id, grant)) if now_ms < grant.refresh_until_ms => {
                Ok(Proven::Refresh(id, grant.clone()))
            }
            Some(Found::Newest(..)) => Err(Refusal::TokenExpired.into()),
            Some(Found::Used(id)) => {
                self.grants.remove(id);
                Err(Denial { refusal: Refusal::Token, counts: true })
            }
            None => Err(Refusal::Token.into()),
        }
    }

    /// An access token of ours, a key as `CLIENT_ID.SECRET`, in which a secret may have dots, or a JSON Web Token.
    fn by_bearer(&self, token: &Secret, now_ms: u64) -> Result<Proven, Denial> {
        let text = std::str::from_utf8(token.bytes()).map_err(|_| Refusal::Token)?;
        if let Some(parts) = Parts::parse(text, Kind::Access)
            && let Some(Found::Newest(id, grant)) = self.grants.find(&parts)
        {
            if now_ms >= grant.access_until_ms {
                return Err(Refusal::TokenExpired.into());
            }
            return Ok(Proven::Access(id, grant.clone()));
        }
        let dots = text.bytes().filter(|byte| *byte == b'.').count();
        match text.split_once('.') {
            Some((client_id, secret)) if dots == 1 || self.keyring.find(client_id).is_some() => {
                Ok(Proven::Bearer(self.by_secret(client_id, &Secret::new(secret.as_bytes()))?))
            }
            Some(_) if dots == 2 => Ok(Proven::Bearer(self.by_jwt(text, now_ms)?)),
            Some(_) | None => Err(Refusal::Token.into()),
        }
    }

    /// A failure counts once a signature was checked, which takes time, and did not hold.
    fn by_jwt(&self, text: &str, now_ms: u64) -> Result<Arc<Credential>, Denial> {
        let token = Token::parse(text).ok_or(Refusal::Token)?;
        let leeway_ms = self.settings.signature_window_ms;
        let mut counts = false;
        for issuer in self.keyring.issuers_named(token.issuer()) {
            let Some(until_ms) = issuer.would_take(&token, now_ms, leeway_ms) else { continue };
            if issuer.has_signed(&token) {
                return Ok(Arc::new(issuer.credential(&token, now_ms, until_ms)));
            }
            counts = true;
        }
        Err(Denial { refusal: Refusal::Token, counts })
    }

    fn grant(
        &mut self,
        proven: Proven,
        request: &Request,
        now_ms: u64,
        entropy: &Entropy,
    ) -> Result<(Login, Option<Tokens>), Refusal> {
        let Request { scope, origin, .. } = request;
        let account = self.accounts.intern(&proven.credential().account);
        let account = account.map_err(|accounts::Full| Refusal::Full)?;
        match proven {
            Proven::Key(credential) => {
                let holder = match &scope.session {
                    Some(name) => Holder::Session(name.clone()),
                    None => Holder::Connection { shard: origin.shard, conn: origin.conn },
                };
                let scopes = scope.within(credential.scopes);
                let grant = self.timed(credential, scopes, holder, asked_end_ms(scope, now_ms), now_ms);
                let added = self.grants.add(grant.clone(), entropy, now_ms);
                let (id, tokens) = added.map_err(|ungranted| match ungranted {
                    Ungranted::TooManySessions => Refusal::TooManySessions,
                    Ungranted::Full => Refusal::Full,
                })?;
                Ok((login_of(Some(id), &grant, account), Some(tokens_of(tokens, &grant, now_ms))))
            }
            Proven::Refresh(id, old) => {
                let scopes = scope.within(old.scopes);
                let ends_ms = old.ends_ms.min(asked_end_ms(scope, now_ms));
                let grant = self.timed(old.credential, scopes, old.holder, ends_ms, now_ms);
                let tokens = self.grants.renew(id, grant.clone(), entropy).ok_or(Refusal::Token)?;
                Ok((login_of(Some(id), &grant, account), Some(tokens_of(tokens, &grant, now_ms))))
            }
            Proven::Bearer(credential) => {
                let holder = Holder::Connection { shard: origin.shard, conn: origin.conn };
                let scopes = credential.scopes;
                let grant = self.timed(credential, scopes, holder, u64::MAX, now_ms);
                Ok((login_of(None, &grant, account), None))
            }
            Proven::Access(id, grant) => Ok((login_of(Some(id), &grant, account), None)),
        }
    }

    /// A grant from now on, no longer than its credential lasts.
    fn timed(
        &self,
        credential: Arc<Credential>,
        scopes: Scopes,
        holder: Holder,
        ends_ms: u64,
        now_ms: u64,
    ) -> Grant {
        let (access_s, refresh_s) = match &holder {
            Holder::Connection { .. } => (self.settings.connection_s, self.settings.connection_s),
            Holder::Session(_) => (self.settings.access_s, self.settings.refresh_s),
        };
        let ends_ms = credential.expires_unix_ms.unwrap_or(u64::MAX).min(ends_ms);
        let until = |seconds: u32| (now_ms + u64::from(seconds) * 1000).min(ends_ms);
        Grant {
            access_until_ms: until(access_s),
            refresh_until_ms: until(refresh_s),
            ends_ms,
            credential,
            scopes,
            holder,
        }
    }
}

impl Proven {
    fn credential(&self) -> &Credential {
        match self {
            Proven::Key(credential) | Proven::Bearer(credential) => credential,
            Proven::Refresh(_, grant) | Proven::Access(_, grant) => &grant.credential,
        }
    }

    fn holder(&self) -> Option<&Holder> {
        match self {
            Proven::Key(_) | Proven::Bearer(_) => None,
            Proven::Refresh(_, grant) | Proven::Access(_, grant) => Some(&grant.holder),
        }
    }
}

/// How far ahead of now a signature's timestamp may be.
fn lead_ms(settings: &Settings) -> u64 {
    settings.signature_window_ms.min(limits::SIGNATURE_LEAD_MS)
}

/// By when a client wants all tokens to have ended.
fn asked_end_ms(scope: &ScopeRequest, now_ms: u64) -> u64 {
    scope.expires_s.map_or(u64::MAX, |seconds| now_ms + u64::from(seconds) * 1000)
}

fn login_of(id: Option<GrantId>, grant: &Grant, account: AccountId) -> Login {
    let session = match &grant.holder {
        Holder::Session(name) => Some(name.clone()),
        Holder::Connection { .. } => None,
    };
    Login {
        credential: Arc::clone(&grant.credential),
        account,
        scopes: grant.scopes,
        session,
        grant: id,
        expires_unix_ms: grant.access_until_ms,
    }
}

fn tokens_of([access, refresh]: [String; 2], grant: &Grant, now_ms: u64) -> Tokens {
    Tokens { access, refresh, expires_in_s: grant.access_until_ms.saturating_sub(now_ms) / 1000 }
}
