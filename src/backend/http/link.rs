//! The connections to the addresses of one backend, and what is asked over them. Home: tasks of the control thread.
//!
//! Invariants: a call is one POST and has one outcome; an answer is held up to its bound only; connections are kept up to
//! `pool` for each address.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::time::timeout;
use tower_service::Service;

use crate::backend::codec::{self, Garbage, Message};
use crate::backend::settings::HttpSettings;
use crate::calls::{OwnedCall, OwnedOutcome};
use crate::clock;
use crate::model::call::CallFailure;

/// What a look reads of an answer.
const LOOK_BYTES_MAX: usize = 64 * 1024;
/// The number of each request: an answer comes on its own connection, or stream.
const ID: u64 = 1;

/// Connections to all addresses of a backend. Cloned for each call.
#[derive(Clone, Debug)]
pub struct Caller {
    client: Client<HttpsConnector<Counting>, Full<Bytes>>,
    authorization: Option<HeaderValue>,
    health_path: String,
    answer_bytes_max: usize,
    connections_total: Arc<AtomicU64>,
}

impl Caller {
    /// Nothing is connected yet.
    ///
    /// # Errors
    /// There are no certificates to trust in.
    pub fn new(settings: &HttpSettings, answer_bytes_max: usize) -> io::Result<Caller> {
        let (connector, connections_total) = connector(settings)?;
        let idle = settings.links.idle_timeout_ns;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout((idle > 0).then(|| Duration::from_nanos(idle)))
            .pool_max_idle_per_host(settings.links.links.into())
            .http2_only(settings.http2)
            .build(connector);
        let authorization = Some(settings.authorization.as_str()).filter(|text| !text.is_empty());
        let authorization = authorization.map(|text| {
            let mut value =
                HeaderValue::from_str(text).expect("invariant: the configuration has looked at it");
            value.set_sensitive(true);
            value
        });
        let health_path = settings.health_path.clone();
        Ok(Caller { client, authorization, health_path, answer_bytes_max, connections_total })
    }
}

impl Caller {
    /// Connections that were begun, to all addresses.
    #[must_use]
    pub fn connections_total(&self) -> u64 {
        self.connections_total.load(Ordering::Relaxed)
    }

    /// Asks `address`, until the call's time is over. A notification is over once it was taken.
    pub async fn call(&self, address: &str, call: &OwnedCall) -> OwnedOutcome {
        let left_ns = call.due_ns.saturating_sub(clock::now().mono_ns);
        let asked = timeout(Duration::from_nanos(left_ns), self.ask(address, call)).await;
        asked.unwrap_or(OwnedOutcome::Failed(CallFailure::TimedOut))
    }

