//! The port [`Broker`] on RabbitMQ's quorum queues, for any number of processes.
//!
//! ```text
//!  publish, hand_off ──▶ packs ──▶ pr.v1.events.{key} ──────────────────────────▶ lease
//!                              └─▶ pr.v1.delay.{step} ──time──▶ pr.v1.retry.{key} ──▶ lease ──▶ ack
//!                                       pr.v1.returned ──30 s──┘      ▲                └──▶ give_back ──▶ pr.v1.returned
//! ```
//!
//! | page | what |
//! |---|---|
//! | `topology` | every exchange and queue, with its arguments |
//! | `routing` | where an item belongs |
//! | `publish` | packs are formed, published, confirmed |
//! | `consume` | what was fetched, what is leased, how it is settled |
//! | `intake` | what backends publish by themselves, where that is switched on |
//! | `declare`, `missing`, `sight` | making what somebody has deleted, and saying what was lost with it |
//! | `nodes`, `link`, `backoff` | connections, and what happens between them |
//!
//! Publishing and consuming have a connection each: an alarm of the server (memory, disk) stops whoever publishes, and
//! what is leased must still be settled then. Both are kept for ever; nothing has to be restarted, whatever happens to the
//! server. While it is away, `publish` and `hand_off` fail, `lease` yields nothing, and `probe` says why.
//!
//! A process is wired in this order:
//!
//! ```no_run
//! # async fn wire() -> Result<(), Box<dyn std::error::Error>> {
//! use postrider_backends::rabbitmq::{Options, RabbitMq};
//!
//! let broker = RabbitMq::new("amqp://user:password@mq.example:5672/postrider", Options::default())?;
//! // Before anything is declared, where it matters: was there ever an installation?
//! let founding = broker.is_new_installation().await?;
//! // From here on it is connected, and what is missing gets declared.
//! broker.start();
//! # Ok(())
//! # }
//! ```
//!
//! What is absent: automatic recovery of the client library (it gives up, and does not notice a channel or a consumer that
//! ends), its coalesced confirms, and any queue in memory that outlives a connection.

mod backoff;
mod check;
mod consume;
mod declare;
mod depth;
mod error;
mod greeting;
mod intake;
mod link;
mod missing;
mod nodes;
mod options;
mod publish;
mod routing;
mod shared;
mod sight;
mod topology;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use lapin::options::BasicCancelOptions;
use parking_lot::Mutex;
use postrider_core::envelope;
use postrider_core::message::Item;
use postrider_core::ports::{
    Broker, BrokerCapabilities, Depth, HandOff, Intake, Leased, Pack, PortError, Probe, Receipt,
    Window,
};
use postrider_core::time::Timestamp;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub use self::check::Report;
use self::consume::State as Consuming;
use self::error::{closed, unavailable};
pub use self::intake::Intaking;
use self::link::Link;
use self::nodes::Nodes;
pub use self::options::{Options, Prefetch, UrlError};
use self::publish::{Publisher, State as Publishing};
use self::routing::Destination;
use self::shared::Shared;
pub use self::sight::Losses;

/// How long each step of closing may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the server may take to say that it is there.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);
/// How late a queue may notice that a message's time is over.
const LATENESS: Duration = Duration::from_millis(500);

/// A process's two connections to RabbitMQ. Dropping it ends both.
pub struct RabbitMq {
    shared: Arc<Shared>,
    consuming: watch::Receiver<Consuming>,
    tasks: TaskTracker,
    /// What the tasks need, until they are started.
    idle: Mutex<Option<(publish::Desk, watch::Sender<Consuming>)>>,
    _closing: DropGuard,
}

impl std::fmt::Debug for RabbitMq {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RabbitMq")
            .field("nodes", &self.shared.nodes)
            .finish_non_exhaustive()
    }
}

