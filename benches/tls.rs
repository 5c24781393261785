//! What TLS adds to a message and to a connection: a record out, a record in, a handshake. The other end is rustls's client,
//! outside of what is measured where it can be.
//! `cargo bench --bench tls`

use std::io::{Read, Write};
use std::sync::Arc;

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tickring::tls::{Settings, Stream, Tls, Version};

const SENT_BYTES: [usize; 3] = [240, 4_000, 64_000];

fn main() {
    divan::main();
}

struct Ends {
    tls: Tls,
    config: Arc<ClientConfig>,
}

impl Ends {
    fn new() -> Ends {
        let settings = Settings { development: true, versions: vec![Version::Tls13], ..Settings::default() };
        let tls = Tls::new(&settings).expect("a certificate for the bench");
        let mut roots = RootCertStore::empty();
        roots.add(tls.certificate().first()).expect("it is its own root");
        let mut config =
            ClientConfig::builder_with_provider(Arc::clone(tls.server_config().crypto_provider()))
                .with_safe_default_protocol_versions()
                .expect("the default versions")
                .with_root_certificates(roots)
                .with_no_client_auth();
        config.resumption = rustls::client::Resumption::disabled();
        Ends { tls, config: Arc::new(config) }
    }

    fn connect(&self) -> (ClientConnection, Stream) {
        let name = ServerName::try_from("localhost").expect("a name");
        let mut client = ClientConnection::new(Arc::clone(&self.config), name).expect("a client");
        let mut server = Stream::new(self.tls.server_config());
        let mut scratch = Vec::new();
        loop {
            let mut bytes = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut bytes).expect("memory takes all");
            }
            if bytes.is_empty() {
                return (client, server);
            }
            server.receive(&mut bytes, &mut scratch, |_| ()).expect("a handshake");
            let mut out = vec![0; server.outgoing_bytes()];
            let taken = server.take_outgoing(&mut out);
            let mut answer = &out[..taken];
            while !answer.is_empty() {
                client.read_tls(&mut answer).expect("memory gives all");
                client.process_new_packets().expect("a handshake");
            }
        }
    }
}

/// Both ends of a full handshake with a P-256 certificate.
#[divan::bench]
fn full_handshake_of_both_ends(bencher: Bencher<'_, '_>) {
    let ends = Ends::new();
    bencher.bench_local(|| ends.connect());
}

/// The server's first flight: the answer to a ClientHello.
#[divan::bench]
fn answer_a_client_hello(bencher: Bencher<'_, '_>) {
    let ends = Ends::new();
    let hello = || {
        let name = ServerName::try_from("localhost").expect("a name");
        let mut client = ClientConnection::new(Arc::clone(&ends.config), name).expect("a client");
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).expect("memory takes all");
        bytes
    };
    bencher.with_inputs(hello).bench_local_values(|mut bytes| {
        let mut server = Stream::new(ends.tls.server_config());
        server.receive(&mut bytes, &mut Vec::new(), |_| ()).expect("a hello");
        server
    });
}

#[divan::bench(args = SENT_BYTES)]
fn send(bencher: Bencher<'_, '_>, plain_bytes: usize) {
    let (_, mut server) = Ends::new().connect();
    let plain = vec![b'7'; plain_bytes];
    let mut out = vec![0; 65_536];
    bencher
        .counter(BytesCount::new(plain_bytes))
        .bench_local(|| server.encrypt(black_box(&plain), black_box(&mut out)).expect("keys last"));
}

#[divan::bench(args = [100, 4_000])]
fn receive(bencher: Bencher<'_, '_>, plain_bytes: usize) {
    let (mut client, mut server) = Ends::new().connect();
    let plain = vec![b'7'; plain_bytes];
    let mut scratch = Vec::new();
    let record = || {
        client.writer().write_all(&plain).expect("memory takes all");
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).expect("memory takes all");
        // What the server has to say, tickets and key updates, is of no interest here.
        let _ = client.reader().read(&mut [0; 16]);
        bytes
    };
    bencher.counter(BytesCount::new(plain_bytes)).with_inputs(record).bench_local_values(|mut bytes| {
        let received = server.receive(black_box(&mut bytes), &mut scratch, |plain| {
            black_box(plain);
        });
        received.expect("records in their order")
    });
}
