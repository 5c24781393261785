//! TLS on a listener, against the client of rustls: versions, resumption, a certificate exchanged under open connections,
//! slow and hostile handshakes, ends, big messages.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

use nix::sys::signal::Signal;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned, SupportedProtocolVersion,
};
use tungstenite::{Message, WebSocket};

use crate::bytes::{self, TEST};
use crate::server::{Server, temporary_file};

pub(crate) type Stream = StreamOwned<ClientConnection, TcpStream>;

/// Certificate and key in files, which go when it goes.
pub(crate) struct Pair {
    certificate: PathBuf,
    key: PathBuf,
    der: CertificateDer<'static>,
}

impl Pair {
    pub(crate) fn new() -> Pair {
        let (certificate, key) = (temporary_file("pem", b""), temporary_file("pem", b""));
        let mut pair = Pair { certificate, key, der: CertificateDer::from(Vec::new()) };
        pair.renew();
        pair
    }

    /// Writes another certificate, of another key, into the same files.
    fn renew(&mut self) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&self.certificate, made.cert.pem()).unwrap();
        std::fs::write(&self.key, made.signing_key.serialize_pem()).unwrap();
        self.der = made.cert.der().clone();
    }

    pub(crate) fn server(&self, cores: &str, more: &str) -> Server {
        self.server_by("echo = true", cores, more)
    }

    /// With this in the listener's table.
    pub(crate) fn server_by(&self, listen: &str, cores: &str, more: &str) -> Server {
        let Pair { certificate, key, .. } = self;
        let toml = format!(
            "[[listen]]\n{listen}\n[listen.tls]\ncertificate = {certificate:?}\nkey = {key:?}\n{more}"
        );
        Server::start(&toml, cores)
    }

    pub(crate) fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        self.client_of(rustls::crypto::aws_lc_rs::default_provider(), versions)
    }

    /// A client with the suites and groups of its own.
    pub(crate) fn client_of(
        &self,
        provider: CryptoProvider,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for path in [&self.certificate, &self.key] {
            std::fs::remove_file(path).unwrap();
        }
    }
}

pub(crate) fn connection(config: &Arc<ClientConfig>) -> ClientConnection {
    ClientConnection::new(Arc::clone(config), ServerName::try_from("localhost").unwrap()).unwrap()
}

pub(crate) fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> Stream {
    StreamOwned::new(connection(config), bytes::connect(address))
}

pub(crate) fn open(address: SocketAddr, config: &Arc<ClientConfig>, path: &str) -> WebSocket<Stream> {
    let stream = connect(address, config);
    let (socket, response) = tungstenite::client(format!("wss://localhost{path}"), stream).unwrap();
    assert_eq!(response.status(), 101);
    socket
}

fn ask(socket: &mut WebSocket<Stream>, text: &str) -> String {
    socket.send(Message::text(text)).unwrap();
    let told = socket.read().unwrap().into_text().unwrap().to_string();
    // On `/echo` it is what was sent.
    if told != text {
        bytes::check_json(told.as_bytes());
    }
    told
}

pub(crate) fn assert_echoes(socket: &mut WebSocket<Stream>, text: &str) {
    assert!(ask(socket, text) == text, "the echo of {} bytes", text.len());
}

/// Closes as a client should; the server's `close_notify` is the end.
pub(crate) fn close(mut socket: WebSocket<Stream>) {
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
    let mut rest = Vec::new();
    assert_eq!(socket.get_mut().read_to_end(&mut rest).unwrap(), 0);
}

