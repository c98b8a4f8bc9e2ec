use serde::{Deserialize, Serialize};

use crate::id::OrgId;
use crate::name::EventTypeName;
use crate::time::Timestamp;

/// A kind of event that an organisation sends, documented for its subscribers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventType {
    pub org: OrgId,
    pub name: EventTypeName,
    pub description: String,
    pub archived: bool,
    pub deprecated: bool,
    /// JSON Schemas by version, as JSON text; `None` where none is registered.
    pub schemas: Option<String>,
    /// Whether messages of this type are accepted only where their payload is what the newest schema asks for. Left out where
    /// it is not switched on, as in records of releases that did not know it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub validate_payload: bool,
    pub feature_flags: Vec<String>,
    pub group_name: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// Grows with every change. Set by the registry.
    pub version: u64,
}

impl EventType {
    /// Whether payloads of its messages are held against its schema. Those of an archived one are not.
    #[must_use]
    pub const fn validates(&self) -> bool {
        self.validate_payload && !self.archived
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the first release stored it, and as one that does not know the switch reads it.
    const BEFORE: &str = r#"{"org":"org_0aZzq9yQDxYiRyxFSpJUs0mNvYq","name":"order.paid","description":"","archived":false,"deprecated":false,"schemas":"{}","feature_flags":[],"group_name":null,"created_at":1,"updated_at":2,"version":3}"#;

    #[test]
    fn records_from_before_the_switch_are_read_and_written_as_they_were() {
        let mut kind: EventType = serde_json::from_str(BEFORE).unwrap();
        assert!(!kind.validate_payload);
        assert_eq!(serde_json::to_string(&kind).unwrap(), BEFORE);
        kind.validate_payload = true;
        let written = serde_json::to_string(&kind).unwrap();
        assert!(written.contains(r#""schemas":"{}","validate_payload":true,"#));
        assert_eq!(serde_json::from_str::<EventType>(&written).unwrap(), kind);
    }

    #[test]
    fn what_is_archived_is_not_held_against_a_schema() {
        let mut kind: EventType = serde_json::from_str(BEFORE).unwrap();
        assert!(!kind.validates());
        kind.validate_payload = true;
        assert!(kind.validates());
        kind.archived = true;
        assert!(!kind.validates());
    }
}
