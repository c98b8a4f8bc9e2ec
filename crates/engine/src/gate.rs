//! Whether an endpoint may be called now.
//!
//! Every delivery passes here, first before it waits for anything, so that work for an endpoint that hangs neither takes a
//! slot nor asks the store, and once more right before its request. What is decided is in [`crate::suspects`]; rate limits
//! and circuit breakers will say no here, too.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use postrider_core::attempt::{Failure, Reply};
use postrider_core::id::EndpointId;
use postrider_core::time::Timestamp;
use prometheus::IntGauge;

use crate::suspects::{Ended, Watch};

/// The table is split so that deliveries to different endpoints rarely meet.
const SHARDS: usize = 16;
/// For how long an endpoint is remembered that is not called any more, and is slow or silent.
const RECENT: Duration = Duration::from_secs(600);
/// A shard with fewer endpoints is not looked through for those to forget.
const FEW: usize = 64;

/// What the gate says.
#[derive(Debug)]
pub(crate) enum Admission {
    /// Call it; keep the pass until the answer is there.
    Go(Pass),
    /// Not now; no attempt is used up. What is under way there ends at that time.
    NotBefore(Timestamp),
}

#[derive(Debug)]
pub(crate) struct Gate {
    shards: [Arc<Mutex<Shard>>; SHARDS],
    /// The longest that a request takes.
    deadline: Duration,
}

/// Endpoints as this process sees them: those that are being called, or are remembered because they are slow or silent.
#[derive(Debug)]
struct Shard {
    endpoints: HashMap<EndpointId, State>,
    /// Looked through when there are this many.
    limit: usize,
    suspects: IntGauge,
}

#[derive(Debug, Default, Clone, Copy)]
struct State {
    watch: Watch,
    /// Something was withheld from it: it is counted as a suspect.
    is_suspect: bool,
}

impl Gate {
    pub(crate) fn new(deadline: Duration, suspects: &IntGauge) -> Self {
        let shard = |_| {
            Arc::new(Mutex::new(Shard {
                endpoints: HashMap::new(),
                limit: FEW,
                suspects: suspects.clone(),
            }))
        };
        Self {
            shards: std::array::from_fn(shard),
            deadline,
        }
    }

    /// `probes` is how many requests an endpoint may have that has let one run into its deadline.
    pub(crate) fn admit(&self, endpoint: EndpointId, now: Timestamp, probes: u32) -> Admission {
        let shared = &self.shards[usize::from(endpoint.as_bytes()[19]) % SHARDS];
        let mut shard = shared.lock();
        let refused = shard.with(endpoint, now, |watch| {
            let refused = watch.refuses(now, probes, self.deadline);
            if refused.is_none() {
                watch.enter();
            }
            refused
        });
        match refused {
            Some(end) => Admission::NotBefore(end),
            None => Admission::Go(Pass {
                shard: Arc::clone(shared),
                endpoint,
                deadline: self.deadline,
                ended: Ended::Unknown,
            }),
        }
    }
}

impl Shard {
    /// Looks at an endpoint; where that refuses, it is a suspect.
    fn with(
        &mut self,
        endpoint: EndpointId,
        now: Timestamp,
        look: impl FnOnce(&mut Watch) -> Option<Timestamp>,
    ) -> Option<Timestamp> {
        if self.endpoints.len() >= self.limit {
            self.forget(now);
        }
        let state = self.endpoints.entry(endpoint).or_default();
        let refused = look(&mut state.watch);
        if refused.is_some() && !state.is_suspect {
            state.is_suspect = true;
            self.suspects.inc();
        }
        refused
    }

    /// Each endpoint is looked at about once for each that was added.
    fn forget(&mut self, now: Timestamp) {
        self.endpoints
            .retain(|_, state| !state.watch.is_idle() || state.watch.is_recent(now, RECENT));
        self.limit = (2 * self.endpoints.len()).max(FEW);
    }

    fn leave(&mut self, endpoint: EndpointId, ended: Ended) {
        let Some(state) = self.endpoints.get_mut(&endpoint) else {
            return;
        };
        state.watch.leave(ended);
        if state.is_suspect && !state.watch.is_in_doubt() {
            state.is_suspect = false;
            self.suspects.dec();
        }
        if state.watch.is_idle() && state.watch.is_unremarkable() {
            self.endpoints.remove(&endpoint);
        }
    }
}

