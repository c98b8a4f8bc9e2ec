//! Removing, by name and by age.

use std::time::Duration;

use super::letters::HOUR;
use crate::conformance::Fixture;
use crate::conformance::stage::Stage;
use crate::dead_letter::DeadLetter;
use crate::time::Timestamp;

impl Stage<'_> {
    /// Retains until nothing is left to do. Each batch is small, but there are not endless ones.
    async fn retain_letters(&mut self, keep_from: Timestamp) -> u64 {
        let mut removed = 0;
        for _ in 0..10_000 {
            let batch = self.ports.dead_letters.retain(keep_from).await;
            match batch.expect("what is old can be removed") {
                0 => return removed,
                more => removed += more,
            }
        }
        panic!("retaining never ends with 0");
    }
}

/// Returns how many there were; the others stay.
pub async fn removing_takes_what_it_names(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (app, now) = (stage.an_owner(), stage.now());
    let mut letters = Vec::new();
    for _ in 0..30 {
        letters.push(stage.a_letter(app, now));
    }
    stage.file(&letters).await;
    let unreadable = stage.an_unreadable_letter(now, 10);
    stage.file(std::slice::from_ref(&unreadable)).await;
    assert_eq!(stage.remove(Some(app), &[]).await, 0);
    let unknown = stage.chance.dead_letter(now);
    let mut named = vec![unknown, unreadable.id()];
    named.extend(letters[..12].iter().map(DeadLetter::id));
    assert_eq!(
        stage.remove(Some(app), &named).await,
        12,
        "it says how many there were"
    );
    assert_eq!(
        stage.remove(Some(app), &named).await,
        0,
        "they are gone by now"
    );
    for (index, letter) in letters.iter().enumerate() {
        let found = stage.letter(Some(app), letter.id()).await;
        assert_eq!(
            found.as_ref(),
            (index >= 12).then_some(letter),
            "it takes what it names, and nothing else"
        );
    }
    assert_eq!(stage.letters(Some(app)).await.len(), 18);
    assert_eq!(stage.letters(None).await, [unreadable.clone()]);
    assert_eq!(stage.remove(None, &[unreadable.id()]).await, 1);
    assert!(stage.letters(None).await.is_empty());
    let again = &letters[0];
    stage.file(std::slice::from_ref(again)).await;
    assert_eq!(
        stage.letter(Some(app), again.id()).await.as_ref(),
        Some(again),
        "what was removed can be filed once more"
    );
}

/// Where a message died at several endpoints, each letter keeps its event until it goes itself.
pub async fn letters_of_one_message_do_not_depend_on_each_other(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let (app, now) = (stage.an_owner(), stage.now());
    let keep_from = now - HOUR * 72;
    let event = stage.a_dead_event(app);
    let mut letters = Vec::new();
    for hours in [100, 100, 1, 1] {
        let endpoint = stage.a_recipient();
        letters.push(stage.a_letter_of(&event, endpoint, now - HOUR * hours));
    }
    stage.file(&letters).await;
    assert_eq!(stage.remove(Some(app), &[letters[0].id()]).await, 1);
    for letter in &letters[1..] {
        let found = stage.letter(Some(app), letter.id()).await;
        assert_eq!(found.as_ref(), Some(letter), "after one was removed");
    }
    stage.retain_letters(keep_from).await;
    for letter in &letters[2..] {
        let found = stage.letter(Some(app), letter.id()).await;
        assert_eq!(found.as_ref(), Some(letter), "after one grew old");
    }
    assert_eq!(stage.letters(Some(app)).await.len(), 2);
}

/// By the time of death, of every application and of none.
pub async fn retention_removes_what_died_earlier_and_nothing_else(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let now = stage.now();
    assert_eq!(stage.ports.dead_letters.retain(now).await.unwrap(), 0);
    let keep_from = now - HOUR * 10;
    let apps = [stage.an_owner(), stage.an_owner()];
    let mut rows = Vec::new();
    for index in 0..600 {
        let step = Duration::from_millis(index / 2);
        let old = index % 2 == 0;
        let died_at = if old {
            keep_from - step - Duration::from_millis(1)
        } else {
            keep_from + step
        };
        let owner = [Some(apps[0]), Some(apps[1]), None][index as usize / 2 % 3];
        let letter = match owner {
            Some(app) => stage.a_letter(app, died_at),
            None => stage.an_unreadable_letter(died_at, 30),
        };
        rows.push((old, owner, letter));
    }
    for batch in rows.chunks(100) {
        let letters: Vec<DeadLetter> = batch.iter().map(|(.., letter)| letter.clone()).collect();
        stage.file(&letters).await;
    }
    assert_eq!(
        stage.retain_letters(keep_from).await,
        300,
        "its batches together say how many there were"
    );
    for (old, owner, letter) in &rows {
        let found = stage.letter(*owner, letter.id()).await;
        assert_eq!(
            found.as_ref(),
            (!old).then_some(letter),
            "what died before {keep_from} is removed, and nothing else"
        );
    }
    for owner in [Some(apps[0]), Some(apps[1]), None] {
        assert_eq!(
            stage.letters(owner).await.len(),
            100,
            "lists show what is there"
        );
    }
    assert_eq!(stage.retain_letters(keep_from).await, 0, "once is enough");
}
