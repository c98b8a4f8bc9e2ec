//! Event types: all of an organisation's lie in its slot, with a list of those that validate.
//!
//! That they have changed is told behind the change, of the organisation as a whole. Who dies in between has told nobody, and
//! nor has a process of a release before validation: whoever keeps something that was made of them asks now and then whether
//! the organisation's `types` is still the same.

use postrider_core::event_type::EventType;
use postrider_core::id::OrgId;
use postrider_core::name::EventTypeName;
use postrider_core::page::{Page, Slice};
use postrider_core::ports::{PortError, RegistryError, ValidatingTypes};

use super::recent::OwnType;
use super::records::{corrupt, from_event_type, to_event_type};
use super::scripts::SCRIPTS;
use super::standing::Found;
use super::store::{Access, Store};
use super::walk::Walk;
use super::writes::{Put, Refusal, TRIES, afterwards, contended, unknown_word};
use crate::redis::error::Asked;

/// Event types that are looked at in one read, where archived ones are not wanted.
const PORTION: usize = 500;

impl Store {
    pub(super) async fn event_type(
        &self,
        org: OrgId,
        name: &EventTypeName,
    ) -> Result<Option<EventType>, PortError> {
        self.settle_org(org, || self.stored_type(org, name)).await
    }

    /// What is there, also where the registry counts as lost.
    pub(super) async fn stored_type(
        &self,
        org: OrgId,
        name: &EventTypeName,
    ) -> Result<Option<EventType>, PortError> {
        let mut get = redis::cmd("HGET");
        get.arg(&self.names.event_types(org)[1]).arg(name.as_str());
        let bytes: Option<Vec<u8>> = self.read(&get).await?;
        bytes.as_deref().map(to_event_type).transpose()
    }

    pub(super) async fn event_types(
        &self,
        org: OrgId,
        include_archived: bool,
        page: Page<EventTypeName>,
    ) -> Result<Slice<EventType>, PortError> {
        let walk = Walk::new(&page);
        let found = self.settle_org(org, || {
            self.listed_types(org, include_archived, walk.clone())
        });
        Ok(walk.slice(found.await?.unwrap_or_default()))
    }

    /// `None` where there is not one.
    pub(super) async fn listed_types(
        &self,
        org: OrgId,
        include_archived: bool,
        mut walk: Walk,
    ) -> Result<Option<Vec<EventType>>, PortError> {
        let mut found: Vec<EventType> = Vec::new();
        loop {
            let rows = (walk.rows() - found.len()).min(PORTION);
            let looked_at = self.type_page(org, &walk, rows).await?;
            let count = looked_at.len();
            if let Some(last) = looked_at.last() {
                walk.go_behind(&last.name);
            }
            let wanted = |kind: &EventType| include_archived || !kind.archived;
            found.extend(looked_at.into_iter().filter(wanted));
            if count < rows || found.len() >= walk.rows() {
                return Ok((!found.is_empty()).then_some(found));
            }
        }
    }

    async fn type_page(
        &self,
        org: OrgId,
        walk: &Walk,
        rows: usize,
    ) -> Result<Vec<EventType>, PortError> {
        let keys = self.names.event_types(org);
        let call = SCRIPTS
            .page
            .call(&[&keys[1], &keys[2]])
            .arg(walk.direction())
            .arg(&walk.from)
            .arg(rows)
            .arg("");
        let rows: Vec<(Vec<u8>, Option<Vec<u8>>)> = self.run(Asked::Read, &call).await?;
        let missing = || corrupt("the list of event types", "one on it is not there");
        rows.iter()
            .map(|(_, bytes)| {
                let bytes = bytes.as_deref().ok_or_else(missing)?;
                to_event_type(bytes)
            })
            .collect()
    }

    pub(super) async fn put_event_type(
        &self,
        event_type: EventType,
        expect: Option<u64>,
    ) -> Result<EventType, RegistryError> {
        let org = event_type.org;
        let put = self.settle_org(org, || async {
            self.register_org(org).await?;
            let put = self.store_type(Access::Guarded, &event_type, expect, 0);
            // Where there is nothing to replace, there may have been something.
            Ok(Some(put.await?).filter(|put| *put != Err(Refusal::Stale)))
        });
        Ok(put.await?.unwrap_or(Err(Refusal::Stale))?)
    }

