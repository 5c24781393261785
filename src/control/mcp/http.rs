//! Streamable HTTP for clients: one path, `/mcp`, with POST, GET and DELETE (MCP 2025-11-25, Transports). Home: the control thread.
//!
//! Invariant: a page of a browser gets nowhere unless its origin is allowed, whatever its name is resolved to; on loopback, nor does
//! anybody who names the gateway otherwise than as this machine.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::api::access::{self, Way};
use crate::auth::{Credential, Keyring, Reach};
use crate::clock;
use crate::control::door::{self, Room};
use crate::control::tools;
use crate::dialect::mcp::{Posted, Revision, posted};
use crate::limits;

use super::clients::{Asked, Caller, Reply};
use super::reader::EventBody;
use super::{McpAccess, Offer, Word};

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// How long a message may take to come in whole.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);

struct Counter {
    access: McpAccess,
    offer: Arc<Offer>,
    is_local: bool,
    keyring: Arc<ArcSwap<Keyring>>,
    words: mpsc::Sender<Word>,
    long_bodies: Semaphore,
}

/// An answer that is no message: status and what is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refusal(StatusCode, &'static str);

/// Answers whoever connects, until the runtime ends.
///
/// # Errors
/// The socket can't be used.
pub(super) fn listen(
    listener: TcpListener,
    access: McpAccess,
    offer: Arc<Offer>,
    keyring: Arc<ArcSwap<Keyring>>,
    words: mpsc::Sender<Word>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let is_local = listener.local_addr()?.ip().is_loopback();
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let counter = Arc::new(Counter {
        access,
        offer,
        is_local,
        keyring,
        words,
        long_bodies: Semaphore::new(limits::MCP_LONG_BODIES.0),
    });
    let router = Router::new().fallback(move |request: Request| {
        let counter = Arc::clone(&counter);
        async move { counter.serve(request).await }
    });
    // Streams last as long as their sessions want them.
    let room = Room { connections_max: limits::MCP_CONNECTIONS_MAX, time_max: None };
    tokio::spawn(door::serve(listener, router, room));
    Ok(())
}

