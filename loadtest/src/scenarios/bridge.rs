//! What it costs to cross from one node of a cluster to another: two nodes and a nats-server on this machine, a client at each that is told the same events. The
//! owner's client is the limit: how much later is the same event with the follower's? Home: the load thread, and a thread for each client.
//!
//! Invariants: both clients read by one clock; an event counts where both were told it, and one that is told twice fails the run; nothing is
//! measured before both nodes have a market.

use std::collections::HashMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;

use crate::client::{self, STEP_DEADLINE_NS, Single};
use crate::clock::{self, MILLISECOND_NS, SECOND_NS};
use crate::ear::{Ear, Heard};
use crate::failure::{Doing, Failure, Result};
use crate::frame;
use crate::histogram::Latencies;
use crate::operators::Metrics;
use crate::report::{Comparison, Sample};
use crate::scenarios::{self, Rig};
use crate::secure::Line;
use crate::server::{self, Launch, Server};
use crate::wire;

/// Where nodes are told of the server.
const PREFIX: &str = "TICKRING_CLUSTER_";
/// The environment's variable for where nats-server is.
const PROGRAM: &str = "NATS_SERVER";
/// The longest wait for a market: a term of the lease, and the image.
const MARKET_DEADLINE_NS: u64 = 15 * SECOND_NS;

/// What becomes of what clients are told: it is taken in all phases, so that none waits.
const WARMING_UP: u8 = 0;
const MEASURED: u8 = 1;
const OVER: u8 = 2;

/// Compares the same events of a channel at both nodes, at this many of the market a second; `None` without a server.
pub(crate) fn run(
    rig: &Rig,
    nats_server: Option<String>,
    events_per_s: u32,
    channel: &str,
) -> Option<Comparison> {
    let nats_server =
        nats_server.or_else(|| std::env::var(PROGRAM).ok()).unwrap_or_else(|| "nats-server".to_owned());
    let events = format!("feed.paper.events_per_s={events_per_s}");
    let cores = rig.cpus_server.get(..1).unwrap_or_default();
    // Operators are answered, which tells what has crossed.
    let launch = rig.server_on(cores, "127.0.0.1:0", &["--set", &events])?;
    let case = format!(
        "bridge: {events_per_s} events/s of the market, {channel} to a client of the owner and to one of the node that follows"
    );
    Some(rig.alone(&case, &launch, |launch| measure(rig, launch, &nats_server, channel)))
}

/// An event, by its epoch, which is one topic's of an owner, and its number there.
type Event = (u64, u64);

/// What one client was told, and when. While it listens it does no more than keep that: it shares its core.
#[derive(Default)]
struct Told {
    events: Vec<(Event, u64)>,
}

fn measure(rig: &Rig, launch: &Launch, nats_server: &str, channel: &str) -> Result<Sample> {
    let nats = Nats::start(nats_server)?;
    let node = |name: &str, owns: bool| {
        let mut launch = launch.clone();
        for (key, value) in [
            ("KIND", "nats".to_owned()),
            ("SERVERS", format!("nats://127.0.0.1:{}", nats.port)),
            ("NODE", name.to_owned()),
            ("OWNS", owns.to_string()),
        ] {
            launch.environment.push((format!("{PREFIX}{key}"), value));
        }
        Server::start(&launch, rig.cpu_client)
    };
    let (owner, follower) = (node("owner", true)?, node("follower", false)?);
    // The follower's first: once it is told an event, both nodes have a market.
    let (after, before) = (subscribed(&follower, channel)?, subscribed(&owner, channel)?);
    let phase = AtomicU8::new(WARMING_UP);
    let measured = thread::scope(|scope| {
        let threads = [before, after].map(|line| scope.spawn(|| listen(line, &phase)));
        server::sleep_ns(rig.warmup_ns);
        let clocks = [owner.cpu_clock(), follower.cpu_clock()];
        let crossed_before = crossed(&follower);
        let begun_ns = clock::mono_ns();
        phase.store(MEASURED, Ordering::Relaxed);
        server::sleep_ns(rig.measured_ns);
        phase.store(OVER, Ordering::Relaxed);
        let elapsed_ns = clock::mono_ns() - begun_ns;
        let used = [owner.cpu_clock(), follower.cpu_clock()];
        let told = threads.map(|thread| thread.join().expect("a client does not panic"));
        (told, [crossed_before, crossed(&follower)], clocks, used, elapsed_ns)
    });
    let ([first, second], [before, after], clocks, used, elapsed_ns) = measured;
    let [owner_begun, follower_begun] = clocks;
    let [owner_used, follower_used] = used;
    let mut sample = Sample::default();
    sample.add("bridged", "1/s", per_s(after? - before?, elapsed_ns));
    compare(&first?, &second?, elapsed_ns, &mut sample)?;
    for (name, used, begun) in
        [("owner CPU", owner_used?, owner_begun?), ("follower CPU", follower_used?, follower_begun?)]
    {
        sample.add(name, "core", scenarios::ratio(used.since(&begun).running_ns, elapsed_ns));
    }
    Ok(sample)
}

/// Changes of the owner's market that a node has heard of by now.
fn crossed(follower: &Server) -> Result<u64> {
    Metrics::ask(follower.control()?)?.sum_of("tickring_cluster_changes_heard_total")
}

fn per_s(count: u64, elapsed_ns: u64) -> f64 {
    scenarios::ratio(count, 1) / scenarios::ratio(elapsed_ns, SECOND_NS)
}

