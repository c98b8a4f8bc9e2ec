//! Lists of attempts.

use std::collections::HashSet;

use super::records::{HOUR, channel, type_name, with};
use crate::attempt::AttemptRecord;
use crate::conformance::Fixture;
use crate::conformance::paging::{
    BOTH, behaves_like_a_list, is_stable_while_others_write, random_pages,
};
use crate::conformance::stage::Stage;
use crate::id::{AppId, AttemptId, EndpointId};
use crate::message::MessageRecord;
use crate::ports::{AttemptFilter, AttemptScope};

const TYPES: [&str; 3] = ["order.paid", "order", "build.failed"];
const CHANNELS: [&str; 3] = ["eu", "us", "eu-west"];
const STATUSES: [u16; 15] = [
    0, 99, 100, 199, 200, 204, 299, 300, 302, 400, 404, 499, 500, 503, 599,
];
const CLASSES: [u16; 6] = [0, 100, 200, 300, 400, 500];

/// What attempts are made at.
struct Field {
    app: AppId,
    messages: Vec<MessageRecord>,
    endpoints: Vec<EndpointId>,
}

fn id(attempt: &AttemptRecord) -> AttemptId {
    attempt.id
}

impl Stage<'_> {
    fn a_field(&mut self) -> Field {
        let app = self.an_app_id();
        let now = self.now();
        let messages = (0..4)
            .map(|_| {
                let event_type = self.chance.pick(&TYPES);
                let channels = self.chance.some_of(&CHANNELS);
                with(&self.a_message(app, now - HOUR * 12), |event| {
                    event.event_type = type_name(event_type);
                    event.channels = channels.into_iter().map(channel).collect();
                })
            })
            .collect();
        Field {
            app,
            messages,
            endpoints: (0..3).map(|_| self.an_endpoint_id()).collect(),
        }
    }

    fn a_varied_attempt(&mut self, field: &Field) -> AttemptRecord {
        let message = self.chance.pick(&field.messages);
        let endpoint = self.chance.pick(&field.endpoints);
        let minutes = self.chance.below(600) as u32;
        let at = self.now() - HOUR * 10 + HOUR / 60 * minutes;
        let status_code = self.chance.pick(&STATUSES);
        AttemptRecord {
            status_code,
            succeeded: (200..300).contains(&status_code),
            ..self.an_attempt(&message, endpoint, at)
        }
    }

    fn an_attempt_filter(&mut self, field: &Field, attempts: &[AttemptRecord]) -> AttemptFilter {
        let mut filter = AttemptFilter::default();
        if self.chance.below(4) == 0 {
            filter.endpoint = Some(self.chance.pick(&field.endpoints));
        }
        if self.chance.below(4) == 0 {
            filter.succeeded = Some(self.chance.coin());
        }
        if self.chance.below(3) == 0 {
            filter.status_class = Some(self.chance.pick(&CLASSES));
        }
        if self.chance.below(4) == 0 {
            let types = self.chance.some_of(&TYPES);
            filter.event_types = types.into_iter().map(type_name).collect();
        }
        if self.chance.below(4) == 0 {
            filter.channel = Some(channel(self.chance.pick(&CHANNELS)));
        }
        for bound in [&mut filter.before, &mut filter.after] {
            if self.chance.below(4) == 0 {
                *bound = Some(self.chance.pick(attempts).at);
            }
        }
        filter
    }
}

fn within(scope: AttemptScope, attempt: &AttemptRecord) -> bool {
    match scope {
        AttemptScope::Endpoint(endpoint) => attempt.endpoint == endpoint,
        AttemptScope::Message(message) => attempt.message == message,
    }
}

fn holds(filter: &AttemptFilter, attempt: &AttemptRecord) -> bool {
    let AttemptFilter {
        endpoint,
        succeeded,
        status_class,
        event_types,
        channel,
        before,
        after,
    } = filter;
    let class = |class: u16| match class {
        0 => attempt.status_code == 0,
        from => (from..from + 100).contains(&attempt.status_code),
    };
    endpoint.is_none_or(|endpoint| attempt.endpoint == endpoint)
        && succeeded.is_none_or(|succeeded| attempt.succeeded == succeeded)
        && status_class.is_none_or(class)
        && (event_types.is_empty() || event_types.contains(&attempt.event_type))
        && channel
            .as_ref()
            .is_none_or(|channel| attempt.channels.contains(channel))
        && before.is_none_or(|before| attempt.at < before)
        && after.is_none_or(|after| attempt.at > after)
}

