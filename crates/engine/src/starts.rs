//! How many requests begin at the same time.
//!
//! Endpoints that answer at once are served no faster by thousands of requests than by hundreds: a core is busy with some
//! dozens, and each more is a connection, its buffers, and a place in every queue on the way. So requests that have only just
//! begun are bounded by the machine's cores. One that is not answered soon does not count any more: whom it waits for may
//! take long, and nobody else waits for that. All requests together are bounded by slots.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// For how long a request counts.
const YOUNG: Duration = Duration::from_millis(20);
const FOR_EACH_CORE: usize = 128;

#[derive(Debug)]
pub(crate) struct Starts {
    limit: usize,
    young: Mutex<Young>,
    /// Held by whoever is next.
    turn: tokio::sync::Mutex<()>,
    ended: Notify,
}

/// The oldest first.
#[derive(Debug, Default)]
struct Young {
    begun: VecDeque<(u64, Instant)>,
    last: u64,
}

impl Young {
    fn forget_old(&mut self, now: Instant) {
        while self
            .begun
            .front()
            .is_some_and(|(_, begun)| *begun + YOUNG <= now)
        {
            self.begun.pop_front();
        }
    }
}

/// A request that counts until it is old, or this is dropped.
#[derive(Debug)]
pub(crate) struct Started<'a> {
    starts: &'a Starts,
    number: u64,
}

impl Default for Starts {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::new(FOR_EACH_CORE * cores)
    }
}

impl Starts {
    fn new(limit: usize) -> Self {
        Self {
            limit,
            young: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            ended: Notify::new(),
        }
    }

    /// Waits until one more may begin; in the order in which it is asked.
    pub(crate) async fn one_more(&self) -> Started<'_> {
        let _turn = self.turn.lock().await;
        loop {
            let oldest = match self.enter() {
                Ok(number) => {
                    return Started {
                        starts: self,
                        number,
                    };
                }
                Err(oldest) => oldest,
            };
            tokio::select! {
                () = self.ended.notified() => {}
                () = sleep_until(oldest + YOUNG) => {}
            }
        }
    }

    /// The error is when the oldest of those began that count.
    fn enter(&self) -> Result<u64, Instant> {
        let now = Instant::now();
        let mut young = self.young.lock();
        young.forget_old(now);
        match young.begun.front() {
            Some((_, oldest)) if young.begun.len() >= self.limit => Err(*oldest),
            _ => {
                young.last += 1;
                let number = young.last;
                young.begun.push_back((number, now));
                Ok(number)
            }
        }
    }
}

impl Drop for Started<'_> {
    fn drop(&mut self) {
        let mut young = self.starts.young.lock();
        let found = young
            .begun
            .binary_search_by_key(&self.number, |(number, _)| *number);
        if let Ok(place) = found {
            young.begun.remove(place);
            drop(young);
            self.starts.ended.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test(start_paused = true)]
    async fn so_many_begin_at_once_and_one_more_where_one_has_ended() {
        let starts = Starts::new(2);
        let first = starts.one_more().await;
        let _second = starts.one_more().await;
        let begun = Instant::now();
        let mut third = Box::pin(starts.one_more());
        assert!(third.as_mut().now_or_never().is_none());
        drop(first);
        third.await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_long_does_not_count() {
        let starts = Starts::new(2);
        let begun = Instant::now();
        let mut all = Vec::new();
        for _ in 0..6 {
            all.push(starts.one_more().await);
        }
        assert_eq!(begun.elapsed(), YOUNG * 2);
        drop(all);
        assert!(starts.young.lock().begun.is_empty());
    }
}
