//! Takes messages that backends publish as they are, for [`Intake`].
//!
//! ```text
//!  backend ──▶ postrider.publish ──prefetch──▶ take ──┬─ accepted ──▶ ack
//!                ▲ ▲                                  ├─ refused ──▶ postrider.publish.refused ──confirm──▶ ack
//!                │ └── at once, and counted ──────────┼─ unfinished
//!                │ 5 s                                └─ has to wait ──▶ held for some seconds, and tried again
//!              postrider.publish.waiting ◀──reject──────┘                (at once, where only its application is too fast)
//! ```
//!
//! The queue counts how often a message was delivered and neither acknowledged nor rejected; [`Intake`] is told, and decides
//! what that means. What was rejected because it had to wait does not count.
//!
//! A message is acknowledged only when it is somewhere else, on disk. Whatever ends before that (this process, its connection,
//! the server) leaves it where it was. On a connection of its own: nothing is published on it, so no alarm of the server can
//! keep acknowledgements from it.

mod headers;
mod layout;
mod refuse;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions, BasicRejectOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Consumer};
use postrider_core::ports::{Incoming, Intake, Refusal, Taken, Why};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use self::layout::PUBLISH;
pub(super) use self::layout::{exchanges, queues};
use self::refuse::Refusing;
use super::CLOSE_TIMEOUT;
use super::backoff::Backoff;
use super::consume::delivery;
use super::declare;
use super::error::{is_missing, told};
use super::link::Link;
use super::shared::Shared;

/// Messages that this process holds at once, all of them being taken.
const PREFETCH: u16 = 256;
/// How long a message is held while nothing can be taken, before it makes room for others.
const HOLD: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How often is looked whether the connection lives.
const TICK: Duration = Duration::from_secs(1);
const OPEN_TIMEOUT: Duration = Duration::from_secs(20);

/// The taking of messages, going on in the background until it is stopped or dropped.
#[derive(Debug)]
pub struct Intaking {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Intaking {
    pub(super) fn start(shared: &Arc<Shared>, intake: Arc<dyn Intake>) -> Self {
        let (stop, tasks) = (shared.closing.child_token(), TaskTracker::new());
        let desk = Desk {
            refusing: Refusing::new(Arc::clone(shared)),
            intake,
            tasks: tasks.clone(),
            stop: stop.clone(),
        };
        tasks.spawn(run(Arc::clone(shared), Arc::new(desk)));
        tasks.close();
        Self { stop, tasks }
    }

