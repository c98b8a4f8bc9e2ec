//! Joins an installation on RabbitMQ and Redis, or founds it where there never was one.
//!
//! A registry that has lost its records must not look like one without subscribers, so an empty Redis is not simply
//! taken for a new one. RabbitMQ remembers: where its queues are not declared yet, nobody was ever here, and the
//! registry may be founded. In this order, so that dying in between leaves nothing that looks like a loss:
//!
//! ```text
//!  are there queues? ──yes──▶ declare what is missing, deliver
//!        │ no
//!        └──▶ found the registry (if nobody has) ──▶ declare the queues
//! ```

use std::future::Future;
use std::time::Duration;

use postrider_core::ports::PortError;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Chore, Complaint, pause};
use crate::installation::Shared;

const FIRST_TRY: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub struct Joining {
    shared: Shared,
}

impl Joining {
    /// Tries once, for a short time: usually that is all it takes, and nothing of the process meets an installation that
    /// is about to be founded. Where it did not work, the chore is what goes on.
    pub async fn begin(shared: Shared) -> Option<Self> {
        let joining = Self { shared };
        let joined = timeout(FIRST_TRY, joining.once()).await;
        if !matches!(joined, Ok(Ok(()))) {
            return Some(joining);
        }
        // So that nothing finds it away that is about to be there; where it is not, it is waited for by whoever needs it.
        let _ = timeout(FIRST_TRY, joining.shared.broker.up()).await;
        None
    }

    async fn once(&self) -> Result<(), PortError> {
        let Shared {
            broker, registry, ..
        } = &self.shared;
        if broker.is_new_installation().await? && registry.found().await? {
            info!("a new installation: its registry was founded, empty");
        }
        broker.start();
        Ok(())
    }

    async fn join(self, stop: CancellationToken) {
        let mut complaint = Complaint::default();
        let mut wait = FIRST_PAUSE;
        loop {
            let joined = complaint.note(
                self.once().await,
                |error| warn!(%error, "cannot join the installation; trying until it is possible"),
                || info!("the installation was joined"),
            );
            if joined.is_ok() || pause(wait, &stop).await.is_break() {
                return;
            }
            wait = (wait * 2).min(LONGEST_PAUSE);
        }
    }
}

impl Chore for Joining {
    const NAME: &'static str = "joining";

    fn run(self, stop: CancellationToken) -> impl Future<Output = ()> + Send {
        self.join(stop)
    }
}
