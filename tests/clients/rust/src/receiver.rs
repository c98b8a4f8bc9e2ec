//! A subscriber on a loopback port of its own: it keeps what arrives until it is asked for, and answers with `status`.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{Receiver as Queue, Sender, channel};
use tokio::time::timeout;

use crate::check::PATIENCE;

pub struct Received {
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().expect("a header of text")
    }
}

pub struct Receiver {
    pub url: String,
    status: Arc<AtomicU16>,
    requests: Queue<Received>,
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let status = Arc::new(AtomicU16::new(200));
        // Far more than a walk sends.
        let (arrived, requests) = channel(1000);
        tokio::spawn(accept(listener, arrived, Arc::clone(&status)));
        Self {
            url: format!("http://{address}/hook"),
            status,
            requests,
        }
    }

    pub fn answer_with(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    pub async fn next(&mut self) -> Received {
        let next = timeout(PATIENCE, self.requests.recv()).await;
        next.ok().flatten().expect("a delivery in time")
    }

    pub fn forget(&mut self) {
        while self.requests.try_recv().is_ok() {}
    }
}

async fn accept(listener: TcpListener, arrived: Sender<Received>, status: Arc<AtomicU16>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, arrived.clone(), Arc::clone(&status)));
    }
}

async fn serve(stream: TcpStream, arrived: Sender<Received>, status: Arc<AtomicU16>) {
    let answer = service_fn(|request| receive(request, &arrived, &status));
    // Ends with an error where the other side goes away, which it may.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), answer)
        .await;
}

async fn receive(
    request: Request<Incoming>,
    arrived: &Sender<Received>,
    status: &AtomicU16,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    let headers = head.headers;
    let _ = arrived.send(Received { headers, body }).await;
    let mut response = Response::new(Full::from("received"));
    *response.status_mut() =
        StatusCode::from_u16(status.load(Ordering::SeqCst)).expect("a status of HTTP");
    Ok(response)
}
