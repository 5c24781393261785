//! The service as systemd sees it: what its notification socket is told, what the watchdog gets, and sockets handed in. The
//! manager is a datagram socket of ours.

use std::fs;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, getsockname, listen,
    setsockopt, socket, sockopt,
};
use nix::sys::wait::waitpid;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Pid, close};

use crate::DEADLINE;
use crate::bytes;
use crate::client::Client;
use crate::server::{self, Server};

/// As `WatchdogSec=1` has it.
const WATCHDOG: Duration = Duration::from_secs(1);

/// Stands for systemd.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn new() -> Manager {
        // A path of a socket is short: not below the build's folder, which need not be.
        let file = server::temporary_file("notify", b"");
        let path = std::env::temp_dir().join(file.file_name().unwrap());
        fs::remove_file(file).unwrap();
        let _ = fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Manager { socket, path }
    }

    fn serve(&self, cores: &str, flags: &[&str]) -> Server {
        let mut command = server::tickring();
        command.args(["serve", "--control", "off", "--listen", "127.0.0.1:0", "--cores", cores]).args(flags);
        command.env("NOTIFY_SOCKET", &self.path).env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
        Server::launch(command)
    }

    /// The next thing told.
    fn hear(&self) -> io::Result<String> {
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes)?;
        Ok(String::from_utf8(bytes[..length].to_vec()).unwrap())
    }

    /// The next thing told that is no food for the watchdog.
    fn hear_news(&self) -> String {
        loop {
            let told = self.hear().expect("something is told");
            if told != "WATCHDOG=1" {
                return told;
            }
        }
    }

    fn hear_watchdog(&self) {
        let told = self.hear().expect("the watchdog is fed");
        assert_eq!(told, "WATCHDOG=1");
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn monotonic_us() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap();
    u64::try_from(time.tv_sec()).unwrap() * 1_000_000 + u64::try_from(time.tv_nsec()).unwrap() / 1000
}

#[test]
fn the_manager_is_told_of_the_start_a_reload_and_the_stop() {
    let manager = Manager::new();
    let server = manager.serve("0,1", &[]);
    let ready = manager.hear_news();
    let url = format!("ws://{}/ws", server.address);
    assert_eq!(ready, format!("READY=1\nSTATUS=serving {url} by 2 shards"));
    let before_us = monotonic_us();
    server.signal(Signal::SIGHUP);
    let reloading = manager.hear_news();
    let after_us = monotonic_us();
    let said_us = server::number_after(&reloading, "RELOADING=1\nMONOTONIC_USEC=");
    assert!((before_us..=after_us).contains(&said_us), "{reloading}, between {before_us} and {after_us}");
    assert_eq!(manager.hear_news(), ready);
    let client = Client::connect(server.address);
    server.signal(Signal::SIGTERM);
    assert_eq!(manager.hear_news(), "STOPPING=1\nSTATUS=sending 1 clients away");
    drop(client);
    server.wait().assert_clean();
}

#[test]
fn it_is_ready_only_once_every_shard_listens() {
    let manager = Manager::new();
    let mut command = server::tickring();
    command.args(["serve", "--control", "off", "--listen", "127.0.0.1:0", "--cores", "0,1"]);
    command.env("NOTIFY_SOCKET", &manager.path);
    let starting = std::thread::spawn(|| Server::launch(command));
    let told = manager.hear().unwrap();
    let url = told.strip_prefix("READY=1\nSTATUS=serving ws://").unwrap();
    let address = url.split('/').next().unwrap().parse().unwrap();
    // Without waiting for what it announces.
    let clients: Vec<Client> = (0..20).map(|_| Client::connect(address)).collect();
    let server = starting.join().unwrap();
    drop(clients);
    server.stop().assert_clean();
}

#[test]
fn the_watchdog_is_fed_by_threads_that_park_and_by_threads_that_poll() {
    for flags in [&[][..], &["--busy-poll"]] {
        let manager = Manager::new();
        let server = manager.serve("0,1", flags);
        assert!(manager.hear_news().starts_with("READY=1\n"));
        (0..5).for_each(|_| manager.hear_watchdog());
        server.stop().assert_clean();
    }
}

#[test]
fn a_thread_that_does_not_turn_keeps_the_watchdog_hungry() {
    // Where shards have all cores, the venue lives in the last one's thread.
    let cases = [
        ("0,1", "shard-0", "shard 0"),
        ("0,1", "shard-1", "shard 1, the venue"),
        ("0", "venue", "the venue"),
    ];
    for (cores, thread, told) in cases {
        let manager = Manager::new();
        let mut server = manager.serve(cores, &[]);
        assert!(manager.hear_news().starts_with("READY=1\n"));
        manager.hear_watchdog();
        // A tracer stops this thread and no other.
        let stat = server.threads(thread).remove(0);
        let id = Pid::from_raw(stat.split(' ').next().unwrap().parse().unwrap());
        ptrace::attach(id).unwrap();
        waitpid(id, Some(nix::sys::wait::WaitPidFlag::__WALL)).unwrap();
        // It may have turned since the watchdog was fed: then it is fed once more.
        manager.socket.set_read_timeout(Some(WATCHDOG)).unwrap();
        let mut fed = 0;
        while let Ok(food) = manager.hear() {
            assert_eq!(food, "WATCHDOG=1");
            fed += 1;
            assert!(fed <= 2, "fed while {thread} stands");
        }
        server.wait_for_log(&format!("{told} does not turn: the watchdog is not fed"));
        ptrace::detach(id, None).unwrap();
        manager.socket.set_read_timeout(Some(DEADLINE)).unwrap();
        (0..3).for_each(|_| manager.hear_watchdog());
        server.stop().assert_clean();
    }
}

