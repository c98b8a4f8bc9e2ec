//! Packs that wait for nothing but requests that hang must not keep others out.
//!
//! A broker lets a process have so many packs of a queue at a time, and the process itself takes so many packs and bytes.
//! A pack is let go when all its work is settled, so one request that hangs pins a whole pack until its deadline; with
//! enough of them nothing else would move. When more than half of a bound is pinned by packs in which nothing is
//! unfinished but requests that are older than a second, the oldest of these are *re-homed*:
//!
//! ```text
//!  each unfinished target ──hand off, as it is──▶ broker ── when the request must have ended ──▶ claim
//!  the pack ──ack                                                 outcome known: done ◀────────────┤
//!  its requests go on, and settle as usual               none, for the process died: again ◀───────┘
//! ```
//!
//! What comes back can neither overtake the request, which has ended by then, nor begin a second chain, because what
//! became of the attempt is recorded. Where nothing can be handed off, packs stay as they are.
//!
//! Memory stays bounded: each request has a slot, and no more bytes are adrift than may be held.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use postrider_core::message::{Item, Work};
use postrider_core::ports::HandOff;
use postrider_core::time::Timestamp;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::warn;

use crate::context::Context;
use crate::held::{Load, Request, Totals};
use crate::item::put_off_all;
use crate::pack::Settled;
use crate::plan;

/// A request that takes longer may take until its deadline.
const LONG: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Packs re-homed by one call.
const BATCH: usize = 64;
/// People are told at most this often.
const TELL_EVERY: Duration = Duration::from_secs(60);

pub(crate) async fn run(context: Arc<Context>) {
    let mut tick = interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told: Option<Instant> = None;
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = context.stopping.cancelled() => return,
        }
        let packs = relieve(&context).await;
        if packs > 0 && told.is_none_or(|told| told.elapsed() > TELL_EVERY) {
            told = Some(Instant::now());
            warn!(
                packs,
                "requests that hang pin more than half of what may be held; the oldest go on without their packs"
            );
        }
    }
}

/// Re-homes what is too much. Returns how many packs that were.
async fn relieve(context: &Context) -> usize {
    if !is_half_full(context) {
        return 0;
    }
    let now = context.now();
    let pinned = pinned(context.held.loads(), now);
    let bounds = bounds(context);
    let chosen = choose(&pinned, &bounds);
    let mut packs = 0;
    for batch in chosen.chunks(BATCH) {
        match rehome(context, batch).await {
            Settled::Yes => packs += batch.len(),
            // Told by whoever tried.
            Settled::No | Settled::Held | Settled::Apart => break,
        }
    }
    packs
}

/// Spares a look at each pack while there is room.
fn is_half_full(context: &Context) -> bool {
    let Totals { packs, bytes, .. } = context.held.totals();
    2 * packs > context.config.prefetch
        || 2 * bytes > context.config.prefetch_bytes
        || context.held.is_a_window_half_full()
}

/// A pack of which nothing is left but requests that take long.
#[derive(Debug, Clone)]
struct Pinned<L> {
    load: L,
    queue: u32,
    bytes: usize,
    since: Timestamp,
}

fn pinned(loads: Vec<Arc<Load>>, now: Timestamp) -> Vec<Pinned<Arc<Load>>> {
    let look = |load: Arc<Load>| {
        Some(Pinned {
            since: load.pinned_since(now - LONG)?,
            queue: load.receipt.queue,
            bytes: load.bytes,
            load,
        })
    };
    loads.into_iter().filter_map(look).collect()
}

struct Bounds<W> {
    /// The window of a queue.
    window: W,
    packs: usize,
    bytes: usize,
    /// How many bytes more may be adrift.
    adrift: usize,
}

fn bounds(context: &Context) -> Bounds<impl Fn(u32) -> Option<usize>> {
    let bytes = context.config.prefetch_bytes;
    Bounds {
        window: |queue| context.held.window(queue),
        packs: context.config.prefetch,
        bytes,
        adrift: bytes.saturating_sub(context.held.totals().adrift_bytes),
    }
}

/// The oldest, until no bound is pinned by more than half.
fn choose<L: Clone>(
    pinned: &[Pinned<L>],
    bounds: &Bounds<impl Fn(u32) -> Option<usize>>,
) -> Vec<L> {
    let mut by_queue: HashMap<u32, usize> = HashMap::new();
    for pack in pinned {
        *by_queue.entry(pack.queue).or_default() += 1;
    }
    let mut packs = pinned.len();
    let mut bytes: usize = pinned.iter().map(|pack| pack.bytes).sum();
    let mut adrift = bounds.adrift;
    let mut oldest_first: Vec<&Pinned<L>> = pinned.iter().collect();
    oldest_first.sort_by_key(|pack| pack.since);
    let mut chosen = Vec::new();
    for pack in oldest_first {
        let of_queue = by_queue.entry(pack.queue).or_default();
        let is_too_much = 2 * packs > bounds.packs
            || 2 * bytes > bounds.bytes
            || (bounds.window)(pack.queue).is_some_and(|window| 2 * *of_queue > window);
        if !is_too_much || pack.bytes > adrift {
            continue;
        }
        *of_queue -= 1;
        packs -= 1;
        bytes -= pack.bytes;
        adrift -= pack.bytes;
        chosen.push(pack.load.clone());
    }
    chosen
}

