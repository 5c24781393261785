//! Outgoing connections until they are made: a socket, a connect with a deadline, then a place in the table of direct
//! descriptors, from where on the connection is as an accepted one. A socket that is handed in, connected, begins with the last.
//!
//! Home: one shard. Maps memory: in the constructor only. The socket begins as an ordinary descriptor, because a direct one
//! has no `setsockopt`; that is closed when the connection is made or cannot be.
//!
//! Invariants:
//! - A place's memory belongs to the kernel from a submission that refers to it until that submission's completion was reaped.
//!   No other attempt gets the place before the completion of its cancel was reaped, too, which would else hit the wrong one.
//! - Each attempt keeps a slot from the start, so that the table has room for it when it is connected.
//! - Each attempt ends with exactly one event, unless the ring is dropped before.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrLike, SockaddrStorage, getsockname, setsockopt,
    socket, sockopt,
};

use super::Ring;
use super::RingCounters;
use super::buffers::Region;
use super::event::Event;
use super::peers::socket_address;
use super::queue::{Completion, Queue};
use super::reap::Reaped;
use super::socket::{Cancel, Found, cancelled};
use super::token::{Operation, Token};

pub use crate::limits::{ADOPTIONS_MAX, CONNECTS_MAX};

/// Those of connects, then those of sockets that are handed in.
const PLACES: usize = CONNECTS_MAX + ADOPTIONS_MAX;

impl Ring {
    /// Asks for a connection to `address`, with `TCP_NODELAY` set; the next turn begins it. Either [`Event::Connected`]
    /// follows or, `timeout_ns` after that turn at the latest, [`Event::ConnectFailed`].
    ///
    /// # Errors
    /// `EBUSY` while [`CONNECTS_MAX`] are under way, `ENFILE` if every slot is in use (those that accepts wait for are), or why
    /// there is no socket. No event follows then.
    pub fn connect(&mut self, address: SocketAddr, tag: u32, timeout_ns: u64) -> Result<(), Errno> {
        self.check_slot()?;
        let origin = Origin::Connected { address, timeout_ns };
        self.connector.begin(Attempt { tag, socket: open(address)?, origin, step: Step::Asked })
    }

    /// Takes over a stream socket that is connected, a half of a socketpair say; the next turn begins it. [`Event::Adopted`] follows, or
    /// [`Event::AdoptFailed`].
    ///
    /// # Errors
    /// `EBUSY` while [`ADOPTIONS_MAX`] are under way, `ENFILE` if every slot is in use. No event follows then, and the socket is closed.
    pub fn adopt(&mut self, socket: OwnedFd, tag: u32) -> Result<(), Errno> {
        self.check_slot()?;
        self.connector.begin(Attempt { tag, socket, origin: Origin::Adopted, step: Step::Asked })
    }

    fn check_slot(&self) -> Result<(), Errno> {
        let accepts: u32 = self.acceptors.iter().map(super::Acceptor::in_flight).sum();
        if self.slots_held().saturating_add(accepts) >= self.connections_max {
            return Err(Errno::ENFILE);
        }
        Ok(())
    }

    /// Slots of connections, and of those under way.
    pub(super) fn slots_held(&self) -> u32 {
        u32::try_from(self.sockets.len()).unwrap_or(u32::MAX).saturating_add(self.connector.under_way)
    }

    pub(super) fn reap_connect(&mut self, place: u32, completion: &Completion) -> Reaped {
        match self.connector.connected(place, completion, &mut self.queue, &mut self.counters) {
            Ok(()) => Reaped::Nothing,
            Err(failed) => self.connect_failed(failed),
        }
    }

    pub(super) fn reap_install(&mut self, place: u32, completion: &Completion) -> Reaped {
        match self.connector.installed(place, completion) {
            Ok((tag, Origin::Connected { .. }, file)) => {
                self.counters.connected_total += 1;
                Reaped::Event(Event::Connected { conn: self.open(file), tag })
            }
            Ok((tag, Origin::Adopted, file)) => {
                self.counters.accepted_total += 1;
                Reaped::Event(Event::Adopted { conn: self.open(file), tag })
            }
            Err(failed) => self.connect_failed(failed),
        }
    }

    fn connect_failed(&mut self, Failed { tag, errno, origin }: Failed) -> Reaped {
        self.slot_freed();
        match origin {
            Origin::Connected { .. } => {
                self.counters.connects_failed_total += 1;
                Reaped::Event(Event::ConnectFailed { tag, errno })
            }
            Origin::Adopted => {
                self.counters.accepts_failed_total += 1;
                Reaped::Event(Event::AdoptFailed { tag, errno })
            }
        }
    }
}

/// The outgoing connections of one ring that are under way.
pub(super) struct Connector {
    places: Region,
    /// By place.
    attempts: Box<[Option<Attempt>]>,
    /// Of the attempts, those that are there.
    under_way: u32,
    /// When one is to be given up, at the earliest; 0 where the next turn has to look, `u64::MAX` where none is.
    due_ns: u64,
    /// By place, how far the cancel of its connect is; that may be over before the cancel is.
    cancels: Box<[Cancel]>,
}

