//! Applications, endpoints, event types.

use async_trait::async_trait;

use super::transfer::{ExportCursor, Exported, Imported, RegistryRecord};
use super::{PortError, Probe};
use crate::application::{AppSnapshot, Application};
use crate::endpoint::Endpoint;
use crate::event_type::EventType;
use crate::id::{AppId, EndpointId, OrgId};
use crate::name::{EventTypeName, Uid};
use crate::page::{Page, Slice};

/// Who subscribes to what.
///
/// **Versions.** Every application has a version that grows with each change of it or of one of its
/// endpoints; it never goes back, not even when the application is deleted and another takes its uid or its
/// identifier. Nor does an event type's. A record that is stored carries the version of its last change, set by the
/// registry and returned, whatever the caller has put there. A refused change leaves the version alone.
///
/// **Compare and set.** `put_…` with `expect = None` creates: it fails with `Exists` where the identifier is
/// taken. With `expect = Some(v)` it replaces, and fails with `Stale` where the application's (or event type's)
/// version is not `v` any more, or where there is no such record to replace (any more): read again, decide again.
/// Nothing is ever half changed.
///
/// **Read your writes.** A read that begins after a write returned sees it, through the same port.
///
/// **Tenants.** Every look-up takes the organisation. Another organisation's identifier is `None`, exactly as an
/// unknown one: it cannot be read, replaced or deleted.
///
/// **Losing it must not look like emptiness**: where the backend cannot be sure that it holds everything it once
/// held, every method answers `Unavailable`, but for those that mend it: `import` and `declare_complete`.
///
/// **Backup.** An export is every record of every organisation; an import puts records back, into a registry that
/// is empty, lost, behind or in use. What is accepted carries the version of its application, and whoever delivers it
/// waits until its registry has reached that version: so whatever is imported gets versions above any that the
/// backend ever gave out or an imported record carries, while an endpoint keeps the version at which it began, and
/// goes on matching what was accepted after it.
#[async_trait]
pub trait Registry: Probe {
    async fn application(&self, org: OrgId, key: &AppKey)
    -> Result<Option<Application>, PortError>;

    async fn applications(
        &self,
        org: OrgId,
        page: Page<AppId>,
    ) -> Result<Slice<Application>, PortError>;

    /// Creates or replaces. Returns it with its new version.
    async fn put_application(
        &self,
        app: Application,
        expect: Option<u64>,
    ) -> Result<Application, RegistryError>;

    /// Removes an application with its endpoints. `false` where there was none.
    async fn delete_application(&self, org: OrgId, app: AppId) -> Result<bool, PortError>;

    /// An application with all its endpoints, consistent in itself. This is what caches hold.
    async fn snapshot(&self, app: AppId) -> Result<Option<AppSnapshot>, PortError>;

    async fn endpoint(&self, app: AppId, key: &EndpointKey) -> Result<Option<Endpoint>, PortError>;

    async fn endpoints(
        &self,
        app: AppId,
        page: Page<EndpointId>,
    ) -> Result<Slice<Endpoint>, PortError>;

    /// Creates or replaces. `expect` is the *application's* version; `None` creates whatever that version is.
    /// A new endpoint gets the application's new version as its `created_version`, and keeps it when it is replaced.
    async fn put_endpoint(
        &self,
        endpoint: Endpoint,
        expect: Option<u64>,
    ) -> Result<Endpoint, RegistryError>;

    /// `false` where there was none.
    async fn delete_endpoint(&self, app: AppId, endpoint: EndpointId) -> Result<bool, PortError>;

    async fn event_type(
        &self,
        org: OrgId,
        name: &EventTypeName,
    ) -> Result<Option<EventType>, PortError>;

    async fn event_types(
        &self,
        org: OrgId,
        include_archived: bool,
        page: Page<EventTypeName>,
    ) -> Result<Slice<EventType>, PortError>;

    async fn put_event_type(
        &self,
        event_type: EventType,
        expect: Option<u64>,
    ) -> Result<EventType, RegistryError>;

    /// Removes it altogether; archiving is a change of the record. `false` where there was none.
    async fn delete_event_type(&self, org: OrgId, name: &EventTypeName) -> Result<bool, PortError>;

    /// The event types of an organisation whose messages are held against a schema ([`EventType::validates`]). Others may be
    /// among them; none is missing.
    async fn validating_types(&self, org: OrgId) -> Result<ValidatingTypes, PortError>;

    /// Where the stream of changes stands now: read it before filling a cache.
    async fn cursor(&self) -> Result<Cursor, PortError>;

    /// Completes once an application or an event type has changed (or was deleted) after `since`, within a second of the
    /// change even where notices are lost, and tells which. Changes may be told twice, and what did not change may
    /// be among them; no change of an application is missed. That of an event type may be where its writer died, or is of an
    /// older release; [`ValidatingTypes::mark`] shows it.
    async fn changed(&self, since: Cursor) -> Result<Changes, PortError>;

    /// Somebody waits for an application to reach a version that it has not: one that was lost, if it does not come.
    /// Where the backend can lose versions, it sees to it that nobody waits for ever.
    fn expected(&self, _app: AppId, _version: u64) {}

    /// At most `limit` records behind `from`, secrets included. An application comes before its endpoints. Whatever was
    /// there when the first portion was asked for and is there when the last one is, is in one of them.
    async fn export(&self, from: &ExportCursor, limit: usize) -> Result<Exported, PortError>;

    /// Puts records back. One that is there with the same identity is replaced unless it is newer, by `updated_at`.
    /// A uid that belongs to another record by now stays with that one. An endpoint needs its application, stored
    /// or imported before it. Not necessarily all or nothing: after an error, repeat it, which does no harm.
    async fn import(&self, records: Vec<RegistryRecord>) -> Result<Imported, PortError>;

    /// Says that everything is there: a registry that counted as lost, or as behind, is available from now on. Every node is
    /// told that anything may have changed.
    async fn declare_complete(&self) -> Result<(), PortError>;
}

/// A position in the stream of changes; meaningful only to the registry that gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor(pub u64);

/// What has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// Where to go on from.
    pub cursor: Cursor,
    /// Applications and the version that each has reached. `None`: too many to tell, or the stream was cut;
    /// anything may have changed.
    pub apps: Option<Vec<(AppId, u64)>>,
    /// Organisations whose event types have changed. Says nothing where `apps` is `None`.
    pub types: Vec<OrgId>,
}

/// Which event types of an organisation hold messages against a schema.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ValidatingTypes {
    /// Is another one after every change of an event type of the organisation, and may be another one without.
    pub mark: u64,
    pub names: Vec<EventTypeName>,
}

/// How an application is named in a path: by identifier or by the operator's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppKey {
    Id(AppId),
    Uid(Uid),
}

/// How an endpoint is named in a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointKey {
    Id(EndpointId),
    Uid(Uid),
}

/// Why the registry did not take a record.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// A record with this identifier exists already.
    #[error("it exists already")]
    Exists,
    /// The uid belongs to another record of the same kind.
    #[error("the uid is taken")]
    UidTaken,
    /// It was changed meanwhile, or deleted.
    #[error("it was changed meanwhile")]
    Stale,
    /// The application that it should belong to does not exist.
    #[error("the application does not exist")]
    NoApplication,
    #[error(transparent)]
    Port(#[from] PortError),
}
