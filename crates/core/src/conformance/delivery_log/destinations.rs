//! How far a message has come at each endpoint.

use std::sync::Arc;

use super::records::{HOUR, id};
use crate::conformance::Fixture;
use crate::conformance::paging::behaves_like_a_list;
use crate::conformance::stage::{Stage, together};
use crate::id::{AppId, EndpointId, MessageId};
use crate::ports::{Destination, DestinationStatus, LogRecord};
use crate::time::Timestamp;

pub(super) fn destination(
    app: AppId,
    message: MessageId,
    endpoint: EndpointId,
    status: DestinationStatus,
    at: Timestamp,
) -> Destination {
    let waits = status == DestinationStatus::Pending;
    Destination {
        app,
        message,
        endpoint,
        status,
        next_attempt: waits.then_some(at + HOUR),
        at,
    }
}

pub(super) const STATUSES: [DestinationStatus; 5] = [
    DestinationStatus::Delivered,
    DestinationStatus::Pending,
    DestinationStatus::Failed,
    DestinationStatus::Sending,
    DestinationStatus::Canceled,
];

/// Every status is read again, with its times, whether or not the message itself was recorded.
pub async fn a_destination_comes_back_whole(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (app, now) = (stage.an_app_id(), stage.now());
    let message = stage.a_message(app, now);
    let other = stage.a_message(app, now);
    let mut wanted: Vec<Destination> = STATUSES
        .iter()
        .map(|status| destination(app, id(&message), stage.an_endpoint_id(), *status, now))
        .collect();
    wanted.sort_by_key(|destination| destination.endpoint);
    let elsewhere = destination(
        app,
        id(&other),
        wanted[0].endpoint,
        DestinationStatus::Canceled,
        now + HOUR,
    );
    let records = wanted.iter().chain([&elsewhere]).cloned();
    stage.record(records.map(LogRecord::Destination)).await;
    assert_eq!(stage.destinations_of(app, id(&message)).await, wanted);
    stage.record_messages(&[message.clone()]).await;
    assert_eq!(
        stage.destinations_of(app, id(&message)).await,
        wanted,
        "the message's own record changes nothing about its destinations"
    );
    assert_eq!(stage.destinations_of(app, id(&other)).await, [elsewhere]);
}

/// By `at`, not by the order of arrival; concurrent records, too.
pub async fn a_later_destination_replaces_an_earlier_one(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (app, now) = (stage.an_app_id(), stage.now());
    let message = id(&stage.a_message(app, now));
    let endpoint = stage.an_endpoint_id();
    let at = |seconds: u64, status| {
        let at = now + std::time::Duration::from_secs(seconds);
        destination(app, message, endpoint, status, at)
    };
    let sending = at(1, DestinationStatus::Sending);
    let pending = at(2, DestinationStatus::Pending);
    let delivered = at(3, DestinationStatus::Delivered);
    stage
        .record([LogRecord::Destination(pending.clone())])
        .await;
    stage
        .record([LogRecord::Destination(sending.clone())])
        .await;
    assert_eq!(
        stage.destinations_of(app, message).await,
        [pending.clone()],
        "an earlier record that arrives later does not count"
    );
    stage
        .record([LogRecord::Destination(delivered.clone())])
        .await;
    assert_eq!(
        stage.destinations_of(app, message).await,
        [delivered.clone()],
        "a later record replaces an earlier one, its next attempt included"
    );
    stage
        .record([sending, pending].map(LogRecord::Destination))
        .await;
    assert_eq!(stage.destinations_of(app, message).await, [delivered]);

    let message = id(&stage.a_message(app, now));
    let endpoints: Vec<EndpointId> = (0..3).map(|_| stage.an_endpoint_id()).collect();
    let log = stage.log();
    together(24, |index| {
        let log = Arc::clone(&log);
        let endpoint = endpoints[index % 3];
        // Not in the order of time: 5 is a generator of the numbers up to 23.
        let step = (index as u64 + 1) * 5 % 24;
        let at = now + std::time::Duration::from_secs(step);
        let status = STATUSES[step as usize % STATUSES.len()];
        let record = destination(app, message, endpoint, status, at);
        async move {
            log.record(vec![LogRecord::Destination(record.clone())])
                .await
                .unwrap();
            record
        }
    })
    .await
    .into_iter()
    .fold(std::collections::BTreeMap::new(), |mut last, record| {
        let entry = last
            .entry(record.endpoint)
            .or_insert_with(|| record.clone());
        if record.at > entry.at {
            *entry = record;
        }
        last
    })
    .into_values()
    .zip(stage.destinations_of(app, message).await)
    .for_each(|(wanted, found)| {
        assert_eq!(
            found, wanted,
            "of concurrent records the latest by time stands"
        );
    });
}

/// By endpoint, in both directions, from any row, that it be there or not.
pub async fn destinations_are_listed_in_pages(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (app, now) = (stage.an_app_id(), stage.now());
    let [message, other] = [(); 2].map(|()| id(&stage.a_message(app, now)));
    let mut keys = Vec::new();
    let mut strangers = Vec::new();
    for _ in 0..35 {
        let endpoint = stage.an_endpoint_id();
        let stranger = stage.an_endpoint_id();
        let status = stage.chance.pick(&STATUSES);
        let records = [
            destination(app, message, endpoint, status, now),
            destination(app, other, stranger, status, now),
        ];
        stage.record(records.map(LogRecord::Destination)).await;
        keys.push(endpoint);
        strangers.push(stranger);
    }
    let log = stage.log();
    let fetch = async |page| log.destinations(app, message, page).await.unwrap();
    let key_of = |destination: &Destination| destination.endpoint;
    behaves_like_a_list(&mut stage.chance, &keys, &strangers, key_of, fetch).await;
}
