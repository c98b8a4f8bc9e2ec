//! `postrider dev`: everything in one process, and a tour.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postrider_api::JwtSecret;
use postrider_api::tokens::mint_operator;
use postrider_core::secret::SecretText;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::check::reachable;
use super::{configure, install_tls};
use crate::cli::DevArgs;
use crate::config::{Config, ConfigError, Entry, Mode, Roles, read_secret};
use crate::failure::{Ending, Failure, plain};
use crate::tour::{self, Place, Sights, Tour, Verdict};
use crate::wiring::{Node, NodeParts, raise_file_limit};
use crate::{DEFAULT_ORG, output, shutdown, telemetry};

/// Beside the database, so that tokens outlive a restart.
const SECRET_FILE: &str = "dev-jwt-secret";
const TOKEN_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3_600);

pub(super) fn run(args: DevArgs) -> Result<Ending, Failure> {
    let mut config = configure(Mode::Dev, args.flags.values)?;
    config.process.roles = Roles::ALL;
    config
        .backends
        .require_embedded("`dev` is for the embedded backends: leave it out, or use `serve`")?;
    telemetry::init_logs(&config.logs)?;
    install_tls();
    shutdown::run(|stop| dev(config, args.once, stop))
}

async fn dev(config: Config, once: bool, stop: CancellationToken) -> Result<Ending, Failure> {
    let home = Home::choose(&config)?;
    let jwt_secret = home.secret(&config)?;
    let (observer, mut sights) = tour::watch();
    let mut node = Node::start(NodeParts {
        data: home.path(),
        jwt_secret: Some(jwt_secret.clone()),
        observer,
        config,
    })
    .await?;
    raise_file_limit(node.config().delivery.slots);
    let tour = Tour::prepare(place(&node, &home, &jwt_secret)?).await?;
    node.start_delivering()?;
    node.announce();

    let verdict = tour.run(&mut sights, &stop).await;
    let ending = judge(&verdict, once);
    if !once && !stop.is_cancelled() && verdict.is_ok() {
        tour.linger(&mut sights, &stop).await;
    }
    leave(node, &tour, &mut sights).await;
    home.remove();
    verdict?;
    Ok(ending)
}

fn place(node: &Node, home: &Home, secret: &SecretText) -> anyhow::Result<Place> {
    let api = node.api_address().context("there is no API")?;
    let clock = node.clock();
    let secret = JwtSecret::new(secret.expose());
    Ok(Place {
        api: reachable(api),
        metrics: reachable(node.metrics_address()),
        data: home.describe(),
        schedule: node.config().delivery.schedule.clone(),
        token: mint_operator(&secret, DEFAULT_ORG, clock.now(), TOKEN_LIFETIME),
        clock,
    })
}

/// With `--once` the tour's outcome is the command's.
fn judge(verdict: &anyhow::Result<Verdict>, once: bool) -> Ending {
    match verdict {
        Ok(Verdict::Missing(missing)) => {
            output::error(format_args!(
                "not everything arrived: {}",
                missing.join("; ")
            ));
            if once { Ending::Wrong } else { Ending::Done }
        }
        Ok(Verdict::Stopped) if once => Ending::Wrong,
        Ok(_) | Err(_) => Ending::Done,
    }
}

/// The node first, while the receiver still answers what is under way.
async fn leave(node: Node, tour: &Tour, sights: &mut Sights) {
    node.stop().await;
    tour.close(sights).await;
}

/// Where the data is.
enum Home {
    Temporary(TempDir),
    Kept(Entry<PathBuf>),
}

impl Home {
    fn choose(config: &Config) -> Result<Self, Failure> {
        if let Some(entry) = &config.backends.data {
            return Ok(Self::Kept(entry.clone()));
        }
        let dir = tempfile::Builder::new().prefix("postrider-dev-").tempdir();
        Ok(Self::Temporary(dir.context(
            "no temporary directory can be made; name one with --data",
        )?))
    }

    fn path(&self) -> PathBuf {
        match self {
            Self::Temporary(dir) => dir.path().to_owned(),
            Self::Kept(entry) => entry.value.clone(),
        }
    }

    fn describe(&self) -> String {
        let path = self.path();
        match self {
            Self::Temporary(_) => {
                format!("{} (temporary; keep yours with --data DIR)", path.display())
            }
            Self::Kept(_) => format!("{} (kept)", path.display()),
        }
    }

    /// The configured secret, or one of its own.
    fn secret(&self, config: &Config) -> Result<SecretText, Failure> {
        if let Some(secret) = &config.access.secret {
            return Ok(secret.clone());
        }
        let path = self.path();
        own_secret(&path).map_err(|problem| match self {
            Self::Temporary(_) => anyhow!("{problem}").into(),
            Self::Kept(entry) => ConfigError::of(
                &entry.given,
                format_args!("cannot be used: {problem}"),
                "choose another directory",
            )
            .into(),
        })
    }

    fn remove(self) {
        if let Self::Temporary(dir) = self {
            let path = dir.path().to_owned();
            if let Err(error) = dir.close() {
                output::error(format_args!(
                    "{} could not be removed: {error}",
                    path.display()
                ));
            }
        }
    }
}

/// The secret that this directory keeps; made where there is none. It appears whole or not at all.
fn own_secret(dir: &Path) -> Result<SecretText, String> {
    let file = dir.join(SECRET_FILE);
    make(dir, &file).map_err(|error| format!("{}: {}", file.display(), plain(&error)))?;
    read_secret(&file).map_err(|problem| format!("{} {problem}", file.display()))
}

fn make(dir: &Path, file: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)?;
    if file.exists() {
        return Ok(());
    }
    // Readable by its owner alone, as all files that this library makes.
    let mut new = tempfile::NamedTempFile::new_in(dir)?;
    new.write_all(STANDARD.encode(rand::random::<[u8; 32]>()).as_bytes())?;
    new.as_file().sync_all()?;
    match new.persist_noclobber(file) {
        Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => Err(error.error),
        _ => Ok(()),
    }
}
