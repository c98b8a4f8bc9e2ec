//! Signals: the first asks for a clean stop, the second for an immediate one.

use std::future::Future;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::failure::{Ending, Failure};

/// Runs a server: `story` is given a token that is cancelled by the first SIGTERM or SIGINT, and is expected to end
/// by itself then. A second signal ends it at once.
///
/// # Errors
/// Where `story` fails, or the runtime cannot be set up.
pub fn run<F>(story: impl FnOnce(CancellationToken) -> F) -> Result<Ending, Failure>
where
    F: Future<Output = Result<Ending, Failure>>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be set up")?;
    let result = runtime.block_on(async {
        let signals = Signals::listen().context("signals cannot be listened for")?;
        tokio::select! {
            ended = Box::pin(story(signals.stop.clone())) => ended,
            () = signals.at_once.cancelled() => Ok(Ending::Interrupted),
        }
    });
    // Not waiting: after a clean stop nothing is left, and after the second signal nobody wants to.
    runtime.shutdown_background();
    result
}

struct Signals {
    stop: CancellationToken,
    at_once: CancellationToken,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let signals = Self {
            stop: CancellationToken::new(),
            at_once: CancellationToken::new(),
        };
        let (stop, at_once) = (signals.stop.clone(), signals.at_once.clone());
        tokio::spawn(async move {
            loop {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                };
                if stop.is_cancelled() {
                    warn!(
                        signal = name,
                        "stopping at once; what was under way will be repeated after the next start"
                    );
                    return at_once.cancel();
                }
                info!(
                    signal = name,
                    "stopping; what is under way is finished first, and a second signal stops at once"
                );
                stop.cancel();
            }
        });
        Ok(signals)
    }
}
