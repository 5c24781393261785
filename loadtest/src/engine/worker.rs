//! One process of the generator: a thread, a ring, a crowd. It is told its share by a line of stdin, opens its connections, says
//! so, is told when to begin, and then tells every second what happened. Home: a process of its own (`loadtest work`).
//! Invariants: it never waits for anybody while there is something to send; when whoever started it is gone, so is it.

use std::io::{BufRead, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket, sockopt};
use nix::sys::time::TimeValLike;
use serde::{Deserialize, Serialize};

use crate::clock::{self, MILLISECOND_NS, SECOND_NS};
use crate::dialect::Dialect;
use crate::engine::crowd::{Crowd, Place, Role, Rules, Stage, Window};
use crate::engine::plan::{self, Share};
use crate::engine::script::Script;
use crate::engine::tally::{Finish, Part};
use crate::engine::timetable::{Span, Timetable};
use crate::failure::{Doing, Failure, Result};
use crate::ring::{Reading, Ring, Wait};
use crate::scenario::{self, Scenario};
use crate::server;
use crate::swarm::source_address;

/// The loopback networks of the processes: 127.40 and up.
const NETWORK: u8 = 40;
/// Connections from one source address: few, as a server that bounds them expects.
const SOURCE_CONNECTIONS_MAX: u32 = 50;
/// Sockets opened in one turn.
const TURN_OPENS_MAX: usize = 64;
/// Between two looks at what time brings about.
const TICK_NS: u64 = MILLISECOND_NS;
/// How long a turn may wait in the kernel where there is no core to spin on.
const PARK_NS_MAX: u64 = MILLISECOND_NS;
/// From here on a descriptor is left to all that is no connection.
const SPARE_DESCRIPTORS: u64 = 64;
/// Slow readers read so often.
const SLOW_NS: u64 = 100 * MILLISECOND_NS;
/// How often the opening tells how far it is.
const TELL_NS: u64 = 500 * MILLISECOND_NS;

/// What a process tells, a line each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// Open, of those that were to be opened, so far.
    Opening { open: u64 },
    /// All is open that will be.
    Ready(Part),
    /// The second with this number is over.
    Second(u64, Part),
    /// All is over; what came after the last second.
    Done(Part, Finish),
    /// It cannot go on.
    Failed(String),
}

/// When the traffic begins, as whoever started this process says; 0 before that.
static GO_NS: AtomicU64 = AtomicU64::new(0);

/// The child's side of the command line.
pub(crate) fn work() -> Result<()> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).doing("read the share")?;
    let share: Share = serde_json::from_str(&line).map_err(|error| Failure::Protocol(error.to_string()))?;
    std::thread::spawn(listen);
    let worked = Worker::new(&share).and_then(|mut worker| worker.run());
    if let Err(failure) = &worked {
        tell(&Report::Failed(failure.to_string()))?;
    }
    worked
}

/// Waits for the begin, then for the end of whoever started this process.
fn listen() {
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        if let Some(go_ns) = line.strip_prefix("go ").and_then(|ns| ns.parse().ok()) {
            GO_NS.store(go_ns, Ordering::Release);
        }
    }
    std::process::exit(0);
}

fn tell(report: &Report) -> Result<()> {
    let mut line = serde_json::to_string(report).map_err(|error| Failure::Protocol(error.to_string()))?;
    line.push('\n');
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush()).doing("tell")
}

struct Worker {
    share: Share,
    scenario: Scenario,
    ring: Ring,
    crowd: Crowd,
    opened: u32,
    descriptors: u64,
    /// Passing connections are numbered on.
    passed: u32,
    passing: Option<Timetable>,
    ticked_ns: u64,
    read_ns: u64,
    idle_ns: u64,
    turned_ns: u64,
    storms: Vec<u64>,
    sizes: Vec<(u64, u32)>,
    /// May wait in the kernel instead of spinning.
    parks: bool,
    opening: Opening,
}

/// How fast connections are opened.
struct Opening {
    since_ns: u64,
    per_s: u64,
    count: u64,
}

