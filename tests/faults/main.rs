//! Faults beneath Postrider: what RabbitMQ, Redis, the network and poisonous work do to it, against a ledger of everything
//! accepted and everything received.
//!
//! Each scenario drives real processes on a real RabbitMQ and Redis, injects its faults, and prints one line of figures.
//! One runs at a time, because each wants the whole machine.
//!
//! ```sh
//! ./scripts/test                              # the short forms of those marked so, with everything else
//! ./scripts/test --all                        # every scenario, at length
//! ./scripts/test --only rabbitmq_restarts     # one, at length
//! ```
//!
//! A new scenario is a file beside this one and a row in [`SCENARIOS`].

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "in a test a panic is the report, and so are figures"
)]

mod mass_hang;
mod rabbitmq_restarts;
#[allow(dead_code, reason = "what scenarios share; not each needs all of it")]
mod stage;
#[allow(dead_code, reason = "what scenarios share; not each needs all of it")]
mod watch;

use std::pin::Pin;

use libtest_mimic::{Arguments, Trial};

/// How long a scenario may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// In every run of the tests: as little as shows it.
    Short,
    Long,
}

impl Form {
    /// The one or the other.
    fn pick<T>(self, short: T, long: T) -> T {
        match self {
            Self::Short => short,
            Self::Long => long,
        }
    }
}

type Run = fn(Form) -> Pin<Box<dyn Future<Output = ()>>>;

#[derive(Clone, Copy)]
struct Scenario {
    name: &'static str,
    /// Whether it has a short form, which is part of every run.
    short: bool,
    run: Run,
}

const fn short(name: &'static str, run: Run) -> Scenario {
    Scenario {
        name,
        short: true,
        run,
    }
}

/// Only with `--all`, or asked for by name.
const fn long(name: &'static str, run: Run) -> Scenario {
    Scenario {
        name,
        short: false,
        run,
    }
}

const SCENARIOS: &[Scenario] = &[
    short("rabbitmq_restarts", |form| {
        Box::pin(rabbitmq_restarts::run(form))
    }),
    long("mass_hang", |form| Box::pin(mass_hang::run(form))),
    long("mass_hang_killed", |form| {
        Box::pin(mass_hang::run_killed(form))
    }),
];

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let form = match std::env::var_os("POSTRIDER_TEST_ALL") {
        Some(_) => Form::Long,
        None => Form::Short,
    };
    let chosen = SCENARIOS
        .iter()
        .filter(|scenario| form == Form::Long || scenario.short);
    let trials = chosen.map(|scenario| trial(*scenario, form)).collect();
    libtest_mimic::run(&arguments, trials).exit();
}

fn trial(scenario: Scenario, form: Form) -> Trial {
    Trial::test(scenario.name, move || {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
        runtime.block_on((scenario.run)(form));
        Ok(())
    })
}
