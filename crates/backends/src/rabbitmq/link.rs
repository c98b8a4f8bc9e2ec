//! One connection to RabbitMQ, and a hold on its socket.
//!
//! The client library runs a connection in a thread of its own and knows no deadline: neither for connecting nor for
//! closing, and while the server has blocked a connection it writes nothing at all. Whoever has to be done in time cuts the
//! socket; then everything that waits for the connection fails at once.

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use lapin::options::QueueDeclareOptions;
use lapin::tcp::TLSConfig;
use lapin::types::FieldTable;
use lapin::uri::AMQPUri;
use lapin::{AsyncTcpStream, Channel, Connection, ConnectionProperties};
use parking_lot::Mutex;
use rand::seq::SliceRandom as _;
use tokio::time::{sleep, timeout};

use super::error::told;
use super::options::{Address, Options};

/// How long a name's next address waits for the one before it.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(3);

/// How often is looked whether a connection lives that something waits for.
const LOOK: Duration = Duration::from_millis(50);

pub(super) struct Link {
    pub(super) connection: Connection,
    /// The node it leads to.
    pub(super) address: Address,
    socket: Cutting,
    /// For what is asked now and then: counts, probes. One at a time.
    questions: tokio::sync::Mutex<Option<Channel>>,
}

impl Link {
    /// # Errors
    /// Says why there is no connection.
    pub(super) async fn open(
        address: &Address,
        role: &str,
        options: &Options,
    ) -> Result<Self, String> {
        let socket = Cutting::default();
        let runtime = lapin::runtime::default_runtime().map_err(|error| told(&error))?;
        let (is_tls, held, reactor) = (address.is_tls(), Arc::clone(&socket.0), runtime.clone());
        let dial = async move |uri: AMQPUri, _| {
            let mut failure = std::io::Error::other("its name has no address");
            for to in addresses(&uri).await? {
                let connecting = AsyncTcpStream::connect(&reactor, to);
                let stream = match timeout(ADDRESS_TIMEOUT, connecting).await {
                    Ok(Ok(stream)) => stream,
                    Ok(Err(error)) => {
                        failure = error;
                        continue;
                    }
                    Err(_) => {
                        failure = std::io::ErrorKind::TimedOut.into();
                        continue;
                    }
                };
                if let AsyncTcpStream::Plain(stream) = &stream {
                    held.hold(stream.get_ref())?;
                }
                if !is_tls {
                    return Ok(stream);
                }
                let host = &uri.authority.host;
                return Ok(stream.into_tls(host, TLSConfig::default()).await?);
            }
            Err(failure.into())
        };
        let properties = properties(role, options);
        let opening = Connection::connector(address.uri.clone(), runtime, dial, properties);
        match timeout(options.connect_timeout, opening).await {
            Ok(Ok(connection)) => Ok(Self {
                connection,
                address: address.clone(),
                socket,
                questions: tokio::sync::Mutex::default(),
            }),
            Ok(Err(error)) => Err(told(&error)),
            Err(_) => Err(format!("no answer within {:?}", options.connect_timeout)),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.connection.status().connected()
    }

    /// Does something for as long as the connection lives. The client library leaves some questions without an end when it
    /// dies, and whoever asks them under a lock would keep the next connection waiting.
    pub(super) async fn while_up<T>(
        &self,
        work: impl Future<Output = Result<T, String>>,
    ) -> Result<T, String> {
        let lost = async {
            while self.is_up() {
                sleep(LOOK).await;
            }
        };
        tokio::select! {
            biased;
            done = work => done,
            () = lost => Err("the connection was lost".to_owned()),
        }
    }

    /// Whether the server takes no publishes on this connection.
    pub(super) fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    pub(super) async fn channel(&self) -> lapin::Result<Channel> {
        self.connection.create_channel().await
    }

    /// Ends the connection without a word.
    pub(super) fn cut(&self) {
        self.socket.0.cut();
    }

    /// Ends the connection with a word, where the server listens in time.
    pub(super) async fn close(&self, within: Duration) {
        let _ = timeout(within, self.connection.close(200, "OK".into())).await;
        self.cut();
    }

    /// How many messages are ready in each of the queues. Fails where one of them does not exist.
    pub(super) async fn count(&self, queues: &[String]) -> lapin::Result<Vec<u64>> {
        let mut questions = self.questions.lock().await;
        let channel = match questions.take() {
            Some(channel) if channel.status().connected() => channel,
            _ => self.channel().await?,
        };
        let (asked, names) = (channel.clone(), queues.to_vec());
        let counts = to_its_end(async move {
            let counts = names.iter().map(|queue| count(&asked, queue));
            Ok(join_all(counts).await)
        });
        let counts = counts.await?;
        // Not kept where this was dropped half-way: the channel's answers would be another's.
        *questions = Some(channel);
        // What is missing is told by the first answer that is none; the others only say that nobody answers any more.
        counts.into_iter().collect()
    }
}

/// Cuts when it is dropped: with its link, or with the try to open one.
#[derive(Default)]
struct Cutting(Arc<Socket>);

impl Drop for Cutting {
    fn drop(&mut self) {
        self.0.cut();
    }
}

/// How many messages of a queue are ready. By the time of the answer, all that was sent on the channel before has reached
/// the queue.
pub(super) async fn count(channel: &Channel, queue: &str) -> lapin::Result<u64> {
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let found = channel
        .queue_declare(queue.into(), passive, FieldTable::default())
        .await?;
    Ok(u64::from(found.message_count()))
}

/// For what the server may answer by closing the channel that it was asked on. The client library closes a channel with the
/// last handle on it; if that crosses the server's close, the library gives up the whole connection. So a question keeps its
/// channel until it is answered, also when whoever asked has gone. Questions on one channel are one such task together: each
/// in its own, they would be sent in any order.
pub(super) async fn to_its_end<T: Send + 'static>(
    question: impl Future<Output = lapin::Result<T>> + Send + 'static,
) -> lapin::Result<T> {
    match tokio::spawn(question).await {
        Ok(answer) => answer,
        Err(error) => Err(std::io::Error::other(error).into()),
    }
}

/// In any order: behind one name there may be several nodes, and one of them may be out of order.
pub(super) async fn addresses(uri: &AMQPUri) -> std::io::Result<Vec<SocketAddr>> {
    let authority = &uri.authority;
    let found = tokio::net::lookup_host((authority.host.as_str(), authority.port)).await?;
    let mut found: Vec<SocketAddr> = found.collect();
    found.shuffle(&mut rand::rng());
    Ok(found)
}

fn properties(role: &str, options: &Options) -> ConnectionProperties {
    let name = format!("postrider {} {role}", options.name);
    ConnectionProperties::default()
        .with_connection_name(name.into())
        .with_client_property("product".into(), "Postrider".into())
        .with_client_property("version".into(), env!("CARGO_PKG_VERSION").into())
}

#[derive(Default)]
struct Socket(Mutex<State>);

#[derive(Default)]
enum State {
    #[default]
    None,
    Open(TcpStream),
    Cut,
}

impl Socket {
    fn hold(&self, stream: &tokio::net::TcpStream) -> std::io::Result<()> {
        let stream = TcpStream::from(stream.as_fd().try_clone_to_owned()?);
        let mut state = self.0.lock();
        if matches!(*state, State::Cut) {
            return Err(std::io::ErrorKind::ConnectionAborted.into());
        }
        *state = State::Open(stream);
        Ok(())
    }

    fn cut(&self) {
        let before = std::mem::replace(&mut *self.0.lock(), State::Cut);
        if let State::Open(stream) = before {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
