//! Serves HTTP/1.1 on a listener that was opened before, until told to stop.
//!
//! `axum::serve` has no bound for clients that send their headers slowly or keep idle connections for ever; this
//! has. It knows nothing of what it serves. Why no HTTP/2: it would come over TLS, which a proxy in front ends, and
//! proxies speak HTTP/1.1 to what is behind them.
//!
//! | bound | value | against |
//! |---|---|---|
//! | headers complete, or the next request begun | 75 s | slow headers, idle connections (proxies commonly give up idle ones after 60 s) |
//! | headers | 100, 32 KiB | memory |
//! | connections | 10,000 a listener | running out of files; more wait in the kernel's backlog |
//!
//! Bounds on bodies belong to the routes, which know how long a body may be.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;
use tracing::{debug, warn};

const HEADERS_WITHIN: Duration = Duration::from_secs(75);
const HEADER_BYTES: usize = 32 * 1024;
const CONNECTIONS: usize = 10_000;
/// After an error of `accept` that is not the client's, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is served: a router, or anything like one.
pub trait Answers:
    Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + 'static
{
}

impl<S> Answers for S where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// A listener at work.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    /// The accepting task and one task per connection.
    tasks: TaskTracker,
}

impl Server {
    /// Starts to accept.
    ///
    /// # Errors
    /// Where the listener has no address (any more).
    pub fn start<S: Answers>(listener: TcpListener, service: S) -> io::Result<Self> {
        let server = Self {
            address: listener.local_addr()?,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let accept = Accept {
            service,
            stop: server.stop.clone(),
            tasks: server.tasks.clone(),
        };
        server.tasks.spawn(accept.run(listener));
        Ok(server)
    }

    /// With the port that was chosen where port 0 was asked for.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts nothing more, and waits up to `patience` for requests under way. Stopping twice is stopping once.
    pub async fn stop(&self, patience: Duration) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(patience, self.tasks.wait())
            .await
            .is_err()
        {
            warn!(
                connections = self.tasks.len(),
                "some requests did not end in time and are cut off"
            );
        }
    }
}

struct Accept<S> {
    service: S,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl<S: Answers> Accept<S> {
    async fn run(self, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                accepted = accept(&listener, &places) => accepted,
            };
            match accepted {
                Ok((stream, place)) => self.serve(stream, place),
                Err(error) if is_the_clients(&error) => {}
                Err(error) => {
                    warn!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn serve(&self, stream: TcpStream, place: OwnedSemaphorePermit) {
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(self.service.clone());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADERS_WITHIN)
            .max_buf_size(HEADER_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            let _place = place;
            let mut connection = Box::pin(connection);
            let ended = tokio::select! {
                ended = &mut connection => ended,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                debug!(%error, "a connection ended early");
            }
        });
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, place))
}

fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::Notify;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

    async fn start(router: Router) -> Server {
        Server::start(TcpListener::bind("127.0.0.1:0").await.unwrap(), router).unwrap()
    }

    #[tokio::test]
    async fn a_request_under_way_is_finished_and_idle_connections_are_closed() {
        let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (tell, wait) = (Arc::clone(&begun), Arc::clone(&go));
        let server = start(Router::new().route(
            "/",
            get(move || async move {
                tell.notify_one();
                wait.notified().await;
                "done"
            }),
        ))
        .await;
        let idle = TcpStream::connect(server.address()).await.unwrap();
        let mut busy = TcpStream::connect(server.address()).await.unwrap();
        busy.write_all(REQUEST).await.unwrap();
        begun.notified().await;
        let answer = async {
            go.notify_one();
            let mut answer = String::new();
            busy.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let ((), answer) = tokio::join!(server.stop(Duration::from_secs(60)), answer);
        assert!(answer.ends_with("done"), "{answer}");
        assert!(TcpStream::connect(server.address()).await.is_err());
        drop(idle);
        server.stop(Duration::ZERO).await;
    }

    #[tokio::test]
    async fn a_stop_does_not_wait_for_ever() {
        let router = Router::new().route("/", get(std::future::pending::<()>));
        let server = start(router).await;
        let mut busy = TcpStream::connect(server.address()).await.unwrap();
        busy.write_all(REQUEST).await.unwrap();
        server.stop(Duration::from_millis(50)).await;
    }
}
