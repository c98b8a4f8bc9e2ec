//! What people make and keep beside the registry.

use async_trait::async_trait;

use super::{PortError, Probe};
use crate::id::OrgId;
use crate::name::DocumentName;
use crate::page::{Page, Slice};
use crate::time::Timestamp;

/// Small texts under a name: API keys, revocations, background tasks, operational endpoints. What is in them is the
/// caller's business; there are thousands of them, not millions, and none is on the way of an event that is due at once.
///
/// **Places.** A document lies in a place ([`Place`]): a kind of document of one owner. Names are unique within it, lists
/// go through it in the order of the names' bytes. Places are apart: an organisation never sees another one's.
///
/// **Compare and set.** Each document has a version that grows with every change; `put` says what it expects to find
/// ([`Expect`]) and changes nothing where it finds something else. Of several who expect the same version, one wins. A name
/// that is used again after its document has gone gets another version, but for documents that live less than a
/// millisecond.
///
/// **Ends.** A document that is kept until a time is absent from then on, whether or not it has been removed yet.
///
/// **Read your writes.** A read that begins after a write returned sees it, through whichever process.
#[async_trait]
pub trait Documents: Probe {
    async fn get(
        &self,
        now: Timestamp,
        place: Place,
        name: &DocumentName,
    ) -> Result<Option<Document>, PortError>;

    /// Those of these names that are there, in any order, in one question.
    async fn get_some(
        &self,
        now: Timestamp,
        place: Place,
        names: &[DocumentName],
    ) -> Result<Vec<Document>, PortError>;

    async fn list(
        &self,
        now: Timestamp,
        place: Place,
        page: Page<DocumentName>,
    ) -> Result<Slice<Document>, PortError>;

    /// Creates or replaces. Returns the new version; `None` where something else was found than was expected.
    async fn put(
        &self,
        now: Timestamp,
        place: Place,
        document: NewDocument,
        expect: Expect,
    ) -> Result<Option<u64>, PortError>;

    /// `false` where there was none.
    async fn delete(
        &self,
        now: Timestamp,
        place: Place,
        name: &DocumentName,
    ) -> Result<bool, PortError>;
}

/// Where documents lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    pub owner: Owner,
    pub kind: DocumentKind,
}

/// Whose documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owner {
    Installation,
    Org(OrgId),
}

/// What documents are about. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum DocumentKind {
    /// An API key, by its identifier.
    ApiKey = 1,
    /// Which API key has this hash: of the whole installation.
    ApiKeyHash = 2,
    /// Tokens that are valid no more: one by its hash, or all of an application.
    Revocation = 3,
    /// A background task, by its identifier.
    Task = 4,
    /// Which tasks have not ended: of the whole installation.
    OpenTask = 5,
    /// Where to say what happens to an organisation's applications.
    OperationalEndpoint = 6,
    /// A scheduled message that was taken back, by its identifier.
    Withdrawn = 7,
}

impl DocumentKind {
    pub const ALL: [Self; 7] = [
        Self::ApiKey,
        Self::ApiKeyHash,
        Self::Revocation,
        Self::Task,
        Self::OpenTask,
        Self::OperationalEndpoint,
        Self::Withdrawn,
    ];
}

/// A document as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pub name: DocumentName,
    pub version: u64,
    /// Absent from then on.
    pub until: Option<Timestamp>,
    pub body: String,
}

/// A document as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDocument {
    pub name: DocumentName,
    pub until: Option<Timestamp>,
    /// At most [`LARGEST_DOCUMENT`] bytes.
    pub body: String,
}

/// Bytes of a document's body. Larger ones are [`PortError::Invalid`].
pub const LARGEST_DOCUMENT: usize = 256 * 1024;

impl NewDocument {
    /// Every port asks this before it stores anything.
    pub fn check(&self) -> Result<(), PortError> {
        if self.body.len() > LARGEST_DOCUMENT {
            let problem = format!("a document has more than {LARGEST_DOCUMENT} bytes");
            return Err(PortError::Invalid(problem));
        }
        Ok(())
    }
}

/// What has to be there for a `put` to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Whatever it is.
    Anything,
    Nothing,
    /// A document of this version.
    Version(u64),
}

impl Expect {
    /// Whether that is what is there: the version of a document, or none.
    #[must_use]
    pub fn is_met_by(self, found: Option<u64>) -> bool {
        match self {
            Self::Anything => true,
            Self::Nothing => found.is_none(),
            Self::Version(version) => found == Some(version),
        }
    }
}

/// The version of a document that is written over one of version `found`, be that one absent by now or not.
#[must_use]
pub fn next_version(found: Option<u64>, now: Timestamp) -> u64 {
    let by_time = now.as_millis().max(1).cast_unsigned();
    found.map_or(by_time, |found| by_time.max(found + 1))
}
