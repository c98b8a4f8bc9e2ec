//! Metrics, in the text format of Prometheus.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use postrider_core::ports::Depth;
use prometheus::core::{Collector, Desc, Describer as _};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

use super::health::{self, Health, Report};

/// The metrics of this process. Each part registers its own.
#[derive(Debug, Clone)]
pub struct Metrics {
    pub registry: Registry,
    pub queue: QueueGauges,
    /// Whether each dependency answers: what `/health` says, in numbers.
    dependencies: IntGaugeVec,
}

impl Metrics {
    /// # Errors
    /// Never with an empty registry, which this is.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        #[cfg(target_os = "linux")]
        registry.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ))?;
        let build = Opts::new(
            "postrider_build_info",
            "Always 1; the labels tell what is running.",
        )
        .const_label("version", env!("CARGO_PKG_VERSION"));
        let build = IntGauge::with_opts(build)?;
        build.set(1);
        registry.register(Box::new(build))?;
        let queue = QueueGauges::register(&registry)?;
        let up = Opts::new(
            "postrider_dependency_up",
            "Whether a dependency answered when this was read: 1 or 0.",
        );
        let dependencies = IntGaugeVec::new(up, &["dependency"])?;
        registry.register(Box::new(dependencies.clone()))?;
        Ok(Self {
            registry,
            queue,
            dependencies,
        })
    }

    /// Shows what others count.
    ///
    /// # Errors
    /// Where a metric of that name is there already.
    pub fn counted(
        &self,
        name: &str,
        help: &str,
        read: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Result<(), prometheus::Error> {
        let opts = Opts::new(name, help).namespace("postrider");
        let counted = Counted {
            opts: opts.clone(),
            description: opts.describe()?,
            read: Box::new(read),
        };
        self.registry.register(Box::new(counted))
    }

    /// `/metrics`. Like `/health` it asks every dependency, and like that it answers although one hangs.
    pub fn routes(&self, health: &Arc<Health>) -> Router {
        Router::new()
            .route("/metrics", get(show))
            .with_state((self.clone(), Arc::clone(health)))
    }

    fn tell(&self, report: &Report) {
        for (name, dependency) in &report.dependencies {
            let up = dependency.status == health::State::Ok;
            let gauge = self.dependencies.with_label_values(&[name]);
            gauge.set(i64::from(up));
        }
    }
}

async fn show(State((metrics, health)): State<(Metrics, Arc<Health>)>) -> Response {
    metrics.tell(&health.report().await);
    match TextEncoder::new().encode_to_string(&metrics.registry.gather()) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// A counter that lies elsewhere.
struct Counted {
    opts: Opts,
    description: Desc,
    read: Box<dyn Fn() -> u64 + Send + Sync>,
}

impl Collector for Counted {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.description]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Ok(counter) = IntCounter::with_opts(self.opts.clone()) else {
            return Vec::new();
        };
        counter.inc_by((self.read)());
        counter.collect()
    }
}

/// How much work the broker holds.
#[derive(Debug, Clone)]
pub struct QueueGauges {
    packs: IntGaugeVec,
}

impl QueueGauges {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let opts = Opts::new(
            "postrider_queue_packs",
            "Packs of work in the broker (1 to 64 events each), by state.",
        );
        let packs = IntGaugeVec::new(opts, &["state"])?;
        registry.register(Box::new(packs.clone()))?;
        Ok(Self { packs })
    }

    /// An unknown depth is shown as none, not as the last one known.
    pub fn set(&self, depth: Option<Depth>) {
        let Some(depth) = depth else {
            return self.packs.reset();
        };
        let states = [
            ("ready", depth.ready),
            ("waiting", depth.waiting),
            ("leased", depth.leased),
            ("quarantined", depth.quarantined),
        ];
        for (state, packs) in states {
            self.packs
                .with_label_values(&[state])
                .set(i64::try_from(packs).unwrap_or(i64::MAX));
        }
    }
}
