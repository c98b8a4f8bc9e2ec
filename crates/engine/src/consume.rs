//! The loop that takes work: as much as there is room for, and no more.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures_util::poll;
use postrider_core::ports::{Leased, Pack};
use postrider_core::time::Timestamp;
use tracing::{info, warn};

use crate::context::Context;
use crate::held::{Load, Totals};
use crate::pack;

/// Packs that may have been taken and not begun on. What a pack holds counts nowhere before: a few, so that bounds are looked
/// at often enough.
const BATCH: usize = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The wall clock is looked at this often: it may be set forward, or go on while the machine sleeps, and timers do not.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

pub(crate) async fn run(context: Arc<Context>) {
    registry_seen(&context).await;
    let mut pause = None;
    while !context.stopping.is_cancelled() {
        let room = room(&context);
        if room == 0 {
            tokio::select! {
                () = context.room.notified() => {}
                () = context.crowd.thinned.notified() => {}
                () = context.stopping.cancelled() => {}
            }
            continue;
        }
        match context.ports.broker.lease(context.now(), room).await {
            Ok(leased) => {
                if pause.take().is_some() {
                    info!("the broker hands out work again");
                }
                let full = leased.packs.len() == room;
                let next_due = leased.next_due;
                spawn(&context, leased);
                if !full {
                    wait(&context, next_due).await;
                }
            }
            Err(error) => {
                if pause.is_none() {
                    warn!(%error, "cannot take work; trying until it is possible");
                }
                let this =
                    pause.map_or(FIRST_PAUSE, |last: Duration| (last * 2).min(LONGEST_PAUSE));
                pause = Some(this);
                sleep(&context, this).await;
            }
        }
    }
}

/// A process that has never reached the registry knows no subscriber: it leaves work to others that it could only put
/// off. Later losses are another matter, because it has a cache then.
async fn registry_seen(context: &Context) {
    let mut pause = FIRST_PAUSE;
    while !context.stopping.is_cancelled() {
        match context.ports.registry.cursor().await {
            Ok(_) => return,
            Err(error) if pause == FIRST_PAUSE => {
                warn!(%error, "no work is taken before the registry has been reached");
            }
            Err(_) => {}
        }
        sleep(context, pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn room(context: &Context) -> usize {
    let Totals { packs, bytes, .. } = context.held.totals();
    if bytes >= context.config.prefetch_bytes || context.crowd.is_there() {
        return 0;
    }
    let unbegun = context.unbegun.load(Relaxed);
    let room = context.config.prefetch.saturating_sub(packs);
    room.min(BATCH.saturating_sub(unbegun))
}

fn spawn(context: &Arc<Context>, leased: Leased) {
    for pack in leased.packs {
        let hold = Hold::new(context, &pack);
        let unbegun = Unbegun::new(context);
        let context = Arc::clone(context);
        context.packs.clone().spawn(async move {
            // Ends after the work, which looks at it.
            let hold = hold;
            let mut work = pin!(pack::run(&context, pack, &hold.load));
            // As far as it comes without waiting: from there on its requests wait for their turn.
            let at_once = poll!(work.as_mut());
            drop(unbegun);
            if at_once.is_pending() {
                work.await;
            }
        });
    }
}

/// Until there is something to lease, or no need to any more.
async fn wait(context: &Context, next_due: Option<Timestamp>) {
    let due = async {
        match next_due {
            Some(due) => tokio::time::sleep(due.since(context.now()).min(LONGEST_WAIT)).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = context.ports.broker.wait() => {}
        () = due => {}
        () = context.stopping.cancelled() => {}
    }
}

async fn sleep(context: &Context, pause: Duration) {
    tokio::select! {
        () = tokio::time::sleep(pause) => {}
        () = context.stopping.cancelled() => {}
    }
}

/// Counts a pack as not begun on.
struct Unbegun(Arc<Context>);

impl Unbegun {
    fn new(context: &Arc<Context>) -> Self {
        context.unbegun.fetch_add(1, Relaxed);
        Self(Arc::clone(context))
    }
}

impl Drop for Unbegun {
    fn drop(&mut self) {
        self.0.unbegun.fetch_sub(1, Relaxed);
        self.0.room.notify_one();
    }
}

/// Counts a pack as held for as long as it lives.
struct Hold {
    context: Arc<Context>,
    load: Arc<Load>,
}

impl Hold {
    fn new(context: &Arc<Context>, pack: &Pack) -> Self {
        Self {
            context: Arc::clone(context),
            load: context.held.take(pack),
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.context.held.end(&self.load);
        self.context.room.notify_one();
    }
}
