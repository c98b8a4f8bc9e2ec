//! What every request has at hand.

use std::sync::Arc;

use postrider_core::ports::Ports;
use postrider_core::registry_cache::RegistryCache;
use postrider_core::{Clock, MessageId, Timestamp};
use tokio::sync::Semaphore;

use crate::ApiParts;
use crate::batch::Batches;
use crate::config::ApiConfig;
use crate::counting::Counting;
use crate::health::Health;
use crate::heard::Heard;
use crate::metrics::Metrics;
use crate::schema::Schemas;
use crate::tasks::Tasks;
use crate::tokens::TokenVerifier;

pub(crate) type Shared = Arc<State>;

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) ports: Ports,
    pub(crate) cache: Arc<RegistryCache>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: ApiConfig,
    pub(crate) tokens: TokenVerifier,
    pub(crate) heard: Heard,
    pub(crate) schemas: Arc<Schemas>,
    pub(crate) tasks: Tasks,
    pub(crate) metrics: Metrics,
    pub(crate) batches: Batches,
    pub(crate) health: Health,
    pub(crate) counting: Counting,
    /// One permit: imports take their turns.
    pub(crate) importing: Semaphore,
    /// One permit per request in progress.
    pub(crate) in_flight: Arc<Semaphore>,
    /// One permit per message of a batch in progress.
    pub(crate) batched: Semaphore,
    /// One permit per byte of a body in memory.
    pub(crate) body_memory: Arc<Semaphore>,
}

impl State {
    pub(crate) fn new(parts: ApiParts<'_>) -> Self {
        let metrics = Metrics::new(parts.metrics, &crate::router::templates());
        let registry = Arc::clone(&parts.ports.registry);
        let schemas = Schemas::new(registry, Arc::clone(&parts.cache));
        Self {
            schemas: Arc::new(schemas),
            batches: Batches::start(&parts.ports, &parts.clock, &parts.config, &metrics),
            tokens: TokenVerifier::new(parts.config.jwt_secret.clone()),
            in_flight: Arc::new(Semaphore::new(parts.config.max_in_flight)),
            batched: Semaphore::new(parts.config.max_in_flight),
            body_memory: Arc::new(Semaphore::new(parts.config.max_body_memory)),
            counting: Counting::default(),
            importing: Semaphore::new(1),
            health: Health::default(),
            heard: Heard::default(),
            tasks: Tasks::default(),
            metrics,
            ports: parts.ports,
            cache: parts.cache,
            clock: parts.clock,
            config: parts.config,
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// An identifier for whatever a request is about to make; its bytes serve for other kinds, too.
    pub(crate) fn new_id(&self, now: Timestamp) -> MessageId {
        MessageId::new(now, rand::random())
    }
}
