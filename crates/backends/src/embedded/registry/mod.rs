//! Applications, endpoints and event types in the file; notices of change in memory.
//!
//! One counter, kept in the file, gives out all versions. So an application's version never goes back, not
//! even when it is deleted and made anew, and the order of versions is the order of changes. Whoever keeps a
//! cache starts empty with its process, so the stream of changes need not survive this one: it is a ring of the
//! latest, and whoever fell behind it is told to read everything again.

mod changes;
mod rows;
mod transfer;

use std::sync::Arc;

use async_trait::async_trait;
use postrider_core::application::{AppSnapshot, Application};
use postrider_core::endpoint::Endpoint;
use postrider_core::event_type::EventType;
use postrider_core::id::{AppId, EndpointId, OrgId};
use postrider_core::name::EventTypeName;
use postrider_core::page::{Page, Slice};
use postrider_core::ports::{
    AppKey, ChangeCursor, Changes, EndpointKey, ExportCursor, Exported, Imported, PortError, Probe,
    Registry, RegistryError, RegistryRecord, ValidatingTypes,
};
use rusqlite::Connection;

use self::changes::{ChangeRing, Subject};
use super::engine::Engine;
use super::error::StoreError;
use super::paging::Walk;

pub(super) use self::rows::{app_version, bump, version};

#[derive(Debug)]
pub(super) struct EmbeddedRegistry {
    engine: Arc<Engine>,
    changes: Arc<ChangeRing>,
}

impl EmbeddedRegistry {
    /// `version` is where the counter stands.
    pub(super) fn new(engine: Arc<Engine>, version: u64) -> Self {
        Self {
            engine,
            changes: Arc::new(ChangeRing::new(version)),
        }
    }

    /// Runs `work` in a transaction; what it changed is told before the caller hears of it.
    async fn change<T, W>(&self, work: W) -> Result<T, PortError>
    where
        T: Send + 'static,
        W: FnMut(&Connection) -> Result<Changed<T>, StoreError> + Send + 'static,
    {
        let changes = Arc::clone(&self.changes);
        let effect = move |changed: Changed<T>| {
            if let Some((subject, version)) = changed.told {
                changes.push(subject, version);
            }
            changed.result
        };
        self.engine.writer.write_then(work, effect).await
    }

    /// Like `change`, for work that does not tell which applications it changes.
    async fn change_anything<T, W>(&self, mut work: W) -> Result<T, PortError>
    where
        T: Send + 'static,
        W: FnMut(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let changes = Arc::clone(&self.changes);
        let versioned = move |connection: &Connection| Ok((work(connection)?, bump(connection)?));
        let effect = move |(result, version)| {
            changes.cut(version);
            result
        };
        self.engine.writer.write_then(versioned, effect).await
    }

    async fn read<T, W>(&self, work: W) -> Result<T, PortError>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.engine.readers.read(work).await
    }
}

/// The result of a change, and what has got which version by it.
#[derive(Debug)]
struct Changed<T> {
    told: Option<(Subject, u64)>,
    result: T,
}

impl<T> Changed<T> {
    fn nothing(result: T) -> Self {
        Self { told: None, result }
    }

    fn app(app: AppId, version: u64, result: T) -> Self {
        Self {
            told: Some((Subject::App(app), version)),
            result,
        }
    }

    fn types(org: OrgId, version: u64, result: T) -> Self {
        Self {
            told: Some((Subject::Types(org), version)),
            result,
        }
    }
}

/// Why a record was not taken, decided before anything was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
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

#[async_trait]
impl Registry for EmbeddedRegistry {
    async fn application(
        &self,
        org: OrgId,
        key: &AppKey,
    ) -> Result<Option<Application>, PortError> {
        let key = key.clone();
        self.read(move |connection| rows::application(connection, org, &key))
            .await
    }

    async fn applications(
        &self,
        org: OrgId,
        page: Page<AppId>,
    ) -> Result<Slice<Application>, PortError> {
        let walk = Walk::new(&page);
        self.read(move |connection| rows::applications(connection, org, &walk))
            .await
    }

