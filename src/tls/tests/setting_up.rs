//! Certificates, keys and settings: what is read, and what an operator is told.

use std::path::PathBuf;

use super::*;
use crate::exit::Exit;

/// A folder of its own, gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("tickring-tls-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The files `certificate` and `key` of a new pair.
    fn pair(&self) -> Settings {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Settings {
            certificate: self.write("certificate", &made.cert.pem()),
            key: self.write("key", &made.signing_key.serialize_pem()),
            ..Settings::default()
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

#[track_caller]
fn check_failure(settings: &Settings, exit: Exit, expected: &str) {
    let failure = Tls::new(settings).unwrap_err();
    let told = failure.to_string();
    assert!(told.contains(expected), "{told}");
    assert_eq!(failure.exit, exit);
}

#[test]
fn serves_by_files_and_exchanges_the_certificate_while_connections_go_on() {
    let folder = Folder::new("exchange");
    let settings = folder.pair();
    let tls = Tls::new(&settings).unwrap();
    let old_config = Arc::new(trusting(&tls, &VERSIONS));
    let (mut old, mut server) = connected(&tls, &old_config);
    let before = tls.certificate().fingerprint();
    folder.pair();
    assert_eq!(tls.certificate().fingerprint(), before);
    tls.reload(&settings).unwrap();
    assert_ne!(tls.certificate().fingerprint(), before);
    let elsewhere = Folder::new("elsewhere");
    let other = elsewhere.pair();
    tls.reload(&other).unwrap();
    assert_eq!(tls.certificate().fingerprint(), Tls::new(&other).unwrap().certificate().fingerprint());
    old.writer().write_all(b"on").unwrap();
    server.receive(&mut said(&mut old)).unwrap();
    assert_eq!(server.plain, b"on");
    connected(&tls, &Arc::new(trusting(&tls, &VERSIONS)));
    // Who trusts the old certificate alone does not take the new one.
    let mut distrusting = ClientConfig::clone(&old_config);
    distrusting.resumption = rustls::client::Resumption::disabled();
    let mut distrusting = client(&Arc::new(distrusting));
    let mut server = Server::new(&tls);
    server.receive(&mut said(&mut distrusting)).unwrap();
    assert!(heard(&mut distrusting, &server.outgoing(), &mut Vec::new()).is_err());
    assert_eq!(server.receive(&mut said(&mut distrusting)), Err(Fault::AlertReceived));
}

#[test]
fn a_bad_file_leaves_the_old_certificate() {
    let folder = Folder::new("bad");
    let settings = folder.pair();
    let tls = Tls::new(&settings).unwrap();
    let before = tls.certificate().fingerprint();
    folder.write("certificate", "rubbish");
    assert!(tls.reload(&settings).is_err());
    std::fs::remove_file(folder.0.join("key")).unwrap();
    assert_eq!(tls.reload(&settings).unwrap_err().exit, Exit::Config);
    assert_eq!(tls.certificate().fingerprint(), before);
    connected(&tls, &Arc::new(trusting(&tls, &VERSIONS)));
}

#[test]
fn tells_an_operator_what_is_wrong_with_the_files() {
    let folder = Folder::new("told");
    let good = folder.pair();
    let absent = folder.0.join("absent");
    check_failure(&Settings { certificate: absent.clone(), ..good.clone() }, Exit::NoInput, "No such file");
    check_failure(&Settings { key: absent, ..good.clone() }, Exit::NoInput, "absent: No such file");
    let empty = folder.write("empty", "");
    check_failure(
        &Settings { certificate: empty.clone(), ..good.clone() },
        Exit::Config,
        "empty: has no certificate: a chain in PEM is expected",
    );
    check_failure(&Settings { key: empty, ..good.clone() }, Exit::Config, "empty: has no private key");
    let (certificate, other) = (good.certificate.clone(), Folder::new("other"));
    let foreign = Settings { certificate, ..other.pair() };
    check_failure(&foreign, Exit::Config, "key: is not the key of the certificate");
    let pem = std::fs::read_to_string(&good.certificate).unwrap();
    let damaged = folder.write("damaged", &pem.replace("MII", "MIJ"));
    check_failure(
        &Settings { certificate: damaged, ..good.clone() },
        Exit::Config,
        "key: belongs to a certificate",
    );
    let long = folder.write("long", &pem.repeat(100));
    check_failure(&Settings { certificate: long, ..good }, Exit::Config, "long: is a chain of");
}

#[test]
fn reads_certificate_and_key_from_one_file() {
    let folder = Folder::new("one");
    let pair = folder.pair();
    let text = [&pair.key, &pair.certificate].map(|path| std::fs::read_to_string(path).unwrap()).concat();
    let one = folder.write("one", &text);
    Tls::new(&Settings { certificate: one.clone(), key: one, ..Settings::default() }).unwrap();
}

#[test]
fn names_the_setting_that_cannot_be() {
    let good = Settings { certificate: "c".into(), key: "k".into(), ..Settings::default() };
    good.check().unwrap();
    let wrong = |change: fn(&mut Settings)| {
        let mut settings = good.clone();
        change(&mut settings);
        settings.check().unwrap_err().0
    };
    assert_eq!(wrong(|s| s.certificate = PathBuf::new()), "listen.tls.certificate");
    assert_eq!(wrong(|s| s.key = PathBuf::new()), "listen.tls.key");
    assert_eq!(wrong(|s| s.development = true), "listen.tls.development");
    for_development().check().unwrap();
    assert_eq!(wrong(|s| s.versions.clear()), "listen.tls.versions");
    assert_eq!(wrong(|s| s.suites.clear()), "listen.tls.suites");
    assert_eq!(wrong(|s| s.curves.clear()), "listen.tls.curves");
    assert_eq!(wrong(|s| s.curves = vec![Curve::X25519MlKem768]), "listen.tls.curves");
    assert_eq!(wrong(|s| s.sessions_max = 1_000_001), "listen.tls.sessions_max");
    assert_eq!(wrong(|s| s.session_lifetime_s = 1), "listen.tls.session_lifetime_s");
    assert_eq!(wrong(|s| s.session_lifetime_s = 43_201), "listen.tls.session_lifetime_s");
}

#[test]
fn a_fingerprint_is_written_as_openssl_writes_it() {
    let fingerprint = development().certificate().fingerprint();
    let text = fingerprint.to_string();
    assert_eq!(text.len(), 32 * 3 - 1);
    for text in [text.clone(), text.replace(':', "").to_lowercase()] {
        assert_eq!(text.parse(), Ok(fingerprint));
    }
    for wrong in ["", "00", &text[1..], &text.replace(':', " "), &format!("{text}:00")] {
        assert_eq!(wrong.parse::<Fingerprint>(), Err(()));
    }
}
