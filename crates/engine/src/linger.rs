//! Waiting for company: what is written for many at once costs about as much as for one.

use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// So many do not wait for more.
const ENOUGH: usize = 64;

/// Adds to `batch`, where there is little in it, what else comes within a moment, up to `most`. The moment ends early when
/// `hurry` completes, or while closing.
pub(crate) async fn linger<T>(
    moment: Duration,
    most: usize,
    queue: &mut Receiver<T>,
    batch: &mut Vec<T>,
    hurry: impl Future<Output = ()>,
    closing: &CancellationToken,
) {
    if batch.len() >= ENOUGH || moment.is_zero() {
        return;
    }
    tokio::select! {
        () = closing.cancelled() => {}
        () = hurry => {}
        () = sleep(moment) => {}
    }
    while batch.len() < most {
        match queue.try_recv() {
            Ok(one) => batch.push(one),
            Err(_) => return,
        }
    }
}
