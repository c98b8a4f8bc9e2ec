//! One delivery: one message, one endpoint, one attempt.
//!
//! ```text
//!  does it answer? ── it seems to hang ──▶ put off, unclaimed
//!    │
//!  slot? ── stopping ──▶ put off, unclaimed
//!    │
//!  ours? ── done, or somebody else's ──▶ nothing, or put off until their lease ends
//!    │
//!  still wanted? ── no ──▶ canceled, unknown ──▶ released
//!    │
//!  does it still answer? ── no ──▶ released until what hangs has ended
//!    │
//!  sign and send ── cut off ──▶ released
//!    │
//!  dispose ──▶ delivered | retry | dead
//!    │
//!  1. successor durable in the broker   2. outcome stored   3. settled
//! ```
//!
//! The decisions are elsewhere and pure: [`plan::standing`], [`attempt::dispose`], [`pair::settle`]. Here they are
//! carried out, in this order and no other. *Released* means that no attempt was used up: the same target is durable
//! in the broker once more.
//!
//! A claim comes after the slot, because a lease is as long as a request and does not wait for one to begin: claimed
//! before, it would lapse where slots are scarce, and a second carrier would make the same attempt.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use postrider_core::attempt::{self, AttemptRecord, Disposition, Reply};
use postrider_core::endpoint::Endpoint;
use postrider_core::id::AttemptId;
use postrider_core::message::{Item, Target, Work};
use postrider_core::pair::{PairKey, PairOutcome, PairState};
use postrider_core::ports::{
    Destination, DestinationStatus, LogRecord, PortError, Settlement, Until,
};
use postrider_core::time::Timestamp;
use prometheus::IntGauge;
use tracing::warn;

use crate::context::Context;
use crate::dead;
use crate::gate::Admission;
use crate::held::Unfinished;
use crate::item::{Guard, put_off};
use crate::observer::Observation;
use crate::pack::Settled;
use crate::plan::{self, Standing};
use crate::recorder::Outcome;
use crate::sender::Outgoing;

mod claim;
mod request;

/// How long the record of a pair is kept that has ended: as long as a pack with it may come again.
pub(crate) const KEEP_ENDED_PAIR: Duration = Duration::from_secs(600);

/// How long a target waits for a slot: far below the time after which a broker takes a pack for forgotten.
const SLOT_PATIENCE: Duration = Duration::from_secs(60);

/// Makes one attempt and settles it.
///
/// What happens to few deliveries is boxed: there is a future of this for every delivery under way, and it is as large as the
/// largest thing that it may have to wait for.
pub(crate) async fn run(
    context: &Context,
    item: &Item,
    target: &Target,
    guard: Guard,
    unfinished: &Unfinished<'_>,
) -> Settled {
    let now = context.now();
    let pass = match context.gate.admit(target.endpoint, now, context.probes()) {
        Admission::Go(pass) => pass,
        Admission::NotBefore(end) => {
            let until = plan::after_hanging(target.due, end, now);
            return put_back(context, item, target, until, "suspect")
                .boxed()
                .await;
        }
    };
    let place = async {
        let waits = context.crowd.join();
        let start = context.starts.one_more().await;
        drop(waits);
        (start, context.slots.acquire().await)
    };
    let place = tokio::select! {
        biased;
        place = place => place,
        () = context.stopping.cancelled() => {
            return put_back(context, item, target, Until::Now, "released").boxed().await;
        }
        () = tokio::time::sleep(SLOT_PATIENCE) => {
            let pause = plan::pause(target.due, context.now());
            return put_back(context, item, target, pause, "released").boxed().await;
        }
    };
    if guard != Guard::None
        && let Err(end) = claim::claim(context, item, target, guard).boxed().await
    {
        return end;
    }
    // Asked only now, because waiting for a slot takes time: nothing is sent to whom it is no longer wanted.
    let endpoint = match wanted_by(context, item, target).await {
        Ok(Standing::Go(endpoint)) => endpoint,
        Ok(Standing::Canceled | Standing::Unknown) => {
            return cancel(context, item, target).boxed().await;
        }
        Err(pause) => {
            return release(context, item, target, pause, "released")
                .boxed()
                .await;
        }
    };
    let begun = context.now();
    if let Err(end) = pass.begin(begun) {
        let until = plan::after_hanging(target.due, end, begun);
        return release(context, item, target, until, "suspect")
            .boxed()
            .await;
    }
    count_wait(context, item, target, begun);
    let under_way = unfinished.request(item, target, begun);
    let Some(reply) = send(context, item, &endpoint, begun).await else {
        return release(context, item, target, Until::Now, "released")
            .boxed()
            .await;
    };
    drop(under_way);
    pass.finish(begun, &reply);
    drop(place);
    let _waits = context.crowd.join();
    settle(
        context,
        &Made {
            item,
            target,
            endpoint: &endpoint,
            begun,
            reply,
        },
    )
    .await
}

