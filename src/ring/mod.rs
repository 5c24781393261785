//! The net ring: all sockets of one thread on one io_uring.
//!
//! Home: one thread, which makes it, turns it and drops it. Allocates: when made or given a listener, and when more
//! connections are open than ever before. Never on the way of a message.
//!
//! The caller turns the ring ([`Ring::turn`]: one system call at most), then takes its events one by one
//! ([`Ring::next_event`]), then sends ([`Ring::transmit`]); what was asked for meanwhile is submitted by the next turn.
//!
//! Invariants:
//! - Memory the kernel may touch is never freed or reused before the completion that gives it back.
//! - A slot is freed only when every operation of its connection completed, and a completion reaches a connection only
//!   if it carries that connection's generation.
//! - At most one send and one receive of a connection are in flight, so that bytes keep their order.
//! - No result of the kernel panics; only a broken promise of this module does.
//!
//! Kernels: 6.1 or later. Needed are: `DEFER_TASKRUN` (6.1), `SINGLE_ISSUER` and multishot receive (6.0), accepting into a
//! direct descriptor of the kernel's choice, provided buffer rings, sparse file tables and `TASKRUN_FLAG` (5.19),
//! `SUBMIT_ALL` (5.18), closing a direct descriptor (5.15), multishot poll (5.13), shutdown and a timeout in the enter
//! itself (5.11). For outgoing connections: entering a descriptor into the table at an index of the kernel's choice (6.0),
//! connect (5.5).
//!
//! Accepts are not multishot: those have no place where the kernel could write each peer's address.

mod accept;
mod buffers;
mod config;
mod connect;
mod event;
mod listener;
mod peers;
mod queue;
mod reap;
mod received;
mod socket;
mod token;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::AsRawFd;
use std::time::Duration;

use io_uring::IoUring;
use io_uring::types::{CancelBuilder, Timespec};
use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::{Resource, getrlimit};
use slab::Slab;

pub use self::accept::LISTENERS_MAX;
pub use self::config::{RingConfig, RingError, ShortSends};
pub use self::connect::{ADOPTIONS_MAX, CONNECTS_MAX};
pub use self::event::{Event, How, ListenerId, Transmit, Wait};
pub use self::listener::{ListenError, Listener, ListenerOptions, take_inherited};
pub use crate::telemetry::RingCounters;

use self::accept::Acceptor;
use self::buffers::{ReceiveBuffers, SendBuffers};
use self::connect::Connector;
use self::queue::{Patience, Queue};
use self::reap::Reaped;
use self::received::{Ending, Receipt, Received};
use self::socket::{Cancel, Next, Phase, Reading, SendInFlight, Shutdown, Socket};
use self::token::{Operation, Token};
use crate::doorbell::Doorbell;
use crate::model::ids::ConnId;

/// How long the kernel gets to cancel what is in flight when a ring is dropped.
const DROP_TIMEOUT: Duration = Duration::from_secs(1);

/// The net ring of one thread.
pub struct Ring {
    // Dropped before the memory it refers to, which is in `acceptors`, `connector` and the buffers; see `Drop`.
    queue: Queue,
    receive_buffers: Box<ReceiveBuffers>,
    send_buffers: Box<SendBuffers>,
    sockets: Slab<Socket>,
    acceptors: Vec<Acceptor>,
    connector: Connector,
    doorbell: Doorbell,
    counters: RingCounters,
    /// The buffer lent to the caller with the last event.
    lent: Option<u16>,
    /// What was received, until the caller takes it.
    received: Received,
    receive_buffers_each_max: u16,
    connections_max: u32,
    generation: u32,
    send_flags: i32,
    now_ns: u64,
    /// Something changed that accepting depends on.
    accept_due: bool,
    /// One issuer: the thread that made it.
    thread: PhantomData<*const ()>,
}

impl Ring {
    /// Makes a ring for the calling thread, which `doorbell` wakes.
    ///
    /// # Errors
    /// A size out of range, or the step the kernel refused.
    pub fn new(config: &RingConfig, doorbell: Doorbell) -> Result<Ring, RingError> {
        let mut ring = Ring::unwatched(config, doorbell)?;
        ring.watch_doorbell();
        Ok(ring)
    }

