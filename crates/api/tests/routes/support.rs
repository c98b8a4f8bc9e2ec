//! An API to talk to.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt;
use postrider_api::{Api, ApiConfig, ApiParts, Front, JwtSecret, tokens};
use postrider_backends::embedded::{Embedded, Options};
use postrider_core::ports::Ports;
use postrider_core::registry_cache::RegistryCache;
use postrider_core::{AppId, Clock, OrgId, Timestamp};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

use crate::documented::Asked;

pub(crate) const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);
/// How often is looked for what nobody tells.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// A second is promised; tests may be slow.
const PROMISED: Duration = Duration::from_secs(3);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// A clock that a test moves.
#[derive(Debug)]
pub(crate) struct HandClock(AtomicI64);

impl HandClock {
    pub(crate) fn pass(&self, time: Duration) {
        let millis = i64::try_from(time.as_millis()).unwrap();
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

pub(crate) struct Server {
    pub(crate) api: Api,
    pub(crate) front: Front,
    pub(crate) ports: Ports,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) metrics: prometheus::Registry,
    pub(crate) secret: JwtSecret,
    pub(crate) org: OrgId,
    _dir: TempDir,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with(|ports| ports, |_| {})
    }

    /// With ports and settings that were tampered with.
    pub(crate) fn with(
        tamper: impl FnOnce(Ports) -> Ports,
        configure: impl FnOnce(&mut ApiConfig),
    ) -> Self {
        let dir = TempDir::new().unwrap();
        let embedded = Embedded::open(dir.path(), Options::small()).unwrap();
        let ports = tamper(embedded.ports());
        let secret = JwtSecret::new("for tests only, and long enough for them");
        let mut config = ApiConfig::new(secret.clone());
        configure(&mut config);
        let clock = Arc::new(HandClock(AtomicI64::new(START.as_millis())));
        let metrics = prometheus::Registry::new();
        let api = Api::new(ApiParts {
            cache: Arc::new(RegistryCache::new(Arc::clone(&ports.registry))),
            ports: ports.clone(),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            config,
            metrics: &metrics,
        });
        Self {
            front: api.front(axum::Router::new()),
            api,
            ports,
            clock,
            metrics,
            secret,
            org: OrgId::new(START, [9; 15]),
            _dir: dir,
        }
    }

    /// Another process of the same installation, with settings that were tampered with; what answers there.
    pub(crate) fn another(&self, configure: impl FnOnce(&mut ApiConfig)) -> (Api, Front) {
        let mut config = ApiConfig::new(self.secret.clone());
        configure(&mut config);
        let api = Api::new(ApiParts {
            cache: Arc::new(RegistryCache::new(Arc::clone(&self.ports.registry))),
            ports: self.ports.clone(),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            config,
            metrics: &prometheus::Registry::new(),
        });
        let front = api.front(axum::Router::new());
        (api, front)
    }

    /// Another process of the same installation, and its cache, which nobody tells of changes but the test.
    pub(crate) fn another_with_cache(&self) -> (Arc<RegistryCache>, Api, Front) {
        let cache = Arc::new(RegistryCache::new(Arc::clone(&self.ports.registry)));
        let api = Api::new(ApiParts {
            cache: Arc::clone(&cache),
            ports: self.ports.clone(),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            config: ApiConfig::new(self.secret.clone()),
            metrics: &prometheus::Registry::new(),
        });
        let front = api.front(axum::Router::new());
        (cache, api, front)
    }

    /// Whoever holds an operator's token.
    pub(crate) fn operator(&self) -> Client {
        self.operator_of(self.org)
    }

    pub(crate) fn operator_of(&self, org: OrgId) -> Client {
        let token = tokens::mint_operator(&self.secret, org, START, YEAR);
        self.client(Some(token))
    }

    /// Whoever holds a token for one application.
    pub(crate) fn consumer(&self, app: &str) -> Client {
        let app: AppId = app.parse().unwrap();
        let token = tokens::mint_consumer(&self.secret, self.org, app, START, YEAR);
        self.client(Some(token))
    }

    pub(crate) fn client(&self, token: Option<String>) -> Client {
        Client {
            front: self.front.clone(),
            token,
        }
    }

