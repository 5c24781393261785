//! Backends of calls, from the configuration: at the start, and when it is read again. Home: the main thread.
//!
//! Invariants: a backend keeps its id as long as it is configured, and no id is given twice before all were; what is planned
//! changes nothing until it is taken.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use crate::auth::Scope;
use crate::backend::http::link::trusted;
use crate::backend::settings::{Access, BackendSettings, WaySettings};
use crate::backend::stdio::control_group::Delegated;
use crate::calls::Switchboard;
use crate::config::{Backend, Config};
use crate::control::backends::{BackendsSetup, NodesSetup, Wanted};
use crate::dialect::json_rpc;
use crate::exit::{Exit, Failure};
use crate::hub::{BackendTerms, Caching, ProcessorTerms, Route, Routes, RoutesFault, Sharing};
use crate::limits;
use crate::model::call::BackendId;
use crate::model::message::processor_of;
use crate::shard::Services;
use crate::telemetry::BackendStatus;

use super::lookups::Lookups;
use super::mcp::McpLine;
use super::services::services;

/// Backends, and the way to the thread that carries their calls.
pub(super) struct Callees {
    pub(super) backends: Backends,
    pub(super) lookups: Lookups,
    /// To those who carry what is no call.
    pub(super) mcp: McpLine,
    newer: mpsc::UnboundedSender<Wanted>,
    /// Until the control thread has them.
    for_control: Option<(Switchboard, mpsc::UnboundedReceiver<Wanted>)>,
    /// How they are, as the control thread tells.
    pub(super) status: Arc<ArcSwap<Vec<BackendStatus>>>,
}

impl Callees {
    pub(super) fn new(backends: Backends, mcp: McpLine, switchboard: Switchboard) -> Callees {
        let (newer, heard) = mpsc::unbounded_channel();
        Callees {
            backends,
            lookups: Lookups::default(),
            mcp,
            newer,
            for_control: Some((switchboard, heard)),
            status: Arc::default(),
        }
    }

    /// What the control thread carries calls by.
    ///
    /// # Panics
    /// It was told before: our own bug.
    pub(super) fn setup(&mut self, config: &Config, nodes: Option<NodesSetup>) -> BackendsSetup {
        let for_control = self.for_control.take();
        let (switchboard, newer) = for_control.expect("invariant: the control thread is started once");
        let settings = self.backends.wanted(config);
        BackendsSetup { switchboard, settings, newer, status: Arc::clone(&self.status), nodes }
    }

    /// These hold from now on; clients of MCP come by that socket too, if there is one.
    pub(super) fn apply(&mut self, backends: Backends, listener: Option<TcpListener>, config: &Config) {
        self.mcp.apply(&backends.settings, listener);
        // Where the thread has ended, the server is about to.
        let _ = self.newer.send(backends.wanted(config));
        self.backends = backends;
    }
}

/// Backends as they are, by name.
#[derive(Clone, Debug)]
pub(super) struct Backends {
    ids: BTreeMap<String, BackendId>,
    /// The id that was given last.
    last: Option<u16>,
    pub(super) settings: Vec<BackendSettings>,
    pub(super) routes: Arc<Routes>,
    /// Those that shards have links to.
    pub(super) services: Services,
}

/// None.
impl Default for Backends {
    fn default() -> Backends {
        Backends {
            ids: BTreeMap::new(),
            last: None,
            settings: Vec::new(),
            routes: Arc::default(),
            services: Arc::from([]),
        }
    }
}

