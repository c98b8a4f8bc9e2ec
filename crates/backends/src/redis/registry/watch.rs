//! What goes on in the background while a registry is in use: following changes, ending those that others left
//! open, and putting back what a restart of Redis lost.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use postrider_core::id::AppId;
use postrider_core::ports::PortError;
use redis::aio::PubSub;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::recent::{Own, OwnType};
use super::store::{Access, Store};
use super::transfer::Back;

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
            see_to_own(store, false).await?;
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
    see_to_own(store, true).await?;
    if goes_on {
        warn!(
            "Redis had gone back to an older state; the registry goes on without what nobody remembered"
        );
    }
    Ok(())
}

/// Looks for changes that this process made, and makes those that are gone again.
async fn see_to_own(store: &Store, all: bool) -> Result<(), PortError> {
    let due = store.recent.lock().due(all);
    let mut failed = None;
    for (app, changes) in due {
        if let Err(error) = make_again(store, app, &changes).await {
            let mut recent = store.recent.lock();
            for (version, own) in changes {
                recent.note(app, version, own);
            }
            failed = Some(error);
        }
    }
    let due = store.recent.lock().due_types(all);
    for own in due {
        if let Err(error) = make_type_again(store, &own).await {
            store.recent.lock().note_type(own);
            failed = Some(error);
        }
    }
    failed.map_or(Ok(()), Err)
}

async fn make_again(store: &Store, app: AppId, changes: &[(u64, Own)]) -> Result<(), PortError> {
    let mut get = redis::cmd("HMGET");
    get.arg(&store.names.app(app)[0]).arg("v").arg("d");
    let (stands, deleted): (Option<u64>, Option<u64>) = store.read(&get).await?;
    let reached = stands.max(deleted).unwrap_or(0);
    let lost: Vec<&Own> = changes
        .iter()
        .filter(|(version, _)| *version > reached)
        .map(|(_, own)| own)
        .collect();
    if lost.is_empty() {
        return Ok(());
    }
    warn!(%app, changes = lost.len(), "Redis has lost changes of the registry; they are put back");
    let mut back = Back::default();
    for own in lost {
        match own {
            Own::App(record) => back.app = Some(record.clone()),
            Own::NoApp(org) => {
                back = Back::default();
                store.delete_application(Access::Forced, *org, app).await?;
            }
            Own::Endpoint(endpoint) => {
                back.endpoints.retain(|other| other.id != endpoint.id);
                back.endpoints.push(endpoint.clone());
            }
            Own::NoEndpoint(id) => {
                back.endpoints.retain(|other| other.id != *id);
                store.delete_endpoint(Access::Forced, app, *id).await?;
            }
        }
    }
    store.put_back(app, &back).await.map(drop)
}

async fn make_type_again(store: &Store, own: &OwnType) -> Result<(), PortError> {
    let mut get = redis::cmd("HGET");
    get.arg(&store.names.event_types(own.org)[0]).arg("types");
    let reached: Option<u64> = store.read(&get).await?;
    match &own.event_type {
        Some(kind) if reached < Some(own.version) => store.put_back_type(kind).await.map(drop),
        None if store
            .stored_type(own.org, &own.name)
            .await?
            .is_some_and(|there| there.version < own.version) =>
        {
            store.drop_type(own.org, &own.name).await.map(drop)
        }
        _ => Ok(()),
    }
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
