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
    pub feature_flags: Vec<String>,
    pub group_name: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// Grows with every change. Set by the registry.
    pub version: u64,
}
