//! Keeps a connection for consuming, for as long as somebody leases.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::{BoxStream, FuturesUnordered, SelectAll, StreamExt, once};
use lapin::message::Delivery;
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use postrider_core::ports::Window;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tracing::warn;

use super::super::CLOSE_TIMEOUT;
use super::super::backoff::Backoff;
use super::super::error::{is_missing, is_not_found, told};
use super::super::link::{Link, count};
use super::super::options::Prefetch;
use super::super::routing::Key;
use super::super::shared::Shared;
use super::super::topology::Source;
use super::Ended;
use super::delivery::Fetched;

/// Deliveries looked at before anything else.
const BATCH: usize = 128;
const TICK: Duration = Duration::from_secs(1);
/// How long after its loss a consumer is made anew.
const REOPEN: Duration = Duration::from_millis(200);
const REOPEN_LONGEST: Duration = Duration::from_secs(2);
const OPEN_TIMEOUT: Duration = Duration::from_secs(20);

/// Whether anything is consumed.
#[derive(Clone)]
pub(in super::super) enum State {
    /// Nobody leases.
    Idle,
    Apart(String),
    Up(Arc<Link>),
}

/// Consumes from the first lease on, until `closing`.
pub(in super::super) async fn run(shared: Arc<Shared>, state: watch::Sender<State>) {
    tokio::select! {
        () = shared.desk.wanted() => {}
        () = shared.closing.cancelled() => return,
    }
    state.send_replace(State::Apart("it is being connected to".to_owned()));
    let mut backoff = Backoff::new("consuming");
    while shared.desk.is_leasing() {
        let connected = tokio::select! {
            connected = connect(&shared) => connected,
            () = shared.closing.cancelled() => break,
        };
        let cause = match connected {
            Ok(link) => {
                backoff.succeeded(&link.address);
                state.send_replace(State::Up(Arc::clone(&link)));
                let closed = Session::new(&shared, &link).run().await;
                if closed {
                    settle(&shared, &link).await;
                    break;
                }
                link.cut();
                shared.desk.lost();
                "the connection was lost".to_owned()
            }
            Err(cause) => cause,
        };
        state.send_replace(State::Apart(cause.clone()));
        tokio::select! {
            () = backoff.failed(&shared.nodes, &cause) => {}
            () = shared.closing.cancelled() => break,
        }
    }
    shared.desk.lost();
    state.send_replace(State::Idle);
}

async fn connect(shared: &Shared) -> Result<Arc<Link>, String> {
    let link = shared.nodes.open("consume", &shared.options).await?;
    shared.declared.ensure(&link).await?;
    Ok(Arc::new(link))
}

/// Makes sure that the server has what was settled, and lets go of the rest.
async fn settle(shared: &Shared, link: &Link) {
    let surveyed = shared.desk.survey();
    let asked = surveyed.iter().filter_map(|queue| {
        let (_, channel) = queue.channel.as_ref()?;
        let name = queue.source.queue();
        (queue.untold > 0).then_some(async move { count(channel, &name).await })
    });
    let _ = timeout(CLOSE_TIMEOUT, join_all(asked)).await;
    link.close(CLOSE_TIMEOUT).await;
}

struct Session<'a> {
    shared: &'a Shared,
    link: &'a Arc<Link>,
    sources: Vec<Source>,
    deliveries: SelectAll<BoxStream<'static, Told>>,
    opening: FuturesUnordered<BoxFuture<'a, Opened>>,
    complained: Option<Instant>,
}

/// Queue, generation, and a message, or why there is nothing any more.
type Told = (usize, u32, Result<Delivery, Ended>);

struct Opened {
    queue: usize,
    result: Result<(Channel, Consumer), String>,
    /// How long to wait after the next failure.
    pause: Duration,
}

impl<'a> Session<'a> {
    fn new(shared: &'a Shared, link: &'a Arc<Link>) -> Self {
        Self {
            shared,
            link,
            sources: Source::all(),
            deliveries: SelectAll::new(),
            opening: FuturesUnordered::new(),
            complained: None,
        }
    }

