//! TLS of outgoing connections: the system's roots, always verified, sessions resumed.
//!
//! What the HTTP client would build by itself, but for the sessions: TLS 1.2 and 1.3, the platform's verifier, HTTP/1.1
//! alone by ALPN.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_platform_verifier::Verifier;

use super::sessions::Sessions;

/// `sessions` is of how many servers they are kept; `roots` are trusted beside the system's.
///
/// # Errors
/// Where the system's roots cannot be read.
pub(super) fn client_config(
    sessions: usize,
    roots: &[CertificateDer<'static>],
    provider: Arc<CryptoProvider>,
) -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(rustls::ALL_VERSIONS)?;
    let verifier = if roots.is_empty() {
        Verifier::new(provider)?
    } else {
        Verifier::new_with_extra_roots(roots.iter().cloned(), provider)?
    };
    let sessions = (sessions > 0).then(|| Arc::new(Sessions::new(sessions)));
    let resumption = match &sessions {
        Some(sessions) => Resumption::store(Arc::clone(sessions) as _),
        None => Resumption::disabled(),
    };
    let mut config = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Telling { verifier, sessions }))
        .with_no_client_auth();
    config.resumption = resumption;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Verifies as the platform does, and tells the sessions of it.
#[derive(Debug)]
struct Telling {
    verifier: Verifier,
    sessions: Option<Arc<Sessions>>,
}

impl ServerCertVerifier for Telling {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified =
            self.verifier
                .verify_server_cert(end_entity, intermediates, name, ocsp, now)?;
        if let Some(sessions) = &self.sessions {
            sessions.verified(name, std::iter::once(end_entity).chain(intermediates));
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
