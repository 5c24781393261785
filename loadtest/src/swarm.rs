//! Client sockets under full control: many at once, opened without waiting, from many source addresses, read or not,
//! and ended in every way that TCP has. Readiness by epoll, edge-triggered, since a client that does not read must not
//! be told so again and again. Home: the load thread.
//! Invariants: a socket is known by the key it was opened with; events of a key whose socket is gone are the caller's
//! to pass over; nothing here waits but [`Swarm::wait`].

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::libc;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, setsockopt, socket, sockopt,
};

use crate::failure::{Doing, Failure, Result};

/// Source addresses in use: at 28,000 ports each, far more than a minute of TIME_WAIT can hold.
const SOURCES: u32 = 250;

/// A socket's key, chosen by who opens it.
pub(crate) type Key = u64;

/// What is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) key: Key,
    /// There are bytes to read, or the peer's end.
    pub(crate) is_readable: bool,
    /// The peer has ended or reset the connection.
    pub(crate) is_ended: bool,
}

/// See the module's page.
pub(crate) struct Swarm {
    epoll: Epoll,
    server: SocketAddrV4,
    /// The second byte of the source addresses, so that two swarms are told apart: 127.N.0.1 and up.
    network: u8,
    opened: u32,
    events: Vec<EpollEvent>,
}

impl Swarm {
    /// Sockets from `127.{network}.0.1` and up to `server`; at most `events` are told of by one wait.
    pub(crate) fn new(server: SocketAddr, network: u8, events: usize) -> Result<Swarm> {
        let SocketAddr::V4(server) = server else {
            return Err(Failure::Unmet("the source addresses are those of the IPv4 loopback".to_owned()));
        };
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).doing("epoll_create")?;
        Ok(Swarm { epoll, server, network, opened: 0, events: vec![EpollEvent::empty(); events] })
    }

    /// Begins to connect from the next source address. Readiness to write tells that it is done.
    pub(crate) fn open(&mut self, key: Key, receiving: Receiving) -> Result<Plug> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let descriptor = socket(AddressFamily::Inet, SockType::Stream, flags, None).doing("socket")?;
        // The port is chosen at the connect, by the whole address pair.
        setsockopt(&descriptor, sockopt::IpBindAddressNoPort, &true).doing("IP_BIND_ADDRESS_NO_PORT")?;
        setsockopt(&descriptor, sockopt::TcpNoDelay, &true).doing("TCP_NODELAY")?;
        if let Receiving::Little(bytes) = receiving {
            setsockopt(&descriptor, sockopt::RcvBuf, &bytes).doing("SO_RCVBUF")?;
        }
        let source = source_address(self.network, self.opened % SOURCES);
        self.opened = self.opened.wrapping_add(1);
        bind(descriptor.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(source, 0)))
            .doing("bind the source address")?;
        let interest =
            EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
        match connect(descriptor.as_raw_fd(), &SockaddrIn::from(self.server)) {
            Ok(()) | Err(Errno::EINPROGRESS) => {}
            Err(errno) => return Err(Failure::Io("connect", errno.into())),
        }
        self.epoll.add(&descriptor, EpollEvent::new(interest, key)).doing("epoll_ctl")?;
        Ok(Plug { stream: TcpStream::from(descriptor) })
    }

    /// Waits for at most `wait_ms` and appends what is ready.
    pub(crate) fn wait(&mut self, wait_ms: u16, ready: &mut Vec<Ready>) -> Result<()> {
        let count = match self.epoll.wait(&mut self.events, EpollTimeout::from(wait_ms)) {
            Err(Errno::EINTR) => 0,
            waited => waited.doing("epoll_wait")?,
        };
        ready.extend(self.events[..count].iter().map(|event| {
            let flags = event.events();
            let is_ended =
                flags.intersects(EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR);
            let is_readable = is_ended || flags.contains(EpollFlags::EPOLLIN);
            Ready { key: event.data(), is_readable, is_ended }
        }));
        Ok(())
    }
}

/// How much the kernel may hold for a socket that is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Receiving {
    Usual,
    /// SO_RCVBUF, in bytes.
    Little(usize),
}

/// One socket.
#[derive(Debug)]
pub(crate) struct Plug {
    stream: TcpStream,
}

