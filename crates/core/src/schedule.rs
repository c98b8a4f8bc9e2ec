//! How long to wait between attempts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The longest delay that work may be put off for.
pub const MAX_DELAY: Duration = Duration::from_secs(7 * 24 * 3600);
/// More steps than this are a mistake, not a schedule.
pub const MAX_STEPS: usize = 64;

/// The delays after the first attempt. A schedule of *n* delays makes *n* + 1 attempts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<f64>", into = "Vec<f64>")]
pub struct RetrySchedule(Vec<Duration>);

/// Why a list of delays is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    #[error("a retry schedule has at most {MAX_STEPS} delays")]
    TooManySteps,
    #[error("delay {0} of the retry schedule must be between 0 and 604800 seconds (7 days)")]
    OutOfRange(usize),
}

impl RetrySchedule {
    /// # Errors
    /// Where there are too many delays or one is longer than [`MAX_DELAY`].
    pub fn new(delays: Vec<Duration>) -> Result<Self, ScheduleError> {
        if delays.len() > MAX_STEPS {
            return Err(ScheduleError::TooManySteps);
        }
        match delays.iter().position(|delay| *delay > MAX_DELAY) {
            Some(index) => Err(ScheduleError::OutOfRange(index + 1)),
            None => Ok(Self(delays)),
        }
    }

    /// How long to wait after attempt `attempt` (the first is 1) has failed; `None` where it was the last.
    #[must_use]
    pub fn delay_after(&self, attempt: u16) -> Option<Duration> {
        self.0.get(usize::from(attempt).checked_sub(1)?).copied()
    }

    #[must_use]
    pub fn delays(&self) -> &[Duration] {
        &self.0
    }

    /// The sum of all delays, without jitter.
    #[must_use]
    pub fn span(&self) -> Duration {
        self.0.iter().sum()
    }
}

/// 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 10 h: eight attempts over 27.6 hours, as the Standard Webhooks
/// specification recommends (<https://github.com/standard-webhooks/standard-webhooks>).
impl Default for RetrySchedule {
    fn default() -> Self {
        let seconds = [5, 300, 1_800, 7_200, 18_000, 36_000, 36_000];
        Self(seconds.into_iter().map(Duration::from_secs).collect())
    }
}

impl TryFrom<Vec<f64>> for RetrySchedule {
    type Error = ScheduleError;

    fn try_from(seconds: Vec<f64>) -> Result<Self, ScheduleError> {
        let delay = |(index, seconds): (usize, f64)| {
            Duration::try_from_secs_f64(seconds).map_err(|_| ScheduleError::OutOfRange(index + 1))
        };
        Self::new(
            seconds
                .into_iter()
                .enumerate()
                .map(delay)
                .collect::<Result<_, _>>()?,
        )
    }
}

impl From<RetrySchedule> for Vec<f64> {
    fn from(schedule: RetrySchedule) -> Self {
        schedule.0.iter().map(Duration::as_secs_f64).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_makes_eight_attempts_over_27_6_hours() {
        let schedule = RetrySchedule::default();
        assert_eq!(schedule.span(), Duration::from_secs(99_305));
        assert_eq!(schedule.delay_after(1), Some(Duration::from_secs(5)));
        assert_eq!(schedule.delay_after(7), Some(Duration::from_secs(36_000)));
        assert_eq!(schedule.delay_after(8), None);
        assert_eq!(schedule.delay_after(0), None);
    }

    #[test]
    fn reads_json_seconds_and_refuses_nonsense() {
        let parse = serde_json::from_str::<RetrySchedule>;
        assert_eq!(
            parse("[0.5, 2]").unwrap().delays(),
            [Duration::from_millis(500), Duration::from_secs(2)]
        );
        assert!(parse("[-1]").unwrap_err().to_string().contains("delay 1"));
        assert!(
            parse("[1, 604801]")
                .unwrap_err()
                .to_string()
                .contains("delay 2")
        );
        let too_many = format!("{:?}", vec![1; 65]);
        assert!(parse(&too_many).is_err());
        assert_eq!(parse("[]").unwrap().delay_after(1), None);
    }
}
