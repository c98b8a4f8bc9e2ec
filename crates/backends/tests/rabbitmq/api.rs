//! RabbitMQ's management API, as far as tests need it. Blocking: an answer takes milliseconds.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// Asks, and returns the status and what was answered.
pub(crate) fn ask(method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
    let url = super::support::variable("POSTRIDER_TEST_RABBITMQ_API");
    let rest = url.trim_start_matches("http://").trim_end_matches('/');
    let (user, host) = rest.split_once('@').unwrap_or(("guest:guest", rest));
    let mut stream = TcpStream::connect(host).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let body = body.map(Value::to_string).unwrap_or_default();
    // HTTP/1.0: the answer ends with the connection.
    let request = format!(
        "{method} {path} HTTP/1.0\r\nhost: {host}\r\nauthorization: Basic {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        STANDARD.encode(user),
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

/// Asks for something that must succeed.
pub(crate) fn must(method: &str, path: &str, body: Option<&Value>) -> Value {
    let (status, answer) = ask(method, path, body);
    assert!(
        (200..300).contains(&status),
        "{method} {path}: {status} {answer}"
    );
    answer
}
