//! Reservations that this process has made and not yet ended.
//!
//! While the lease of one lives, nobody else changes it: it can be completed without looking at it first.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use postrider_core::id::MessageId;
use postrider_core::ports::Reservation;
use postrider_core::time::Timestamp;
use tokio::time::Instant;

/// With more than these, those whose time is over are forgotten: their requests ended without saying so.
const MANY: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Leased(Mutex<HashMap<Vec<u8>, Lease>>);

#[derive(Debug)]
pub(super) struct Lease {
    message: MessageId,
    /// What its record begins with: until when it is kept.
    pub(super) kept: [u8; 6],
    pub(super) body: [u8; 8],
    until: Instant,
}

impl Lease {
    /// A lease counts for half of its time, whatever clocks do.
    pub(super) fn of(wish: &Reservation, now: Timestamp, kept: [u8; 6]) -> Self {
        let mut body = [0; 8];
        body.copy_from_slice(&wish.body[..8]);
        Self {
            message: wish.candidate,
            kept,
            body,
            until: Instant::now() + wish.lease_until.min(wish.key_until).since(now) / 2,
        }
    }
}

impl Leased {
    pub(super) fn add(&self, leases: impl Iterator<Item = (Vec<u8>, Lease)>) {
        let mut all = self.0.lock();
        all.extend(leases);
        if all.len() > MANY {
            let now = Instant::now();
            all.retain(|_, lease| lease.until > now);
        }
    }

    /// The lease of a reservation that is about to be ended, where it lives and is for this message.
    pub(super) fn take(&self, own: &[u8], message: MessageId) -> Option<Lease> {
        let lease = self.0.lock().remove(own)?;
        let lives = lease.until.saturating_duration_since(Instant::now()) > Duration::ZERO;
        (lives && lease.message == message).then_some(lease)
    }

    pub(super) fn forget(&self, own: &[u8]) {
        self.0.lock().remove(own);
    }
}
