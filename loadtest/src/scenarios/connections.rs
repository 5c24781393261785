//! Idle connections: how many are accepted, how fast, what each costs in resident memory, what they cost in CPU
//! while nothing happens, and how long the server takes to say goodbye. Home: the load thread and its holders.
//! Holders are child processes (`loadtest hold`), because one process may open only so many sockets here.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;

use crate::client;
use crate::clock::{self, MILLISECOND_NS, SECOND_NS};
use crate::failure::{Doing, Failure, Result};
use crate::frame;
use crate::histogram::Latencies;
use crate::report::{Comparison, Sample};
use crate::scenarios::{self, Rig, Window};
use crate::server::{self, Launch, Server};
use crate::swarm::source_address;

/// Connections of one holder: well below the 20,000 descriptors that a process may have here.
const HOLDER_CONNECTIONS_MAX: usize = 15_000;
/// Connections from one source address: few, as a server that bounds them expects.
const SOURCE_CONNECTIONS_MAX: usize = 50;
/// The loopback network of the connections.
const NETWORK: u8 = 30;
/// The longest wait for a holder's report; connecting runs one by one.
const HOLDER_DEADLINE_NS: u64 = 120 * SECOND_NS;
/// The longest wait for the server's close frames after SIGTERM.
const GOODBYE_DEADLINE_NS: u64 = 15 * SECOND_NS;
/// After this many refused connections in a row a holder stops trying.
const REFUSED_IN_A_ROW_MAX: usize = 100;

/// Compares; the limit arm here only shows what the kernel itself takes for as many sockets.
pub(crate) fn run(rig: &Rig, count: usize) -> Result<Comparison> {
    let arms = rig.arms(rig.limit(&["echo".to_owned()])?, rig.server(&[]));
    let case = format!("connections: {count} idle WebSockets");
    Ok(rig.compare(&case, &arms, |launch| measure(rig, launch, count)))
}

/// The same on a shard for each of `cores`, beside nothing: no limit arm has as many rings. `None` without a server.
pub(crate) fn run_on(rig: &Rig, count: usize, cores: &[usize], arguments: &[&str]) -> Option<Comparison> {
    let launch = rig.server_on(cores, scenarios::NO_CONTROL, arguments)?;
    let case = format!("connections: {count} idle WebSockets on {} shards", cores.len());
    Some(rig.alone(&case, &launch, |launch| measure(rig, launch, count)))
}

fn measure(rig: &Rig, launch: &Launch, count: usize) -> Result<Sample> {
    let mut server = Server::start(launch, rig.cpu_client)?;
    // The first connection pays for what is allocated once; it is no part of the growth.
    let first = client::connect(server.address)?;
    server::sleep_ns(300 * MILLISECOND_NS);
    let before_bytes = server.resident_bytes()?;
    let mut holders = Vec::new();
    let mut totals = Held { accepted: 0, reason: String::new(), latencies: Latencies::new() };
    let mut first_index = 0;
    while first_index < count {
        let share = HOLDER_CONNECTIONS_MAX.min(count - first_index);
        let mut holder = Holder::start(server.address, share, first_index)?;
        let line = holder.line(HOLDER_DEADLINE_NS)?;
        totals.add(&line)?;
        holders.push(holder);
        first_index += share;
    }
    server::sleep_ns(500 * MILLISECOND_NS);
    let after_bytes = server.resident_bytes()?;
    let opened = Window::open(&server, 0)?;
    server::sleep_ns(rig.measured_ns);
    let seen = opened.close(&server, 0)?;
    drop(first);

    let summary = totals.latencies.summary();
    let accepted = totals.accepted.max(1);
    let mut sample = Sample::default();
    sample.add("accepted", "%", 100.0 * scenarios::ratio(totals.accepted, count as u64));
    sample.add_us("connect and upgrade p50", summary.p50_ns);
    sample.add_us("connect and upgrade p99", summary.p99_ns);
    sample.add(
        "resident each",
        "bytes",
        scenarios::ratio(after_bytes.saturating_sub(before_bytes), accepted),
    );
    sample.add("resident before", "KiB", scenarios::ratio(before_bytes, 1024));
    sample.add("idle CPU", "% of a core", 100.0 * seen.cpu_share());
    sample.add_us("start to address line", server.started_in_ns);
    if !totals.reason.is_empty() {
        sample.caveats.push(format!("{} of {count} accepted; then: {}", totals.accepted, totals.reason));
    }
    measure_goodbye(&mut server, &mut holders, &mut sample)?;
    Ok(sample)
}