    /// Makes a further ring for a thread that waits in another one. When it has work, and whether or not it is waited in itself, it
    /// rings `doorbell`, which wakes the other.
    ///
    /// # Errors
    /// As [`Ring::new`].
    pub fn beside(config: &RingConfig, doorbell: Doorbell) -> Result<Ring, RingError> {
        let ring = Ring::unwatched(config, doorbell)?;
        let registered = ring.queue.uring().submitter().register_eventfd(ring.doorbell.as_raw_fd());
        registered.map_err(|error| RingError::Doorbell(errno_of(&error)))?;
        Ok(ring)
    }

    fn unwatched(config: &RingConfig, doorbell: Doorbell) -> Result<Ring, RingError> {
        config.check()?;
        let uring = setup(config)?;
        let connections_max = config.connections_max.min(descriptors_max());
        let files_error = |error: io::Error| RingError::Files { connections_max, errno: errno_of(&error) };
        uring.submitter().register_files_sparse(connections_max).map_err(files_error)?;
        let receive_buffers =
            Box::new(ReceiveBuffers::new(config.receive_buffers, config.receive_buffer_bytes));
        register_receive_buffers(&uring, &receive_buffers)?;
        let mut ring = Ring {
            queue: Queue::new(uring),
            receive_buffers,
            send_buffers: Box::new(SendBuffers::new(
                (config.send_small_buffers, config.send_small_bytes),
                (config.send_large_buffers, config.send_large_bytes),
            )),
            sockets: Slab::new(),
            acceptors: Vec::with_capacity(LISTENERS_MAX),
            connector: Connector::new(),
            doorbell,
            counters: RingCounters::default(),
            lent: None,
            received: Received::new(config.receive_buffers),
            receive_buffers_each_max: config.receive_buffers_each_max,
            connections_max,
            generation: 0,
            send_flags: match config.short_sends {
                ShortSends::KernelContinues => libc::MSG_WAITALL,
                ShortSends::RingContinues => 0,
            },
            now_ns: 0,
            accept_due: false,
            thread: PhantomData,
        };
        ring.send_buffers.make_ready(config.send_small_ready, config.send_large_ready);
        Ok(ring)
    }

    /// Accepts what comes to this listener from now on.
    ///
    /// # Errors
    /// [`RingError::Listeners`] beyond [`LISTENERS_MAX`].
    pub fn listen(&mut self, listener: Listener) -> Result<ListenerId, RingError> {
        let open = self.acceptors.iter().filter(|acceptor| !acceptor.is_stopped()).count();
        if open >= LISTENERS_MAX {
            return Err(RingError::Listeners);
        }
        // The place of one that is closed; one that is being closed has its own until the kernel has let go of it.
        let closed = self.acceptors.iter().position(Acceptor::is_closed);
        let place = closed.unwrap_or(self.acceptors.len());
        let id = u8::try_from(place).map_err(|_| RingError::Listeners)?;
        let acceptor = Acceptor::new(listener, u32::from(id));
        match closed {
            Some(place) => self.acceptors[place] = acceptor,
            None => self.acceptors.push(acceptor),
        }
        self.accept_due = true;
        Ok(ListenerId(id))
    }

    /// Stops accepting on one listener and closes it. What was accepted before the kernel heard of it still comes; then its number
    /// may be another's.
    pub fn stop_listening(&mut self, listener: ListenerId) {
        self.acceptors[usize::from(listener.0)].stop();
        self.accept_due = true;
    }

    /// Stops accepting on all listeners and closes them. What was accepted before the kernel heard of it still comes.
    pub fn stop_accepting(&mut self) {
        for acceptor in &mut self.acceptors {
            acceptor.stop();
        }
        self.accept_due = true;
    }

    /// Submits what was asked for and reaps what is ready, waiting if asked to: one system call, or none if there is
    /// nothing to submit, nothing deferred and no wait. Returns at once while events of the last turn are left, or
    /// earlier than asked for, without an event.
    ///
    /// `now_ns` is the caller's monotonic clock.
    ///
    /// # Errors
    /// The ring cannot go on: the kernel refuses to enter it. Ordinary conditions are not errors.
    pub fn turn(&mut self, wait: Wait, now_ns: u64) -> io::Result<()> {
        self.give_back_lent();
        self.now_ns = now_ns;
        self.arm_accepts();
        self.connector.advance(now_ns, &mut self.queue, &mut self.counters);
        let left = self.queue.has_completions() || !self.received.is_empty();
        let patience = if left { Patience::None } else { self.patience(wait) };
        self.queue.enter(patience, &mut self.counters)
    }

