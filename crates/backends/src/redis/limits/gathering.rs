//! Reservations that are made at the same time go to Redis together.
//!
//! There is one with nearly every call of the API, and what surrounds it costs more than it does itself: a call of a script,
//! a round trip, the application's version. Whatever gathers while others are under way becomes the next call, as in a
//! database's group commit: no timer, and nothing waits while nothing is under way. A call that is late is not waited for, so
//! that a slow server is asked by many at a time, and its time is bounded for each.

use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use postrider_core::ports::{PortError, Reservation, Reserved};
use postrider_core::time::Timestamp;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::PART;
use super::clock::ServerClock;
use super::reservations::Reservations;
use crate::redis::server::Server;

/// Calls under way, while they are not late. With a second one Redis need not wait for us.
const AT_ONCE: usize = 2;
/// From when on a call is late.
const LATE: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct Gathering {
    server: Arc<Server>,
    reservations: Arc<Reservations>,
    clock: Arc<ServerClock>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Waiting>,
    under_way: usize,
}

#[derive(Debug)]
struct Waiting {
    now: Timestamp,
    wish: Reservation,
    answer: oneshot::Sender<Result<Reserved, PortError>>,
}

impl Gathering {
    pub(super) fn new(
        server: Arc<Server>,
        reservations: Arc<Reservations>,
        clock: Arc<ServerClock>,
    ) -> Arc<Self> {
        Arc::new(Self {
            server,
            reservations,
            clock,
            state: Mutex::default(),
        })
    }

    /// Also where nobody waits for the answer any more, the reservation is made.
    pub(super) async fn reserve(
        self: &Arc<Self>,
        now: Timestamp,
        wish: Reservation,
    ) -> Result<Reserved, PortError> {
        let (answer, answered) = oneshot::channel();
        if self.join(Waiting { now, wish, answer }) {
            self.start();
        }
        let lost = || {
            let cause = "whoever asked Redis has gone".to_owned();
            Err(PortError::Unknown { part: PART, cause })
        };
        answered.await.unwrap_or_else(|_| lost())
    }

    /// Whether somebody has to start asking for it.
    fn join(&self, waiting: Waiting) -> bool {
        let mut state = self.state.lock();
        state.waiting.push(waiting);
        let is_to_start = state.under_way < AT_ONCE;
        state.under_way += usize::from(is_to_start);
        is_to_start
    }

    fn start(self: &Arc<Self>) {
        tokio::spawn(Arc::clone(self).go_on().boxed());
    }

    /// Asks for as long as anybody waits. Has one of the places of those that are under way.
    async fn go_on(self: Arc<Self>) {
        // Whoever is about to ask may come along.
        tokio::task::yield_now().await;
        while let Some(gathered) = self.next() {
            let mut asked = pin!(self.ask(gathered));
            if timeout(LATE, &mut asked).await.is_err() {
                // Another one takes its place.
                self.start();
                return asked.await;
            }
        }
    }

    /// All that wait; where nobody does, the place is given up.
    fn next(&self) -> Option<Vec<Waiting>> {
        let mut state = self.state.lock();
        if state.waiting.is_empty() {
            state.under_way -= 1;
            return None;
        }
        Some(mem::take(&mut state.waiting))
    }

    async fn ask(&self, gathered: Vec<Waiting>) {
        let now = gathered.iter().map(|waiting| waiting.now).max();
        let (wishes, waiting): (Vec<_>, Vec<_>) = gathered
            .into_iter()
            .map(|waiting| (waiting.wish, waiting.answer))
            .unzip();
        let answers = match now {
            Some(now) => self.answers(now, &wishes).await,
            None => Vec::new(),
        };
        for (waiting, answer) in waiting.into_iter().zip(answers) {
            // Whoever has gone was cut off.
            let _ = waiting.send(answer);
        }
    }

    async fn answers(
        &self,
        now: Timestamp,
        wishes: &[Reservation],
    ) -> Vec<Result<Reserved, PortError>> {
        let link = match self.server.link(PART).await {
            Ok(link) => link,
            Err(error) => return vec![Err(error); wishes.len()],
        };
        let offset = self.clock.ahead_of(now);
        let asked = self.reservations.reserve(&link, now, offset, wishes);
        self.clock.beside(&link, asked).await
    }
}
