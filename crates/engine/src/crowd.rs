//! How much is at hand that waits for this process itself: to begin a request, or to store what came of one.
//!
//! Each delivery at hand takes some 5 KiB, one in a pack that is not read yet only its bytes. Where more is to be done than can
//! be done at once, all that is held would be at hand: tens of thousands, in hundreds of MiB, for no delivery more. So
//! while a crowd waits, no further pack is taken ([`crate::consume`]).
//!
//! Requests under way do not count, nor does what waits for a slot: both may depend on endpoints that hang, and nobody else
//! is to wait for these. Turns to begin come by time alone ([`crate::starts`]), and the recorder bounds how long it waits.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::sync::Notify;

/// About 20 MiB. At 500 ms for a batch of outcomes, far slower than any store should be, still 8,000 deliveries a second.
const ENOUGH: usize = 4_096;

#[derive(Debug)]
pub(crate) struct Crowd {
    enough: usize,
    count: AtomicUsize,
    /// Told when it is no crowd any more.
    pub(crate) thinned: Notify,
}

/// Counts for as long as it lives.
#[derive(Debug)]
pub(crate) struct Member<'a>(&'a Crowd);

impl Default for Crowd {
    fn default() -> Self {
        Self::new(ENOUGH)
    }
}

impl Crowd {
    fn new(enough: usize) -> Self {
        Self {
            enough,
            count: AtomicUsize::new(0),
            thinned: Notify::new(),
        }
    }

    pub(crate) fn join(&self) -> Member<'_> {
        self.count.fetch_add(1, Relaxed);
        Member(self)
    }

    /// Whether nothing more should be taken on.
    pub(crate) fn is_there(&self) -> bool {
        self.count.load(Relaxed) >= self.enough
    }
}

impl Drop for Member<'_> {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Relaxed) == self.0.enough {
            self.0.thinned.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[test]
    fn a_crowd_is_there_until_enough_have_left() {
        let crowd = Crowd::new(2);
        let first = crowd.join();
        assert!(!crowd.is_there());
        let others = [crowd.join(), crowd.join()];
        assert!(crowd.is_there());
        drop(first);
        assert!(crowd.is_there());
        assert!(crowd.thinned.notified().now_or_never().is_none());
        drop(others);
        assert!(!crowd.is_there());
        assert!(crowd.thinned.notified().now_or_never().is_some());
    }
}
