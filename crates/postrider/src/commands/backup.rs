//! `postrider backup`: a consistent copy of the embedded backends' data, whether a server is using it or not.

use std::io;

use anyhow::{Context as _, anyhow};
use postrider_backends::embedded::{BackupError, backup_directory};

use super::configure;
use crate::cli::BackupArgs;
use crate::config::{ConfigError, Mode};
use crate::failure::{Ending, Failure, plain};
use crate::output;

pub(super) fn run(args: BackupArgs) -> Result<Ending, Failure> {
    let config = configure(Mode::Serve, args.flags.values)?;
    config.backends.require_embedded(
        "this copies the embedded backends alone: see docs/operations/scale-out.md for what to back up there",
    )?;
    let Some(data) = config.backends.data else {
        return Err(
            ConfigError::new("POSTRIDER_DATA is not set; name the directory to be copied").into(),
        );
    };
    if let Err(error) = std::fs::read_dir(&data.value) {
        let what = if error.kind() == io::ErrorKind::NotFound {
            "does not exist".to_owned()
        } else {
            format!("cannot be read ({})", plain(&error))
        };
        return Err(ConfigError::of(
            &data.given,
            what,
            "name the directory to be copied with --data or POSTRIDER_DATA",
        )
        .into());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .context("the runtime cannot be set up")?;
    runtime
        .block_on(backup_directory(&data.value, &args.to))
        .map_err(told)?;
    let size = std::fs::metadata(&args.to).map_or(0, |found| found.len());
    output::line(format_args!(
        "{} ({size} bytes): a copy of {}",
        args.to.display(),
        data.value.display()
    ));
    Ok(Ending::Done)
}

fn told(error: BackupError) -> Failure {
    match error {
        BackupError::Exists(to) => ConfigError::new(format_args!(
            "{} exists already; name a new file with --to",
            to.display()
        ))
        .into(),
        BackupError::Target { .. } => {
            ConfigError::new(format_args!("{error}; name another file with --to")).into()
        }
        BackupError::Source(error) => ConfigError::new(format_args!(
            "{error}; name a data directory with --data or POSTRIDER_DATA"
        ))
        .into(),
        BackupError::Copy(_) | BackupError::Interrupted => Failure::from(anyhow!(
            "the backup failed and left nothing behind: {error}"
        )),
    }
}
