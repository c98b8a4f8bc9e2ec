//! What is not found is not told before it is certain that nothing was lost: the check comes *after* the look, so that
//! a Redis that is emptied in between is found out.
//!
//! The epoch tells of a Redis that was emptied. In a Cluster one of several may be, while the others go on; so whatever exists is
//! also listed elsewhere: each application in the installation's slot, each organisation there and by a mark of its own.

use postrider_core::id::{AppId, OrgId};
use postrider_core::ports::PortError;
use tracing::warn;

use super::PART;
use super::store::{Access, Ending, Store};

/// Looks until what is seen makes sense, as others write at the same time.
const LOOKS: usize = 5;

/// What a look at an application's slot saw.
#[derive(Debug)]
pub(super) enum Sight<T> {
    Found(T),
    /// The application is there; what was looked for is not.
    Missing,
    NoApplication,
}

/// The versions of an application and of its deletion.
#[derive(Debug, Clone, Copy)]
pub(super) struct Traces {
    pub(super) stands: Option<u64>,
    pub(super) deleted: Option<u64>,
}

impl<T> Sight<T> {
    pub(super) fn of(app_exists: bool, found: Option<T>) -> Self {
        match found {
            Some(found) => Self::Found(found),
            None if app_exists => Self::Missing,
            None => Self::NoApplication,
        }
    }
}

impl Store {
    /// What `look` finds in the slot of `app`; `None` where it is certain that it is not there.
    pub(super) async fn settle<T, F>(
        &self,
        app: AppId,
        look: impl Fn() -> F,
    ) -> Result<Option<T>, PortError>
    where
        F: Future<Output = Result<Sight<T>, PortError>>,
    {
        for _ in 0..LOOKS {
            let epoch = self.ready().await?;
            let there = match look().await? {
                Sight::Found(found) => return Ok(Some(found)),
                Sight::Missing => true,
                Sight::NoApplication => false,
            };
            let after = self.look(Some(app), None).await?;
            if after.epoch != epoch {
                continue;
            }
            if there || !after.registered || self.was_deleted(app, after.busy).await? {
                return Ok(None);
            }
        }
        Err(partly_lost(format_args!("{app}")))
    }

    /// Whether an application that is registered is not there because it was deleted: the trace of its deletion is the only
    /// proof. That somebody is changing it proves nothing, for whatever it was may be lost all the same.
    async fn was_deleted(&self, app: AppId, busy: bool) -> Result<bool, PortError> {
        let Traces {
            stands: None,
            deleted: Some(deleted),
        } = self.traces(app).await?
        else {
            return Ok(false);
        };
        if !busy {
            self.close_deletion(app, deleted).await?;
        }
        Ok(true)
    }

    /// Takes an application off the list of those that exist, whose deletion never came to that.
    async fn close_deletion(&self, app: AppId, deleted: u64) -> Result<(), PortError> {
        let ticket = self.begin(Access::Guarded, Some(app), 0).await?;
        warn!(%app, "a deletion was never ended; it is now");
        self.finish(app, &ticket, Ending::Deleted(deleted)).await
    }

    /// What there is of an application, or was until lately. One that is registered has traces.
    pub(super) async fn traces(&self, app: AppId) -> Result<Traces, PortError> {
        let mut get = redis::cmd("HMGET");
        get.arg(&self.names.app(app)[0]).arg("v").arg("d");
        let (stands, deleted) = self.read(&get).await?;
        Ok(Traces { stands, deleted })
    }

    /// What `look` finds in the slot of `org`; `None` where it is certain that it is not there.
    pub(super) async fn settle_org<T, F>(
        &self,
        org: OrgId,
        look: impl Fn() -> F,
    ) -> Result<Option<T>, PortError>
    where
        F: Future<Output = Result<Option<T>, PortError>>,
    {
        for _ in 0..LOOKS {
            let epoch = self.ready().await?;
            if let Some(found) = look().await? {
                return Ok(Some(found));
            }
            if self.org_is_whole(org, &epoch).await? {
                return Ok(None);
            }
        }
        Err(partly_lost(format_args!("{org}")))
    }

    /// Whether what is missing in the slot of `org` was missing all along.
    pub(super) async fn org_is_whole(&self, org: OrgId, epoch: &str) -> Result<bool, PortError> {
        let hash = &self.names.org(org)[0];
        let mut marked = redis::cmd("HEXISTS");
        marked.arg(hash).arg("here");
        let marked: bool = self.read(&marked).await?;
        let after = self.look(None, Some(org)).await?;
        Ok(after.epoch == epoch && (marked || !after.org_registered))
    }
}

pub(super) fn partly_lost(what: std::fmt::Arguments<'_>) -> PortError {
    PortError::Unavailable {
        part: PART,
        cause: format!(
            "Redis has lost a part of the registry: {what} is on its lists, and not there; import a backup: \
             postrider registry import FILE"
        ),
    }
}
