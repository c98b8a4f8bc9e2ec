//! `postrider completions`: for the shell.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::failure::Ending;
use crate::output;

pub(super) fn run(shell: Shell) -> Ending {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "postrider", &mut script);
    output::line(String::from_utf8_lossy(&script).trim_end());
    Ending::Done
}
