//! The keys of `[listen.tls]`, and what is made of them.
//!
//! Home: the main thread. A `Settings` that was checked makes a `Tls` unless a file is at fault.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::server::NoServerSessionStorage;
use rustls::version::{TLS12, TLS13};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};
use serde::{Deserialize, Serialize};

use super::certificate::{self, Certificate, Fingerprint};
use super::sessions::{self, SessionCache, TICKET_LIFETIME_S_MAX};
use crate::clock;
use crate::exit::{Exit, Failure};

/// The only protocol behind TLS here (RFC 7301 §6): WebSocket begins as HTTP/1.1 (RFC 6455 §1.2).
const PROTOCOL: &[u8] = b"http/1.1";

/// Sessions that the cache may be asked to hold. Each costs some 300 bytes.
const SESSIONS_MAX: u32 = 1_000_000;

/// Below it a client would hardly come back in time.
const SESSION_LIFETIME_S_MIN: u32 = 2;

/// TLS of one listener.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Whether to make a certificate at the start, in place of the two files.
    pub development: bool,
    /// The chain, the server's own certificate first. PEM.
    pub certificate: PathBuf,
    /// Its private key. PEM.
    pub key: PathBuf,
    pub versions: Vec<Version>,
    /// Those that come first are preferred, whatever the client prefers.
    pub suites: Vec<Suite>,
    /// Those that come first are preferred.
    pub curves: Vec<Curve>,
    /// Sessions remembered for clients that keep no ticket; 0 remembers none.
    pub sessions_max: u32,
    /// How long a session or a ticket is good for.
    pub session_lifetime_s: u32,
    pub tickets: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Version {
    #[serde(rename = "1.2")]
    Tls12,
    #[serde(rename = "1.3")]
    Tls13,
}

/// A record protection: its suite of TLS 1.3, and those of TLS 1.2 that exchange keys by ECDHE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Suite {
    #[serde(rename = "aes-128-gcm")]
    Aes128Gcm,
    #[serde(rename = "aes-256-gcm")]
    Aes256Gcm,
    #[serde(rename = "chacha20-poly1305")]
    Chacha20Poly1305,
}

/// A group in which keys are agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Curve {
    #[serde(rename = "x25519")]
    X25519,
    #[serde(rename = "p-256")]
    P256,
    #[serde(rename = "p-384")]
    P384,
    /// X25519 and a key encapsulation that a quantum computer does not break. TLS 1.3 only.
    #[serde(rename = "x25519mlkem768")]
    X25519MlKem768,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            development: false,
            certificate: PathBuf::new(),
            key: PathBuf::new(),
            versions: vec![Version::Tls12, Version::Tls13],
            suites: vec![Suite::Aes128Gcm, Suite::Aes256Gcm, Suite::Chacha20Poly1305],
            curves: vec![Curve::X25519, Curve::P256, Curve::P384],
            sessions_max: 10_000,
            session_lifetime_s: 7_200,
            tickets: true,
        }
    }
}

impl Settings {
    /// The first key that is not as it must be, and how it must be.
    ///
    /// # Errors
    /// The key and what is wrong with it.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let lifetime_is_odd =
            !(SESSION_LIFETIME_S_MIN..=TICKET_LIFETIME_S_MAX).contains(&self.session_lifetime_s);
        let names_no_certificate = self.certificate.as_os_str().is_empty();
        let names_no_key = self.key.as_os_str().is_empty();
        let rules = [
            (
                self.development && !(names_no_certificate && names_no_key),
                "listen.tls.development",
                "is true, but a certificate or a key is named too".to_owned(),
            ),
            (!self.development && names_no_certificate, "listen.tls.certificate", "names no file".to_owned()),
            (!self.development && names_no_key, "listen.tls.key", "names no file".to_owned()),
            (
                self.versions.is_empty(),
                "listen.tls.versions",
                "is empty, expected \"1.2\", \"1.3\" or both".to_owned(),
            ),
            (self.suites.is_empty(), "listen.tls.suites", "is empty, expected at least one".to_owned()),
            (self.curves.is_empty(), "listen.tls.curves", "is empty, expected at least one".to_owned()),
            (
                self.only_hybrid_for_tls12(),
                "listen.tls.curves",
                "has none for TLS 1.2, expected x25519 or p-256 too".to_owned(),
            ),
            (
                self.sessions_max > SESSIONS_MAX,
                "listen.tls.sessions_max",
                format!("is {}, expected 0 to {SESSIONS_MAX} sessions", self.sessions_max),
            ),
            (
                lifetime_is_odd,
                "listen.tls.session_lifetime_s",
                format!(
                    "is {}, expected {SESSION_LIFETIME_S_MIN} to {TICKET_LIFETIME_S_MAX} seconds",
                    self.session_lifetime_s
                ),
            ),
        ];
        match rules.into_iter().find(|(is_wrong, _, _)| *is_wrong) {
            Some((_, key, what)) => Err((key, what)),
            None => Ok(()),
        }
    }

    fn only_hybrid_for_tls12(&self) -> bool {
        self.versions.contains(&Version::Tls12)
            && self.curves.iter().all(|curve| *curve == Curve::X25519MlKem768)
    }

    fn provider(&self) -> CryptoProvider {
        CryptoProvider {
            cipher_suites: self.suites.iter().flat_map(|suite| suite.suites()).collect(),
            kx_groups: self.curves.iter().map(|curve| curve.group()).collect(),
            ..default_provider()
        }
    }
}

