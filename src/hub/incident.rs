//! Why the gateway refuses or ends a connection: one closed list, each with what the peer is told. PURE.
//!
//! Invariant: `index` numbers all incidents without a hole, in the order of [`Incident::all`].

use crate::dialect::json_rpc::Failure;
use crate::front;
use crate::http::Rejection;
use crate::tls;
use crate::ws::{CloseCode, Fault};

/// One reason for which a connection was refused or closed from here. A peer that leaves by itself is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incident {
    /// By a trusted proxy, before it has said whom it is for: told by nothing.
    Front(front::Fault),
    /// Below the hub: told by a TLS alert.
    Tls(tls::Fault),
    /// Before the upgrade: told by an HTTP status.
    Refused(Rejection),
    /// A breach of RFC 6455: told by its close code.
    Broken(Fault),
    /// A limit, a deadline or a shortage: told by its close code.
    Closed(Closing),
    /// A request beyond a limit: told by an error, and the connection stays.
    Declined(Declined),
    /// The peer's network acknowledges nothing, or says that it is not there: nobody to be told.
    Vanished,
}

/// A limit that refuses a request and nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declined {
    /// More than `subscriptions_max`.
    Subscriptions,
    /// More than `requests_pending_max`, or than all connections together may have waiting.
    RequestsPending,
    /// More calls to backends than a connection, a backend or the shard may have under way.
    CallsUnderWay,
    /// Something new to be kept, while memory is short.
    Overload,
    /// More answers than `limits::ANSWER_WORK_BYTES_PER_READ_MAX` to what came in one read.
    RequestBurst,
    /// A log-in by what is no key of ours, or not its secret or signature.
    Login,
    /// A log-in by a token that is none of ours, or over.
    Token,
    /// More log-ins, or failed ones, than may be tried.
    LoginRate,
    /// More log-ins than may wait for their verdict.
    LoginsWaiting,
}

impl Declined {
    /// Every one, in the order of declaration.
    pub const ALL: [Declined; 9] = [
        Declined::Subscriptions,
        Declined::RequestsPending,
        Declined::CallsUnderWay,
        Declined::Overload,
        Declined::RequestBurst,
        Declined::Login,
        Declined::Token,
        Declined::LoginRate,
        Declined::LoginsWaiting,
    ];

    /// The number of the dialect's error.
    #[must_use]
    pub const fn code(self) -> i32 {
        match self {
            Declined::Subscriptions => Failure::INVALID_PARAMS.code,
            Declined::RequestsPending
            | Declined::CallsUnderWay
            | Declined::Overload
            | Declined::RequestBurst
            | Declined::LoginsWaiting => Failure::RETRY.code,
            Declined::Login => Failure::INVALID_CREDENTIALS.code,
            Declined::Token => Failure::UNAUTHORIZED.code,
            Declined::LoginRate => Failure::TOO_MANY_REQUESTS.code,
        }
    }

    /// Its name in counters and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Declined::Subscriptions => "subscriptions_full",
            Declined::RequestsPending => "requests_pending",
            Declined::CallsUnderWay => "calls_under_way",
            Declined::Overload => "overload_declined",
            Declined::Login => "login_refused",
            Declined::Token => "token_refused",
            Declined::LoginRate => "login_rate",
            Declined::LoginsWaiting => "logins_waiting",
            Declined::RequestBurst => "request_burst",
        }
    }
}

