//! On a port of TLS: no common ground, messages that do not end or come out of order, records that are too long or forged.

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, ClientConfig};
use tungstenite::WebSocket;

use super::{BAD, check_ended};
use crate::bytes;
use crate::server::Server;
use crate::tls::{self, Pair, Stream};

/// The types of records (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

/// A fatal alert that is not protected (RFC 8446 §6).
fn alert(description: u8) -> [u8; 7] {
    [21, 3, 3, 0, 2, 2, description]
}

fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[kind, 3, 3], &length[..], payload].concat()
}

/// A client that is not good, before its first byte.
fn connect(server: &Server, config: &Arc<ClientConfig>) -> Stream {
    Stream::new(tls::connection(config), bytes::connect_from(BAD, server.address))
}

/// A client that is not good, when it still was.
fn open(server: &Server, config: &Arc<ClientConfig>) -> WebSocket<Stream> {
    let (socket, response) = tungstenite::client("wss://localhost/ws", connect(server, config)).unwrap();
    assert_eq!(response.status(), 101);
    socket
}

/// The alert that the server tells instead of anything else, behind which it ends the connection.
fn alert_to(stream: &mut Stream) -> AlertDescription {
    let error = stream.read(&mut [0; 64]).unwrap_err();
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    let Some(rustls::Error::AlertReceived(alert)) = cause else { panic!("{error}") };
    assert_eq!(bytes::read_to_end(&mut stream.sock), b"", "nothing follows an alert");
    *alert
}

/// Lets the good client leave, stops the server, and expects one counter and its line in the log.
fn check_told(server: Server, mut good: WebSocket<Stream>, label: &str, code: i32, count: u64) {
    tls::assert_echoes(&mut good, "others don't notice");
    tls::close(good);
    check_ended(&server.stop(), &[(label, code, count)]);
}

#[test]
fn clients_without_a_suite_or_a_group_in_common_are_told_40() {
    let pair = Pair::new();
    let server = pair.server("0", "suites = [\"chacha20-poly1305\"]\ncurves = [\"p-256\"]\n");
    let mut good = tls::open(server.address, &pair.client(&[&TLS12, &TLS13]), "/echo");
    let all = aws_lc_rs::default_provider;
    let suites =
        vec![cipher_suite::TLS13_AES_128_GCM_SHA256, cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256];
    let other_suites = CryptoProvider { cipher_suites: suites, ..all() };
    let other_groups = CryptoProvider { kx_groups: vec![kx_group::X25519], ..all() };
    for provider in [other_suites, other_groups] {
        for version in [&TLS12, &TLS13] {
            let mut stream = connect(&server, &pair.client_of(provider.clone(), &[version]));
            assert_eq!(alert_to(&mut stream), AlertDescription::HandshakeFailure, "{version:?}");
            tls::assert_echoes(&mut good, "others don't notice");
        }
    }
    check_told(server, good, "tls_nothing_in_common", 40, 4);
}

#[test]
fn a_client_without_a_version_in_common_is_told_70() {
    let pair = Pair::new();
    let server = pair.server("0", "versions = [\"1.3\"]\n");
    let good = tls::open(server.address, &pair.client(&[&TLS12, &TLS13]), "/echo");
    let mut stream = connect(&server, &pair.client(&[&TLS12]));
    assert_eq!(alert_to(&mut stream), AlertDescription::ProtocolVersion);
    // The log has the alert of most that this name stands for.
    check_told(server, good, "tls_nothing_in_common", 40, 1);
}

#[test]
fn a_client_that_speaks_another_protocol_over_tls_is_told_120() {
    let pair = Pair::new();
    let server = pair.server("0", "");
    let good = tls::open(server.address, &pair.client(&[&TLS12, &TLS13]), "/echo");
    for version in [&TLS12, &TLS13] {
        let mut config = ClientConfig::clone(&pair.client(&[version]));
        config.alpn_protocols = vec![b"h2".to_vec()];
        let mut stream = connect(&server, &config.into());
        assert_eq!(alert_to(&mut stream), AlertDescription::NoApplicationProtocol, "{version:?}");
    }
    check_told(server, good, "tls_no_application_protocol", 120, 2);
}

#[test]
fn a_client_hello_without_an_end_is_told_50_once_it_is_longer_than_a_record() {
    const RECORDS_MAX: usize = 20;
    let pair = Pair::new();
    let server = pair.server("0", "");
    let mut good = tls::open(server.address, &pair.client(&[&TLS12, &TLS13]), "/echo");
    let mut stream = bytes::connect_from(BAD, server.address);
    // A ClientHello of 65,535 bytes, as its head says.
    stream.write_all(&record(HANDSHAKE, &[1, 0, 0xff, 0xff])).unwrap();
    let mut sent = 0;
    while bytes::is_silent(&stream) {
        assert!(sent < RECORDS_MAX, "a handshake message of {sent} kilobytes is kept");
        stream.write_all(&record(HANDSHAKE, &[0; 1000])).unwrap();
        sent += 1;
        // The same thread has answered another since, so it has the record.
        tls::assert_echoes(&mut good, "others don't notice");
        tls::assert_echoes(&mut good, "and don't wait");
    }
    assert!(sent > 16, "{sent} kilobytes fit a record");
    assert_eq!(bytes::read_to_end(&mut stream), alert(50));
    check_told(server, good, "tls_handshake_too_long", 50, 1);
}

#[test]
fn a_record_longer_than_the_protocol_allows_is_told_50_by_its_header_alone() {
    let pair = Pair::new();
    let server = pair.server("0", "");
    let good = tls::open(server.address, &pair.client(&[&TLS12, &TLS13]), "/echo");
    for version in [&TLS12, &TLS13] {
        let mut socket = open(&server, &pair.client(&[version]));
        let stream = socket.get_mut();
        stream.sock.write_all(&[APPLICATION_DATA, 3, 3, 0xff, 0xff]).unwrap();
        assert_eq!(alert_to(stream), AlertDescription::DecodeError, "{version:?}");
    }
    check_told(server, good, "tls_record_too_long", 50, 2);
}

#[test]
fn a_forged_record_is_told_20() {
    let pair = Pair::new();
    let server = pair.server("0", "");
    let good = tls::open(server.address, &pair.client(&[&TLS12, &TLS13]), "/echo");
    for version in [&TLS12, &TLS13] {
        let mut socket = open(&server, &pair.client(&[version]));
        let stream = socket.get_mut();
        stream.sock.write_all(&record(APPLICATION_DATA, &[7; 64])).unwrap();
        assert_eq!(alert_to(stream), AlertDescription::BadRecordMac, "{version:?}");
    }
    check_told(server, good, "tls_bad_record", 20, 2);
}

#[test]
fn a_second_greeting_in_the_middle_of_a_handshake_is_told_10() {
    let pair = Pair::new();
    let server = pair.server("0", "");
    let good = tls::open(server.address, &pair.client(&[&TLS12, &TLS13]), "/echo");
    let mut hello = Vec::new();
    tls::connection(&pair.client(&[&TLS12])).write_tls(&mut hello).unwrap();
    let mut stream = bytes::connect_from(BAD, server.address);
    stream.write_all(&hello).unwrap();
    // The first byte of the answer: the first greeting was taken.
    let mut kind = [0];
    stream.read_exact(&mut kind).unwrap();
    assert_eq!(kind, [HANDSHAKE]);
    stream.write_all(&hello).unwrap();
    let answer = bytes::read_to_end(&mut stream);
    assert!(answer.ends_with(&alert(10)), "{answer:?}");
    check_told(server, good, "tls_misbehaved", 10, 1);
}
