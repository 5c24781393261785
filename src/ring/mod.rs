//! The net ring: all sockets of one thread on one io_uring.
//!
//! Home: one thread, which makes it, turns it and drops it. Allocates: when made, and when more connections are open
//! than ever before. Never on the way of a message.
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
//! Kernels: 6.1 or later. Needed are: `DEFER_TASKRUN` (6.1), `SINGLE_ISSUER` and multishot receive (6.0), multishot
//! accept into direct descriptors, provided buffer rings, sparse file tables and `TASKRUN_FLAG` (5.19), `SUBMIT_ALL`
//! (5.18), closing a direct descriptor (5.15), multishot poll (5.13), shutdown and a timeout in the enter itself (5.11).
//!
//! What a multishot accept cannot tell is the peer's address: it has no place to write it for each connection.

mod accept;
mod buffers;
mod config;
mod counters;
mod doorbell;
mod listener;
mod queue;
mod socket;
mod token;

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
pub use self::counters::RingCounters;
pub use self::doorbell::Doorbell;
pub use self::listener::{ListenError, Listener, ListenerOptions};

use self::accept::Acceptor;
use self::buffers::{ReceiveBuffers, SendBuffers};
use self::queue::{Completion, Patience, Queue};
use self::socket::{Cancel, Found, Next, Phase, Reading, SendInFlight, Shutdown, Socket};
use self::token::{Operation, Token, next_generation};
use crate::model::ids::ConnId;

/// How long the kernel gets to cancel what is in flight when a ring is dropped.
const DROP_TIMEOUT: Duration = Duration::from_secs(1);

/// Which listener of the ring, in the order they were given to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(pub u8);

/// What happened on the ring.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'ring> {
    /// A connection is open and its bytes are being received.
    Accepted { conn: ConnId, listener: ListenerId },
    /// An accept failed; accepting goes on by itself, after a wait if a resource is lacking.
    AcceptFailed { listener: ListenerId, errno: Errno },
    /// Bytes came, to be used (in place, if it suits) before the next call on the ring. At least one.
    Received { conn: ConnId, bytes: &'ring mut [u8] },
    /// The peer sends no more; it may still read. The connection stays open until it is closed from here.
    Eof(ConnId),
    /// Receiving failed and has ended. Close the connection.
    ReceiveFailed { conn: ConnId, errno: Errno },
    /// Every byte of the last transmit is in the kernel's hands: the next transmit may start.
    Sent(ConnId),
    /// Sending failed; how much of it went out is unknown. Close the connection.
    SendFailed { conn: ConnId, errno: Errno },
    /// The connection is gone and its id is void. The only event of a connection after `close`.
    Closed(ConnId),
    /// Somebody rang the doorbell, once or more.
    Doorbell,
}

/// How long a turn may wait for something to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all: only what is ready.
    Poll,
    /// Until an event, or until the caller's clock shows this (nanoseconds, on the clock of `now_ns`).
    Until(u64),
    /// Until an event.
    Forever,
}

/// What became of a transmit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transmit {
    /// So many bytes are on their way; `Sent` or `SendFailed` follows.
    Started(usize),
    /// There was nothing to send.
    Nothing,
    /// The last transmit of this connection is not complete yet.
    Busy,
    /// Every send buffer is in use; one is free again after some connection's `Sent`.
    Unbuffered,
    /// The connection is closing or gone.
    Gone,
}

/// How to close a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// What was transmitted goes out, then our end is shut, then the peer's end is awaited; what it still sends is
    /// discarded. A peer may never do its part: abort after a deadline of the caller's.
    Graceful,
    /// At once: operations in flight are cancelled. The peer sees a reset if bytes of it were not read.
    Abort,
}

/// The net ring of one thread.
pub struct Ring {
    // Dropped before the buffers it refers to; see `Drop`.
    queue: Queue,
    receive_buffers: Box<ReceiveBuffers>,
    send_buffers: Box<SendBuffers>,
    sockets: Slab<Socket>,
    acceptors: Vec<Acceptor>,
    doorbell: Doorbell,
    counters: RingCounters,
    /// The buffer lent to the caller with the last event.
    lent: Option<u16>,
    connections_max: u32,
    generation: u32,
    send_flags: i32,
    now_ns: u64,
    /// Something changed that accepting depends on.
    accept_due: bool,
    /// One issuer: the thread that made it.
    thread: PhantomData<*const ()>,
}

