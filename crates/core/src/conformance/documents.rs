//! The contract of [`crate::ports::Documents`] as cases.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Fixture;
use super::paging::{all, behaves_like_a_list};
use super::stage::{SHORT, Stage, together};
use crate::name::DocumentName;
use crate::ports::{
    Document, DocumentKind, Documents, Expect, LARGEST_DOCUMENT, NewDocument, Owner, Place,
    PortError,
};
use crate::time::Timestamp;

/// The cases for [`crate::ports::Documents`].
#[macro_export]
macro_rules! conformance_documents {
    ($fixture:expr) => {
        $crate::__conformance_cases! { $fixture, documents:
            a_document_comes_back_whole
            a_document_that_is_too_large_is_refused
            a_document_is_put_only_where_that_is_expected
            versions_of_a_name_never_repeat
            of_concurrent_puts_one_wins
            no_change_of_a_document_is_lost
            a_document_ends_at_its_time
            a_deleted_document_is_gone
            some_documents_come_in_one_question
            places_are_apart
            documents_are_listed_in_pages
            ended_documents_are_not_listed
            documents_survive_a_crash
            another_process_sees_documents_at_once
        }
    };
}

fn name(text: &str) -> DocumentName {
    DocumentName::new(text).expect("a valid name")
}

fn new(text: &str, body: &str) -> NewDocument {
    NewDocument {
        name: name(text),
        until: None,
        body: body.to_owned(),
    }
}

fn stored(document: &NewDocument, version: u64) -> Document {
    Document {
        name: document.name.clone(),
        version,
        until: document.until,
        body: document.body.clone(),
    }
}

impl Stage<'_> {
    fn documents(&self) -> Arc<dyn Documents> {
        Arc::clone(&self.ports.documents)
    }

    fn a_place(&mut self) -> Place {
        let now = self.now();
        Place {
            owner: Owner::Org(self.chance.org(now)),
            kind: DocumentKind::Task,
        }
    }

    async fn put(&mut self, place: Place, document: &NewDocument, expect: Expect) -> Option<u64> {
        let now = self.now();
        let put = self
            .ports
            .documents
            .put(now, place, document.clone(), expect);
        put.await.expect("documents can be put")
    }

    async fn get(&mut self, place: Place, text: &str) -> Option<Document> {
        let now = self.now();
        let got = self.ports.documents.get(now, place, &name(text)).await;
        got.expect("documents can be read")
    }

    async fn delete(&mut self, place: Place, text: &str) -> bool {
        let now = self.now();
        let deleted = self.ports.documents.delete(now, place, &name(text)).await;
        deleted.expect("documents can be deleted")
    }

    async fn documents_in(&mut self, place: Place) -> Vec<Document> {
        let now = self.now();
        let listed = self.ports.documents.list(now, place, all()).await;
        listed.expect("documents can be listed").items
    }
}

/// Whatever is in it, and however long it is.
pub async fn a_document_comes_back_whole(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let place = stage.a_place();
    assert_eq!(stage.get(place, "a").await, None);
    let end = stage.now() + Duration::from_secs(3600);
    let bodies = [
        String::new(),
        "{\"ü\": \":7:\"}".to_owned(),
        "l".repeat(256 * 1024),
    ];
    for (body, until) in bodies.into_iter().zip([None, Some(end), None]) {
        let document = NewDocument {
            name: name("A-z_0.9"),
            until,
            body,
        };
        let version = stage.put(place, &document, Expect::Anything).await.unwrap();
        let found = stage.get(place, "A-z_0.9").await;
        assert_eq!(found, Some(stored(&document, version)));
    }
}

/// By a byte, and nothing of it is stored.
pub async fn a_document_that_is_too_large_is_refused(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (place, now) = (stage.a_place(), stage.now());
    let documents = stage.documents();
    let large = new("a", &"l".repeat(LARGEST_DOCUMENT + 1));
    let put = documents.put(now, place, large, Expect::Anything).await;
    assert!(matches!(put, Err(PortError::Invalid(_))), "{put:?}");
    assert_eq!(stage.get(place, "a").await, None);
}

pub async fn a_document_is_put_only_where_that_is_expected(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let place = stage.a_place();
    let (first, second) = (new("a", "first"), new("a", "second"));
    assert_eq!(stage.put(place, &first, Expect::Version(1)).await, None);
    assert_eq!(
        stage.get(place, "a").await,
        None,
        "a refusal stores nothing"
    );
    let one = stage.put(place, &first, Expect::Nothing).await.unwrap();
    assert_eq!(stage.put(place, &second, Expect::Nothing).await, None);
    let wrong = Expect::Version(one + 1);
    assert_eq!(stage.put(place, &second, wrong).await, None);
    let found = stage.get(place, "a").await;
    assert_eq!(
        found,
        Some(stored(&first, one)),
        "a refusal changes nothing"
    );
    let two = stage
        .put(place, &second, Expect::Version(one))
        .await
        .unwrap();
    assert!(two > one, "versions grow: {one}, {two}");
    assert_eq!(stage.put(place, &first, Expect::Version(one)).await, None);
    let three = stage.put(place, &first, Expect::Anything).await.unwrap();
    assert!(three > two, "versions grow: {two}, {three}");
    assert_eq!(stage.get(place, "a").await, Some(stored(&first, three)));
}