#[test]
fn speaks_both_versions_and_resumes_whichever_shard_accepts() {
    for cores in ["0", "0,1"] {
        let pair = Pair::new();
        let server = pair.server(cores, "");
        for (version, cipher) in [(&TLS12, "TLS12"), (&TLS13, "TLS13")] {
            let config = pair.client(&[version]);
            let mut kinds = Vec::new();
            for _ in 0..12 {
                let mut socket = open(server.address, &config, "/ws");
                assert!(ask(&mut socket, TEST).contains("\"version\""));
                let tls = &socket.get_ref().conn;
                assert_eq!(tls.alpn_protocol(), Some(&b"http/1.1"[..]));
                assert_eq!(tls.protocol_version(), Some(version.version), "{cipher}");
                kinds.push(tls.handshake_kind().unwrap());
                close(socket);
            }
            assert_eq!(kinds[0], HandshakeKind::Full);
            assert!(kinds[1..].iter().all(|kind| *kind == HandshakeKind::Resumed), "{kinds:?}");
        }
        server.stop().assert_clean();
    }
}

#[test]
fn a_certificate_is_exchanged_and_connections_go_on() {
    let mut pair = Pair::new();
    let mut server = pair.server("0", "");
    let old_config = pair.client(&[&TLS12, &TLS13]);
    let mut old = open(server.address, &old_config, "/echo");
    assert_echoes(&mut old, "before");
    pair.renew();
    server.signal(Signal::SIGHUP);
    server.wait_for_log("is shown from now on");
    assert_echoes(&mut old, "and on it goes");
    let new_config = pair.client(&[&TLS12, &TLS13]);
    let mut new = open(server.address, &new_config, "/echo");
    assert_echoes(&mut new, "by the new certificate");
    // Who trusts the old one alone is not fooled.
    let mut distrusting = ClientConfig::clone(&old_config);
    distrusting.resumption = rustls::client::Resumption::disabled();
    let refused = connect(server.address, &Arc::new(distrusting)).write_all(b"x").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidData);

    std::fs::write(&pair.certificate, "rubbish").unwrap();
    server.signal(Signal::SIGHUP);
    let told = server.wait_for_log("the certificate stays as it was");
    assert!(told.contains("has no certificate: a chain in PEM is expected"), "{told}");
    let mut newer = open(server.address, &new_config, "/echo");
    for socket in [&mut old, &mut new, &mut newer] {
        assert_echoes(socket, "still here");
    }
    [old, new, newer].into_iter().for_each(close);
    let ended = server.stop();
    ended.assert_clean();
    assert_eq!(ended.incidents("tls_alert_received"), 1);
}

#[test]
fn plain_bytes_on_a_port_of_tls_are_told_by_an_alert() {
    let pair = Pair::new();
    let server = pair.server("0", "");
    for greeting in [&bytes::upgrade_request()[..], b"SSH-2.0-x\r\n", &[0xff; 3000]] {
        let mut stream = bytes::connect(server.address);
        stream.write_all(greeting).unwrap();
        let mut told = [0; 7];
        stream.read_exact(&mut told).unwrap();
        // A fatal alert, decode_error (RFC 8446 §6).
        assert_eq!(told, [21, 3, 3, 0, 2, 2, 50]);
        assert_ends(&mut stream);
    }
    let ended = server.stop();
    ended.assert_clean();
    assert_eq!(ended.incidents("tls_not_tls"), 3);
}

/// What is left is nothing, or the reset of a server that did not read all.
fn assert_ends(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    assert!(rest.is_empty(), "{rest:?}");
}

#[test]
fn tls_on_a_plain_port_is_answered_in_http() {
    let pair = Pair::new();
    let server = Server::start("", "0");
    let mut hello = Vec::new();
    connection(&pair.client(&[&TLS13])).write_tls(&mut hello).unwrap();
    let mut stream = bytes::connect(server.address);
    stream.write_all(&hello).unwrap();
    let head = bytes::read_head(&mut stream);
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    server.stop().assert_clean();
}

