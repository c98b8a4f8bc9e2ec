//! Exporting everything, and putting it back.
//!
//! Putting back goes ahead where the registry counts as lost. All that it stores of one application is decided upon as of
//! one version and stored in one step: so it costs the same whether an application has one endpoint or thousands.

use std::collections::HashMap;
use std::sync::Arc;

use postrider_core::application::{AppSnapshot, Application};
use postrider_core::endpoint::Endpoint;
use postrider_core::event_type::EventType;
use postrider_core::id::{AppId, EndpointId, OrgId};
use postrider_core::name::{EventTypeName, Uid};
use postrider_core::page::{Cursor, Order, Page};
use postrider_core::ports::{ExportCursor, Exported, Imported, PortError, RegistryRecord};

use super::records::{entry, from_app, from_endpoint, to_app, to_app_of_org};
use super::scripts::SCRIPTS;
use super::sight::partly_lost;
use super::store::{Access, Ending, Store, Ticket};
use super::walk::Walk;
use super::writes::{Refusal, TRIES, Word, contended};
use crate::redis::error::Asked;

fn page<K>(cursor: Cursor<K>, limit: usize) -> Page<K> {
    Page {
        cursor,
        limit,
        order: Order::Ascending,
    }
}

impl Store {
    pub(super) async fn export(
        &self,
        from: &ExportCursor,
        limit: usize,
    ) -> Result<Exported, PortError> {
        let limit = limit.max(1);
        let epoch = self.ready().await?;
        let mut portion = Portion {
            store: self,
            epoch: &epoch,
            records: Vec::new(),
            limit,
        };
        portion.fill(from).await?;
        let records = portion.records;
        // A backup of what is being lost would be taken for a whole one.
        if self.look(None, None).await?.epoch != epoch {
            return Err(contended());
        }
        let next = records
            .last()
            .filter(|_| records.len() == limit)
            .map(behind);
        Ok(Exported { records, next })
    }
}

fn behind(record: &RegistryRecord) -> ExportCursor {
    match record {
        RegistryRecord::EventType(kind) => ExportCursor::EventType(kind.org, kind.name.clone()),
        RegistryRecord::Application(app) => ExportCursor::Application(app.id),
        RegistryRecord::Endpoint(endpoint) => ExportCursor::Endpoint(endpoint.app, endpoint.id),
    }
}

struct Portion<'s> {
    store: &'s Store,
    epoch: &'s str,
    records: Vec<RegistryRecord>,
    limit: usize,
}

impl Portion<'_> {
    fn room(&self) -> usize {
        self.limit - self.records.len()
    }

    async fn fill(&mut self, from: &ExportCursor) -> Result<(), PortError> {
        let app = match from {
            ExportCursor::Start => self.orgs(Cursor::Start).await?,
            ExportCursor::EventType(org, name) => {
                self.event_types(*org, Cursor::After(name.clone())).await?;
                self.orgs(Cursor::After(*org)).await?
            }
            ExportCursor::Application(app) => self.endpoints(*app, Cursor::Start).await?,
            ExportCursor::Endpoint(app, endpoint) => {
                self.endpoints(*app, Cursor::After(*endpoint)).await?
            }
        };
        self.apps(app).await
    }

    /// Returns where to go on with applications.
    async fn orgs(&mut self, mut cursor: Cursor<OrgId>) -> Result<Cursor<AppId>, PortError> {
        while self.room() > 0 {
            let next = Walk::new(&page(cursor, 1)).range(self.store.names.orgs(), 1);
            let next: Vec<Vec<u8>> = self.store.read(&next).await?;
            let Some(bytes) = next.first().and_then(|org| org.as_slice().try_into().ok()) else {
                break;
            };
            let org = OrgId::from_bytes(bytes);
            if !self.store.org_is_whole(org, self.epoch).await? {
                return Err(partly_lost(format_args!("{org}")));
            }
            self.event_types(org, Cursor::Start).await?;
            cursor = Cursor::After(org);
        }
        Ok(Cursor::Start)
    }

    async fn event_types(
        &mut self,
        org: OrgId,
        cursor: Cursor<EventTypeName>,
    ) -> Result<(), PortError> {
        if self.room() == 0 {
            return Ok(());
        }
        let page = page(cursor, self.room());
        let found = self.store.event_types(org, true, page).await?.items;
        self.records
            .extend(found.into_iter().map(RegistryRecord::EventType));
        Ok(())
    }

    /// Returns where to go on with applications.
    async fn endpoints(
        &mut self,
        app: AppId,
        cursor: Cursor<EndpointId>,
    ) -> Result<Cursor<AppId>, PortError> {
        if self.room() > 0 {
            let page = page(cursor, self.room());
            let found = self.store.endpoints(app, page).await?.items;
            self.records
                .extend(found.into_iter().map(RegistryRecord::Endpoint));
        }
        Ok(Cursor::After(app))
    }

    async fn apps(&mut self, mut cursor: Cursor<AppId>) -> Result<(), PortError> {
        while self.room() > 0 {
            let next = Walk::new(&page(cursor, 1)).range(self.store.names.apps(), 1);
            let next: Vec<Vec<u8>> = self.store.read(&next).await?;
            let Some(next) = next.first() else { break };
            let (app, _) = to_app_of_org(next)?;
            cursor = Cursor::After(app);
            if let Some(found) = self.store.app(app).await? {
                self.records.push(RegistryRecord::Application(found));
                self.endpoints(app, Cursor::Start).await?;
            }
        }
        Ok(())
    }
}

