//! What the store was asked about callers, and for how long the answer counts.
//!
//! An answer is as old as its question: one that took long counts for so much shorter. Of several who want to know the same,
//! one asks and the others wait for it. An answer that is asked for again in its second half is renewed in the background,
//! so that nobody who calls all the time waits for the store.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use moka::ops::compute::Op;
use moka::sync::Cache;
use postrider_core::Timestamp;
use postrider_core::ports::PortError;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::api_key::ApiKey;

/// For how long an answer counts.
const TRUSTED: Duration = Duration::from_millis(500);
/// Callers that are remembered.
const CAPACITY: u64 = 20_000;

/// What was heard, by the hash of what was shown.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// From when on a token is good no more, where that is known.
    pub(crate) tokens: Answers<Option<Timestamp>>,
    pub(crate) keys: Answers<Option<ApiKey>>,
}

/// Answers to one kind of question.
#[derive(Debug)]
pub(crate) struct Answers<T>(Cache<[u8; 32], Arc<Answer<T>>>)
where
    T: Clone + Send + Sync + 'static;

/// A question, and its answer once there is one.
#[derive(Debug)]
struct Answer<T> {
    asked_at: Instant,
    told: OnceCell<Result<T, PortError>>,
    is_renewed: AtomicBool,
}

impl<T> Answer<T> {
    fn asked_now() -> Arc<Self> {
        Arc::new(Self {
            asked_at: Instant::now(),
            told: OnceCell::new(),
            is_renewed: AtomicBool::new(false),
        })
    }

    fn is_old(&self) -> bool {
        let has_failed = self.told.get().is_some_and(Result::is_err);
        has_failed || self.asked_at.elapsed() >= TRUSTED
    }

    /// Whether to ask again in time: told to one caller.
    fn is_to_be_renewed(&self) -> bool {
        self.asked_at.elapsed() >= TRUSTED / 2 && !self.is_renewed.swap(true, Ordering::Relaxed)
    }
}

impl<T: Clone + Send + Sync + 'static> Default for Answers<T> {
    fn default() -> Self {
        let builder = Cache::builder().max_capacity(CAPACITY);
        Self(builder.time_to_live(TRUSTED * 2).build())
    }
}

impl<T: Clone + Send + Sync + 'static> Answers<T> {
    /// The answer about `hash`; `ask` asks.
    pub(crate) async fn about<F>(&self, hash: [u8; 32], ask: impl Fn() -> F) -> Result<T, PortError>
    where
        F: Future<Output = Result<T, PortError>> + Send + 'static,
    {
        let entry = self.0.entry(hash);
        let answer = entry
            .or_insert_with_if(Answer::asked_now, |found| found.is_old())
            .into_value();
        if answer.told.initialized() && answer.is_to_be_renewed() {
            self.renew(hash, Arc::clone(&answer), ask());
        }
        // Those who wait share a failure, too: where nobody answers they do not try one after the other.
        answer.told.get_or_init(ask).await.clone()
    }

    /// Puts a new answer in the place of `before`, unless that one was forgotten meanwhile.
    fn renew<F>(&self, hash: [u8; 32], before: Arc<Answer<T>>, asked: F)
    where
        F: Future<Output = Result<T, PortError>> + Send + 'static,
    {
        let (answers, answer) = (self.0.clone(), Answer::asked_now());
        tokio::spawn(async move {
            // Where nobody answers, the next who wants to know asks and is told so.
            let Ok(told) = asked.await else { return };
            if answer.told.set(Ok(told)).is_err() {
                return;
            }
            answers.entry(hash).and_compute_with(|found| {
                let is_same = found.is_some_and(|found| Arc::ptr_eq(found.value(), &before));
                if is_same { Op::Put(answer) } else { Op::Nop }
            });
        });
    }

    /// This process need not wait until it has forgotten.
    pub(crate) fn forget(&self, hash: &[u8; 32]) {
        self.0.invalidate(hash);
    }

    pub(crate) fn forget_all(&self) {
        self.0.invalidate_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use tokio::time::sleep;

    const WHO: [u8; 32] = [7; 32];

    /// Answers how often it was asked.
    #[derive(Debug, Default, Clone)]
    struct Store(Arc<AtomicUsize>);

    impl Store {
        fn ask(&self) -> impl Future<Output = Result<usize, PortError>> + Send + use<> {
            let asked = self.0.fetch_add(1, Ordering::SeqCst) + 1;
            async move {
                sleep(Duration::from_millis(100)).await;
                Ok(asked)
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_who_want_to_know_one_asks() {
        let (answers, store) = (Answers::default(), Store::default());
        let all = (0..50).map(|_| answers.about(WHO, || store.ask()));
        let all = futures_util::future::join_all(all).await;
        assert!(all.into_iter().all(|told| told.unwrap() == 1));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_counts_from_its_question_on() {
        let (answers, store) = (Answers::default(), Store::default());
        assert_eq!(answers.about(WHO, || store.ask()).await.unwrap(), 1);
        sleep(Duration::from_millis(401)).await;
        assert_eq!(answers.about(WHO, || store.ask()).await.unwrap(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn who_calls_all_the_time_never_waits() {
        let (answers, store) = (Answers::default(), Store::default());
        assert_eq!(answers.about(WHO, || store.ask()).await.unwrap(), 1);
        for _ in 0..40 {
            sleep(Duration::from_millis(50)).await;
            let before = Instant::now();
            answers.about(WHO, || store.ask()).await.unwrap();
            assert_eq!(before.elapsed(), Duration::ZERO);
        }
        assert!((5..12).contains(&store.0.load(Ordering::SeqCst)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_forgotten_does_not_come_back() {
        let (answers, store) = (Answers::default(), Store::default());
        assert_eq!(answers.about(WHO, || store.ask()).await.unwrap(), 1);
        sleep(Duration::from_millis(200)).await;
        assert_eq!(answers.about(WHO, || store.ask()).await.unwrap(), 1);
        answers.forget(&WHO);
        assert_eq!(answers.about(WHO, || store.ask()).await.unwrap(), 3);
        assert_eq!(answers.about(WHO, || store.ask()).await.unwrap(), 3);
    }
}