async fn rehome(context: &Context, loads: &[Arc<Load>]) -> Settled {
    let (now, deadline) = (context.now(), context.config.request_timeout);
    let mut targets = 0;
    let mut copies = Vec::new();
    let mut covered = Vec::new();
    for load in loads {
        // One that is being settled just now ends by itself.
        let Some(requests) = load.requests() else {
            continue;
        };
        targets += requests.len();
        copies.extend(behind(requests, now, deadline));
        covered.push(load);
    }
    let handed_on = put_off_all(context, copies, "pressure").await;
    if handed_on == Settled::Yes {
        let packs = covered.len() as u64;
        for load in covered {
            context.held.set_adrift(load);
            context.acker.ack(load.receipt).await;
        }
        context.room.notify_one();
        context.metrics.rehomed_packs.inc_by(packs);
        context.metrics.rehomed_targets.inc_by(targets as u64);
    }
    handed_on
}

/// One item for each event, with all its targets.
fn behind(requests: Vec<Request>, now: Timestamp, deadline: Duration) -> Vec<HandOff> {
    let mut by_event: HashMap<_, Vec<Request>> = HashMap::new();
    for request in requests {
        let same = by_event.entry(request.event.message).or_default();
        same.push(request);
    }
    let hand_off = |requests: Vec<Request>| {
        let begun = requests.iter().map(|request| request.begun).max()?;
        let item = Item {
            event: Arc::clone(&requests.first()?.event),
            work: Work::Targets(requests.into_iter().map(|request| request.target).collect()),
            maybe_dup: true,
        };
        Some(plan::behind(item, begun + deadline, now))
    };
    by_event.into_values().filter_map(hand_off).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_core::ports::Until;
    use postrider_core::samples::{self, NOW};
    use proptest::prelude::*;

    const DEADLINE: Duration = Duration::from_secs(15);

    fn pack(load: u64, queue: u32, bytes: usize, age: u64) -> Pinned<u64> {
        Pinned {
            load,
            queue,
            bytes,
            since: NOW - Duration::from_secs(age),
        }
    }

    fn bounds(
        window: usize,
        packs: usize,
        bytes: usize,
        adrift: usize,
    ) -> Bounds<impl Fn(u32) -> Option<usize>> {
        Bounds {
            window: move |queue| (queue == 0).then_some(window),
            packs,
            bytes,
            adrift,
        }
    }

    #[test]
    fn the_oldest_of_a_queue_go_until_half_of_its_window_is_free() {
        let mut pinned: Vec<_> = (0..7).map(|n| pack(n, 0, 1, 10 + n)).collect();
        pinned.extend((7..20).map(|n| pack(n, 1, 1, 100)));
        let chosen = choose(&pinned, &bounds(10, 1_000, 1_000, 1_000));
        assert_eq!(chosen, [6, 5], "queue 1 has no window");
    }

    #[test]
    fn all_packs_and_bytes_together_are_bounded_too() {
        let pinned: Vec<_> = (0..10).map(|n| pack(n, 1, 10, n)).collect();
        assert_eq!(choose(&pinned, &bounds(1, 16, 1_000, 1_000)), [9, 8]);
        assert_eq!(choose(&pinned, &bounds(1, 100, 140, 1_000)), [9, 8, 7]);
        assert_eq!(
            choose(&pinned, &bounds(1, 100, 140, 25)),
            [9, 8],
            "no more bytes are adrift than may be"
        );
    }

    #[test]
    fn targets_of_one_event_come_back_together_after_their_last_deadline() {
        let event = samples::item(Work::Match).event;
        let request = |attempt, age| Request {
            event: Arc::clone(&event),
            target: samples::target(attempt, NOW),
            begun: NOW - Duration::from_secs(age),
        };
        let copies = behind(vec![request(1, 9), request(2, 4)], NOW, DEADLINE);
        let [copy] = &copies[..] else {
            panic!("{copies:?}")
        };
        assert!(copy.item.maybe_dup);
        let Work::Targets(targets) = &copy.item.work else {
            panic!()
        };
        assert_eq!(targets.len(), 2);
        assert_eq!(copy.until, Until::After(Duration::from_secs(11 + 5)));
    }

    proptest! {
        #[test]
        fn no_bound_stays_pinned_by_more_than_half(
            packs in proptest::collection::vec((0u32..2, 1usize..100, 0u64..60), 0..80),
            window in 1usize..40, most in 1usize..90, bytes in 1usize..3_000,
        ) {
            let pinned: Vec<_> = packs
                .iter()
                .enumerate()
                .map(|(n, (queue, bytes, age))| pack(n as u64, *queue, *bytes, *age))
                .collect();
            let chosen = choose(&pinned, &bounds(window, most, bytes, usize::MAX));
            let left: Vec<_> = pinned.iter().filter(|pack| !chosen.contains(&pack.load)).collect();
            prop_assert!(2 * left.len() <= most);
            prop_assert!(2 * left.iter().map(|pack| pack.bytes).sum::<usize>() <= bytes);
            prop_assert!(2 * left.iter().filter(|pack| pack.queue == 0).count() <= window);
            let is_fine = 2 * pinned.len() <= most.min(window)
                && 2 * pinned.iter().map(|pack| pack.bytes).sum::<usize>() <= bytes;
            prop_assert!(!is_fine || chosen.is_empty());
        }
    }
}
