//! The cluster that this node is of, by the configuration. Home: the main thread.

use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};

use crate::auth::Accounts;
use crate::cluster::node::NodeConfig;
use crate::config::{Cluster, Config, FeedKind};
use crate::doorbell::Doorbell;
use crate::exit::{Exit, Failure};
use crate::limits;
use crate::model::ids::HomeId;
use crate::nats::{self, Nats, NatsSetup, NatsTls};
use crate::rt;
use crate::venue::ClusterSetup;

use super::sources;

/// What NATS is to be reached by, before any thread starts; none of a node by itself.
///
/// # Errors
/// What an operator has to change.
pub(super) fn setup(config: &Config, shards: usize) -> Result<Option<NatsSetup>, Failure> {
    let Cluster { servers, term_ms, replicas, credentials, tls, .. } = &config.cluster;
    let Some((cluster, node)) = config.cluster.names() else { return Ok(None) };
    if shards > limits::CLUSTER_SHARDS_MAX {
        let what = format!(
            "shards.cores: {shards} cores in a cluster, expected at most {}",
            limits::CLUSTER_SHARDS_MAX
        );
        return Err(Failure::new(Exit::Config, what, "run a second node on the others"));
    }
    let setup = NatsSetup {
        cluster,
        node,
        // 53 bits, as numbers of JSON have them.
        incarnation: RandomState::new().hash_one(std::process::id()) >> 11,
        servers: servers.clone(),
        credentials: path(credentials),
        tls: tls_of(&tls.ca, path(&tls.certificate).zip(path(&tls.key))),
        term_ms: u64::from(*term_ms),
        replicas: *replicas,
        give_way: rt::give_way,
    };
    match setup.check() {
        Ok(()) => Ok(Some(setup)),
        Err(error) => {
            Err(Failure::new(Exit::Config, format!("cluster: {error}"), "docs/scaling.md has an example"))
        }
    }
}

/// Starts the thread that speaks to NATS, which rings this doorbell of the venue; and what the venue is to know.
pub(super) fn start(
    config: &Config,
    setup: Option<NatsSetup>,
    doorbell: &Doorbell,
    market: HomeId,
    accounts: Accounts,
) -> Result<(Option<Nats>, Option<ClusterSetup>), Failure> {
    let Some(setup) = setup else { return Ok((None, None)) };
    let node = NodeConfig {
        name: setup.node,
        incarnation: setup.incarnation,
        may_own: may_own(config),
        term_ms: setup.term_ms,
        market,
    };
    let (nats, port) = nats::start(setup, doorbell.clone()).map_err(super::os)?;
    let of_feed = config.feed.clone();
    let open_feed = Box::new(move |settings: &_| sources::open(&of_feed, settings));
    Ok((Some(nats), Some(ClusterSetup { node, port, open_feed, accounts })))
}

/// Whether it has where a market comes from.
pub(super) fn may_own(config: &Config) -> bool {
    config.cluster.owns && (config.feed.kind != FeedKind::None || !config.venue.is_empty())
}

fn path(path: &Path) -> Option<PathBuf> {
    (!path.as_os_str().is_empty()).then(|| path.to_owned())
}

fn tls_of(authority: &Path, identity: Option<(PathBuf, PathBuf)>) -> Option<NatsTls> {
    let authority = path(authority);
    (authority.is_some() || identity.is_some()).then_some(NatsTls { authority, identity })
}
