//! Putting back what this process wrote and Redis lost.
//!
//! Several processes put back at once, what each of them remembers, in any order. So an application that was put back
//! once carries a mark: from then on the version of the last change is noted with each of its records, and of two changes of
//! one record the later one stays, deletions included. The version of the application says nothing about changes that were
//! made before: they are compared one by one.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use postrider_core::application::{AppSnapshot, Application};
use postrider_core::endpoint::Endpoint;
use postrider_core::id::{AppId, EndpointId, OrgId};
use postrider_core::ports::{Imported, PortError};
use postrider_core::time::Timestamp;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::recent::{Made, Noted, Own, OwnType};
use super::records::{entry, from_app, from_endpoint, from_event_type, to_app};
use super::scripts::SCRIPTS;
use super::store::{Access, Ending, Store, Ticket};
use super::transfer::Uids;
use super::writes::{TRIES, Word, contended, unknown_word};
use crate::redis::error::Asked;

/// Applications that are looked at at the same time.
pub(super) const AT_ONCE: usize = 16;
/// How long a change waits for the one who created its application.
const ORPHANED: Duration = Duration::from_secs(60);

/// What gives rise to a look at one's own changes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Doubt {
    /// It is time to.
    #[default]
    None,
    /// Redis went back: versions tell what is lost.
    Rewound,
    /// Redis went back, and somebody wrote before that was found out: versions tell nothing.
    WrittenOver,
}

/// What the slot of an application says of its changes.
#[derive(Debug, Clone, Copy)]
struct Reached {
    version: u64,
    /// When something was put back last.
    healed: u64,
}

impl Reached {
    fn doubts(self, doubt: Doubt, stored: u64) -> bool {
        // A later version may be that of a change which was put back by somebody else.
        doubt == Doubt::WrittenOver || stored > self.version || stored < self.healed
    }
}

/// When a change was made, by the clock that versions follow.
fn time_of(version: u64) -> Timestamp {
    Timestamp::from_millis(i64::try_from(version / 1_024).unwrap_or(i64::MAX))
}

/// All that there is of an application, and the versions of the last changes of its records where something was put back.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) there: Option<AppSnapshot>,
    pub(super) deleted: Option<u64>,
    pub(super) marks: HashMap<Vec<u8>, u64>,
}

/// What the mark of the application's own record is called.
const RECORD: &[u8] = b"a";

impl Slot {
    /// Whether a change of a record that was changed last at `updated`, as far as is known, is the later one.
    fn is_older(
        &self,
        record: &[u8],
        updated: Option<Timestamp>,
        made: u64,
        by: Timestamp,
    ) -> bool {
        match self.marks.get(record) {
            Some(mark) => *mark < made,
            None => updated.is_none_or(|updated| updated <= by),
        }
    }

    fn takes_app(&self, app: &Application, made: u64) -> bool {
        let updated = self.there.as_ref().map(|there| there.app.updated_at);
        self.is_older(RECORD, updated, made, app.updated_at)
    }

    fn takes_deletion(&self, made: u64) -> bool {
        let updated = self.there.as_ref().map(|there| there.app.updated_at);
        self.is_older(RECORD, updated, made, time_of(made))
    }

    fn takes_endpoint(&self, id: EndpointId, made: u64, by: Timestamp) -> bool {
        let there = self.there.as_ref().and_then(|there| there.endpoint(id));
        let updated = there.map(|there| there.updated_at);
        self.is_older(id.as_bytes(), updated, made, by)
    }
}

/// What is to be made again of one application: of each record the last change.
#[derive(Debug, Default)]
struct Plan {
    gone: Option<OrgId>,
    app: Option<(u64, Application)>,
    endpoints: Vec<(EndpointId, u64, Option<Endpoint>)>,
    /// What is made again, to be looked for once more.
    made: Vec<Made>,
    /// What others have changed since, and what is there already.
    settled: Vec<Noted<Made>>,
    /// Changes of endpoints whose application is not there yet.
    waiting: Vec<Noted<Made>>,
    /// Changes of endpoints whose application nobody put back.
    orphaned: u64,
}

