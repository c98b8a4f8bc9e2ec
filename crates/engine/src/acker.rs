//! Acknowledgements, coalesced: whatever is let go while one call is under way goes with the next.
//!
//! Few wait for more, but not where a queue waits for them: of one with a small window, whose packs are large, a few
//! finished packs are all that may be out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use postrider_core::ports::{Broker, Receipt, Window};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::linger::linger;

const BATCH: usize = 1024;
/// Finished packs are much of a window from this part of it on.
const SHARE: usize = 4;
/// A broker that cannot take acknowledgements now is asked again this much later.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(crate) struct Acker {
    receipts: mpsc::Sender<Receipt>,
    finished: Arc<Finished>,
    closing: CancellationToken,
}

impl Acker {
    /// Fewer than enough wait for `linger` for more. What comes again meanwhile finds its outcomes recorded.
    pub(crate) fn start(
        broker: Arc<dyn Broker>,
        linger: Duration,
        background: &TaskTracker,
    ) -> Self {
        let (receipts, queue) = mpsc::channel(BATCH * 4);
        let closing = CancellationToken::new();
        let finished = Arc::new(Finished::of(&broker.windows()));
        let task = Task {
            broker,
            moment: linger,
            finished: Arc::clone(&finished),
            closing: closing.clone(),
        };
        background.spawn(task.run(queue));
        Self {
            receipts,
            finished,
            closing,
        }
    }

    /// Lets a pack go. Returns before the broker knows: if that is lost, the pack comes again and finds its
    /// outcomes recorded.
    pub(crate) async fn ack(&self, receipt: Receipt) {
        self.finished.add(receipt);
        let _ = self.receipts.send(receipt).await;
    }

    pub(crate) fn close(&self) {
        self.closing.cancel();
    }
}

/// How many packs of each queue are finished and fill its window nevertheless.
#[derive(Debug)]
struct Finished {
    queues: Vec<Queue>,
    /// Told when that is much of a window.
    much: Notify,
}

#[derive(Debug)]
struct Queue {
    finished: AtomicUsize,
    much: usize,
}

impl Finished {
    fn of(windows: &[Window]) -> Self {
        let queue = |window: &Window| Queue {
            finished: AtomicUsize::new(0),
            much: window
                .packs
                .map_or(usize::MAX, |packs| packs.div_ceil(SHARE)),
        };
        Self {
            queues: windows.iter().map(queue).collect(),
            much: Notify::new(),
        }
    }

    fn queue(&self, receipt: Receipt) -> Option<&Queue> {
        self.queues.get(usize::try_from(receipt.queue).ok()?)
    }

    fn add(&self, receipt: Receipt) {
        if let Some(queue) = self.queue(receipt)
            && queue.finished.fetch_add(1, Relaxed) + 1 >= queue.much
        {
            self.much.notify_one();
        }
    }

    fn take(&self, receipt: Receipt) {
        if let Some(queue) = self.queue(receipt) {
            queue.finished.fetch_sub(1, Relaxed);
        }
    }
}

struct Task {
    broker: Arc<dyn Broker>,
    moment: Duration,
    finished: Arc<Finished>,
    closing: CancellationToken,
}

impl Task {
    async fn run(self, mut queue: mpsc::Receiver<Receipt>) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                biased;
                taken = queue.recv_many(&mut batch, BATCH) => if taken == 0 { return },
                () = self.closing.cancelled(), if !queue.is_closed() => queue.close(),
            }
            if !batch.is_empty() {
                let much = self.finished.much.notified();
                linger(
                    self.moment,
                    BATCH,
                    &mut queue,
                    &mut batch,
                    much,
                    &self.closing,
                )
                .await;
                for receipt in &batch {
                    self.finished.take(*receipt);
                }
                acknowledge(&*self.broker, std::mem::take(&mut batch), &self.closing).await;
            }
        }
    }
}

/// Repeats until the broker has taken it. While closing, one more try is all there is time for.
async fn acknowledge(broker: &dyn Broker, batch: Vec<Receipt>, closing: &CancellationToken) {
    let mut complained = false;
    while let Err(error) = broker.ack(batch.clone()).await {
        if !complained {
            warn!(%error, packs = batch.len(), "cannot acknowledge finished work; trying until it is possible");
            complained = true;
        }
        if closing.is_cancelled() {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    fn window(packs: Option<usize>) -> Window {
        Window {
            queue: String::new(),
            packs,
        }
    }

    fn receipt(queue: u32, tag: u64) -> Receipt {
        Receipt {
            generation: 0,
            queue,
            tag,
        }
    }

    #[test]
    fn a_quarter_of_a_window_is_much_and_only_of_one_queue() {
        let finished = Finished::of(&[window(Some(16)), window(Some(512)), window(None)]);
        let is_much = || finished.much.notified().now_or_never().is_some();
        for tag in 0..100 {
            finished.add(receipt(1, tag));
            finished.add(receipt(2, tag));
        }
        for tag in 0..3 {
            finished.add(receipt(0, tag));
        }
        assert!(!is_much());
        finished.add(receipt(0, 3));
        assert!(is_much());
        finished.take(receipt(0, 0));
        finished.take(receipt(0, 1));
        finished.add(receipt(0, 4));
        assert!(!is_much());
    }
}
