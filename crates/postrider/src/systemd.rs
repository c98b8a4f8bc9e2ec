//! What systemd wants to know. Without systemd, nothing happens.

use std::future::Future;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::chores::{Chore, pause};

pub fn ready() {
    notify(&[NotifyState::Ready]);
}

pub fn stopping() {
    notify(&[NotifyState::Stopping]);
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        debug!(%error, "the service manager cannot be told");
    }
}

/// Tells systemd that the runtime still turns, where the unit asks for it (`WatchdogSec=`).
#[derive(Debug)]
pub struct Watchdog;

impl Chore for Watchdog {
    const NAME: &'static str = "watchdog";

    fn run(self, stop: CancellationToken) -> impl Future<Output = ()> + Send {
        watch(stop, sd_notify::watchdog_enabled())
    }
}

async fn watch(stop: CancellationToken, limit: Option<Duration>) {
    let Some(limit) = limit else { return };
    loop {
        notify(&[NotifyState::Watchdog]);
        if pause(limit / 3, &stop).await.is_break() {
            return;
        }
    }
}
