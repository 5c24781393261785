//! What it costs to cross from one node of a cluster to another: two nodes and a nats-server on this machine, a client at each that is told the same events. The
//! owner's client is the limit: how much later is the same event with the follower's? Home: the load thread, and a thread for each client.
//!
//! Invariants: both clients read by one clock; an event counts where both were told it; an event that one of them misses, or is told twice, fails the run.

use std::collections::HashMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::client::{self, STEP_DEADLINE_NS, Single};
use crate::clock::{self, MILLISECOND_NS, SECOND_NS};
use crate::ear::{Ear, Heard};
use crate::failure::{Doing, Failure, Result};
use crate::frame;
use crate::histogram::Latencies;
use crate::report::{Comparison, Sample};
use crate::scenarios::{self, Rig};
use crate::secure::Line;
use crate::server::{self, Launch, Server};
use crate::wire;

/// All changes of all books: each is an event, and none is left out.
const CHANNEL: &str = "book.*.raw";
/// Where nodes are told of the server.
const PREFIX: &str = "TICKRING_CLUSTER_";
/// The environment's variable for where nats-server is.
const PROGRAM: &str = "NATS_SERVER";
/// The longest wait for a market: a term of the lease, and the image.
const MARKET_DEADLINE_NS: u64 = 15 * SECOND_NS;

/// Compares the same events at both nodes, at this many of the market a second; `None` without a server.
pub(crate) fn run(rig: &Rig, nats_server: Option<String>, events_per_s: u32) -> Option<Comparison> {
    let nats_server =
        nats_server.or_else(|| std::env::var(PROGRAM).ok()).unwrap_or_else(|| "nats-server".to_owned());
    let events = format!("feed.paper.events_per_s={events_per_s}");
    let launch = rig.server(&["--set", &events])?;
    let case = format!(
        "bridge: {events_per_s} events/s of the market, a client of the owner and one of the node that follows"
    );
    Some(rig.alone(&case, &launch, |launch| measure(rig, launch, &nats_server)))
}

/// What one client was told, and when.
#[derive(Default)]
struct Told {
    /// By channel and number in its sequence.
    at_ns: HashMap<(u64, u64), u64>,
    repeated: u64,
}

fn measure(rig: &Rig, launch: &Launch, nats_server: &str) -> Result<Sample> {
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
    let lines = [subscribed(&owner)?, subscribed(&follower)?];
    server::sleep_ns(rig.warmup_ns);
    let clocks = [owner.cpu_clock()?, follower.cpu_clock()?];
    let (begun_ns, is_over) = (clock::mono_ns(), AtomicBool::new(false));
    let told: Result<Vec<Told>> = thread::scope(|scope| {
        let threads = lines.map(|line| scope.spawn(|| listen(line, &is_over)));
        server::sleep_ns(rig.measured_ns);
        is_over.store(true, Ordering::Relaxed);
        threads.into_iter().map(|thread| thread.join().expect("a client does not panic")).collect()
    });
    let used = [owner.cpu_clock()?.since(&clocks[0]), follower.cpu_clock()?.since(&clocks[1])];
    let [first, second] =
        <[Told; 2]>::try_from(told?).map_err(|_| Failure::Unmet("two clients".to_owned()))?;
    compared(&first, &second, clock::mono_ns() - begun_ns, used.map(|used| used.running_ns))
}

/// A connection that has asked to be told the market, once the node has one.
fn subscribed(server: &Server) -> Result<Line> {
    let request = wire::subscribe_request(&[CHANNEL.to_owned()], "");
    let deadline_ns = clock::mono_ns() + MARKET_DEADLINE_NS;
    while Single::connect(server.target())?.ask(&request)?.contains("\"result\":[]") {
        if clock::mono_ns() > deadline_ns {
            return Err(Failure::Unmet("no node has told a market".to_owned()));
        }
        server::sleep_ns(100 * MILLISECOND_NS);
    }
    let mut line = client::connect(server.target())?;
    let mut text = Vec::new();
    frame::encode_client(frame::TEXT, request.as_bytes(), &mut text);
    line.write_all(&text).doing("subscribe")?;
    Ok(line)
}

/// Takes what it is told until it is over.
fn listen(mut line: Line, is_over: &AtomicBool) -> Result<Told> {
    line.stream.set_nonblocking(false).doing("blocking reads")?;
    let mut told = Told::default();
    let mut ear = Ear::opened();
    let mut buffer = vec![0; 256 * 1024];
    while !is_over.load(Ordering::Relaxed) {
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
                Heard::Message(message) => told.take(message, now_ns),
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
    Ok(told)
}

impl Told {
    fn take(&mut self, message: &[u8], now_ns: u64) {
        let number = |key| wire::digits_after(message, key).and_then(|digits| digits.parse::<u64>().ok());
        let (Some(epoch), Some(seq)) = (number(r#""epoch":"#), number(r#""seq":"#)) else { return };
        // An epoch is one topic's of an owner.
        if self.at_ns.insert((epoch, seq), now_ns).is_some() {
            self.repeated += 1;
        }
    }
}

fn compared(owner: &Told, follower: &Told, elapsed_ns: u64, cpu_ns: [u64; 2]) -> Result<Sample> {
    let mut later = Latencies::new();
    let mut earlier = 0_u64;
    for (place, at_ns) in &owner.at_ns {
        let Some(followed_ns) = follower.at_ns.get(place) else { continue };
        earlier += u64::from(followed_ns < at_ns);
        later.record(followed_ns.saturating_sub(*at_ns));
    }
    let summary = later.summary();
    if summary.count == 0 || owner.repeated + follower.repeated > 0 {
        let (count, repeated) = (summary.count, owner.repeated + follower.repeated);
        return Err(Failure::Protocol(format!("{count} events at both nodes, {repeated} told twice")));
    }
    let mut sample = Sample::default();
    let seconds = scenarios::ratio(elapsed_ns, SECOND_NS);
    sample.add("events at both", "1/s", scenarios::ratio(summary.count, 1) / seconds);
    sample.add_us("later p50", summary.p50_ns);
    sample.add_us("later p99", summary.p99_ns);
    sample.add("not later", "%", scenarios::ratio(earlier, summary.count) * 100.0);
    sample.add("owner CPU", "core", scenarios::ratio(cpu_ns[0], elapsed_ns));
    sample.add("follower CPU", "core", scenarios::ratio(cpu_ns[1], elapsed_ns));
    Ok(sample)
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
