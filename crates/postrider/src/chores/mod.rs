//! Background chores: work that belongs to no request and no delivery.
//!
//! One shape for all: a value with what it needs, and `run`, which goes on until it is told to stop. A chore ends
//! soon after that, never in the middle of something that matters. Stopping twice is stopping once.

mod joining;
mod queue_depth;
mod registry_changes;
mod retention;

use std::future::Future;
use std::ops::ControlFlow;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, debug_span};

pub use joining::Joining;
pub use queue_depth::QueueDepth;
pub use registry_changes::RegistryChanges;
pub use retention::{DeadLetterRetention, LimitRetention, LogRetention, Retain};

/// A background chore.
pub trait Chore: Send + 'static {
    const NAME: &'static str;

    fn run(self, stop: CancellationToken) -> impl Future<Output = ()> + Send;
}

/// The chores of a process.
#[derive(Debug, Default)]
pub struct Chores {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Chores {
    pub fn start<C: Chore>(&self, chore: C) {
        let run = chore.run(self.stop.clone());
        self.tasks
            .spawn(run.instrument(debug_span!("chore", name = C::NAME)));
    }

    /// Completes when all of them have ended.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Waits for `length`; breaks off when it is time to stop.
pub async fn pause(length: Duration, stop: &CancellationToken) -> ControlFlow<()> {
    tokio::select! {
        biased;
        () = stop.cancelled() => ControlFlow::Break(()),
        () = tokio::time::sleep(length) => ControlFlow::Continue(()),
    }
}

/// Says something when it begins to go wrong and when it is right again, not every time in between.
#[derive(Debug, Default)]
struct Complaint {
    standing: bool,
}

impl Complaint {
    fn note<T, E>(
        &mut self,
        result: Result<T, E>,
        wrong: impl FnOnce(&E),
        right: impl FnOnce(),
    ) -> Result<T, E> {
        match &result {
            Err(error) if !self.standing => {
                wrong(error);
                self.standing = true;
            }
            Ok(_) if self.standing => {
                right();
                self.standing = false;
            }
            _ => {}
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Endless;

    impl Chore for Endless {
        const NAME: &'static str = "endless";

        async fn run(self, stop: CancellationToken) {
            while pause(Duration::from_secs(3_600), &stop).await.is_continue() {}
        }
    }

    #[tokio::test]
    async fn chores_stop_and_stop_again() {
        let chores = Chores::default();
        chores.start(Endless);
        chores.stop().await;
        chores.stop().await;
    }

    #[test]
    fn a_complaint_is_made_once() {
        let mut complaint = Complaint::default();
        let mut said = Vec::new();
        for result in [Ok(()), Err(()), Err(()), Ok(()), Ok(()), Err(())] {
            let said = std::cell::RefCell::new(&mut said);
            let _ = complaint.note(
                result,
                |()| said.borrow_mut().push("wrong"),
                || said.borrow_mut().push("right"),
            );
        }
        assert_eq!(said, ["wrong", "right", "wrong"]);
    }
}
