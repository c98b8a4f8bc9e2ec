//! How long to wait before the next try, and what to say about the last.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::nodes::Nodes;
use super::options::Address;

const FIRST: Duration = Duration::from_millis(100);
/// Short, so that a server that is back is used again soon; a refused connection costs next to nothing.
const LONGEST: Duration = Duration::from_secs(2);
/// A cause that stays the same is repeated this often.
const REMIND: Duration = Duration::from_secs(60);
/// A connection that lives this long was a good one.
const STABLE: Duration = Duration::from_secs(10);

/// Doubling pauses with jitter. Tries never end.
#[derive(Debug)]
pub(super) struct Backoff {
    /// What the connection is for.
    purpose: &'static str,
    pause: Duration,
    up_since: Option<Instant>,
    /// What was complained about last, and when.
    said: Option<(String, Instant)>,
}

impl Backoff {
    pub(super) const fn new(purpose: &'static str) -> Self {
        Self {
            purpose,
            pause: FIRST,
            up_since: None,
            said: None,
        }
    }

    pub(super) fn succeeded(&mut self, address: &Address) {
        self.up_since = Some(Instant::now());
        let again = self.said.take().is_some();
        let purpose = self.purpose;
        info!(%address, purpose, again, "connected to RabbitMQ");
    }

    /// Complains, unless that was done, and waits.
    pub(super) async fn failed(&mut self, nodes: &Nodes, cause: &str) {
        if self
            .up_since
            .take()
            .is_some_and(|since| since.elapsed() > STABLE)
        {
            self.pause = FIRST;
        }
        self.complain(nodes, cause);
        sleep(self.next()).await;
    }

    fn complain(&mut self, nodes: &Nodes, cause: &str) {
        let known = self
            .said
            .as_ref()
            .is_some_and(|(said, when)| said == cause && when.elapsed() < REMIND);
        if known {
            return;
        }
        let purpose = self.purpose;
        warn!(address = %nodes, purpose, cause, "no connection to RabbitMQ; trying until there is one");
        self.said = Some((cause.to_owned(), Instant::now()));
    }

    fn next(&mut self) -> Duration {
        let jitter = rand::random_range(0.5..1.0);
        let pause = self.pause.mul_f64(jitter);
        self.pause = (self.pause * 2).min(LONGEST);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound() {
        let mut backoff = Backoff::new("tests");
        let pauses: Vec<Duration> = (0..100).map(|_| backoff.next()).collect();
        assert!(pauses[0] <= FIRST && pauses[0] >= FIRST / 2);
        assert!(pauses[5] > FIRST * 2);
        assert!(pauses.iter().all(|pause| *pause <= LONGEST));
    }
}
