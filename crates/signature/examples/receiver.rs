//! A small webhook receiver: verifies what arrives and prints the outcome.
//!
//! ```sh
//! WEBHOOK_SECRET=whsec_… cargo run -p postrider-signature --example receiver
//! ```
//!
//! `WEBHOOK_SECRET` takes a `whsec_` secret or a `whpk_` public key; during a rotation give both
//! the old and the new one, separated by a space. `LISTEN_ADDR` defaults to `127.0.0.1:8080`.
//!
//! It shows the points that matter in any receiver: the body is bounded, it is verified as received
//! and before it is parsed, and the answer to a forger says nothing. Its HTTP is the bare minimum
//! (one request per connection, no chunked bodies), so use a real server in production.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing the outcome is what this example is for"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "a program of its own, with no clock to share"
)]

use std::{
    env,
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    process::ExitCode,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use postrider_signature::{
    DEFAULT_TOLERANCE, SVIX_ID, VerifyError, VerifyingKey, WEBHOOK_ID, WebhookHeaders, verify,
};

/// Request line and headers, in bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// 1 MiB.
const MAX_BODY_BYTES: usize = 1024 * 1024;
/// From the first to the last byte of a request.
const REQUEST_DEADLINE: Duration = Duration::from_secs(10);

const NO_CONTENT: &str = "204 No Content";
const BAD_REQUEST: &str = "400 Bad Request";
const UNAUTHORIZED: &str = "401 Unauthorized";
const METHOD_NOT_ALLOWED: &str = "405 Method Not Allowed";
const TIMEOUT: &str = "408 Request Timeout";
const LENGTH_REQUIRED: &str = "411 Length Required";
const BODY_TOO_LARGE: &str = "413 Content Too Large";
const HEAD_TOO_LARGE: &str = "431 Request Header Fields Too Large";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let keys = Arc::new(keys_from_env()?);
    let address = env::var("LISTEN_ADDR").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
    let listener = TcpListener::bind(&address)
        .map_err(|error| format!("cannot listen on {address} (LISTEN_ADDR): {error}"))?;
    println!("listening on {address} with {} key(s)", keys.len());

    for stream in listener.incoming() {
        match stream {
            Ok(stream) => {
                let keys = Arc::clone(&keys);
                thread::spawn(move || serve(stream, &keys));
            }
            Err(error) => eprintln!("a connection could not be accepted: {error}"),
        }
    }
    Ok(())
}

fn keys_from_env() -> Result<Vec<VerifyingKey>, String> {
    let text = env::var("WEBHOOK_SECRET").unwrap_or_default();
    let keys: Result<Vec<VerifyingKey>, _> = text.split_whitespace().map(str::parse).collect();
    match keys {
        Ok(keys) if keys.is_empty() => {
            Err("WEBHOOK_SECRET is not set: give the `whsec_` secret of the endpoint".to_owned())
        }
        Ok(keys) => Ok(keys),
        Err(error) => Err(format!("WEBHOOK_SECRET cannot be used: {error}")),
    }
}

fn serve(mut stream: TcpStream, keys: &[VerifyingKey]) {
    let (status, outcome) = match read_request(&mut stream) {
        Ok(request) => judge(&request, keys),
        Err(status) => (status, format!("not a webhook: {status}")),
    };
    println!("{status}  {outcome}");
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    // The client may be gone already, which is its own affair. 204 must not carry a length.
    let answer = match status {
        NO_CONTENT => answer.replace("content-length: 0\r\n", ""),
        _ => answer,
    };
    let _ = stream.write_all(answer.as_bytes());
}

/// The part to learn from: look up, verify, and only then look into the body.
fn judge(request: &Request, keys: &[VerifyingKey]) -> (&'static str, String) {
    let id = request
        .header(WEBHOOK_ID)
        .or_else(|| request.header(SVIX_ID))
        .unwrap_or("without id");
    match check(request, keys) {
        Ok(()) => {
            let size = request.body.len();
            (NO_CONTENT, format!("{id:?}: genuine, {size} bytes"))
        }
        Err(error) => (UNAUTHORIZED, format!("{id:?}: {error}")),
    }
}

fn check(request: &Request, keys: &[VerifyingKey]) -> Result<(), VerifyError> {
    let headers = WebhookHeaders::from_lookup(|name| request.header(name))?;
    verify(
        keys,
        &headers,
        &request.body,
        now_seconds(),
        DEFAULT_TOLERANCE,
    )
}

fn now_seconds() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    since_epoch
        .ok()
        .and_then(|duration| i64::try_from(duration.as_secs()).ok())
        .unwrap_or_default()
}

struct Request {
    head: String,
    body: Vec<u8>,
}

impl Request {
    fn header(&self, wanted: &str) -> Option<&str> {
        find_header(&self.head, wanted)
    }
}

fn find_header<'h>(head: &'h str, wanted: &str) -> Option<&'h str> {
    head.lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
        .map(|(_, value)| value.trim())
}

/// Reads one bounded request, or says with which status to refuse it.
fn read_request(stream: &mut TcpStream) -> Result<Request, &'static str> {
    let deadline = Instant::now() + REQUEST_DEADLINE;
    let mut received = Vec::new();
    let head_length = loop {
        if let Some(at) = received.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if received.len() >= MAX_HEAD_BYTES {
            return Err(HEAD_TOO_LARGE);
        }
        read_more(stream, &mut received, deadline)?;
    };
    let mut body = received.split_off(head_length);
    let head = String::from_utf8(received).map_err(|_| BAD_REQUEST)?;
    let length = body_length(&head)?;
    while body.len() < length {
        read_more(stream, &mut body, deadline)?;
    }
    body.truncate(length);
    Ok(Request { head, body })
}

fn body_length(head: &str) -> Result<usize, &'static str> {
    if !head.starts_with("POST ") {
        return Err(METHOD_NOT_ALLOWED);
    }
    let length = find_header(head, "content-length").ok_or(LENGTH_REQUIRED)?;
    match length.parse() {
        Ok(length) if length <= MAX_BODY_BYTES => Ok(length),
        Ok(_) => Err(BODY_TOO_LARGE),
        Err(_) => Err(BAD_REQUEST),
    }
}

fn read_more(
    stream: &mut TcpStream,
    received: &mut Vec<u8>,
    deadline: Instant,
) -> Result<(), &'static str> {
    let mut chunk = [0_u8; 8 * 1024];
    match read_until(stream, &mut chunk, deadline) {
        Ok(0) => Err(BAD_REQUEST),
        Ok(length) => {
            received.extend_from_slice(&chunk[..length]);
            Ok(())
        }
        Err(_) => Err(TIMEOUT),
    }
}

fn read_until(stream: &mut TcpStream, chunk: &mut [u8], deadline: Instant) -> io::Result<usize> {
    let left = deadline.saturating_duration_since(Instant::now());
    // A timeout of zero is refused by the standard library, which here means the same: too late.
    stream.set_read_timeout(Some(left))?;
    stream.read(chunk)
}
