//! Names of backends' addresses are looked up again where shards do not reach them: a service may have moved. Home: the main thread; who
//! waits for the resolver is a thread beside it, which serves nobody.
//!
//! Invariants: one look is under way at a time, however long the resolver takes; a name that means nothing now means what it meant
//! before; connections that are there stay.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;

use crate::backend::rpc::{ServiceConfig, ServiceMember};
use crate::clock;
use crate::doorbell::Doorbell;
use crate::limits;
use crate::model::call::BackendId;
use crate::shard::Services;
use crate::telemetry::BackendStatus;

use super::Server;
use super::backends::Callees;

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    /// The next one is no earlier.
    due_ns: u64,
    under_way: Option<Receiver<Vec<Meaning>>>,
}

/// What a name means now.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Meaning {
    /// `host:port`, as the configuration has it.
    address: Box<str>,
    addresses: Vec<SocketAddr>,
}

impl Lookups {
    /// Takes what was found since it was last asked: these services with the addresses of now, where some are others. Then it begins
    /// another look, if it is time and shards miss somebody.
    fn look(
        &mut self,
        services: &Services,
        told: impl FnOnce() -> Vec<BackendStatus>,
        now_ns: u64,
    ) -> Option<Services> {
        if let Some(found) = &self.under_way {
            return match found.try_recv() {
                Ok(found) => {
                    self.under_way = None;
                    readdressed(services, &found)
                }
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => {
                    self.under_way = None;
                    None
                }
            };
        }
        if services.is_empty() || now_ns < self.due_ns {
            return None;
        }
        self.due_ns = now_ns + limits::BACKEND_LOOKUP_NS;
        let missed = missed(services, &told());
        if !missed.is_empty() {
            let (tell, told) = mpsc::channel();
            // Nobody may listen any more.
            let ask = move || drop(tell.send(missed.into_iter().filter_map(meaning).collect()));
            match thread::Builder::new().name("lookup".to_owned()).spawn(ask) {
                Ok(_) => self.under_way = Some(told),
                Err(error) => log::warn!("names of backends are not looked up again: {error}"),
            }
        }
        None
    }
}

/// Asks the resolver, which may take its time.
fn meaning(address: Box<str>) -> Option<Meaning> {
    match address.to_socket_addrs() {
        Ok(found) => Some(Meaning { addresses: found.collect(), address }),
        Err(error) => {
            log::debug!("{address}: {error}");
            None
        }
    }
}

/// Names of those that some shard does not reach. What is an address already is what it is.
fn missed(services: &[(BackendId, ServiceConfig)], told: &[BackendStatus]) -> Vec<Box<str>> {
    let mut missed = Vec::new();
    for (_, ServiceConfig { name, members, .. }) in services {
        let of_it = || told.iter().filter(|status| status.name == *name).flat_map(|status| &status.members);
        for ServiceMember { config, .. } in members {
            let is_name = config.address.parse::<SocketAddr>().is_err();
            let is_missed = of_it().any(|member| member.name == config.address && member.state != "up");
            if is_name && is_missed && !missed.contains(&config.address) {
                missed.push(config.address.clone());
            }
        }
    }
    missed
}

/// The same services where the names mean this; `None` where nothing is another.
fn readdressed(services: &[(BackendId, ServiceConfig)], found: &[Meaning]) -> Option<Services> {
    let (mut all, mut is_other) = (services.to_vec(), false);
    let members = all.iter_mut().flat_map(|(_, service)| &mut service.members);
    for ServiceMember { config, addresses } in members {
        let meaning = found.iter().find(|meaning| meaning.address == config.address);
        let Some(meaning) = meaning.filter(|meaning| !meaning.addresses.is_empty()) else { continue };
        // A resolver may tell them in another order each time.
        let is_same = addresses.len() == meaning.addresses.len()
            && meaning.addresses.iter().all(|address| addresses.contains(address));
        if !is_same {
            log::info!("{} is {:?} from now on", config.address, meaning.addresses);
            addresses.clone_from(&meaning.addresses);
            is_other = true;
        }
    }
    is_other.then(|| all.into())
}

