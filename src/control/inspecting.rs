//! Endpoints that ask shards. Home: the control thread.

use std::sync::Arc;

use axum::body::Body;
use tokio::sync::oneshot;

use crate::api::{Answer, connections, invalidation, publish, shards, topics};
use crate::clock;
use crate::inspect::{Question, Reply};
use crate::limits;
use crate::model::invalidation::Invalidation;

use super::backends::ForNodes;
use super::{BODY_BYTES_MAX, Door, Shared};

impl Shared {
    /// `GET /api/connections`.
    pub(super) async fn connections(&self, query: &str) -> Answer {
        let inspector = &self.source.inspector;
        let asked = match connections::Asked::read(query, inspector.shards()) {
            Ok(asked) => asked,
            Err(refusal) => return refusal,
        };
        let questions = (0..inspector.shards()).filter_map(|shard| {
            let order = asked.of_shard(shard)?;
            Some((shard, Question::Connections { order, limit: asked.limit }))
        });
        let told = inspector.ask_each(questions).await.into_iter().map(|(shard, reply)| match reply {
            Some(Reply::Connections(walk)) => {
                connections::Told { shard, is_cut: walk.is_cut(), rows: Some(walk.into_rows()) }
            }
            Some(
                Reply::Topics(_)
                | Reply::Traced(_)
                | Reply::State(_)
                | Reply::Published(_)
                | Reply::Invalidated
                | Reply::Office(_),
            )
            | None => connections::Told { shard, is_cut: false, rows: None },
        });
        connections::answer(asked, told.collect())
    }

    /// `GET /api/topics`.
    pub(super) async fn topics(&self, query: &str) -> Answer {
        let asked = match topics::Asked::read(query) {
            Ok(asked) => asked,
            Err(refusal) => return refusal,
        };
        let inspector = &self.source.inspector;
        // Not only as many as are asked for: what is the largest of all need not be that on each shard.
        let question = Question::Topics { order: asked.order, limit: limits::INSPECTED_ROWS_MAX };
        let questions = (0..inspector.shards()).map(|shard| (shard, question.clone()));
        let told = inspector.ask_each(questions).await.into_iter().map(|(shard, reply)| match reply {
            Some(Reply::Topics(walk)) => (shard, Some(walk.into_rows())),
            Some(
                Reply::Connections(_)
                | Reply::Traced(_)
                | Reply::State(_)
                | Reply::Published(_)
                | Reply::Invalidated
                | Reply::Office(_),
            )
            | None => (shard, None),
        });
        topics::answer(asked, told.collect())
    }

    /// `GET /debug/shards`.
    pub(super) async fn shards(&self) -> Answer {
        if !self.source.bounds.load().may_debug {
            return shards::turned_off();
        }
        let inspector = &self.source.inspector;
        let questions = (0..inspector.shards()).map(|shard| (shard, Question::State));
        let told = inspector.ask_each(questions).await.into_iter().map(|(shard, reply)| match reply {
            Some(Reply::State(state)) => (shard, Some(state)),
            Some(
                Reply::Connections(_)
                | Reply::Topics(_)
                | Reply::Traced(_)
                | Reply::Published(_)
                | Reply::Invalidated
                | Reply::Office(_),
            )
            | None => (shard, None),
        });
        shards::answer(&told.collect::<Vec<_>>())
    }

    /// `POST /api/connections/trace`.
    pub(super) async fn trace(&self, door: Door, authorization: Option<&str>, body: Body) -> Answer {
        let client_id = match self.authorize(door, authorization) {
            Ok(client_id) => client_id,
            Err(refusal) => return refusal,
        };
        let read =
            Shared::body(body, BODY_BYTES_MAX).await.and_then(|bytes| connections::TraceAsked::read(&bytes));
        let (asked, conn) = match read {
            Ok(read) => read,
            Err(refusal) => return refusal,
        };
        if asked.shard >= self.source.inspector.shards() {
            return Answer::error(400, "shard is the number of one, from 0 on");
        }
        let question = Question::Trace { conn, is_on: asked.traced };
        match self.source.inspector.ask(asked.shard, question).await {
            Some(Reply::Traced(outcome)) => {
                let (id, shard, traced) = (&asked.id, asked.shard, asked.traced);
                log::info!(
                    "{client_id} asks to have the sends of client {id} of shard {shard} timed, {traced}: {outcome:?}"
                );
                asked.answered(Some(outcome))
            }
            Some(
                Reply::Connections(_)
                | Reply::Topics(_)
                | Reply::State(_)
                | Reply::Published(_)
                | Reply::Invalidated
                | Reply::Office(_),
            )
            | None => asked.answered(None),
        }
    }

