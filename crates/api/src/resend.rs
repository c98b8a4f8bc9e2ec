//! Sending a message to one endpoint once more, with a schedule of its own.

use std::sync::Arc;
use std::time::Duration;

use postrider_core::ladder::MAX_STRETCH;
use postrider_core::message::{Item, MessageRecord, Target, Trigger, Work};
use postrider_core::ports::{HandOff, PortError, Until};
use postrider_core::{ChainId, Endpoint, MessageId, PairKey, TaskId, Timestamp};
use sha2::{Digest, Sha256};

use crate::error::ApiError;
use crate::state::State;

/// When the second carrier of a resent message comes, should the first have been lost.
const SAFETY_NET: Duration = Duration::from_secs(30);
const DAY: Duration = Duration::from_secs(24 * 3600);

pub(crate) fn must_be_enabled(endpoint: &Endpoint) -> Result<(), ApiError> {
    if endpoint.disabled {
        return Err(ApiError::Conflict {
            code: "endpoint_disabled",
            detail: "the endpoint is disabled; enable it first".into(),
        });
    }
    Ok(())
}

pub(crate) fn must_have_payload(record: &MessageRecord) -> Result<(), ApiError> {
    if !record.has_payload {
        return Err(ApiError::BadRequest {
            code: "missing_payload",
            detail: "the message's payload is not kept any more".into(),
        });
    }
    Ok(())
}

/// A chain that is named by the request, so that repeating the request opens it once.
pub(crate) fn chain_of_request(id: MessageId) -> ChainId {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&id.as_bytes()[12..]);
    ChainId(u64::from_be_bytes(bytes).max(1))
}

/// A chain that is named by a task and the message, so that a task that is taken up again opens it once.
pub(crate) fn chain_of_task(task: TaskId, message: MessageId) -> ChainId {
    let mut hash = Sha256::new();
    hash.update(task.as_bytes());
    hash.update(message.as_bytes());
    let hash: [u8; 32] = hash.finalize().into();
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash[..8]);
    ChainId(u64::from_be_bytes(bytes).max(1))
}

/// Opening a chain ends the one before, so from then on the new one must have a carrier, come what may. Hence the
/// order: a late carrier first, then the chain, then a carrier for now. Of the two, the second to come finds the
/// attempt made and ends. Once the first is out, a failure is "not known": a repetition opens the same chain again.
pub(crate) async fn open_and_send(
    state: &State,
    record: &MessageRecord,
    endpoint: &Endpoint,
    chain: ChainId,
) -> Result<(), ApiError> {
    let now = state.now();
    let pair = PairKey {
        app: endpoint.app,
        message: record.event.message,
        endpoint: endpoint.id,
    };
    let late = HandOff {
        item: carrier(record, endpoint, chain, now),
        until: Until::After(SAFETY_NET),
    };
    state.ports.broker.hand_off(now, vec![late]).await?;
    let span = state.config.retry_schedule.span().mul_f64(MAX_STRETCH);
    let keep_until = now + span + DAY;
    let opened = state
        .ports
        .limits
        .open_chain(now, pair, chain, keep_until)
        .await;
    opened.map_err(|error| half_done(&error))?;
    let prompt = vec![carrier(record, endpoint, chain, now)];
    if let Err(error) = state.ports.broker.publish(now, prompt).await {
        tracing::warn!(%error, "a resent message will start late");
    }
    Ok(())
}

fn half_done(error: &PortError) -> PortError {
    PortError::Unknown {
        part: "limits",
        cause: error.to_string(),
    }
}

fn carrier(record: &MessageRecord, endpoint: &Endpoint, chain: ChainId, now: Timestamp) -> Item {
    Item {
        event: Arc::clone(&record.event),
        work: Work::Targets(vec![Target {
            endpoint: endpoint.id,
            era: endpoint.era,
            chain,
            attempt: 1,
            due: now,
            trigger: Trigger::Manual,
        }]),
        maybe_dup: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_has_one_chain_for_each_message_and_it_is_never_the_first() {
        let (task, other) = (TaskId::from_bytes([1; 20]), TaskId::from_bytes([2; 20]));
        let (one, two) = (
            MessageId::from_bytes([3; 20]),
            MessageId::from_bytes([4; 20]),
        );
        assert_eq!(chain_of_task(task, one), chain_of_task(task, one));
        assert_ne!(chain_of_task(task, one), chain_of_task(task, two));
        assert_ne!(chain_of_task(task, one), chain_of_task(other, one));
        assert_ne!(chain_of_task(task, one), ChainId::FIRST);
    }
}