#[test]
fn a_handshake_may_come_byte_by_byte_but_not_stall() {
    let pair = Pair::new();
    let server = pair.server("0", "[limits]\nhandshake_timeout_ms = 2000\n");
    for version in [&TLS12, &TLS13] {
        let config = pair.client(&[version]);
        // Byte by byte.
        let mut socket = bytes::connect(server.address);
        let mut tls = connection(&config);
        while tls.is_handshaking() {
            let mut bytes = Vec::new();
            while tls.wants_write() {
                tls.write_tls(&mut bytes).unwrap();
            }
            bytes.chunks(1).for_each(|byte| socket.write_all(byte).unwrap());
            if tls.wants_read() && tls.is_handshaking() {
                tls.read_tls(&mut socket).unwrap();
                tls.process_new_packets().unwrap();
            }
        }
        let mut stream = StreamOwned::new(tls, socket);
        stream.write_all(&bytes::upgrade_request()).unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 101");
        // A part of it, or a whole hello and then nothing.
        let mut hello = Vec::new();
        connection(&config).write_tls(&mut hello).unwrap();
        let stalled = [0, 1, 5, hello.len() / 2, hello.len()].map(|sent| {
            let mut stream = bytes::connect(server.address);
            stream.write_all(&hello[..sent]).unwrap();
            (sent, stream)
        });
        for (sent, mut stream) in stalled {
            let mut rest = Vec::new();
            if let Err(error) = stream.read_to_end(&mut rest) {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            }
            assert_eq!(rest.is_empty(), sent < hello.len());
        }
    }
    // A whole one, and then a part of the request: told by HTTP.
    let socket = bytes::connect(server.address);
    let mut stream = StreamOwned::new(connection(&pair.client(&[&TLS13])), socket);
    stream.write_all(b"GET /ws").unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 408");
    let ended = server.stop();
    ended.assert_clean();
    assert_eq!(ended.incidents("tls_handshake_timeout"), 10);
    assert_eq!(ended.incidents("handshake_timeout"), 1);
}

#[test]
fn big_messages_come_back_whole() {
    let pair = Pair::new();
    let server = pair.server("0", "");
    for version in [&TLS12, &TLS13] {
        let mut socket = open(server.address, &pair.client(&[version]), "/echo");
        for length in [0, 1, 125, 126, 4000, 16_384, 16_385, 65_536, 1_000_000, 16 * 1024 * 1024] {
            assert_echoes(&mut socket, &"x".repeat(length));
        }
        close(socket);
    }
    server.stop().assert_clean();
}

const KEY_CHANGES: u32 = 20;

/// Reads a message and counts it as a notification or as a reply to `TEST`.
fn read_either(socket: &mut WebSocket<Stream>, notes: &mut u32, replies: &mut u32) {
    let text = socket.read().unwrap().into_text().unwrap();
    bytes::check_json(text.as_bytes());
    let is_note = text.contains("\"method\":\"subscription\"");
    assert!(is_note || text.contains("\"id\":7,\"result\""), "{text}");
    *(if is_note { notes } else { replies }) += 1;
}

#[test]
fn keys_change_and_market_data_goes_on() {
    let pair = Pair::new();
    let server = pair.server("0", "[feed.paper]\nevents_per_s = 5000\n");
    let mut socket = open(server.address, &pair.client(&[&TLS13]), "/ws");
    let subscribe =
        r#"{"jsonrpc":"2.0","id":1,"method":"public/subscribe","params":{"channels":["ticker.*.raw"]}}"#;
    assert!(ask(&mut socket, subscribe).contains("\"result\""));
    // Each request is the first message by new keys.
    let (mut notes, mut replies) = (0, 0);
    for round in 1..=KEY_CHANGES {
        while notes < 25 * round {
            read_either(&mut socket, &mut notes, &mut replies);
        }
        socket.get_mut().conn.refresh_traffic_keys().unwrap();
        socket.send(Message::text(TEST)).unwrap();
    }
    crate::until("each request is answered", || {
        read_either(&mut socket, &mut notes, &mut replies);
        replies == KEY_CHANGES
    });
    drop(socket);
    server.stop().assert_clean();
}

