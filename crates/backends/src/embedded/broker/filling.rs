//! Reading packs into the windows, and counting those that are in none.

use postrider_core::ports::PortError;

use super::{EmbeddedBroker, Shared, rows};

/// Rows that are counted in one read.
const COUNT_PORTION: u32 = 20_000;

impl EmbeddedBroker {
    /// Brings the windows to where `room` packs can be taken from them, as far as the file has them.
    pub(super) async fn fill(&self, now: i64, room: usize) -> Result<(), PortError> {
        if !self.wants_filling(now, room) {
            return Ok(());
        }
        let _alone = self.reading.lock().await;
        self.fill_waiting(now, room).await?;
        self.fill_ready(room).await
    }

    fn wants_filling(&self, now: i64, room: usize) -> bool {
        let state = self.shared.state.lock();
        state.ready.plan(room).is_some() || state.waiting.wants_reading(now, room)
    }

    async fn fill_ready(&self, room: usize) -> Result<(), PortError> {
        let Some(plan) = self.shared.state.lock().ready.plan(room) else {
            return Ok(());
        };
        let read = self
            .engine
            .readers
            .read(move |connection| rows::ready(connection, plan.after));
        let (rows, cut) = read.await?;
        self.shared.state.lock().ready.fill(plan, rows, cut);
        Ok(())
    }

    async fn fill_waiting(&self, now: i64, room: usize) -> Result<(), PortError> {
        let Some(plan) = self.shared.state.lock().waiting.plan(now, room) else {
            return Ok(());
        };
        let abandon = Abandon(&self.shared);
        let read = self
            .engine
            .readers
            .read(move |connection| rows::waiting(connection, plan));
        let found = read.await?;
        self.shared.state.lock().waiting.fill(plan, found);
        drop(abandon);
        Ok(())
    }

    /// Counts what is ready and has not been read, once.
    pub(super) async fn count_backlog(&self) -> Result<(), PortError> {
        let (range, read_before) = {
            let state = self.shared.state.lock();
            (state.ready.uncounted(), state.ready.old_read())
        };
        let Some((mut after, to)) = range else {
            return Ok(());
        };
        let mut total = 0;
        loop {
            let read = self
                .engine
                .readers
                .read(move |connection| rows::count_ready(connection, after, to, COUNT_PORTION));
            let (rows, last) = read.await?;
            total += rows;
            match last {
                Some(last) if rows == u64::from(COUNT_PORTION) => after = last,
                _ => break,
            }
        }
        self.shared.state.lock().ready.counted(total, read_before);
        Ok(())
    }
}

/// Ends a reading of what waits, even one that was dropped in the middle.
struct Abandon<'a>(&'a Shared);

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        self.0.state.lock().waiting.abandon();
    }
}
