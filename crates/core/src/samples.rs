//! Values to build tests from.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::application::Application;
use crate::endpoint::{Endpoint, EndpointSecret};
use crate::id::{AppId, EndpointId, MessageId, OrgId};
use crate::message::{Event, Item, Target, Trigger, Work};
use crate::name::EventTypeName;
use crate::pair::ChainId;
use crate::secret::SecretText;
use crate::time::Timestamp;

/// The time at which all samples were made.
pub const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

const fn bytes(seed: u8) -> [u8; 20] {
    [seed; 20]
}

#[must_use]
pub fn event() -> Event {
    Event {
        org: OrgId::from_bytes(bytes(1)),
        app: AppId::from_bytes(bytes(2)),
        message: MessageId::from_bytes(bytes(3)),
        event_id: None,
        event_type: EventTypeName::new("order.paid").expect("a valid name"),
        channels: Vec::new(),
        tags: Vec::new(),
        headers: BTreeMap::new(),
        accepted_at: NOW,
        deliver_at: None,
        payload_until: Timestamp::from_millis(NOW.as_millis() + 90 * 24 * 3_600_000),
        registry_version: 10,
        payload: Bytes::from_static(br#"{"order":1042,"total":"19.90"}"#),
    }
}

#[must_use]
pub fn endpoint() -> Endpoint {
    Endpoint {
        id: EndpointId::from_bytes(bytes(4)),
        app: AppId::from_bytes(bytes(2)),
        uid: None,
        url: "https://hooks.example.org/in".to_owned(),
        description: String::new(),
        event_types: None,
        channels: None,
        disabled: false,
        metadata: BTreeMap::new(),
        headers: BTreeMap::new(),
        throttle_rate: None,
        secrets: vec![EndpointSecret {
            key: SecretText::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned()),
            expires_at: None,
        }],
        created_at: NOW,
        updated_at: NOW,
        created_version: 5,
        era: 0,
    }
}

/// An application without a uid, as it is before the registry has given it a version.
#[must_use]
pub fn application(org: OrgId, id: AppId) -> Application {
    Application {
        id,
        org,
        uid: None,
        name: "Example Ltd".to_owned(),
        throttle_rate: None,
        payload_retention_hours: None,
        metadata: BTreeMap::new(),
        created_at: NOW,
        updated_at: NOW,
        version: 0,
    }
}

/// An endpoint of `app`, as it is before the registry has given it a version.
#[must_use]
pub fn endpoint_of(app: AppId, id: EndpointId) -> Endpoint {
    Endpoint {
        id,
        app,
        created_version: 0,
        ..endpoint()
    }
}

#[must_use]
pub fn item(work: Work) -> Item {
    Item {
        event: Arc::new(event()),
        work,
        maybe_dup: false,
    }
}

#[must_use]
pub fn target(attempt: u16, due: Timestamp) -> Target {
    Target {
        endpoint: endpoint().id,
        era: 0,
        chain: ChainId::FIRST,
        attempt,
        due,
        trigger: Trigger::Scheduled,
    }
}