    async fn ask(&self, address: &str, call: &OwnedCall) -> OwnedOutcome {
        let OwnedCall { key, method, params, trace_parent, .. } = call;
        let mut body = Vec::new();
        // The trace has a header of its own.
        codec::write_request(&mut body, key.map(|_| ID), method, params.as_deref(), None);
        let Some(request) = self.request(address, trace_parent.as_deref(), body) else {
            return OwnedOutcome::Failed(CallFailure::Unavailable);
        };
        let response = match self.client.request(request).await {
            Ok(response) => response,
            Err(error) => {
                log::debug!("{address}: {error}");
                // What could not connect has sent nothing.
                let failure = if error.is_connect() { CallFailure::Unavailable } else { CallFailure::Lost };
                return OwnedOutcome::Failed(failure);
            }
        };
        let status = response.status();
        match Limited::new(response.into_body(), self.answer_bytes_max).collect().await {
            Ok(body) => answer(status, &body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => OwnedOutcome::Failed(CallFailure::TooLong),
            Err(error) => {
                log::debug!("{address}: {error}");
                OwnedOutcome::Failed(CallFailure::Lost)
            }
        }
    }

    fn request(
        &self,
        address: &str,
        trace_parent: Option<&str>,
        body: Vec<u8>,
    ) -> Option<Request<Full<Bytes>>> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(address)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json");
        if let Some(trace_parent) = trace_parent {
            request = request.header("traceparent", trace_parent);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        // An address that is no URI, or a `traceparent` that no header may have.
        request.body(Full::new(Bytes::from(body))).ok()
    }

    /// Whether the service at `address` is well: it answers the path of a look by 200 to 299, or can be connected to where there is none.
    pub async fn look(&self, address: &str, within_ns: u64) -> bool {
        let looked = timeout(Duration::from_nanos(within_ns), self.look_at(address)).await;
        looked.unwrap_or(false)
    }

    async fn look_at(&self, address: &str) -> bool {
        let Ok(uri) = address.parse::<Uri>() else { return false };
        if self.health_path.is_empty() {
            let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
            let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
            return tokio::net::TcpStream::connect((host, port)).await.is_ok();
        }
        let mut parts = uri.into_parts();
        parts.path_and_query = self.health_path.parse().ok();
        let Ok(uri) = Uri::from_parts(parts) else { return false };
        let mut request = Request::builder().method(Method::GET).uri(uri);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let Ok(request) = request.body(Full::default()) else { return false };
        let Ok(response) = self.client.request(request).await else { return false };
        let is_well = response.status().is_success();
        // Read, so that the connection is there for the next.
        is_well && Limited::new(response.into_body(), LOOK_BYTES_MAX).collect().await.is_ok()
    }
}

/// What an answer of HTTP says of the call. Whatever the status, an answer of JSON-RPC is one.
fn answer(status: StatusCode, body: &[u8]) -> OwnedOutcome {
    match codec::read(body) {
        Ok(Message::Answer { id: ID, outcome }) => outcome.into(),
        Ok(
            Message::Answer { .. }
            | Message::Garbled { .. }
            | Message::Progress { .. }
            | Message::Asked { .. }
            | Message::Told
            | Message::Stray,
        )
        | Err(Garbage) => {
            let is_away = matches!(
                status,
                StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
            );
            OwnedOutcome::Failed(if is_away { CallFailure::Lost } else { CallFailure::Garbled })
        }
    }
}

/// What connects to the addresses of a backend, with TLS where they say so, and how often it has.
///
/// # Errors
/// There are no certificates to trust in.
pub fn connector(settings: &HttpSettings) -> io::Result<(HttpsConnector<Counting>, Arc<AtomicU64>)> {
    let tls = rustls::ClientConfig::builder();
    let tls = tls.with_root_certificates(trusted(settings)?).with_no_client_auth();
    let connector = Counting::new(Duration::from_nanos(settings.links.connect_timeout_ns));
    let begun_total = Arc::clone(&connector.begun_total);
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_all_versions()
        .wrap_connector(connector);
    Ok((connector, begun_total))
}

/// The certificates by which a backend's addresses are known.
///
/// # Errors
/// There are none, or what the file has is none.
pub fn trusted(settings: &HttpSettings) -> io::Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    match &settings.authorities {
        Some(path) => read_authorities(path, &mut store)?,
        // Only an address with TLS needs them.
        None if settings.links.members.iter().all(|member| member.address.starts_with("http://")) => {}
        None => {
            for certificate in rustls_native_certs::load_native_certs().certs {
                // A host's store has some that are of no use; those are left out.
                let _ = store.add(certificate);
            }
            if store.is_empty() {
                return Err(io::Error::other("the host has no certificates: name some in authorities"));
            }
        }
    }
    Ok(store)
}

fn read_authorities(path: &Path, store: &mut RootCertStore) -> io::Result<()> {
    let said = |error: &dyn std::fmt::Display| io::Error::other(format!("{}: {error}", path.display()));
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| said(&error))? {
        store.add(certificate.map_err(|error| said(&error))?).map_err(|error| said(&error))?;
    }
    if store.is_empty() { Err(said(&"has no certificate in PEM")) } else { Ok(()) }
}

/// What connects, and counts how often.
#[derive(Clone, Debug)]
pub struct Counting {
    inner: HttpConnector,
    begun_total: Arc<AtomicU64>,
}

impl Counting {
    fn new(connect_timeout: Duration) -> Counting {
        let mut inner = HttpConnector::new();
        inner.enforce_http(false);
        inner.set_nodelay(true);
        inner.set_connect_timeout(Some(connect_timeout));
        Counting { inner, begun_total: Arc::default() }
    }
}

impl Service<Uri> for Counting {
    type Response = <HttpConnector as Service<Uri>>::Response;
    type Error = <HttpConnector as Service<Uri>>::Error;
    type Future = <HttpConnector as Service<Uri>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, address: Uri) -> Self::Future {
        self.begun_total.fetch_add(1, Ordering::Relaxed);
        self.inner.call(address)
    }
}
