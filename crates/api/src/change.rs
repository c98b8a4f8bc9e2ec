//! Changes of the registry. Each is a pure function on a record, applied by compare-and-set: read, change, put back
//! if nobody else was faster, else again. Nobody's change is lost and no lock is held.

use std::future::Future;

use postrider_core::ports::{AppKey, EndpointKey, RegistryError};
use postrider_core::{AppId, Application, Endpoint, EventType, EventTypeName, OrgId};

use crate::error::ApiError;
use crate::schema;
use crate::state::State;

/// After this often the record is contended beyond reason.
const TRIES: usize = 10;

/// What became of an upsert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upserted {
    Created,
    Replaced,
}

/// Why one try did not succeed.
pub(crate) enum Miss {
    /// Somebody else was faster: read again, decide again.
    Again,
    Failed(ApiError),
}

impl From<ApiError> for Miss {
    fn from(error: ApiError) -> Self {
        Self::Failed(error)
    }
}

impl From<postrider_core::ports::PortError> for Miss {
    fn from(error: postrider_core::ports::PortError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<RegistryError> for Miss {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Stale => Self::Again,
            other => Self::Failed(other.into()),
        }
    }
}

/// Repeats `attempt` while it misses.
pub(crate) async fn repeat<T, F>(mut attempt: impl FnMut() -> F) -> Result<T, ApiError>
where
    F: Future<Output = Result<T, Miss>>,
{
    for _ in 0..TRIES {
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(Miss::Failed(error)) => return Err(error),
            Err(Miss::Again) => {}
        }
    }
    Err(RegistryError::Stale.into())
}

impl State {
    /// Stores an application and makes the cache see it.
    pub(crate) async fn put_app(
        &self,
        app: Application,
        expect: Option<u64>,
    ) -> Result<Application, RegistryError> {
        let stored = self.ports.registry.put_application(app, expect).await?;
        self.cache.outdated(stored.id, stored.version);
        Ok(stored)
    }

    pub(crate) async fn change_app(
        &self,
        org: OrgId,
        key: &AppKey,
        change: impl Fn(&mut Application),
    ) -> Result<Application, ApiError> {
        repeat(async || {
            let found = self.ports.registry.application(org, key).await?;
            let mut app = found.ok_or(ApiError::NotFound)?;
            let version = app.version;
            change(&mut app);
            Ok(self.put_app(app, Some(version)).await?)
        })
        .await
    }

    /// Stores an endpoint and makes the cache see it.
    pub(crate) async fn put_endpoint(
        &self,
        app: &Application,
        endpoint: Endpoint,
        expect: Option<u64>,
    ) -> Result<Endpoint, RegistryError> {
        let stored = self.ports.registry.put_endpoint(endpoint, expect).await?;
        self.endpoint_changed(app).await;
        Ok(stored)
    }

    /// The version that an endpoint's change made is the application's, which the registry does not return: ask.
    pub(crate) async fn endpoint_changed(&self, app: &Application) {
        let version = self.app_version(app.org, app.id).await;
        self.cache.outdated(app.id, version.unwrap_or(0));
    }

    /// The application's version as of now, to be read *before* what is changed under it.
    pub(crate) async fn app_version(&self, org: OrgId, app: AppId) -> Result<u64, ApiError> {
        let found = self
            .ports
            .registry
            .application(org, &AppKey::Id(app))
            .await?;
        found.map(|app| app.version).ok_or(ApiError::NotFound)
    }

    pub(crate) async fn endpoint(
        &self,
        app: AppId,
        key: &EndpointKey,
    ) -> Result<Endpoint, ApiError> {
        let found = self.ports.registry.endpoint(app, key).await?;
        found.ok_or(ApiError::NotFound)
    }

    pub(crate) async fn change_endpoint(
        &self,
        app: &Application,
        key: &EndpointKey,
        change: impl Fn(&mut Endpoint) -> Result<(), ApiError>,
    ) -> Result<Endpoint, ApiError> {
        repeat(async || {
            let version = self.app_version(app.org, app.id).await?;
            let mut endpoint = self.endpoint(app.id, key).await?;
            change(&mut endpoint)?;
            Ok(self.put_endpoint(app, endpoint, Some(version)).await?)
        })
        .await
    }

    pub(crate) async fn event_type(
        &self,
        org: OrgId,
        name: &EventTypeName,
    ) -> Result<Option<EventType>, ApiError> {
        Ok(self.ports.registry.event_type(org, name).await?)
    }

    /// `schemas`: where a request has them that changes what payloads are held against.
    pub(crate) async fn change_event_type(
        &self,
        org: OrgId,
        name: &EventTypeName,
        change: impl Fn(&mut EventType),
        schemas: Option<&[&str]>,
    ) -> Result<EventType, ApiError> {
        repeat(async || {
            let mut kind = self
                .event_type(org, name)
                .await?
                .ok_or(ApiError::NotFound)?;
            let version = kind.version;
            change(&mut kind);
            if let Some(schemas) = schemas {
                schema::storable(&kind, schemas).await?;
            }
            Ok(self.put_event_type(kind, Some(version)).await?)
        })
        .await
    }

    /// Stores an event type and makes this process see it.
    pub(crate) async fn put_event_type(
        &self,
        kind: EventType,
        expect: Option<u64>,
    ) -> Result<EventType, RegistryError> {
        let org = kind.org;
        let stored = self.ports.registry.put_event_type(kind, expect).await;
        // Also where it is not known what came of it.
        self.cache.types_changed(org);
        stored
    }
}
