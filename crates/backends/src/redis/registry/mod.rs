//! Applications, endpoints and event types in Redis; change notices by publish and subscribe, and by asking.
//!
//! An application with its endpoints is one hash, so that a snapshot is one command and a change one script. What
//! spans slots (the uid of an application, lists, the stream of changes) is written around it in an order in which a
//! process may die at any point: see [`writes`] and [`uids`]. Keys: [`names`].
//!
//! **Versions** come from one counter that also follows the server's clock, so they grow over deletions, imports, a new
//! founding, and a counter that was lost. **Losing Redis does not look like emptiness**: see [`standing`] for what is
//! remembered and compared, [`sight`] for why nothing is called missing before it was compared again.
//!
//! A Redis that restarts may come back without its last second. That is found out by the version, everything is
//! unavailable for some seconds, and each process puts back what it wrote itself ([`recent`], [`watch`]). What nobody
//! remembers is lost, and said to be.
//!
//! In the background: one poll of the installation's slot every 0.7 s, one subscription. Both begin with the first use
//! and end with the registry.

mod event_types;
mod healing;
mod names;
mod reads;
mod recent;
mod records;
mod ring;
mod scripts;
mod sight;
mod standing;
mod store;
mod stream;
mod transfer;
mod uids;
mod walk;
mod watch;
mod writes;

use std::sync::{Arc, Once};

use async_trait::async_trait;
use postrider_core::application::{AppSnapshot, Application};
use postrider_core::endpoint::Endpoint;
use postrider_core::event_type::EventType;
use postrider_core::id::{AppId, EndpointId, OrgId};
use postrider_core::name::EventTypeName;
use postrider_core::page::{Page, Slice};
use postrider_core::ports::{
    AppKey, ChangeCursor, Changes, EndpointKey, ExportCursor, Exported, Imported, PortError, Probe,
    Registry, RegistryError, RegistryRecord, ValidatingTypes,
};
use tokio_util::sync::CancellationToken;

use self::store::{Access, Store};
use super::counts::RegistryCounts;
use super::server::Server;

/// What the messages of this port call it.
const PART: &str = "registry";

/// See the module's documentation.
pub struct RedisRegistry {
    /// Use [`Self::store`], which makes sure that the background tasks run.
    shared: Arc<Store>,
    notices: bool,
    started: Once,
    stop: CancellationToken,
}

impl std::fmt::Debug for RedisRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisRegistry").finish_non_exhaustive()
    }
}

impl Drop for RedisRegistry {
    fn drop(&mut self) {
        self.close();
    }
}

impl RedisRegistry {
    /// Nothing is connected and nothing runs before the first use, which must be in a runtime that lasts.
    #[must_use]
    pub fn new(server: Arc<Server>) -> Self {
        Self::with_notices(server, true)
    }

    /// Without a subscription, as where every notice is lost, for tests.
    #[doc(hidden)]
    #[must_use]
    pub fn deaf(server: Arc<Server>) -> Self {
        Self::with_notices(server, false)
    }

