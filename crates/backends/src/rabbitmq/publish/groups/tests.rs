use std::sync::Arc;
use std::time::Duration;

use postrider_core::message::{Event, Work};
use postrider_core::samples;

use super::super::super::routing::{Exchange, Key};
use super::*;

const HERE: Destination = Destination {
    exchange: Exchange::Events,
    key: Key::Shard(0),
};
const THERE: Destination = Destination {
    exchange: Exchange::Events,
    key: Key::Shard(1),
};

fn piece(call: usize, bytes: usize) -> Piece<usize> {
    let event = Event {
        payload: Bytes::from(vec![b'x'; bytes]),
        ..samples::event()
    };
    let item = Item {
        event: Arc::new(event),
        work: Work::Match,
        maybe_dup: false,
    };
    Piece {
        cargo: Cargo::Item(item),
        call,
        since: Instant::now(),
    }
}

fn calls(pack: &[Piece<usize>]) -> Vec<usize> {
    pack.iter().map(|piece| piece.call).collect()
}

#[test]
fn the_first_goes_at_once_and_what_comes_meanwhile_goes_together() {
    let mut groups = Groups::new();
    groups.push(HERE, piece(0, 10));
    let (destination, pack) = groups.next().unwrap();
    assert_eq!((destination, calls(&pack)), (HERE, vec![0]));
    for call in 1..=70 {
        assert!(call > 64 || groups.next().is_none(), "one is outstanding");
        groups.push(HERE, piece(call, 10));
    }
    assert!(groups.has_full());
    let (_, pack) = groups.next().unwrap();
    assert_eq!(calls(&pack), (1..=64).collect::<Vec<_>>());
    assert!(!groups.has_full());
    assert_eq!(groups.waiting(), 6);
    assert!(groups.next().is_none(), "two are outstanding");
    groups.landed(HERE);
    groups.landed(HERE);
    assert_eq!(groups.next().unwrap().1.len(), 6);
    groups.landed(HERE);
    assert!(groups.next().is_none());
    assert!(groups.destinations.is_empty(), "nothing is kept for nobody");
}

#[test]
fn destinations_do_not_wait_for_each_other_and_share_no_pack() {
    let mut groups = Groups::new();
    let later = |key| Destination {
        exchange: Exchange::Delay(3),
        key,
    };
    for (call, key) in [Key::Shard(0), Key::Shard(1), Key::Shard(0)]
        .into_iter()
        .enumerate()
    {
        groups.push(later(key), piece(call, 10));
    }
    let packs: Vec<_> = std::iter::from_fn(|| groups.next()).collect();
    assert_eq!(packs.len(), 2);
    assert_eq!(calls(&packs[0].1), [0, 2]);
    assert_eq!(calls(&packs[1].1), [1]);
}

#[test]
fn new_events_of_shards_that_have_few_travel_with_others() {
    let mut groups = Groups::new();
    groups.push(HERE, piece(0, 10));
    groups.push(THERE, piece(1, 10));
    groups.push(HERE, piece(2, 10));
    let (destination, pack) = groups.next().unwrap();
    assert_eq!((destination, calls(&pack)), (HERE, vec![0, 2, 1]));
    assert_eq!(groups.waiting(), 0);
    assert!(groups.next().is_none());
    groups.landed(HERE);
    assert!(groups.destinations.is_empty(), "nothing is kept for nobody");
}

#[test]
fn what_is_full_by_its_bytes_waits_for_no_confirm() {
    let mut groups = Groups::new();
    for call in 0..3 {
        groups.push(HERE, piece(call, MAX_PACK_BYTES));
    }
    let packs: Vec<_> = std::iter::from_fn(|| groups.next()).collect();
    assert_eq!(packs.len(), 3);
}

#[test]
fn a_shard_of_which_many_wait_keeps_them_to_itself() {
    let mut groups = Groups::new();
    groups.push(HERE, piece(0, 10));
    for call in 1..=FEW + 1 {
        groups.push(THERE, piece(call, 10));
    }
    let packs: Vec<_> = std::iter::from_fn(|| groups.next()).collect();
    assert_eq!(packs.len(), 2);
    assert_eq!(calls(&packs[0].1), [0]);
    assert_eq!(packs[1].1.len(), FEW + 1);
}

#[test]
fn what_does_not_fit_into_the_room_that_is_left_waits_for_a_pack_of_its_own() {
    let mut groups = Groups::new();
    groups.push(HERE, piece(0, MAX_PACK_BYTES / 2 + 1));
    groups.push(THERE, piece(1, MAX_PACK_BYTES / 2));
    let packs: Vec<_> = std::iter::from_fn(|| groups.next()).collect();
    assert_eq!(packs.len(), 2);
}

#[test]
fn packs_stay_within_the_bounds_of_the_envelope() {
    let mut groups = Groups::new();
    let half = MAX_PACK_BYTES / 2;
    for (call, bytes) in [half, half, 1, MAX_PACK_BYTES * 2, 1]
        .into_iter()
        .enumerate()
    {
        groups.push(HERE, piece(call, bytes));
    }
    let mut packs = Vec::new();
    while let Some((_, pack)) = groups.next() {
        packs.push(calls(&pack));
        groups.landed(HERE);
    }
    assert_eq!(packs, [vec![0, 1], vec![2], vec![3], vec![4]]);
}

#[test]
fn what_is_not_to_be_read_travels_alone() {
    let mut groups = Groups::new();
    groups.push(HERE, piece(0, 1));
    for call in [1, 2] {
        let raw = Piece {
            cargo: Cargo::Raw {
                pack: Bytes::from_static(b"?"),
                held_before: false,
            },
            ..piece(call, 0)
        };
        groups.push(HERE, raw);
    }
    groups.push(HERE, piece(3, 1));
    let mut packs = Vec::new();
    while let Some((_, pack)) = groups.next() {
        packs.push(calls(&pack));
        groups.landed(HERE);
    }
    assert_eq!(packs, [vec![0], vec![1], vec![2], vec![3]]);
}

#[test]
fn what_has_waited_too_long_is_taken_out() {
    let mut groups = Groups::new();
    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    for call in 0..3 {
        let piece = Piece {
            since: after(call as u64 * 5),
            ..piece(call, 1)
        };
        groups.push(HERE, piece);
        if call == 0 {
            groups.next().unwrap();
        }
    }
    let overdue = groups.overdue(after(7));
    assert_eq!(calls(&overdue), [1]);
    assert_eq!(groups.waiting(), 1);
    assert_eq!(calls(&groups.drain()), [2]);
    groups.landed(HERE);
    assert!(groups.next().is_none());
    assert!(groups.destinations.is_empty(), "nothing is kept for nobody");
}
