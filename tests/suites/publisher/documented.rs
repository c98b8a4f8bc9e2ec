use std::error::Error;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Confirmation, Connection, ConnectionProperties};

pub async fn publish(url: &str, api_key: &str) -> Result<(), Box<dyn Error>> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let confirms = ConfirmSelectOptions::default();
    channel.confirm_select(confirms).await?; // once, for a new channel

    let body = serde_json::json!({
        "application": "acme", "eventType": "order.paid", "eventId": "order-1042", "payload": {"order": 1042},
    });
    let mut headers = FieldTable::default();
    headers.insert(
        "postrider-key".into(),
        AMQPValue::LongString(api_key.into()),
    );
    let properties = BasicProperties::default()
        .with_delivery_mode(2)
        .with_headers(headers);
    let mandatory = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let (exchange, body) = ("postrider.publish".into(), body.to_string());
    let sent = channel.basic_publish(exchange, "".into(), mandatory, body.as_bytes(), properties);
    match sent.await?.await? {
        Confirmation::Ack(None) => Ok(()), // the queue has it
        other => Err(format!("it was not queued: {other:?}").into()),
    }
}
