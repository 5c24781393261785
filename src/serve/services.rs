//! Backends that shards have links to, from the configuration: their addresses looked up, what each shard goes by. Home: the main thread.
//!
//! Invariant: what an address meant stays as long as its backend has it.

use std::net::SocketAddr;

use crate::backend::pool::{BackoffConfig, PoolConfig};
use crate::backend::rpc::{ServiceConfig, ServiceMember};
use crate::backend::settings::{BackendSettings, TcpSettings, WaySettings};
use crate::clock;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::limits;
use crate::shard::Services;

use super::links::{LOOKUP_NS, look_up};

/// What these backends would make of the services of before.
///
/// # Errors
/// A host's name is unknown.
pub(super) fn services(
    settings: &[BackendSettings],
    before: &Services,
    config: &Config,
) -> Result<Services, Failure> {
    let by_ns = clock::now().mono_ns + LOOKUP_NS;
    let mut services = Vec::new();
    for BackendSettings { id, name, way, .. } in settings {
        let WaySettings::Tcp(tcp) = way else { continue };
        let before = before.iter().find(|(before, _)| before == id).map(|(_, before)| before);
        let mut members = Vec::new();
        for member in &tcp.links.members {
            let mut known = before.into_iter().flat_map(|before| &before.members);
            let addresses = match known.find(|known| known.config.address == member.address) {
                Some(known) => known.addresses.clone(),
                None => resolve(name, &member.address, by_ns)?,
            };
            members.push(ServiceMember { config: member.clone(), addresses });
        }
        services.push((*id, service(name, tcp, members, config)));
    }
    Ok(services.into())
}

fn service(name: &str, tcp: &TcpSettings, members: Vec<ServiceMember>, config: &Config) -> ServiceConfig {
    let TcpSettings { links, batching, health_method } = tcp;
    ServiceConfig {
        name: name.into(),
        members,
        pool: PoolConfig { health: links.pool.health.filter(|_| !health_method.is_empty()), ..links.pool },
        links: links.links,
        idle_ns: links.idle_timeout_ns,
        connect_timeout_ns: links.connect_timeout_ns,
        backoff: BackoffConfig {
            first_ns: limits::RPC_RECONNECT_NS,
            longest_ns: limits::RPC_RECONNECT_NS_MAX,
        },
        retry: links.retry,
        batching: *batching,
        health_method: health_method.clone(),
        line_bytes_max: config.limits.message_bytes_max,
    }
}

fn resolve(name: &str, address: &str, by_ns: u64) -> Result<Vec<SocketAddr>, Failure> {
    let failure = |why: String| {
        let what = format!("backend.addresses of {name}: {address}: {why}");
        Failure::new(Exit::Unavailable, what, "name a host that resolves, or its address")
    };
    match look_up(address, by_ns) {
        Ok(addresses) if !addresses.is_empty() => Ok(addresses),
        Ok(_) => Err(failure("the name has no address".to_owned())),
        Err(why) => Err(failure(why)),
    }
}