/// A limit, a deadline or a shortage that ends an open connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// A binary message where text is spoken.
    Binary,
    /// A binary message that is too short for the header of an SBE message.
    Headless,
    /// A binary frame that ends within one of its messages.
    BatchCut,
    /// A hello asks for an encoding that is not to be had.
    Encoding,
    /// Nothing was received for `idle_timeout_ms`.
    Idle,
    /// A ping was not answered in `ping_timeout_ms`.
    PongMissing,
    /// A `test_request` of the dialect's heartbeat was not answered.
    HeartbeatLost,
    /// A send was not taken in `write_timeout_ms`: nothing, or next to nothing, was read.
    WriteStalled,
    /// Unsent messages exceed `queued_bytes_max`.
    QueueFull,
    /// It held the oldest part of the shard's full frame log, or most of its full pool of queued frames.
    LogFull,
    /// Messages of a lossless subscription were lost between threads and are not in the history any more.
    Lost,
    /// Replies that are not read piled up.
    RepliesUnread,
    /// Messages that are not read piled up.
    MessagesUnread,
    /// The replies of one batch exceed what may wait.
    BatchTooBig,
    /// A message, or a frame, was begun and not finished in `message_timeout_ms`.
    MessageStalled,
    /// More than `messages_per_s_max`.
    MessageRate,
    /// More than `bytes_per_s_max`.
    ByteRate,
    /// The compressed messages of one read made more than they may together.
    InflatedBurst,
    /// Overload: it was among the costliest when memory ran short.
    Shed,
    /// The key by which it logged in was revoked or changed.
    KeyRevoked,
    /// Another desk and office than those that it had asked for something serve this node now: they do not know it.
    OwnerChanged,
}

/// What becomes of replies that wait when a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    IsSent,
    IsDropped,
}

impl Closing {
    /// Every one, in the order of declaration.
    pub const ALL: [Closing; 21] = [
        Closing::Binary,
        Closing::Headless,
        Closing::BatchCut,
        Closing::Encoding,
        Closing::Idle,
        Closing::PongMissing,
        Closing::HeartbeatLost,
        Closing::WriteStalled,
        Closing::QueueFull,
        Closing::LogFull,
        Closing::Lost,
        Closing::RepliesUnread,
        Closing::MessagesUnread,
        Closing::BatchTooBig,
        Closing::MessageStalled,
        Closing::MessageRate,
        Closing::ByteRate,
        Closing::InflatedBurst,
        Closing::Shed,
        Closing::KeyRevoked,
        Closing::OwnerChanged,
    ];

    /// What the close frame says.
    #[must_use]
    pub const fn close_code(self) -> CloseCode {
        match self {
            Closing::Binary | Closing::Encoding => CloseCode::UNSUPPORTED_DATA,
            Closing::Headless | Closing::BatchCut => CloseCode::INVALID_PAYLOAD,
            Closing::Idle => CloseCode::NORMAL,
            Closing::BatchTooBig => CloseCode::MESSAGE_TOO_BIG,
            Closing::Shed => CloseCode::TRY_AGAIN_LATER,
            Closing::OwnerChanged => CloseCode::SERVICE_RESTART,
            Closing::PongMissing
            | Closing::HeartbeatLost
            | Closing::WriteStalled
            | Closing::QueueFull
            | Closing::LogFull
            | Closing::Lost
            | Closing::RepliesUnread
            | Closing::MessagesUnread
            | Closing::MessageStalled
            | Closing::MessageRate
            | Closing::ByteRate
            | Closing::InflatedBurst
            | Closing::KeyRevoked => CloseCode::POLICY_VIOLATION,
        }
    }

    /// Whether replies that wait are still sent before the close frame: not to those who do not read.
    #[must_use]
    pub const fn replies(self) -> Waiting {
        match self {
            Closing::Binary
            | Closing::Headless
            | Closing::BatchCut
            | Closing::Encoding
            | Closing::Idle
            | Closing::MessageStalled
            | Closing::MessageRate
            | Closing::ByteRate
            | Closing::InflatedBurst
            | Closing::Lost
            | Closing::KeyRevoked
            | Closing::OwnerChanged => Waiting::IsSent,
            Closing::PongMissing
            | Closing::HeartbeatLost
            | Closing::WriteStalled
            | Closing::QueueFull
            | Closing::LogFull
            | Closing::RepliesUnread
            | Closing::MessagesUnread
            | Closing::BatchTooBig
            | Closing::Shed => Waiting::IsDropped,
        }
    }

