//! One item: find out whom to try, and try them all at once.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use postrider_core::application::AppSnapshot;
use postrider_core::endpoint::Endpoint;
use postrider_core::matching;
use postrider_core::message::{Event, Item, MessageRecord, Target, Work};
use postrider_core::pair::{ChainId, PairKey};
use postrider_core::ports::{HandOff, LogRecord, PortError, Until};
use postrider_core::withdrawn;
use tracing::warn;

use crate::context::Context;
use crate::dead;
use crate::deliver;
use crate::held::Unfinished;
use crate::pack::{self, Settled, contained};
use crate::plan;
use crate::recorder::Outcome;

/// By how much the clocks of those who change endpoints and of those who accept events may differ.
const CLOCKS_APART: Duration = Duration::from_secs(300);

/// Whether somebody else may have been at this work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guard {
    /// Nobody: no round trip to the store.
    None,
    /// Perhaps: every attempt is claimed first.
    Claim,
    /// Perhaps, and this is a trial: an attempt that is somebody else's is not put off, because it was not tried.
    Trial,
}

/// Ends the process where a test has asked for it: what is tested is what becomes of the others.
#[expect(
    clippy::disallowed_methods,
    reason = "it is to skip the drain and every destructor"
)]
pub(crate) fn touch(context: &Context, items: &[Item]) {
    let Some(marker) = context
        .config
        .abort_on
        .as_deref()
        .filter(|marker| !marker.is_empty())
    else {
        return;
    };
    let has_it = |item: &Item| {
        let mut places = item.event.payload.windows(marker.len());
        places.any(|place| place == marker)
    };
    if items.iter().any(has_it) {
        std::process::abort();
    }
}

pub(crate) async fn settle(
    context: &Context,
    item: &Item,
    guard: Guard,
    unfinished: Unfinished<'_>,
) -> Settled {
    match &item.work {
        Work::Match => match targets_of(context, item, guard).await {
            Ok(targets) => settle_targets(context, item, targets, guard, unfinished).await,
            Err(end) => unfinished.end(end),
        },
        // Work that was handed off may be carried twice: always claimed.
        Work::Targets(targets) => {
            let guard = match guard {
                Guard::None => Guard::Claim,
                guard => guard,
            };
            settle_targets(context, item, targets.clone(), guard, unfinished).await
        }
        Work::Dead(note) => {
            let filed = dead::file(context, &item.event, note).boxed().await;
            unfinished.end(filed)
        }
    }
}

/// Whom an event is for; the error is how it ended without anybody.
async fn targets_of(context: &Context, item: &Item, guard: Guard) -> Result<Vec<Target>, Settled> {
    let event = &item.event;
    let now = context.now();
    if let Some(due) = event.deliver_at.filter(|due| *due > now) {
        let later = plan::again(item, Work::Match, Until::Exactly(due));
        return Err(put_off(context, later, "scheduled").boxed().await);
    }
    let app = match context.cache.app(event.app, event.registry_version).await {
        Ok(Some(app)) => app,
        Ok(None) => return Err(Settled::Yes),
        Err(error) => {
            return Err(unknown(context, item, &error, "registry_away")
                .boxed()
                .await);
        }
    };
    if guard != Guard::None {
        remember_event(context, item).boxed().await;
        let canceled = cancel_what_no_longer_matches(context, item, &app);
        if let Err(error) = canceled.boxed().await {
            return Err(unknown(context, item, &error, "store_away").boxed().await);
        }
    }
    let targets = plan::first_targets(event, &app, now);
    match withdrawn::is_withdrawn(&*context.ports.documents, now, event).await {
        Ok(false) => {}
        Ok(true) => return Err(cancel_all(context, item, &targets).boxed().await),
        Err(error) => return Err(unknown(context, item, &error, "store_away").boxed().await),
    }
    if targets.len() > plan::CHUNK {
        let chunks = plan::chunks(item, targets);
        return Err(put_off_all(context, chunks, "chunk").boxed().await);
    }
    Ok(targets)
}