/// What the kernel reads, and what it writes.
#[repr(C)]
struct Place {
    address: libc::sockaddr_storage,
    /// Before it is entered into the table: the ordinary descriptor. After: the direct one.
    file: i32,
}

struct Attempt {
    tag: u32,
    socket: OwnedFd,
    origin: Origin,
    step: Step,
}

/// Where a socket is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// It is connected to an address, with a deadline.
    Connected { address: SocketAddr, timeout_ns: u64 },
    /// It was handed in, connected.
    Adopted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The next turn submits it.
    Asked,
    Connecting {
        deadline_ns: u64,
    },
    /// It is being entered into the table of direct descriptors.
    Installing,
}

/// An attempt that came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failed {
    tag: u32,
    errno: Errno,
    origin: Origin,
}

impl Connector {
    pub(super) fn new() -> Connector {
        Connector {
            places: Region::new(PLACES * size_of::<Place>()),
            attempts: (0..PLACES).map(|_| None).collect(),
            under_way: 0,
            due_ns: u64::MAX,
            cancels: [Cancel::None; PLACES].into(),
        }
    }

    /// When the first of the connects has to be given up, or before.
    pub(super) fn deadline_ns(&self) -> Option<u64> {
        (0 < self.due_ns && self.due_ns < u64::MAX).then_some(self.due_ns)
    }

    /// Submits what was asked for, and gives up what has taken too long.
    pub(super) fn advance(&mut self, now_ns: u64, queue: &mut Queue, counters: &mut RingCounters) {
        if now_ns < self.due_ns {
            return;
        }
        self.due_ns = u64::MAX;
        for place in 0..PLACES {
            let Some(attempt) = &mut self.attempts[place] else { continue };
            match attempt.step {
                Step::Asked => match attempt.origin {
                    Origin::Connected { address, timeout_ns } => {
                        let deadline_ns = now_ns.saturating_add(timeout_ns);
                        attempt.step = Step::Connecting { deadline_ns };
                        self.due_ns = self.due_ns.min(deadline_ns);
                        self.submit_connect(place, address, queue, counters);
                    }
                    Origin::Adopted => self.install(place, queue, counters),
                },
                Step::Connecting { deadline_ns } if self.cancels[place] == Cancel::None => {
                    if now_ns < deadline_ns {
                        self.due_ns = self.due_ns.min(deadline_ns);
                        continue;
                    }
                    self.cancels[place] = Cancel::Asked;
                    let connect = token(Operation::Connect, place);
                    queue.cancel(token(Operation::CancelConnect, place), connect, counters);
                }
                Step::Connecting { .. } | Step::Installing => {}
            }
        }
    }

    fn begin(&mut self, attempt: Attempt) -> Result<(), Errno> {
        let mut places = match attempt.origin {
            Origin::Connected { .. } => 0..CONNECTS_MAX,
            Origin::Adopted => CONNECTS_MAX..PLACES,
        };
        let is_free = |place: &usize| self.attempts[*place].is_none() && self.cancels[*place] == Cancel::None;
        let place = places.find(is_free).ok_or(Errno::EBUSY)?;
        self.attempts[place] = Some(attempt);
        (self.under_way, self.due_ns) = (self.under_way + 1, 0);
        Ok(())
    }

    fn submit_connect(
        &mut self,
        place: usize,
        address: SocketAddr,
        queue: &mut Queue,
        counters: &mut RingCounters,
    ) {
        let attempt = self.attempts[place].as_ref().expect("invariant: called for an attempt");
        let address = SockaddrStorage::from(address);
        let (socket, memory) = (attempt.socket.as_raw_fd(), self.at(place).as_ptr());
        // SAFETY: inside the region, and the kernel has no hold of the place: its attempt was not submitted before, and no
        // place is given away while it has. What is written fits, as nix keeps it in the same type. The memory is freed with
        // the connector, which the ring first cancels all connects for, or leaks (`Drop`).
        unsafe {
            let room = (&raw mut (*memory).address).cast::<u8>();
            std::ptr::copy_nonoverlapping(address.as_ptr().cast::<u8>(), room, address.len() as usize);
            let address = (room.cast_const().cast(), address.len());
            queue.connect(token(Operation::Connect, place), socket, address, counters);
        }
    }