impl Worker {
    fn new(share: &Share) -> Result<Worker> {
        let invalid = |flaw: crate::flaw::Flaw| Failure::Protocol(flaw.to_string());
        let scenario = Scenario::parse(&share.scenario_toml).map_err(invalid)?;
        let dialect = Dialect::parse(&share.dialect_text).map_err(invalid)?;
        if let Some(core) = share.core {
            server::pin(&[core])?;
        }
        let descriptors = raise_descriptors()?;
        let fanout = scenario.fanout.as_ref();
        let rules = Rules {
            topics: fanout.map_or(1, |fanout| fanout.topics),
            publishers: fanout.map_or(1, |fanout| fanout.publishers),
            turn: share.turn,
            turns: share.turns,
            reopens: scenario.reopen,
            connect_timeout_ns: scenario::nanoseconds(scenario.connect_timeout_s),
            hold_ns: scenario.churn.as_ref().map_or(0, |churn| u64::from(churn.hold_ms) * MILLISECOND_NS),
            abrupt_percent: scenario.churn.as_ref().map_or(0, |churn| churn.abrupt_percent),
            server_name: share.target.is_secure.then(|| share.target.host.clone()),
        };
        let script = Script::new(share, &scenario, &dialect);
        let mut ring = Ring::new()?;
        ring.aim(share.address);
        let now_ns = clock::mono_ns();
        let per_s = u64::from(scenario.connect_per_s).div_ceil(u64::from(share.turns));
        let parks = !share.is_alone || !(scenario.has_traffic() || scenario.churn.is_some());
        let opening = Opening { since_ns: now_ns, per_s, count: 0 };
        let mut worker = Worker {
            share: share.clone(),
            scenario,
            ring,
            crowd: Crowd::new(script, rules),
            opened: 0,
            descriptors,
            passed: 0,
            passing: None,
            ticked_ns: 0,
            read_ns: 0,
            idle_ns: 0,
            turned_ns: now_ns,
            storms: Vec::new(),
            sizes: Vec::new(),
            parks,
            opening,
        };
        worker.populate();
        Ok(worker)
    }

    /// Makes everybody who is to be opened now or later, but for those that pass.
    fn populate(&mut self) {
        let (at_first, at_most) = self.scenario.clients();
        let fanout = self.scenario.fanout.clone();
        let traders = self.scenario.orders.as_ref().map_or(0, |orders| orders.traders);
        for number in self.share.of(at_most) {
            let topic = fanout.as_ref().filter(|fanout| number < fanout.subscribers);
            let topic = topic.map(|fanout| number % fanout.topics);
            let place = self.crowd.add(Role::Client, number, topic, number < traders);
            let is_wanted = number < at_first;
            self.crowd.lines[place].is_wanted = is_wanted;
            if is_wanted {
                self.crowd.to_open.push_back(place);
            }
        }
        let publishers = fanout.as_ref().map_or(0, |fanout| fanout.publishers);
        for number in self.share.of(publishers) {
            let place = self.crowd.add(Role::Publisher, number, None, false);
            self.crowd.to_open.push_back(place);
        }
        let slow = self.scenario.slow.as_ref().map_or(0, |slow| slow.readers);
        for number in self.share.of(slow) {
            let topic = fanout.as_ref().map(|fanout| number % fanout.topics);
            let place = self.crowd.add(Role::Slow, number, topic, false);
            self.crowd.to_open.push_back(place);
        }
    }

    fn run(&mut self) -> Result<()> {
        self.open_all()?;
        tell(&Report::Ready(self.take_part()))?;
        while GO_NS.load(Ordering::Acquire) == 0 {
            self.turn(Wait::ParkNs(PARK_NS_MAX))?;
        }
        self.begin(GO_NS.load(Ordering::Acquire));
        let window = self.crowd.window;
        let mut busy = Busy::begin(window.begin_ns);
        let mut told = 0;
        // What was to leave in time leaves, however late.
        while self.crowd.now_ns < window.end_ns || self.is_behind(window.end_ns) {
            self.act()?;
            if window.begin_ns <= self.crowd.now_ns {
                busy.mark(self.idle_ns, self.crowd.now_ns)?;
            } else {
                // What was counted before the measured time does not count.
                self.forget_warmup();
            }
            let over_ns = window.begin_ns + (told + 1) * SECOND_NS;
            if over_ns <= self.crowd.now_ns && over_ns <= window.end_ns {
                let part = self.take_part();
                tell(&Report::Second(told, part))?;
                told += 1;
            }
        }
        if window.begin_ns + told * SECOND_NS < window.end_ns {
            let part = self.take_part();
            tell(&Report::Second(told, part))?;
        }
        let busy_share = busy.share(self.idle_ns, self.crowd.now_ns, self.parks)?;
        self.drain()?;
        let finish = Finish { busy_share, ..self.crowd.finish() };
        let part = self.take_part();
        tell(&Report::Done(part, finish))?;
        self.say_goodbye()
    }

