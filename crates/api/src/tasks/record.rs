//! A task as it is written down.

use postrider_core::{AppId, EndpointId, OrgId, TaskId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A piece of work, and how far it has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) id: TaskId,
    pub(crate) org: OrgId,
    /// The application that it is about, where it is about one.
    pub(crate) app: Option<AppId>,
    pub(crate) work: Work,
    pub(crate) status: Status,
    /// What those who ask are told beside the status.
    pub(crate) data: Map<String, Value>,
    /// Behind what the next step begins.
    #[serde(default)]
    pub(crate) cursor: Option<String>,
    pub(crate) updated_at: Timestamp,
    /// Until then somebody works on it.
    pub(crate) leased_until: Timestamp,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Work {
    /// Send to the endpoint once more what it did not get.
    Recover(Span),
    /// Send to the endpoint what it was never tried with.
    ReplayMissing(Span),
    /// Count messages by application.
    AppUsage(Period),
    /// Count messages by event type.
    EventTypeUsage(Period),
}

/// Messages that were accepted from `since` on and not after `until`, of some applications or of all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Period {
    pub(crate) since: Timestamp,
    pub(crate) until: Timestamp,
    /// In ascending order.
    pub(crate) apps: Option<Vec<AppId>>,
}

/// Messages that were accepted from `since` on and not after `until`, for one endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Span {
    pub(crate) endpoint: EndpointId,
    pub(crate) since: Timestamp,
    pub(crate) until: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    Running,
    Finished,
    Failed,
}

impl Status {
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Failed => "failed",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Running, Self::Finished, Self::Failed]
            .into_iter()
            .find(|status| status.text() == text)
    }
}

impl Work {
    /// What it is called on the wire.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Recover(_) => "endpoint.recover",
            Self::ReplayMissing(_) => "endpoint.replay",
            Self::AppUsage(_) => "application.stats",
            Self::EventTypeUsage(_) => "event-type.aggregate",
        }
    }
}

impl Task {
    pub(crate) fn new(
        id: TaskId,
        org: OrgId,
        app: Option<AppId>,
        work: Work,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            org,
            app,
            work,
            status: Status::Running,
            data: Map::new(),
            cursor: None,
            updated_at: now,
            leased_until: Timestamp::EPOCH,
        }
    }

    /// Adds to a number that those who ask are told.
    pub(crate) fn count(&mut self, name: &str, more: u64) {
        let before = self.data.get(name).and_then(Value::as_u64).unwrap_or(0);
        self.data.insert(name.to_owned(), (before + more).into());
    }

    pub(crate) fn finished(mut self) -> Self {
        self.status = Status::Finished;
        self
    }

    pub(crate) fn failed(mut self, reason: &str) -> Self {
        self.status = Status::Failed;
        self.data.insert("reason".to_owned(), reason.into());
        self
    }
}
