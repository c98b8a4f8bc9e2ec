//! Which queues and exchanges do not exist, and whose turn it is to make them.

use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{Channel, ExchangeKind};
use tokio::time::{sleep, timeout};

use super::error::{is_locked, is_missing};
use super::link::{Link, count, to_its_end};
use super::sight::{Absent, Sight};
use super::topology::{DEAD, FIRST_QUEUE, LAST_QUEUE, TURN, exchanges, queues};

/// Things that are asked for in one row. Whatever follows one that is missing has to be asked for again, on another channel, so
/// that rows are short; they are asked for side by side.
const ROW: usize = 12;
/// Somebody who has the turn for longer may be stopped; then two reports of one loss are better than no queues.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);
const TURN_AGAIN: Duration = Duration::from_millis(50);

/// What does not exist. What does is counted by the way.
pub(super) async fn absent(link: &Link, sight: &Sight) -> lapin::Result<Absent> {
    let queues = queues().into_iter().map(|queue| Thing::Queue(queue.name));
    let exchanges = exchanges().into_iter();
    let exchanges = exchanges.map(|(name, kind)| Thing::Exchange(name, kind));
    let things: Vec<Thing> = queues.chain(exchanges).collect();
    let rows = things.chunks(ROW).map(|row| absent_of(link, row, sight));
    let mut absent = Absent::default();
    for thing in try_join_all(rows).await?.into_iter().flatten() {
        thing.note(&mut absent);
    }
    Ok(absent)
}

/// Whether nothing was ever declared here, as far as a few queues tell: each that is missing closes a channel, and is an error in
/// the server's log.
pub(super) async fn is_bare(link: &Link, sight: &Sight) -> lapin::Result<bool> {
    for queue in [FIRST_QUEUE, DEAD, LAST_QUEUE] {
        let thing = [Thing::Queue(queue.to_owned())];
        if absent_of(link, &thing, sight).await?.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn absent_of<'a>(
    link: &Link,
    mut row: &'a [Thing],
    sight: &Sight,
) -> lapin::Result<Vec<&'a Thing>> {
    let mut absent = Vec::new();
    let mut channel = link.channel().await?;
    while !row.is_empty() {
        let answers = to_its_end(ask(channel.clone(), row.to_vec())).await?;
        let answered = answers.iter().take_while(|answer| answer.is_ok()).count();
        for (thing, answer) in row.iter().zip(&answers) {
            if let (Thing::Queue(name), Ok(ready)) = (thing, answer) {
                sight.counted(name, *ready);
            }
        }
        row = &row[answered..];
        // With such an answer the server closes the channel, and answers nothing that was asked behind it.
        if let Some(Err(error)) = answers.into_iter().nth(answered) {
            if !is_missing(&error) {
                return Err(error);
            }
            absent.push(&row[0]);
            row = &row[1..];
            channel = link.channel().await?;
        }
    }
    let _ = channel.close(200, "OK".into()).await;
    Ok(absent)
}

/// In this order: what is missing is told by the first answer that is none.
async fn ask(channel: Channel, row: Vec<Thing>) -> lapin::Result<Vec<lapin::Result<u64>>> {
    Ok(join_all(row.iter().map(|thing| thing.exists(&channel))).await)
}

#[derive(Clone)]
enum Thing {
    Queue(String),
    Exchange(String, ExchangeKind),
}

impl Thing {
    /// With how many messages are ready; an exchange has none.
    async fn exists(&self, channel: &Channel) -> lapin::Result<u64> {
        match self {
            Self::Queue(name) => count(channel, name).await,
            Self::Exchange(name, kind) => {
                let passive = ExchangeDeclareOptions {
                    passive: true,
                    ..ExchangeDeclareOptions::default()
                };
                let (name, kind) = (name.as_str().into(), kind.clone());
                let asked = channel.exchange_declare(name, kind, passive, FieldTable::default());
                asked.await?;
                Ok(0)
            }
        }
    }

    fn note(&self, absent: &mut Absent) {
        match self {
            Self::Queue(name) => absent.queues.push(name.clone()),
            Self::Exchange(name, _) => absent.exchanges.push(name.clone()),
        }
    }
}

/// The right to make what is missing: an exclusive queue, which ends with its connection. Others are made to wait for it, for a
/// while.
pub(super) struct Turn(Option<Channel>);

impl Turn {
    pub(super) async fn take(link: &Link) -> Self {
        let taken = timeout(TURN_TIMEOUT, async {
            loop {
                match Self::try_take(link).await {
                    Ok(channel) => return Some(channel),
                    Err(error) if is_locked(&error) => sleep(TURN_AGAIN).await,
                    Err(_) => return None,
                }
            }
        });
        Self(taken.await.ok().flatten())
    }

    async fn try_take(link: &Link) -> lapin::Result<Channel> {
        let channel = link.channel().await?;
        let exclusive = QueueDeclareOptions {
            exclusive: true,
            ..QueueDeclareOptions::default()
        };
        let asked = async move {
            let none = FieldTable::default();
            channel.queue_declare(TURN.into(), exclusive, none).await?;
            Ok(channel)
        };
        to_its_end(asked).await
    }

    pub(super) async fn release(self) {
        let Some(channel) = self.0 else { return };
        let given_up = async {
            let options = QueueDeleteOptions::default();
            let _ = channel.queue_delete(TURN.into(), options).await;
            let _ = channel.close(200, "OK".into()).await;
        };
        let _ = timeout(TURN_TIMEOUT, given_up).await;
    }
}
