//! Work for later: never early, late within bounds, and nobody has to poll for it.

use std::time::Duration;

use tokio::time::timeout;

use super::work::{Held, PLENTY, assert_holds, messages, messages_of};
use crate::conformance::Fixture;
use crate::conformance::stage::{LONG, PATIENCE, Stage, VIGIL, soon};
use crate::ladder::{MAX_HOPS, MAX_STRETCH};
use crate::message::Item;
use crate::ports::{Depth, HandOff, Source, Until};
use crate::schedule::MAX_DELAY;
use crate::time::Timestamp;

/// How far time is moved between two looks.
const STEP: Duration = Duration::from_millis(100);

impl Stage<'_> {
    /// Lets time pass step by step until `count` items have come; says when each did. On a clock that stands
    /// still, all are there at `latest`.
    async fn arrivals(&mut self, count: usize, latest: Timestamp) -> Vec<(Timestamp, Held)> {
        let limit = if self.time.stands_still() {
            latest
        } else {
            latest + PATIENCE
        };
        let mut arrived: Vec<(Timestamp, Held)> = Vec::new();
        let mut found = 0;
        while found < count {
            let (held, _) = self.lease(PLENTY).await;
            let now = self.now();
            found += held.iter().map(|held| held.items.len()).sum::<usize>();
            arrived.extend(held.into_iter().map(|held| (now, held)));
            assert!(
                found >= count || now < limit,
                "{found} of {count} items came by {now}, all were due by {latest}"
            );
            if found < count {
                self.time.pass(STEP.min(limit.since(now))).await;
            }
        }
        arrived
    }
}

/// `After(d)` comes within [d, 1.42 d], and not all of it at the same moment.
pub async fn a_delay_is_never_cut_short_and_stretched_within_bounds(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let delay = Duration::from_secs(2);
    let mut handed = Vec::new();
    let start = stage.now();
    for _ in 0..30 {
        let items = stage.items(1);
        let at = stage.hand_off(&items, Until::After(delay)).await;
        handed.push((at, items));
    }
    let last = stage.now();
    stage
        .nothing_ready("what is handed off for later is not ready")
        .await;
    // As close to the first due time as the clock allows.
    let near = (start + delay - Duration::from_millis(1)).since(stage.now());
    stage.time.pass(near).await;
    let latest = last + delay.mul_f64(MAX_STRETCH);
    let arrived = stage.arrivals(handed.len(), latest).await;
    for (at, items) in &handed {
        let message = items[0].event.message;
        let (when, held) = arrived
            .iter()
            .find(|(_, held)| messages(std::slice::from_ref(held)).contains(&message))
            .expect("each item comes");
        assert!(
            *when + stage.time.rounding() >= *at + delay,
            "never early: handed off at {at} for {delay:?}, came at {when}"
        );
        assert_eq!(held.pack.source, Source::Work);
        assert!(!held.pack.returned, "a hand-off is not a return");
    }
    let first = arrived.iter().map(|(when, _)| *when).min();
    let end = arrived.iter().map(|(when, _)| *when).max();
    assert!(
        first < end,
        "thirty delays begun at {start} have jitter: they do not all end at {end:?}"
    );
}

/// An exact time is never anticipated for long, and overshot by at most what the broker says.
pub async fn an_exact_time_is_met(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let within = stage.ports.broker.capabilities().exact_within;
    let items = stage.items(1);
    let due = stage.now() + Duration::from_millis(3_300);
    let mut handed_at = stage.hand_off(&items, Until::Exactly(due)).await;
    for hop in 0.. {
        assert!(
            hop <= MAX_HOPS,
            "an exact time is approached in at most {MAX_HOPS} steps"
        );
        let (when, held) = stage
            .arrivals(1, due + within)
            .await
            .pop()
            .expect("an arrival");
        assert_holds(&[held], &items, "the item that waits for an exact time");
        if when + stage.time.rounding() >= due {
            break;
        }
        assert!(
            when.since(handed_at) * 2 >= due.since(handed_at),
            "a step towards an exact time takes at least half of what is left: \
             handed off at {handed_at}, due at {due}, came at {when}"
        );
        handed_at = stage.hand_off(&items, Until::Exactly(due)).await;
    }
    stage.nothing_ready("it comes once a hand-off").await;
}

