//! The scenarios, and what they share: the two arms, the interleaved runs, the conditions of a claim.
//! Home: the load thread.
//! Invariants: each run starts its server afresh; limit and subject alternate (A B A B …) on the same cores; a run
//! that misses its conditions is refused with the reason, never reported.

pub(crate) mod active;
pub(crate) mod benches;
pub(crate) mod bridge;
pub(crate) mod calls;
pub(crate) mod churn;
pub(crate) mod connections;
pub(crate) mod fanout;
pub(crate) mod flood;
pub(crate) mod ingest;
pub(crate) mod link;
pub(crate) mod messages;
mod open_loop;
pub(crate) mod orders;
pub(crate) mod ping;
pub(crate) mod replay;
pub(crate) mod request;
pub(crate) mod start;

use crate::clock::{self, SECOND_NS};
use crate::failure::{Failure, Result};
use crate::histogram::Latencies;
use crate::report::{Comparison, Sample};
use crate::server::{CpuClock, CpuUse, Launch, Server};

/// From here on a server counts as saturated: its busiest thread is on a core, or ready and waiting for one.
pub(crate) const SATURATED_SHARE_MIN: f64 = 0.95;
/// The longest wait for the last answers of a run.
pub(crate) const DRAIN_DEADLINE_NS: u64 = 15 * SECOND_NS;

/// The server under test, as tables name it, and what stands in the limit's place where there is none.
const SUBJECT: &str = "server";
pub(crate) const NO_LIMIT: &str = "none";
/// The environment's variable for what the server logs.
const LOG_LEVEL: &str = "RUST_LOG";
/// A server that answers no operators.
pub(crate) const NO_CONTROL: &str = "off";

/// Cores, lengths and the server under test, as the command line has them.
#[derive(Debug, Clone)]
pub(crate) struct Rig {
    /// The server under test; without it the limit runs against itself, a control whose ratio ought to be 1.
    pub(crate) server: Option<String>,
    pub(crate) server_arguments: Vec<String>,
    pub(crate) cpus_server: Vec<usize>,
    pub(crate) cpu_client: usize,
    pub(crate) pairs: usize,
    pub(crate) warmup_ns: u64,
    pub(crate) measured_ns: u64,
    /// A generator that is later than this at its 99th percentile did not offer what it claims.
    pub(crate) generator_lag_ns_max: u64,
    /// Compare the server over TLS with the same server plain.
    pub(crate) tls: bool,
    /// Compare the server by binary TCP with the same server by WebSocket.
    pub(crate) tcp: bool,
}

/// The two arms of a case.
#[derive(Debug, Clone)]
pub(crate) struct Arms {
    pub(crate) limit: Launch,
    pub(crate) limit_name: &'static str,
    pub(crate) subject: Launch,
    pub(crate) subject_name: &'static str,
}

impl Rig {
    /// The limit arm's launch.
    pub(crate) fn limit(&self, arguments: &[String]) -> Result<Launch> {
        let program = std::env::current_exe().map_err(|error| Failure::Io("find this program", error))?;
        let arguments = std::iter::once("limit".to_owned()).chain(arguments.iter().cloned()).collect();
        let program = program.to_string_lossy().into_owned();
        Ok(Launch { program, arguments, environment: Vec::new(), cpus: self.cpus_server.clone() })
    }

    /// The launch of the server under test, `arguments` being the scenario's own; `None` in a control run.
    pub(crate) fn server(&self, arguments: &[&str]) -> Option<Launch> {
        let shards = self.cpus_server.get(..1).unwrap_or_default();
        Some(Launch { cpus: self.cpus_server.clone(), ..self.server_on(shards, NO_CONTROL, arguments)? })
    }

