//! What can be known of addresses and TLS before NATS is asked: files and addresses that cannot work are an operator's fault, told at the start.
//!
//! Home: the main thread, when it starts or checks. Invariant: an address holds no secret, so that it may stand in a log.

use std::io;
use std::path::Path;

use async_nats::ServerAddr;
use async_nats::rustls::pki_types::pem::PemObject;
use async_nats::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use async_nats::rustls::{ClientConfig, RootCertStore};

use super::NatsTls;

/// # Errors
/// There is none, or one is no address of NATS.
pub(super) fn check_servers(servers: &[String]) -> io::Result<()> {
    let fault = |text: String| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    if servers.is_empty() {
        return fault("no server of NATS is named".to_owned());
    }
    for server in servers {
        let Ok(address) = server.parse::<ServerAddr>() else {
            return fault("an address of NATS is none: nats://HOST:PORT or tls://HOST:PORT".to_owned());
        };
        if address.username().is_some() || address.password().is_some() {
            let host = address.host();
            return fault(format!("an address of NATS, {host}, names a user: credentials stand in a file"));
        }
        if !["nats", "tls"].contains(&address.scheme()) || address.host().is_empty() {
            return fault(format!("{server}: addresses of NATS are nats://HOST:PORT or tls://HOST:PORT"));
        }
    }
    Ok(())
}

/// # Errors
/// A file cannot be read, or a key is not that of its certificate.
pub(super) fn check_files(tls: &NatsTls) -> io::Result<()> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &tls.authority {
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|error| fault(path, &error))?;
        }
    }
    let Some((certificate, key)) = &tls.identity else { return Ok(()) };
    let chain = certificates(certificate)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| fault(key, &error))?;
    ClientConfig::builder()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, private)
        .map(drop)
        .map_err(|error| fault(key, &error))
}

fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let all: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|error| fault(path, &error))?.collect();
    let all = all.map_err(|error| fault(path, &error))?;
    if all.is_empty() { Err(fault(path, &"no certificate")) } else { Ok(all) }
}

fn fault(path: &Path, error: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("TLS for NATS, {}: {error}", path.display()))
}
