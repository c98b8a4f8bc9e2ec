//! Consume, sign, POST, acknowledge.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::StreamExt as _;
use lapin::Channel;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{FieldTable, LongLongUInt as Tag};
use postrider_signature::{SigningKey, WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP, sign_all};

use super::{QUEUE, connect, declare};
use tokio::sync::mpsc;

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
    let (done, tags) = mpsc::channel(2 * usize::from(PREFETCH));
    tokio::spawn(acknowledge(channel, tags));
    ready();
    while let Some(delivery) = deliveries.next().await {
        let (delivery, sender, done) = (delivery?, Arc::clone(&sender), done.clone());
        tokio::spawn(async move { sender.deliver(delivery, done).await });
    }
    anyhow::bail!("the queue was deleted")
}

/// One acknowledgement for all up to the first that is still under way.
async fn acknowledge(channel: Channel, mut tags: mpsc::Receiver<Tag>) -> anyhow::Result<()> {
    let (mut done, mut last, mut some) = (BTreeSet::new(), 0, Vec::new());
    while tags.recv_many(&mut some, PREFETCH.into()).await > 0 {
        done.extend(some.drain(..));
        let before = last;
        while done.remove(&(last + 1)) {
            last += 1;
        }
        if last > before {
            let all = BasicAckOptions { multiple: true };
            channel.basic_ack(last, all).await?;
        }
    }
    Ok(())
}

impl Sender {
    /// What fails is not acknowledged, and so seen as lost: there are no retries here.
    async fn deliver(&self, delivery: Delivery, done: mpsc::Sender<Tag>) -> anyhow::Result<()> {
        let tag = delivery.delivery_tag;
        self.post(delivery).await?;
        Ok(done.send(tag).await?)
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
