//! A sender that answers from a script: for tests of schedules and of settling, on paused time, without a socket.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use postrider_core::attempt::{Failure, Reply};
use tokio::time::timeout;

use crate::sender::{Outgoing, Sender};

/// What a scripted subscriber does with a request.
#[derive(Debug, Clone)]
pub enum Play {
    /// Answers with this status at once.
    Status(u16),
    /// Answers 503 and asks for this pause by `Retry-After`.
    Busy(Duration),
    /// Answers 200 after this long.
    Slow(Duration),
    /// Never answers.
    Hang,
    /// Refuses the connection.
    Refuse,
}

type Script = dyn Fn(usize, &Outgoing) -> Play + Send + Sync;

/// Asks its script what to do; remembers every request.
#[derive(Clone)]
pub struct ScriptedSender {
    script: Arc<Script>,
    requests: Arc<Mutex<Vec<Outgoing>>>,
}

impl std::fmt::Debug for ScriptedSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ScriptedSender")
    }
}

impl ScriptedSender {
    /// The script is given the number of requests made before, and the request.
    pub fn new(script: impl Fn(usize, &Outgoing) -> Play + Send + Sync + 'static) -> Self {
        Self {
            script: Arc::new(script),
            requests: Arc::default(),
        }
    }

    /// All requests so far, in the order in which they began.
    #[must_use]
    pub fn requests(&self) -> Vec<Outgoing> {
        self.requests.lock().clone()
    }
}

#[async_trait]
impl Sender for ScriptedSender {
    async fn send(&self, request: Outgoing) -> Reply {
        let deadline = request.deadline;
        let play = {
            let mut requests = self.requests.lock();
            let play = (self.script)(requests.len(), &request);
            requests.push(request);
            play
        };
        let begun = tokio::time::Instant::now();
        let status = timeout(deadline, perform(&play))
            .await
            .unwrap_or(Err(Failure::Timeout(deadline)));
        let retry_after = match play {
            Play::Busy(pause) => Some(pause),
            _ => None,
        };
        Reply {
            status,
            retry_after,
            body: String::new(),
            duration: begun.elapsed(),
        }
    }
}

async fn perform(play: &Play) -> Result<u16, Failure> {
    match play {
        Play::Status(status) => Ok(*status),
        Play::Busy(_) => Ok(503),
        Play::Slow(duration) => {
            tokio::time::sleep(*duration).await;
            Ok(200)
        }
        Play::Hang => std::future::pending().await,
        Play::Refuse => Err(Failure::Connect("refused by the script".to_owned())),
    }
}
