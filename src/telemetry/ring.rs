//! What one ring has done since it was made. PURE.
//!
//! Home: the ring's thread, which copies them to its board. Plain integers: nobody else reads these.

/// Totals of one ring, all counted from 0 when it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingCounters {
    /// Calls of `io_uring_enter`.
    pub enters_total: u64,
    /// Completions reaped.
    pub completions_total: u64,
    /// Connections accepted.
    pub accepted_total: u64,
    /// Accepts that failed, for whatever reason.
    pub accepts_failed_total: u64,
    /// Outgoing connections made.
    pub connected_total: u64,
    /// Outgoing connections that were asked for and could not be made, for whatever reason.
    pub connects_failed_total: u64,
    /// Completions that brought bytes.
    pub receives_total: u64,
    /// Bytes received, also those discarded while a connection closes.
    pub received_bytes_total: u64,
    /// Receives armed again after the kernel ended the previous one.
    pub receives_rearmed_total: u64,
    /// Receives the kernel ended because no provided buffer was free (`ENOBUFS`).
    pub receives_starved_total: u64,
    /// Times that a connection had its share of the provided buffers waiting and was received from no more for a while.
    pub receives_full_total: u64,
    /// Sends started by the caller; a continued send is still one.
    pub sends_total: u64,
    /// Bytes the kernel took.
    pub sent_bytes_total: u64,
    /// Sends the kernel took only part of, each continued here.
    pub sends_short_total: u64,
    /// Sends that failed.
    pub sends_failed_total: u64,
    /// Sends that could not start because every send buffer was in use.
    pub sends_unbuffered_total: u64,
    /// Connections closed, whoever made them: their slots are free again.
    pub closed_total: u64,
    /// Direct descriptors the kernel could not close at once.
    pub closes_failed_total: u64,
    /// Completions whose connection was gone already, or that no operation of ours explains.
    pub completions_stale_total: u64,
    /// Times the submission queue was full and had to be submitted early.
    pub submissions_full_total: u64,
    /// Enters that found completions in the kernel's overflow list.
    pub completions_overflowed_total: u64,
    /// Wakes through the doorbell.
    pub doorbells_total: u64,
}
