//! The HTTP API as a user calls it.

use std::process::Stdio;
use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{JWT_SECRET, Receiver, Server, binary};

/// As client libraries do.
const GIVES_UP_AFTER: Duration = Duration::from_secs(15);

/// A client with an operator's token.
#[derive(Debug, Clone)]
pub struct Api {
    client: reqwest::Client,
    base: String,
    token: String,
}

impl Api {
    /// A client of `server`, with a token made by the binary's own command.
    pub async fn new(server: &Server) -> Self {
        Self::with_token(server, &operator_token().await)
    }

    #[must_use]
    pub fn with_token(server: &Server, token: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self {
            client,
            base: server.api().to_owned(),
            token: token.to_owned(),
        }
    }

    /// The same client for the same data, served by another process.
    #[must_use]
    pub fn moved_to(&self, server: &Server) -> Self {
        self.at(server.api())
    }

    /// The same client at another address.
    #[must_use]
    pub fn at(&self, base: &str) -> Self {
        Self {
            base: base.to_owned(),
            ..self.clone()
        }
    }

    /// Where it calls.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// For clients that are programs of their own.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> reqwest::Result<Response> {
        let request = self
            .client
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(&self.token);
        match body {
            Some(body) => request.json(&body).send().await,
            None => request.send().await,
        }
    }

    /// A request that must be answered, with any status.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        body_of(self.send(method, path, body).await.unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.call(Method::GET, path, None).await;
        assert_eq!(status, 200, "GET {path}: {body}");
        body
    }

    pub async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.call(Method::POST, path, Some(body)).await;
        assert!(
            (200..300).contains(&status),
            "POST {path}: {status} {answer}"
        );
        answer
    }

    /// A new application with one endpoint at `url`.
    pub async fn application(&self, url: &str) -> Application {
        let app = self.post("/api/v1/app", json!({"name": "Shop"})).await;
        let id = app["id"].as_str().unwrap().to_owned();
        let endpoint = self
            .post(&format!("/api/v1/app/{id}/endpoint"), json!({"url": url}))
            .await;
        let endpoint = endpoint["id"].as_str().unwrap().to_owned();
        let path = format!("/api/v1/app/{id}/endpoint/{endpoint}/secret");
        let secret = self.get(&path).await["key"].as_str().unwrap().to_owned();
        Application {
            id,
            endpoint,
            secret,
        }
    }

    /// A new application with one endpoint per name, each at the receiver's URL of that name. The names are the
    /// endpoints' uids, too.
    pub async fn tenant(&self, receiver: &Receiver, names: &[&str]) -> Tenant {
        let app = self.post("/api/v1/app", json!({"name": "Shop"})).await;
        let app = app["id"].as_str().unwrap().to_owned();
        let mut subscribers = Vec::new();
        for name in names {
            let body = json!({"url": receiver.url_of(name), "uid": name});
            subscribers.push(self.subscriber(receiver, &app, name, body).await);
        }
        Tenant {
            id: app,
            subscribers,
        }
    }

    /// One more endpoint of an application, from the body of the request that makes it.
    pub async fn subscriber(
        &self,
        receiver: &Receiver,
        app: &str,
        name: &str,
        body: Value,
    ) -> Subscriber {
        let path = format!("/api/v1/app/{app}/endpoint");
        let endpoint = self.post(&path, body).await;
        let id = endpoint["id"].as_str().unwrap().to_owned();
        let secret = self.get(&format!("{path}/{id}/secret")).await;
        receiver.expect_secret_at(name, secret["key"].as_str().unwrap());
        Subscriber {
            id,
            name: name.to_owned(),
        }
    }

    /// All rows of a list, page after page.
    pub async fn list(&self, path: &str) -> Vec<Value> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let first = format!("{path}{separator}limit=250");
        let mut rows = Vec::new();
        let mut next = first.clone();
        loop {
            let page = self.get(&next).await;
            rows.extend(page["data"].as_array().unwrap().iter().cloned());
            let Some(iterator) = page["iterator"].as_str().filter(|_| page["done"] != true) else {
                return rows;
            };
            next = format!("{first}&iterator={iterator}");
        }
    }

    /// A POST with an idempotency key, of a client that gives up in the end; the error is anything but an answer.
    pub async fn post_keyed(
        &self,
        path: &str,
        key: &str,
        body: &Value,
    ) -> reqwest::Result<Response> {
        let url = format!("{}{path}", self.base);
        let request = self.client.post(url).bearer_auth(&self.token);
        let request = request.header("idempotency-key", key).json(body);
        request.timeout(GIVES_UP_AFTER).send().await
    }

    /// Sends an event; the message's identifier, or the status where it was not accepted.
    pub async fn event(&self, app: &str, event_type: &str, payload: Value) -> Result<String, u16> {
        let body = json!({"eventType": event_type, "payload": payload});
        let response = self
            .send(Method::POST, &format!("/api/v1/app/{app}/msg"), Some(body))
            .await;
        let (status, body) = body_of(response.map_err(|_| 0u16)?).await;
        if status == 202 {
            Ok(body["id"].as_str().unwrap().to_owned())
        } else {
            Err(status)
        }
    }

    /// Sends an event whose body is these very bytes.
    pub async fn raw_event(&self, app: &str, body: String) -> (u16, Value) {
        let url = format!("{}/api/v1/app/{app}/msg", self.base);
        let request = self
            .client
            .post(url)
            .bearer_auth(&self.token)
            .header("content-type", "application/json");
        body_of(request.body(body).send().await.unwrap()).await
    }
}

/// What [`Api::application`] made.
#[derive(Debug, Clone)]
pub struct Application {
    pub id: String,
    pub endpoint: String,
    pub secret: String,
}

/// What [`Api::tenant`] made.
#[derive(Debug, Clone)]
pub struct Tenant {
    pub id: String,
    pub subscribers: Vec<Subscriber>,
}

impl Tenant {
    /// The names of its endpoints.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let names = self
            .subscribers
            .iter()
            .map(|endpoint| endpoint.name.clone());
        names.collect()
    }
}

/// An endpoint.
#[derive(Debug, Clone)]
pub struct Subscriber {
    pub id: String,
    /// The last segment of its URL's path.
    pub name: String,
}

/// Status and JSON of a response; an empty body is null, and anything else must be JSON.
pub async fn body_of(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    if text.is_empty() {
        return (status, Value::Null);
    }
    let body = serde_json::from_str(&text);
    (
        status,
        body.unwrap_or_else(|_| {
            panic!("status {status} came with a body that is no JSON: {text:?}")
        }),
    )
}

async fn operator_token() -> String {
    let mut command = Command::new(binary());
    command
        .args(["token", "operator"])
        .env("POSTRIDER_JWT_SECRET", JWT_SECRET)
        .stdin(Stdio::null());
    let output = command.output().await.unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