    /// The completion of a connect. If there is a connection, it is entered into the table of direct descriptors.
    fn connected(
        &mut self,
        place: u32,
        completion: &Completion,
        queue: &mut Queue,
        counters: &mut RingCounters,
    ) -> Result<(), Failed> {
        let place = place as usize;
        let is_given_up = self.cancels[place] != Cancel::None;
        if self.cancels[place] == Cancel::Taken {
            self.cancels[place] = Cancel::None;
        }
        let attempt = self.attempts[place].as_mut().expect("invariant: a connect completes once");
        assert!(matches!(attempt.step, Step::Connecting { .. }), "a connect completes while it is in flight");
        let outcome = match completion.outcome() {
            Ok(_) if is_connected_to_itself(attempt) => Err(Errno::ECONNREFUSED),
            Ok(_) => Ok(()),
            Err(Errno::ECANCELED | Errno::EINTR) if is_given_up => Err(Errno::ETIMEDOUT),
            Err(errno) => Err(errno),
        };
        if let Err(errno) = outcome {
            let Attempt { tag, origin, .. } = self.end(place);
            return Err(Failed { tag, errno, origin });
        }
        self.install(place, queue, counters);
        Ok(())
    }

    /// Enters a connected socket into the table of direct descriptors.
    fn install(&mut self, place: usize, queue: &mut Queue, counters: &mut RingCounters) {
        let attempt = self.attempts[place].as_mut().expect("invariant: called for an attempt");
        attempt.step = Step::Installing;
        let (socket, memory) = (attempt.socket.as_raw_fd(), self.at(place).as_ptr());
        // SAFETY: as in `submit_connect`; a connect of this place is over, or there was none.
        unsafe {
            (*memory).file = socket;
            queue.install(token(Operation::Install, place), &raw mut (*memory).file, counters);
        }
    }

    /// The cancel of a connect completed. If that missed while the connect was on the move, the next turn asks again.
    pub(super) fn cancel_completed(&mut self, place: u32, found: Found) {
        let place = place as usize;
        assert_eq!(self.cancels[place], Cancel::Asked, "a cancel completes once");
        let step = self.attempts[place].as_ref().map(|attempt| attempt.step);
        let is_connecting = matches!(step, Some(Step::Connecting { .. }));
        self.cancels[place] = cancelled(found, is_connecting);
        if is_connecting {
            self.due_ns = 0;
        }
    }

    /// The socket is in the table, or could not be entered: its tag, where it is from and the direct descriptor.
    fn installed(&mut self, place: u32, completion: &Completion) -> Result<(u32, Origin, u32), Failed> {
        let attempt = self.end(place as usize);
        assert_eq!(attempt.step, Step::Installing, "it is entered once");
        let (tag, origin) = (attempt.tag, attempt.origin);
        match completion.outcome() {
            Ok(1..) => {
                // SAFETY: inside the region; written by the kernel, which is done with it.
                let file = unsafe { (*self.at(place as usize).as_ptr()).file };
                let file = u32::try_from(file).expect("invariant: the kernel wrote an index of its table");
                Ok((tag, origin, file))
            }
            Ok(0) => Err(Failed { tag, errno: Errno::ENFILE, origin }),
            Err(errno) => Err(Failed { tag, errno, origin }),
        }
    }

    /// Leaves the memory that operations in flight were given to the kernel for good.
    pub(super) fn leak(&mut self) {
        std::mem::forget(std::mem::replace(&mut self.places, Region::new(1)));
    }

    /// Takes an attempt that is over; its ordinary descriptor is closed with it.
    fn end(&mut self, place: usize) -> Attempt {
        let attempt = self.attempts[place].take().expect("invariant: an attempt ends once");
        self.under_way -= 1;
        if self.under_way == 0 {
            self.due_ns = u64::MAX;
        }
        attempt
    }

    fn at(&self, place: usize) -> NonNull<Place> {
        assert!(place < PLACES, "a place of this ring");
        self.places.at(place * size_of::<Place>()).cast()
    }
}

/// A socket to connect. Blocking, as it has to be: the kernel would answer `EINPROGRESS` else.
fn open(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, SockProtocol::Tcp)?;
    setsockopt(&socket, sockopt::TcpNoDelay, &true)?;
    Ok(socket)
}

/// Where nobody listens on this host, at a port that the kernel also gives to clients, a socket may get that very port for
/// its own, and then connects to itself: who tries again and again comes to it.
fn is_connected_to_itself(attempt: &Attempt) -> bool {
    let own: Result<SockaddrStorage, Errno> = getsockname(attempt.socket.as_raw_fd());
    match attempt.origin {
        Origin::Connected { address, .. } => own.is_ok_and(|own| socket_address(&own) == Some(address)),
        Origin::Adopted => false,
    }
}

fn token(operation: Operation, place: usize) -> Token {
    let slot = u32::try_from(place).expect("invariant: below PLACES");
    Token { operation, generation: 0, slot }
}

/// What the tests of the ring look at.
#[cfg(test)]
impl Connector {
    pub(super) fn first_socket(&self) -> &OwnedFd {
        &self.attempts.iter().flatten().next().expect("invariant: a test asks while one is under way").socket
    }

    pub(super) fn is_cancelling(&self) -> bool {
        self.cancels.iter().any(|cancel| *cancel != Cancel::None)
    }
}
