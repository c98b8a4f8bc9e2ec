//! `postrider registry`: applications, endpoints and event types as a file, and a registry that was lost.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use postrider_core::ports::{ExportCursor, Imported, PortError, Registry, RegistryRecord};
use postrider_core::registry_file::{RegistryFileReader, RegistryFileWriter};
use tempfile::NamedTempFile;

use super::{configure, install_tls};
use crate::cli::{ExportArgs, ImportArgs, InitArgs, RegistryAction};
use crate::config::{Config, ConfigError, FlagValues, Mode};
use crate::failure::{Ending, Failure, plain};
use crate::installation::Installation;
use crate::output;

/// Records in one call.
const PORTION: usize = 500;

pub(super) fn run(action: RegistryAction) -> Result<Ending, Failure> {
    match action {
        RegistryAction::Export(ExportArgs { to, flags }) => {
            with_registry(flags.values, async |registry| export(&*registry, &to).await)
        }
        RegistryAction::Import(ImportArgs { from, flags }) => {
            // Read to its end before anything is changed.
            read(&from, |_| Ok(()))?;
            with_registry(flags.values, async |registry| {
                import(&*registry, &from).await
            })
        }
        RegistryAction::Init(InitArgs { flags }) => init(flags.values),
    }
}

fn with_registry(
    flags: FlagValues,
    work: impl AsyncFnOnce(Arc<dyn Registry>) -> Result<(), Failure>,
) -> Result<Ending, Failure> {
    on_installation(flags, async |installation| {
        work(installation.ports().registry).await
    })
}

fn on_installation(
    flags: FlagValues,
    work: impl AsyncFnOnce(&Installation) -> Result<(), Failure>,
) -> Result<Ending, Failure> {
    let config = configure(Mode::Serve, flags)?;
    install_tls();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("the runtime cannot be set up")?;
    runtime.block_on(async {
        let installation = open(&config)?;
        let done = work(&installation).await;
        installation.close().await;
        done.map(|()| Ending::Done)
    })
}

fn open(config: &Config) -> Result<Installation, ConfigError> {
    let data = super::data_directory(config)?;
    if config.backends.is_embedded() && !data.exists() {
        return Err(ConfigError::new(format_args!(
            "there is no data directory {}; name one with --data, or servers with --broker and --store",
            data.display()
        )));
    }
    Installation::open(config, &data)
}

async fn export(registry: &dyn Registry, to: &Path) -> Result<(), Failure> {
    if to.exists() {
        return Err(already_there(to).into());
    }
    let dir = to.parent().filter(|dir| !dir.as_os_str().is_empty());
    // Readable by its owner alone: it holds secrets. It appears under its name once it is whole.
    let file = NamedTempFile::new_in(dir.unwrap_or(Path::new("."))).map_err(|error| {
        ConfigError::new(format_args!(
            "{} cannot be written ({}); name another file with --to",
            to.display(),
            plain(&error)
        ))
    })?;
    let records = write_all(registry, file.as_file()).await?;
    file.as_file()
        .sync_all()
        .context("the file cannot be written")?;
    file.persist_noclobber(to).map_err(|_| already_there(to))?;
    output::line(format_args!(
        "{}: {records} records, secrets included",
        to.display()
    ));
    Ok(())
}

fn already_there(to: &Path) -> ConfigError {
    ConfigError::new(format_args!(
        "{} exists already; name a new file with --to",
        to.display()
    ))
}

async fn write_all(registry: &dyn Registry, file: &File) -> Result<u64, Failure> {
    let mut out = BufWriter::new(file);
    let mut lines = RegistryFileWriter::default();
    let mut line = |text: String| writeln!(out, "{text}").context("the file cannot be written");
    line(lines.header(concat!("postrider ", env!("CARGO_PKG_VERSION"))))?;
    let mut records = 0;
    let mut cursor = Some(ExportCursor::Start);
    while let Some(from) = cursor {
        let portion = registry.export(&from, PORTION).await.map_err(told)?;
        for record in &portion.records {
            line(lines.record(record))?;
            records += 1;
        }
        cursor = portion.next;
    }
    line(lines.end())?;
    out.flush().context("the file cannot be written")?;
    Ok(records)
}

async fn import(registry: &dyn Registry, from: &Path) -> Result<(), Failure> {
    let mut portion = Vec::new();
    let mut portions: Vec<Vec<RegistryRecord>> = Vec::new();
    read(from, |record| {
        portion.push(record);
        if portion.len() == PORTION {
            portions.push(std::mem::take(&mut portion));
        }
        Ok(())
    })?;
    portions.push(portion);
    let mut all = Imported::default();
    for portion in portions {
        all += registry.import(portion).await.map_err(told)?;
    }
    registry.declare_complete().await.map_err(told)?;
    let Imported {
        stored,
        kept,
        orphans,
        without_uid,
    } = all;
    output::line(format_args!("{stored} records were stored"));
    for (count, what) in [
        (kept, "were left as they are, because they are newer"),
        (
            orphans,
            "endpoints were left out, because their application is not there",
        ),
        (
            without_uid,
            "of those stored lost their uid, because another record has it by now",
        ),
    ] {
        if count > 0 {
            output::line(format_args!("{count} {what}"));
        }
    }
    Ok(())
}

/// Hands every record of a file to `each`.
fn read(
    from: &Path,
    mut each: impl FnMut(RegistryRecord) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let refuse = |problem: String| {
        ConfigError::new(format_args!(
            "{} cannot be imported: {problem}; nothing was changed",
            from.display()
        ))
    };
    let unreadable = |error: io::Error| refuse(plain(&error));
    let mut lines = RegistryFileReader::default();
    for text in BufReader::new(File::open(from).map_err(unreadable)?).lines() {
        let found = lines.line(&text.map_err(unreadable)?);
        if let Some(record) = found.map_err(|error| refuse(error.to_string()))? {
            each(record)?;
        }
    }
    lines.finish().map_err(|error| refuse(error.to_string()))?;
    Ok(())
}

fn init(flags: FlagValues) -> Result<Ending, Failure> {
    on_installation(flags, async |installation| {
        let Installation::Shared(shared) = installation else {
            let line =
                "the embedded registry needs no founding; name servers with --broker and --store";
            return Err(ConfigError::new(line).into());
        };
        let said = if shared.registry.found_anew().await.map_err(told)? {
            "an empty registry was founded"
        } else {
            "there is a registry already; nothing was changed"
        };
        output::line(said);
        Ok(())
    })
}

fn told(error: PortError) -> Failure {
    anyhow!(error).into()
}
