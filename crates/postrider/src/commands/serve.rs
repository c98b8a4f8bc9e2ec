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
    config.backends.require_embedded()?;
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
    let jwt_secret = config.access.require()?;
    let data = config
        .backends
        .data
        .as_ref()
        .map(|entry| entry.value.clone());
    let data =
        data.ok_or_else(|| ConfigError::new("POSTRIDER_DATA is not set; name a directory"))?;
    Ok(NodeParts {
        config,
        data,
        jwt_secret,
        observer: Arc::new(NoObserver),
    })
}
