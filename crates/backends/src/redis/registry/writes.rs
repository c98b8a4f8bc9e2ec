//! Changing applications and endpoints.
//!
//! ```text
//!   installation: take version v, note the intent        ─┐ dies here: nothing happened; the intent is closed by others
//!   organisation: list it, claim its uid                  │ dies here: the claim is taken over once somebody wants it
//!   application:  compare, set, stamp with v              │ dies here: others tell the change, and see to the lists
//!   organisation: release the uid it had before           │
//!   installation: tell the change, close the intent      ─┘
//! ```
//!
//! A change whose intent is open for too long is fenced off by others: it is not taken any more, and its writer begins
//! again with another version. So what others conclude from not finding it stays true.

use std::time::Duration;

use postrider_core::application::Application;
use postrider_core::endpoint::Endpoint;
use postrider_core::id::{AppId, EndpointId, OrgId};
use postrider_core::name::Uid;
use postrider_core::ports::{PortError, RegistryError};
use tracing::debug;

use super::PART;
use super::recent::Own;
use super::records::{corrupt, entry, from_app, from_endpoint, to_app};
use super::scripts::SCRIPTS;
use super::sight::{Sight, Traces};
use super::store::{Access, Ending, Store, TOMBSTONE, Ticket};
use crate::redis::error::Asked;

/// Tries of a change that others overtake. Each time one of them has succeeded.
pub(super) const TRIES: usize = 200;
/// After this many the others are left some time.
const TRIES_AT_ONCE: usize = 20;
const PAUSE: Duration = Duration::from_millis(1);

/// Why a record was not taken, decided before anything was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Exists,
    UidTaken,
    Stale,
    NoApplication,
}

impl From<Refusal> for RegistryError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Exists => Self::Exists,
            Refusal::UidTaken => Self::UidTaken,
            Refusal::Stale => Self::Stale,
            Refusal::NoApplication => Self::NoApplication,
        }
    }
}

/// What became of one try at a change.
#[derive(Debug)]
pub(super) enum Step<T> {
    Done(T, Ending),
    /// Nothing was changed.
    Refused(Sight<T>),
    /// Nothing was there to be deleted, or not any more: the client may have asked twice, and others come in between.
    Vain(Sight<T>),
    /// Somebody else was faster in a way that this change can live with.
    Again,
}

pub(super) type Put<T> = Result<T, Refusal>;

/// A script's word, and what it found.
pub(super) type Word = (String, Option<Vec<u8>>);

pub(super) fn unknown_word(word: &str) -> PortError {
    corrupt("the answer of a script", word)
}

/// What goes wrong once the record is written does not undo it.
pub(super) fn afterwards(error: PortError) -> PortError {
    match error {
        PortError::Unavailable { part, cause } | PortError::Full { part, cause } => {
            PortError::Unknown { part, cause }
        }
        other => other,
    }
}

pub(super) fn contended() -> PortError {
    PortError::Unavailable {
        part: PART,
        cause: "others change this at the same time, again and again; try again".to_owned(),
    }
}

impl Store {
    /// Tries `step` with one version after the other until it is decided.
    pub(super) async fn change<T, F>(
        &self,
        access: Access,
        app: AppId,
        step: impl Fn(Ticket) -> F,
    ) -> Result<Sight<T>, PortError>
    where
        F: Future<Output = Result<Step<T>, PortError>>,
    {
        for tries in 0..TRIES {
            if tries > TRIES_AT_ONCE {
                tokio::time::sleep(PAUSE).await;
            }
            let ticket = self.begin(access, Some(app), 0).await?;
            match step(ticket.clone()).await? {
                Step::Done(done, ending) => {
                    let finished = self.finish(app, &ticket, ending).await;
                    return finished.map(|()| Sight::Found(done)).map_err(afterwards);
                }
                Step::Refused(sight) => {
                    self.abandon(app, &ticket).await;
                    return Ok(sight);
                }
                Step::Vain(sight) => {
                    let ending = self.as_it_stands(app).await?;
                    self.finish(app, &ticket, ending).await?;
                    return Ok(sight);
                }
                Step::Again => self.abandon(app, &ticket).await,
            }
        }
        Err(contended())
    }

    async fn as_it_stands(&self, app: AppId) -> Result<Ending, PortError> {
        let Traces { stands, deleted } = self.traces(app).await?;
        Ok(match (stands, deleted) {
            (Some(version), _) => Ending::Touched(version),
            (None, Some(deleted)) => Ending::Deleted(deleted),
            (None, None) => Ending::Nothing,
        })
    }

    /// Ends a change that was not made. Others do it where this does not work out.
    pub(super) async fn abandon(&self, app: AppId, ticket: &Ticket) {
        if let Err(error) = self.finish(app, ticket, Ending::Nothing).await {
            debug!(%app, %error, "a change that was not made is left open");
        }
    }

