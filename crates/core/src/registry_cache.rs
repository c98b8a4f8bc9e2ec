//! Applications in memory, so that neither acceptance nor delivery reads the registry per message.
//!
//! A snapshot is used as long as nothing says that it is old. Three things do: a change notice, a message that
//! was accepted at a newer version, and a look-up by a uid that the snapshot does not carry (any more). A notice
//! that arrives while a snapshot is being read leaves a *floor* behind, so that the older snapshot is not kept; a
//! notice that anything may have changed begins another *generation*, and what was read in the one before is not kept.
//!
//! Event types are not kept here. Whoever keeps something that was made of those of an organisation keeps the
//! [`TypesState`] that it was made in beside it, and asks whether that still stands: two look-ups in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use moka::ops::compute::Op;
use moka::sync::Cache;

use crate::application::AppSnapshot;
use crate::id::{AppId, OrgId};
use crate::name::Uid;
use crate::ports::{AppKey, Changes, PortError, Registry};

/// Endpoints that are kept in memory, over all applications.
const CAPACITY_ENDPOINTS: u64 = 200_000;
const CAPACITY_NAMES: u64 = 100_000;
/// A snapshot that is older than was asked for is read again this often before the registry counts as behind.
const READS: usize = 3;

/// See the module's documentation.
pub struct RegistryCache {
    registry: Arc<dyn Registry>,
    apps: Cache<AppId, Cached>,
    names: Cache<(OrgId, Uid), AppId>,
    floors: Cache<AppId, u64>,
    /// The last change of an organisation's event types, as counted here.
    types: Cache<OrgId, u64>,
    types_changes: AtomicU64,
    generation: AtomicU64,
}

/// What is known of changes of an organisation's event types: between two that are equal there was none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TypesState {
    generation: u64,
    change: Option<u64>,
}

/// A snapshot, and the generation in which it was asked for.
#[derive(Clone)]
struct Cached {
    snapshot: Arc<AppSnapshot>,
    generation: u64,
}

impl std::fmt::Debug for RegistryCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegistryCache")
            .field("apps", &self.apps.entry_count())
            .finish_non_exhaustive()
    }
}

impl RegistryCache {
    #[must_use]
    pub fn new(registry: Arc<dyn Registry>) -> Self {
        let weight = |_: &AppId, cached: &Cached| {
            u32::try_from(cached.snapshot.endpoints.len() + 1).unwrap_or(u32::MAX)
        };
        Self {
            registry,
            apps: Cache::builder()
                .weigher(weight)
                .max_capacity(CAPACITY_ENDPOINTS)
                .build(),
            names: Cache::new(CAPACITY_NAMES),
            floors: Cache::new(CAPACITY_NAMES),
            types: Cache::new(CAPACITY_NAMES),
            types_changes: AtomicU64::new(0),
            generation: AtomicU64::new(0),
        }
    }

    /// The application as of version `at_least` or newer; `None` where it does not exist (any more).
    ///
    /// # Errors
    /// Where the registry is out of reach, or has not reached that version.
    pub async fn app(
        &self,
        id: AppId,
        at_least: u64,
    ) -> Result<Option<Arc<AppSnapshot>>, PortError> {
        let fresh =
            |snapshot: &Arc<AppSnapshot>| snapshot.version() >= self.floor(id).max(at_least);
        if let Some(cached) = self.cached(id).filter(fresh) {
            return Ok(Some(cached));
        }
        for _ in 0..READS {
            let generation = self.generation.load(Ordering::Acquire);
            let Some(snapshot) = self.read(id, generation).await? else {
                return Ok(None);
            };
            let current = generation == self.generation.load(Ordering::Acquire);
            if current && fresh(&snapshot) {
                return Ok(Some(snapshot));
            }
        }
        self.registry.expected(id, self.floor(id).max(at_least));
        let cause =
            format!("{id} is asked for at version {at_least}, which the registry has not reached");
        Err(PortError::Unavailable {
            part: "registry",
            cause,
        })
    }

    /// The application as the registry has it now, whatever is cached.
    ///
    /// # Errors
    /// Where the registry is out of reach.
    pub async fn reread(&self, id: AppId) -> Result<Option<Arc<AppSnapshot>>, PortError> {
        self.read(id, self.generation.load(Ordering::Acquire)).await
    }

