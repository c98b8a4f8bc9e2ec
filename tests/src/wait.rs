//! Waiting for what happens elsewhere, with a bound.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::PATIENCE;

const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Asks again and again until there is an answer; panics with `what` after [`PATIENCE`].
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, ask: impl FnMut() -> F) -> T {
    within(PATIENCE, ask)
        .await
        .unwrap_or_else(|| panic!("waited in vain for {what}"))
}

/// Waits until `done`; panics with `what` after [`PATIENCE`].
pub async fn until(what: &str, mut done: impl FnMut() -> bool) {
    eventually(what, || {
        let done = done();
        async move { done.then_some(()) }
    })
    .await;
}

/// The same with a bound of its own, and no panic.
pub async fn within<T, F: Future<Output = Option<T>>>(
    bound: Duration,
    mut ask: impl FnMut() -> F,
) -> Option<T> {
    let deadline = Instant::now() + bound;
    loop {
        if let Some(answer) = ask().await {
            return Some(answer);
        }
        if Instant::now() >= deadline {
            return None;
        }
        sleep(LOOK_AGAIN).await;
    }
}
