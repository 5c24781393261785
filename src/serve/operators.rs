//! Operators' HTTP: its sockets, bound before the first thread starts, and its thread. Home: the main thread.

use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use nix::unistd::Pid;

use crate::config::{self, Config};
use crate::control::backends::BackendsSetup;
use crate::control::{Bounds, Control, ControlSetup, McpSetup, Source};
use crate::exit::{Exit, Failure};
use crate::inward::Inward;
use crate::limits;
use crate::rt;

use super::{Server, Shared, hubs};

/// Sockets for operators.
#[derive(Debug)]
pub(super) struct Doors {
    tcp: Option<TcpListener>,
    unix: Option<(UnixListener, SocketFile)>,
    mcp: McpSetup,
}

/// The name of a Unix socket that is listened on; it is gone when nobody does any more.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Of the file that was made here.
    device_and_inode: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another server may have put its own there.
        if identity(&self.path) == Some(self.device_and_inode)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            log::warn!("control.socket: {} stays: {error}", self.path.display());
        }
    }
}

/// Whom a Unix socket lets in: its owner and group.
const SOCKET_MODE: u32 = 0o660;

impl Doors {
    /// # Errors
    /// An address or a path is taken.
    pub(super) fn bind(config: &Config, mcp: McpSetup) -> Result<Doors, Failure> {
        let address = &config.control.address;
        let taken = |what: String| {
            let hint = "another server may have it: stop that one (ss -ltnp), or name another, --control 127.0.0.1:0 \
                        say, or none, --control off";
            Failure::new(Exit::Unavailable, what, hint)
        };
        let tcp = address.map(|address| {
            TcpListener::bind(address).map_err(|error| taken(format!("control.address: {address}: {error}")))
        });
        let unix = config.control.socket_path().map(|path| {
            bind_unix(path).map_err(|error| taken(format!("control.socket: {}: {error}", path.display())))
        });
        Ok(Doors { tcp: tcp.transpose()?, unix: unix.transpose()?, mcp })
    }

    /// Serves on them, and carries calls of backends also where there is none.
    ///
    /// # Errors
    /// The process is out of threads or descriptors.
    fn open(
        self,
        source: Source,
        inward: Inward,
        backends: BackendsSetup,
    ) -> std::io::Result<(Control, Option<SocketFile>)> {
        let Doors { tcp, unix, mcp } = self;
        let (unix, file) = unix.unzip();
        let setup = ControlSetup {
            tcp,
            unix,
            source,
            backends,
            mcp,
            inward,
            give_way: rt::give_way,
            drain: tell_to_stop,
        };
        Control::start(setup).map(|control| (control, file))
    }
}

impl Server {
    /// Answers operators from now on, and is ready.
    pub(super) fn open(mut self, doors: Doors) -> Result<Server, Failure> {
        let source = self.source();
        let inward = self.inward.take().expect("invariant: operators are answered once");
        let nodes = self.joined.as_mut().and_then(|joined| joined.nodes.take());
        let backends = self.callees.setup(&self.config, nodes);
        match doors.open(source, inward, backends) {
            Ok((control, file)) => (self.control, self.socket_file) = (Some(control), file),
            Err(error) => {
                let failure =
                    Failure::new(Exit::OsError, format!("cannot answer operators: {error}"), "see ulimit -a");
                self.tell_to_stop();
                return Err(self.join().unwrap_or(failure));
            }
        }
        self.shared.lifecycle.ready();
        Ok(self)
    }

    /// What operators are told comes from here.
    fn source(&mut self) -> Source {
        let inspector = std::mem::take(&mut self.inspector);
        let Shared { lifecycle, pressure, admission, boards, histograms, switch, keyring, bounds, .. } =
            &self.shared;
        Source {
            boards: boards.clone(),
            histograms: Arc::clone(histograms),
            lifecycle: Arc::clone(lifecycle),
            admission: Arc::clone(admission),
            bounds: Arc::clone(bounds),
            pressure: Arc::clone(pressure),
            history_bytes_max: (boards.len() * limits::HISTORY_BYTES_PER_HOME_MAX) as u64,
            switch: Arc::clone(switch),
            doorbell: self.doorbells[boards.len() - 1].clone(),
            keyring: Arc::clone(keyring),
            inspector,
            callees: Arc::clone(&self.callees.status),
            linked: self.shared.linked.clone(),
            nats: self.joined.as_ref().map(|joined| joined.nats.board()),
            notices: self.joined.as_ref().and_then(|joined| Some(Arc::clone(&joined.nodes.as_ref()?.board))),
            cluster: self.config.cluster.names(),
            store: self.store.as_ref().map(|store| Arc::clone(store.progress())),
            stream: self.joined.as_ref().and_then(|joined| joined.store.clone()),
            log_file: Arc::clone(self.log_file.progress()),
        }
    }
}

/// What is told beside what it bounds.
pub(super) fn bounds(config: &Config) -> Bounds {
    let turn_ms_max = match config.overload.turn_ms_max {
        0 => config::Overload::default().turn_ms_max,
        ms => ms,
    };
    Bounds {
        connections_max: config.limits.connections_max,
        memory_bytes_max: config.limits.memory_bytes_max,
        turn_ns_max: u64::from(turn_ms_max) * 1_000_000,
        may_debug: config.control.debug,
        may_publish: config.topics.publish || config.auth.has_file(),
        message_bytes_max: config.limits.message_bytes_max,
        publish_rates: hubs::rates(config),
    }
}

/// The socket that a process before has left is replaced, one that somebody listens on is not.
fn bind_unix(path: &Path) -> std::io::Result<(UnixListener, SocketFile)> {
    if let Some(found) = identity(path)
        && is_deserted(path)?
        // Nobody has put another there meanwhile.
        && identity(path) == Some(found)
    {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    let device_and_inode = identity(path).ok_or(std::io::ErrorKind::NotFound)?;
    let file = SocketFile { path: path.to_owned(), device_and_inode };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE))?;
    Ok((listener, file))
}

/// Of a socket's file; none where there is none, or another kind of file.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let found = std::fs::symlink_metadata(path).ok()?;
    found.file_type().is_socket().then(|| (found.dev(), found.ino()))
}

/// Whether nobody listens on a socket. Somebody whose backlog is full does.
fn is_deserted(path: &Path) -> std::io::Result<bool> {
    let asking = socket(
        AddressFamily::Unix,
        SockType::Stream,
        SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    let address = UnixAddr::new(path)?;
    Ok(connect(asking.as_raw_fd(), &address) == Err(Errno::ECONNREFUSED))
}

/// The main thread hears it as it hears whoever stops the process; once, since a second signal would end the process at once.
fn tell_to_stop() {
    static IS_TOLD: AtomicBool = AtomicBool::new(false);
    if IS_TOLD.swap(true, Ordering::Relaxed) {
        return;
    }
    if let Err(errno) = kill(Pid::this(), Signal::SIGTERM) {
        log::error!("cannot tell myself to stop: {}", errno.desc());
    }
}
