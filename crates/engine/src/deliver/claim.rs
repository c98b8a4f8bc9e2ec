//! Claiming an attempt that somebody else might be making, too.

use std::time::Duration;

use postrider_core::message::{Item, Target, Work};
use postrider_core::pair::{PairKey, PairState, Verdict};
use postrider_core::ports::{Claim, DestinationStatus, LogRecord, PortError, Until};
use postrider_core::time::Timestamp;
use tracing::{debug, warn};

use super::destination;
use crate::context::Context;
use crate::item::put_off;
use crate::pack::Settled;
use crate::plan;
use crate::recorder::Outcome;

/// A claim outlives the longest that a request can take by this.
const LEASE_MARGIN: Duration = Duration::from_secs(5);

/// Claims the attempt. Where it is not ours, the error is how the work ended instead: done already, or put off.
pub(super) async fn claim(context: &Context, item: &Item, target: &Target) -> Result<(), Settled> {
    let now = context.now();
    // How some attempts ended is known to the recorder alone as yet: the store would grant them once more.
    if context.recorder.is_behind() {
        return Err(store_away(context, item, target, now).await);
    }
    let claims = [wish(context, item, target, now)];
    match context.ports.limits.claim(now, &claims).await.as_deref() {
        Ok([Verdict::Granted]) => Ok(()),
        Ok([Verdict::Leased(until)]) => {
            Err(later(context, item, target, Until::Exactly(*until), "not_yet").await)
        }
        Ok([verdict]) => {
            context.metrics.claims_lost.inc();
            debug!(message = %item.event.message, endpoint = %target.endpoint, ?verdict, "already done");
            if let Verdict::Finished(state) = verdict {
                log_end(context, item, target, *state).await;
            }
            Err(Settled::Yes)
        }
        Ok(_) => Err(store_away(context, item, target, now).await),
        Err(error) => {
            complain(error);
            Err(store_away(context, item, target, now).await)
        }
    }
}

/// Pair records and the log are written side by side: whoever ended this pair may have died with the one written and not
/// the other. Then the log would show for ever that it is under way.
async fn log_end(context: &Context, item: &Item, target: &Target, state: PairState) {
    let status = match state {
        PairState::Waiting => return,
        PairState::Delivered => DestinationStatus::Delivered,
        PairState::Dead => DestinationStatus::Failed,
        PairState::Canceled => DestinationStatus::Canceled,
    };
    let end = destination(item, target, status, None, context.now());
    let outcome = Outcome {
        settlement: None,
        log: vec![LogRecord::Destination(end)],
    };
    context.recorder.record(outcome).await;
}

fn wish(context: &Context, item: &Item, target: &Target, now: Timestamp) -> Claim {
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

fn complain(error: &PortError) {
    warn!(%error, "cannot claim a delivery; it is put off");
}

/// Without the store nobody can say whether an attempt was made: it is put off, unsent.
async fn store_away(context: &Context, item: &Item, target: &Target, now: Timestamp) -> Settled {
    let until = plan::pause(target.due, now);
    later(context, item, target, until, "store_away").await
}

async fn later(
    context: &Context,
    item: &Item,
    target: &Target,
    until: Until,
    why: &'static str,
) -> Settled {
    let later = plan::again(item, Work::Targets(vec![target.clone()]), until);
    put_off(context, later, why).await
}