/// What a completion comes to.
enum Reaped {
    Nothing,
    Event(Event<'static>),
    Bytes { conn: ConnId, buffer: u16, length: u32 },
}

impl Ring {
    /// Makes a ring for the calling thread.
    ///
    /// # Errors
    /// A size out of range, or the step the kernel refused.
    pub fn new(config: &RingConfig) -> Result<Ring, RingError> {
        config.check()?;
        let uring = setup(config)?;
        let connections_max = config.connections_max.min(descriptors_max());
        let files_error = |error: io::Error| RingError::Files { connections_max, errno: errno_of(&error) };
        uring.submitter().register_files_sparse(connections_max).map_err(files_error)?;
        let receive_buffers =
            Box::new(ReceiveBuffers::new(config.receive_buffers, config.receive_buffer_bytes));
        register_receive_buffers(&uring, &receive_buffers)?;
        let doorbell = Doorbell::new().map_err(|error| RingError::Doorbell(errno_of(&error)))?;
        let mut ring = Ring {
            queue: Queue::new(uring),
            receive_buffers,
            send_buffers: Box::new(SendBuffers::new(
                (config.send_small_buffers, config.send_small_bytes),
                (config.send_large_buffers, config.send_large_bytes),
            )),
            sockets: Slab::new(),
            acceptors: Vec::with_capacity(LISTENERS_MAX),
            doorbell,
            counters: RingCounters::default(),
            lent: None,
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
        ring.watch_doorbell();
        Ok(ring)
    }

    /// Accepts what comes to this listener from now on.
    ///
    /// # Errors
    /// [`RingError::Listeners`] beyond [`LISTENERS_MAX`].
    pub fn listen(&mut self, listener: Listener) -> Result<ListenerId, RingError> {
        let id = u8::try_from(self.acceptors.len()).map_err(|_| RingError::Listeners)?;
        if usize::from(id) >= LISTENERS_MAX {
            return Err(RingError::Listeners);
        }
        self.acceptors.push(Acceptor::new(listener, u32::from(id)));
        self.accept_due = true;
        Ok(ListenerId(id))
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
        let patience = if self.queue.has_completions() { Patience::None } else { self.patience(wait) };
        self.queue.enter(patience, &mut self.counters)
    }

    /// The next event of this turn, in the order the kernel saw them. Drain it to the end: a receive buffer is free for
    /// the kernel again once the next event was taken.
    pub fn next_event(&mut self) -> Option<Event<'_>> {
        self.give_back_lent();
        loop {
            let completion = self.queue.pop()?;
            self.counters.completions_total += 1;
            match self.reap(completion) {
                Reaped::Nothing => {}
                Reaped::Event(event) => return Some(event),
                Reaped::Bytes { conn, buffer, length } => {
                    self.lent = Some(buffer);
                    // SAFETY: the completion handed the buffer over, and it is given back by the next call on the
                    // ring, which the borrow in the event forbids as long as the bytes are in use.
                    let bytes = unsafe { self.receive_buffers.filled(buffer, length) };
                    return Some(Event::Received { conn, bytes });
                }
            }
        }
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
    /// stall. What the kernel has received for us already still comes.
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
        self.advance(conn.slot);
    }

