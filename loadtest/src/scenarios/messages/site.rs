//! What a server of the messages load stands on: a folder with its configuration, a key for each user, and its store. Home: the
//! load thread. Invariant: the folder is this run's own, and goes when the site goes.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::client::Single;
use crate::clock::{self, MILLISECOND_NS, SECOND_NS};
use crate::failure::{Doing, Failure, Result};
use crate::scenarios::Rig;
use crate::scenarios::messages::texts;
use crate::scenarios::orders::{Key, login_request};
use crate::secure::Target;
use crate::server::{self, Launch};
use crate::{frame, wire};

use memchr::memmem;

/// Everybody's: it protects nothing, since the server listens on the loopback for the length of a run.
const SECRET: &str = "a-secret-of-the-load-that-protects-nothing";
/// Requests of one connection that may wait for their answers: more than any window of the load, and some seconds of an open loop.
const REQUESTS_PENDING_MAX: u32 = 8_192;
/// What all that is queued may take: beyond the largest part, so that overload does not act before the bound of messages does.
const MEMORY_BYTES_MAX: u64 = 8_000_000_000;
/// Bytes of content, of all messages and of each mailbox: what a million messages of a kilobyte take.
const MESSAGE_BYTES_MAX: u64 = 1 << 30;
/// The id of requests that are no sends.
pub(super) const REQUEST_ID: u64 = 9;

/// The longest wait for a store to be loaded, and the time between two looks.
pub(super) const LOAD_DEADLINE_NS: u64 = 60 * SECOND_NS;
pub(super) const LOOK_NS: u64 = 2 * MILLISECOND_NS;
/// What a send is refused with as long as it is.
const IS_LOADING: &[u8] = b"the store is being loaded";
/// A durable message of user 0 to itself, who receives nothing in any part that has a store.
const PROBE_REQUEST: &str = r#"{"jsonrpc":"2.0","id":7,"method":"message/send","params":{"user":"user0000","confirm":true,"content":"probe"}}"#;

/// What a part needs of its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Needs {
    pub(super) users: usize,
    pub(super) has_store: bool,
    /// Messages that are not over at a time.
    pub(super) messages: u64,
    /// Of those, what waits for one user, where that is to be less.
    pub(super) mailbox: Option<u64>,
    /// Dead letters, where they are not as many as the server keeps by itself.
    pub(super) dead_letters: Option<u64>,
}

impl Needs {
    /// No more bounds than the table of users and messages has.
    pub(super) const fn plain(users: usize, has_store: bool, messages: u64) -> Needs {
        Needs { users, has_store, messages, mailbox: None, dead_letters: None }
    }
}

/// See the file's head.
pub(super) struct Site {
    folder: PathBuf,
}

impl Site {
    /// Makes it in `parent`.
    pub(super) fn make(parent: &Path, needs: Needs) -> Result<Site> {
        let name = format!("loadtest-messages-{}-{}", std::process::id(), clock::mono_ns());
        let told = |error: std::io::Error| Failure::File(format!("{}: {error}", parent.display()));
        let folder = fs::canonicalize(parent).map_err(told)?.join(name);
        fs::create_dir(&folder).map_err(told)?;
        let site = Site { folder };
        write_private(&site.keys(), &keys(needs.users))?;
        write_private(&site.config(), &config(&site, needs))?;
        Ok(site)
    }

    /// How the server is started here.
    pub(super) fn launch(&self, rig: &Rig) -> Result<Launch> {
        let config = self.config().to_string_lossy().into_owned();
        rig.server(&["--config", &config])
            .ok_or_else(|| Failure::Unmet("messages are a server's: --server PATH".to_owned()))
    }

    /// The same, answering operators.
    pub(super) fn launch_watched(&self, rig: &Rig) -> Result<Launch> {
        let config = self.config().to_string_lossy().into_owned();
        let shards = rig.cpus_server.get(..1).unwrap_or_default();
        let launch = rig.server_on(shards, "127.0.0.1:0", &["--config", &config]);
        let launch =
            launch.ok_or_else(|| Failure::Unmet("messages are a server's: --server PATH".to_owned()))?;
        Ok(Launch { cpus: rig.cpus_server.clone(), ..launch })
    }

