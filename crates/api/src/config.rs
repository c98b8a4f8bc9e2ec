//! What the API is told by whoever starts it.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use postrider_core::schedule::RetrySchedule;
use postrider_core::target::TargetPolicy;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Settings of the API.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// What tokens are signed with.
    pub jwt_secret: JwtSecret,
    /// The largest request body, in bytes.
    pub max_body_bytes: usize,
    /// Bytes that all bodies in memory may take together; what does not fit is answered 503.
    pub max_body_memory: usize,
    /// How long a client may take to send a body.
    pub body_timeout: Duration,
    /// Requests in progress at once; more are answered 503 before anything is read. Health checks do not count.
    pub max_in_flight: usize,
    /// How long the broker may take to make a message durable before the answer is "not known".
    pub publish_timeout: Duration,
    /// How long accepting a message that came over AMQP may take, before it is put back and counted.
    pub intake_timeout: Duration,
    /// For tests: ends the process when a body that came over AMQP contains this.
    pub abort_on: Option<Bytes>,
    /// Where endpoints may point.
    pub target_policy: TargetPolicy,
    /// How long a message's payload is kept where the message does not say.
    pub payload_retention: Duration,
    /// How long an event id stays taken.
    pub event_id_retention: Duration,
    /// What the workers follow: a resent message's pair record has to outlive it.
    pub retry_schedule: RetrySchedule,
    /// Where people reach this installation, for links into its console.
    pub public_url: String,
    /// How often it is looked for background tasks that nobody works on.
    pub task_interval: Duration,
    /// Bytes of log records, and of completed reservations, that may wait for their store; beyond it the oldest
    /// are dropped.
    pub max_batch_bytes: usize,
    /// How long `close` waits for requests that are still at work, and then goes on trying to write what is batched
    /// while its store is away.
    pub close_grace: Duration,
}

impl ApiConfig {
    /// The defaults, with this secret.
    #[must_use]
    pub fn new(jwt_secret: JwtSecret) -> Self {
        Self {
            jwt_secret,
            max_body_bytes: 1024 * 1024,
            max_body_memory: 256 * 1024 * 1024,
            body_timeout: Duration::from_secs(15),
            max_in_flight: 2048,
            publish_timeout: Duration::from_secs(10),
            intake_timeout: Duration::from_secs(60),
            abort_on: None,
            target_policy: TargetPolicy::default(),
            payload_retention: 90 * DAY,
            event_id_retention: 3 * DAY,
            retry_schedule: RetrySchedule::default(),
            public_url: "http://127.0.0.1:8071".to_owned(),
            task_interval: Duration::from_secs(5),
            max_batch_bytes: 64 * 1024 * 1024,
            close_grace: Duration::from_secs(5),
        }
    }
}

/// The secret that tokens are signed with, as raw bytes. Its `Debug` says nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct JwtSecret(Vec<u8>);

impl JwtSecret {
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for JwtSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JwtSecret([redacted])")
    }
}
