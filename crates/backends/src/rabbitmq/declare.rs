//! Makes the topology, and compares it with what is there.

use std::time::Duration;

use futures_util::future::join_all;
use lapin::Channel;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::error::{is_different, told};
use super::link::Link;
use super::topology::{exchanges, queues};

/// A declaration that is younger need not be repeated: both connections of a process come back at the same time.
const FRESH: Duration = Duration::from_secs(30);
/// Some hundred questions to a server that may be busy starting.
const PATIENCE: Duration = Duration::from_secs(20);

/// When this process last declared the topology.
#[derive(Debug, Default)]
pub(super) struct Declared(Mutex<Option<Instant>>);

impl Declared {
    /// Declares, unless that was done a moment ago by somebody who does so at the same time.
    pub(super) async fn ensure(&self, link: &Link) -> Result<(), String> {
        let mut last = self.0.lock().await;
        if last.is_some_and(|last| last.elapsed() < FRESH) {
            return Ok(());
        }
        declare(link).await?;
        *last = Some(Instant::now());
        Ok(())
    }

    /// Declares, because something was found missing, unless somebody has done so since it was `noticed`.
    pub(super) async fn again(&self, link: &Link, noticed: Instant) -> Result<(), String> {
        let mut last = self.0.lock().await;
        if last.is_some_and(|last| last > noticed) {
            return Ok(());
        }
        declare(link).await?;
        *last = Some(Instant::now());
        Ok(())
    }
}

/// All of it in one go: a question does not wait for the answer to the one before.
async fn declare(link: &Link) -> Result<(), String> {
    // Opening the channel counts, too: on a connection that is blocked not even that is sent.
    timeout(PATIENCE, declare_on_its_own(link))
        .await
        .unwrap_or_else(|_| Err(format!("queues were not declared within {PATIENCE:?}")))
}

async fn declare_on_its_own(link: &Link) -> Result<(), String> {
    let channel = link.channel().await.map_err(|error| told(&error))?;
    declare_on(&channel)
        .await
        .map_err(|error| refused(&error))?;
    let _ = channel.close(200, "OK".into()).await;
    Ok(())
}

async fn declare_on(channel: &Channel) -> lapin::Result<()> {
    let kinds = exchanges().into_iter().map(|(name, kind)| {
        let durable = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        channel.exchange_declare(name.as_str().into(), kind, durable, FieldTable::default())
    });
    let all = queues();
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
