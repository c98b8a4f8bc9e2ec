//! The installation's slot: versions, intents, changes, and whether everything is there.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use postrider_core::id::{AppId, OrgId};
use postrider_core::ports::{ChangeCursor, Changes, PortError};
use redis::FromRedisValue;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tracing::{error, info};

use super::PART;
use super::names::Names;
use super::recent::{Recent, Watched};
use super::records;
use super::ring::{CAPACITY, Ring, Told};
use super::scripts::SCRIPTS;
use super::standing::{FOUNDED, IMPORTED, Loss, Memory, Standing, Verdict};
use crate::redis::error::{Asked, told};
use crate::redis::script::Call;
use crate::redis::server::{Link, Server};

/// How long a look at the registry's standing is good for, where a read finds what it looks for.
const FRESH: Duration = Duration::from_secs(2);
/// Changes that Redis keeps.
const KEPT_CHANGES: usize = 8_192;
/// How long an intent stays open before others see to it.
const OVERDUE: Duration = Duration::from_secs(1);
/// How long the deletion of an application is remembered in its slot: longer than any writer can be slow.
pub(super) const TOMBSTONE: Duration = Duration::from_secs(24 * 3600);

/// What all tasks of one registry share.
#[derive(Debug)]
pub(super) struct Store {
    server: Arc<Server>,
    pub(super) names: Names,
    state: Mutex<State>,
    ring: Mutex<Ring>,
    /// Ticks whenever the ring or the trouble has changed.
    ticks: watch::Sender<u64>,
    /// Wakes the watcher.
    pub(super) nudge: Notify,
    pub(super) recent: Mutex<Recent>,
    pub(super) watched: Mutex<Watched>,
}

#[derive(Debug, Default)]
struct State {
    memory: Memory,
    /// When the registry was last known to be well.
    well_at: Option<Instant>,
    loss: Option<(Loss, Instant)>,
    /// What the last poll said, where it failed.
    trouble: Option<PortError>,
}

/// Whether a change goes ahead although the registry counts as lost: putting back does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Guarded,
    Forced,
}

/// A change that was begun.
#[derive(Debug, Clone)]
pub(super) struct Ticket {
    pub(super) version: u64,
    /// The registry that it belongs to; empty where it goes ahead in any.
    epoch: String,
}

impl Ticket {
    /// A change that somebody else began.
    pub(super) fn of_another(version: u64) -> Self {
        Self {
            version,
            epoch: String::new(),
        }
    }
}

/// How a change ended, for the installation's slot.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ending {
    /// The application exists, here, and has come to this version.
    Stored(OrgId, u64),
    /// It has come to this version.
    Touched(u64),
    Deleted(u64),
    Nothing,
}

/// What the installation's slot knows of an application or an organisation.
#[derive(Debug, Clone)]
pub(super) struct Look {
    pub(super) epoch: String,
    /// It is among those that exist.
    pub(super) registered: bool,
    /// Somebody is changing it.
    pub(super) busy: bool,
    pub(super) org_registered: bool,
}