/// Who remembers a version does not take the next document of that name for it.
pub async fn versions_of_a_name_never_repeat(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let place = stage.a_place();
    let mut last = 0;
    for round in 0..5 {
        let document = new("a", &round.to_string());
        let version = stage.put(place, &document, Expect::Nothing).await.unwrap();
        assert!(version > last, "{version} after {last}");
        last = version;
        assert!(stage.delete(place, "a").await);
        stage.time.pass(Duration::from_millis(2)).await;
        assert_eq!(
            stage.put(place, &document, Expect::Version(last)).await,
            None
        );
    }
}

pub async fn of_concurrent_puts_one_wins(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (place, now) = (stage.a_place(), stage.now());
    let documents = stage.documents();
    let won = together(16, |index| {
        let documents = Arc::clone(&documents);
        let document = new("a", &index.to_string());
        async move {
            let put = documents.put(now, place, document, Expect::Nothing).await;
            put.unwrap().map(|version| (index, version))
        }
    })
    .await;
    let won: Vec<(usize, u64)> = won.into_iter().flatten().collect();
    let [(winner, version)] = won[..] else {
        panic!("one wins: {won:?}");
    };
    let document = new("a", &winner.to_string());
    assert_eq!(
        stage.get(place, "a").await,
        Some(stored(&document, version))
    );
}

/// Whoever loses reads again: a counter ends at the number of those who counted.
pub async fn no_change_of_a_document_is_lost(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (place, now) = (stage.a_place(), stage.now());
    stage.put(place, &new("n", "0"), Expect::Nothing).await;
    let documents = stage.documents();
    together(8, |_| {
        let documents = Arc::clone(&documents);
        async move {
            for _ in 0..5 {
                loop {
                    let found = documents
                        .get(now, place, &name("n"))
                        .await
                        .unwrap()
                        .unwrap();
                    let next = found.body.parse::<u32>().unwrap() + 1;
                    let next = new("n", &next.to_string());
                    let expect = Expect::Version(found.version);
                    let put = documents.put(now, place, next, expect).await;
                    if put.unwrap().is_some() {
                        break;
                    }
                }
            }
        }
    })
    .await;
    assert_eq!(stage.get(place, "n").await.unwrap().body, "40");
}

/// To the millisecond where that can be seen. Then its name is free.
pub async fn a_document_ends_at_its_time(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let place = stage.a_place();
    let end = stage.now() + SHORT;
    let ending = NewDocument {
        until: Some(end),
        ..new("a", "ends")
    };
    let version = stage.put(place, &ending, Expect::Nothing).await.unwrap();
    stage.put(place, &new("b", "stays"), Expect::Nothing).await;
    if stage.time.pass_almost_until(end).await {
        assert_eq!(stage.get(place, "a").await, Some(stored(&ending, version)));
    }
    stage.time.pass_until(end).await;
    assert_eq!(stage.get(place, "a").await, None);
    assert!(!stage.delete(place, "a").await, "it counts as absent");
    assert_eq!(
        stage.put(place, &ending, Expect::Version(version)).await,
        None
    );
    let again = new("a", "again");
    let next = stage.put(place, &again, Expect::Nothing).await.unwrap();
    assert!(next > version);
    assert_eq!(stage.get(place, "a").await, Some(stored(&again, next)));
    assert!(stage.get(place, "b").await.is_some());
    // One whose end is put off, or taken away, lives on.
    let soon = stage.now() + SHORT;
    let ending = NewDocument {
        until: Some(soon),
        ..again.clone()
    };
    stage
        .put(place, &ending, Expect::Version(next))
        .await
        .unwrap();
    stage.put(place, &again, Expect::Anything).await.unwrap();
    stage.time.pass_until(soon).await;
    assert_eq!(stage.get(place, "a").await.unwrap().body, "again");
}

pub async fn a_deleted_document_is_gone(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let place = stage.a_place();
    assert!(!stage.delete(place, "a").await, "there was none");
    for text in ["a", "b"] {
        stage.put(place, &new(text, text), Expect::Nothing).await;
    }
    assert!(stage.delete(place, "a").await);
    assert!(!stage.delete(place, "a").await);
    assert_eq!(stage.get(place, "a").await, None);
    let left = stage.documents_in(place).await;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].body, "b");
}

