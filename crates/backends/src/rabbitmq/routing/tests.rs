use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postrider_core::dead_letter::{DeadNote, DeadReason};
use postrider_core::id::{AppId, DeadLetterId, EndpointId, MessageId};
use postrider_core::message::Event;
use postrider_core::pair::ChainId;
use postrider_core::samples;

use super::*;

fn item(app: u8, message: u8, payload: usize) -> Item {
    let event = Event {
        app: AppId::from_bytes([app; 20]),
        message: MessageId::from_bytes([message; 20]),
        payload: Bytes::from(vec![b'x'; payload]),
        ..samples::event()
    };
    Item {
        event: Arc::new(event),
        work: Work::Match,
        maybe_dup: false,
    }
}

/// These values are on disk in every installation: a change here strands nothing, but moves every tenant.
#[test]
fn the_hash_never_changes() {
    assert_eq!(hash(b""), 17280346270528514342);
    assert_eq!(hash(b"postrider"), 10339375718183995257);
    let keys: Vec<String> = (0..12_u8)
        .map(|seed| Key::of(&item(seed, seed.wrapping_mul(64), 10)).to_string())
        .collect();
    assert_eq!(keys.join(" "), "2 1 5 4 7 5 2 2 4 2 1 6");
    let large: Vec<String> = (0..12_u8)
        .map(|seed| Key::of(&item(seed, seed.wrapping_mul(64), LARGE_FROM + 1)).to_string())
        .collect();
    assert_eq!(large.join(" "), "l2 l2 l1 l0 l3 l0 l2 l1 l0 l3 l1 l1");
}

#[test]
fn an_application_has_two_shards_and_every_pair_occurs() {
    let mut pairs = HashMap::new();
    for app in 0..=255u8 {
        for salt in 0..16u8 {
            let mut bytes = [app; 20];
            bytes[19] = salt;
            let shards: HashSet<u8> = (0..=255u8)
                .map(|message| one_of_two(&bytes, &[message; 20], SHARDS))
                .collect();
            assert_eq!(shards.len(), 2, "256 messages go to exactly two shards");
            let mut pair: Vec<u8> = shards.into_iter().collect();
            pair.sort_unstable();
            *pairs.entry(pair).or_insert(0) += 1;
        }
    }
    assert_eq!(pairs.len(), 28, "all pairs of eight");
    let (least, most) = (pairs.values().min().unwrap(), pairs.values().max().unwrap());
    assert!(most < &(least * 2), "spread evenly: {least} to {most}");
}

/// So do those that one moment brings; a little later it is the other shard's turn.
#[test]
fn messages_of_a_quarter_of_a_second_share_a_shard() {
    let of = |millis: u64| {
        let at = samples::NOW + Duration::from_millis(millis);
        let message = MessageId::new(at, [millis as u8; 15]);
        one_of_two(&[7; 20], message.as_bytes(), SHARDS)
    };
    let turns: Vec<u8> = (0..4_000).step_by(4).map(of).collect();
    let changes = turns.windows(2).filter(|two| two[0] != two[1]).count();
    assert!((15..=17).contains(&changes), "{changes} in four seconds");
}

#[test]
fn large_payloads_and_dead_work_have_keys_of_their_own() {
    assert!(matches!(Key::of(&item(1, 1, LARGE_FROM)), Key::Shard(_)));
    assert!(matches!(
        Key::of(&item(1, 1, LARGE_FROM + 1)),
        Key::Large(_)
    ));
    let mut dead = item(1, 1, LARGE_FROM + 1);
    dead.work = Work::Dead(DeadNote {
        id: DeadLetterId::from_bytes([7; 20]),
        endpoint: EndpointId::from_bytes([8; 20]),
        chain: ChainId::FIRST,
        reason: DeadReason::Gone,
        attempts: 1,
        last_status: 410,
        last_response: String::new(),
        died_at: samples::NOW,
    });
    assert_eq!(Key::of(&dead), Key::Dead);
    assert_eq!(Destination::published(&dead).exchange, Exchange::Dead);
}

#[test]
fn a_hand_off_goes_where_its_time_is() {
    let now = samples::NOW;
    let go = |until| {
        let item = item(1, 1, 10);
        Destination::handed_off(&HandOff { item, until }, now, false)
    };
    for due in [
        Until::Now,
        Until::Exactly(now),
        Until::Exactly(Timestamp::EPOCH),
    ] {
        assert_eq!(go(due).unwrap().exchange, Exchange::Retry);
    }
    let later = go(Until::After(Duration::from_secs(2))).unwrap();
    assert_eq!(later.exchange, Exchange::Delay(4));
    assert_eq!(later.key, Key::of(&item(1, 1, 10)), "the key stays");
    let exact = go(Until::Exactly(now + Duration::from_millis(2_100))).unwrap();
    assert_eq!(
        exact.exchange,
        Exchange::Delay(4),
        "a step below, not above"
    );
    for late in [
        Until::After(MAX_DELAY + Duration::from_millis(1)),
        Until::Exactly(now + MAX_DELAY + Duration::from_millis(1)),
    ] {
        assert!(matches!(go(late), Err(PortError::Invalid(_))));
    }
}