impl Backends {
    /// What this configuration would make of them.
    ///
    /// # Errors
    /// A route is not possible, a file of certificates no good, or a host's name unknown.
    pub(super) fn plan(&self, config: &Config) -> Result<Backends, Failure> {
        let mut next = Backends { last: self.last, ..Backends::default() };
        let named = |backend: &Backend| Some((backend.name.clone(), *self.ids.get(&backend.name)?));
        next.ids = config.backend.iter().filter_map(named).collect();
        for backend in &config.backend {
            let id = match next.ids.get(&backend.name) {
                Some(id) => *id,
                None => next.new_id(&self.ids),
            };
            next.ids.insert(backend.name.clone(), id);
            next.settings.push(backend.settings(id));
        }
        for BackendSettings { name, way, .. } in &next.settings {
            if let WaySettings::Http(http) | WaySettings::McpHttp(http, _) = way {
                trusted(http).map_err(|error| {
                    let hint = "PEM files with the certificates of those who sign, or \"\" for the host's";
                    Failure::new(Exit::Config, format!("backend.authorities of {name}: {error}"), hint)
                })?;
            }
        }
        next.routes = Arc::new(routes(&next.settings)?);
        next.services = services(&next.settings, &self.services, config)?;
        Ok(next)
    }

    /// With a control group for each that has a share of the processor.
    ///
    /// # Errors
    /// The gateway has none to divide.
    pub(super) fn with_shares(mut self) -> Result<Backends, Failure> {
        share_processors(&mut self.settings)?;
        Ok(self)
    }

    /// What the control thread is told.
    fn wanted(&self, config: &Config) -> Wanted {
        let of_control = self.settings.iter().filter(|backend| !matches!(backend.way, WaySettings::Tcp(_)));
        Wanted { backends: of_control.cloned().collect(), answer_bytes_max: config.limits.message_bytes_max }
    }

    /// One that nobody has, nor had just before.
    fn new_id(&mut self, before: &BTreeMap<String, BackendId>) -> BackendId {
        let count = u16::try_from(limits::BACKENDS_MAX).unwrap_or(u16::MAX);
        let first = self.last.map_or(0, |last| last + 1);
        let is_taken = |id: u16, ids: &BTreeMap<String, BackendId>| ids.values().any(|taken| taken.0 == id);
        let mut ids = (0..count).map(|nth| (first + nth) % count);
        let fresh = ids.clone().find(|id| !is_taken(*id, &self.ids) && !is_taken(*id, before));
        // All others are there, or were until now.
        let id = fresh.or_else(|| ids.find(|id| !is_taken(*id, &self.ids)));
        let id = id.expect("invariant: the configuration has at most BACKENDS_MAX");
        self.last = Some(id);
        BackendId(id)
    }
}

/// Gives a control group to each that has a share of the processor. The gateway's own is made ready for that by the first of them, and
/// stays so.
///
/// # Errors
/// There is none to divide.
fn share_processors(backends: &mut [BackendSettings]) -> Result<(), Failure> {
    let mut found = None;
    for BackendSettings { name, way, .. } in backends {
        let process = match way {
            WaySettings::Stdio(process) | WaySettings::McpStdio(process, _) => process,
            WaySettings::Http(_) | WaySettings::Tcp(_) | WaySettings::McpHttp(..) => continue,
        };
        if process.cpu_percent_max == 0 {
            continue;
        }
        let delegated = match &found {
            Some(delegated) => delegated,
            None => found.insert(Delegated::find().map_err(|error| {
                let hint = "Delegate=cpu and ProtectControlGroups=no in the unit (docs/backends.md), or 0";
                Failure::new(Exit::Config, format!("backend.cpu_percent_max of {name}: {error}"), hint)
            })?),
        };
        process.control_group = Some(delegated.group_of(name));
    }
    Ok(())
}

