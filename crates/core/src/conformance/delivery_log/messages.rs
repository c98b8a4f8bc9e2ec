//! Lists of messages.

use std::collections::HashSet;

use super::records::{HOUR, channel, id, type_name, with};
use crate::conformance::Fixture;
use crate::conformance::paging::{
    BOTH, behaves_like_a_list, is_stable_while_others_write, random_pages,
};
use crate::conformance::stage::Stage;
use crate::id::{AppId, MessageId};
use crate::message::{Event, MessageRecord};
use crate::ports::MessageFilter;

const TYPES: [&str; 4] = ["order.paid", "order", "order.paid.twice", "build.failed"];
const CHANNELS: [&str; 3] = ["eu", "us", "eu-west"];
const TAGS: [&str; 4] = ["red", "green", "grün \u{1f44b}", "re"];

impl Stage<'_> {
    /// A message with a bit of everything that lists are filtered by.
    pub(super) fn a_varied_message(&mut self, app: AppId) -> MessageRecord {
        let minutes = self.chance.below(600) as u32;
        let made = self.now() - HOUR * 10 + HOUR / 60 * minutes;
        // Some were resumed an hour after their identifier had been made: lists go by the time of acceptance.
        let accepted = if self.chance.below(5) == 0 {
            made + HOUR
        } else {
            made
        };
        let event_type = self.chance.pick(&TYPES);
        let channels = self.chance.some_of(&CHANNELS);
        let tags = self.chance.some_of(&TAGS);
        with(&self.a_message(app, made), |event| {
            event.accepted_at = accepted;
            event.event_type = type_name(event_type);
            event.channels = channels.into_iter().map(channel).collect();
            event.tags = tags.into_iter().map(str::to_owned).collect();
        })
    }

    /// A filter of any number of conditions; its times are often those of messages.
    pub(super) fn a_message_filter(&mut self, messages: &[MessageRecord]) -> MessageFilter {
        let mut filter = MessageFilter::default();
        if self.chance.below(3) == 0 {
            let types = self.chance.some_of(&TYPES);
            filter.event_types = types.into_iter().map(type_name).collect();
        }
        if self.chance.below(3) == 0 {
            filter.channel = Some(channel(self.chance.pick(&CHANNELS)));
        }
        if self.chance.below(3) == 0 {
            filter.tag = Some(self.chance.pick(&TAGS).to_owned());
        }
        for bound in [&mut filter.before, &mut filter.after] {
            if self.chance.below(3) == 0 {
                *bound = Some(self.chance.pick(messages).event.accepted_at);
            }
        }
        filter
    }
}

pub(super) fn holds(filter: &MessageFilter, event: &Event) -> bool {
    let MessageFilter {
        event_types,
        channel,
        tag,
        before,
        after,
    } = filter;
    (event_types.is_empty() || event_types.contains(&event.event_type))
        && channel
            .as_ref()
            .is_none_or(|channel| event.channels.contains(channel))
        && tag.as_ref().is_none_or(|tag| event.tags.contains(tag))
        && before.is_none_or(|before| event.accepted_at < before)
        && after.is_none_or(|after| event.accepted_at > after)
}

/// By identifier, in both directions, from any row, that it be there or not.
pub async fn messages_are_listed_in_pages(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (app, neighbour) = (stage.an_app_id(), stage.an_app_id());
    let mut keys = Vec::new();
    let mut elsewhere = Vec::new();
    for _ in 0..45 {
        let mine = stage.a_varied_message(app);
        let theirs = stage.a_varied_message(neighbour);
        keys.push(id(&mine));
        elsewhere.push(id(&theirs));
        stage.record_messages(&[mine, theirs]).await;
    }
    let log = stage.log();
    let filter = MessageFilter::default();
    let fetch = async |page| log.messages(app, &filter, page).await.unwrap();
    behaves_like_a_list(&mut stage.chance, &keys, &elsewhere, id, fetch).await;
}

