//! What kills whoever touches it is found out and put away; what merely was near it is delivered.
//!
//! Processes that die are made by what they leave behind: trials that were begun and not ended, leases.

use std::time::Duration;

use postrider_core::attempt::Disposition;
use postrider_core::dead_letter::DeadNote;
use postrider_core::message::Work;
use postrider_core::page::{Cursor, Order, Page};
use postrider_core::pair::{ChainId, PairKey, PairState};
use postrider_core::ports::{
    Claim, DeadLetterFilter, DestinationStatus, Pack, RETURN_DELAY, Source, TrialKey,
};
use postrider_core::{AppId, DeadLetter, DeadReason, Endpoint, Item, Target, Trigger, envelope};
use postrider_engine::EngineConfig;
use postrider_engine::testing::Play;
use sha2::{Digest, Sha256};
use tokio::time::advance;

use crate::world::World;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// What giving back may take longer.
const ABOUT: Duration = Duration::from_secs(3);

fn page<K>() -> Page<K> {
    Page {
        cursor: Cursor::Start,
        limit: 100,
        order: Order::Ascending,
    }
}

impl World {
    /// A world whose engine does not run yet.
    async fn asleep(play: Play) -> Self {
        let mut world = Self::new(move |_, _| play.clone()).await;
        assert!(world.drain().await);
        world.reopen().await;
        world
    }

    /// Publishes items in one pack and sets it apart.
    async fn set_apart(&self, items: Vec<Item>) -> Pack {
        self.publish(items).await;
        let now = self.clock.now();
        let broker = &self.ports.broker;
        let pack = broker.lease(now, 1).await.unwrap().packs.remove(0);
        assert_eq!(pack.source, Source::Work);
        broker.quarantine(now, &pack).await.unwrap();
        pack
    }

    /// As many processes die of a pack that was set apart.
    async fn die_of(&self, pack: &Pack, deaths: u32) {
        let hash = Sha256::digest(&pack.bytes);
        let key = TrialKey(hash[..16].try_into().unwrap());
        let now = self.clock.now();
        for _ in 0..deaths {
            let limits = &self.ports.limits;
            limits.begin_trial(now, key, now + DAY).await.unwrap();
        }
    }

    async fn dead_letters(&self, app: Option<AppId>) -> Vec<DeadLetter> {
        let (filter, page) = (DeadLetterFilter::default(), page());
        let found = self.ports.dead_letters.list(app, &filter, page).await;
        found.unwrap().items
    }

    /// The one dead letter there is, which has the state that goes with it.
    async fn poison(&self, item: &Item, endpoint: &Endpoint) -> DeadNote {
        let letters = self.dead_letters(Some(self.app)).await;
        let [DeadLetter::Delivery { event, note }] = letters.as_slice() else {
            panic!("one delivery was given up: {letters:?}");
        };
        assert_eq!(**event, *item.event);
        assert_eq!(note.endpoint, endpoint.id);
        assert_eq!(note.reason, DeadReason::Poison);
        let pair = PairKey {
            app: self.app,
            message: item.event.message,
            endpoint: endpoint.id,
        };
        let record = self.ports.limits.pair(self.clock.now(), pair).await;
        assert_eq!(record.unwrap().unwrap().state, PairState::Dead);
        let log = &self.ports.log;
        let shown = log.destinations(self.app, item.event.message, page()).await;
        let statuses: Vec<_> = shown
            .unwrap()
            .items
            .iter()
            .map(|shown| shown.status)
            .collect();
        assert_eq!(statuses, [DestinationStatus::Failed]);
        note.clone()
    }
}

fn target(world: &World, endpoint: &Endpoint, attempt: u16) -> Target {
    Target {
        endpoint: endpoint.id,
        era: 0,
        chain: ChainId::FIRST,
        attempt,
        due: world.clock.now(),
        trigger: Trigger::Scheduled,
    }
}

