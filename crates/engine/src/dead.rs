//! Giving up: the dead letter is made durable in the broker first, and filed from there, so that it is not lost
//! while the store is away.

use std::sync::Arc;

use postrider_core::attempt::Reply;
use postrider_core::dead_letter::{DeadLetter, DeadNote, DeadReason, NOTE_RESPONSE_LIMIT};
use postrider_core::endpoint::Endpoint;
use postrider_core::id::DeadLetterId;
use postrider_core::message::{Event, Item, Target, Work};
use postrider_core::pair::{PairKey, PairRecord, PairState};
use postrider_core::ports::{EndpointKey, RegistryError, Until};
use tracing::{info, warn};

use crate::context::Context;
use crate::item::put_off;
use crate::pack::{Settled, settled};
use crate::plan;

/// Tries at a change that somebody else keeps interfering with.
const TRIES: usize = 10;

/// Makes the dead letter durable; where the subscriber is gone, turns the endpoint off first.
pub(crate) async fn give_up(
    context: &Context,
    item: &Item,
    target: &Target,
    endpoint: &Endpoint,
    reason: DeadReason,
    reply: &Reply,
) -> Settled {
    if reason == DeadReason::Gone {
        disable(context, endpoint).await;
    }
    context
        .metrics
        .dead_letters
        .with_label_values(&[reason.as_str()])
        .inc();
    let died_at = context.now();
    let note = DeadNote {
        id: DeadLetterId::new(died_at, rand::random()),
        endpoint: target.endpoint,
        chain: target.chain,
        reason,
        attempts: target.attempt,
        last_status: reply.status_code(),
        last_response: cut(reply.text()),
        died_at,
    };
    put_off(
        context,
        plan::again(item, Work::Dead(note), Until::Now),
        "dead",
    )
    .await
}

/// Files a dead letter, unless the pair has come to another end since: when the process dies between making the dead
/// letter durable and recording its outcome, the last attempt is made once more and may succeed.
pub(crate) async fn file(context: &Context, event: &Arc<Event>, note: &DeadNote) -> Settled {
    let pair = PairKey {
        app: event.app,
        message: event.message,
        endpoint: note.endpoint,
    };
    match context.ports.limits.pair(context.now(), pair).await {
        Ok(Some(record)) if is_revived(&record, note) => return Settled::Yes,
        Ok(_) => {}
        Err(error) => return settled(Err(error)),
    }
    let letter = DeadLetter::Delivery {
        event: Arc::clone(event),
        note: note.clone(),
    };
    put(context, letter).await
}

/// The work that a letter was made from is let go once the letter is as safe as the work was.
pub(crate) async fn put(context: &Context, letter: DeadLetter) -> Settled {
    let filed = put_all(context, vec![letter]).await;
    if filed == Settled::Yes {
        safe(context).await;
    }
    filed
}

/// Files letters; [`safe`] completes when they would survive whatever the work that they were made from would survive.
pub(crate) async fn put_all(context: &Context, letters: Vec<DeadLetter>) -> Settled {
    if letters.is_empty() {
        return Settled::Yes;
    }
    settled(context.ports.dead_letters.put(letters).await)
}

pub(crate) async fn safe(context: &Context) {
    let after = context.ports.dead_letters.safe_after();
    if !after.is_zero() {
        tokio::time::sleep(after).await;
    }
}

/// Whether the pair was delivered or canceled after all, or another chain has taken over.
fn is_revived(record: &PairRecord, note: &DeadNote) -> bool {
    let ended_otherwise = matches!(record.state, PairState::Delivered | PairState::Canceled);
    record.chain != note.chain || ended_otherwise
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(NOTE_RESPONSE_LIMIT));
    text
}

/// Turns the endpoint off unless somebody has changed its URL since: the answer was about the old one. If it does not
/// work out, the next message is answered the same and tries again.
async fn disable(context: &Context, gone: &Endpoint) {
    for _ in 0..TRIES {
        match try_disable(context, gone).await {
            Ok(()) => return,
            Err(RegistryError::Stale) => {}
            Err(error) => {
                warn!(endpoint = %gone.id, %error, "an endpoint answered 410 Gone and cannot be disabled now");
                return;
            }
        }
    }
}

async fn try_disable(context: &Context, gone: &Endpoint) -> Result<(), RegistryError> {
    let registry = &context.ports.registry;
    let Some(app) = registry.snapshot(gone.app).await? else {
        return Ok(());
    };
    let Some(mut endpoint) = registry
        .endpoint(gone.app, &EndpointKey::Id(gone.id))
        .await?
    else {
        return Ok(());
    };
    if endpoint.disabled || endpoint.url != gone.url || endpoint.era != gone.era {
        return Ok(());
    }
    endpoint.disable();
    endpoint.updated_at = context.now();
    registry.put_endpoint(endpoint, Some(app.version())).await?;
    context.cache.outdated(gone.app, app.version() + 1);
    info!(endpoint = %gone.id, "disabled: the subscriber answered 410 Gone");
    Ok(())
}
