//! Follows the registry's stream of changes, so that this process does not deliver by outdated endpoints.
//!
//! The cursor is read before the cache is filled for the first time. Where that was not possible, or the stream
//! was cut, everything in the cache counts as changed.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use postrider_core::ports::{ChangeCursor, Changes, PortError, Ports};
use postrider_core::registry_cache::RegistryCache;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Chore, Complaint, pause};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Short, because until changes are told again an endpoint that was disabled meanwhile still gets its requests.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub struct RegistryChanges {
    ports: Ports,
    cache: Arc<RegistryCache>,
    /// From where on changes are to be told; `None`: unknown.
    cursor: Option<ChangeCursor>,
}

impl RegistryChanges {
    /// To be called before the cache is used.
    pub async fn before_first_use(ports: Ports, cache: Arc<RegistryCache>) -> Self {
        let cursor = ports.registry.cursor().await.ok();
        Self {
            ports,
            cache,
            cursor,
        }
    }

    async fn next(&mut self) -> Result<(), PortError> {
        let changes = match self.cursor {
            Some(since) => self.ports.registry.changed(since).await?,
            None => Changes {
                cursor: self.ports.registry.cursor().await?,
                apps: None,
                types: Vec::new(),
            },
        };
        self.cache.apply(&changes);
        self.cursor = Some(changes.cursor);
        Ok(())
    }

    async fn follow(mut self, stop: CancellationToken) {
        let mut complaint = Complaint::default();
        let mut wait = FIRST_PAUSE;
        loop {
            let told = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                told = self.next() => told,
            };
            let told = complaint.note(
                told,
                |error| warn!(%error, "changes of endpoints cannot be followed; deliveries go on with what is known"),
                || info!("changes of endpoints are followed again"),
            );
            if told.is_ok() {
                wait = FIRST_PAUSE;
                continue;
            }
            if pause(wait, &stop).await.is_break() {
                return;
            }
            wait = (wait * 2).min(LONGEST_PAUSE);
        }
    }
}

impl Chore for RegistryChanges {
    const NAME: &'static str = "registry changes";

    fn run(self, stop: CancellationToken) -> impl Future<Output = ()> + Send {
        self.follow(stop)
    }
}
