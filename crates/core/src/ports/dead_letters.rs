//! What was given up.

use std::time::Duration;

use async_trait::async_trait;

use super::{PortError, Probe};
use crate::dead_letter::{DeadLetter, DeadReason};
use crate::id::{AppId, DeadLetterId, EndpointId};
use crate::page::{Page, Slice};
use crate::time::Timestamp;

/// Deliveries that were given up, with their payloads and the reason.
///
/// **Idempotent.** A delivery is filed once per (message, endpoint, chain): filing it again, with the same or with
/// another identifier, changes nothing. A newer chain's dead letter replaces the older chain's; the newer one is
/// the one that died later, in whichever order they are filed. Work that could not be read is filed once per identifier,
/// and stays as it was filed first.
#[async_trait]
pub trait DeadLetters: Probe {
    async fn put(&self, letters: Vec<DeadLetter>) -> Result<(), PortError>;

    /// How long after `put` returned a letter would survive the death of the machine, too. The work that it was made
    /// from is let go only then.
    fn safe_after(&self) -> Duration {
        Duration::ZERO
    }

    /// `app = None` finds what belongs to no application, and only that: work that could not be read. For a filter
    /// it has no endpoint, and `Poison` as its reason.
    async fn get(
        &self,
        app: Option<AppId>,
        id: DeadLetterId,
    ) -> Result<Option<DeadLetter>, PortError>;

    async fn list(
        &self,
        app: Option<AppId>,
        filter: &DeadLetterFilter,
        page: Page<DeadLetterId>,
    ) -> Result<Slice<DeadLetter>, PortError>;

    /// Removes these. Returns how many there were.
    async fn remove(&self, app: Option<AppId>, ids: &[DeadLetterId]) -> Result<u64, PortError>;

    /// Removes what died before `keep_from`, of every application and of none, in one small batch. Returns how many;
    /// 0 means nothing is left to do.
    async fn retain(&self, keep_from: Timestamp) -> Result<u64, PortError>;
}

/// Which dead letters; everything that is set must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    pub endpoint: Option<EndpointId>,
    pub reason: Option<DeadReason>,
    /// Died before this, exclusively.
    pub before: Option<Timestamp>,
    /// Died after this, exclusively.
    pub after: Option<Timestamp>,
}
