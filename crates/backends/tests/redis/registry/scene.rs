//! An installation with something in it, and somebody who does things to it behind its back.

use std::sync::Arc;
use std::time::Duration;

use postrider_backends::redis::RedisRegistry;
use postrider_core::application::Application;
use postrider_core::endpoint::Endpoint;
use postrider_core::event_type::EventType;
use postrider_core::id::{AppId, EndpointId, OrgId};
use postrider_core::name::{EventTypeName, Uid};
use postrider_core::page::{Cursor, Order, Page};
use postrider_core::ports::{
    AppKey, ChangeCursor, Changes, EndpointKey, ExportCursor, PortError, Probe, Registry,
    RegistryError, RegistryRecord,
};
use postrider_core::samples;
use tokio::time::{sleep, timeout};

use super::installation::Installation;
use super::raw::Raw;
use crate::support::Kind;

/// How long a case waits for something that is promised.
const PATIENCE: Duration = Duration::from_secs(40);
const POLL: Duration = Duration::from_millis(1);

pub(super) struct Scene {
    pub(super) installation: Installation,
    pub(super) registry: Arc<RedisRegistry>,
    pub(super) raw: Raw,
    pub(super) org: OrgId,
}

pub(super) fn uid(text: &str) -> Uid {
    Uid::new(text).unwrap()
}

pub(super) fn new_app() -> AppId {
    AppId::new(samples::NOW, rand::random())
}

pub(super) fn new_endpoint(app: AppId) -> Endpoint {
    let id = EndpointId::new(samples::NOW, rand::random());
    samples::endpoint_of(app, id)
}

pub(super) fn event_type(org: OrgId, name: &str) -> EventType {
    EventType {
        org,
        name: EventTypeName::new(name).unwrap(),
        description: String::new(),
        archived: false,
        deprecated: false,
        schemas: None,
        validate_payload: false,
        feature_flags: Vec::new(),
        group_name: None,
        created_at: samples::NOW,
        updated_at: samples::NOW,
        version: 0,
    }
}

pub(super) fn all<K>() -> Page<K> {
    Page {
        cursor: Cursor::Start,
        limit: 100,
        order: Order::Ascending,
    }
}

impl Scene {
    pub(super) async fn open(kind: Kind) -> Self {
        let installation = Installation::new(kind);
        let registry = Arc::new(installation.connect());
        assert!(registry.found().await.unwrap());
        Self {
            raw: Raw::connect(&installation.place).await,
            org: OrgId::new(samples::NOW, rand::random()),
            registry,
            installation,
        }
    }

    pub(super) fn connect(&self) -> Arc<RedisRegistry> {
        Arc::new(self.installation.connect())
    }

    pub(super) fn application(&self, name: Option<&str>) -> Application {
        Application {
            uid: name.map(uid),
            ..samples::application(self.org, new_app())
        }
    }

    pub(super) async fn create_app(&self, name: Option<&str>) -> Application {
        let app = self.application(name);
        self.registry.put_application(app, None).await.unwrap()
    }

    pub(super) async fn create_endpoint(&self, app: AppId) -> Endpoint {
        let endpoint = new_endpoint(app);
        self.registry.put_endpoint(endpoint, None).await.unwrap()
    }

    pub(super) async fn app(&self, id: AppId) -> Option<Application> {
        let key = AppKey::Id(id);
        self.registry.application(self.org, &key).await.unwrap()
    }

    pub(super) async fn by_uid(&self, name: &str) -> Option<AppId> {
        let key = AppKey::Uid(uid(name));
        let found = self.registry.application(self.org, &key).await.unwrap();
        found.map(|app| app.id)
    }

    pub(super) async fn export(&self) -> Vec<RegistryRecord> {
        let mut records = Vec::new();
        let mut from = Some(ExportCursor::Start);
        while let Some(cursor) = from {
            let portion = self.registry.export(&cursor, 1_000).await.unwrap();
            records.extend(portion.records);
            from = portion.next;
        }
        records
    }
}

/// Awaits what is promised.
pub(super) async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    let done = timeout(PATIENCE, work).await;
    done.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

/// Looks again and again until it is so.
pub(super) async fn until(what: &str, mut look: impl AsyncFnMut() -> bool) {
    soon(what, async {
        while !look().await {
            sleep(POLL).await;
        }
    })
    .await;
}

