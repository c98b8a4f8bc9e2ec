//! One pack: read it, work on all its items at once, let it go when each is settled.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::future::ready;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use postrider_core::envelope;
use postrider_core::message::Item;
use postrider_core::ports::{Pack, PortError, Source};
use tracing::{error, warn};

use crate::context::Context;
use crate::held::Load;
use crate::item::{self, Guard};
use crate::{poison, trial};

/// A pack that was delivered this often without being settled kills whoever touches it, or so it seems: it is set
/// apart, unread. The broker also counts whoever was killed beside it; what is tried alone is counted otherwise
/// ([`trial`]).
const DELIVERY_LIMIT: u32 = 5;

/// How work ended for its pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    /// Done, or durable elsewhere.
    Yes,
    /// Neither: nothing could be written. The pack must come again.
    No,
    /// Neither, because somebody else holds it, who seems to have died of it: it belongs apart.
    Held,
    /// The broker has set the pack apart: it is not ours any more.
    Apart,
}

impl Settled {
    /// How all of something ended, from how two parts of it did.
    pub(crate) const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Yes, other) => other,
            (this, _) => this,
        }
    }
}

/// Works on all at once. Each is polled when something has come for it alone: `join_all` would poll up to thirty for every
/// answer that comes to one of them.
pub(crate) fn each<F>(mut work: impl ExactSizeIterator<Item = F>) -> impl Future<Output = Settled>
where
    F: Future<Output = Settled>,
{
    if work.len() == 1
        && let Some(only) = work.next()
    {
        return only.left_future();
    }
    let all: FuturesUnordered<F> = work.collect();
    let settled = all.fold(Settled::Yes, |whole, part| ready(whole.and(part)));
    settled.right_future()
}

pub(crate) async fn run(context: &Arc<Context>, pack: Pack, load: &Load) {
    match contained(settle(context, &pack, load)).await {
        _ if context.held.is_adrift(load) => {}
        Settled::Yes => context.acker.ack(pack.receipt).await,
        Settled::No | Settled::Held => give_back(context, &pack).boxed().await,
        Settled::Apart => {}
    }
}

/// A panic ends this piece of work, not what is under way beside it: that is not to be made again.
///
/// No `async fn`: one would take twice the room of `work`, once for its argument and once for what it waits for, and there is
/// one within the other for every event.
pub(crate) fn contained(work: impl Future<Output = Settled>) -> impl Future<Output = Settled> {
    let ended = AssertUnwindSafe(work).catch_unwind();
    ended.map(|ended| {
        ended.unwrap_or_else(|_| {
            error!("working on a delivery panicked; its pack is given back");
            Settled::No
        })
    })
}

async fn settle(context: &Arc<Context>, pack: &Pack, load: &Load) -> Settled {
    match (pack.source, pack.earlier_deliveries) {
        (Source::Quarantine, _) => return trial::run(context, pack).boxed().await,
        (Source::Work, DELIVERY_LIMIT..) => return quarantine(context, pack).boxed().await,
        (Source::Work, _) => {}
    }
    match envelope::decode(&pack.bytes) {
        Ok(items) => settle_items(context, pack, items, load).await,
        Err(error) => {
            poison::unreadable(context, &pack.bytes, &error)
                .boxed()
                .await
        }
    }
}

async fn settle_items(
    context: &Arc<Context>,
    pack: &Pack,
    items: Vec<Item>,
    load: &Load,
) -> Settled {
    item::touch(context, &items);
    let seen_before = pack.redelivered || pack.returned;
    let work = items.iter().map(|item| {
        let guard = if seen_before || item.maybe_dup {
            Guard::Claim
        } else {
            Guard::None
        };
        contained(item::settle(context, item, guard, load.unfinished()))
    });
    match each(work).await {
        Settled::Held => quarantine(context, pack).boxed().await,
        settled => settled,
    }
}

async fn quarantine(context: &Context, pack: &Pack) -> Settled {
    context.metrics.quarantined.inc();
    warn!(
        deliveries = pack.earlier_deliveries,
        "a pack was delivered, or claimed, too often without being settled; it is set apart"
    );
    match context.ports.broker.quarantine(context.now(), pack).await {
        Ok(()) => Settled::Apart,
        Err(error) => settled(Err(error)),
    }
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
