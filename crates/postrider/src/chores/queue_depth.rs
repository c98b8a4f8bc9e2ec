//! Shows on the dashboard how much work waits.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use postrider_core::ports::Ports;
use postrider_core::time::Clock;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Chore, Complaint, pause};
use crate::telemetry::QueueGauges;

const EVERY: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct QueueDepth {
    pub ports: Ports,
    pub clock: Arc<dyn Clock>,
    pub gauges: QueueGauges,
}

impl QueueDepth {
    async fn refresh(self, stop: CancellationToken) {
        let mut complaint = Complaint::default();
        loop {
            let depth = complaint.note(
                self.ports.broker.depth(self.clock.now()).await,
                |error| warn!(%error, "the depth of the queues is unknown"),
                || info!("the depth of the queues is known again"),
            );
            self.gauges.set(depth.ok());
            if pause(EVERY, &stop).await.is_break() {
                return;
            }
        }
    }
}

impl Chore for QueueDepth {
    const NAME: &'static str = "queue depth";

    fn run(self, stop: CancellationToken) -> impl Future<Output = ()> + Send {
        self.refresh(stop)
    }
}
