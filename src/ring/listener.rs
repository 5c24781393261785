//! A listening TCP socket, one per shard and port.
//!
//! Home: made on any thread, then given to one ring. With `SO_REUSEPORT` each shard has its own socket on the same
//! port and the kernel spreads connections over them. Options that accepted sockets inherit (`TCP_NODELAY`,
//! `TCP_NOTSENT_LOWAT`, `TCP_USER_TIMEOUT`) are set here once, because a direct descriptor has no `setsockopt`.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, Backlog, SetSockOpt, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, getsockname,
    getsockopt, listen, setsockopt, socket, sockopt,
};

use super::peers::socket_address;

/// What to ask of a listening socket and of the connections it accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerOptions {
    /// Connections that may wait to be accepted; the kernel lowers it to `net.core.somaxconn`. 1 to 65,535.
    pub backlog_connections_max: u16,
    /// `TCP_NOTSENT_LOWAT` in bytes: a socket counts as writable only while fewer unsent bytes wait in the kernel, so
    /// that what is sent next is decided late. 0 leaves the kernel's default (no bound).
    pub unsent_bytes_low: u32,
    /// `TCP_USER_TIMEOUT` in milliseconds: a connection whose peer acknowledges nothing for so long is dropped. 0
    /// leaves the kernel's default (many minutes).
    pub unacknowledged_ms_max: u32,
}

impl Default for ListenerOptions {
    fn default() -> ListenerOptions {
        ListenerOptions {
            backlog_connections_max: 4096,
            unsent_bytes_low: 16 * 1024,
            unacknowledged_ms_max: 20_000,
        }
    }
}

/// A socket that listens. Dropping it closes it.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
    address: SocketAddr,
}

impl Listener {
    /// Binds and listens with `SO_REUSEADDR`, `SO_REUSEPORT` and close-on-exec. An IPv6 address accepts IPv6 only, so
    /// that `0.0.0.0` and `::` can be listened to side by side. Port 0 lets the kernel choose; read it from
    /// [`address`](Listener::address) and bind the other shards to that.
    ///
    /// # Errors
    /// The step that failed and the kernel's reason.
    pub fn bind(address: SocketAddr, options: &ListenerOptions) -> Result<Listener, ListenError> {
        let at = |step: &'static str| move |errno: Errno| ListenError { address, step, errno };
        let fd = open(address)?;
        set(&fd, sockopt::ReusePort, &true).map_err(at("SO_REUSEPORT"))?;
        set_inherited(&fd, options).map_err(|(step, errno)| ListenError { address, step, errno })?;
        bind(fd.as_raw_fd(), &SockaddrStorage::from(address)).map_err(at("bind"))?;
        let backlog = Backlog::new(i32::from(options.backlog_connections_max)).map_err(at("backlog"))?;
        listen(&fd, backlog).map_err(at("listen"))?;
        let address = bound_address(&fd).map_err(at("getsockname"))?;
        Ok(Listener { fd, address })
    }

    /// Whether nobody listens at this address yet. `SO_REUSEPORT` alone would let a second server of the same user share
    /// the port of the first, and the kernel spread clients over both.
    ///
    /// # Errors
    /// The address is taken, or not to be had at all.
    pub fn check_free(address: SocketAddr) -> Result<(), ListenError> {
        let fd = open(address)?;
        bind(fd.as_raw_fd(), &SockaddrStorage::from(address)).map_err(|errno| ListenError {
            address,
            step: "bind",
            errno,
        })
    }

    /// Takes over a socket that listens already, such as one handed in by socket activation, and sets what its connections
    /// inherit. Its backlog stays as it is. It is closed, never shut down: who else holds it goes on listening.
    ///
    /// # Errors
    /// When it is no TCP socket, or does not listen.
    pub fn adopt(fd: OwnedFd, options: &ListenerOptions) -> Result<Listener, ListenError> {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let address = bound_address(&fd).map_err(|errno| ListenError {
            address: nowhere,
            step: "getsockname",
            errno,
        })?;
        let at = |step: &'static str| move |errno: Errno| ListenError { address, step, errno };
        if !getsockopt(&fd, sockopt::AcceptConn).map_err(at("SO_ACCEPTCONN"))? {
            return Err(at("it does not listen")(Errno::EINVAL));
        }
        set_inherited(&fd, options).map_err(|(step, errno)| ListenError { address, step, errno })?;
        Ok(Listener { fd, address })
    }

    /// The address bound, with the port the kernel chose if 0 was asked for.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn raw_fd(&self) -> i32 {
        self.fd.as_raw_fd()
    }
}

/// The first descriptor that a service manager hands in (sd_listen_fds(3)).
const INHERITED_FIRST: RawFd = 3;

/// Takes over so many descriptors as a service manager hands in, and keeps them from child processes.
///
/// # Errors
/// One of them is not open. Those before it stay open.
pub fn take_inherited(count: usize) -> io::Result<Vec<OwnedFd>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if count > 0 {
        assert!(!TAKEN.swap(true, Ordering::Relaxed), "invariant: what was handed in is taken once");
    }
    let end = INHERITED_FIRST.saturating_add(RawFd::try_from(count).unwrap_or(RawFd::MAX));
    let numbers = INHERITED_FIRST..end;
    for number in numbers.clone() {
        // SAFETY: the call takes no pointer, and says so if the descriptor is not open.
        Errno::result(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    }
    // SAFETY: each was just seen to be open. They came with the process, so that nothing in it has them as its own, and are
    // taken once.
    Ok(numbers.map(|number| unsafe { OwnedFd::from_raw_fd(number) }).collect())
}

