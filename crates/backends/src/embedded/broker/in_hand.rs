//! Packs between the windows and whoever leases them.

use postrider_core::ports::{Leased, Pack, PortError, Receipt, Source};

use super::state::Taken;
use super::{EmbeddedBroker, Queue, Seq, Shared, rows};
use crate::embedded::error::StoreError;

/// Packs that were taken and not yet handed over: they go back where the lease does not come to its end.
pub(super) struct InHand<'a> {
    pub(super) shared: &'a Shared,
    pub(super) packs: Vec<Taken>,
}

impl InHand<'_> {
    fn where_is(&self, holds: impl Fn(&Taken) -> bool) -> Vec<usize> {
        let found = self
            .packs
            .iter()
            .enumerate()
            .filter(|(_, taken)| holds(taken));
        found.map(|(index, _)| index).collect()
    }

    fn place(&self, index: usize) -> (Queue, Seq) {
        (self.packs[index].queue, self.packs[index].seq)
    }

    fn drop_the_missing(&mut self) {
        let (found, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.packs)
            .into_iter()
            .partition(|taken| taken.bytes.is_some());
        self.packs = found;
        let tags: Vec<u64> = gone.iter().map(|taken| taken.tag).collect();
        self.shared.state.lock().settled(&tags);
    }

    pub(super) fn hand_over(mut self, now: i64) -> Leased {
        let taken = std::mem::take(&mut self.packs);
        let state = self.shared.state.lock();
        let packs = taken
            .into_iter()
            .map(|taken| pack(state.receipt(&taken), taken))
            .collect();
        let (next_due, more) = (state.next_due(now), state.more(now));
        drop(state);
        if more {
            self.shared.more.notify_one();
        }
        Leased { packs, next_due }
    }
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        if self.packs.is_empty() {
            return;
        }
        let mut state = self.shared.state.lock();
        self.packs
            .drain(..)
            .rev()
            .for_each(|taken| state.put_back(taken));
        drop(state);
        self.shared.more.notify_one();
    }
}

fn pack(receipt: Receipt, taken: Taken) -> Pack {
    Pack {
        receipt,
        bytes: taken.bytes.unwrap_or_default(),
        source: match taken.queue {
            Queue::Ready | Queue::Waiting => Source::Work,
            Queue::Quarantine => Source::Quarantine,
        },
        redelivered: taken.redelivered,
        returned: taken.returned,
        earlier_deliveries: taken.earlier.unwrap_or(0),
    }
}

impl EmbeddedBroker {
    /// Reads the packs of which only the number is known. One whose row is gone was settled meanwhile.
    pub(super) async fn read_missing(&self, taken: &mut InHand<'_>) -> Result<(), PortError> {
        let missing = taken.where_is(|taken| taken.bytes.is_none());
        if missing.is_empty() {
            return Ok(());
        }
        let wanted: Vec<_> = missing.iter().map(|index| taken.place(*index)).collect();
        let read = self.engine.readers.read(move |connection| {
            let look = |(queue, seq): &(Queue, Seq)| rows::bytes(connection, *queue, *seq);
            wanted
                .iter()
                .map(look)
                .collect::<Result<Vec<_>, StoreError>>()
        });
        for (index, bytes) in missing.into_iter().zip(read.await?) {
            taken.packs[index].bytes = bytes;
        }
        taken.drop_the_missing();
        Ok(())
    }

    /// Writes down that these are being delivered, where their count has to survive us.
    pub(super) async fn count(&self, taken: &mut InHand<'_>) -> Result<(), PortError> {
        let uncounted = taken.where_is(|taken| taken.earlier.is_none());
        if uncounted.is_empty() {
            return Ok(());
        }
        let packs: Vec<Seq> = uncounted
            .iter()
            .map(|index| taken.packs[*index].seq)
            .collect();
        let counted = self
            .engine
            .writer
            .write(move |connection| rows::count(connection, &packs));
        for (index, earlier) in uncounted.into_iter().zip(counted.await?) {
            let pack = &mut taken.packs[index];
            pack.earlier = Some(earlier);
            self.shared.state.lock().counted(pack.tag, earlier);
        }
        Ok(())
    }
}
