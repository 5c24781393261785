//! The thread that judges log-ins, by the configuration. Home: the main thread.

use std::sync::Arc;

use crate::auth::{self, Accounts, Keyring};
use crate::config::Config;
use crate::doorbell::Doorbell;
use crate::exit::{Exit, Failure};
use crate::keys;
use crate::nats::SessionPort;
use crate::rt;
use crate::sessions_file::SessionsFile;
use crate::verify::{LoginPort, SessionStore, Verifier};

/// The thread that judges log-ins, and each shard's line to it; `of_cluster` leads to where a cluster keeps named sessions.
pub(super) fn start_verifier(
    config: &Config,
    keyring: &Arc<Keyring>,
    of_shards: &[Doorbell],
    accounts: Accounts,
    of_cluster: Option<SessionPort>,
) -> Result<(Verifier, Vec<LoginPort>), Failure> {
    let sessions = match (of_cluster, config.auth.sessions_file()) {
        (Some(port), _) => SessionStore::Cluster(port),
        (None, Some(path)) => SessionStore::File(SessionsFile::open(path)?),
        (None, None) => SessionStore::Nowhere,
    };
    let started = Verifier::start(
        Arc::clone(keyring),
        auth_settings(config),
        of_shards.iter().cloned(),
        super::seed(),
        rt::give_way,
        sessions,
        accounts,
    );
    started.map_err(|error| Failure::new(Exit::OsError, format!("cannot start: {error}"), "see ulimit -u"))
}

/// What is judged by.
pub(super) fn auth_settings(config: &Config) -> auth::Settings {
    auth::Settings {
        connection_s: config.auth.connection_lifetime_s,
        access_s: config.auth.token_lifetime_s,
        refresh_s: config.auth.refresh_lifetime_s,
        signature_window_ms: config.auth.signature_window_ms.into(),
        failures_per_minute_max: config.auth.failures_per_minute_max,
    }
}

/// Whoever is on this machine may log in then.
pub(super) fn warn_of_the_demo_key(config: &Config) {
    let is_loopback = config.listen.iter().any(|listen| listen.address.ip().is_loopback());
    if config.auth.demo_key && is_loopback && !config.auth.has_file() {
        log::warn!(
            "auth.keys names no file: on loopback everybody may log in as client_id {:?} with client_secret {:?}",
            keys::DEMO_ID,
            keys::DEMO_SECRET
        );
    }
}
