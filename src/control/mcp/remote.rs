//! A backend over Streamable HTTP (MCP 2025-11-25, Transports): each message a POST, answered by JSON or by a stream of events, and a
//! stream for what belongs to no request. Home: tasks of the control thread.
//!
//! Invariants: a request is sent once, and what became of one whose stream was cut is asked for by the last event that came; its last
//! word is that it ended: where the session is unknown there, or nobody can be reached, so that it is initialized again.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::backend::http::link::trusted;
use crate::backend::settings::HttpSettings;
use crate::dialect::mcp::{EventParser, answer_lost, is_answer_to, negotiated, request_id};
use crate::limits;

use super::{Held, LINK_TEXTS_MAX, Mouth, Texts};

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Before a stream that was cut is read on, where it does not say how long.
const RETRY: Duration = Duration::from_secs(1);
/// How often a stream is read on that brings nothing meanwhile.
const RESUMES_MAX: u32 = 8;
/// How long a backend may take to take what has no answer, and to hear of the end.
const NOTICE_TIME_MAX: Duration = Duration::from_secs(10);
const GOODBYE_TIME_MAX: Duration = Duration::from_secs(1);

/// Why the link ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// 404: it knows the session no more.
    SessionUnknown,
    Unreachable,
    TooLong,
    /// Nobody here listens any more.
    Unwanted,
}

/// What the tasks of one link share.
struct Remote {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    uri: Uri,
    authorization: Option<HeaderValue>,
    session: OnceLock<HeaderValue>,
    version: OnceLock<HeaderValue>,
    mouth: Mouth,
}

/// Carries messages until the backend is lost, or nobody sends to it any more.
pub(super) async fn run(settings: HttpSettings, name: Box<str>, mut texts: Texts, mouth: Mouth) {
    let cut = match Remote::new(&settings, mouth.clone()) {
        Ok(remote) => {
            let remote = Arc::new(remote);
            let cut = Arc::clone(&remote).carry(&mut texts).await;
            if cut != Cut::SessionUnknown {
                remote.say_goodbye().await;
            }
            cut
        }
        Err(why) => {
            log::warn!("backend {name}: {why}");
            Cut::Unreachable
        }
    };
    match cut {
        Cut::SessionUnknown => log::info!("backend {name}: it knows the session no more"),
        Cut::Unreachable => {
            log::warn!("backend {name}: it can't be reached, or does not speak Streamable HTTP")
        }
        Cut::TooLong => mouth.overlong().await,
        Cut::Unwanted => {}
    }
    mouth.ended().await;
}

impl Remote {
    fn new(settings: &HttpSettings, mouth: Mouth) -> Result<Remote, String> {
        let address = settings.links.members.first().map(|member| &*member.address).unwrap_or_default();
        let uri: Uri = address.parse().map_err(|error| format!("{address}: {error}"))?;
        let authorization = match settings.authorization.as_str() {
            "" => None,
            value => Some(HeaderValue::from_str(value).map_err(|_| "authorization is no header".to_owned())?),
        };
        let client = Client::builder(hyper_util::rt::TokioExecutor::new())
            .build(connector(settings).map_err(|error| error.to_string())?);
        let (session, version) = (OnceLock::new(), OnceLock::new());
        Ok(Remote { client, uri, authorization, session, version, mouth })
    }

    async fn carry(self: Arc<Remote>, texts: &mut Texts) -> Cut {
        let (mut tasks, mut noting) = (JoinSet::new(), JoinSet::new());
        let (notes, queue) = mpsc::channel(LINK_TEXTS_MAX);
        noting.spawn(Arc::clone(&self).note_each(queue));
        let mut is_listening = false;
        loop {
            tokio::select! {
                text = texts.next() => {
                    let Some(text) = text else {
                        // What was said before is not lost.
                        drop(notes);
                        let _ = timeout(GOODBYE_TIME_MAX, noting.join_next()).await;
                        return Cut::Unwanted;
                    };
                    let remote = Arc::clone(&self);
                    if tasks.len() >= limits::MCP_REMOTE_REQUESTS_MAX {
                        return Cut::Unreachable;
                    }
                    match request_id(&text).map(str::to_owned) {
                        Some(id) => { tasks.spawn(async move { remote.ask(text, id).await }); }
                        // One that takes none holds up no request.
                        None if is_listening => {
                            let held = texts.hold(text.len());
                            if notes.try_send((text, held)).is_err() {
                                return Cut::Unreachable;
                            }
                        }
                        // The first of them says that it is initialized, and nothing comes before.
                        None => {
                            if let Err(cut) = remote.note(text).await {
                                return cut;
                            }
                            is_listening = true;
                            tasks.spawn(async move { remote.listen().await });
                        }
                    }
                }
                Some(ended) = tasks.join_next() => match ended {
                    Ok(Err(cut)) => return cut,
                    Ok(Ok(())) => {}
                    // A panic has aborted the process already, and nobody cancels them.
                    Err(_) => return Cut::Unreachable,
                },
                // As long as there may be more it ends by a cut only.
                Some(Ok(Err(cut))) = noting.join_next() => return cut,
            }
        }
    }

