//! Wrong histories, each of which must be complained about, and right ones, which must not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::*;

const MS: Duration = Duration::from_millis(1);
const WORKER: u16 = 1_000;
const OTHER_WORKER: u16 = 2_000;

/// A history as it goes on; times are milliseconds since its beginning.
struct Story {
    begun: Instant,
    history: History,
    rules: Rules,
}

impl Story {
    /// Events `accepted` at 0, each for the endpoint "e"; failures are tried again after 1 s, then 2 s.
    fn of(accepted: &[&str]) -> Self {
        let begun = Instant::now() + Duration::from_secs(60);
        let event = |message: &&str| Accepted {
            message: (*message).to_owned(),
            app: "a".to_owned(),
            endpoints: vec!["e".to_owned()],
            at: begun,
            by: "i".to_owned(),
        };
        Self {
            begun,
            history: History {
                accepted: accepted.iter().map(event).collect(),
                ..History::default()
            },
            rules: Rules {
                schedule: vec![1_000 * MS, 2_000 * MS],
                flush: 500 * MS,
                late: Some(500 * MS),
            },
        }
    }

    fn at(&self, millis: u32) -> Instant {
        self.begun + MS * millis
    }

    /// A request that is answered 10 ms later.
    fn request(self, millis: u32, message: &str, status: u16) -> Self {
        self.arrival(millis, message, Some(status), Some(millis + 10))
    }

    fn arrival(
        mut self,
        millis: u32,
        message: &str,
        answered: Option<u16>,
        ended: Option<u32>,
    ) -> Self {
        self.history.arrivals.push(Arrival {
            message: message.to_owned(),
            endpoint: "e".to_owned(),
            peer: WORKER,
            at: self.at(millis),
            answered,
            ended: ended.map(|millis| self.at(millis)),
            verified: true,
        });
        self
    }

    fn fault(mut self, millis: u32, whose: Culprit) -> Self {
        let at = (self.at(millis), self.at(millis));
        self.history.faults.push(Fault { at, whose });
        self
    }

    fn end(mut self, message: &str, end: End) -> Self {
        let ends = self.history.ends.get_or_insert_with(BTreeMap::new);
        ends.insert(Pair::new(message, "e"), end);
        self
    }

    fn judge(&self) -> Verdict {
        judge(&self.history, &self.rules)
    }
}

/// Whether the only thing that is wrong is the one that is named.
fn complaint(verdict: &Verdict) -> Vec<&'static str> {
    let counts = [
        ("lost", verdict.lost.len()),
        ("duplicated", verdict.duplicated.len()),
        ("unexpected", verdict.unexpected.len()),
        ("early", verdict.early.len()),
        ("late", verdict.late.len()),
        ("unended", verdict.unended.len()),
        ("contradicted", verdict.contradicted.len()),
        ("invalid", verdict.invalid.len()),
    ];
    let wrong = counts.iter().filter(|(_, count)| *count > 0);
    wrong.map(|(name, _)| *name).collect()
}

/// A process whose port is `own`, beside one of the worker that made all requests or of another.
fn process_at(own: u16, other: u16) -> Culprit {
    Culprit::Process {
        own: BTreeSet::from([own]),
        others: BTreeSet::from([other]),
    }
}

#[test]
fn a_right_history_is_not_complained_about() {
    let verdict = Story::of(&["a", "b", "c"])
        .request(5, "a", 200)
        .request(6, "b", 500)
        .request(1_100, "b", 204)
        .request(7, "c", 500)
        .request(1_400, "c", 500)
        .request(3_900, "c", 500)
        .end("a", End::Delivered)
        .end("b", End::Delivered)
        .end("c", End::Dead)
        .judge();
    assert!(complaint(&verdict).is_empty(), "{verdict:?}");
    assert_eq!(
        verdict.to_string(),
        "accepted=3 delivered=2 dead=1 canceled=0 lost=0 duplicated=0 unexpected=0 early=0 late=0 faults=0"
    );
    verdict.assert_kept();
}

