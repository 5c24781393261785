//! The file of keys as operators and other users of the machine leave it.

use std::os::unix::fs::{chown, symlink};

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
        call: vec!["risk/*".to_owned()],
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
        call: every(),
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
    let text = "[[key]]\nclient_id = \"a\"\naccount = \"x\"\nsecret = \"of thirty-two bytes or even more\"\n";
    assert!(folder.write(text, 0o600).is_ok() && folder.write(text, 0o400).is_ok());
    for mode in [0o640, 0o604, 0o444] {
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
fn a_file_that_others_could_have_written_is_not_read_whatever_it_holds() {
    let folder = Folder::new("writers");
    for mode in [0o620, 0o602, 0o666] {
        let failure = folder.write("", mode).unwrap_err();
        assert_eq!(failure.exit, Exit::Config);
        assert!(failure.what.ends_with(&format!("others may write it (mode {mode:o})")), "{failure}");
    }
    let refused = |reader: Reader, owner, own| reader.refuses(0o600, owner, own).map(|(what, _)| what);
    for reader in [Reader::Server, Reader::Command] {
        for (owner, own) in [(0, 0), (0, 7), (7, 7)] {
            assert_eq!(refused(reader, owner, own), None, "{reader:?} {owner} {own}");
        }
        let expected = "belongs to user 8, not to root or user 7, who reads it";
        assert_eq!(refused(reader, 8, 7).as_deref(), Some(expected));
    }
    assert_eq!(refused(Reader::Command, 8, 0), None, "root looks after a service's file");
    assert!(refused(Reader::Server, 8, 0).is_some());
}

#[test]
fn what_is_edited_stays_whose_it_was_and_where_its_link_leads() {
    let folder = Folder::new("owner");
    let (file, link) = (folder.file(), folder.0.join("link"));
    folder.write("", 0o640).unwrap();
    symlink("keys.toml", &link).unwrap();
    let bearer = |id: &str| {
        let digest = hex(&bearer_digest(id, "x"));
        Entry { secret: None, secret_sha256: Some(digest), ..entry(id) }
    };
    let add = |added: Entry| {
        KeysFile::edit(&link, |keys| {
            keys.key.push(added);
            Ok(())
        })
    };
    // Only root can give a file away, and see it kept.
    let owner = if geteuid().is_root() {
        (12_345, 54_321)
    } else {
        (geteuid().as_raw(), fs::metadata(&file).unwrap().gid())
    };
    chown(&file, Some(owner.0), Some(owner.1)).unwrap();
    add(bearer("b")).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    let status = fs::metadata(&file).unwrap();
    assert_eq!((status.uid(), status.gid()), owner);
    assert_eq!(status.mode() & 0o777, 0o640, "the service reads it by its group");
    let refused = add(entry("a")).unwrap_err().to_string();
    assert!(refused.contains("would hold a secret, and others may read it (mode 640)"), "{refused}");
    assert_eq!(KeysFile::read(&link).unwrap().key, [bearer("b")]);
    fs::remove_file(&file).unwrap();
    assert_eq!(add(bearer("c")).unwrap_err().exit, Exit::OsError, "the link leads nowhere");
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn debug_output_of_a_file_has_no_secrets() {
    let issuer = IssuerEntry {
        iss: "i".to_owned(),
        aud: "a".to_owned(),
        alg: "HS256".to_owned(),
        secret: Some("hidden".repeat(6)),
        public_key: None,
        accounts: vec!["*".to_owned()],
        denied: Vec::new(),
        max_lifetime_s: None,
        scopes: Vec::new(),
        default_scopes: Vec::new(),
        subscribe: Vec::new(),
        publish: Vec::new(),
        call: every(),
    };
    let key = Entry { secret: Some("hidden".repeat(6)), ..entry("shown") };
    let file = KeysFile { key: vec![key], issuer: vec![issuer] };
    let shown = format!("{file:?} {:#?}", file.keyring().unwrap());
    assert!(shown.contains("shown") && !shown.contains("hidden"), "{shown}");
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
    check(&format!("{head}sekret = \"hidden\"\n"), ":4: is no TOML, or names what no key");
    check(&format!("{head}scopes = \"hidden\"\n"), ":4: scopes has no value that it can have");
    check(&format!("{head}secret = [\"hidden\"]\n"), ":4: secret has no value that it can have");
    check(&format!("{head}expires_ms = \"hidden\"\n"), ":4: expires_ms has no value that it can have");
    check(&format!("{head}hidden = 1\n"), ":4: is no TOML, or names what no key");
    check("[[key]]\nclient_id = \"a\"\n", ":1: account is missing");
    check(head, "a: has not exactly one of secret and secret_sha256");
    check(&format!("{head}secret = \"\"\n"), "a: secret has fewer than 32 bytes");
    check(&format!("{head}secret = \"{}x\"\n", "hidden".repeat(5)), "a: secret has fewer than 32 bytes");
    check(&format!("{head}secret_sha256 = \"12\"\n"), "a: secret_sha256 is not 64 digits");
    let good = format!("{head}secret = \"{}xx\"\n", "hidden".repeat(5));
    check(&format!("{good}scopes = [\"all\"]\n"), "a: scopes has a word that is no scope");
    check(&format!("{good}publish = [\"a b\"]\n"), "a: publish has \"a b\", which is no pattern");
    let many = vec!["\"a\""; 65].join(",");
    check(&format!("{good}subscribe = [{many}]\n"), "a: subscribe has more than 64 patterns");
    check(&format!("{good}{good}"), "\"a\" stands twice");
    let whole = "[[issuer]]\niss = \"i\"\naud = \"a\"\n";
    let hs256 = format!("{whole}alg = \"HS256\"\nsecret = \"{}\"\n", "hidden".repeat(6));
    check(&hs256, ":1: accounts is missing");
    check(&format!("{hs256}accounts = []\n"), "i: accounts is a list of patterns, at least one");
    check(&format!("{hs256}accounts = [\"a b\"]\n"), "i: accounts is a list of patterns");
    check(&format!("{hs256}accounts = [{many}]\n"), "i: accounts has more than 64 patterns");
    let open = format!("{hs256}accounts = [\"*\"]\n");
    let denied = |count: usize| format!("{open}denied = [{}]\n", vec!["\"a\""; count].join(","));
    assert!(folder.write(&denied(256), 0o600).is_ok());
    check(&denied(257), "i: denied has more than 256 accounts");
    check(&format!("{open}max_lifetime_s = 0\n"), "i: max_lifetime_s is at least 1");
    let issuer = format!("{whole}accounts = [\"*\"]\n");
    check(&format!("{issuer}alg = \"none\"\npublic_key = \"\"\n"), "i: alg is none of");
    check(&format!("{issuer}alg = \"HS256\"\nsecret = \"hidden\"\n"), "fewer than 32 bytes");
    check(&format!("{issuer}alg = \"HS256\"\npublic_key = \"hidden\"\n"), "wants exactly one of");
    check(&format!("{issuer}alg = \"EdDSA\"\npublic_key = \"hidden\"\n"), "no Ed25519 public key");
    assert_eq!(load(&folder.0.join("none")).unwrap_err().exit, Exit::NoInput);
}

#[test]
fn the_documented_issuer_is_one() {
    let page = include_str!("../../docs/protocol.md");
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

#[test]
fn a_key_that_does_not_say_what_it_calls_may_call_whatever_its_scopes_allow() {
    let call = |text: &str| {
        let key = format!(
            "[[key]]\nclient_id = \"a\"\naccount = \"a\"\nsecret = \"{}\"\n{text}",
            "x".repeat(SECRET_BYTES_MIN)
        );
        let file: KeysFile = toml::from_str(&key).unwrap();
        let ring = file.keyring().unwrap();
        ["risk/var", "desk/x"].map(|method| ring.find("a").unwrap().call.allow(method))
    };
    assert_eq!(call(""), [true, true]);
    assert_eq!(call("call = [\"risk/*\"]\n"), [true, false]);
    assert_eq!(call("call = []\n"), [false, false]);
}
