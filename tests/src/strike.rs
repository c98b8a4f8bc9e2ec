//! Kills that are noted in the ledger.

use std::collections::BTreeSet;

use nix::sys::signal::Signal;
use tokio::time::Instant;

use crate::ledger::{Culprit, Fault};
use crate::{Ledger, Server, local_ports};

/// `kill -9` of a worker. The requests that it may have had under way are those that come from no port of the
/// `others`, which are all other workers that run. It is stopped first, so that none is added in between.
pub async fn kill_worker(victim: Server, others: &[i32], ledger: &Ledger) {
    let begun = Instant::now();
    victim.signal(Signal::SIGSTOP);
    let ports: BTreeSet<u16> = others.iter().flat_map(|pid| local_ports(*pid)).collect();
    victim.kill().await;
    ledger.fault(Fault {
        at: (begun, Instant::now()),
        whose: Culprit::AllBut(ports),
    });
}

/// `kill -9` of an ingest. No delivery may be repeated because of it.
pub async fn kill_ingest(victim: Server, ledger: &Ledger) {
    let begun = Instant::now();
    victim.kill().await;
    ledger.fault(Fault {
        at: (begun, Instant::now()),
        whose: Culprit::Nobody,
    });
}