#[test]
fn what_never_arrived_is_lost() {
    let verdict = Story::of(&["a", "b"]).request(5, "a", 200).judge();
    assert_eq!(verdict.lost, [Pair::new("b", "e")]);
    assert_eq!(complaint(&verdict), ["lost"]);
}

#[test]
fn what_is_said_to_be_delivered_and_never_arrived_is_lost_all_the_same() {
    let verdict = Story::of(&["a"]).end("a", End::Delivered).judge();
    assert_eq!(complaint(&verdict), ["lost"]);
}

#[test]
fn what_was_canceled_before_a_request_is_not_lost() {
    let verdict = Story::of(&["a"]).end("a", End::Canceled).judge();
    assert!(complaint(&verdict).is_empty(), "{verdict:?}");
    assert_eq!(verdict.canceled, 1);
}

#[test]
#[should_panic(expected = "lost")]
fn a_broken_promise_panics() {
    Story::of(&["a"]).judge().assert_kept();
}

#[test]
fn what_nobody_sent_is_unexpected() {
    let verdict = Story::of(&[]).request(5, "x", 200).judge();
    assert_eq!(complaint(&verdict), ["unexpected"]);
}

#[test]
fn what_was_for_somebody_else_is_unexpected() {
    let mut story = Story::of(&["a"]).request(5, "a", 200).request(6, "a", 200);
    story.history.arrivals[1].endpoint = "f".to_owned();
    assert_eq!(story.judge().unexpected, [Pair::new("a", "f")]);
}

#[test]
fn a_second_request_after_a_success_is_a_duplicate() {
    let verdict = Story::of(&["a"])
        .request(5, "a", 200)
        .request(5_000, "a", 200)
        .judge();
    assert_eq!(complaint(&verdict), ["duplicated"]);
    assert_eq!(verdict.unexcused().len(), 1);
}

#[test]
fn a_kill_excuses_what_was_under_way_and_nothing_else() {
    let killed = |whose: Culprit| {
        let story = Story::of(&["open", "fresh", "settled"])
            .arrival(1_000, "open", None, Some(1_100))
            .request(900, "fresh", 200)
            .request(300, "settled", 200)
            .request(2_000, "open", 200)
            .request(2_000, "fresh", 200)
            .request(2_000, "settled", 200);
        story.fault(1_050, whose).judge()
    };
    let verdict = killed(process_at(WORKER, OTHER_WORKER));
    let unexcused: Vec<_> = verdict
        .unexcused()
        .iter()
        .map(|twice| twice.pair.message.clone())
        .collect();
    assert_eq!((verdict.duplicated.len(), verdict.touched), (3, 2));
    assert_eq!(unexcused, ["settled"]);
    // Of those that another worker made, none: the one that was broken off came again before its delay.
    let verdict = killed(process_at(OTHER_WORKER, WORKER));
    assert_eq!((verdict.unexcused().len(), verdict.early.len()), (2, 1));
}

#[test]
fn a_request_from_nobodys_port_is_excused_only_where_it_came_before_the_kill() {
    let killed_at = |millis: u32| {
        let story = Story::of(&["a"])
            .request(100, "a", 200)
            .request(900, "a", 200);
        let verdict = story.fault(millis, process_at(1, 2)).judge();
        verdict.unexcused().len()
    };
    assert_eq!((killed_at(150), killed_at(50)), (0, 1));
}

#[test]
fn a_fault_of_somebody_who_makes_no_requests_excuses_nothing() {
    let story = Story::of(&["a"]).request(5, "a", 200).request(50, "a", 200);
    let verdict = story.fault(20, Culprit::Nobody).judge();
    assert_eq!((verdict.faults, verdict.unexcused().len()), (1, 1));
}

#[test]
fn two_requests_at_once_are_two_carriers() {
    let verdict = Story::of(&["a"])
        .arrival(5, "a", Some(500), Some(1_500))
        .arrival(1_400, "a", Some(500), Some(1_450))
        .judge();
    assert_eq!(complaint(&verdict), ["duplicated"]);
    // One that is still open has one carrier, too.
    let verdict = Story::of(&["a"])
        .arrival(5, "a", None, None)
        .request(60_000, "a", 200)
        .judge();
    assert!(complaint(&verdict).contains(&"duplicated"), "{verdict:?}");
}

