//! Tells what the log left out because it came too often.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{Chore, pause};
use crate::telemetry::take_left_out;

const EVERY: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct LeftOut;

impl LeftOut {
    fn tell() {
        for (said, times) in take_left_out() {
            info!(said, times, "repeated, and left out");
        }
    }
}

impl Chore for LeftOut {
    const NAME: &'static str = "left out";

    async fn run(self, stop: CancellationToken) {
        while pause(EVERY, &stop).await.is_continue() {
            Self::tell();
        }
        Self::tell();
    }
}