    /// What wakes this ring from another thread.
    #[must_use]
    pub fn doorbell(&self) -> Doorbell {
        self.doorbell.clone()
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
        let until = self.acceptors.iter().filter_map(Acceptor::deadline_ns).fold(until, u64::min);
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
        let held = u32::try_from(self.sockets.len()).unwrap_or(u32::MAX);
        let free = self.connections_max.saturating_sub(held);
        let mut ones: u32 = self.acceptors.iter().map(Acceptor::ones).sum();
        for acceptor in &mut self.acceptors {
            ones += acceptor.arm(free, ones, now_ns, &mut self.queue, &mut self.counters);
        }
    }
}

/// Completions.
impl Ring {
    fn reap(&mut self, completion: Completion) -> Reaped {
        let reaped = match Token::from_bits(completion.bits) {
            None => self.reap_stale(),
            Some(token) => match token.operation {
                Operation::AcceptMany | Operation::AcceptOne => self.reap_accept(token, &completion),
                Operation::CancelAccept => {
                    self.acceptors[token.slot as usize].cancel_completed();
                    self.accept_due = true;
                    Reaped::Nothing
                }
                Operation::Doorbell => self.reap_doorbell(&completion),
                Operation::Receive
                | Operation::CancelReceive
                | Operation::Send
                | Operation::CancelSend
                | Operation::Shutdown
                | Operation::Close => self.reap_socket(token, &completion),
            },
        };
        // Whatever became of it, a buffer that is not lent now goes back.
        if let Some(buffer) = completion.buffer
            && !matches!(reaped, Reaped::Bytes { .. })
        {
            self.receive_buffers.give_back(buffer);
        }
        reaped
    }

    const fn reap_stale(&mut self) -> Reaped {
        self.counters.completions_stale_total += 1;
        Reaped::Nothing
    }

    fn reap_doorbell(&mut self, completion: &Completion) -> Reaped {
        if !completion.more {
            self.watch_doorbell();
        }
        self.counters.doorbells_total += 1;
        Reaped::Event(Event::Doorbell)
    }

    fn reap_accept(&mut self, token: Token, completion: &Completion) -> Reaped {
        self.accept_due = true;
        #[expect(clippy::cast_possible_truncation, reason = "listen bounds it by LISTENERS_MAX")]
        let listener = ListenerId(token.slot as u8);
        match self.acceptors[token.slot as usize].completed(token.operation, completion, self.now_ns) {
            Ok(Some(file)) => {
                self.counters.accepted_total += 1;
                Reaped::Event(Event::Accepted { conn: self.open(file), listener })
            }
            Ok(None) => Reaped::Nothing,
            Err(errno) => {
                self.counters.accepts_failed_total += 1;
                Reaped::Event(Event::AcceptFailed { listener, errno })
            }
        }
    }

    fn open(&mut self, file: u32) -> ConnId {
        self.generation = next_generation(self.generation);
        let generation = self.generation;
        let slot = self.sockets.insert(Socket::new(generation, file));
        let slot = u32::try_from(slot).expect("invariant: there are fewer sockets than direct descriptors");
        self.advance(slot);
        ConnId { slot, generation }
    }

    fn reap_socket(&mut self, token: Token, completion: &Completion) -> Reaped {
        let conn = ConnId { slot: token.slot, generation: token.generation };
        let Some(socket) = find(&mut self.sockets, conn) else { return self.reap_stale() };
        if !completion.more {
            assert!(socket.operations > 0, "an operation completes once");
            socket.operations -= 1;
        }
        let found = if completion.outcome().is_ok_and(|count| count > 0) { Found::Some } else { Found::None };
        let reaped = match token.operation {
            Operation::Receive => self.reap_receive(conn, completion),
            Operation::Send => self.reap_send(conn, completion),
            Operation::CancelReceive => {
                socket.receive_cancel_ended(found);
                Reaped::Nothing
            }
            Operation::CancelSend => {
                socket.send_cancel_ended(found);
                Reaped::Nothing
            }
            Operation::Shutdown => {
                socket.shutdown = Shutdown::Done;
                if completion.result < 0 && socket.phase == Phase::Finishing {
                    socket.phase = Phase::Aborting;
                }
                Reaped::Nothing
            }
            Operation::Close => self.reap_close(conn, completion),
            Operation::AcceptMany | Operation::AcceptOne | Operation::CancelAccept | Operation::Doorbell => {
                unreachable!("reap sends only a connection's operations here")
            }
        };
        self.advance(conn.slot);
        if self.sockets[conn.slot as usize].is_over() {
            return self.free(conn);
        }
        reaped
    }

