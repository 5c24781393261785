//! The provided buffers of a ring and their memory. Home: the ring's thread.
//! Invariant: the kernel writes to a buffer only between [`Buffers::give_back`] with the tail published and the completion
//! that names it.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

use crate::failure::{Doing, Result};

/// Provided buffers, a power of two. When all are in use the receives end with ENOBUFS and are armed again.
const BUFFERS: u16 = 1024;
/// One provided buffer: holds a coalesced send of a few milliseconds.
const BUFFER_BYTES: usize = 4096;
pub(super) const BUFFER_GROUP: u16 = 1;

/// The provided-buffer ring and its memory.
pub(super) struct Buffers {
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

    pub(super) fn register(uring: &IoUring) -> Result<Buffers> {
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

    pub(super) fn bytes(&self, buffer: u16, bytes: usize) -> &[u8] {
        assert!(buffer < BUFFERS && bytes <= BUFFER_BYTES, "the kernel names a buffer it was given");
        // SAFETY: in range by the assert, initialised by `alloc_zeroed`, and the kernel does not write to it again
        // before `give_back`, which needs `&mut self`.
        unsafe { std::slice::from_raw_parts(self.memory.add(usize::from(buffer) * BUFFER_BYTES), bytes) }
    }

    pub(super) fn give_back(&mut self, buffer: u16) {
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

    pub(super) fn publish(&mut self) {
        // SAFETY: `entries` is the base of the registered ring; the tail is 2-aligned, and only this thread stores it.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    pub(super) fn leak(&mut self) {
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
