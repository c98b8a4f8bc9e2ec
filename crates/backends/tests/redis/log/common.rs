//! What records of a period share.

use std::sync::Arc;

use postrider_backends::redis::{LogOptions, RedisLog};
use postrider_core::id::{AppId, MessageId};
use postrider_core::message::{Event, MessageRecord};
use postrider_core::name::EventTypeName;
use postrider_core::ports::{DeliveryLog as _, LogRecord, MessageKey};
use postrider_core::samples::NOW;

use super::events::{a_message, an_app, an_attempt, an_endpoint, noise};
use crate::own::OwnServer;

async fn found(log: &RedisLog, app: AppId, id: MessageId) -> Option<MessageRecord> {
    log.message(app, &MessageKey::Id(id)).await.unwrap()
}

/// All shared texts of the one period there is, by their names.
async fn texts(own: &OwnServer) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut connection = own.connect().await;
    let mut command = redis::cmd("KEYS");
    let keys: Vec<Vec<u8>> = command
        .arg("*ht")
        .query_async(&mut connection)
        .await
        .unwrap();
    let [key] = keys.as_slice() else {
        panic!("there is one period: {keys:?}");
    };
    let mut command = redis::cmd("HKEYS");
    let names: Vec<Vec<u8>> = command.arg(key).query_async(&mut connection).await.unwrap();
    // The empty name is the period's account.
    let names = names.into_iter().filter(|name| !name.is_empty());
    (key.clone(), names.collect())
}

#[tokio::test]
async fn records_carry_texts_whose_names_are_taken() {
    let own = OwnServer::start().await;
    let log = RedisLog::new(own.server(), LogOptions::default());
    let (app, endpoint) = (an_app(), an_endpoint());
    let record = async || {
        let message = a_message(app, NOW, noise(100));
        let attempt = an_attempt(&message, endpoint, NOW);
        let records = [
            LogRecord::Message(message.clone()),
            LogRecord::Attempt(attempt.clone()),
        ];
        log.record(records.to_vec()).await.unwrap();
        (message, attempt)
    };
    record().await;
    let (key, names) = texts(&own).await;
    assert!(!names.is_empty());
    for name in &names {
        let mut command = redis::cmd("HSET");
        command.arg(&key).arg(name).arg("something else");
        command.exec_async(&mut own.connect().await).await.unwrap();
    }
    let (message, attempt) = record().await;
    let id = message.event.message;
    assert_eq!(found(&log, app, id).await, Some(message));
    let there = log.attempt(app, id, attempt.id).await.unwrap();
    assert_eq!(there, Some(attempt));
}

#[tokio::test]
async fn endless_event_types_do_not_fill_the_texts() {
    let own = OwnServer::start().await;
    let log = RedisLog::new(own.server(), LogOptions::default());
    let app = an_app();
    let mut messages = Vec::new();
    for number in 0..6_000 {
        let event = Event {
            event_type: EventTypeName::new(&format!("order.{number}")).unwrap(),
            ..(*a_message(app, NOW, noise(10)).event).clone()
        };
        messages.push(MessageRecord::from(Arc::new(event)));
    }
    for some in messages.chunks(250) {
        let records = some.iter().cloned().map(LogRecord::Message);
        log.record(records.collect()).await.unwrap();
    }
    assert!(texts(&own).await.1.len() <= 4_096);
    for message in messages.iter().step_by(500).chain(messages.last()) {
        let id = message.event.message;
        assert_eq!(found(&log, app, id).await.as_ref(), Some(message));
    }
}