    /// Whether something of the measured time has not been sent at its end; not for longer than the drain.
    fn is_behind(&mut self, end_ns: u64) -> bool {
        let patience_ns = scenario::nanoseconds(self.scenario.drain_s);
        self.crowd.next_due_ns().is_some() && self.crowd.now_ns < end_ns + patience_ns
    }

    /// Opens everybody, up to the longest wait.
    fn open_all(&mut self) -> Result<()> {
        let patience_ns = scenario::nanoseconds(self.scenario.connect_timeout_s);
        let opened = self.crowd.to_open.len() as u64;
        let pace_ns = (opened * SECOND_NS).checked_div(self.opening.per_s).unwrap_or(0);
        let deadline_ns = clock::mono_ns() + pace_ns + patience_ns + SECOND_NS;
        let mut told_ns = 0;
        self.opening.since_ns = clock::mono_ns();
        while !self.crowd.is_settled() && self.crowd.now_ns < deadline_ns {
            self.turn(Wait::ParkNs(PARK_NS_MAX))?;
            if told_ns + TELL_NS <= self.crowd.now_ns {
                told_ns = self.crowd.now_ns;
                tell(&Report::Opening { open: self.crowd.open })?;
            }
        }
        Ok(())
    }

    /// Sets the clock of all that follows.
    fn begin(&mut self, go_ns: u64) {
        let begin_ns = go_ns + self.scenario.warmup_ns();
        let end_ns = begin_ns + self.scenario.measured_ns();
        self.crowd.window = Window { go_ns, begin_ns, end_ns };
        let Share { turn, turns, .. } = self.share;
        let scenario = &self.scenario;
        let spans = |rate_per_s: f64| -> Vec<Span> { plan::spans(scenario, rate_per_s, go_ns) };
        let shared = |rate_per_s: f64| Timetable::new(&spans(rate_per_s), u64::from(turn), u64::from(turns));
        self.crowd.askers[0].table = scenario.requests.as_ref().map(|requests| shared(requests.rate_per_s));
        self.crowd.askers[1].table = scenario.orders.as_ref().map(|orders| shared(orders.rate_per_s));
        self.passing = scenario.churn.as_ref().map(|churn| shared(churn.per_s));
        self.storms = plan::storms(scenario, go_ns);
        self.storms.reverse();
        self.sizes = plan::crowd_sizes(scenario, go_ns);
        self.sizes.reverse();
        // Each process goes through all publishes and makes its own publishers'.
        if let Some(fanout) = &scenario.fanout {
            let table = Timetable::new(&spans(fanout.rate_per_s), 0, 1);
            self.crowd.begin_publishing(table);
        }
    }

    /// One turn of the traffic.
    fn act(&mut self) -> Result<()> {
        self.crowd.now_ns = clock::mono_ns();
        let sent = self.crowd.send_due(&mut self.ring.outbox())?;
        self.open_passing()?;
        let wait = if self.parks && sent == 0 { Wait::ParkNs(self.spare_ns()) } else { Wait::Spin };
        let count = self.turn(wait)?;
        if count + sent == 0 {
            self.idle_ns += self.crowd.now_ns - self.turned_ns.min(self.crowd.now_ns);
        }
        self.turned_ns = self.crowd.now_ns;
        Ok(())
    }

    /// Until the next thing is due.
    fn spare_ns(&mut self) -> u64 {
        let passing = self.passing.as_mut().and_then(Timetable::next_ns);
        let due_ns = [self.crowd.next_due_ns(), passing].into_iter().flatten().min();
        due_ns
            .map_or(PARK_NS_MAX, |due_ns| due_ns.saturating_sub(self.crowd.now_ns).clamp(1_000, PARK_NS_MAX))
    }

