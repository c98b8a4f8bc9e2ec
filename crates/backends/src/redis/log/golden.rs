//! What is stored can be read, and never changes its shape without another version.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use postrider_core::attempt::AttemptRecord;
use postrider_core::id::{AppId, AttemptId, EndpointId};
use postrider_core::message::{Event, MessageRecord, Trigger};
use postrider_core::name::{Channel, Uid};
use postrider_core::pair::ChainId;
use postrider_core::ports::{Destination, DestinationStatus};
use postrider_core::samples::{self, NOW};
use postrider_core::time::Timestamp;
use proptest::prelude::*;

use super::found::Found;
use super::texts::Common;
use super::trail::{self, Entry};
use super::{Known, message};

const APP: AppId = AppId::from_bytes([2; 20]);

/// A message with something in every field.
fn full_message() -> MessageRecord {
    let event = Event {
        event_id: Uid::new("order-1042").ok(),
        channels: vec![Channel::new("eu").unwrap()],
        tags: vec!["red".to_owned(), String::new()],
        headers: BTreeMap::from([("x-trace".to_owned(), "a\"b".to_owned())]),
        deliver_at: Some(Timestamp::from_millis(NOW.as_millis() + 5_000)),
        registry_version: 300,
        ..samples::event()
    };
    Arc::new(event).into()
}

fn attempt() -> AttemptRecord {
    let event = samples::event();
    AttemptRecord {
        id: AttemptId::new(NOW, [9; 15]),
        app: event.app,
        message: event.message,
        endpoint: EndpointId::from_bytes([4; 20]),
        chain: ChainId::FIRST,
        attempt: 1,
        trigger: Trigger::Scheduled,
        at: NOW,
        url: "https://hooks.example.org/in".to_owned(),
        succeeded: true,
        status_code: 200,
        response: String::new(),
        duration_ms: 120,
        event_type: event.event_type,
        channels: event.channels,
    }
}

fn state(status: DestinationStatus, at: i64) -> Destination {
    let event = samples::event();
    Destination {
        app: event.app,
        message: event.message,
        endpoint: EndpointId::from_bytes([4; 20]),
        status,
        next_attempt: None,
        at: Timestamp::from_millis(NOW.as_millis() + at),
    }
}