impl Plan {
    fn new(slot: &Slot, changes: Vec<Noted<Made>>) -> Self {
        let mut plan = Self::default();
        for change in changes {
            plan.take(slot, change);
        }
        plan.uids(slot);
        plan
    }

    fn take(&mut self, slot: &Slot, change: Noted<Made>) {
        let Made { made, own, .. } = change.what.clone();
        // What this process itself deleted and made again is not held against it.
        let superseded = slot.there.is_none() && slot.deleted > Some(made) && self.gone.is_none();
        let exists = slot.there.is_some() || self.app.is_some();
        let taken = !superseded
            && match own {
                Own::App(app) => slot.takes_app(&app, made) && self.take_app(made, app),
                Own::NoApp(org) => slot.takes_deletion(made) && self.take_deletion(slot, made, org),
                Own::Endpoint(_) | Own::NoEndpoint(_) if !exists => return self.wait(change),
                Own::Endpoint(endpoint) => {
                    let (id, by) = (endpoint.id, endpoint.updated_at);
                    slot.takes_endpoint(id, made, by)
                        && self.take_endpoint(id, made, Some(endpoint))
                }
                Own::NoEndpoint(id) => {
                    slot.takes_endpoint(id, made, time_of(made))
                        && self.take_endpoint(id, made, None)
                }
            };
        if taken {
            self.made.push(change.what);
        } else {
            self.settled.push(change);
        }
    }

    fn take_app(&mut self, made: u64, app: Application) -> bool {
        self.app = Some((made, app));
        true
    }

    fn take_deletion(&mut self, slot: &Slot, made: u64, org: OrgId) -> bool {
        let buried = slot.there.is_none() && slot.deleted >= Some(made);
        if !buried {
            *self = Self {
                gone: Some(org),
                settled: std::mem::take(&mut self.settled),
                ..Self::default()
            };
        }
        // The deletion notes itself.
        false
    }

    fn take_endpoint(&mut self, id: EndpointId, made: u64, endpoint: Option<Endpoint>) -> bool {
        self.endpoints.retain(|(other, ..)| *other != id);
        self.endpoints.push((id, made, endpoint));
        true
    }

    fn wait(&mut self, change: Noted<Made>) {
        let mut made = change.what;
        let since = *made.waiting.get_or_insert_with(Instant::now);
        if since.elapsed() < ORPHANED {
            self.waiting.push(Noted::now(made));
        } else {
            self.orphaned += 1;
            warn!(change = ?made.made, "a change is lost with its application, which nobody put back");
        }
    }

