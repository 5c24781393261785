//! The `[messages]` table: what clients may send each other, how long it is kept and how often it is tried. Home: the main thread.

use serde::{Deserialize, Serialize};

use super::check::{Range, RangeFault};
use crate::limits;
use crate::mail::OfficeConfig;

const HOUR_MS: u64 = 3_600_000;
const AHEAD_S_MAX: u64 = limits::MESSAGE_AHEAD_MS_MAX / 1_000;

/// Bounds and times of messages.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Messages {
    /// Messages that are not over, all users together.
    pub messages_max: u32,
    /// Bytes of their contents.
    pub bytes_max: u64,
    /// Of one sender.
    pub per_sender_max: u32,
    /// That are not due yet.
    pub scheduled_max: u32,
    /// That wait for one user, and their bytes.
    pub mailbox_max: u32,
    pub mailbox_bytes_max: u64,
    /// How long a message waits for its receiver.
    pub kept_s: u32,
    /// The time to live of a message that says none; 0 for as long as it is kept.
    pub ttl_s: u32,
    /// How far ahead a message may be scheduled.
    pub ahead_s_max: u32,
    /// After which a message counts as one priority higher; 0 for never.
    pub ageing_ms: u32,
    /// For a delivered message to be confirmed.
    pub ack_timeout_ms: u32,
    /// The first wait before another attempt, and the longest.
    pub retry_first_ms: u32,
    pub retry_longest_ms: u32,
    /// Deliveries of one message.
    pub attempts_max: u32,
    /// How long a sender's name for a message is remembered, and how many are.
    pub dedup_window_s: u32,
    pub dedup_names_max: u32,
    pub dead_letters_max: u32,
    pub dead_letter_bytes_max: u64,
    /// Who is known to the office.
    pub users_max: u32,
    /// Whether messages are kept for users of whom nothing was heard yet.
    pub unknown_users: bool,
    pub sessions_per_user_max: u32,
    /// Critical messages under way to one connection.
    pub critical_under_way_max: u32,
    pub groups_max: u32,
    pub members_per_group_max: u32,
}

impl Default for Messages {
    fn default() -> Messages {
        Messages {
            messages_max: 1_000_000,
            bytes_max: 512 << 20,
            per_sender_max: 1_000_000,
            scheduled_max: 100_000,
            mailbox_max: 131_072,
            mailbox_bytes_max: 64 << 20,
            kept_s: 604_800,
            ttl_s: 0,
            ahead_s_max: 2_592_000,
            ageing_ms: 5_000,
            ack_timeout_ms: 10_000,
            retry_first_ms: 1_000,
            retry_longest_ms: 60_000,
            attempts_max: 8,
            dedup_window_s: 600,
            dedup_names_max: 262_144,
            dead_letters_max: 65_536,
            dead_letter_bytes_max: 64 << 20,
            users_max: 65_536,
            unknown_users: true,
            sessions_per_user_max: 16,
            critical_under_way_max: 256,
            groups_max: 4_096,
            members_per_group_max: 1_000,
        }
    }
}

impl Messages {
    /// What the office is told. Values are within their ranges (`check.rs`).
    #[must_use]
    pub fn office(&self) -> OfficeConfig {
        let ms = |seconds: u32| u64::from(seconds) * 1_000;
        OfficeConfig {
            messages_max: self.messages_max,
            message_bytes_max: self.bytes_max,
            messages_per_sender_max: self.per_sender_max,
            scheduled_max: self.scheduled_max,
            mailbox_messages_max: self.mailbox_max,
            mailbox_bytes_max: self.mailbox_bytes_max,
            kept_ms: ms(self.kept_s),
            ttl_ms: (self.ttl_s > 0).then(|| ms(self.ttl_s)),
            ahead_ms_max: ms(self.ahead_s_max),
            ageing_ms: self.ageing_ms.into(),
            ack_timeout_ms: self.ack_timeout_ms.into(),
            retry_first_ms: self.retry_first_ms.into(),
            retry_longest_ms: self.retry_longest_ms.into(),
            attempts_max: self.attempts_max,
            dedup_window_ms: ms(self.dedup_window_s),
            sends_remembered_max: self.dedup_names_max,
            dead_letters_max: self.dead_letters_max,
            dead_letter_bytes_max: self.dead_letter_bytes_max,
            users_max: self.users_max,
            is_open_to_unknown: self.unknown_users,
            sessions_per_user_max: self.sessions_per_user_max,
            critical_under_way_max: self.critical_under_way_max,
            groups_max: self.groups_max,
            members_per_group_max: self.members_per_group_max,
            ..OfficeConfig::default()
        }
    }

