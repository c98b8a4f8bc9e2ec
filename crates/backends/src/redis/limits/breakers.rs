//! Circuit breakers, compared and set.

use postrider_core::id::EndpointId;
use postrider_core::ports::{BreakerRecord, BreakerState, PortError};
use postrider_core::time::Timestamp;
use redis::Cmd;

use super::{corrupt, millis};
use crate::redis::keys::{Space, Tag};
use crate::redis::script::{Atomic, Call};

#[derive(Debug)]
pub(super) struct Breakers {
    space: Space,
    set: Atomic,
}

impl Breakers {
    pub(super) fn new(space: &Space) -> Self {
        Self {
            space: space.clone(),
            set: Atomic::new(include_str!("lua/set_breaker.lua")),
        }
    }

    fn key(&self, endpoint: EndpointId) -> Vec<u8> {
        self.space.key(&Tag::endpoint(endpoint), "lb", b"")
    }

    pub(super) fn get(&self, endpoint: EndpointId) -> Cmd {
        let mut command = redis::cmd("GET");
        command.arg(self.key(endpoint));
        command
    }

    pub(super) fn set(
        &self,
        endpoint: EndpointId,
        record: &BreakerRecord,
        expect: Option<u64>,
        keep_until: Timestamp,
    ) -> Call<'_> {
        let expect = expect.map(|version| version.to_be_bytes().to_vec());
        self.set
            .call(&[&self.key(endpoint)])
            .arg(expect.unwrap_or_default())
            .arg(packed(record))
            .arg(millis(keep_until).max(1))
    }
}

fn packed(record: &BreakerRecord) -> Vec<u8> {
    [
        &[record.state as u8][..],
        &record.since.as_millis().to_be_bytes(),
        &record.until.as_millis().to_be_bytes(),
        &record.openings.to_be_bytes(),
    ]
    .concat()
}

pub(super) fn read(found: Option<Vec<u8>>) -> Result<Option<(BreakerRecord, u64)>, PortError> {
    let Some(value) = found else {
        return Ok(None);
    };
    let read = unpacked(&value);
    read.map(Some).ok_or_else(|| corrupt("a breaker"))
}

fn unpacked(value: &[u8]) -> Option<(BreakerRecord, u64)> {
    let (version, rest) = value.split_first_chunk::<8>()?;
    let (state, rest) = rest.split_first()?;
    let (since, rest) = rest.split_first_chunk::<8>()?;
    let (until, rest) = rest.split_first_chunk::<8>()?;
    let record = BreakerRecord {
        state: match state {
            0 => BreakerState::Closed,
            1 => BreakerState::Open,
            2 => BreakerState::HalfOpen,
            _ => return None,
        },
        since: Timestamp::from_millis(i64::from_be_bytes(*since)),
        until: Timestamp::from_millis(i64::from_be_bytes(*until)),
        openings: u32::from_be_bytes(rest.try_into().ok()?),
    };
    Some((record, u64::from_be_bytes(*version)))
}