    /// Two endpoints must not have one uid; whoever has it keeps it.
    fn uids(&mut self, slot: &Slot) {
        let mut uids = Uids::of(slot.there.as_ref());
        for (id, _, endpoint) in &mut self.endpoints {
            let there = slot.there.as_ref().and_then(|there| there.endpoint(*id));
            let former = there.and_then(|there| there.uid.as_ref());
            match endpoint {
                Some(endpoint) => drop(uids.give(endpoint, former)),
                None => uids.free(former),
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.app.is_none() && self.endpoints.is_empty()
    }

    /// What is to be looked for once more, after the rest was stored under `version`.
    fn left(self, version: u64) -> Vec<Noted<Made>> {
        let made = self.made.into_iter().map(|made| {
            let stored = version;
            Noted::now(Made { stored, ..made })
        });
        let settled = self.settled.into_iter().filter(Noted::is_young);
        made.chain(settled).chain(self.waiting).collect()
    }
}

impl Store {
    /// Looks for changes that this process made, and makes those that are gone again.
    pub(super) async fn see_to_own(&self, doubt: Doubt) {
        let all = doubt != Doubt::None;
        let due = self.recent.lock().due(all);
        let apps = stream::iter(due).for_each_concurrent(AT_ONCE, async |(app, changes)| {
            let left = match self.make_again(app, changes.clone(), doubt).await {
                Ok(left) => left,
                Err(error) => {
                    debug!(%app, %error, "changes cannot be looked for");
                    let again = changes.into_iter().map(|change| Noted::now(change.what));
                    again.collect()
                }
            };
            self.recent.lock().keep(app, left);
        });
        apps.await;
        let due = self.recent.lock().due_types(all);
        for own in due {
            match self.make_type_again(&own, doubt).await {
                Ok(None) => {}
                Ok(Some(left)) => self.recent.lock().keep_type(left),
                Err(error) => {
                    debug!(%error, "a change of an event type cannot be looked for");
                    self.recent.lock().keep_type(Noted::now(own.what));
                }
            }
        }
    }

    /// Returns what has to be looked for once more.
    async fn make_again(
        &self,
        app: AppId,
        changes: Vec<Noted<Made>>,
        doubt: Doubt,
    ) -> Result<Vec<Noted<Made>>, PortError> {
        let reached = self.reached(app).await?;
        let (lost, sure): (Vec<_>, Vec<_>) = changes
            .into_iter()
            .partition(|change| reached.doubts(doubt, change.what.stored));
        let mut left: Vec<_> = sure.into_iter().filter(Noted::is_young).collect();
        if !lost.is_empty() {
            left.extend(self.heal(app, lost).await?);
        }
        Ok(left)
    }

    async fn reached(&self, app: AppId) -> Result<Reached, PortError> {
        let mut get = redis::cmd("HMGET");
        get.arg(&self.names.app(app)[0]).arg(&["v", "d", "h"]);
        let (stands, deleted, healed): (Option<u64>, Option<u64>, Option<u64>) =
            self.read(&get).await?;
        Ok(Reached {
            version: stands.max(deleted).unwrap_or(0),
            healed: healed.unwrap_or(0),
        })
    }

    async fn heal(
        &self,
        app: AppId,
        changes: Vec<Noted<Made>>,
    ) -> Result<Vec<Noted<Made>>, PortError> {
        for _ in 0..TRIES {
            let slot = self.slot(app).await?;
            let plan = Plan::new(&slot, changes.clone());
            self.counts.forgotten.add(plan.orphaned);
            if let Some(org) = plan.gone {
                warn!(%app, "Redis has lost a deletion; it is made again");
                self.delete_application(Access::Forced, org, app).await?;
                self.counts.healed.add(1);
            }
            if plan.is_empty() {
                return Ok(plan.left(0));
            }
            // What was deleted just now is not there any more.
            let there = slot.there.filter(|_| plan.gone.is_none());
            if let Some(version) = self.carry_out_again(app, there, &plan).await? {
                warn!(%app, version, changes = plan.made.len(), "Redis has lost changes of the registry; they are put back");
                self.counts.healed.add(plan.made.len() as u64);
                return Ok(plan.left(version));
            }
        }
        Err(contended())
    }

    /// Returns the version under which it was stored; none where the application has changed since it was looked at.
    async fn carry_out_again(
        &self,
        app: AppId,
        there: Option<AppSnapshot>,
        plan: &Plan,
    ) -> Result<Option<u64>, PortError> {
        let record = plan.app.as_ref().map(|(_, app)| app);
        let Some(org) = record.or(there.as_ref().map(|there| &there.app)) else {
            return Ok(None);
        };
        let org = org.org;
        let newest = plan.made.iter().map(|made| made.made).max().unwrap_or(0);
        let ticket = self.begin(Access::Forced, Some(app), newest).await?;
        let mut record = record.cloned();
        if let Some(record) = &mut record {
            record.version = ticket.version;
            self.take_place(record, &mut Imported::default()).await?;
        }
        let stands = there.map(|there| there.version());
        let (word, before) = self
            .store_again(app, &ticket, stands, record.as_ref(), plan)
            .await?;
        if word != "done" {
            if let Some(record) = &record {
                let listed = entry(app, ticket.version);
                self.unclaim(record, ticket.version, Some(&listed)).await;
            }
            self.abandon(app, &ticket).await;
            return Ok(None);
        }
        if let Some(record) = &record {
            let before = before.and_then(|before| to_app(0, &before).ok());
            self.release_former_uid(before.as_ref(), record).await;
            let older = Some((entry(app, 0), entry(app, ticket.version - 1)));
            self.release(org, app, None, 0, older).await;
        }
        let ending = Ending::Stored(org, ticket.version);
        self.finish(app, &ticket, ending).await?;
        Ok(Some(ticket.version))
    }

    async fn store_again(
        &self,
        app: AppId,
        ticket: &Ticket,
        stands: Option<u64>,
        record: Option<&Application>,
        plan: &Plan,
    ) -> Result<Word, PortError> {
        let keys = self.names.app(app);
        let made = plan.app.as_ref().map_or(0, |(made, _)| *made);
        let mut call = SCRIPTS
            .heal
            .call(&[&keys[0], &keys[1]])
            .arg(ticket.version)
            .arg(stands.map_or_else(String::new, |version| version.to_string()))
            .arg(made)
            .arg(record.map(from_app).transpose()?.unwrap_or_default());
        for (id, made, endpoint) in &plan.endpoints {
            let endpoint = endpoint.as_ref().map(from_endpoint).transpose()?;
            call = call
                .arg(id.as_bytes().as_slice())
                .arg(*made)
                .arg(endpoint.unwrap_or_default());
        }
        self.run(Asked::Write, &call).await
    }

    /// Returns what has to be looked for once more.
    async fn make_type_again(
        &self,
        own: &Noted<OwnType>,
        doubt: Doubt,
    ) -> Result<Option<Noted<OwnType>>, PortError> {
        let change = &own.what;
        let settled = Some(own).filter(|own| own.is_young()).cloned();
        let (reached, mark) = self.types_reached(change).await?;
        if !reached.doubts(doubt, change.stored) {
            return Ok(settled);
        }
        let there = self.stored_type(change.org, &change.name).await?;
        let by = change.event_type.as_ref().map(|kind| kind.updated_at);
        let by = by.unwrap_or_else(|| time_of(change.made));
        let newer = there.is_some_and(|there| there.updated_at > by);
        if mark.map_or(newer, |mark| mark >= change.made) {
            return Ok(settled);
        }
        Ok(self.store_type_again(change).await?.or(settled))
    }

    async fn types_reached(&self, own: &OwnType) -> Result<(Reached, Option<u64>), PortError> {
        let mut get = redis::cmd("HMGET");
        get.arg(&self.names.event_types(own.org)[0])
            .arg(&["types", "h"])
            .arg(format!("h:{}", own.name));
        let (version, healed, mark): (Option<u64>, Option<u64>, Option<u64>) =
            self.read(&get).await?;
        let reached = Reached {
            version: version.unwrap_or(0),
            healed: healed.unwrap_or(0),
        };
        Ok((reached, mark))
    }

    /// Returns what was stored; none where a later change was put back before.
    async fn store_type_again(&self, own: &OwnType) -> Result<Option<Noted<OwnType>>, PortError> {
        self.list_org(own.org).await?;
        let keys = self.names.event_types(own.org);
        for _ in 0..TRIES {
            let version = self.begin(Access::Forced, None, own.made).await?.version;
            let mut event_type = own.event_type.clone();
            if let Some(kind) = &mut event_type {
                kind.version = version;
            }
            let record = event_type.as_ref().map(from_event_type).transpose()?;
            let validates = event_type.is_some_and(|kind| kind.validates());
            let call = SCRIPTS
                .heal_type
                .call(&[&keys[0], &keys[1], &keys[2], &keys[3]])
                .arg(version)
                .arg(own.name.as_str())
                .arg(own.made)
                .arg(record.unwrap_or_default())
                .arg(if validates { "1" } else { "" });
            let word: String = self.run(Asked::Write, &call).await?;
            match word.as_str() {
                "done" => {
                    warn!(event_type = %own.name, "Redis has lost an event type's change; it is put back");
                    self.counts.healed.add(1);
                    self.tell_types(Access::Forced, own.org).await?;
                    let stored = version;
                    return Ok(Some(Noted::now(OwnType {
                        stored,
                        ..own.clone()
                    })));
                }
                "newer" => return Ok(None),
                "again" => {}
                word => return Err(unknown_word(word)),
            }
        }
        Err(contended())
    }
}
