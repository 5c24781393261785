//! The frame log of a shard: each frame that is to be fanned out lives here once, in append-only segments, and
//! connections hold references. PURE. Home: one shard.
//!
//! Invariants: a segment's bytes do not change while it has references; `references` of a segment is the number of
//! references that connections hold into it; a segment without references, other than the newest, is free.

use crate::limits;

/// A frame in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FrameRef {
    pub(super) segment: u32,
    pub(super) offset: u32,
    pub(super) len: u32,
}

#[derive(Debug, Default)]
struct Segment {
    bytes: Vec<u8>,
    references: u32,
    /// Counts segments in the order in which they were begun.
    age: u64,
}

#[derive(Debug)]
pub(super) struct FrameLog {
    segments: Vec<Segment>,
    free: Vec<u32>,
    newest: u32,
    ages: u64,
    /// Of all segments, the free ones included.
    held_bytes: usize,
}

/// Every segment is pinned: connections that hold the oldest must be closed before more can be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LogFull {
    pub(super) oldest_segment: u32,
}

impl Default for FrameLog {
    fn default() -> FrameLog {
        let first = Segment { bytes: Vec::with_capacity(limits::LOG_SEGMENT_BYTES), references: 0, age: 0 };
        let held_bytes = first.bytes.capacity();
        FrameLog { segments: vec![first], free: Vec::new(), newest: 0, ages: 0, held_bytes }
    }
}

impl FrameLog {
    /// Makes so many free segments whose memory the kernel has given already.
    pub(super) fn make_ready(&mut self, count: usize) {
        for _ in 0..count.min(limits::LOG_SEGMENTS_MAX - self.segments.len()) {
            let mut bytes = Vec::with_capacity(limits::LOG_SEGMENT_BYTES);
            // Not zeros, which the allocator may promise without a page behind them.
            bytes.resize(limits::LOG_SEGMENT_BYTES, 1);
            bytes.clear();
            self.held_bytes += bytes.capacity();
            self.free.push(u32::try_from(self.segments.len()).expect("invariant: at most LOG_SEGMENTS_MAX"));
            self.segments.push(Segment { bytes, references: 0, age: 0 });
        }
    }

    /// Appends a frame that nobody refers to yet.
    ///
    /// # Errors
    /// [`LogFull`] if it would take another segment and all are pinned.
    pub(super) fn append(&mut self, frame: &[u8]) -> Result<FrameRef, LogFull> {
        let newest = &self.segments[self.newest as usize];
        if newest.bytes.capacity() - newest.bytes.len() < frame.len() {
            self.begin_segment(frame.len())?;
        }
        let segment = &mut self.segments[self.newest as usize];
        let narrow = |count: usize| {
            u32::try_from(count).expect(
                "invariant: a segment has LOG_SEGMENT_BYTES, or one frame of a batch with 32-bit ranges",
            )
        };
        let (offset, len) = (narrow(segment.bytes.len()), narrow(frame.len()));
        segment.bytes.extend_from_slice(frame);
        Ok(FrameRef { segment: self.newest, offset, len })
    }

    #[must_use]
    pub(super) fn frame(&self, frame: FrameRef) -> &[u8] {
        &self.segments[frame.segment as usize].bytes[frame.offset as usize..][..frame.len as usize]
    }

    /// `count` more connections hold a frame of this segment.
    pub(super) fn retain(&mut self, segment: u32, count: u32) {
        self.segments[segment as usize].references += count;
    }

    /// `count` references into this segment are gone.
    pub(super) fn release(&mut self, segment: u32, count: u32) {
        let place = &mut self.segments[segment as usize];
        assert!(place.references >= count, "a reference is released once");
        place.references -= count;
        if place.references == 0 && segment != self.newest {
            self.free_segment(segment);
        }
    }

    /// References that connections hold, all together.
    pub(super) fn reference_count(&self) -> usize {
        self.segments.iter().map(|segment| segment.references as usize).sum()
    }

    /// Bytes that the log holds on to.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Gives back the memory of free segments.
    pub(super) fn trim(&mut self) {
        for free in &self.free {
            let freed = std::mem::take(&mut self.segments[*free as usize].bytes);
            self.held_bytes -= freed.capacity();
        }
    }

    fn begin_segment(&mut self, frame_bytes: usize) -> Result<(), LogFull> {
        let capacity = frame_bytes.max(limits::LOG_SEGMENT_BYTES);
        let previous = self.newest;
        if self.segments[previous as usize].references == 0 {
            // Nobody needs what it holds: it is begun anew, the common case of a shard that keeps up.
            self.segments[previous as usize].bytes.clear();
            self.reserve(previous, capacity);
        } else if let Some(free) = self.free.pop() {
            self.reserve(free, capacity);
            self.newest = free;
        } else if self.segments.len() < limits::LOG_SEGMENTS_MAX {
            self.segments.push(Segment::default());
            self.newest =
                u32::try_from(self.segments.len() - 1).expect("invariant: at most LOG_SEGMENTS_MAX");
            self.reserve(self.newest, capacity);
        } else {
            let oldest = self.segments.iter().enumerate().min_by_key(|(_, segment)| segment.age);
            let oldest = oldest.map_or(0, |(at, _)| at);
            return Err(LogFull {
                oldest_segment: u32::try_from(oldest).expect("invariant: at most LOG_SEGMENTS_MAX"),
            });
        }
        self.ages += 1;
        self.segments[self.newest as usize].age = self.ages;
        Ok(())
    }

