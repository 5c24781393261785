//! A bare io_uring loop over stream sockets: multishot accept and recv, provided buffers, one send in flight a
//! socket. It carries the limit arm `echo` and the client side of the loads. Home: the thread that makes it.
//! Invariants: the kernel's memory (provided buffers, the bytes of a send) is neither moved nor freed before its
//! completion; a slot is never reused, so a late completion cannot meet another socket.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::collections::VecDeque;
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::{BufRingEntry, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};

use crate::clock::SECOND_NS;
use crate::failure::{Doing, Failure, Result};

/// Submissions queued before they must be handed over; a full queue is submitted and filled again.
const SUBMISSIONS: u32 = 4096;
/// Completions the ring holds; the kernel keeps an overflow, so this bounds memory, not correctness.
const COMPLETIONS: u32 = 16_384;
/// Completions handled in one turn; the rest waits in the queue, so that a flood of receipts does not make a
/// generator late (at about 1 us each, a quarter of a millisecond).
const COMPLETIONS_PER_TURN: usize = 256;
/// Provided buffers, a power of two. When all are in use the receives end with ENOBUFS and are armed again.
const BUFFERS: u16 = 1024;
/// One provided buffer: holds a coalesced send of a few milliseconds.
const BUFFER_BYTES: usize = 4096;
const BUFFER_GROUP: u16 = 1;
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
    Received(Slot, &'a [u8]),
    Closed(Slot),
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
}

struct Line {
    stream: TcpStream,
    sending: Vec<u8>,
    sent_bytes: usize,
    staged: Vec<u8>,
    is_dirty: bool,
    is_open: bool,
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
        let slot = self.lines.len();
        self.lines.push(Line {
            stream,
            sending: Vec::new(),
            sent_bytes: 0,
            staged: Vec::new(),
            is_dirty: false,
            is_open: true,
        });
        self.unarmed.push(slot);
        slot
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
            self.push(entry.user_data(user_data(Operation::Accept, 0)))?;
        }
        while let Some(slot) = self.unarmed.pop() {
            if self.lines[slot].is_open {
                let fd = Fd(self.lines[slot].stream.as_raw_fd());
                let entry = opcode::RecvMulti::new(fd, BUFFER_GROUP).build();
                self.push(entry.user_data(user_data(Operation::Receive, slot)))?;
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
            }
        }
        self.dirty = dirty;
        Ok(())
    }

    fn push_send(&mut self, slot: Slot) -> Result<()> {
        let line = &self.lines[slot];
        let rest = &line.sending[line.sent_bytes..];
        let bytes = u32::try_from(rest.len()).expect("invariant: bounded by STAGED_BYTES_MAX");
        let entry = opcode::Send::new(Fd(line.stream.as_raw_fd()), rest.as_ptr(), bytes)
            .flags(nix::libc::MSG_NOSIGNAL | nix::libc::MSG_WAITALL)
            .build();
        self.push(entry.user_data(user_data(Operation::Send, slot)))
    }

    fn push(&mut self, entry: squeue::Entry) -> Result<()> {
        self.in_flight += 1;
        if self.uring.submission().is_full() {
            self.uring.submit().doing("io_uring_enter")?;
        }
        // SAFETY: accept and receive name no memory of ours but the provided buffers, which live in `Buffers` until
        // no operation is in flight. A send names `sending` of its line: that Vec is neither changed nor dropped
        // before the completion (`complete_send` is the only place that does), and lines are never removed.
        // Each fd is owned by its line or by `listener` and stays open as long as the ring.
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
        }
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
            if 0 < bytes {
                handled = handle(&mut outbox, Event::Received(slot, self.buffers.bytes(buffer, bytes)));
            }
            self.buffers.give_back(buffer);
        }
        let has_ended = match completion.result() {
            0 => true,
            result if result < 0 => -result != nix::libc::ENOBUFS,
            _ => false,
        };
        if has_ended && self.lines[slot].is_open {
            self.lines[slot].is_open = false;
            handled = handled.and(handle(&mut self.outbox(), Event::Closed(slot)));
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
            return if was_open { handle(&mut self.outbox(), Event::Closed(slot)) } else { Ok(()) };
        };
        line.sent_bytes += bytes;
        if line.sent_bytes < line.sending.len() {
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
        for line in &self.lines {
            // Ends the receive and the send of the line; a socket that is closed already refuses, which is fine.
            let _ = line.stream.shutdown(Shutdown::Both);
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
        }
    }
}

