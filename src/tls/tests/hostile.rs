//! What no honest client sends: a fault each, never a panic, and nothing that grows.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use proptest::prelude::*;
use rustls::{ConnectionTrafficSecrets, ExtractedSecrets};

use super::*;

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[kind, 3, 3, length[0], length[1]], payload].concat()
}

/// A client that has the keys of its connection and says with them what it likes.
struct Forger {
    key: LessSafeKey,
    iv: [u8; 12],
    seq: u64,
    is_tls13: bool,
}

impl Forger {
    fn new(version: &'static SupportedProtocolVersion) -> (Forger, Server) {
        let settings = Settings { suites: vec![Suite::Aes128Gcm], ..for_development() };
        let tls = Tls::new(&settings).unwrap();
        let mut config = trusting(&tls, &[version]);
        config.enable_secret_extraction = true;
        let (client, server) = connected(&tls, &Arc::new(config));
        let ExtractedSecrets { tx: (seq, secrets), .. } = client.dangerous_extract_secrets().unwrap();
        let ConnectionTrafficSecrets::Aes128Gcm { key, iv } = secrets else { panic!("another suite") };
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, key.as_ref()).unwrap());
        let mut nonce = [0; 12];
        nonce.copy_from_slice(iv.as_ref());
        (Forger { key, iv: nonce, seq, is_tls13: std::ptr::eq(version, &TLS13) }, server)
    }

    /// A record that is authentic.
    fn seal(&mut self, kind: u8, payload: &[u8]) -> Vec<u8> {
        let seq = self.seq.to_be_bytes();
        self.seq += 1;
        let mut body = payload.to_vec();
        if self.is_tls13 {
            body.push(kind);
            let header = record(APPLICATION_DATA, &vec![0; body.len() + 16])[..5].to_vec();
            let mut nonce = self.iv;
            nonce[4..].iter_mut().zip(seq).for_each(|(byte, seq)| *byte ^= seq);
            let nonce = Nonce::assume_unique_for_key(nonce);
            self.key.seal_in_place_append_tag(nonce, Aad::from(&header), &mut body).unwrap();
            return [header, body].concat();
        }
        let plain_header = record(kind, payload)[..5].to_vec();
        let aad = [&seq[..], &plain_header].concat();
        let mut nonce = self.iv;
        nonce[4..].copy_from_slice(&seq);
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut body)
            .unwrap();
        record(kind, &[&seq[..], &body].concat())
    }
}

fn greeted(bytes: &[u8]) -> (Result<Progress, Fault>, Vec<u8>) {
    let mut server = Server::new(&development());
    let result = server.receive(&mut bytes.to_vec());
    (result, server.outgoing())
}

