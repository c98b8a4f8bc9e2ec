//! Answers about names that were found, for as long as they hold.
//!
//! The resolver has a cache of its own, by query. It is of little use here: of a name without IPv6 addresses the answer
//! that there are none is held for a few seconds only, as for any name that does not exist, and after that it would be
//! asked about again at each connection. So what was found together is kept together.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use tokio::time::Instant;

use super::resolver::MAX_ADDRESSES;

/// How many names.
const NAMES: u64 = 32_768;
/// The longest that an answer is used, whatever it allows itself.
pub(super) const MAX_TTL: Duration = Duration::from_secs(300);

#[derive(Debug, Clone)]
pub(super) struct Answers {
    cache: Cache<Box<str>, Arc<Answer>>,
}

#[derive(Debug)]
pub(super) struct Answer {
    /// As they were answered: the policy is asked about them at each use.
    pub(super) addresses: Box<[IpAddr]>,
    until: Instant,
}

impl Answers {
    pub(super) fn new() -> Self {
        let cache = Cache::builder()
            .max_capacity(NAMES)
            .time_to_live(MAX_TTL)
            .build();
        Self { cache }
    }

    pub(super) fn get(&self, name: &str, now: Instant) -> Option<Arc<Answer>> {
        self.cache.get(name).filter(|answer| now < answer.until)
    }

    /// Longer answers than are dialled are rare, and asked for each time.
    pub(super) fn put(&self, name: &str, addresses: Vec<IpAddr>, ttl: Duration, now: Instant) {
        if ttl.is_zero() || addresses.len() > MAX_ADDRESSES {
            return;
        }
        let answer = Answer {
            addresses: addresses.into(),
            until: now + ttl.min(MAX_TTL),
        };
        self.cache.insert(name.into(), Arc::new(answer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8));

    #[test]
    fn an_answer_is_used_as_long_as_it_allows_and_never_longer_than_the_bound() {
        let answers = Answers::new();
        let now = Instant::now();
        answers.put("short", vec![ADDRESS], Duration::from_secs(10), now);
        answers.put("long", vec![ADDRESS], MAX_TTL * 100, now);
        answers.put("never", vec![ADDRESS], Duration::ZERO, now);
        let has = |name, after| answers.get(name, now + after).is_some();
        assert!(has("short", Duration::from_millis(9_999)));
        assert!(!has("short", Duration::from_secs(10)));
        assert!(has("long", MAX_TTL - Duration::from_millis(1)));
        assert!(!has("long", MAX_TTL));
        assert!(!has("never", Duration::ZERO));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let answers = Answers::new();
        let now = Instant::now();
        answers.put("many", vec![ADDRESS; MAX_ADDRESSES + 1], MAX_TTL, now);
        assert!(answers.get("many", now).is_none());
        for number in 0..NAMES + 5_000 {
            answers.put(&format!("h{number}"), vec![ADDRESS], MAX_TTL, now);
        }
        answers.cache.run_pending_tasks();
        assert!(answers.cache.entry_count() <= NAMES);
    }
}
