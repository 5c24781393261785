//! What is served, in a line on stdout, since scripts read the addresses there. Home: the main thread, once at the start.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;

use crate::config::{Listen, Protocol};
use crate::control::Control;
use crate::tls::Tls;

use super::{Server, sources};

impl Server {
    pub(super) fn urls(&self) -> Vec<String> {
        let url = |((address, tls), listen): ((&SocketAddr, &Option<Tls>), &Listen)| {
            let (scheme, path) = match listen.protocol {
                Protocol::Websocket => ("ws", "/ws"),
                Protocol::Tcp => ("tcp", ""),
            };
            format!("{scheme}{}://{address}{path}", if tls.is_some() { "s" } else { "" })
        };
        self.addresses.iter().zip(&self.tls).zip(&self.config.listen).map(url).collect()
    }
}

/// What is served and one line to try. On stdout, since scripts read the address there.
pub(super) fn announce(cores: &[usize], server: &Server) {
    let feed = sources::describe(&server.config, &server.links.addresses());
    let mut out = std::io::stdout().lock();
    let (version, urls) = (env!("CARGO_PKG_VERSION"), server.urls());
    let url = urls.join(" and ");
    let control = server.control.as_ref().and_then(Control::address);
    let control = control.map_or_else(String::new, |address| format!("; control on http://{address}"));
    let mcp = server.control.as_ref().and_then(Control::mcp_address);
    let mcp = mcp.map_or_else(String::new, |address| format!("; MCP on http://{address}/mcp"));
    let mut lines = format!("tickring {version} serves {url} on cores {cores:?}: {feed}{control}{mcp}\n");
    let first = server.config.listen.iter().position(|listen| listen.protocol == Protocol::Websocket);
    if let Some(first) = first.filter(|_| out.is_terminal()) {
        let tls = server.tls[first].as_ref().filter(|tls| !tls.has_files());
        let pin = tls.map_or_else(String::new, |tls| format!(" --pin {}", tls.fingerprint()));
        lines.push_str(&format!("try: tickring watch --url {}{pin} 'ticker.*.raw'\n", urls[first]));
    }
    // A closed stdout is no reason not to serve.
    let _ = out.write_all(lines.as_bytes()).and_then(|()| out.flush());
}