impl Store {
    pub(super) fn new(server: Arc<Server>) -> Self {
        Self {
            names: Names::new(server.space()),
            server,
            state: Mutex::default(),
            ring: Mutex::default(),
            ticks: watch::Sender::new(0),
            nudge: Notify::new(),
            recent: Mutex::default(),
            watched: Mutex::default(),
        }
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    pub(super) async fn link(&self) -> Result<Link, PortError> {
        self.server.link(PART).await
    }

    pub(super) async fn run<T: FromRedisValue>(
        &self,
        asked: Asked,
        call: &Call<'_>,
    ) -> Result<T, PortError> {
        let mut link = self.link().await?;
        let answer = call.run(&mut link).await;
        answer.map_err(|error| told(PART, asked, &error))
    }

    pub(super) async fn read<T: FromRedisValue>(
        &self,
        command: &redis::Cmd,
    ) -> Result<T, PortError> {
        let mut link = self.link().await?;
        let answer = command.query_async(&mut link).await;
        answer.map_err(|error| told(PART, Asked::Read, &error))
    }

    fn keys(&self) -> Vec<&[u8]> {
        self.names.installation.iter().map(Vec::as_slice).collect()
    }

    pub(super) fn memory(&self) -> Memory {
        self.state.lock().memory.clone()
    }

    /// When Redis was first found to have gone back, if it has.
    pub(super) fn rewound_since(&self) -> Option<Instant> {
        match &self.state.lock().loss {
            Some((Loss::Rewound { .. }, since)) => Some(*since),
            _ => None,
        }
    }

    /// What the registry is called, where it is known to be well.
    pub(super) async fn ready(&self) -> Result<String, PortError> {
        let known = {
            let state = self.state.lock();
            let fresh = state.well_at.is_some_and(|at| at.elapsed() < FRESH);
            let epoch = state.memory.epoch.clone();
            epoch.filter(|_| fresh && state.loss.is_none())
        };
        match known {
            Some(epoch) => Ok(epoch),
            None => self.look(None, None).await.map(|look| look.epoch),
        }
    }

    /// Takes note of what a script found; an error where that means that the registry is lost.
    fn judge(&self, before: &Memory, found: &Standing) -> Result<String, PortError> {
        let mut state = self.state.lock();
        let verdict = state.memory.judge(before, found);
        let was_lost = state.loss.is_some();
        if let Verdict::Lost(loss) = verdict {
            if !was_lost {
                error!(%loss, "the registry is not available");
            }
            let since = state
                .loss
                .take()
                .map_or_else(Instant::now, |(_, since)| since);
            let cause = loss.to_string();
            state.loss = Some((loss, since));
            drop(state);
            self.tick();
            return Err(PortError::Unavailable { part: PART, cause });
        }
        state.loss = None;
        state.well_at = Some(Instant::now());
        drop(state);
        if was_lost || verdict == Verdict::Renewed {
            info!(
                version = found.version,
                "the registry is available again; everything is read anew"
            );
            self.ring.lock().cut(found.version);
            self.tick();
        }
        Ok(found.epoch.clone().unwrap_or_default())
    }

    /// Takes a version above `floor`. Where `app` is given, the change is told even if nobody ends it.
    pub(super) async fn begin(
        &self,
        access: Access,
        app: Option<AppId>,
        floor: u64,
    ) -> Result<Ticket, PortError> {
        loop {
            // An import that ends in between makes this come round again, and fail where anything is wrong.
            let epoch = match access {
                Access::Guarded => self.ready().await?,
                Access::Forced => String::new(),
            };
            if let Some(version) = self.take(&epoch, app, floor).await? {
                return Ok(Ticket { version, epoch });
            }
        }
    }

    async fn take(
        &self,
        epoch: &str,
        app: Option<AppId>,
        floor: u64,
    ) -> Result<Option<u64>, PortError> {
        let before = self.memory();
        let call = SCRIPTS
            .begin
            .call(&self.keys())
            .arg(app.map_or(Vec::new(), |app| app.as_bytes().to_vec()))
            .arg(epoch)
            .arg(before.seen)
            .arg(floor.max(before.seen));
        // A version that was taken and not used changes nothing.
        let answer = self.run::<(Option<String>, u64, u64)>(Asked::Read, &call);
        let (found, version, taken) = answer.await?;
        let standing = Standing {
            epoch: found,
            version,
        };
        let judged = self.judge(&before, &standing);
        if !epoch.is_empty() {
            judged?;
        }
        Ok((taken > 0).then_some(taken))
    }

    /// Ends a change; what it changed is told to everybody.
    pub(super) async fn finish(
        &self,
        app: AppId,
        ticket: &Ticket,
        ending: Ending,
    ) -> Result<(), PortError> {
        let (reached, existence, org) = match ending {
            Ending::Stored(org, version) => (version.to_string(), "+", org.as_bytes().to_vec()),
            Ending::Touched(version) => (version.to_string(), "", Vec::new()),
            Ending::Deleted(version) => (version.to_string(), "-", Vec::new()),
            Ending::Nothing => (String::new(), "", Vec::new()),
        };
        let call = SCRIPTS
            .finish
            .call(&self.keys())
            .arg(app.as_bytes().as_slice())
            .arg(ticket.version)
            .arg(&ticket.epoch)
            .arg(reached)
            .arg(existence)
            .arg(org)
            .arg(&self.names.channel)
            .arg(KEPT_CHANGES);
        let before = self.memory();
        let answer = self.run::<(Option<String>, u64)>(Asked::Write, &call);
        let (epoch, version) = answer.await?;
        let judged = self.judge(&before, &Standing { epoch, version });
        // Whoever puts back does not mind what it is called yet.
        if ticket.epoch.is_empty() {
            return Ok(());
        }
        match judged {
            Ok(epoch) if epoch == ticket.epoch => Ok(()),
            Ok(_) => Err(uncertain("an import ended in the middle of it".to_owned())),
            Err(error) => Err(uncertain(error.to_string())),
        }
    }

    /// Whether the registry is all there, and what it knows of an application or an organisation.
    pub(super) async fn look(
        &self,
        app: Option<AppId>,
        org: Option<OrgId>,
    ) -> Result<Look, PortError> {
        let call = SCRIPTS
            .look
            .call(&self.keys())
            .arg(app.map_or(Vec::new(), |app| app.as_bytes().to_vec()))
            .arg(org.map_or(Vec::new(), |org| org.as_bytes().to_vec()));
        let before = self.memory();
        let answer = self.run::<(Option<String>, u64, bool, bool, bool)>(Asked::Read, &call);
        let (epoch, version, registered, busy, org_registered) = answer.await?;
        let epoch = self.judge(&before, &Standing { epoch, version })?;
        Ok(Look {
            epoch,
            registered,
            busy,
            org_registered,
        })
    }

    /// Looks whether everything is there, and writes something.
    pub(super) async fn probe(&self) -> Result<(), PortError> {
        self.look(None, None).await?;
        let mut set = redis::cmd("SET");
        set.arg(&self.names.probe).arg("").arg("PX").arg(1_000);
        let mut link = self.link().await?;
        let written: Result<(), _> = set.query_async(&mut link).await;
        // Whether it was written does not matter: it was to show that it could be.
        written.map_err(|error| told(PART, Asked::Read, &error))
    }

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
        type Polled = (Option<String>, u64, u64, Vec<(Vec<u8>, f64)>, Vec<Vec<u8>>);
        let since = self.ring.lock().position();
        let call = SCRIPTS
            .poll
            .call(&self.keys())
            .arg(since.map_or_else(String::new, |since| since.to_string()))
            .arg(u64::try_from(OVERDUE.as_millis()).unwrap_or(u64::MAX))
            .arg(CAPACITY);
        let before = self.memory();
        let (epoch, version, cut, changes, overdue): Polled = self.run(Asked::Read, &call).await?;
        self.judge(&before, &Standing { epoch, version })?;
        let changes: Result<Vec<Told>, PortError> = changes
            .into_iter()
            .map(|(member, position)| told_change(&member, position))
            .collect();
        self.take_in(since, version, cut, changes?);
        overdue
            .iter()
            .map(|member| records::to_app_version(member))
            .collect()
    }