impl Server {
    /// Has shards go by what names mean now, where they miss somebody.
    pub(super) fn look_names_up(&mut self) {
        let boards = &self.shared.linked;
        let told = || boards.iter().flat_map(|board| board.load().to_vec()).collect();
        let Callees { backends, lookups, .. } = &mut self.callees;
        if let Some(services) = lookups.look(&backends.services, told, clock::now().mono_ns) {
            backends.services = services;
            self.tell_shards();
            self.doorbells.iter().for_each(Doorbell::ring);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::serve::backends::Backends;
    use crate::telemetry::BackendMember;

    /// Services at these addresses, the names among them looked up.
    fn services(addresses: &[&str]) -> Services {
        let text = format!("[[backend]]\nname = \"t\"\nkind = \"tcp\"\naddresses = {addresses:?}\n");
        Backends::default().plan(&Config::parse(&text, "f", &|_| None).unwrap()).unwrap().services
    }

    /// As a shard tells of them.
    fn told(states: &[(&str, &'static str)]) -> BackendStatus {
        let member = |(name, state): &(&str, &'static str)| BackendMember {
            name: (*name).into(),
            state,
            ..BackendMember::default()
        };
        BackendStatus {
            name: "t".into(),
            members: states.iter().map(member).collect(),
            ..BackendStatus::default()
        }
    }

    fn meaning(address: &str, addresses: &[&str]) -> Meaning {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Meaning { address: address.into(), addresses }
    }

    #[test]
    fn names_that_a_shard_misses_are_looked_up_and_addresses_are_not() {
        let services = services(&["localhost:7", "127.0.0.1:7"]);
        let all_are = |state| told(&[("localhost:7", state), ("127.0.0.1:7", state)]);
        assert!(missed(&services, &[]).is_empty());
        assert!(missed(&services, &[all_are("up"), all_are("up")]).is_empty());
        assert_eq!(
            missed(&services, &[all_are("up"), all_are("down"), all_are("down")]),
            [Box::from("localhost:7")]
        );
    }

    #[test]
    fn a_name_means_what_was_found_unless_nothing_was() {
        let services = services(&["localhost:7"]);
        let found =
            [meaning("localhost:7", &["192.0.2.1:7", "192.0.2.2:7"]), meaning("other:7", &["192.0.2.3:7"])];
        let moved = readdressed(&services, &found).unwrap();
        assert_eq!(moved[0].1.members[0].addresses, found[0].addresses);
        assert_eq!(moved[0].1.members[0].config, services[0].1.members[0].config);
        // The same in another order, nothing, and what nobody has.
        for same in [
            meaning("localhost:7", &["192.0.2.2:7", "192.0.2.1:7"]),
            meaning("localhost:7", &[]),
            meaning("other:7", &["192.0.2.3:7"]),
        ] {
            assert_eq!(readdressed(&moved, &[same]), None);
        }
    }

    #[test]
    fn a_look_is_begun_once_at_a_time_and_not_too_soon() {
        let mut lookups = Lookups::default();
        let services = services(&["localhost:7"]);
        let down = || vec![told(&[("localhost:7", "down")])];
        let other = readdressed(&services, &[meaning("localhost:7", &["192.0.2.1:7"])]).unwrap();
        assert_eq!(lookups.look(&other, down, 5), None);
        let mut found = None;
        while lookups.under_way.is_some() {
            found = lookups.look(&other, down, 5);
        }
        assert_eq!(found, Some(services));
        assert_eq!(lookups.look(&other, down, 4 + limits::BACKEND_LOOKUP_NS), None);
        assert!(lookups.under_way.is_none());
        assert_eq!(lookups.look(&other, down, 5 + limits::BACKEND_LOOKUP_NS), None);
        assert!(lookups.under_way.is_some());
    }
}