    /// The next event. What makes room comes first, then what was received, a buffer of each connection in turn: a caller
    /// that leaves some of it for its next turn hears of its completed sends all the same, so that a peer who sends far ahead
    /// neither keeps others from being sent to nor from being heard. A receive buffer is free for the kernel again once the
    /// next event was taken.
    pub fn next_event(&mut self) -> Option<Event<'_>> {
        self.give_back_lent();
        match self.reap_next() {
            Some(event) => Some(event),
            None => self.next_received(),
        }
    }

    /// The next event that is not of received bytes; those keep their place.
    pub fn next_completion(&mut self) -> Option<Event<'static>> {
        self.give_back_lent();
        self.reap_next()
    }

    fn reap_next(&mut self) -> Option<Event<'static>> {
        while let Some(completion) = self.queue.pop() {
            self.counters.completions_total += 1;
            match self.reap(completion) {
                Reaped::Nothing | Reaped::Kept => {}
                Reaped::Event(event) => return Some(event),
            }
        }
        None
    }

    fn next_received(&mut self) -> Option<Event<'_>> {
        while let Some(conn) = self.received.next_in_line() {
            // Nothing waits of who is closing, see `drop_received`.
            let Some(socket) = find(&mut self.sockets, conn) else { continue };
            let Some(receipt) = self.received.take(conn, &mut socket.waiting) else { continue };
            return Some(match receipt {
                Receipt::Bytes { buffer, length } => {
                    if socket.is_full && socket.waiting.buffers() <= self.receive_buffers_each_max / 4 {
                        socket.is_full = false;
                        self.advance(conn.slot);
                    }
                    self.lent = Some(buffer);
                    // SAFETY: the completion handed the buffer over, and it is given back by the next call on the
                    // ring, which the borrow in the event forbids as long as the bytes are in use.
                    let bytes = unsafe { self.receive_buffers.filled(buffer, length) };
                    Event::Received { conn, bytes }
                }
                Receipt::Ended(Ending::Eof) => Event::Eof(conn),
                Receipt::Ended(Ending::Failed(errno)) => Event::ReceiveFailed { conn, errno },
            });
        }
        None
    }

    /// Gives back what was received of a connection that is of no more interest.
    fn drop_received(&mut self, slot: u32) {
        let socket = &mut self.sockets[slot as usize];
        while let Some(buffer) = self.received.drop_next(&mut socket.waiting) {
            self.receive_buffers.give_back(buffer);
        }
        socket.is_full = false;
    }

    /// Sends what `fill` writes: it gets a buffer (for about `bytes_hint` bytes, but possibly smaller, or larger) and
    /// returns how many bytes of it to send. One transmit at a time: the next after [`Event::Sent`].
    pub fn transmit(
        &mut self,
        conn: ConnId,
        bytes_hint: usize,
        fill: impl FnOnce(&mut [u8]) -> usize,
    ) -> Transmit {
        let Some(socket) = find(&mut self.sockets, conn) else { return Transmit::Gone };
        if socket.phase != Phase::Open {
            return Transmit::Gone;
        }
        if socket.send.is_some() {
            return Transmit::Busy;
        }
        let Some(mut buffer) = self.send_buffers.take(bytes_hint) else {
            self.counters.sends_unbuffered_total += 1;
            return Transmit::Unbuffered;
        };
        let bytes = self.send_buffers.bytes_mut(&mut buffer);
        let length = fill(bytes);
        assert!(length <= bytes.len(), "at most the buffer is filled");
        if length == 0 {
            self.send_buffers.release(buffer);
            return Transmit::Nothing;
        }
        let length_bytes =
            u32::try_from(length).expect("invariant: RingConfig::check bounds a buffer to 1 MiB");
        socket.send = Some(SendInFlight { buffer, taken_bytes: 0, length_bytes });
        self.counters.sends_total += 1;
        self.submit_send(conn.slot);
        Transmit::Started(length)
    }

    /// Whether a transmit would start now, given a send buffer.
    #[must_use]
    pub fn can_transmit(&self, conn: ConnId) -> bool {
        self.sockets.get(conn.slot as usize).is_some_and(|socket| {
            socket.generation == conn.generation && socket.phase == Phase::Open && socket.send.is_none()
        })
    }

    /// Receives no more from this connection until `resume_receive`: the kernel's buffer fills and the peer's sends
    /// stall. What was received already still comes: it would keep buffers from others.
    pub fn pause_receive(&mut self, conn: ConnId) {
        if let Some(socket) = find(&mut self.sockets, conn)
            && socket.phase == Phase::Open
            && socket.reading == Reading::Wanted
        {
            socket.reading = Reading::Paused;
            self.advance(conn.slot);
        }
    }

    /// Undoes `pause_receive`.
    pub fn resume_receive(&mut self, conn: ConnId) {
        if let Some(socket) = find(&mut self.sockets, conn)
            && socket.phase == Phase::Open
            && socket.reading == Reading::Paused
        {
            socket.reading = Reading::Wanted;
            self.advance(conn.slot);
        }
    }

    /// Closes a connection; [`Event::Closed`] follows, and nothing else of it. Closing again changes nothing, but an
    /// abort overrules a graceful close under way. An id that is void already is ignored.
    pub fn close(&mut self, conn: ConnId, how: How) {
        let Some(socket) = find(&mut self.sockets, conn) else { return };
        match (socket.phase, how) {
            (Phase::Open, How::Graceful) => socket.finish(),
            (Phase::Open | Phase::Finishing, How::Abort) => socket.phase = Phase::Aborting,
            (Phase::Finishing, How::Graceful) | (Phase::Aborting | Phase::Closing | Phase::Closed, _) => {
                return;
            }
        }
        self.drop_received(conn.slot);
        self.advance(conn.slot);
    }

    /// What wakes this ring from another thread.
    #[must_use]
    pub fn doorbell(&self) -> Doorbell {
        self.doorbell.clone()
    }

    /// Whether a turn would find something, or submit something: looked at in memory alone.
    #[must_use]
    pub fn has_work(&mut self) -> bool {
        self.queue.has_completions()
            || !self.received.is_empty()
            || self.queue.has_deferred()
            || self.queue.has_unsubmitted()
    }

    /// When it has something to do by itself: an accept to try again, a connect to give up.
    #[must_use]
    pub fn deadline_ns(&self) -> Option<u64> {
        let accepts = self.acceptors.iter().filter_map(Acceptor::deadline_ns);
        accepts.chain(self.connector.deadline_ns()).min()
    }

    /// Connections held, those that are closing included.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.sockets.len()
    }

    /// Connections this ring can hold, after `RLIMIT_NOFILE`.
    #[must_use]
    pub const fn connections_max(&self) -> u32 {
        self.connections_max
    }

    /// Send buffers in use.
    #[must_use]
    pub fn send_buffers_in_use(&self) -> usize {
        self.send_buffers.in_use()
    }

    /// Bytes of memory that it shares with the kernel and that were ever written to.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.receive_buffers.memory_bytes() + self.send_buffers.touched_bytes()
    }

    #[must_use]
    pub const fn counters(&self) -> &RingCounters {
        &self.counters
    }

    fn patience(&self, wait: Wait) -> Patience {
        let until = match wait {
            Wait::Poll => return Patience::None,
            Wait::Until(deadline_ns) => deadline_ns,
            Wait::Forever => u64::MAX,
        };
        let until = self.deadline_ns().map_or(until, |own| own.min(until));
        match until.saturating_sub(self.now_ns) {
            0 => Patience::None,
            _ if until == u64::MAX => Patience::Unbounded,
            nanos => Patience::Nanos(nanos),
        }
    }

    fn give_back_lent(&mut self) {
        if let Some(buffer) = self.lent.take() {
            self.receive_buffers.give_back(buffer);
        }
    }

    fn watch_doorbell(&mut self) {
        let token = Token { operation: Operation::Doorbell, generation: 0, slot: 0 };
        self.queue.watch(token, self.doorbell.as_raw_fd(), &mut self.counters);
    }

    fn arm_accepts(&mut self) {
        let now_ns = self.now_ns;
        let waited = |acceptor: &Acceptor| acceptor.deadline_ns().is_some_and(|until| until <= now_ns);
        if !self.accept_due && !self.acceptors.iter().any(waited) {
            return;
        }
        self.accept_due = false;
        let slots = (self.connections_max, self.slots_held());
        accept::arm(&mut self.acceptors, slots, now_ns, &mut self.queue, &mut self.counters);
    }
}

