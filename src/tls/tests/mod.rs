//! A stream against the client of rustls, both in memory.

mod hostile;
mod resuming;
mod setting_up;
mod talking;

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::client::ClientConnection;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion};

use super::certificate;
use super::*;

/// What one end says in a test at most, in one go.
const WIRE_BYTES: usize = 256 * 1024;

/// A buffer that grew to a record's length, doubling, and a flight of ours.
const HELD_BYTES_MAX: usize = 2 * RECORD_BYTES_MAX + 4096;

static VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// A server's stream, and what came out of it.
struct Server {
    stream: Stream,
    scratch: Vec<u8>,
    plain: Vec<u8>,
    peer: Peer,
}

impl Server {
    fn new(tls: &Tls) -> Server {
        let stream = Stream::new(tls.server_config());
        Server { stream, scratch: Vec::new(), plain: Vec::new(), peer: Peer::Sends }
    }

    fn receive(&mut self, bytes: &mut [u8]) -> Result<Progress, Fault> {
        let plain = &mut self.plain;
        let progress =
            self.stream.receive(bytes, &mut self.scratch, |bytes| plain.extend_from_slice(bytes))?;
        self.peer = progress.peer;
        Ok(progress)
    }

    /// What waits to go out, taken in small parts.
    fn outgoing(&mut self) -> Vec<u8> {
        let mut gathered = Vec::new();
        while self.stream.has_outgoing() {
            let mut out = [0; 700];
            let taken = self.stream.take_outgoing(&mut out);
            gathered.extend_from_slice(&out[..taken]);
        }
        gathered
    }

    fn encrypt(&mut self, mut plain: &[u8], out_bytes: usize) -> Vec<u8> {
        let mut gathered = self.outgoing();
        while !plain.is_empty() {
            let mut out = vec![0; out_bytes];
            let (next, rest) = plain.split_at(plain.len().min(plain_bytes_max(out_bytes)));
            let written = self.stream.encrypt(next, &mut out).unwrap();
            gathered.extend_from_slice(&out[..written]);
            plain = rest;
        }
        gathered
    }
}

fn for_development() -> Settings {
    Settings { development: true, ..Settings::default() }
}

fn development() -> Tls {
    Tls::new(&for_development()).unwrap()
}

/// A client's settings that trust `tls` and nothing else.
fn trusting(tls: &Tls, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let shown: CertificateDer<'static> = tls.certificate().first();
    roots.add(shown).unwrap();
    let provider = Arc::clone(tls.server_config().crypto_provider());
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn client(config: &Arc<ClientConfig>) -> ClientConnection {
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(Arc::clone(config), name).unwrap();
    client.set_buffer_limit(None);
    client
}

/// What the client has to say on the wire.
fn said(client: &mut ClientConnection) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(WIRE_BYTES);
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    bytes
}

/// Gives the client bytes of the wire and appends the plaintext that was in them.
fn heard(client: &mut ClientConnection, mut bytes: &[u8], plain: &mut Vec<u8>) -> Result<(), rustls::Error> {
    while !bytes.is_empty() {
        client.read_tls(&mut bytes).unwrap();
        client.process_new_packets()?;
        let mut part = [0; 16_384];
        while let Ok(count @ 1..) = client.reader().read(&mut part) {
            plain.extend_from_slice(&part[..count]);
        }
    }
    Ok(())
}

/// Takes both ends through the handshake; the client's bytes come in parts of the sizes that `cut` gives.
fn shake_hands(
    client: &mut ClientConnection,
    server: &mut Server,
    mut cut: impl FnMut() -> usize,
) -> Result<u32, Fault> {
    let mut flights = 0;
    loop {
        let mut bytes = said(client);
        if bytes.is_empty() {
            assert!(!client.is_handshaking() && server.stream.is_established());
            return Ok(flights);
        }
        let mut rest = &mut bytes[..];
        while !rest.is_empty() {
            let (part, after) = rest.split_at_mut(cut().clamp(1, rest.len()));
            flights += server.receive(part)?.flights;
            rest = after;
        }
        heard(client, &server.outgoing(), &mut Vec::new()).unwrap();
    }
}

/// A client and a server that have shaken hands.
fn connected(tls: &Tls, config: &Arc<ClientConfig>) -> (ClientConnection, Server) {
    let mut client = client(config);
    let mut server = Server::new(tls);
    shake_hands(&mut client, &mut server, || usize::MAX).unwrap();
    (client, server)
}

fn kind_of(tls: &Tls, config: &Arc<ClientConfig>) -> HandshakeKind {
    let (client, _) = connected(tls, config);
    client.handshake_kind().unwrap()
}