/// A connection that is told the market, once the node has one: a channel of all instruments is granted before.
fn subscribed(server: &Server, channel: &str) -> Result<Line> {
    let instruments = r#"{"jsonrpc":"2.0","id":1,"method":"public/get_instruments","params":{}}"#;
    let deadline_ns = clock::mono_ns() + MARKET_DEADLINE_NS;
    while !Single::connect(server.target())?.ask(instruments)?.contains("instrument_name") {
        if clock::mono_ns() > deadline_ns {
            return Err(Failure::Unmet("no node has told a market".to_owned()));
        }
        server::sleep_ns(100 * MILLISECOND_NS);
    }
    let mut line = client::connect(server.target())?;
    let request = wire::subscribe_request(&[channel.to_owned()], "");
    let mut text = Vec::new();
    frame::encode_client(frame::TEXT, request.as_bytes(), &mut text);
    line.write_all(&text).doing("subscribe")?;
    Ok(line)
}

/// Takes what it is told until it is over.
fn listen(mut line: Line, phase: &AtomicU8) -> Result<Told> {
    line.stream.set_nonblocking(false).doing("blocking reads")?;
    let mut told = Told::default();
    let mut ear = Ear::opened();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let phase = phase.load(Ordering::Relaxed);
        if phase == OVER {
            return Ok(told);
        }
        let bytes = match line.read(&mut buffer) {
            Ok(0) => return Err(Failure::Protocol("the node closed the connection".to_owned())),
            Ok(bytes) => bytes,
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) =>
            {
                continue;
            }
            Err(error) => return Err(Failure::Io("receive", error)),
        };
        let now_ns = clock::mono_ns();
        let mut pong = Vec::new();
        let mut is_closed = false;
        ear.take(&buffer[..bytes], |heard| {
            match heard {
                Heard::Message(message) if phase == MEASURED => told.take(message, now_ns),
                Heard::Message(_) => {}
                Heard::Ping(payload) => frame::encode_client(frame::PONG, payload, &mut pong),
                Heard::Close(_) => is_closed = true,
                Heard::Answer { .. } => {}
            }
            true
        })
        .map_err(|misheard| Failure::Protocol(misheard.name().to_owned()))?;
        if is_closed {
            return Err(Failure::Protocol("the node closed a client that reads".to_owned()));
        }
        if !pong.is_empty() {
            line.write_all(&pong).doing("send a pong")?;
        }
    }
}

impl Told {
    fn take(&mut self, message: &[u8], now_ns: u64) {
        let number = |key| wire::digits_after(message, key).and_then(|digits| digits.parse::<u64>().ok());
        let (Some(epoch), Some(seq)) = (number(r#""epoch":"#), number(r#""seq":"#)) else { return };
        self.events.push(((epoch, seq), now_ns));
    }

    /// When each event was told, and how many were told twice.
    fn by_event(&self) -> (HashMap<Event, u64>, usize) {
        let at_ns: HashMap<Event, u64> = self.events.iter().copied().collect();
        let repeated = self.events.len() - at_ns.len();
        (at_ns, repeated)
    }
}

/// The same events at both.
fn compare(owner: &Told, follower: &Told, elapsed_ns: u64, sample: &mut Sample) -> Result<()> {
    let ((owned, owned_twice), (followed, followed_twice)) = (owner.by_event(), follower.by_event());
    let mut later = Latencies::new();
    let mut earlier = 0_u64;
    for (event, at_ns) in &owned {
        let Some(followed_ns) = followed.get(event) else { continue };
        earlier += u64::from(followed_ns < at_ns);
        later.record(followed_ns.saturating_sub(*at_ns));
    }
    let summary = later.summary();
    let repeated = owned_twice + followed_twice;
    if summary.count == 0 || repeated > 0 {
        return Err(Failure::Protocol(format!(
            "{} events at both nodes, {repeated} told twice",
            summary.count
        )));
    }
    let per_s = |count| per_s(count, elapsed_ns);
    sample.add("events at both", "1/s", per_s(summary.count));
    // A client that does not keep up is told the newest of some books instead, each node by itself.
    sample.add("at the owner", "1/s", per_s(owned.len() as u64));
    sample.add("at the follower", "1/s", per_s(followed.len() as u64));
    sample.add_us("later p50", summary.p50_ns);
    sample.add_us("later p99", summary.p99_ns);
    sample.add("not later", "%", scenarios::ratio(earlier, summary.count) * 100.0);
    Ok(())
}

/// A nats-server of this run's own, that is gone with it.
struct Nats {
    child: Child,
    port: u16,
    store: PathBuf,
}

impl Nats {
    fn start(program: &str) -> Result<Nats> {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).doing("find a free port")?;
        let port = free.local_addr().doing("find a free port")?.port();
        drop(free);
        let store = std::env::temp_dir().join(format!("loadtest-{}-nats", std::process::id()));
        let child = Command::new(program)
            .args(["--jetstream", "--addr", "127.0.0.1", "--port", &port.to_string(), "--store_dir"])
            .arg(&store)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .doing("start nats-server (NATS_SERVER or --nats-server says where it is)")?;
        let nats = Nats { child, port, store };
        let deadline_ns = clock::mono_ns() + STEP_DEADLINE_NS;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if clock::mono_ns() > deadline_ns {
                return Err(Failure::Unmet("nats-server does not listen".to_owned()));
            }
            server::sleep_ns(10 * MILLISECOND_NS);
        }
        Ok(nats)
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        // It may have ended by itself, and its store may be gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.store);
    }
}