/// Members as the scripts would make them, and what they refer to.
fn stored(message: Option<&MessageRecord>, entries: &[Entry<'_>]) -> (Vec<u8>, Known) {
    let mut common = Common::default();
    let id = samples::event().message;
    let mut member = id.as_bytes().to_vec();
    let mut apart = HashMap::new();
    match message.map(|message| message::pack(message, &mut common).unwrap()) {
        Some(packed) => {
            member.extend(packed.record);
            apart.extend(packed.apart.map(|bytes| (*id.as_bytes(), bytes.into())));
        }
        None => member.extend([trail::VERSION, 0, 0]),
    }
    for entry in entries {
        let packed = trail::pack(entry, &mut common);
        member.extend(packed.entry);
        let response = packed.apart;
        apart.extend(response.map(|(id, bytes)| (*id.as_bytes(), bytes.into())));
    }
    let texts = common.texts().iter();
    let texts = texts.map(|(name, text)| (*name, Bytes::from(text.clone())));
    let texts = texts.collect();
    (member, Known { texts, apart })
}

fn found(member: Vec<u8>) -> Found {
    Found::read(samples::event().message, vec![member]).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The parts of a member, in their order.
#[test]
fn a_message_and_its_attempt_are_these_bytes() {
    let state = state(DestinationStatus::Delivered, 120);
    let attempt = attempt();
    let entry = Entry::Attempt(&attempt, Some(&state));
    let (member, _) = stored(Some(&full_message()), &[entry]);
    #[rustfmt::skip]
    let golden = [
        "0303030303030303030303030303030303030303", // message
        "10", // version
        "01", // flags
        "000036", // length of the meta
        "001e", // length of the payload
        "0f", // optional fields
        "856941b1", // organisation
        "c6447899", // kind
        "f8d087dac20e", // accepted_at
        "80e0e2f739", // payload_until
        "ac02", // registry_version
        "0a6f726465722d31303432", // event id
        "020372656400", // tags
        "0107782d747261636503612262", // headers
        "904e", // deliver_at
        "7b226f72646572223a313034322c22746f74616c223a2231392e3930227d", // payload
        "25", // length of the entry
        "07", // flags
        "11e1a30000090909090909090909090909090909", // attempt
        "2ed18ac5", // place
        "0012e7bc", // kind
        "00", // at
        "01", // number
        "c801", // status
        "78", // duration
        "00", // state
        "f001", // at
    ];
    assert_eq!(hex(&member), golden.concat());
}

#[test]
fn a_message_comes_back_whole() {
    let full = full_message();
    let mut large = (*full.event).clone();
    large.payload = (0..9_000_u32).flat_map(u32::to_be_bytes).collect();
    let gone = MessageRecord {
        has_payload: false,
        event: Arc::new(Event {
            payload: Bytes::new(),
            ..(*full.event).clone()
        }),
    };
    for message in [
        full,
        Arc::new(large).into(),
        gone,
        Arc::new(samples::event()).into(),
    ] {
        let (member, known) = stored(Some(&message), &[]);
        let found = found(member).message.unwrap();
        assert_eq!(found.resolve(APP, &known), Ok(message));
    }
}

proptest! {
    #[test]
    fn an_attempt_comes_back_whole(
        (chain, number, status_code, duration_ms, succeeded, manual) in any::<(u64, u16, u16, u32, bool, bool)>(),
        (at, response, repeated) in (-100_000_i64..100_000, ".{0,60}", 0_usize..40),
        next in proptest::option::of(0_i64..100_000_000),
    ) {
        let attempt = AttemptRecord {
            chain: ChainId(chain),
            attempt: number,
            trigger: if manual { Trigger::Manual } else { Trigger::Scheduled },
            at: Timestamp::from_millis(NOW.as_millis() + at),
            succeeded,
            status_code,
            response: response.repeat(repeated),
            duration_ms,
            channels: vec![Channel::new("eu").unwrap()],
            ..attempt()
        };
        let state = Destination {
            next_attempt: next.map(|next| Timestamp::from_millis(NOW.as_millis() + next)),
            ..state(DestinationStatus::Pending, at)
        };
        let entries = [Entry::Attempt(&attempt, Some(&state))];
        let (member, known) = stored(None, &entries);
        let found = found(member);
        let states = trail::destinations(APP, state.message, &found.trail, &known);
        prop_assert_eq!(states, Ok(vec![state.clone()]));
        let trail::Found::Attempt(there) = &found.trail[0] else { panic!("an attempt") };
        prop_assert_eq!(there.resolve(APP, state.message, &known), Ok(attempt));
    }

    #[test]
    fn strange_bytes_are_refused_without_a_panic(bytes: Vec<u8>) {
        let id = samples::event().message;
        let member = [id.as_bytes().as_slice(), &bytes].concat();
        let _ = Found::read(id, vec![member]);
    }
}

#[test]
fn of_states_the_latest_counts() {
    let [early, late] = [
        state(DestinationStatus::Sending, 1),
        state(DestinationStatus::Canceled, 2),
    ];
    for entries in [[&late, &early], [&early, &late]] {
        let (member, known) = stored(None, &entries.map(Entry::State));
        let found = found(member);
        let states = trail::destinations(APP, late.message, &found.trail, &known);
        assert_eq!(states, Ok(vec![late.clone()]));
    }
}

#[test]
fn records_of_a_later_version_are_refused_by_name() {
    let (mut member, _) = stored(None, &[]);
    member[20] = 0x20;
    let refused = Found::read(samples::event().message, vec![member]).unwrap_err();
    assert!(refused.to_string().contains("version 32"));
}
