//! Queues of frame references, one per connection, in chunks of a common pool: an idle connection holds none, and a
//! steady state allocates nothing. PURE. Home: one shard.
//!
//! Invariants: a queue's chunks are linked from `head` to `tail` and belong to no other queue; `count` is the number
//! of references in them; the pool never hands out more than `limits::QUEUED_FRAMES_MAX` references.

use crate::limits;

use super::log::FrameRef;

const CHUNK_FRAMES: usize = 20;
const NONE: u32 = u32::MAX;
/// Chunks below which a pool is small whatever of it is free: a quarter of a megabyte.
const SPARSE_CHUNKS_MIN: usize = 1024;

#[derive(Debug)]
struct Chunk {
    frames: [FrameRef; CHUNK_FRAMES],
    next: u32,
}

/// One connection's queue; the references are in the pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameQueue {
    head: u32,
    tail: u32,
    /// Place of the first reference in the head chunk.
    first: u8,
    /// References in the tail chunk.
    filled: u8,
    count: u32,
}

impl Default for FrameQueue {
    fn default() -> FrameQueue {
        FrameQueue { head: NONE, tail: NONE, first: 0, filled: 0, count: 0 }
    }
}

impl FrameQueue {
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    #[must_use]
    pub(super) fn count(&self) -> u32 {
        self.count
    }
}

#[derive(Debug)]
pub(super) struct FrameQueuePool {
    chunks: Vec<Chunk>,
    free: u32,
    in_use: usize,
    chunks_max: usize,
}

/// The pool's bound is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct QueuesFull;

impl Default for FrameQueuePool {
    fn default() -> FrameQueuePool {
        FrameQueuePool::with_frames_max(limits::QUEUED_FRAMES_MAX)
    }
}

impl FrameQueuePool {
    pub(super) fn with_frames_max(frames_max: usize) -> FrameQueuePool {
        FrameQueuePool { chunks: Vec::new(), free: NONE, in_use: 0, chunks_max: frames_max / CHUNK_FRAMES }
    }

    /// # Errors
    /// [`QueuesFull`] when a chunk is needed and the bound is reached; the queue is unchanged.
    pub(super) fn push(&mut self, queue: &mut FrameQueue, frame: FrameRef) -> Result<(), QueuesFull> {
        if queue.tail == NONE || usize::from(queue.filled) == CHUNK_FRAMES {
            let chunk = self.take_chunk()?;
            if queue.tail == NONE {
                queue.head = chunk;
                queue.first = 0;
            } else {
                self.chunks[queue.tail as usize].next = chunk;
            }
            queue.tail = chunk;
            queue.filled = 0;
        }
        self.chunks[queue.tail as usize].frames[usize::from(queue.filled)] = frame;
        queue.filled += 1;
        queue.count += 1;
        Ok(())
    }

    #[must_use]
    pub(super) fn front(&self, queue: &FrameQueue) -> Option<FrameRef> {
        (queue.count > 0).then(|| self.chunks[queue.head as usize].frames[usize::from(queue.first)])
    }

    pub(super) fn pop(&mut self, queue: &mut FrameQueue) -> Option<FrameRef> {
        let front = self.front(queue)?;
        queue.count -= 1;
        queue.first += 1;
        if queue.count == 0 {
            self.give_chunk(queue.head);
            *queue = FrameQueue::default();
        } else if usize::from(queue.first) == CHUNK_FRAMES {
            let next = self.chunks[queue.head as usize].next;
            self.give_chunk(queue.head);
            queue.head = next;
            queue.first = 0;
        }
        Some(front)
    }

    /// Chunks that queues hold.
    pub(super) fn chunks_in_use(&self) -> usize {
        self.in_use
    }

    /// Bytes that the pool holds on to, for chunks in use and free ones.
    pub(super) fn memory_bytes(&self) -> usize {
        self.chunks.capacity() * size_of::<Chunk>()
    }

    /// Whether most of the pool is free, and that is worth giving back.
    pub(super) fn is_sparse(&self) -> bool {
        self.chunks.capacity() > SPARSE_CHUNKS_MIN && self.in_use < self.chunks.capacity() / 4
    }

    /// Gives back the memory of free chunks. `queues` are all the queues of this pool.
    pub(super) fn compact<'q>(&mut self, queues: impl Iterator<Item = &'q mut FrameQueue>) {
        let narrow = |count: usize| {
            u32::try_from(count).expect("invariant: there are fewer chunks than QUEUED_FRAMES_MAX")
        };
        let mut chunks = Vec::with_capacity(self.in_use);
        for queue in queues.filter(|queue| !queue.is_empty()) {
            let (mut at, tail) = (queue.head, queue.tail);
            queue.head = narrow(chunks.len());
            loop {
                let Chunk { frames, next } = &self.chunks[at as usize];
                let follower = if at == tail { NONE } else { narrow(chunks.len() + 1) };
                chunks.push(Chunk { frames: *frames, next: follower });
                if at == tail {
                    break;
                }
                at = *next;
            }
            queue.tail = narrow(chunks.len() - 1);
        }
        assert_eq!(chunks.len(), self.in_use, "each chunk in use belongs to one queue");
        self.chunks = chunks;
        self.free = NONE;
    }

    fn take_chunk(&mut self) -> Result<u32, QueuesFull> {
        if self.in_use == self.chunks_max {
            return Err(QueuesFull);
        }
        self.in_use += 1;
        if self.free == NONE {
            self.chunks.push(Chunk { frames: [FrameRef::default(); CHUNK_FRAMES], next: NONE });
            return Ok(u32::try_from(self.chunks.len() - 1)
                .expect("invariant: there are fewer chunks than QUEUED_FRAMES_MAX"));
        }
        let chunk = self.free;
        self.free = self.chunks[chunk as usize].next;
        self.chunks[chunk as usize].next = NONE;
        Ok(chunk)
    }

    fn give_chunk(&mut self, chunk: u32) {
        self.chunks[chunk as usize].next = self.free;
        self.free = chunk;
        self.in_use -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn queues_of_one_pool_are_first_in_first_out_each(steps in prop::collection::vec((0usize..3, any::<bool>(), 0u8..50), 0..600)) {
            let mut pool = FrameQueuePool::with_frames_max(200);
            let mut queues = [FrameQueue::default(); 3];
            let mut models: [VecDeque<FrameRef>; 3] = Default::default();
            for (number, (which, push, chance)) in (0u32..).zip(steps) {
                if chance == 0 {
                    pool.compact(queues.iter_mut());
                    prop_assert_eq!(pool.memory_bytes(), pool.in_use * size_of::<Chunk>());
                }
                if push {
                    let frame = FrameRef { segment: number, offset: 1, len: 2 };
                    if pool.push(&mut queues[which], frame).is_ok() {
                        models[which].push_back(frame);
                    } else {
                        prop_assert!(pool.in_use == pool.chunks_max);
                    }
                } else {
                    prop_assert_eq!(pool.pop(&mut queues[which]), models[which].pop_front());
                }
                for (queue, model) in queues.iter().zip(&models) {
                    prop_assert_eq!(queue.count() as usize, model.len());
                    prop_assert_eq!(pool.front(queue), model.front().copied());
                }
            }
            for (queue, model) in queues.iter_mut().zip(&mut models) {
                while let Some(frame) = pool.pop(queue) {
                    prop_assert_eq!(Some(frame), model.pop_front());
                }
            }
            prop_assert_eq!(pool.in_use, 0, "an empty queue holds no chunk");
        }
    }
}
