//! What may end whoever takes it, taken alone.
//!
//! A queue counts deliveries, not causes: all that was fetched beside a message that kills comes back with it, and so does what a
//! restart interrupted. So a message that came back often is only suspected. It is taken while this process takes nothing
//! else in, and counted in the store *before* it is looked at. A trial that ends takes the count back; what stays are trials
//! that their holder did not survive, and those that did not end.
//!
//! | begun and not ended, this one included | |
//! |---|---|
//! | 1 – 3 | it is taken like any other; whatever comes of that acquits it |
//! | 4 – | it is refused, unread |

use std::time::Duration;

use postrider_core::Timestamp;
use postrider_core::ports::{Incoming, Limits, PortError, Refusal, Taken, TrialEnd, TrialKey};
use sha2::{Digest, Sha256};
use tracing::warn;

/// A message that was delivered so often, and came back by itself, is suspected.
const SUSPECTED_AFTER: u32 = 5;
/// So many trials that did not end are no chance any more.
const TRIALS: u32 = 3;
/// Longer than a process that dies again and again is kept from being started.
const KEEP: Duration = Duration::from_secs(24 * 3600);
/// A store that cannot take the end of a trial is asked again this much later.
const END_PAUSE: Duration = Duration::from_secs(1);

pub(super) const CODE: &str = "poison";

pub(super) const fn is_suspected(incoming: &Incoming) -> bool {
    incoming.earlier_deliveries >= SUSPECTED_AFTER
}

/// A trial that was begun.
pub(super) struct Trial {
    key: TrialKey,
    begun: u32,
}

impl Trial {
    pub(super) async fn begin(
        limits: &dyn Limits,
        now: Timestamp,
        incoming: &Incoming,
    ) -> Result<Self, PortError> {
        let key = key(incoming);
        let begun = limits.begin_trial(now, key, now + KEEP).await?;
        Ok(Self { key, begun })
    }

    /// Whether those before were enough.
    pub(super) const fn is_over(&self) -> bool {
        self.begun > TRIALS
    }

    /// It kills nobody. Nobody asks again about what was taken; what has to wait comes again, and must not be condemned for a
    /// store that was away at the wrong moment: that is tried until it is stored.
    pub(super) async fn acquit(
        &self,
        limits: &dyn Limits,
        now: impl Fn() -> Timestamp,
        taken: &Taken,
    ) {
        let mut complained = false;
        while let Err(error) = limits.end_trial(now(), self.key, TrialEnd::Acquitted).await {
            if !matches!(taken, Taken::Wait(_)) {
                return;
            }
            if !complained {
                warn!(%error, "the end of a trial cannot be stored; trying until it is possible");
                complained = true;
            }
            tokio::time::sleep(END_PAUSE).await;
        }
    }
}

/// The same message has the same name, whoever gets it.
fn key(incoming: &Incoming) -> TrialKey {
    let id = incoming.id.as_deref().unwrap_or_default();
    let hash: [u8; 32] = Sha256::new()
        .chain_update("incoming")
        .chain_update(id.len().to_be_bytes())
        .chain_update(id)
        .chain_update(&incoming.body)
        .finalize()
        .into();
    let mut key = [0; 16];
    key.copy_from_slice(&hash[..16]);
    TrialKey(key)
}

pub(super) fn refusal() -> Refusal {
    let detail = format!(
        "{TRIALS} processes, each of which took nothing else in at that moment, ended or did not come to an end while they took \
         this message; whether it was accepted is not known"
    );
    Refusal {
        status: 500,
        code: CODE,
        detail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(id: &str, body: &'static str) -> TrialKey {
        key(&Incoming {
            id: Some(id.to_owned()),
            body: body.into(),
            ..Incoming::default()
        })
    }

    #[test]
    fn each_message_is_tried_for_itself_however_often_it_was_delivered() {
        assert_eq!(named("a", "b"), named("a", "b"));
        assert_ne!(named("a", "b"), named("a", "c"));
        assert_ne!(named("ab", "c"), named("a", "bc"));
        let again = Incoming {
            body: "b".into(),
            earlier_deliveries: 9,
            ..Incoming::default()
        };
        assert_eq!(key(&again), named("", "b"));
    }
}
