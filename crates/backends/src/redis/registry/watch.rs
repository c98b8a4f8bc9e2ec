//! What goes on in the background while a registry is in use: following changes, ending those that others left
//! open, and putting back what a restart of Redis lost.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::stream::{self, StreamExt as _};
use postrider_core::ports::PortError;
use redis::aio::PubSub;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::healing::{AT_ONCE, Doubt};
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
    let run = |task| tokio::spawn(stop.clone().run_until_cancelled_owned(task));
    run(watch(Arc::clone(store)).boxed());
    run(tend(Arc::clone(store)).boxed());
    if notices {
        run(listen(Arc::clone(store)).boxed());
    }
}

/// Follows the stream of changes. It does nothing else that could take long: others depend on being told in time.
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
    let doubt = store.doubt();
    if polled.is_err() || doubt != Doubt::None {
        store.watched.lock().unsteady();
    } else {
        store.watched.lock().steady();
    }
    if doubt != Doubt::None {
        store.note_doubt(doubt);
        store.tend.notify_one();
        return mend(store).await;
    }
    *store.overdue.lock() = polled?;
    store.tend.notify_one();
    Ok(())
}

async fn mend(store: &Store) -> Result<(), PortError> {
    if store.mend().await? {
        warn!(
            "Redis had gone back to an older state; the registry goes on without what nobody remembered"
        );
    }
    Ok(())
}

/// Sees to what polls have found. Where a part of a Cluster is away, whatever concerns it takes its time.
async fn tend(store: Arc<Store>) {
    loop {
        store.tend.notified().await;
        let doubt = std::mem::take(&mut *store.doubt.lock());
        store.see_to_own(doubt).await;
        end_the_overdue(&store).await;
        lift_the_told(&store).await;
    }
}

/// Ends changes that their writers did not.
async fn end_the_overdue(store: &Store) {
    let overdue = std::mem::take(&mut *store.overdue.lock());
    let ending = stream::iter(overdue).for_each_concurrent(AT_ONCE, async |(app, version)| {
        if let Err(error) = store.see_to(app, version).await {
            debug!(%app, %error, "a change that was begun cannot be ended");
        }
    });
    ending.await;
}

/// Where a change was told and is gone for good, caches and events wait for a version that would never come.
async fn lift_the_told(store: &Store) {
    let due = store.watched.lock().due(LIFTED_AT_ONCE);
    let lifting = stream::iter(due).for_each_concurrent(AT_ONCE, async |(app, version)| {
        match store.lift(app, version).await {
            Ok(false) => {}
            Ok(true) => {
                store.counts.forgotten.add(1);
                warn!(%app, version, "a change was told that Redis has lost; what was there before counts");
            }
            Err(error) => {
                debug!(%app, %error, "what was told cannot be looked for");
                store.watched.lock().expect(app, version);
            }
        }
    });
    lifting.await;
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
