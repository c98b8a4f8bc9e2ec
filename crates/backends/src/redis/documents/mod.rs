//! Documents: for each place a hash of what is stored, a sorted set that is the order of their names, and one of their ends.
//!
//! | key | type | holds |
//! |---|---|---|
//! | `{o<org>}cd<kind>`, `{pr}cd<kind>` | hash | name → `<version>:<until>:<body>`, numbers in decimal, `until` in ms or 0 |
//! | `{…}ci<kind>` | sorted set | names |
//! | `{…}ce<kind>` | sorted set | names by their end, where they have one |
//!
//! What has ended counts as absent by the `now` of the arguments, and goes as others are written: a place that nobody
//! writes to keeps what little is left of it.

use std::sync::Arc;

use async_trait::async_trait;
use postrider_core::name::DocumentName;
use postrider_core::page::{Cursor, Order, Page, Slice};
use postrider_core::ports::{
    Document, DocumentKind, Documents, Expect, NewDocument, Owner, Place, PortError, Probe,
};
use postrider_core::time::Timestamp;
use redis::{Cmd, FromRedisValue};

use super::error::{Asked, told};
use super::keys::{Space, Tag};
use super::script::{Atomic, Call};
use super::server::Server;

const PART: &str = "documents";
/// Names that are read at a time.
const NAMES: usize = 256;
/// How long what a probe writes is there, in milliseconds.
const PROBE_KEPT: u32 = 1_000;

/// The port [`Documents`] on Redis.
#[derive(Debug)]
pub struct RedisDocuments {
    server: Arc<Server>,
    put: Atomic,
    /// The same on a server that is full.
    put_at_last: Atomic,
    delete: Atomic,
}

/// The keys of a place.
struct Keys {
    stored: Vec<u8>,
    names: Vec<u8>,
    ends: Vec<u8>,
}

impl Keys {
    fn of(space: &Space, place: Place) -> Self {
        let tag = match place.owner {
            Owner::Installation => Tag::installation(),
            Owner::Org(org) => Tag::org(org),
        };
        let key = |kind| space.key(&tag, kind, letter(place.kind));
        Self {
            stored: key("cd"),
            names: key("ci"),
            ends: key("ce"),
        }
    }

    fn all(&self) -> [&[u8]; 3] {
        [&self.stored, &self.names, &self.ends]
    }
}

/// What kinds are called in keys.
const fn letter(kind: DocumentKind) -> &'static [u8] {
    match kind {
        DocumentKind::ApiKey => b"k",
        DocumentKind::ApiKeyHash => b"h",
        DocumentKind::Revocation => b"r",
        DocumentKind::Task => b"t",
        DocumentKind::OpenTask => b"o",
        DocumentKind::OperationalEndpoint => b"e",
        DocumentKind::Withdrawn => b"w",
    }
}

impl RedisDocuments {
    #[must_use]
    pub fn new(server: Arc<Server>) -> Self {
        Self {
            server,
            put: Atomic::new(include_str!("put.lua")),
            put_at_last: Atomic::new(concat!("#!lua flags=allow-oom\n", include_str!("put.lua"))),
            delete: Atomic::new(include_str!("delete.lua")),
        }
    }

    fn keys(&self, place: Place) -> Keys {
        Keys::of(self.server.space(), place)
    }

    async fn ask<T: FromRedisValue>(&self, asked: Asked, command: &Cmd) -> Result<T, PortError> {
        let mut link = self.server.link(PART).await?;
        let answer = command.query_async(&mut link).await;
        answer.map_err(|error| told(PART, asked, &error))
    }

    async fn run<T: FromRedisValue>(&self, asked: Asked, call: &Call<'_>) -> Result<T, PortError> {
        let mut link = self.server.link(PART).await?;
        let answer = call.run(&mut link).await;
        answer.map_err(|error| told(PART, asked, &error))
    }

    /// Documents of these names, as far as they are there.
    async fn fetch(
        &self,
        keys: &Keys,
        now: Timestamp,
        names: Vec<String>,
    ) -> Result<Vec<Document>, PortError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = redis::cmd("HMGET");
        command.arg(&keys.stored).arg(&names);
        let values: Vec<Option<String>> = self.ask(Asked::Read, &command).await?;
        let there = names.iter().zip(values);
        let read = there.filter_map(|(name, value)| Some(read(name, &value?)));
        let documents: Option<Vec<Document>> = read.collect();
        let mut documents = documents.ok_or_else(corrupt)?;
        documents.retain(|document| document.until.is_none_or(|until| until > now));
        Ok(documents)
    }
}

