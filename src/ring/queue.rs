//! Submission and completion queues of one ring, with the operations it submits as typed calls.
//!
//! Home: one shard. Submissions are never lost: a full queue is submitted early, and what the kernel still does not
//! take waits here in order. Completions the kernel could not post (its overflow list) are fetched by the next enter.

use std::collections::VecDeque;
use std::io;

use io_uring::squeue::Entry;
use io_uring::types::{CancelBuilder, DestinationSlot, Fd, Fixed, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode};
use nix::errno::Errno;
use nix::libc;

use super::RingCounters;
use super::buffers::ReceiveBuffers;
use super::token::Token;

/// A completion, taken out of the queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Completion {
    pub(super) bits: u64,
    pub(super) result: i32,
    /// The provided buffer that holds the bytes, if any.
    pub(super) buffer: Option<u16>,
    /// Whether the operation goes on and more completions follow.
    pub(super) more: bool,
}

impl Completion {
    /// The count or index, or the reason of the failure.
    pub(super) fn outcome(&self) -> Result<u32, Errno> {
        u32::try_from(self.result).map_err(|_| Errno::from_raw(self.result.saturating_neg()))
    }
}

/// How long an enter may wait for a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    None,
    Nanos(u64),
    Unbounded,
}

pub(super) struct Queue {
    uring: IoUring,
    /// Entries the kernel did not take yet although the queue was submitted, oldest first.
    overflow: VecDeque<Entry>,
}

impl Queue {
    pub(super) fn new(uring: IoUring) -> Queue {
        let capacity = uring.params().sq_entries() as usize;
        Queue { uring, overflow: VecDeque::with_capacity(capacity) }
    }

    pub(super) const fn uring(&self) -> &IoUring {
        &self.uring
    }

    pub(super) fn pop(&mut self) -> Option<Completion> {
        self.uring.completion().next().map(|entry| Completion {
            bits: entry.user_data(),
            result: entry.result(),
            buffer: cqueue::buffer_select(entry.flags()),
            more: cqueue::more(entry.flags()),
        })
    }

    pub(super) fn has_completions(&mut self) -> bool {
        !self.uring.completion().is_empty()
    }

    /// Whether the kernel has work of this ring deferred, or completions that it could not post: an enter gets them.
    pub(super) fn has_deferred(&mut self) -> bool {
        let submission = self.uring.submission();
        submission.taskrun() || submission.cq_overflow()
    }

    /// Whether something waits to be submitted.
    pub(super) fn has_unsubmitted(&mut self) -> bool {
        !self.overflow.is_empty() || !self.uring.submission().is_empty()
    }

