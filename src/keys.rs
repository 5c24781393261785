//! The file of keys: TOML, written by `tickring keys`, read at the start and at SIGHUP.
//!
//! Home: the main thread. Invariants: a file that holds a secret is for its owner's eyes alone, or is not read; it is
//! replaced as a whole or not at all; what is written can be read again.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::auth::{
    Credential, Issuer, Key, Keyring, Patterns, Reach, Scopes, Secret, TokenKey, from_hex, is_pattern,
};
use crate::exit::{Exit, Failure};

/// Who may read a file that holds a secret.
const OWNER_ONLY: u32 = 0o600;
const OTHERS: u32 = 0o077;
/// Bytes of a secret: who overhears a signature may try secrets at home, where no rate holds.
const SECRET_BYTES_MIN: usize = 32;
/// The key that everybody knows: for loopback, to try things.
pub const DEMO_ID: &str = "demo";
pub const DEMO_SECRET: &str = "demo-secret";

/// One `[[key]]` table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Milliseconds since 1970.
    #[serde(default)]
    pub created_ms: u64,
    /// Milliseconds since 1970; none where it does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
}

/// One `[[issuer]]` table: who signs JSON Web Tokens, and the most that they may allow. Written by hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
        created_unix_ms: 0,
        expires_unix_ms: None,
        reach: Reach::Loopback,
    });
    Keyring::new(demo).expect("invariant: one key with a legal id is a keyring")
}

/// Reads a file into a keyring.
///
/// # Errors
/// It can't be read, is for others' eyes too, or has a key that is none: one line that names file and key.
pub fn load(path: &Path) -> Result<Keyring, Failure> {
    let odd = |what: String| {
        Failure::new(
            Exit::Config,
            format!("{}: {what}", path.display()),
            "`tickring keys` writes such a file",
        )
    };
    KeysFile::read(path)?.keyring().map_err(odd)
}

/// Scopes and patterns to subscribe and publish by, of the key or issuer `whose`.
fn rights(
    whose: &str,
    scopes: &[String],
    subscribe: &[String],
    publish: &[String],
) -> Result<(Scopes, Patterns, Patterns), String> {
    for (name, list) in [("subscribe", subscribe), ("publish", publish)] {
        if let Some(pattern) = list.iter().find(|pattern| !is_pattern(pattern)) {
            return Err(format!("{whose}: {name} has {pattern:?}, which is no pattern"));
        }
    }
    let scopes = Scopes::parse(scopes.iter().map(String::as_str));
    let scopes = scopes.ok_or_else(|| format!("{whose}: scopes has a word that is no scope"))?;
    Ok((scopes, Patterns::new(subscribe), Patterns::new(publish)))
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
        if self.max_lifetime_s == Some(0) {
            return Err(format!("{iss}: max_lifetime_s is at least 1"));
        }
        let (scopes, subscribe, publish) = rights(iss, &self.scopes, &self.subscribe, &self.publish)?;
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
        let (scopes, subscribe, publish) = rights(client_id, &self.scopes, &self.subscribe, &self.publish)?;
        Ok(Credential {
            client_id: client_id.as_str().into(),
            account: self.account.as_str().into(),
            name: self.name.as_str().into(),
            key,
            scopes,
            subscribe,
            publish,
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

    /// # Errors
    /// It can't be read, is no such file, or holds secrets that others may read.
    pub fn read(path: &Path) -> Result<KeysFile, Failure> {
        let shown = path.display();
        let unreadable = |error: std::io::Error| {
            Failure::new(Exit::NoInput, format!("{shown}: {error}"), "auth.keys names the file of keys")
        };
        let mut file = File::open(path).map_err(unreadable)?;
        let mode = file.metadata().map_err(unreadable)?.mode();
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(unreadable)?;
        let keys: KeysFile = toml::from_str(&text).map_err(|error| {
            // Not the error's own text, which shows the line: there may be a secret in it.
            let line = error.span().map_or(0, |span| text[..span.start].lines().count());
            let what = format!("{shown}:{line}: {}", error.message());
            Failure::new(Exit::Config, what, "`tickring keys` writes such a file")
        })?;
        let has_secrets = keys.key.iter().any(|entry| entry.secret.is_some())
            || keys.issuer.iter().any(|issuer| issuer.secret.is_some());
        if has_secrets && mode & OTHERS != 0 && !is_credential(path) {
            let what = format!("{shown}: holds secrets and others may read it (mode {:o})", mode & 0o777);
            return Err(Failure::new(Exit::Config, what, format!("chmod 600 {shown}")));
        }
        Ok(keys)
    }

    /// Changes a file under a lock, so that two commands at a time lose nothing, and puts the whole in its place at once.
    /// A file that is not there yet has no keys.
    ///
    /// # Errors
    /// What `change` says, or what keeps the file from being read or written.
    pub fn edit(
        path: &Path,
        change: impl FnOnce(&mut KeysFile) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let shown = path.display();
        let unwritable = |error: std::io::Error| {
            Failure::new(Exit::OsError, format!("{shown}: {error}"), "it must be writable for you")
        };
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            Some(_) | None => PathBuf::from("."),
        };
        let folder_file = File::open(&folder).map_err(unwritable)?;
        let folder_file = Flock::lock(folder_file, FlockArg::LockExclusive)
            .map_err(|(_, errno)| unwritable(errno.into()))?;
        let mut keys = if path.exists() { KeysFile::read(path)? } else { KeysFile::default() };
        change(&mut keys)?;
        keys.keyring().map_err(|what| Failure::new(Exit::Usage, what, "see tickring keys add --help"))?;
        let text = toml::to_string(&keys)
            .map_err(|error| Failure::new(Exit::Software, error.to_string(), "this is a bug in tickring"))?;
        let head = "# Keys of tickring, written by `tickring keys`. SIGHUP has a server read them again.\n\n";
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        // One that an earlier command left behind has its own mode.
        let _ = fs::remove_file(&beside);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(OWNER_ONLY)
            .open(&beside)
            .map_err(unwritable)?;
        file.write_all(format!("{head}{text}").as_bytes())
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&beside, path))
            .and_then(|()| folder_file.sync_all())
            .map_err(unwritable)
    }
}

