//! Filing: once for each delivery that was given up.

use std::sync::Arc;

use super::letters::{HOUR, note, with};
use crate::conformance::Fixture;
use crate::conformance::stage::{Stage, together};
use crate::dead_letter::{DeadLetter, DeadReason};
use crate::pair::ChainId;

/// A letter is read again in every field: its event with the payload, and why it was given up.
pub async fn a_dead_letter_comes_back_whole(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let probe = stage.ports.dead_letters.probe().await;
    probe.expect("an open store is well");
    let (app, now) = (stage.an_owner(), stage.now());
    stage.file(&[]).await;
    let plain = stage.a_letter(app, now);
    let extreme = with(&stage.a_letter(app, now - HOUR), |note| {
        note.chain = ChainId(u64::MAX);
        note.reason = DeadReason::Poison;
        note.attempts = u16::MAX;
        note.last_status = 0;
        note.last_response = "\u{0}\u{1f4a5}".repeat(100);
    });
    let gone = with(&stage.a_letter(app, now), |note| {
        note.reason = DeadReason::Gone;
        note.last_response = String::new();
    });
    let letters = [plain, extreme, gone];
    stage.file(&letters).await;
    let listed = stage.letters(Some(app)).await;
    assert_eq!(listed.len(), letters.len());
    for letter in &letters {
        assert_eq!(
            stage.letter(Some(app), letter.id()).await.as_ref(),
            Some(letter),
            "a dead letter comes back whole"
        );
        assert!(listed.contains(letter), "a list shows letters whole");
    }
}

/// What could not be read belongs to no application and keeps its bytes, whatever they are.
pub async fn unreadable_work_is_kept_with_its_bytes(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (app, now) = (stage.an_owner(), stage.now());
    let letters = [
        stage.an_unreadable_letter(now, 1024 * 1024),
        stage.an_unreadable_letter(now, 0),
        stage.an_unreadable_letter(now, 100),
    ];
    let delivery = stage.a_letter(app, now);
    stage.file(&letters).await;
    stage.file(std::slice::from_ref(&delivery)).await;
    for letter in &letters {
        assert_eq!(
            stage.letter(None, letter.id()).await.as_ref(),
            Some(letter),
            "unreadable work comes back to the byte"
        );
        assert_eq!(
            stage.letter(Some(app), letter.id()).await,
            None,
            "it belongs to no application"
        );
    }
    assert_eq!(
        stage.letter(None, delivery.id()).await,
        None,
        "what belongs to an application does not belong to none"
    );
    assert_eq!(stage.letters(Some(app)).await, [delivery]);
    assert_eq!(stage.letters(None).await.len(), letters.len());
    stage.file(&letters).await;
    for letter in &letters {
        stage.file(&[told_otherwise(letter)]).await;
        assert_eq!(
            stage.letter(None, letter.id()).await.as_ref(),
            Some(letter),
            "it stays as it was filed first"
        );
    }
    assert_eq!(
        stage.letters(None).await.len(),
        letters.len(),
        "filing it again changes nothing"
    );
}

/// The same bytes under the same name, found by somebody else a while later.
fn told_otherwise(letter: &DeadLetter) -> DeadLetter {
    let DeadLetter::Unreadable {
        id, died_at, raw, ..
    } = letter
    else {
        panic!("unreadable work is told otherwise, not deliveries");
    };
    DeadLetter::Unreadable {
        id: *id,
        died_at: *died_at + HOUR,
        cause: "it kills".to_owned(),
        raw: raw.clone(),
    }
}

/// The same delivery again, under the same identifier or another, in the same call or another.
pub async fn filing_again_changes_nothing(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (app, now) = (stage.an_owner(), stage.now());
    let first = stage.a_letter(app, now);
    stage.file(&[first.clone(), first.clone()]).await;
    let again = with(&first, |note| {
        note.last_response = "another answer".to_owned();
        note.died_at = now + HOUR;
    });
    let renamed = stage.chance.dead_letter(now + HOUR);
    let renamed = with(&again, |note| note.id = renamed);
    stage.file(std::slice::from_ref(&again)).await;
    stage.file(std::slice::from_ref(&renamed)).await;
    stage.file(&[renamed.clone(), first.clone()]).await;
    assert_eq!(
        stage.letters(Some(app)).await,
        [first.clone()],
        "a delivery is filed once, and stays as it was filed"
    );
    assert_eq!(stage.letter(Some(app), first.id()).await, Some(first));
    assert_eq!(
        stage.letter(Some(app), renamed.id()).await,
        None,
        "the identifier of a second filing leads nowhere"
    );
    let fresh = stage.a_letter(app, now);
    let other_name = stage.chance.dead_letter(now);
    let twin = with(&fresh, |note| note.id = other_name);
    stage.file(&[fresh.clone(), twin]).await;
    assert_eq!(
        stage.letters(Some(app)).await.len(),
        2,
        "one of two in the same call counts"
    );
}