/// What an attempt to read or write came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moved {
    Bytes(usize),
    /// Not now; readiness will tell.
    Nothing,
    /// The peer has sent all it will.
    End,
    /// The connection is broken.
    Broken(ErrorKind),
}

impl Plug {
    /// Whether a connect that has ended has succeeded; the error is told once.
    pub(crate) fn connected(&self) -> std::result::Result<(), ErrorKind> {
        match self.stream.take_error() {
            Ok(None) => Ok(()),
            Ok(Some(error)) | Err(error) => Err(error.kind()),
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Moved {
        moved(self.stream.write(bytes))
    }

    /// Reads once; at least one byte must fit.
    pub(crate) fn read(&mut self, bytes: &mut [u8]) -> Moved {
        let moved = moved(self.stream.read(bytes));
        if moved == Moved::Bytes(0) { Moved::End } else { moved }
    }

    /// Sends no more; the peer may still.
    pub(crate) fn end_sending(&self) {
        // It may be over already, which ends our sending as well.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Ends it by a reset: what was sent or received and not read yet is void, and no TIME_WAIT stays behind.
    pub(crate) fn reset(self) {
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        // A socket that refuses is closed the usual way.
        let _ = setsockopt(&self.stream, sockopt::Linger, &linger);
    }

    /// The socket, for another way of reading it; the swarm tells of it no longer once it is dropped.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Ends it by `close` alone. The kernel makes a reset of it where something received was not read.
    pub(crate) fn close(self) {
        drop(self);
    }
}

fn moved(result: std::io::Result<usize>) -> Moved {
    match result {
        Ok(bytes) => Moved::Bytes(bytes),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            Moved::Nothing
        }
        Err(error) => Moved::Broken(error.kind()),
    }
}

/// The loopback address `index` of a network `127.N`.
pub(crate) fn source_address(network: u8, index: u32) -> Ipv4Addr {
    let host = u16::try_from(1 + index % 60_000).expect("invariant: below 2^16");
    let [high, low] = host.to_be_bytes();
    Ipv4Addr::new(127, network, high, low)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn sources_are_distinct_and_none_is_the_network_s_own() {
        assert_eq!(source_address(7, 0), Ipv4Addr::new(127, 7, 0, 1));
        assert_eq!(source_address(7, 249), Ipv4Addr::new(127, 7, 0, 250));
        assert_eq!(source_address(7, 300), Ipv4Addr::new(127, 7, 1, 45));
    }

    fn opened(swarm: &mut Swarm, listener: &TcpListener) -> (Plug, TcpStream) {
        let plug = swarm.open(7, Receiving::Usual).unwrap();
        let (peer, address) = listener.accept().unwrap();
        assert_eq!(address.ip(), Ipv4Addr::new(127, 9, 0, 1));
        let mut ready = Vec::new();
        while ready.is_empty() {
            swarm.wait(1_000, &mut ready).unwrap();
        }
        assert_eq!((ready[0].key, plug.connected()), (7, Ok(())));
        (plug, peer)
    }

    #[test]
    fn a_reset_reaches_the_peer_as_one_and_a_close_as_an_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (plug, mut peer) = opened(&mut Swarm::new(address, 9, 8).unwrap(), &listener);
        plug.reset();
        assert_eq!(peer.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        let (plug, mut peer) = opened(&mut Swarm::new(address, 9, 8).unwrap(), &listener);
        plug.close();
        assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0);
    }

    #[test]
    fn a_half_closed_socket_still_reads() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut swarm = Swarm::new(listener.local_addr().unwrap(), 9, 8).unwrap();
        let (mut plug, mut peer) = opened(&mut swarm, &listener);
        plug.end_sending();
        assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0);
        peer.write_all(b"still").unwrap();
        drop(peer);
        let mut bytes = [0; 8];
        let mut seen = Vec::new();
        while seen.last() != Some(&Moved::End) {
            let moved = plug.read(&mut bytes);
            if moved == Moved::Nothing {
                swarm.wait(1_000, &mut Vec::new()).unwrap();
            } else {
                seen.push(moved);
            }
        }
        assert_eq!(seen, [Moved::Bytes(5), Moved::End]);
    }
}
