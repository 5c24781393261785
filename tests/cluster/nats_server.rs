//! A nats-server with JetStream as a process of its own: on a port of the kernel's choice that stays its own, with a store in a
//! folder of its own; killed, started again, stopped with the test. Standard library and nix alone, for any target of the tests
//! (`#[path]`); the program is `NATS_SERVER`, or `nats-server` on PATH.
//!
//! Invariant: a server is up when it says so itself; nothing waits for a time to pass.

#![allow(dead_code, reason = "each target of the tests uses what it needs")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrIn, setsockopt, sockopt};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// For a server to say the next line that is waited for: far more than it takes on a busy machine.
const LINE_DEADLINE: Duration = Duration::from_secs(30);

/// A nats-server, running or not.
pub(crate) struct NatsServer {
    child: Option<Child>,
    port: ReservedPort,
    /// Of one of three: where the others reach it.
    route: Option<ReservedPort>,
    folder: Folder,
    lines: Receiver<String>,
    log: Vec<String>,
}

impl NatsServer {
    /// Starts one. `more` is added to its configuration, in its own format: `""`, `authorization { … }`.
    pub(crate) fn start(more: &str) -> NatsServer {
        NatsServer::start_of("", more)
    }

    /// Starts one whose JetStream has each message on the disk before it confirms it: a loss of power takes nothing.
    pub(crate) fn start_that_syncs_always(more: &str) -> NatsServer {
        NatsServer::start_of("sync_interval: always", more)
    }

    /// Starts three, called n0, n1 and n2, that are one JetStream: streams of three replicas outlive one of them.
    pub(crate) fn start_three() -> [NatsServer; 3] {
        let routes = [(); 3].map(|()| ReservedPort::new());
        let urls: Vec<String> = routes.iter().map(|port| format!("nats://{}", port.address())).collect();
        let mut number = 0;
        let mut servers = routes.map(|port| {
            let route = port.address();
            let more = format!(
                "server_name: n{number}\ncluster {{ name: three, listen: \"{route}\", routes: {urls:?} }}\n"
            );
            let mut server = NatsServer::prepared("", &more);
            server.route = Some(port);
            number += 1;
            server.spawn();
            server
        });
        for server in &mut servers {
            server.await_ready();
        }
        servers
    }

    fn start_of(jetstream: &str, more: &str) -> NatsServer {
        let mut server = NatsServer::prepared(jetstream, more);
        server.restart();
        server
    }

    /// One that does not run, with its configuration in its folder.
    fn prepared(jetstream: &str, more: &str) -> NatsServer {
        let (port, folder) = (ReservedPort::new(), Folder::new());
        let store = folder.0.join("store");
        let text = format!(
            "listen: \"{}\"\njetstream {{ store_dir: {store:?}\n{jetstream} }}\n{more}\n",
            port.address()
        );
        fs::write(folder.0.join("server.conf"), text).unwrap();
        NatsServer { child: None, port, route: None, folder, lines: mpsc::channel().1, log: Vec::new() }
    }

    /// Where clients connect, the same whether it runs or not.
    pub(crate) fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The same as a client's configuration names it.
    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.address())
    }

    /// Ends it at once (SIGKILL); what it had not written is lost.
    pub(crate) fn kill(&mut self) {
        self.end(Signal::SIGKILL);
    }

    /// Ends it as an operator does (SIGTERM), and waits until it has.
    pub(crate) fn stop(&mut self) {
        self.end(Signal::SIGTERM);
    }

    /// Has the kernel put it aside: connections stay, and nothing is answered.
    pub(crate) fn pause(&self) {
        self.signal(Signal::SIGSTOP);
        // The signal is taken when the kernel gets to it.
        let stopped = waitpid(self.id(), Some(WaitPidFlag::WUNTRACED)).unwrap();
        assert_eq!(stopped, WaitStatus::Stopped(self.id(), Signal::SIGSTOP));
    }

    /// Has it go on after [`NatsServer::pause`].
    pub(crate) fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Starts it, on the same port and with the same store, and waits until it is ready.
    pub(crate) fn restart(&mut self) {
        self.spawn();
        self.await_ready();
    }

    /// Waits for a line of its log that contains `part`, and gives it. Lines before it are behind us.
    pub(crate) fn wait_for(&mut self, part: &str) -> String {
        loop {
            let Ok(line) = self.lines.recv_timeout(LINE_DEADLINE) else {
                panic!("nats-server has not said {part:?}: {:#?}", self.log)
            };
            self.log.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }

    fn spawn(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let program = std::env::var_os("NATS_SERVER").unwrap_or_else(|| "nats-server".into());
        let mut command = Command::new(&program);
        command.arg("-c").arg(self.folder.0.join("server.conf")).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; tests/cluster/run installs it", program.display()));
        let (sender, lines) = mpsc::channel();
        let errors = BufReader::new(child.stderr.take().unwrap());
        // By a thread, so that it is never blocked by what it says.
        thread::spawn(move || {
            errors.lines().map_while(Result::ok).for_each(|line| {
                let _ = sender.send(line);
            });
        });
        self.lines = lines;
        self.child = Some(child);
    }

    fn await_ready(&mut self) {
        self.wait_for("Server is ready");
        if self.route.is_some() {
            // Before there is a leader JetStream answers nobody.
            self.wait_for("metadata leader");
        }
    }

    fn signal(&self, signal: Signal) {
        kill(self.id(), signal).unwrap();
    }

    fn id(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.as_ref().expect("it runs").id()).unwrap())
    }

    fn end(&mut self, signal: Signal) {
        self.signal(signal);
        self.child.take().unwrap().wait().unwrap();
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A port of loopback that the kernel gives to nobody else, whether a server listens on it or not: a socket is bound to it, and
/// does not listen itself.
pub(crate) struct ReservedPort {
    _socket: OwnedFd,
    address: SocketAddr,
}

impl ReservedPort {
    pub(crate) fn new() -> ReservedPort {
        let socket =
            socket::socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        // As listeners of Go and of the standard library have it: then the two may share the port.
        setsockopt(&socket, sockopt::ReuseAddr, &true).unwrap();
        socket::bind(socket.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
        let bound: SockaddrIn = socket::getsockname(socket.as_raw_fd()).unwrap();
        let address = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, bound.port()));
        ReservedPort { _socket: socket, address }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A folder that is gone with its server.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tickring-nats-{}-{number}", std::process::id()));
        // What another process of the same id left behind.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