/// What is to be put back of one application.
#[derive(Debug, Default, Clone)]
pub(super) struct Back {
    pub(super) app: Option<Application>,
    pub(super) endpoints: Vec<Endpoint>,
}

impl Back {
    /// A version that must not come again.
    fn floor(&self) -> u64 {
        let app = self.app.as_ref().map_or(0, |app| app.version);
        let endpoints = self
            .endpoints
            .iter()
            .map(|endpoint| endpoint.created_version);
        endpoints.max().unwrap_or(0).max(app)
    }
}

/// What is stored of it, given what is there.
#[derive(Debug, Default)]
struct Plan {
    app: Option<Application>,
    endpoints: Vec<Endpoint>,
    imported: Imported,
}

impl Plan {
    fn new(there: Option<&AppSnapshot>, back: &Back) -> Self {
        let mut plan = Self::default();
        if let Some(app) = &back.app {
            plan.take_app(there, app);
        }
        if there.is_none() && plan.app.is_none() {
            plan.imported.orphans += back.endpoints.len();
            return plan;
        }
        let mut uids = Uids::of(there);
        for endpoint in &back.endpoints {
            plan.take_endpoint(there, endpoint, &mut uids);
        }
        plan
    }

    fn take_app(&mut self, there: Option<&AppSnapshot>, app: &Application) {
        let stays =
            |there: &AppSnapshot| there.app.org != app.org || there.app.updated_at > app.updated_at;
        if there.is_some_and(stays) {
            self.imported.kept += 1;
        } else {
            self.imported.stored += 1;
            self.app = Some(app.clone());
        }
    }

    fn take_endpoint(&mut self, there: Option<&AppSnapshot>, endpoint: &Endpoint, uids: &mut Uids) {
        let there = there.and_then(|there| there.endpoint(endpoint.id));
        if there.is_some_and(|there| there.updated_at > endpoint.updated_at) {
            self.imported.kept += 1;
            return;
        }
        let mut endpoint = endpoint.clone();
        let former = there.and_then(|there| there.uid.as_ref());
        if !uids.give(&mut endpoint, former) {
            self.imported.without_uid += 1;
        }
        self.imported.stored += 1;
        self.endpoints.push(endpoint);
    }
}

/// Whose uids are whose within an application.
#[derive(Debug)]
pub(super) struct Uids(HashMap<Uid, EndpointId>);

impl Uids {
    pub(super) fn of(there: Option<&AppSnapshot>) -> Self {
        let endpoints = there.map_or(&[][..], |there| &there.endpoints);
        let named = |endpoint: &Arc<Endpoint>| Some((endpoint.uid.clone()?, endpoint.id));
        Self(endpoints.iter().filter_map(named).collect())
    }

    /// Takes the endpoint's uid from it where another one has it: `false`. What it was called before is free.
    pub(super) fn give(&mut self, endpoint: &mut Endpoint, former: Option<&Uid>) -> bool {
        let mut given = true;
        if let Some(uid) = &endpoint.uid
            && *self.0.entry(uid.clone()).or_insert(endpoint.id) != endpoint.id
        {
            endpoint.uid = None;
            given = false;
        }
        if former != endpoint.uid.as_ref() {
            self.free(former);
        }
        given
    }

    pub(super) fn free(&mut self, uid: Option<&Uid>) {
        if let Some(uid) = uid {
            self.0.remove(uid);
        }
    }
}

impl Store {
    pub(super) async fn import(&self, records: Vec<RegistryRecord>) -> Result<Imported, PortError> {
        let mut imported = Imported::default();
        let mut order = Vec::new();
        let mut backs: HashMap<AppId, Back> = HashMap::new();
        for record in records {
            let (app, endpoint) = match record {
                RegistryRecord::EventType(kind) => {
                    imported += self.put_back_type(&kind).await?;
                    continue;
                }
                RegistryRecord::Application(app) => (app.id, Err(app)),
                RegistryRecord::Endpoint(endpoint) => (endpoint.app, Ok(endpoint)),
            };
            let back = backs.entry(app).or_insert_with(|| {
                order.push(app);
                Back::default()
            });
            match endpoint {
                Ok(endpoint) => back.endpoints.push(endpoint),
                Err(app) => back.app = Some(app),
            }
        }
        for app in order {
            let back = backs.remove(&app).unwrap_or_default();
            imported += self.put_back(app, &back).await?;
        }
        Ok(imported)
    }

