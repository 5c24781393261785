//! The Model Context Protocol: its socket, and what its task is made from. Home: the main thread.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

use crate::auth::Level;
use crate::backend::settings::{Access, BackendSettings, McpInstances, McpSettings, WaySettings};
use crate::config::{Config, Mcp};
use crate::control::{McpAccess, McpBackend, McpSetup, McpWay};
use crate::dialect::mcp;
use crate::dialect::tools::{TOOLS, Tool};
use crate::exit::{Exit, Failure};
use crate::model::call::BackendId;

use super::backends::share_processors;

/// None where it is not served.
///
/// # Errors
/// The address is taken, or there is no share of the processor to give.
pub(super) fn setup(config: &Config) -> Result<Option<McpSetup>, Failure> {
    if !config.serves_mcp() {
        return Ok(None);
    }
    let settings = config.backend.iter().zip(0..).map(|(backend, id)| backend.settings(BackendId(id)));
    let mut settings: Vec<BackendSettings> = settings.collect();
    share_processors(&mut settings)?;
    let backends: Vec<McpBackend> = settings.into_iter().filter_map(backend).collect();
    let own: &'static [Tool] = if config.mcp.tools { &TOOLS } else { &[] };
    let texts = |of: &[String]| of.iter().map(|text| text.as_str().into()).collect();
    let access = McpAccess {
        has_public: !own.is_empty() || backends.iter().any(|backend| backend.settings.needs == Level::None),
        origins: texts(&config.mcp.origins),
        hosts: texts(&config.mcp.hosts),
    };
    let listener = config.mcp.address.map(|address| {
        let is_default = Some(address) == Mcp::default().address;
        bind(address, if is_default && backends.is_empty() { Need::Nobodys } else { Need::Somebodys })
    });
    Ok(Some(McpSetup { listener: listener.transpose()?.flatten(), access, own, backends }))
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
        requests_max: route.in_flight_max as usize,
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
