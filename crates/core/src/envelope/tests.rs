use proptest::prelude::*;

use super::*;
use crate::dead_letter::DeadReason;
use crate::id::{DeadLetterId, EndpointId};
use crate::message::Trigger;
use crate::pair::ChainId;
use crate::samples;

fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_.-]{1,40}"
}

fn target() -> impl Strategy<Value = Target> {
    (
        any::<[u8; 20]>(),
        any::<u32>(),
        any::<u64>(),
        any::<u16>(),
        any::<i64>(),
        any::<bool>(),
    )
        .prop_map(|(endpoint, era, chain, attempt, due, manual)| Target {
            endpoint: EndpointId::from_bytes(endpoint),
            era,
            chain: ChainId(chain),
            attempt,
            due: Timestamp::from_millis(due),
            trigger: if manual {
                Trigger::Manual
            } else {
                Trigger::Scheduled
            },
        })
}

fn dead() -> impl Strategy<Value = DeadNote> {
    (any::<[u8; 20]>(), any::<u16>(), any::<u16>(), ".{0,50}").prop_map(
        |(id, attempts, last_status, last_response)| DeadNote {
            id: DeadLetterId::from_bytes(id),
            endpoint: EndpointId::from_bytes(id),
            chain: ChainId::FIRST,
            reason: DeadReason::Exhausted,
            attempts,
            last_status,
            last_response,
            died_at: samples::NOW,
        },
    )
}

fn work() -> impl Strategy<Value = Work> {
    prop_oneof![
        Just(Work::Match),
        proptest::collection::vec(target(), 0..4).prop_map(Work::Targets),
        dead().prop_map(Work::Dead),
    ]
}

prop_compose! {
    fn any_item()(
        ids: [u8; 20],
        event_id in proptest::option::of(name()),
        channels in proptest::collection::vec(name(), 0..3),
        tags in proptest::collection::vec(".{0,20}", 0..3),
        headers in proptest::collection::btree_map(".{1,10}", ".{0,10}", 0..3),
        deliver_at in proptest::option::of(any::<i64>()),
        registry_version: u64,
        payload in proptest::collection::vec(any::<u8>(), 0..200),
        work in work(),
        maybe_dup: bool,
    ) -> Item {
        let event = Event {
            message: MessageId::from_bytes(ids),
            event_id: event_id.map(|id| Uid::new(&id).unwrap()),
            channels: channels.iter().map(|name| Channel::new(name).unwrap()).collect(),
            tags,
            headers,
            deliver_at: deliver_at.map(Timestamp::from_millis),
            registry_version,
            payload: payload.into(),
            ..samples::event()
        };
        Item { event: Arc::new(event), work, maybe_dup }
    }
}

proptest! {
    #[test]
    fn round_trips(items in proptest::collection::vec(any_item(), 1..10)) {
        let bytes = encode(&items);
        prop_assert_eq!(decode(&bytes).unwrap(), items);
    }

    #[test]
    fn a_pack_that_was_cut_off_is_refused(items in proptest::collection::vec(any_item(), 1..4), keep in 0.0f64..1.0) {
        let bytes = encode(&items);
        let kept = (bytes.len() as f64 * keep) as usize;
        prop_assert!(decode(&bytes.slice(..kept)).is_err());
    }

    #[test]
    fn never_panics_on_any_bytes(bytes: Vec<u8>, version in 0u8..3) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = version;
        }
        let _ = decode(&bytes.into());
    }

    #[test]
    fn groups_keep_order_and_bounds(sizes in proptest::collection::vec(0usize..40_000, 0..150)) {
        let items: Vec<Item> = sizes.iter().map(|size| {
            let event = Event { payload: vec![b' '; *size].into(), ..samples::event() };
            Item { event: Arc::new(event), work: Work::Match, maybe_dup: false }
        }).collect();
        let packs = group(items.clone());
        for pack in &packs {
            let bytes: usize = pack.iter().map(|item| item.event.payload.len()).sum();
            prop_assert!(!pack.is_empty() && pack.len() <= MAX_ITEMS);
            prop_assert!(pack.len() == 1 || bytes <= MAX_PACK_BYTES);
        }
        prop_assert_eq!(packs.into_iter().flatten().collect::<Vec<_>>(), items);
    }
}

#[test]
fn payloads_are_slices_and_not_copies() {
    let bytes = encode(&[samples::item(Work::Match)]);
    let decoded = decode(&bytes).unwrap();
    let payload = &decoded[0].event.payload;
    let range = bytes.as_ptr() as usize..bytes.as_ptr() as usize + bytes.len();
    assert!(range.contains(&(payload.as_ptr() as usize)));
}

#[test]
fn an_unknown_version_is_named() {
    let error = decode(&Bytes::from_static(&[9, 1, 2])).unwrap_err();
    assert!(error.to_string().contains("version 9"), "{error}");
}
