//! The `[cluster]` table: the nodes that this one shares a market with, over NATS. Home: the main thread.

use std::borrow::Cow;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::cluster::names::ClusterName;
use crate::limits;

use super::check::{Range, RangeFault};

/// Of what this node is one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cluster {
    pub kind: ClusterKind,
    /// `nats://HOST:PORT` or `tls://HOST:PORT`, any of one cluster of NATS.
    pub servers: Vec<String>,
    pub name: String,
    /// Another one for each node.
    pub node: String,
    /// Whether this node may own the market: it has the feed, or links to venues.
    pub owns: bool,
    pub term_ms: u32,
    /// Of NATS's servers that keep the lease, and durable messages.
    pub replicas: u8,
    /// Of the stream that keeps durable messages; 0 for none.
    pub store_bytes_max: u64,
    /// Empty for none.
    pub credentials: PathBuf,
    pub tls: ClusterTls,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ClusterKind {
    /// This node is by itself.
    #[default]
    None,
    Nats,
}

/// How NATS is known, and this node to it; each empty for none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterTls {
    pub ca: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Default for Cluster {
    fn default() -> Cluster {
        Cluster {
            kind: ClusterKind::None,
            servers: vec!["nats://127.0.0.1:4222".to_owned()],
            name: "tickring".to_owned(),
            node: String::new(),
            owns: true,
            term_ms: 2000,
            replicas: 1,
            store_bytes_max: 0,
            credentials: PathBuf::new(),
            tls: ClusterTls::default(),
        }
    }
}

/// Addresses of servers that may be named.
const SERVERS_MAX: usize = 32;

/// A terabyte.
const STORE_BYTES_MAX: u64 = 1 << 40;

impl Cluster {
    /// The cluster's name and the node's, where this node is of one.
    #[must_use]
    pub fn names(&self) -> Option<(ClusterName, ClusterName)> {
        match self.kind {
            ClusterKind::None => None,
            ClusterKind::Nats => {
                ClusterName::parse(self.name.as_bytes()).zip(ClusterName::parse(self.node.as_bytes()))
            }
        }
    }

    pub(super) fn ranges(&self) -> [Range; 2] {
        [
            Range {
                key: "cluster.term_ms",
                value: self.term_ms.into(),
                min: limits::CLUSTER_TERM_MS_MIN,
                max: limits::CLUSTER_TERM_MS_MAX,
                unit: "ms",
                hint: "by default 2000, the same on all nodes",
            },
            Range {
                key: "cluster.replicas",
                value: self.replicas.into(),
                min: 1,
                max: 5,
                unit: "servers",
                hint: "3 outlives the loss of one of three servers",
            },
        ]
    }

    /// What is wrong with it; `has_directory` where `[store]` names one, `has_sessions` where `[auth]` names a file of sessions.
    pub(super) fn check(&self, has_directory: bool, has_sessions: bool) -> Result<(), RangeFault> {
        if self.kind == ClusterKind::None {
            return Ok(());
        }
        let fault = |key, what, hint: &str| {
            Err(RangeFault { key: Cow::Borrowed(key), nth: 0, what, hint: hint.to_owned() })
        };
        for (key, name) in [("cluster.name", &self.name), ("cluster.node", &self.node)] {
            if ClusterName::parse(name.as_bytes()).is_none() {
                let what = format!("is \"{name}\", expected 1 to 32 letters, digits, - and _");
                return fault(key, what, "each node of a cluster has a name of its own");
            }
        }
        if ["_sessions", "_presence"].iter().any(|end| self.name.ends_with(end)) {
            let what = format!("is \"{}\": another bucket of another cluster may have that name", self.name);
            return fault("cluster.name", what, "another end than _sessions and _presence");
        }
        if has_sessions {
            let what = "is set on a node of a cluster, whose other nodes could not read it".to_owned();
            return fault("auth.sessions", what, "leave it out: a cluster keeps named sessions in NATS");
        }
        if has_directory {
            let what = "is set on a node of a cluster, whose next owner could not read it".to_owned();
            return fault(
                "store.directory",
                what,
                "leave it out: cluster.store_bytes_max keeps durable messages in NATS",
            );
        }
        if (1..limits::JETSTREAM_BYTES_MIN).contains(&self.store_bytes_max)
            || self.store_bytes_max > STORE_BYTES_MAX
        {
            let (min, is) = (limits::JETSTREAM_BYTES_MIN, self.store_bytes_max);
            let what = format!("is {is}, expected 0 for none, or {min} to {STORE_BYTES_MAX} bytes");
            return fault("cluster.store_bytes_max", what, "a third of it is for messages that wait");
        }
        if self.servers.is_empty() || self.servers.len() > SERVERS_MAX {
            let what = format!("has {} servers, expected 1 to {SERVERS_MAX}", self.servers.len());
            return fault("cluster.servers", what, "nats://HOST:4222");
        }
        let is_url = |text: &&String| {
            let host = text.strip_prefix("nats://").or_else(|| text.strip_prefix("tls://"));
            host.is_some_and(|host| !host.is_empty() && !host.contains(['/', ' ']))
        };
        if let Some(odd) = self.servers.iter().find(|text| !is_url(text)) {
            let what = format!("has \"{odd}\", expected nats://HOST:PORT or tls://HOST:PORT");
            return fault("cluster.servers", what, "the port is 4222 where none is said");
        }
        if self.tls.certificate.as_os_str().is_empty() != self.tls.key.as_os_str().is_empty() {
            let what = "has a certificate without its key, or a key without its certificate".to_owned();
            return fault("cluster.tls", what, "name both, or neither");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(name: &str) -> Cluster {
        Cluster {
            kind: ClusterKind::Nats,
            name: name.to_owned(),
            node: "a".to_owned(),
            servers: vec!["nats://127.0.0.1:4222".to_owned()],
            ..Cluster::default()
        }
    }

    #[test]
    fn what_a_node_of_a_cluster_may_not_have_is_told_by_its_key() {
        assert!(cluster("prod").check(false, false).is_ok());
        let key = |name: &str, directory, sessions| {
            cluster(name).check(directory, sessions).err().map(|fault| fault.key.into_owned())
        };
        assert_eq!(key("prod", true, false).as_deref(), Some("store.directory"));
        assert_eq!(key("prod", false, true).as_deref(), Some("auth.sessions"));
        assert_eq!(key("prod_sessions", false, false).as_deref(), Some("cluster.name"));
        assert_eq!(key("prod_presence", false, false).as_deref(), Some("cluster.name"));
        assert_eq!(key("a.b", false, false).as_deref(), Some("cluster.name"));
        assert!(Cluster { kind: ClusterKind::None, ..cluster("prod") }.check(true, true).is_ok());
    }
}
