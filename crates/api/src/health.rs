//! Whether this process can serve. Asking costs six probes, and anybody may ask: those who ask while a round of
//! probes is under way wait for it and share its result, so that a crowd costs as much as one.

use std::time::Duration;

use postrider_core::ports::{PortError, Ports, Probe};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

/// A port that has not answered by then is not able to serve.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// The last round: when it began, and how it went.
#[derive(Debug, Default)]
pub(crate) struct Health(Mutex<Option<(Instant, bool)>>);

impl Health {
    /// Whether every port answers its probe.
    pub(crate) async fn check(&self, ports: &Ports) -> bool {
        let asked = Instant::now();
        let mut last = self.0.lock().await;
        if let Some((begun, healthy)) = *last
            && begun > asked
        {
            return healthy;
        }
        let begun = Instant::now();
        let healthy = probe_all(ports).await;
        *last = Some((begun, healthy));
        healthy
    }
}

async fn probe_all(ports: &Ports) -> bool {
    let (broker, registry, log, dead_letters, limits, documents) = tokio::join!(
        probe("broker", ports.broker.as_ref()),
        probe("registry", ports.registry.as_ref()),
        probe("delivery log", ports.log.as_ref()),
        probe("dead letters", ports.dead_letters.as_ref()),
        probe("limits", ports.limits.as_ref()),
        probe("documents", ports.documents.as_ref()),
    );
    broker && registry && log && dead_letters && limits && documents
}

async fn probe<P: Probe + ?Sized>(name: &'static str, port: &P) -> bool {
    let answer = timeout(PROBE_TIMEOUT, port.probe()).await;
    let error = match answer {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => error,
        Err(_) => PortError::Unavailable {
            part: name,
            cause: "the probe did not end in time".to_owned(),
        },
    };
    tracing::warn!(port = name, %error, "not able to serve");
    false
}
