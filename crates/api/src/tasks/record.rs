//! A task as it is written down.

use std::time::Duration;

use postrider_core::{AppId, EndpointId, OrgId, TaskId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Failures in a row after which a task is given up: about half a day of them.
const TRIES: u32 = 48;
/// It waits at most so many doublings longer than after the first.
const LONGEST_WAIT: u32 = 4;

/// Bytes of messages that are much for one step.
const MANY_BYTES: usize = 1024 * 1024;
const LARGEST_PORTION: usize = 64;

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
    /// Steps that failed since the last one that did not.
    #[serde(default)]
    pub(crate) failures: u32,
    /// Messages of the next step, where these are sent: as many as take little room.
    #[serde(default = "first_portion")]
    pub(crate) portion: usize,
}

/// Until it is known how large an application's messages are.
fn first_portion() -> usize {
    16
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
    /// Of a newer release, whose processes know what to do.
    #[serde(other)]
    Unknown,
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
            Self::Unknown => "unknown",
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
            failures: 0,
            portion: first_portion(),
        }
    }

    /// Adds to a number that those who ask are told.
    pub(crate) fn count(&mut self, name: &str, more: u64) {
        let before = self.data.get(name).and_then(Value::as_u64).unwrap_or(0);
        self.data.insert(name.to_owned(), (before + more).into());
    }

    /// This step's messages had so many bytes: the next one takes more of them, or fewer.
    pub(crate) fn has_read(&mut self, bytes: usize) {
        self.portion = match bytes {
            0..MANY_BYTES => (self.portion * 2).min(LARGEST_PORTION),
            _ => (self.portion / 2).max(1),
        };
    }

    /// As it is after a step that failed: it waits for longer each time, and some day it is given up.
    pub(crate) fn interrupted(mut self, now: Timestamp, wait: Duration) -> Self {
        self.failures += 1;
        self.updated_at = now;
        self.leased_until = now + wait * (1 << (self.failures - 1).min(LONGEST_WAIT));
        if self.failures < TRIES {
            return self;
        }
        self.failed("it was tried too often")
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

#[cfg(test)]
mod tests {
    use super::*;

    fn task() -> Task {
        let period = Period {
            since: Timestamp::EPOCH,
            until: Timestamp::EPOCH,
            apps: None,
        };
        let (id, org) = (TaskId::from_bytes([1; 20]), OrgId::from_bytes([2; 20]));
        Task::new(id, org, None, Work::AppUsage(period), Timestamp::EPOCH)
    }

    #[test]
    fn what_a_newer_release_has_written_down_can_be_read() {
        let mut text = serde_json::to_value(task()).unwrap();
        text["work"] = serde_json::json!({"kind": "teleport", "whither": "home"});
        let read: Task = serde_json::from_value(text).unwrap();
        assert_eq!(read.work, Work::Unknown);
    }

    #[test]
    fn large_messages_are_read_in_smaller_portions() {
        let mut task = task();
        (0..5).for_each(|_| task.has_read(100));
        assert_eq!(task.portion, LARGEST_PORTION);
        task.has_read(MANY_BYTES);
        assert_eq!(task.portion, LARGEST_PORTION / 2);
        (0..9).for_each(|_| task.has_read(2 * MANY_BYTES));
        assert_eq!(task.portion, 1);
    }

    #[test]
    fn what_fails_waits_longer_each_time_and_is_given_up() {
        let (mut task, wait) = (task(), Duration::from_secs(60));
        let mut waits = Vec::new();
        while task.status == Status::Running {
            task = task.interrupted(Timestamp::EPOCH, wait);
            waits.push(task.leased_until);
        }
        assert_eq!(waits.len(), 48);
        assert_eq!(waits[0], Timestamp::EPOCH + wait);
        assert_eq!(waits[3], Timestamp::EPOCH + wait * 8);
        assert_eq!(waits[40], Timestamp::EPOCH + wait * 16);
    }
}
