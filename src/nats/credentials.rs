//! By what a node logs in at NATS: a file that is read again at each connection, so that it can be renewed while the node runs.
//!
//! Home: the thread that speaks to NATS. Invariant: no error says what is in the file.

use std::io;
use std::path::Path;

use async_nats::Auth;
use nkeys::KeyPair;

/// A file of credentials is some kilobytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// What the file holds.
pub(super) enum Credentials {
    /// Of a user of a decentralised account: NATS's own form, a JWT and the seed of its key.
    Jwt {
        jwt: String,
        key: KeyPair,
    },
    /// The seed of a key that the server's configuration names.
    Key(KeyPair),
    Password {
        user: String,
        password: String,
    },
}

/// # Errors
/// The file cannot be read, or holds none of these.
pub(super) fn read(path: &Path) -> io::Result<Credentials> {
    let fault = |error: &dyn std::fmt::Display| {
        io::Error::other(format!("credentials for NATS, {}: {error}", path.display()))
    };
    let metadata = std::fs::metadata(path).map_err(|error| fault(&error))?;
    if metadata.len() > FILE_BYTES_MAX {
        return Err(fault(&"too long"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| fault(&error))?;
    parse(&text).map_err(|error| fault(&error))
}

/// What is to be said to a server that asked with these bytes.
pub(super) fn answer(credentials: Credentials, nonce: &[u8]) -> io::Result<Auth> {
    let mut auth = Auth::new();
    let sign = |key: &KeyPair| key.sign(nonce).map_err(|_| io::Error::other("the key does not sign"));
    match credentials {
        Credentials::Jwt { jwt, key } => {
            auth.signature = Some(sign(&key)?);
            auth.jwt = Some(jwt);
        }
        Credentials::Key(key) => {
            auth.signature = Some(sign(&key)?);
            auth.nkey = Some(key.public_key());
        }
        Credentials::Password { user, password } => {
            auth.username = Some(user);
            auth.password = Some(password);
        }
    }
    Ok(auth)
}

fn parse(text: &str) -> Result<Credentials, &'static str> {
    if text.contains("-----BEGIN") {
        let jwt = block(text, "NATS USER JWT").ok_or("no block NATS USER JWT")?;
        let seed = block(text, "USER NKEY SEED").ok_or("no block USER NKEY SEED")?;
        return Ok(Credentials::Jwt { jwt: jwt.to_owned(), key: key(seed)? });
    }
    let line = text.trim_end_matches(['\r', '\n']);
    match line.split_once(':') {
        _ if line.contains(['\r', '\n']) => Err("several lines: one is USER:PASSWORD, or a seed"),
        Some((user, password)) if !user.is_empty() && !password.is_empty() => {
            Ok(Credentials::Password { user: user.to_owned(), password: password.to_owned() })
        }
        Some(_) => Err("USER:PASSWORD lacks one of the two"),
        None => Ok(Credentials::Key(key(line)?)),
    }
}

fn key(seed: &str) -> Result<KeyPair, &'static str> {
    KeyPair::from_seed(seed).map_err(|_| "neither USER:PASSWORD nor the seed of an nkey")
}

/// The line behind the one that begins a block of this name.
fn block<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| line.starts_with('-') && line.contains("BEGIN") && line.contains(name))?;
    lines.next().filter(|line| !line.is_empty() && !line.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_known_by_its_text() {
        let seed = KeyPair::new_user().seed().unwrap();
        let Ok(Credentials::Password { user, password }) = parse("node:a:b c\n") else { panic!() };
        assert_eq!((user.as_str(), password.as_str()), ("node", "a:b c"));
        let Ok(Credentials::Key(key)) = parse(&format!("{seed}\r\n")) else { panic!() };
        assert_eq!(key.seed().unwrap(), seed);
        let file = format!(
            "-----BEGIN NATS USER JWT-----\neyJ.a.b\n------END NATS USER JWT------\n\n*** IMPORTANT ***\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        let Ok(Credentials::Jwt { jwt, key }) = parse(&file) else { panic!() };
        assert_eq!((jwt.as_str(), key.seed().unwrap()), ("eyJ.a.b", seed));
    }

    #[test]
    fn what_is_none_is_refused_without_being_told() {
        for text in [
            "",
            "secret",
            ":secret",
            "node:",
            "node:secret\nsecret",
            "-----BEGIN NATS USER JWT-----\nsecret\n",
        ] {
            let Err(error) = parse(text) else { panic!("{text:?} is none") };
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let Err(error) = read(Path::new("no/such/file")) else { panic!() };
        assert!(error.to_string().contains("no/such/file"), "{error}");
    }
}