fn scopes(field: &Field) -> [AttemptScope; 2] {
    [
        AttemptScope::Endpoint(field.endpoints[0]),
        AttemptScope::Message(field.messages[0].event.message),
    ]
}

/// By identifier, in both directions, within an endpoint and within a message.
pub async fn attempts_are_listed_in_pages(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let field = stage.a_field();
    let attempts: Vec<AttemptRecord> = (0..110).map(|_| stage.a_varied_attempt(&field)).collect();
    stage.record_attempts(&attempts).await;
    let log = stage.log();
    let filter = AttemptFilter::default();
    for scope in scopes(&field) {
        let (keys, others): (Vec<AttemptRecord>, Vec<AttemptRecord>) = attempts
            .iter()
            .cloned()
            .partition(|attempt| within(scope, attempt));
        let keys: Vec<AttemptId> = keys.iter().map(id).collect();
        let others: Vec<AttemptId> = others.iter().map(id).collect();
        let fetch = async |page| log.attempts(field.app, scope, &filter, page).await.unwrap();
        behaves_like_a_list(&mut stage.chance, &keys, &others, id, fetch).await;
    }
}

/// Every condition alone and with every other, in pages, within an endpoint and within a message.
pub async fn attempt_filters_behave_like_a_list(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (field, neighbour) = (stage.a_field(), stage.a_field());
    let mut attempts = Vec::new();
    for _ in 0..300 {
        attempts.push(stage.a_varied_attempt(&field));
    }
    for batch in attempts.chunks(30) {
        stage.record_attempts(batch).await;
        let other = stage.a_varied_attempt(&neighbour);
        stage.record_attempts(&[other]).await;
    }
    let log = stage.log();
    let mut hits = HashSet::new();
    for round in 0..80 {
        let scope = scopes(&field)[round % 2];
        let filter = stage.an_attempt_filter(&field, &attempts);
        let right = |attempt: &AttemptRecord| within(scope, attempt) && holds(&filter, attempt);
        let (keys, others): (Vec<AttemptRecord>, Vec<AttemptRecord>) =
            attempts.iter().cloned().partition(right);
        hits.insert(keys.len());
        let keys: Vec<AttemptId> = keys.iter().map(id).collect();
        let others: Vec<AttemptId> = others.iter().map(id).collect();
        let fetch = async |page| {
            let listed = log.attempts(field.app, scope, &filter, page).await.unwrap();
            let wrong = listed.items.iter().find(|attempt| !right(attempt));
            assert!(
                wrong.is_none(),
                "{filter:?} within {scope:?} lets {wrong:?} through"
            );
            listed
        };
        random_pages(&mut stage.chance, &keys, &others, 8, id, fetch).await;
    }
    assert!(hits.len() > 5, "the filters of this case tell rows apart");
}

/// Rows are inserted while somebody pages, with a filter and without: those that were there come once each.
pub async fn attempt_pages_are_stable_while_others_write(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    for order in BOTH {
        for status_class in [None, Some(200)] {
            let field = stage.a_field();
            let scope = scopes(&field)[usize::from(status_class.is_some())];
            let filter = AttemptFilter {
                status_class,
                ..AttemptFilter::default()
            };
            let mut lasting = Vec::new();
            for _ in 0..120 {
                let attempt = stage.a_varied_attempt(&field);
                if within(scope, &attempt) && holds(&filter, &attempt) {
                    lasting.push(attempt.id);
                }
                stage.record_attempts(&[attempt]).await;
            }
            let log = stage.log();
            let fetch = async |page| log.attempts(field.app, scope, &filter, page).await.unwrap();
            let mut more = 100;
            let disturb = async || {
                for _ in 0..8 {
                    if more > 0 {
                        more -= 1;
                        let attempt = stage.a_varied_attempt(&field);
                        stage.record_attempts(&[attempt]).await;
                    }
                }
            };
            is_stable_while_others_write(&lasting, order, id, fetch, disturb).await;
        }
    }
}