    /// Tells everybody that event types of an organisation have changed. What was written into a registry that was lost
    /// meanwhile is lost, too: that is an error here.
    pub(super) async fn tell_types(&self, access: Access, org: OrgId) -> Result<(), PortError> {
        let before = self.memory();
        let epoch = before.epoch.as_deref();
        let call = SCRIPTS
            .tell_types
            .call(&self.keys())
            .arg(org.as_bytes().as_slice())
            .arg(
                epoch
                    .filter(|_| access == Access::Guarded)
                    .unwrap_or_default(),
            )
            .arg(before.seen)
            .arg(&self.names.channel);
        let found: Found = self.run(Asked::Write, &call).await.map_err(afterwards)?;
        let judged = self.judge(&before, &found.into());
        match access {
            Access::Guarded => judged.map(drop).map_err(afterwards),
            // Whoever puts back does not mind: once that has ended, everybody reads everything again.
            Access::Forced => Ok(()),
        }
    }

    pub(super) async fn validating_types(&self, org: OrgId) -> Result<ValidatingTypes, PortError> {
        let found = self.settle_org(org, || self.stored_validating(org)).await?;
        Ok(found.unwrap_or_default())
    }

    /// `None` where there never was an event type.
    async fn stored_validating(&self, org: OrgId) -> Result<Option<ValidatingTypes>, PortError> {
        let keys = self.names.event_types(org);
        let call = SCRIPTS.validating.call(&[&keys[0], &keys[3]]);
        let (mark, names): (Option<u64>, Vec<String>) = self.run(Asked::Read, &call).await?;
        let name_of = |name: String| {
            EventTypeName::new(&name).map_err(|cause| corrupt("the list of event types", cause))
        };
        let names: Result<_, PortError> = names.into_iter().map(name_of).collect();
        let names = names?;
        Ok(mark.map(|mark| ValidatingTypes { mark, names }))
    }

    pub(super) async fn store_type(
        &self,
        access: Access,
        event_type: &EventType,
        expect: Option<u64>,
        floor: u64,
    ) -> Result<Put<EventType>, PortError> {
        for _ in 0..TRIES {
            let version = self.begin(access, None, floor).await?.version;
            let stored = EventType {
                version,
                ..event_type.clone()
            };
            match self.try_store_type(&stored, expect).await?.as_str() {
                "done" => {
                    let (org, name) = (stored.org, stored.name.clone());
                    let own = OwnType::new(org, name, version, Some(stored.clone()));
                    self.recent.lock().note_type(own);
                    self.tell_types(access, org).await?;
                    return Ok(Ok(stored));
                }
                "exists" => return Ok(Err(Refusal::Exists)),
                "stale" => return Ok(Err(Refusal::Stale)),
                "again" => {}
                word => return Err(unknown_word(word)),
            }
        }
        Err(contended())
    }

    async fn try_store_type(
        &self,
        event_type: &EventType,
        expect: Option<u64>,
    ) -> Result<String, PortError> {
        let keys = self.names.event_types(event_type.org);
        let expected = expect.map_or(Vec::new(), |expect| expect.to_be_bytes().to_vec());
        let call = SCRIPTS
            .put_event_type
            .call(&[&keys[0], &keys[1], &keys[2], &keys[3]])
            .arg(event_type.version)
            .arg(event_type.name.as_str())
            .arg(expected)
            .arg(from_event_type(event_type)?)
            .arg(if event_type.validates() { "1" } else { "" });
        self.run(Asked::Write, &call).await
    }

    /// Lists an organisation before there is anything in its slot: a backup goes by the list.
    async fn register_org(&self, org: OrgId) -> Result<(), PortError> {
        if self.look(None, Some(org)).await?.org_registered {
            return Ok(());
        }
        let mut mark = redis::cmd("HSET");
        mark.arg(&self.names.org(org)[0]).arg("here").arg(1);
        let _: i64 = self.read(&mark).await?;
        self.list_org(org).await
    }

    pub(super) async fn list_org(&self, org: OrgId) -> Result<(), PortError> {
        let mut list = redis::cmd("ZADD");
        list.arg(self.names.orgs())
            .arg(0)
            .arg(org.as_bytes().as_slice());
        self.read(&list).await
    }

    pub(super) async fn delete_event_type(
        &self,
        org: OrgId,
        name: &EventTypeName,
    ) -> Result<bool, PortError> {
        let deleted = self.settle_org(org, || async {
            let version = self.begin(Access::Guarded, None, 0).await?.version;
            let deleted = self.drop_type(org, name, version).await?;
            if deleted {
                let own = OwnType::new(org, name.clone(), version, None);
                self.recent.lock().note_type(own);
                self.tell_types(Access::Guarded, org).await?;
            }
            Ok(deleted.then_some(()))
        });
        Ok(deleted.await?.is_some())
    }

    async fn drop_type(
        &self,
        org: OrgId,
        name: &EventTypeName,
        version: u64,
    ) -> Result<bool, PortError> {
        let keys = self.names.event_types(org);
        let call = SCRIPTS
            .delete_event_type
            .call(&[&keys[0], &keys[1], &keys[2], &keys[3]])
            .arg(name.as_str())
            .arg(version);
        self.run(Asked::Write, &call).await
    }
}
