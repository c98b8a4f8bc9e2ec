//! RabbitMQ and Redis.

use postrider_backends::rabbitmq::Report;
use tokio::time::timeout;

use super::{Findings, PATIENCE, probe};
use crate::config::{Config, Servers};
use crate::installation::Shared;

const READY: &str = "answers, and can be written to";

pub(super) async fn try_all(findings: &mut Findings, config: &Config, named: &Servers) {
    let shared = match Shared::name(config, named) {
        Ok(shared) => shared,
        Err(error) => return findings.bad("backends", error),
    };
    let broker = timeout(PATIENCE, shared.broker.check()).await;
    let is_new = match broker {
        Ok(Ok(report)) => {
            tell(findings, &report);
            report.is_new
        }
        Ok(Err(error)) => {
            findings.bad("broker", error);
            false
        }
        Err(_) => {
            findings.bad(
                "broker",
                format_args!("no answer within {} s", PATIENCE.as_secs()),
            );
            false
        }
    };
    let ports = shared.ports();
    let limits = probe(&*ports.limits).await;
    // Where nobody was ever here, there is no registry to be missed.
    match probe(&*ports.registry).await {
        Err(_) if is_new && limits.is_ok() => {
            findings.good("registry", "there is none yet; the first start founds it");
        }
        found => findings.of("registry", found.map(|()| READY)),
    }
    findings.of("limits", limits.map(|()| READY));
    findings.of(
        "dead letters",
        probe(&*ports.dead_letters).await.map(|()| READY),
    );
    findings.of("documents", probe(&*ports.documents).await.map(|()| READY));
    findings.of("log", probe(&*ports.log).await.map(|()| READY));
}

fn tell(findings: &mut Findings, report: &Report) {
    let Report {
        server,
        node,
        away,
        strangers,
        is_new,
        missing,
        different,
    } = report;
    for cause in away {
        findings.note(format_args!(
            "broker: a node is away ({cause}); the others are used"
        ));
    }
    for stranger in strangers {
        findings.bad(
            "broker",
            format_args!(
                "{stranger} and {node} are nodes of different clusters; name nodes of one, or join them \
                 (rabbitmqctl join_cluster)"
            ),
        );
    }
    for cause in different {
        findings.bad(
            "broker",
            format_args!(
                "{server} at {node} has a queue that is not ours ({cause}); use another virtual host"
            ),
        );
    }
    if *is_new {
        findings.good(
            "broker",
            format_args!("{server} at {node}; no queues yet, the first start declares them"),
        );
    } else if !missing.is_empty() {
        findings.good(
            "broker",
            format_args!(
                "{server} at {node}; the next start declares {}",
                missing.join(", ")
            ),
        );
    } else if different.is_empty() {
        findings.good(
            "broker",
            format_args!("{server} at {node}; all queues are there"),
        );
    }
}
