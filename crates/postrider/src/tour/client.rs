//! The tour as a user of the API: real HTTP, the documented requests, nothing else.

use std::time::Duration;

use anyhow::{Context as _, bail};
use postrider_core::id::{EndpointId, MessageId};
use reqwest::Method;
use serde_json::{Value, json};

use super::events::{EVENT_TYPES, TourEvent};

const PATIENCE: Duration = Duration::from_secs(10);
/// By these names a tour finds what an earlier one made.
pub(super) const APP_UID: &str = "tour";
pub(super) const ENDPOINT_UID: &str = "tour-receiver";

#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    /// Up to and including `/api/v1`.
    base: String,
    token: String,
}

/// What the tour works with.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) app: String,
    pub(super) endpoint: EndpointId,
    /// The endpoint's signing secret.
    pub(super) secret: String,
    /// An earlier tour had made the application.
    pub(super) found: bool,
}

impl Client {
    pub(super) fn new(base: String, token: String) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .build()?;
        Ok(Self { http, base, token })
    }

    /// Makes the application, the event types and the endpoint, or finds them; the endpoint points at `url` then.
    pub(super) async fn subscribe(&self, url: &str) -> anyhow::Result<Subscription> {
        let new = json!({ "name": "Tour", "uid": APP_UID });
        let (status, app) = self
            .call(Method::POST, "/app?get_if_exists=true", Some(&new))
            .await?;
        for (name, description) in EVENT_TYPES {
            let path = format!("/event-type/{name}");
            self.call(
                Method::PUT,
                &path,
                Some(&json!({ "description": description })),
            )
            .await?;
        }
        let app = text(&app, "id")?;
        let path = format!("/app/{app}/endpoint/{ENDPOINT_UID}");
        let endpoint = json!({ "url": url, "uid": ENDPOINT_UID, "description": "The receiver inside `postrider dev`" });
        let (_, endpoint) = self.call(Method::PUT, &path, Some(&endpoint)).await?;
        let (_, secret) = self
            .call(Method::GET, &format!("{path}/secret"), None)
            .await?;
        Ok(Subscription {
            app,
            endpoint: text(&endpoint, "id")?.parse()?,
            secret: text(&secret, "key")?,
            found: status == 200,
        })
    }

    pub(super) async fn send(&self, app: &str, event: &TourEvent) -> anyhow::Result<MessageId> {
        let message = json!({ "eventType": event.event_type, "payload": event.payload });
        let (_, message) = self
            .call(Method::POST, &format!("/app/{app}/msg"), Some(&message))
            .await?;
        Ok(text(&message, "id")?.parse()?)
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<(u16, Value)> {
        let what = format!("{method} {path}");
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request
            .send()
            .await
            .with_context(|| format!("{what} got no answer"))?;
        let status = response.status();
        let answer = response
            .text()
            .await
            .with_context(|| format!("{what} got no complete answer"))?;
        if !status.is_success() {
            bail!("{what} was answered {status}: {answer}");
        }
        let answer = serde_json::from_str(&answer)
            .with_context(|| format!("{what} was not answered with JSON"))?;
        Ok((status.as_u16(), answer))
    }
}

fn text(object: &Value, field: &str) -> anyhow::Result<String> {
    object[field]
        .as_str()
        .map(str::to_owned)
        .with_context(|| format!("an answer lacks `{field}`"))
}
