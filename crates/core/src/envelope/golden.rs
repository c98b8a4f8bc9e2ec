//! Packs of version 1 as they were first written, in `tests/golden`. They wait in brokers for days, and in dead letters for
//! months: a release that cannot read them loses them, and one that writes them otherwise is not read by the one before.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::{decode, encode};
use crate::dead_letter::{DeadNote, DeadReason};
use crate::id::{DeadLetterId, EndpointId};
use crate::message::{Event, Item, Target, Trigger, Work};
use crate::name::{Channel, Uid};
use crate::pair::ChainId;
use crate::samples::{self, NOW};
use crate::time::Timestamp;

fn file(name: &str) -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.join("tests/golden").join(name)
}

/// An event with something in every field.
fn full_event() -> Event {
    Event {
        event_id: Uid::new("order-1042").ok(),
        channels: vec![Channel::new("eu").unwrap(), Channel::new("shop.7").unwrap()],
        tags: vec![
            "red".to_owned(),
            "gr\u{fc}n \u{1f44b}".to_owned(),
            String::new(),
        ],
        headers: BTreeMap::from([
            ("x-trace".to_owned(), "a\"b".to_owned()),
            ("x-zone".to_owned(), String::new()),
        ]),
        deliver_at: Some(Timestamp::from_millis(NOW.as_millis() + 5_000)),
        registry_version: u64::MAX,
        payload: Bytes::from_static(b"\x00\xff{\"raw\":1}\n"),
        ..samples::event()
    }
}

fn full(work: Work) -> Item {
    Item {
        event: Arc::new(full_event()),
        work,
        maybe_dup: true,
    }
}

fn targets() -> Vec<Target> {
    let resent = Target {
        endpoint: EndpointId::from_bytes([0xee; 20]),
        era: u32::MAX,
        chain: ChainId(u64::MAX),
        attempt: u16::MAX,
        due: Timestamp::from_millis(-1),
        trigger: Trigger::Manual,
    };
    vec![samples::target(3, NOW), resent]
}

fn note(reason: DeadReason) -> DeadNote {
    DeadNote {
        id: DeadLetterId::from_bytes([5; 20]),
        endpoint: samples::endpoint().id,
        chain: ChainId(7),
        reason,
        attempts: 8,
        last_status: 503,
        last_response: "kaputt \u{1f4a5}".to_owned(),
        died_at: NOW,
    }
}

/// Nothing here is ever changed, only added to: as `tests/golden/README.md` has it.
fn packs() -> Vec<(&'static str, Vec<Item>)> {
    let empty = Event {
        payload: Bytes::new(),
        ..samples::event()
    };
    let empty = Item {
        event: Arc::new(empty),
        work: Work::Match,
        maybe_dup: false,
    };
    vec![
        (
            "pack-v1.bin",
            vec![
                samples::item(Work::Match),
                samples::item(Work::Targets(vec![samples::target(3, NOW)])),
            ],
        ),
        ("match-v1.bin", vec![samples::item(Work::Match)]),
        ("scheduled-v1.bin", vec![full(Work::Match)]),
        ("targets-v1.bin", vec![full(Work::Targets(targets()))]),
        (
            "no-targets-v1.bin",
            vec![samples::item(Work::Targets(Vec::new()))],
        ),
        (
            "exhausted-v1.bin",
            vec![full(Work::Dead(note(DeadReason::Exhausted)))],
        ),
        (
            "gone-v1.bin",
            vec![samples::item(Work::Dead(note(DeadReason::Gone)))],
        ),
        (
            "poison-v1.bin",
            vec![samples::item(Work::Dead(note(DeadReason::Poison)))],
        ),
        (
            "mixed-v1.bin",
            vec![
                full(Work::Match),
                empty,
                full(Work::Targets(targets())),
                samples::item(Work::Dead(note(DeadReason::Exhausted))),
            ],
        ),
    ]
}

#[test]
fn packs_of_version_1_are_read_for_ever() {
    for (name, items) in packs() {
        let bytes = fs::read(file(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let found = decode(&bytes.into()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            found, items,
            "{name} is not read as what it was written from"
        );
    }
}

#[test]
fn packs_are_written_as_they_always_were() {
    for (name, items) in packs() {
        let written = encode(&items);
        if std::env::var_os("POSTRIDER_TEST_ADD_GOLDEN").is_some() && !file(name).exists() {
            fs::write(file(name), &written).unwrap();
        }
        let golden = fs::read(file(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(
            written == golden,
            "{name} would be written otherwise. Releases before this one could not read it, nor could this one read \
             what they have left behind: a change of the codec is version 2 of the envelope, beside version 1"
        );
    }
}

#[test]
fn every_golden_file_is_looked_at() {
    let known: Vec<&str> = packs().iter().map(|(name, _)| *name).collect();
    for entry in fs::read_dir(file("")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let described = name == "README.md";
        assert!(described || known.contains(&&*name), "{name} is in no test");
    }
}