    /// What has no answer, one after the other.
    async fn note_each(self: Arc<Remote>, mut notes: mpsc::Receiver<(String, Held)>) -> Result<(), Cut> {
        while let Some((text, _held)) = notes.recv().await {
            self.note(text).await?;
        }
        Ok(())
    }

    /// A request. The first is `initialize`, and nothing else comes before it is answered: what follows carries the session that its
    /// answer names, and the revision.
    async fn ask(&self, text: String, id: String) -> Result<(), Cut> {
        let response = self.post(text).await?;
        if self.version.get().is_none()
            && let Some(session) = response.headers().get(SESSION_ID)
        {
            // Nobody else sets it.
            let _ = self.session.set(session.clone());
        }
        self.take_answer(response, &id).await
    }

    /// What has no answer.
    async fn note(&self, text: String) -> Result<(), Cut> {
        match timeout(NOTICE_TIME_MAX, self.post(text)).await {
            Ok(Ok(response)) if response.status() == StatusCode::NOT_FOUND => Err(self.not_found()),
            // It is free to refuse what it does not know.
            Ok(Ok(_)) => Ok(()),
            Ok(Err(cut)) => Err(cut),
            Err(_) => Err(Cut::Unreachable),
        }
    }

    fn not_found(&self) -> Cut {
        if self.session.get().is_some() { Cut::SessionUnknown } else { Cut::Unreachable }
    }

    async fn post(&self, text: String) -> Result<Response<Incoming>, Cut> {
        let request = self
            .request(Method::POST)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, text/event-stream")
            .body(Full::new(Bytes::from(text)))
            .expect("invariant: its parts are headers already");
        self.client.request(request).await.map_err(|error| {
            log::debug!("a backend over HTTP: {error}");
            Cut::Unreachable
        })
    }

    fn request(&self, method: Method) -> axum::http::request::Builder {
        let mut request = Request::builder().method(method).uri(self.uri.clone());
        for (name, value) in [
            (header::AUTHORIZATION, self.authorization.as_ref()),
            (SESSION_ID, self.session.get()),
            (PROTOCOL_VERSION, self.version.get()),
        ] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        request
    }

    async fn take_answer(&self, response: Response<Incoming>, id: &str) -> Result<(), Cut> {
        if response.status() == StatusCode::NOT_FOUND {
            return Err(self.not_found());
        }
        let is_good = response.status().is_success();
        if is_good && is_kind(&response, "text/event-stream") {
            return self.take_events(response, id).await;
        }
        let status = response.status();
        let body = whole(response).await?;
        let text = String::from_utf8_lossy(&body).into_owned();
        let said = if is_answer_to(&text, id) {
            text
        } else {
            answer_lost(
                id,
                &format!("the backend answered with HTTP status {} and no message", status.as_u16()),
            )
        };
        self.say(said).await
    }

    async fn say(&self, text: String) -> Result<(), Cut> {
        if self.version.get().is_none()
            && let Some(revision) = negotiated(&text)
        {
            // Nobody else sets it.
            let _ = self.version.set(HeaderValue::from_static(revision.text()));
        }
        if self.mouth.say(text).await { Ok(()) } else { Err(Cut::Unwanted) }
    }

