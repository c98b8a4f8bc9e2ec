//! An engine, its backends in a temporary directory, and time that moves only when a test moves it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use postrider_backends::embedded::{Embedded, Options};
use postrider_core::application::Application;
use postrider_core::attempt::{AttemptRecord, Disposition};
use postrider_core::endpoint::{Endpoint, EndpointSecret};
use postrider_core::message::{Event, Item, Work};
use postrider_core::ports::{Depth, Ports};
use postrider_core::registry_cache::RegistryCache;
use postrider_core::secret::SecretText;
use postrider_core::{AppId, Clock, EndpointId, EventTypeName, MessageId, OrgId, Timestamp};
use postrider_engine::testing::{Play, ScriptedSender};
use postrider_engine::{Engine, EngineConfig, EngineParts, Observation, Observer, Outgoing};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::{Instant, advance};

use crate::away::Away;
use crate::shut::Shut;

const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const GRACE: Duration = Duration::from_secs(35);

/// The wall clock of a test: tokio's, which the test has paused.
#[derive(Debug)]
struct PausedClock(Instant);

impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        START + self.0.elapsed()
    }
}

/// An attempt that has been settled.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) record: AttemptRecord,
    pub(crate) next: Disposition,
}

#[derive(Debug)]
struct Watcher(mpsc::Sender<Settled>);

impl Observer for Watcher {
    fn settled(&self, observation: &Observation<'_>) {
        let settled = Settled {
            record: observation.record.clone(),
            next: observation.next,
        };
        self.0
            .try_send(settled)
            .expect("a test reads what it causes");
    }
}

pub(crate) struct World {
    pub(crate) ports: Ports,
    pub(crate) sender: ScriptedSender,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) org: OrgId,
    pub(crate) app: AppId,
    /// What the engine has for a store; it can be taken away.
    pub(crate) store: Arc<Away>,
    /// What it has for a broker; it can be made to take nothing.
    pub(crate) broker: Arc<Shut>,
    metrics: prometheus::Registry,
    config: EngineConfig,
    engine: Engine,
    embedded: Embedded,
    settled: mpsc::Receiver<Settled>,
    directory: TempDir,
    /// tokio moves paused time on by itself when all tasks wait. Ours may be waiting for the database's thread, which
    /// it cannot see: a blocking task that lives as long as this keeps time where it is.
    _still: std::sync::mpsc::SyncSender<()>,
}

impl World {
    /// A world with one application. To be called on a runtime whose time is paused.
    pub(crate) async fn new(
        script: impl Fn(usize, &Outgoing) -> Play + Send + Sync + 'static,
    ) -> Self {
        Self::with(EngineConfig::default(), script).await
    }

    /// The same with an engine that works differently.
    pub(crate) async fn with(
        config: EngineConfig,
        script: impl Fn(usize, &Outgoing) -> Play + Send + Sync + 'static,
    ) -> Self {
        // Time stands still: what waits for company would wait for ever.
        let config = EngineConfig {
            outcome_linger: Duration::ZERO,
            ack_linger: Duration::ZERO,
            ..config
        };
        let (still, ended) = std::sync::mpsc::sync_channel::<()>(0);
        tokio::task::spawn_blocking(move || ended.recv());
        let clock: Arc<dyn Clock> = Arc::new(PausedClock(Instant::now()));
        let sender = ScriptedSender::new(script);
        let directory = TempDir::new().unwrap();
        let metrics = prometheus::Registry::new();
        let embedded = Embedded::open(directory.path(), Options::default()).unwrap();
        let store = Away::new(embedded.ports().limits);
        let broker = Shut::new(embedded.ports().broker);
        let parts = (&config, &metrics, &store, &broker);
        let (engine, settled) = start(embedded.ports(), &sender, &clock, parts);
        let org = OrgId::new(START, rand::random());
        let app = AppId::new(START, rand::random());
        let ports = embedded.ports();
        let world = Self {
            ports,
            sender,
            clock,
            org,
            app,
            store,
            broker,
            metrics,
            config,
            engine,
            embedded,
            settled,
            directory,
            _still: still,
        };
        world
            .ports
            .registry
            .put_application(world.application(), None)
            .await
            .unwrap();
        world
    }

    fn application(&self) -> Application {
        Application {
            id: self.app,
            org: self.org,
            uid: None,
            name: "Shop".to_owned(),
            throttle_rate: None,
            payload_retention_hours: None,
            metadata: BTreeMap::new(),
            created_at: START,
            updated_at: START,
            version: 0,
        }
    }

    /// Stops and starts everything but the subscriber.
    pub(crate) async fn restart(mut self) -> Self {
        assert!(self.engine.drain(GRACE).await.clean);
        self.reopen().await;
        self.metrics = prometheus::Registry::new();
        let parts = (&self.config, &self.metrics, &self.store, &self.broker);
        (self.engine, self.settled) =
            start(self.embedded.ports(), &self.sender, &self.clock, parts);
        self
    }

    /// Opens what a drained engine has left, without another engine.
    pub(crate) async fn reopen(&mut self) {
        self.embedded.close().await;
        self.embedded = Embedded::open(self.directory.path(), Options::default()).unwrap();
        self.ports = self.embedded.ports();
        let away = self.store.is_away();
        self.store = Away::new(self.embedded.ports().limits);
        self.broker = Shut::new(self.embedded.ports().broker);
        self.store.set(away);
    }

    /// Drains and reports whether everything that was begun was settled.
    pub(crate) async fn drain(&self) -> bool {
        self.drain_within(GRACE).await
    }

