//! The floor: the least that a pipeline over RabbitMQ has to do, to compare with.
//!
//! ```text
//!  POST ──▶ persistent message ──confirm──▶ 202        one quorum queue, one message an event
//!                  │
//!            consume ──▶ HMAC ──▶ POST ──▶ ack
//! ```
//!
//! It is built of the packages that Postrider is built of, and leaves out everything that makes a product: applications,
//! tokens, a registry, a log, retries, limits, protection of private networks. Nobody should run it; that a platform is as
//! fast as this is the claim it serves to check. It does not change: a faster floor would make older figures incomparable.

mod ingest;
mod worker;

pub use ingest::run as ingest;
pub use worker::run as worker;

use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties};

const QUEUE: &str = "postrider.bench.floor";
/// Nothing of it stays behind.
const EXPIRES_MS: i64 = 60_000;

/// On what both roles work.
async fn connect(broker: &str) -> anyhow::Result<Connection> {
    Ok(Connection::connect(broker, ConnectionProperties::default()).await?)
}

async fn declare(channel: &Channel) -> anyhow::Result<()> {
    let mut arguments = FieldTable::default();
    let quorum = AMQPValue::LongString("quorum".into());
    arguments.insert("x-queue-type".into(), quorum);
    arguments.insert("x-expires".into(), AMQPValue::LongLongInt(EXPIRES_MS));
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(QUEUE.into(), durable, arguments)
        .await?;
    Ok(())
}
