//! `postrider`: see the library for everything.

use std::process::ExitCode;

use clap::Parser as _;
use postrider::cli::Cli;
use postrider::{commands, failure};

fn main() -> ExitCode {
    failure::exit_code(&commands::run(Cli::parse()))
}
