//! The packs that this process holds, and what of each is still to be done.
//!
//! A pack is held from its lease until it is let go: when all its work is settled, or before, when pressure takes the
//! work's last steps away from it ([`crate::pressure`]). It is *adrift* then, until its requests have ended.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use postrider_core::message::{Event, Item, Target};
use postrider_core::ports::{Pack, Receipt, Window};
use postrider_core::time::Timestamp;
use prometheus::{IntGauge, IntGaugeVec};

use crate::pack::Settled;

/// All packs of this process.
#[derive(Debug)]
pub(crate) struct Held {
    /// By queue.
    queues: Vec<Queue>,
    total: IntGauge,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Queue {
    window: Option<usize>,
    packs: IntGauge,
}

#[derive(Debug, Default)]
struct Inner {
    loads: HashMap<Receipt, Arc<Load>>,
    by_queue: HashMap<u32, usize>,
    bytes: usize,
    adrift_bytes: usize,
}

/// What is held, as far as bounds on it go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) packs: usize,
    pub(crate) bytes: usize,
    pub(crate) adrift_bytes: usize,
}

impl Held {
    pub(crate) fn new(windows: Vec<Window>, total: &IntGauge, by_queue: &IntGaugeVec) -> Self {
        let queue = |window: Window| Queue {
            packs: by_queue.with_label_values(&[&window.queue]),
            window: window.packs,
        };
        Self {
            queues: windows.into_iter().map(queue).collect(),
            total: total.clone(),
            inner: Mutex::default(),
        }
    }

    pub(crate) fn take(&self, pack: &Pack) -> Arc<Load> {
        let load = Arc::new(Load::new(pack.receipt, pack.bytes.len()));
        let mut inner = self.inner.lock();
        inner.bytes += load.bytes;
        *inner.by_queue.entry(load.receipt.queue).or_default() += 1;
        inner.loads.insert(load.receipt, Arc::clone(&load));
        drop(inner);
        self.count(&load, 1);
        load
    }

    /// A pack is let go. Doing it twice is doing it once.
    fn drop_from(&self, inner: &mut Inner, load: &Load) -> bool {
        if inner.loads.remove(&load.receipt).is_none() {
            return false;
        }
        inner.bytes -= load.bytes;
        if let Some(packs) = inner.by_queue.get_mut(&load.receipt.queue) {
            *packs -= 1;
        }
        self.count(load, -1);
        true
    }

    /// A pack whose work is done.
    pub(crate) fn end(&self, load: &Load) {
        let mut inner = self.inner.lock();
        if !self.drop_from(&mut inner, load) {
            inner.adrift_bytes -= load.bytes;
        }
    }

    /// A pack whose work goes on without it.
    pub(crate) fn set_adrift(&self, load: &Load) {
        let mut inner = self.inner.lock();
        if self.drop_from(&mut inner, load) {
            inner.adrift_bytes += load.bytes;
        }
    }

    pub(crate) fn is_adrift(&self, load: &Load) -> bool {
        !self.inner.lock().loads.contains_key(&load.receipt)
    }

    pub(crate) fn totals(&self) -> Totals {
        let inner = self.inner.lock();
        Totals {
            packs: inner.loads.len(),
            bytes: inner.bytes,
            adrift_bytes: inner.adrift_bytes,
        }
    }

    /// Whether more than half of a queue's window is held.
    pub(crate) fn is_a_window_half_full(&self) -> bool {
        let inner = self.inner.lock();
        let is_half_full = |(queue, packs): (&u32, &usize)| {
            self.window(*queue).is_some_and(|window| packs * 2 > window)
        };
        inner.by_queue.iter().any(is_half_full)
    }

    pub(crate) fn window(&self, queue: u32) -> Option<usize> {
        self.queues.get(queue as usize)?.window
    }

    pub(crate) fn loads(&self) -> Vec<Arc<Load>> {
        self.inner.lock().loads.values().map(Arc::clone).collect()
    }

    fn count(&self, load: &Load, by: i64) {
        self.total.add(by);
        if let Some(queue) = self.queues.get(load.receipt.queue as usize) {
            queue.packs.add(by);
        }
    }
}

/// What is unfinished of one pack: requests, and everything else.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) receipt: Receipt,
    pub(crate) bytes: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Pieces of work that are not requests, but lead to some or settle them.
    others: usize,
    /// Some of it could not be settled: the pack must come again, whatever becomes of the rest.
    must_return: bool,
    under_way: usize,
    /// By number; `None` where it has ended.
    requests: Vec<Option<Request>>,
}

/// A request that is under way.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) event: Arc<Event>,
    pub(crate) target: Target,
    pub(crate) begun: Timestamp,
}

impl Load {
    pub(crate) fn new(receipt: Receipt, bytes: usize) -> Self {
        Self {
            receipt,
            bytes,
            state: Mutex::default(),
        }
    }

    /// Must exist for as long as anything is to be done about the pack.
    pub(crate) fn unfinished(&self) -> Unfinished<'_> {
        self.state.lock().others += 1;
        Unfinished {
            load: self,
            is_settled: false,
        }
    }

    /// When the oldest of its requests was begun, where nothing is unfinished but requests from before `by`.
    pub(crate) fn pinned_since(&self, by: Timestamp) -> Option<Timestamp> {
        let state = self.state.lock();
        if state.must_return || state.others > 0 || state.under_way == 0 {
            return None;
        }
        let begun = || state.requests.iter().flatten().map(|request| request.begun);
        let is_pinned = begun().all(|begun| begun <= by);
        begun().min().filter(|_| is_pinned)
    }

    /// All that is unfinished, where that is nothing but requests. What is settled later is part of it, too: whoever makes
    /// all of it durable elsewhere may let the pack go.
    pub(crate) fn requests(&self) -> Option<Vec<Request>> {
        let state = self.state.lock();
        let requests = || state.requests.iter().flatten().cloned().collect();
        (state.others == 0 && !state.must_return).then(requests)
    }
}

