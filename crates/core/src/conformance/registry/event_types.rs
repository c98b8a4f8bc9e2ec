//! Event types: an organisation's own, by name.

use super::records::type_name;
use crate::conformance::Fixture;
use crate::conformance::paging::{self, BOTH, behaves_like_a_list, is_stable_while_others_write};
use crate::conformance::stage::{LONG, Stage, assert_same};
use crate::event_type::EventType;
use crate::id::OrgId;
use crate::name::EventTypeName;
use crate::ports::RegistryError;

impl Stage<'_> {
    async fn create_event_type(&mut self, org: OrgId, name: &str, archived: bool) -> EventType {
        let event_type = EventType {
            archived,
            ..self.an_event_type(org, name)
        };
        let created = self.ports.registry.put_event_type(event_type, None).await;
        created.expect("an event type that is new can be created")
    }

    async fn event_type(&self, org: OrgId, name: &str) -> Option<EventType> {
        let found = self.ports.registry.event_type(org, &type_name(name)).await;
        found.expect("event types can be read")
    }

    async fn delete_event_type(&self, org: OrgId, name: &str) -> bool {
        let name = type_name(name);
        let deleted = self.ports.registry.delete_event_type(org, &name).await;
        deleted.expect("event types can be deleted")
    }

    async fn names(&self, org: OrgId, include_archived: bool) -> Vec<EventTypeName> {
        let listed = self
            .ports
            .registry
            .event_types(org, include_archived, paging::all())
            .await;
        let listed = listed.expect("event types can be listed").items;
        listed.into_iter().map(|listed| listed.name).collect()
    }
}

/// What is stored is read again in every field.
pub async fn an_event_type_comes_back_whole(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let org = stage.an_org();
    assert_eq!(stage.event_type(org, "order.paid").await, None);
    assert!(!stage.delete_event_type(org, "order.paid").await);
    let mut full = EventType {
        description: "Bezahlt \u{1f4b6}\n".to_owned(),
        archived: true,
        deprecated: true,
        schemas: Some(r#"{"1":{"type":"object","title":"\u0000"}}"#.to_owned()),
        validate_payload: true,
        feature_flags: vec!["beta".to_owned(), String::new()],
        group_name: Some("order".to_owned()),
        version: 987_654_321_000,
        ..stage.an_event_type(org, "order.paid")
    };
    full.updated_at = full.created_at + LONG;
    let registry = stage.registry();
    let stored = registry.put_event_type(full.clone(), None).await.unwrap();
    assert_ne!(
        stored.version, full.version,
        "the registry sets the version, not the caller"
    );
    full.version = stored.version;
    assert_eq!(stored, full);
    assert_eq!(stage.event_type(org, "order.paid").await, Some(full));
    assert_eq!(stage.event_type(org, "order").await, None);
    assert_eq!(stage.event_type(org, "Order.paid").await, None);
    assert!(stage.delete_event_type(org, "order.paid").await);
    assert_eq!(stage.event_type(org, "order.paid").await, None);
    assert!(stage.names(org, true).await.is_empty());
}

/// A write counts where nobody else has written since; a version is never used again.
pub async fn event_types_are_compared_and_set(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let org = stage.an_org();
    let registry = stage.registry();
    let absent = stage.an_event_type(org, "order.paid");
    let refused = registry.put_event_type(absent, Some(1)).await;
    assert!(
        matches!(refused, Err(RegistryError::Stale)),
        "what does not exist cannot be replaced: {refused:?}"
    );
    let first = stage.create_event_type(org, "order.paid", false).await;
    let refused = registry.put_event_type(first.clone(), None).await;
    assert!(
        matches!(refused, Err(RegistryError::Exists)),
        "to create is not to replace: {refused:?}"
    );
    let mut changed = first.clone();
    changed.description = "Changed.".to_owned();
    let expect = Some(first.version);
    let second = registry.put_event_type(changed, expect).await.unwrap();
    assert!(second.version > first.version, "versions grow");
    let refused = registry.put_event_type(first, expect).await;
    assert!(
        matches!(refused, Err(RegistryError::Stale)),
        "the version is another one by now: {refused:?}"
    );
    assert_eq!(
        stage.event_type(org, "order.paid").await.as_ref(),
        Some(&second)
    );
    assert!(stage.delete_event_type(org, "order.paid").await);
    let third = stage.create_event_type(org, "order.paid", false).await;
    assert!(
        third.version > second.version,
        "a version does not come again with a record that takes the name"
    );
}

/// Two organisations may use one name; neither sees the other's.
pub async fn event_types_of_another_organisation_are_others(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let [org, stranger] = [stage.an_org(), stage.an_org()];
    let mine = stage.create_event_type(org, "order.paid", false).await;
    assert!(stage.names(stranger, true).await.is_empty());
    assert_eq!(stage.event_type(stranger, "order.paid").await, None);
    let theirs = stage.create_event_type(stranger, "order.paid", true).await;
    assert_eq!(
        stage.event_type(org, "order.paid").await.as_ref(),
        Some(&mine)
    );
    assert!(stage.delete_event_type(stranger, "order.paid").await);
    assert_eq!(stage.event_type(org, "order.paid").await, Some(mine));
    assert_eq!(theirs.org, stranger);
}

/// By name, byte by byte, with or without the archived ones, in pages of any size.
pub async fn event_types_are_listed_by_name(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let org = stage.an_org();
    let names = [
        "order.paid",
        "order",
        "Order",
        "order.paid.twice",
        "order-paid",
        "order_paid",
        "a",
        "B",
        "zz",
        "0",
        "10",
        "9",
        "_",
        "-",
        "user.created",
        "user.deleted",
        "user",
        "userx",
    ];
    let mut live = Vec::new();
    let mut all = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let archived = index % 3 == 1;
        stage.create_event_type(org, name, archived).await;
        all.push(type_name(name));
        if !archived {
            live.push(type_name(name));
        }
    }
    assert_same(
        &stage.names(org, true).await,
        &all,
        "archived ones are listed where they are asked for",
    );
    assert_same(
        &stage.names(org, false).await,
        &live,
        "archived ones are not listed otherwise",
    );
    let strangers = [
        type_name("orde"),
        type_name("order.paid.t"),
        type_name("zzz"),
    ];
    let registry = stage.registry();
    for (archived, keys) in [(true, &all), (false, &live)] {
        let fetch = async |page| registry.event_types(org, archived, page).await.unwrap();
        let key_of = |listed: &EventType| listed.name.clone();
        behaves_like_a_list(&mut stage.chance, keys, &strangers, key_of, fetch).await;
    }
    let mut archived = stage.event_type(org, "order").await.expect("it exists");
    archived.archived = false;
    let expect = Some(archived.version);
    registry.put_event_type(archived, expect).await.unwrap();
    live.push(type_name("order"));
    assert_same(
        &stage.names(org, false).await,
        &live,
        "archiving is a change of the record, and can be undone",
    );
}

