//! Uids of applications: unique within an organisation, while applications lie in slots of their own.
//!
//! A uid is claimed first, then the application is written, then the former uid is released. What a claim says holds
//! if the application carries the uid. If it does not, its writer is under way, or was refused, or died:
//!
//! | the application | the claim |
//! |---|---|
//! | carries the uid | holds |
//! | has reached the claim's version without it, or is fenced off from it | will never hold: it may be taken over |
//! | has not reached the claim's version | somebody may be writing: wait, then fence it off |

use std::time::Duration;

use postrider_core::application::Application;
use postrider_core::id::{AppId, OrgId};
use postrider_core::name::Uid;
use postrider_core::ports::PortError;
use tracing::debug;

use super::records::{Claim, to_app, to_claim};
use super::scripts::SCRIPTS;
use super::sight::partly_lost;
use super::store::{Access, Store};
use super::writes::contended;
use crate::redis::error::Asked;

/// How long whoever has claimed a uid may take to write.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a claim that may come to hold is looked at.
const PAUSE: Duration = Duration::from_millis(20);
/// Looks at a claim that others keep changing: longer than `PATIENCE` several times over.
const LOOKS: usize = 500;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Validity {
    Holds,
    Never,
    Perhaps,
}

impl Store {
    /// Lists the application under `listed` and claims its uid. `false` where the uid is taken.
    pub(super) async fn claim(
        &self,
        access: Access,
        app: &Application,
        version: u64,
        listed: &[u8],
    ) -> Result<bool, PortError> {
        let mut stale = Vec::new();
        for _ in 0..LOOKS {
            let taken = self.try_claim(app, version, listed, &stale).await?;
            let Some((found, age)) = taken else {
                return Ok(true);
            };
            let rival = to_claim(&found)?;
            match self.validity(app, rival).await? {
                Validity::Holds => return Ok(false),
                Validity::Never => stale = found,
                Validity::Perhaps if Duration::from_millis(age) < PATIENCE => {
                    tokio::time::sleep(PAUSE).await;
                }
                Validity::Perhaps => self.give_up_waiting(access, rival).await?,
            }
        }
        Err(contended())
    }

    /// Whose claim is in the way, and how old it is.
    async fn try_claim(
        &self,
        app: &Application,
        version: u64,
        listed: &[u8],
        stale: &[u8],
    ) -> Result<Option<(Vec<u8>, u64)>, PortError> {
        let keys = self.names.org(app.org);
        let call = SCRIPTS
            .claim
            .call(&[&keys[0], &keys[1], &keys[2]])
            .arg(app.id.as_bytes().as_slice())
            .arg(version)
            .arg(app.uid.as_ref().map_or("", Uid::as_str))
            .arg(stale)
            .arg(listed);
        // A claim that nobody knows of is worth nothing, and does no harm.
        self.run(Asked::Read, &call).await
    }

    async fn validity(&self, wanting: &Application, rival: Claim) -> Result<Validity, PortError> {
        type Fields = (Option<u64>, Option<u64>, Option<u64>, Option<Vec<u8>>);
        let mut get = redis::cmd("HMGET");
        get.arg(&self.names.app(rival.app)[0])
            .arg(&["v", "d", "f", "a"]);
        let (version, deleted, fenced, record): Fields = self.read(&get).await?;
        if let (Some(version), Some(record)) = (version, record) {
            let holder = to_app(version, &record)?;
            if holder.org == wanting.org && holder.uid == wanting.uid {
                return Ok(Validity::Holds);
            }
        }
        let reached = [version, deleted, fenced].into_iter().flatten().max();
        Ok(if reached >= Some(rival.version) {
            Validity::Never
        } else {
            Validity::Perhaps
        })
    }

    async fn give_up_waiting(&self, access: Access, rival: Claim) -> Result<(), PortError> {
        if access == Access::Guarded && self.look(Some(rival.app), None).await?.registered {
            // Before it is fenced off, which leaves a trace: an application that is lost keeps its uid.
            let traces = self.traces(rival.app).await?;
            if traces.stands.is_none() && traces.deleted.is_none() {
                return Err(partly_lost(format_args!("{}", rival.app)));
            }
        }
        self.fence(rival.app, rival.version).await.map(drop)
    }

    /// After a change that was refused. Another change of the application may have been made meanwhile, and have found
    /// the uid claimed: then the claim is that one's by now.
    pub(super) async fn unclaim(&self, app: &Application, version: u64, listed: Option<&[u8]>) {
        let unclaimed = self.try_unclaim(app, version, listed);
        left_over(unclaimed.await);
    }

    async fn try_unclaim(
        &self,
        app: &Application,
        version: u64,
        listed: Option<&[u8]>,
    ) -> Result<(), PortError> {
        let mut uid = app.uid.as_ref();
        if uid.is_some() {
            let fenced = self.fence(app.id, version).await?.app;
            uid =
                uid.filter(|_| !fenced.is_some_and(|now| now.org == app.org && now.uid == app.uid));
        }
        if uid.is_none() && listed.is_none() {
            return Ok(());
        }
        let listed = listed.unwrap_or_default().to_vec();
        let entries = (listed.clone(), listed);
        self.try_release(app.org, app.id, uid, (version, version), entries)
            .await
    }

    /// Gives up the claim to a uid as of `version`, and entries of the list from one to another.
    pub(super) async fn release(
        &self,
        org: OrgId,
        app: AppId,
        uid: Option<&Uid>,
        version: u64,
        entries: Option<(Vec<u8>, Vec<u8>)>,
    ) {
        let entries = entries.unwrap_or_default();
        let released = self.try_release(org, app, uid, (0, version), entries);
        left_over(released.await);
    }

    async fn try_release(
        &self,
        org: OrgId,
        app: AppId,
        uid: Option<&Uid>,
        (lowest, highest): (u64, u64),
        (first, last): (Vec<u8>, Vec<u8>),
    ) -> Result<(), PortError> {
        let keys = self.names.org(org);
        let call = SCRIPTS
            .release
            .call(&[&keys[0], &keys[1], &keys[2]])
            .arg(app.as_bytes().as_slice())
            .arg(uid.map_or("", Uid::as_str))
            .arg(lowest)
            .arg(highest)
            .arg(first)
            .arg(last);
        self.run(Asked::Write, &call).await
    }
}

/// What is not released is seen for what it is by whoever comes across it.
fn left_over(released: Result<(), PortError>) {
    if let Err(error) = released {
        debug!(%error, "the claim to a uid is left over");
    }
}
