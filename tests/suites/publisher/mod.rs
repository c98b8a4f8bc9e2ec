//! A backend that speaks AMQP.

#[expect(unreachable_pub, reason = "as the document shows it")]
pub(crate) mod documented;

use lapin::message::BasicGetMessage;
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use postrider_tests::{Settings, eventually};
use serde_json::Value;

pub(crate) struct Publisher {
    url: String,
    _connection: Connection,
    channel: Channel,
}

/// Of the RabbitMQ that a server with these settings uses.
pub(crate) fn url(settings: &Settings) -> &str {
    let broker = settings.env.iter().find(|(name, _)| *name == "BROKER");
    &broker.unwrap().1
}

/// A message on its way.
pub(crate) struct Published {
    body: Vec<u8>,
    headers: FieldTable,
    properties: BasicProperties,
}

impl Published {
    pub(crate) fn new(body: &Value) -> Self {
        Self::bytes(body.to_string().as_bytes())
    }

    pub(crate) fn bytes(body: &[u8]) -> Self {
        Self {
            body: body.to_vec(),
            headers: FieldTable::default(),
            properties: BasicProperties::default().with_delivery_mode(2),
        }
    }

    pub(crate) fn with_header(mut self, name: &str, value: &str) -> Self {
        let value = AMQPValue::LongString(value.into());
        self.headers.insert(name.into(), value);
        self
    }

    pub(crate) fn with_key(self, key: &str) -> Self {
        self.with_header("postrider-key", key)
    }

    pub(crate) fn with_type(mut self, kind: &str) -> Self {
        self.properties = self.properties.with_content_type(kind.into());
        self
    }

    pub(crate) fn with_id(mut self, id: &str) -> Self {
        self.properties = self.properties.with_message_id(id.into());
        self
    }
}

/// A message as it was found among those refused.
pub(crate) struct Refused {
    pub(crate) status: i32,
    pub(crate) code: String,
    pub(crate) detail: String,
    pub(crate) id: Option<String>,
    pub(crate) body: Vec<u8>,
    headers: FieldTable,
}

impl Refused {
    fn read(found: &BasicGetMessage) -> Self {
        let properties = &found.properties;
        let headers = properties.headers().clone().unwrap();
        let text = |name: &str| match &headers.inner()[name] {
            AMQPValue::LongString(text) => text.to_string(),
            other => panic!("{name} is no text: {other:?}"),
        };
        let AMQPValue::LongInt(status) = headers.inner()["postrider-status"] else {
            panic!("the status is no number");
        };
        Self {
            status,
            code: text("postrider-code"),
            detail: text("postrider-detail"),
            id: properties.message_id().as_ref().map(ToString::to_string),
            body: found.data.clone(),
            headers,
        }
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        match self.headers.inner().get(name)? {
            AMQPValue::LongString(text) => Some(text.to_string()),
            other => panic!("{name} is no text: {other:?}"),
        }
    }
}

impl Publisher {
    /// To the server's RabbitMQ; its queues are waited for.
    pub(crate) async fn connect(settings: &Settings) -> Self {
        let url = url(settings);
        let connection = Connection::connect(url, ConnectionProperties::default())
            .await
            .unwrap();
        eventually("the exchange to be declared", || declared(&connection)).await;
        let channel = connection.create_channel().await.unwrap();
        let confirms = ConfirmSelectOptions::default();
        channel.confirm_select(confirms).await.unwrap();
        Self {
            url: url.to_owned(),
            _connection: connection,
            channel,
        }
    }

    /// Completes when the server has it.
    pub(crate) async fn publish(&self, message: Published) {
        assert!(self.is_queued(message).await, "nothing took it");
    }

    /// Publishes; `false` where the broker gave it back, because no queue takes it.
    pub(crate) async fn is_queued(&self, message: Published) -> bool {
        let mandatory = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let properties = message.properties.with_headers(message.headers);
        let (exchange, key) = ("postrider.publish".into(), "any".into());
        let sent = self
            .channel
            .basic_publish(exchange, key, mandatory, &message.body, properties);
        match sent.await.unwrap().await.unwrap() {
            Confirmation::Ack(returned) => returned.is_none(),
            other => panic!("it was not confirmed: {other:?}"),
        }
    }

    /// The next one of those refused, taken off its queue.
    pub(crate) async fn refused(&self) -> Option<Refused> {
        self.try_refused().await.unwrap()
    }

    /// The same. Asked on a connection of its own: RabbitMQ ends it where the queue is declared and not up yet.
    pub(crate) async fn try_refused(&self) -> lapin::Result<Option<Refused>> {
        let connection = Connection::connect(&self.url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let get = BasicGetOptions { no_ack: true };
        let queue = "postrider.publish.refused".into();
        let found = channel.basic_get(queue, get).await?;
        Ok(found.map(|found| Refused::read(&found)))
    }

    /// Nothing in it is ready; something may be on its way to somebody.
    pub(crate) async fn wait_until_empty(&self, queue: &str) {
        eventually("an empty queue", || async {
            (self.ready(queue).await == 0).then_some(())
        })
        .await;
    }

    async fn ready(&self, queue: &str) -> u32 {
        let passive = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let none = FieldTable::default();
        let found = self.channel.queue_declare(queue.into(), passive, none);
        found.await.unwrap().message_count()
    }
}

/// Asked on a channel of its own: the answer closes it where there is none.
async fn declared(connection: &Connection) -> Option<()> {
    let channel = connection.create_channel().await.unwrap();
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let none = FieldTable::default();
    let found = channel.queue_declare("postrider.publish".into(), passive, none);
    found.await.ok().map(|_| ())
}
