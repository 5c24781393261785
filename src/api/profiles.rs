//! `GET /debug/pprof/profile` and `/debug/pprof/heap`: why there are none, and what there is instead (decision 0014). PURE.

use super::Answer;

/// Of the processor.
pub(super) fn profile() -> Answer {
    Answer::error(
        501,
        "no profiler is built in, since one that interrupts shards does not see the kernel: \
         perf record -g -p PID, as docs/operations.md shows",
    )
}

/// Of memory.
pub(super) fn heap() -> Answer {
    Answer::error(
        501,
        "the allocator is the system's, which does not know who allocated what: \
         tickring_memory_held_bytes and /debug/shards say what is held",
    )
}