/// Permission for one request. Returned by telling how it went, or by dropping it where it was not made or was cut off.
#[derive(Debug)]
pub(crate) struct Pass {
    shard: Arc<Mutex<Shard>>,
    endpoint: EndpointId,
    deadline: Duration,
    ended: Ended,
}

impl Pass {
    /// The request is made now, unless the endpoint has come under suspicion since: then as [`Admission::NotBefore`].
    pub(crate) fn begin(&self, now: Timestamp) -> Result<(), Timestamp> {
        let begin = |watch: &mut Watch| watch.begin(now, self.deadline).err();
        match self.shard.lock().with(self.endpoint, now, begin) {
            Some(end) => Err(end),
            None => Ok(()),
        }
    }

    pub(crate) fn finish(mut self, begun: Timestamp, reply: &Reply) {
        self.ended = match reply.status {
            Err(Failure::Timeout(_)) => Ended::TimedOut { begun },
            _ => Ended::Answered {
                begun,
                took: reply.duration,
            },
        };
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.shard.lock().leave(self.endpoint, self.ended);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_core::samples::{self, NOW};

    const DEADLINE: Duration = Duration::from_secs(15);

    fn gate() -> (Gate, IntGauge) {
        let suspects = IntGauge::new("suspects", "Suspects.").unwrap();
        (Gate::new(DEADLINE, &suspects), suspects)
    }

    fn remembered(gate: &Gate) -> usize {
        let count = |shard: &Arc<Mutex<Shard>>| shard.lock().endpoints.len();
        gate.shards.iter().map(count).sum()
    }

    fn admit(gate: &Gate, endpoint: EndpointId, now: Timestamp) -> Result<Pass, Timestamp> {
        match gate.admit(endpoint, now, 1) {
            Admission::Go(pass) => pass.begin(now).map(|()| pass),
            Admission::NotBefore(end) => Err(end),
        }
    }

    fn answer(took: Duration) -> Reply {
        Reply {
            status: Ok(200),
            retry_after: None,
            body: String::new(),
            duration: took,
        }
    }

    fn other(n: u16) -> EndpointId {
        let mut id = [0; 20];
        id[18..].copy_from_slice(&n.to_be_bytes());
        EndpointId::from_bytes(id)
    }

    #[test]
    fn what_hangs_is_counted_while_something_is_withheld_from_it() {
        let (gate, suspects) = gate();
        let endpoint = samples::endpoint().id;
        let hanging = admit(&gate, endpoint, NOW).unwrap();
        let later = NOW + Duration::from_secs(2);
        assert_eq!(suspects.get(), 0);
        for _ in 0..2 {
            assert_eq!(admit(&gate, endpoint, later).unwrap_err(), NOW + DEADLINE);
            assert_eq!(suspects.get(), 1);
        }
        assert!(admit(&gate, other(1), later).is_ok(), "nobody else waits");
        hanging.finish(NOW, &answer(Duration::from_secs(2)));
        assert_eq!(suspects.get(), 0);
        assert!(admit(&gate, endpoint, later).is_ok());
    }

    #[test]
    fn one_that_waited_for_a_slot_while_its_endpoint_came_to_hang_is_withheld() {
        let (gate, suspects) = gate();
        let endpoint = samples::endpoint().id;
        let Admission::Go(waits) = gate.admit(endpoint, NOW, 1) else {
            panic!()
        };
        let hanging = admit(&gate, endpoint, NOW).unwrap();
        let later = NOW + Duration::from_secs(2);
        assert_eq!(waits.begin(later), Err(NOW + DEADLINE));
        drop(waits);
        assert_eq!(suspects.get(), 1);
        drop(hanging);
        assert_eq!((suspects.get(), remembered(&gate)), (0, 0));
    }

    #[test]
    fn forgets_who_answers_fast_at_once_and_who_does_not_after_a_while() {
        let (gate, _) = gate();
        for n in 0..1000 {
            let pass = admit(&gate, other(n), NOW).unwrap();
            pass.finish(NOW, &answer(Duration::from_millis(100)));
        }
        assert_eq!(remembered(&gate), 0);
        let mut now = NOW;
        for n in 0..20_000 {
            let pass = admit(&gate, other(n), now).unwrap();
            pass.finish(now, &answer(Duration::from_secs(5)));
            now = now + Duration::from_secs(1);
        }
        let bound = 2 * usize::try_from(RECENT.as_secs()).unwrap() + SHARDS * FEW;
        assert!(remembered(&gate) <= bound, "{}", remembered(&gate));
    }
}
