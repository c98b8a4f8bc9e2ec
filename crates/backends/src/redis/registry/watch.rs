//! What goes on in the background while a registry is in use: following changes, ending those that others left
//! open, and putting back what a restart of Redis lost.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use postrider_core::ports::PortError;
use redis::aio::PubSub;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::healing::Doubt;
use super::store::Store;

/// How often Redis is asked for changes where no notice comes: together with the answer, within the second that is promised.
const POLL: Duration = Duration::from_millis(700);
/// How long a subscription may take.
const SUBSCRIBING: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Notices that come this close to each other are answered by one poll.
const GATHERING: Duration = Duration::from_millis(10);
/// Applications that are looked at between two polls.
const LIFTED_AT_ONCE: usize = 100;

/// Starts the tasks; they end with `stop`.
pub(super) fn start(store: &Arc<Store>, notices: bool, stop: &CancellationToken) {
    let watching = watch(Arc::clone(store));
    tokio::spawn(stop.clone().run_until_cancelled_owned(watching));
    if notices {
        let listening = listen(Arc::clone(store));
        tokio::spawn(stop.clone().run_until_cancelled_owned(listening));
    }
}

async fn watch(store: Arc<Store>) {
    let mut ticks = interval(POLL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = store.nudge.notified() => {}
        }
        if let Err(error) = round(&store).await {
            debug!(%error, "the registry cannot be followed");
        }
        sleep(GATHERING).await;
    }
}

async fn round(store: &Store) -> Result<(), PortError> {
    let polled = store.poll().await;
    if store.is_mended() {
        store.watched.lock().unsteady();
        return mend(store).await;
    }
    match polled {
        Ok(overdue) => {
            store.watched.lock().steady();
            for (app, version) in overdue {
                store.see_to(app, version).await?;
            }
            store.see_to_own(Doubt::None).await;
            lift_the_told(store).await
        }
        Err(error) => {
            store.watched.lock().unsteady();
            Err(error)
        }
    }
}

/// Puts back what this process wrote last.
async fn mend(store: &Store) -> Result<(), PortError> {
    let goes_on = store.mend().await?;
    store.see_to_own(Doubt::Rewound).await;
    if goes_on {
        warn!(
            "Redis had gone back to an older state; the registry goes on without what nobody remembered"
        );
    }
    Ok(())
}

/// Where a change was told and is gone for good, caches and events wait for a version that would never come.
async fn lift_the_told(store: &Store) -> Result<(), PortError> {
    let due = store.watched.lock().due(LIFTED_AT_ONCE);
    for (app, version) in due {
        if store.lift(app, version).await? {
            warn!(%app, version, "a change was told that Redis has lost; what was there before counts");
        }
    }
    Ok(())
}

/// Wakes the watcher for every notice. Where none come, it wakes by itself.
async fn listen(store: Arc<Store>) {
    let mut pause = FIRST_PAUSE;
    loop {
        if let Ok(Ok(subscription)) = timeout(SUBSCRIBING, subscribe(&store)).await {
            pause = FIRST_PAUSE;
            store.nudge.notify_one();
            let mut notices = subscription.into_on_message();
            while notices.next().await.is_some() {
                store.nudge.notify_one();
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn subscribe(store: &Store) -> redis::RedisResult<PubSub> {
    let client = store.server().client()?;
    let mut subscription = client.get_async_pubsub().await?;
    subscription.subscribe(&store.names.channel).await?;
    Ok(subscription)
}
