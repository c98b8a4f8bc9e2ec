//! Makes the topology: all of it in a new installation, and later whatever somebody has deleted.
//!
//! What is missing is noticed by consumers that end, by publishes that come back, and by whoever counts queues for the gauges;
//! each of them asks for it to be made again, here. RabbitMQ does not say whether a declaration has made something, so what is
//! missing is looked for first, by one process at a time: each loss is reported, and reported once.

use std::time::Duration;

use futures_util::future::join_all;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, ExchangeKind};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::error::{is_different, told};
use super::intake;
use super::link::Link;
use super::missing::{Turn, absent, is_bare};
use super::sight::{Absent, Sight};
use super::topology::{Queue, exchanges, queues};

/// A declaration that is younger need not be repeated: both connections of a process come back at the same time.
const FRESH: Duration = Duration::from_secs(30);
/// How long a new connection waits for another task that declares.
const OTHERS: Duration = Duration::from_secs(1);
/// How often is looked for exchanges and bindings that are missing.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// Some hundred questions to a server that may be busy starting.
const PATIENCE: Duration = Duration::from_secs(20);

/// When this process last declared the topology, and what it has seen of it.
#[derive(Debug, Default)]
pub(super) struct Declared {
    last: Mutex<Option<Instant>>,
    pub(super) sight: Sight,
}

impl Declared {
    /// Declares, unless that was done a moment ago by somebody who does so at the same time.
    pub(super) async fn ensure(&self, link: &Link) -> Result<(), String> {
        // Who is at it already may be on a connection that is dead, and does not know it yet: a new one must not wait for that.
        let Ok(mut last) = timeout(OTHERS, self.last.lock()).await else {
            return Ok(());
        };
        if last.is_some_and(|last| last.elapsed() < FRESH) {
            return Ok(());
        }
        link.while_up(self.complete(link)).await?;
        *last = Some(Instant::now());
        Ok(())
    }

    /// Declares, because something was found missing, unless somebody has done so since it was `noticed`.
    pub(super) async fn again(&self, link: &Link, noticed: Instant) -> Result<(), String> {
        let mut last = self.last.lock().await;
        if last.is_some_and(|last| last > noticed) {
            return Ok(());
        }
        let completed = link.while_up(self.complete(link)).await;
        if let Err(cause) = &completed {
            self.sight.complain(cause);
        }
        if completed.is_ok() {
            *last = Some(Instant::now());
        }
        completed
    }

    /// The same from time to time, for what nobody would notice: a rejected message waits for the exchange it was to go to.
    pub(super) async fn look_again(&self, link: &Link) -> Result<(), String> {
        let is_due = |last: Option<Instant>| last.is_none_or(|last| last.elapsed() >= LOOK_AGAIN);
        match Instant::now().checked_sub(LOOK_AGAIN) {
            Some(noticed) if is_due(*self.last.lock().await) => self.again(link, noticed).await,
            _ => Ok(()),
        }
    }

    async fn complete(&self, link: &Link) -> Result<(), String> {
        let is_founding = in_time(self.is_founding(link)).await?;
        if !is_founding && in_time(self.absent(link)).await?.is_empty() {
            in_time(declare_on_its_own(link)).await?;
        } else {
            let turn = Turn::take(link).await;
            let mended = in_time(self.mend(link)).await;
            turn.release().await;
            mended?;
        }
        self.sight.misses_nothing();
        Ok(())
    }

    /// Declares what is missing, in this process's turn, and says so where it ever existed.
    async fn mend(&self, link: &Link) -> Result<(), String> {
        if self.is_founding(link).await? {
            return declare_on_its_own(link).await;
        }
        let absent = self.absent(link).await?;
        if absent.is_empty() {
            return declare_on_its_own(link).await;
        }
        self.sight.misses(&absent);
        declare_on_its_own(link).await?;
        self.sight.made_anew(&absent);
        Ok(())
    }

    /// Whether there never was anything, so that nothing is lost.
    async fn is_founding(&self, link: &Link) -> Result<bool, String> {
        if self.sight.has_seen_any() {
            return Ok(false);
        }
        is_bare(link, &self.sight)
            .await
            .map_err(|error| not_looked_for(&error))
    }

    async fn absent(&self, link: &Link) -> Result<Absent, String> {
        absent(link, &self.sight)
            .await
            .map_err(|error| not_looked_for(&error))
    }
}

fn not_looked_for(error: &lapin::Error) -> String {
    format!("queues cannot be looked for: {}", told(error))
}

/// Opening a channel counts, too: on a connection that is blocked not even that is sent.
async fn in_time<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    timeout(PATIENCE, work)
        .await
        .unwrap_or_else(|_| Err(format!("queues were not declared within {PATIENCE:?}")))
}

/// Declares what backends publish to. Nobody but them knows what was in a queue that was deleted.
pub(super) async fn intake(link: &Link) -> Result<(), String> {
    in_time(declare(link, intake::exchanges(), intake::queues())).await
}

async fn declare_on_its_own(link: &Link) -> Result<(), String> {
    declare(link, exchanges(), queues()).await
}

async fn declare(
    link: &Link,
    exchanges: Vec<(String, ExchangeKind)>,
    queues: Vec<Queue>,
) -> Result<(), String> {
    let channel = link.channel().await.map_err(|error| told(&error))?;
    declare_on(&channel, exchanges, queues)
        .await
        .map_err(|error| refused(&error))?;
    let _ = channel.close(200, "OK".into()).await;
    Ok(())
}

async fn declare_on(
    channel: &Channel,
    exchanges: Vec<(String, ExchangeKind)>,
    all: Vec<Queue>,
) -> lapin::Result<()> {
    let kinds = exchanges.into_iter().map(|(name, kind)| {
        let durable = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        channel.exchange_declare(name.as_str().into(), kind, durable, FieldTable::default())
    });
    let declared = all.iter().map(|queue| {
        let name = queue.name.as_str().into();
        channel.queue_declare(
            name,
            QueueDeclareOptions::durable(),
            queue.arguments.clone(),
        )
    });
    let bound = all.iter().flat_map(|queue| {
        queue.bindings.iter().map(|(exchange, key)| {
            channel.queue_bind(
                queue.name.as_str().into(),
                exchange.as_str().into(),
                key.as_str().into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
        })
    });
    let (kinds, declared, bound) =
        tokio::join!(join_all(kinds), join_all(declared), join_all(bound));
    kinds.into_iter().collect::<lapin::Result<Vec<()>>>()?;
    declared.into_iter().collect::<lapin::Result<Vec<_>>>()?;
    bound.into_iter().collect::<lapin::Result<Vec<()>>>()?;
    Ok(())
}

/// What to do about it, where the server says that something exists in another shape.
fn refused(error: &lapin::Error) -> String {
    let told = told(error);
    if !is_different(error) {
        return format!("queues cannot be declared: {told}");
    }
    let name = named(&told).unwrap_or("a queue or exchange");
    format!(
        "{name} exists, but not as this release of Postrider needs it ({told}). Arguments cannot be changed: let what is in it \
         be worked off by whoever made it, delete it, and it is made anew; or give Postrider a virtual host of its own"
    )
}

/// `PRECONDITION_FAILED - inequivalent arg 'x' for queue 'name' in vhost …`
fn named(text: &str) -> Option<&str> {
    let at = ["for queue '", "for exchange '"]
        .iter()
        .find_map(|before| text.find(before).map(|at| at + before.len()))?;
    text[at..].split('\'').next()
}