    fn cached(&self, id: AppId) -> Option<Arc<AppSnapshot>> {
        let generation = self.generation.load(Ordering::Acquire);
        let cached = self.apps.get(&id)?;
        (cached.generation == generation).then_some(cached.snapshot)
    }

    /// Reads an application and keeps it, unless a newer one was kept meanwhile.
    async fn read(
        &self,
        id: AppId,
        generation: u64,
    ) -> Result<Option<Arc<AppSnapshot>>, PortError> {
        let Some(snapshot) = self.registry.snapshot(id).await?.map(Arc::new) else {
            self.apps.invalidate(&id);
            return Ok(None);
        };
        let read = Cached {
            snapshot: Arc::clone(&snapshot),
            generation,
        };
        self.apps.entry(id).and_compute_with(|kept| match kept {
            Some(kept) if is_newer(kept.value(), &read) => Op::Nop,
            _ => Op::Put(read),
        });
        Ok(Some(snapshot))
    }

    /// The application that `key` names within `org`.
    ///
    /// # Errors
    /// Where the registry is out of reach.
    pub async fn resolve(
        &self,
        org: OrgId,
        key: &AppKey,
    ) -> Result<Option<Arc<AppSnapshot>>, PortError> {
        match key {
            AppKey::Id(id) => Ok(self
                .app(*id, 0)
                .await?
                .filter(|snapshot| snapshot.app.org == org)),
            AppKey::Uid(uid) => self.resolve_uid(org, uid).await,
        }
    }

    async fn resolve_uid(
        &self,
        org: OrgId,
        uid: &Uid,
    ) -> Result<Option<Arc<AppSnapshot>>, PortError> {
        let name = (org, uid.clone());
        if let Some(id) = self.names.get(&name) {
            let named = |snapshot: &Arc<AppSnapshot>| {
                snapshot.app.org == org && snapshot.app.uid.as_ref() == Some(uid)
            };
            if let Some(snapshot) = self.app(id, 0).await?.filter(named) {
                return Ok(Some(snapshot));
            }
        }
        let Some(app) = self
            .registry
            .application(org, &AppKey::Uid(uid.clone()))
            .await?
        else {
            self.names.invalidate(&name);
            return Ok(None);
        };
        self.names.insert(name, app.id);
        self.app(app.id, app.version).await
    }

    /// Makes the next look-up of an application see at least `version`: call it after a change of one's own.
    pub fn outdated(&self, id: AppId, version: u64) {
        self.floors.insert(id, version.max(self.floor(id)));
        self.apps.invalidate(&id);
    }

    /// What is known of an organisation's event types: to be asked for before they are read.
    #[must_use]
    pub fn types_state(&self, org: OrgId) -> TypesState {
        TypesState {
            generation: self.generation.load(Ordering::Acquire),
            change: self.types.get(&org),
        }
    }

    /// Makes whatever was made of an organisation's event types old: call it after a change of one's own.
    pub fn types_changed(&self, org: OrgId) {
        let change = self.types_changes.fetch_add(1, Ordering::AcqRel);
        self.types.insert(org, change);
    }

    /// Takes note of what has changed.
    pub fn apply(&self, changes: &Changes) {
        changes
            .types
            .iter()
            .for_each(|org| self.types_changed(*org));
        match &changes.apps {
            Some(apps) => apps
                .iter()
                .for_each(|(id, version)| self.note(*id, *version)),
            None => {
                self.generation.fetch_add(1, Ordering::AcqRel);
                self.apps.invalidate_all();
            }
        }
    }

    fn note(&self, id: AppId, version: u64) {
        if self
            .cached(id)
            .is_none_or(|snapshot| snapshot.version() < version)
        {
            self.outdated(id, version);
        }
    }

    fn floor(&self, id: AppId) -> u64 {
        self.floors.get(&id).unwrap_or(0)
    }
}

fn is_newer(kept: &Cached, read: &Cached) -> bool {
    let order = |cached: &Cached| (cached.generation, cached.snapshot.version());
    order(kept) > order(read)
}
