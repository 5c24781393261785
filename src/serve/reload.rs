//! SIGHUP: what of configuration, keys and certificates can change while the server runs. Home: the main thread.
//!
//! What is read is judged as a whole before anything is applied: a configuration that is no good changes nothing. Each thread then
//! takes all that concerns it at the start of a turn. What cannot change is named, and stays. Sockets at which venues are to be waited
//! for are bound before anything is applied, and closed again where something else is no good.

use std::net::TcpListener;
use std::sync::Arc;

use crate::auth::Keyring;
use crate::backend::FeedSettings;
use crate::config::{Config, Merged, desk_limits, merge};
use crate::doorbell::Doorbell;
use crate::exit::Failure;
use crate::keys;
use crate::log_tail;
use crate::rt;
use crate::shard::{ShardSettings, Spin};
use crate::slot::Slot;
use crate::venue::{LinksSetup, VenueSettings};

use super::backends::Backends;
use super::links::VenueLinks;
use super::verifying::auth_settings;
use super::{Server, hubs, operators, sources};

/// Where threads find newer settings.
pub(super) struct Slots {
    pub(super) shards: Vec<Arc<Slot<ShardSettings>>>,
    pub(super) venue: Arc<Slot<VenueSettings>>,
    /// It has a thread of its own: a shard in whose thread it lives spins for both.
    pub(super) may_venue_spin: bool,
}

impl Slots {
    pub(super) fn new(shards: usize, may_venue_spin: bool) -> Slots {
        Slots { shards: (0..shards).map(|_| Arc::default()).collect(), venue: Arc::default(), may_venue_spin }
    }
}

/// What was read for venue and backends, and is good.
struct Planned {
    feed: FeedSettings,
    /// `None` where they are as they were.
    links: Option<(VenueLinks, LinksSetup)>,
    backends: Backends,
    /// For clients of MCP, where they could not come over HTTP before.
    mcp_listener: Option<TcpListener>,
}

impl Server {
    /// Reads everything again. Connections go on; handshakes from now on show what was read, and who logged in by a key that is
    /// gone is closed.
    pub(super) fn reload(&mut self) {
        // Whatever becomes of the rest: who has renamed it waits for it to be let go.
        self.reopen_log();
        let (mut wanted, planned) = match self.read().and_then(|wanted| Ok((self.plan(&wanted)?, wanted))) {
            Ok((planned, wanted)) => (wanted, planned),
            Err(failure) => {
                log::error!("the configuration stays as it was, and all else: {failure}");
                return;
            }
        };
        self.open_log(&mut wanted);
        let keyring = self.read_keys(&mut wanted);
        if let Some(keyring) = keyring {
            self.shared.keyring.store(Arc::new(keyring.clone()));
            self.verifier.replace(keyring);
        }
        for refused in &wanted.refused {
            log::warn!("{refused}");
        }
        if wanted.changed.is_empty() {
            log::info!("the configuration is as it was");
        } else {
            self.apply(wanted.config, planned);
            log::info!("from now on: {}", wanted.changed.join(", "));
        }
        self.reload_certificates();
    }

    fn reopen_log(&mut self) {
        if let Err(failure) = self.log_file.open(self.config.log.file_path(), rt::give_way) {
            log::error!("the log goes on in the file that was open: {failure}");
        }
    }

    /// The log's file by that configuration; the one before where it cannot be opened, and then it goes by that.
    fn open_log(&mut self, wanted: &mut Merged) {
        let (before, after) = (&self.config.log, &mut wanted.config.log);
        if before.file == after.file {
            return;
        }
        if let Err(failure) = self.log_file.open(after.file_path(), rt::give_way) {
            log::error!("the log stays where it was: {failure}");
            after.file.clone_from(&before.file);
            wanted.changed.retain(|changed| !changed.starts_with("log.file "));
        }
    }

    /// What is to hold of the configuration as it is now.
    fn read(&self) -> Result<Merged, Failure> {
        if self.sources.file.is_none() {
            return merge(&self.config, self.config.clone(), &[]);
        }
        let wanted = self.sources.read()?.config;
        let before = self.config.warnings();
        for warning in wanted.warnings().iter().filter(|warning| !before.contains(warning)) {
            log::warn!("{} {}", warning.key, warning.what);
        }
        let limits = &wanted.limits;
        let has_room =
            self.shared.admission.has_room_for(limits.connections_max, limits.connections_per_address_max);
        // The table that tells addresses apart is of the start.
        let keep: &[&str] =
            if has_room { &[] } else { &["limits.connections_max", "limits.connections_per_address_max"] };
        merge(&self.config, wanted, keep)
    }