#[test]
fn a_plain_greeting_is_told_so_by_an_alert() {
    for greeting in
        [&b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n"[..], b"SSH-2.0-x\r\n", &[0; 64], &[22, 9, 9, 0, 1, 1]]
    {
        let (result, alert) = greeted(greeting);
        assert_eq!(result, Err(Fault::NotTls));
        assert_eq!((alert[0], alert.len(), alert[5]), (ALERT, 7, 2));
    }
}

#[test]
fn a_record_that_is_too_long_is_refused_by_its_header() {
    let (result, _) = greeted(&[HANDSHAKE, 3, 1, 0xff, 0xff]);
    assert_eq!(result, Err(Fault::NotTls));
    for version in VERSIONS {
        let (_, mut server) = Forger::new(version);
        assert_eq!(server.receive(&mut [APPLICATION_DATA, 3, 3, 0xff, 0xff]), Err(Fault::RecordTooLong));
        assert!(server.stream.has_outgoing());
    }
}

#[test]
fn a_client_hello_that_does_not_end_is_refused_before_it_fills_memory() {
    let mut server = Server::new(&development());
    let begin = record(HANDSHAKE, &[1, 0, 0xff, 0xff]);
    server.receive(&mut begin.clone()).unwrap();
    let more = record(HANDSHAKE, &[0; 1000]);
    let fault = loop {
        match server.receive(&mut more.clone()) {
            Ok(_) => assert!(server.stream.held_bytes() <= HELD_BYTES_MAX),
            Err(fault) => break fault,
        }
    };
    assert_eq!(fault, Fault::HandshakeTooLong);
    assert_eq!(server.outgoing(), [21, 3, 3, 0, 2, 2, 50]);
    server.receive(&mut [1; 100]).unwrap();
    assert_eq!(server.stream.held_bytes(), 0);
}

#[test]
fn a_client_with_nothing_in_common_is_refused() {
    let settings = Settings { versions: vec![Version::Tls13], ..for_development() };
    let tls = Tls::new(&settings).unwrap();
    let old = Arc::new(trusting(&development(), &[&TLS12]));
    let refused = shake_hands(&mut client(&old), &mut Server::new(&tls), || usize::MAX);
    assert_eq!(refused, Err(Fault::NothingInCommon));
    let settings = Settings { suites: vec![Suite::Chacha20Poly1305], ..for_development() };
    let tls = Tls::new(&settings).unwrap();
    let settings = Settings { suites: vec![Suite::Aes128Gcm], ..for_development() };
    let other = Arc::new(trusting(&Tls::new(&settings).unwrap(), &VERSIONS));
    let refused = shake_hands(&mut client(&other), &mut Server::new(&tls), || usize::MAX);
    assert_eq!(refused, Err(Fault::NothingInCommon));
}

#[test]
fn a_damaged_record_ends_the_connection() {
    for version in VERSIONS {
        let (mut forger, mut server) = Forger::new(version);
        let mut bytes =
            [forger.seal(APPLICATION_DATA, b"good"), forger.seal(APPLICATION_DATA, b"bad")].concat();
        *bytes.last_mut().unwrap() ^= 1;
        assert_eq!(server.receive(&mut bytes), Err(Fault::BadRecord));
        assert_eq!(server.plain, b"good");
        assert!(server.stream.has_outgoing());
    }
}

#[test]
fn renegotiation_is_refused() {
    let (mut forger, mut server) = Forger::new(&TLS12);
    let hello = [&[1, 0, 0, 42][..], &[7; 42]].concat();
    let mut refusals = 0;
    let fault = loop {
        match server.receive(&mut forger.seal(HANDSHAKE, &hello)) {
            Ok(_) => refusals += 1,
            Err(fault) => break fault,
        }
        assert!(refusals < 4, "a client that asks again and again");
    };
    assert_eq!(fault, Fault::Misbehaved);
    let (mut forger, mut server) = Forger::new(&TLS13);
    assert_eq!(server.receive(&mut forger.seal(HANDSHAKE, &hello)), Err(Fault::Misbehaved));
}

#[test]
fn endless_key_updates_and_warnings_end_the_connection_and_pile_up_nothing() {
    let update = [24, 0, 0, 1, 1];
    let (mut forger, mut server) = Forger::new(&TLS13);
    // The second is made with the keys of the first: enough to see that one is taken and the next is not authentic.
    server.receive(&mut forger.seal(HANDSHAKE, &update)).unwrap();
    assert!(!server.stream.has_outgoing());
    assert_eq!(server.receive(&mut forger.seal(HANDSHAKE, &update)), Err(Fault::BadRecord));
    let (mut forger, mut server) = Forger::new(&TLS12);
    let ended = (0..10).any(|_| server.receive(&mut forger.seal(ALERT, &[1, 90])).is_err());
    assert!(ended);
}

#[test]
fn a_few_empty_records_say_nothing_and_many_end_the_connection() {
    for version in VERSIONS {
        let (mut forger, mut server) = Forger::new(version);
        for _ in 0..10 {
            server.receive(&mut forger.seal(APPLICATION_DATA, b"")).unwrap();
        }
        server.receive(&mut forger.seal(APPLICATION_DATA, b"x")).unwrap();
        assert_eq!(server.plain, b"x");
        let ended = (0..100).any(|_| server.receive(&mut forger.seal(APPLICATION_DATA, b"")).is_err());
        assert!(ended);
    }
}

#[test]
fn a_handshake_message_in_parts_after_the_handshake_holds_back_nothing_of_ours() {
    let (mut forger, mut server) = Forger::new(&TLS13);
    server.receive(&mut forger.seal(HANDSHAKE, &[24, 0])).unwrap();
    assert!(!server.encrypt(b"while a message is incomplete", 512).is_empty());
    server.receive(&mut forger.seal(HANDSHAKE, &[0, 1, 0])).unwrap();
    assert_eq!(server.stream.held_bytes(), 0);
    assert!(!server.encrypt(b"and after it", 512).is_empty());
    // A part, then what may not come in between.
    let (mut forger, mut server) = Forger::new(&TLS13);
    server.receive(&mut forger.seal(HANDSHAKE, &[24, 0])).unwrap();
    assert_eq!(server.receive(&mut forger.seal(APPLICATION_DATA, b"x")), Err(Fault::Misbehaved));
}

/// Gives `bytes` in parts and whatever goes out in between; the plaintext and how it ended.
fn feed(server: &mut Server, mut bytes: Vec<u8>, cut: usize) -> Option<Fault> {
    for part in bytes.chunks_mut(cut) {
        if let Err(fault) = server.receive(part) {
            server.outgoing();
            return Some(fault);
        }
        if server.stream.is_established() && server.peer == Peer::Sends {
            server.encrypt(b"unimpressed", 512);
        }
        assert!(server.stream.held_bytes() <= HELD_BYTES_MAX);
    }
    None
}

fn kind() -> impl Strategy<Value = u8> {
    prop_oneof![
        8 => prop::sample::select(&[CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA, 24][..]),
        1 => any::<u8>(),
    ]
}

/// Alerts, key updates, and parts of them.
const TELLING: &[&[u8]] = &[&[1, 0], &[2, 0], &[1, 90], &[1], &[24, 0, 0, 1, 1], &[24, 0], &[0, 1, 0]];

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        // The beginnings of handshake messages and alerts.
        (prop::sample::select(&[0_u8, 1, 2, 11, 16, 20, 24][..]), 0_u8..6, 0_usize..8)
            .prop_map(|(kind, length, sent)| [&[kind, 0, 0, length][..], &vec![1; sent]].concat()),
        prop::sample::select(TELLING).prop_map(<[u8]>::to_vec),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..2000), cut in 1_usize..100) {
        feed(&mut Server::new(&development()), bytes, cut);
    }

    #[test]
    fn records_of_any_content_never_panic(
        records in prop::collection::vec((kind(), payload()), 1..12),
        cut in 1_usize..100,
    ) {
        let bytes = records.iter().flat_map(|(kind, payload)| record(*kind, payload)).collect();
        feed(&mut Server::new(&development()), bytes, cut);
    }

    #[test]
    fn what_an_authentic_client_says_never_panics(
        records in prop::collection::vec((kind(), payload()), 1..12),
        cut in 1_usize..100,
        is_tls13: bool,
    ) {
        let (mut forger, mut server) = Forger::new(VERSIONS[usize::from(is_tls13)]);
        let bytes = records.iter().flat_map(|(kind, payload)| forger.seal(*kind, payload)).collect();
        feed(&mut server, bytes, cut);
        server.stream.close_notify();
        server.outgoing();
    }

    #[test]
    fn a_damaged_handshake_never_panics(at in 0_usize..600, mask in 1_u8.., cut in 1_usize..600) {
        let tls = development();
        let mut client = client(&Arc::new(trusting(&tls, &VERSIONS)));
        let mut bytes = said(&mut client);
        let at = at % bytes.len();
        bytes[at] ^= mask;
        feed(&mut Server::new(&tls), bytes, cut);
    }

    #[test]
    fn what_came_before_the_damage_is_handed_on_and_nothing_after(
        at in 0_usize..3000,
        mask in 1_u8..,
        cut in 1_usize..3000,
        is_tls13: bool,
    ) {
        let (mut forger, mut server) = Forger::new(VERSIONS[usize::from(is_tls13)]);
        let mut bytes: Vec<u8> = (0..30).flat_map(|n: u8| forger.seal(APPLICATION_DATA, &[n; 70])).collect();
        let record_bytes = bytes.len() / 30;
        let at = at % bytes.len();
        // A record's version says nothing and is not protected (RFC 8446 §5.1).
        prop_assume!(!(1..3).contains(&(at % record_bytes)));
        bytes[at] ^= mask;
        feed(&mut server, bytes, cut);
        let whole = at / record_bytes;
        let expected: Vec<u8> = (0..30).take(whole).flat_map(|n: u8| [n; 70]).collect();
        prop_assert!(server.plain == expected, "{} of {}", server.plain.len(), expected.len());
    }
}
