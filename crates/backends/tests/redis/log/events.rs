//! Events to record, and what becomes of them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postrider_core::attempt::AttemptRecord;
use postrider_core::id::{AppId, AttemptId, EndpointId, MessageId};
use postrider_core::message::{Event, MessageRecord, Trigger};
use postrider_core::pair::ChainId;
use postrider_core::ports::{Destination, DestinationStatus, LogRecord};
use postrider_core::samples::{self, NOW};
use postrider_core::time::Timestamp;
use rand::{Rng as _, RngExt as _};

pub(super) const HOUR: Duration = Duration::from_secs(3600);

pub(super) fn an_app() -> AppId {
    AppId::new(NOW, rand::random())
}

pub(super) fn an_endpoint() -> EndpointId {
    EndpointId::new(NOW, rand::random())
}

/// Bytes that cannot be compressed.
pub(super) fn noise(len: usize) -> Bytes {
    let mut bytes = vec![0; len];
    rand::rng().fill_bytes(&mut bytes);
    bytes.into()
}

/// What events usually look like, 512 bytes of it.
pub(super) fn order() -> Bytes {
    let mut random = rand::rng();
    let mut number = |below: u64| random.random_range(0..below);
    let mut text = format!(
        r#"{{"type":"order.paid","timestamp":"2026-03-1{}T1{}:2{}:31.{:03}Z","data":{{"id":"ord_{:016x}","customer":{{"id":"cus_{:016x}","email":"user{}@example.com","country":"DE"}},"amount":{{"currency":"EUR","total":{},"tax":{}}},"items":[{{"sku":"SKU-{:06}","quantity":{},"price":{}}},{{"sku":"SKU-{:06}","quantity":{},"price":{}}}],"status":"paid","payment":{{"method":"card","last4":"{:04}","id":"pay_{:016x}"}},"metadata":{{"source":"web""#,
        number(9),
        number(9),
        number(9),
        number(1000),
        number(u64::MAX),
        number(u64::MAX),
        number(1 << 20),
        number(100_000),
        number(10_000),
        number(1_000_000),
        number(9),
        number(9_999),
        number(1_000_000),
        number(9),
        number(9_999),
        number(10_000),
        number(u64::MAX),
    );
    while text.len() < 500 {
        text.push_str(&format!(r#","k{}":"{:x}""#, number(9), number(1 << 24)));
    }
    text.push_str("}}}");
    Bytes::from(text)
}

pub(super) fn a_message(app: AppId, at: Timestamp, payload: Bytes) -> MessageRecord {
    let event = Event {
        app,
        message: MessageId::new(at, rand::random()),
        accepted_at: at,
        payload_until: at + HOUR * 24 * 90,
        payload,
        ..samples::event()
    };
    Arc::new(event).into()
}

pub(super) fn an_attempt(
    message: &MessageRecord,
    endpoint: EndpointId,
    at: Timestamp,
) -> AttemptRecord {
    let event = &message.event;
    AttemptRecord {
        id: AttemptId::new(at, rand::random()),
        app: event.app,
        message: event.message,
        endpoint,
        chain: ChainId::FIRST,
        attempt: 1,
        trigger: Trigger::Scheduled,
        at,
        url: "https://hooks.example.org/webhooks/in".to_owned(),
        succeeded: true,
        status_code: 200,
        response: String::new(),
        duration_ms: rand::random_range(5..400),
        event_type: event.event_type.clone(),
        channels: event.channels.clone(),
    }
}

/// What is recorded when a message was delivered at the first try.
pub(super) fn delivered(message: &MessageRecord, endpoint: EndpointId) -> [LogRecord; 2] {
    let begun = message.event.accepted_at + Duration::from_millis(rand::random_range(1..50));
    let attempt = an_attempt(message, endpoint, begun);
    let destination = Destination {
        app: attempt.app,
        message: attempt.message,
        endpoint,
        status: DestinationStatus::Delivered,
        next_attempt: None,
        at: begun + Duration::from_millis(attempt.duration_ms.into()),
    };
    [
        LogRecord::Attempt(attempt),
        LogRecord::Destination(destination),
    ]
}

/// Attempts at as many endpoints, each with an answer of half a kilobyte that cannot be compressed.
pub(super) fn long_trail(message: &MessageRecord, attempts: usize) -> Vec<LogRecord> {
    let attempt = |_| {
        let hex = noise(250)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        LogRecord::Attempt(AttemptRecord {
            response: hex,
            ..an_attempt(message, an_endpoint(), message.event.accepted_at)
        })
    };
    (0..attempts).map(attempt).collect()
}