    /// The same with a shard on each of `cores`, and nothing of it elsewhere; operators are answered at `control`.
    pub(crate) fn server_on(&self, cores: &[usize], control: &str, arguments: &[&str]) -> Option<Launch> {
        let program = self.server.clone()?;
        let shards = cores.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let fixed = ["serve", "--control", control, "--listen", "127.0.0.1:0", "--cores", &shards];
        let all = fixed.iter().chain(arguments).map(|argument| (*argument).to_owned());
        let arguments = all.chain(self.server_arguments.iter().cloned()).collect();
        // It tells of its beginning and end, many times over here, unless somebody wants to know.
        let is_told = std::env::var_os(LOG_LEVEL).is_some();
        let environment = if is_told { Vec::new() } else { vec![(LOG_LEVEL.to_owned(), "error".to_owned())] };
        Some(Launch { program, arguments, environment, cpus: cores.to_vec() })
    }

    /// The limit beside the server, or beside itself.
    pub(crate) fn arms(&self, limit: Launch, server: Option<Launch>) -> Arms {
        let (subject, subject_name) = match server {
            Some(subject) => (subject, SUBJECT),
            None => (limit.clone(), "limit again (control)"),
        };
        Arms { limit, limit_name: "limit", subject, subject_name }
    }

    /// The server beside itself, plain and over TLS, or by WebSocket and by binary TCP; `None` unless that is asked for.
    pub(crate) fn arms_of_itself(&self) -> Option<Arms> {
        if self.tcp {
            let (limit, subject) = (self.server(&[])?, self.server(&["--set", "listen.protocol=tcp"])?);
            return Some(Arms { limit, limit_name: "WebSocket", subject, subject_name: "binary TCP" });
        }
        let limit = self.server(&[]).filter(|_| self.tls)?;
        let subject = self.server(&["--tls-dev"])?;
        Some(Arms { limit, limit_name: "plain", subject, subject_name: "TLS" })
    }

    /// Runs the pairs of one case.
    pub(crate) fn compare(
        &self,
        case: &str,
        arms: &Arms,
        mut run: impl FnMut(&Launch) -> Result<Sample>,
    ) -> Comparison {
        let mut comparison = Comparison {
            case: case.to_owned(),
            limit: arms.limit_name.to_owned(),
            subject: arms.subject_name.to_owned(),
            pairs: Vec::new(),
            refused: Vec::new(),
        };
        for pair in 0..self.pairs {
            let limit = run(&arms.limit).map_err(|failure| format!("pair {pair}, limit: {failure}"));
            let subject = run(&arms.subject).map_err(|failure| format!("pair {pair}, subject: {failure}"));
            match (limit, subject) {
                (Ok(limit), Ok(subject)) => comparison.pairs.push((limit, subject)),
                (limit, subject) => {
                    comparison.refused.extend(limit.err());
                    comparison.refused.extend(subject.err());
                }
            }
        }
        comparison
    }

    /// Runs a case that has no limit to stand beside.
    pub(crate) fn alone(
        &self,
        case: &str,
        subject: &Launch,
        mut run: impl FnMut(&Launch) -> Result<Sample>,
    ) -> Comparison {
        let mut comparison = Comparison {
            case: case.to_owned(),
            limit: NO_LIMIT.to_owned(),
            subject: SUBJECT.to_owned(),
            pairs: Vec::new(),
            refused: Vec::new(),
        };
        for number in 0..self.pairs {
            match run(subject) {
                Ok(sample) => comparison.pairs.push((Sample::default(), sample)),
                Err(failure) => comparison.refused.push(format!("run {number}: {failure}")),
            }
        }
        comparison
    }
}

/// The measured part of a run: the server's CPU and the load's spare capacity between two instants.
pub(crate) struct Window {
    opened_ns: u64,
    cpu: CpuClock,
    idle_ns: u64,
}

/// What a window saw.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) elapsed_ns: u64,
    pub(crate) cpu: CpuUse,
    pub(crate) client_idle_ns: u64,
}

impl Window {
    /// `idle_ns` is the load thread's idle time so far.
    pub(crate) fn open(server: &Server, idle_ns: u64) -> Result<Window> {
        Ok(Window { cpu: server.cpu_clock()?, opened_ns: clock::mono_ns(), idle_ns })
    }

