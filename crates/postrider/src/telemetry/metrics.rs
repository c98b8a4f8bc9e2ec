//! Metrics, in the text format of Prometheus.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use postrider_core::ports::Depth;
use prometheus::core::{Collector, Desc, Describer as _};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

/// The metrics of this process. Each part registers its own.
#[derive(Debug, Clone)]
pub struct Metrics {
    pub registry: Registry,
    pub queue: QueueGauges,
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
        Ok(Self { registry, queue })
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

    /// `/metrics`.
    pub fn routes(&self) -> Router {
        Router::new()
            .route("/metrics", get(show))
            .with_state(self.registry.clone())
    }
}

async fn show(State(registry): State<Registry>) -> Response {
    match TextEncoder::new().encode_to_string(&registry.gather()) {
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
