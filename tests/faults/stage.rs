//! Where a scenario plays: processes whose network can fail, a load, and the ledger that judges in the end.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use postrider_tests::ledger::{Culprit, Fault, Rules, judge};
use postrider_tests::{
    Cluster, Ledger, Load, Proxy, Receiver, Route, Running, Server, Settings, Shared, Tenant,
    Verdict, within,
};
use tokio::time::Instant;

pub(crate) struct Stage {
    pub(crate) installation: Shared,
    /// Between the processes and RabbitMQ.
    pub(crate) broker: Proxy,
    /// Between the processes and Redis.
    pub(crate) store: Proxy,
    pub(crate) settings: Settings,
    pub(crate) cluster: Cluster,
    pub(crate) receiver: Receiver,
    pub(crate) tenants: Vec<Tenant>,
    pub(crate) ledger: Ledger,
}

/// What is different from scenario to scenario.
pub(crate) struct Plan {
    pub(crate) ingests: usize,
    pub(crate) workers: usize,
    /// The endpoints of each application, by name.
    pub(crate) tenants: Vec<Vec<&'static str>>,
    /// More settings of the processes, without the prefix.
    pub(crate) env: Vec<(&'static str, String)>,
    /// Another binary than that of all tests.
    pub(crate) program: Option<PathBuf>,
}

impl Default for Plan {
    /// Two of everything.
    fn default() -> Self {
        Self {
            ingests: 2,
            workers: 2,
            tenants: vec![vec!["one"], vec!["two"]],
            env: Vec::new(),
            program: None,
        }
    }
}

impl Stage {
    pub(crate) async fn set(installation: Shared, receiver: Receiver, plan: Plan) -> Self {
        let broker = Proxy::start(&installation.broker_address()).await;
        let store = Proxy::start(&installation.redis.address()).await;
        let mut settings = installation.settings_at(&broker.address(), &store.address());
        settings.env.extend(plan.env);
        settings.program = plan.program;
        let cluster = Cluster::start(&settings, plan.ingests, plan.workers).await;
        let mut tenants = Vec::new();
        for names in plan.tenants {
            tenants.push(cluster.api.tenant(&receiver, &names).await);
        }
        Self {
            installation,
            broker,
            store,
            settings,
            cluster,
            receiver,
            tenants,
            ledger: Ledger::default(),
        }
    }

    /// Events for all applications in turns, until it is stopped; a client that got no 202 repeats.
    pub(crate) fn load(&self, clients: usize, pause: Duration) -> Running {
        let load = Load {
            clients,
            total: usize::MAX,
            pause,
            routes: self.tenants.iter().map(Route::to).collect(),
        };
        load.start(&self.cluster.api, &self.cluster.addresses, &self.ledger)
    }

    /// Notes a fault that may have touched any request under way between these times.
    pub(crate) fn fault(&self, begun: Instant, over: Instant) {
        self.ledger.fault(Fault {
            at: (begun, over),
            whose: Culprit::Anybody,
        });
    }

    /// Notes a fault because of which no request may be repeated.
    pub(crate) fn fault_without_excuse(&self, begun: Instant, over: Instant) {
        self.ledger.fault(Fault {
            at: (begun, over),
            whose: Culprit::Nobody,
        });
    }

    pub(crate) fn processes(&self) -> impl Iterator<Item = &Server> {
        self.cluster.ingests.iter().chain(&self.cluster.workers)
    }

    /// Waits until everything accepted has arrived and every pair has ended, prints the figures, and asserts that
    /// everything promised was kept.
    pub(crate) async fn judge(
        &self,
        name: &str,
        rules: &Rules,
        bound: Duration,
        more: impl fmt::Display,
    ) -> Verdict {
        let arrived = within(bound, || async {
            let complete = |requests: &[_]| self.ledger.is_complete(requests);
            self.receiver.look(complete).then_some(())
        });
        if arrived.await.is_none() {
            println!("{name}: not everything arrived within {bound:?}");
        }
        let api = &self.cluster.api;
        let history = self.ledger.full_history(&self.receiver, api, &self.tenants);
        let verdict = judge(&history.await, rules);
        println!("{name}: {verdict} {more}");
        verdict.assert_kept();
        verdict
    }
}
