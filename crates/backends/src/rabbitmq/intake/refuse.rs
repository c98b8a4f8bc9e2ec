//! Sets refused messages aside.
//!
//! On the connection for publishing, which knows whether the server takes anything: an alarm then stops this, and not the
//! acknowledgements of what was accepted. A channel carries one message at a time, as for packs, so that a message that came
//! back is not taken for another one's confirm.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::super::declare;
use super::super::error::{is_missing, told};
use super::super::link::Link;
use super::super::publish::State;
use super::super::shared::Shared;
use super::layout::REFUSED;

/// Messages on their way at once, each with a channel.
const LANES: usize = 16;
const AGAIN: Duration = Duration::from_secs(1);

pub(super) struct Refusing {
    shared: Arc<Shared>,
    /// Channels in confirm mode on which nothing is under way.
    idle: Mutex<Vec<Channel>>,
    lanes: Semaphore,
}

/// Why a message was not set aside.
enum Failure {
    /// The exchange does not exist, or the queue behind it.
    Missing,
    Other(String),
}

impl From<lapin::Error> for Failure {
    fn from(error: lapin::Error) -> Self {
        if is_missing(&error) {
            return Self::Missing;
        }
        Self::Other(told(&error))
    }
}

impl Refusing {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            idle: Mutex::default(),
            lanes: Semaphore::new(LANES),
        }
    }

    /// Completes when the server has confirmed it; tries for as long as that takes.
    pub(super) async fn publish(&self, body: &Bytes, properties: &BasicProperties) {
        let _lane = self.lanes.acquire().await;
        let mut complained = false;
        loop {
            let Err(cause) = self.try_publish(body, properties).await else {
                return;
            };
            if !complained {
                warn!(
                    cause,
                    "a refused message cannot be set aside; it stays on its queue until it can"
                );
                complained = true;
            }
            sleep(AGAIN).await;
        }
    }

    async fn try_publish(&self, body: &Bytes, properties: &BasicProperties) -> Result<(), String> {
        let link = match self.shared.publisher.state() {
            State::Up(link) => link,
            other => {
                let error = other.check().err();
                return Err(error.map_or_else(String::new, |error| error.to_string()));
            }
        };
        let patience = self.shared.options.confirm_timeout;
        let published = timeout(patience, self.published(&link, body, properties)).await;
        match published {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Failure::Other(cause))) => Err(cause),
            Ok(Err(Failure::Missing)) => {
                link.while_up(declare::intake(&link)).await?;
                Err(format!("{REFUSED} was deleted; it was made anew"))
            }
            Err(_) => Err(format!("no confirm within {patience:?}")),
        }
    }

    async fn published(
        &self,
        link: &Link,
        body: &Bytes,
        properties: &BasicProperties,
    ) -> Result<(), Failure> {
        let channel = self.channel(link).await?;
        let mandatory = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let (exchange, key) = (REFUSED.into(), "".into());
        let sent = channel.basic_publish(exchange, key, mandatory, body, properties.clone());
        let confirmation = sent.await?.await?;
        // Not kept where this was dropped half-way.
        self.idle.lock().push(channel);
        match confirmation {
            Confirmation::Ack(None) => Ok(()),
            Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)) => Err(Failure::Missing),
            Confirmation::Nack(None) | Confirmation::NotRequested => {
                let cause = format!("{REFUSED} takes nothing: it is full, or has no leader");
                Err(Failure::Other(cause))
            }
        }
    }

    async fn channel(&self, link: &Link) -> lapin::Result<Channel> {
        let idle = || self.idle.lock().pop();
        while let Some(channel) = idle() {
            if channel.status().connected() {
                return Ok(channel);
            }
        }
        let channel = link.channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        Ok(channel)
    }
}