    /// One turn of the ring, and of all that time brings about.
    fn turn(&mut self, wait: Wait) -> Result<usize> {
        let now_ns = clock::mono_ns();
        self.crowd.now_ns = now_ns;
        if self.ticked_ns + TICK_NS <= now_ns {
            self.ticked_ns = now_ns;
            self.tick(now_ns)?;
        }
        if !self.crowd.to_open.is_empty() {
            self.open_some(now_ns)?;
        }
        let Worker { ring, crowd, .. } = self;
        let count = ring.turn(wait, |outbox, event| crowd.handle(outbox, event))?;
        for slot in crowd.to_read.drain(..) {
            ring.read_once(slot, SLOW_READ_BYTES)?;
        }
        // What the crowd said last goes out before the socket is closed: at the begin of the turn after.
        while let Some((slot, ending)) = self.crowd.to_close.pop() {
            self.ring.flush_and_close(slot, ending)?;
        }
        self.crowd.now_ns = clock::mono_ns();
        Ok(count)
    }

    fn tick(&mut self, now_ns: u64) -> Result<()> {
        self.crowd.tick(&mut self.ring.outbox())?;
        while let Some((_, clients)) = self.sizes.pop_if(|(at_ns, _)| *at_ns <= now_ns) {
            self.crowd.resize(&mut self.ring.outbox(), clients)?;
            self.opening = Opening { since_ns: now_ns, count: 0, per_s: self.opening.per_s };
        }
        while self.storms.pop_if(|at_ns| *at_ns <= now_ns).is_some() {
            let share_percent = self.scenario.storm.as_ref().map_or(0, |storm| storm.share_percent);
            self.crowd.storm(share_percent);
            self.opening = Opening { since_ns: now_ns, count: 0, per_s: self.opening.per_s };
        }
        let bytes_per_s = self.scenario.slow.as_ref().map_or(0, |slow| slow.bytes_per_s);
        if 0 < bytes_per_s && self.read_ns + SLOW_NS <= now_ns {
            self.read_ns = now_ns;
            for line in &self.crowd.lines {
                if let (Role::Slow, Stage::Ready, Some(slot)) = (line.role, line.stage, line.slot) {
                    self.ring.read_once(slot, (bytes_per_s / 10).clamp(1, SLOW_READ_BYTES))?;
                }
            }
        }
        Ok(())
    }

    fn open_some(&mut self, now_ns: u64) -> Result<()> {
        for _ in 0..TURN_OPENS_MAX {
            let mut began_ns = now_ns;
            if let Some(offset_ns) = (self.opening.count * SECOND_NS).checked_div(self.opening.per_s) {
                began_ns = self.opening.since_ns + offset_ns;
                if now_ns < began_ns {
                    return Ok(());
                }
            }
            let Some(place) = self.crowd.to_open.pop_front() else { return Ok(()) };
            self.opening.count += 1;
            if self.crowd.lines[place].stage == Stage::Closed {
                self.open(place, began_ns)?;
            }
        }
        Ok(())
    }

    fn open_passing(&mut self) -> Result<()> {
        let now_ns = self.crowd.now_ns;
        for _ in 0..TURN_OPENS_MAX {
            let due = self.passing.as_mut().and_then(|table| table.poll_due(now_ns));
            let Some((_, intended_ns)) = due else { return Ok(()) };
            if self.crowd.window.holds(intended_ns) {
                self.crowd.tally.record_lag(now_ns - intended_ns);
            }
            let place = self.crowd.add(Role::Passing, self.passed, None, false);
            self.passed = self.passed.wrapping_add(1);
            self.open(place, intended_ns)?;
        }
        Ok(())
    }

    fn open(&mut self, place: Place, began_ns: u64) -> Result<()> {
        self.crowd.tally.part.counts.connections_wanted += 1;
        let held = self.crowd.lines.len() as u64;
        if self.descriptors < held {
            self.crowd.fail_to_open(place, "connect: this process may hold no more descriptors");
            return Ok(());
        }
        let socket = match self.socket() {
            Ok(socket) => socket,
            Err(error) => {
                self.crowd.fail_to_open(place, &format!("connect: {error}"));
                return Ok(());
            }
        };
        let reading =
            if self.crowd.lines[place].role == Role::Slow { Reading::Asked } else { Reading::Always };
        let slot = self.ring.connect(socket, reading)?;
        self.crowd.begin(place, slot, began_ns);
        Ok(())
    }

