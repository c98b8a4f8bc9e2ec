//! Which event types hold messages against a schema, in memory: acceptance asks for every message.
//!
//! ```text
//!   message ─▶ view of the organisation ── not among the names ──▶ accepted as it is     the usual case
//!                        │ among them
//!                        ▼
//!              checker of the event type ──▶ applied to the payload
//! ```
//!
//! A view holds names alone. It is used until the registry's cache knows of a change of the organisation's event types, a
//! second after it at the latest, and at once on the process that made the change. So in the usual case a message costs two
//! look-ups in concurrent maps, of the view and of whether it still stands: half a microsecond where acceptance takes some tens. No
//! command goes to the store. A change that nobody told of (its writer died, or is of a release before validation) is found out
//! by [`RECHECK`], in the background.
//!
//! Checkers are kept by event type, as many as [`MAX_KEPT`] allows. After a change the record of each that is used is read
//! once more, and compiled where its version is another. Of many who want the same, one reads and the others wait.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use moka::ops::compute::Op;
use moka::sync::Cache;
use postrider_core::ports::{PortError, Registry};
use postrider_core::registry_cache::{RegistryCache, TypesState};
use postrider_core::{EventType, EventTypeName, OrgId};
use tokio::sync::{Mutex, OnceCell, Semaphore};
use tokio::time::Instant;

use super::checker::Checker;
use super::compile;
use crate::error::{ApiError, FieldError};

/// After this long a view that nobody called old is compared with the registry.
const RECHECK: Duration = Duration::from_secs(30);
/// Names in all views, and views.
const MAX_NAMES: u64 = 200_000;
/// Bytes of all schemas that are kept compiled, about.
const MAX_KEPT: u64 = 128 * 1024 * 1024;
/// What is kept of each event type beside its schema.
const EACH: usize = 512;
/// Payloads that are looked at outside of the runtime's threads at a time.
const SLOW_AT_ONCE: usize = 2;

/// See the module's documentation.
pub(crate) struct Schemas {
    registry: Arc<dyn Registry>,
    cache: Arc<RegistryCache>,
    views: Cache<OrgId, Arc<View>>,
    checkers: Cache<(OrgId, EventTypeName), Known>,
    last_view: AtomicU64,
    slow: Semaphore,
}

/// The names of an organisation's validating event types, once they are told.
#[derive(Debug)]
struct View {
    /// Views of one number are of the same event types.
    number: u64,
    state: TypesState,
    asked_at: Instant,
    told: OnceCell<Result<Names, PortError>>,
    is_renewed: AtomicBool,
}

#[derive(Debug)]
struct Names {
    mark: u64,
    /// Held by whoever reads the event type's record.
    types: HashMap<EventTypeName, Mutex<()>>,
}

/// What was found when an event type was read.
#[derive(Debug, Clone)]
struct Known {
    /// The view that it was read for.
    view: u64,
    version: u64,
    weight: u32,
    outcome: Outcome,
}

#[derive(Debug, Clone)]
enum Outcome {
    /// It does not validate, whatever the list of names says.
    Any,
    Checked(Arc<Checker>),
    /// Stored with a schema that cannot be used: not by this release.
    Unusable(Arc<str>),
}

impl std::fmt::Debug for Schemas {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Schemas")
            .field("views", &self.views.entry_count())
            .field("checkers", &self.checkers.entry_count())
            .finish_non_exhaustive()
    }
}

impl View {
    fn stands(&self, state: TypesState) -> bool {
        self.state == state && !matches!(self.told.get(), Some(Err(_)))
    }

    fn names(&self) -> Option<&Names> {
        self.told.get()?.as_ref().ok()
    }

    /// Whether to look whether it still stands: told to one caller.
    fn is_to_be_renewed(&self) -> bool {
        self.asked_at.elapsed() >= RECHECK && !self.is_renewed.swap(true, Ordering::Relaxed)
    }
}

impl Schemas {
    pub(crate) fn new(registry: Arc<dyn Registry>, cache: Arc<RegistryCache>) -> Self {
        let names = |_: &OrgId, view: &Arc<View>| {
            let names = view.names().map_or(0, |names| names.types.len());
            u32::try_from(names + 1).unwrap_or(u32::MAX)
        };
        let bytes = |_: &(OrgId, EventTypeName), known: &Known| known.weight;
        Self {
            registry,
            cache,
            views: Cache::builder()
                .weigher(names)
                .max_capacity(MAX_NAMES)
                .build(),
            checkers: Cache::builder()
                .weigher(bytes)
                .max_capacity(MAX_KEPT)
                .build(),
            last_view: AtomicU64::new(0),
            slow: Semaphore::new(SLOW_AT_ONCE),
        }
    }

    /// What is wrong with the payload of a message; nothing where its event type does not validate.
    ///
    /// # Errors
    /// Where that cannot be told, as the registry is out of reach.
    pub(crate) async fn faults(
        self: &Arc<Self>,
        org: OrgId,
        event_type: &EventTypeName,
        payload: &Bytes,
    ) -> Result<Option<ApiError>, ApiError> {
        let view = self.view(org).await?;
        let Some(turn) = view.names().and_then(|names| names.types.get(event_type)) else {
            return Ok(None);
        };
        match self.known(org, event_type, &view, turn).await? {
            Outcome::Any => Ok(None),
            Outcome::Unusable(why) => Ok(Some(ApiError::body_value("eventType", &*why))),
            Outcome::Checked(checker) => {
                let violations = self.check(checker, payload).await?;
                Ok((!violations.is_empty()).then_some(ApiError::Payload(violations)))
            }
        }
    }

