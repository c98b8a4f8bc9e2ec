//! Rate limits.

use postrider_core::ports::{PortError, RateGrant, RateRequest};
use postrider_core::time::Timestamp;
use sha2::{Digest, Sha256};

use super::{corrupt, millis};
use crate::redis::keys::{Space, Tag};
use crate::redis::script::{Atomic, Call};

/// The longest interval, 104 days: what a script can count in nanoseconds.
const LONGEST_INTERVAL: u64 = 1 << 53;

#[derive(Debug)]
pub(super) struct Rates {
    space: Space,
    take: Atomic,
}

impl Rates {
    pub(super) fn new(space: &Space) -> Self {
        Self {
            space: space.clone(),
            take: Atomic::new(include_str!("lua/take.lua")),
        }
    }

    /// `None` where there is no limit.
    pub(super) fn take(&self, now: Timestamp, request: &RateRequest) -> Option<Call<'_>> {
        let interval = u64::try_from(request.interval.as_nanos()).unwrap_or(u64::MAX);
        if interval == 0 {
            return None;
        }
        let subject = Tag::digest(&Sha256::digest(&request.subject)[..16]);
        let key = self.space.key(&subject, "lr", b"");
        let call = self.take.call(&[&key]);
        Some(
            call.arg(millis(now))
                .arg(interval.min(LONGEST_INTERVAL))
                .arg(request.burst.max(1))
                .arg(request.want),
        )
    }
}

/// The answer of the script: how many, and where these are fewer than wanted, when there will be more.
pub(super) fn grant(answer: &[i64]) -> Result<RateGrant, PortError> {
    let (granted, next_at) = match answer {
        [granted] => (granted, None),
        [granted, next_at] => (granted, Some(Timestamp::from_millis(*next_at))),
        _ => return Err(corrupt("a grant")),
    };
    let granted = u32::try_from(*granted).map_err(|_| corrupt("a grant"))?;
    Ok(RateGrant { granted, next_at })
}

pub(super) const fn unlimited(request: &RateRequest) -> RateGrant {
    RateGrant {
        granted: request.want,
        next_at: None,
    }
}
