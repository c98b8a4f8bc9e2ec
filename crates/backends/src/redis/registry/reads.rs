//! Reading applications and endpoints.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use postrider_core::application::{AppSnapshot, Application};
use postrider_core::endpoint::Endpoint;
use postrider_core::id::{AppId, EndpointId, OrgId};
use postrider_core::name::Uid;
use postrider_core::page::{Page, Slice};
use postrider_core::ports::{AppKey, EndpointKey, PortError};

use super::healing::Slot;
use super::records::{self, corrupt, to_app, to_claim, to_endpoint};
use super::scripts::SCRIPTS;
use super::sight::Sight;
use super::store::Store;
use super::walk::Walk;
use crate::redis::error::Asked;

/// Applications of a list that are read at the same time.
const AT_ONCE: usize = 32;
/// Entries of a list that are looked at in one read.
const PORTION: usize = 500;
/// Looks at a uid whose owner changes while it is looked up.
const LOOKS: usize = 3;
/// Endpoints that are decoded before other tasks get a turn.
const DECODED_AT_ONCE: usize = 500;

/// The fields of an application's hash.
type Fields = Vec<(Vec<u8>, Vec<u8>)>;

impl Store {
    /// What the slot of `app` holds under `field`, and whether there is such an application.
    async fn field(&self, app: AppId, field: &[u8]) -> Result<Sight<(u64, Vec<u8>)>, PortError> {
        let mut get = redis::cmd("HMGET");
        get.arg(&self.names.app(app)[0]).arg("v").arg(field);
        let (version, bytes): (Option<u64>, Option<Vec<u8>>) = self.read(&get).await?;
        Ok(Sight::of(version.is_some(), version.zip(bytes)))
    }

    /// The application, whosever it is.
    pub(super) async fn app(&self, app: AppId) -> Result<Option<Application>, PortError> {
        let found = self.settle(app, || self.field(app, b"a")).await?;
        found
            .map(|(version, bytes)| to_app(version, &bytes))
            .transpose()
    }

    pub(super) async fn application(
        &self,
        org: OrgId,
        key: &AppKey,
    ) -> Result<Option<Application>, PortError> {
        match key {
            AppKey::Id(id) => Ok(self.app(*id).await?.filter(|app| app.org == org)),
            AppKey::Uid(uid) => self.settle_org(org, || self.by_uid(org, uid)).await,
        }
    }

    /// A claim alone is nothing: the application may not be written yet, or have another uid by now.
    async fn by_uid(&self, org: OrgId, uid: &Uid) -> Result<Option<Application>, PortError> {
        let mut get = redis::cmd("HGET");
        get.arg(&self.names.org(org)[2]).arg(uid.as_str());
        let mut before = None;
        for _ in 0..LOOKS {
            let claim: Option<Vec<u8>> = self.read(&get).await?;
            if claim.is_none() || claim == before {
                return Ok(None);
            }
            let holder = claim.as_deref().map(to_claim).transpose()?;
            if let Some(holder) = holder
                && let Some(app) = self.app(holder.app).await?
                && app.org == org
                && app.uid.as_ref() == Some(uid)
            {
                return Ok(Some(app));
            }
            before = claim;
        }
        Ok(None)
    }

    pub(super) async fn applications(
        &self,
        org: OrgId,
        page: Page<AppId>,
    ) -> Result<Slice<Application>, PortError> {
        let walk = Walk::new(&page);
        let listed = self.settle_org(org, || self.listed(org, walk.clone()));
        Ok(walk.slice(listed.await?.unwrap_or_default()))
    }

    /// `None` where there is not one. Entries may be left of applications that do not exist.
    async fn listed(
        &self,
        org: OrgId,
        mut walk: Walk,
    ) -> Result<Option<Vec<Application>>, PortError> {
        let key = &self.names.org(org)[1];
        let mut found: Vec<Application> = Vec::new();
        loop {
            let rows = (walk.rows() - found.len()).min(PORTION);
            let entries: Vec<Vec<u8>> = self.read(&walk.range(key, rows)).await?;
            let mut apps: Vec<AppId> = entries
                .iter()
                .map(|entry| app_of(entry))
                .collect::<Result<_, _>>()?;
            apps.dedup();
            if let Some(last) = apps.last() {
                walk.go_behind(last);
            }
            let reading = stream::iter(apps.into_iter().map(|app| self.app(app)));
            let read: Vec<Option<Application>> = reading.buffered(AT_ONCE).try_collect().await?;
            found.extend(read.into_iter().flatten().filter(|app| app.org == org));
            if entries.len() < rows || found.len() >= walk.rows() {
                return Ok((!found.is_empty()).then_some(found));
            }
        }
    }

    pub(super) async fn snapshot(&self, app: AppId) -> Result<Option<AppSnapshot>, PortError> {
        let found = self.settle(app, || self.fields(app)).await?;
        match found {
            Some((version, fields)) => assemble(version, fields).await.map(Some),
            None => Ok(None),
        }
    }

    async fn fields(&self, app: AppId) -> Result<Sight<(u64, Fields)>, PortError> {
        let mut get = redis::cmd("HGETALL");
        get.arg(&self.names.app(app)[0]);
        let fields: Fields = self.read(&get).await?;
        let version = fields.iter().find(|(name, _)| name == b"v");
        let version = version
            .map(|(_, version)| records::decimal("the version of an application", version))
            .transpose()?;
        Ok(Sight::of(false, version.map(|version| (version, fields))))
    }

