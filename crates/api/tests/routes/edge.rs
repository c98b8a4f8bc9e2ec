//! What holds for every request.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::Method;
use serde_json::json;

use crate::faults::{Fault, FaultyBroker, with_faulty_broker};
use crate::support::{Server, message};

#[tokio::test]
async fn unknown_paths_are_404_and_wrong_methods_405_in_json() {
    let server = Server::start();
    let client = server.operator();
    for path in [
        "/",
        "/api",
        "/api/v1",
        "/api/v1/nothing",
        "/api/v2/app",
        "//",
        "/x?y=z",
    ] {
        assert_eq!(client.get(path).await.fails(404), "not_found", "{path}");
    }
    let wrong = client.delete("/api/v1/app").await;
    assert_eq!(wrong.fails(405), "method_not_allowed");
    let allowed = wrong.header("allow").unwrap();
    assert!(
        allowed.contains("GET") && allowed.contains("POST"),
        "{allowed}"
    );
    let options = client
        .send(Method::OPTIONS, "/api/v1/app/a/msg", &[], Body::empty())
        .await;
    assert_eq!(options.fails(405), "method_not_allowed");
}

#[tokio::test]
async fn a_slash_at_the_end_changes_nothing() {
    let server = Server::start();
    let client = server.operator();
    let created = client
        .post("/api/v1/app/", &json!({"name": "a", "uid": "a"}))
        .await;
    created.is(201);
    client.get("/api/v1/app/a/").await.is(200);
    let list = client.get("/api/v1/app/?limit=1").await.is(200);
    assert_eq!(list["data"][0]["uid"], "a");
}

#[tokio::test]
async fn bodies_that_are_no_json_are_422_and_say_why() {
    let server = Server::start();
    let client = server.operator();
    server.app("shop").await;
    let deep = format!(
        r#"{{"name":"x","eventType":"a","payload":{{"a":{}{}}}}}"#,
        "[".repeat(63),
        "]".repeat(63)
    );
    let bodies: [&[u8]; 8] = [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\"text\"",
        b"{\"name\": \"\xff\"}",
        b"{\"name\":1}{",
        deep.as_bytes(),
    ];
    for path in ["/api/v1/app", "/api/v1/app/shop/msg"] {
        for body in bodies {
            let body = Bytes::copy_from_slice(body);
            let reply = client
                .send(Method::POST, path, &[], body.clone().into())
                .await;
            assert_eq!(reply.blames(), "body", "{path} {body:?}");
        }
    }
}

