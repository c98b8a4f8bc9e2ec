//! From the engine to the terminal: an observer that must not hold up deliveries, and a queue with a bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use postrider_core::attempt::Disposition;
use postrider_core::id::{EndpointId, MessageId};
use postrider_core::time::Timestamp;
use postrider_engine::{Observation, Observer};
use tokio::sync::mpsc;

/// Deliveries that may wait to be shown; more are counted only.
const BOUND: usize = 4_096;

/// What is shown of an attempt.
#[derive(Debug, Clone)]
pub(super) struct Sight {
    pub(super) at: Timestamp,
    pub(super) message: MessageId,
    pub(super) event_type: String,
    pub(super) endpoint: EndpointId,
    /// The endpoint's uid, or where it points.
    pub(super) endpoint_name: String,
    pub(super) attempt: u16,
    /// The status, or why there is none.
    pub(super) status: Result<u16, &'static str>,
    pub(super) millis: u32,
    pub(super) next: Disposition,
}

/// Makes an observer, and the other end of its queue.
#[must_use]
pub fn watch() -> (Arc<dyn Observer>, Sights) {
    let (sender, receiver) = mpsc::channel(BOUND);
    let missed = Arc::new(AtomicU64::new(0));
    let watcher = Watcher {
        sights: sender,
        missed: Arc::clone(&missed),
    };
    (Arc::new(watcher), Sights { receiver, missed })
}

#[derive(Debug)]
struct Watcher {
    sights: mpsc::Sender<Sight>,
    missed: Arc<AtomicU64>,
}

impl Observer for Watcher {
    fn settled(&self, observation: &Observation<'_>) {
        let Observation {
            event,
            endpoint,
            record,
            failure,
            next,
        } = observation;
        let sight = Sight {
            at: record.at,
            message: record.message,
            event_type: event.event_type.to_string(),
            endpoint: record.endpoint,
            endpoint_name: endpoint
                .uid
                .as_ref()
                .map_or_else(|| place(&record.url), ToString::to_string),
            attempt: record.attempt,
            status: failure.map_or(Ok(record.status_code), |failure| Err(failure.kind())),
            millis: record.duration_ms,
            next: *next,
        };
        if self.sights.try_send(sight).is_err() {
            self.missed.fetch_add(1, Relaxed);
        }
    }
}

/// Host and port: paths and queries of endpoints often hold credentials.
fn place(url: &str) -> String {
    let Ok(url) = url::Url::parse(url) else {
        return "?".to_owned();
    };
    let host = url.host_str().unwrap_or("?");
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Attempts as they end.
#[derive(Debug)]
pub struct Sights {
    receiver: mpsc::Receiver<Sight>,
    missed: Arc<AtomicU64>,
}

impl Sights {
    /// Never completes once the engine is gone.
    pub(super) async fn next(&mut self) -> Sight {
        match self.receiver.recv().await {
            Some(sight) => sight,
            None => std::future::pending().await,
        }
    }

    /// What is there already.
    pub(super) fn try_next(&mut self) -> Option<Sight> {
        self.receiver.try_recv().ok()
    }

    /// How many went by unseen since this was last asked.
    pub(super) fn missed(&self) -> u64 {
        self.missed.swap(0, Relaxed)
    }
}
