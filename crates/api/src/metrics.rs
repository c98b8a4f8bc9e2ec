//! What the API counts. Handles are made once; every label's values are known beforehand.

use std::collections::HashMap;
use std::time::Duration;

use http::StatusCode;
use parking_lot::RwLock;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry,
};

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// Where no route matched.
const OTHER: &str = "other";
/// Seconds. An acceptance takes a fraction of a millisecond; a wait for a twin takes up to ten seconds.
const BUCKETS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// The handles of one route.
#[derive(Debug)]
struct Route {
    by_class: [IntCounter; CLASSES.len()],
    seconds: Histogram,
}

/// What became of messages that were published over AMQP.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) accepted: IntCounter,
    pub(crate) refused: IntCounter,
    pub(crate) waited: IntCounter,
    pub(crate) unfinished: IntCounter,
}

#[derive(Debug)]
pub(crate) struct Metrics {
    routes: HashMap<&'static str, Route>,
    other: Route,
    pub(crate) accepted: IntCounter,
    pub(crate) incoming: Incoming,
    pub(crate) log_dropped: IntCounter,
    pub(crate) completions_dropped: IntCounter,
    rejected: IntCounterVec,
    /// Handles by reason, made when a reason is first met; there are about a dozen.
    reasons: RwLock<HashMap<&'static str, IntCounter>>,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry, templates: &[&'static str]) -> Self {
        let requests = counters(
            registry,
            "postrider_http_requests_total",
            "Requests answered by the API.",
            &["route", "class"],
        );
        let seconds = histograms(registry);
        let route = |template: &str| Route {
            by_class: CLASSES.map(|class| requests.with_label_values(&[template, class])),
            seconds: seconds.with_label_values(&[template]),
        };
        let dropped = counters(
            registry,
            "postrider_api_batch_records_dropped_total",
            "Records dropped because their store was away for too long: of the delivery log, or of finished reservations.",
            &["batch"],
        );
        let rejected = counters(
            registry,
            "postrider_messages_rejected_total",
            "Messages that were not accepted, by the error's code.",
            &["reason"],
        );
        let accepted = counters(
            registry,
            "postrider_messages_accepted_total",
            "Messages made durable and answered 202. Replays do not count.",
            &[],
        );
        let incoming = counters(
            registry,
            "postrider_amqp_messages_total",
            "Messages taken from the queue that backends publish to: accepted (repetitions included), refused, found to have to wait, or given back because accepting them took too long (unfinished).",
            &["outcome"],
        );
        Self {
            incoming: Incoming {
                accepted: incoming.with_label_values(&["accepted"]),
                refused: incoming.with_label_values(&["refused"]),
                waited: incoming.with_label_values(&["waited"]),
                unfinished: incoming.with_label_values(&["unfinished"]),
            },
            routes: templates.iter().map(|name| (*name, route(name))).collect(),
            other: route(OTHER),
            accepted: accepted.with_label_values::<&str>(&[]),
            log_dropped: dropped.with_label_values(&["log"]),
            completions_dropped: dropped.with_label_values(&["completions"]),
            rejected,
            reasons: RwLock::default(),
        }
    }

    pub(crate) fn answered(&self, template: Option<&str>, status: StatusCode, took: Duration) {
        let route = template
            .and_then(|name| self.routes.get(name))
            .unwrap_or(&self.other);
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
        route.by_class[class].inc();
        route.seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn rejected(&self, reason: &'static str) {
        if let Some(known) = self.reasons.read().get(reason) {
            return known.inc();
        }
        let counter = self.rejected.with_label_values(&[reason]);
        counter.inc();
        self.reasons.write().insert(reason, counter);
    }
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    let vec = IntCounterVec::new(Opts::new(name, help), labels).expect("the names are valid");
    register(registry, name, vec.clone());
    vec
}

fn histograms(registry: &Registry) -> HistogramVec {
    let name = "postrider_http_request_duration_seconds";
    let help = "From the head of a request to its answer.";
    let options = HistogramOpts::new(name, help).buckets(BUCKETS.to_vec());
    let vec = HistogramVec::new(options, &["route"]).expect("the names are valid");
    register(registry, name, vec.clone());
    vec
}

/// A name that is taken costs its metric, not the service.
fn register(
    registry: &Registry,
    name: &str,
    collector: impl prometheus::core::Collector + 'static,
) {
    if let Err(error) = registry.register(Box::new(collector)) {
        tracing::error!(name, %error, "a metric will not be exported");
    }
}