/// Submissions.
impl Ring {
    /// Submits all that the socket needs in its present state.
    fn advance(&mut self, slot: u32) {
        loop {
            let socket = &mut self.sockets[slot as usize];
            let (file, generation) = (socket.file, socket.generation);
            let token = |operation| Token { operation, generation, slot };
            let (queue, counters) = (&mut self.queue, &mut self.counters);
            match socket.next() {
                Next::Nothing => return,
                Next::ArmReceive => {
                    queue.receive(token(Operation::Receive), file, counters);
                    socket.receive_armed = true;
                }
                Next::CancelReceive => {
                    queue.cancel(token(Operation::CancelReceive), token(Operation::Receive), counters);
                    socket.receive_cancel = Cancel::Asked;
                }
                Next::CancelSend => {
                    queue.cancel(token(Operation::CancelSend), token(Operation::Send), counters);
                    socket.send_cancel = Cancel::Asked;
                }
                Next::Shutdown => {
                    queue.shutdown_send(token(Operation::Shutdown), file, counters);
                    socket.shutdown = Shutdown::Asked;
                }
                Next::Close => {
                    queue.close(token(Operation::Close), file, counters);
                    socket.phase = Phase::Closing;
                }
            }
            socket.operations += 1;
        }
    }

    /// Submits what is left of the socket's send.
    fn submit_send(&mut self, slot: u32) {
        let socket = &mut self.sockets[slot as usize];
        let send = socket.send.as_ref().expect("invariant: called with a send to submit");
        let start = self.send_buffers.address(&send.buffer, send.taken_bytes);
        let length = send.length_bytes - send.taken_bytes;
        let token = Token { operation: Operation::Send, generation: socket.generation, slot };
        socket.operations += 1;
        // SAFETY: the buffer stays with the socket, and so unwritten and allocated, until this send's completion was
        // reaped (`reap_send`); a dropped ring first cancels it (`Drop`).
        unsafe { self.queue.send(token, socket.file, (start, length), self.send_flags, &mut self.counters) };
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let timeout = Timespec::from(DROP_TIMEOUT);
        let cancelled =
            self.queue.uring().submitter().register_sync_cancel(Some(timeout), CancelBuilder::any());
        let quiet = match cancelled {
            Ok(()) => true,
            // There was nothing to cancel.
            Err(error) => error.raw_os_error() == Some(libc::ENOENT),
        };
        if !quiet {
            // The kernel may still read or write: leaking the memory is safe, freeing it is not.
            let nothing = || Box::new(SendBuffers::new((1, 1), (1, 1)));
            std::mem::forget(std::mem::replace(&mut self.send_buffers, nothing()));
            let nothing = Box::new(ReceiveBuffers::new(1, 64));
            std::mem::forget(std::mem::replace(&mut self.receive_buffers, nothing));
            self.acceptors.drain(..).for_each(Acceptor::leak);
            self.connector.leak();
        }
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("connections", &self.sockets.len())
            .field("connections_max", &self.connections_max)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

/// The socket of a connection, unless its id is void.
fn find(sockets: &mut Slab<Socket>, conn: ConnId) -> Option<&mut Socket> {
    sockets.get_mut(conn.slot as usize).filter(|socket| socket.generation == conn.generation)
}

/// A ring for one thread that runs the kernel's deferred work only when it enters.
pub(crate) fn setup(config: &RingConfig) -> Result<IoUring, RingError> {
    IoUring::builder()
        .setup_single_issuer()
        .setup_coop_taskrun()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .setup_submit_all()
        .setup_clamp()
        .setup_cqsize(config.completions_max())
        .dontfork()
        .build(config.submissions_max)
        .map_err(|error| RingError::Setup(errno_of(&error)))
}

fn register_receive_buffers(uring: &IoUring, buffers: &ReceiveBuffers) -> Result<(), RingError> {
    let (address, count) = (buffers.entries_address(), buffers.count());
    // SAFETY: the entries are `count` long, aligned to a page, and live in a box that outlives the ring (`Drop`).
    unsafe { uring.submitter().register_buf_ring_with_flags(address, count, ReceiveBuffers::GROUP, 0) }
        .map_err(|error| RingError::ReceiveBuffers(errno_of(&error)))
}

/// The soft `RLIMIT_NOFILE`, which bounds a table of direct descriptors.
fn descriptors_max() -> u32 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(u32::MAX, |(soft, _)| u32::try_from(soft).unwrap_or(u32::MAX))
}

fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw)
}
