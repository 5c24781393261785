//! The cluster that this node is of, by the configuration. Home: the main thread.

use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::Thread;

use crate::auth::Accounts;
use crate::cluster::node::NodeConfig;
use crate::cluster::notices::Teller;
use crate::config::{Cluster, Config, FeedKind};
use crate::control::backends::NodesSetup;
use crate::doorbell::Doorbell;
use crate::exit::{Exit, Failure};
use crate::limits;
use crate::model::ids::HomeId;
use crate::nats::{self, Nats, NatsSetup, NatsTls, SessionEnds, SessionPort};
use crate::rt;
use crate::store::jetstream::{JetSettings, JetSetup, JetStore};
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

/// What NATS is to be reached by, with its end of the way from the thread that judges log-ins.
pub(super) type Reached = (NatsSetup, SessionEnds);

/// Both ends of the way from that thread to where named sessions are kept; none of a node by itself.
pub(super) fn session_lanes(
    setup: Option<NatsSetup>,
) -> Result<(Option<Reached>, Option<SessionPort>), Failure> {
    let Some(setup) = setup else { return Ok((None, None)) };
    let (port, ends) = nats::session_lanes().map_err(super::os)?;
    Ok((Some((setup, ends)), Some(port)))
}

/// What of the cluster is the main thread's.
pub(super) struct Joined {
    pub(super) nats: Nats,
    /// Of durable messages; none where there are none.
    pub(super) store: Option<Arc<JetStore>>,
    /// Until the control thread has it.
    pub(super) nodes: Option<NodesSetup>,
}

impl Joined {
    /// Once the venue has ended: what it had stored last is stored, the lease is given up.
    pub(super) fn stop(self) {
        if self.store.is_some_and(|store| !store.stop()) {
            log::warn!("some of the last changes to messages are not stored: NATS is behind");
        }
        self.nats.stop();
    }
}

/// Starts the thread that speaks to NATS, which rings this doorbell of the venue and unparks the thread that judges log-ins; and what the venue is to know.
pub(super) fn start(
    config: &Config,
    reached: Option<Reached>,
    doorbell: &Doorbell,
    judging: Thread,
    market: HomeId,
    accounts: Accounts,
) -> Result<(Option<Joined>, Option<ClusterSetup>), Failure> {
    let Some((setup, sessions)) = reached else { return Ok((None, None)) };
    let node = NodeConfig {
        name: setup.node,
        incarnation: setup.incarnation,
        may_own: may_own(config),
        term_ms: setup.term_ms,
        market,
    };
    let store = store(config, &setup, doorbell).map_err(super::os)?.map(Arc::new);
    let me = Teller { node: setup.node, incarnation: setup.incarnation };
    let (mut nats, port) = nats::start(setup, doorbell.clone(), (sessions, judging)).map_err(super::os)?;
    let nodes = nats.take_notices().map(|port| NodesSetup { me, port, board: Arc::default() });
    let of_feed = config.feed.clone();
    let open_feed = Box::new(move |settings: &_| sources::open(&of_feed, settings));
    let of_venue = ClusterSetup { node, port, open_feed, store: store.clone(), accounts };
    Ok((Some(Joined { nats, store, nodes }), Some(of_venue)))
}

fn store(config: &Config, setup: &NatsSetup, doorbell: &Doorbell) -> std::io::Result<Option<JetStore>> {
    let bytes_max = config.cluster.store_bytes_max;
    if bytes_max == 0 {
        return Ok(None);
    }
    let (servers, options) = setup.of_store()?;
    let (cluster, replicas) = (setup.cluster, usize::from(setup.replicas));
    Ok(Some(JetStore::new(JetSetup {
        settings: JetSettings { servers, options, cluster, replicas, bytes_max },
        doorbell: doorbell.clone(),
        queue_batches_max: config.store.queue_batches_max as usize,
        queue_bytes_max: config.store.queue_bytes_max,
        give_way: rt::give_way,
    })))
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
