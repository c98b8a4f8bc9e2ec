//! What a registry is exported as and imported from.

use serde::{Deserialize, Serialize};

use crate::application::Application;
use crate::endpoint::Endpoint;
use crate::event_type::EventType;
use crate::id::{AppId, EndpointId, OrgId};
use crate::name::EventTypeName;
use crate::time::Timestamp;

/// One record of a registry, whole: an endpoint with its secrets. In JSON its field `kind` tells which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RegistryRecord {
    EventType(EventType),
    Application(Application),
    Endpoint(Endpoint),
}

impl RegistryRecord {
    /// The newest version that the record knows of.
    #[must_use]
    pub fn version(&self) -> u64 {
        match self {
            Self::EventType(event_type) => event_type.version,
            Self::Application(app) => app.version,
            Self::Endpoint(endpoint) => endpoint.created_version,
        }
    }

    #[must_use]
    pub fn updated_at(&self) -> Timestamp {
        match self {
            Self::EventType(event_type) => event_type.updated_at,
            Self::Application(app) => app.updated_at,
            Self::Endpoint(endpoint) => endpoint.updated_at,
        }
    }
}

/// How far an export has come: event types first, by organisation and name, then each application, followed by its
/// endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ExportCursor {
    #[default]
    Start,
    /// Behind this event type.
    EventType(OrgId, EventTypeName),
    /// Behind this application, before its endpoints.
    Application(AppId),
    /// Behind this endpoint of this application.
    Endpoint(AppId, EndpointId),
}

/// A portion of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    pub records: Vec<RegistryRecord>,
    /// Where to go on; `None` after the last portion.
    pub next: Option<ExportCursor>,
}

/// What became of imported records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Imported {
    /// Stored, be it new or in the place of an older one.
    pub stored: usize,
    /// Not stored: a newer record is there already, or another organisation's.
    pub kept: usize,
    /// Not stored: endpoints whose application is not there.
    pub orphans: usize,
    /// Of those stored, the ones that lost their uid, because it belongs to another record by now.
    pub without_uid: usize,
}

impl std::ops::AddAssign for Imported {
    fn add_assign(&mut self, more: Self) {
        self.stored += more.stored;
        self.kept += more.kept;
        self.orphans += more.orphans;
        self.without_uid += more.without_uid;
    }
}