#[tokio::test]
async fn a_body_above_the_limit_is_413_announced_or_not() {
    let server = Server::with(|ports| ports, |config| config.max_body_bytes = 1000);
    let client = server.operator();
    server.app("shop").await;
    let large = |length: usize| {
        let payload = "x".repeat(length);
        format!(r#"{{"name":"x","eventType":"a","payload":{{"p":"{payload}"}}}}"#)
    };
    for path in ["/api/v1/app", "/api/v1/app/shop/msg"] {
        let whole = Body::from(large(1000));
        let reply = client.send(Method::POST, path, &[], whole).await;
        assert_eq!(reply.fails(413), "payload_too_large");
        let chunk = Ok::<_, std::io::Error>(Bytes::from(large(1000)));
        let streamed = Body::from_stream(stream::iter([chunk]));
        let reply = client.send(Method::POST, path, &[], streamed).await;
        assert_eq!(reply.fails(413), "payload_too_large");
        assert!(
            client
                .send(Method::POST, path, &[], large(800).into())
                .await
                .status
                < 300
        );
    }
    let lie = [("content-length", "99999999999999999999")];
    let reply = client
        .send(Method::POST, "/api/v1/app", &lie, Body::from("{}"))
        .await;
    assert_eq!(reply.blames(), "body.name");
}

#[tokio::test]
async fn bodies_share_a_bounded_memory() {
    let server = Server::with(|ports| ports, |config| config.max_body_memory = 100);
    let client = server.operator();
    let (waiting, arrived) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    let slow = Body::from_stream(stream::unfold(arrived, async |mut arrived| {
        arrived.recv().await.map(|chunk| (chunk, arrived))
    }));
    let sending = tokio::spawn({
        let client = client.clone();
        async move { client.send(Method::POST, "/api/v1/app", &[], slow).await }
    });
    let first = Bytes::from(format!(r#"{{"name":"{}"#, "x".repeat(80)));
    waiting.send(Ok(first)).await.unwrap();
    // The channel has room for one more only once the first has been read.
    waiting.send(Ok(Bytes::from_static(b"\""))).await.unwrap();
    waiting.reserve().await.unwrap();
    let refused = client.post("/api/v1/app", &json!({"name": "short"})).await;
    assert_eq!(refused.fails(503), "unavailable");
    waiting.send(Ok(Bytes::from_static(b"}"))).await.unwrap();
    drop(waiting);
    sending.await.unwrap().is(201);
    client
        .post("/api/v1/app", &json!({"name": "short"}))
        .await
        .is(201);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_trickles_is_cut_off() {
    let server = Server::with(
        |ports| ports,
        |config| config.body_timeout = Duration::from_secs(15),
    );
    let endless = stream::pending::<Result<Bytes, std::io::Error>>();
    let client = server.operator();
    let reply = client
        .send(Method::POST, "/api/v1/app", &[], Body::from_stream(endless))
        .await;
    assert_eq!(reply.fails(408), "request_timeout");
    assert_eq!(reply.header("connection"), Some("close"));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_400() {
    let server = Server::start();
    let broken = stream::iter([Err::<Bytes, _>(std::io::Error::other("gone"))]);
    let client = server.operator();
    let reply = client
        .send(Method::POST, "/api/v1/app", &[], Body::from_stream(broken))
        .await;
    assert_eq!(reply.fails(400), "incomplete_body");
}

#[tokio::test]
async fn parameters_in_the_path_are_checked() {
    let server = Server::start();
    let client = server.operator();
    assert_eq!(
        client.get("/api/v1/app/a%20b").await.blames(),
        "path.app_id"
    );
    let long = "a".repeat(257);
    let reply = client.get(&format!("/api/v1/app/{long}")).await;
    assert_eq!(reply.blames(), "path.app_id");
    let reply = client.get("/api/v1/event-type/a%2Fb").await;
    assert_eq!(reply.blames(), "path.event_type_name");
    server.app("shop").await;
    let reply = client.get("/api/v1/app/shop/endpoint/%C3%BC").await;
    assert_eq!(reply.blames(), "path.endpoint_id");
    for unknown in [
        "/api/v1/app/%ff",
        "/api/v1/app/app_short",
        "/api/v1/app/shop/endpoint/ep_x",
        "/api/v1/app/shop/msg/msg_x",
        "/api/v1/app/shop/dead-letter/x",
    ] {
        assert_eq!(
            client.get(unknown).await.fails(404),
            "not_found",
            "{unknown}"
        );
    }
}

#[tokio::test]
async fn queries_that_cannot_be_read_are_400_and_limits_are_422() {
    let server = Server::start();
    server.app("shop").await;
    let client = server.operator();
    for query in [
        "limit=ten",
        "limit=-1",
        "limit=1.5",
        "with_content=perhaps",
        "before=yesterday",
        "after=1",
    ] {
        let reply = client.get(&format!("/api/v1/app/shop/msg?{query}")).await;
        assert_eq!(reply.fails(400), "invalid_query", "{query}");
    }
    for (query, place) in [
        ("limit=251", "query.limit"),
        ("iterator=nonsense", "query.iterator"),
        ("channel=a%20b", "query.channel"),
        ("event_types=a,b%20c", "query.event_types"),
    ] {
        let reply = client.get(&format!("/api/v1/app/shop/msg?{query}")).await;
        assert_eq!(reply.blames(), place, "{query}");
    }
    client
        .get("/api/v1/app/shop/msg?limit=250&unknown=1&=&&%ff")
        .await
        .is(200);
}

#[tokio::test]
async fn every_answer_has_a_request_id() {
    let server = Server::start();
    let client = server.operator();
    let given = [("x-request-id", "abc-123")];
    let reply = client
        .send(Method::GET, "/api/v1/app", &given, Body::empty())
        .await;
    assert_eq!(reply.header("x-request-id"), Some("abc-123"));
    let first = client.get("/nowhere").await;
    let second = client.get("/nowhere").await;
    assert_ne!(first.header("x-request-id"), second.header("x-request-id"));
    let long = "x".repeat(129);
    let given = [("x-request-id", long.as_str())];
    let reply = client
        .send(Method::GET, "/api/v1/app", &given, Body::empty())
        .await;
    assert_eq!(reply.header("x-request-id").unwrap().len(), 16);
}

#[tokio::test]
async fn requests_beyond_the_limit_are_turned_away_before_they_are_read() {
    let (server, broker) = with_faulty_broker(|config| config.max_in_flight = 1);
    server.app("shop").await;
    broker.set(Fault::Gated);
    let client = server.operator();
    let busy = tokio::spawn({
        let client = client.clone();
        async move { client.post("/api/v1/app/shop/msg", &message()).await }
    });
    broker.arrived.acquire().await.unwrap().forget();
    let refused = client.get("/api/v1/app").await;
    assert_eq!(refused.fails(503), "unavailable");
    client.get("/api/v1/health").await.is(204);
    broker.gate.add_permits(1);
    busy.await.unwrap().is(202);
    client.get("/api/v1/app").await.is(200);
}

#[tokio::test]
async fn a_panic_is_a_500_in_json_and_frees_its_place() {
    let mut faulty = None;
    let server = Server::with(
        |mut ports| {
            let broker = FaultyBroker::new(ports.broker);
            faulty = Some(broker.clone());
            ports.broker = broker;
            ports
        },
        |config| config.max_in_flight = 1,
    );
    server.app("shop").await;
    let broker = faulty.unwrap();
    broker.set(Fault::Panic);
    let client = server.operator();
    for _ in 0..2 {
        let reply = client.post("/api/v1/app/shop/msg", &message()).await;
        assert_eq!(reply.fails(500), "server_error");
    }
    broker.set(Fault::None);
    client
        .post("/api/v1/app/shop/msg", &message())
        .await
        .is(202);
}

#[tokio::test]
async fn requests_are_counted_by_template_and_class() {
    let server = Server::start();
    let client = server.operator();
    server.app("shop").await;
    client.get("/api/v1/app/shop").await;
    client.get("/api/v1/app/shop/").await;
    client.get("/api/v1/app/nobody").await;
    client.get("/some/where/else").await;
    client
        .post("/api/v1/app/shop/msg", &message())
        .await
        .is(202);
    client.post("/api/v1/app/shop/msg", &json!({})).await;
    let text = prometheus::TextEncoder::new()
        .encode_to_string(&server.metrics.gather())
        .unwrap();
    for line in [
        r#"postrider_http_requests_total{class="2xx",route="/api/v1/app/{app_id}"} 2"#,
        r#"postrider_http_requests_total{class="4xx",route="/api/v1/app/{app_id}"} 1"#,
        r#"postrider_http_requests_total{class="4xx",route="other"} 1"#,
        r#"postrider_http_request_duration_seconds_count{route="/api/v1/app/{app_id}"} 3"#,
        "postrider_messages_accepted_total 1",
        r#"postrider_messages_rejected_total{reason="validation"} 1"#,
        r#"postrider_api_batch_records_dropped_total{batch="log"} 0"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(
        !text.contains("shop"),
        "no name of anybody's becomes a label"
    );
}

#[tokio::test]
async fn lists_of_very_many_names_are_refused_or_read_in_no_time() {
    let server = Server::start();
    let id = server.app("shop").await;
    let endpoint = server.endpoint("shop").await;
    let names: Vec<String> = (0..100_000).map(|n| format!("{n:x}")).collect();
    let client = server.consumer(&id);
    let app = "/api/v1/app/shop";
    let begun = tokio::time::Instant::now();

    let path = format!("{app}/endpoint");
    for field in ["channels", "eventTypes"] {
        let body = json!({"url": "https://hooks.example.org/", field: names});
        client.post(&path, &body).await.is(422);
    }
    let path = format!("{app}/endpoint/{endpoint}/headers");
    client
        .patch(&path, &json!({"deleteHeaders": names}))
        .await
        .is(204);
    let body = json!({"eventType": "a", "payload": {}, "tags": names});
    let message = server.operator().post(&format!("{app}/msg"), &body).await;
    message.is(422);

    // Comparing each with each takes minutes.
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn bodies_of_another_kind_are_415_and_say_what_to_send() {
    let server = Server::start();
    let client = server.operator();
    let send = async |headers: &[(&str, &str)], name: &str| {
        let body = json!({"name": name}).to_string().into();
        client
            .send(Method::POST, "/api/v1/app", headers, body)
            .await
    };
    for headers in [
        ("content-encoding", "gzip"),
        ("content-type", "application/xml"),
        ("content-type", "application/msgpack"),
        ("content-type", "multipart/form-data; boundary=x"),
        ("content-type", "application/json; charset=iso-8859-1"),
        ("content-type", "application/json;charset=\"UTF-16\""),
        ("content-type", ""),
    ] {
        let refused = send(&[headers], "a").await;
        assert_eq!(refused.fails(415), "unsupported_media_type", "{headers:?}");
    }
    for headers in [
        ("content-encoding", "identity"),
        ("content-type", "application/json; charset=UTF-8"),
        ("content-type", "Application/JSON"),
        ("content-type", "application/merge-patch+json"),
        ("content-type", "application/x-www-form-urlencoded"),
        (
            "content-type",
            "text/plain; format=flowed; charset=\"utf-8\"",
        ),
    ] {
        send(&[headers], "a").await.is(201);
    }
    send(&[], "a").await.is(201);
}
