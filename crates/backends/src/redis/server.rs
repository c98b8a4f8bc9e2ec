//! One Redis server or Cluster, and the connection to it that all ports share.
//!
//! Nothing is connected when a process starts: it starts whether or not Redis is there. The first use connects and finds
//! out whether the server is part of a Cluster; from then on the client reconnects by itself. While the first connection
//! does not succeed, every use tells why, and tries again at most once per [`RETRY_PAUSE`].
//!
//! What the client does by itself, as of its version 1.8, and what is made of it here:
//!
//! - It gives a connection up for ever where connecting fails for another reason than the network, a password
//!   that is being changed for instance: such a connection is replaced ([`Link`]).
//! - Where a server's machine is gone without a word, requests time out, and the connection stays until the kernel
//!   gives it up, by default after a quarter of an hour: a limit on that is set where the system has one.
//! - In a Cluster it repeats a request that timed out at one server: the whole request is made to time out before.
//!   Where a connection breaks it repeats what was on its way, so that a step may be taken twice. Of two `reserve` or
//!   `claim` the second finds the first's lease; whoever asked comes back after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use futures_util::FutureExt as _;
use postrider_core::ports::PortError;
use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, Slot, SlotAddr};
use redis::io::tcp::TcpSettings;
use redis::{
    Client, Cmd, ConnectionInfo, IntoConnectionInfo, Pipeline, RedisError, RedisFuture, Value,
};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::error::{Asked, told};
use super::keys::Space;

/// How long a failed first connection is not tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// How long, in milliseconds, the client waits before it repeats what a Cluster could not do just then.
const SHORTEST_WAIT: u64 = 20;
const LONGEST_WAIT: u64 = 500;

/// How a server is spoken to.
#[derive(Debug, Clone)]
pub struct Options {
    pub connect_timeout: Duration,
    pub response_timeout: Duration,
    /// Separates installations that share a server; letters and digits.
    pub space: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_secs(2),
            space: String::new(),
        }
    }
}

/// A URL that does not name a Redis server.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UrlError(String);

/// A Redis server, or a Cluster by some of its nodes.
pub struct Server {
    nodes: Vec<ConnectionInfo>,
    options: Options,
    space: Space,
    state: Mutex<State>,
}

enum State {
    Apart {
        last: Option<(Instant, PortErrorText)>,
    },
    Linked(Link),
}

/// What the last try to connect said.
type PortErrorText = Arc<RedisError>;

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

/// A handle to the shared connection; cloning it is cheap.
#[derive(Clone)]
pub(super) struct Link {
    kind: Kind,
    /// The client will not connect again by itself.
    given_up: Arc<AtomicBool>,
}

#[derive(Clone)]
enum Kind {
    Single(ConnectionManager),
    Cluster(ClusterConnection),
}

impl Server {
    /// `urls` is `redis://[user:password@]host[:port][/database]` (`rediss://` for TLS), or several of them, separated by commas:
    /// nodes of one Cluster.
    ///
    /// # Errors
    /// Where it is not.
    pub fn new(urls: &str, options: Options) -> Result<Arc<Self>, UrlError> {
        let nodes: Result<Vec<_>, UrlError> = urls.split(',').map(node).collect();
        Ok(Arc::new(Self {
            nodes: nodes?,
            space: Space::new(&options.space),
            options,
            state: Mutex::new(State::Apart { last: None }),
        }))
    }

    /// The connection, made where there was none yet.
    ///
    /// # Errors
    /// Where none can be made: nothing was asked then.
    pub(super) async fn link(&self, part: &'static str) -> Result<Link, PortError> {
        let mut state = self.state.lock().await;
        let last = match &*state {
            State::Linked(link) if !link.given_up.load(Relaxed) => return Ok(link.clone()),
            State::Linked(_) => None,
            State::Apart { last } => last.clone(),
        };
        let lately = last.filter(|(when, _)| when.elapsed() < RETRY_PAUSE);
        let error = match lately {
            Some((_, error)) => error,
            None => match self.connect().await {
                Ok(link) => {
                    *state = State::Linked(link.clone());
                    return Ok(link);
                }
                Err(error) => {
                    let error = Arc::new(error);
                    let last = Some((Instant::now(), Arc::clone(&error)));
                    *state = State::Apart { last };
                    error
                }
            },
        };
        Err(told(part, Asked::Read, &error))
    }