    /// Each number with its range.
    pub(super) fn ranges(&self) -> [Range; 23] {
        macro_rules! range {
            ($key:ident, $min:expr => $max:expr, $unit:expr, $hint:expr) => {
                Range {
                    key: concat!("messages.", stringify!($key)),
                    value: u64::from(self.$key),
                    min: $min,
                    max: $max,
                    unit: $unit,
                    hint: $hint,
                }
            };
        }
        [
            range!(messages_max, 1 => u64::from(limits::MESSAGES_MAX), "messages", "by default 1000000"),
            range!(bytes_max, 1 => limits::MESSAGE_BYTES_MAX, "bytes", "by default 536870912"),
            range!(per_sender_max, 1 => u64::from(limits::MESSAGES_MAX), "messages", "by default 1000000"),
            range!(scheduled_max, 0 => u64::from(limits::MESSAGES_MAX), "messages", "by default 100000"),
            range!(mailbox_max, 1 => u64::from(limits::MESSAGES_MAX), "messages", "per user, by default 131072"),
            range!(mailbox_bytes_max, 1 => limits::MESSAGE_BYTES_MAX, "bytes", "per user, by default 67108864"),
            range!(kept_s, 1 => AHEAD_S_MAX, "s", "by default 604800"),
            range!(ttl_s, 0 => AHEAD_S_MAX, "s", "0 for as long as it is kept"),
            range!(ahead_s_max, 0 => AHEAD_S_MAX, "s", "by default 2592000"),
            range!(ageing_ms, 0 => HOUR_MS, "ms", "0 is strictly by priority"),
            range!(ack_timeout_ms, 100 => HOUR_MS, "ms", "by default 10000"),
            range!(retry_first_ms, 1 => HOUR_MS, "ms", "by default 1000"),
            range!(retry_longest_ms, 1 => HOUR_MS, "ms", "by default 60000"),
            range!(attempts_max, 1 => u64::from(limits::MESSAGE_ATTEMPTS_MAX), "deliveries", "by default 8"),
            range!(dedup_window_s, 0 => AHEAD_S_MAX, "s", "0 recognises only what is not over"),
            range!(dedup_names_max, 0 => u64::from(limits::SENDS_REMEMBERED_MAX), "names", "by default 262144"),
            range!(dead_letters_max, 0 => u64::from(limits::DEAD_LETTERS_MAX), "messages", "0 keeps none"),
            range!(dead_letter_bytes_max, 0 => limits::MESSAGE_BYTES_MAX, "bytes", "by default 67108864"),
            range!(users_max, 1 => u64::from(limits::MESSAGE_USERS_MAX), "users", "by default 65536"),
            range!(sessions_per_user_max, 1 => u64::from(limits::MESSAGE_SESSIONS_PER_USER_MAX), "sessions", "by default 16"),
            range!(critical_under_way_max, 1 => u64::from(limits::CRITICAL_UNDER_WAY_MAX), "messages", "by default 256"),
            range!(groups_max, 0 => u64::from(limits::GROUPS_MAX), "groups", "by default 4096"),
            range!(members_per_group_max, 1 => u64::from(limits::GROUP_MEMBERS_MAX), "members", "by default 1000"),
        ]
    }

    /// # Errors
    /// The longest wait is shorter than the first.
    pub(super) fn check_retries(&self) -> Result<(), RangeFault> {
        if self.retry_first_ms <= self.retry_longest_ms {
            return Ok(());
        }
        Err(RangeFault {
            key: "messages.retry_first_ms".into(),
            nth: 0,
            what: format!("is {}, expected at most {}", self.retry_first_ms, self.retry_longest_ms),
            hint: "waits grow from messages.retry_first_ms to messages.retry_longest_ms".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_table_is_what_the_office_takes_by_itself() {
        assert_eq!(Messages::default().office(), OfficeConfig::default());
    }
}