    fn take_in(&self, since: Option<u64>, version: u64, cut: u64, changes: Vec<Told>) {
        let mut ring = self.ring.lock();
        let complete = since.is_some_and(|since| since >= cut) && changes.len() < CAPACITY;
        let new = if complete {
            ring.merge(changes, version)
        } else {
            ring.cut(version);
            Vec::new()
        };
        drop(ring);
        if !complete || !new.is_empty() {
            self.tick();
        }
        self.watched.lock().extend(&new);
    }

    fn tick(&self) {
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

    /// Begins an epoch that every process takes for right.
    pub(super) async fn renew(&self) -> Result<(), PortError> {
        let before = self.memory();
        let next = new_epoch(IMPORTED);
        let (standing, _) = self.raise("", before.seen, &next, false).await?;
        self.judge(&before, &standing).map(drop)
    }

    /// Goes on above every version that this process has seen. Whether it did.
    pub(super) async fn raise_above_seen(&self) -> Result<bool, PortError> {
        let before = self.memory();
        let Some(epoch) = &before.epoch else {
            return Ok(false);
        };
        let (standing, done) = self.raise(epoch, before.seen, "", false).await?;
        self.judge(&before, &standing)?;
        Ok(done)
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
        let answer = self.run::<(Option<String>, u64, bool)>(Asked::Write, &call);
        let (epoch, version, done) = answer.await?;
        Ok((Standing { epoch, version }, done))
    }
}

fn new_epoch(kind: char) -> String {
    format!("{kind}{:032x}", rand::random::<u128>())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positions are whole numbers that a double holds exactly"
)]
fn told_change(member: &[u8], position: f64) -> Result<Told, PortError> {
    let (app, version) = records::to_app_version(member)?;
    Ok(Told {
        position: position as u64,
        app,
        version,
    })
}

fn uncertain(cause: String) -> PortError {
    PortError::Unknown { part: PART, cause }
}