/// The provided-buffer ring and its memory.
struct Buffers {
    entries: *mut BufRingEntry,
    memory: *mut u8,
    tail: u16,
    is_leaked: bool,
}

impl Buffers {
    fn layouts() -> (Layout, Layout) {
        let entries = usize::from(BUFFERS) * size_of::<BufRingEntry>();
        let memory = usize::from(BUFFERS) * BUFFER_BYTES;
        let layout = |bytes| Layout::from_size_align(bytes, 4096).expect("invariant: constant sizes");
        (layout(entries), layout(memory))
    }

    fn register(uring: &IoUring) -> Result<Buffers> {
        let (entries_layout, memory_layout) = Buffers::layouts();
        // SAFETY: both layouts have a size above zero.
        let (entries, memory) = unsafe { (alloc_zeroed(entries_layout), alloc_zeroed(memory_layout)) };
        if entries.is_null() || memory.is_null() {
            handle_alloc_error(memory_layout);
        }
        let entries = entries.cast::<BufRingEntry>();
        let mut buffers = Buffers { entries, memory, tail: 0, is_leaked: false };
        // SAFETY: `entries` is page-aligned memory for BUFFERS entries that lives until the ring has no operation
        // in flight (`Ring::drop`), or is leaked.
        unsafe { uring.submitter().register_buf_ring_with_flags(entries as u64, BUFFERS, BUFFER_GROUP, 0) }
            .doing("register provided buffers")?;
        for buffer in 0..BUFFERS {
            buffers.give_back(buffer);
        }
        buffers.publish();
        Ok(buffers)
    }

    fn bytes(&self, buffer: u16, bytes: usize) -> &[u8] {
        assert!(buffer < BUFFERS && bytes <= BUFFER_BYTES, "the kernel names a buffer it was given");
        // SAFETY: in range by the assert, initialised by `alloc_zeroed`, and the kernel does not write to it again
        // before `give_back`, which needs `&mut self`.
        unsafe { std::slice::from_raw_parts(self.memory.add(usize::from(buffer) * BUFFER_BYTES), bytes) }
    }

    fn give_back(&mut self, buffer: u16) {
        assert!(buffer < BUFFERS, "the kernel names a buffer it was given");
        let index = usize::from(self.tail & (BUFFERS - 1));
        // SAFETY: `index` < BUFFERS, and the kernel does not read entries beyond the published tail. The setters
        // leave the tail itself alone, which shares entry 0's reserved field.
        let (entry, address) = unsafe {
            (&mut *self.entries.add(index), self.memory.add(usize::from(buffer) * BUFFER_BYTES) as u64)
        };
        entry.set_addr(address);
        entry.set_len(u32::try_from(BUFFER_BYTES).expect("invariant: a constant below 4 GiB"));
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&mut self) {
        // SAFETY: `entries` is the base of the registered ring; the tail is 2-aligned, and only this thread stores it.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    fn leak(&mut self) {
        self.is_leaked = true;
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        if self.is_leaked {
            return;
        }
        let (entries_layout, memory_layout) = Buffers::layouts();
        // SAFETY: allocated with these layouts in `register`; the ring has no operation in flight that could select
        // one of them (`Ring::drop` waited, else `is_leaked`), and the registration dies with the ring's descriptor.
        unsafe {
            dealloc(self.entries.cast(), entries_layout);
            dealloc(self.memory, memory_layout);
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
        other => unreachable!("operation {other} was never submitted"),
    }
}
