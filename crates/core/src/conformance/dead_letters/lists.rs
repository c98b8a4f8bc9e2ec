//! Lists of dead letters.

use std::collections::HashSet;

use super::letters::{HOUR, note, with};
use crate::conformance::Fixture;
use crate::conformance::paging::{
    BOTH, behaves_like_a_list, is_stable_while_others_write, random_pages,
};
use crate::conformance::stage::{Stage, assert_same};
use crate::dead_letter::{DeadLetter, DeadReason};
use crate::id::{AppId, DeadLetterId, EndpointId};
use crate::ports::DeadLetterFilter;
use crate::time::Timestamp;

const REASONS: [DeadReason; 3] = [DeadReason::Exhausted, DeadReason::Gone, DeadReason::Poison];

impl Stage<'_> {
    fn a_time_of_death(&mut self) -> Timestamp {
        let minutes = self.chance.below(300) as u32;
        self.now() - HOUR * 5 + HOUR / 60 * minutes
    }

    fn a_varied_letter(&mut self, app: AppId, endpoints: &[EndpointId]) -> DeadLetter {
        let died_at = self.a_time_of_death();
        let event = self.a_dead_event(app);
        let endpoint = self.chance.pick(endpoints);
        let reason = self.chance.pick(&REASONS);
        let letter = self.a_letter_of(&event, endpoint, died_at);
        with(&letter, |note| note.reason = reason)
    }
}

fn holds(filter: &DeadLetterFilter, letter: &DeadLetter) -> bool {
    let note = note(letter);
    let DeadLetterFilter {
        endpoint,
        reason,
        before,
        after,
    } = filter;
    endpoint.is_none_or(|endpoint| note.endpoint == endpoint)
        && reason.is_none_or(|reason| note.reason == reason)
        && before.is_none_or(|before| note.died_at < before)
        && after.is_none_or(|after| note.died_at > after)
}

/// By identifier, in both directions, from any row, that it be there or not.
pub async fn dead_letters_are_listed_in_pages(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (app, neighbour) = (stage.an_owner(), stage.an_owner());
    let endpoints = [stage.a_recipient(), stage.a_recipient()];
    let mut keys = Vec::new();
    let mut gone = Vec::new();
    for index in 0..40 {
        let mine = stage.a_varied_letter(app, &endpoints);
        let theirs = stage.a_varied_letter(neighbour, &endpoints);
        stage.file(&[mine.clone(), theirs.clone()]).await;
        gone.push(theirs.id());
        if index % 9 == 4 {
            stage.remove(Some(app), &[mine.id()]).await;
            gone.push(mine.id());
        } else {
            keys.push(mine.id());
        }
    }
    let store = stage.dead_letters();
    let filter = DeadLetterFilter::default();
    let fetch = async |page| store.list(Some(app), &filter, page).await.unwrap();
    behaves_like_a_list(&mut stage.chance, &keys, &gone, DeadLetter::id, fetch).await;
}

/// Every condition alone and with every other, in pages.
pub async fn dead_letter_filters_behave_like_a_list(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (app, neighbour) = (stage.an_owner(), stage.an_owner());
    let endpoints = [
        stage.a_recipient(),
        stage.a_recipient(),
        stage.a_recipient(),
    ];
    let mut letters = Vec::new();
    for _ in 0..150 {
        letters.push(stage.a_varied_letter(app, &endpoints));
    }
    for batch in letters.chunks(25) {
        stage.file(batch).await;
        let other = stage.a_varied_letter(neighbour, &endpoints);
        stage.file(&[other]).await;
    }
    let store = stage.dead_letters();
    let mut hits = HashSet::new();
    for _ in 0..60 {
        let mut filter = DeadLetterFilter::default();
        if stage.chance.below(3) == 0 {
            filter.endpoint = Some(stage.chance.pick(&endpoints));
        }
        if stage.chance.below(3) == 0 {
            filter.reason = Some(stage.chance.pick(&REASONS));
        }
        for bound in [&mut filter.before, &mut filter.after] {
            if stage.chance.below(3) == 0 {
                *bound = Some(note(&stage.chance.pick(&letters)).died_at);
            }
        }
        let (keys, others): (Vec<DeadLetter>, Vec<DeadLetter>) = letters
            .iter()
            .cloned()
            .partition(|letter| holds(&filter, letter));
        hits.insert(keys.len());
        let keys: Vec<DeadLetterId> = keys.iter().map(DeadLetter::id).collect();
        let others: Vec<DeadLetterId> = others.iter().map(DeadLetter::id).collect();
        let fetch = async |page| {
            let listed = store.list(Some(app), &filter, page).await.unwrap();
            let wrong = listed.items.iter().find(|letter| !holds(&filter, letter));
            assert!(wrong.is_none(), "{filter:?} lets {wrong:?} through");
            listed
        };
        random_pages(&mut stage.chance, &keys, &others, 8, DeadLetter::id, fetch).await;
    }
    assert!(hits.len() > 5, "the filters of this case tell rows apart");
}

