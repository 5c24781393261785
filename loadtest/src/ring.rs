//! A bare io_uring loop over stream sockets: connect, multishot accept and recv, provided buffers, one send in flight a
//! socket. It carries the limit arm `echo` and the client side of the loads. Home: the thread that makes it.
//! Invariants: the kernel's memory (provided buffers, the bytes of a send, the address of a connect) is neither moved nor
//! freed before its completion; a slot is used again only once it was closed by its owner and nothing of it is in flight,
//! so a late completion cannot meet another socket.

mod buffers;

use std::collections::VecDeque;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use nix::sys::socket::{SockaddrLike, SockaddrStorage, setsockopt, sockopt};

use crate::clock::SECOND_NS;
use crate::failure::{Doing, Failure, Result};
use crate::ring::buffers::{BUFFER_GROUP, Buffers};

/// Submissions queued before they must be handed over; a full queue is submitted and filled again.
const SUBMISSIONS: u32 = 4096;
/// Completions the ring holds; the kernel keeps an overflow, so this bounds memory, not correctness.
const COMPLETIONS: u32 = 16_384;
/// Completions handled in one turn; the rest waits in the queue, so that a flood of receipts does not make a
/// generator late (at about 1 us each, a quarter of a millisecond).
const COMPLETIONS_PER_TURN: usize = 256;
/// Bytes staged for one socket; beyond this the peer does not take what is offered and the run fails.
pub(crate) const STAGED_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Waits of 10 ms that a closing ring grants its last completions before it leaks their memory instead.
const CLOSING_WAITS: usize = 100;

/// A socket of this ring.
pub(crate) type Slot = usize;

/// What the ring saw.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    Accepted(Slot),
    Connected(Slot),
    Received(Slot, &'a [u8]),
    /// With the error's number: 0 where the peer ended it. The slot stays taken until [`Ring::close`].
    Closed(Slot, i32),
}

/// How a socket is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    Always,
    /// Only what [`Ring::read_once`] asks for.
    Asked,
}

/// How a socket is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// By `close`: a FIN.
    Orderly,
    /// By a reset.
    Reset,
}

/// How a turn waits when nothing is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Not at all: the caller turns again.
    Spin,
    /// In the kernel, at most this long.
    ParkNs(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Accept = 1,
    Receive = 2,
    Send = 3,
    Connect = 4,
    Cancel = 5,
}

struct Line {
    /// None once it was closed and nothing is in flight: the slot may be used again.
    stream: Option<TcpStream>,
    reading: Reading,
    is_connected: bool,
    is_receiving: bool,
    in_flight: u32,
    is_closing: bool,
    sending: Vec<u8>,
    sent_bytes: usize,
    staged: Vec<u8>,
    is_dirty: bool,
    is_open: bool,
}

impl Line {
    fn over(stream: TcpStream, reading: Reading) -> Line {
        Line {
            stream: Some(stream),
            reading,
            is_connected: true,
            is_receiving: false,
            in_flight: 0,
            is_closing: false,
            sending: Vec::new(),
            sent_bytes: 0,
            staged: Vec::new(),
            is_dirty: false,
            is_open: true,
        }
    }

    fn fd(&self) -> Fd {
        Fd(self.stream.as_ref().expect("invariant: an operation has a socket").as_raw_fd())
    }
}

/// Takes the bytes to send; they leave at the start of the next turn, one send for all of a socket's.
pub(crate) struct Outbox<'a> {
    lines: &'a mut Vec<Line>,
    dirty: &'a mut Vec<Slot>,
}

impl Outbox<'_> {
    /// The same, for a while.
    pub(crate) fn reborrow(&mut self) -> Outbox<'_> {
        Outbox { lines: self.lines, dirty: self.dirty }
    }

    /// Bytes of the socket that wait for the one send in flight.
    pub(crate) fn staged_bytes(&self, slot: Slot) -> usize {
        self.lines[slot].staged.len()
    }

    /// Stages `bytes` behind what already waits. A closed socket takes nothing and says nothing.
    pub(crate) fn send(&mut self, slot: Slot, bytes: &[u8]) -> Result<()> {
        let line = &mut self.lines[slot];
        if !line.is_open {
            return Ok(());
        }
        if STAGED_BYTES_MAX < line.staged.len() + bytes.len() {
            return Err(Failure::Unmet(format!("a socket would not take {STAGED_BYTES_MAX} bytes")));
        }
        line.staged.extend_from_slice(bytes);
        if !line.is_dirty {
            line.is_dirty = true;
            self.dirty.push(slot);
        }
        Ok(())
    }
}

