//! One pack: read it, work on all its items at once, let it go when each is settled.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use postrider_core::dead_letter::DeadLetter;
use postrider_core::envelope::{self, EnvelopeError};
use postrider_core::id::DeadLetterId;
use postrider_core::message::Item;
use postrider_core::ports::{Pack, PortError, Receipt, Source, Until};
use tracing::{error, warn};

use crate::context::Context;
use crate::dead;
use crate::held::Load;
use crate::item::{self, Guard};
use crate::plan;

/// A pack that was delivered this often without being settled kills whoever touches it, or so it seems: it is set
/// apart, unread.
const DELIVERY_LIMIT: u32 = 5;
/// What kills even alone this often is poison. A broker cannot tell a process that was killed by its work from one that was
/// killed beside it, so this is far more often than chance: with three, sixty kills at random within a minute made an
/// innocent event a dead letter.
const QUARANTINE_LIMIT: u32 = 10;
const SPLIT_PAUSE: Duration = Duration::from_secs(1);
/// What has been tried alone for this long has not ended the process.
const ACQUITTED_AFTER: Duration = Duration::from_secs(1);

/// How work ended for its pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    /// Done, or durable elsewhere.
    Yes,
    /// Neither: nothing could be written. The pack must come again.
    No,
    /// The broker has set the pack apart: it is not ours any more.
    Apart,
}

pub(crate) async fn run(context: &Arc<Context>, pack: Pack, load: &Load) {
    match contained(settle(context, &pack, load)).await {
        _ if context.held.is_adrift(load) => {}
        Settled::Yes => context.acker.ack(pack.receipt).await,
        Settled::No => give_back(context, &pack).await,
        Settled::Apart => {}
    }
}

/// A panic ends this piece of work, not what is under way beside it: that is not to be made again.
pub(crate) async fn contained(work: impl Future<Output = Settled>) -> Settled {
    AssertUnwindSafe(work)
        .catch_unwind()
        .await
        .unwrap_or_else(|_| {
            error!("working on a delivery panicked; its pack is given back");
            Settled::No
        })
}

async fn settle(context: &Arc<Context>, pack: &Pack, load: &Load) -> Settled {
    match (pack.source, pack.earlier_deliveries) {
        (Source::Work, DELIVERY_LIMIT..) => return quarantine(context, pack).await,
        (Source::Quarantine, QUARANTINE_LIMIT..) => {
            let cause = format!(
                "{QUARANTINE_LIMIT} times its holder ended, or lost the broker, while nothing else that was set apart was being done"
            );
            return poison(context, &pack.bytes, cause).await;
        }
        _ => {}
    }
    match envelope::decode(&pack.bytes) {
        Ok(items) => settle_items(context, pack, items, load).await,
        Err(error) => unreadable(context, pack, &error).await,
    }
}

async fn settle_items(
    context: &Arc<Context>,
    pack: &Pack,
    items: Vec<Item>,
    load: &Load,
) -> Settled {
    if pack.source == Source::Quarantine {
        return match items.as_slice() {
            [item] => alone(context, item, pack.receipt).await,
            _ => split(context, &items).await,
        };
    }
    let seen_before = pack.redelivered || pack.returned;
    let work = items.iter().map(|item| {
        let guard = if seen_before || item.maybe_dup {
            Guard::Claim
        } else {
            Guard::None
        };
        contained(item::settle(context, item, guard, load.unfinished()))
    });
    let ends = join_all(work).await;
    if ends.contains(&Settled::No) {
        Settled::No
    } else {
        Settled::Yes
    }
}

/// One of them ends the process: each goes on by itself, so that only that one is given up. They are put off a little
/// because only what waits is sure to share no pack.
async fn split(context: &Context, items: &[Item]) -> Settled {
    let alone = |item| plan::again(item, item.work.clone(), Until::After(SPLIT_PAUSE));
    item::put_off_all(context, items.iter().map(alone).collect(), "split").await
}

/// Those that were set apart are tried one after the other, over all processes, so none of them may take as long as a
/// subscriber likes: what is still under way after a moment is handed off, to be looked at again when its requests have
/// ended. They go on meanwhile, and settle as usual.
async fn alone(context: &Arc<Context>, item: &Item, receipt: Receipt) -> Settled {
    let work = {
        let (context, item) = (Arc::clone(context), item.clone());
        // Not the pack's own: what becomes of the pack is decided here.
        let load = Load::new(receipt, 0);
        async move {
            contained(item::settle(
                &context,
                &item,
                Guard::Claim,
                load.unfinished(),
            ))
            .await
        }
    };
    let under_way = context.packs.spawn(work);
    if let Ok(ended) = tokio::time::timeout(ACQUITTED_AFTER, under_way).await {
        return ended.unwrap_or(Settled::No);
    }
    let now = context.now();
    let again = plan::behind(item.clone(), now + context.config.request_timeout, now);
    item::put_off(context, again, "acquitted").await
}

async fn quarantine(context: &Context, pack: &Pack) -> Settled {
    context.metrics.quarantined.inc();
    warn!(
        deliveries = pack.earlier_deliveries,
        "a pack was delivered too often without being settled; it is set apart"
    );
    match context.ports.broker.quarantine(context.now(), pack).await {
        Ok(()) => Settled::Apart,
        Err(error) => settled(Err(error)),
    }
}

async fn unreadable(context: &Context, pack: &Pack, error: &EnvelopeError) -> Settled {
    error!(%error, bytes = pack.bytes.len(), "work cannot be read; it becomes a dead letter");
    poison(context, &pack.bytes, error.to_string()).await
}

async fn poison(context: &Context, raw: &Bytes, cause: String) -> Settled {
    let died_at = context.now();
    let id = DeadLetterId::new(died_at, rand::random());
    let letter = DeadLetter::Unreadable {
        id,
        died_at,
        cause,
        raw: raw.clone(),
    };
    context
        .metrics
        .dead_letters
        .with_label_values(&["poison"])
        .inc();
    dead::put(context, letter).await
}

/// The end of work that is done when `result` is.
pub(crate) fn settled(result: Result<(), PortError>) -> Settled {
    match result {
        Ok(()) => Settled::Yes,
        Err(error) => {
            warn!(%error, "work cannot be settled; it will be looked at again");
            Settled::No
        }
    }
}

/// While outcomes cannot be stored, whoever got the pack next could not know which of its targets are done: it is kept,
/// and with it its share of what may be held.
async fn give_back(context: &Context, pack: &Pack) {
    tokio::select! {
        () = context.recorder.caught_up() => {}
        () = context.stopping.cancelled() => {}
    }
    context.metrics.given_back.inc();
    if let Err(error) = context
        .ports
        .broker
        .give_back(context.now(), vec![pack.receipt])
        .await
    {
        warn!(%error, "a pack cannot be given back; it comes again when this process ends");
    }
}
