//! What is done with one connection for publishing, as long as it lives.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, Stream, StreamExt};
use lapin::Event;
use postrider_core::envelope;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::super::declare::Declared;
use super::super::error::told;
use super::super::link::Link;
use super::super::routing::Destination;
use super::calls::{CallId, Calls, Outcome};
use super::groups::{Cargo, Groups, Piece};
use super::lane::{Landed, Lane, Message};
use super::{Job, State, blocked_text};

/// Packs that may be under way at once, over all destinations.
const MAX_LANES: usize = 48;
/// Of these, those that are not late: what is under way makes what waits gather into larger packs, over all destinations. A
/// pack that is late holds up its own destination alone, and one that is full waits for nobody.
const AT_ONCE: usize = 1;
const LATE: Duration = Duration::from_millis(20);
/// Behind a pack of so many pieces the next waits for as many, for a moment: where so much comes, fewer and larger packs leave
/// everybody more of the processor than the wait takes. Who sends little never waits for company.
const MANY: usize = 8;
const MOMENT: Duration = Duration::from_millis(2);
/// Jobs looked at before packs are formed.
const BATCH: usize = 256;
/// How often is looked for what no event tells.
const TICK: Duration = Duration::from_secs(1);
/// How long a call may take to end while this process closes.
const CLOSING: Duration = Duration::from_secs(5);

/// Why a session has ended.
pub(super) enum End {
    Lost(String),
    Closed,
}

pub(super) struct Session<'a> {
    pub(super) link: Arc<Link>,
    pub(super) state: &'a watch::Sender<State>,
    pub(super) declared: &'a Declared,
    pub(super) confirm_timeout: Duration,
    groups: Groups<CallId>,
    calls: Calls,
    idle: Vec<Lane>,
    /// Lanes that are idle, under way or being opened.
    lanes: usize,
    under_way: FuturesUnordered<BoxFuture<'a, Done>>,
    /// When the packs that are under way left, the oldest first.
    left: VecDeque<Instant>,
    gathering: Option<Gathering>,
    is_declaring: bool,
    /// Neither is to be tried in vain all the time.
    declare_again: Option<Instant>,
    open_again: Option<Instant>,
    blocked: Option<String>,
}

/// For what, and until when, pieces wait behind a pack of many.
#[derive(Debug, Clone, Copy)]
struct Gathering {
    pieces: usize,
    until: Instant,
}

/// Something that was under way has ended.
enum Done {
    Opened(Result<Lane, String>),
    Published(Instant, Destination, Vec<CallId>, Landed),
    Declared(Result<(), String>),
}

impl<'a> Session<'a> {
    pub(super) fn new(
        link: Arc<Link>,
        state: &'a watch::Sender<State>,
        declared: &'a Declared,
        confirm_timeout: Duration,
    ) -> Self {
        Self {
            link,
            state,
            declared,
            confirm_timeout,
            groups: Groups::new(),
            calls: Calls::default(),
            idle: Vec::new(),
            lanes: 0,
            under_way: FuturesUnordered::new(),
            left: VecDeque::new(),
            gathering: None,
            is_declaring: false,
            declare_again: None,
            open_again: None,
            blocked: None,
        }
    }

    /// Publishes what comes until the connection is lost, or until everything that came before `closing` has ended.
    pub(super) async fn run(
        mut self,
        jobs: &mut mpsc::Receiver<Job>,
        events: impl Stream<Item = Event>,
        closing: &CancellationToken,
    ) -> End {
        tokio::pin!(events);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(BATCH);
        let end = loop {
            self.send();
            let kept = self.kept();
            tokio::select! {
                Some(done) = self.under_way.next() => self.done(done),
                taken = jobs.recv_many(&mut batch, BATCH) => {
                    if taken == 0 {
                        break End::Closed;
                    }
                    batch.drain(..).for_each(|job| self.take(job));
                }
                Some(event) = events.next() => self.heard(event),
                _ = tick.tick() => self.look(),
                () = kept => {}
                () = closing.cancelled() => {
                    self.finish(jobs).await;
                    break End::Closed;
                }
            }
            if !self.link.is_up() {
                break End::Lost("the connection was lost".to_owned());
            }
        };
        self.give_up(&end);
        end
    }

    fn take(&mut self, job: Job) {
        let since = Instant::now();
        let id = self.calls.open(job.cargo.len(), job.answer, job.room);
        for (destination, cargo) in job.cargo {
            if let Some(reason) = &self.blocked {
                let cause = Outcome::NotPublished(blocked_text(reason));
                self.calls.ended(id, &cause);
                continue;
            }
            let piece = Piece {
                cargo,
                call: id,
                since,
            };
            self.groups.push(destination, piece);
        }
    }

    /// Until when pieces that wait are kept from leaving.
    fn kept_until(&self) -> Option<Instant> {
        if self.groups.has_full() {
            return None;
        }
        let now = Instant::now();
        let deadline = now.checked_sub(LATE)?;
        let late = self.left.partition_point(|left| *left <= deadline);
        if self.left.len() - late >= AT_ONCE {
            return Some(self.left[late] + LATE);
        }
        let gathering = self.gathering?;
        let is_over = gathering.until <= now || self.groups.waiting() >= gathering.pieces;
        (!is_over).then_some(gathering.until)
    }

    /// Completes when they are not any more.
    fn kept(&self) -> impl Future<Output = ()> + use<> {
        let waits = self.groups.waiting() > 0;
        let until = self.kept_until().filter(|_| waits);
        async move {
            match until {
                Some(until) => sleep_until(until).await,
                None => pending().await,
            }
        }
    }

