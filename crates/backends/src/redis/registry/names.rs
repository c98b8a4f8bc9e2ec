//! Where the registry's records lie.
//!
//! | tag | key | holds |
//! |---|---|---|
//! | installation | `repoch`, `rversion` | a random name of this registry; the newest version |
//! | | `rchanges`, `rcut` | the latest changes by position; the last position that was dropped from them |
//! | | `rintents` | changes that were begun and not ended |
//! | | `rapps`, `rorgs` | every application with its organisation; every organisation |
//! | | `rstated` | whose existence was stated while other changes of it may be open, and of which version |
//! | | `rmending` | is there while lost changes are put back |
//! | | `rtypes` | organisations whose event types have changed, by position |
//! | organisation | `r` | that it is there at all; the newest version of an event type |
//! | | `ra`, `ru` | its applications in order; uids |
//! | | `rt`, `rn` | event types; their names in order |
//! | | `rv` | names of event types that hold messages against a schema; releases that do not know it leave some too many |
//! | application | `r` | the application with its endpoints: see `lua/app.lua` |
//! | | `ri` | the identifiers of its endpoints in order |

use postrider_core::id::{AppId, OrgId};

use crate::redis::keys::{Space, Tag};

/// The keys of a script, all in one slot.
pub(super) type Keys = Vec<Vec<u8>>;

#[derive(Debug)]
pub(super) struct Names {
    space: Space,
    /// What scripts of the installation's slot take.
    pub(super) installation: Keys,
    /// Written to find out whether writing works.
    pub(super) probe: Vec<u8>,
    pub(super) channel: String,
}

impl Names {
    pub(super) fn new(space: &Space) -> Self {
        let tag = Tag::installation();
        let kinds = [
            "repoch", "rversion", "rcut", "rchanges", "rintents", "rapps", "rorgs", "rmending",
            "rstated", "rtypes",
        ];
        Self {
            installation: kinds.map(|kind| space.key(&tag, kind, b"")).to_vec(),
            probe: space.key(&tag, "rprobe", b""),
            channel: space.channel("changes"),
            space: space.clone(),
        }
    }

    fn of(&self, tag: &Tag, kinds: &[&str]) -> Keys {
        let key = |kind: &&str| self.space.key(tag, kind, b"");
        kinds.iter().map(key).collect()
    }

    /// Every application with its organisation, in order.
    pub(super) fn apps(&self) -> &[u8] {
        &self.installation[5]
    }

    pub(super) fn orgs(&self) -> &[u8] {
        &self.installation[6]
    }

    /// The hash and the order of its endpoints.
    pub(super) fn app(&self, app: AppId) -> Keys {
        self.of(&Tag::app(app), &["r", "ri"])
    }

    /// The organisation's hash, its applications in order, and uids.
    pub(super) fn org(&self, org: OrgId) -> Keys {
        self.of(&Tag::org(org), &["r", "ra", "ru"])
    }

    /// The organisation's hash, event types, their names in order, and the names of those that validate.
    pub(super) fn event_types(&self, org: OrgId) -> Keys {
        self.of(&Tag::org(org), &["r", "rt", "rn", "rv"])
    }
}
