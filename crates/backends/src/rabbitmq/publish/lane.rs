//! One channel, one publish at a time.

use std::time::Duration;

use bytes::Bytes;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation};
use tokio::time::timeout;

use super::super::error::{is_not_found, told};
use super::super::link::Link;
use super::super::routing::Destination;
use super::super::topology::HELD_BEFORE;
use super::calls::Outcome;

/// Survives a restart of the server.
const PERSISTENT: u8 = 2;
const CONTENT_TYPE: &str = "application/vnd.postrider.pack";

/// What is published in one go.
pub(super) struct Message {
    pub(super) bytes: Bytes,
    pub(super) held_before: bool,
}

impl Message {
    fn properties(&self) -> BasicProperties {
        let properties = BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_content_type(CONTENT_TYPE.into());
        if !self.held_before {
            return properties;
        }
        let mut headers = FieldTable::default();
        headers.insert(HELD_BEFORE.into(), AMQPValue::Boolean(true));
        properties.with_headers(headers)
    }
}

/// A channel in confirm mode on which nothing is under way.
pub(super) struct Lane(Channel);

/// A publish that has ended.
pub(super) struct Landed {
    pub(super) outcome: Outcome,
    /// The channel, where it can be used again.
    pub(super) lane: Option<Lane>,
    /// The server knows no such exchange, or no queue behind it.
    pub(super) misses_topology: bool,
}

impl Landed {
    fn with(outcome: Outcome) -> Self {
        Self {
            outcome,
            lane: None,
            misses_topology: false,
        }
    }
}

impl Lane {
    pub(super) async fn open(link: &Link) -> lapin::Result<Self> {
        let channel = link.channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        Ok(Self(channel))
    }

    pub(super) async fn publish(
        self,
        destination: Destination,
        message: &Message,
        patience: Duration,
    ) -> Landed {
        if !self.0.status().connected() {
            return Landed::with(Outcome::NotPublished("the connection was lost".to_owned()));
        }
        match timeout(patience, self.confirmed(destination, message)).await {
            Ok(Ok(confirmation)) => self.landed(destination, &confirmation),
            // Nothing else is under way on this channel: what is missing is where this was to go.
            Ok(Err(error)) if is_not_found(&error) => Landed {
                misses_topology: true,
                ..Landed::with(Outcome::NotPublished(told(&error)))
            },
            Ok(Err(error)) => Landed::with(Outcome::Unknown(told(&error))),
            Err(_) => Landed::with(Outcome::Unknown(format!("no confirm within {patience:?}"))),
        }
    }

    async fn confirmed(
        &self,
        destination: Destination,
        message: &Message,
    ) -> lapin::Result<Confirmation> {
        let mandatory = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let exchange = destination.exchange.to_string().into();
        let key = destination.key.to_string().into();
        let (bytes, properties) = (&message.bytes, message.properties());
        let sent = self
            .0
            .basic_publish(exchange, key, mandatory, bytes, properties);
        sent.await?.await
    }

    fn landed(self, destination: Destination, confirmation: &Confirmation) -> Landed {
        let (outcome, misses_topology) = match confirmation {
            Confirmation::Ack(None) => (Outcome::Confirmed, false),
            Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)) => {
                let Destination { exchange, key } = destination;
                let cause = format!("no queue is bound to {exchange} for {key}");
                (Outcome::NotPublished(cause), true)
            }
            // A full queue refuses for certain; one that loses its leader may have it.
            Confirmation::Nack(None) => {
                let cause = "it refused the message: a queue is full, or has no leader";
                (Outcome::Unknown(cause.to_owned()), false)
            }
            Confirmation::NotRequested => {
                let cause = "it did not confirm the message";
                (Outcome::Unknown(cause.to_owned()), false)
            }
        };
        Landed {
            outcome,
            lane: Some(self),
            misses_topology,
        }
    }
}