fn routes(backends: &[BackendSettings]) -> Result<Routes, Failure> {
    let terms = backends.iter().map(|backend| {
        let BackendSettings { id, name, route, .. } = backend;
        let terms = BackendTerms {
            name: name.clone(),
            under_way_max: route.in_flight_max,
            per_connection_max: route.in_flight_per_client_max,
            timeout_ns: route.timeout_ns,
        };
        (*id, terms)
    });
    let access = |access: Access| match access {
        Access::Public => json_rpc::Access::Everybody,
        Access::Read => json_rpc::Access::Scoped(Scope::BackendRead),
        Access::ReadWrite => json_rpc::Access::Scoped(Scope::BackendReadWrite),
    };
    let processors = backends.iter().filter(|backend| !backend.route.messages.is_empty()).map(|backend| {
        let BackendSettings { id, name, route, .. } = backend;
        ProcessorTerms {
            backend: *id,
            user: processor_of(name).expect("invariant: a backend's name is short"),
            types: route.messages.clone(),
            in_flight_max: route.messages_in_flight_max,
            access: access(route.access),
        }
    });
    let all = backends.iter().flat_map(|backend| {
        let settings = &backend.route;
        let sharing = if settings.cache_shared { Sharing::Everybody } else { Sharing::Account };
        let caching =
            (settings.cache_ttl_ns > 0).then_some(Caching { ttl_ns: settings.cache_ttl_ns, sharing });
        let route = move |pattern: &str, is_idempotent: bool| Route {
            pattern: pattern.into(),
            backend: backend.id,
            access: access(settings.access),
            is_idempotent,
            caching: caching.filter(|_| is_idempotent),
        };
        let others = settings.methods.iter().filter(move |method| !settings.idempotent.contains(method));
        let idempotent = settings.idempotent.iter().map(move |method| route(method, true));
        idempotent.chain(others.map(move |method| route(method, false)))
    });
    let fault = |key: &str, fault: RoutesFault| {
        Failure::new(Exit::Config, format!("backend.{key}: {fault}"), "tickring.toml says what they may be")
    };
    let routes = Routes::new(terms, all).map_err(|error| fault("methods", error))?;
    routes.with_processors(processors).map_err(|error| fault("messages", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(names: &[&str]) -> Config {
        let table = |name: &&str| format!("[[backend]]\nname = \"{name}\"\ncommand = [\"x\"]\n");
        Config::parse(&names.iter().map(table).collect::<String>(), "f.toml", &|_| None).unwrap()
    }

    fn ids(backends: &Backends) -> Vec<(&str, u16)> {
        backends.settings.iter().map(|settings| (&*settings.name, settings.id.0)).collect()
    }

    #[test]
    fn a_backend_keeps_its_id_whatever_comes_and_goes() {
        let first = Backends::default().plan(&config(&["a", "b", "c"])).unwrap();
        assert_eq!(ids(&first), [("a", 0), ("b", 1), ("c", 2)]);
        let second = first.plan(&config(&["d", "c", "a"])).unwrap();
        assert_eq!(ids(&second), [("d", 3), ("c", 2), ("a", 0)]);
        // One that comes again is another.
        let third = second.plan(&config(&["b", "a"])).unwrap();
        assert_eq!(ids(&third), [("b", 4), ("a", 0)]);
    }

    #[test]
    fn ids_go_round_when_all_were_given() {
        let mut backends = Backends::default();
        for _ in 0..limits::BACKENDS_MAX {
            backends = backends.plan(&config(&["a"])).unwrap();
            backends = backends.plan(&config(&["b"])).unwrap();
        }
        assert!(usize::from(backends.settings[0].id.0) < limits::BACKENDS_MAX);
    }

    #[test]
    fn methods_that_may_be_sent_twice_are_routes_of_their_own() {
        let text = "[[backend]]\nname = \"a\"\ncommand = [\"x\"]\naccess = \"public\"\nidempotent = [\"a/get_*\"]\n\
                    cache_ttl_ms = 5\n";
        let backends = Backends::default().plan(&Config::parse(text, "f", &|_| None).unwrap()).unwrap();
        let found = |method: &str| {
            let route = backends.routes.find(method).unwrap();
            (route.is_idempotent, route.caching.map(|caching| caching.ttl_ns))
        };
        assert_eq!(found("a/get_x"), (true, Some(5_000_000)));
        assert_eq!(found("a/set_x"), (false, None));
        assert!(backends.routes.find("b/x").is_none());
    }

    #[test]
    fn the_gateways_own_names_are_not_given_away() {
        let failure = Backends::default().plan(&config(&["public"])).unwrap_err().to_string();
        assert!(
            failure.starts_with("backend.methods: \"public/*\": the prefix is the gateway's own"),
            "{failure}"
        );
    }
}