/// Why there is no listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenError {
    pub address: SocketAddr,
    /// The call or option that failed.
    pub step: &'static str,
    pub errno: Errno,
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on {}: {}: {}", self.address, self.step, self.errno.desc())
    }
}

impl std::error::Error for ListenError {}

/// A TCP socket that may be bound where connections of an earlier process linger.
fn open(address: SocketAddr) -> Result<OwnedFd, ListenError> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let at = |step: &'static str| move |errno: Errno| ListenError { address, step, errno };
    let fd =
        socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, SockProtocol::Tcp).map_err(at("socket"))?;
    if address.is_ipv6() {
        set(&fd, sockopt::Ipv6V6Only, &true).map_err(at("IPV6_V6ONLY"))?;
    }
    set(&fd, sockopt::ReuseAddr, &true).map_err(at("SO_REUSEADDR"))?;
    Ok(fd)
}

/// What accepted connections inherit; the step that failed.
fn set_inherited(fd: &OwnedFd, options: &ListenerOptions) -> Result<(), (&'static str, Errno)> {
    let at = |step: &'static str| move |errno: Errno| (step, errno);
    set(fd, sockopt::TcpNoDelay, &true).map_err(at("TCP_NODELAY"))?;
    if options.unacknowledged_ms_max > 0 {
        set(fd, sockopt::TcpUserTimeout, &options.unacknowledged_ms_max).map_err(at("TCP_USER_TIMEOUT"))?;
    }
    if options.unsent_bytes_low > 0 {
        set_unsent_low(fd, options.unsent_bytes_low).map_err(at("TCP_NOTSENT_LOWAT"))?;
    }
    Ok(())
}

fn set<O: SetSockOpt>(fd: &OwnedFd, option: O, value: &O::Val) -> Result<(), Errno> {
    setsockopt(fd, option, value)
}

/// `nix` has no name for `TCP_NOTSENT_LOWAT`.
fn set_unsent_low(fd: &OwnedFd, bytes: u32) -> Result<(), Errno> {
    #[expect(clippy::cast_possible_truncation, reason = "four bytes")]
    const BYTES: libc::socklen_t = size_of::<u32>() as libc::socklen_t;
    // SAFETY: the descriptor is open, and the value is four readable bytes for the length of the call.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_NOTSENT_LOWAT,
            std::ptr::from_ref(&bytes).cast(),
            BYTES,
        )
    };
    Errno::result(result).map(drop)
}

fn bound_address(fd: &OwnedFd) -> Result<SocketAddr, Errno> {
    let address: SockaddrStorage = getsockname(fd.as_raw_fd())?;
    socket_address(&address).ok_or(Errno::EAFNOSUPPORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_shared(address: &str) {
        let options = ListenerOptions::default();
        let first = Listener::bind(address.parse().unwrap(), &options).unwrap();
        assert_ne!(first.address().port(), 0);
        let second = Listener::bind(first.address(), &options).unwrap();
        assert_eq!(first.address(), second.address());
    }

    #[test]
    fn two_shards_share_a_port_the_kernel_chose() {
        check_shared("127.0.0.1:0");
    }

    #[test]
    fn two_shards_share_an_ipv6_port() {
        // A host may have no IPv6 at all; then there is nothing to show.
        if Listener::bind("[::1]:0".parse().unwrap(), &ListenerOptions::default()).is_ok() {
            check_shared("[::1]:0");
        }
    }

    #[test]
    fn an_address_of_another_host_is_refused_with_its_step() {
        let error = Listener::bind("192.0.2.1:0".parse().unwrap(), &ListenerOptions::default()).unwrap_err();
        assert_eq!((error.step, error.errno), ("bind", Errno::EADDRNOTAVAIL));
        assert!(error.to_string().starts_with("cannot listen on 192.0.2.1:0: bind: "));
    }

    #[test]
    fn adopts_a_socket_made_elsewhere() {
        let made = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = made.local_addr().unwrap();
        let listener = Listener::adopt(made.into(), &ListenerOptions::default()).unwrap();
        assert_eq!(listener.address(), address);
    }

    #[test]
    fn what_does_not_listen_is_not_adopted() {
        let made = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let connected = std::net::TcpStream::connect(made.local_addr().unwrap()).unwrap();
        let error = Listener::adopt(connected.into(), &ListenerOptions::default()).unwrap_err();
        assert_eq!((error.step, error.errno), ("it does not listen", Errno::EINVAL));
        let (pair, _) = std::os::unix::net::UnixStream::pair().unwrap();
        let error = Listener::adopt(pair.into(), &ListenerOptions::default()).unwrap_err();
        assert_eq!((error.step, error.errno), ("getsockname", Errno::EAFNOSUPPORT));
    }
}