    /// Gives an empty segment room for this many bytes.
    fn reserve(&mut self, segment: u32, capacity: usize) {
        let bytes = &mut self.segments[segment as usize].bytes;
        self.held_bytes -= bytes.capacity();
        bytes.reserve_exact(capacity);
        self.held_bytes += bytes.capacity();
    }

    fn free_segment(&mut self, segment: u32) {
        let bytes = &mut self.segments[segment as usize].bytes;
        bytes.clear();
        if bytes.capacity() > limits::LOG_SEGMENT_BYTES {
            self.held_bytes -= bytes.capacity();
            *bytes = Vec::new();
        }
        self.free.push(segment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_is_kept_up_with_uses_one_segment() {
        let mut log = FrameLog::default();
        for _ in 0..10_000 {
            let frame = log.append(&[7; 1000]).unwrap();
            log.retain(frame.segment, 3);
            assert_eq!(log.frame(frame), [7; 1000]);
            log.release(frame.segment, 3);
        }
        assert!(log.held_bytes() <= 2 * limits::LOG_SEGMENT_BYTES);
    }

    #[test]
    fn segments_that_are_ready_are_used_before_others_are_made() {
        let mut log = FrameLog::default();
        log.make_ready(3);
        let held_bytes = log.held_bytes();
        assert!(held_bytes >= 4 * limits::LOG_SEGMENT_BYTES);
        for _ in 0..4 {
            let frame = log.append(&[7; limits::LOG_SEGMENT_BYTES]).unwrap();
            log.retain(frame.segment, 1);
        }
        assert_eq!(log.held_bytes(), held_bytes);
        log.make_ready(usize::MAX);
        assert_eq!(log.segments.len(), limits::LOG_SEGMENTS_MAX);
    }

    #[test]
    fn what_is_pinned_stays_and_the_log_s_bound_holds() {
        let mut log = FrameLog::default();
        let mut pinned = Vec::new();
        let full = loop {
            match log.append(&[u8::try_from(pinned.len() % 251).unwrap(); 64 * 1024]) {
                Ok(frame) => {
                    log.retain(frame.segment, 1);
                    pinned.push(frame);
                }
                Err(full) => break full,
            }
        };
        assert_eq!(full.oldest_segment, pinned[0].segment);
        assert!(log.held_bytes() <= limits::LOG_SEGMENTS_MAX * limits::LOG_SEGMENT_BYTES);
        for (number, frame) in pinned.iter().enumerate() {
            assert!(log.frame(*frame).iter().all(|byte| usize::from(*byte) == number % 251));
        }
        for frame in pinned.iter().filter(|frame| frame.segment == full.oldest_segment) {
            log.release(frame.segment, 1);
        }
        assert!(log.append(&[1; 64 * 1024]).is_ok());
    }

    #[test]
    fn a_frame_larger_than_a_segment_gets_one_of_its_own_and_gives_it_back() {
        let mut log = FrameLog::default();
        let small = log.append(&[1; 10]).unwrap();
        log.retain(small.segment, 1);
        let large = log.append(&vec![2; 3 * limits::LOG_SEGMENT_BYTES]).unwrap();
        log.retain(large.segment, 1);
        let next = log.append(&[3; 10]).unwrap();
        log.retain(next.segment, 1);
        log.release(large.segment, 1);
        assert!(log.held_bytes() <= 3 * limits::LOG_SEGMENT_BYTES);
        assert_eq!(log.frame(small), [1; 10]);
        assert_eq!(log.frame(next), [3; 10]);
    }

    #[test]
    fn free_segments_are_given_back_when_they_are_wanted_and_the_count_is_exact() {
        let mut log = FrameLog::default();
        let exact =
            |log: &FrameLog| log.segments.iter().map(|segment| segment.bytes.capacity()).sum::<usize>();
        let mut frames = Vec::new();
        for number in 0..200_u8 {
            let frame = log.append(&vec![number; 40_000 + usize::from(number) * 3_000]).unwrap();
            log.retain(frame.segment, 1);
            frames.push(frame);
            assert_eq!(log.held_bytes(), exact(&log));
        }
        let last = frames.pop().unwrap();
        frames.iter().for_each(|frame| log.release(frame.segment, 1));
        assert!(log.held_bytes() > 10 * limits::LOG_SEGMENT_BYTES, "kept for reuse");
        log.trim();
        assert_eq!(log.held_bytes(), exact(&log));
        assert!(log.held_bytes() <= limits::LOG_SEGMENT_BYTES.max(last.len as usize));
        assert!(log.frame(last).iter().all(|byte| *byte == 199));
        let next = log.append(&[7; 1000]).unwrap();
        assert_eq!(log.frame(next), [7; 1000]);
        assert_eq!(log.held_bytes(), exact(&log));
    }
}
