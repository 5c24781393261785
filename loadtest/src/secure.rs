//! A connection that may be over TLS: rustls's client without any check of the certificate, since the load starts the server
//! itself. Home: the load thread.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, Stream};

use crate::failure::{Doing, Failure, Result};
use crate::frame::Framing;

/// How a server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Security {
    Plain,
    Tls,
    /// Not by a WebSocket, but by binary TCP, and plain.
    PlainTcp,
}

/// A server's address and how it is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) security: Security,
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Target {
        Target { address, security: Security::Plain }
    }
}

/// What turns plaintext into records and back; none on a plain connection.
pub(crate) type Codec = Option<Box<ClientConnection>>;

/// A connected socket.
pub(crate) struct Line {
    pub(crate) stream: TcpStream,
    pub(crate) codec: Codec,
    pub(crate) framing: Framing,
}

impl From<TcpStream> for Line {
    fn from(stream: TcpStream) -> Line {
        Line { stream, codec: None, framing: Framing::WebSocket }
    }
}

impl Line {
    pub(crate) fn over(stream: TcpStream, security: Security) -> Result<Line> {
        let plain = Line::from(stream);
        match security {
            Security::Plain => return Ok(plain),
            Security::PlainTcp => return Ok(Line { framing: Framing::LengthPrefixed, ..plain }),
            Security::Tls => {}
        }
        let mut line = Line { codec: Some(codec("localhost")?), ..plain };
        line.shake_hands().doing("the TLS handshake")?;
        Ok(line)
    }

    fn shake_hands(&mut self) -> io::Result<()> {
        let Some(codec) = &mut self.codec else { return Ok(()) };
        while codec.is_handshaking() {
            codec.complete_io(&mut self.stream)?;
        }
        Ok(())
    }
}

impl Read for Line {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match &mut self.codec {
            None => self.stream.read(out),
            Some(codec) => Stream::new(codec.as_mut(), &mut self.stream).read(out),
        }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.codec {
            None => self.stream.write(bytes),
            Some(codec) => Stream::new(codec.as_mut(), &mut self.stream).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// The client's side of a connection to `name`, before its handshake.
pub(crate) fn codec(name: &str) -> Result<Box<ClientConnection>> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let provider = || Arc::new(aws_lc_rs::default_provider());
    let config = CONFIG.get_or_init(|| {
        let versions = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let builder = versions.expect("invariant: the provider has the suites of both versions");
        let verified = builder.dangerous().with_custom_certificate_verifier(Arc::new(Unchecked));
        Arc::new(verified.with_no_client_auth())
    });
    let unmet = |why: String| Failure::Unmet(format!("TLS to {name}: {why}"));
    let server = ServerName::try_from(name.to_owned()).map_err(|error| unmet(error.to_string()))?;
    let connection = ClientConnection::new(Arc::clone(config), server);
    Ok(Box::new(connection.map_err(|error| unmet(error.to_string()))?))
}

/// Appends the records that the connection itself has to send, as in a handshake.
pub(crate) fn flush(codec: &mut ClientConnection, records: &mut Vec<u8>) -> Result<()> {
    while codec.wants_write() {
        codec.write_tls(records).doing("protect")?;
    }
    Ok(())
}

/// Puts `plain` into records and appends them to `records`.
pub(crate) fn protect(codec: &mut ClientConnection, plain: &[u8], records: &mut Vec<u8>) -> Result<()> {
    codec.writer().write_all(plain).doing("protect")?;
    flush(codec, records)
}

/// Takes received `records` and appends their plaintext to `plain`.
pub(crate) fn open(codec: &mut ClientConnection, mut records: &[u8], plain: &mut Vec<u8>) -> Result<()> {
    while !records.is_empty() {
        codec.read_tls(&mut records).doing("take records")?;
        let state = codec.process_new_packets();
        let state = state.map_err(|error| Failure::Protocol(format!("TLS: {error}")))?;
        let begin = plain.len();
        plain.resize(begin + state.plaintext_bytes_to_read(), 0);
        codec.reader().read_exact(&mut plain[begin..]).doing("open records")?;
    }
    Ok(())
}

#[derive(Debug)]
struct Unchecked;

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