/// The loop. See the module's page.
pub(crate) struct Ring {
    uring: IoUring,
    buffers: Buffers,
    lines: Vec<Line>,
    free: Vec<Slot>,
    /// Where connects go to; the kernel may read it as long as one is in flight.
    peer: Option<Box<SockaddrStorage>>,
    dirty: Vec<Slot>,
    unarmed: Vec<Slot>,
    completions: VecDeque<cqueue::Entry>,
    listener: Option<TcpListener>,
    is_accepting: bool,
    in_flight: usize,
}

impl Ring {
    /// Makes the ring on this thread, which alone may use it (SINGLE_ISSUER).
    pub(crate) fn new() -> Result<Ring> {
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_coop_taskrun()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_cqsize(COMPLETIONS)
            .build(SUBMISSIONS)
            .doing("io_uring_setup")?;
        let buffers = Buffers::register(&uring)?;
        Ok(Ring {
            uring,
            buffers,
            lines: Vec::new(),
            free: Vec::new(),
            peer: None,
            dirty: Vec::new(),
            unarmed: Vec::new(),
            completions: VecDeque::new(),
            listener: None,
            is_accepting: false,
            in_flight: 0,
        })
    }

    /// Accepts on `listener` from the next turn on.
    pub(crate) fn listen(&mut self, listener: TcpListener) {
        self.listener = Some(listener);
    }

    /// Takes over a connected socket and receives from it.
    pub(crate) fn add(&mut self, stream: TcpStream) -> Slot {
        let slot = self.slot_for(Line::over(stream, Reading::Always));
        self.unarmed.push(slot);
        slot
    }

    /// Where [`Ring::connect`] connects to; before the first of them.
    pub(crate) fn aim(&mut self, peer: SocketAddr) {
        assert!(self.peer.is_none(), "a connect in flight may still read the address");
        self.peer = Some(Box::new(SockaddrStorage::from(peer)));
    }

    /// Begins to connect a socket; `Connected` or `Closed` tells how it went.
    pub(crate) fn connect(&mut self, socket: TcpStream, reading: Reading) -> Result<Slot> {
        let peer = self.peer.as_ref().expect("invariant: `aim` comes first");
        let entry = opcode::Connect::new(Fd(socket.as_raw_fd()), peer.as_ptr(), peer.len()).build();
        let slot = self.slot_for(Line { is_connected: false, ..Line::over(socket, reading) });
        self.push(entry, Operation::Connect, slot)?;
        Ok(slot)
    }

    /// Reads once, at most `bytes`; nothing happens where a read is under way.
    pub(crate) fn read_once(&mut self, slot: Slot, bytes: u32) -> Result<()> {
        let line = &mut self.lines[slot];
        if !line.is_open || line.is_receiving {
            return Ok(());
        }
        line.is_receiving = true;
        let entry = opcode::Recv::new(line.fd(), std::ptr::null_mut(), bytes).buf_group(BUFFER_GROUP).build();
        self.push(entry.flags(squeue::Flags::BUFFER_SELECT), Operation::Receive, slot)
    }

    /// Hands over what is staged, then gives the socket up. The send is cancelled only where the kernel does not take it at once.
    pub(crate) fn flush_and_close(&mut self, slot: Slot, ending: Ending) -> Result<()> {
        let line = &mut self.lines[slot];
        if ending == Ending::Orderly && line.is_open && line.sending.is_empty() && !line.staged.is_empty() {
            std::mem::swap(&mut line.sending, &mut line.staged);
            line.sent_bytes = 0;
            self.push_send(slot)?;
        }
        self.close(slot, ending)
    }

