//! The `[auth]` table: who may log in and for how long. Home: the main thread.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Keys, lifetimes and limits of log-ins.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// The file that `tickring keys` writes; empty where there is none.
    pub keys: PathBuf,
    /// The file that named sessions are kept in across restarts; empty where they are not.
    pub sessions: PathBuf,
    /// Whether there is a key that everybody knows, on loopback listeners, where there is no file.
    pub demo_key: bool,
    /// Patterns of the channels that everybody may subscribe to.
    pub public_subscribe: Vec<String>,
    /// Of one connection, whether they succeed or not; 0 sets no limit.
    pub logins_per_minute_max: u32,
    /// Of one address; 0 sets no limit.
    pub failures_per_minute_max: u32,
    pub signature_window_ms: u32,
    /// Of a log-in whose tokens end with its connection.
    pub connection_lifetime_s: u32,
    /// Of a named session's access token.
    pub token_lifetime_s: u32,
    /// Of a named session's refresh token.
    pub refresh_lifetime_s: u32,
}

impl Default for Auth {
    fn default() -> Auth {
        Auth {
            keys: PathBuf::new(),
            sessions: PathBuf::new(),
            demo_key: true,
            public_subscribe: vec!["*".to_owned()],
            logins_per_minute_max: 20,
            failures_per_minute_max: 60,
            signature_window_ms: 60_000,
            connection_lifetime_s: 31_536_000,
            token_lifetime_s: 900,
            refresh_lifetime_s: 604_800,
        }
    }
}

impl Auth {
    /// The file of named sessions, if there is to be one.
    #[must_use]
    pub fn sessions_file(&self) -> Option<&Path> {
        (!self.sessions.as_os_str().is_empty()).then_some(self.sessions.as_path())
    }

    /// Whether there is a file of keys.
    #[must_use]
    pub fn has_file(&self) -> bool {
        !self.keys.as_os_str().is_empty()
    }
}
