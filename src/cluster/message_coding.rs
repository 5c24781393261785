//! What clients ask the office of messages for, and what that says, as bytes. PURE.
//!
//! Invariant: numbers and times are as a client may have written them: the office judges them as it does any client's.

use crate::model::message::{
    DeadLetter, DeathCause, Delivery, GroupMember, Guarantee, MessageAnswer, MessageKey, MessageRefusal,
    MessageRequest, MessageState, MessageStatus, NewMessage, Presence, Priority, Receipt, Reception,
    Selection, Target, Via, Which,
};

use super::coding::{coded_enum, coded_struct};

coded_enum!(Priority { 0 => Low, 1 => Normal, 2 => High, 3 => Critical });
coded_enum!(Guarantee { 0 => FireAndForget, 1 => AtLeastOnce });
coded_enum!(Selection { 0 => All, 1 => RoundRobin, 2 => LeastLoaded, 3 => Weighted });
coded_enum!(Target {
    0 => User(user),
    1 => Session(session),
    2 => Group { group, to },
    3 => Topic(topic),
    4 => Type(kind),
});
coded_struct!(NewMessage {
    target,
    priority,
    guarantee,
    client_id,
    ttl_ms,
    deliver_at_ms,
    receipts,
    reply_to,
});
coded_struct!(Reception { under_way_max });
coded_enum!(Which { 0 => One(message), 1 => All });
coded_enum!(MessageKey { 0 => Id(message), 1 => ClientId(name) });
coded_enum!(MessageRequest {
    0 => Subscribe { reception, topics },
    1 => Unsubscribe,
    2 => Process { under_way_max },
    3 => HandBack { message, was_handed },
    4 => Send(message),
    5 => SendToProcessor { message, processor },
    6 => Acknowledge { message },
    7 => Reject { message, reason, delay_ms },
    8 => Cancel { message },
    9 => Status { message },
    10 => Pending { count, after },
    11 => CreateGroup { group, lifetime_ms, message_ttl_ms },
    12 => JoinGroup { group, weight },
    13 => LeaveGroup { group },
    14 => GroupMembers { group },
    15 => DeleteGroup { group },
    16 => Presence { users },
    17 => PresenceOfGroup { group },
    18 => SubscribePresence { users },
    19 => DeadLetters { count, after, user },
    20 => DeadLetter { message },
    21 => Requeue { which },
    22 => Purge { which },
});

coded_enum!(MessageState {
    0 => Scheduled,
    1 => Queued,
    2 => Delivered,
    3 => Confirmed,
    4 => Expired,
    5 => Dead,
    6 => Cancelled,
});
coded_enum!(DeathCause { 0 => Attempts, 1 => Expired, 2 => Overflow, 3 => TooOld, 4 => SessionGone });
coded_struct!(MessageStatus {
    message,
    to,
    priority,
    guarantee,
    state,
    attempts,
    sent_ms,
    next_ms,
    expires_ms,
    client_id,
});
coded_struct!(DeadLetter { status, from, cause, died_ms, reason, content_bytes, content });
coded_struct!(GroupMember { user, weight, is_present, waiting });
coded_struct!(Presence { user, is_present, since_ms, sessions });
coded_enum!(MessageAnswer {
    0 => Done,
    1 => Subscribed { session, waiting },
    2 => Accepted { first, count, state, is_repeated },
    3 => Status(status),
    4 => Pending { total, bytes, messages },
    5 => Members { group, expires_ms, members },
    6 => Presence(users),
    7 => DeadLetters { total, letters },
    8 => Count(count),
});
coded_enum!(MessageRefusal {
    0 => MessageNotFound,
    1 => UnknownUser,
    2 => UnknownSession,
    3 => UnknownGroup,
    4 => GroupExists,
    5 => EmptyGroup,
    6 => NotAMember,
    7 => TooLate,
    8 => InvalidTime,
    9 => NotDelivered,
    10 => TooMany,
    11 => SenderFull,
    12 => Full,
    13 => StoreAbsent,
    14 => StoreLoading,
    15 => StoreDiskFull,
    16 => StoreFaulty,
    17 => StoreBusy,
    18 => NeedsConnection,
    19 => NotSubscribed,
    20 => NoProcessor,
    21 => OwnerAway,
    22 => OwnerLost,
    23 => StoreAway,
    24 => StoreTaken,
});
coded_struct!(Delivery {
    client,
    message,
    from,
    by,
    priority,
    confirm,
    attempt,
    is_redelivered,
    sent_ms,
    deliver_at_ms,
    expires_ms,
    client_id,
    reply_to,
    content,
});
coded_enum!(Via { 0 => Group(group), 1 => Topic(topic), 2 => Type(kind) });
coded_struct!(Receipt { status, cause, at_ms });
