//! What was set apart, tried alone.
//!
//! A broker counts deliveries, not causes: whoever was killed beside a pack counts, too. So what is set apart gets a
//! trial of its own: one pack at a time over all processes, and counted in the store *before* it is looked at. A trial
//! that ends takes its count back; only what its holder did not survive stays.
//!
//! ```text
//!  begun and not ended, this one included
//!   1 – 3   try it ── settled, or still under way after a second ──▶ acquitted
//!   4       it kills: decode it, and file what it is as dead letters of its application and endpoints
//!   5 –     even that kills: its bytes are filed, unread
//! ```
//!
//! Packs of several are split before anything is tried: which of them kills is not known. That is counted likewise,
//! because reading a pack may kill, too. What cannot be counted is not tried.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use postrider_core::envelope;
use postrider_core::message::Item;
use postrider_core::ports::{Pack, PortError, RETURN_DELAY, Receipt, TrialEnd, TrialKey, Until};
use postrider_core::time::Timestamp;
use sha2::{Digest, Sha256};
use tracing::{error, warn};

use crate::context::Context;
use crate::held::Load;
use crate::item::{self, Guard};
use crate::pack::{Settled, contained, settled};
use crate::{dead, plan, poison};

/// So many trials that nobody survived are no chance any more.
const TRIALS: u32 = 3;
/// The trial in which it is filed, and not worked on.
const FILING: u32 = TRIALS + 1;
/// Longer than a process that dies again and again is kept from being started.
const KEEP: Duration = Duration::from_secs(24 * 3600);
const SPLIT_PAUSE: Duration = Duration::from_secs(1);
/// What has been tried alone for this long has not ended the process.
const ACQUITTED_AFTER: Duration = Duration::from_secs(1);
/// A store that cannot take the end of a trial is asked again this much later.
const END_PAUSE: Duration = Duration::from_secs(1);

/// When it was last said that nothing can be tried: each pack comes again after [`RETURN_DELAY`], and there may be many.
#[derive(Debug, Default)]
pub(crate) struct Untried(Mutex<Option<Timestamp>>);

impl Untried {
    fn is_to_be_told(&self, now: Timestamp) -> bool {
        let mut last = self.0.lock();
        let told = last.is_some_and(|last| now < last + RETURN_DELAY);
        if !told {
            *last = Some(now);
        }
        !told
    }
}

pub(crate) async fn run(context: &Arc<Context>, pack: &Pack) -> Settled {
    let bytes = &pack.bytes;
    let key = key(bytes);
    let begun = match begin(context, key).await {
        Ok(begun) => begun,
        Err(error) => {
            if context.untried.is_to_be_told(context.now()) {
                warn!(%error, "what is set apart cannot be counted and is not tried; it is put off");
            }
            return Settled::No;
        }
    };
    let settled = match begun {
        ..=TRIALS => contained(attempt(context, pack)).await,
        FILING => {
            let filed = contained(file(context, bytes)).await;
            if filed == Settled::Yes {
                // It did not kill. Whoever is killed while the letters become safe is not to count, and files them again.
                end_trial(context, key, TrialEnd::Withdrawn, filed).await;
                dead::safe(context).await;
            }
            filed
        }
        _ => {
            error!(
                trials = begun - 1,
                "work ends whoever reads it; it becomes a dead letter with its bytes"
            );
            let cause = format!(
                "{TRIALS} processes ended while they tried it alone, and one while it filed it"
            );
            poison::keep_bytes(context, bytes, cause).await
        }
    };
    // What is held was not tried; what was only to be filed is not acquitted by living on.
    let end = match (settled, begun) {
        (Settled::Held, _) | (Settled::No, FILING..) => TrialEnd::Withdrawn,
        _ => TrialEnd::Acquitted,
    };
    end_trial(context, key, end, settled).await;
    settled
}

pub(crate) fn key(bytes: &[u8]) -> TrialKey {
    let hash: [u8; 32] = Sha256::digest(bytes).into();
    let mut key = [0; 16];
    key.copy_from_slice(&hash[..16]);
    TrialKey(key)
}

async fn begin(context: &Context, key: TrialKey) -> Result<u32, PortError> {
    let now = context.now();
    let limits = &context.ports.limits;
    limits.begin_trial(now, key, now + KEEP).await
}

/// Nobody asks again about what is settled. What is not comes again and must not count: it is kept until that is stored.
async fn end_trial(context: &Context, key: TrialKey, end: TrialEnd, settled: Settled) {
    let limits = &context.ports.limits;
    while let Err(error) = limits.end_trial(context.now(), key, end).await {
        if settled == Settled::Yes || context.stopping.is_cancelled() {
            return;
        }
        if context.untried.is_to_be_told(context.now()) {
            warn!(%error, "the end of a trial cannot be stored; trying until it is possible");
        }
        tokio::select! {
            () = tokio::time::sleep(END_PAUSE) => {}
            () = context.stopping.cancelled() => {}
        }
    }
}

async fn attempt(context: &Arc<Context>, pack: &Pack) -> Settled {
    let items = match envelope::decode(&pack.bytes) {
        Ok(items) => items,
        Err(error) => return poison::unreadable(context, &pack.bytes, &error).await,
    };
    match items.as_slice() {
        [item] => alone(context, item, pack.receipt).await,
        _ => split(context, &items).await,
    }
}

async fn file(context: &Arc<Context>, bytes: &Bytes) -> Settled {
    match envelope::decode(bytes) {
        Ok(items) => poison::file(context, &items, TRIALS).await,
        Err(error) => poison::unreadable(context, bytes, &error).await,
    }
}

/// One of them ends the process: each goes on by itself, so that only that one is given up. They are put off a little, so
/// that whoever has to split many does not take all of it at once.
async fn split(context: &Context, items: &[Item]) -> Settled {
    let alone = |item| plan::again(item, item.work.clone(), Until::After(SPLIT_PAUSE));
    let split = items.iter().map(alone).collect();
    let handed_off = context.metrics.handed_off.with_label_values(&["split"]);
    handed_off.inc_by(items.len() as u64);
    let broker = &context.ports.broker;
    settled(broker.hand_off_singly(context.now(), split).await)
}

/// Only one of these is tried at a time, over all processes, so none of them may take as long as a subscriber likes: what
/// is still under way after a moment is handed off, to be looked at again when its requests have ended. They go on
/// meanwhile, and settle as usual.
async fn alone(context: &Arc<Context>, item: &Item, receipt: Receipt) -> Settled {
    let work = {
        let (context, item) = (Arc::clone(context), item.clone());
        // Not the pack's own: what becomes of the pack is decided here.
        let load = Load::new(receipt, 0);
        async move {
            item::touch(&context, std::slice::from_ref(&item));
            let settling = item::settle(&context, &item, Guard::Trial, load.unfinished());
            contained(settling).await
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
