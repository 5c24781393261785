//! The gateway's own tools: their list, made once, and calls of them, each a request of the client API on a connection of its own to a
//! shard. Home: the control thread.
//!
//! Invariants: a call is made by what its client shows, and by nothing of ours; it ends within `PATIENCE`, and holds so much of an answer
//! and no more.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use axum::response::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::api::{self, Answer, tools};
use crate::auth::Reach;
use crate::dialect::tools::{Tool, ToolResult};
use crate::inward::Inward;
use crate::limits;

use super::{BODY_BYTES_MAX, Door, Shared};

/// How long a call may wait for a place, and then take.
const PATIENCE: Duration = Duration::from_secs(10);

/// In whose name a tool is called.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// As the client has shown it.
    pub(super) authorization: Option<Arc<str>>,
    /// From where it comes.
    pub(super) reach: Reach,
    pub(super) peer: Option<SocketAddr>,
}

/// The list as it is sent, and the way to a shard, with places for calls.
#[derive(Debug)]
pub(super) struct OwnTools {
    listed: Listed,
    inward: Inward,
    places: Semaphore,
}

/// A list of tools, plain and compressed.
#[derive(Debug)]
struct Listed {
    plain: Bytes,
    packed: Option<Bytes>,
}

impl Listed {
    fn new(json: String) -> Listed {
        let packed = api::gzip(&json).map(Bytes::from);
        Listed { plain: Bytes::from(json), packed }
    }
}

impl OwnTools {
    pub(super) fn new(inward: Inward) -> OwnTools {
        let places = Semaphore::new(limits::INWARD_CONNECTIONS_MAX);
        OwnTools { listed: Listed::new(tools::listed()), inward, places }
    }

    /// Makes the request that a call of a tool is ([`Tool::request`]).
    pub(super) async fn call(&self, request: &str, caller: &Caller) -> ToolResult {
        let Ok(Ok(_place)) = timeout(PATIENCE, self.places.acquire()).await else {
            return ToolResult::fault("not called: as many calls are under way as may be");
        };
        match timeout(PATIENCE, ask(&self.inward, request, caller)).await {
            Ok(Ok(answer)) => ToolResult::of_answer(&answer),
            Ok(Err(error)) => ToolResult::fault(&format!("the gateway did not answer: {error}")),
            Err(_) => {
                ToolResult::fault("the gateway did not answer in time: whether it was done is not known")
            }
        }
    }
}

/// Puts a request to a shard; the body of its answer.
async fn ask(inward: &Inward, request: &str, caller: &Caller) -> io::Result<Vec<u8>> {
    let Caller { authorization, reach, peer } = caller;
    let mut head = format!(
        "POST /api/v2 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n",
        request.len()
    );
    if let Some(authorization) = authorization {
        if authorization.bytes().any(|byte| byte.is_ascii_control()) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "Authorization is no header's value"));
        }
        head.push_str(&format!("Authorization: {authorization}\r\n"));
    }
    let mut stream = UnixStream::from_std(inward.connect(*reach, *peer).await?)?;
    stream.write_all(format!("{head}\r\n{request}").as_bytes()).await?;
    let mut answer = Vec::new();
    let bytes_max = limits::TOOL_ANSWER_BYTES_MAX as u64;
    stream.take(bytes_max + 1).read_to_end(&mut answer).await?;
    if answer.len() > limits::TOOL_ANSWER_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "its answer is too long"));
    }
    let head_bytes = memchr::memmem::find(&answer, b"\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(answer.split_off(head_bytes + 4))
}

impl Shared {
    /// `GET /api/tools`.
    pub(super) fn list_tools(&self, asked: &HeaderMap) -> Response {
        let Listed { plain, packed } = &self.tools.listed;
        let packed = packed.as_ref().filter(|_| Shared::takes_gzip(asked));
        let body = Body::from(packed.unwrap_or(plain).clone());
        self.respond(200, "application/json", body, packed.is_some())
    }

    /// `POST /api/tools/call`: in the name of who calls.
    pub(super) async fn call_tool(
        &self,
        door: Door,
        peer: Option<SocketAddr>,
        authorization: Option<&str>,
        body: Body,
    ) -> Answer {
        let reach = match door {
            Door::Loopback | Door::File => Reach::Loopback,
            Door::Network => Reach::Anywhere,
        };
        let body = match Shared::body(body, BODY_BYTES_MAX).await {
            Ok(body) => body,
            Err(refusal) => return refusal,
        };
        let asked = match tools::asked(&body) {
            Ok(asked) => asked,
            Err(refusal) => return refusal,
        };
        let Some(tool) = Tool::of(&asked.name) else { return tools::unknown() };
        let arguments = asked.arguments.map_or("{}", |arguments| arguments.get());
        let caller = Caller { authorization: authorization.map(Arc::from), reach, peer };
        tools::called(&match tool.request(arguments) {
            Ok(request) => self.tools.call(&request, &caller).await,
            Err(fault) => fault,
        })
    }
}