impl Counter {
    /// Answers a request; a page of an origin that is allowed may read the answer (Fetch, CORS protocol).
    async fn serve(&self, request: Request) -> Response {
        let origin = request.headers().get(header::ORIGIN).cloned();
        let is_preflight = request.method() == Method::OPTIONS && origin.is_some();
        let is_allowed = self.check_names(request.headers()).is_ok();
        let mut response = if is_preflight && is_allowed {
            plain(StatusCode::NO_CONTENT)
        } else {
            self.answer(request).await
        };
        if let Some(origin) = origin.filter(|_| is_allowed) {
            let headers = response.headers_mut();
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(header::VARY, HeaderValue::from_static("origin"));
            for (name, value) in [
                (header::ACCESS_CONTROL_EXPOSE_HEADERS, "mcp-session-id"),
                (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, DELETE"),
                (
                    header::ACCESS_CONTROL_ALLOW_HEADERS,
                    "authorization, content-type, last-event-id, mcp-protocol-version, mcp-session-id",
                ),
                (header::ACCESS_CONTROL_MAX_AGE, "600"),
            ] {
                headers.insert(name, HeaderValue::from_static(value));
            }
        }
        response
    }

    async fn answer(&self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let headers = &parts.headers;
        if parts.uri.path() != "/mcp" {
            return refused(Refusal(StatusCode::NOT_FOUND, "no such path: MCP is at /mcp"));
        }
        // Who has a session may have something under way, to answer, to cancel or to read on.
        if !headers.contains_key(SESSION_ID) && !self.offer.is_any.load(Ordering::Relaxed) {
            return refused(Refusal(StatusCode::NOT_FOUND, "there is no backend of MCP any more"));
        }
        let caller = match self.admit(headers, door::peer(&parts)) {
            Ok(caller) => caller,
            Err(refusal) => return refused(refusal),
        };
        let (reply, told) = oneshot::channel();
        let asked = match parts.method {
            Method::POST => self.post(headers, body, caller, reply).await,
            Method::GET if !accepts(headers, "text/event-stream") => {
                return refused(Refusal(
                    StatusCode::NOT_ACCEPTABLE,
                    "a GET is for Accept: text/event-stream",
                ));
            }
            Method::GET if caller.session.is_none() => {
                return refused(Refusal(StatusCode::BAD_REQUEST, "Mcp-Session-Id is missing"));
            }
            Method::GET => Ok(Asked::Listen {
                caller,
                last_event_id: text(headers, &LAST_EVENT_ID).map(str::to_owned),
                reply,
            }),
            Method::DELETE => Ok(Asked::End { caller, reply }),
            _ => {
                let mut response = refused(Refusal(StatusCode::METHOD_NOT_ALLOWED, "GET, POST and DELETE"));
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, POST, DELETE"));
                return response;
            }
        };
        let asked = match asked {
            Ok(asked) => asked,
            Err(response) => return *response,
        };
        if self.words.send(Word::Asked(asked)).await.is_err() {
            return refused(Refusal(StatusCode::SERVICE_UNAVAILABLE, "the gateway stops"));
        }
        match told.await {
            Ok(reply) => response(reply),
            // Its session was ended meanwhile.
            Err(_) => response(Reply::UnknownSession),
        }
    }

    /// Whether it is asked for by a name of its own, and from a page that may.
    fn check_names(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let host = text(headers, &header::HOST).unwrap_or_default();
        let is_named =
            |names: &[Box<str>], name: &str| names.iter().any(|one| one.eq_ignore_ascii_case(name));
        if self.is_local && !access::is_local_host(host) && !is_named(&self.access.hosts, host) {
            return Err(Refusal(StatusCode::FORBIDDEN, "name the gateway by its address or as localhost"));
        }
        if let Some(origin) = headers.get(header::ORIGIN) {
            let origin = origin.to_str().unwrap_or_default();
            let page_host = origin.split_once("://").map_or("", |(_, host)| host);
            let is_ours = self.is_local && access::is_local_host(page_host);
            if !is_ours && !is_named(&self.access.origins, origin) {
                return Err(Refusal(StatusCode::FORBIDDEN, "pages of this origin may not: mcp.origins"));
            }
        }
        Ok(())
    }

    /// Who asks, if it may.
    fn admit(&self, headers: &HeaderMap, peer: Option<SocketAddr>) -> Result<Caller, Refusal> {
        self.check_names(headers)?;
        let authorization = text(headers, &header::AUTHORIZATION);
        let key = self.identify(authorization)?;
        if let Some(version) = headers.get(PROTOCOL_VERSION)
            && version.to_str().ok().and_then(Revision::parse).is_none()
        {
            return Err(Refusal(StatusCode::BAD_REQUEST, "MCP-Protocol-Version is none that is spoken here"));
        }
        let reach = if self.is_local { Reach::Loopback } else { Reach::Anywhere };
        let shown = tools::Caller { authorization: authorization.map(Into::into), reach, peer };
        Ok(Caller { key, session: text(headers, &SESSION_ID).map(Into::into), shown })
    }

    fn identify(&self, authorization: Option<&str>) -> Result<Option<Arc<Credential>>, Refusal> {
        const ASK: Refusal =
            Refusal(StatusCode::UNAUTHORIZED, "show a key: Authorization: Bearer CLIENT_ID.SECRET");
        if authorization.is_none() {
            return if self.offer.is_public.load(Ordering::Relaxed) { Ok(None) } else { Err(ASK) };
        }
        let way = if self.is_local { Way::Local } else { Way::Remote };
        let unix_ms = clock::now().unix_ns / 1_000_000;
        access::identify(&self.keyring.load(), authorization, way, unix_ms).map(Some).ok_or(ASK)
    }

    async fn post(
        &self,
        headers: &HeaderMap,
        body: Body,
        caller: Caller,
        reply: oneshot::Sender<Reply>,
    ) -> Result<Asked, Box<Response>> {
        let refuse = |status, why| Box::new(refused(Refusal(status, why)));
        let kind = text(headers, &header::CONTENT_TYPE).unwrap_or_default();
        if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
            return Err(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a message is application/json"));
        }
        let reads_events = accepts(headers, "text/event-stream");
        if !reads_events && !accepts(headers, "application/json") {
            return Err(refuse(
                StatusCode::NOT_ACCEPTABLE,
                "Accept has neither application/json nor text/event-stream",
            ));
        }
        let length = text(headers, &header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
        let is_long = length.is_none_or(|length| length > limits::MCP_LONG_BODIES.1);
        let read = async {
            // The semaphore is never closed.
            let _place = if is_long { self.long_bodies.acquire().await.ok() } else { None };
            axum::body::to_bytes(body, limits::MCP_MESSAGE_BYTES_MAX).await
        };
        let bytes = match tokio::time::timeout(BODY_TIME_MAX, read).await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(_)) => {
                return Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, "the message is too long, or was cut"));
            }
            Err(_) => return Err(refuse(StatusCode::REQUEST_TIMEOUT, "the message did not come in time")),
        };
        let message = String::from_utf8(bytes.into())
            .map_err(|_| refuse(StatusCode::BAD_REQUEST, "the message is not UTF-8"))?;
        let posted: Posted =
            posted(&message).map_err(|answer| Box::new(json(StatusCode::BAD_REQUEST, answer)))?;
        if posted.answers > 1 && !reads_events {
            return Err(refuse(
                StatusCode::NOT_ACCEPTABLE,
                "several requests are answered by text/event-stream",
            ));
        }
        Ok(Asked::Post { caller, text: message, posted, reads_events, reply })
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Whether an answer of this kind is wanted; who does not say takes any.
fn accepts(headers: &HeaderMap, kind: &str) -> bool {
    let Some(accept) = text(headers, &header::ACCEPT) else { return true };
    let group = kind.split('/').next().unwrap_or_default();
    accept.split(',').any(|entry| {
        let wanted = entry.split(';').next().unwrap_or_default().trim();
        wanted.eq_ignore_ascii_case(kind)
            || wanted == "*/*"
            || wanted.strip_suffix("/*").is_some_and(|wanted| wanted.eq_ignore_ascii_case(group))
    })
}

