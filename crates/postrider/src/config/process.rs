//! What this process does, and how long it takes to stop.

use std::time::Duration;

use super::parse;
use super::setting::{ConfigError, DefaultValue, Setting, Shown};
use super::sources::Sources;

pub(super) static ROLES: Setting = Setting {
    key: "roles",
    placeholder: "ROLE,…",
    form: "`ingest`, `worker`, or both separated by a comma",
    default: DefaultValue::Text("ingest,worker"),
    shown: Shown::Whole,
    help: "What this process does: `ingest` serves the API, `worker` delivers. `dev` always does both.",
};

pub(super) static GRACE: Setting = Setting {
    key: "grace",
    placeholder: "TIME",
    form: "5s to 1h (a number without a unit is seconds)",
    default: DefaultValue::Text("35s"),
    shown: Shown::Whole,
    help: "How long a stop may take: requests under way are finished, or handed off for later. Keep it above the request timeout and below what your supervisor allows.",
};

#[derive(Debug, Clone)]
pub struct Process {
    pub roles: Roles,
    pub grace: Duration,
}

/// At least one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    pub ingest: bool,
    pub worker: bool,
}

impl Roles {
    pub const ALL: Self = Self {
        ingest: true,
        worker: true,
    };

    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        let names = [(self.ingest, "ingest"), (self.worker, "worker")];
        names
            .into_iter()
            .filter_map(|(has, name)| has.then_some(name))
            .collect()
    }
}

impl Process {
    pub(super) fn read(sources: &Sources) -> Result<Self, ConfigError> {
        let grace = |text: &str| {
            parse::duration_within(text, Duration::from_secs(5), Duration::from_secs(3_600))
        };
        Ok(Self {
            roles: sources.read(&ROLES, roles)?.value,
            grace: sources.read(&GRACE, grace)?.value,
        })
    }
}

fn roles(text: &str) -> Result<Roles, String> {
    let mut roles = Roles {
        ingest: false,
        worker: false,
    };
    for name in parse::list(text) {
        match name {
            "ingest" => roles.ingest = true,
            "worker" => roles.worker = true,
            _ => return Err(format!("holds {name:?}, which is no role")),
        }
    }
    if roles.names().is_empty() {
        Err("names no role".to_owned())
    } else {
        Ok(roles)
    }
}