    async fn put_application(
        &self,
        app: Application,
        expect: Option<u64>,
    ) -> Result<Application, RegistryError> {
        let put = self.change(move |connection| rows::put_application(connection, &app, expect));
        Ok(put.await??)
    }

    async fn delete_application(&self, org: OrgId, app: AppId) -> Result<bool, PortError> {
        self.change(move |connection| rows::delete_application(connection, org, app))
            .await
    }

    async fn snapshot(&self, app: AppId) -> Result<Option<AppSnapshot>, PortError> {
        self.read(move |connection| rows::snapshot(connection, app))
            .await
    }

    async fn endpoint(&self, app: AppId, key: &EndpointKey) -> Result<Option<Endpoint>, PortError> {
        let key = key.clone();
        self.read(move |connection| rows::endpoint(connection, app, &key))
            .await
    }

    async fn endpoints(
        &self,
        app: AppId,
        page: Page<EndpointId>,
    ) -> Result<Slice<Endpoint>, PortError> {
        let walk = Walk::new(&page);
        self.read(move |connection| rows::endpoints(connection, app, &walk))
            .await
    }

    async fn put_endpoint(
        &self,
        endpoint: Endpoint,
        expect: Option<u64>,
    ) -> Result<Endpoint, RegistryError> {
        let put = self.change(move |connection| rows::put_endpoint(connection, &endpoint, expect));
        Ok(put.await??)
    }

    async fn delete_endpoint(&self, app: AppId, endpoint: EndpointId) -> Result<bool, PortError> {
        self.change(move |connection| rows::delete_endpoint(connection, app, endpoint))
            .await
    }

    async fn event_type(
        &self,
        org: OrgId,
        name: &EventTypeName,
    ) -> Result<Option<EventType>, PortError> {
        let name = name.clone();
        self.read(move |connection| rows::event_type(connection, org, &name))
            .await
    }

    async fn event_types(
        &self,
        org: OrgId,
        include_archived: bool,
        page: Page<EventTypeName>,
    ) -> Result<Slice<EventType>, PortError> {
        let walk = Walk::new(&page);
        self.read(move |connection| rows::event_types(connection, org, include_archived, &walk))
            .await
    }

    async fn put_event_type(
        &self,
        event_type: EventType,
        expect: Option<u64>,
    ) -> Result<EventType, RegistryError> {
        let put =
            self.change(move |connection| rows::put_event_type(connection, &event_type, expect));
        Ok(put.await??)
    }

    async fn delete_event_type(&self, org: OrgId, name: &EventTypeName) -> Result<bool, PortError> {
        let name = name.clone();
        self.change(move |connection| rows::delete_event_type(connection, org, &name))
            .await
    }

    async fn validating_types(&self, org: OrgId) -> Result<ValidatingTypes, PortError> {
        self.read(move |connection| rows::validating_types(connection, org))
            .await
    }

    async fn cursor(&self) -> Result<ChangeCursor, PortError> {
        Ok(ChangeCursor(self.changes.latest()))
    }

    async fn changed(&self, since: ChangeCursor) -> Result<Changes, PortError> {
        Ok(self.changes.after(since).await)
    }

    async fn export(&self, from: &ExportCursor, limit: usize) -> Result<Exported, PortError> {
        let from = from.clone();
        self.read(move |connection| transfer::export(connection, &from, limit))
            .await
    }

    async fn import(&self, records: Vec<RegistryRecord>) -> Result<Imported, PortError> {
        self.change_anything(move |connection| transfer::import(connection, &records))
            .await
    }

    /// The file is whole or cannot be opened, so there is nothing to declare but that anything may have changed.
    async fn declare_complete(&self) -> Result<(), PortError> {
        self.change_anything(|_| Ok(())).await
    }
}

#[async_trait]
impl Probe for EmbeddedRegistry {
    async fn probe(&self) -> Result<(), PortError> {
        self.engine.probe().await
    }
}
