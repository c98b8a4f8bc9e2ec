//! One attempt, and what follows from it.
//!
//! The life of a (message, endpoint) pair. States are those of [`crate::pair::PairState`], `n` is the
//! attempt's number in its chain:
//!
//! | from | when | to | work left in the broker |
//! |---|---|---|---|
//! | – | matched | sending 1 | the event |
//! | sending n | 2xx | **delivered** | – |
//! | sending n | 410 | **dead** (`gone`); the endpoint is disabled | a dead letter to file |
//! | sending n | anything else, the schedule goes on | waiting n+1 | target n+1, due after the delay |
//! | sending n | anything else, the schedule is used up | **dead** (`exhausted`) | a dead letter to file |
//! | sending n | the process died, or is about to stop | waiting n | the same target, guarded |
//! | waiting n | due, the claim is won | sending n | the target |
//! | waiting n | endpoint disabled, deleted, or of a newer era | **canceled** | – |
//! | any | a newer chain was opened (resend, redrive…) | waiting 1 of that chain | the newer chain's target |
//!
//! The states in bold are final: the first to be recorded stands. Faults of our own broker or store never
//! move a pair from n to n+1.

use std::time::Duration;

use crate::dead_letter::DeadReason;
use crate::id::{AppId, AttemptId, EndpointId, MessageId};
use crate::message::Trigger;
use crate::name::{Channel, EventTypeName};
use crate::pair::ChainId;
use crate::schedule::RetrySchedule;
use crate::time::Timestamp;

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status, or why there is none.
    pub status: Result<u16, Failure>,
    /// What `Retry-After` asked for, already parsed and capped.
    pub retry_after: Option<Duration>,
    /// The response's body as text, cut to what the log keeps; empty where there was no response.
    pub body: String,
    pub duration: Duration,
}

/// Why a request got no complete answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("no complete answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("the host name could not be resolved")]
    Resolve,
    #[error("address not allowed")]
    AddressNotAllowed,
    #[error("the URL cannot be called: {0}")]
    BadUrl(String),
    #[error("could not connect: {0}")]
    Connect(String),
    #[error("TLS failed: {0}")]
    Tls(String),
    #[error("the connection broke: {0}")]
    Broken(String),
}

impl Failure {
    /// A name of bounded variety, for metrics.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Timeout(_) => "timeout",
            Self::Resolve => "resolve",
            Self::AddressNotAllowed => "address_not_allowed",
            Self::BadUrl(_) => "bad_url",
            Self::Connect(_) => "connect",
            Self::Tls(_) => "tls",
            Self::Broken(_) => "broken",
        }
    }
}

impl Reply {
    #[must_use]
    pub fn failed(failure: Failure, duration: Duration) -> Self {
        Self {
            status: Err(failure),
            retry_after: None,
            body: String::new(),
            duration,
        }
    }

    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(self.status, Ok(200..=299))
    }

    /// The status as the API prints it: 0 where there was no answer.
    #[must_use]
    pub fn status_code(&self) -> u16 {
        self.status.as_ref().copied().unwrap_or(0)
    }

    /// What the log shows as the response: the body, or what went wrong.
    #[must_use]
    pub fn text(&self) -> String {
        match &self.status {
            Ok(_) => self.body.clone(),
            Err(failure) => failure.to_string(),
        }
    }
}

/// What is to happen after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    Delivered,
    /// Try again after this long; the broker may stretch it by its jitter.
    Retry(Duration),
    /// Try again at an exact distance in time, because the subscriber named it.
    RetryExactly(Duration),
    GiveUp(DeadReason),
}

/// Decides what follows from `reply` to attempt `attempt` (the first is 1).
#[must_use]
pub fn dispose(reply: &Reply, attempt: u16, schedule: &RetrySchedule) -> Disposition {
    if reply.is_success() {
        return Disposition::Delivered;
    }
    if reply.status == Ok(410) {
        return Disposition::GiveUp(DeadReason::Gone);
    }
    match (schedule.delay_after(attempt), reply.retry_after) {
        (None, _) => Disposition::GiveUp(DeadReason::Exhausted),
        (Some(delay), Some(told)) if told > delay => Disposition::RetryExactly(told),
        (Some(delay), _) => Disposition::Retry(delay),
    }
}

/// What the delivery log keeps of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRecord {
    pub id: AttemptId,
    pub app: AppId,
    pub message: MessageId,
    pub endpoint: EndpointId,
    pub chain: ChainId,
    pub attempt: u16,
    pub trigger: Trigger,
    /// When the request was begun.
    pub at: Timestamp,
    pub url: String,
    pub succeeded: bool,
    /// 0 where there was no answer.
    pub status_code: u16,
    pub response: String,
    pub duration_ms: u32,
    /// Copied from the message, so that lists of attempts filter without reading it.
    pub event_type: EventTypeName,
    pub channels: Vec<Channel>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16) -> Reply {
        Reply {
            status: Ok(status),
            retry_after: None,
            body: String::new(),
            duration: Duration::ZERO,
        }
    }

    fn after(seconds: u64) -> Disposition {
        Disposition::Retry(Duration::from_secs(seconds))
    }

    #[test]
    fn follows_the_table() {
        let schedule = RetrySchedule::default();
        let timeout = Reply::failed(
            Failure::Timeout(Duration::from_secs(15)),
            Duration::from_secs(15),
        );
        assert_eq!(dispose(&reply(200), 1, &schedule), Disposition::Delivered);
        assert_eq!(dispose(&reply(299), 8, &schedule), Disposition::Delivered);
        for failed in [
            reply(199),
            reply(301),
            reply(400),
            reply(429),
            reply(500),
            timeout,
        ] {
            assert_eq!(dispose(&failed, 1, &schedule), after(5));
            assert_eq!(dispose(&failed, 7, &schedule), after(36_000));
            assert_eq!(
                dispose(&failed, 8, &schedule),
                Disposition::GiveUp(DeadReason::Exhausted)
            );
        }
        assert_eq!(
            dispose(&reply(410), 1, &schedule),
            Disposition::GiveUp(DeadReason::Gone)
        );
    }

    #[test]
    fn a_subscriber_can_ask_for_later_but_not_for_sooner() {
        let schedule = RetrySchedule::default();
        let mut told = reply(429);
        told.retry_after = Some(Duration::from_secs(60));
        assert_eq!(
            dispose(&told, 1, &schedule),
            Disposition::RetryExactly(Duration::from_secs(60))
        );
        assert_eq!(dispose(&told, 2, &schedule), after(300));
        assert_eq!(
            dispose(&told, 8, &schedule),
            Disposition::GiveUp(DeadReason::Exhausted)
        );
    }
}