    /// An application, by name; its identifier.
    pub(crate) async fn app(&self, uid: &str) -> String {
        let body = json!({"name": uid, "uid": uid});
        let created = self.operator().post("/api/v1/app", &body).await;
        created.is(201)["id"].as_str().unwrap().to_owned()
    }

    /// An endpoint of an application; its identifier.
    pub(crate) async fn endpoint(&self, app: &str) -> String {
        let body = json!({"url": "https://hooks.example.org/in"});
        let path = format!("/api/v1/app/{app}/endpoint");
        let created = self.operator().post(&path, &body).await;
        created.is(201)["id"].as_str().unwrap().to_owned()
    }

    /// A message, and that its record is in the log; its identifier.
    pub(crate) async fn message(&self, app: &str) -> String {
        let operator = self.operator();
        let path = format!("/api/v1/app/{app}/msg");
        let accepted = operator.post(&path, &message()).await.is(202);
        let id = accepted["id"].as_str().unwrap().to_owned();
        operator.get(&format!("{path}/{id}")).await.is(200);
        id
    }
}

/// A message's body.
pub(crate) fn message() -> Value {
    json!({"eventType": "order.paid", "payload": {"order": 1042}})
}

#[derive(Clone)]
pub(crate) struct Client {
    front: Front,
    token: Option<String>,
}

impl Client {
    /// The same caller, at another process.
    pub(crate) fn at(&self, front: &Front) -> Self {
        Self {
            front: front.clone(),
            token: self.token.clone(),
        }
    }

    /// Until the caller is let in no more: a second is promised.
    pub(crate) async fn is_soon_refused(&self, path: &str) {
        let wait = async {
            while self.get(path).await.status != 401 {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let refused = tokio::time::timeout(PROMISED, wait).await;
        refused.expect("it is let in still");
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, &[], Body::empty()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.send(Method::DELETE, path, &[], Body::empty()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Reply {
        self.json(Method::POST, path, body).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Reply {
        self.json(Method::PUT, path, body).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Reply {
        self.json(Method::PATCH, path, body).await
    }

    pub(crate) async fn post_keyed(&self, path: &str, key: &str, body: &Value) -> Reply {
        let headers = [("idempotency-key", key)];
        self.send(Method::POST, path, &headers, body.to_string().into())
            .await
    }

    async fn json(&self, method: Method, path: &str, body: &Value) -> Reply {
        let headers = [("content-type", "application/json")];
        self.send(method, path, &headers, body.to_string().into())
            .await
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> Reply {
        let asked = Asked::of(&method, path);
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(body).unwrap();
        let response = self.front.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let reply = Reply {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        };
        reply.check_shape();
        asked.may_be_answered(reply.status, &reply.body);
        reply
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    /// The body, where the status is this one.
    #[track_caller]
    pub(crate) fn is(&self, status: u16) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{text}");
        if self.body.is_empty() {
            return Value::Null;
        }
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The error's code, where the status is this one.
    #[track_caller]
    pub(crate) fn fails(&self, status: u16) -> String {
        self.is(status)["code"].as_str().unwrap().to_owned()
    }

    /// Where a 422 found the mistake, joined by dots.
    #[track_caller]
    pub(crate) fn blames(&self) -> String {
        let body = self.is(422);
        let loc = body["detail"][0]["loc"].as_array().unwrap();
        let parts: Vec<&str> = loc.iter().map(|part| part.as_str().unwrap()).collect();
        parts.join(".")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// What holds for every answer.
    fn check_shape(&self) {
        if self.status < 400 {
            return;
        }
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(
            self.header("content-type"),
            Some("application/json"),
            "{text}"
        );
        let body: Value = serde_json::from_slice(&self.body).unwrap();
        if self.status == 422 {
            let error = &body["detail"][0];
            assert!(
                error["loc"].is_array() && error["msg"].is_string(),
                "{text}"
            );
            assert!(error["type"].is_string(), "{text}");
        } else {
            assert!(
                body["code"].is_string() && body["detail"].is_string(),
                "{text}"
            );
        }
        if self.status == 429 || self.status == 503 {
            assert!(self.header("retry-after").is_some(), "{text}");
        }
    }
}