fn read(name: &str, value: &str) -> Option<Document> {
    let (version, rest) = value.split_once(':')?;
    let (until, body) = rest.split_once(':')?;
    let until: i64 = until.parse().ok()?;
    Some(Document {
        name: DocumentName::new(name).ok()?,
        version: version.parse().ok()?,
        until: (until != 0).then(|| Timestamp::from_millis(until)),
        body: body.to_owned(),
    })
}

fn corrupt() -> PortError {
    PortError::Corrupt {
        part: PART,
        cause: "a document is not as it was written".to_owned(),
    }
}

/// Asks for names behind `from`.
fn names_behind(key: &[u8], from: Option<&DocumentName>, descending: bool) -> Cmd {
    let start = from.map(|name| format!("({name}"));
    let (verb, first, last) = if descending {
        ("ZREVRANGEBYLEX", "+", "-")
    } else {
        ("ZRANGEBYLEX", "-", "+")
    };
    let mut command = redis::cmd(verb);
    command.arg(key).arg(start.as_deref().unwrap_or(first));
    command.arg(last).arg("LIMIT").arg(0).arg(NAMES);
    command
}

/// What the script compares with: see `put.lua`.
fn expected(expect: Expect) -> String {
    match expect {
        Expect::Anything => "*".to_owned(),
        Expect::Nothing => String::new(),
        Expect::Version(version) => version.to_string(),
    }
}

#[async_trait]
impl Documents for RedisDocuments {
    async fn get(
        &self,
        now: Timestamp,
        place: Place,
        name: &DocumentName,
    ) -> Result<Option<Document>, PortError> {
        let names = vec![name.to_string()];
        let found = self.fetch(&self.keys(place), now, names).await?;
        Ok(found.into_iter().next())
    }

    async fn get_some(
        &self,
        now: Timestamp,
        place: Place,
        names: &[DocumentName],
    ) -> Result<Vec<Document>, PortError> {
        let names = names.iter().map(ToString::to_string).collect();
        self.fetch(&self.keys(place), now, names).await
    }

    async fn list(
        &self,
        now: Timestamp,
        place: Place,
        page: Page<DocumentName>,
    ) -> Result<Slice<Document>, PortError> {
        let keys = self.keys(place);
        let turned = matches!(page.cursor, Cursor::Before(_));
        let descending = (page.order == Order::Descending) != turned;
        let mut from = match page.cursor {
            Cursor::Start => None,
            Cursor::After(name) | Cursor::Before(name) => Some(name),
        };
        let mut items = Vec::new();
        // One more than the page has room for tells whether documents follow.
        while items.len() <= page.limit {
            let command = names_behind(&keys.names, from.as_ref(), descending);
            let names: Vec<String> = self.ask(Asked::Read, &command).await?;
            let Some(last) = names.last() else { break };
            from = Some(DocumentName::new(last).map_err(|_| corrupt())?);
            items.extend(self.fetch(&keys, now, names).await?);
        }
        let more = items.len() > page.limit || turned;
        items.truncate(page.limit);
        if turned {
            items.reverse();
        }
        Ok(Slice {
            items,
            more,
            stopped: None,
        })
    }

    async fn put(
        &self,
        now: Timestamp,
        place: Place,
        document: NewDocument,
        expect: Expect,
    ) -> Result<Option<u64>, PortError> {
        document.check()?;
        let keys = self.keys(place);
        // 0 is no end: whoever asks for the first moment there was gets the one after it.
        let until = document.until.map_or(0, |until| until.as_millis().max(1));
        // Nobody who was locked out may stay because there is no room to say so.
        let put = match place.kind {
            DocumentKind::Revocation => &self.put_at_last,
            _ => &self.put,
        };
        let call = put.call(&keys.all());
        let call = call.arg(document.name.as_str()).arg(expected(expect));
        let call = call.arg(now.as_millis().max(1)).arg(until);
        self.run(Asked::Write, &call.arg(document.body)).await
    }

    async fn delete(
        &self,
        now: Timestamp,
        place: Place,
        name: &DocumentName,
    ) -> Result<bool, PortError> {
        let keys = self.keys(place);
        let call = self.delete.call(&keys.all());
        let call = call.arg(name.as_str()).arg(now.as_millis());
        self.run(Asked::Write, &call).await
    }
}

#[async_trait]
impl Probe for RedisDocuments {
    /// Writes something: a server that only reads, or is full, says so.
    async fn probe(&self) -> Result<(), PortError> {
        let key = self.server.space().key(&Tag::installation(), "cp", b"");
        let mut command = redis::cmd("SET");
        command.arg(key).arg("").arg("PX").arg(PROBE_KEPT);
        self.ask(Asked::Read, &command).await
    }
}