    /// Gives a socket up. What is staged is not sent; no event of the slot follows, and it may be another's soon.
    pub(crate) fn close(&mut self, slot: Slot, ending: Ending) -> Result<()> {
        let line = &mut self.lines[slot];
        if line.is_closing {
            return Ok(());
        }
        line.is_closing = true;
        line.is_open = false;
        if let (Ending::Reset, Some(stream)) = (ending, &line.stream) {
            let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
            // A socket that refuses is closed the usual way.
            let _ = setsockopt(stream, sockopt::Linger, &linger);
        }
        if 0 < line.in_flight {
            let entry = opcode::AsyncCancel2::new(CancelBuilder::fd(line.fd()).all()).build();
            self.push(entry, Operation::Cancel, slot)?;
        }
        self.free_if_over(slot);
        Ok(())
    }

    fn slot_for(&mut self, line: Line) -> Slot {
        if let Some(slot) = self.free.pop() {
            self.lines[slot] = line;
            return slot;
        }
        self.lines.push(line);
        self.lines.len() - 1
    }

    /// Closes the socket of a slot that was given up, once nothing of it is in flight.
    fn free_if_over(&mut self, slot: Slot) {
        let line = &mut self.lines[slot];
        // A dirty or unarmed slot is still named by a list of the next turn.
        if line.is_closing && line.in_flight == 0 && !line.is_dirty && line.stream.take().is_some() {
            line.sending = Vec::new();
            line.staged = Vec::new();
            self.free.push(slot);
        }
    }

