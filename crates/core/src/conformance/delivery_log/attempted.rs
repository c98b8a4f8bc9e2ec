//! Messages of an endpoint.

use std::collections::HashSet;

use super::destinations::{STATUSES, destination};
use super::messages::holds;
use super::records::{HOUR, id};
use crate::conformance::Fixture;
use crate::conformance::paging::{behaves_like_a_list, random_pages};
use crate::conformance::stage::Stage;
use crate::id::{AppId, EndpointId, MessageId};
use crate::ports::{Attempted, AttemptedFilter, LogRecord, Tally};

fn key(row: &Attempted) -> MessageId {
    id(&row.message)
}

fn wanted(filter: &AttemptedFilter, row: &Attempted) -> bool {
    let status = row.destination.status;
    holds(&filter.messages, &row.message.event)
        && (filter.statuses.is_empty() || filter.statuses.contains(&status))
}

impl Stage<'_> {
    /// A message that has come somewhere at the endpoint, by an attempt or without one.
    async fn an_attempted(&mut self, app: AppId, endpoint: EndpointId) -> Attempted {
        let message = self.a_varied_message(app);
        let at = self.now();
        let status = self.chance.pick(&STATUSES);
        let row = Attempted {
            destination: destination(app, id(&message), endpoint, status, at),
            message: message.clone(),
        };
        let mut records = vec![
            LogRecord::Accepted(message.clone()),
            LogRecord::Destination(row.destination.clone()),
        ];
        if self.chance.coin() {
            let attempt = self.an_attempt(&message, endpoint, at);
            records.insert(1, LogRecord::Attempt(attempt));
        }
        self.record(records).await;
        row
    }
}

/// By message, in both directions; what went to other endpoints, or nowhere, is not among them.
pub async fn attempted_messages_are_listed_in_pages(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (app, neighbour) = (stage.an_app_id(), stage.an_app_id());
    let (endpoint, other) = (stage.an_endpoint_id(), stage.an_endpoint_id());
    let (mut rows, mut strangers) = (Vec::new(), Vec::new());
    for _ in 0..40 {
        rows.push(stage.an_attempted(app, endpoint).await);
        strangers.push(key(&stage.an_attempted(app, other).await));
        strangers.push(key(&stage.an_attempted(neighbour, endpoint).await));
        let nowhere = stage.a_varied_message(app);
        strangers.push(id(&nowhere));
        stage.record_messages(&[nowhere]).await;
    }
    // One whose own record is not there is not listed, and hides nothing.
    let (lost, now) = (stage.a_varied_message(app), stage.now());
    let stray = destination(app, id(&lost), endpoint, STATUSES[0], now);
    stage.record([LogRecord::Destination(stray)]).await;
    let keys: Vec<MessageId> = rows.iter().map(key).collect();
    let log = stage.log();
    let filter = AttemptedFilter::default();
    let fetch = async |page| {
        let listed = log.attempted(app, endpoint, &filter, page).await.unwrap();
        for row in &listed.items {
            assert!(rows.contains(row), "{row:?} comes back whole");
        }
        listed
    };
    behaves_like_a_list(&mut stage.chance, &keys, &strangers, key, fetch).await;
}

/// Conditions on the message and on how far it has come.
pub async fn attempted_filters_behave_like_a_list(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (app, endpoint) = (stage.an_app_id(), stage.an_endpoint_id());
    let mut rows = Vec::new();
    for _ in 0..120 {
        rows.push(stage.an_attempted(app, endpoint).await);
    }
    let messages: Vec<_> = rows.iter().map(|row| row.message.clone()).collect();
    let log = stage.log();
    let mut hits = HashSet::new();
    for _ in 0..40 {
        let filter = AttemptedFilter {
            messages: stage.a_message_filter(&messages),
            statuses: stage.chance.some_of(&STATUSES[..3]),
        };
        let (here, others): (Vec<_>, Vec<_>) = rows.iter().partition(|row| wanted(&filter, row));
        hits.insert(here.len());
        let here: Vec<MessageId> = here.into_iter().map(key).collect();
        let others: Vec<MessageId> = others.into_iter().map(key).collect();
        let fetch = async |page| log.attempted(app, endpoint, &filter, page).await.unwrap();
        random_pages(&mut stage.chance, &here, &others, 6, key, fetch).await;
    }
    assert!(hits.len() > 5, "the filters of this case tell rows apart");
}

/// However often it was tried: with its latest status, on pages of any size.
pub async fn a_message_with_many_attempts_is_attempted_once(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (app, endpoint, now) = (stage.an_app_id(), stage.an_endpoint_id(), stage.now());
    let mut keys = Vec::new();
    for _ in 0..3 {
        let message = stage.a_message(app, now - HOUR);
        keys.push(id(&message));
        stage.record_messages(&[message.clone()]).await;
        for number in 1..=30_u16 {
            let at = now + std::time::Duration::from_secs(number.into());
            let mut attempt = stage.an_attempt(&message, endpoint, at);
            attempt.attempt = number;
            attempt.response = "x".repeat(400);
            let status = STATUSES[usize::from(number) % STATUSES.len()];
            let state = destination(app, id(&message), endpoint, status, at);
            stage
                .record([LogRecord::Attempt(attempt), LogRecord::Destination(state)])
                .await;
        }
    }
    let log = stage.log();
    let filter = AttemptedFilter {
        statuses: vec![STATUSES[0]],
        ..AttemptedFilter::default()
    };
    let fetch = async |page| log.attempted(app, endpoint, &filter, page).await.unwrap();
    behaves_like_a_list(&mut stage.chance, &keys, &[], key, fetch).await;
}

/// Between any two times, the first included and the second not.
pub async fn a_tally_counts_what_is_listed(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (app, endpoint, other) = (
        stage.an_app_id(),
        stage.an_endpoint_id(),
        stage.an_endpoint_id(),
    );
    let mut rows = Vec::new();
    for _ in 0..150 {
        rows.push(stage.an_attempted(app, endpoint).await);
        stage.an_attempted(app, other).await;
    }
    let log = stage.log();
    for _ in 0..30 {
        let mut times = [(); 2].map(|()| stage.chance.pick(&rows).message.event.accepted_at);
        times.sort();
        let [from, until] = times;
        let within = |row: &&Attempted| (from..until).contains(&row.message.event.accepted_at);
        let wanted: Tally = rows
            .iter()
            .filter(within)
            .map(|row| row.destination.status)
            .collect();
        let found = log.tally(app, endpoint, from, until).await.unwrap();
        assert_eq!(found, wanted, "from {from:?} until {until:?}");
    }
    let (first, last) = (stage.now() - HOUR * 24, stage.now() + HOUR);
    let all: Tally = rows.iter().map(|row| row.destination.status).collect();
    assert_eq!(log.tally(app, endpoint, first, last).await.unwrap(), all);
    let stranger = stage.an_app_id();
    let nothing = log.tally(stranger, endpoint, first, last).await.unwrap();
    assert_eq!(nothing, Tally::default());
}