    /// The close frame's reason.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Closing::Binary => "this endpoint speaks text",
            Closing::Headless => "a binary message without the header of an SBE message",
            Closing::BatchCut => "a binary frame ends within a message",
            Closing::Encoding => "the encoding that was asked for is not to be had",
            Closing::Idle => "idle",
            Closing::PongMissing => "no pong",
            Closing::HeartbeatLost => "heartbeat lost",
            Closing::WriteStalled => "slow consumer: nothing was read",
            Closing::QueueFull => "slow consumer: unsent messages exceed the limit",
            Closing::LogFull => "slow consumer: the server's buffers are full",
            Closing::Lost => "messages were lost inside the server: resume",
            Closing::RepliesUnread => "replies are not read",
            Closing::MessagesUnread => "messages are not read",
            Closing::BatchTooBig => "the replies of a batch exceed the limit",
            Closing::MessageStalled => "message not finished in time",
            Closing::MessageRate => "too many messages a second",
            Closing::ByteRate => "too many bytes a second",
            Closing::InflatedBurst => "compressed messages inflate to too much at once",
            Closing::Shed => "the server is overloaded: reconnect later",
            Closing::KeyRevoked => "key revoked or changed",
            Closing::OwnerChanged => "another node owns the market now: connect and log in anew",
        }
    }

    /// Its name in counters and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Closing::Binary => "binary_message",
            Closing::Headless => "sbe_header_missing",
            Closing::BatchCut => "sbe_batch_cut",
            Closing::Encoding => "encoding_refused",
            Closing::Idle => "idle_timeout",
            Closing::PongMissing => "ping_timeout",
            Closing::HeartbeatLost => "heartbeat_lost",
            Closing::WriteStalled => "write_timeout",
            Closing::QueueFull => "queue_full",
            Closing::LogFull => "log_full",
            Closing::Lost => "messages_lost",
            Closing::RepliesUnread => "replies_unread",
            Closing::MessagesUnread => "messages_unread",
            Closing::BatchTooBig => "batch_too_big",
            Closing::MessageStalled => "message_timeout",
            Closing::MessageRate => "message_rate",
            Closing::ByteRate => "byte_rate",
            Closing::InflatedBurst => "inflated_burst",
            Closing::Shed => "shed",
            Closing::KeyRevoked => "key_revoked",
            Closing::OwnerChanged => "owner_changed",
        }
    }
}

impl Incident {
    /// How many there are.
    pub const COUNT: usize = Incident::Vanished.index() + 1;

    /// Every incident, by its index.
    pub fn all() -> impl Iterator<Item = Incident> {
        let refused = Rejection::ALL.into_iter().map(Incident::Refused);
        let broken = Fault::ALL.into_iter().map(Incident::Broken);
        let closed = Closing::ALL.into_iter().map(Incident::Closed);
        let declined = Declined::ALL.into_iter().map(Incident::Declined);
        let of_tls = tls::Fault::ALL.into_iter().map(Incident::Tls);
        let of_front = front::Fault::ALL.into_iter().map(Incident::Front);
        refused
            .chain(broken)
            .chain(closed)
            .chain(declined)
            .chain(of_tls)
            .chain(of_front)
            .chain([Incident::Vanished])
    }

    /// Its place in [`IncidentCounts`].
    #[must_use]
    pub const fn index(self) -> usize {
        let broken = Rejection::ALL.len();
        let closed = broken + Fault::ALL.len();
        let declined = closed + Closing::ALL.len();
        let below = declined + Declined::ALL.len();
        let front = below + tls::Fault::ALL.len();
        match self {
            Incident::Refused(rejection) => rejection as usize,
            Incident::Broken(fault) => broken + fault as usize,
            Incident::Closed(closing) => closed + closing as usize,
            Incident::Declined(declining) => declined + declining as usize,
            Incident::Tls(fault) => below + fault as usize,
            Incident::Front(fault) => front + fault as usize,
            Incident::Vanished => front + front::Fault::ALL.len(),
        }
    }