/// SIGTERM, then the time until each holder has read the end of each connection, and the share closed with 1001.
fn measure_goodbye(server: &mut Server, holders: &mut [Holder], sample: &mut Sample) -> Result<()> {
    for holder in holders.iter_mut() {
        holder.ask_for_goodbyes()?;
    }
    let terminated_ns = clock::mono_ns();
    server.terminate()?;
    let (mut said, mut ended) = (0_u64, 0_u64);
    for holder in holders {
        let line = holder.line(GOODBYE_DEADLINE_NS)?;
        let mut fields = line.split(' ').map_while(|field| field.parse::<u64>().ok());
        let fields = fields.next().zip(fields.next());
        let (goodbyes, ends) = fields.ok_or_else(|| Failure::Protocol(format!("a holder said {line}")))?;
        said += goodbyes;
        ended += ends;
    }
    sample.add_us("drain", clock::mono_ns() - terminated_ns);
    sample.add("closed with 1001", "%", 100.0 * scenarios::ratio(said, ended.max(1)));
    Ok(())
}

struct Held {
    accepted: u64,
    reason: String,
    latencies: Latencies,
}

impl Held {
    /// Takes a holder's report: `ACCEPTED NS:COUNT,NS:COUNT… REASON`.
    fn add(&mut self, line: &str) -> Result<()> {
        let malformed = || Failure::Protocol(format!("a holder said {line}"));
        let mut fields = line.splitn(3, ' ');
        let accepted = fields.next().and_then(|field| field.parse::<u64>().ok()).ok_or_else(malformed)?;
        self.accepted += accepted;
        for step in fields.next().unwrap_or_default().split(',').filter(|step| !step.is_empty()) {
            let (ns, count) = step.split_once(':').ok_or_else(malformed)?;
            let ns = ns.parse().map_err(|_| malformed())?;
            self.latencies.record_many(ns, count.parse().map_err(|_| malformed())?);
        }
        if let Some(reason) = fields.next().filter(|reason| !reason.is_empty()) {
            reason.clone_into(&mut self.reason);
        }
        Ok(())
    }
}

