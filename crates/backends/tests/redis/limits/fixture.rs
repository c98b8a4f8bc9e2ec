//! An installation whose limits are on Redis, beside a registry that tells Redis its versions.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use postrider_backends::embedded::{Embedded, Options};
use postrider_backends::redis::RedisLimits;
use postrider_core::conformance::Fixture;
use postrider_core::id::{AppId, EndpointId, OrgId};
use postrider_core::name::EventTypeName;
use postrider_core::page::{Page, Slice};
use postrider_core::ports::{
    AppKey, ChangeCursor, Changes, EndpointKey, PortError, Ports, Probe, Registry, RegistryError,
};
use postrider_core::time::Timestamp;
use postrider_core::{AppSnapshot, Application, Endpoint, EventType};
use tempfile::TempDir;

use crate::support::{Kind, Place, wall_clock};

pub(super) struct Installation {
    place: Place,
    dir: TempDir,
    living: Mutex<Option<Embedded>>,
}

impl Installation {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            place: Place::new(kind),
            dir: tempfile::tempdir().unwrap(),
            living: Mutex::new(None),
        }
    }

    fn with_limits(&self, ports: Ports) -> Ports {
        let told = Told {
            registry: ports.registry,
            place: self.place.clone(),
        };
        Ports {
            registry: Arc::new(told),
            limits: Arc::new(RedisLimits::new(self.place.server())),
            ..ports
        }
    }
}

#[async_trait]
impl Fixture for Installation {
    async fn open(&self) -> Ports {
        let embedded = Embedded::open(self.dir.path(), Options::small()).unwrap();
        let ports = embedded.ports();
        *self.living.lock() = Some(embedded);
        self.with_limits(ports)
    }

    async fn crash(&self, ports: Ports) -> Ports {
        drop(ports);
        let dying = self.living.lock().take();
        dying.unwrap().abandon().await;
        self.open().await
    }

    async fn join(&self) -> Option<Ports> {
        let ports = self.living.lock().as_ref().unwrap().ports();
        Some(self.with_limits(ports))
    }

    fn now(&self) -> Timestamp {
        wall_clock()
    }

    async fn elapse(&self, now: Timestamp, by: Duration) -> Timestamp {
        let end = now + by;
        loop {
            let now = wall_clock();
            if now >= end {
                return now;
            }
            tokio::time::sleep(end.since(now)).await;
        }
    }

    fn clock_stands_still(&self) -> bool {
        false
    }
}

/// A registry whose versions stand where the one on Redis keeps them.
struct Told {
    registry: Arc<dyn Registry>,
    place: Place,
}

impl Told {
    async fn tell(&self, app: AppId) {
        let hex: String = app.as_bytes().iter().map(|b| format!("{b:02x}")).collect();
        let key = format!("pr1:{}:{{a{hex}}}r", self.place.space);
        let version = self.registry.snapshot(app).await.unwrap();
        let mut command = match version {
            None => redis::cmd("DEL"),
            Some(_) => redis::cmd("HSET"),
        };
        command.arg(key);
        if let Some(snapshot) = version {
            command.arg("v").arg(snapshot.app.version);
        }
        self.place.ask(command).await;
    }
}

#[async_trait]
impl Probe for Told {
    async fn probe(&self) -> Result<(), PortError> {
        self.registry.probe().await
    }
}

#[async_trait]
impl Registry for Told {
    async fn application(
        &self,
        org: OrgId,
        key: &AppKey,
    ) -> Result<Option<Application>, PortError> {
        self.registry.application(org, key).await
    }

    async fn applications(
        &self,
        org: OrgId,
        page: Page<AppId>,
    ) -> Result<Slice<Application>, PortError> {
        self.registry.applications(org, page).await
    }

    async fn put_application(
        &self,
        app: Application,
        expect: Option<u64>,
    ) -> Result<Application, RegistryError> {
        let app = self.registry.put_application(app, expect).await?;
        self.tell(app.id).await;
        Ok(app)
    }

    async fn delete_application(&self, org: OrgId, app: AppId) -> Result<bool, PortError> {
        let deleted = self.registry.delete_application(org, app).await?;
        self.tell(app).await;
        Ok(deleted)
    }

    async fn snapshot(&self, app: AppId) -> Result<Option<AppSnapshot>, PortError> {
        self.registry.snapshot(app).await
    }

    async fn endpoint(&self, app: AppId, key: &EndpointKey) -> Result<Option<Endpoint>, PortError> {
        self.registry.endpoint(app, key).await
    }

    async fn endpoints(
        &self,
        app: AppId,
        page: Page<EndpointId>,
    ) -> Result<Slice<Endpoint>, PortError> {
        self.registry.endpoints(app, page).await
    }

    async fn put_endpoint(
        &self,
        endpoint: Endpoint,
        expect: Option<u64>,
    ) -> Result<Endpoint, RegistryError> {
        let endpoint = self.registry.put_endpoint(endpoint, expect).await?;
        self.tell(endpoint.app).await;
        Ok(endpoint)
    }

    async fn delete_endpoint(&self, app: AppId, endpoint: EndpointId) -> Result<bool, PortError> {
        let deleted = self.registry.delete_endpoint(app, endpoint).await?;
        self.tell(app).await;
        Ok(deleted)
    }

    async fn event_type(
        &self,
        org: OrgId,
        name: &EventTypeName,
    ) -> Result<Option<EventType>, PortError> {
        self.registry.event_type(org, name).await
    }

    async fn event_types(
        &self,
        org: OrgId,
        include_archived: bool,
        page: Page<EventTypeName>,
    ) -> Result<Slice<EventType>, PortError> {
        self.registry.event_types(org, include_archived, page).await
    }

    async fn put_event_type(
        &self,
        event_type: EventType,
        expect: Option<u64>,
    ) -> Result<EventType, RegistryError> {
        self.registry.put_event_type(event_type, expect).await
    }

    async fn delete_event_type(&self, org: OrgId, name: &EventTypeName) -> Result<bool, PortError> {
        self.registry.delete_event_type(org, name).await
    }

    async fn cursor(&self) -> Result<ChangeCursor, PortError> {
        self.registry.cursor().await
    }

    async fn changed(&self, since: ChangeCursor) -> Result<Changes, PortError> {
        self.registry.changed(since).await
    }
}
