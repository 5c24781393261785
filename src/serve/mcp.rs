//! The Model Context Protocol: its socket, and what its task is made from, at the start and when the configuration is read again.
//! Home: the main thread.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

use tokio::sync::mpsc::{self, UnboundedSender};

use crate::auth::Level;
use crate::backend::settings::{Access, BackendSettings, McpInstances, McpSettings, WaySettings};
use crate::config::{Backend, Config, Mcp};
use crate::control::{McpAccess, McpBackend, McpSetup, McpWanted, McpWay};
use crate::dialect::mcp;
use crate::dialect::tools::{TOOLS, Tool};
use crate::exit::{Exit, Failure};
use crate::limits;

/// The way to the task.
pub(super) struct McpLine {
    newer: UnboundedSender<McpWanted>,
    /// Clients may come over HTTP: for good, since nobody knows who else would take the address meanwhile.
    is_listening: bool,
}

/// What the task is made from.
///
/// # Errors
/// The address is taken.
pub(super) fn setup(config: &Config, backends: &[BackendSettings]) -> Result<(McpLine, McpSetup), Failure> {
    let own: &'static [Tool] = if config.mcp.tools { &TOOLS } else { &[] };
    let texts = |of: &[String]| of.iter().map(|text| text.as_str().into()).collect();
    let access = McpAccess { origins: texts(&config.mcp.origins), hosts: texts(&config.mcp.hosts) };
    let listener = config.mcp.address.filter(|_| config.serves_mcp()).map(|address| {
        let is_default = Some(address) == Mcp::default().address;
        bind(address, if is_default && !has_backends(config) { Need::Nobodys } else { Need::Somebodys })
    });
    let listener = listener.transpose()?.flatten();
    let (newer, heard) = mpsc::unbounded_channel();
    let line = McpLine { newer, is_listening: listener.is_some() };
    Ok((line, McpSetup { listener, access, own, backends: of_mcp(backends), newer: heard }))
}

impl McpLine {
    /// The socket that clients of a newer configuration come by, where there was none.
    ///
    /// # Errors
    /// The address is taken.
    pub(super) fn plan(&self, config: &Config) -> Result<Option<TcpListener>, Failure> {
        let address = config.mcp.address.filter(|_| has_backends(config) && !self.is_listening);
        address.map(|address| bind(address, Need::Somebodys)).transpose().map(Option::flatten)
    }

    /// These hold from now on.
    pub(super) fn apply(&mut self, backends: &[BackendSettings], listener: Option<TcpListener>) {
        self.is_listening |= listener.is_some();
        // Where the thread has ended, the server is about to.
        let _ = self.newer.send(McpWanted { backends: of_mcp(backends), listener });
    }
}

fn has_backends(config: &Config) -> bool {
    config.backend.iter().any(Backend::speaks_mcp)
}

fn of_mcp(backends: &[BackendSettings]) -> Vec<McpBackend> {
    backends.iter().cloned().filter_map(backend).collect()
}

/// Whether whoever configured the gateway has asked for the address, or for what is served there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Somebodys,
    /// It is every gateway's, and a second one of a machine starts without it.
    Nobodys,
}

/// None where another server has what nobody has asked for.
fn bind(address: SocketAddr, need: Need) -> Result<Option<TcpListener>, Failure> {
    let hint = "another server may have it: stop that one (ss -ltnp), or name another, --set \
                mcp.address=127.0.0.1:0 say, or none, \"\"";
    match TcpListener::bind(address) {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if error.kind() == ErrorKind::AddrInUse && need == Need::Nobodys => {
            log::warn!("mcp.address: {address}: {error}: MCP is not served over HTTP; {hint}");
            Ok(None)
        }
        Err(error) => Err(Failure::new(Exit::Unavailable, format!("mcp.address: {address}: {error}"), hint)),
    }
}

/// None where it speaks something else.
fn backend(settings: BackendSettings) -> Option<McpBackend> {
    let BackendSettings { name, route, way, .. } = settings;
    let (way, McpSettings { prefix, instances }) = match way {
        WaySettings::McpStdio(process, mcp) => (McpWay::Process(process), mcp),
        WaySettings::McpHttp(http, mcp) => (McpWay::Remote(http), mcp),
        WaySettings::Stdio(_) | WaySettings::Http(_) | WaySettings::Tcp(_) => return None,
    };
    let most = match &way {
        // Where too many are unanswered, its link is given up with all of them: one more is refused before.
        McpWay::Remote(_) => limits::MCP_REMOTE_REQUESTS_MAX / 4 * 3,
        McpWay::Process(_) => usize::MAX,
    };
    let settings = mcp::BackendSettings {
        name,
        prefix,
        instances: match instances {
            McpInstances::Shared => mcp::Instances::Shared,
            McpInstances::PerSession => mcp::Instances::PerSession,
        },
        needs: match route.access {
            Access::Public => Level::None,
            Access::Read => Level::Read,
            Access::ReadWrite => Level::ReadWrite,
        },
        request_timeout_ns: route.timeout_ns,
        requests_max: (route.in_flight_max as usize).min(most),
    };
    Some(McpBackend { settings, way })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_taken_is_a_failure_unless_nobody_has_asked_for_it() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        assert!(bind(address, Need::Nobodys).unwrap().is_none());
        let failure = bind(address, Need::Somebodys).unwrap_err().to_string();
        assert!(failure.starts_with(&format!("mcp.address: {address}: ")), "{failure}");
        drop(taken);
        assert!(bind(address, Need::Nobodys).unwrap().is_some());
    }
}