/// Waits until a change of `app` to at least `version` is told. Whether it was told by name.
pub(super) async fn told(
    registry: &RedisRegistry,
    mut since: ChangeCursor,
    app: AppId,
    version: u64,
) -> bool {
    soon("a change to be told", async {
        loop {
            let Changes { cursor, apps, .. } = registry.changed(since).await.unwrap();
            since = cursor;
            let Some(apps) = apps else { return false };
            if apps
                .iter()
                .any(|(id, reached)| *id == app && *reached >= version)
            {
                return true;
            }
        }
    })
    .await
}

#[expect(
    clippy::print_stderr,
    reason = "part of the report of a test that fails"
)]
pub(super) fn is_unavailable<T: std::fmt::Debug>(answer: Result<T, PortError>) -> bool {
    match answer {
        Err(PortError::Unavailable { part, .. }) => part == "registry",
        other => {
            eprintln!("expected Unavailable: {other:?}");
            false
        }
    }
}

/// Of an error that must not be a refusal.
pub(super) fn port_error(error: RegistryError) -> PortError {
    match error {
        RegistryError::Port(error) => error,
        other => panic!("expected Unavailable: {other}"),
    }
}

/// What every method answers, by its name: whether it is that the registry is unavailable.
pub(super) async fn refusals(
    registry: &RedisRegistry,
    app: &Application,
    endpoint: &Endpoint,
    event_type: &EventType,
) -> Vec<(&'static str, bool)> {
    fn written<T: std::fmt::Debug>(answer: Result<T, RegistryError>) -> bool {
        is_unavailable(answer.map_err(port_error))
    }
    let (org, id) = (app.org, app.id);
    let name = &event_type.name;
    let [by_id, by_uid] = [AppKey::Id(id), AppKey::Uid(uid("acme"))];
    let [its_id, its_uid] = [EndpointKey::Id(endpoint.id), EndpointKey::Uid(uid("acme"))];
    let nowhere = ExportCursor::Start;
    let (next_app, next) = (Some(app.version), Some(event_type.version));
    vec![
        (
            "application",
            is_unavailable(registry.application(org, &by_id).await),
        ),
        (
            "by uid",
            is_unavailable(registry.application(org, &by_uid).await),
        ),
        (
            "applications",
            is_unavailable(registry.applications(org, all()).await),
        ),
        (
            "create",
            written(registry.put_application(app.clone(), None).await),
        ),
        (
            "replace",
            written(registry.put_application(app.clone(), next_app).await),
        ),
        (
            "delete",
            is_unavailable(registry.delete_application(org, id).await),
        ),
        ("snapshot", is_unavailable(registry.snapshot(id).await)),
        (
            "endpoint",
            is_unavailable(registry.endpoint(id, &its_id).await),
        ),
        (
            "endpoint by uid",
            is_unavailable(registry.endpoint(id, &its_uid).await),
        ),
        (
            "endpoints",
            is_unavailable(registry.endpoints(id, all()).await),
        ),
        (
            "create endpoint",
            written(registry.put_endpoint(endpoint.clone(), None).await),
        ),
        (
            "replace endpoint",
            written(registry.put_endpoint(endpoint.clone(), next_app).await),
        ),
        (
            "delete endpoint",
            is_unavailable(registry.delete_endpoint(id, endpoint.id).await),
        ),
        (
            "event type",
            is_unavailable(registry.event_type(org, name).await),
        ),
        (
            "event types",
            is_unavailable(registry.event_types(org, true, all()).await),
        ),
        (
            "create type",
            written(registry.put_event_type(event_type.clone(), None).await),
        ),
        (
            "replace type",
            written(registry.put_event_type(event_type.clone(), next).await),
        ),
        (
            "delete type",
            is_unavailable(registry.delete_event_type(org, name).await),
        ),
        ("cursor", is_unavailable(registry.cursor().await)),
        (
            "changed",
            is_unavailable(registry.changed(ChangeCursor(u64::MAX)).await),
        ),
        (
            "export",
            is_unavailable(registry.export(&nowhere, 10).await),
        ),
        ("probe", is_unavailable(registry.probe().await)),
    ]
}

pub(super) async fn assert_unavailable(
    registry: &RedisRegistry,
    app: &Application,
    endpoint: &Endpoint,
    event_type: &EventType,
) {
    for (method, refused) in refusals(registry, app, endpoint, event_type).await {
        assert!(refused, "{method} answers as if everything were there");
    }
}
