//! The processes of the generator, each told its share, and heard. Home: the main thread, and one thread a process that reads.
//! Invariant: each is ended by its own handle when this is dropped.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};

use crate::clock::{self, MILLISECOND_NS, SECOND_NS};
use crate::engine::plan::{self, Plan, Share};
use crate::engine::worker::Report;
use crate::failure::{Doing, Failure, Result};
use crate::scenario::Scenario;
use crate::server;

/// The wait for a process that has told all.
const END_NS: u64 = 3 * SECOND_NS;

/// See the file's head.
pub(crate) struct Crew {
    members: Vec<Member>,
    reports: Receiver<(usize, Result<Report>)>,
    /// Those that have told all, and may end.
    done: Vec<usize>,
}

struct Member {
    child: Child,
    stdin: ChildStdin,
}

impl Crew {
    pub(crate) fn start(plan: &Plan, processes: u32, address: SocketAddr) -> Result<Crew> {
        let program = std::env::current_exe().doing("find this program")?;
        let (sender, reports) = mpsc::channel();
        let run =
            u32::try_from(clock::unix_ns() / MILLISECOND_NS % 1_000_000).expect("invariant: six digits");
        let mut members = Vec::new();
        for turn in 0..processes {
            let at = usize::try_from(turn).expect("invariant: processes are few");
            let core = plan.cores.get(at % plan.cores.len().max(1)).copied();
            let share = Share {
                turn,
                turns: processes,
                is_alone: usize::try_from(processes).is_ok_and(|count| count <= plan.cores.len()),
                core,
                scenario_toml: plan.scenario.toml(),
                dialect_text: plan.dialect_text.clone(),
                target: plan.target.clone(),
                address,
                run,
            };
            let mut child = Command::new(&program)
                .arg("work")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .doing("start a process of the generator")?;
            let mut stdin = child.stdin.take().expect("invariant: stdin is piped");
            let stdout = child.stdout.take().expect("invariant: stdout is piped");
            members.push(Member { child, stdin: stdin_with(&mut stdin, &share).map(|()| stdin)? });
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines() {
                    let report = line.doing("hear a process of the generator").and_then(|line| {
                        serde_json::from_str(&line).map_err(|error| Failure::Protocol(error.to_string()))
                    });
                    // Nobody listens any more once the run has failed.
                    if sender.send((at, report)).is_err() {
                        return;
                    }
                }
                let _ = sender
                    .send((at, Err(Failure::Protocol("a process of the generator has ended".to_owned()))));
            });
        }
        Ok(Crew { members, reports, done: Vec::new() })
    }

    pub(crate) fn count(&self) -> usize {
        self.members.len()
    }

    /// The next report of any process, if there is one in time. A process that ends is one that has told all.
    pub(crate) fn hear(&mut self, wait: Duration) -> Result<Option<(usize, Report)>> {
        match self.reports.recv_timeout(wait) {
            Ok((at, Ok(report))) => {
                if matches!(report, Report::Done(..)) {
                    self.done.push(at);
                }
                Ok(Some((at, report)))
            }
            Ok((at, Err(_))) if self.done.contains(&at) => Ok(None),
            Ok((_, Err(failure))) => Err(failure),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => {
                Err(Failure::Protocol("every process of the generator has ended".to_owned()))
            }
        }
    }

    /// Tells all of them when the traffic begins.
    pub(crate) fn go(&mut self, go_ns: u64) -> Result<()> {
        for member in &mut self.members {
            writeln!(member.stdin, "go {go_ns}").and_then(|()| member.stdin.flush()).doing("begin")?;
        }
        Ok(())
    }

    /// Lets them end by themselves, and ends those that do not.
    pub(crate) fn dismiss(self) {
        let deadline_ns = clock::mono_ns() + END_NS;
        let mut crew = self;
        let has_ended = |member: &mut Member| !matches!(member.child.try_wait(), Ok(None));
        while !crew.members.iter_mut().all(has_ended) && clock::mono_ns() < deadline_ns {
            server::sleep_ns(5 * MILLISECOND_NS);
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for member in &mut self.members {
            // One that has ended refuses, which is fine.
            let _ = member.child.kill();
            let _ = member.child.wait();
        }
    }
}

fn stdin_with(stdin: &mut ChildStdin, share: &Share) -> Result<()> {
    let mut line = serde_json::to_string(share).map_err(|error| Failure::Protocol(error.to_string()))?;
    line.push('\n');
    stdin.write_all(line.as_bytes()).and_then(|()| stdin.flush()).doing("tell a process its share")
}

/// Why this host cannot hold a scenario's connections, where it cannot.
pub(crate) fn too_many(scenario: &Scenario) -> Option<String> {
    let clients = u64::from(scenario.clients().1);
    let files = std::fs::read_to_string("/proc/sys/fs/file-max").ok();
    let files: u64 = files.and_then(|files| files.trim().parse().ok()).unwrap_or(u64::MAX);
    if files / 2 < clients {
        return Some(format!(
            "not run: {clients} connections need twice as many descriptors on one host, and this one has {files} (fs.file-max)"
        ));
    }
    let each = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(_, most)| most);
    let held = clients.min(u64::from(plan::PROCESS_CONNECTIONS_MAX));
    if each < held + 100 {
        return Some(format!(
            "not run: {held} connections of one process, which may have {each} descriptors (ulimit -Hn)"
        ));
    }
    None
}