    /// `POST /api/publish`.
    pub(super) async fn publish(&self, door: Door, authorization: Option<&str>, body: Body) -> Answer {
        let client_id = match self.authorize(door, authorization) {
            Ok(client_id) => client_id,
            Err(refusal) => return refusal,
        };
        if !self.source.bounds.load().may_publish {
            return publish::turned_off();
        }
        let bytes = match Shared::body(body, self.source.bounds.load().message_bytes_max).await {
            Ok(bytes) => bytes,
            Err(refusal) => return refusal,
        };
        let (name, payload) = match publish::read(&bytes) {
            Ok(read) => read,
            Err(refusal) => return refusal,
        };
        if !self.admits(bytes.len()).await {
            return publish::too_fast();
        }
        let shards = self.source.inspector.shards();
        // As the hub finds a topic's home; in a cluster, where that is the market's, any shard will do.
        let shard = usize::try_from(name.hash() % shards as u64).unwrap_or_default();
        let question = Question::Publish { name, data: payload.into() };
        match self.source.inspector.ask(shard, question).await {
            Some(Reply::Published(outcome)) => {
                log::debug!("{client_id} publishes to {name:?} by POST /api/publish");
                publish::answered(&name, Some(outcome))
            }
            Some(
                Reply::Connections(_)
                | Reply::Topics(_)
                | Reply::Traced(_)
                | Reply::State(_)
                | Reply::Invalidated
                | Reply::Office(_),
            )
            | None => publish::answered(&name, None),
        }
    }

    /// `POST /api/cache/invalidate`.
    pub(super) async fn invalidate_cache(
        &self,
        door: Door,
        authorization: Option<&str>,
        body: Body,
    ) -> Answer {
        let client_id = match self.authorize(door, authorization) {
            Ok(client_id) => client_id,
            Err(refusal) => return refusal,
        };
        let callees = self.callees();
        let is_backend = |name: &str| callees.iter().any(|callee| &*callee.name == name);
        let asked = Shared::body(body, invalidation::BODY_BYTES_MAX)
            .await
            .and_then(|bytes| invalidation::read(&bytes, is_backend));
        let asked = match asked {
            Ok(asked) => Arc::new(asked),
            Err(refusal) => return refusal,
        };
        let (of, methods) = (asked.backend.as_deref().unwrap_or("every backend"), asked.methods.patterns());
        log::info!("{client_id} has kept results of {of} forgotten, methods {methods:?}");
        let inspector = &self.source.inspector;
        let questions =
            (0..inspector.shards()).map(|shard| (shard, Question::Invalidate(Arc::clone(&asked))));
        let told = inspector.ask_each(questions).await;
        let is_done = |reply: &Option<Reply>| matches!(reply, Some(Reply::Invalidated));
        let shards: Vec<(usize, bool)> = told.iter().map(|(shard, reply)| (*shard, is_done(reply))).collect();
        let is_owed = shards.iter().any(|(_, is_done)| !is_done);
        let (telling, are_told) = oneshot::channel();
        let for_nodes = ForNodes { invalidation: Invalidation::clone(&asked), is_owed, told: telling };
        // The task ends with the thread.
        let _ = self.for_nodes.send(for_nodes).await;
        let nodes = are_told.await.unwrap_or_default();
        invalidation::answered(&asked, shards.into_iter(), nodes)
    }

    /// Whether operators, taken together, publish no faster than one client may.
    async fn admits(&self, bytes: usize) -> bool {
        let now_ns = clock::now().mono_ns;
        let limits = self.source.bounds.load().publish_rates;
        let mut counted = self.rates_of_publishing.lock().await;
        if counted.0 != limits {
            *counted = (limits, crate::hub::Rates::of(limits, now_ns));
        }
        counted.1.as_mut().is_none_or(|rates| rates.count(1, bytes as u64, now_ns).is_ok())
    }
}