    /// Its name in counters and logs, unique.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Incident::Refused(rejection) => rejection.label(),
            Incident::Broken(fault) => fault.label(),
            Incident::Closed(closing) => closing.label(),
            Incident::Declined(declined) => declined.label(),
            Incident::Tls(fault) => fault.label(),
            Incident::Front(fault) => fault.label(),
            Incident::Vanished => "vanished",
        }
    }

    /// What the peer is told by number: an HTTP status, a close code, an error of the dialect or a TLS alert.
    #[must_use]
    pub fn code(self) -> Option<i32> {
        match self {
            Incident::Refused(rejection) => Some(rejection.status().code().into()),
            Incident::Broken(fault) => Some(fault.close_code().value().into()),
            Incident::Closed(closing) => Some(closing.close_code().value().into()),
            Incident::Declined(declined) => Some(declined.code()),
            Incident::Tls(fault) => fault.alert().map(i32::from),
            Incident::Front(_) | Incident::Vanished => None,
        }
    }
}

/// How often each incident has happened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct IncidentCounts([u64; Incident::COUNT]);

impl Default for IncidentCounts {
    fn default() -> IncidentCounts {
        IncidentCounts([0; Incident::COUNT])
    }
}

impl IncidentCounts {
    pub(super) fn count(&mut self, incident: Incident) {
        self.0[incident.index()] += 1;
    }

    /// How often it has happened.
    #[must_use]
    pub const fn of(&self, incident: Incident) -> u64 {
        self.0[incident.index()]
    }

    /// Each incident with its count.
    pub fn each(&self) -> impl Iterator<Item = (Incident, u64)> + '_ {
        Incident::all().zip(self.0)
    }
}

/// Those that have happened, by their labels.
impl std::fmt::Debug for IncidentCounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let happened = self.each().filter(|(_, count)| *count > 0);
        f.debug_map().entries(happened.map(|(incident, count)| (incident.label(), count))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::close::REASON_BYTES_MAX;

    #[test]
    fn every_incident_has_its_own_index_and_label() {
        let all: Vec<Incident> = Incident::all().collect();
        assert_eq!(all.len(), Incident::COUNT);
        for (index, incident) in all.iter().enumerate() {
            assert_eq!(incident.index(), index, "{incident:?}");
            let twins = all.iter().filter(|other| other.label() == incident.label()).count();
            assert_eq!(twins, 1, "{}", incident.label());
        }
    }

    #[test]
    fn every_closing_has_a_code_that_may_be_sent_and_a_reason_that_fits() {
        for closing in Closing::ALL {
            assert_eq!(CloseCode::received(closing.close_code().value()), Some(closing.close_code()));
            assert!(!closing.reason().is_empty() && closing.reason().len() <= REASON_BYTES_MAX);
        }
    }

    /// Rows of the tables in which an incident is named, by their cells.
    fn rows_about(label: &str) -> Vec<Vec<&'static str>> {
        let named = format!("`{label}`");
        let lines = include_str!("../../docs/limits.md").lines();
        let rows =
            lines.filter(|line| line.starts_with('|')).map(|line| line.split('|').map(str::trim).collect());
        rows.filter(|cells: &Vec<&str>| cells.contains(&named.as_str())).collect()
    }

    #[test]
    fn each_incident_has_its_row_in_the_documentation_with_what_is_told() {
        for incident in Incident::all() {
            let rows = rows_about(incident.label());
            assert_eq!(rows.len(), 1, "docs/limits.md: {}", incident.label());
            let told = incident.code().map(|code| code.to_string());
            let is_told = |cell: &&str| match &told {
                Some(code) => *cell == code || *cell == format!("error {code}"),
                None => cell.starts_with("nothing"),
            };
            assert!(rows[0].iter().any(is_told), "docs/limits.md: {}, {told:?}", incident.label());
        }
    }

    #[test]
    fn counts_show_what_has_happened() {
        let mut counts = IncidentCounts::default();
        counts.count(Incident::Closed(Closing::Idle));
        assert_eq!(format!("{counts:?}"), "{\"idle_timeout\": 1}");
        assert_eq!(counts.of(Incident::Closed(Closing::Idle)), 1);
    }
}
