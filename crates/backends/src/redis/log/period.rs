//! Where records lie: each application's log is kept in periods of an hour, each under a hash tag of its own.
//!
//! | key | type | holds |
//! |---|---|---|
//! | `{a<app>.<hour>}hr` | sorted set | message, record, trail: see [`super::message`] and [`super::trail`] |
//! | `{a<app>.<hour>}he` | sorted set | tag of the endpoint (3 bytes), attempt, message, outcome (1): attempts of this hour by endpoint |
//! | `{a<app>.<hour>}hi` | sorted set | hash of the event id (8 bytes), message: messages with an event id |
//! | `{a<app>.<hour>}hx` | sorted set | message by the end of its payload, where that is before the log's |
//! | `{a<app>.<hour>}ht` | hash | texts by their hash ([`super::texts`]); the empty field is there as long as the period |
//! | `{a<app>.<hour>}ha` | hash | large payloads by message and large responses by attempt |
//! | `{a<app>}hd` | sorted set | hours of the application, each with the time from which nothing in it is younger |
//! | `{pr}hd` | sorted set | application and hour of all applications, with the same time |
//! | `{pr}hx` | sorted set | application and hour where payloads end, with the time to look there |
//! | `{pr}hb` | hash | bytes by hour |
//!
//! All that is recorded of a message lies in the hour in which its identifier was made, whenever it happened, so that
//! one look finds it and its members share what they have in common; an attempt is also listed in its own hour, under
//! its endpoint. Identifiers sort by time, so hours in order are lists in order.

use std::time::Duration;

use postrider_core::id::{AppId, AttemptId, MessageId};
use postrider_core::name::Uid;
use postrider_core::time::Timestamp;

use super::texts::hash;
use crate::redis::keys::{Space, Tag};

const HOUR_MILLIS: i64 = 3_600_000;

/// An hour since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Hour(pub(super) u32);

impl Hour {
    pub(super) fn of(time: Timestamp) -> Self {
        let hours = time.as_millis().div_euclid(HOUR_MILLIS);
        Self(u32::try_from(hours.max(0)).unwrap_or(u32::MAX))
    }

    pub(super) fn start(self) -> Timestamp {
        Timestamp::from_millis(i64::from(self.0) * HOUR_MILLIS)
    }

    pub(super) fn end(self) -> Timestamp {
        self.start() + Duration::from_secs(3600)
    }
}

/// An hour of one application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Period {
    pub(super) app: AppId,
    pub(super) hour: Hour,
}

/// The keys of a period, in the order in which all scripts take them.
#[derive(Debug)]
pub(super) struct Keys([Vec<u8>; 6]);

impl Period {
    /// Where everything about a message is.
    pub(super) fn of_message(app: AppId, message: MessageId) -> Self {
        let hour = Hour::of(message.created_at());
        Self { app, hour }
    }

    /// Where an attempt is listed under its endpoint.
    pub(super) fn of_attempt(app: AppId, attempt: AttemptId) -> Self {
        let hour = Hour::of(attempt.created_at());
        Self { app, hour }
    }

    pub(super) fn keys(self, space: &Space) -> Keys {
        let tag = Tag::app_part(self.app, self.hour.0.into());
        let key = |kind| space.key(&tag, kind, &[]);
        Keys(["hr", "he", "hi", "hx", "ht", "ha"].map(key))
    }

    /// How the installation's directories name it.
    pub(super) fn name(self) -> [u8; 24] {
        let mut name = [0; 24];
        name[..20].copy_from_slice(self.app.as_bytes());
        name[20..].copy_from_slice(&self.hour.0.to_be_bytes());
        name
    }

    pub(super) fn named(name: &[u8]) -> Option<Self> {
        let (app, hour) = name.split_first_chunk()?;
        Some(Self {
            app: AppId::from_bytes(*app),
            hour: Hour(u32::from_be_bytes(hour.try_into().ok()?)),
        })
    }
}

impl Keys {
    pub(super) fn all(&self) -> [&[u8]; 6] {
        self.0.each_ref().map(Vec::as_slice)
    }

    pub(super) fn into_all(self) -> [Vec<u8>; 6] {
        self.0
    }

    pub(super) fn records(&self) -> &[u8] {
        &self.0[0]
    }

    pub(super) fn by_endpoint(&self) -> &[u8] {
        &self.0[1]
    }

    pub(super) fn by_event_id(&self) -> &[u8] {
        &self.0[2]
    }

    pub(super) fn texts(&self) -> &[u8] {
        &self.0[4]
    }

    pub(super) fn apart(&self) -> &[u8] {
        &self.0[5]
    }
}

/// Keys that are not of a period.
pub(super) fn directory_of(space: &Space, app: AppId) -> Vec<u8> {
    space.key(&Tag::app(app), "hd", &[])
}

pub(super) fn directory(space: &Space) -> Vec<u8> {
    space.key(&Tag::installation(), "hd", &[])
}

pub(super) fn ends(space: &Space) -> Vec<u8> {
    space.key(&Tag::installation(), "hx", &[])
}

pub(super) fn account(space: &Space) -> Vec<u8> {
    space.key(&Tag::installation(), "hb", &[])
}

/// What stands for an event id in the index. Two may share it; whoever looks compares the event id itself.
pub(super) fn event_tag(event_id: &Uid) -> [u8; 8] {
    hash(event_id.as_str().as_bytes()).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_named_and_found_by_its_name() {
        let period = Period {
            app: AppId::from_bytes([7; 20]),
            hour: Hour(0x0001_0203),
        };
        assert_eq!(Period::named(&period.name()), Some(period));
        assert_eq!(Period::named(b"short"), None);
    }

    #[test]
    fn an_hour_holds_its_first_moment_and_not_its_end() {
        let hour = Hour(472_222);
        assert_eq!(Hour::of(hour.start()), hour);
        assert_eq!(Hour::of(hour.end()), Hour(472_223));
        assert_eq!(Hour::of(Timestamp::from_millis(-1)), Hour(0));
    }
}