/// Work that could not be read is a list of its own; it was poison, at no endpoint.
pub async fn unreadable_work_is_listed_by_itself(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let app = stage.an_owner();
    let endpoints = [stage.a_recipient()];
    let mut letters = Vec::new();
    for _ in 0..25 {
        let died_at = stage.a_time_of_death();
        letters.push((died_at, stage.an_unreadable_letter(died_at, 50)));
        let other = stage.a_varied_letter(app, &endpoints);
        stage
            .file(&[letters[letters.len() - 1].1.clone(), other])
            .await;
    }
    let keys: Vec<DeadLetterId> = letters.iter().map(|(_, letter)| letter.id()).collect();
    let store = stage.dead_letters();
    let everything = DeadLetterFilter::default();
    let fetch = async |page| store.list(None, &everything, page).await.unwrap();
    behaves_like_a_list(&mut stage.chance, &keys, &[], DeadLetter::id, fetch).await;

    let bound = letters[7].0;
    let of = |right: &dyn Fn(Timestamp) -> bool| -> Vec<DeadLetterId> {
        let right = letters.iter().filter(|(died_at, _)| right(*died_at));
        right.map(|(_, letter)| letter.id()).collect()
    };
    let none = DeadLetterFilter::default;
    let cases = [
        (
            DeadLetterFilter {
                reason: Some(DeadReason::Poison),
                ..none()
            },
            keys.clone(),
        ),
        (
            DeadLetterFilter {
                reason: Some(DeadReason::Exhausted),
                ..none()
            },
            Vec::new(),
        ),
        (
            DeadLetterFilter {
                endpoint: Some(endpoints[0]),
                ..none()
            },
            Vec::new(),
        ),
        (
            DeadLetterFilter {
                before: Some(bound),
                ..none()
            },
            of(&|died_at| died_at < bound),
        ),
        (
            DeadLetterFilter {
                after: Some(bound),
                ..none()
            },
            of(&|died_at| died_at > bound),
        ),
    ];
    for (filter, wanted) in cases {
        let listed = store.list(None, &filter, crate::conformance::paging::all());
        let listed = listed.await.unwrap().items;
        let listed: Vec<DeadLetterId> = listed.iter().map(DeadLetter::id).collect();
        assert_same(&listed, &wanted, &format!("{filter:?}"));
    }
}

/// Letters are filed and removed while somebody pages: those that stay come once each.
pub async fn dead_letter_pages_are_stable_while_others_write(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let endpoints = [stage.a_recipient(), stage.a_recipient()];
    for order in BOTH {
        let app = stage.an_owner();
        let mut lasting = Vec::new();
        let mut passing = Vec::new();
        for _ in 0..25 {
            let pair = [(); 2].map(|()| stage.a_varied_letter(app, &endpoints));
            stage.file(&pair).await;
            lasting.push(pair[0].id());
            passing.push(pair[1].id());
        }
        let store = stage.dead_letters();
        let filter = DeadLetterFilter::default();
        let fetch = async |page| store.list(Some(app), &filter, page).await.unwrap();
        let disturb = async || {
            if let Some(gone) = passing.pop() {
                stage.remove(Some(app), &[gone]).await;
                let new = [(); 2].map(|()| stage.a_varied_letter(app, &endpoints));
                stage.file(&new).await;
            }
        };
        is_stable_while_others_write(&lasting, order, DeadLetter::id, fetch, disturb).await;
    }
}