/// Several workers may file one delivery at the same moment, each under an identifier of its own.
pub async fn of_concurrent_filings_one_counts(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (app, now) = (stage.an_owner(), stage.now());
    for round in 1..=5 {
        let letter = stage.a_letter(app, now);
        let rivals: Vec<_> = (0..10)
            .map(|_| {
                let name = stage.chance.dead_letter(now);
                with(&letter, |note| note.id = name)
            })
            .collect();
        let store = stage.dead_letters();
        together(rivals.len(), |index| {
            let (store, letter) = (Arc::clone(&store), rivals[index].clone());
            async move { store.put(vec![letter]).await.unwrap() }
        })
        .await;
        let mut found = 0;
        for rival in &rivals {
            found += usize::from(stage.letter(Some(app), rival.id()).await.is_some());
        }
        assert_eq!(found, 1, "of concurrent filings exactly one is found");
        assert_eq!(stage.letters(Some(app)).await.len(), round);
    }
}

/// A delivery that was tried again and given up again has one letter, its newest, in whichever order they come.
pub async fn a_newer_chain_replaces_an_older_one(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (app, now) = (stage.an_owner(), stage.now());
    // Chains are named by tasks: a larger number is not a newer chain.
    for (older_chain, newer_chain) in [(0, 5), (9, 4)] {
        for newer_first in [false, true] {
            let older = with(&stage.a_letter(app, now - HOUR), |note| {
                note.chain = ChainId(older_chain);
            });
            let name = stage.chance.dead_letter(now);
            let newer = with(&older, |note| {
                note.id = name;
                note.chain = ChainId(newer_chain);
                note.reason = DeadReason::Gone;
                note.died_at = now;
            });
            let mut order = [older.clone(), newer.clone()];
            if newer_first {
                order.reverse();
            }
            for letter in order {
                stage.file(&[letter]).await;
            }
            stage.file(std::slice::from_ref(&older)).await;
            assert_eq!(
                stage.letter(Some(app), newer.id()).await.as_ref(),
                Some(&newer),
                "the letter of the newer chain is there (filed first: {newer_first})"
            );
            assert_eq!(
                stage.letter(Some(app), older.id()).await,
                None,
                "the letter of the older chain is not (filed first: {})",
                !newer_first
            );
            let listed = stage.letters(Some(app)).await;
            let of_the_pair = listed
                .iter()
                .filter(|letter| note(letter).endpoint == note(&newer).endpoint);
            assert_eq!(of_the_pair.count(), 1, "one letter for one delivery");
            stage.remove(Some(app), &[newer.id()]).await;
        }
    }
    let letter = stage.a_letter(app, now);
    let DeadLetter::Delivery { event, .. } = &letter else {
        unreachable!("a letter is a delivery");
    };
    let (event, endpoint) = (Arc::clone(event), stage.a_recipient());
    let beside = stage.a_letter_of(&event, endpoint, now);
    stage.file(&[letter, beside]).await;
    assert_eq!(
        stage.letters(Some(app)).await.len(),
        2,
        "each endpoint of a message has a letter of its own"
    );
}

/// Identifiers of another application lead nowhere.
pub async fn another_application_sees_no_dead_letter(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (app, stranger, now) = (stage.an_owner(), stage.an_owner(), stage.now());
    let letter = stage.a_letter(app, now);
    stage.file(std::slice::from_ref(&letter)).await;
    for other in [Some(stranger), None] {
        assert_eq!(stage.letter(other, letter.id()).await, None);
        assert!(stage.letters(other).await.is_empty());
        assert_eq!(
            stage.remove(other, &[letter.id()]).await,
            0,
            "for a stranger there is none to remove"
        );
    }
    assert_eq!(stage.letter(Some(app), letter.id()).await, Some(letter));
}

/// `put` and `remove` return once they would survive.
pub async fn dead_letters_survive_a_crash(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (app, now) = (stage.an_owner(), stage.now());
    let mut letters = Vec::new();
    for _ in 0..30 {
        letters.push(stage.a_letter(app, now));
    }
    stage.file(&letters).await;
    let unreadable = stage.an_unreadable_letter(now, 5_000);
    stage.file(std::slice::from_ref(&unreadable)).await;
    let removed = letters.split_off(25);
    for letter in &removed {
        assert_eq!(stage.remove(Some(app), &[letter.id()]).await, 1);
    }
    let stage = stage.crash().await;
    assert_eq!(
        stage.letter(None, unreadable.id()).await,
        Some(unreadable),
        "unreadable work survives a crash"
    );
    for letter in &letters {
        assert_eq!(
            stage.letter(Some(app), letter.id()).await.as_ref(),
            Some(letter),
            "a dead letter survives a crash"
        );
    }
    assert_eq!(
        stage.letters(Some(app)).await.len(),
        letters.len(),
        "what was removed stays removed"
    );
    stage.file(&letters).await;
    assert_eq!(
        stage.letters(Some(app)).await.len(),
        letters.len(),
        "a crash does not make a second filing count"
    );
}
