//! Records to store, and the calls that every case makes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::application::Application;
use crate::conformance::paging;
use crate::conformance::stage::Stage;
use crate::endpoint::{Endpoint, EndpointSecret};
use crate::event_type::EventType;
use crate::id::{AppId, EndpointId, OrgId};
use crate::name::{Channel, EventTypeName, Uid};
use crate::ports::{AppKey, EndpointKey, Registry};
use crate::samples;
use crate::secret::SecretText;

pub(super) fn uid(text: &str) -> Uid {
    Uid::new(text).expect("a valid uid")
}

pub(super) fn type_name(text: &str) -> EventTypeName {
    EventTypeName::new(text).expect("a valid event type")
}

impl Stage<'_> {
    pub(super) fn registry(&self) -> Arc<dyn Registry> {
        Arc::clone(&self.ports.registry)
    }

    pub(super) fn an_org(&mut self) -> OrgId {
        let now = self.now();
        self.chance.org(now)
    }

    /// An application that is not stored yet.
    pub(super) fn an_app(&mut self, org: OrgId) -> Application {
        let now = self.now();
        samples::application(org, self.chance.app(now))
    }

    /// An endpoint that is not stored yet.
    pub(super) fn an_endpoint(&mut self, app: AppId) -> Endpoint {
        let now = self.now();
        samples::endpoint_of(app, self.chance.endpoint(now))
    }

    /// An endpoint with something in every field, not stored yet.
    pub(super) fn a_full_endpoint(&mut self, app: AppId) -> Endpoint {
        let now = self.now();
        Endpoint {
            uid: Some(uid("primary_1.a-b")),
            url: "https://hooks.example.org:8443/in?tenant=a%20b#x".to_owned(),
            description: "Buchhaltung \u{1f4b6} \"quoted\"\n".to_owned(),
            event_types: Some(vec![type_name("order.paid"), type_name("build.failed")]),
            channels: Some(vec![Channel::new("eu").unwrap()]),
            metadata: BTreeMap::from([("owner".to_owned(), "a\u{0}b".to_owned())]),
            headers: BTreeMap::from([(
                "authorization".to_owned(),
                SecretText::new("Bearer 1".to_owned()),
            )]),
            throttle_rate: Some(u16::MAX),
            secrets: vec![
                EndpointSecret {
                    key: SecretText::new("whsec_old".to_owned()),
                    expires_at: Some(now),
                },
                EndpointSecret {
                    key: SecretText::new("whsk_new".to_owned()),
                    expires_at: None,
                },
            ],
            era: 7,
            disabled: true,
            ..self.an_endpoint(app)
        }
    }

    /// An event type that is not stored yet.
    pub(super) fn an_event_type(&mut self, org: OrgId, name: &str) -> EventType {
        let now = self.now();
        EventType {
            org,
            name: type_name(name),
            description: "An order was paid.".to_owned(),
            archived: false,
            deprecated: false,
            schemas: None,
            validate_payload: false,
            feature_flags: Vec::new(),
            group_name: None,
            created_at: now,
            updated_at: now,
            version: 0,
        }
    }

    pub(super) async fn create_app(&mut self, org: OrgId, uid: Option<&str>) -> Application {
        let mut app = self.an_app(org);
        app.uid = uid.map(self::uid);
        let created = self.ports.registry.put_application(app, None).await;
        created.expect("an application that is new can be created")
    }

    pub(super) async fn replace_app(&self, app: &Application) -> Application {
        let replaced = self
            .ports
            .registry
            .put_application(app.clone(), Some(app.version));
        replaced
            .await
            .expect("the version is the one that was read")
    }

    /// Changes something about an application that exists. Returns what it has become.
    pub(super) async fn touch_app(&self, app: &Application) -> Application {
        let mut current = self.app(app.org, app.id).await.expect("it exists");
        let touched = current.metadata.len();
        current
            .metadata
            .insert(touched.to_string(), "touched".to_owned());
        self.replace_app(&current).await
    }

    pub(super) async fn app(&self, org: OrgId, id: AppId) -> Option<Application> {
        let found = self.ports.registry.application(org, &AppKey::Id(id)).await;
        found.expect("applications can be read")
    }

    pub(super) async fn app_by_uid(&self, org: OrgId, text: &str) -> Option<Application> {
        let key = AppKey::Uid(uid(text));
        let found = self.ports.registry.application(org, &key).await;
        found.expect("applications can be read")
    }

    pub(super) async fn delete_app(&self, app: &Application) -> bool {
        let deleted = self
            .ports
            .registry
            .delete_application(app.org, app.id)
            .await;
        deleted.expect("applications can be deleted")
    }

    pub(super) async fn apps(&self, org: OrgId) -> Vec<Application> {
        let slice = self.ports.registry.applications(org, paging::all()).await;
        slice.expect("applications can be listed").items
    }

    pub(super) async fn create_endpoint(&mut self, app: AppId) -> Endpoint {
        let endpoint = self.an_endpoint(app);
        self.put_new_endpoint(endpoint).await
    }

    pub(super) async fn put_new_endpoint(&mut self, endpoint: Endpoint) -> Endpoint {
        let created = self.ports.registry.put_endpoint(endpoint, None).await;
        created.expect("an endpoint that is new can be created")
    }

    pub(super) async fn endpoint(&self, app: AppId, id: EndpointId) -> Option<Endpoint> {
        let found = self
            .ports
            .registry
            .endpoint(app, &EndpointKey::Id(id))
            .await;
        found.expect("endpoints can be read")
    }

    pub(super) async fn endpoint_by_uid(&self, app: AppId, text: &str) -> Option<Endpoint> {
        let key = EndpointKey::Uid(uid(text));
        let found = self.ports.registry.endpoint(app, &key).await;
        found.expect("endpoints can be read")
    }

    pub(super) async fn delete_endpoint(&self, app: AppId, id: EndpointId) -> bool {
        let deleted = self.ports.registry.delete_endpoint(app, id).await;
        deleted.expect("endpoints can be deleted")
    }

    pub(super) async fn endpoints(&self, app: AppId) -> Vec<Endpoint> {
        let slice = self.ports.registry.endpoints(app, paging::all()).await;
        slice.expect("endpoints can be listed").items
    }

    /// The version that an application has come to.
    pub(super) async fn version(&self, app: &Application) -> u64 {
        let found = self.app(app.org, app.id).await;
        found.expect("the application exists").version
    }
}
