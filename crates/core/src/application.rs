use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::endpoint::Endpoint;
use crate::id::{AppId, EndpointId, OrgId};
use crate::name::Uid;
use crate::time::Timestamp;

/// A customer of the operator: what endpoints and messages belong to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Application {
    pub id: AppId,
    pub org: OrgId,
    /// Unique within the organisation.
    pub uid: Option<Uid>,
    pub name: String,
    /// Messages per second that the operator allows; `None` is no limit.
    pub throttle_rate: Option<u16>,
    /// How long payloads are kept of messages that do not say it themselves; `None` is as long as the installation keeps them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_retention_hours: Option<u16>,
    pub metadata: BTreeMap<String, String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// Grows with every change of the application or one of its endpoints. Set by the registry.
    pub version: u64,
}

/// An application with all its endpoints, as of one version: what ingest and workers keep in memory.
#[derive(Debug, Clone)]
pub struct AppSnapshot {
    pub app: Application,
    /// In the order of their identifiers.
    pub endpoints: Vec<Arc<Endpoint>>,
}

impl AppSnapshot {
    #[must_use]
    pub fn version(&self) -> u64 {
        self.app.version
    }

    #[must_use]
    pub fn endpoint(&self, id: EndpointId) -> Option<&Arc<Endpoint>> {
        let found = self
            .endpoints
            .binary_search_by(|endpoint| endpoint.id.cmp(&id))
            .ok()?;
        self.endpoints.get(found)
    }
}
