//! What was deleted on the broker, as metrics.

use std::sync::Arc;

use postrider_backends::rabbitmq::RabbitMq;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, Opts};

/// Read from the broker whenever somebody asks.
#[derive(Debug)]
pub struct BrokerLosses {
    broker: Arc<RabbitMq>,
    /// Only to describe them.
    counters: [IntCounterVec; 2],
}

impl BrokerLosses {
    /// # Errors
    /// Never: the names are constants.
    pub fn new(broker: Arc<RabbitMq>) -> Result<Self, prometheus::Error> {
        let counters = counters()?;
        Ok(Self { broker, counters })
    }

    fn read(&self) -> Result<Vec<MetricFamily>, prometheus::Error> {
        let [queues, packs] = counters()?;
        let losses = self.broker.losses();
        for (counters, totals) in [(&queues, losses.queues), (&packs, losses.packs)] {
            for (kind, total) in totals {
                counters.with_label_values(&[kind]).inc_by(total);
            }
        }
        Ok([queues.collect(), packs.collect()].concat())
    }
}

fn counters() -> Result<[IntCounterVec; 2], prometheus::Error> {
    let counter = |name, help| IntCounterVec::new(Opts::new(name, help), &["queue"]);
    let queues = counter(
        "postrider_broker_queues_recreated_total",
        "Queues that had been deleted on RabbitMQ and were made anew by this process, by kind.",
    )?;
    let packs = counter(
        "postrider_broker_packs_lost_total",
        "Packs (1 to 64 events each) that waited in queues that were deleted, as they were last counted, by kind.",
    )?;
    Ok([queues, packs])
}

impl Collector for BrokerLosses {
    fn desc(&self) -> Vec<&Desc> {
        self.counters.iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.read().unwrap_or_default()
    }
}
