//! One item: find out whom to try, claim where somebody else might be trying, and try them all at once.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use postrider_core::matching;
use postrider_core::message::{Item, MessageRecord, Target, Work};
use postrider_core::pair::{ChainId, PairKey, Verdict};
use postrider_core::ports::{Claim, HandOff, LogRecord, PortError, Until};
use postrider_core::time::Timestamp;
use tracing::{debug, warn};

use crate::context::Context;
use crate::dead;
use crate::deliver;
use crate::pack::Settled;
use crate::plan;
use crate::recorder::Outcome;

/// A claim outlives the longest that a request can take by this.
const LEASE_MARGIN: Duration = Duration::from_secs(5);

/// Whether somebody else may have been at this work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guard {
    /// Nobody: no round trip to the store.
    None,
    /// Perhaps: every attempt is claimed first.
    Claim,
}

pub(crate) async fn settle(context: &Context, item: &Item, guard: Guard) -> Settled {
    match &item.work {
        Work::Match => settle_event(context, item, guard).await,
        // Work that was handed off may be carried twice: always claimed.
        Work::Targets(targets) => {
            settle_targets(context, item, targets.clone(), Guard::Claim).await
        }
        Work::Dead(note) => dead::file(context, &item.event, note).await,
    }
}

async fn settle_event(context: &Context, item: &Item, guard: Guard) -> Settled {
    let event = &item.event;
    let now = context.now();
    if let Some(due) = event.deliver_at.filter(|due| *due > now) {
        return put_off(
            context,
            plan::again(item, Work::Match, Until::Exactly(due)),
            "scheduled",
        )
        .await;
    }
    let app = match context.cache.app(event.app, event.registry_version).await {
        Ok(Some(app)) => app,
        Ok(None) => return Settled::Yes,
        Err(error) => return registry_away(context, item, event.accepted_at, &error).await,
    };
    if guard == Guard::Claim {
        remember_event(context, item).await;
        cancel_what_no_longer_matches(context, item, &app).await;
    }
    let targets = plan::first_targets(event, &app, now);
    if targets.len() > plan::CHUNK {
        return put_off_all(context, plan::chunks(item, targets), "chunk").await;
    }
    settle_targets(context, item, targets, guard).await
}

/// Ingest records a message after it was accepted; if it died in between, this is the record.
async fn remember_event(context: &Context, item: &Item) {
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
    app: &postrider_core::AppSnapshot,
) {
    let event = &item.event;
    for endpoint in app
        .endpoints
        .iter()
        .filter(|endpoint| !matching::matches(endpoint, event))
    {
        let pair = PairKey {
            app: event.app,
            message: event.message,
            endpoint: endpoint.id,
        };
        let waiting = context.ports.limits.pair(context.now(), pair).await;
        if let Ok(Some(record)) = waiting
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
}

async fn settle_targets(
    context: &Context,
    item: &Item,
    targets: Vec<Target>,
    guard: Guard,
) -> Settled {
    let now = context.now();
    let (due, early): (Vec<_>, Vec<_>) = targets.into_iter().partition(|target| target.due <= now);
    let waiting = early.into_iter().map(|target| {
        let until = Until::Exactly(target.due);
        plan::again(item, Work::Targets(vec![target]), until)
    });
    let mut put_off: Vec<HandOff> = waiting.collect();
    let (mine, leased) = match guard {
        Guard::None => (due, Vec::new()),
        Guard::Claim => match claim(context, item, due, now).await {
            Ok(sorted) => sorted,
            Err(end) => return end,
        },
    };
    put_off.extend(leased);
    let deliveries = join_all(
        mine.iter()
            .map(|target| deliver::run(context, item, target)),
    );
    let (ends, waits) = tokio::join!(deliveries, put_off_all(context, put_off, "not_yet"));
    if waits == Settled::No || ends.contains(&Settled::No) {
        Settled::No
    } else {
        Settled::Yes
    }
}

/// Sorts targets into those that are ours now and those that wait for the end of somebody's lease. What has been
/// done already is dropped.
async fn claim(
    context: &Context,
    item: &Item,
    targets: Vec<Target>,
    now: Timestamp,
) -> Result<(Vec<Target>, Vec<HandOff>), Settled> {
    if targets.is_empty() {
        return Ok((targets, Vec::new()));
    }
    let claims: Vec<Claim> = targets
        .iter()
        .map(|target| claim_of(context, item, target, now))
        .collect();
    let verdicts = match context.ports.limits.claim(now, &claims).await {
        Ok(verdicts) => verdicts,
        Err(error) => return Err(store_away(context, item, targets, now, &error).await),
    };
    let (mut mine, mut waiting) = (Vec::with_capacity(targets.len()), Vec::new());
    for (target, verdict) in targets.into_iter().zip(verdicts) {
        match verdict {
            Verdict::Granted => mine.push(target),
            Verdict::Leased(until) => {
                waiting.push(plan::again(
                    item,
                    Work::Targets(vec![target]),
                    Until::Exactly(until),
                ));
            }
            Verdict::Finished(_) | Verdict::Superseded => {
                context.metrics.claims_lost.inc();
                debug!(message = %item.event.message, endpoint = %target.endpoint, ?verdict, "already done");
            }
        }
    }
    Ok((mine, waiting))
}

fn claim_of(context: &Context, item: &Item, target: &Target, now: Timestamp) -> Claim {
    Claim {
        pair: PairKey {
            app: item.event.app,
            message: item.event.message,
            endpoint: target.endpoint,
        },
        chain: target.chain,
        attempt: target.attempt,
        lease_until: now + context.config.request_timeout + LEASE_MARGIN,
        keep_until: context.keep_waiting_pair(now),
    }
}

/// Without the store nobody can say whether an attempt was made: it is put off, unsent.
async fn store_away(
    context: &Context,
    item: &Item,
    targets: Vec<Target>,
    now: Timestamp,
    error: &PortError,
) -> Settled {
    warn!(%error, "cannot claim deliveries; they are put off");
    let due = targets.iter().map(|target| target.due).min().unwrap_or(now);
    let later = plan::again(item, Work::Targets(targets), plan::pause(due, now));
    put_off(context, later, "store_away").await
}

async fn registry_away(
    context: &Context,
    item: &Item,
    due: Timestamp,
    error: &PortError,
) -> Settled {
    warn!(%error, "cannot tell who subscribes; the event is put off");
    let later = plan::again(item, item.work.clone(), plan::pause(due, context.now()));
    put_off(context, later, "registry_away").await
}

pub(crate) async fn put_off(context: &Context, later: HandOff, why: &'static str) -> Settled {
    put_off_all(context, vec![later], why).await
}

async fn put_off_all(context: &Context, later: Vec<HandOff>, why: &'static str) -> Settled {
    if later.is_empty() {
        return Settled::Yes;
    }
    context
        .metrics
        .handed_off
        .with_label_values(&[why])
        .inc_by(later.len() as u64);
    crate::pack::settled(context.ports.broker.hand_off(context.now(), later).await)
}
