//! Letters to file, and the calls that every case makes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::conformance::paging::all;
use crate::conformance::stage::Stage;
use crate::dead_letter::{DeadLetter, DeadNote, DeadReason};
use crate::id::{AppId, DeadLetterId, EndpointId};
use crate::message::Event;
use crate::name::{Channel, Uid};
use crate::pair::ChainId;
use crate::ports::{DeadLetterFilter, DeadLetters};
use crate::samples;
use crate::time::Timestamp;

pub(super) const HOUR: Duration = Duration::from_secs(3600);

/// A letter for one message and endpoint, changed before anybody else has it.
pub(super) fn with(letter: &DeadLetter, change: impl FnOnce(&mut DeadNote)) -> DeadLetter {
    let mut letter = letter.clone();
    if let DeadLetter::Delivery { note, .. } = &mut letter {
        change(note);
    }
    letter
}

pub(super) fn note(letter: &DeadLetter) -> &DeadNote {
    match letter {
        DeadLetter::Delivery { note, .. } => note,
        DeadLetter::Unreadable { .. } => panic!("unreadable work has no note"),
    }
}

impl Stage<'_> {
    pub(super) fn dead_letters(&self) -> Arc<dyn DeadLetters> {
        Arc::clone(&self.ports.dead_letters)
    }

    pub(super) fn an_owner(&mut self) -> AppId {
        let now = self.now();
        self.chance.app(now)
    }

    pub(super) fn a_recipient(&mut self) -> EndpointId {
        let now = self.now();
        self.chance.endpoint(now)
    }

    /// An event with something in every field.
    pub(super) fn a_dead_event(&mut self, app: AppId) -> Arc<Event> {
        let now = self.now();
        Arc::new(Event {
            app,
            message: self.chance.message(now - HOUR),
            event_id: Uid::new("order-1042").ok(),
            channels: vec![Channel::new("eu").expect("a valid channel")],
            tags: vec!["grün \u{1f44b}".to_owned()],
            headers: BTreeMap::from([("x-trace".to_owned(), "a\"b".to_owned())]),
            deliver_at: Some(now),
            payload: self.chance.bytes(300),
            ..samples::event()
        })
    }

    pub(super) fn a_letter_of(
        &mut self,
        event: &Arc<Event>,
        endpoint: EndpointId,
        died_at: Timestamp,
    ) -> DeadLetter {
        DeadLetter::Delivery {
            event: Arc::clone(event),
            note: DeadNote {
                id: self.chance.dead_letter(died_at),
                endpoint,
                chain: ChainId::FIRST,
                reason: DeadReason::Exhausted,
                attempts: 8,
                last_status: 503,
                last_response: "kaputt \u{1f4a5}".to_owned(),
                died_at,
            },
        }
    }

    pub(super) fn a_letter(&mut self, app: AppId, died_at: Timestamp) -> DeadLetter {
        let (event, endpoint) = (self.a_dead_event(app), self.a_recipient());
        self.a_letter_of(&event, endpoint, died_at)
    }

    pub(super) fn an_unreadable_letter(&mut self, died_at: Timestamp, size: usize) -> DeadLetter {
        DeadLetter::Unreadable {
            id: self.chance.dead_letter(died_at),
            died_at,
            cause: "version 9 of the envelope is not known \u{1f937}".to_owned(),
            raw: self.chance.bytes(size),
        }
    }

    pub(super) async fn file(&self, letters: &[DeadLetter]) {
        let filed = self.ports.dead_letters.put(letters.to_vec()).await;
        filed.expect("dead letters can be filed");
    }

    pub(super) async fn letter(&self, app: Option<AppId>, id: DeadLetterId) -> Option<DeadLetter> {
        let found = self.ports.dead_letters.get(app, id).await;
        found.expect("dead letters can be read")
    }

    pub(super) async fn letters(&self, app: Option<AppId>) -> Vec<DeadLetter> {
        let filter = DeadLetterFilter::default();
        let listed = self.ports.dead_letters.list(app, &filter, all()).await;
        listed.expect("dead letters can be listed").items
    }

    pub(super) async fn remove(&self, app: Option<AppId>, ids: &[DeadLetterId]) -> u64 {
        let removed = self.ports.dead_letters.remove(app, ids).await;
        removed.expect("dead letters can be removed")
    }
}