    /// Where the store is, and the disk's probe.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    fn store(&self) -> PathBuf {
        self.folder.join("store")
    }

    fn keys(&self) -> PathBuf {
        self.folder.join("keys.toml")
    }

    fn config(&self) -> PathBuf {
        self.folder.join("tickring.toml")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // What is left is in a folder for what is temporary.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// What user `number` is called; its account and its key are too.
pub(super) fn user(number: usize) -> String {
    format!("user{number:04}")
}

/// Connection `number`, logged in as user `user_number`.
pub(super) fn log_in(number: usize, user_number: usize, target: Target) -> Result<Single> {
    let mut client = Single::connect_as(number, target)?;
    client.ask(&login_request(&Key { client_id: user(user_number), secret: SECRET.to_owned() }))?;
    Ok(client)
}

/// The same, subscribed to its user's messages, none of which wait.
pub(super) fn subscribe(
    number: usize,
    user_number: usize,
    under_way_max: u32,
    target: Target,
) -> Result<Single> {
    let mut client = log_in(number, user_number, target)?;
    client.ask(&texts::subscribe_request(REQUEST_ID, under_way_max))?;
    Ok(client)
}

/// Sends user 0 a durable message again and again until the store takes one, which stays there.
pub(super) fn await_store(sender: &mut Single) -> Result<()> {
    let deadline_ns = clock::mono_ns() + LOAD_DEADLINE_NS;
    let mut request = Vec::new();
    frame::encode_client(frame::TEXT, PROBE_REQUEST.as_bytes(), &mut request);
    loop {
        sender.send(&request)?;
        let reply = sender.receive()?;
        if wire::is_result(reply) {
            return Ok(());
        }
        if memmem::find(reply, IS_LOADING).is_none() {
            return Err(Failure::Protocol(format!("not stored: {}", String::from_utf8_lossy(reply))));
        }
        if deadline_ns < clock::mono_ns() {
            return Err(Failure::Deadline("a durable send".to_owned()));
        }
        server::sleep_ns(LOOK_NS);
    }
}

fn keys(users: usize) -> String {
    let mut text = String::new();
    for name in (0..users).map(user) {
        write!(
            text,
            "[[key]]\nclient_id = \"{name}\"\naccount = \"{name}\"\nsecret = \"{SECRET}\"\n\
             scopes = [\"message:read_write\"]\n\n"
        )
        .expect("invariant: writing to a String cannot fail");
    }
    text
}

fn config(site: &Site, needs: Needs) -> String {
    let quoted = |path: &Path| toml::Value::from(path.to_string_lossy().into_owned()).to_string();
    let mut text = format!(
        "[feed.paper]\ninstruments = 1\nevents_per_s = 1\n\n[auth]\nkeys = {}\n\n\
         [limits]\nrequests_pending_max = {REQUESTS_PENDING_MAX}\nmemory_bytes_max = {MEMORY_BYTES_MAX}\n\n\
         [messages]\nmessages_max = {messages}\nbytes_max = {MESSAGE_BYTES_MAX}\nper_sender_max = {messages}\n\
         scheduled_max = {messages}\nmailbox_max = {mailbox}\nmailbox_bytes_max = {MESSAGE_BYTES_MAX}\n",
        quoted(&site.keys()),
        messages = needs.messages,
        mailbox = needs.mailbox.unwrap_or(needs.messages),
    );
    if let Some(dead_letters) = needs.dead_letters {
        writeln!(text, "dead_letters_max = {dead_letters}")
            .expect("invariant: writing to a String cannot fail");
    }
    if needs.has_store {
        write!(text, "\n[store]\ndirectory = {}\n", quoted(&site.store()))
            .expect("invariant: writing to a String cannot fail");
    }
    text
}

/// A file that only we may read, as a server wants its keys.
fn write_private(path: &Path, text: &str) -> Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).doing("write the server's files")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDS: Needs = Needs { mailbox: Some(20), dead_letters: Some(10), ..Needs::plain(3, true, 70) };

    #[test]
    fn a_site_is_files_for_our_eyes_and_goes_when_it_goes() {
        use std::os::unix::fs::PermissionsExt as _;
        let site = Site::make(&std::env::temp_dir(), NEEDS).unwrap();
        let (folder, keys) = (site.folder().to_owned(), site.keys());
        assert_eq!(fs::metadata(&keys).unwrap().permissions().mode() & 0o777, 0o600);
        let config: toml::Table = fs::read_to_string(site.config()).unwrap().parse().unwrap();
        assert_eq!(config["auth"]["keys"].as_str(), keys.to_str());
        assert_eq!(config["store"]["directory"].as_str(), site.store().to_str());
        let bound = |key: &str| config["messages"][key].as_integer();
        assert_eq!(
            (bound("messages_max"), bound("mailbox_max"), bound("dead_letters_max")),
            (Some(70), Some(20), Some(10))
        );
        drop(site);
        assert!(!folder.exists());
    }

    #[test]
    fn each_user_has_a_key_of_its_own() {
        let keys: toml::Table = keys(3).parse().unwrap();
        let names: Vec<_> =
            keys["key"].as_array().unwrap().iter().filter_map(|key| key["account"].as_str()).collect();
        assert_eq!(names, ["user0000", "user0001", "user0002"]);
    }
}
