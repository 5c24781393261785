//! Requests, each to who answers it. PURE.

use super::journal::{Promise, Waiter};
use super::{Office, Reply};
use crate::model::ids::{HomeId, Ticket};
use crate::model::message::{MessageAsk, MessageId, MessageRefusal, MessageRequest};
use crate::model::storage::{StoreFault, StoreState};

impl Office {
    pub(super) fn ask(&mut self, ask: &MessageAsk, content: &[u8]) -> Result<Reply, MessageRefusal> {
        match &ask.request {
            MessageRequest::Subscribe { reception, topics } => self.subscribe(ask, *reception, topics),
            MessageRequest::Unsubscribe => self.unsubscribe(ask),
            MessageRequest::Process { under_way_max } => self.process(ask, *under_way_max),
            MessageRequest::HandBack { message, was_handed } => self.hand_back(ask, *message, *was_handed),
            MessageRequest::Send(new) => self.send(ask, new, None, content),
            MessageRequest::SendToProcessor { message, processor } => {
                self.send(ask, message, Some(processor), content)
            }
            MessageRequest::Acknowledge { message } => self.acknowledge(ask, *message),
            MessageRequest::Reject { message, reason, delay_ms } => {
                self.reject(ask, *message, *reason, *delay_ms)
            }
            MessageRequest::Cancel { message } => self.cancel(ask, *message),
            MessageRequest::Status { message } => self.status(ask, *message),
            MessageRequest::Pending { count, after } => self.pending(ask, *count, *after),
            MessageRequest::CreateGroup { group, lifetime_ms, message_ttl_ms } => {
                self.create_group(ask, *group, *lifetime_ms, *message_ttl_ms)
            }
            MessageRequest::JoinGroup { group, weight } => self.join_group(ask, group, *weight),
            MessageRequest::LeaveGroup { group } => self.leave_group(ask, group),
            MessageRequest::GroupMembers { group } => self.group_members(group),
            MessageRequest::DeleteGroup { group } => self.delete_group(ask, group),
            MessageRequest::Presence { users } => self.presence(users),
            MessageRequest::PresenceOfGroup { group } => self.presence_of_group(group),
            MessageRequest::SubscribePresence { users } => self.subscribe_presence(ask, users),
            MessageRequest::DeadLetters { count, after, user } => {
                self.dead_letters(*count, *after, user.as_ref())
            }
            MessageRequest::DeadLetter { message } => self.dead_letter(*message),
            MessageRequest::Requeue { which } => self.requeue(ask, *which),
            MessageRequest::Purge { which } => self.purge(ask, *which),
        }
    }

    /// It is answered once what it changed is on the disk, where there is one.
    pub(super) fn promise(&mut self, to: HomeId, ticket: Ticket, promise: Promise) {
        match self.store {
            StoreState::Absent => self.answer(to, ticket, Ok(promise.answer())),
            StoreState::Faulty(fault) => self.answer(to, ticket, Err(refusal(fault))),
            StoreState::Loading | StoreState::Ready => {
                self.journal.wait(Waiter { to, ticket, answer: promise });
            }
        }
    }

    /// # Errors
    /// What of the store stands against a change of what it is to keep; without a store nothing does.
    pub(super) fn may_change(&self) -> Result<(), MessageRefusal> {
        match self.store {
            StoreState::Faulty(fault) => Err(refusal(fault)),
            StoreState::Ready if self.is_loaded => Ok(()),
            StoreState::Loading | StoreState::Ready => Err(MessageRefusal::StoreLoading),
            StoreState::Absent => Ok(()),
        }
    }

    /// Why there is no message of this number: durable ones may not be loaded yet.
    pub(super) fn not_found(&self, message: MessageId) -> MessageRefusal {
        let may_come = match self.store {
            StoreState::Loading | StoreState::Ready => !self.is_loaded,
            StoreState::Absent | StoreState::Faulty(_) => false,
        };
        if may_come && message.0 % 2 == 1 {
            MessageRefusal::StoreLoading
        } else {
            MessageRefusal::MessageNotFound
        }
    }
}

/// What clients are told of a fault of the store.
pub(super) fn refusal(fault: StoreFault) -> MessageRefusal {
    match fault {
        StoreFault::DiskFull => MessageRefusal::StoreDiskFull,
        StoreFault::ReadOnly | StoreFault::Corrupt | StoreFault::Io => MessageRefusal::StoreFaulty,
        StoreFault::Away => MessageRefusal::StoreAway,
        StoreFault::Taken => MessageRefusal::StoreTaken,
    }
}