impl RabbitMq {
    /// Reads the address (see [`UrlError`] for its form; several nodes of one cluster are separated by commas) and does
    /// nothing else: no connection is made before [`Self::start`].
    ///
    /// # Errors
    /// Where the address cannot be read, or the nodes are named with different virtual hosts.
    pub fn new(url: &str, options: Options) -> Result<Self, UrlError> {
        let nodes = Nodes::parse(url, &options)?;
        let (publisher, desk) = Publisher::new(&options);
        let (told, consuming) = watch::channel(Consuming::Idle);
        let closing = CancellationToken::new();
        let shared = Shared {
            nodes,
            options,
            declared: declare::Declared::default(),
            publisher,
            desk: consume::Desk::new(),
            closing: closing.clone(),
        };
        Ok(Self {
            shared: Arc::new(shared),
            consuming,
            tasks: TaskTracker::new(),
            idle: Mutex::new(Some((desk, told))),
            _closing: closing.drop_guard(),
        })
    }

    /// How this process is named in [`Options`].
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.options.name
    }

    /// Connects in the background, and declares what is missing: from then on, this is an installation. Consumers are
    /// started by the first lease. Doing it twice is doing it once.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn start(&self) {
        let Some((desk, consuming)) = self.idle.lock().take() else {
            return;
        };
        let shared = &self.shared;
        self.tasks.spawn(publish::run(Arc::clone(shared), desk));
        self.tasks
            .spawn(consume::run(Arc::clone(shared), consuming));
        self.tasks.spawn(consume::run_rescue(Arc::clone(shared)));
    }

    /// Hands `intake` what backends publish to the exchange `postrider.publish`, which is declared together with its queues.
    /// Begins when something can be published. See [`Options::takes_in`].
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    #[must_use]
    pub fn take_in(&self, intake: Arc<dyn Intake>) -> Intaking {
        Intaking::start(&self.shared, intake)
    }

    /// Completes when something can be published. Not before [`Self::start`].
    pub async fn up(&self) {
        self.shared.publisher.up().await;
    }

    /// Whether no process has ever declared anything in this virtual host. Asked on a connection of its own, which
    /// changes nothing; to be asked before [`Self::start`].
    ///
    /// # Errors
    /// Where the server cannot be asked.
    pub async fn is_new_installation(&self) -> Result<bool, PortError> {
        check::is_new(&self.shared.nodes, &self.shared.options)
            .await
            .map_err(unavailable)
    }

    /// Compares what is on the server with what this release needs, on a connection of its own. Changes nothing: what is
    /// missing stays missing.
    ///
    /// # Errors
    /// Where the server cannot be asked.
    pub async fn check(&self) -> Result<Report, PortError> {
        check::check(&self.shared.nodes, &self.shared.options)
            .await
            .map_err(unavailable)
    }

    /// What had been deleted on the server and was made anew by this process, since it was started.
    #[must_use]
    pub fn losses(&self) -> Losses {
        self.shared.declared.sight.losses()
    }

    /// Ends like a process that is killed: both connections are cut, nothing is settled. For tests.
    #[doc(hidden)]
    pub async fn abandon(&self) {
        if let Publishing::Up(link) | Publishing::Blocked(link, _) = self.shared.publisher.state() {
            link.cut();
        }
        if let Consuming::Up(link) = &*self.consuming.borrow() {
            link.cut();
        }
        self.shared.desk.close();
        self.shared.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// A connection to ask something on, preferably the one that no alarm can block.
    fn link(&self) -> Result<Arc<Link>, PortError> {
        if let Consuming::Up(link) = &*self.consuming.borrow() {
            return Ok(Arc::clone(link));
        }
        match self.shared.publisher.state() {
            Publishing::Up(link) => Ok(link),
            other => {
                other.check()?;
                Err(closed())
            }
        }
    }
}

