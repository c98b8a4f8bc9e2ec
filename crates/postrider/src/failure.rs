//! How a command ends.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done; for a server: stopped cleanly |
//! | 1 | it did not work: a check, a delivery of the tour, a backup |
//! | 2 | something has to be corrected first: a setting, an argument, a port in use, the data directory |
//! | 130 | stopped at once by a second signal |

use std::process::ExitCode;

use crate::config::ConfigError;

/// How a command ended that could do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Done,
    /// What is wrong has been said already.
    Wrong,
    Interrupted,
}

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Somebody has to correct something before it is tried again.
    #[error(transparent)]
    Setting(#[from] ConfigError),
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

impl Ending {
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Wrong => 1,
            Self::Interrupted => 130,
        }
    }
}

impl Failure {
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::Setting(_) => 2,
            Self::Other(_) => 1,
        }
    }
}

/// What the operating system said, without the number that it has for it.
#[must_use]
pub fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    let cut = text.find(" (os error").unwrap_or(text.len());
    text[..cut].to_lowercase()
}

/// The exit code; a failure is printed, in one line.
#[must_use]
pub fn exit_code(result: &Result<Ending, Failure>) -> ExitCode {
    match result {
        Ok(ending) => ending.code().into(),
        Err(failure) => {
            let text = failure.to_string();
            crate::output::error(text.split_whitespace().collect::<Vec<_>>().join(" "));
            failure.code().into()
        }
    }
}
