//! The certificate of a listener: read, checked against its key, and exchanged while connections go on.
//!
//! Home: the main thread loads and exchanges it, every shard reads it at a handshake. Invariant: what is served is a
//! chain whose first certificate has the key that signs.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::exit::{Exit, Failure};

/// Bytes of a chain: the handshake message that carries it must stay a small part of what a connection costs.
const CHAIN_BYTES_MAX: usize = 32 * 1024;

/// The certificate that handshakes show; an exchange concerns those that come after it.
#[derive(Debug)]
pub struct Certificate {
    current: ArcSwap<CertifiedKey>,
}

impl Certificate {
    pub(super) fn new(certified: CertifiedKey) -> Certificate {
        Certificate { current: ArcSwap::from_pointee(certified) }
    }

    pub(super) fn exchange(&self, certified: CertifiedKey) {
        self.current.store(Arc::new(certified));
    }

    /// The first certificate of the chain: the server's own.
    #[must_use]
    pub fn first(&self) -> CertificateDer<'static> {
        self.current.load().cert[0].clone()
    }

    /// Of the server's own certificate.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.first())
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

/// SHA-256 of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Fingerprint {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, certificate).as_ref());
        Fingerprint(bytes)
    }
}

impl FromStr for Fingerprint {
    type Err = ();

    /// 32 bytes in hexadecimal digits, with or without colons.
    fn from_str(text: &str) -> Result<Fingerprint, ()> {
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
        let (pairs, rest) = digits.as_chunks::<2>();
        let mut bytes = [0; 32];
        if pairs.len() != bytes.len() || !rest.is_empty() {
            return Err(());
        }
        for (byte, pair) in bytes.iter_mut().zip(pairs) {
            let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
            *byte = value(pair[0]).ok_or(())? << 4 | value(pair[1]).ok_or(())?;
        }
        Ok(Fingerprint(bytes))
    }
}

impl fmt::Display for Fingerprint {
    /// As `openssl x509 -fingerprint` writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02X}", if index == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

/// Reads a chain and its key, both PEM; they may be in one file.
///
/// # Errors
/// A file that can't be read (66), or that is not what it should be (78).
pub(super) fn load(
    certificate: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, Failure> {
    let chain = chain_of(&read(certificate)?).map_err(|what| {
        let hint = "a chain in PEM is expected, the server's own certificate first";
        Failure::new(Exit::Config, format!("{}: {what}", certificate.display()), hint)
    })?;
    let private_key = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|_| {
        let hint = "PKCS #8, PKCS #1 or SEC 1 in PEM is expected, without a passphrase";
        Failure::new(Exit::Config, format!("{}: has no private key that is readable", key.display()), hint)
    })?;
    #[expect(clippy::wildcard_enum_match_arm, reason = "rustls has one error type for all it does")]
    CertifiedKey::from_der(chain, private_key, provider).map_err(|error| {
        let (what, hint) = match error {
            rustls::Error::InconsistentKeys(_) => (
                "is not the key of the certificate",
                "certificate and key come in pairs: name those of one pair",
            ),
            rustls::Error::InvalidCertificate(_) => (
                "belongs to a certificate that can't be read",
                "the first certificate must be X.509, version 3",
            ),
            _ => ("is of no kind that is supported", "RSA, P-256, P-384, P-521 and Ed25519 are"),
        };
        Failure::new(Exit::Config, format!("{}: {what} ({error})", key.display()), hint)
    })
}

/// A certificate for this machine, signed by itself, of a key that nobody keeps.
///
/// # Errors
/// No randomness.
pub(super) fn development(provider: &CryptoProvider) -> Result<CertifiedKey, Failure> {
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let failed =
        |what: String| Failure::new(Exit::OsError, format!("no development certificate: {what}"), "");
    let made = rcgen::generate_simple_self_signed(names).map_err(|error| failed(error.to_string()))?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let chain = vec![made.cert.der().clone()];
    CertifiedKey::from_der(chain, key.into(), provider).map_err(|error| failed(error.to_string()))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| {
        let hint = "name a PEM file that the server's user may read";
        Failure::new(Exit::NoInput, format!("{}: {error}", path.display()), hint)
    })
}

fn chain_of(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(|error| format!("is no PEM: {error}"))?;
    let chain_bytes: usize = chain.iter().map(|certificate| certificate.len()).sum();
    match (chain.is_empty(), chain_bytes > CHAIN_BYTES_MAX) {
        (true, _) => Err("has no certificate".to_owned()),
        (_, true) => Err(format!("is a chain of {chain_bytes} bytes, at most {CHAIN_BYTES_MAX} are served")),
        (false, false) => Ok(chain),
    }
}
