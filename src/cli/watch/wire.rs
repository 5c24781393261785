//! The socket under the WebSocket of `watch`, plain or over TLS. Home: the main thread.
//!
//! Whom it trusts: a certificate of a given fingerprint, or those that the machine's authorities vouch for.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme, StreamOwned,
};

use super::url::Url;
use crate::exit::{Exit, Failure};
use crate::tls::Fingerprint;

/// Where the distributions keep the authorities' certificates.
const AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// A connected socket.
pub(super) enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Wire {
    /// Whether and how to speak TLS to this address; `pin` is the only certificate that is trusted then.
    ///
    /// # Errors
    /// No authorities are known here, or the name is none that a certificate could have.
    pub(super) fn trust(url: &Url, pin: Option<Fingerprint>) -> Result<Option<Trust>, Failure> {
        let failed = |what: String| {
            Failure::new(Exit::Usage, what, "--pin FINGERPRINT names the certificate to trust, with wss://")
        };
        if !url.is_secure {
            return match pin {
                Some(_) => Err(failed(format!("{} is not over TLS and shows no certificate", url.text))),
                None => Ok(None),
            };
        }
        let name = ServerName::try_from(url.host.clone())
            .map_err(|_| failed(format!("{} is no name of a server", url.host)))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(error.to_string()))?;
        let mut config = match pin {
            Some(fingerprint) => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Pinned { fingerprint, provider }))
                .with_no_client_auth(),
            None => {
                let roots =
                    authorities().ok_or_else(|| failed("no authorities are known here".to_owned()))?;
                builder.with_root_certificates(roots).with_no_client_auth()
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Some(Trust { config: Arc::new(config), name }))
    }

    /// # Errors
    /// The handshake failed: the certificate is not trusted, or the peer speaks no TLS.
    pub(super) fn over(stream: TcpStream, trust: Option<&Trust>) -> io::Result<Wire> {
        let Some(trust) = trust else { return Ok(Wire::Plain(stream)) };
        let connection = ClientConnection::new(Arc::clone(&trust.config), trust.name.clone());
        let mut tls = StreamOwned::new(connection.map_err(io::Error::other)?, stream);
        while tls.conn.is_handshaking() {
            tls.conn.complete_io(&mut tls.sock)?;
        }
        Ok(Wire::Tls(Box::new(tls)))
    }

    pub(super) fn socket(&self) -> &TcpStream {
        match self {
            Wire::Plain(stream) => stream,
            Wire::Tls(tls) => &tls.sock,
        }
    }
}

impl Read for Wire {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.read(out),
            Wire::Tls(tls) => tls.read(out),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.write(bytes),
            Wire::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Wire::Plain(stream) => stream.flush(),
            Wire::Tls(tls) => tls.flush(),
        }
    }
}

/// How to speak TLS to one server.
pub(super) struct Trust {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

fn authorities() -> Option<RootCertStore> {
    let path = AUTHORITIES.iter().map(Path::new).find(|path| path.exists())?;
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path).ok()?.filter_map(Result::ok);
    let (added, _) = roots.add_parsable_certificates(certificates);
    (added > 0).then_some(roots)
}

/// Trusts the certificate of one fingerprint, whoever has signed it and for whatever name.
#[derive(Debug)]
struct Pinned {
    fingerprint: Fingerprint,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if Fingerprint::of(shown) == self.fingerprint {
            return Ok(ServerCertVerified::assertion());
        }
        Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Wire").field(self.socket()).finish()
    }
}