    /// Puts back what is not there, or is older than that.
    pub(super) async fn put_back(&self, app: AppId, back: &Back) -> Result<Imported, PortError> {
        for _ in 0..TRIES {
            let there = self.remains(app).await?;
            let plan = Plan::new(there.as_ref(), back);
            if plan.app.is_none() && plan.endpoints.is_empty() {
                return Ok(plan.imported);
            }
            if let Some(imported) = self.carry_out(app, back.floor(), there, plan).await? {
                return Ok(imported);
            }
        }
        Err(contended())
    }

    /// `None` where the application has changed since it was looked at.
    async fn carry_out(
        &self,
        app: AppId,
        floor: u64,
        there: Option<AppSnapshot>,
        mut plan: Plan,
    ) -> Result<Option<Imported>, PortError> {
        let ticket = self.begin(Access::Forced, Some(app), floor).await?;
        let Some(org) = plan.app.as_ref().or(there.as_ref().map(|there| &there.app)) else {
            return Ok(None);
        };
        let org = org.org;
        if let Some(app) = &mut plan.app {
            app.version = ticket.version;
            self.take_place(app, &mut plan.imported).await?;
        }
        let stands = there.map(|there| there.version());
        let (word, before) = self.store_back(app, &ticket, stands, &plan).await?;
        if word != "done" {
            if let Some(refused) = &plan.app {
                let listed = entry(app, ticket.version);
                self.unclaim(refused, ticket.version, Some(&listed)).await;
            }
            self.abandon(app, &ticket).await;
            return Ok(None);
        }
        if let Some(stored) = &plan.app {
            let before = before.and_then(|before| to_app(0, &before).ok());
            self.release_former_uid(before.as_ref(), stored).await;
            let older = Some((entry(app, 0), entry(app, ticket.version - 1)));
            self.release(org, app, None, 0, older).await;
        }
        let ending = Ending::Stored(org, ticket.version);
        self.finish(app, &ticket, ending).await?;
        Ok(Some(plan.imported))
    }

    /// Lists the application, and claims its uid, which stays with whoever has it by now.
    pub(super) async fn take_place(
        &self,
        app: &mut Application,
        imported: &mut Imported,
    ) -> Result<(), PortError> {
        let listed = entry(app.id, app.version);
        let claim = self.claim(Access::Forced, app, app.version, &listed);
        if claim.await? {
            return Ok(());
        }
        app.uid = None;
        imported.without_uid += 1;
        let claim = self.claim(Access::Forced, app, app.version, &listed);
        claim.await.map(drop)
    }

    async fn store_back(
        &self,
        app: AppId,
        ticket: &Ticket,
        stands: Option<u64>,
        plan: &Plan,
    ) -> Result<Word, PortError> {
        let keys = self.names.app(app);
        let record = plan.app.as_ref().map(from_app).transpose()?;
        let mut call = SCRIPTS
            .put_back
            .call(&[&keys[0], &keys[1]])
            .arg(ticket.version)
            .arg(stands.map_or_else(String::new, |version| version.to_string()))
            .arg(record.unwrap_or_default());
        for endpoint in &plan.endpoints {
            call = call
                .arg(endpoint.id.as_bytes().as_slice())
                .arg(from_endpoint(endpoint)?);
        }
        self.run(Asked::Write, &call).await
    }

    /// Gives the application a higher version where it has not reached `version`. Whether it did.
    pub(super) async fn lift(&self, app: AppId, version: u64) -> Result<bool, PortError> {
        for _ in 0..TRIES {
            let mut get = redis::cmd("HGET");
            get.arg(&self.names.app(app)[0]).arg("v");
            let stands: Option<u64> = self.read(&get).await?;
            if stands.is_none_or(|stands| stands >= version) {
                return Ok(false);
            }
            let ticket = self.begin(Access::Forced, Some(app), version).await?;
            let nothing = Plan::default();
            let (word, _) = self.store_back(app, &ticket, stands, &nothing).await?;
            if word == "done" {
                let ending = Ending::Touched(ticket.version);
                self.finish(app, &ticket, ending).await?;
                return Ok(true);
            }
            self.abandon(app, &ticket).await;
        }
        Err(contended())
    }

    pub(super) async fn put_back_type(&self, kind: &EventType) -> Result<Imported, PortError> {
        for _ in 0..TRIES {
            let there = self.stored_type(kind.org, &kind.name).await?;
            if there
                .as_ref()
                .is_some_and(|there| there.updated_at > kind.updated_at)
            {
                return Ok(Imported {
                    kept: 1,
                    ..Imported::default()
                });
            }
            let stands = there.map(|there| there.version);
            let put = self.store_type(Access::Forced, kind, stands, kind.version);
            match put.await? {
                Ok(_) => {
                    self.list_org(kind.org).await?;
                    return Ok(Imported {
                        stored: 1,
                        ..Imported::default()
                    });
                }
                Err(Refusal::Stale | Refusal::Exists) => {}
                Err(_) => break,
            }
        }
        Err(contended())
    }
}
