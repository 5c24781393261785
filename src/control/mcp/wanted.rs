//! Backends that come, go and change while clients are there. Home: the control thread.
//!
//! Invariants: a backend keeps its key, and so its processes and sessions, as long as what it is made from is the same; a key is
//! never given twice. How those that go are parted with is the relay's affair (`dialect/mcp/relay/backends.rs`).

use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;

use crate::auth::Level;
use crate::clock;
use crate::dialect::mcp::BackendKey;

use super::{Carrier, McpBackend, McpWanted, http};

impl McpBackend {
    /// Whether nothing has to be started anew for the other.
    fn is_like(&self, other: &McpBackend) -> bool {
        let (own, others) = (&self.settings, &other.settings);
        self.way == other.way
            && (&own.name, &own.prefix, own.instances) == (&others.name, &others.prefix, others.instances)
    }
}

impl Carrier {
    /// What clients say behind a reload is judged by what that has brought.
    pub(super) fn catch_up(&mut self, newer: &mut mpsc::UnboundedReceiver<McpWanted>) {
        while let Ok(wanted) = newer.try_recv() {
            self.want(wanted);
        }
    }

    pub(super) fn want(&mut self, wanted: McpWanted) {
        let McpWanted { backends, listener } = wanted;
        self.want_backends(backends);
        let address = listener.as_ref().and_then(|listener| listener.local_addr().ok());
        match (listener.map(|listener| self.listen(listener)), address) {
            (Some(Ok(())), Some(address)) => log::info!("MCP is served on http://{address}/mcp too"),
            (Some(Err(error)), _) => log::error!("MCP is not served over HTTP: {error}"),
            (Some(Ok(())) | None, _) => {}
        }
    }

    pub(super) fn want_backends(&mut self, wanted: Vec<McpBackend>) {
        let is_public = wanted.iter().any(|backend| backend.settings.needs == Level::None);
        self.offer.is_any.store(!self.offer.own.is_empty() || !wanted.is_empty(), Ordering::Relaxed);
        self.offer.is_public.store(!self.offer.own.is_empty() || is_public, Ordering::Relaxed);
        if self.order.iter().map(|key| &self.backends[key]).eq(&wanted) {
            return;
        }
        let named = |key: &BackendKey| (self.backends[key].settings.name.clone(), *key);
        let by_name: BTreeMap<Box<str>, BackendKey> = self.order.iter().map(named).collect();
        self.order.clear();
        let mut settings = Vec::with_capacity(wanted.len());
        for backend in wanted {
            let before = by_name.get(&backend.settings.name).copied();
            let key = before.filter(|key| self.backends[key].is_like(&backend)).unwrap_or_else(|| {
                self.last_key += 1;
                BackendKey(self.last_key)
            });
            settings.push((key, backend.settings.clone()));
            self.order.push(key);
            self.backends.insert(key, backend);
        }
        self.relay.set_backends(settings, clock::now().mono_ns);
        self.settle();
        self.tell_status();
    }

    /// # Errors
    /// The socket can't be used.
    pub(super) fn listen(&self, listener: TcpListener) -> io::Result<()> {
        let (offer, keyring) = (Arc::clone(&self.offer), Arc::clone(&self.keyring));
        http::listen(listener, self.access.clone(), offer, keyring, self.words.clone())
    }
}