    /// Submits what waits, and lets the kernel run its deferred work if there is some. Without patience and with
    /// nothing to do for the kernel this makes no system call.
    ///
    /// # Errors
    /// Only what says that this ring cannot work any more; a signal, a lapse of time and a full completion queue are
    /// ordinary.
    pub(super) fn enter(&mut self, patience: Patience, counters: &mut RingCounters) -> io::Result<()> {
        self.refill();
        // Entries still wait for room: submit now and wait in a later enter, when the kernel knows them all.
        let patience = if self.overflow.is_empty() { patience } else { Patience::None };
        let submission = self.uring.submission();
        let (queued, overflowed) = (!submission.is_empty(), submission.cq_overflow());
        let deferred = submission.taskrun();
        drop(submission);
        let result = match patience {
            Patience::None if !queued && !deferred && !overflowed => return Ok(()),
            Patience::None => self.uring.submitter().submit_and_wait(0),
            Patience::Unbounded => self.uring.submitter().submit_and_wait(1),
            Patience::Nanos(nanos) => {
                let timespec =
                    Timespec::new().sec(nanos / 1_000_000_000).nsec((nanos % 1_000_000_000) as u32);
                self.uring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&timespec))
            }
        };
        counters.enters_total += 1;
        counters.completions_overflowed_total += u64::from(overflowed);
        match result {
            Ok(_) => Ok(()),
            Err(error) if is_passing(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Accepts one connection into a direct descriptor of the kernel's choice.
    ///
    /// # Safety
    /// The address and its length stay allocated, and nobody else touches them, until the completion of this accept was
    /// popped. The length holds the bytes there are for the address.
    pub(super) unsafe fn accept(
        &mut self,
        token: Token,
        listener: i32,
        (address, length): (*mut libc::sockaddr, *mut libc::socklen_t),
        counters: &mut RingCounters,
    ) {
        let accept = opcode::Accept::new(Fd(listener), address, length);
        let accept = accept.file_index(Some(DestinationSlot::auto_target())).build();
        self.push(accept, token, counters);
    }

    /// Connects a socket that is an ordinary descriptor.
    ///
    /// # Safety
    /// The `length` bytes at `address` stay readable and unchanged until the completion of this connect was popped.
    pub(super) unsafe fn connect(
        &mut self,
        token: Token,
        socket: i32,
        (address, length): (*const libc::sockaddr, libc::socklen_t),
        counters: &mut RingCounters,
    ) {
        self.push(opcode::Connect::new(Fd(socket), address, length).build(), token, counters);
    }

    /// Enters an ordinary descriptor into the table of direct ones, at an index of the kernel's choice: `file` holds the
    /// descriptor before, the index after. The ordinary one stays open.
    ///
    /// # Safety
    /// `file` stays allocated, and nobody else touches it, until the completion of this was popped.
    pub(super) unsafe fn install(&mut self, token: Token, file: *mut i32, counters: &mut RingCounters) {
        /// `IORING_FILE_INDEX_ALLOC`, all ones in the kernel's 32 bits.
        const ANY_INDEX: i32 = -1;
        self.push(opcode::FilesUpdate::new(file, 1).offset(ANY_INDEX).build(), token, counters);
    }

    pub(super) fn receive(&mut self, token: Token, file: u32, counters: &mut RingCounters) {
        self.push(opcode::RecvMulti::new(Fixed(file), ReceiveBuffers::GROUP).build(), token, counters);
    }

    /// # Safety
    /// The `length` bytes at `start` stay readable and unchanged until the completion of this send was popped.
    pub(super) unsafe fn send(
        &mut self,
        token: Token,
        file: u32,
        (start, length): (*const u8, u32),
        flags: i32,
        counters: &mut RingCounters,
    ) {
        let send = opcode::Send::new(Fixed(file), start, length).flags(flags | libc::MSG_NOSIGNAL).build();
        self.push(send, token, counters);
    }

    pub(super) fn shutdown_send(&mut self, token: Token, file: u32, counters: &mut RingCounters) {
        self.push(opcode::Shutdown::new(Fixed(file), libc::SHUT_WR).build(), token, counters);
    }

    pub(super) fn close(&mut self, token: Token, file: u32, counters: &mut RingCounters) {
        self.push(opcode::Close::new(Fixed(file)).build(), token, counters);
    }

    /// Cancels every operation submitted with `target`. By `user_data`, which the kernel finds in a hash table; a
    /// search by descriptor would walk all of them.
    pub(super) fn cancel(&mut self, token: Token, target: Token, counters: &mut RingCounters) {
        let builder = CancelBuilder::user_data(target.bits()).all();
        self.push(opcode::AsyncCancel2::new(builder).build(), token, counters);
    }

    /// Reports each time `fd` becomes readable.
    pub(super) fn watch(&mut self, token: Token, fd: i32, counters: &mut RingCounters) {
        let readable = libc::POLLIN as u32;
        self.push(opcode::PollAdd::new(Fd(fd), readable).multi(true).build(), token, counters);
    }

    fn push(&mut self, entry: Entry, token: Token, counters: &mut RingCounters) {
        let entry = entry.user_data(token.bits());
        if self.overflow.is_empty() && self.try_push(&entry) {
            return;
        }
        counters.submissions_full_total += 1;
        counters.enters_total += 1;
        // Should the kernel refuse for now, the entry waits, and the next enter meets the reason again.
        let _ = self.uring.submitter().submit();
        self.overflow.push_back(entry);
        self.refill();
    }

    /// Moves waiting entries into the queue while it has room.
    fn refill(&mut self) {
        while let Some(entry) = self.overflow.pop_front() {
            if !self.try_push(&entry) {
                self.overflow.push_front(entry);
                return;
            }
        }
    }

    fn try_push(&mut self, entry: &Entry) -> bool {
        // SAFETY: no entry but an accept, a connect, an install and a send refers to memory of ours, and each of them makes
        // its caller promise that it lives.
        unsafe { self.uring.submission().push(entry) }.is_ok()
    }
}

/// Whether an enter that failed so may simply be tried again: no time left (`ETIME`), a signal (`EINTR`), a completion
/// queue that must be reaped first (`EBUSY`), no memory for requests just now (`EAGAIN`).
fn is_passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN))
}
