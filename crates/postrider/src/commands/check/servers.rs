//! RabbitMQ and Redis.

use super::{Findings, PATIENCE, probe};
use crate::config::{Config, Servers};
use crate::installation::Shared;

pub(super) async fn try_all(findings: &mut Findings, config: &Config, named: &Servers) {
    let shared = match Shared::name(config, named) {
        Ok(shared) => shared,
        Err(error) => return findings.bad("backends", error),
    };
    let broker = tokio::time::timeout(PATIENCE, shared.broker.check()).await;
    match broker {
        Ok(Ok(found)) => findings.good("broker", found),
        Ok(Err(error)) => findings.bad("broker", error),
        Err(_) => findings.bad("broker", format_args!("no answer within {} s", PATIENCE.as_secs())),
    }
    let ports = shared.ports();
    let founded = shared.registry.is_founded().await;
    match founded {
        Ok(false) if shared.broker.is_new_installation().await.unwrap_or(false) => {
            findings.good("registry", "none yet; the first start founds it");
        }
        _ => findings.of("registry", probe(&*ports.registry).await.map(|()| READY)),
    }
    findings.of("limits", probe(&*ports.limits).await.map(|()| READY));
    findings.of("dead letters", probe(&*ports.dead_letters).await.map(|()| READY));
    findings.of("log", probe(&*ports.log).await.map(|()| READY));
}

const READY: &str = "answers, and can be written to";
