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

mod answers_lost;
mod attempt_six;
mod channel_closed;
mod consumer_cancelled;
mod crash_loop;
mod failing;
mod garbage;
mod log_store_away;
mod mass_hang;
mod memory_alarm;
mod mid_frame;
mod queue_deleted;
mod rabbitmq_4;
mod rabbitmq_cluster;
mod rabbitmq_paused;
mod rabbitmq_restarts;
mod redis_cluster;
mod redis_flushed;
mod redis_restarts;
mod redis_unwell;
#[allow(dead_code, reason = "what scenarios share; not each needs all of it")]
mod stage;
mod store;
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
    short("answers_lost", |form| Box::pin(answers_lost::run(form))),
    short("memory_alarm", |form| {
        Box::pin(memory_alarm::with_store(form))
    }),
    long("memory_alarm_no_store", |form| {
        Box::pin(memory_alarm::without_store(form))
    }),
    long("rabbitmq_paused", |form| {
        Box::pin(rabbitmq_paused::run(form))
    }),
    long("mid_frame", |form| Box::pin(mid_frame::run(form))),
    long("channel_closed", |form| Box::pin(channel_closed::run(form))),
    long("consumer_cancelled", |form| {
        Box::pin(consumer_cancelled::run(form))
    }),
    long("queue_deleted", |form| Box::pin(queue_deleted::run(form))),
    short("redis_restarts", |form| Box::pin(redis_restarts::run(form))),
    short("redis_flushed", |form| Box::pin(redis_flushed::run(form))),
    short("redis_paused", |form| Box::pin(redis_unwell::paused(form))),
    long("redis_slow", |form| Box::pin(redis_unwell::slow(form))),
    long("redis_read_only", |form| {
        Box::pin(redis_unwell::read_only(form))
    }),
    long("redis_full", |form| Box::pin(redis_unwell::full(form))),
    long("redis_full_of_log", |form| {
        Box::pin(redis_unwell::full_of_log(form))
    }),
    long("attempt_six", |form| Box::pin(attempt_six::run(form))),
    long("redis_cluster", |form| Box::pin(redis_cluster::run(form))),
    long("log_store_away", |form| Box::pin(log_store_away::run(form))),
    long("mass_hang", |form| Box::pin(mass_hang::run(form))),
    long("crash_loop", |form| Box::pin(crash_loop::run(form))),
    short("garbage", |form| Box::pin(garbage::run(form))),
    long("rabbitmq_cluster", |form| {
        Box::pin(rabbitmq_cluster::run(form))
    }),
    long("rabbitmq_4", |form| Box::pin(rabbitmq_4::run(form))),
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
