//! The file of keys: TOML, written by `tickring keys`, read at the start and at SIGHUP.
//!
//! Home: the main thread. Invariants: a file that holds a secret is for its owner's eyes alone, or is not read; one that
//! others could have written is not read whatever it holds; it is replaced as a whole or not at all, and stays whose it was;
//! what is written can be read again.

use std::fmt;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

use crate::auth::{
    Credential, Issuer, Key, Keyring, Patterns, Reach, Scopes, Secret, TokenKey, from_hex, is_pattern,
};
use crate::exit::{Exit, Failure};
use crate::limits;

/// Who may read a file that holds a secret.
const OWNER_ONLY: u32 = 0o600;
const OTHERS: u32 = 0o077;
/// Bytes of a secret: who overhears a signature may try secrets at home, where no rate holds.
const SECRET_BYTES_MIN: usize = 32;
const OTHERS_WRITE: u32 = 0o022;
const ROOT: u32 = 0;
/// The key that everybody knows: for loopback, to try things.
pub const DEMO_ID: &str = "demo";
pub const DEMO_SECRET: &str = "demo-secret";

/// Who reads the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    /// A server: whoever can write the file decides who may log in.
    Server,
    /// `tickring keys`, which as root looks after the files of services that run as somebody else.
    Command,
}

/// One `[[key]]` table.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub client_id: String,
    pub account: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Needed to check signatures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// In place of it, for a bearer key: SHA-256 of `CLIENT_ID.SECRET` in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_sha256: Option<String>,
    #[serde(default)]
    pub scopes: Vec<String>,
    #[serde(default)]
    pub subscribe: Vec<String>,
    #[serde(default)]
    pub publish: Vec<String>,
    /// Methods of backends; where none are listed all of them, as far as the scopes go.
    #[serde(default = "every", skip_serializing_if = "is_every")]
    pub call: Vec<String>,
    /// Milliseconds since 1970.
    #[serde(default)]
    pub created_ms: u64,
    /// Milliseconds since 1970; none where it does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
}

/// One `[[issuer]]` table: who signs JSON Web Tokens, and the most that they may allow. Written by hand.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerEntry {
    /// What `iss` is, and what `aud` has among it.
    pub iss: String,
    pub aud: String,
    /// `HS256`, `RS256` or `EdDSA`.
    pub alg: String,
    /// Of HS256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Of the others, in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// Patterns of what `sub` may be: the accounts that are this issuer's to speak for.
    pub accounts: Vec<String>,
    /// Those of them that are not taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denied: Vec<String>,
    /// How long a log-in lasts at most, and how old its token may become.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_lifetime_s: Option<u32>,
    #[serde(default)]
    pub scopes: Vec<String>,
    /// What a token has that names no `scope`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub default_scopes: Vec<String>,
    #[serde(default)]
    pub subscribe: Vec<String>,
    #[serde(default)]
    pub publish: Vec<String>,
    #[serde(default = "every", skip_serializing_if = "is_every")]
    pub call: Vec<String>,
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysFile {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<Entry>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub issuer: Vec<IssuerEntry>,
}

/// What a key may call that does not say.
fn every() -> Vec<String> {
    vec!["*".to_owned()]
}

fn is_every(patterns: &[String]) -> bool {
    patterns == ["*"]
}

/// The keys of a server without a file: none, or the one that everybody knows.
#[must_use]
pub fn without_file(demo_key: bool) -> Keyring {
    let demo = demo_key.then(|| Credential {
        client_id: DEMO_ID.into(),
        account: DEMO_ID.into(),
        name: "everybody's".into(),
        key: Key::Secret(Secret::new(DEMO_SECRET.as_bytes())),
        scopes: Scopes::ALL,
        subscribe: Patterns::ANY,
        publish: Patterns::none(),
        call: Patterns::ANY,
        created_unix_ms: 0,
        expires_unix_ms: None,
        reach: Reach::Loopback,
    });
    Keyring::new(demo).expect("invariant: one key with a legal id, or none, is a keyring")
}

/// Reads a file into a keyring.
///
/// # Errors
/// It can't be read, is for others' eyes or hands too, or has a key that is none: one line that names file and key.
pub fn load(path: &Path) -> Result<Keyring, Failure> {
    let odd = |what: String| {
        Failure::new(
            Exit::Config,
            format!("{}: {what}", path.display()),
            "`tickring keys` writes such a file",
        )
    };
    KeysFile::read_for(Reader::Server, path)?.keyring().map_err(odd)
}

