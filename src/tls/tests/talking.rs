//! Plaintext through both ends: versions, suites, splits, sizes, key updates, ends.

use proptest::prelude::*;
use rustls::{AlertDescription, Error};

use super::*;

fn text(length: usize) -> Vec<u8> {
    (0..length).map(|index| u8::try_from(index % 251).unwrap()).collect()
}

#[test]
fn speaks_each_version_with_each_suite_and_curve() {
    for version in [Version::Tls12, Version::Tls13] {
        for suite in [Suite::Aes128Gcm, Suite::Aes256Gcm, Suite::Chacha20Poly1305] {
            for curve in [Curve::X25519, Curve::P256, Curve::P384, Curve::X25519MlKem768] {
                if version == Version::Tls12 && curve == Curve::X25519MlKem768 {
                    continue;
                }
                let settings = Settings {
                    versions: vec![version],
                    suites: vec![suite],
                    curves: vec![curve],
                    ..for_development()
                };
                let tls = Tls::new(&settings).unwrap();
                let (mut client, mut server) = connected(&tls, &Arc::new(trusting(&tls, &VERSIONS)));
                client.writer().write_all(b"ping").unwrap();
                server.receive(&mut said(&mut client)).unwrap();
                assert_eq!(server.plain, b"ping");
                let mut plain = Vec::new();
                heard(&mut client, &server.encrypt(b"pong", 512), &mut plain).unwrap();
                assert_eq!(plain, b"pong");
            }
        }
    }
}

#[test]
fn a_handshake_takes_two_flights_of_ours() {
    let tls = development();
    for version in VERSIONS {
        let mut client = client(&Arc::new(trusting(&tls, &[version])));
        let flights = shake_hands(&mut client, &mut Server::new(&tls), || usize::MAX).unwrap();
        assert_eq!(flights, 2, "{version:?}");
    }
}

#[test]
fn speaks_http_1_1_or_what_is_not_named() {
    let tls = development();
    for version in VERSIONS {
        let mut config = trusting(&tls, &[version]);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let (named, _) = connected(&tls, &Arc::new(config.clone()));
        assert_eq!(named.alpn_protocol(), Some(&b"http/1.1"[..]));
        config.alpn_protocols.clear();
        let (unnamed, _) = connected(&tls, &Arc::new(config.clone()));
        assert_eq!(unnamed.alpn_protocol(), None);
        config.alpn_protocols = vec![b"h2".to_vec()];
        let (mut client, mut server) = (client(&Arc::new(config)), Server::new(&tls));
        assert_eq!(server.receive(&mut said(&mut client)), Err(Fault::NoApplicationProtocol));
        let told = heard(&mut client, &server.outgoing(), &mut Vec::new());
        assert_eq!(told, Err(Error::AlertReceived(AlertDescription::NoApplicationProtocol)));
    }
}

#[test]
fn fills_what_it_is_given_and_overfills_nothing() {
    let tls = development();
    for version in VERSIONS {
        let (mut client, mut server) = connected(&tls, &Arc::new(trusting(&tls, &[version])));
        for out_bytes in [128, 129, 4096, 16_384, 16_413, 16_467, 16_496, 16_497, 32_880, 65_536, 100_000] {
            let sent = text(plain_bytes_max(out_bytes) * 2 + 1);
            let mut plain = Vec::new();
            heard(&mut client, &server.encrypt(&sent, out_bytes), &mut plain).unwrap();
            assert_eq!(plain, sent, "{out_bytes}");
        }
    }
}

#[test]
fn follows_a_change_of_keys_and_answers_it() {
    let tls = development();
    let (mut client, mut server) = connected(&tls, &Arc::new(trusting(&tls, &[&TLS13])));
    for round in 0..40_u8 {
        client.refresh_traffic_keys().unwrap();
        client.writer().write_all(&[round]).unwrap();
        server.receive(&mut said(&mut client)).unwrap();
        assert_eq!(server.plain.last(), Some(&round));
        let mut plain = Vec::new();
        let out_bytes = 128;
        let sent = text(plain_bytes_max(out_bytes));
        heard(&mut client, &server.encrypt(&sent, out_bytes), &mut plain).unwrap();
        assert_eq!(plain, sent);
    }
}

#[test]
fn keeps_nothing_between_two_records() {
    let tls = development();
    for version in VERSIONS {
        let (mut client, mut server) = connected(&tls, &Arc::new(trusting(&tls, &[version])));
        client.writer().write_all(&text(40_000)).unwrap();
        let mut bytes = said(&mut client);
        let (most, last) = bytes.split_at_mut(30_000);
        server.receive(most).unwrap();
        assert!((1..HELD_BYTES_MAX).contains(&server.stream.held_bytes()));
        server.receive(last).unwrap();
        assert_eq!(server.plain, text(40_000));
        assert_eq!(server.stream.held_bytes(), 0);
    }
}

#[test]
fn hears_the_end_and_says_it() {
    let tls = development();
    for version in VERSIONS {
        let (mut client, mut server) = connected(&tls, &Arc::new(trusting(&tls, &[version])));
        client.writer().write_all(b"last").unwrap();
        client.send_close_notify();
        let mut bytes = said(&mut client);
        bytes.extend_from_slice(b"what comes after the end is not looked at");
        assert_eq!(server.receive(&mut bytes).unwrap().peer, Peer::Closed);
        assert_eq!(server.plain, b"last");
        assert_eq!(server.receive(&mut [1, 2, 3]).unwrap().peer, Peer::Closed);
        assert_eq!(server.stream.held_bytes(), 0);
        let mut plain = Vec::new();
        heard(&mut client, &server.encrypt(b"answer", 512), &mut plain).unwrap();
        server.stream.close_notify();
        heard(&mut client, &server.outgoing(), &mut plain).unwrap();
        assert_eq!(plain, b"answer");
        assert!(!client.wants_read());
        server.stream.close_notify();
        assert!(!server.stream.has_outgoing());
    }
}

#[test]
fn says_no_end_before_the_handshake_is_done() {
    let tls = development();
    let mut server = Server::new(&tls);
    server.stream.close_notify();
    assert!(!server.stream.has_outgoing());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_split_gives_the_same_plaintext(
        cuts in prop::collection::vec(prop_oneof![1_usize..40, 1_usize..20_000], 1..50),
        lengths in prop::collection::vec(prop_oneof![0_usize..300, 0_usize..40_000], 1..6),
        is_tls13: bool,
    ) {
        let tls = development();
        let mut cuts = cuts.iter().cycle().copied();
        let mut client = client(&Arc::new(trusting(&tls, &VERSIONS[usize::from(is_tls13)..][..1])));
        let mut server = Server::new(&tls);
        shake_hands(&mut client, &mut server, || cuts.next().unwrap()).unwrap();
        let mut bytes = Vec::new();
        for length in &lengths {
            client.writer().write_all(&text(*length)).unwrap();
            bytes.extend(said(&mut client));
        }
        let mut rest = &mut bytes[..];
        while !rest.is_empty() {
            let (part, after) = rest.split_at_mut(cuts.next().unwrap().clamp(1, rest.len()));
            server.receive(part).unwrap();
            rest = after;
        }
        let sent: Vec<u8> = lengths.iter().flat_map(|length| text(*length)).collect();
        prop_assert_eq!(&server.plain, &sent);
        prop_assert_eq!(server.stream.held_bytes(), 0);
    }
}