/// A piece of a pack's work.
#[derive(Debug)]
pub(crate) struct Unfinished<'a> {
    load: &'a Load,
    is_settled: bool,
}

impl<'a> Unfinished<'a> {
    /// How it ended. What is dropped without it, in a panic, was not settled.
    pub(crate) fn end(mut self, how: Settled) -> Settled {
        self.is_settled = how == Settled::Yes;
        how
    }

    /// A further piece of the same pack.
    pub(crate) fn another(&self) -> Self {
        self.load.unfinished()
    }

    /// Makes it a request for as long as the result lives.
    pub(crate) fn request(&self, item: &Item, target: &Target, begun: Timestamp) -> UnderWay<'a> {
        let mut state = self.load.state.lock();
        state.others -= 1;
        state.under_way += 1;
        state.requests.push(Some(Request {
            event: Arc::clone(&item.event),
            target: target.clone(),
            begun,
        }));
        UnderWay {
            load: self.load,
            number: state.requests.len() - 1,
        }
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        let mut state = self.load.state.lock();
        state.others -= 1;
        state.must_return |= !self.is_settled;
    }
}

/// A piece of a pack's work that is a request now.
#[derive(Debug)]
pub(crate) struct UnderWay<'a> {
    load: &'a Load,
    number: usize,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut state = self.load.state.lock();
        state.requests[self.number] = None;
        state.under_way -= 1;
        state.others += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use postrider_core::message::Work;
    use postrider_core::ports::Source;
    use postrider_core::samples::{self, NOW};
    use prometheus::Opts;
    use std::time::Duration;

    fn pack(tag: u64, bytes: &'static [u8]) -> Pack {
        Pack {
            receipt: Receipt {
                generation: 1,
                queue: 0,
                tag,
            },
            bytes: Bytes::from_static(bytes),
            source: Source::Work,
            redelivered: false,
            returned: false,
            earlier_deliveries: 0,
        }
    }

    fn held() -> (Held, IntGauge) {
        let total = IntGauge::new("held", "Held.").unwrap();
        let by_queue = IntGaugeVec::new(Opts::new("by_queue", "By queue."), &["queue"]).unwrap();
        let window = Window {
            queue: "one".to_owned(),
            packs: Some(4),
        };
        (Held::new(vec![window], &total, &by_queue), total)
    }

    #[test]
    fn a_pack_is_let_go_once_and_adrift_until_its_end() {
        let (held, total) = held();
        let loads: Vec<_> = (0..3).map(|tag| held.take(&pack(tag, b"12345"))).collect();
        assert!(held.is_a_window_half_full());
        held.set_adrift(&loads[0]);
        held.set_adrift(&loads[0]);
        assert!(held.is_adrift(&loads[0]) && !held.is_adrift(&loads[1]));
        assert!(!held.is_a_window_half_full());
        let totals = Totals {
            packs: 2,
            bytes: 10,
            adrift_bytes: 5,
        };
        assert_eq!((held.totals(), total.get()), (totals, 2));
        loads.iter().for_each(|load| held.end(load));
        assert_eq!((held.totals(), total.get()), (Totals::default(), 0));
    }

    #[test]
    fn a_pack_is_pinned_by_old_requests_and_nothing_else() {
        let load = Load::new(pack(1, b"").receipt, 0);
        let item = samples::item(Work::Match);
        let target = samples::target(1, NOW);
        let later = NOW + Duration::from_secs(3);
        let first = load.unfinished();
        assert_eq!(load.pinned_since(later), None, "it is not sent yet");
        let request = first.request(&item, &target, NOW);
        let second = first.another();
        assert_eq!(load.pinned_since(later), None, "another is not sent yet");
        let young = second.request(&item, &target, NOW + Duration::from_secs(2));
        assert_eq!(load.pinned_since(NOW + Duration::from_secs(1)), None);
        assert_eq!(load.pinned_since(later), Some(NOW));
        assert_eq!(load.requests().map(|all| all.len()), Some(2));
        drop(young);
        assert_eq!(load.pinned_since(later), None, "it is being settled");
        assert!(load.requests().is_none(), "and durable nowhere else");
        second.end(Settled::Yes);
        assert_eq!(load.pinned_since(later), Some(NOW));
        drop(request);
        first.end(Settled::Yes);
        assert_eq!(load.pinned_since(later), None, "all is done");
    }

    #[test]
    fn a_pack_of_which_something_could_not_be_settled_stays() {
        let item = samples::item(Work::Match);
        let later = NOW + Duration::from_secs(3);
        let fates: [fn(Unfinished<'_>); 2] = [
            |piece| {
                let _ = piece.end(Settled::No);
            },
            |panicked| drop(panicked),
        ];
        for fate in fates {
            let load = Load::new(pack(1, b"").receipt, 0);
            let hangs = load.unfinished();
            let fails = hangs.another();
            let _request = hangs.request(&item, &samples::target(1, NOW), NOW);
            fate(fails);
            assert_eq!(load.pinned_since(later), None);
            assert!(load.requests().is_none());
        }
    }
}
