//! The suites that every backend has to pass.
//!
//! A port's contract is written above its trait; here it is written once more, as cases. A backend runs those
//! of the ports it implements, unchanged, from its own tests:
//!
//! ```text
//! postrider_core::conformance_suite!(MyFixture::new());    // all six ports
//! postrider_core::conformance_broker!(MyFixture::new());   // or one at a time
//! ```
//!
//! The expression is evaluated once per case and may `.await`: each case gets an installation of its own. Each
//! case is a test of its own, so that a failure names the rule that was broken. Where backends may differ, a
//! case asks: the port for its capabilities, the fixture for its clock and for a second process.
//!
//! Cases that draw random values print their seed when they fail; `POSTRIDER_TEST_SEED` repeats it.
#![expect(
    clippy::unwrap_used,
    clippy::cloned_ref_to_slice_refs,
    reason = "these are tests, though to the compiler they are not: a panic is the report, and `[row.clone()]` \
              reads better than what saves a copy"
)]

pub mod broker;
pub mod dead_letters;
pub mod delivery_log;
pub mod documents;
pub mod limits;
pub mod registry;

mod paging;
mod stage;

use std::time::Duration;

use async_trait::async_trait;

use crate::ports::Ports;
use crate::samples;
use crate::time::Timestamp;

/// How a suite gets installations of the backend under test.
///
/// **Time.** Cases take every `now` from here. Where a backend goes by the `now` of its arguments alone, the
/// clock stands still until a case moves it, and the provided methods do. Where a server's clock counts, too,
/// all three are replaced: `now` reads that clock, `elapse` waits for it.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// The ports of a process that has opened this fixture's installation. The first call finds it empty.
    async fn open(&self) -> Ports;

    /// The process that holds `ports` dies without a word; whatever it had not made durable is gone, whatever it
    /// held is free. Another process opens the same installation. Nobody else holds any of `ports` when this is
    /// called.
    async fn crash(&self, ports: Ports) -> Ports;

    /// A second process on the same installation, alive at the same time; `None` where the backend is not shared.
    async fn join(&self) -> Option<Ports>;

    /// What the clock shows, or where a clock that stands still starts.
    fn now(&self) -> Timestamp {
        samples::NOW
    }

    /// Lets time pass. Returns a time at least `by` after `now`.
    async fn elapse(&self, now: Timestamp, by: Duration) -> Timestamp {
        now + by
    }

    /// Whether time passes by `elapse` alone: bounds can be checked to the millisecond then.
    fn clock_stands_still(&self) -> bool {
        true
    }
}

/// How long one case may take before it counts as stuck.
const CASE_LIMIT: Duration = Duration::from_secs(300);

/// Runs one case; a case that is stuck fails under its own name.
#[doc(hidden)]
pub async fn run(case: impl Future<Output = ()>) {
    let finished = tokio::time::timeout(CASE_LIMIT, Box::pin(case)).await;
    assert!(
        finished.is_ok(),
        "the case did not end within {CASE_LIMIT:?}"
    );
}

/// One test per case, in a module named like the port.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_cases {
    ($fixture:expr, $port:ident: $($case:ident)*) => {
        mod $port {
            #[allow(unused_imports, reason = "the fixture may be named by its whole path")]
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let fixture = $fixture;
                    $crate::conformance::run($crate::conformance::$port::$case(&fixture)).await;
                }
            )*
        }
    };
}

/// Every case of every port, for a backend that implements all six.
#[macro_export]
macro_rules! conformance_suite {
    ($fixture:expr) => {
        $crate::conformance_broker!($fixture);
        $crate::conformance_registry!($fixture);
        $crate::conformance_delivery_log!($fixture);
        $crate::conformance_dead_letters!($fixture);
        $crate::conformance_limits!($fixture);
        $crate::conformance_documents!($fixture);
    };
}

#[cfg(test)]
mod tests;
