//! `postrider serve`: the service.

use std::sync::Arc;

use postrider_engine::NoObserver;
use tokio_util::sync::CancellationToken;

use super::{configure, install_tls};
use crate::config::{Config, ConfigError, FlagValues, Mode};
use crate::failure::{Ending, Failure};
use crate::wiring::{Node, NodeParts, raise_file_limit};
use crate::{shutdown, systemd, telemetry};

pub(super) fn run(flags: FlagValues) -> Result<Ending, Failure> {
    let config = configure(Mode::Serve, flags)?;
    telemetry::init_logs(&config.logs)?;
    install_tls();
    shutdown::run(|stop| serve(config, stop))
}

async fn serve(config: Config, stop: CancellationToken) -> Result<Ending, Failure> {
    let mut node = Node::start(parts(config)?).await?;
    raise_file_limit(node.config().delivery.slots);
    node.start_delivering()?;
    node.announce();
    systemd::ready();

    stop.cancelled().await;
    systemd::stopping();
    node.stop().await;
    Ok(Ending::Done)
}

fn parts(config: Config) -> Result<NodeParts, ConfigError> {
    // A worker makes and verifies no token, so it need not know the secret.
    let jwt_secret = if config.process.roles.ingest {
        Some(config.access.require()?)
    } else {
        None
    };
    let data = super::data_directory(&config)?;
    Ok(NodeParts {
        config,
        data,
        jwt_secret,
        observer: Arc::new(NoObserver),
    })
}
