//! Acknowledgements, coalesced: whatever is let go while one call is under way goes with the next.

use std::sync::Arc;
use std::time::Duration;

use postrider_core::ports::{Broker, Receipt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::linger::linger;

const BATCH: usize = 1024;
/// A broker that cannot take acknowledgements now is asked again this much later.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(crate) struct Acker {
    receipts: mpsc::Sender<Receipt>,
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
        background.spawn(run(broker, linger, queue, closing.clone()));
        Self { receipts, closing }
    }

    /// Lets a pack go. Returns before the broker knows: if that is lost, the pack comes again and finds its
    /// outcomes recorded.
    pub(crate) async fn ack(&self, receipt: Receipt) {
        let _ = self.receipts.send(receipt).await;
    }

    pub(crate) fn close(&self) {
        self.closing.cancel();
    }
}

async fn run(
    broker: Arc<dyn Broker>,
    moment: Duration,
    mut queue: mpsc::Receiver<Receipt>,
    closing: CancellationToken,
) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        tokio::select! {
            biased;
            taken = queue.recv_many(&mut batch, BATCH) => if taken == 0 { return },
            () = closing.cancelled(), if !queue.is_closed() => queue.close(),
        }
        if !batch.is_empty() {
            linger(moment, BATCH, &mut queue, &mut batch, &closing).await;
            acknowledge(&*broker, std::mem::take(&mut batch), &closing).await;
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