struct Holder {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Holder {
    fn start(address: SocketAddr, count: usize, first_index: usize) -> Result<Holder> {
        let program = std::env::current_exe().doing("find this program")?;
        let mut child = Command::new(program)
            .args(["hold", &address.to_string(), &count.to_string(), &first_index.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .doing("start a holder")?;
        let stdout = child.stdout.take().expect("invariant: stdout is piped");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || forward_lines(stdout, &sender));
        Ok(Holder { child, lines })
    }

    fn line(&mut self, deadline_ns: u64) -> Result<String> {
        let line = self.lines.recv_timeout(Duration::from_nanos(deadline_ns));
        line.map_err(|_| Failure::Deadline("a holder's report".to_owned()))
    }

    fn ask_for_goodbyes(&mut self) -> Result<()> {
        let stdin = self.child.stdin.as_mut().expect("invariant: stdin is piped");
        stdin.write_all(b"goodbyes\n").doing("ask a holder")
    }
}

fn forward_lines(stdout: ChildStdout, sender: &mpsc::Sender<String>) {
    for line in BufReader::new(stdout).lines().map_while(std::io::Result::ok) {
        if sender.send(line).is_err() {
            return;
        }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It may have ended by itself; both calls then fail or return at once.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A holder's own life: connect, report, wait to be asked, read the goodbyes, report, end.
pub(crate) fn hold(address: SocketAddr, count: usize, first_index: usize) -> Result<()> {
    set_pdeathsig(Signal::SIGKILL).doing("PR_SET_PDEATHSIG")?;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).doing("getrlimit")?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).doing("setrlimit")?;
    let mut streams: Vec<TcpStream> = Vec::with_capacity(count);
    let mut latencies = Latencies::new();
    let mut reason = String::new();
    let mut refused_in_a_row = 0;
    for index in first_index..first_index + count {
        let started_ns = clock::mono_ns();
        match client::connect_from(source(index), address).and_then(|stream| client::upgrade(stream, address))
        {
            Ok(stream) => {
                latencies.record(clock::mono_ns() - started_ns);
                streams.push(stream);
                refused_in_a_row = 0;
            }
            Err(failure) => {
                reason = failure.to_string();
                refused_in_a_row += 1;
            }
        }
        if REFUSED_IN_A_ROW_MAX <= refused_in_a_row {
            break;
        }
    }
    let steps: Vec<String> = latencies.counts().map(|(ns, count)| format!("{ns}:{count}")).collect();
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{} {} {reason}", streams.len(), steps.join(",")).doing("report")?;
    let mut asked = String::new();
    std::io::stdin().read_line(&mut asked).doing("wait to be asked")?;
    if asked.is_empty() {
        return Ok(());
    }
    let said = streams.iter_mut().filter_map(|stream| read_goodbye(stream).then_some(())).count();
    writeln!(stdout, "{said} {}", streams.len()).doing("report")
}

/// The source address of connection `index`.
fn source(index: usize) -> Ipv4Addr {
    let number = u32::try_from(index / SOURCE_CONNECTIONS_MAX).expect("invariant: below 2^32 connections");
    source_address(NETWORK, number)
}

/// Reads to the end of a connection; whether a close frame with 1001 (RFC 6455 §7.4.1) came before it.
fn read_goodbye(stream: &mut TcpStream) -> bool {
    let mut received = Vec::new();
    let mut chunk = [0; 1024];
    // The end may be a reset, or the read's deadline: what counts is what came before.
    while let Ok(bytes @ 1..) = stream.read(&mut chunk) {
        received.extend_from_slice(&chunk[..bytes]);
        if is_goodbye(&received) {
            return true;
        }
    }
    false
}

fn is_goodbye(received: &[u8]) -> bool {
    let mut rest = received;
    while let Ok(Some(header)) = frame::decode(rest) {
        if header.opcode == frame::CLOSE {
            return rest.get(header.header_bytes..header.header_bytes + 2) == Some(&[0x03, 0xe9]);
        }
        let Some(next) = rest.get(header.frame_bytes()..) else { return false };
        rest = next;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goodbye_is_a_close_frame_with_1001_behind_any_other_frames() {
        assert!(is_goodbye(&[0x88, 0x02, 0x03, 0xe9]));
        assert!(is_goodbye(&[0x89, 0x00, 0x88, 0x06, 0x03, 0xe9, b'b', b'y', b'e', b'!']));
        assert!(!is_goodbye(&[0x88, 0x02, 0x03, 0xe8]));
        assert!(!is_goodbye(&[0x88, 0x02, 0x03]));
        assert!(!is_goodbye(&[0x89, 0x00]));
    }

    #[test]
    fn reports_of_holders_add_up() {
        let mut held = Held { accepted: 0, reason: String::new(), latencies: Latencies::new() };
        held.add("3 100:2,200:1 ").unwrap();
        held.add("1 300:1 connect: Connection refused").unwrap();
        assert_eq!((held.accepted, held.latencies.summary().count), (4, 4));
        assert_eq!(held.reason, "connect: Connection refused");
        assert!(held.add("nonsense").is_err());
    }
}