#[test]
fn frames_in_the_record_of_the_upgrade_are_answered() {
    let pair = Pair::new();
    let server = pair.server("0", "");
    let mut stream = connect(server.address, &pair.client(&[&TLS13]));
    let mut all = bytes::upgrade_request();
    all.extend_from_slice(&bytes::frame(bytes::FIN | bytes::TEXT, TEST.as_bytes()));
    stream.write_all(&all).unwrap();
    let head = bytes::read_head(&mut stream);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let reply = String::from_utf8(bytes::read_frame(&mut stream).payload).unwrap();
    assert!(reply.contains("\"version\""), "{reply}");
    server.stop().assert_clean();
}

#[test]
fn an_end_is_answered_by_an_end() {
    let pair = Pair::new();
    let server = pair.server("0", "");
    for version in [&TLS12, &TLS13] {
        let mut socket = open(server.address, &pair.client(&[version]), "/ws");
        assert!(ask(&mut socket, TEST).contains("\"version\""));
        let stream = socket.get_mut();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
        let mut rest = Vec::new();
        // Without `close_notify` it would be an error.
        assert_eq!(stream.read_to_end(&mut rest).unwrap(), 0);
    }
    server.stop().assert_clean();
}

#[test]
fn a_stop_is_told_by_a_close_frame_and_an_end() {
    let pair = Pair::new();
    let server = pair.server("0", "");
    let config = pair.client(&[&TLS12, &TLS13]);
    let sockets: Vec<_> = (0..50).map(|_| open(server.address, &config, "/ws")).collect();
    let unfinished = bytes::connect(server.address);
    server.signal(Signal::SIGTERM);
    for mut socket in sockets {
        let Message::Close(Some(frame)) = socket.read().unwrap() else { panic!("no close frame") };
        assert_eq!(u16::from(frame.code), 1001);
        while socket.read().is_ok() {}
        assert_eq!(socket.get_mut().read_to_end(&mut Vec::new()).unwrap(), 0);
    }
    drop(unfinished);
    server.wait().assert_clean();
}

#[test]
fn a_cut_in_any_state_leaves_nothing_behind() {
    let pair = Pair::new();
    let server = pair.server("0,1", "");
    let config = pair.client(&[&TLS12, &TLS13]);
    let mut hello = Vec::new();
    connection(&config).write_tls(&mut hello).unwrap();
    for is_reset in [false, true] {
        let end = |stream: TcpStream| if is_reset { bytes::reset(stream) } else { drop(stream) };
        for sent in [0, 3, hello.len() / 2, hello.len()] {
            let mut stream = bytes::connect(server.address);
            stream.write_all(&hello[..sent]).unwrap();
            end(stream);
        }
        // Half a record of the open connection.
        let mut socket = open(server.address, &config, "/echo");
        assert_echoes(&mut socket, "whole");
        let StreamOwned { conn, sock } = socket.get_mut();
        conn.writer().write_all(&bytes::frame(bytes::FIN | bytes::TEXT, &[b'x'; 1000])).unwrap();
        let mut record = Vec::new();
        conn.write_tls(&mut record).unwrap();
        sock.write_all(&record[..record.len() / 2]).unwrap();
        end(sock.try_clone().unwrap());
        if is_reset {
            bytes::set_reset_on_close(sock);
        }
        drop(socket);
        // A record that is not authentic.
        let mut socket = open(server.address, &config, "/echo");
        let StreamOwned { conn, sock } = socket.get_mut();
        conn.writer().write_all(b"forged").unwrap();
        let mut record = Vec::new();
        conn.write_tls(&mut record).unwrap();
        *record.last_mut().unwrap() ^= 1;
        sock.write_all(&record).unwrap();
        let refused = socket.get_mut().read(&mut [0; 64]).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidData, "{refused}");
        // Others don't notice.
        let mut good = open(server.address, &config, "/echo");
        assert_echoes(&mut good, "untouched");
        close(good);
    }
    let ended = server.stop();
    ended.assert_clean();
    assert_eq!(ended.incidents("tls_bad_record"), 2);
}