impl Version {
    fn version(self) -> &'static SupportedProtocolVersion {
        match self {
            Version::Tls12 => &TLS12,
            Version::Tls13 => &TLS13,
        }
    }
}

impl Suite {
    fn suites(self) -> [SupportedCipherSuite; 3] {
        match self {
            Suite::Aes128Gcm => [
                cipher_suite::TLS13_AES_128_GCM_SHA256,
                cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
                cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            ],
            Suite::Aes256Gcm => [
                cipher_suite::TLS13_AES_256_GCM_SHA384,
                cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
                cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            ],
            Suite::Chacha20Poly1305 => [
                cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
                cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
                cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
            ],
        }
    }
}

impl Curve {
    fn group(self) -> &'static dyn SupportedKxGroup {
        match self {
            Curve::X25519 => kx_group::X25519,
            Curve::P256 => kx_group::SECP256R1,
            Curve::P384 => kx_group::SECP384R1,
            Curve::X25519MlKem768 => kx_group::X25519MLKEM768,
        }
    }
}

/// TLS as one listener speaks it: what its connections are made from.
#[derive(Clone, Debug)]
pub struct Tls {
    server: Arc<ServerConfig>,
    certificate: Arc<Certificate>,
    source: Source,
}

/// Where the certificate comes from.
#[derive(Clone, Copy, Debug)]
enum Source {
    Files,
    /// Made at the start, gone at the end.
    Development,
}

impl Tls {
    /// Reads certificate and key, or makes them: no client trusts those unless it is told to.
    ///
    /// # Errors
    /// A file that can't be read, or is not what it should be; settings that contradict each other.
    pub fn new(settings: &Settings) -> Result<Tls, Failure> {
        let provider = settings.provider();
        if settings.development {
            let certified = certificate::development(&provider)?;
            return Tls::with(settings, provider, Certificate::new(certified), Source::Development);
        }
        let certified = certificate::load(&settings.certificate, &settings.key, &provider)?;
        Tls::with(settings, provider, Certificate::new(certified), Source::Files)
    }

    /// Reads certificate and key again, by the files that these settings name: handshakes from now on show what is in them. On an
    /// error the old certificate stays. The rest of the settings is that of the start.
    ///
    /// # Errors
    /// As [`Tls::new`].
    pub fn reload(&self, settings: &Settings) -> Result<(), Failure> {
        match self.source {
            Source::Development => Ok(()),
            Source::Files => {
                let provider = self.server.crypto_provider();
                let certified = certificate::load(&settings.certificate, &settings.key, provider)?;
                self.certificate.exchange(certified);
                Ok(())
            }
        }
    }

    /// Whether [`Tls::reload`] has files to read.
    #[must_use]
    pub fn has_files(&self) -> bool {
        matches!(self.source, Source::Files)
    }

    /// What a [`super::Stream`] is made from.
    #[must_use]
    pub fn server_config(&self) -> &Arc<ServerConfig> {
        &self.server
    }

    /// The certificate that is shown at present.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Its fingerprint.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.certificate.fingerprint()
    }

    fn with(
        settings: &Settings,
        provider: CryptoProvider,
        certificate: Certificate,
        source: Source,
    ) -> Result<Tls, Failure> {
        let contradiction = |error: rustls::Error| {
            let hint = "each version needs a suite and a curve that it knows";
            Failure::new(Exit::Config, format!("listen.tls: {error}"), hint)
        };
        let versions: Vec<_> = settings.versions.iter().map(|version| version.version()).collect();
        let certificate = Arc::new(certificate);
        let mut server = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&versions)
            .map_err(contradiction)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::<Certificate>::clone(&certificate));
        server.alpn_protocols = vec![PROTOCOL.to_vec()];
        server.ignore_client_order = true;
        // One connection comes back as one connection, which is then given the next ticket.
        server.send_tls13_tickets = usize::from(settings.tickets || settings.sessions_max > 0);
        server.session_storage = match usize::try_from(settings.sessions_max).unwrap_or(usize::MAX) {
            0 => Arc::new(NoServerSessionStorage {}),
            entries => {
                Arc::new(SessionCache::new(entries, settings.session_lifetime_s, || clock::now().mono_ns))
            }
        };
        if settings.tickets {
            server.ticketer = sessions::tickets(settings.session_lifetime_s).map_err(contradiction)?;
        }
        Ok(Tls { server: Arc::new(server), certificate, source })
    }
}