/// Sockets as units with `ReusePort=yes` make them, all on one port.
fn listening(count: usize) -> (SocketAddr, Vec<OwnedFd>) {
    let mut address = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut sockets = Vec::new();
    for _ in 0..count {
        let fd =
            socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, SockProtocol::Tcp).unwrap();
        setsockopt(&fd, sockopt::ReusePort, &true).unwrap();
        bind(fd.as_raw_fd(), &SockaddrStorage::from(address)).unwrap();
        listen(&fd, Backlog::new(128).unwrap()).unwrap();
        let bound: SockaddrStorage = getsockname(fd.as_raw_fd()).unwrap();
        address.set_port(bound.as_sockaddr_in().unwrap().port());
        sockets.push(fd);
    }
    (address, sockets)
}

/// Hands sockets in to a command under these names, and does with it what is to be done while they are open for it.
fn handing<T>(sockets: &[OwnedFd], names: &str, arguments: &[&str], start: impl FnOnce(Command) -> T) -> T {
    // Far above those that the command has, so that none is in the way of another.
    let above: Vec<RawFd> =
        sockets.iter().map(|socket| fcntl(socket, FcntlArg::F_DUPFD(200)).unwrap()).collect();
    let mut script = String::new();
    for (at, fd) in above.iter().enumerate() {
        script.push_str(&format!("exec {}<&{fd} {fd}<&-; ", at + 3));
    }
    script.push_str("LISTEN_PID=$$ exec \"$@\"");
    let mut command = Command::new("bash");
    command
        .args(["-c", &script, "bash", env!("CARGO_BIN_EXE_tickring"), "serve", "--control", "off"])
        .args(arguments);
    command.env_remove("RUST_LOG").env("LISTEN_FDS", sockets.len().to_string()).env("LISTEN_FDNAMES", names);
    let started = start(command);
    above.into_iter().for_each(|fd| close(fd).unwrap());
    started
}

#[test]
fn sockets_handed_in_are_served_and_outlive_the_server() {
    let (address, sockets) = listening(2);
    let listen = address.to_string();
    let arguments = ["--listen", &listen, "--cores", "0,1"];
    let first = handing(&sockets, "shard1:shard0", &arguments, Server::launch);
    assert_eq!(first.address, address);
    let clients: Vec<Client> = (0..40).map(|_| Client::connect(address)).collect();
    drop(clients);
    let ended = first.stop();
    ended.assert_clean();
    assert!(ended.each_shard("accepted_total").iter().all(|accepted| *accepted > 0));
    // Nobody serves now, and nobody is refused: who comes waits for the next server.
    let mut waiting: Vec<TcpStream> = (0..20).map(|_| bytes::connect(address)).collect();
    waiting.iter_mut().for_each(|stream| stream.write_all(&bytes::upgrade_request()).unwrap());
    let second = handing(&sockets, "shard0:shard1", &arguments, Server::launch);
    for stream in &mut waiting {
        assert!(bytes::read_head(&mut *stream).starts_with("HTTP/1.1 101 "));
    }
    drop(waiting);
    let ended = second.stop();
    ended.assert_clean();
    assert_eq!(ended.of_shards("accepted_total"), 20);
}

#[test]
fn sockets_that_do_not_fit_are_refused_with_one_line() {
    let (address, sockets) = listening(2);
    let (_elsewhere, other) = listening(1);
    let mixed = vec![sockets[0].try_clone().unwrap(), other[0].try_clone().unwrap()];
    let listen = address.to_string();
    let cases: [(&[OwnedFd], &str, &str, &str, &str); 6] = [
        (
            &sockets[..1],
            "shard0",
            "0,1",
            &listen,
            "1 sockets were handed in, but 2 shards with 1 listeners each",
        ),
        (
            &sockets,
            "shard0:shard1",
            "0",
            &listen,
            "2 sockets were handed in, but 1 shards with 1 listeners each",
        ),
        (
            &sockets,
            "shard0:http",
            "0,1",
            &listen,
            "a socket was handed in as \"http\", expected shard0, shard1",
        ),
        (&sockets, "shard0", "0,1", &listen, "LISTEN_FDS=2, but LISTEN_FDNAMES has 1 names"),
        (&sockets, "shard0:shard1", "0,1", "127.0.0.2:0", "was handed in for 127.0.0.2:0"),
        (&mixed, "shard0:shard1", "0,1", "127.0.0.1:0", "shards are to listen on one address"),
    ];
    for (sockets, names, cores, listen, told) in cases {
        let arguments = ["--listen", listen, "--cores", cores];
        let ended = handing(sockets, names, &arguments, |mut command| server::run(&mut command));
        assert_eq!(ended.code, Some(78), "{:#?}", ended.log);
        let lines: Vec<&String> = ended.log.iter().filter(|line| line.contains(told)).collect();
        assert_eq!(lines.len(), 1, "{told:?} in {:#?}", ended.log);
    }
}

#[test]
fn sockets_meant_for_another_process_are_left_alone() {
    let mut command = server::tickring();
    command.args(["serve", "--control", "off", "--listen", "127.0.0.1:0", "--cores", "0"]);
    command.env("LISTEN_PID", "1").env("LISTEN_FDS", "3").env("LISTEN_FDNAMES", "a:b:c");
    let server = Server::launch(command);
    drop(Client::connect(server.address));
    server.stop().assert_clean();
}