#[tokio::test(start_paused = true)]
async fn a_pack_that_was_set_apart_is_split() {
    let world = World::asleep(Play::Status(200)).await;
    world.endpoint().await;
    let items = vec![world.item(Work::Match).await, world.item(Work::Match).await];
    world.set_apart(items).await;
    let mut world = world.restart().await;
    world
        .until("each waits for itself", |depth| {
            depth.waiting == 2 && depth.quarantined == 0 && depth.leased == 0
        })
        .await;
    assert!(world.sender.requests().is_empty());
    advance(Duration::from_secs(2)).await;
    for _ in 0..2 {
        assert_eq!(world.settled().await.next, Disposition::Delivered);
    }
    world.all_ended().await;
}

#[tokio::test(start_paused = true)]
async fn two_deaths_are_chance_and_an_acquittal_forgets_them() {
    let world = World::asleep(Play::Status(200)).await;
    world.endpoint().await;
    let item = world.item(Work::Match).await;
    let pack = world.set_apart(vec![item]).await;
    world.die_of(&pack, 2).await;
    let mut world = world.restart().await;
    assert_eq!(world.settled().await.next, Disposition::Delivered);
    world.all_ended().await;
    world.die_of(&pack, 1).await;
    let (limits, now) = (&world.ports.limits, world.clock.now());
    let key = TrialKey(Sha256::digest(&pack.bytes)[..16].try_into().unwrap());
    assert_eq!(limits.begin_trial(now, key, now + DAY).await.unwrap(), 2);
    assert!(world.dead_letters(Some(world.app)).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_killed_three_times_is_filed_under_its_application_and_endpoint() {
    let world = World::asleep(Play::Status(200)).await;
    let endpoint = world.endpoint().await;
    let item = world.item(Work::Match).await;
    let pack = world.set_apart(vec![item.clone()]).await;
    world.die_of(&pack, 3).await;
    let world = world.restart().await;
    world.all_ended().await;
    assert!(world.sender.requests().is_empty(), "it was tried once more");
    let note = world.poison(&item, &endpoint).await;
    assert_eq!((note.attempts, note.last_status), (0, 0));
    assert_eq!(world.counter("postrider_dead_letters_total"), 1.0);
    assert!(world.dead_letters(None).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_later_attempt_that_kills_leaves_its_other_deliveries_alone() {
    let world = World::asleep(Play::Status(200)).await;
    let (endpoint, done) = (world.endpoint().await, world.endpoint().await);
    let targets = vec![target(&world, &endpoint, 3), target(&world, &done, 1)];
    let item = world.item(Work::Targets(targets)).await;
    let delivered = postrider_core::ports::Settlement {
        pair: PairKey {
            app: world.app,
            message: item.event.message,
            endpoint: done.id,
        },
        chain: ChainId::FIRST,
        attempt: 1,
        outcome: postrider_core::pair::PairOutcome::Ended(PairState::Delivered),
        keep_until: world.clock.now() + DAY,
    };
    let settled = vec![delivered];
    let limits = &world.ports.limits;
    limits.settle(world.clock.now(), settled).await.unwrap();
    let pack = world.set_apart(vec![item.clone()]).await;
    world.die_of(&pack, 3).await;
    let world = world.restart().await;
    world.all_ended().await;
    assert_eq!(world.poison(&item, &endpoint).await.attempts, 2);
}

#[tokio::test(start_paused = true)]
async fn what_kills_even_while_it_is_filed_is_kept_with_its_bytes_and_once() {
    let mut world = World::asleep(Play::Status(200)).await;
    world.endpoint().await;
    let item = world.item(Work::Match).await;
    for _ in 0..2 {
        let pack = world.set_apart(vec![item.clone()]).await;
        world.die_of(&pack, 4).await;
        world = world.restart().await;
        world.all_ended().await;
        let letters = world.dead_letters(None).await;
        let [DeadLetter::Unreadable { raw, cause, .. }] = letters.as_slice() else {
            panic!("its bytes were filed once: {letters:?}");
        };
        assert_eq!(*raw, pack.bytes);
        assert!(cause.contains("3 processes"), "{cause}");
        assert_eq!(envelope::decode(raw).unwrap(), std::slice::from_ref(&item));
        assert!(world.drain().await);
        world.reopen().await;
    }
    assert!(world.sender.requests().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_counted_is_not_tried() {
    let world = World::asleep(Play::Status(200)).await;
    world.endpoint().await;
    let item = world.item(Work::Match).await;
    world.set_apart(vec![item]).await;
    world.store.set(true);
    let mut world = world.restart().await;
    for round in 1..=3 {
        let given_back = || world.counter("postrider_given_back_total");
        world
            .until("it is given back", |depth| {
                depth.quarantined == 1 && depth.leased == 0 && given_back() >= f64::from(round)
            })
            .await;
        assert_eq!(given_back(), f64::from(round), "it does not circle");
        assert!(world.sender.requests().is_empty());
        if round == 3 {
            world.store.set(false);
        }
        advance(RETURN_DELAY + ABOUT).await;
    }
    assert_eq!(world.settled().await.next, Disposition::Delivered);
    world.all_ended().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_after_a_second_is_acquitted() {
    let world = World::asleep(Play::Slow(Duration::from_secs(10))).await;
    world.endpoint().await;
    let item = world.item(Work::Match).await;
    let pack = world.set_apart(vec![item]).await;
    world.die_of(&pack, 2).await;
    let mut world = world.restart().await;
    world.requests_under_way(1).await;
    advance(Duration::from_secs(2)).await;
    world
        .until("it is handed off", |depth| {
            depth.waiting == 1 && depth.leased == 0 && depth.quarantined == 0
        })
        .await;
    advance(Duration::from_secs(8)).await;
    assert_eq!(world.settled().await.next, Disposition::Delivered);
    advance(Duration::from_secs(30)).await;
    world.all_ended().await;
    assert_eq!(world.sender.requests().len(), 1);
}

/// Whoever dies of a request leaves a lease. The work is put off until that ends, as another message each time, which no
/// broker counts as the same. Here one lease is found by several.
#[tokio::test(start_paused = true)]
async fn what_leaves_one_lease_after_the_other_is_set_apart() {
    let config = EngineConfig::default();
    let lease = config.request_timeout + Duration::from_secs(5);
    let mut world = World::with(config, |_, _| Play::Status(200)).await;
    let endpoint = world.endpoint().await;
    let item = world
        .item(Work::Targets(vec![target(&world, &endpoint, 1)]))
        .await;
    let pair = PairKey {
        app: world.app,
        message: item.event.message,
        endpoint: endpoint.id,
    };
    let now = world.clock.now();
    let claim = Claim {
        pair,
        chain: ChainId::FIRST,
        attempt: 1,
        lease_until: now + lease,
        keep_until: now + DAY,
    };
    world.ports.limits.claim(now, &[claim]).await.unwrap();
    for found in 1..=5 {
        world.publish(vec![item.clone()]).await;
        let apart = u64::from(found == 5);
        let given_back = || world.counter("postrider_given_back_total") == apart as f64;
        world
            .until("it is put off, and apart at last", |depth| {
                let puts_off = depth.waiting == found - apart && depth.quarantined == apart;
                puts_off && depth.leased == 0 && given_back()
            })
            .await;
    }
    assert!(world.sender.requests().is_empty());
    assert_eq!(world.counter("postrider_quarantined_total"), 1.0);
    advance(RETURN_DELAY + ABOUT).await;
    assert_eq!(world.settled().await.next, Disposition::Delivered);
    // The one that is apart may have come while another was at it: then it comes once more.
    world
        .until("nothing is held", |depth| depth.leased + depth.ready == 0)
        .await;
    advance(RETURN_DELAY + ABOUT).await;
    world.all_ended().await;
    assert_eq!(world.sender.requests().len(), 1);
}
