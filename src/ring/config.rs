//! What a ring is made from, and why one could not be made.
//!
//! Home: any thread. Pure values.

use std::fmt;

use nix::errno::Errno;

/// Sizes of one ring. Memory is reserved at once and touched on first use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingConfig {
    /// Connections held at a time: the size of the ring's table of direct descriptors. At least 1. Lowered to the soft
    /// `RLIMIT_NOFILE`, which bounds that table though it takes none of the process's descriptors.
    pub connections_max: u32,
    /// Entries of the submission queue, 1 to 32,768. When full it is submitted early, so this only has to be large
    /// enough for what one turn usually submits.
    pub submissions_max: u32,
    /// Provided buffers for receiving, a power of two of at most 32,768: the completions with bytes that may wait in
    /// the queue at a time.
    pub receive_buffers: u16,
    /// Of these, how many of one connection wait for the caller before the ring receives no more from it until three quarters
    /// of them were taken; at least 1. The kernel may have filled some more by then. So no connection takes what others need.
    pub receive_buffers_each_max: u16,
    /// Bytes of each, which is also the most that one connection can bring per completion, 64 to 1 MiB.
    pub receive_buffer_bytes: u32,
    /// Small send buffers: how many, and the bytes of each.
    pub send_small_buffers: u32,
    pub send_small_bytes: u32,
    /// Large send buffers: how many, and the bytes of each. Together the two bound the sends in flight.
    pub send_large_buffers: u32,
    pub send_large_bytes: u32,
    /// Buffers of each size whose memory is taken at the start, not when they are first used.
    pub send_small_ready: u32,
    pub send_large_ready: u32,
    /// Who continues a send of which the kernel took a part only.
    pub short_sends: ShortSends,
}

/// Who continues a short send. The caller sees no difference: `Sent` comes when every byte was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShortSends {
    /// The kernel (`MSG_WAITALL`): a slow reader costs no completion for each part it takes.
    KernelContinues,
    /// The ring, by another submission for each part.
    RingContinues,
}

impl Default for RingConfig {
    fn default() -> RingConfig {
        RingConfig {
            connections_max: 16_384,
            submissions_max: 4096,
            receive_buffers: 1024,
            receive_buffers_each_max: 32,
            receive_buffer_bytes: 4096,
            send_small_buffers: 4096,
            send_small_bytes: 4096,
            send_large_buffers: 512,
            send_large_bytes: 65_536,
            send_small_ready: 0,
            send_large_ready: 0,
            short_sends: ShortSends::KernelContinues,
        }
    }
}

/// The kernel's largest completion queue.
const COMPLETIONS_MAX: u32 = 65_536;
/// The kernel's largest submission queue and buffer ring.
const ENTRIES_MAX: u32 = 32_768;
const RECEIVE_BUFFER_BYTES_MAX: u32 = 1 << 20;
const SEND_BUFFER_BYTES_MAX: u32 = 1 << 20;
/// All buffers of one pool: far more than any machine this is for should spend on a shard.
const POOL_BYTES_MAX: u64 = 1 << 36;

impl RingConfig {
    /// Four completions for every connection (accept, receive, send, close) fit without overflow, up to what the kernel
    /// grants; beyond that the kernel's overflow list takes the rest.
    pub(super) fn completions_max(&self) -> u32 {
        let wanted = self.connections_max.saturating_mul(4).max(self.submissions_max.saturating_mul(2));
        wanted.clamp(2, COMPLETIONS_MAX).next_power_of_two()
    }