    fn reap_receive(&mut self, conn: ConnId, completion: &Completion) -> Reaped {
        let socket = &mut self.sockets[conn.slot as usize];
        if !completion.more {
            socket.receive_ended();
            self.counters.receives_rearmed_total += u64::from(socket.reading == Reading::Wanted);
        }
        let open = socket.phase == Phase::Open;
        match (completion.outcome(), completion.buffer) {
            (Ok(length @ 1..), Some(buffer)) => {
                self.counters.receives_total += 1;
                self.counters.received_bytes_total += u64::from(length);
                if open { Reaped::Bytes { conn, buffer, length } } else { Reaped::Nothing }
            }
            // Bytes without a buffer cannot be; the end of the stream is 0.
            (Ok(_), _) => {
                socket.reading = Reading::Ended;
                if open { Reaped::Event(Event::Eof(conn)) } else { Reaped::Nothing }
            }
            (Err(Errno::ENOBUFS), _) => {
                self.counters.receives_starved_total += 1;
                Reaped::Nothing
            }
            // Cancelled by us, or to be tried again.
            (Err(Errno::ECANCELED | Errno::EINTR | Errno::EAGAIN), _) => Reaped::Nothing,
            (Err(errno), _) => {
                socket.reading = Reading::Ended;
                if open { Reaped::Event(Event::ReceiveFailed { conn, errno }) } else { Reaped::Nothing }
            }
        }
    }

    fn reap_send(&mut self, conn: ConnId, completion: &Completion) -> Reaped {
        let socket = &mut self.sockets[conn.slot as usize];
        let send = socket.send.as_mut().expect("invariant: a send completes while it is in flight");
        let failed = match completion.outcome() {
            Ok(0) => Some(Errno::EPIPE),
            Ok(taken_bytes) => {
                send.taken_bytes += taken_bytes;
                assert!(send.taken_bytes <= send.length_bytes, "the kernel takes no more than it was given");
                self.counters.sent_bytes_total += u64::from(taken_bytes);
                None
            }
            Err(Errno::EINTR | Errno::EAGAIN) => None,
            Err(errno) => Some(errno),
        };
        let (complete, phase) = (send.taken_bytes == send.length_bytes, socket.phase);
        if failed.is_none() && !complete && phase != Phase::Aborting {
            self.counters.sends_short_total += 1;
            self.submit_send(conn.slot);
            return Reaped::Nothing;
        }
        if let Some(send) = socket.send.take() {
            self.send_buffers.release(send.buffer);
        }
        if socket.send_cancel == Cancel::Taken {
            socket.send_cancel = Cancel::None;
        }
        match (failed, phase) {
            (None, Phase::Open) => Reaped::Event(Event::Sent(conn)),
            (Some(errno), Phase::Open) => {
                self.counters.sends_failed_total += 1;
                Reaped::Event(Event::SendFailed { conn, errno })
            }
            (Some(_), Phase::Finishing) => {
                self.counters.sends_failed_total += 1;
                socket.phase = Phase::Aborting;
                Reaped::Nothing
            }
            (_, Phase::Finishing | Phase::Aborting | Phase::Closing | Phase::Closed) => Reaped::Nothing,
        }
    }

    fn reap_close(&mut self, conn: ConnId, completion: &Completion) -> Reaped {
        let socket = &mut self.sockets[conn.slot as usize];
        match completion.outcome() {
            Ok(_) => socket.phase = Phase::Closed,
            Err(Errno::ENOMEM | Errno::ENOBUFS | Errno::EAGAIN | Errno::EINTR) => {
                // `advance` asks again: nothing else is in flight.
                socket.phase = Phase::Aborting;
                self.counters.closes_failed_total += 1;
            }
            Err(_) => {
                socket.phase = Phase::Closed;
                self.counters.closes_failed_total += 1;
            }
        }
        Reaped::Nothing
    }

    fn free(&mut self, conn: ConnId) -> Reaped {
        let socket = self.sockets.remove(conn.slot as usize);
        assert!(socket.send.is_none() && !socket.receive_armed, "nothing is in flight for a free slot");
        self.counters.closed_total += 1;
        self.accept_due = true;
        for acceptor in &mut self.acceptors {
            acceptor.slot_freed();
        }
        Reaped::Event(Event::Closed(conn))
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
