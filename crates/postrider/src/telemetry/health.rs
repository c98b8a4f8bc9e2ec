//! `/health`: the truth about every dependency, for load balancers and people.
//!
//! Asked anew for every report, with a deadline, so that a dependency that hangs shows as unavailable instead of
//! hanging the report. Reports are shared for a moment: the address is open to whoever can reach the API, and must
//! not be a way to make work.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::future::join_all;
use postrider_core::ports::{Ports, Probe};
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::config::Roles;

/// How long a dependency may take to answer.
const DEADLINE: Duration = Duration::from_secs(2);
/// The one dependency that nothing depends on.
const LOG: &str = "log";
/// How long a report is passed on to others who ask.
const SHARED_FOR: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Ok,
    /// Events are accepted and delivered; their history is out of reach.
    Degraded,
    Unavailable,
    /// On the way down: finishing what was begun, taking nothing new.
    Draining,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    pub status: State,
    pub version: &'static str,
    pub roles: Vec<&'static str>,
    pub dependencies: BTreeMap<&'static str, Dependency>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dependency {
    pub status: State,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Makes reports.
#[derive(Debug)]
pub struct Health {
    ports: Ports,
    roles: Roles,
    draining: CancellationToken,
    last: Mutex<Option<(Instant, Report)>>,
}

impl Health {
    #[must_use]
    pub fn new(ports: Ports, roles: Roles, draining: CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            ports,
            roles,
            draining,
            last: Mutex::new(None),
        })
    }

    /// A report that is at most half a second old. Who asks while one is being made, waits for it.
    pub async fn report(&self) -> Report {
        let mut last = self.last.lock().await;
        let fresh = last
            .as_ref()
            .filter(|(made, _)| made.elapsed() < SHARED_FOR);
        let mut report = match fresh {
            Some((_, report)) => report.clone(),
            None => {
                let report = self.ask().await;
                *last = Some((Instant::now(), report.clone()));
                report
            }
        };
        if self.draining.is_cancelled() {
            report.status = State::Draining;
        }
        report
    }

    async fn ask(&self) -> Report {
        let Ports {
            broker,
            registry,
            log,
            dead_letters,
            limits,
            documents,
        } = &self.ports;
        let answers = join_all([
            ask("broker", &**broker as &dyn Probe),
            ask("registry", &**registry),
            ask(LOG, &**log),
            ask("dead_letters", &**dead_letters),
            ask("limits", &**limits),
            ask("documents", &**documents),
        ]);
        let dependencies: BTreeMap<_, _> = answers.await.into_iter().collect();
        Report {
            status: overall(&dependencies),
            version: env!("CARGO_PKG_VERSION"),
            roles: self.roles.names(),
            dependencies,
        }
    }

    /// `/health`.
    pub fn routes(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/health", get(show))
            .with_state(Arc::clone(self))
    }
}

/// No promise depends on the log, so a node that lacks it alone is not to be taken out of service.
fn overall(dependencies: &BTreeMap<&'static str, Dependency>) -> State {
    let lacks = |name: &str, dependency: &Dependency| dependency.status != State::Ok && name != LOG;
    if dependencies
        .iter()
        .any(|(name, dependency)| lacks(name, dependency))
    {
        State::Unavailable
    } else if dependencies[LOG].status == State::Ok {
        State::Ok
    } else {
        State::Degraded
    }
}

async fn ask(name: &'static str, port: &dyn Probe) -> (&'static str, Dependency) {
    let detail = match timeout(DEADLINE, port.probe()).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("no answer within {} s", DEADLINE.as_secs())),
    };
    let status = if detail.is_none() {
        State::Ok
    } else {
        State::Unavailable
    };
    (name, Dependency { status, detail })
}

async fn show(Shared(health): Shared<Arc<Health>>) -> Response {
    let report = health.report().await;
    let status = match report.status {
        State::Ok | State::Degraded => StatusCode::OK,
        State::Unavailable | State::Draining => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(report)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status_without(missing: &[&str]) -> State {
        let names = [
            "broker",
            "dead_letters",
            "documents",
            "limits",
            LOG,
            "registry",
        ];
        let dependencies = names.map(|name| {
            let status = if missing.contains(&name) {
                State::Unavailable
            } else {
                State::Ok
            };
            let detail = None;
            (name, Dependency { status, detail })
        });
        overall(&BTreeMap::from(dependencies))
    }

    #[test]
    fn only_the_log_may_be_missing() {
        assert_eq!(status_without(&[]), State::Ok);
        assert_eq!(status_without(&[LOG]), State::Degraded);
        assert_eq!(status_without(&["broker"]), State::Unavailable);
        assert_eq!(status_without(&[LOG, "registry"]), State::Unavailable);
    }
}
