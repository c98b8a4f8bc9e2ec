//! What the engine counts. Handles are resolved once; no label has unbounded variety.

use postrider_core::attempt::{Disposition, Failure};
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    core::Collector,
};

/// Seconds. Fine where deliveries usually are, coarse up to the longest deadline.
const DURATION_BUCKETS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0,
];
const LATENESS_BUCKETS: &[f64] = &[0.001, 0.01, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 3600.0];

#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    delivered: IntCounter,
    to_retry: IntCounter,
    given_up: IntCounter,
    failures: IntCounterVec,
    pub(crate) attempt_seconds: Histogram,
    pub(crate) first_attempt_wait: Histogram,
    pub(crate) retry_lateness: Histogram,
    pub(crate) in_flight: IntGauge,
    pub(crate) packs: IntGauge,
    pub(crate) packs_by_queue: IntGaugeVec,
    pub(crate) rehomed_packs: IntCounter,
    pub(crate) rehomed_targets: IntCounter,
    pub(crate) suspects: IntGauge,
    pub(crate) canceled: IntCounter,
    pub(crate) dead_letters: IntCounterVec,
    pub(crate) handed_off: IntCounterVec,
    pub(crate) claims_lost: IntCounter,
    pub(crate) unguarded: IntCounter,
    pub(crate) given_back: IntCounter,
    pub(crate) quarantined: IntCounter,
    pub(crate) log_records_dropped: IntCounter,
    pub(crate) pair_records_dropped: IntCounter,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let with = Registrar(registry);
        let attempts = with.counters(
            "attempts_total",
            "Attempts by what followed from them.",
            "outcome",
        )?;
        Ok(Self {
            delivered: attempts.with_label_values(&["delivered"]),
            to_retry: attempts.with_label_values(&["retry"]),
            given_up: attempts.with_label_values(&["dead"]),
            failures: with.counters("attempt_failures_total", "Attempts without an answer, by cause.", "cause")?,
            attempt_seconds: with.histogram("attempt_duration_seconds", "Duration of requests.", DURATION_BUCKETS)?,
            first_attempt_wait: with.histogram(
                "first_attempt_wait_seconds",
                "Time from acceptance to the start of the first attempt.",
                LATENESS_BUCKETS,
            )?,
            retry_lateness: with.histogram(
                "retry_lateness_seconds",
                "Time from when a later attempt was due at the earliest to its start.",
                LATENESS_BUCKETS,
            )?,
            in_flight: with.gauge("requests_in_flight", "Requests under way.")?,
            packs: with.gauge("packs_held", "Packs of work held by this process.")?,
            packs_by_queue: with.gauges("queue_packs_held", "Packs of work held by this process, by the queue that they came from.", "queue")?,
            rehomed_packs: with.counter(
                "rehomed_packs_total",
                "Packs let go before their requests had ended, because these took long and pinned too much.",
            )?,
            rehomed_targets: with.counter("rehomed_targets_total", "Requests that went on without their packs.")?,
            suspects: with.gauge("suspect_endpoints", "Endpoints from which requests are withheld, because those under way are not answered.")?,
            canceled: with.counter("canceled_total", "Deliveries canceled before a request was made.")?,
            dead_letters: with.counters("dead_letters_total", "Deliveries given up, by reason.", "reason")?,
            handed_off: with.counters("handed_off_total", "Work handed off to a later time, by why.", "why")?,
            claims_lost: with.counter("claims_lost_total", "Attempts not made because they had been made already.")?,
            unguarded: with.counter("unguarded_total", "Attempts that nothing guards against a repetition, because the store was away when they ended.")?,
            given_back: with.counter("given_back_total", "Packs given back because nothing could be written.")?,
            quarantined: with.counter("quarantined_total", "Packs set apart after too many deliveries.")?,
            log_records_dropped: with.counter(
                "log_records_dropped_total",
                "Log records dropped because the store was away for too long.",
            )?,
            pair_records_dropped: with.counter(
                "pair_records_dropped_total",
                "Pair records dropped because the store was away for too long.",
            )?,
        })
    }

    pub(crate) fn attempt(&self, disposition: Disposition, failure: Option<&Failure>) {
        match disposition {
            Disposition::Delivered => self.delivered.inc(),
            Disposition::Retry(_) | Disposition::RetryExactly(_) => self.to_retry.inc(),
            Disposition::GiveUp(_) => self.given_up.inc(),
        }
        if let Some(failure) = failure {
            self.failures.with_label_values(&[failure.kind()]).inc();
        }
    }
}

struct Registrar<'a>(&'a Registry);

impl Registrar<'_> {
    fn add<C: Collector + Clone + 'static>(&self, metric: C) -> Result<C, prometheus::Error> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.add(IntCounter::with_opts(opts(name, help))?)
    }

    fn counters(
        &self,
        name: &str,
        help: &str,
        label: &str,
    ) -> Result<IntCounterVec, prometheus::Error> {
        self.add(IntCounterVec::new(opts(name, help), &[label])?)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.add(IntGauge::with_opts(opts(name, help))?)
    }

    fn gauges(
        &self,
        name: &str,
        help: &str,
        label: &str,
    ) -> Result<IntGaugeVec, prometheus::Error> {
        self.add(IntGaugeVec::new(opts(name, help), &[label])?)
    }

    fn histogram(
        &self,
        name: &str,
        help: &str,
        buckets: &[f64],
    ) -> Result<Histogram, prometheus::Error> {
        let opts = HistogramOpts {
            common_opts: opts(name, help),
            buckets: buckets.to_vec(),
        };
        self.add(Histogram::with_opts(opts)?)
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("postrider")
}