/// Those that are there and have not ended; asking for none is asking for nothing.
pub async fn some_documents_come_in_one_question(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (place, now) = (stage.a_place(), stage.now());
    let ended = NewDocument {
        until: Some(now + Duration::from_millis(1)),
        ..new("ended", "e")
    };
    for document in [&new("a", "1"), &new("b", "2"), &new("c", "3"), &ended] {
        stage.put(place, document, Expect::Nothing).await;
    }
    let later = now + Duration::from_secs(3600);
    let documents = stage.documents();
    let names = ["c", "nobody", "a", "ended"].map(name);
    let found = documents.get_some(later, place, &names).await;
    let mut bodies: Vec<String> = found
        .expect("documents can be read")
        .into_iter()
        .map(|document| document.body)
        .collect();
    bodies.sort();
    assert_eq!(bodies, ["1", "3"]);
    let none = documents.get_some(later, place, &[]).await;
    assert_eq!(none.expect("nothing can be read"), []);
}

/// By owner and by kind.
pub async fn places_are_apart(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let owners = [
        stage.a_place().owner,
        stage.a_place().owner,
        Owner::Installation,
    ];
    let mut wanted = BTreeMap::new();
    for (number, owner) in owners.into_iter().enumerate() {
        for kind in DocumentKind::ALL {
            let place = Place { owner, kind };
            let document = new("same", &format!("{number} {kind:?}"));
            let version = stage.put(place, &document, Expect::Nothing).await;
            let version = version.expect("the name is free in this place");
            wanted.insert((number, kind as u8), (place, stored(&document, version)));
        }
    }
    for (place, document) in wanted.values() {
        assert_eq!(stage.get(*place, "same").await.as_ref(), Some(document));
        assert_eq!(stage.documents_in(*place).await, [document.clone()]);
    }
    let first = wanted[&(0, 1)].0;
    assert!(stage.delete(first, "same").await);
    let there = wanted.values().filter(|(place, _)| *place != first);
    for (place, document) in there {
        assert_eq!(stage.get(*place, "same").await.as_ref(), Some(document));
    }
}

/// In the order of the names' bytes, in which one may be the beginning of another.
pub async fn documents_are_listed_in_pages(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (place, now) = (stage.a_place(), stage.now());
    let (mut keys, mut strangers) = (Vec::new(), Vec::new());
    for number in 0..20 {
        for text in [
            format!("a{number}"),
            format!("a{number}-b"),
            format!("Z.{number}"),
        ] {
            stage.put(place, &new(&text, "x"), Expect::Nothing).await;
            keys.push(name(&text));
        }
        strangers.push(name(&format!("a{number}_")));
    }
    let documents = stage.documents();
    let fetch = async |page| documents.list(now, place, page).await.unwrap();
    let key_of = |document: &Document| document.name.clone();
    behaves_like_a_list(&mut stage.chance, &keys, &strangers, key_of, fetch).await;
}

/// Nor do they make pages shorter than they could be.
pub async fn ended_documents_are_not_listed(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let place = stage.a_place();
    let end = stage.now() + SHORT;
    let mut keys = Vec::new();
    for number in 0..60 {
        let text = format!("n{number:02}");
        let ends = number % 3 != 0;
        let document = NewDocument {
            until: ends.then_some(end),
            ..new(&text, "x")
        };
        stage.put(place, &document, Expect::Nothing).await;
        if !ends {
            keys.push(name(&text));
        }
    }
    let now: Timestamp = stage.time.pass_until(end).await;
    let documents = stage.documents();
    let fetch = async |page| documents.list(now, place, page).await.unwrap();
    let key_of = |document: &Document| document.name.clone();
    behaves_like_a_list(&mut stage.chance, &keys, &[], key_of, fetch).await;
}

pub async fn documents_survive_a_crash(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let place = stage.a_place();
    let document = new("a", "kept");
    let version = stage.put(place, &document, Expect::Nothing).await.unwrap();
    let mut stage = stage.crash().await;
    assert_eq!(
        stage.get(place, "a").await,
        Some(stored(&document, version))
    );
    assert!(stage.delete(place, "a").await);
    let mut stage = stage.crash().await;
    assert_eq!(stage.get(place, "a").await, None);
}

/// Revocations depend on it.
pub async fn another_process_sees_documents_at_once(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let Some(other) = fixture.join().await else {
        return;
    };
    let (place, now) = (stage.a_place(), stage.now());
    let document = new("a", "seen");
    let version = stage.put(place, &document, Expect::Nothing).await.unwrap();
    let seen = other.documents.get(now, place, &name("a")).await.unwrap();
    assert_eq!(seen, Some(stored(&document, version)));
    assert!(
        other
            .documents
            .delete(now, place, &name("a"))
            .await
            .unwrap()
    );
    assert_eq!(stage.get(place, "a").await, None);
}
