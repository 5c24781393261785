//! Clients that come back.

use super::*;

fn kinds(settings: &Settings, versions: &[&'static SupportedProtocolVersion]) -> [HandshakeKind; 3] {
    let tls = Tls::new(settings).unwrap();
    let config = Arc::new(trusting(&tls, versions));
    [(); 3].map(|()| kind_of(&tls, &config))
}

#[test]
fn a_client_resumes_by_ticket_or_by_what_is_remembered_here() {
    let by_ticket = Settings { sessions_max: 0, ..for_development() };
    let by_memory = Settings { tickets: false, ..for_development() };
    let by_both = for_development();
    for settings in [by_ticket, by_memory, by_both] {
        for version in VERSIONS {
            let expected = [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed];
            assert_eq!(kinds(&settings, &[version]), expected, "{settings:?} {version:?}");
        }
    }
}

#[test]
fn nobody_resumes_where_that_is_off() {
    let settings = Settings { sessions_max: 0, tickets: false, ..for_development() };
    for version in VERSIONS {
        assert_eq!(kinds(&settings, &[version]), [HandshakeKind::Full; 3], "{version:?}");
    }
}

#[test]
fn resumes_across_an_exchange_of_the_certificate() {
    let tls = development();
    let config = Arc::new(trusting(&tls, &VERSIONS));
    assert_eq!(kind_of(&tls, &config), HandshakeKind::Full);
    let provider = tls.server_config().crypto_provider();
    tls.certificate().exchange(certificate::development(provider).unwrap());
    assert_eq!(kind_of(&tls, &config), HandshakeKind::Resumed);
}
