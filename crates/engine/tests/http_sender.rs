//! The HTTP sender against subscribers that do everything wrong, on real sockets.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use postrider_core::attempt::{Failure, Reply};
use postrider_core::target::TargetPolicy;
use postrider_core::time::Timestamp;
use postrider_engine::http::{HttpConfig, HttpSender};
use postrider_engine::{Outgoing, RequestTarget, Sender as _};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{HandshakeKind, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

const DEADLINE: Duration = Duration::from_millis(400);
/// A deadline is kept within three times its bound, on however busy a machine.
const PATIENCE: Duration = Duration::from_millis(1_200);

fn loopback() -> TargetPolicy {
    TargetPolicy {
        https_only: false,
        allow: vec!["127.0.0.0/8".parse().unwrap()],
    }
}

/// A server that treats each connection as `behaviour` says, and tells of every one.
async fn serve<F, R>(behaviour: F) -> (SocketAddr, mpsc::Receiver<()>)
where
    F: Fn(TcpStream) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (connected, connections) = mpsc::channel(64);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = connected.send(()).await;
            tokio::spawn(behaviour(stream));
        }
    });
    (address, connections)
}

/// Reads a request to the end of its body, which is `{}`.
async fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.ends_with(b"{}") {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(read) => request.extend_from_slice(&buffer[..read]),
        }
    }
    String::from_utf8(request).unwrap()
}

async fn answer(mut stream: TcpStream, response: impl AsRef<[u8]>) {
    read_request(&mut stream).await;
    let _ = stream.write_all(response.as_ref()).await;
}

async fn send_with(policy: TargetPolicy, url: &str) -> Reply {
    let sender = HttpSender::new(HttpConfig::new(policy)).unwrap();
    sender.send(outgoing(url)).await
}

fn outgoing(url: &str) -> Outgoing {
    Outgoing {
        to: Arc::new(RequestTarget::parse(url).unwrap()),
        headers: HeaderMap::new(),
        body: Bytes::from_static(b"{}"),
        deadline: DEADLINE,
        now: Timestamp::from_millis(1_700_000_000_000),
    }
}

async fn send(address: SocketAddr) -> Reply {
    send_with(loopback(), &format!("http://{address}/hook")).await
}

#[tokio::test]
async fn reads_status_body_and_retry_after() {
    let response = "HTTP/1.1 503 Busy\r\nretry-after: 7\r\ncontent-length: 4\r\n\r\nlate";
    let (address, _) = serve(move |stream| answer(stream, response)).await;
    let reply = send(address).await;
    assert_eq!(reply.status, Ok(503));
    assert_eq!(reply.retry_after, Some(Duration::from_secs(7)));
    assert_eq!(reply.body, "late");
}

#[tokio::test]
async fn sends_the_body_as_it_is_and_asks_for_no_compression() {
    let (told, mut requests) = mpsc::channel(1);
    let (address, _) = serve(move |mut stream| {
        let told = told.clone();
        async move {
            told.send(read_request(&mut stream).await).await.unwrap();
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
        }
    })
    .await;
    assert_eq!(send(address).await.status, Ok(204));
    let request = requests.recv().await.unwrap();
    assert!(request.starts_with("POST /hook HTTP/1.1\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\n{}"), "{request}");
    let host = format!("\r\nhost: {address}\r\n");
    assert!(request.to_lowercase().contains(&host), "{request}");
    assert!(
        !request.to_lowercase().contains("accept-encoding"),
        "{request}"
    );
}

#[tokio::test]
async fn keeps_a_connection_alive_and_uses_it_again() {
    let (address, mut connections) = serve(|mut stream| async move {
        loop {
            if read_request(&mut stream).await.is_empty() {
                return;
            }
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                .await;
        }
    })
    .await;
    let sender = HttpSender::new(HttpConfig::new(loopback())).unwrap();
    for _ in 0..5 {
        assert_eq!(
            sender
                .send(outgoing(&format!("http://{address}/")))
                .await
                .status,
            Ok(200)
        );
    }
    connections.recv().await.unwrap();
    assert!(
        connections.try_recv().is_err(),
        "a second connection was made"
    );
}

/// Answers two requests, each on a connection of its own where the first answer ends its own.
async fn two_connections_are_made(response: Vec<u8>) {
    let (address, mut connections) = serve(move |stream| answer(stream, response.clone())).await;
    let sender = HttpSender::new(HttpConfig::new(loopback())).unwrap();
    for _ in 0..2 {
        let reply = sender.send(outgoing(&format!("http://{address}/"))).await;
        assert_eq!(reply.status, Ok(200));
        connections.recv().await.unwrap();
    }
}

#[tokio::test]
async fn a_connection_that_the_subscriber_ends_is_not_used_again() {
    let response = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    two_connections_are_made(response.to_vec()).await;
}

