//! Somebody who watches attempts as they end: the tour prints them, tests wait for them.

use std::fmt::Debug;

use postrider_core::attempt::{AttemptRecord, Disposition, Failure};
use postrider_core::endpoint::Endpoint;
use postrider_core::message::Event;

/// Is told of every attempt once it is settled: recorded, and durable elsewhere where work is left.
pub trait Observer: Send + Sync + Debug {
    /// Called on the delivering task: must return at once.
    fn settled(&self, observation: &Observation<'_>);
}

/// An attempt that has ended.
#[derive(Debug)]
pub struct Observation<'a> {
    pub event: &'a Event,
    pub endpoint: &'a Endpoint,
    pub record: &'a AttemptRecord,
    pub failure: Option<&'a Failure>,
    pub next: Disposition,
}

/// Nobody watches.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl Observer for NoObserver {
    fn settled(&self, _: &Observation<'_>) {}
}