    /// Returns whether it ended because this process closes; otherwise the connection is lost.
    async fn run(mut self) -> bool {
        for queue in 0..self.sources.len() {
            self.open(queue, Duration::ZERO);
        }
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(told) = self.deliveries.next() => self.heard(told),
                Some(opened) = self.opening.next() => self.opened(opened),
                _ = tick.tick() => {}
                () = self.shared.closing.cancelled() => return true,
            }
            if !self.link.is_up() {
                return false;
            }
        }
    }

    fn heard(&mut self, first: Told) {
        let mut next = Some(first);
        let mut left = BATCH;
        while let Some((queue, generation, delivery)) = next {
            match delivery {
                Ok(delivery) => {
                    let message = Fetched::from(delivery);
                    self.shared.desk.fetched(queue, generation, message);
                }
                Err(why) => self.ended(queue, generation, why),
            }
            left -= 1;
            next = match left {
                0 => None,
                _ => self.deliveries.next().now_or_never().flatten(),
            };
        }
        self.shared.desk.announce();
    }

    fn ended(&mut self, queue: usize, generation: u32, why: Ended) {
        if !self.shared.desk.ended(queue, generation, why) {
            return;
        }
        let cause = match why {
            Ended::ChannelLost => "the server has closed its channel",
            Ended::QueueDeleted => "it was deleted",
        };
        self.complain(queue, cause);
        self.open(queue, REOPEN);
    }

    fn open(&mut self, queue: usize, pause: Duration) {
        let source = self.sources[queue];
        let (shared, link) = (self.shared, Arc::clone(self.link));
        let open = async move {
            sleep(pause).await;
            let result = timeout(OPEN_TIMEOUT, open(shared, &link, source)).await;
            Opened {
                queue,
                result: result
                    .unwrap_or_else(|_| Err(format!("no answer within {OPEN_TIMEOUT:?}"))),
                pause: (pause * 2).clamp(REOPEN, REOPEN_LONGEST),
            }
        };
        self.opening.push(open.boxed());
    }

    fn opened(&mut self, opened: Opened) {
        let queue = opened.queue;
        match opened.result {
            Ok((channel, consumer)) => {
                let generation = self.shared.desk.opened(queue, &channel, consumer.tag());
                if let Some(generation) = generation {
                    let link = Arc::clone(self.link);
                    self.deliveries
                        .push(told_by(link, consumer, queue, generation));
                }
            }
            Err(cause) if self.shared.desk.is_leasing() => {
                self.complain(queue, &cause);
                self.open(queue, opened.pause);
            }
            Err(_) => {}
        }
    }

    /// At most once a second: what ends one consumer may end all of them.
    fn complain(&mut self, queue: usize, cause: &str) {
        let now = Instant::now();
        if !self.link.is_up() || self.complained.is_some_and(|last| now - last < TICK) {
            return;
        }
        self.complained = Some(now);
        let queue = self.sources[queue].queue();
        warn!(queue, cause, "a queue is not consumed; trying until it is");
    }
}

/// A consumer that nobody has cancelled ends without an error when its queue is deleted, or with one that says so. Its
/// channel tells nothing: by then, a question about the queue may have closed it.
fn told_by(
    link: Arc<Link>,
    consumer: Consumer,
    queue: usize,
    generation: u32,
) -> BoxStream<'static, Told> {
    let cancelled = once(async move {
        let why = if link.is_up() {
            Ended::QueueDeleted
        } else {
            Ended::ChannelLost
        };
        (queue, generation, Err(why))
    });
    let why = |error: &lapin::Error| {
        if is_missing(error) {
            Ended::QueueDeleted
        } else {
            Ended::ChannelLost
        }
    };
    consumer
        .map(move |delivery| (queue, generation, delivery.map_err(|error| why(&error))))
        .chain(cancelled)
        .boxed()
}

/// Consumes a queue on a channel of its own; where the queue is missing, everything is declared first.
async fn open(shared: &Shared, link: &Link, source: Source) -> Result<(Channel, Consumer), String> {
    let noticed = Instant::now();
    match open_once(shared, link, source).await {
        Err(error) if is_not_found(&error) => {
            shared.declared.again(link, noticed).await?;
            open_once(shared, link, source).await
        }
        result => result,
    }
    .map_err(|error| told(&error))
}

async fn open_once(
    shared: &Shared,
    link: &Link,
    source: Source,
) -> lapin::Result<(Channel, Consumer)> {
    let channel = link.channel().await?;
    let prefetch = prefetch(source, shared.options.prefetch);
    channel
        .basic_qos(prefetch, BasicQosOptions::default())
        .await?;
    let consumer = channel
        .basic_consume(
            source.queue().into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    Ok((channel, consumer))
}

pub(in super::super) fn windows(options: Prefetch) -> Vec<Window> {
    let window = |source: Source| Window {
        queue: source.queue(),
        packs: Some(prefetch(source, options).into()),
    };
    Source::all().into_iter().map(window).collect()
}

/// Never 0, which would mean without a bound.
fn prefetch(source: Source, prefetch: Prefetch) -> u16 {
    let wanted = match source {
        Source::Events(Key::Large(_)) => prefetch.large,
        Source::Retry(Key::Large(_)) => prefetch.large_retry,
        Source::Events(_) => prefetch.events,
        Source::Retry(_) => prefetch.retry,
        Source::Dead => prefetch.dead,
        Source::Quarantine => 1,
    };
    wanted.max(1)
}
