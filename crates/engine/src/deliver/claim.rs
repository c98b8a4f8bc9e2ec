//! Claiming an attempt that somebody else might be making, too.

use std::time::Duration;

use postrider_core::message::{Item, Target, Work};
use postrider_core::pair::{PairKey, PairState, Verdict};
use postrider_core::ports::{Claim, LogRecord, PortError, Until};
use postrider_core::time::Timestamp;
use tracing::{debug, warn};

use super::{destination, status_of};
use crate::context::Context;
use crate::item::{Guard, put_off};
use crate::pack::Settled;
use crate::plan;
use crate::recorder::Outcome;
use crate::trial;

/// An attempt that was found leased this often kills whoever makes it, or so it seems: it is set apart.
const LEASES_LEFT: u32 = 5;
/// Longer than a lease, and than a process that died is kept from being started.
const KEEP_LEASES_LEFT: Duration = Duration::from_secs(3600);
/// A claim outlives the longest that a request can take by this.
const LEASE_MARGIN: Duration = Duration::from_secs(5);

/// Claims the attempt. Where it is not ours, the error is how the work ended instead: done already, or put off.
pub(super) async fn claim(
    context: &Context,
    item: &Item,
    target: &Target,
    guard: Guard,
) -> Result<(), Settled> {
    let now = context.now();
    // How some attempts ended is known to the recorder alone as yet: the store would grant them once more.
    if context.recorder.is_behind() {
        return Err(store_away(context, item, target, now).await);
    }
    let claims = [wish(context, item, target, now)];
    match context.ports.limits.claim(now, &claims).await.as_deref() {
        Ok([Verdict::Granted]) => Ok(()),
        Ok([Verdict::Leased(until)]) => {
            let kills = guard == Guard::Trial || seems_to_kill(context, &claims[0]).await;
            if kills {
                return Err(Settled::Held);
            }
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

/// Whether those who hold an attempt die of it: each of them leaves a lease behind. Being put off until that ends, the work
/// is another message to the broker, which counts its deliveries anew, so that alone it would never be set apart.
async fn seems_to_kill(context: &Context, claim: &Claim) -> bool {
    let now = context.now();
    let limits = &context.ports.limits;
    let key = trial::key(&name(claim));
    let left = limits.begin_trial(now, key, now + KEEP_LEASES_LEFT).await;
    left.is_ok_and(|left| left >= LEASES_LEFT)
}

fn name(claim: &Claim) -> Vec<u8> {
    let pair = &claim.pair;
    [
        b"lease".as_slice(),
        pair.app.as_bytes(),
        pair.message.as_bytes(),
        pair.endpoint.as_bytes(),
        &claim.chain.0.to_be_bytes(),
        &claim.attempt.to_be_bytes(),
    ]
    .concat()
}

/// Pair records and the log are written side by side: whoever ended this pair may have died with the one written and not
/// the other. Then the log would show for ever that it is under way.
async fn log_end(context: &Context, item: &Item, target: &Target, state: PairState) {
    let Some(status) = status_of(state) else {
        return;
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