/// An attempt that was made, and what came of it.
struct Made<'a> {
    item: &'a Item,
    target: &'a Target,
    endpoint: &'a Endpoint,
    begun: Timestamp,
    reply: Reply,
}

/// Without the registry nobody knows whether it is still wanted: the error is for how long to wait for it.
async fn wanted_by(context: &Context, item: &Item, target: &Target) -> Result<Standing, Until> {
    match standing(context, item, target).await {
        Ok(standing) => Ok(standing),
        Err(error) => {
            warn!(%error, "cannot tell whether a delivery is still wanted; it is put off");
            Err(plan::pause(target.due, context.now()))
        }
    }
}

/// A cache that is behind must not cancel: what it does not know (yet), the registry is asked for.
async fn standing(context: &Context, item: &Item, target: &Target) -> Result<Standing, PortError> {
    let event = &item.event;
    let cached = context.cache.app(event.app, event.registry_version).await?;
    match plan::standing(target, cached.as_deref()) {
        Standing::Unknown => {
            let stored = context.cache.reread(event.app).await?;
            Ok(plan::standing(target, stored.as_deref()))
        }
        known => Ok(known),
    }
}

/// `None` where the process is about to end and the request was abandoned.
async fn send(
    context: &Context,
    item: &Item,
    endpoint: &Arc<Endpoint>,
    now: Timestamp,
) -> Option<Reply> {
    let deadline = context.config.request_timeout;
    let outgoing = match context.prepared.get(endpoint) {
        Ok(prepared) => Outgoing {
            to: Arc::clone(&prepared.to),
            headers: request::headers(&prepared, &item.event, now),
            body: item.event.payload.clone(),
            deadline,
            now,
        },
        Err(failure) => return Some(Reply::failed(failure, Duration::ZERO)),
    };
    let _counted = InFlight::new(&context.metrics.in_flight);
    tokio::select! {
        reply = context.sender.send(outgoing) => Some(reply),
        () = context.cut_off.cancelled() => None,
    }
}

/// Counts a request for as long as it is under way, however it ends.
struct InFlight<'a>(&'a IntGauge);

