//! Certificates for the subscriber, of an authority that lives as long as the run.
//!
//! As on most public servers: a certificate, one between it and the root, all of them with ECDSA keys on P-256.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use tokio_rustls::TlsAcceptor;

/// What the subscriber shows, as PEM.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Identity {
    chain: String,
    key: String,
}

/// An identity for these names and addresses, and the root to be trusted, as PEM.
///
/// # Errors
/// Where one of them is neither.
pub fn make(names: Vec<String>) -> anyhow::Result<(Identity, String)> {
    let root_key = KeyPair::generate()?;
    let root_params = authority("Root of a benchmark");
    let root = root_params.self_signed(&root_key)?;
    let root_issuer = Issuer::from_params(&root_params, &root_key);

    let between_key = KeyPair::generate()?;
    let between_params = authority("Authority of a benchmark");
    let between = between_params.signed_by(&between_key, &root_issuer)?;
    let issuer = Issuer::from_params(&between_params, &between_key);

    let key = KeyPair::generate()?;
    let own = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
    let identity = Identity {
        chain: [&own, &between].map(Certificate::pem).concat(),
        key: key.serialize_pem(),
    };
    Ok((identity, root.pem()))
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

/// TLS as public servers have it: sessions are resumed by tickets, of which each handshake brings two.
///
/// # Errors
/// Where the identity cannot be read.
pub fn acceptor(identity: &Identity) -> anyhow::Result<TlsAcceptor> {
    let chain = CertificateDer::pem_slice_iter(identity.chain.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes())?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain.collect::<Result<_, _>>()?, key)?;
    config.ticketer = ring::Ticketer::new()?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