#[test]
fn before_its_delay_has_passed_an_attempt_is_early() {
    let verdict = Story::of(&["a"])
        .request(5, "a", 500)
        .request(1_005, "a", 200)
        .judge();
    assert_eq!(complaint(&verdict), ["early"]);
}

#[test]
fn a_failed_attempt_that_a_kill_repeats_is_an_excused_duplicate() {
    let verdict = Story::of(&["a"])
        .request(5, "a", 500)
        .request(500, "a", 500)
        .request(1_700, "a", 200)
        .fault(20, Culprit::Anybody)
        .judge();
    assert_eq!(complaint(&verdict), ["duplicated"]);
    assert!(verdict.unexcused().is_empty());
}

#[test]
fn a_next_attempt_may_follow_a_repeated_one_at_once() {
    // The kill repeats the first attempt, whose successor had been handed off; before its delay, or after it.
    for repeated in [400, 1_200] {
        let story = Story::of(&["a"])
            .request(5, "a", 500)
            .request(repeated, "a", 500)
            .request(1_300, "a", 500)
            .request(3_400, "a", 500);
        assert_eq!(story.judge().early.len(), 1);
        let verdict = story.fault(20, Culprit::Anybody).judge();
        assert_eq!(complaint(&verdict), ["duplicated"]);
        assert_eq!(verdict.unexcused().len(), 0);
    }
}

#[test]
fn one_kill_excuses_one_repetition() {
    let verdict = Story::of(&["a"])
        .request(5, "a", 200)
        .request(2_000, "a", 200)
        .request(4_000, "a", 200)
        .fault(20, Culprit::Anybody)
        .judge();
    assert_eq!(
        (verdict.duplicated.len(), verdict.unexcused().len()),
        (2, 1)
    );
}

#[test]
fn more_attempts_than_the_schedule_has_are_a_doubled_schedule() {
    let verdict = Story::of(&["a"])
        .request(5, "a", 500)
        .request(1_100, "a", 500)
        .request(3_200, "a", 500)
        .request(5_000, "a", 500)
        .judge();
    assert_eq!(complaint(&verdict), ["duplicated"]);
    assert_eq!(verdict.unexcused().len(), 1);
}

#[test]
fn an_attempt_beyond_its_jitter_and_the_bound_is_late() {
    let late = Story::of(&["a"])
        .request(5, "a", 500)
        .request(1_940, "a", 200);
    assert_eq!(complaint(&late.judge()), ["late"]);
    let first = Story::of(&["a"]).request(501, "a", 200);
    assert_eq!(complaint(&first.judge()), ["late"]);
}

#[test]
fn a_pair_without_an_end_is_told() {
    let story = Story::of(&["a", "b"])
        .request(5, "a", 500)
        .request(5, "b", 500);
    let verdict = story.end("a", End::Pending).judge();
    assert_eq!(verdict.unended, [Pair::new("a", "e"), Pair::new("b", "e")]);
}

#[test]
fn an_end_that_contradicts_what_arrived_is_told() {
    let story = Story::of(&["a", "b"])
        .request(5, "a", 500)
        .request(5, "b", 200);
    let verdict = story.end("a", End::Delivered).end("b", End::Dead).judge();
    assert_eq!(complaint(&verdict), ["contradicted"]);
    assert_eq!(verdict.contradicted.len(), 2);
}

#[test]
fn an_invalid_signature_is_told() {
    let mut story = Story::of(&["a"]).request(5, "a", 200);
    story.history.arrivals[0].verified = false;
    assert_eq!(complaint(&story.judge()), ["invalid"]);
}

#[test]
#[should_panic(expected = "one identifier")]
fn one_identifier_for_two_events_panics() {
    let ledger = Ledger::default();
    ledger.accept_for("a".to_owned(), "e");
    ledger.accept_for("a".to_owned(), "e");
}
