//! What a process has seen of its Redis, for those who watch it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How often something has happened since the process began.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Of the registry.
#[derive(Debug, Default)]
pub struct RegistryCounts {
    /// Redis was found to have gone back to an older state.
    pub rewinds: Count,
    /// Redis was found to hold no registry, or one that cannot be gone on with.
    pub losses: Count,
    /// Changes that this process put back.
    pub healed: Count,
    /// Changes that were made, or told, and that nobody remembers.
    pub forgotten: Count,
}

/// Of the delivery log.
#[derive(Debug, Default)]
pub struct LogCounts {
    /// Rows that gave way because there was too little room.
    pub shed: Count,
}