    async fn check(
        &self,
        checker: Arc<Checker>,
        payload: &Bytes,
    ) -> Result<Vec<FieldError>, ApiError> {
        if checker.is_quick(payload.len()) {
            return Ok(checker.check(payload));
        }
        let payload = payload.clone();
        let _turn = self.slow.acquire().await;
        let checked = tokio::task::spawn_blocking(move || checker.check(&payload)).await;
        checked.map_err(|_| ApiError::Internal("holding a payload against a schema panicked"))
    }

    async fn view(self: &Arc<Self>, org: OrgId) -> Result<Arc<View>, PortError> {
        let state = self.cache.types_state(org);
        if let Some(view) = self.views.get(&org)
            && view.stands(state)
            && view.names().is_some()
        {
            if view.is_to_be_renewed() {
                self.renew(org, Arc::clone(&view));
            }
            return Ok(view);
        }
        let entry = self.views.entry(org);
        let view = entry
            .or_insert_with_if(|| self.new_view(state), |found| !found.stands(state))
            .into_value();
        let told = view.told.get_or_init(|| async {
            let found = self.registry.validating_types(org).await;
            found.map(|found| Names::of(found.mark, found.names))
        });
        told.await.as_ref().map_err(PortError::clone)?;
        // What it weighs is known only now.
        self.views.insert(org, Arc::clone(&view));
        Ok(view)
    }

    fn new_view(&self, state: TypesState) -> Arc<View> {
        let number = self.last_view.fetch_add(1, Ordering::Relaxed) + 1;
        Arc::new(View::asked_now(number, state, OnceCell::new()))
    }

    /// Puts another view in the place of `before`, unless that one was replaced meanwhile. Where the registry is out of reach,
    /// what is known counts: nothing is accepted then anyway.
    fn renew(self: &Arc<Self>, org: OrgId, before: Arc<View>) {
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let state = this.cache.types_state(org);
            let Ok(found) = this.registry.validating_types(org).await else {
                before.is_renewed.store(false, Ordering::Relaxed);
                return;
            };
            let is_same = before.names().is_some_and(|names| names.mark == found.mark);
            let number = if is_same {
                before.number
            } else {
                this.last_view.fetch_add(1, Ordering::Relaxed) + 1
            };
            let names = OnceCell::new_with(Some(Ok(Names::of(found.mark, found.names))));
            let view = Arc::new(View::asked_now(number, state, names));
            this.views.entry(org).and_compute_with(|found| {
                let is_before = found.is_some_and(|found| Arc::ptr_eq(found.value(), &before));
                if is_before { Op::Put(view) } else { Op::Nop }
            });
        });
    }

    async fn known(
        &self,
        org: OrgId,
        name: &EventTypeName,
        view: &View,
        turn: &Mutex<()>,
    ) -> Result<Outcome, ApiError> {
        let key = (org, name.clone());
        let is_current = |known: &Known| known.view == view.number;
        if let Some(known) = self.checkers.get(&key).filter(is_current) {
            return Ok(known.outcome);
        }
        let _turn = turn.lock().await;
        let before = self.checkers.get(&key);
        if let Some(known) = before.clone().filter(is_current) {
            return Ok(known.outcome);
        }
        let kind = self.registry.event_type(org, name).await?;
        let known = read(kind, view.number, before).await?;
        self.checkers.insert(key, known.clone());
        Ok(known.outcome)
    }
}

/// `before`: what it was known as.
async fn read(
    kind: Option<EventType>,
    view: u64,
    before: Option<Known>,
) -> Result<Known, ApiError> {
    let known = |version, bytes: usize, outcome| Known {
        view,
        version,
        weight: u32::try_from(bytes + EACH).unwrap_or(u32::MAX),
        outcome,
    };
    let Some(kind) = kind.filter(EventType::validates) else {
        return Ok(known(0, 0, Outcome::Any));
    };
    if let Some(before) = before.filter(|before| before.version == kind.version) {
        return Ok(Known { view, ..before });
    }
    let schemas = kind.schemas.unwrap_or_else(|| "{}".to_owned());
    let compiled = tokio::task::spawn_blocking(move || compile(&schemas)).await;
    let compiled = compiled.map_err(|_| ApiError::Internal("compiling a schema panicked"))?;
    let outcome = match compiled {
        Ok(checker) => Outcome::Checked(Arc::new(checker)),
        Err(flaw) => {
            let place = flaw.path.join("/");
            tracing::warn!(event_type = %kind.name, place, "a schema that payloads are to be held against cannot be used");
            let why = format!(
                "has a schema that cannot be used ({place}: {}); mend it, or switch `validatePayload` off",
                flaw.problem
            );
            Outcome::Unusable(why.into())
        }
    };
    let bytes = match &outcome {
        Outcome::Checked(checker) => checker.size(),
        Outcome::Unusable(why) => why.len(),
        Outcome::Any => 0,
    };
    Ok(known(kind.version, bytes, outcome))
}

impl View {
    fn asked_now(number: u64, state: TypesState, told: OnceCell<Result<Names, PortError>>) -> Self {
        Self {
            number,
            state,
            asked_at: Instant::now(),
            told,
            is_renewed: AtomicBool::new(false),
        }
    }
}

impl Names {
    fn of(mark: u64, names: Vec<EventTypeName>) -> Self {
        let types = names.into_iter().map(|name| (name, Mutex::new(())));
        Self {
            mark,
            types: types.collect(),
        }
    }
}
