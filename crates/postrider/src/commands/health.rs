//! `postrider health`: for supervisors and containers, which have no `curl`.

use anyhow::Context as _;

use super::check::ask_server;
use super::{configure, install_tls};
use crate::cli::HealthArgs;
use crate::config::Mode;
use crate::failure::{Ending, Failure};
use crate::output;

pub(super) fn run(args: HealthArgs) -> Result<Ending, Failure> {
    let config = configure(Mode::Serve, args.flags.values)?;
    install_tls();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be set up")?;
    match runtime.block_on(ask_server(config.listeners.metrics.value)) {
        Ok(said) => {
            output::line(said);
            Ok(Ending::Done)
        }
        Err(problem) => {
            output::error(problem);
            Ok(Ending::Wrong)
        }
    }
}
