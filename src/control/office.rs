//! Endpoints that ask the office of messages. Home: the control thread.

use axum::body::Body;

use crate::api::{Answer, dead_letters};
use crate::inspect::{Question, Reply};
use crate::model::message::MessageRequest;

use super::{BODY_BYTES_MAX, Door, Shared};

impl Shared {
    /// `GET /api/dead-letters`. What is in one is for who may operate the gateway.
    pub(super) async fn dead_letters(&self, door: Door, authorization: Option<&str>, query: &str) -> Answer {
        let request = match dead_letters::read(query) {
            Ok(request) => request,
            Err(refusal) => return refusal,
        };
        if matches!(request, MessageRequest::DeadLetter { .. })
            && let Err(refusal) = self.authorize(door, authorization)
        {
            return refusal;
        }
        self.ask_office(request).await
    }

    /// `POST /api/dead-letters/requeue` and `/purge`.
    pub(super) async fn do_to_dead_letters(
        &self,
        deed: dead_letters::Deed,
        door: Door,
        authorization: Option<&str>,
        body: Body,
    ) -> Answer {
        let client_id = match self.authorize(door, authorization) {
            Ok(client_id) => client_id,
            Err(refusal) => return refusal,
        };
        let read = Shared::body(body, BODY_BYTES_MAX).await;
        match read.and_then(|bytes| dead_letters::chosen(deed, &bytes)) {
            Ok(request) => {
                log::info!("{client_id} asks of the dead letters: {request:?}");
                self.ask_office(request).await
            }
            Err(refusal) => refusal,
        }
    }

    async fn ask_office(&self, request: MessageRequest) -> Answer {
        let inspector = &self.source.inspector;
        let reply = inspector.ask(inspector.venue(), Question::Office(request.clone())).await;
        let outcome = match reply {
            Some(Reply::Office(outcome)) => Some(outcome),
            Some(
                Reply::Connections(_)
                | Reply::Topics(_)
                | Reply::Traced(_)
                | Reply::State(_)
                | Reply::Published(_)
                | Reply::Invalidated,
            )
            | None => None,
        };
        dead_letters::answer(&request, outcome)
    }
}
