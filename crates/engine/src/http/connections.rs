//! Connections to subscribers, kept alive between requests: one request at a time on each.
//!
//! A client library would do the same, and parses the URL, copies its own state and races two futures for each request.
//! What is dialled, how and under which policy is left to libraries, because it is rare.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http_body_util::Full;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::rt::{Read, Write};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use parking_lot::Mutex;
use rustls::ClientConfig;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};
use tower::{BoxError, ServiceExt as _};

use super::resolver::PolicyResolver;

/// Idle connections kept per destination: as many as a burst may open, or each burst would open them anew.
const MAX_IDLE: usize = 1024;
/// An idle connection is closed after this, so that a name that has moved is resolved anew.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How often idle ones are looked for that nobody asked for.
const SWEEP: Duration = Duration::from_secs(10);
/// TCP's, with which a connection is noticed to be gone whose other end is.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 3;

/// After this the kernel gives up a connection whose other end takes nothing of what was written to it.
#[cfg(target_os = "linux")]
const TAKES_NOTHING: Duration = Duration::from_secs(30);

/// One to which a request may be written.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) requests: SendRequest<Full<Bytes>>,
    /// The task that reads and writes.
    driver: AbortHandle,
}

impl Connection {
    async fn over<S>(stream: S) -> hyper::Result<Self>
    where
        S: Read + Write + Send + Unpin + 'static,
    {
        let (requests, driver) = Builder::new().handshake(stream).await?;
        let driver = tokio::spawn(async move {
            // What goes wrong is told to the request, and without one nobody misses the connection.
            let _ = driver.await;
        });
        Ok(Self {
            requests,
            driver: driver.abort_handle(),
        })
    }
}

/// With nothing under way it is closed as its protocol wants it. Otherwise at once: who does not take what is being written would
/// hold the task, the socket and the request's body for as long as they like.
impl Drop for Connection {
    fn drop(&mut self) {
        if !self.requests.is_ready() {
            self.driver.abort();
        }
    }
}

#[derive(Debug)]
pub(super) struct Connections {
    connector: HttpsConnector<HttpConnector<PolicyResolver>>,
    idle: Arc<Idle>,
}

impl Connections {
    pub(super) fn new(resolver: PolicyResolver, tls: ClientConfig) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(resolver);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_keepalive_interval(Some(KEEPALIVE));
        tcp.set_keepalive_retries(Some(KEEPALIVE_PROBES));
        #[cfg(target_os = "linux")]
        tcp.set_tcp_user_timeout(Some(TAKES_NOTHING));
        Self {
            connector: HttpsConnector::from((tcp, tls)),
            idle: Arc::default(),
        }
    }

    /// One that was used before, if there is any.
    pub(super) fn idle(&self, origin: &str) -> Option<Connection> {
        self.idle.take(origin, Instant::now())
    }

    pub(super) async fn open(&self, origin: &str) -> Result<Connection, BoxError> {
        let destination = Uri::try_from(origin)?;
        let stream = self.connector.clone().oneshot(destination).await?;
        Ok(Connection::over(stream).await?)
    }

    /// For the next request, now that an answer was read to its end.
    pub(super) fn keep(&self, origin: &Arc<str>, connection: Connection) {
        if !connection.requests.is_closed() {
            self.idle.put(origin, connection, Instant::now());
        }
    }
}

#[derive(Debug, Default)]
struct Idle(Mutex<ByOrigin>);

#[derive(Debug, Default)]
struct ByOrigin {
    /// Of each, those used last come last.
    kept: HashMap<Arc<str>, Vec<Kept>>,
    /// Whether somebody closes those that are idle for too long.
    is_swept: bool,
}

#[derive(Debug)]
struct Kept {
    connection: Connection,
    since: Instant,
}

impl Kept {
    fn is_good(&self, now: Instant) -> bool {
        now.duration_since(self.since) < IDLE_TIMEOUT && !self.connection.requests.is_closed()
    }

    fn is_ready(&self, now: Instant) -> bool {
        self.connection.requests.is_ready() && self.is_good(now)
    }
}

impl Idle {
    fn take(&self, origin: &str, now: Instant) -> Option<Connection> {
        let mut guard = self.0.lock();
        let kept = guard.kept.get_mut(origin)?;
        while kept.last().is_some_and(|last| !last.is_good(now)) {
            kept.pop();
        }
        // Who answers before the request was read to its end may never read the rest.
        let ready = kept.iter().rposition(|kept| kept.is_ready(now))?;
        Some(kept.remove(ready).connection)
    }

    fn put(self: &Arc<Self>, origin: &Arc<str>, connection: Connection, since: Instant) {
        let mut guard = self.0.lock();
        let kept = Kept { connection, since };
        match guard.kept.get_mut(origin) {
            Some(others) if others.len() >= MAX_IDLE => return,
            Some(others) => others.push(kept),
            None => {
                guard.kept.insert(Arc::clone(origin), vec![kept]);
            }
        }
        if !std::mem::replace(&mut guard.is_swept, true) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    /// Closes those that are no good any more, and those that still write a former request. Returns whether any are left.
    fn close_old(&self, now: Instant) -> bool {
        let mut guard = self.0.lock();
        guard.kept.retain(|_, kept| {
            kept.retain(|one| one.is_ready(now));
            kept.shrink_to(2 * kept.len());
            !kept.is_empty()
        });
        guard.is_swept = !guard.kept.is_empty();
        guard.is_swept
    }
}

/// As long as there is anything to close.
async fn sweep(idle: Weak<Idle>) {
    loop {
        sleep(SWEEP).await;
        let any = idle.upgrade().map(|idle| idle.close_old(Instant::now()));
        if any != Some(true) {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