    /// What it makes of the feed and of links.
    fn plan(&self, wanted: &Merged) -> Result<Planned, Failure> {
        let feed = sources::feed_settings(&wanted.config)?;
        let other = wanted.config.venue != self.config.venue;
        let links = other.then(|| self.links.plan(&wanted.config.venue)).transpose()?;
        let backends = self.callees.backends.plan(&wanted.config)?.with_shares()?;
        Ok(Planned { feed, links, backends, mcp_listener: self.callees.mcp.plan(&wanted.config)? })
    }

    /// The keys by that configuration; those of before where they cannot be read, and then it goes by that file.
    fn read_keys(&self, wanted: &mut Merged) -> Option<Keyring> {
        let (before, after) = (&self.config.auth, &wanted.config.auth);
        if !after.has_file() {
            let is_other = before.has_file() || before.demo_key != after.demo_key;
            return is_other.then(|| keys::without_file(after.demo_key));
        }
        let path = &after.keys;
        if keys::is_credential(path) {
            log::warn!(
                "{}: systemd copied it when the service started; to have a newer one read, restart the service",
                path.display()
            );
        }
        match keys::load(path) {
            Ok(keyring) => {
                log::info!("{}: {} keys hold from now on", path.display(), keyring.credentials().len());
                Some(keyring)
            }
            Err(failure) => {
                log::error!("the keys stay as they were: {failure}");
                wanted.config.auth.keys.clone_from(&before.keys);
                // Whether the demo key holds is a matter of the keys that hold.
                wanted.config.auth.demo_key = before.demo_key;
                let stays = |changed: &str| {
                    changed.starts_with("auth.keys ") || changed.starts_with("auth.demo_key ")
                };
                wanted.changed.retain(|changed| !stays(changed));
                None
            }
        }
    }

    fn reload_certificates(&self) {
        for ((address, tls), listen) in self.addresses.iter().zip(&self.tls).zip(&self.config.listen) {
            let Some(tls) = tls.as_ref().filter(|tls| tls.has_files()) else { continue };
            let Some(settings) = &listen.tls else { continue };
            match tls.reload(settings) {
                Ok(()) => log::info!("{address}: certificate {} is shown from now on", tls.fingerprint()),
                Err(failure) => log::error!("{address}: the certificate stays as it was: {failure}"),
            }
        }
    }

    /// Has every thread go by a configuration.
    fn apply(&mut self, config: Config, planned: Planned) {
        let limits = &config.limits;
        self.shared.admission.set_limits(limits.connections_max, limits.connections_per_address_max);
        self.shared.bounds.store(Arc::new(operators::bounds(&config)));
        self.verifier.set_settings(auth_settings(&config));
        if let Some((links, setup)) = planned.links {
            for (_, listener) in &setup.listeners {
                log::info!("venues are waited for on {} too", listener.address());
            }
            self.links = links;
            // Where the thread has ended, the server is about to.
            let _ = self.newer_links.send(setup);
        }
        self.callees.apply(planned.backends, planned.mcp_listener, &config);
        self.slots.venue.put(venue_settings(&config, planned.feed, self.slots.may_venue_spin));
        log_tail::set_filter(&config.log.filter);
        self.config = config;
        self.tell_shards();
        self.doorbells.iter().for_each(Doorbell::ring);
        log::debug!("{} threads are handed newer settings", self.doorbells.len());
    }

    /// Shards find what they are to go by; their doorbells are the caller's.
    pub(super) fn tell_shards(&self) {
        let keyring = self.shared.keyring.load_full();
        for slot in &self.slots.shards {
            slot.put(shard_settings(&self.config, &keyring, &self.callees.backends));
        }
    }
}

/// What a shard goes by.
pub(super) fn shard_settings(config: &Config, keyring: &Arc<Keyring>, backends: &Backends) -> ShardSettings {
    ShardSettings {
        hub: hubs::hub_config(config, keyring, &backends.routes),
        spin: super::spin(config.shards.busy_poll),
        pace_ns_max: u64::from(config.flush.pace_max_us) * 1000,
        farewell: super::farewell(config),
        services: Arc::clone(&backends.services),
    }
}

/// What the venue's thread goes by.
pub(super) fn venue_settings(config: &Config, feed: FeedSettings, may_spin: bool) -> VenueSettings {
    VenueSettings {
        history: super::history(config),
        deflation: super::deflation(config),
        desk: config.orders.desk(),
        instruments: desk_limits(&config.instrument),
        office: config.messages.office(),
        overload: super::overload_marks(config),
        spin: if may_spin { super::spin(config.shards.busy_poll) } else { Spin::ForNs(0) },
        feed,
    }
}
