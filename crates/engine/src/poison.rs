//! What cannot be worked on becomes a dead letter: of its application where it can be read, with its bytes where not.
//!
//! Nothing here goes through the broker once more: whoever took it from there would have to read it, too. Filing twice is
//! filing once, so a process that dies in between does no harm.

use std::sync::Arc;

use bytes::Bytes;
use postrider_core::dead_letter::{DeadLetter, DeadNote, DeadReason};
use postrider_core::envelope::EnvelopeError;
use postrider_core::id::{DeadLetterId, RANDOM_LEN};
use postrider_core::message::{Item, Target, Work};
use postrider_core::pair::{PairKey, PairRecord, PairState};
use postrider_core::ports::PortError;
use postrider_core::time::Timestamp;
use sha2::{Digest, Sha256};
use tracing::error;

use crate::context::Context;
use crate::pack::{Settled, settled};
use crate::{dead, deliver, item, plan};

/// Work that is no pack, or none that this release knows.
pub(crate) async fn unreadable(context: &Context, raw: &Bytes, error: &EnvelopeError) -> Settled {
    error!(%error, bytes = raw.len(), "work cannot be read; it becomes a dead letter");
    keep_bytes(context, raw, error.to_string()).await
}

/// Files the bytes of work, whatever they are. They belong to no application.
pub(crate) async fn keep_bytes(context: &Context, raw: &Bytes, cause: String) -> Settled {
    let letter = DeadLetter::Unreadable {
        id: id_of(raw),
        died_at: context.now(),
        cause,
        raw: raw.clone(),
    };
    count(context);
    dead::put(context, letter).await
}

/// The same bytes always have the same name, so that they are filed once. Nothing in them tells a time.
fn id_of(raw: &[u8]) -> DeadLetterId {
    let hash: [u8; 32] = Sha256::digest(raw).into();
    let mut tail = [0; RANDOM_LEN];
    tail.copy_from_slice(&hash[..RANDOM_LEN]);
    DeadLetterId::new(Timestamp::EPOCH, tail)
}

/// Gives items up for all their endpoints. Not one request is made, and their payloads are not looked at.
pub(crate) async fn file(context: &Context, items: &[Item], deaths: u32) -> Settled {
    for item in items {
        let filed = match targets(context, item).await {
            Ok(Files::Targets(targets)) => file_targets(context, item, targets, deaths).await,
            Ok(Files::Letter(note)) => dead::file(context, &item.event, note).await,
            Err(error) => settled(Err(error)),
        };
        if filed != Settled::Yes {
            return filed;
        }
    }
    Settled::Yes
}

/// What an item becomes.
enum Files<'a> {
    Targets(Vec<Target>),
    /// It was given up before.
    Letter(&'a DeadNote),
}

async fn targets<'a>(context: &Context, item: &'a Item) -> Result<Files<'a>, PortError> {
    let event = &item.event;
    let targets = match &item.work {
        Work::Match => {
            item::remember_event(context, item).await;
            let app = context.cache.app(event.app, event.registry_version).await?;
            let targets = app.map(|app| plan::first_targets(event, &app, context.now()));
            targets.unwrap_or_default()
        }
        Work::Targets(targets) => targets.clone(),
        Work::Dead(note) => return Ok(Files::Letter(note)),
    };
    Ok(Files::Targets(targets))
}

async fn file_targets(
    context: &Context,
    item: &Item,
    targets: Vec<Target>,
    deaths: u32,
) -> Settled {
    error!(
        id = %item.event.message,
        endpoints = targets.len(),
        "work ended whoever tried it alone, {deaths} times; it becomes a dead letter"
    );
    let mut given_up = Vec::with_capacity(targets.len());
    for target in targets {
        match is_open(context, item, &target).await {
            Ok(true) => given_up.push(target),
            Ok(false) => {}
            Err(error) => return settled(Err(error)),
        }
    }
    let letters = given_up
        .iter()
        .map(|target| letter(context, item, target, deaths));
    let filed = dead::put_all(context, letters.collect()).await;
    if filed != Settled::Yes {
        return filed;
    }
    for target in &given_up {
        count(context);
        if !deliver::end(context, item, target, PairState::Dead).await {
            return Settled::No;
        }
    }
    Settled::Yes
}

/// Some of its deliveries may have come to their end before it killed, or gone on without it.
async fn is_open(context: &Context, item: &Item, target: &Target) -> Result<bool, PortError> {
    let pair = PairKey {
        app: item.event.app,
        message: item.event.message,
        endpoint: target.endpoint,
    };
    let record = context.ports.limits.pair(context.now(), pair).await?;
    Ok(record.is_none_or(|record| !is_over(&record, target)))
}

/// Dead is not over: the letter may be missing still.
fn is_over(record: &PairRecord, target: &Target) -> bool {
    let ended = matches!(record.state, PairState::Delivered | PairState::Canceled);
    record.chain != target.chain || ended || record.attempt > target.attempt
}

fn letter(context: &Context, item: &Item, target: &Target, deaths: u32) -> DeadLetter {
    let died_at = context.now();
    let note = DeadNote {
        id: DeadLetterId::new(died_at, rand::random()),
        endpoint: target.endpoint,
        chain: target.chain,
        reason: DeadReason::Poison,
        attempts: target.attempt.saturating_sub(1),
        last_status: 0,
        last_response: format!("{deaths} processes ended while they tried it alone"),
        died_at,
    };
    DeadLetter::Delivery {
        event: Arc::clone(&item.event),
        note,
    }
}

fn count(context: &Context) {
    let poison = [DeadReason::Poison.as_str()];
    context
        .metrics
        .dead_letters
        .with_label_values(&poison)
        .inc();
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_core::pair::ChainId;
    use postrider_core::samples::{self, NOW};

    fn record(attempt: u16, state: PairState) -> PairRecord {
        PairRecord {
            chain: ChainId::FIRST,
            attempt,
            state,
            leased_until: None,
        }
    }

    #[test]
    fn the_same_bytes_have_the_same_name() {
        assert_eq!(id_of(b"garbage"), id_of(b"garbage"));
        assert_ne!(id_of(b"garbage"), id_of(b"garbagf"));
    }

    #[test]
    fn only_what_was_not_settled_otherwise_is_given_up() {
        let target = samples::target(2, NOW);
        let over = |record: &PairRecord| is_over(record, &target);
        assert!(!over(&record(2, PairState::Waiting)));
        assert!(
            !over(&record(2, PairState::Dead)),
            "its letter may be missing"
        );
        assert!(over(&record(2, PairState::Delivered)));
        assert!(over(&record(2, PairState::Canceled)));
        assert!(
            over(&record(3, PairState::Waiting)),
            "it went on without this"
        );
        let resent = PairRecord {
            chain: ChainId(7),
            ..record(1, PairState::Waiting)
        };
        assert!(over(&resent), "another chain has taken over");
    }
}
