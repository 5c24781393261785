//! What the office allows. PURE. Invariant: each bound is held to that of `limits.rs` where that is lower (`capped`).

use crate::limits;

/// See the file's head. A reload takes all of it; what is there already stays until it is touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfficeConfig {
    /// Messages that are not over, scheduled ones included, and the bytes of their content; `Full` beyond. The content of a message to a
    /// group counts once a member.
    pub messages_max: u32,
    pub message_bytes_max: u64,
    /// The same of one sender, in messages; `SenderFull` beyond.
    pub messages_per_sender_max: u32,
    /// Messages that are not due yet; `TooMany` beyond.
    pub scheduled_max: u32,
    /// Messages that wait for one user, and the bytes of their content: beyond, the oldest of the lowest priority goes to the dead letters.
    pub mailbox_messages_max: u32,
    pub mailbox_bytes_max: u64,
    /// How long a message waits for a receiver at most, in milliseconds, whatever its time to live.
    pub kept_ms: u64,
    /// The time to live of a message whose sender gives none; `None` for as long as it is kept.
    pub ttl_ms: Option<u64>,
    /// How far ahead a message may be scheduled, in milliseconds.
    pub ahead_ms_max: u64,
    /// A message that has waited this many milliseconds counts as one priority higher, again and again, never as critical; 0 for
    /// strict priority.
    pub ageing_ms: u64,
    /// How long a delivered message waits to be confirmed before it is tried again, in milliseconds.
    pub ack_timeout_ms: u64,
    /// The wait before the second delivery, in milliseconds; it doubles up to the longest, and is up to 20 % shorter or longer.
    pub retry_first_ms: u64,
    pub retry_longest_ms: u64,
    /// Deliveries of one message, after which it is a dead letter.
    pub attempts_max: u32,
    /// How long a message's name is remembered after it is over, in milliseconds, and how many names are.
    pub dedup_window_ms: u64,
    pub sends_remembered_max: u32,
    /// Dead letters and the bytes of their content: beyond, the oldest is dropped.
    pub dead_letters_max: u32,
    pub dead_letter_bytes_max: u64,
    /// Users who are known; `TooMany` beyond, unless there is one of whom nothing is left.
    pub users_max: u32,
    /// Whether messages are kept for users of whom nothing has been heard yet.
    pub is_open_to_unknown: bool,
    pub sessions_max: u32,
    pub sessions_per_user_max: u32,
    /// Critical messages that may be under way to one connection.
    pub critical_under_way_max: u32,
    pub groups_max: u32,
    pub members_per_group_max: u32,
    /// From which the jitter of retries is taken.
    pub seed: u64,
}

impl OfficeConfig {
    /// With no bound above the absolute ones.
    #[must_use]
    pub(super) fn capped(self) -> OfficeConfig {
        OfficeConfig {
            messages_max: self.messages_max.min(limits::MESSAGES_MAX),
            message_bytes_max: self.message_bytes_max.min(limits::MESSAGE_BYTES_MAX),
            ahead_ms_max: self.ahead_ms_max.min(limits::MESSAGE_AHEAD_MS_MAX),
            kept_ms: self.kept_ms.min(limits::MESSAGE_AHEAD_MS_MAX),
            ttl_ms: self.ttl_ms.map(|ttl_ms| ttl_ms.min(limits::MESSAGE_AHEAD_MS_MAX)),
            ageing_ms: self.ageing_ms.min(limits::MESSAGE_AHEAD_MS_MAX),
            ack_timeout_ms: self.ack_timeout_ms.min(limits::MESSAGE_AHEAD_MS_MAX),
            retry_first_ms: self.retry_first_ms.min(limits::MESSAGE_AHEAD_MS_MAX),
            retry_longest_ms: self.retry_longest_ms.min(limits::MESSAGE_AHEAD_MS_MAX),
            attempts_max: self.attempts_max.clamp(1, limits::MESSAGE_ATTEMPTS_MAX),
            dedup_window_ms: self.dedup_window_ms.min(limits::MESSAGE_AHEAD_MS_MAX),
            sends_remembered_max: self.sends_remembered_max.min(limits::SENDS_REMEMBERED_MAX),
            dead_letters_max: self.dead_letters_max.min(limits::DEAD_LETTERS_MAX),
            users_max: self.users_max.min(limits::MESSAGE_USERS_MAX),
            sessions_max: self.sessions_max.min(limits::MESSAGE_SESSIONS_MAX),
            sessions_per_user_max: self.sessions_per_user_max.min(limits::MESSAGE_SESSIONS_PER_USER_MAX),
            critical_under_way_max: self.critical_under_way_max.clamp(1, limits::CRITICAL_UNDER_WAY_MAX),
            groups_max: self.groups_max.min(limits::GROUPS_MAX),
            members_per_group_max: self.members_per_group_max.min(limits::GROUP_MEMBERS_MAX),
            ..self
        }
    }
}

impl Default for OfficeConfig {
    fn default() -> OfficeConfig {
        OfficeConfig {
            messages_max: 1_000_000,
            message_bytes_max: 512 << 20,
            messages_per_sender_max: 1_000_000,
            scheduled_max: 100_000,
            mailbox_messages_max: 131_072,
            mailbox_bytes_max: 64 << 20,
            kept_ms: 7 * 86_400_000,
            ttl_ms: None,
            ahead_ms_max: 30 * 86_400_000,
            ageing_ms: 5_000,
            ack_timeout_ms: 10_000,
            retry_first_ms: 1_000,
            retry_longest_ms: 60_000,
            attempts_max: 8,
            dedup_window_ms: 600_000,
            sends_remembered_max: 262_144,
            dead_letters_max: 65_536,
            dead_letter_bytes_max: 64 << 20,
            users_max: 65_536,
            is_open_to_unknown: true,
            sessions_max: limits::MESSAGE_SESSIONS_MAX,
            sessions_per_user_max: 16,
            critical_under_way_max: 256,
            groups_max: 4_096,
            members_per_group_max: limits::GROUP_MEMBERS_MAX,
            seed: 0,
        }
    }
}
