//! What a server of the calls load is configured by. Home: the load thread. Invariant: the file is this run's own, and goes with it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::clock;
use crate::failure::{Doing, Failure, Result};
use crate::scenarios::Rig;
use crate::server::Launch;

/// Beyond any window of the load.
const CALLS_MAX: u32 = 65_536;
/// For the length of any run.
const CACHE_TTL_MS: u32 = 600_000;

/// See the file's head.
pub(super) struct Site {
    config: PathBuf,
}

impl Site {
    /// Makes it in `folder`, for a backend at that address and so many clients.
    pub(super) fn make(folder: &Path, backend: SocketAddr, connections: usize) -> Result<Site> {
        let name = format!("loadtest-calls-{}-{}.toml", std::process::id(), clock::mono_ns());
        let config = folder.join(name);
        fs::write(&config, text(backend, connections)).doing("write the server's configuration")?;
        Ok(Site { config })
    }

    /// How the server is started here.
    pub(super) fn launch(&self, rig: &Rig, arguments: &[&str]) -> Result<Launch> {
        let config = self.config.to_string_lossy().into_owned();
        let all: Vec<&str> = ["--config", &config].into_iter().chain(arguments.iter().copied()).collect();
        rig.server(&all).ok_or_else(|| Failure::Unmet("calls are a server's: --server PATH".to_owned()))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // What is left is in a folder for what is temporary.
        let _ = fs::remove_file(&self.config);
    }
}

fn text(backend: SocketAddr, connections: usize) -> String {
    let connections = connections + 100;
    format!(
        "[feed.paper]\ninstruments = 1\nevents_per_s = 1\n\n\
         [limits]\nconnections_max = {connections}\nconnections_per_address_max = 0\n\n\
         [shards]\nconnections_max = {connections}\n\n\
         [[backend]]\nname = \"echo\"\nkind = \"tcp\"\naddresses = [\"{backend}\"]\nmethods = [\"echo/*\"]\n\
         idempotent = [\"echo/get_*\"]\ncache_ttl_ms = {CACHE_TTL_MS}\ncache_shared = true\naccess = \"public\"\n\
         in_flight_max = {CALLS_MAX}\nbreaker_failures = 0\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_has_the_backend_and_goes_when_it_goes() {
        let site = Site::make(&std::env::temp_dir(), "127.0.0.1:77".parse().unwrap(), 900).unwrap();
        let config: toml::Table = fs::read_to_string(&site.config).unwrap().parse().unwrap();
        assert_eq!(config["backend"][0]["addresses"][0].as_str(), Some("127.0.0.1:77"));
        assert_eq!(config["limits"]["connections_max"].as_integer(), Some(1_000));
        let path = site.config.clone();
        drop(site);
        assert!(!path.exists());
    }
}
