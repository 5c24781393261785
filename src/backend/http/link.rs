//! The connections to the addresses of one backend, and what is asked over them. Home: tasks of the control thread.
//!
//! Invariants: a POST has one outcome, and in it each of its calls has one; an answer is held up to its bound only; connections
//! are kept up to `pool` for each address.

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

use super::codec;
use crate::backend::settings::HttpSettings;
use crate::calls::{OwnedCall, OwnedOutcome};
use crate::clock;
use crate::limits;
use crate::model::call::{CallFailure, CallOutcome};

/// What a look reads of an answer.
const LOOK_BYTES_MAX: usize = 64 * 1024;

type HttpClient = Client<HttpsConnector<Counting>, Full<Bytes>>;

/// Connections to all addresses of a backend. Cloned for each POST.
#[derive(Clone, Debug)]
pub struct Caller {
    /// To `http://` addresses.
    plain: HttpClient,
    /// To `https://` addresses, where both ends say which HTTP it is.
    secure: HttpClient,
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
        let client = |is_http2: bool| {
            Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .timer(TokioTimer::new())
                .pool_idle_timeout((idle > 0).then(|| Duration::from_nanos(idle)))
                .pool_max_idle_per_host(settings.links.links.into())
                .http2_only(is_http2)
                .build(connector.clone())
        };
        let authorization = Some(settings.authorization.as_str()).filter(|text| !text.is_empty());
        let authorization = authorization.map(|text| {
            let mut value =
                HeaderValue::from_str(text).expect("invariant: the configuration has looked at it");
            value.set_sensitive(true);
            value
        });
        let health_path = settings.health_path.clone();
        Ok(Caller {
            plain: client(settings.http2),
            secure: client(false),
            authorization,
            health_path,
            answer_bytes_max,
            connections_total,
        })
    }
}

impl Caller {
    /// Connections that were begun, to all addresses.
    #[must_use]
    pub fn connections_total(&self) -> u64 {
        self.connections_total.load(Ordering::Relaxed)
    }

    /// Asks `address` these, at least one, in one POST, until the time of the last of them is over: the outcome of each, in
    /// their order. That of a notification says nothing.
    ///
    /// # Errors
    /// What became of the POST, and so of all of them.
    pub async fn post(
        &self,
        address: &str,
        calls: &[Arc<OwnedCall>],
    ) -> Result<Vec<OwnedOutcome>, CallFailure> {
        let due_ns = calls.iter().map(|call| call.due_ns).max().unwrap_or_default();
        let left_ns = due_ns.saturating_sub(clock::now().mono_ns);
        let asked = timeout(Duration::from_nanos(left_ns), self.ask(address, calls)).await;
        asked.unwrap_or(Err(CallFailure::TimedOut))
    }

    async fn ask(&self, address: &str, calls: &[Arc<OwnedCall>]) -> Result<Vec<OwnedOutcome>, CallFailure> {
        let body = codec::write(calls.iter().map(|call| codec::Request {
            is_note: call.key.is_none(),
            method: &call.method,
            params: call.params.as_deref(),
            trace_parent: call.trace_parent.as_deref(),
        }));
        let trace_parent = match calls {
            [call] => call.trace_parent.as_deref(),
            // A header says it of one.
            _ => None,
        };
        let request = self.request(address, trace_parent, body).ok_or(CallFailure::Unavailable)?;
        let response = self.client(address).request(request).await.map_err(|error| {
            log::debug!("{address}: {error}");
            // What could not connect has sent nothing.
            if error.is_connect() { CallFailure::Unavailable } else { CallFailure::Lost }
        })?;
        let status = response.status();
        let body = Limited::new(response.into_body(), self.body_bytes_max(calls.len())).collect().await;
        let body = body.map_err(|error| {
            if error.is::<LengthLimitError>() {
                return CallFailure::TooLong;
            }
            log::debug!("{address}: {error}");
            CallFailure::Lost
        })?;
        answers(status, &body.to_bytes(), calls.len(), self.answer_bytes_max)
    }

    fn client(&self, address: &str) -> &HttpClient {
        if address.starts_with("https://") { &self.secure } else { &self.plain }
    }

    /// Of the answer to so many calls. That of an array is held in one piece until it has come.
    fn body_bytes_max(&self, calls: usize) -> usize {
        let of_all = self.answer_bytes_max.saturating_mul(calls);
        of_all.min(limits::ARRAY_ANSWER_BYTES_MAX).max(self.answer_bytes_max)
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
        let Ok(response) = self.client(address).request(request).await else { return false };
        let is_well = response.status().is_success();
        // Read, so that the connection is there for the next.
        is_well && Limited::new(response.into_body(), LOOK_BYTES_MAX).collect().await.is_ok()
    }
}

/// What an answer of HTTP says of so many calls. Whatever the status, an answer of JSON-RPC is one.
///
/// # Errors
/// It says nothing of any.
fn answers(
    status: StatusCode,
    body: &[u8],
    calls: usize,
    answer_bytes_max: usize,
) -> Result<Vec<OwnedOutcome>, CallFailure> {
    let mut outcomes = vec![OwnedOutcome::Failed(CallFailure::Garbled); calls];
    let answered = codec::read(body, calls, &mut |place, outcome| {
        outcomes[place] = match outcome {
            CallOutcome::Result(value) | CallOutcome::Error(value) if value.len() > answer_bytes_max => {
                OwnedOutcome::Failed(CallFailure::TooLong)
            }
            CallOutcome::Result(_) | CallOutcome::Error(_) | CallOutcome::Failed(_) => outcome.into(),
        };
    });
    let is_away = matches!(
        status,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    );
    match answered {
        0 if is_away => Err(CallFailure::Lost),
        0 => Err(CallFailure::Garbled),
        _ => Ok(outcomes),
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
