use super::*;
use crate::http::tls::client_config;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ServerConfig, ServerConnection};

const NAME: &str = "hooks.postrider.test";

fn name(text: &str) -> ServerName<'static> {
    ServerName::try_from(text.to_owned()).unwrap()
}

/// A server, and a client that trusts it and keeps sessions of ten servers.
fn both(
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> (Arc<ServerConfig>, ClientConfig) {
    let key = KeyPair::generate().unwrap();
    let names = vec![NAME.to_owned()];
    let certificate = CertificateParams::new(names).unwrap();
    let certificate = certificate.self_signed(&key).unwrap().der().clone();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = client_config(
        10,
        std::slice::from_ref(&certificate),
        Arc::clone(&provider),
    )
    .unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    (Arc::new(server), client)
}

fn shake_hands(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> HandshakeKind {
    let mut client = ClientConnection::new(Arc::clone(client), name(NAME)).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    while client.wants_write() || server.wants_write() {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        let mut unread = bytes.as_slice();
        while !unread.is_empty() {
            server.read_tls(&mut unread).unwrap();
            server.process_new_packets().unwrap();
        }
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        let mut unread = bytes.as_slice();
        while !unread.is_empty() {
            client.read_tls(&mut unread).unwrap();
            client.process_new_packets().unwrap();
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    client.handshake_kind().unwrap()
}

/// `client` with sessions that the test can look into. They are told of certificates by the test, not by the verifier.
fn with_sessions(
    mut client: ClientConfig,
    lifetime: Duration,
) -> (Arc<Sessions>, Arc<ClientConfig>) {
    let sessions = Arc::new(Sessions::with_lifetime(10, lifetime));
    client.resumption = rustls::client::Resumption::store(Arc::clone(&sessions) as _);
    (sessions, Arc::new(client))
}

const NO_CERTIFICATES: std::iter::Empty<&CertificateDer<'_>> = std::iter::empty();

#[test]
fn the_second_handshake_is_resumed_in_both_versions() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let (server, client) = both(&[version]);
        let client = Arc::new(client);
        assert_eq!(shake_hands(&server, &client), HandshakeKind::Full);
        for _ in 0..5 {
            assert_eq!(shake_hands(&server, &client), HandshakeKind::Resumed);
        }
    }
}

#[test]
fn the_newest_tickets_are_kept_and_each_is_used_once() {
    let (server, client) = both(rustls::ALL_VERSIONS);
    let (sessions, client) = with_sessions(client, LIFETIME);
    sessions.verified(&name(NAME), NO_CERTIFICATES);
    for _ in 0..5 {
        shake_hands(&server, &client);
    }
    assert_eq!(
        sessions.with(&name(NAME), |server| server.tls13.len()),
        Some(TICKETS)
    );
    for _ in 0..TICKETS {
        assert!(sessions.take_tls13_ticket(&name(NAME)).is_some());
    }
    assert!(sessions.take_tls13_ticket(&name(NAME)).is_none());
    assert!(sessions.kx_hint(&name(NAME)).is_some());
}

#[test]
fn tickets_without_a_verified_certificate_are_not_kept() {
    let (server, client) = both(rustls::ALL_VERSIONS);
    let (_, client) = with_sessions(client, LIFETIME);
    for _ in 0..2 {
        assert_eq!(shake_hands(&server, &client), HandshakeKind::Full);
    }
}

#[test]
fn what_was_verified_too_long_ago_is_forgotten_and_so_are_its_tickets() {
    let (server, client) = both(rustls::ALL_VERSIONS);
    let (sessions, client) = with_sessions(client, Duration::ZERO);
    sessions.verified(&name(NAME), NO_CERTIFICATES);
    for _ in 0..2 {
        assert_eq!(shake_hands(&server, &client), HandshakeKind::Full);
    }
    assert!(sessions.take_tls13_ticket(&name(NAME)).is_none());
}

#[test]
fn long_certificates_are_not_kept() {
    let sessions = Sessions::new(10);
    let kept = |sizes: &[usize]| {
        let certificates: Vec<CertificateDer<'_>> =
            sizes.iter().map(|size| vec![0; *size].into()).collect();
        sessions.verified(&name(NAME), certificates.iter());
        sessions.with(&name(NAME), |_| ()).is_some()
    };
    assert!(kept(&[MAX_CERTIFICATES]));
    assert!(!kept(&[MAX_CERTIFICATES, 1]));
}

#[test]
fn the_number_of_servers_is_bounded_and_the_one_not_spoken_to_for_longest_goes() {
    let sessions = Sessions::new(10);
    for number in 0..100 {
        sessions.verified(&name(&format!("h{number}.postrider.test")), NO_CERTIFICATES);
        sessions.servers.run_pending_tasks();
        sessions.kx_hint(&name("h0.postrider.test"));
    }
    sessions.servers.run_pending_tasks();
    assert_eq!(sessions.servers.entry_count(), 10);
    let has = |text| sessions.with(&name(text), |_| ()).is_some();
    assert!(has("h0.postrider.test") && has("h99.postrider.test"));
    assert!(!has("h1.postrider.test"));
}