    /// Starts whatever may start.
    fn send(&mut self) {
        while self.groups.waiting() > 0 && self.kept_until().is_none() {
            let Some(lane) = self.idle.pop() else {
                self.open_lane();
                return;
            };
            let Some((destination, pieces)) = self.groups.next() else {
                self.idle.push(lane);
                return;
            };
            let (message, calls) = packed(pieces);
            let left = Instant::now();
            self.left.push_back(left);
            let patience = self.confirm_timeout;
            let publish = async move {
                let landed = lane.publish(destination, &message, patience).await;
                Done::Published(left, destination, calls, landed)
            };
            self.under_way.push(publish.boxed());
        }
    }

    fn open_lane(&mut self) {
        let too_soon = self.open_again.is_some_and(|again| Instant::now() < again);
        if self.lanes >= MAX_LANES || too_soon {
            return;
        }
        self.lanes += 1;
        let link = Arc::clone(&self.link);
        let patience = self.confirm_timeout;
        let open = async move {
            let opened = match timeout(patience, Lane::open(&link)).await {
                Ok(opened) => opened.map_err(|error| told(&error)),
                Err(_) => Err(format!("no channel within {patience:?}")),
            };
            Done::Opened(opened)
        };
        self.under_way.push(open.boxed());
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Opened(Ok(lane)) => self.idle.push(lane),
            Done::Opened(Err(cause)) => {
                self.lanes -= 1;
                self.open_again = Some(Instant::now() + TICK);
                warn!(cause, "RabbitMQ opens no channel for publishing");
            }
            Done::Published(left, destination, calls, landed) => {
                if let Ok(place) = self.left.binary_search(&left) {
                    self.left.remove(place);
                }
                self.gathering = (calls.len() >= MANY).then(|| Gathering {
                    pieces: calls.len() * 2,
                    until: Instant::now() + MOMENT,
                });
                self.landed(destination, &calls, landed);
            }
            Done::Declared(result) => {
                self.is_declaring = false;
                // What went wrong is told by whoever declares.
                self.declare_again = result.err().map(|_| Instant::now() + TICK);
            }
        }
    }

    fn landed(&mut self, destination: Destination, calls: &[CallId], landed: Landed) {
        self.groups.landed(destination);
        match landed.lane {
            Some(lane) => self.idle.push(lane),
            None => self.lanes -= 1,
        }
        for call in calls {
            self.calls.ended(*call, &landed.outcome);
        }
        let too_soon = self
            .declare_again
            .is_some_and(|again| Instant::now() < again);
        if landed.misses_topology && !self.is_declaring && !too_soon {
            self.is_declaring = true;
            let (link, declared) = (Arc::clone(&self.link), self.declared);
            let noticed = Instant::now();
            let declare = async move { Done::Declared(declared.again(&link, noticed).await) };
            self.under_way.push(declare.boxed());
        }
    }

    fn heard(&mut self, event: Event) {
        match event {
            Event::ConnectionBlocked(reason) => self.block(reason),
            Event::ConnectionUnblocked => self.unblock(),
            _ => {}
        }
    }

    fn look(&mut self) {
        match (self.link.is_blocked(), &self.blocked) {
            (true, None) => self.block("it has an alarm".to_owned()),
            (false, Some(_)) => self.unblock(),
            _ => {}
        }
        if let Some(deadline) = Instant::now().checked_sub(self.confirm_timeout) {
            let waited = format!(
                "what was published before is not confirmed within {:?}",
                self.confirm_timeout
            );
            let overdue = self.groups.overdue(deadline);
            self.fail(overdue, &waited);
        }
    }

    /// What waits fails at once; what is under way may still be confirmed, and has its time.
    fn block(&mut self, reason: String) {
        warn!(reason, "RabbitMQ has blocked publishing");
        let link = Arc::clone(&self.link);
        self.state
            .send_replace(State::Blocked(link, reason.clone()));
        let waiting = self.groups.drain();
        self.fail(waiting, &blocked_text(&reason));
        self.blocked = Some(reason);
    }

    fn unblock(&mut self) {
        if self.blocked.take().is_some() {
            info!("RabbitMQ takes publishes again");
            self.state.send_replace(State::Up(Arc::clone(&self.link)));
        }
    }

    fn fail(&mut self, pieces: Vec<Piece<CallId>>, cause: &str) {
        for piece in pieces {
            let outcome = Outcome::NotPublished(cause.to_owned());
            self.calls.ended(piece.call, &outcome);
        }
    }

    /// Whatever was asked for ends, in bounded time.
    async fn finish(&mut self, jobs: &mut mpsc::Receiver<Job>) {
        jobs.close();
        while let Ok(job) = jobs.try_recv() {
            self.take(job);
        }
        let finished = async {
            while !self.calls.is_empty() {
                self.send();
                match self.under_way.next().await {
                    Some(done) => self.done(done),
                    None => break,
                }
            }
        };
        let _ = timeout(CLOSING, finished).await;
    }

    fn give_up(&mut self, end: &End) {
        let cause = match end {
            End::Lost(cause) => cause,
            End::Closed => "this process has closed its connections",
        };
        let waiting = self.groups.drain();
        self.fail(waiting, cause);
        self.calls.abandon(cause);
    }
}

fn packed(pieces: Vec<Piece<CallId>>) -> (Message, Vec<CallId>) {
    let mut calls = Vec::with_capacity(pieces.len());
    let mut items = Vec::with_capacity(pieces.len());
    for piece in pieces {
        calls.push(piece.call);
        match piece.cargo {
            Cargo::Item(item) => items.push(item),
            Cargo::Raw { pack, held_before } => {
                let bytes = pack;
                return (Message { bytes, held_before }, calls);
            }
        }
    }
    let message = Message {
        bytes: envelope::encode(&items),
        held_before: false,
    };
    (message, calls)
}