    fn with_notices(server: Arc<Server>, notices: bool) -> Self {
        Self {
            shared: Arc::new(Store::new(server)),
            notices,
            started: Once::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Begins a registry with nothing in it, where there is none; `false` where there is one. Only for an
    /// installation that never existed, or whose operator says that nothing is to be kept: what was lost looks empty from then on.
    ///
    /// # Errors
    /// Where Redis is out of reach, or does not say whether it did it.
    pub async fn found(&self) -> Result<bool, PortError> {
        self.shared.found().await
    }

    /// The same where an operator says so: processes that remember another registry go on with this one, too.
    ///
    /// # Errors
    /// As [`Self::found`].
    pub async fn found_anew(&self) -> Result<bool, PortError> {
        self.shared.found_anew().await
    }

    /// What this process has seen of it.
    #[must_use]
    pub fn counts(&self) -> Arc<RegistryCounts> {
        Arc::clone(&self.shared.counts)
    }

    /// Ends what runs in the background. Changes are not followed any more.
    pub fn close(&self) {
        self.stop.cancel();
    }

    fn store(&self) -> &Store {
        self.started
            .call_once(|| watch::start(&self.shared, self.notices, &self.stop));
        &self.shared
    }
}

#[async_trait]
impl Registry for RedisRegistry {
    async fn application(
        &self,
        org: OrgId,
        key: &AppKey,
    ) -> Result<Option<Application>, PortError> {
        self.store().application(org, key).await
    }

    async fn applications(
        &self,
        org: OrgId,
        page: Page<AppId>,
    ) -> Result<Slice<Application>, PortError> {
        self.store().applications(org, page).await
    }

    async fn put_application(
        &self,
        app: Application,
        expect: Option<u64>,
    ) -> Result<Application, RegistryError> {
        self.store().put_application(app, expect).await
    }

    async fn delete_application(&self, org: OrgId, app: AppId) -> Result<bool, PortError> {
        let store = self.store();
        let delete = || store.delete_application(Access::Guarded, org, app);
        Ok(store.settle(app, delete).await?.is_some())
    }

    async fn snapshot(&self, app: AppId) -> Result<Option<AppSnapshot>, PortError> {
        self.store().snapshot(app).await
    }

    async fn endpoint(&self, app: AppId, key: &EndpointKey) -> Result<Option<Endpoint>, PortError> {
        self.store().endpoint(app, key).await
    }

    async fn endpoints(
        &self,
        app: AppId,
        page: Page<EndpointId>,
    ) -> Result<Slice<Endpoint>, PortError> {
        self.store().endpoints(app, page).await
    }

    async fn put_endpoint(
        &self,
        endpoint: Endpoint,
        expect: Option<u64>,
    ) -> Result<Endpoint, RegistryError> {
        self.store().put_endpoint(endpoint, expect).await
    }

    async fn delete_endpoint(&self, app: AppId, endpoint: EndpointId) -> Result<bool, PortError> {
        let store = self.store();
        let delete = || store.delete_endpoint(app, endpoint);
        Ok(store.settle(app, delete).await?.is_some())
    }

    async fn event_type(
        &self,
        org: OrgId,
        name: &EventTypeName,
    ) -> Result<Option<EventType>, PortError> {
        self.store().event_type(org, name).await
    }

    async fn event_types(
        &self,
        org: OrgId,
        include_archived: bool,
        page: Page<EventTypeName>,
    ) -> Result<Slice<EventType>, PortError> {
        self.store().event_types(org, include_archived, page).await
    }

    async fn put_event_type(
        &self,
        event_type: EventType,
        expect: Option<u64>,
    ) -> Result<EventType, RegistryError> {
        self.store().put_event_type(event_type, expect).await
    }

    async fn delete_event_type(&self, org: OrgId, name: &EventTypeName) -> Result<bool, PortError> {
        self.store().delete_event_type(org, name).await
    }

    async fn validating_types(&self, org: OrgId) -> Result<ValidatingTypes, PortError> {
        self.store().validating_types(org).await
    }

    async fn cursor(&self) -> Result<ChangeCursor, PortError> {
        let store = self.store();
        store.poll().await?;
        Ok(ChangeCursor(store.position().unwrap_or(0)))
    }

    async fn changed(&self, since: ChangeCursor) -> Result<Changes, PortError> {
        let store = self.store();
        store.ready().await?;
        if store.position().is_none() {
            store.poll().await?;
        }
        let mut ticks = store.ticks();
        loop {
            ticks.borrow_and_update();
            if let Some(changes) = store.news(since)? {
                return Ok(changes);
            }
            // The sender lives as long as `self`, so waiting cannot fail.
            let _ = ticks.changed().await;
        }
    }

    fn expected(&self, app: AppId, version: u64) {
        self.store().watched.lock().expect(app, version);
    }

    async fn export(&self, from: &ExportCursor, limit: usize) -> Result<Exported, PortError> {
        self.store().export(from, limit).await
    }

    async fn import(&self, records: Vec<RegistryRecord>) -> Result<Imported, PortError> {
        self.store().import(records).await
    }

    async fn declare_complete(&self) -> Result<(), PortError> {
        self.store().renew().await
    }
}

#[async_trait]
impl Probe for RedisRegistry {
    async fn probe(&self) -> Result<(), PortError> {
        self.store().probe().await
    }
}