#[tokio::test]
async fn a_connection_whose_answer_was_not_read_to_its_end_is_not_used_again() {
    let mut response = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n".to_vec();
    response.resize(response.len() + 1_000_000, b'a');
    two_connections_are_made(response).await;
}

#[tokio::test]
async fn what_was_written_to_a_connection_that_ends_is_not_sent_again() {
    let (told, mut requests) = mpsc::channel(8);
    let (address, _) = serve(move |mut stream| {
        let told = told.clone();
        async move {
            for answers in [true, false] {
                told.send(read_request(&mut stream).await).await.unwrap();
                if answers {
                    let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
                }
            }
        }
    })
    .await;
    let sender = HttpSender::new(HttpConfig::new(loopback())).unwrap();
    let url = format!("http://{address}/");
    assert_eq!(sender.send(outgoing(&url)).await.status, Ok(204));
    let second = sender.send(outgoing(&url)).await.status;
    assert!(matches!(second, Err(Failure::Broken(_))), "{second:?}");
    requests.recv().await.unwrap();
    requests.recv().await.unwrap();
    assert!(requests.try_recv().is_err(), "it was sent twice");
}

/// So much that no socket takes it where nobody reads.
const LARGE: usize = 64 << 20;

#[tokio::test]
async fn who_answers_without_reading_holds_up_no_later_request() {
    let (address, mut connections) = serve(|mut stream| async move {
        let _ = stream.read(&mut [0; 512]).await;
        let response = b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n";
        let _ = stream.write_all(response).await;
        std::future::pending::<()>().await;
    })
    .await;
    let sender = HttpSender::new(HttpConfig::new(loopback())).unwrap();
    for _ in 0..3 {
        let large = Outgoing {
            body: Bytes::from(vec![b'a'; LARGE]),
            ..outgoing(&format!("http://{address}/"))
        };
        assert_eq!(sender.send(large).await.status, Ok(413));
        connections.recv().await.unwrap();
    }
}

async fn times_out(address: SocketAddr) {
    let begun = Instant::now();
    let reply = send(address).await;
    assert_eq!(reply.status, Err(Failure::Timeout(DEADLINE)));
    assert!(begun.elapsed() < PATIENCE, "took {:?}", begun.elapsed());
}

