//! The delivery engine: takes work from the broker, decides, sends, records, settles.
//!
//! ```text
//!  Broker ──lease──▶ consume ──▶ pack ──▶ item ──▶ deliver ──▶ Sender
//!    ▲                                               │
//!    ├── hand off (retry, chunk, dead letter) ◀──────┤ 1. durable elsewhere
//!    │                                    Recorder ◀─┤ 2. outcome flushed
//!    └── ack ◀── Acker ◀── pack ◀────────────────────┘ 3. let go
//! ```
//!
//! The order 1, 2, 3 is what keeps a delivery from being lost (nothing is let go before its successor is durable)
//! and from being repeated (whoever takes the pack again finds what was recorded). Which broker and which store
//! stand behind the ports is unknown here, and so is HTTP outside of [`http`].

mod acker;
mod config;
mod consume;
mod context;
mod crowd;
mod dead;
mod deliver;
mod gate;
mod held;
mod item;
mod linger;
mod metrics;
mod observer;
mod pack;
mod plan;
mod poison;
mod prepared;
mod pressure;
mod recorder;
mod request_target;
mod sender;
mod starts;
mod suspects;
mod trial;

pub mod http;
#[cfg(feature = "testing")]
pub mod testing;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use config::EngineConfig;
pub use context::EngineParts;
pub use observer::{NoObserver, Observation, Observer};
pub use request_target::RequestTarget;
pub use sender::{Outgoing, Sender};

use context::Context;

/// How long the last steps of a drain may take: what was cut off is handed off, flushed and acknowledged.
const SETTLE_TIME: Duration = Duration::from_secs(3);

/// A running engine.
#[derive(Debug)]
pub struct Engine {
    context: Arc<Context>,
    consumer: TaskTracker,
    background: TaskTracker,
}

/// How a drain went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainReport {
    /// Everything that was begun has been settled: nothing will be delivered twice because of this stop.
    pub clean: bool,
}

impl Engine {
    /// Starts delivering. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// Where a metric of the same name is registered already.
    pub fn start(parts: EngineParts) -> Result<Self, prometheus::Error> {
        let background = TaskTracker::new();
        let context = Arc::new(Context::new(parts, &background)?);
        let consumer = TaskTracker::new();
        consumer.spawn(consume::run(Arc::clone(&context)));
        background.spawn(pressure::run(Arc::clone(&context)));
        consumer.close();
        Ok(Self {
            context,
            consumer,
            background,
        })
    }

    /// Stops taking work and waits for what was begun. What is still under way shortly before `grace` ends is cut
    /// off and handed off for somebody else to repeat. Draining twice is draining once.
    pub async fn drain(&self, grace: Duration) -> DrainReport {
        self.context.stopping.cancel();
        let leave_to_others = async {
            self.consumer.wait().await;
            self.context.ports.broker.stop_leasing().await;
        };
        let patience = grace.saturating_sub(2 * SETTLE_TIME).max(grace / 2);
        let (mut clean, _) = tokio::join!(
            async { timeout(patience, self.settled()).await.is_ok() },
            timeout(patience, leave_to_others),
        );
        if !clean {
            self.context.cut_off.cancel();
            clean = timeout(SETTLE_TIME, self.settled()).await.is_ok();
        }
        self.context.close_background();
        self.background.close();
        clean &= timeout(SETTLE_TIME, self.background.wait()).await.is_ok();
        clean &= !self.context.recorder.is_behind();
        DrainReport { clean }
    }

    async fn settled(&self) {
        self.consumer.wait().await;
        self.context.packs.close();
        self.context.packs.wait().await;
    }

    /// Completes when the engine has begun to stop.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.context.stopping.clone()
    }
}