/// A time that has passed, no delay, and `Now` all mean: ready.
pub async fn what_is_due_already_is_ready(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let within = stage.ports.broker.capabilities().exact_within;
    let now = stage.now();
    let at_once = stage.items(3);
    stage.hand_off(&at_once, Until::Now).await;
    let held = stage.lease_items(at_once.len()).await;
    assert_holds(&held, &at_once, "`Until::Now` is ready without any wait");
    let mut soon = Vec::new();
    for until in [
        Until::Exactly(now),
        Until::Exactly(now - LONG),
        Until::Exactly(Timestamp::EPOCH),
        Until::After(Duration::ZERO),
    ] {
        let items = stage.items(2);
        stage.hand_off(&items, until).await;
        soon.extend(items);
    }
    stage.time.pass(within).await;
    let held = stage.lease_items(soon.len()).await;
    assert_holds(
        &held,
        &soon,
        "what is due already comes within `exact_within`",
    );
}

/// Handing off changes nothing in an item, whatever it is and whatever travels with it.
pub async fn handed_off_work_is_what_it_was(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let mut items = stage.shapes();
    items.push(stage.item(1024 * 1024));
    items.extend(stage.items(150));
    let now = stage.now();
    let untils = [
        Until::Now,
        Until::After(Duration::from_secs(1)),
        Until::Exactly(now + Duration::from_secs(1)),
    ];
    // One call, many times: groups are formed by time, and nothing gets lost between them.
    let hand_offs = items
        .iter()
        .enumerate()
        .map(|(index, item)| HandOff {
            item: item.clone(),
            until: untils[index % untils.len()],
        })
        .collect();
    stage.ports.broker.hand_off(now, hand_offs).await.unwrap();
    let within = stage.ports.broker.capabilities().exact_within;
    let latest = now + Duration::from_secs(2) + within;
    let arrived = stage.arrivals(items.len(), latest).await;
    let held: Vec<Held> = arrived.into_iter().map(|(_, held)| held).collect();
    assert_holds(&held, &items, "handed-off work is what it was");
}

/// The engine's way to retry: hand off, then acknowledge what it came from. One of the two exists at any time.
pub async fn handing_off_and_acknowledging_replaces_work(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let items = stage.items(10);
    stage.publish(&items).await;
    let held = stage.lease_items(items.len()).await;
    stage
        .hand_off(&items[..4], Until::After(Duration::from_secs(1)))
        .await;
    stage.ack(&held).await;
    stage
        .depth_becomes("what was handed off waits, the rest is gone", |depth| {
            depth.ready == 0 && depth.leased == 0 && (1..=4).contains(&depth.waiting)
        })
        .await;
    stage.time.pass(Duration::from_millis(1_420)).await;
    let again = stage.lease_items(4).await;
    assert_holds(&again, &items[..4], "what was handed off comes again");
    stage.ack(&again).await;
    stage
        .depth_becomes("nothing is left", |depth| *depth == Depth::default())
        .await;
}

/// Others are handed off at the same moment to the same time, before and behind.
pub async fn what_is_handed_off_singly_shares_no_pack(fixture: &dyn Fixture) {
    const EACH: usize = 20;
    let mut stage = Stage::open(fixture).await;
    let items = stage.items(3 * EACH);
    let (others, apart) = items.split_at(2 * EACH);
    let (before, behind) = others.split_at(EACH);
    let now = stage.now();
    for until in [Until::Now, Until::After(Duration::from_secs(1))] {
        let hand_offs = |items: &[Item]| -> Vec<HandOff> {
            let each = |item: &Item| HandOff {
                item: item.clone(),
                until,
            };
            items.iter().map(each).collect()
        };
        let broker = stage.broker();
        let (first, singly, last) = tokio::join!(
            broker.hand_off(now, hand_offs(before)),
            broker.hand_off_singly(now, hand_offs(apart)),
            broker.hand_off(now, hand_offs(behind)),
        );
        for handed in [first, singly, last] {
            handed.expect("work can be handed off");
        }
        stage.time.pass(Duration::from_millis(1_420)).await;
        let held = stage.lease_items(items.len()).await;
        assert_holds(&held, &items, "all of it comes");
        for pack in held.iter().filter(|pack| pack.items.len() > 1) {
            let shares = |item: &Item| apart.contains(item);
            assert!(!pack.items.iter().any(shares), "it travels by itself");
        }
        stage.ack(&held).await;
    }
}