    pub(crate) async fn drain_within(&self, grace: Duration) -> bool {
        self.engine.drain(grace).await.clean
    }

    pub(crate) async fn endpoint(&self) -> Endpoint {
        self.endpoint_at("https://hooks.example.org/in", None).await
    }

    pub(crate) async fn endpoint_at(
        &self,
        url: &str,
        event_types: Option<Vec<EventTypeName>>,
    ) -> Endpoint {
        let endpoint = Endpoint {
            id: EndpointId::new(self.clock.now(), rand::random()),
            app: self.app,
            uid: None,
            url: url.to_owned(),
            description: String::new(),
            event_types,
            channels: None,
            disabled: false,
            metadata: BTreeMap::new(),
            headers: BTreeMap::new(),
            throttle_rate: None,
            secrets: vec![EndpointSecret {
                key: SecretText::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned()),
                expires_at: None,
            }],
            created_at: self.clock.now(),
            updated_at: self.clock.now(),
            created_version: 0,
            era: 0,
        };
        self.ports
            .registry
            .put_endpoint(endpoint, None)
            .await
            .unwrap()
    }

    /// An event as ingest would publish it.
    pub(crate) async fn item(&self, work: Work) -> Item {
        let version = self
            .ports
            .registry
            .snapshot(self.app)
            .await
            .unwrap()
            .unwrap()
            .version();
        let now = self.clock.now();
        let event = Event {
            org: self.org,
            app: self.app,
            message: MessageId::new(now, rand::random()),
            event_id: None,
            event_type: EventTypeName::new("order.paid").unwrap(),
            channels: Vec::new(),
            tags: Vec::new(),
            headers: BTreeMap::new(),
            accepted_at: now,
            deliver_at: None,
            payload_until: now + Duration::from_secs(90 * 24 * 3600),
            registry_version: version,
            payload: br#"{"order":1042}"#.as_slice().into(),
        };
        Item {
            event: Arc::new(event),
            work,
            maybe_dup: false,
        }
    }

    pub(crate) async fn publish(&self, items: Vec<Item>) {
        self.ports
            .broker
            .publish(self.clock.now(), items)
            .await
            .unwrap();
    }

    /// Publishes one event to be matched.
    pub(crate) async fn event(&self) -> MessageId {
        let item = self.item(Work::Match).await;
        let message = item.event.message;
        self.publish(vec![item]).await;
        message
    }

    /// The next attempt that is settled.
    pub(crate) async fn settled(&mut self) -> Settled {
        self.settled.recv().await.unwrap()
    }

    /// Moves time on by `by`; before that, to a millisecond before, where nothing may have happened yet.
    pub(crate) async fn nothing_until(&self, by: Duration) {
        let requests = self.sender.requests().len();
        advance(by.saturating_sub(Duration::from_millis(1))).await;
        let depth = self.depth().await;
        assert_eq!(
            (depth.ready, depth.leased),
            (0, 0),
            "work became ready before its time"
        );
        assert_eq!(
            self.sender.requests().len(),
            requests,
            "a request was made before its time"
        );
        advance(Duration::from_millis(1)).await;
    }

    /// Waits until this many requests are under way, by the engine's own count.
    pub(crate) async fn requests_under_way(&self, count: u32) {
        for _ in 0..100_000 {
            if self.gauge("postrider_requests_in_flight") >= f64::from(count) {
                return;
            }
            self.depth().await;
        }
        panic!("no {count} requests are under way");
    }

    pub(crate) fn gauge(&self, name: &str) -> f64 {
        let families = self.metrics.gather();
        let family = families.iter().find(|family| family.name() == name);
        family.map_or(0.0, |family| family.get_metric()[0].get_gauge().get_value())
    }

    /// A counter's value, over all its labels.
    pub(crate) fn counter(&self, name: &str) -> f64 {
        let families = self.metrics.gather();
        let family = families.iter().find(|family| family.name() == name);
        family
            .into_iter()
            .flat_map(prometheus::proto::MetricFamily::get_metric)
            .map(|metric| metric.get_counter().get_value())
            .sum()
    }

    pub(crate) async fn depth(&self) -> Depth {
        self.ports.broker.depth(self.clock.now()).await.unwrap()
    }

    /// Waits until the broker holds nothing any more: everything has ended.
    pub(crate) async fn all_ended(&self) {
        self.until("the broker is empty", |depth| depth == Depth::default())
            .await;
    }

    /// Waits for a state of the broker that comes about without time passing.
    pub(crate) async fn until(&self, what: &str, done: impl Fn(Depth) -> bool) {
        for _ in 0..100_000 {
            if done(self.depth().await) {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("waited in vain: {what}; {:?}", self.depth().await);
    }
}

fn start(
    ports: Ports,
    sender: &ScriptedSender,
    clock: &Arc<dyn Clock>,
    (config, metrics, store, broker): (
        &EngineConfig,
        &prometheus::Registry,
        &Arc<Away>,
        &Arc<Shut>,
    ),
) -> (Engine, mpsc::Receiver<Settled>) {
    let (watcher, settled) = mpsc::channel(4096);
    let parts = EngineParts {
        cache: Arc::new(RegistryCache::new(Arc::clone(&ports.registry))),
        ports: Ports {
            limits: Arc::<Away>::clone(store),
            broker: Arc::<Shut>::clone(broker),
            ..ports
        },
        clock: Arc::clone(clock),
        sender: Arc::new(sender.clone()),
        observer: Arc::new(Watcher(watcher)),
        config: config.clone(),
        metrics: metrics.clone(),
    };
    (Engine::start(parts).unwrap(), settled)
}
