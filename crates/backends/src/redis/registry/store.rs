//! The installation's slot: versions, intents, changes, and whether everything is there.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use postrider_core::id::{AppId, OrgId};
use postrider_core::ports::PortError;
use redis::FromRedisValue;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tracing::{error, info};

use super::PART;
use super::healing::Doubt;
use super::names::Names;
use super::recent::{Recent, Watched};
use super::ring::Ring;
use super::scripts::SCRIPTS;
use super::standing::{Found, History, Loss, Memory, Standing, Verdict};
use crate::redis::counts::RegistryCounts;
use crate::redis::error::{Asked, told};
use crate::redis::script::Call;
use crate::redis::server::{Link, Server};

/// How long a look at the registry's standing is good for, where a read finds what it looks for.
const FRESH: Duration = Duration::from_secs(2);
/// Changes that Redis keeps.
const KEPT_CHANGES: usize = 8_192;
/// How long the deletion of an application is remembered in its slot: longer than any writer can be slow.
pub(super) const TOMBSTONE: Duration = Duration::from_secs(24 * 3600);

/// What all tasks of one registry share.
#[derive(Debug)]
pub(super) struct Store {
    server: Arc<Server>,
    pub(super) names: Names,
    pub(super) state: Mutex<State>,
    pub(super) ring: Mutex<Ring>,
    /// Ticks whenever the ring or the trouble has changed.
    pub(super) ticks: watch::Sender<u64>,
    /// Wakes the watcher.
    pub(super) nudge: Notify,
    /// Wakes whoever tends what a poll has found.
    pub(super) tend: Notify,
    pub(super) overdue: Mutex<Vec<(AppId, u64)>>,
    /// What was found since one's own changes were looked for.
    pub(super) doubt: Mutex<Doubt>,
    pub(super) recent: Mutex<Recent>,
    pub(super) watched: Mutex<Watched>,
    pub(super) counts: Arc<RegistryCounts>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) memory: Memory,
    /// When the registry was last known to be well.
    well_at: Option<Instant>,
    pub(super) loss: Option<(Loss, Instant)>,
    /// What the last poll said, where it failed.
    pub(super) trouble: Option<PortError>,
    pub(super) history: History,
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
    /// Somebody else began it.
    of_another: bool,
}

impl Ticket {
    /// A change that somebody else began.
    pub(super) fn of_another(version: u64) -> Self {
        Self {
            version,
            epoch: String::new(),
            of_another: true,
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
            tend: Notify::new(),
            overdue: Mutex::default(),
            doubt: Mutex::default(),
            recent: Mutex::default(),
            watched: Mutex::default(),
            counts: Arc::default(),
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

    pub(super) fn keys(&self) -> Vec<&[u8]> {
        self.names.installation.iter().map(Vec::as_slice).collect()
    }

    pub(super) fn memory(&self) -> Memory {
        self.state.lock().memory.clone()
    }

    /// What to look for while what is lost is being put back.
    pub(super) fn doubt(&self) -> Doubt {
        match &self.state.lock().loss {
            Some((Loss::WrittenOver, _)) => Doubt::WrittenOver,
            Some((loss, _)) if loss.is_mended() => Doubt::Rewound,
            _ => Doubt::None,
        }
    }

    pub(super) fn note_doubt(&self, doubt: Doubt) {
        let mut known = self.doubt.lock();
        *known = doubt.max(*known);
    }

    /// When Redis was first found to have gone back, if it has.
    pub(super) fn rewound_since(&self) -> Option<Instant> {
        match &self.state.lock().loss {
            Some((Loss::Rewound { far: false, .. } | Loss::WrittenOver, since)) => Some(*since),
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
    pub(super) fn judge(&self, before: &Memory, found: &Standing) -> Result<String, PortError> {
        let mut state = self.state.lock();
        let verdict = state.memory.judge(before, found);
        let was_lost = state.loss.is_some();
        if let Verdict::Lost(loss) = verdict {
            if !was_lost {
                error!(%loss, "the registry is not available");
            }
            let mended = loss.is_mended();
            let before = state.loss.take();
            let same = before.filter(|(before, _)| before.is_mended() == mended);
            match (&same, mended) {
                (Some(_), _) => {}
                (None, true) => self.counts.rewinds.add(1),
                (None, false) => self.counts.losses.add(1),
            }
            let since = same.map_or_else(Instant::now, |(_, since)| since);
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
                return Ok(Ticket {
                    version,
                    epoch,
                    of_another: false,
                });
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
        let (found, taken): (Found, u64) = self.run(Asked::Read, &call).await?;
        let judged = self.judge(&before, &found.into());
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
            .arg(KEPT_CHANGES)
            .arg(if ticket.of_another { "1" } else { "" });
        let before = self.memory();
        let found: Found = self.run(Asked::Write, &call).await?;
        let judged = self.judge(&before, &found.into());
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
        let answer = self.run::<(Found, bool, bool, bool)>(Asked::Read, &call);
        let (found, registered, busy, org_registered) = answer.await?;
        let epoch = self.judge(&before, &found.into())?;
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
}

fn uncertain(cause: String) -> PortError {
    PortError::Unknown { part: PART, cause }
}
