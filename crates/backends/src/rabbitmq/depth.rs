//! Counting what is there.
//!
//! AMQP tells how many messages of a queue are ready, and nothing about those that other connections hold: they are counted
//! by whoever holds them. What this process holds it knows.
//!
//! A consumed queue is asked on the channel that consumes it. The answer comes after everything that was said on that channel
//! before has reached the queue, so it also makes sure that what was acknowledged stays so.

use std::time::Duration;

use futures_util::future::try_join_all;
use postrider_core::ports::{Depth, PortError};
use tokio::time::{Instant, timeout};

use super::consume::{Desk, Surveyed};
use super::declare::Declared;
use super::error::{is_missing, told, unavailable};
use super::link::{Link, count, to_its_end};
use super::sight::Sight;
use super::topology::{Source, waiting_queues};

const PATIENCE: Duration = Duration::from_secs(5);

/// Whoever finds a queue missing by the way has it made anew.
pub(super) async fn depth(
    desk: &Desk,
    link: &Link,
    declared: &Declared,
) -> Result<Depth, PortError> {
    let noticed = Instant::now();
    let counting = timeout(PATIENCE, counted(desk, link, &declared.sight));
    match counting.await {
        Ok(Ok(depth)) => {
            let _ = declared.look_again(link).await;
            Ok(depth)
        }
        Ok(Err(error)) => {
            if is_missing(&error) {
                let _ = declared.again(link, noticed).await;
            }
            Err(unavailable(told(&error)))
        }
        Err(_) => Err(unavailable(format!("no answer within {PATIENCE:?}"))),
    }
}

async fn counted(desk: &Desk, link: &Link, sight: &Sight) -> lapin::Result<Depth> {
    let surveyed = desk.survey();
    let consumed = try_join_all(surveyed.iter().filter_map(ask_its_channel));
    let (own, other): (Vec<_>, Vec<_>) = surveyed.iter().partition(|queue| queue.channel.is_some());
    let mut names: Vec<String> = other.iter().map(|queue| queue.source.queue()).collect();
    names.extend(waiting_queues());
    let (consumed, rest) = tokio::try_join!(consumed, link.count(&names))?;
    desk.told(&surveyed);
    for (name, count) in names.iter().zip(&rest) {
        sight.counted(name, *count);
    }
    let (unconsumed, waiting) = rest.split_at(other.len());
    let tally = desk.tally();
    let mut depth = Depth {
        ready: tally.fetched,
        waiting: waiting.iter().sum(),
        leased: tally.leased,
        quarantined: tally.quarantined,
    };
    let all = own
        .iter()
        .zip(&consumed)
        .chain(other.iter().zip(unconsumed));
    for (queue, count) in all {
        sight.counted(&queue.source.queue(), *count);
        match queue.source {
            Source::Quarantine => depth.quarantined += count,
            _ => depth.ready += count,
        }
    }
    Ok(depth)
}

fn ask_its_channel(queue: &Surveyed) -> Option<impl Future<Output = lapin::Result<u64>>> {
    let (_, channel) = queue.channel.clone()?;
    let name = queue.source.queue();
    Some(to_its_end(async move { count(&channel, &name).await }))
}