/// Whoever waits for `wait` and for `next_due`, and for nothing else, gets everything when it is due.
pub async fn waiting_as_told_misses_nothing_that_becomes_due(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let mut left = Vec::new();
    for tenths in [23, 9, 16] {
        let items = stage.items(1);
        let until = Until::After(Duration::from_millis(100 * tenths));
        stage.hand_off(&items, until).await;
        left.extend(messages_of(&items));
    }
    let broker = stage.broker();
    soon("everything that becomes due", async {
        while !left.is_empty() {
            let (held, next_due) = stage.lease(PLENTY).await;
            for message in messages(&held) {
                left.retain(|waiting| *waiting != message);
            }
            if !held.is_empty() {
                continue;
            }
            let now = stage.now();
            match next_due {
                _ if stage.time.stands_still() => {
                    if timeout(VIGIL, broker.wait()).await.is_ok() && next_due.is_none() {
                        continue;
                    }
                    let due = next_due
                        .expect("something waits, and neither `wait` nor `next_due` tells of it");
                    assert!(due > now, "what is due at {due} was not leased at {now}");
                    stage.time.pass(due.since(now)).await;
                }
                Some(due) => {
                    let _ = timeout(due.since(now), broker.wait()).await;
                }
                None => broker.wait().await,
            }
        }
    })
    .await;
}

/// Where `next_due` says when to look again, work that becomes due earlier than that is told by `wait`.
pub async fn an_earlier_hand_off_wakes_who_waits(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let late = stage.items(1);
    stage.hand_off(&late, Until::After(LONG)).await;
    let (held, told) = stage.lease(PLENTY).await;
    assert!(held.is_empty(), "it waits for hours");
    let early: Vec<Item> = stage.items(1);
    let at = stage
        .hand_off(&early, Until::After(Duration::from_secs(1)))
        .await;
    let broker = stage.broker();
    // A broker that does not know its times wakes when the item is there; one that does wakes now.
    soon("wait, after an earlier hand-off", broker.wait()).await;
    let (_, sooner) = stage.lease(PLENTY).await;
    if told.is_some() && stage.time.stands_still() {
        let sooner = sooner.expect("a broker that knows its times tells the next");
        assert!(
            sooner >= at + Duration::from_secs(1) && sooner <= at + Duration::from_millis(1_420),
            "the next is due between {at} + 1 s and + 1.42 s, not at {sooner}"
        );
    }
}

/// What waits is durable, and a crash does not make it come before its time.
pub async fn what_waits_survives_a_crash(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let soon = stage.items(5);
    let at = stage
        .hand_off(&soon, Until::After(Duration::from_secs(2)))
        .await;
    let late = stage.items(5);
    stage.hand_off(&late, Until::After(MAX_DELAY)).await;
    let now = stage.now();
    let exact = stage.items(1);
    stage
        .hand_off(&exact, Until::Exactly(now + MAX_DELAY))
        .await;
    let mut stage = stage.crash().await;
    let (held, _) = stage.lease(PLENTY).await;
    let looked = stage.now();
    assert!(
        held.is_empty() || looked >= at + Duration::from_secs(2),
        "a crash does not shorten a delay"
    );
    stage.time.pass(Duration::from_millis(2_840)).await;
    let found: usize = held.iter().map(|held| held.items.len()).sum();
    let mut all = held;
    all.extend(stage.lease_items(soon.len() - found).await);
    assert_holds(&all, &soon, "what waits survives a crash");
    stage.nothing_ready("seven days are not over").await;
}