#[test]
fn a_peer_that_reads_nothing_is_closed_as_on_a_plain_port() {
    let pair = Pair::new();
    let more = "[limits]\nqueued_bytes_max = 65536\n[feed.paper]\nevents_per_s = 20000\n";
    let mut server = pair.server("0", more);
    let config = pair.client(&[&TLS13]);
    let stream = StreamOwned::new(connection(&config), bytes::connect_narrow(server.address));
    let (mut socket, _) = tungstenite::client("wss://localhost/ws", stream).unwrap();
    let subscribe = r#"{"jsonrpc":"2.0","id":1,"method":"public/subscribe","params":{"channels":["book.*.raw"],"class":"lossless"}}"#;
    socket.send(Message::text(subscribe)).unwrap();
    server.wait_for_log("queue_full");
    let mut good = open(server.address, &config, "/echo");
    assert_echoes(&mut good, "others don't notice");
    close(good);
    drop(socket);
    let ended = server.stop();
    ended.assert_clean();
    assert_eq!(ended.incidents("queue_full"), 1);
}

#[test]
fn says_what_is_wrong_with_a_certificate_before_it_serves() {
    let pair = Pair::new();
    let absent = pair.certificate.with_extension("absent");
    let toml = format!("[[listen]]\n[listen.tls]\ncertificate = {absent:?}\nkey = {:?}\n", pair.key);
    let config = temporary_file("toml", toml.as_bytes());
    let mut command = crate::server::tickring();
    let ended = crate::server::run(
        command.args(["serve", "--control", "off", "--listen", "127.0.0.1:0", "--config"]).arg(&config),
    );
    std::fs::remove_file(config).unwrap();
    assert_eq!(ended.code, Some(66));
    let [line] = &ended.log[..] else { panic!("{:?}", ended.log) };
    assert!(line.contains(".absent: No such file or directory"), "{line}");
}

#[test]
fn watch_trusts_the_certificate_that_it_is_told_to() {
    let mut server = Server::start_with("", "0", &["--tls-dev"]);
    let logged = server.wait_for_log("SHA-256 fingerprint ");
    let (_, pin) = logged.split_once("fingerprint ").unwrap();
    let url = format!("wss://{}/ws", server.address);
    let watch = |arguments: &[&str]| {
        let mut command = crate::server::tickring();
        command.args(["watch", "ticker.*.raw", "--raw", "--count", "5"]).args(arguments);
        let output = command.output().unwrap();
        (output.status.code().unwrap(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let (code, seen) = watch(&["--url", &url, "--pin", pin]);
    assert_eq!((code, seen.matches("\"method\":\"subscription\"").count()), (0, 5), "{seen}");
    let other = pin.replace(['0', '1', '2'], "3");
    let (code, told) = watch(&["--url", &url, "--pin", &other]);
    assert!(code == 69 && told.contains("invalid peer certificate"), "{code} {told}");
    let (code, told) = watch(&["--url", &url.replace("wss", "ws"), "--pin", pin]);
    assert!(code == 64 && told.contains("is not over TLS"), "{code} {told}");
    server.stop().assert_clean();
}

#[test]
fn an_idle_connection_costs_a_few_kilobytes() {
    const FEW: usize = 500;
    const MANY: usize = 1500;
    const BYTES_MAX: u64 = 8 * 1024;
    let pair = Pair::new();
    for version in [&TLS12, &TLS13] {
        let server = pair.server("0", "");
        let config = pair.client(&[version]);
        let mut sockets = Vec::new();
        let resident = [FEW, MANY].map(|count| {
            sockets.resize_with(count, || {
                let mut socket = open(server.address, &config, "/ws");
                assert!(ask(&mut socket, TEST).contains("\"version\""));
                socket
            });
            server.resident_kib().0
        });
        let bytes = (resident[1] - resident[0]) * 1024 / (MANY - FEW) as u64;
        println!("{version:?}: {bytes} bytes for each idle connection");
        assert!(bytes <= BYTES_MAX, "{bytes}");
        sockets.clear();
        server.stop().assert_clean();
    }
}
