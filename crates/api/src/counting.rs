//! Counts that read much of the log for one answer: how many run at a time, and for how long. A consumer may ask for them,
//! and must not keep everybody else from reading.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use postrider_core::AppId;
use postrider_core::ports::PortError;
use tokio::time::timeout;

use crate::error::{ApiError, RETRY_SOON};

/// Counts of one application at a time.
const OF_APP: usize = 2;
/// Counts of one process at a time.
const OF_PROCESS: usize = 4;
const LONGEST: Duration = Duration::from_secs(10);

const CROWDED: ApiError = ApiError::Unavailable {
    detail: "too much is being counted already; nothing was done",
    retry_after: RETRY_SOON,
};
const TOO_LONG: ApiError = ApiError::Unavailable {
    detail: "there is too much to be counted; ask for a shorter time",
    retry_after: LONGEST,
};

#[derive(Debug, Default)]
pub(crate) struct Counting {
    running: Mutex<HashMap<AppId, usize>>,
}

/// Held while something is counted.
struct Turn<'a> {
    counting: &'a Counting,
    app: AppId,
}

impl Counting {
    /// The outcome of a count, where there is room for it and it comes in time.
    pub(crate) async fn of<T>(
        &self,
        app: AppId,
        count: impl Future<Output = Result<T, PortError>>,
    ) -> Result<T, ApiError> {
        let _turn = self.turn(app).ok_or(CROWDED)?;
        let counted = timeout(LONGEST, count).await.map_err(|_| TOO_LONG)?;
        Ok(counted?)
    }

    fn turn(&self, app: AppId) -> Option<Turn<'_>> {
        let mut running = self.running.lock();
        let all: usize = running.values().sum();
        let own = running.get(&app).copied().unwrap_or(0);
        if all >= OF_PROCESS || own >= OF_APP {
            return None;
        }
        running.insert(app, own + 1);
        Some(Turn {
            counting: self,
            app,
        })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut running = self.counting.running.lock();
        if let Some(own) = running.get_mut(&self.app) {
            *own -= 1;
            if *own == 0 {
                running.remove(&self.app);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(byte: u8) -> AppId {
        AppId::from_bytes([byte; 20])
    }

    #[test]
    fn few_count_at_a_time_and_of_one_application_fewer() {
        let counting = Counting::default();
        let own: Vec<_> = (0..3).filter_map(|_| counting.turn(app(1))).collect();
        assert_eq!(own.len(), OF_APP);
        let others: Vec<_> = (2..9).filter_map(|byte| counting.turn(app(byte))).collect();
        assert_eq!(own.len() + others.len(), OF_PROCESS);
        drop(own);
        assert!(counting.turn(app(1)).is_some());
        drop(others);
        assert!(counting.running.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_too_long_is_ended() {
        let counting = Counting::default();
        let never = std::future::pending::<Result<(), PortError>>();
        let refused = counting.of(app(1), never).await;
        assert!(matches!(refused, Err(ApiError::Unavailable { .. })));
        let counted = counting.of(app(1), async { Ok(7) }).await;
        assert!(matches!(counted, Ok(7)));
    }
}