#[async_trait]
impl Probe for RabbitMq {
    async fn probe(&self) -> Result<(), PortError> {
        let publishing = match self.shared.publisher.state() {
            Publishing::Up(link) => link,
            other => return other.check(),
        };
        if self.shared.desk.is_leasing()
            && let Consuming::Apart(cause) = &*self.consuming.borrow()
        {
            return Err(unavailable(format!("nothing is consumed: {cause}")));
        }
        if let Some(missing) = self.shared.declared.sight.missing() {
            return Err(unavailable(format!("missing on the server: {missing}")));
        }
        let asked = [topology::FIRST_QUEUE.to_owned()];
        match timeout(PROBE_TIMEOUT, publishing.count(&asked)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(unavailable(error::told(&error))),
            Err(_) => Err(unavailable(format!("no answer within {PROBE_TIMEOUT:?}"))),
        }
    }
}

#[async_trait]
impl Broker for RabbitMq {
    async fn publish(&self, _now: Timestamp, items: Vec<Item>) -> Result<(), PortError> {
        let routed = items
            .into_iter()
            .map(|item| (Destination::published(&item), item));
        self.shared.publisher.publish(routed.collect()).await
    }

    async fn lease(&self, _now: Timestamp, room: usize) -> Result<Leased, PortError> {
        Ok(Leased {
            packs: self.shared.desk.lease(room)?,
            next_due: None,
        })
    }

    async fn wait(&self) {
        self.shared.desk.wait().await;
    }

    async fn hand_off(&self, now: Timestamp, items: Vec<HandOff>) -> Result<(), PortError> {
        let route = |hand_off: HandOff| {
            let destination = Destination::handed_off(&hand_off, now, rand::random())?;
            Ok((destination, hand_off.item))
        };
        let routed: Result<Vec<_>, PortError> = items.into_iter().map(route).collect();
        self.shared.publisher.publish(routed?).await
    }

    async fn hand_off_singly(&self, now: Timestamp, items: Vec<HandOff>) -> Result<(), PortError> {
        let route = |hand_off: HandOff| {
            let destination = Destination::handed_off(&hand_off, now, rand::random())?;
            Ok((destination, envelope::encode(&[hand_off.item])))
        };
        let routed: Result<Vec<_>, PortError> = items.into_iter().map(route).collect();
        self.shared.publisher.publish_packs(routed?).await
    }

    async fn ack(&self, receipts: Vec<Receipt>) -> Result<(), PortError> {
        self.shared.desk.ack(&receipts)
    }

    async fn give_back(&self, _now: Timestamp, receipts: Vec<Receipt>) -> Result<(), PortError> {
        self.shared.desk.give_back(&receipts)
    }

    async fn quarantine(&self, _now: Timestamp, pack: &Pack) -> Result<(), PortError> {
        // What is not held any more comes again by itself.
        let Some(key) = self.shared.desk.key_of(pack.receipt)? else {
            return Ok(());
        };
        self.shared
            .publisher
            .quarantine(key, pack.bytes.clone())
            .await?;
        self.shared.desk.ack(&[pack.receipt])
    }

    async fn depth(&self, _now: Timestamp) -> Result<Depth, PortError> {
        depth::depth(&self.shared.desk, &*self.link()?, &self.shared.declared).await
    }

    fn capabilities(&self) -> BrokerCapabilities {
        BrokerCapabilities {
            shared: true,
            exact_within: postrider_core::ladder::FIRST_STEP + LATENESS,
            counts_others: false,
        }
    }

    fn windows(&self) -> Vec<Window> {
        consume::windows(self.shared.options.prefetch)
    }

    async fn stop_leasing(&self) {
        let to_cancel = self.shared.desk.stop();
        let cancelled = to_cancel.into_iter().map(|(channel, consumer)| async move {
            let _ = channel
                .basic_cancel(consumer, BasicCancelOptions::default())
                .await;
        });
        let stopped = async {
            join_all(cancelled).await;
            self.shared.desk.stopped().await;
        };
        let _ = timeout(CLOSE_TIMEOUT, stopped).await;
    }

    async fn close(&self) {
        let _ = timeout(CLOSE_TIMEOUT, self.shared.desk.rescued()).await;
        self.shared.desk.close();
        self.shared.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
