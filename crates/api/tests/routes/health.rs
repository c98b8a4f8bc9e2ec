use axum::body::Body;
use http::Method;

use crate::faults::{Fault, with_faulty_broker};
use crate::support::Server;

#[tokio::test]
async fn says_204_while_able_to_serve_and_needs_no_token() {
    let anybody = Server::start().client(None);
    for path in [
        "/api/v1/health",
        "/api/v1/health/",
        "/api/v1/health/ping",
        "/api/v1/health/ping/",
    ] {
        for method in [Method::GET, Method::HEAD] {
            let reply = anybody.send(method, path, &[], Body::empty()).await;
            reply.is(204);
        }
    }
}

#[tokio::test]
async fn says_503_while_a_port_is_out_of_reach() {
    let (server, broker) = with_faulty_broker(|_| {});
    let anybody = server.client(None);
    broker.set(Fault::Unavailable);
    assert_eq!(
        anybody.get("/api/v1/health").await.fails(503),
        "unavailable"
    );
    anybody.get("/api/v1/health/ping").await.is(204);
    broker.set(Fault::None);
    anybody.get("/api/v1/health").await.is(204);
}
