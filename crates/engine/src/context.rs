//! What every part of the engine shares.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use postrider_core::ports::Ports;
use postrider_core::registry_cache::RegistryCache;
use postrider_core::time::{Clock, Timestamp};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::acker::Acker;
use crate::config::EngineConfig;
use crate::crowd::Crowd;
use crate::gate::Gate;
use crate::held::Held;
use crate::metrics::Metrics;
use crate::observer::Observer;
use crate::prepared::PreparedEndpoints;
use crate::recorder::Recorder;
use crate::sender::Sender;
use crate::starts::Starts;
use crate::suspects;
use crate::trial::Untried;

/// What an engine is made of.
#[derive(Debug)]
pub struct EngineParts {
    pub ports: Ports,
    pub cache: Arc<RegistryCache>,
    pub clock: Arc<dyn Clock>,
    pub sender: Arc<dyn Sender>,
    pub observer: Arc<dyn Observer>,
    pub config: EngineConfig,
    /// Where the engine's metrics are registered.
    pub metrics: prometheus::Registry,
}

#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) ports: Ports,
    pub(crate) cache: Arc<RegistryCache>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) sender: Arc<dyn Sender>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) config: EngineConfig,
    pub(crate) metrics: Metrics,
    pub(crate) gate: Gate,
    pub(crate) prepared: PreparedEndpoints,
    pub(crate) recorder: Recorder,
    pub(crate) acker: Acker,
    pub(crate) untried: Untried,
    /// One permit per request under way.
    pub(crate) slots: Semaphore,
    pub(crate) starts: Starts,
    pub(crate) crowd: Crowd,
    pub(crate) held: Held,
    /// The packs being worked on.
    pub(crate) packs: TaskTracker,
    /// Packs that were taken, and that nobody has begun on.
    pub(crate) unbegun: AtomicUsize,
    /// Told whenever a pack has been let go, or begun on.
    pub(crate) room: Notify,
    /// No new work from now on; what waits for a slot is handed off.
    pub(crate) stopping: CancellationToken,
    /// Requests under way are abandoned and handed off, too.
    pub(crate) cut_off: CancellationToken,
}

impl Context {
    pub(crate) fn new(
        parts: EngineParts,
        background: &TaskTracker,
    ) -> Result<Self, prometheus::Error> {
        let metrics = Metrics::register(&parts.metrics)?;
        let recorder = Recorder::start(
            &parts.ports,
            Arc::clone(&parts.clock),
            &metrics,
            parts.config.outcome_linger,
            background,
        );
        let acker = Acker::start(
            Arc::clone(&parts.ports.broker),
            parts.config.ack_linger,
            background,
        );
        let gate = Gate::new(parts.config.request_timeout, &metrics.suspects);
        let windows = parts.ports.broker.windows();
        let held = Held::new(windows, &metrics.packs, &metrics.packs_by_queue);
        Ok(Self {
            slots: Semaphore::new(parts.config.slots),
            starts: Starts::default(),
            crowd: Crowd::default(),
            ports: parts.ports,
            cache: parts.cache,
            clock: parts.clock,
            sender: parts.sender,
            observer: parts.observer,
            config: parts.config,
            gate,
            held,
            untried: Untried::default(),
            prepared: PreparedEndpoints::default(),
            packs: TaskTracker::new(),
            unbegun: AtomicUsize::new(0),
            room: Notify::new(),
            stopping: CancellationToken::new(),
            cut_off: CancellationToken::new(),
            metrics,
            recorder,
            acker,
        })
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Until when a pair's record must be kept while attempts may still follow: the schedule's end and a day.
    pub(crate) fn keep_waiting_pair(&self, now: Timestamp) -> Timestamp {
        let stretched = self
            .config
            .schedule
            .span()
            .mul_f64(postrider_core::ladder::MAX_STRETCH);
        now + stretched + Duration::from_secs(24 * 3600)
    }

    /// How many requests an endpoint may have that has let one run into its deadline.
    pub(crate) fn probes(&self) -> u32 {
        suspects::probes(self.slots.available_permits(), self.config.slots)
    }

    /// Lets the background tasks finish what they were given, and end.
    pub(crate) fn close_background(&self) {
        self.recorder.close();
        self.acker.close();
    }
}