fn response(reply: Reply) -> Response {
    let (session, mut response) = match reply {
        Reply::Accepted => (None, plain(StatusCode::ACCEPTED)),
        Reply::Ended => (None, plain(StatusCode::NO_CONTENT)),
        Reply::Json { session, text } => (session, json(StatusCode::OK, text)),
        Reply::Events { session, events } => {
            let mut response = Response::new(Body::new(EventBody::new(events)));
            headers(&mut response, "text/event-stream");
            (session, response)
        }
        Reply::UnknownSession => {
            (None, refused(Refusal(StatusCode::NOT_FOUND, "there is no such session: initialize again")))
        }
        Reply::Wrong(why) => (None, refused(Refusal(StatusCode::BAD_REQUEST, why))),
        Reply::Full => {
            (None, refused(Refusal(StatusCode::SERVICE_UNAVAILABLE, "as many sessions as may be are open")))
        }
    };
    if let Some(value) = session.and_then(|session| HeaderValue::from_str(&session).ok()) {
        response.headers_mut().insert(SESSION_ID, value);
    }
    response
}

fn plain(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn json(status: StatusCode, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    headers(&mut response, "application/json");
    response
}

/// As a JSON-RPC error without an id, which clients show.
fn refused(Refusal(status, why): Refusal) -> Response {
    let text = format!(r#"{{"jsonrpc":"2.0","id":null,"error":{{"code":-32000,"message":"{why}"}}}}"#);
    let mut response = json(status, text);
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

fn headers(response: &mut Response, kind: &'static str) {
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
}