    async fn connect(&self) -> redis::RedisResult<Link> {
        let mut failure = None;
        for node in &self.nodes {
            match self.connect_to(node).await {
                Ok(link) => return Ok(link),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure
            .unwrap_or_else(|| RedisError::from(std::io::Error::other("no server is named"))))
    }

    async fn connect_to(&self, node: &ConnectionInfo) -> redis::RedisResult<Link> {
        let Options {
            connect_timeout,
            response_timeout,
            ..
        } = self.options;
        let settings = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(connect_timeout))
            .set_response_timeout(Some(response_timeout))
            .set_min_delay(Duration::from_millis(50))
            .set_max_delay(Duration::from_secs(1))
            .set_number_of_retries(0);
        let node = node.clone().set_tcp_settings(tcp(response_timeout));
        let client = Client::open(node)?;
        let mut single = ConnectionManager::new_with_config(client, settings).await?;
        let cluster: String = redis::cmd("INFO")
            .arg("cluster")
            .query_async(&mut single)
            .await?;
        if !cluster.contains("cluster_enabled:1") {
            return Ok(Link::of(Kind::Single(single)));
        }
        let cluster = ClusterClient::builder(self.nodes.clone())
            .connection_timeout(connect_timeout)
            .response_timeout(response_timeout * 2)
            .overall_response_timeout(Some(response_timeout))
            .min_retry_wait(SHORTEST_WAIT)
            .max_retry_wait(LONGEST_WAIT)
            .tcp_settings(tcp(response_timeout))
            .build()?;
        let cluster = cluster.get_async_connection().await?;
        Ok(Link::of(Kind::Cluster(cluster)))
    }

    /// Where the keys of this installation lie.
    pub(super) const fn space(&self) -> &Space {
        &self.space
    }

    /// A client for a connection of one's own (subscriptions), to the first node.
    pub(super) fn client(&self) -> redis::RedisResult<Client> {
        let node = self.nodes[0].clone();
        Client::open(node.set_tcp_settings(tcp(self.options.response_timeout)))
    }
}

fn node(url: &str) -> Result<ConnectionInfo, UrlError> {
    url.trim()
        .into_connection_info()
        .map_err(|error| UrlError(error.to_string()))
}

/// What was sent is acknowledged by the other machine within two timeouts, or the connection is at its end.
fn tcp(response_timeout: Duration) -> TcpSettings {
    let settings = TcpSettings::default().set_nodelay(true);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(response_timeout * 2);
    #[cfg(not(target_os = "linux"))]
    let _ = response_timeout;
    settings
}

impl Link {
    fn of(kind: Kind) -> Self {
        Self {
            kind,
            given_up: Arc::default(),
        }
    }

    /// Whether what one script touches has to lie in one slot.
    pub(super) const fn is_cluster(&self) -> bool {
        matches!(self.kind, Kind::Cluster(_))
    }

    /// Sends a command to the master that holds a slot; where there is but one server, to that.
    pub(super) async fn at_slot(&mut self, slot: Slot, command: Cmd) -> redis::RedisResult<Value> {
        match &mut self.kind {
            Kind::Single(_) => self.req_packed_command(&command).await,
            Kind::Cluster(link) => {
                let route = Route::with_slot(slot, SlotAddr::Master);
                let one = SingleNodeRoutingInfo::SpecificNode(route);
                let answer = link.route_command(command, RoutingInfo::SingleNode(one));
                answer.await?.extract_error()
            }
        }
    }
}

/// Looks whether the client gave up: what a server answers is no error here, and after one of the network it
/// connects again.
async fn watched<T>(answer: RedisFuture<'_, T>, given_up: &AtomicBool) -> redis::RedisResult<T> {
    let answer = answer.await;
    if answer.as_ref().is_err_and(|error| !error.is_io_error()) {
        given_up.store(true, Relaxed);
    }
    answer
}

impl ConnectionLike for Link {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match &mut self.kind {
            Kind::Single(link) => watched(link.req_packed_command(cmd), &self.given_up).boxed(),
            Kind::Cluster(link) => link.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        cmd: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match &mut self.kind {
            Kind::Single(link) => {
                let answers = link.req_packed_commands(cmd, offset, count);
                watched(answers, &self.given_up).boxed()
            }
            Kind::Cluster(link) => link.req_packed_commands(cmd, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match &self.kind {
            Kind::Single(link) => link.get_db(),
            Kind::Cluster(link) => link.get_db(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_nodes_are_separated_by_commas() {
        let server = Server::new("redis://a:7001,rediss://b:7002", Options::default()).unwrap();
        assert_eq!(server.nodes.len(), 2);
        assert!(Server::new("http://a", Options::default()).is_err());
        assert!(Server::new("redis://a,", Options::default()).is_err());
    }
}