/// Rows come and go while somebody pages: those that stay come once each.
pub async fn event_type_pages_are_stable_while_others_write(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let org = stage.an_org();
    let mut next = 0;
    for order in BOTH {
        let mut lasting = Vec::new();
        let mut passing = Vec::new();
        for _ in 0..12 {
            next += 7;
            let name = format!("type.{:04}", next * 37 % 1_009);
            lasting.push(stage.create_event_type(org, &name, false).await.name);
            let name = format!("{name}.x");
            passing.push(stage.create_event_type(org, &name, false).await.name);
        }
        let registry = stage.registry();
        let fetch = async |page| registry.event_types(org, false, page).await.unwrap();
        let disturb = async || {
            if let Some(name) = passing.pop() {
                stage.delete_event_type(org, name.as_str()).await;
                for letter in ["y", "z"] {
                    let name = format!("{name}{letter}{order:?}");
                    stage.create_event_type(org, &name, false).await;
                }
            }
        };
        let key_of = |listed: &EventType| listed.name.clone();
        is_stable_while_others_write(&lasting, order, key_of, fetch, disturb).await;
    }
}

/// Those that are switched on and not archived, of one organisation, as of the last change.
pub async fn event_types_that_validate_are_known_by_name(fixture: &dyn Fixture) {
    let mut stage = Stage::open(fixture).await;
    let [org, stranger] = [stage.an_org(), stage.an_org()];
    let registry = stage.registry();
    let found = async |org| {
        let mut found = registry.validating_types(org).await.unwrap();
        found.names.sort();
        (found.mark, found.names)
    };
    assert_eq!(found(org).await.1, []);
    stage.create_event_type(org, "order.paid", false).await;
    assert_eq!(found(org).await.1, []);
    for name in ["order.shipped", "order.lost"] {
        let validating = EventType {
            validate_payload: true,
            // What looks like the switch is none.
            schemas: Some(r#"{"1":{"title":"validate_payload"}}"#.to_owned()),
            ..stage.an_event_type(org, name)
        };
        registry.put_event_type(validating, None).await.unwrap();
    }
    let both = [type_name("order.lost"), type_name("order.shipped")];
    let (before, names) = found(org).await;
    assert_eq!(names, both);
    assert_eq!(found(stranger).await.1, []);
    let mut kind = stage.event_type(org, "order.lost").await.unwrap();
    kind.archived = true;
    let expect = Some(kind.version);
    let mut kind = registry.put_event_type(kind, expect).await.unwrap();
    let (after, names) = found(org).await;
    assert_eq!(names, both[1..], "an archived one validates nothing");
    assert_ne!(after, before, "a change is another mark");
    (kind.archived, kind.validate_payload) = (false, false);
    let expect = Some(kind.version);
    let mut kind = registry.put_event_type(kind, expect).await.unwrap();
    assert_eq!(found(org).await.1, both[1..]);
    kind.validate_payload = true;
    let expect = Some(kind.version);
    registry.put_event_type(kind, expect).await.unwrap();
    let (before, names) = found(org).await;
    assert_eq!(names, both);
    assert!(stage.delete_event_type(org, "order.shipped").await);
    let (after, names) = found(org).await;
    assert_eq!(names, both[..1]);
    assert_ne!(after, before, "so is a deletion");
    if let Some(joined) = fixture.join().await {
        let there = joined.registry.validating_types(org).await.unwrap();
        assert_eq!(there.names, both[..1]);
    }
}
