//! Why a TLS connection is ended by us: a closed set, each the peer's doing, what it fails to do, or the end of its keys.
//!
//! Home: any thread. Pure values: the PURE half builds with this file and nothing else of its folder.

/// What a peer did, or could not do. A fatal alert tells it (RFC 8446 §6.2), where one can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The first bytes are no TLS record: a client that speaks plain HTTP, or a scanner.
    NotTls,
    /// No version, cipher suite, group or signature scheme that both have.
    NothingInCommon,
    /// The client offers application protocols, and `http/1.1` is not among them (RFC 7301 §3.2).
    NoApplicationProtocol,
    /// A handshake message that does not fit one record of the largest size.
    HandshakeTooLong,
    /// A record larger than the protocol allows.
    RecordTooLong,
    /// A record that is not authentic: damaged, forged, or made with other keys.
    BadRecord,
    /// The peer ended it with a fatal alert; often a client that does not trust the certificate.
    AlertReceived,
    /// A message that is malformed or out of its order, renegotiation included.
    Misbehaved,
    /// TLS 1.2 has no new keys for a connection whose keys protected as many records as is safe.
    KeysExhausted,
    /// The handshake was not done in time. No alert says so.
    HandshakeTimeout,
}

impl Fault {
    pub const ALL: [Fault; 10] = [
        Fault::NotTls,
        Fault::NothingInCommon,
        Fault::NoApplicationProtocol,
        Fault::HandshakeTooLong,
        Fault::RecordTooLong,
        Fault::BadRecord,
        Fault::AlertReceived,
        Fault::Misbehaved,
        Fault::KeysExhausted,
        Fault::HandshakeTimeout,
    ];

    /// Its name in log lines and counters.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Fault::NotTls => "tls_not_tls",
            Fault::NothingInCommon => "tls_nothing_in_common",
            Fault::NoApplicationProtocol => "tls_no_application_protocol",
            Fault::HandshakeTooLong => "tls_handshake_too_long",
            Fault::RecordTooLong => "tls_record_too_long",
            Fault::BadRecord => "tls_bad_record",
            Fault::AlertReceived => "tls_alert_received",
            Fault::Misbehaved => "tls_misbehaved",
            Fault::KeysExhausted => "tls_keys_exhausted",
            Fault::HandshakeTimeout => "tls_handshake_timeout",
        }
    }

    /// The alert that tells the peer, as a rule (RFC 8446 §6). A record that is too long by its header is told
    /// decode_error by rustls, one whose plaintext is too long record_overflow.
    #[must_use]
    pub const fn alert(self) -> Option<u8> {
        match self {
            Fault::NotTls | Fault::HandshakeTooLong | Fault::RecordTooLong => Some(50),
            Fault::NothingInCommon => Some(40),
            Fault::NoApplicationProtocol => Some(120),
            Fault::BadRecord => Some(20),
            Fault::Misbehaved => Some(10),
            Fault::AlertReceived | Fault::KeysExhausted | Fault::HandshakeTimeout => None,
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.label())
    }
}

impl std::error::Error for Fault {}