#[tokio::test]
async fn the_deadline_covers_a_subscriber_that_never_answers() {
    let (address, _) = serve(|mut stream| async move {
        read_request(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    times_out(address).await;
}

#[tokio::test]
async fn the_deadline_covers_headers_that_drip() {
    let (address, _) = serve(|mut stream| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
        while stream.write_all(b"x-drip: 1\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    times_out(address).await;
}

#[tokio::test]
async fn the_deadline_covers_a_body_that_drips() {
    let (address, _) = serve(|mut stream| async move {
        read_request(&mut stream).await;
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n")
            .await;
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    times_out(address).await;
}

#[tokio::test]
async fn an_endless_body_is_cut_and_the_status_counts() {
    let (address, _) = serve(|mut stream| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while stream.write_all(&[b'x'; 8192]).await.is_ok() {}
    })
    .await;
    let reply = send(address).await;
    assert_eq!(reply.status, Ok(200));
    assert_eq!(reply.body.len(), 16 * 1024);
}

#[tokio::test]
async fn a_body_that_is_no_text_is_made_one() {
    let (address, _) = serve(|stream| {
        answer(
            stream,
            b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\na\0\xff\xfe",
        )
    })
    .await;
    assert_eq!(send(address).await.body, "a\u{fffd}\u{fffd}\u{fffd}");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_a_failure() {
    let (address, _) = serve(|stream| {
        answer(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort",
        )
    })
    .await;
    assert!(matches!(
        send(address).await.status,
        Err(Failure::Broken(_))
    ));
}

#[tokio::test]
async fn what_is_not_http_is_a_failure() {
    let (address, _) = serve(|stream| answer(stream, "220 mail.example.org ESMTP\r\n")).await;
    assert!(matches!(
        send(address).await.status,
        Err(Failure::Broken(_))
    ));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (target, mut visits) = serve(|stream| answer(stream, "HTTP/1.1 200 OK\r\n\r\n")).await;
    let response =
        format!("HTTP/1.1 302 Found\r\nlocation: http://{target}/\r\ncontent-length: 0\r\n\r\n");
    let (address, _) = serve(move |stream| answer(stream, response.clone())).await;
    assert_eq!(send(address).await.status, Ok(302));
    assert!(visits.try_recv().is_err());
}

#[tokio::test]
async fn a_closed_port_is_a_failure_to_connect() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    assert!(matches!(
        send(address).await.status,
        Err(Failure::Connect(_))
    ));
}

#[tokio::test]
async fn a_plain_server_behind_https_is_a_tls_failure() {
    let (address, _) = serve(|mut stream| async move {
        let _ = stream.read(&mut [0; 512]).await;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    })
    .await;
    let reply = send_with(loopback(), &format!("https://{address}/")).await;
    assert!(
        matches!(reply.status, Err(Failure::Tls(_))),
        "{:?}",
        reply.status
    );
}

/// A server over TLS that closes each connection after its answer, and tells how each handshake was made.
async fn serve_tls() -> (
    SocketAddr,
    CertificateDer<'static>,
    mpsc::Receiver<HandshakeKind>,
) {
    let key = KeyPair::generate().unwrap();
    let names = vec!["127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names).unwrap();
    let certificate = certificate.self_signed(&key).unwrap().der().clone();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (shook, handshakes) = mpsc::channel(64);
    let (address, _) = serve(move |stream| {
        let (acceptor, shook) = (acceptor.clone(), shook.clone());
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                return;
            };
            let kind = stream.get_ref().1.handshake_kind().unwrap();
            shook.send(kind).await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            let answer = "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    })
    .await;
    (address, certificate, handshakes)
}

/// Three requests, each over a connection of its own.
async fn handshakes(tls_sessions: usize) -> Vec<HandshakeKind> {
    let (address, certificate, mut handshakes) = serve_tls().await;
    let sender = HttpSender::new(HttpConfig {
        tls_sessions,
        roots: vec![certificate],
        ..HttpConfig::new(loopback())
    });
    let sender = sender.unwrap();
    let mut kinds = Vec::new();
    for _ in 0..3 {
        let mut request = outgoing(&format!("https://{address}/"));
        // A handshake takes long where tests have not been optimised.
        request.deadline = Duration::from_secs(10);
        assert_eq!(sender.send(request).await.status, Ok(204));
        kinds.push(handshakes.recv().await.unwrap());
    }
    kinds
}

#[tokio::test]
async fn a_server_that_is_connected_to_again_is_spared_a_full_handshake() {
    use HandshakeKind::{Full, Resumed};
    assert_eq!(handshakes(10).await, [Full, Resumed, Resumed]);
    assert_eq!(handshakes(0).await, [Full, Full, Full]);
}

#[tokio::test]
async fn a_certificate_of_nobody_that_is_trusted_is_a_tls_failure() {
    let (address, _, _) = serve_tls().await;
    for _ in 0..2 {
        let reply = send_with(loopback(), &format!("https://{address}/")).await;
        assert!(
            matches!(&reply.status, Err(Failure::Tls(text)) if text.contains("UnknownIssuer")),
            "{:?}",
            reply.status
        );
    }
}

#[tokio::test]
async fn a_certificate_of_another_name_is_a_tls_failure() {
    let (address, certificate, _) = serve_tls().await;
    let mut config = HttpConfig::new(loopback());
    config.policy.allow.push("::1/128".parse().unwrap());
    config.roots = vec![certificate];
    let sender = HttpSender::new(config).unwrap();
    let url = format!("https://localhost:{}/", address.port());
    let reply = sender.send(outgoing(&url)).await;
    assert!(
        matches!(reply.status, Err(Failure::Tls(_))),
        "{:?}",
        reply.status
    );
}

#[tokio::test]
async fn a_denied_address_is_never_connected_to() {
    let (address, mut visits) = serve(|stream| answer(stream, "HTTP/1.1 200 OK\r\n\r\n")).await;
    for url in [
        format!("http://{address}/"),
        format!("http://localhost:{}/", address.port()),
    ] {
        let reply = send_with(TargetPolicy::default(), &url).await;
        assert_eq!(reply.status, Err(Failure::AddressNotAllowed), "{url}");
    }
    assert!(visits.try_recv().is_err(), "a connection was made");
}

#[tokio::test]
async fn a_name_is_resolved_and_its_addresses_are_asked_about() {
    let policy = TargetPolicy {
        allow: vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
        ..loopback()
    };
    let (address, _) =
        serve(|stream| answer(stream, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")).await;
    let reply = send_with(policy, &format!("http://localhost:{}/", address.port())).await;
    assert_eq!(reply.status, Ok(200));
}

#[tokio::test]
async fn a_name_that_does_not_exist_fails_within_the_deadline() {
    let reply = send_with(loopback(), "http://nobody.invalid/").await;
    assert!(
        matches!(reply.status, Err(Failure::Resolve | Failure::Timeout(_))),
        "{:?}",
        reply.status
    );
}

#[tokio::test]
async fn plain_http_can_be_refused() {
    let (address, mut visits) = serve(|stream| answer(stream, "HTTP/1.1 200 OK\r\n\r\n")).await;
    let reply = send_with(
        TargetPolicy {
            https_only: true,
            ..loopback()
        },
        &format!("http://{address}/"),
    )
    .await;
    assert!(matches!(reply.status, Err(Failure::BadUrl(_))));
    assert!(visits.try_recv().is_err());
}