    /// # Errors
    /// The first size that is out of its range.
    pub(super) fn check(&self) -> Result<(), RingError> {
        let pool_fits = |count: u32, bytes: u32| u64::from(count) * u64::from(bytes) <= POOL_BYTES_MAX;
        let rules = [
            (self.connections_max >= 1, "connections_max must be at least 1"),
            ((1..=ENTRIES_MAX).contains(&self.submissions_max), "submissions_max must be 1 to 32768"),
            (
                self.receive_buffers.is_power_of_two() && u32::from(self.receive_buffers) <= ENTRIES_MAX,
                "receive_buffers must be a power of two up to 32768",
            ),
            (self.receive_buffers_each_max >= 1, "receive_buffers_each_max must be at least 1"),
            (
                (64..=RECEIVE_BUFFER_BYTES_MAX).contains(&self.receive_buffer_bytes),
                "receive_buffer_bytes must be 64 to 1048576",
            ),
            (
                self.send_small_buffers >= 1 && self.send_large_buffers >= 1,
                "send_small_buffers and send_large_buffers must be at least 1",
            ),
            (
                self.send_small_bytes >= 1 && self.send_small_bytes <= self.send_large_bytes,
                "send_small_bytes must be at least 1 and at most send_large_bytes",
            ),
            (self.send_large_bytes <= SEND_BUFFER_BYTES_MAX, "send_large_bytes must be at most 1048576"),
            (
                pool_fits(self.send_small_buffers, self.send_small_bytes)
                    && pool_fits(self.send_large_buffers, self.send_large_bytes),
                "the send buffers of one size must fit in 64 GiB",
            ),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            None => Ok(()),
            Some((_, rule)) => Err(RingError::Config(rule)),
        }
    }
}

/// Why a ring could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingError {
    /// A size is out of its range.
    Config(&'static str),
    /// `io_uring_setup` failed; [`probe`](crate::probe) says more.
    Setup(Errno),
    /// The table of direct descriptors could not be registered.
    Files { connections_max: u32, errno: Errno },
    /// The ring of provided buffers could not be registered.
    ReceiveBuffers(Errno),
    /// The doorbell that it rings could not be registered.
    Doorbell(Errno),
    /// More listeners than a ring takes.
    Listeners,
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RingError::Config(rule) => write!(f, "{rule}"),
            RingError::Setup(errno) => write!(f, "io_uring_setup: {}", errno.desc()),
            RingError::Files { connections_max, errno } => {
                write!(f, "a table of {connections_max} direct descriptors: {}", errno.desc())
            }
            RingError::ReceiveBuffers(errno) => write!(f, "a ring of provided buffers: {}", errno.desc()),
            RingError::Doorbell(errno) => write!(f, "an eventfd to signal completions by: {}", errno.desc()),
            RingError::Listeners => {
                write!(f, "a ring takes at most {} listeners", super::accept::LISTENERS_MAX)
            }
        }
    }
}

impl std::error::Error for RingError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_sizes_are_in_range() {
        assert_eq!(RingConfig::default().check(), Ok(()));
    }

    #[test]
    fn the_completion_queue_is_bounded_by_what_the_kernel_grants() {
        let sized =
            |connections_max| RingConfig { connections_max, ..RingConfig::default() }.completions_max();
        assert_eq!(sized(1), 8192);
        assert_eq!(sized(10_000), 65_536);
        assert_eq!(sized(u32::MAX), 65_536);
    }

    #[test]
    fn each_size_out_of_range_is_named() {
        let good = RingConfig::default();
        for (bad, word) in [
            (RingConfig { connections_max: 0, ..good }, "connections_max"),
            (RingConfig { submissions_max: 0, ..good }, "submissions_max"),
            (RingConfig { submissions_max: 40_000, ..good }, "submissions_max"),
            (RingConfig { receive_buffers: 3, ..good }, "receive_buffers"),
            (RingConfig { receive_buffers: 0, ..good }, "receive_buffers"),
            (RingConfig { receive_buffer_bytes: 1, ..good }, "receive_buffer_bytes"),
            (RingConfig { send_small_buffers: 0, ..good }, "send_small_buffers"),
            (RingConfig { send_small_bytes: 0, ..good }, "send_small_bytes"),
            (RingConfig { send_small_bytes: 70_000, ..good }, "send_small_bytes"),
            (RingConfig { send_large_bytes: 2 << 20, ..good }, "send_large_bytes"),
            (RingConfig { send_large_buffers: u32::MAX, ..good }, "64 GiB"),
        ] {
            let text = bad.check().unwrap_err().to_string();
            assert!(text.contains(word), "{text}");
        }
    }
}
