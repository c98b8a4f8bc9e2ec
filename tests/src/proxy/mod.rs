//! A network that fails on demand: it lies between Postrider and RabbitMQ or Redis.
//!
//! It passes bytes on, in both directions, and reads along as far as it must to tell connections apart: RabbitMQ's by
//! the name that the client gives itself, Redis's by whether they subscribe. What is done to a kind of connection
//! holds for those that are open and for those to come, until it is undone.
//!
//! ```text
//!  client ──▶ read ──▶ backlog ──▶ held? delayed? ──▶ server      Way::ToServer
//!  client ◀── held? delayed? ◀── backlog ◀── read ◀── server      Way::ToClient
//! ```
//!
//! What is held is counted as seen: so a test learns that the server has confirmed what its client does not know yet.
//! A connection whose client dies while something is held ends, and what was held is gone with it, as on a network.

mod amqp;
mod connection;
mod rules;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use connection::Connection;
use rules::{Inserted, Insertion, Rules};

/// A method of AMQP 0-9-1, by its class and number.
pub type Method = (u16, u16);
pub const PUBLISH: Method = (60, 40);
pub const DELIVER: Method = (60, 60);
/// From the client the end of a delivery, from the server a confirm.
pub const ACK: Method = (60, 80);
/// The end of a consumer, asked for by a client or made known by the server.
pub const CANCEL: Method = (60, 30);
pub const CLOSE_CHANNEL: Method = (20, 40);

/// Where in the bytes of a connection something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// After the name of a method, on the way to or from RabbitMQ.
    Method(Method),
    /// After a word, in whatever case: a command on its way to Redis.
    Word(&'static str),
}

/// Which connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    All,
    /// To RabbitMQ, with a name that ends so.
    Named(&'static str),
    /// To Redis, and subscribed to something.
    Subscriber,
    /// All that are not subscribed.
    NoSubscriber,
}

/// Postrider's connections to RabbitMQ.
pub const PUBLISHER: Who = Who::Named(" publish");
pub const CONSUMER: Who = Who::Named(" consume");

/// Which direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Way {
    ToServer,
    ToClient,
}

/// Ends with all its connections when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    server: String,
    rules: watch::Sender<Rules>,
    /// Those that have ended, too: what they saw still counts.
    connections: Mutex<Vec<Arc<Connection>>>,
}

impl Proxy {
    /// Listens on a port of its own, for connections to `server` (host and port).
    pub async fn start(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shared = Arc::new(Shared {
            server: server.to_owned(),
            rules: watch::Sender::new(Rules::default()),
            connections: Mutex::default(),
        });
        Self {
            address: listener.local_addr().unwrap(),
            accepting: tokio::spawn(accept(listener, Arc::clone(&shared))),
            shared,
        }
    }

    /// Host and port.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Passes nothing on in this direction. What comes is kept.
    pub fn hold(&self, who: Who, way: Way) {
        self.change(|rules| rules.hold(who, way));
    }

    /// The same, as soon as this method is seen, once: nothing that answers it is passed on.
    pub fn hold_from(&self, who: Who, seen: (Way, Method), way: Way) {
        self.change(|rules| rules.hold_from(who, seen, way));
    }

    /// Ends the connection on which this is seen next, in the middle of it: `more` bytes behind the mark are passed on and
    /// no others. Once; see [`Self::cuts_left`].
    pub fn cut_within(&self, who: Who, way: Way, mark: Mark, more: usize) {
        self.change(|rules| rules.cut_within(who, way, mark, more));
    }

    /// How many of the cuts that were asked for have not been made.
    #[must_use]
    pub fn cuts_left(&self) -> usize {
        self.shared.rules.borrow().cuts.len()
    }

    /// Makes the server close the channel on which such a method is sent next, before it gets it: something wrong is said
    /// in the client's name. Once; a server that has done so was [seen](Self::seen) to send [`CLOSE_CHANNEL`].
    pub fn close_channel(&self, who: Who, before: Method) {
        self.insert(who, (Way::ToServer, before), Inserted::WrongAck);
    }

    /// Tells the client that the server has cancelled the consumer that something is delivered to next. Once; the client was
    /// told when nothing is [left to be inserted](Self::insertions_left).
    pub fn cancel_consumer(&self, who: Who) {
        self.insert(who, (Way::ToClient, DELIVER), Inserted::Cancel);
    }

    /// How much of what was to be said in somebody's name has not been said.
    #[must_use]
    pub fn insertions_left(&self) -> usize {
        self.shared.rules.borrow().insertions.len()
    }

    fn insert(&self, who: Who, before: (Way, Method), what: Inserted) {
        self.change(|rules| rules.insertions.push(Insertion { who, before, what }));
    }

    /// Passes on what was held, and goes on so.
    pub fn release(&self, who: &Who, way: Way) {
        self.change(|rules| rules.release(who, way));
    }

    /// Passes everything on this much later; zero: at once again.
    pub fn delay(&self, who: Who, way: Way, by: Duration) {
        self.change(|rules| rules.delay(who, way, by));
    }

    /// Ends these connections as soon as they are known for what they are, now and from now on.
    pub fn bar(&self, who: Who) {
        self.change(|rules| rules.barred.push(who));
    }

    /// Lets them be again.
    pub fn unbar(&self, who: &Who) {
        self.change(|rules| rules.barred.retain(|barred| barred != who));
    }

    /// The server is out of reach: every connection ends, and so does each that is tried.
    pub fn refuse(&self) {
        self.change(|rules| rules.refusing = true);
        self.cut(&Who::All);
    }

    /// The server can be reached again.
    pub fn accept(&self) {
        self.change(|rules| rules.refusing = false);
    }

    /// Ends the connections that are open; returns how many those were.
    pub fn cut(&self, who: &Who) -> usize {
        let connections = self.matching(who);
        let open = connections.iter().filter(|connection| connection.is_open());
        open.map(|connection| connection.cut()).count()
    }

    /// How many are open.
    #[must_use]
    pub fn open(&self, who: &Who) -> usize {
        let connections = self.matching(who);
        let open = connections.iter().filter(|connection| connection.is_open());
        open.count()
    }

    /// How many of these methods were seen, on connections that have ended, too.
    #[must_use]
    pub fn seen(&self, who: &Who, way: Way, method: Method) -> u64 {
        let connections = self.matching(who);
        let counts = connections
            .iter()
            .map(|connection| connection.seen(way, method));
        counts.sum()
    }

    /// How many bytes came from that side.
    #[must_use]
    pub fn bytes(&self, who: &Who, way: Way) -> u64 {
        let connections = self.matching(who);
        let counts = connections.iter().map(|connection| connection.bytes(way));
        counts.sum()
    }

    fn change(&self, change: impl FnOnce(&mut Rules)) {
        self.shared.rules.send_modify(change);
    }

    fn matching(&self, who: &Who) -> Vec<Arc<Connection>> {
        let connections = self.shared.connections.lock();
        let matching = connections
            .iter()
            .filter(|connection| connection.face().is(who));
        matching.cloned().collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut(&Who::All);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        if shared.rules.borrow().refusing {
            reset(client);
            continue;
        }
        let connection = Arc::new(Connection::default());
        shared.connections.lock().push(Arc::clone(&connection));
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            match TcpStream::connect(&shared.server).await {
                Ok(server) => connection.run(client, server, &shared.rules).await,
                Err(_) => reset(client),
            }
            connection.cut();
        });
    }
}

/// Ends a connection the hard way, as a port does on which nobody listens.
fn reset(stream: TcpStream) {
    let _ = stream.set_zero_linger();
    drop(stream);
}