    pub(crate) fn close(&self, server: &Server, idle_ns: u64) -> Result<Seen> {
        Ok(Seen {
            elapsed_ns: clock::mono_ns() - self.opened_ns,
            cpu: server.cpu_clock()?.since(&self.cpu),
            client_idle_ns: idle_ns.saturating_sub(self.idle_ns),
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "nanoseconds and counts of a run are far below 2^53")]
pub(crate) fn ratio(of: u64, to: u64) -> f64 {
    of as f64 / to as f64
}

impl Seen {
    /// Events a second.
    pub(crate) fn rate_per_s(&self, count: u64) -> f64 {
        ratio(count, self.elapsed_ns) * 1e9
    }

    /// Microseconds of server CPU for each of `count` events.
    pub(crate) fn cpu_us_each(&self, count: u64) -> f64 {
        ratio(self.cpu.running_ns, count.max(1)) / 1_000.0
    }

    /// The share of a core that the server used.
    pub(crate) fn cpu_share(&self) -> f64 {
        ratio(self.cpu.running_ns, self.elapsed_ns)
    }

    /// Adds what every case reports about its server and its load.
    pub(crate) fn describe(&self, sample: &mut Sample) {
        sample.add("server CPU", "core", self.cpu_share());
        sample.add("load thread idle", "share", ratio(self.client_idle_ns, self.elapsed_ns));
        let kept_waiting_ns = self.cpu.busiest_ns.saturating_sub(self.cpu.running_ns);
        if 0.05 < ratio(kept_waiting_ns, self.elapsed_ns) {
            sample
                .caveats
                .push("the machine was busy: the server waited for its core over 5 % of the time".to_owned());
        }
    }

    /// Refuses a claim of saturation that does not hold.
    pub(crate) fn check_saturated(&self) -> Result<()> {
        let share = ratio(self.cpu.busiest_ns, self.elapsed_ns);
        if SATURATED_SHARE_MIN <= share {
            return Ok(());
        }
        let idle = ratio(self.client_idle_ns, self.elapsed_ns);
        Err(Failure::Unmet(format!(
            "the server was not at saturation ({share:.2} of its core; the load thread was idle {idle:.2})"
        )))
    }
}

/// Runs of a case whose two arms are measured by one function, one after the other.
pub(crate) fn paired(
    rig: &Rig,
    case: &str,
    limit: &str,
    mut run: impl FnMut() -> Result<(Sample, Sample)>,
) -> Comparison {
    let mut comparison = Comparison {
        case: case.to_owned(),
        limit: limit.to_owned(),
        subject: SUBJECT.to_owned(),
        pairs: Vec::new(),
        refused: Vec::new(),
    };
    for number in 0..rig.pairs {
        match run() {
            Ok(pair) => comparison.pairs.push(pair),
            Err(failure) => comparison.refused.push(format!("run {number}: {failure}")),
        }
    }
    comparison
}

/// Runs of a case without a limit, each of which begins what it measures.
pub(crate) fn unlimited(rig: &Rig, case: &str, mut run: impl FnMut() -> Result<Sample>) -> Comparison {
    paired(rig, case, NO_LIMIT, || Ok((Sample::default(), run()?)))
}

/// Refuses an open-loop run whose generator was late by itself.
pub(crate) fn check_generator(lag: &Latencies, lag_ns_max: u64) -> Result<()> {
    let p99_ns = lag.summary().p99_ns;
    if lag_ns_max < p99_ns {
        return Err(Failure::Unmet(format!(
            "the offered rate was not met: the generator was {} us late at p99, {} us are allowed",
            p99_ns / 1_000,
            lag_ns_max / 1_000
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(running_ns: u64, busiest_ns: u64) -> Seen {
        let cpu = CpuUse { running_ns, busiest_ns };
        Seen { elapsed_ns: 1_000, cpu, client_idle_ns: 0 }
    }

    #[test]
    fn a_server_that_waits_for_its_core_is_saturated_and_an_idle_one_is_not() {
        assert!(seen(600, 990).check_saturated().is_ok());
        assert!(seen(600, 600).check_saturated().is_err());
    }

    #[test]
    fn a_late_generator_is_refused() {
        let mut lag = Latencies::new();
        lag.record(100);
        assert!(check_generator(&lag, 1_000).is_ok());
        lag.record_many(2_000, 100);
        assert!(check_generator(&lag, 1_000).is_err());
    }
}