    /// A socket, on the loopback from a source address that few others have.
    fn socket(&mut self) -> nix::Result<TcpStream> {
        let family = if self.share.address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let descriptor = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        setsockopt(&descriptor, sockopt::TcpNoDelay, &true)?;
        if let Some(source) = self.source() {
            // The port is chosen at the connect, by the whole address pair.
            setsockopt(&descriptor, sockopt::IpBindAddressNoPort, &true)?;
            bind(descriptor.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(source, 0)))?;
        }
        self.opened = self.opened.wrapping_add(1);
        Ok(TcpStream::from(descriptor))
    }

    fn source(&self) -> Option<Ipv4Addr> {
        let SocketAddr::V4(address) = self.share.address else { return None };
        let network =
            NETWORK.wrapping_add(u8::try_from(self.share.turn % 100).expect("invariant: below 100"));
        address.ip().is_loopback().then(|| source_address(network, self.opened / SOURCE_CONNECTIONS_MAX))
    }

    fn take_part(&mut self) -> Part {
        Part { connections: self.crowd.open, ..self.crowd.tally.take() }
    }

    /// Of the warm-up, only what befell connections counts.
    fn forget_warmup(&mut self) {
        let counts = &mut self.crowd.tally.part.counts;
        counts.bytes_sent = 0;
        counts.bytes_received = 0;
        self.crowd.tally.part.lost_with_connection = 0;
        self.crowd.tally.part.forgone = 0;
    }

    fn drain(&mut self) -> Result<()> {
        let deadline_ns = self.crowd.now_ns + scenario::nanoseconds(self.scenario.drain_s);
        let mut looked_ns = 0;
        while self.crowd.now_ns < deadline_ns {
            self.turn(Wait::ParkNs(PARK_NS_MAX))?;
            if looked_ns + TICK_NS <= self.crowd.now_ns {
                looked_ns = self.crowd.now_ns;
                if self.crowd.is_settled() && self.crowd.is_drained() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Close frames to everybody; whoever does not answer is left behind.
    fn say_goodbye(&mut self) -> Result<()> {
        for place in 0..self.crowd.lines.len() {
            if self.crowd.lines[place].stage == Stage::Ready {
                self.crowd.leave(&mut self.ring.outbox(), place)?;
            }
        }
        let deadline_ns = clock::mono_ns() + SECOND_NS;
        while self.crowd.now_ns < deadline_ns && self.crowd.lines.iter().any(|line| line.slot.is_some()) {
            self.turn(Wait::ParkNs(PARK_NS_MAX))?;
        }
        Ok(())
    }
}

/// What a slow reader takes at once, at most.
const SLOW_READ_BYTES: u32 = 4096;

/// As many descriptors as this process may have; returns how many connections that is.
fn raise_descriptors() -> Result<u64> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).doing("getrlimit")?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).doing("setrlimit")?;
    Ok(most.saturating_sub(SPARE_DESCRIPTORS))
}

/// How much of its time a generator had something to do.
struct Busy {
    begin_ns: u64,
    begun: Option<(u64, u64, u64)>,
}

impl Busy {
    fn begin(begin_ns: u64) -> Busy {
        Busy { begin_ns, begun: None }
    }

    /// Notes the begin, once it is there.
    fn mark(&mut self, idle_ns: u64, now_ns: u64) -> Result<()> {
        if self.begun.is_none() && self.begin_ns <= now_ns {
            self.begun = Some((now_ns, idle_ns, processor_ns()?));
        }
        Ok(())
    }

    /// By what it spun in vain, or where it sleeps, by the processor time.
    #[expect(clippy::cast_precision_loss, reason = "a run's nanoseconds are far below 2^53")]
    fn share(&self, idle_ns: u64, now_ns: u64, parks: bool) -> Result<f64> {
        let Some((begun_ns, idle_before_ns, used_before_ns)) = self.begun else { return Ok(0.0) };
        let elapsed_ns = now_ns.saturating_sub(begun_ns).max(1);
        let busy_ns = if parks {
            processor_ns()?.saturating_sub(used_before_ns)
        } else {
            elapsed_ns.saturating_sub(idle_ns - idle_before_ns)
        };
        Ok(busy_ns as f64 / elapsed_ns as f64)
    }
}

fn processor_ns() -> Result<u64> {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).doing("getrusage")?;
    let spent = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(u64::try_from(spent).unwrap_or(0) * 1_000)
}