/// Ends an event that was taken back, for everybody who would have got it.
async fn cancel_all(context: &Context, item: &Item, targets: &[Target]) -> Settled {
    let each = targets
        .iter()
        .map(|target| deliver::cancel(context, item, target));
    pack::each(each).await
}

/// Ingest records a message after it was accepted; if it died in between, this is the record.
pub(crate) async fn remember_event(context: &Context, item: &Item) {
    let record = LogRecord::Message(MessageRecord::from(Arc::clone(&item.event)));
    context
        .recorder
        .record(Outcome {
            settlement: None,
            log: vec![record],
        })
        .await;
}

/// A pair that came into being when this event was matched before, at an endpoint that was disabled since, must end.
async fn cancel_what_no_longer_matches(
    context: &Context,
    item: &Item,
    app: &AppSnapshot,
) -> Result<(), PortError> {
    let event = &*item.event;
    let once_matched = |endpoint: &&Arc<Endpoint>| {
        !matching::matches(endpoint, event) && may_have_matched(endpoint, event)
    };
    for endpoint in app.endpoints.iter().filter(once_matched) {
        let pair = PairKey {
            app: event.app,
            message: event.message,
            endpoint: endpoint.id,
        };
        if let Some(record) = context.ports.limits.pair(context.now(), pair).await?
            && record.chain == ChainId::FIRST
            && !record.state.is_final()
        {
            let target = Target {
                attempt: record.attempt,
                ..plan::first_target(endpoint, context.now())
            };
            deliver::cancel(context, item, &target).await;
        }
    }
    Ok(())
}

/// Only what has changed since the event was accepted can have matched it then and not now; the others are not
/// worth a look into the store each.
fn may_have_matched(endpoint: &Endpoint, event: &Event) -> bool {
    endpoint.created_version <= event.registry_version
        && endpoint.updated_at + CLOCKS_APART >= event.accepted_at
}

async fn settle_targets(
    context: &Context,
    item: &Item,
    targets: Vec<Target>,
    guard: Guard,
    unfinished: Unfinished<'_>,
) -> Settled {
    let now = context.now();
    let (due, early): (Vec<_>, Vec<_>) = targets.into_iter().partition(|target| target.due <= now);
    let waiting = early.into_iter().map(|target| {
        let until = Until::Exactly(target.due);
        plan::again(item, Work::Targets(vec![target]), until)
    });
    let put_off: Vec<HandOff> = waiting.collect();
    let deliveries = due.iter().map(|target| {
        let unfinished = unfinished.another();
        async move {
            let run = deliver::run(context, item, target, guard, &unfinished);
            let how = contained(run).await;
            unfinished.end(how)
        }
    });
    let deliveries: Vec<_> = deliveries.collect();
    let delivered = pack::each(deliveries.into_iter());
    if put_off.is_empty() {
        // What is unfinished of it ends with the last of its deliveries.
        unfinished.end(Settled::Yes);
        return delivered.await;
    }
    let put_off = put_off_all(context, put_off, "not_yet").boxed();
    let (delivered, put_off) = tokio::join!(delivered, put_off.map(|end| unfinished.end(end)));
    delivered.and(put_off)
}

/// Whom an event is for cannot be said now: it is put off as it is, since it was to be matched.
async fn unknown(context: &Context, item: &Item, error: &PortError, why: &'static str) -> Settled {
    warn!(%error, "cannot tell who gets an event; it is put off");
    let due = item.event.deliver_at.unwrap_or(item.event.accepted_at);
    let until = plan::pause(due, context.now());
    put_off(context, plan::again(item, item.work.clone(), until), why).await
}

pub(crate) async fn put_off(context: &Context, later: HandOff, why: &'static str) -> Settled {
    put_off_all(context, vec![later], why).await
}

pub(crate) async fn put_off_all(
    context: &Context,
    later: Vec<HandOff>,
    why: &'static str,
) -> Settled {
    if later.is_empty() {
        return Settled::Yes;
    }
    context
        .metrics
        .handed_off
        .with_label_values(&[why])
        .inc_by(later.len() as u64);
    pack::settled(context.ports.broker.hand_off(context.now(), later).await)
}
