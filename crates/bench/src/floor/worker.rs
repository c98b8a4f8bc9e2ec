//! Consume, sign, POST, acknowledge.

use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use postrider_signature::{SigningKey, WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP, sign_all};

use super::{QUEUE, connect, declare};
use crate::clock;

/// Requests under way at a time.
const PREFETCH: u16 = 512;
const NANOS: u64 = 1_000_000_000;

struct Sender {
    client: reqwest::Client,
    url: reqwest::Url,
    keys: Vec<SigningKey>,
}

/// Sends what is queued to one subscriber, until the process ends.
///
/// # Errors
/// Where RabbitMQ cannot be reached, or the connection to it is lost.
pub async fn run(
    broker: &str,
    url: &str,
    secret: &str,
    ready: impl FnOnce(),
) -> anyhow::Result<()> {
    let secret: postrider_signature::Secret = secret.parse()?;
    let sender = Arc::new(Sender {
        client: reqwest::Client::builder()
            .no_proxy()
            .http1_only()
            .tcp_nodelay(true)
            .build()?,
        url: url.parse()?,
        keys: vec![secret.signing_key()],
    });
    let connection = connect(broker).await?;
    let channel = connection.create_channel().await?;
    declare(&channel).await?;
    channel
        .basic_qos(PREFETCH, BasicQosOptions::default())
        .await?;
    let none = FieldTable::default();
    let mut deliveries = channel
        .basic_consume(
            QUEUE.into(),
            "".into(),
            BasicConsumeOptions::default(),
            none,
        )
        .await?;
    ready();
    while let Some(delivery) = deliveries.next().await {
        let (delivery, sender) = (delivery?, Arc::clone(&sender));
        tokio::spawn(async move { sender.deliver(delivery).await });
    }
    anyhow::bail!("the queue was deleted")
}

impl Sender {
    /// What fails is not acknowledged, and so seen as lost: there are no retries here.
    async fn deliver(&self, delivery: Delivery) -> anyhow::Result<()> {
        let acker = delivery.acker.clone();
        self.post(delivery).await?;
        acker.ack(BasicAckOptions::default()).await?;
        Ok(())
    }

    async fn post(&self, delivery: Delivery) -> anyhow::Result<()> {
        let id = format!("msg_{}", delivery.delivery_tag);
        let body = Bytes::from(delivery.data);
        let timestamp = i64::try_from(clock::now() / NANOS).context("the clock is far ahead")?;
        let signature = sign_all(&self.keys, &id, timestamp, &body);
        let response = self
            .client
            .post(self.url.clone())
            .header("content-type", "application/json")
            .header(WEBHOOK_ID, id)
            .header(WEBHOOK_TIMESTAMP, timestamp)
            .header(WEBHOOK_SIGNATURE, signature)
            .body(body)
            .send()
            .await?;
        let status = response.status();
        let _ = response.bytes().await?;
        anyhow::ensure!(status.is_success(), "answered {status}");
        Ok(())
    }
}
