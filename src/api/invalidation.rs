//! `POST /api/cache/invalidate`: has kept results of backends forgotten. PURE.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::limits;
use crate::model::invalidation::{Invalidation, Methods};

use super::Answer;

/// Bytes of the body: room for as many methods as may be, quoted and apart.
pub const BODY_BYTES_MAX: usize =
    1024 + limits::INVALIDATED_METHODS_MAX * (limits::INVALIDATED_METHOD_BYTES_MAX + 8);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    backend: Option<Box<str>>,
    methods: Option<Vec<Box<str>>>,
}

/// What is to be forgotten; `is_backend` says whether there is one of that name.
///
/// # Errors
/// The answer to a body that is none, or names what there is not.
pub fn read(body: &[u8], is_backend: impl FnOnce(&str) -> bool) -> Result<Invalidation, Answer> {
    let form = "the body is {\"backend\": \"risk\"}, {\"methods\": [\"risk/var\", \"prices/*\"]}, or both";
    let Ok(Asked { backend, methods }) = serde_json::from_slice(body) else {
        return Err(Answer::error(400, form));
    };
    let methods = match (&backend, methods) {
        (None, None) => return Err(Answer::error(400, form)),
        (Some(_), None) => Methods::any(),
        (_, Some(methods)) => Methods::parse(methods.iter().map(AsRef::as_ref))
            .map_err(|fault| Answer::error(400, &fault.to_string()))?,
    };
    if backend.as_ref().is_some_and(|name| !is_backend(name)) {
        return Err(Answer::error(404, "no such backend: /api/status lists all"));
    }
    Ok(Invalidation { backend, methods })
}

/// What has come of it, by which shards have done it, and whether other nodes were told; `None` of a node by itself.
#[must_use]
pub fn answered(
    invalidation: &Invalidation,
    shards: impl Iterator<Item = (usize, bool)>,
    nodes: Option<bool>,
) -> Answer {
    let silent = super::silent(shards);
    let Invalidation { backend, methods } = invalidation;
    let methods: Vec<Value> = methods.patterns().iter().map(|pattern| json!(pattern)).collect();
    let is_done = silent.is_empty();
    let nodes = nodes.map(|are_told| if are_told { "told" } else { "when NATS is there" });
    let told = json!({
        "backend": backend,
        "methods": methods,
        "applied": is_done,
        "silent": silent,
        "other_nodes": nodes,
    });
    Answer::json(if is_done { 200 } else { 202 }, &told)
}
