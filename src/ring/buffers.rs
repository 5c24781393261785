//! The memory a ring shares with the kernel: provided buffers for receiving, pooled buffers for sending. (`peers.rs` has
//! what accepts write to.)
//!
//! Home: one shard. Maps memory: in the constructors only; a page is taken when it is first used.
//! Invariant: a receive buffer belongs to the kernel (published in the buffer ring), or to a completion not reaped yet,
//! or is lent to the caller; a send buffer is on the free list, or belongs to exactly one send in flight.

use std::alloc::{Layout, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;
use nix::libc;

/// Zeroed memory with a fixed address, on pages of its own: the kernel wants that for the buffer ring. Mapped rather than
/// allocated, because the allocator would write the zeros itself and so take every page at once.
pub(super) struct Region {
    start: NonNull<u8>,
    bytes: usize,
}

impl Region {
    pub(super) fn new(bytes: usize) -> Region {
        assert!(bytes > 0, "an empty region has no address");
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping anywhere, of no file: it touches no memory that exists.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, kind, -1, 0) };
        let start = if start == libc::MAP_FAILED { None } else { NonNull::new(start.cast::<u8>()) };
        let Some(start) = start else {
            handle_alloc_error(
                Layout::from_size_align(bytes, 1).expect("invariant: bounded by RingConfig::check"),
            )
        };
        Region { start, bytes }
    }

    /// The address of byte `offset`.
    pub(super) fn at(&self, offset: usize) -> NonNull<u8> {
        assert!(offset < self.bytes, "an offset lies inside its region");
        // SAFETY: the offset is inside the mapping, as asserted.
        unsafe { self.start.add(offset) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this length, and unmapped here only.
        let unmapped = unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
        assert_eq!(unmapped, 0, "a mapping of ours can be unmapped");
    }
}

/// Buffers that the kernel picks from for each receive, in one group for all connections of the ring: an idle
/// connection holds none.
pub(super) struct ReceiveBuffers {
    entries: Region,
    bytes: Region,
    count: u16,
    buffer_bytes: u32,
    /// Buffers handed to the kernel so far, modulo 2^16: its low bits are the next entry's index.
    tail: u16,
}

impl ReceiveBuffers {
    /// The one group of a ring.
    pub(super) const GROUP: u16 = 0;

    /// `count` is a power of two of at most 32,768.
    pub(super) fn new(count: u16, buffer_bytes: u32) -> ReceiveBuffers {
        assert!(count.is_power_of_two(), "the kernel indexes the buffer ring with a mask");
        let mut buffers = ReceiveBuffers {
            entries: Region::new(usize::from(count) * size_of::<BufRingEntry>()),
            bytes: Region::new(usize::from(count) * buffer_bytes as usize),
            count,
            buffer_bytes,
            tail: 0,
        };
        for buffer in 0..count {
            buffers.write_entry(buffer);
        }
        buffers.publish();
        buffers
    }

    /// Bytes of memory that it comes to take: the kernel fills one buffer after the other.
    pub(super) const fn memory_bytes(&self) -> usize {
        self.bytes.bytes
    }

    pub(super) const fn count(&self) -> u16 {
        self.count
    }

    /// For registration: where the kernel finds the entries.
    pub(super) fn entries_address(&self) -> u64 {
        self.entries.start.as_ptr() as u64
    }

    /// Gives a buffer back to the kernel.
    pub(super) fn give_back(&mut self, buffer: u16) {
        self.write_entry(buffer);
        self.publish();
    }

    /// The first `length` bytes of `buffer`.
    ///
    /// # Safety
    /// The kernel handed `buffer` over in a completion, and it was not given back since.
    pub(super) unsafe fn filled(&mut self, buffer: u16, length: u32) -> &mut [u8] {
        assert!(
            buffer < self.count && length <= self.buffer_bytes,
            "the kernel stays inside the buffers it was given"
        );
        let start = self.bytes.at(usize::from(buffer) * self.buffer_bytes as usize);
        // SAFETY: inside the region as asserted; initialised, because the region is zeroed; the kernel does not write
        // to it until it is given back (the caller's promise), and `&mut self` keeps that from happening meanwhile.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), length as usize) }
    }

