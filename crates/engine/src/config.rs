use std::time::Duration;

use bytes::Bytes;
use postrider_core::schedule::RetrySchedule;

/// How the engine works; every field has a sensible default.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Requests under way at once.
    pub slots: usize,
    /// Packs held at once.
    pub prefetch: usize,
    /// Bytes of packs held at once; one pack more may exceed it.
    pub prefetch_bytes: usize,
    /// The bound on a whole request: name resolution, connecting, sending, and reading the answer.
    pub request_timeout: Duration,
    /// How long outcomes wait for others to be stored with.
    pub outcome_linger: Duration,
    /// How long acknowledgements wait for others.
    pub ack_linger: Duration,
    /// Delays between attempts.
    pub schedule: RetrySchedule,
    /// For tests: whoever touches a payload that contains this ends the process.
    pub abort_on: Option<Bytes>,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            slots: 4096,
            prefetch: 4096,
            prefetch_bytes: 256 * 1024 * 1024,
            request_timeout: Duration::from_secs(15),
            outcome_linger: Duration::from_millis(5),
            ack_linger: Duration::from_millis(20),
            schedule: RetrySchedule::default(),
            abort_on: None,
        }
    }
}