impl<'a> InFlight<'a> {
    fn new(gauge: &'a IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

async fn settle(context: &Context, made: &Made<'_>) -> Settled {
    let schedule = &context.config.schedule;
    let next = attempt::dispose(&made.reply, made.target.attempt, schedule);
    context
        .metrics
        .attempt(next, made.reply.status.as_ref().err());
    context
        .metrics
        .attempt_seconds
        .observe(made.reply.duration.as_secs_f64());
    let now = context.now();
    let handed_on = match next {
        Disposition::Delivered => Settled::Yes,
        Disposition::Retry(delay) => {
            retry(context, made, now + delay, Until::After(delay))
                .boxed()
                .await
        }
        Disposition::RetryExactly(delay) => {
            retry(context, made, now + delay, Until::Exactly(now + delay))
                .boxed()
                .await
        }
        Disposition::GiveUp(reason) => {
            dead::give_up(
                context,
                made.item,
                made.target,
                made.endpoint,
                reason,
                &made.reply,
            )
            .boxed()
            .await
        }
    };
    if handed_on == Settled::No {
        return Settled::No;
    }
    let record = attempt_record(made);
    let stored = context
        .recorder
        .record(outcome(context, made, &record, next, now))
        .await;
    if !stored {
        context.metrics.unguarded.inc();
    }
    context.observer.settled(&Observation {
        event: &made.item.event,
        endpoint: made.endpoint,
        record: &record,
        failure: made.reply.status.as_ref().err(),
        next,
    });
    Settled::Yes
}

async fn retry(context: &Context, made: &Made<'_>, due: Timestamp, until: Until) -> Settled {
    let target = Target {
        attempt: made.target.attempt + 1,
        due,
        ..made.target.clone()
    };
    put_off(
        context,
        plan::again(made.item, Work::Targets(vec![target]), until),
        "retry",
    )
    .await
}

/// The same target once more, guarded. Its pair is left alone: whoever has not claimed it cannot release it.
async fn put_back(
    context: &Context,
    item: &Item,
    target: &Target,
    until: Until,
    why: &'static str,
) -> Settled {
    let later = plan::again(item, Work::Targets(vec![target.clone()]), until);
    put_off(context, later, why).await
}

/// The same target once more, after it was claimed; no attempt is used up.
async fn release(
    context: &Context,
    item: &Item,
    target: &Target,
    until: Until,
    why: &'static str,
) -> Settled {
    if put_back(context, item, target, until, why).await == Settled::No {
        return Settled::No;
    }
    let settlement = settlement(context, item, target, PairOutcome::Released);
    context
        .recorder
        .record(Outcome {
            settlement: Some(settlement),
            log: Vec::new(),
        })
        .await;
    Settled::Yes
}

/// Ends a delivery that nobody wants any more, without a request.
pub(crate) async fn cancel(context: &Context, item: &Item, target: &Target) -> Settled {
    context.metrics.canceled.inc();
    end(context, item, target, PairState::Canceled).await;
    Settled::Yes
}

/// Records the end of a delivery that no request was made for. Says whether its pair record is stored.
pub(crate) async fn end(context: &Context, item: &Item, target: &Target, state: PairState) -> bool {
    let now = context.now();
    let log = status_of(state).map(|status| {
        let end = destination(item, target, status, None, now);
        LogRecord::Destination(end)
    });
    let settlement = settlement(context, item, target, PairOutcome::Ended(state));
    let outcome = Outcome {
        settlement: Some(settlement),
        log: log.into_iter().collect(),
    };
    context.recorder.record(outcome).await
}

/// How the log shows the end of a pair; `None` where it has not ended.
const fn status_of(state: PairState) -> Option<DestinationStatus> {
    match state {
        PairState::Waiting => None,
        PairState::Delivered => Some(DestinationStatus::Delivered),
        PairState::Dead => Some(DestinationStatus::Failed),
        PairState::Canceled => Some(DestinationStatus::Canceled),
    }
}

fn outcome(
    context: &Context,
    made: &Made<'_>,
    record: &AttemptRecord,
    next: Disposition,
    now: Timestamp,
) -> Outcome {
    let (pair, status, next_attempt) = match next {
        Disposition::Delivered => (
            PairOutcome::Ended(PairState::Delivered),
            DestinationStatus::Delivered,
            None,
        ),
        Disposition::GiveUp(_) => (
            PairOutcome::Ended(PairState::Dead),
            DestinationStatus::Failed,
            None,
        ),
        Disposition::Retry(delay) | Disposition::RetryExactly(delay) => {
            let next_attempt = made.target.attempt + 1;
            (
                PairOutcome::HandedOn { next_attempt },
                DestinationStatus::Pending,
                Some(now + delay),
            )
        }
    };
    let destination = destination(made.item, made.target, status, next_attempt, now);
    Outcome {
        settlement: Some(settlement(context, made.item, made.target, pair)),
        log: vec![
            LogRecord::Attempt(record.clone()),
            LogRecord::Destination(destination),
        ],
    }
}

fn settlement(context: &Context, item: &Item, target: &Target, outcome: PairOutcome) -> Settlement {
    let now = context.now();
    let keep_until = match outcome {
        PairOutcome::Ended(_) => now + KEEP_ENDED_PAIR,
        PairOutcome::HandedOn { .. } | PairOutcome::Released => context.keep_waiting_pair(now),
    };
    Settlement {
        pair: PairKey {
            app: item.event.app,
            message: item.event.message,
            endpoint: target.endpoint,
        },
        chain: target.chain,
        attempt: target.attempt,
        outcome,
        keep_until,
    }
}

fn destination(
    item: &Item,
    target: &Target,
    status: DestinationStatus,
    next_attempt: Option<Timestamp>,
    at: Timestamp,
) -> Destination {
    let event = &item.event;
    Destination {
        app: event.app,
        message: event.message,
        endpoint: target.endpoint,
        status,
        next_attempt,
        at,
    }
}

fn attempt_record(made: &Made<'_>) -> AttemptRecord {
    let event = &made.item.event;
    AttemptRecord {
        id: AttemptId::new(made.begun, rand::random()),
        app: event.app,
        message: event.message,
        endpoint: made.target.endpoint,
        chain: made.target.chain,
        attempt: made.target.attempt,
        trigger: made.target.trigger,
        at: made.begun,
        url: made.endpoint.url.clone(),
        succeeded: made.reply.is_success(),
        status_code: made.reply.status_code(),
        response: made.reply.text(),
        duration_ms: u32::try_from(made.reply.duration.as_millis()).unwrap_or(u32::MAX),
        event_type: event.event_type.clone(),
        channels: event.channels.clone(),
    }
}

fn count_wait(context: &Context, item: &Item, target: &Target, now: Timestamp) {
    if target.attempt == 1 {
        let accepted = item.event.deliver_at.unwrap_or(item.event.accepted_at);
        context
            .metrics
            .first_attempt_wait
            .observe(now.since(accepted).as_secs_f64());
    } else {
        context
            .metrics
            .retry_lateness
            .observe(now.since(target.due).as_secs_f64());
    }
}