    fn write_entry(&mut self, buffer: u16) {
        assert!(buffer < self.count, "a buffer of this ring");
        let address = self.bytes.at(usize::from(buffer) * self.buffer_bytes as usize);
        let index = usize::from(self.tail & (self.count - 1));
        let entry = self.entries.at(index * size_of::<BufRingEntry>()).cast::<BufRingEntry>();
        // SAFETY: `index` is below `count`, so the entry lies in the region, which is aligned to a page; the kernel
        // reads entries below the published tail only. The setters leave the bytes of the tail in entry 0 alone.
        let entry = unsafe { &mut *entry.as_ptr() };
        entry.set_addr(address.as_ptr() as u64);
        entry.set_len(self.buffer_bytes);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Shows the kernel every entry written so far.
    fn publish(&self) {
        // SAFETY: `entries` starts with the first entry of the ring, initialised by `new`.
        let tail = unsafe { BufRingEntry::tail(self.entries.start.as_ptr().cast::<BufRingEntry>()) };
        // SAFETY: two aligned bytes in the region, which both sides access atomically from here on.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}

/// A send buffer taken from the pool. It goes back by `release`, after the kernel is done with it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SendBuffer {
    size: SendSize,
    index: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SendSize {
    Small,
    Large,
}

/// Two sizes of buffers to send from.
pub(super) struct SendBuffers {
    small: SendPool,
    large: SendPool,
}

struct SendPool {
    bytes: Region,
    buffer_bytes: u32,
    count: u32,
    /// Last in, first out: the buffer used last is the one in the processor's cache.
    free: Vec<u32>,
    /// Buffers that were ever taken: the first so many.
    touched: u32,
}

impl SendBuffers {
    /// Counts and sizes of the two pools, each of at least one byte.
    pub(super) fn new(small: (u32, u32), large: (u32, u32)) -> SendBuffers {
        SendBuffers { small: SendPool::new(small.0, small.1), large: SendPool::new(large.0, large.1) }
    }

    /// Has the kernel give the memory of so many small and large buffers now, instead of when they are first written to.
    pub(super) fn make_ready(&mut self, small: u32, large: u32) {
        for (size, count) in [(SendSize::Small, small), (SendSize::Large, large)] {
            let taken: Vec<SendBuffer> = (0..count).map_while(|_| self.pool(size).take(size)).collect();
            for mut buffer in taken.into_iter().rev() {
                self.bytes_mut(&mut buffer).fill(0);
                self.release(buffer);
            }
        }
    }

    /// A buffer for about `bytes_hint` bytes, or of the other size if none of the fitting one is free.
    pub(super) fn take(&mut self, bytes_hint: usize) -> Option<SendBuffer> {
        let small = |pools: &mut SendBuffers| pools.small.take(SendSize::Small);
        let large = |pools: &mut SendBuffers| pools.large.take(SendSize::Large);
        if bytes_hint <= self.small.buffer_bytes as usize {
            small(self).or_else(|| large(self))
        } else {
            large(self).or_else(|| small(self))
        }
    }

    /// To be filled, before it is submitted.
    pub(super) fn bytes_mut(&mut self, buffer: &mut SendBuffer) -> &mut [u8] {
        let pool = self.pool(buffer.size);
        let start = pool.address(buffer.index);
        // SAFETY: inside the pool's region, which is zeroed and so initialised. The buffer was taken and belongs to
        // the caller (`&mut SendBuffer`, which cannot be cloned), so no send in flight reads it: those own theirs.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), pool.buffer_bytes as usize) }
    }

    /// For the kernel: where byte `offset` of the buffer is.
    pub(super) fn address(&self, buffer: &SendBuffer, offset: u32) -> *const u8 {
        let pool = match buffer.size {
            SendSize::Small => &self.small,
            SendSize::Large => &self.large,
        };
        assert!(offset < pool.buffer_bytes, "a send has bytes left");
        // SAFETY: below the buffer's length, so inside the region.
        unsafe { pool.address(buffer.index).add(offset as usize) }.as_ptr()
    }

    pub(super) fn release(&mut self, buffer: SendBuffer) {
        let pool = self.pool(buffer.size);
        assert!(pool.free.len() < pool.count as usize, "a buffer is released once");
        pool.free.push(buffer.index);
    }

    /// Bytes of memory that were ever written to and so are taken.
    pub(super) fn touched_bytes(&self) -> usize {
        let pools = [&self.small, &self.large].into_iter();
        pools.map(|pool| pool.touched as usize * pool.buffer_bytes as usize).sum()
    }

    pub(super) fn in_use(&self) -> usize {
        [&self.small, &self.large].into_iter().map(|pool| pool.count as usize - pool.free.len()).sum()
    }

    const fn pool(&mut self, size: SendSize) -> &mut SendPool {
        match size {
            SendSize::Small => &mut self.small,
            SendSize::Large => &mut self.large,
        }
    }
}

impl SendPool {
    fn new(count: u32, buffer_bytes: u32) -> SendPool {
        SendPool {
            bytes: Region::new(count as usize * buffer_bytes as usize),
            buffer_bytes,
            count,
            free: (0..count).rev().collect(),
            touched: 0,
        }
    }

    fn take(&mut self, size: SendSize) -> Option<SendBuffer> {
        let index = self.free.pop()?;
        self.touched = self.touched.max(index + 1);
        Some(SendBuffer { size, index })
    }

    fn address(&self, index: u32) -> NonNull<u8> {
        assert!(index < self.count, "a buffer of this pool");
        self.bytes.at(index as usize * self.buffer_bytes as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_that_are_made_ready_are_free_and_counted_and_used_first() {
        let mut pools = SendBuffers::new((8, 64), (2, 128));
        pools.make_ready(3, 9);
        assert_eq!((pools.in_use(), pools.touched_bytes()), (0, 3 * 64 + 2 * 128));
        let taken: Vec<SendBuffer> = (0..3).map(|_| pools.take(10).unwrap()).collect();
        assert_eq!(pools.touched_bytes(), 3 * 64 + 2 * 128);
        taken.into_iter().for_each(|buffer| pools.release(buffer));
    }

    #[test]
    fn a_send_takes_the_smallest_size_that_fits() {
        let mut pools = SendBuffers::new((1, 4096), (1, 65_536));
        let mut small = pools.take(100).unwrap();
        assert_eq!(pools.bytes_mut(&mut small).len(), 4096);
        let mut large = pools.take(4097).unwrap();
        assert_eq!(pools.bytes_mut(&mut large).len(), 65_536);
    }

    #[test]
    fn an_empty_size_borrows_from_the_other_and_both_empty_refuse() {
        let mut pools = SendBuffers::new((1, 4096), (1, 65_536));
        let first = pools.take(10).unwrap();
        let mut second = pools.take(10).unwrap();
        assert_eq!(pools.bytes_mut(&mut second).len(), 65_536);
        assert_eq!(pools.take(10), None);
        pools.release(first);
        let mut third = pools.take(60_000).unwrap();
        assert_eq!(pools.bytes_mut(&mut third).len(), 4096);
        assert_eq!(pools.touched_bytes(), 4096 + 65_536);
        assert_eq!(pools.in_use(), 2);
    }

    #[test]
    fn buffers_do_not_overlap() {
        let mut pools = SendBuffers::new((8, 64), (1, 128));
        let mut taken: Vec<SendBuffer> = (0..8).map(|_| pools.take(64).unwrap()).collect();
        for (fill, buffer) in (1_u8..).zip(&mut taken) {
            pools.bytes_mut(buffer).fill(fill);
        }
        for (fill, buffer) in (1_u8..).zip(&mut taken) {
            assert!(pools.bytes_mut(buffer).iter().all(|byte| *byte == fill));
        }
    }

    #[test]
    fn the_buffer_ring_wraps_and_keeps_its_tail() {
        let mut buffers = ReceiveBuffers::new(4, 64);
        for round in 0..70_000_u32 {
            buffers.give_back(u16::try_from(round % 4).unwrap());
        }
        // SAFETY: the ring was never registered, so every buffer is ours.
        let filled = unsafe { buffers.filled(3, 64) };
        assert_eq!(filled.len(), 64);
        assert_eq!(buffers.tail, u16::try_from(70_004 % 65_536).unwrap());
    }
}