/// Whether systemd put the file there, for this service alone, whatever its mode says (systemd.exec, `LoadCredential=`).
fn is_credential(path: &Path) -> bool {
    std::env::var_os("CREDENTIALS_DIRECTORY")
        .is_some_and(|folder| !folder.is_empty() && path.starts_with(PathBuf::from(folder)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::auth::bearer_digest;
    use crate::auth::hex;

    fn entry(client_id: &str) -> Entry {
        Entry {
            client_id: client_id.to_owned(),
            account: "desk".to_owned(),
            name: String::new(),
            secret: Some("s\"e'c\\ret, of thirty-two bytes or more".to_owned()),
            secret_sha256: None,
            scopes: vec!["trade:read".to_owned()],
            subscribe: vec!["*".to_owned()],
            publish: Vec::new(),
            created_ms: 1,
            expires_ms: Some(2),
        }
    }

    /// A folder of its own, which goes when it goes.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let folder = std::env::temp_dir().join(format!("tickring-keys-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&folder);
            fs::create_dir(&folder).unwrap();
            Folder(folder)
        }

        fn file(&self) -> PathBuf {
            self.0.join("keys.toml")
        }

        fn write(&self, text: &str, mode: u32) -> Result<Keyring, Failure> {
            fs::write(self.file(), text).unwrap();
            fs::set_permissions(self.file(), fs::Permissions::from_mode(mode)).unwrap();
            load(&self.file())
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_is_written_is_read_again_and_is_for_its_owner_alone() {
        let folder = Folder::new("edit");
        let path = folder.file();
        let digest = hex(&bearer_digest("b", "x"));
        let bearer = Entry { secret: None, secret_sha256: Some(digest), expires_ms: None, ..entry("b") };
        let issuer = IssuerEntry {
            iss: "https://login".to_owned(),
            aud: "tickring".to_owned(),
            alg: "HS256".to_owned(),
            secret: Some("x".repeat(32)),
            public_key: None,
            accounts: vec!["desk-*".to_owned()],
            denied: vec!["desk-9".to_owned()],
            max_lifetime_s: Some(3600),
            scopes: Vec::new(),
            default_scopes: vec!["trade:read".to_owned()],
            subscribe: Vec::new(),
            publish: Vec::new(),
        };
        let kept = KeysFile { key: vec![entry("a"), bearer], issuer: vec![issuer] };
        KeysFile::edit(&path, |file| {
            *file = kept.clone();
            Ok(())
        })
        .unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(KeysFile::read(&path).unwrap(), kept);
        let ring = load(&path).unwrap();
        assert!(
            ring.find("a").unwrap().is_shown_by("s\"e'c\\ret, of thirty-two bytes or more")
                && ring.find("b").unwrap().is_shown_by("x")
        );
        let refused = KeysFile::edit(&path, |file| {
            file.key.push(entry("a"));
            Ok(())
        });
        assert_eq!(refused.unwrap_err().to_string(), "\"a\" stands twice: see tickring keys add --help");
        assert_eq!(KeysFile::read(&path).unwrap(), kept, "nothing was written");
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_file_with_secrets_that_others_may_read_is_not_read() {
        let folder = Folder::new("mode");
        let text =
            "[[key]]\nclient_id = \"a\"\naccount = \"x\"\nsecret = \"of thirty-two bytes or even more\"\n";
        assert!(folder.write(text, 0o600).is_ok() && folder.write(text, 0o400).is_ok());
        for mode in [0o640, 0o604, 0o620] {
            let failure = folder.write(text, mode).unwrap_err();
            assert_eq!(failure.exit, Exit::Config);
            assert!(failure.what.ends_with(&format!("others may read it (mode {mode:o})")), "{failure}");
        }
        let digest = format!(
            "[[key]]\nclient_id = \"a\"\naccount = \"x\"\nsecret_sha256 = \"{}\"\n",
            hex(&bearer_digest("a", "s"))
        );
        assert!(folder.write(&digest, 0o644).is_ok(), "a digest tells nobody the secret");
        let secret = "x".repeat(32);
        let issuer = format!(
            "[[issuer]]\niss = \"i\"\naud = \"a\"\nalg = \"HS256\"\naccounts = [\"*\"]\nsecret = \"{secret}\"\n"
        );
        assert!(folder.write(&issuer, 0o600).is_ok() && folder.write(&issuer, 0o644).is_err());
    }

    #[test]
    fn an_odd_file_is_named_with_what_is_odd_and_without_its_secrets() {
        let folder = Folder::new("odd");
        let check = |text: &str, expected: &str| {
            let failure = folder.write(text, 0o600).unwrap_err().to_string();
            assert!(failure.contains(expected) && !failure.contains("hidden"), "{failure}");
        };
        let head = "[[key]]\nclient_id = \"a\"\naccount = \"x\"\n";
        check(&format!("{head}secret = \"hidden\n"), ":4: ");
        check(&format!("{head}sekret = \"hidden\"\n"), "unknown field `sekret`");
        check(head, "a: has not exactly one of secret and secret_sha256");
        check(&format!("{head}secret = \"\"\n"), "a: secret has fewer than 32 bytes");
        check(&format!("{head}secret = \"{}x\"\n", "hidden".repeat(5)), "a: secret has fewer than 32 bytes");
        check(&format!("{head}secret_sha256 = \"12\"\n"), "a: secret_sha256 is not 64 digits");
        let good = format!("{head}secret = \"{}xx\"\n", "hidden".repeat(5));
        check(&format!("{good}scopes = [\"all\"]\n"), "a: scopes has a word that is no scope");
        check(&format!("{good}publish = [\"a b\"]\n"), "a: publish has \"a b\", which is no pattern");
        check(&format!("{good}{good}"), "\"a\" stands twice");
        let whole = "[[issuer]]\niss = \"i\"\naud = \"a\"\n";
        let hs256 = format!("{whole}alg = \"HS256\"\nsecret = \"{}\"\n", "hidden".repeat(6));
        check(&hs256, "missing field `accounts`");
        check(&format!("{hs256}accounts = []\n"), "i: accounts is a list of patterns, at least one");
        check(&format!("{hs256}accounts = [\"a b\"]\n"), "i: accounts is a list of patterns");
        check(&format!("{hs256}accounts = [\"*\"]\nmax_lifetime_s = 0\n"), "i: max_lifetime_s is at least 1");
        let issuer = format!("{whole}accounts = [\"*\"]\n");
        check(&format!("{issuer}alg = \"none\"\npublic_key = \"\"\n"), "i: alg is none of");
        check(&format!("{issuer}alg = \"HS256\"\nsecret = \"hidden\"\n"), "fewer than 32 bytes");
        check(&format!("{issuer}alg = \"HS256\"\npublic_key = \"hidden\"\n"), "wants exactly one of");
        check(&format!("{issuer}alg = \"EdDSA\"\npublic_key = \"hidden\"\n"), "no Ed25519 public key");
        assert_eq!(load(&folder.0.join("none")).unwrap_err().exit, Exit::NoInput);
    }

    #[test]
    fn the_documented_issuer_is_one() {
        let page = include_str!("../docs/protocol.md");
        let (_, rest) = page.split_once("```toml\n").unwrap();
        let (table, _) = rest.split_once("```").unwrap();
        let file: KeysFile = toml::from_str(table).unwrap();
        assert_eq!(file.issuer.len(), 1);
        assert!(file.keyring().is_ok());
    }

    #[test]
    fn without_a_file_there_is_the_key_that_everybody_knows_or_none() {
        let demo = without_file(true);
        let key = demo.find(DEMO_ID).unwrap();
        assert!(key.is_shown_by(DEMO_SECRET) && key.reach == Reach::Loopback);
        assert!(key.subscribe.allow("quote.X") && !key.publish.allow("x"));
        assert_eq!(without_file(false).credentials().len(), 0);
    }
}
