//! The tour's subscriber: a web server of its own, on a port of its own, that knows nothing of Postrider but the
//! endpoint's secret. What it does is what every receiver should do: take the raw bytes, verify, then look inside.

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use parking_lot::Mutex;
use postrider_core::time::Clock;
use postrider_signature::{DEFAULT_TOLERANCE, VerifyError, VerifyingKey, WebhookHeaders, verify};
use serde_json::Value;
use tokio::net::TcpListener;

use super::events::REFUSALS;
use crate::server::Server;

/// More than the API accepts.
const MAX_BODY: usize = 17 << 20;
/// Outcomes that are remembered until somebody asks for them.
const REMEMBERED: usize = 10_000;

/// What the receiver thought of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Opinion {
    Verified,
    Forged(VerifyError),
}

#[derive(Debug)]
pub(super) struct Receiver {
    server: Server,
    desk: Arc<Desk>,
}

/// What is kept between requests.
#[derive(Debug)]
struct Desk {
    clock: Arc<dyn Clock>,
    keys: Mutex<Vec<VerifyingKey>>,
    /// The event that is refused, by the `data.id` in its payload, and how often it has been.
    refused: Mutex<(String, usize)>,
    /// By message, the latest.
    opinions: Mutex<HashMap<String, Opinion>>,
}

impl Receiver {
    /// Listens on a free port. Refuses the event whose payload has `data.id` = `refused`, as often as there are
    /// [`REFUSALS`].
    pub(super) async fn start(clock: Arc<dyn Clock>, refused: String) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let desk = Arc::new(Desk {
            clock,
            keys: Mutex::default(),
            refused: Mutex::new((refused, 0)),
            opinions: Mutex::default(),
        });
        let router = Router::new()
            .route("/hooks", post(receive))
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .with_state(Arc::clone(&desk));
        Ok(Self {
            server: Server::start(listener, router)?,
            desk,
        })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/hooks", self.server.address())
    }

    /// From now on, signatures by this key are genuine.
    pub(super) fn trust(&self, key: VerifyingKey) {
        self.desk.keys.lock().push(key);
    }

    /// What it thought of the latest request with this message; tells each opinion once.
    pub(super) fn opinion(&self, message: &str) -> Option<Opinion> {
        self.desk.opinions.lock().remove(message)
    }

    pub(super) async fn stop(&self) {
        self.server.stop(Duration::from_secs(1)).await;
    }
}

async fn receive(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let Ok(webhook) = WebhookHeaders::from_lookup(text) else {
        return StatusCode::BAD_REQUEST;
    };
    let verdict = {
        let keys = desk.keys.lock();
        verify(
            keys.iter(),
            &webhook,
            &body,
            desk.clock.now().as_secs(),
            DEFAULT_TOLERANCE,
        )
    };
    let genuine = verdict.is_ok();
    desk.remember(
        webhook.id,
        verdict.map_or_else(Opinion::Forged, |()| Opinion::Verified),
    );
    if genuine {
        desk.answer(&body)
    } else {
        StatusCode::UNAUTHORIZED
    }
}

impl Desk {
    fn remember(&self, message: &str, opinion: Opinion) {
        let mut opinions = self.opinions.lock();
        if opinions.len() >= REMEMBERED {
            opinions.clear();
        }
        opinions.insert(message.to_owned(), opinion);
    }

    fn answer(&self, body: &[u8]) -> StatusCode {
        let payload: Value = serde_json::from_slice(body).unwrap_or_default();
        let mut refused = self.refused.lock();
        let (id, times) = &mut *refused;
        let refusal = REFUSALS
            .get(*times)
            .filter(|_| payload["data"]["id"] == id.as_str());
        match refusal.and_then(|status| StatusCode::from_u16(*status).ok()) {
            Some(status) => {
                *times += 1;
                status
            }
            None => StatusCode::NO_CONTENT,
        }
    }
}