/// Scopes and patterns to subscribe, publish and call by, of the key or issuer `whose`.
fn rights(
    whose: &str,
    scopes: &[String],
    patterns: [&[String]; 3],
) -> Result<(Scopes, [Patterns; 3]), String> {
    for (name, list) in ["subscribe", "publish", "call"].into_iter().zip(patterns) {
        if list.len() > limits::PATTERNS_PER_KEY_MAX {
            return Err(format!("{whose}: {name} has more than {} patterns", limits::PATTERNS_PER_KEY_MAX));
        }
        if let Some(pattern) = list.iter().find(|pattern| !is_pattern(pattern)) {
            return Err(format!("{whose}: {name} has {pattern:?}, which is no pattern"));
        }
    }
    let scopes = Scopes::parse(scopes.iter().map(String::as_str));
    let scopes = scopes.ok_or_else(|| format!("{whose}: scopes has a word that is no scope"))?;
    Ok((scopes, patterns.map(Patterns::new)))
}

impl Reader {
    /// Why a file is not read, and what to do about it: somebody else could have written it.
    fn refuses(self, mode: u32, owner: u32, own: u32) -> Option<(String, &'static str)> {
        if mode & OTHERS_WRITE != 0 {
            return Some((format!("others may write it (mode {:o})", mode & 0o777), "chmod 600"));
        }
        let is_trusted = owner == ROOT || owner == own || (self == Reader::Command && own == ROOT);
        let whose = || (format!("belongs to user {owner}, not to root or user {own}, who reads it"), "chown");
        (!is_trusted).then(whose)
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Entry { client_id, account, .. } = self;
        out.debug_struct("Entry")
            .field("client_id", client_id)
            .field("account", account)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for IssuerEntry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let IssuerEntry { iss, aud, alg, .. } = self;
        out.debug_struct("IssuerEntry")
            .field("iss", iss)
            .field("aud", aud)
            .field("alg", alg)
            .finish_non_exhaustive()
    }
}

impl IssuerEntry {
    fn issuer(&self) -> Result<Issuer, String> {
        let IssuerEntry { iss, aud, alg, secret, public_key, .. } = self;
        let key = match (secret, public_key) {
            (Some(text), None) if alg == "HS256" => text,
            (None, Some(text)) if alg != "HS256" => text,
            (_, _) => return Err(format!("{iss}: {alg} wants exactly one of secret (HS256) and public_key")),
        };
        if iss.is_empty() || aud.is_empty() {
            return Err(format!("{iss}: iss and aud are not empty"));
        }
        let key = TokenKey::new(alg, key).map_err(|what| format!("{iss}: {what}"))?;
        if self.accounts.is_empty() || !self.accounts.iter().all(|pattern| is_pattern(pattern)) {
            return Err(format!("{iss}: accounts is a list of patterns, at least one"));
        }
        if self.accounts.len() > limits::PATTERNS_PER_KEY_MAX {
            return Err(format!("{iss}: accounts has more than {} patterns", limits::PATTERNS_PER_KEY_MAX));
        }
        if self.denied.len() > limits::DENIED_PER_ISSUER_MAX {
            return Err(format!("{iss}: denied has more than {} accounts", limits::DENIED_PER_ISSUER_MAX));
        }
        if self.max_lifetime_s == Some(0) {
            return Err(format!("{iss}: max_lifetime_s is at least 1"));
        }
        let patterns = [&*self.subscribe, &*self.publish, &*self.call];
        let (scopes, [subscribe, publish, call]) = rights(iss, &self.scopes, patterns)?;
        let default_scopes = Scopes::parse(self.default_scopes.iter().map(String::as_str));
        Ok(Issuer {
            name: iss.as_str().into(),
            audience: aud.as_str().into(),
            key,
            accounts: Patterns::new(&self.accounts),
            denied: self.denied.iter().map(|account| account.as_str().into()).collect(),
            scopes,
            default_scopes: default_scopes
                .ok_or_else(|| format!("{iss}: default_scopes has a word that is no scope"))?,
            subscribe,
            publish,
            call,
            max_lifetime_s: self.max_lifetime_s,
        })
    }
}