    pub(super) async fn put_application(
        &self,
        app: Application,
        expect: Option<u64>,
    ) -> Result<Application, RegistryError> {
        let put = self.settle(app.id, || {
            self.change(Access::Guarded, app.id, |ticket| {
                self.try_put_app(&app, expect, ticket)
            })
        });
        Ok(put.await?.unwrap_or(Err(Refusal::Stale))?)
    }

    async fn try_put_app(
        &self,
        app: &Application,
        expect: Option<u64>,
        ticket: Ticket,
    ) -> Result<Step<Put<Application>>, PortError> {
        let version = ticket.version;
        let listed = expect.is_none().then(|| entry(app.id, version));
        if app.uid.is_some() || listed.is_some() {
            let listed = listed.as_deref().unwrap_or_default();
            let claim = self.claim(Access::Guarded, app, version, listed);
            if !claim.await? {
                return self.refused_uid(app, expect).await;
            }
        }
        let stored = Application {
            version,
            ..app.clone()
        };
        let (word, before) = self.store_app(&stored, expect).await?;
        if word == "done" {
            self.recent
                .lock()
                .note(app.id, version, Own::App(stored.clone()));
            let before = before.and_then(|before| to_app(0, &before).ok());
            self.release_former_uid(before.as_ref(), &stored).await;
            return Ok(Step::Done(Ok(stored), Ending::Stored(app.org, version)));
        }
        self.unclaim(app, version, listed.as_deref()).await;
        refused(&word)
    }

    async fn store_app(&self, app: &Application, expect: Option<u64>) -> Result<Word, PortError> {
        let keys = self.names.app(app.id);
        let call = SCRIPTS
            .put_app
            .call(&[&keys[0], &keys[1]])
            .arg(app.version)
            .arg(expect.map_or_else(String::new, |expect| expect.to_string()))
            .arg(app.org.as_bytes().as_slice())
            .arg(from_app(app)?);
        self.run(Asked::Write, &call).await
    }

    /// That a uid is taken is told only where nothing else is wrong.
    async fn refused_uid(
        &self,
        app: &Application,
        expect: Option<u64>,
    ) -> Result<Step<Put<Application>>, PortError> {
        let found = self.app(app.id).await?;
        let mine = found.filter(|found| found.org == app.org);
        let refusal = match (mine, expect) {
            (Some(_), None) => Refusal::Exists,
            (found, Some(expect)) if found.as_ref().map(|found| found.version) != Some(expect) => {
                Refusal::Stale
            }
            _ => Refusal::UidTaken,
        };
        Ok(Step::Refused(Sight::Found(Err(refusal))))
    }

    /// Once the application has another uid, or none.
    pub(super) async fn release_former_uid(&self, before: Option<&Application>, now: &Application) {
        if let Some(before) = before
            && before.uid.is_some()
            && before.uid != now.uid
        {
            let uid = before.uid.as_ref();
            self.release(now.org, now.id, uid, now.version, None).await;
        }
    }

    pub(super) async fn delete_application(
        &self,
        access: Access,
        org: OrgId,
        app: AppId,
    ) -> Result<Sight<()>, PortError> {
        self.change(access, app, |ticket| {
            self.try_delete_app(access, org, app, ticket)
        })
        .await
    }

    async fn try_delete_app(
        &self,
        access: Access,
        org: OrgId,
        app: AppId,
        ticket: Ticket,
    ) -> Result<Step<()>, PortError> {
        let version = ticket.version;
        let keys = self.names.app(app);
        let call = SCRIPTS
            .delete_app
            .call(&[&keys[0], &keys[1]])
            .arg(version)
            .arg(org.as_bytes().as_slice())
            .arg(TOMBSTONE.as_secs())
            .arg(if access == Access::Forced { "1" } else { "" });
        let (word, before): Word = self.run(Asked::Write, &call).await?;
        match word.as_str() {
            "done" => {}
            "again" => return Ok(Step::Again),
            "absent" => return Ok(Step::Vain(Sight::NoApplication)),
            "foreign" => return Ok(Step::Refused(Sight::Missing)),
            _ => return Err(unknown_word(&word)),
        }
        self.recent.lock().note(app, version, Own::NoApp(org));
        // A record that cannot be read must not keep anybody from deleting it; its uid is free once somebody wants it.
        let uid = before.and_then(|before| to_app(0, &before).ok()?.uid);
        let entries = Some((entry(app, 0), entry(app, version)));
        self.release(org, app, uid.as_ref(), version, entries).await;
        Ok(Step::Done((), Ending::Deleted(version)))
    }

    pub(super) async fn put_endpoint(
        &self,
        endpoint: Endpoint,
        expect: Option<u64>,
    ) -> Result<Endpoint, RegistryError> {
        let app = endpoint.app;
        let put = self.settle(app, || {
            self.change(Access::Guarded, app, |ticket| {
                self.try_put_endpoint(&endpoint, expect, ticket)
            })
        });
        Ok(put.await?.unwrap_or(Err(Refusal::NoApplication))?)
    }