    /// Fetches nothing more, and waits for what is being taken; what is not done in time stays on the queue.
    pub async fn stop(&self, patience: Duration) {
        self.stop.cancel();
        if timeout(patience, self.tasks.wait()).await.is_err() {
            warn!("messages from AMQP are still being taken at the end; they stay on their queue");
        }
    }
}

impl Drop for Intaking {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What every message is taken with.
struct Desk {
    intake: Arc<dyn Intake>,
    refusing: Refusing,
    /// One for each message, also of connections that were lost.
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Why messages are fetched no more.
enum End {
    Stopped,
    Lost(String),
}

async fn run(shared: Arc<Shared>, desk: Arc<Desk>) {
    // Nothing is declared before somebody has found out whether this is a new installation.
    tokio::select! {
        () = shared.publisher.up() => {}
        () = desk.stop.cancelled() => return,
    }
    let mut backoff = Backoff::new("taking messages in");
    loop {
        let connected = tokio::select! {
            connected = connect(&shared) => connected,
            () = desk.stop.cancelled() => return,
        };
        let cause = match connected {
            Ok(link) => {
                backoff.succeeded(&link.address);
                match session(&link, &desk).await {
                    End::Stopped => return link.close(CLOSE_TIMEOUT).await,
                    End::Lost(cause) => {
                        link.cut();
                        cause
                    }
                }
            }
            Err(cause) => cause,
        };
        tokio::select! {
            () = backoff.failed(&shared.nodes, &cause) => {}
            () = desk.stop.cancelled() => return,
        }
    }
}

async fn connect(shared: &Shared) -> Result<Link, String> {
    let nodes = shared.nodes.with_largest_frames();
    let link = nodes.open("intake", &shared.options).await?;
    link.while_up(declare::intake(&link)).await?;
    Ok(link)
}

async fn session(link: &Link, desk: &Arc<Desk>) -> End {
    let opened = timeout(OPEN_TIMEOUT, open(link)).await;
    let (channel, mut consumer) = match opened {
        Ok(Ok(opened)) => opened,
        Ok(Err(error)) => return End::Lost(told(&error)),
        Err(_) => return End::Lost(format!("no answer within {OPEN_TIMEOUT:?}")),
    };
    // What is being accepted comes to its end when the connection is lost: half-way it would have to be waited for when it
    // comes again.
    let taking = TaskTracker::new();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let end = loop {
        tokio::select! {
            delivery = consumer.next() => match delivery {
                Some(Ok(delivery)) => {
                    let held = Held::new(channel.clone(), Arc::clone(desk), delivery);
                    taking.spawn(desk.tasks.track_future(held.take()));
                }
                Some(Err(error)) if is_missing(&error) => break deleted(),
                Some(Err(error)) => break End::Lost(told(&error)),
                None => break deleted(),
            },
            _ = tick.tick() => if !link.is_up() {
                break End::Lost("the connection was lost".to_owned());
            },
            () = desk.stop.cancelled() => break End::Stopped,
        }
    };
    if matches!(end, End::Stopped) {
        let cancel = channel.basic_cancel(consumer.tag(), BasicCancelOptions::default());
        let _ = timeout(CLOSE_TIMEOUT, cancel).await;
        taking.close();
        taking.wait().await;
    }
    end
}

fn deleted() -> End {
    End::Lost(format!("the queue {PUBLISH} was deleted; it is made anew"))
}

async fn open(link: &Link) -> lapin::Result<(Channel, Consumer)> {
    let channel = link.channel().await?;
    channel
        .basic_qos(PREFETCH, BasicQosOptions::default())
        .await?;
    let (options, none) = (BasicConsumeOptions::default(), FieldTable::default());
    let consumer = channel.basic_consume(PUBLISH.into(), "".into(), options, none);
    Ok((channel.clone(), consumer.await?))
}

/// A message that this process answers for.
struct Held {
    channel: Channel,
    desk: Arc<Desk>,
    tag: u64,
    properties: BasicProperties,
    incoming: Incoming,
}

impl Held {
    fn new(channel: Channel, desk: Arc<Desk>, delivery: Delivery) -> Self {
        let properties = delivery.properties;
        let own = |text: &Option<ShortString>| text.as_ref().map(ToString::to_string);
        let incoming = Incoming {
            key: headers::key(&properties),
            id: own(properties.message_id()),
            content_type: own(properties.content_type()),
            content_encoding: own(properties.content_encoding()),
            earlier_deliveries: delivery::earlier(&properties),
            body: Bytes::from(delivery.data),
        };
        Self {
            channel,
            desk,
            tag: delivery.delivery_tag,
            properties,
            incoming,
        }
    }

    async fn take(self) {
        let held_until = Instant::now() + HOLD;
        let mut pause = FIRST_PAUSE;
        loop {
            match self.desk.intake.take(self.incoming.clone()).await {
                Taken::Accepted => return self.ack().await,
                Taken::Refused(refusal) => return self.refuse(&refusal).await,
                Taken::Unfinished => return self.requeue().await,
                Taken::Wait(Why::Throttled) => return self.put_off().await,
                Taken::Wait(Why::Unavailable) if Instant::now() >= held_until => {
                    return self.put_off().await;
                }
                Taken::Wait(Why::Unavailable) => {}
            }
            tokio::select! {
                () = sleep(pause.mul_f64(rand::random_range(0.5..1.0))) => {}
                // It stays on the queue.
                () = self.desk.stop.cancelled() => return,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn refuse(&self, refusal: &Refusal) {
        let properties = headers::refused(&self.properties, refusal);
        let body = &self.incoming.body;
        let aside = self.desk.refusing.publish(body, &properties);
        let too_late = async {
            self.desk.stop.cancelled().await;
            sleep(CLOSE_TIMEOUT).await;
        };
        tokio::select! {
            () = aside => self.ack().await,
            () = too_late => {}
        }
    }

    async fn ack(&self) {
        let acked = self.channel.basic_ack(self.tag, BasicAckOptions::default());
        note(acked.await);
    }

    /// It comes again a little later, behind those that are there by then; it does not count.
    async fn put_off(&self) {
        self.reject(BasicRejectOptions { requeue: false }).await;
    }

    /// It comes again at once, and counts like what its holder died of.
    async fn requeue(&self) {
        self.reject(BasicRejectOptions { requeue: true }).await;
    }

    async fn reject(&self, options: BasicRejectOptions) {
        note(self.channel.basic_reject(self.tag, options).await);
    }
}

/// What cannot be settled comes again.
fn note(settled: lapin::Result<()>) {
    if let Err(error) = settled {
        debug!(cause = told(&error), "a message from AMQP comes again");
    }
}