    pub(crate) fn outbox(&mut self) -> Outbox<'_> {
        Outbox { lines: &mut self.lines, dirty: &mut self.dirty }
    }

    /// One turn: hand over what is staged, wait as told, give `handle` what is ready, up to a bound.
    /// Returns how many completions there were.
    pub(crate) fn turn(
        &mut self,
        wait: Wait,
        mut handle: impl FnMut(&mut Outbox<'_>, Event<'_>) -> Result<()>,
    ) -> Result<usize> {
        self.stage_operations()?;
        self.enter(wait)?;
        self.completions.extend(self.uring.completion().take(COMPLETIONS_PER_TURN));
        let count = self.completions.len();
        while let Some(completion) = self.completions.pop_front() {
            self.complete(&completion, &mut handle)?;
        }
        self.buffers.publish();
        Ok(count)
    }

    fn stage_operations(&mut self) -> Result<()> {
        if let Some(listener) = &self.listener
            && !self.is_accepting
        {
            let entry = opcode::AcceptMulti::new(Fd(listener.as_raw_fd())).build();
            self.is_accepting = true;
            self.push(entry, Operation::Accept, 0)?;
        }
        while let Some(slot) = self.unarmed.pop() {
            let line = &mut self.lines[slot];
            // The slot may be another's by now: hence the flags.
            let is_ready = line.is_open && line.is_connected && !line.is_receiving;
            if is_ready && line.reading == Reading::Always {
                line.is_receiving = true;
                let entry = opcode::RecvMulti::new(line.fd(), BUFFER_GROUP).build();
                self.push(entry, Operation::Receive, slot)?;
            }
        }
        let mut dirty = std::mem::take(&mut self.dirty);
        for slot in dirty.drain(..) {
            let line = &mut self.lines[slot];
            line.is_dirty = false;
            if line.is_open && line.sending.is_empty() {
                std::mem::swap(&mut line.sending, &mut line.staged);
                line.sent_bytes = 0;
                self.push_send(slot)?;
            } else {
                self.free_if_over(slot);
            }
        }
        self.dirty = dirty;
        Ok(())
    }

    fn push_send(&mut self, slot: Slot) -> Result<()> {
        let line = &self.lines[slot];
        let rest = &line.sending[line.sent_bytes..];
        let bytes = u32::try_from(rest.len()).expect("invariant: bounded by STAGED_BYTES_MAX");
        let entry = opcode::Send::new(line.fd(), rest.as_ptr(), bytes)
            .flags(nix::libc::MSG_NOSIGNAL | nix::libc::MSG_WAITALL)
            .build();
        self.push(entry, Operation::Send, slot)
    }

    fn push(&mut self, entry: squeue::Entry, operation: Operation, slot: Slot) -> Result<()> {
        self.in_flight += 1;
        if operation != Operation::Accept {
            self.lines[slot].in_flight += 1;
        }
        let entry = entry.user_data(user_data(operation, slot));
        if self.uring.submission().is_full() {
            self.uring.submit().doing("io_uring_enter")?;
        }
        // SAFETY: accept, cancel and receive name no memory of ours but the provided buffers, which live in `Buffers`
        // until no operation is in flight. A send names `sending` of its line: that Vec is neither changed nor dropped
        // before the completion (`complete_send`, and `free_if_over` when nothing is in flight, are the only places
        // that do), and lines are never removed. A connect names `peer`, which is set once and boxed.
        // Each fd is owned by its line, which keeps it until nothing of it is in flight, or by `listener`.
        let pushed = unsafe { self.uring.submission().push(&entry) };
        pushed.map_err(|_| Failure::Io("submission queue", io::ErrorKind::WouldBlock.into()))
    }

    fn enter(&mut self, wait: Wait) -> Result<()> {
        let submission = self.uring.submission();
        let has_work = !submission.is_empty() || submission.taskrun() || submission.cq_overflow();
        drop(submission);
        let entered = match wait {
            Wait::Spin if !has_work => return Ok(()),
            Wait::Spin => self.uring.submit(),
            Wait::ParkNs(park_ns) => {
                let rest_ns = u32::try_from(park_ns % SECOND_NS).expect("invariant: below one second");
                let timespec = Timespec::new().sec(park_ns / SECOND_NS).nsec(rest_ns);
                self.uring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&timespec))
            }
        };
        match entered {
            Ok(_) => Ok(()),
            Err(error) => match error.raw_os_error() {
                Some(nix::libc::ETIME | nix::libc::EINTR | nix::libc::EBUSY) => Ok(()),
                Some(_) | None => Err(Failure::Io("io_uring_enter", error)),
            },
        }
    }

    fn complete(
        &mut self,
        completion: &cqueue::Entry,
        handle: &mut impl FnMut(&mut Outbox<'_>, Event<'_>) -> Result<()>,
    ) -> Result<()> {
        let is_last = !cqueue::more(completion.flags());
        if is_last {
            self.in_flight -= 1;
        }
        let (operation, slot) = operation_of(completion.user_data());
        if is_last && operation != Operation::Accept {
            self.lines[slot].in_flight -= 1;
        }
        let handled = self.complete_operation(operation, slot, completion, handle);
        if operation != Operation::Accept {
            self.free_if_over(slot);
        }
        handled
    }

    fn complete_operation(
        &mut self,
        operation: Operation,
        slot: Slot,
        completion: &cqueue::Entry,
        handle: &mut impl FnMut(&mut Outbox<'_>, Event<'_>) -> Result<()>,
    ) -> Result<()> {
        let is_last = !cqueue::more(completion.flags());
        match operation {
            Operation::Accept => {
                self.is_accepting = !is_last;
                if completion.result() < 0 {
                    return Err(Failure::Io("accept", io::Error::from_raw_os_error(-completion.result())));
                }
                // SAFETY: a successful accept returns a new descriptor that nothing else owns.
                let stream = TcpStream::from(unsafe { OwnedFd::from_raw_fd(completion.result()) });
                stream.set_nodelay(true).doing("TCP_NODELAY")?;
                let slot = self.add(stream);
                handle(&mut self.outbox(), Event::Accepted(slot))
            }
            Operation::Receive => self.complete_receive(slot, completion, is_last, handle),
            Operation::Send => self.complete_send(slot, completion.result(), handle),
            Operation::Connect => self.complete_connect(slot, completion.result(), handle),
            // What it cancelled tells of itself.
            Operation::Cancel => Ok(()),
        }
    }

    fn complete_connect(
        &mut self,
        slot: Slot,
        result: i32,
        handle: &mut impl FnMut(&mut Outbox<'_>, Event<'_>) -> Result<()>,
    ) -> Result<()> {
        if !self.lines[slot].is_open {
            return Ok(());
        }
        if result < 0 {
            self.lines[slot].is_open = false;
            return handle(&mut self.outbox(), Event::Closed(slot, -result));
        }
        self.lines[slot].is_connected = true;
        self.unarmed.push(slot);
        handle(&mut self.outbox(), Event::Connected(slot))
    }

    fn complete_receive(
        &mut self,
        slot: Slot,
        completion: &cqueue::Entry,
        is_last: bool,
        handle: &mut impl FnMut(&mut Outbox<'_>, Event<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut outbox = Outbox { lines: &mut self.lines, dirty: &mut self.dirty };
        let mut handled = Ok(());
        if let Some(buffer) = cqueue::buffer_select(completion.flags()) {
            let bytes = usize::try_from(completion.result()).unwrap_or(0);
            if 0 < bytes && !outbox.lines[slot].is_closing {
                handled = handle(&mut outbox, Event::Received(slot, self.buffers.bytes(buffer, bytes)));
            }
            self.buffers.give_back(buffer);
        }
        if is_last {
            self.lines[slot].is_receiving = false;
        }
        let has_ended = match completion.result() {
            0 => true,
            result if result < 0 => -result != nix::libc::ENOBUFS,
            _ => false,
        };
        if has_ended && self.lines[slot].is_open {
            self.lines[slot].is_open = false;
            let errno = completion.result().saturating_neg();
            handled = handled.and(handle(&mut self.outbox(), Event::Closed(slot, errno)));
        } else if is_last {
            self.unarmed.push(slot);
        }
        handled
    }

    fn complete_send(
        &mut self,
        slot: Slot,
        result: i32,
        handle: &mut impl FnMut(&mut Outbox<'_>, Event<'_>) -> Result<()>,
    ) -> Result<()> {
        let line = &mut self.lines[slot];
        let Ok(bytes) = usize::try_from(result) else {
            line.sending.clear();
            let was_open = std::mem::replace(&mut line.is_open, false);
            let errno = result.saturating_neg();
            return if was_open { handle(&mut self.outbox(), Event::Closed(slot, errno)) } else { Ok(()) };
        };
        line.sent_bytes += bytes;
        if line.sent_bytes < line.sending.len() && !line.is_closing {
            return self.push_send(slot);
        }
        line.sending.clear();
        if !line.staged.is_empty() && !line.is_dirty {
            line.is_dirty = true;
            self.dirty.push(slot);
        }
        Ok(())
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        for stream in self.lines.iter().filter_map(|line| line.stream.as_ref()) {
            // Ends the receive and the send of the line; a socket that is closed already refuses, which is fine.
            let _ = stream.shutdown(Shutdown::Both);
        }
        let timespec = Timespec::new().nsec(10_000_000);
        // The accept has no socket to shut down; it holds no memory, so the ring may close over it.
        for _ in 0..CLOSING_WAITS {
            if self.in_flight <= usize::from(self.is_accepting) {
                break;
            }
            let _ = self.uring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&timespec));
            let ended = self.uring.completion().filter(|entry| !cqueue::more(entry.flags())).count();
            self.in_flight -= ended;
        }
        if usize::from(self.is_accepting) < self.in_flight {
            self.buffers.leak();
            for line in self.lines.drain(..) {
                std::mem::forget(line.sending);
            }
            std::mem::forget(self.peer.take());
        }
    }
}

fn user_data(operation: Operation, slot: Slot) -> u64 {
    ((operation as u64) << 32)
        | u64::from(u32::try_from(slot).expect("invariant: slots are file descriptors"))
}

fn operation_of(user_data: u64) -> (Operation, Slot) {
    let slot = usize::try_from(user_data & 0xffff_ffff).expect("invariant: usize has 64 bits here");
    match user_data >> 32 {
        1 => (Operation::Accept, slot),
        2 => (Operation::Receive, slot),
        3 => (Operation::Send, slot),
        4 => (Operation::Connect, slot),
        5 => (Operation::Cancel, slot),
        other => unreachable!("operation {other} was never submitted"),
    }
}