    /// All that is there of an application; unlike other reads, also where the registry counts as lost.
    pub(super) async fn remains(&self, app: AppId) -> Result<Option<AppSnapshot>, PortError> {
        match self.fields(app).await? {
            Sight::Found((version, fields)) => assemble(version, fields).await.map(Some),
            _ => Ok(None),
        }
    }

    /// The same with what is noted of changes.
    pub(super) async fn slot(&self, app: AppId) -> Result<Slot, PortError> {
        const WHAT: &str = "the version of a change";
        let mut get = redis::cmd("HGETALL");
        get.arg(&self.names.app(app)[0]);
        let fields: Fields = self.read(&get).await?;
        let version = |field: &[u8]| {
            let found = fields.iter().find(|(name, _)| name == field);
            let found = found.map(|(_, version)| records::decimal(WHAT, version));
            found.transpose()
        };
        let (stands, deleted) = (version(b"v")?, version(b"d")?);
        let mut marks = HashMap::new();
        for (name, made) in &fields {
            if let Some((b'h', record)) = name.split_first() {
                marks.insert(record.to_vec(), records::decimal(WHAT, made)?);
            }
        }
        let there = match stands {
            Some(version) => Some(assemble(version, fields).await?),
            None => None,
        };
        Ok(Slot {
            there,
            deleted,
            marks,
        })
    }

    pub(super) async fn endpoint(
        &self,
        app: AppId,
        key: &EndpointKey,
    ) -> Result<Option<Endpoint>, PortError> {
        let found = match key {
            EndpointKey::Id(id) => {
                let field = [b"e", &id.as_bytes()[..]].concat();
                self.settle(app, || self.field(app, &field)).await?
            }
            EndpointKey::Uid(uid) => self.settle(app, || self.endpoint_by_uid(app, uid)).await?,
        };
        found.map(|(_, bytes)| to_endpoint(&bytes)).transpose()
    }

    async fn endpoint_by_uid(
        &self,
        app: AppId,
        uid: &Uid,
    ) -> Result<Sight<(u64, Vec<u8>)>, PortError> {
        let keys = self.names.app(app);
        let call = SCRIPTS
            .endpoint_by_uid
            .call(&[&keys[0], &keys[1]])
            .arg(uid.as_str());
        let (version, bytes): (Option<u64>, Option<Vec<u8>>) = self.run(Asked::Read, &call).await?;
        Ok(Sight::of(version.is_some(), version.zip(bytes)))
    }

    pub(super) async fn endpoints(
        &self,
        app: AppId,
        page: Page<EndpointId>,
    ) -> Result<Slice<Endpoint>, PortError> {
        let walk = Walk::new(&page);
        let found = self.settle(app, || self.endpoint_page(app, &walk)).await?;
        Ok(walk.slice(found.unwrap_or_default()))
    }

    async fn endpoint_page(
        &self,
        app: AppId,
        walk: &Walk,
    ) -> Result<Sight<Vec<Endpoint>>, PortError> {
        let keys = self.names.app(app);
        let call = SCRIPTS
            .page
            .call(&[&keys[0], &keys[1]])
            .arg(walk.direction())
            .arg(&walk.from)
            .arg(walk.rows())
            .arg("e");
        let rows: Vec<(Vec<u8>, Option<Vec<u8>>)> = self.run(Asked::Read, &call).await?;
        if rows.is_empty() {
            let mut exists = redis::cmd("HEXISTS");
            exists.arg(&keys[0]).arg("v");
            let exists: bool = self.read(&exists).await?;
            return Ok(Sight::of(exists, None));
        }
        let missing = || corrupt("the list of endpoints", "an endpoint on it is not there");
        let decoded: Result<Vec<_>, _> = rows
            .iter()
            .map(|(_, bytes)| bytes.as_deref().ok_or_else(missing).and_then(to_endpoint))
            .collect();
        decoded.map(Sight::Found)
    }
}

fn app_of(entry: &[u8]) -> Result<AppId, PortError> {
    let id = entry
        .first_chunk()
        .ok_or_else(|| corrupt("the list of applications", "an entry is cut off"))?;
    Ok(AppId::from_bytes(*id))
}

/// Thousands of endpoints take a while to decode; others get a turn in between.
async fn assemble(version: u64, fields: Fields) -> Result<AppSnapshot, PortError> {
    let mut app = None;
    let mut endpoints = Vec::with_capacity(fields.len());
    for (name, bytes) in fields {
        match name.first() {
            Some(b'a') => app = Some(to_app(version, &bytes)?),
            Some(b'e') => {
                endpoints.push(Arc::new(to_endpoint(&bytes)?));
                if endpoints.len() % DECODED_AT_ONCE == 0 {
                    tokio::task::yield_now().await;
                }
            }
            _ => {}
        }
    }
    endpoints.sort_unstable_by_key(|endpoint| endpoint.id);
    let app = app.ok_or_else(|| corrupt("an application", "it has a version and no record"))?;
    Ok(AppSnapshot { app, endpoints })
}
