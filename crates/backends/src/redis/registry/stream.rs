//! The stream of changes as this process follows it, and the ends of times in which nothing could be followed.

use std::time::Duration;

use postrider_core::id::{AppId, OrgId};
use postrider_core::ports::{ChangeCursor, Changes, PortError};
use tokio::sync::watch;

use super::PART;
use super::records;
use super::ring::{CAPACITY, Told};
use super::scripts::SCRIPTS;
use super::standing::{FOUNDED, Found, IMPORTED, Standing};
use super::store::Store;
use crate::redis::error::Asked;

/// How long an intent stays open before others see to it.
const OVERDUE: Duration = Duration::from_secs(1);
/// How long processes get to put back what Redis lost, before the registry goes on without the rest.
const MENDING: Duration = Duration::from_secs(3);

impl Store {
    /// Reads the stream of changes on. Returns the intents that nobody ended in time.
    pub(super) async fn poll(&self) -> Result<Vec<(AppId, u64)>, PortError> {
        let polled = self.try_poll().await;
        let trouble = polled.as_ref().err().cloned();
        let mut state = self.state.lock();
        let changed = state.trouble.is_some() != trouble.is_some();
        state.trouble = trouble;
        drop(state);
        if changed {
            self.tick();
        }
        polled
    }

    async fn try_poll(&self) -> Result<Vec<(AppId, u64)>, PortError> {
        type Scored = Vec<(Vec<u8>, f64)>;
        type Polled = (Found, u64, Scored, Vec<Vec<u8>>, Scored);
        let before = self.memory();
        let (since, last) = {
            let ring = self.ring.lock();
            (ring.position(), ring.last())
        };
        let member = |told: Told| records::from_app_version(told.app, told.version);
        let call = SCRIPTS
            .poll
            .call(&self.keys())
            .arg(since.map_or_else(String::new, |since| since.to_string()))
            .arg(u64::try_from(OVERDUE.as_millis()).unwrap_or(u64::MAX))
            .arg(CAPACITY)
            .arg(last.map_or_else(Vec::new, member))
            .arg(last.map_or(0, |told| told.position))
            .arg(before.seen)
            .arg(before.epoch.as_deref().unwrap_or_default())
            .arg(u64::try_from(MENDING.as_millis() * 2).unwrap_or(u64::MAX));
        let (found, cut, changes, overdue, types): Polled = self.run(Asked::Read, &call).await?;
        let standing = Standing::from(found);
        self.judge(&before, &standing)?;
        let mut state = self.state.lock();
        state.memory.durable = state.history.note(standing.version);
        drop(state);
        let changes: Result<Vec<Told>, PortError> = changes
            .into_iter()
            .map(|(member, position)| told_change(&member, position))
            .collect();
        let types: Result<Vec<_>, PortError> = types
            .into_iter()
            .map(|(member, position)| told_types(&member, position))
            .collect();
        let news = News {
            changes: changes?,
            types: types?,
        };
        self.take_in(since, standing.version, cut, news);
        overdue
            .iter()
            .map(|member| records::to_app_version(member))
            .collect()
    }

    fn take_in(&self, since: Option<u64>, version: u64, cut: u64, news: News) {
        let News { changes, types } = news;
        let mut ring = self.ring.lock();
        let fits = changes.len().max(types.len()) < CAPACITY;
        let complete = since.is_some_and(|since| since >= cut) && fits;
        let (new, new_types) = if complete {
            (ring.merge(changes, version), ring.merge_types(&types))
        } else {
            ring.cut(version);
            (Vec::new(), false)
        };
        drop(ring);
        if !complete || new_types || !new.is_empty() {
            self.tick();
        }
        self.watched.lock().extend(&new);
    }

    pub(super) fn tick(&self) {
        self.ticks.send_modify(|ticks| *ticks += 1);
    }

    pub(super) fn ticks(&self) -> watch::Receiver<u64> {
        self.ticks.subscribe()
    }

    pub(super) fn position(&self) -> Option<u64> {
        self.ring.lock().position()
    }

    /// What came after `since`, or why that cannot be told.
    pub(super) fn news(&self, since: ChangeCursor) -> Result<Option<Changes>, PortError> {
        let state = self.state.lock();
        if let Some(trouble) = &state.trouble {
            return Err(trouble.clone());
        }
        if let Some((loss, _)) = &state.loss {
            let cause = loss.to_string();
            return Err(PortError::Unavailable { part: PART, cause });
        }
        drop(state);
        Ok(self.ring.lock().after(since))
    }

    /// Begins an epoch where there is none. Whether it did.
    pub(super) async fn found(&self) -> Result<bool, PortError> {
        let (_, done) = self.raise("", 0, &new_epoch(FOUNDED), true).await?;
        Ok(done)
    }

    /// Begins an epoch where there is none, which every process takes for right. Whether it did.
    pub(super) async fn found_anew(&self) -> Result<bool, PortError> {
        let seen = self.memory().seen;
        let (_, done) = self.raise("", seen, &new_epoch(IMPORTED), true).await?;
        Ok(done)
    }

    /// Begins an epoch that every process takes for right.
    pub(super) async fn renew(&self) -> Result<(), PortError> {
        let before = self.memory();
        let next = new_epoch(IMPORTED);
        let (standing, _) = self.raise("", before.seen, &next, false).await?;
        self.judge(&before, &standing).map(drop)
    }

    /// Where Redis went back: makes everybody put back what it wrote, while nothing is available; once there was time
    /// for that, goes on above every version that this process has seen. Whether it goes on.
    pub(super) async fn mend(&self) -> Result<bool, PortError> {
        let before = self.memory();
        let (Some(epoch), Some(since)) = (&before.epoch, self.rewound_since()) else {
            return Ok(false);
        };
        if since.elapsed() >= MENDING {
            let (standing, done) = self.raise(epoch, before.seen, "", false).await?;
            self.judge(&before, &standing)?;
            return Ok(done);
        }
        let call = SCRIPTS
            .mend
            .call(&self.keys())
            .arg(epoch)
            .arg(before.seen)
            .arg(u64::try_from(MENDING.as_millis()).unwrap_or(u64::MAX));
        let _: Found = self.run(Asked::Write, &call).await?;
        Ok(false)
    }

    async fn raise(
        &self,
        epoch: &str,
        floor: u64,
        next: &str,
        only_if_none: bool,
    ) -> Result<(Standing, bool), PortError> {
        let call = SCRIPTS
            .raise
            .call(&self.keys())
            .arg(epoch)
            .arg(floor)
            .arg(next)
            .arg(if only_if_none { "1" } else { "" })
            .arg(&self.names.channel);
        let (found, done): (Found, bool) = self.run(Asked::Write, &call).await?;
        Ok((found.into(), done))
    }
}

/// What a poll has heard of.
struct News {
    changes: Vec<Told>,
    /// Organisations whose event types have changed, and positions.
    types: Vec<(OrgId, u64)>,
}

fn new_epoch(kind: char) -> String {
    format!("{kind}{:032x}", rand::random::<u128>())
}

fn told_change(member: &[u8], position: f64) -> Result<Told, PortError> {
    let (app, version) = records::to_app_version(member)?;
    Ok(Told {
        position: to_position(position),
        app,
        version,
    })
}

fn told_types(member: &[u8], position: f64) -> Result<(OrgId, u64), PortError> {
    Ok((records::to_org(member)?, to_position(position)))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positions are whole numbers that a double holds exactly"
)]
const fn to_position(score: f64) -> u64 {
    score as u64
}
