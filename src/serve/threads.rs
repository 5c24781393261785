//! The threads of shards and venue: what each is made from, and where it turns. Home: the main thread, at the start.

use std::sync::Arc;
use std::sync::mpsc;

use crate::calls::CallPort;
use crate::carry::MeshEndpoint;
use crate::config::Config;
use crate::doorbell::Doorbell;
use crate::exit::{Exit, Failure};
use crate::inspect::InspectPort;
use crate::inward::InwardPort;
use crate::limits;
use crate::ring::{Listener, RingConfig};
use crate::rt::{self, Cpu, PinnedThread};
use crate::shard::{self, ShardError, ShardReport, ShardSettings, ShardSetup};
use crate::store::StoreHandle;
use crate::telemetry::latency::Recorder;
use crate::tls::Tls;
use crate::venue::{self, ClusterSetup, LinksSetup, VenueError, VenueReport, VenueSetup};
use crate::verify::LoginPort;

use super::reload::{self, Slots};
use super::{Feed, Shared, os, sources};

/// What a shard did, and the venue in its thread, or why they ended.
pub(super) type ShardEnd = Result<(ShardReport, Option<VenueReport>), ShardError>;

/// Where the venue turns.
pub(super) enum VenueThread {
    Own(PinnedThread<Result<VenueReport, VenueError>>),
    /// In the thread of this shard, whose core it shares (decision 0014).
    Beside(usize),
}

/// What the venue's thread has of others.
pub(super) type VenueEnd =
    ((MeshEndpoint, Recorder), Option<InspectPort>, Option<StoreHandle>, Option<ClusterSetup>);

pub(super) fn venue_setup(
    config: &Config,
    shared: &Shared,
    slots: &Slots,
    ((mesh, recorder), inspect, store, cluster): VenueEnd,
    (feed, links, newer_links): (Feed, LinksSetup, mpsc::Receiver<LinksSetup>),
) -> Result<VenueSetup, Failure> {
    let place = slots.shards.len();
    let home = shard::home(place);
    Ok(VenueSetup {
        home,
        shards: home.0,
        settings: reload::venue_settings(config, sources::feed_settings(config)?, slots.may_venue_spin),
        newer_settings: Arc::clone(&slots.venue),
        newer_links,
        mesh,
        pressure: Arc::clone(&shared.pressure),
        board: Arc::clone(&shared.boards[place]),
        recorder,
        switch: Arc::clone(&shared.switch),
        inspect: inspect.expect("invariant: one more than there are shards"),
        feed,
        links,
        store,
        cluster,
        pulse: Arc::clone(&shared.pulses[place]),
        stop: Arc::clone(&shared.stop),
    })
}

/// What wakes each place of the mesh: one for each thread.
pub(super) fn doorbells(shards: usize, beside: Option<usize>) -> std::io::Result<Vec<Doorbell>> {
    let mut doorbells = (0..shards).map(|_| Doorbell::new()).collect::<std::io::Result<Vec<Doorbell>>>()?;
    doorbells.push(beside.map_or_else(Doorbell::new, |shard| Ok(doorbells[shard].clone()))?);
    Ok(doorbells)
}

pub(super) fn start_shard(
    number: usize,
    setup: ShardSetup,
    venue: Option<VenueSetup>,
    cpu: Cpu,
    ready: mpsc::Sender<()>,
) -> std::io::Result<PinnedThread<ShardEnd>> {
    let start = move || {
        shard::run(setup, venue, move || {
            let _ = ready.send(());
        })
    };
    rt::spawn_pinned(&format!("shard-{number}"), cpu, start)
}

pub(super) fn start_venue(
    setup: VenueSetup,
    cpu: Cpu,
    ready: mpsc::Sender<()>,
) -> std::io::Result<PinnedThread<Result<VenueReport, VenueError>>> {
    let start = move || {
        venue::run(setup, move || {
            let _ = ready.send(());
        })
    };
    rt::spawn_pinned("venue", cpu, start)
}

/// Whether each shard can have a place in the mesh, with the venue's.
pub(super) fn check_shards(cores: &[usize]) -> Result<(), Failure> {
    if cores.len() < limits::HOMES_MAX {
        return Ok(());
    }
    Err(Failure::new(Exit::Config, "shards.cores: more than 63 cores", "name fewer"))
}

/// A core without a shard, where there is one.
pub(super) fn venue_core(cores: &[usize], available: &[usize]) -> usize {
    available.iter().find(|core| !cores.contains(core)).or(available.last()).copied().unwrap_or(0)
}

/// Starts the venue's thread, unless a shard has taken the venue. The threads have the other ends of `ready`: when the last of them has
/// failed, the wait for them ends.
pub(super) fn place_venue(
    venue: Option<VenueSetup>,
    beside: Option<usize>,
    cpu: Cpu,
    ready: mpsc::Sender<()>,
) -> Result<VenueThread, Failure> {
    match venue {
        Some(setup) => Ok(VenueThread::Own(start_venue(setup, cpu, ready).map_err(os)?)),
        None => Ok(VenueThread::Beside(beside.expect("invariant: a shard has taken it"))),
    }
}

/// The shard whose core the venue would share, and in whose thread it therefore lives (decision 0014).
pub(super) fn venue_beside(cores: &[usize], available: &[usize]) -> Option<usize> {
    let shared = venue_core(cores, available);
    cores.iter().position(|core| *core == shared)
}

/// What is one shard's own of what it is made from.
pub(super) struct ShardParts {
    pub(super) number: usize,
    pub(super) settings: ShardSettings,
    pub(super) listeners: Vec<Listener>,
    pub(super) ends: (MeshEndpoint, Recorder),
    pub(super) logins: LoginPort,
    pub(super) calls: CallPort,
    pub(super) inspect: InspectPort,
    pub(super) inward: Option<InwardPort>,
}

impl ShardParts {
    pub(super) fn setup(
        self,
        config: &Config,
        shared: &Shared,
        slots: &Slots,
        ring: RingConfig,
        tls: &[Option<Tls>],
    ) -> ShardSetup {
        let ShardParts { number, settings, listeners, ends, logins, calls, inspect, inward } = self;
        let (mesh, recorder) = ends;
        ShardSetup {
            home: shard::home(number),
            shards: shard::home(slots.shards.len()).0,
            settings,
            newer_settings: Arc::clone(&slots.shards[number]),
            ring,
            listeners,
            tls: tls.iter().map(|tls| Some(Arc::clone(tls.as_ref()?.server_config()))).collect(),
            admission: Arc::clone(&shared.admission),
            connections_max: config.shards.connections_max,
            mesh,
            logins,
            calls,
            inspect,
            inward,
            pressure: Arc::clone(&shared.pressure),
            board: Arc::clone(&shared.boards[number]),
            linked: Arc::clone(&shared.linked[number]),
            recorder,
            pulse: Arc::clone(&shared.pulses[number]),
            stop: Arc::clone(&shared.stop),
        }
    }
}
