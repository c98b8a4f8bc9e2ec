//! `postrider`: see the library for everything.

use std::process::ExitCode;

use clap::Parser as _;
use postrider::cli::Cli;
use postrider::{commands, failure};

/// A fifth of the CPU of a delivery was the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    failure::exit_code(&commands::run(Cli::parse()))
}
