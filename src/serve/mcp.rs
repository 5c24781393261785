//! The Model Context Protocol: its socket, and what its task is made from. Home: the main thread.

use std::net::TcpListener;

use crate::auth::Level;
use crate::backend::settings::{Access, BackendSettings, McpInstances, McpSettings, WaySettings};
use crate::config::Config;
use crate::control::{McpAccess, McpBackend, McpSetup, McpWay};
use crate::dialect::mcp;
use crate::exit::{Exit, Failure};
use crate::model::call::BackendId;

use super::backends::share_processors;

/// None where no backend speaks it.
///
/// # Errors
/// The address is taken, or there is no share of the processor to give.
pub(super) fn setup(config: &Config) -> Result<Option<McpSetup>, Failure> {
    let settings = config.backend.iter().zip(0..).map(|(backend, id)| backend.settings(BackendId(id)));
    let mut settings: Vec<BackendSettings> = settings.collect();
    share_processors(&mut settings)?;
    let backends: Vec<McpBackend> = settings.into_iter().filter_map(backend).collect();
    if backends.is_empty() {
        return Ok(None);
    }
    let listener = config.mcp.address.map(|address| {
        TcpListener::bind(address).map_err(|error| {
            let hint = "another server may have it: stop that one (ss -ltnp), or name another, --set \
                        mcp.address=127.0.0.1:0 say, or none, \"\"";
            Failure::new(Exit::Unavailable, format!("mcp.address: {address}: {error}"), hint)
        })
    });
    let texts = |of: &[String]| of.iter().map(|text| text.as_str().into()).collect();
    let access = McpAccess {
        has_public: backends.iter().any(|backend| backend.settings.needs == Level::None),
        origins: texts(&config.mcp.origins),
        hosts: texts(&config.mcp.hosts),
    };
    Ok(Some(McpSetup { listener: listener.transpose()?, access, backends }))
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