impl Entry {
    fn credential(&self) -> Result<Credential, String> {
        let Entry { client_id, .. } = self;
        let key = match (&self.secret, &self.secret_sha256) {
            (Some(secret), None) if secret.len() >= SECRET_BYTES_MIN => {
                Key::Secret(Secret::new(secret.as_bytes()))
            }
            (Some(_), None) => {
                return Err(format!("{client_id}: secret has fewer than {SECRET_BYTES_MIN} bytes"));
            }
            (None, Some(digest)) => {
                let bytes = from_hex(digest);
                Key::Digest(bytes.ok_or_else(|| format!("{client_id}: secret_sha256 is not 64 digits"))?)
            }
            (_, _) => return Err(format!("{client_id}: has not exactly one of secret and secret_sha256")),
        };
        let patterns = [&*self.subscribe, &*self.publish, &*self.call];
        let (scopes, [subscribe, publish, call]) = rights(client_id, &self.scopes, patterns)?;
        Ok(Credential {
            client_id: client_id.as_str().into(),
            account: self.account.as_str().into(),
            name: self.name.as_str().into(),
            key,
            scopes,
            subscribe,
            publish,
            call,
            created_unix_ms: self.created_ms,
            expires_unix_ms: self.expires_ms,
            reach: Reach::Anywhere,
        })
    }
}

impl KeysFile {
    /// What it says, or what is odd about it.
    fn keyring(&self) -> Result<Keyring, String> {
        let credentials: Result<Vec<Credential>, String> = self.key.iter().map(Entry::credential).collect();
        let issuers: Result<Vec<Issuer>, String> = self.issuer.iter().map(IssuerEntry::issuer).collect();
        let (credentials, issuers) = (credentials?, issuers?);
        let keyring = Keyring::new(credentials).and_then(|keyring| keyring.with_issuers(issuers));
        keyring.map_err(|fault| fault.to_string())
    }

    /// For `tickring keys`.
    ///
    /// # Errors
    /// It can't be read, is no such file, holds secrets that others may read, or may have been written by others.
    pub fn read(path: &Path) -> Result<KeysFile, Failure> {
        KeysFile::read_for(Reader::Command, path)
    }

    fn read_for(reader: Reader, path: &Path) -> Result<KeysFile, Failure> {
        let shown = path.display();
        let unreadable = |error: std::io::Error| {
            Failure::new(Exit::NoInput, format!("{shown}: {error}"), "auth.keys names the file of keys")
        };
        let mut file = File::open(path).map_err(unreadable)?;
        let status = file.metadata().map_err(unreadable)?;
        let (mode, owner) = (status.mode(), status.uid());
        if let Some((what, remedy)) = reader.refuses(mode, owner, geteuid().as_raw()) {
            return Err(Failure::new(Exit::Config, format!("{shown}: {what}"), format!("{remedy} {shown}")));
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(unreadable)?;
        let keys: KeysFile = toml::from_str(&text).map_err(|error| {
            let what = format!("{shown}:{}", what_is_odd(&text, &error));
            Failure::new(Exit::Config, what, "`tickring keys` writes such a file")
        })?;
        if keys.has_secrets() && mode & OTHERS != 0 && !is_credential(path) {
            let what = format!("{shown}: holds secrets and others may read it (mode {:o})", mode & 0o777);
            return Err(Failure::new(Exit::Config, what, format!("chmod 600 {shown}")));
        }
        Ok(keys)
    }

    /// Changes a file under a lock, so that two commands at a time lose nothing, and puts the whole in its place at once.
    /// A file that is not there yet has no keys; one that is there stays whose it was, behind a link too.
    ///
    /// # Errors
    /// What `change` says, or what keeps the file from being read or written.
    pub fn edit(
        path: &Path,
        change: impl FnOnce(&mut KeysFile) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let unwritable = |error: std::io::Error| {
            let what = format!("{}: {error}", path.display());
            Failure::new(Exit::OsError, what, "it must be writable for you")
        };
        let path = &resolved(path).map_err(unwritable)?;
        let shown = path.display();
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            Some(_) | None => PathBuf::from("."),
        };
        let folder_file = File::open(&folder).map_err(|error| {
            if error.kind() != ErrorKind::NotFound {
                return unwritable(error);
            }
            let what = format!("{shown}: there is no folder {}", folder.display());
            Failure::new(Exit::NoInput, what, format!("make it: mkdir -p {}", folder.display()))
        })?;
        let folder_file = Flock::lock(folder_file, FlockArg::LockExclusive)
            .map_err(|(_, errno)| unwritable(errno.into()))?;
        let before = match fs::metadata(path) {
            Ok(before) => Some(before),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(unwritable(error)),
        };
        let mut keys = if before.is_some() { KeysFile::read(path)? } else { KeysFile::default() };
        change(&mut keys)?;
        keys.keyring().map_err(|what| Failure::new(Exit::Usage, what, "see tickring keys add --help"))?;
        let mode = before.as_ref().map_or(OWNER_ONLY, |before| before.mode() & 0o777);
        if keys.has_secrets() && mode & OTHERS != 0 {
            // To take it from them in silence could take it from the server.
            let what = format!("{shown}: would hold a secret, and others may read it (mode {mode:o})");
            return Err(Failure::new(Exit::Config, what, format!("chmod 600 {shown}, or add with --bearer")));
        }
        let text = toml::to_string(&keys)
            .map_err(|error| Failure::new(Exit::Software, error.to_string(), "this is a bug in tickring"))?;
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        // One that an earlier command left behind has its own mode.
        let _ = fs::remove_file(&beside);
        let written = write_like(&beside, &text, before.as_ref(), &shown.to_string())
            .and_then(|()| fs::rename(&beside, path).map_err(unwritable));
        if written.is_err() {
            let _ = fs::remove_file(&beside);
        }
        written.and_then(|()| folder_file.sync_all().map_err(unwritable))
    }

