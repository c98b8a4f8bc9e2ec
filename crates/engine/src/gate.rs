//! Whether an endpoint may be called now.
//!
//! Every delivery passes here, right before its request: this is where rate limits, circuit breakers and adaptive
//! concurrency say no. Today the gate counts what is under way and how an endpoint has fared, and refuses nothing:
//! the limits themselves are not enforced yet.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use postrider_core::endpoint::Endpoint;
use postrider_core::id::EndpointId;
use postrider_core::time::Timestamp;

/// The table is split so that deliveries to different endpoints rarely meet.
const SHARDS: usize = 16;

/// What the gate says.
#[derive(Debug)]
pub(crate) enum Admission {
    /// Call it; keep the pass until the answer is there.
    Go(Pass),
    /// Not before then; no attempt is used up.
    #[expect(
        dead_code,
        reason = "the first limit that is enforced constructs it; the path through delivery is in place"
    )]
    NotBefore(Timestamp),
}

#[derive(Debug, Default)]
pub(crate) struct Gate {
    shards: [Arc<Mutex<Shard>>; SHARDS],
}

type Shard = HashMap<EndpointId, State>;

/// An endpoint as this process sees it. Only endpoints that are being called, or failed last, have one.
#[derive(Debug, Default, Clone, Copy)]
struct State {
    in_flight: u32,
    failures_in_a_row: u32,
}

impl Gate {
    pub(crate) fn admit(&self, endpoint: &Endpoint, _now: Timestamp) -> Admission {
        let shard = &self.shards[usize::from(endpoint.id.as_bytes()[19]) % SHARDS];
        shard.lock().entry(endpoint.id).or_default().in_flight += 1;
        Admission::Go(Pass {
            shard: Arc::clone(shard),
            endpoint: endpoint.id,
            succeeded: None,
        })
    }
}

/// Permission for one request. Returned by telling how it went, or by dropping it where it was cut off.
#[derive(Debug)]
pub(crate) struct Pass {
    shard: Arc<Mutex<Shard>>,
    endpoint: EndpointId,
    succeeded: Option<bool>,
}

impl Pass {
    pub(crate) fn finish(mut self, succeeded: bool) {
        self.succeeded = Some(succeeded);
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut shard = self.shard.lock();
        let Some(state) = shard.get_mut(&self.endpoint) else {
            return;
        };
        state.in_flight -= 1;
        match self.succeeded {
            Some(true) => state.failures_in_a_row = 0,
            Some(false) => state.failures_in_a_row += 1,
            None => {}
        }
        if state.in_flight == 0 && state.failures_in_a_row == 0 {
            shard.remove(&self.endpoint);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_core::samples;

    fn state(gate: &Gate) -> Option<State> {
        gate.shards
            .iter()
            .find_map(|shard| shard.lock().get(&samples::endpoint().id).copied())
    }

    #[test]
    fn counts_what_is_under_way_and_forgets_the_healthy() {
        let gate = Gate::default();
        let Admission::Go(first) = gate.admit(&samples::endpoint(), samples::NOW) else {
            panic!()
        };
        let Admission::Go(second) = gate.admit(&samples::endpoint(), samples::NOW) else {
            panic!()
        };
        assert_eq!(state(&gate).unwrap().in_flight, 2);
        first.finish(false);
        assert_eq!(state(&gate).unwrap().failures_in_a_row, 1);
        second.finish(true);
        assert!(state(&gate).is_none());
    }

    #[test]
    fn a_request_that_was_cut_off_is_no_failure() {
        let gate = Gate::default();
        drop(gate.admit(&samples::endpoint(), samples::NOW));
        assert!(state(&gate).is_none());
    }
}