/// Every condition alone and with every other, in pages.
pub async fn message_filters_behave_like_a_list(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (app, neighbour) = (stage.an_app_id(), stage.an_app_id());
    let mut messages = Vec::new();
    for _ in 0..150 {
        messages.push(stage.a_varied_message(app));
        let other = stage.a_varied_message(neighbour);
        stage.record_messages(&[other]).await;
    }
    for batch in messages.chunks(20) {
        stage.record_messages(batch).await;
    }
    let log = stage.log();
    let mut hits = HashSet::new();
    for _ in 0..60 {
        let filter = stage.a_message_filter(&messages);
        let (keys, others): (Vec<MessageRecord>, Vec<MessageRecord>) = messages
            .iter()
            .cloned()
            .partition(|message| holds(&filter, &message.event));
        hits.insert(keys.len());
        let keys: Vec<MessageId> = keys.iter().map(id).collect();
        let others: Vec<MessageId> = others.iter().map(id).collect();
        let what = &format!("{filter:?}");
        let fetch = async |page| {
            let listed = log.messages(app, &filter, page).await.unwrap();
            let wrong = listed
                .items
                .iter()
                .find(|message| !holds(&filter, &message.event));
            assert!(wrong.is_none(), "{what} lets {wrong:?} through");
            listed
        };
        random_pages(&mut stage.chance, &keys, &others, 8, id, fetch).await;
    }
    assert!(hits.len() > 5, "the filters of this case tell rows apart");
}

/// Rows are inserted while somebody pages, with a filter and without: those that were there come once each.
pub async fn message_pages_are_stable_while_others_write(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    for order in BOTH {
        for filtered in [false, true] {
            let app = stage.an_app_id();
            let mut filter = MessageFilter::default();
            if filtered {
                filter.event_types = vec![type_name(TYPES[0]), type_name(TYPES[1])];
            }
            let mut lasting = Vec::new();
            for _ in 0..60 {
                let message = stage.a_varied_message(app);
                if holds(&filter, &message.event) {
                    lasting.push(id(&message));
                }
                stage.record_messages(&[message]).await;
            }
            let log = stage.log();
            let fetch = async |page| log.messages(app, &filter, page).await.unwrap();
            let mut more = 60;
            let disturb = async || {
                for _ in 0..4 {
                    if more > 0 {
                        more -= 1;
                        let message = stage.a_varied_message(app);
                        stage.record_messages(&[message]).await;
                    }
                }
            };
            is_stable_while_others_write(&lasting, order, id, fetch, disturb).await;
        }
    }
}

/// With their event types, between any two times; nothing else is told of them.
pub async fn kinds_of_messages_are_listed_in_pages(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (app, neighbour) = (stage.an_app_id(), stage.an_app_id());
    let mut messages = Vec::new();
    for _ in 0..80 {
        messages.push(stage.a_varied_message(app));
    }
    let stranger = stage.a_varied_message(neighbour);
    stage.record_messages(&messages).await;
    stage.record_messages(std::slice::from_ref(&stranger)).await;
    let log = stage.log();
    for _ in 0..12 {
        let mut times = [(); 2].map(|()| stage.chance.pick(&messages).event.accepted_at);
        times.sort();
        let [from, until] = times;
        let within = |record: &&MessageRecord| (from..until).contains(&record.event.accepted_at);
        let (here, others): (Vec<_>, Vec<_>) = messages.iter().partition(within);
        let keys: Vec<MessageId> = here.into_iter().map(id).collect();
        let others: Vec<MessageId> = others.into_iter().chain([&stranger]).map(id).collect();
        let fetch = async |page| {
            let listed = log.kinds(app, from, until, page).await.unwrap();
            for kind in &listed.items {
                let known = messages.iter().find(|record| id(record) == kind.message);
                let event_type = known.map(|record| &record.event.event_type);
                assert_eq!(event_type, Some(&kind.event_type));
            }
            listed
        };
        random_pages(
            &mut stage.chance,
            &keys,
            &others,
            6,
            |kind| kind.message,
            fetch,
        )
        .await;
    }
}
