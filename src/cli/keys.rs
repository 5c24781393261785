//! `tickring keys`: adds, lists and revokes the keys of a file. Home: the main thread.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::ignore_closed;
use crate::auth::{Scope, bearer_digest, hex};
use crate::clock;
use crate::exit::{Exit, Failure};
use crate::keys::{Entry, IssuerEntry, KeysFile};

const DAY_MS: u64 = 86_400_000;

#[derive(Subcommand, Debug)]
pub(super) enum Keys {
    /// Add a key and print its secret, which is shown this once
    Add(Add),
    /// List the keys and issuers without their secrets
    List(List),
    /// Remove a key
    Revoke(Revoke),
}

#[derive(Args, Debug)]
pub(super) struct Add {
    /// The file of keys (auth.keys); made if it is not there
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// The key's name on the wire: 1 to 64 of A-Z a-z 0-9 _ -; chosen at random by default
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// Whose it is; an account may have several keys
    #[arg(long, value_name = "NAME", default_value = "main")]
    account: String,
    /// For people
    #[arg(long, value_name = "TEXT", default_value = "")]
    name: String,
    /// What it may do; may be repeated. By default account:read and trade:read_write
    #[arg(long = "scope", value_name = "SCOPE", value_parser = Scope::ALL.map(Scope::as_str))]
    scopes: Vec<String>,
    /// Channels that it may subscribe to, as a pattern with `*`; may be repeated. By default all
    #[arg(long, value_name = "PATTERN")]
    subscribe: Vec<String>,
    /// Topics that it may publish to, as a pattern with `*`; may be repeated. By default none
    #[arg(long, value_name = "PATTERN")]
    publish: Vec<String>,
    /// Methods of backends that it may call, as a pattern with `*`, beside the scope that they need; may be repeated. By default all
    #[arg(long, value_name = "PATTERN")]
    call: Vec<String>,
    /// Days after which it expires; by default it does not
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..36_500))]
    days: Option<u32>,
    /// A bearer key, of which the file holds a digest: it signs nothing
    #[arg(long)]
    bearer: bool,
}

#[derive(Args, Debug)]
pub(super) struct List {
    /// The file of keys
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
}

#[derive(Args, Debug)]
pub(super) struct Revoke {
    /// The file of keys
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// The key's name on the wire
    client_id: String,
}

pub(super) fn run(command: Keys) -> Result<(), Failure> {
    match command {
        Keys::Add(add) => self::add(add),
        Keys::List(list) => self::list(&list),
        Keys::Revoke(revoke) => self::revoke(&revoke),
    }
}

fn add(add: Add) -> Result<(), Failure> {
    let secret = hex(&random::<32>()?);
    let client_id = match add.client_id {
        Some(client_id) => client_id,
        None => hex(&random::<6>()?),
    };
    let created_ms = clock::now().unix_ns / 1_000_000;
    let or_default = |list: Vec<String>, default: &[&str]| {
        if list.is_empty() { default.iter().map(|word| (*word).to_owned()).collect() } else { list }
    };
    let entry = Entry {
        secret: (!add.bearer).then(|| secret.clone()),
        secret_sha256: add.bearer.then(|| hex(&bearer_digest(&client_id, &secret))),
        client_id: client_id.clone(),
        account: add.account,
        name: add.name,
        scopes: or_default(add.scopes, &["account:read", "trade:read_write"]),
        subscribe: or_default(add.subscribe, &["*"]),
        publish: add.publish,
        call: or_default(add.call, &["*"]),
        created_ms,
        expires_ms: add.days.map(|days| created_ms + u64::from(days) * DAY_MS),
    };
    KeysFile::edit(&add.file, |file| {
        file.key.push(entry);
        Ok(())
    })?;
    log::info!(
        "SIGHUP has a server read {} again; where systemd hands it over as a credential, a restart does",
        add.file.display()
    );
    let mut lines = format!("client_id {client_id}\nclient_secret {secret}\n");
    if add.bearer {
        lines.push_str(&format!("bearer {client_id}.{secret}\n"));
    }
    std::io::stdout().write_all(lines.as_bytes()).or_else(ignore_closed)
}

fn list(list: &List) -> Result<(), Failure> {
    let now_ms = clock::now().unix_ns / 1_000_000;
    let mut lines = String::new();
    let KeysFile { key, issuer } = KeysFile::read(&list.file)?;
    for entry in key {
        let kind = if entry.secret.is_some() { "secret" } else { "bearer" };
        let expires = match entry.expires_ms {
            None => "never expires".to_owned(),
            Some(at_ms) if at_ms <= now_ms => "has expired".to_owned(),
            Some(at_ms) => format!("expires in {} days", (at_ms - now_ms).div_ceil(DAY_MS)),
        };
        let Entry { client_id, account, name, scopes, subscribe, publish, .. } = entry;
        let (scopes, subscribe, publish) = (scopes.join(" "), subscribe.join(" "), publish.join(" "));
        lines.push_str(&format!(
            "{client_id}\taccount {account}\t{kind}\t{expires}\tscopes [{scopes}]\tsubscribe [{subscribe}]\t\
             publish [{publish}]\t{name}\n"
        ));
    }
    for IssuerEntry { iss, aud, alg, scopes, subscribe, publish, .. } in issuer {
        let (scopes, subscribe, publish) = (scopes.join(" "), subscribe.join(" "), publish.join(" "));
        lines.push_str(&format!(
            "issuer {iss}\taudience {aud}\t{alg}\tscopes [{scopes}]\tsubscribe [{subscribe}]\tpublish [{publish}]\n"
        ));
    }
    std::io::stdout().write_all(lines.as_bytes()).or_else(ignore_closed)
}

fn revoke(revoke: &Revoke) -> Result<(), Failure> {
    KeysFile::read(&revoke.file)?;
    KeysFile::edit(&revoke.file, |file| {
        let before = file.key.len();
        file.key.retain(|entry| entry.client_id != revoke.client_id);
        if file.key.len() < before {
            return Ok(());
        }
        let (file, client_id) = (revoke.file.display(), &revoke.client_id);
        Err(Failure::new(Exit::Usage, format!("{file}: has no key {client_id}"), "see tickring keys list"))
    })?;
    log::warn!(
        "{}: {} is removed; a running server takes it until SIGHUP has it read the file, when it says \"keys hold from now \
         on\" in its log and closes who logged in by it",
        revoke.file.display(),
        revoke.client_id
    );
    Ok(())
}

fn random<const COUNT: usize>() -> Result<[u8; COUNT], Failure> {
    let mut bytes = [0; COUNT];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| Failure::new(Exit::OsError, "the kernel gives no random bytes", "see random(7)"))?;
    Ok(bytes)
}
