//! Kills that are noted in the ledger.

use std::collections::BTreeSet;

use nix::sys::signal::Signal;
use tokio::time::Instant;

use crate::ledger::{Culprit, Fault};
use crate::process::children;
use crate::{Ledger, Server, local_ports};

/// `kill -9` of a worker. It is stopped first, so that the ports by which its requests are told apart are those at which
/// it dies.
pub async fn kill_worker(victim: Server, ledger: &Ledger) {
    let begun = Instant::now();
    victim.signal(Signal::SIGSTOP);
    let own = local_ports(victim.pid());
    // Every process of the suite, those that are just coming up, too.
    let siblings = children(i32::try_from(std::process::id()).unwrap()).into_iter();
    let others: BTreeSet<u16> = siblings
        .filter(|pid| *pid != victim.pid())
        .flat_map(local_ports)
        .collect();
    victim.kill().await;
    ledger.fault(Fault {
        at: (begun, Instant::now()),
        whose: Culprit::Process { own, others },
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