    /// Reads a stream until the answer has come, and on where it is cut before.
    async fn take_events(&self, response: Response<Incoming>, id: &str) -> Result<(), Cut> {
        let mut parser = EventParser::default();
        if self.read(response, &mut parser, Some(id)).await? {
            return Ok(());
        }
        for _ in 0..RESUMES_MAX {
            let Some(last_id) = parser.last_id().map(str::to_owned) else { break };
            tokio::time::sleep(pause(&parser)).await;
            let Some(response) = self.get(Some(&last_id)).await? else { break };
            if self.read(response, &mut parser, Some(id)).await? {
                return Ok(());
            }
        }
        self.say(answer_lost(id, "the backend's stream ended before its answer")).await
    }

    /// A stream of events; none where the backend has no such.
    async fn get(&self, last_id: Option<&str>) -> Result<Option<Response<Incoming>>, Cut> {
        let mut request = self.request(Method::GET).header(header::ACCEPT, "text/event-stream");
        if let Some(value) = last_id.and_then(|id| HeaderValue::from_str(id).ok()) {
            request = request.header(LAST_EVENT_ID, value);
        }
        let request = request.body(Full::default()).expect("invariant: its parts are headers already");
        let response = self.client.request(request).await.map_err(|_| Cut::Unreachable)?;
        match response.status() {
            StatusCode::NOT_FOUND => Err(self.not_found()),
            status if status.is_success() && is_kind(&response, "text/event-stream") => Ok(Some(response)),
            _ => Ok(None),
        }
    }

    /// Says what a stream brings; true once the answer of that id was among it.
    async fn read(
        &self,
        mut response: Response<Incoming>,
        parser: &mut EventParser,
        id: Option<&str>,
    ) -> Result<bool, Cut> {
        let mut is_answered = false;
        while let Some(Ok(frame)) = response.body_mut().frame().await {
            let Ok(bytes) = frame.into_data() else { continue };
            for event in parser.push(&bytes).map_err(|_| Cut::TooLong)? {
                let is_message = event.name.as_deref().is_none_or(|name| name == "message");
                // One without data only says how to come back.
                if !is_message || event.data.is_empty() {
                    continue;
                }
                is_answered |= id.is_some_and(|id| is_answer_to(&event.data, id));
                self.say(event.data).await?;
            }
            if is_answered {
                break;
            }
        }
        parser.cut();
        Ok(is_answered)
    }

    /// What belongs to no request, as long as the link is there; backends need not have that.
    async fn listen(&self) -> Result<(), Cut> {
        let mut parser = EventParser::default();
        let mut failures = 0;
        while failures < RESUMES_MAX {
            let last_id = parser.last_id().map(str::to_owned);
            match self.get(last_id.as_deref()).await {
                Ok(Some(response)) => {
                    failures = 0;
                    self.read(response, &mut parser, None).await?;
                }
                Ok(None) => return Ok(()),
                Err(Cut::Unreachable) => failures += 1,
                Err(cut) => return Err(cut),
            }
            tokio::time::sleep(pause(&parser)).await;
        }
        Err(Cut::Unreachable)
    }

    async fn say_goodbye(&self) {
        if self.session.get().is_none() {
            return;
        }
        let request = self.request(Method::DELETE).body(Full::default());
        let request = request.expect("invariant: its parts are headers already");
        // A courtesy.
        let _ = timeout(GOODBYE_TIME_MAX, self.client.request(request)).await;
    }
}

fn connector(settings: &HttpSettings) -> io::Result<HttpsConnector<HttpConnector>> {
    let tls = rustls::ClientConfig::builder();
    let tls = tls.with_root_certificates(trusted(settings)?).with_no_client_auth();
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(Duration::from_nanos(settings.links.connect_timeout_ns)));
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    Ok(builder.enable_all_versions().wrap_connector(connector))
}

fn is_kind(response: &Response<Incoming>, kind: &str) -> bool {
    let told = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let told = told.unwrap_or_default().split(';').next().unwrap_or_default();
    told.trim().eq_ignore_ascii_case(kind)
}

/// How long until a stream is read on: as it said, within reason.
fn pause(parser: &EventParser) -> Duration {
    const MIN: Duration = Duration::from_millis(50);
    const MAX: Duration = Duration::from_secs(30);
    parser.retry_ms().map_or(RETRY, Duration::from_millis).clamp(MIN, MAX)
}

async fn whole(response: Response<Incoming>) -> Result<Bytes, Cut> {
    let body = http_body_util::Limited::new(response.into_body(), limits::MCP_MESSAGE_BYTES_MAX);
    match body.collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(Cut::TooLong),
        Err(_) => Err(Cut::Unreachable),
    }
}
