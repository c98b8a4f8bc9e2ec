//! Who is worked on in this process: a few tasks at a time, and of one organisation not all of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use postrider_core::OrgId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Tasks that one process works on at a time.
pub(super) const AT_ONCE: usize = 4;
/// Of one organisation.
const OF_ORG: usize = 2;

#[derive(Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    busy: Mutex<HashMap<OrgId, usize>>,
    /// Somebody found no place since one was last given up for others.
    is_crowded: AtomicBool,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            free: Arc::new(Semaphore::new(AT_ONCE)),
            busy: Mutex::default(),
            is_crowded: AtomicBool::new(false),
        }
    }
}

/// Held while a task is worked on.
#[derive(Debug)]
pub(super) struct Taken {
    places: Arc<Places>,
    org: OrgId,
    _place: OwnedSemaphorePermit,
}

impl Places {
    pub(super) fn take(self: &Arc<Self>, org: OrgId) -> Option<Taken> {
        let taken = self.try_take(org);
        if taken.is_none() {
            self.is_crowded.store(true, Ordering::Relaxed);
        }
        taken
    }

    fn try_take(self: &Arc<Self>, org: OrgId) -> Option<Taken> {
        let mut busy = self.busy.lock();
        if busy.get(&org).is_some_and(|count| *count >= OF_ORG) {
            return None;
        }
        let place = Arc::clone(&self.free).try_acquire_owned().ok()?;
        *busy.entry(org).or_default() += 1;
        Some(Taken {
            places: Arc::clone(self),
            org,
            _place: place,
        })
    }

    /// Whether others wait: told to one of those who could make room.
    pub(super) fn others_wait(&self) -> bool {
        self.is_crowded.swap(false, Ordering::Relaxed)
    }

    /// Waits until nobody is at work.
    pub(super) async fn all(&self) {
        let all = u32::try_from(AT_ONCE).unwrap_or(u32::MAX);
        drop(self.free.acquire_many(all).await);
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut busy = self.places.busy.lock();
        if let Some(count) = busy.get_mut(&self.org) {
            *count -= 1;
            if *count == 0 {
                busy.remove(&self.org);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_organisation_does_not_take_all_places() {
        let places = Arc::new(Places::default());
        let [one, two, three] = [1, 2, 3].map(|byte| OrgId::from_bytes([byte; 20]));
        let taken: Vec<_> = (0..3).filter_map(|_| places.take(one)).collect();
        assert_eq!(taken.len(), OF_ORG);
        assert!(places.others_wait() && !places.others_wait());
        let others: Vec<_> = (0..3).filter_map(|_| places.take(two)).collect();
        assert_eq!(others.len(), AT_ONCE - OF_ORG);
        assert!(places.take(three).is_none(), "there is no place at all");
        drop(taken);
        assert!(places.take(three).is_some());
        assert!(!places.busy.lock().contains_key(&one));
    }
}