    fn has_secrets(&self) -> bool {
        self.key.iter().any(|entry| entry.secret.is_some())
            || self.issuer.iter().any(|issuer| issuer.secret.is_some())
    }
}

/// The file that a path leads to, through links: what is renamed over a link would take its place.
fn resolved(path: &Path) -> std::io::Result<PathBuf> {
    match fs::canonicalize(path) {
        Err(error) if error.kind() == ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => {
            Ok(path.to_owned())
        }
        resolved => resolved,
    }
}

/// Writes a new file that is whose `before` was and for whom that was.
fn write_like(path: &Path, text: &str, before: Option<&Metadata>, shown: &str) -> Result<(), Failure> {
    let unwritable = |error: std::io::Error| {
        Failure::new(Exit::OsError, format!("{shown}: {error}"), "it must be writable for you")
    };
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(path).map_err(unwritable)?;
    if let Some(before) = before {
        let made = file.metadata().map_err(unwritable)?;
        let (uid, gid) = (before.uid(), before.gid());
        if (made.uid(), made.gid()) != (uid, gid) {
            fchown(&file, Some(uid), Some(gid)).map_err(|error| {
                let what = format!("{shown}: must stay user {uid}'s and group {gid}'s: {error}");
                Failure::new(Exit::OsError, what, "run it as that user or root")
            })?;
        }
        file.set_permissions(fs::Permissions::from_mode(before.mode() & 0o777)).map_err(unwritable)?;
    }
    let head = "# Keys of tickring, written by `tickring keys`. SIGHUP has a server read them again.\n\n";
    file.write_all(format!("{head}{text}").as_bytes()).and_then(|()| file.sync_all()).map_err(unwritable)
}

/// The line of a fault and the key that it is about, if that is one of ours. Nothing else: both the line and the fault's own
/// text may quote a secret.
fn what_is_odd(text: &str, error: &toml::de::Error) -> String {
    const NAMES: [&str; 20] = [
        "client_id",
        "account",
        "name",
        "secret",
        "secret_sha256",
        "scopes",
        "subscribe",
        "publish",
        "call",
        "created_ms",
        "expires_ms",
        "iss",
        "aud",
        "alg",
        "public_key",
        "accounts",
        "denied",
        "max_lifetime_s",
        "default_scopes",
        "key",
    ];
    let start = error.span().map_or(0, |span| span.start).min(text.len());
    let before = &text.as_bytes()[..start];
    let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
    if let Some(name) = NAMES.iter().find(|name| error.message() == format!("missing field `{name}`")) {
        return format!("{line}: {name} is missing");
    }
    let words = text.lines().nth(line - 1).and_then(|line| line.split_once('='));
    match words.and_then(|(word, _)| NAMES.iter().find(|name| **name == word.trim())) {
        Some(name) => format!("{line}: {name} has no value that it can have, or stands twice"),
        None => format!("{line}: is no TOML, or names what no key and no issuer has"),
    }
}

/// Whether systemd put the file there, for this service alone, whatever its mode says (systemd.exec, `LoadCredential=`). It is
/// a copy made when the service started.
#[must_use]
pub fn is_credential(path: &Path) -> bool {
    std::env::var_os("CREDENTIALS_DIRECTORY")
        .is_some_and(|folder| !folder.is_empty() && path.starts_with(PathBuf::from(folder)))
}

#[cfg(test)]
mod tests;
