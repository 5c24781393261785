//! A listening TCP socket, one per shard and port.
//!
//! Home: made on any thread, then given to one ring. With `SO_REUSEPORT` each shard has its own socket on the same
//! port and the kernel spreads connections over them. Options that accepted sockets inherit (`TCP_NODELAY`,
//! `TCP_NOTSENT_LOWAT`, `TCP_USER_TIMEOUT`) are set here once, because a direct descriptor has no `setsockopt`.

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, Backlog, SetSockOpt, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, getsockname,
    listen, setsockopt, socket, sockopt,
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
        set(&fd, sockopt::TcpNoDelay, &true).map_err(at("TCP_NODELAY"))?;
        if options.unacknowledged_ms_max > 0 {
            set(&fd, sockopt::TcpUserTimeout, &options.unacknowledged_ms_max)
                .map_err(at("TCP_USER_TIMEOUT"))?;
        }
        if options.unsent_bytes_low > 0 {
            set_unsent_low(&fd, options.unsent_bytes_low).map_err(at("TCP_NOTSENT_LOWAT"))?;
        }
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

    /// Takes over a socket that listens already, such as one handed in by socket activation. Its options stay as they
    /// are.
    ///
    /// # Errors
    /// When it is no TCP socket.
    pub fn adopt(fd: OwnedFd) -> Result<Listener, ListenError> {
        let address = bound_address(&fd).map_err(|errno| ListenError {
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
            step: "getsockname",
            errno,
        })?;
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
        let listener = Listener::adopt(made.into()).unwrap();
        assert_eq!(listener.address(), address);
    }
}
