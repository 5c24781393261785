//! What the market's thread says becomes messages of NATS, in its order.
//!
//! Home: a task of the thread that speaks to NATS. Invariants: while NATS is away all is dropped and counted; while it takes no more, what comes waits in the market's thread's
//! queue, which is bounded.

use std::sync::Arc;

use async_nats::Subject;
use async_nats::message::OutboundMessage;

use crate::cluster::names::{ClusterName, subject_of};

use super::board::{NatsBoard, add};
use super::lanes::{Inlet, Message};
use super::link::Line;
use super::subjects::Subjects;

/// See the file's head.
pub(super) struct Speaker {
    pub(super) line: Line,
    pub(super) cluster: ClusterName,
    pub(super) subjects: Subjects,
    pub(super) board: Arc<NatsBoard>,
}

impl Speaker {
    /// Until there is a stop and nothing is left.
    pub(super) async fn speak(mut self, mut messages: Inlet<Message>) {
        while let Some(message) = messages.next().await {
            let message = self.outbound(message);
            let bytes = message.payload.len() as u64;
            if self.line.publish(message).await {
                add(&self.board.told_messages, 1);
                add(&self.board.told_bytes, bytes);
            } else {
                // What is dropped takes no time: others have their turn all the same.
                tokio::task::consume_budget().await;
            }
        }
    }

    fn outbound(&self, message: Message) -> OutboundMessage {
        let (subject, reply, bytes) = match message {
            Message::Tell(part) => {
                (Subject::from(subject_of(&self.cluster, part.audience)), None, part.bytes)
            }
            Message::Ask(bytes) => {
                (self.subjects.requests.clone(), Some(self.subjects.replies.clone()), bytes)
            }
            Message::Answer { to, bytes } => (Subject::from(to.0), None, bytes),
        };
        OutboundMessage { subject, reply, payload: bytes.into(), headers: None }
    }
}