    async fn try_put_endpoint(
        &self,
        endpoint: &Endpoint,
        expect: Option<u64>,
        ticket: Ticket,
    ) -> Result<Step<Put<Endpoint>>, PortError> {
        let version = ticket.version;
        let mut stored = endpoint.clone();
        stored.created_version = version;
        let keys = self.names.app(endpoint.app);
        let call = SCRIPTS
            .put_endpoint
            .call(&[&keys[0], &keys[1]])
            .arg(version)
            .arg(expect.map_or_else(String::new, |expect| expect.to_string()))
            .arg(endpoint.id.as_bytes().as_slice())
            .arg(endpoint.uid.as_ref().map_or("", Uid::as_str))
            .arg(from_endpoint(&stored)?);
        let (word, created): Word = self.run(Asked::Write, &call).await?;
        if word != "done" {
            return refused(&word);
        }
        let created: Option<[u8; 8]> = created.and_then(|created| created.try_into().ok());
        stored.created_version = created.map_or(version, u64::from_be_bytes);
        let own = Own::Endpoint(stored.clone());
        self.recent.lock().note(endpoint.app, version, own);
        Ok(Step::Done(Ok(stored), Ending::Touched(version)))
    }

    pub(super) async fn delete_endpoint(
        &self,
        app: AppId,
        endpoint: EndpointId,
    ) -> Result<Sight<()>, PortError> {
        self.change(Access::Guarded, app, |ticket| {
            self.try_delete_endpoint(app, endpoint, ticket)
        })
        .await
    }

    async fn try_delete_endpoint(
        &self,
        app: AppId,
        endpoint: EndpointId,
        ticket: Ticket,
    ) -> Result<Step<()>, PortError> {
        let keys = self.names.app(app);
        let call = SCRIPTS
            .delete_endpoint
            .call(&[&keys[0], &keys[1]])
            .arg(ticket.version)
            .arg(endpoint.as_bytes().as_slice());
        let (word, _): Word = self.run(Asked::Write, &call).await?;
        match word.as_str() {
            "done" => {}
            "again" => return Ok(Step::Again),
            "nothing" => return Ok(Step::Vain(Sight::Missing)),
            "absent" => return Ok(Step::Vain(Sight::NoApplication)),
            _ => return Err(unknown_word(&word)),
        }
        let own = Own::NoEndpoint(endpoint);
        self.recent.lock().note(app, ticket.version, own);
        Ok(Step::Done((), Ending::Touched(ticket.version)))
    }

    /// Makes sure that no change of `app` up to `version` is taken any more. Returns what there was by then.
    pub(super) async fn fence(&self, app: AppId, version: u64) -> Result<Fenced, PortError> {
        type Before = (Option<u64>, Option<u64>, Option<Vec<u8>>);
        let keys = self.names.app(app);
        let call = SCRIPTS
            .fence
            .call(&[&keys[0], &keys[1]])
            .arg(version)
            .arg(TOMBSTONE.as_secs());
        let (stands, deleted, record): Before = self.run(Asked::Write, &call).await?;
        let found = stands.zip(record);
        Ok(Fenced {
            app: found.and_then(|(stands, record)| to_app(stands, &record).ok()),
            stands,
            deleted,
        })
    }

    /// Ends a change that its writer did not.
    pub(super) async fn see_to(&self, app: AppId, version: u64) -> Result<(), PortError> {
        let fenced = self.fence(app, version).await?;
        let ending = match (&fenced.app, fenced.stands, fenced.deleted) {
            (Some(app), _, _) => Ending::Stored(app.org, app.version),
            (None, Some(version), _) => Ending::Touched(version),
            (None, None, Some(deleted)) => Ending::Deleted(deleted),
            (None, None, None) => Ending::Nothing,
        };
        let ticket = Ticket::of_another(version);
        self.finish(app, &ticket, ending).await
    }
}

/// What is certain about an application once slower changes are fenced off.
#[derive(Debug)]
pub(super) struct Fenced {
    /// `None` also where its record cannot be read.
    pub(super) app: Option<Application>,
    pub(super) stands: Option<u64>,
    /// The version of its deletion, where it was deleted lately.
    pub(super) deleted: Option<u64>,
}

fn refused<T>(word: &str) -> Result<Step<Put<T>>, PortError> {
    let refusal = match word {
        "exists" => Refusal::Exists,
        "stale" => Refusal::Stale,
        "uid" => Refusal::UidTaken,
        "again" => return Ok(Step::Again),
        "absent" => return Ok(Step::Refused(Sight::NoApplication)),
        _ => return Err(unknown_word(word)),
    };
    Ok(Step::Refused(Sight::Found(Err(refusal))))
}
