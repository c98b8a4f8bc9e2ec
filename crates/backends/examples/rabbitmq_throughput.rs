//! What RabbitMQ takes of this backend: events that are published, leased and acknowledged, and nothing else.
//!
//! ```text
//! cargo run --release -p postrider-backends --example rabbitmq_throughput -- amqp://…/vhost [events] [publishers] [backlog]
//! ```
//!
//! As many publishers (64) publish events of 512 bytes, one after the other; a worker leases what is ready and acknowledges
//! it, 64 packs at a time. With `backlog`, nothing is leased: everything stays, to be looked at on the server. Prints events
//! per second, events per pack, the time a confirmed publish takes, and this process's processor time per event. Use an empty
//! virtual host.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for a terminal"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use postrider_backends::rabbitmq::{Options, RabbitMq};
use postrider_core::envelope;
use postrider_core::id::{AppId, MessageId, OrgId};
use postrider_core::message::{Event, Item, Work};
use postrider_core::name::EventTypeName;
use postrider_core::ports::Broker;
use postrider_core::time::{Clock, SystemClock};
use tokio::time::Instant;

const ROOM: usize = 64;
const PAYLOAD: usize = 512;
const APPS: usize = 50;

struct World {
    broker: RabbitMq,
    events: usize,
    begun: AtomicUsize,
    latencies: Mutex<Vec<Duration>>,
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize, usual: usize| {
        let given = arguments.get(index);
        given.map_or(usual, |text| text.parse().unwrap())
    };
    let url = arguments.first().expect("the address of a virtual host");
    let world = Arc::new(World {
        broker: RabbitMq::new(url, Options::default()).unwrap(),
        events: number(1, 100_000),
        begun: AtomicUsize::new(0),
        latencies: Mutex::default(),
    });
    let publishers = number(2, 64);
    world.broker.start();
    world.broker.up().await;
    if arguments.get(3).is_none() {
        // So that consumers are there when it begins.
        world.broker.lease(SystemClock.now(), 0).await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let (start, cpu) = (Instant::now(), cpu_time());
    let publish = |_| tokio::spawn(publish(Arc::clone(&world)));
    let mut running: Vec<_> = (0..publishers).map(publish).collect();
    let consuming = match arguments.get(3) {
        Some(_) => None,
        None => Some(tokio::spawn(consume(Arc::clone(&world)))),
    };
    for task in running.drain(..) {
        task.await.unwrap();
    }
    let published = start.elapsed();
    let packs = match consuming {
        Some(consuming) => consuming.await.unwrap(),
        None => world.broker.depth(SystemClock.now()).await.unwrap().ready,
    };
    let took = start.elapsed();
    report(&world, [published, took, cpu_time() - cpu], packs);
    let start = Instant::now();
    const COUNTS: u32 = 20;
    for _ in 0..COUNTS {
        world.broker.depth(SystemClock.now()).await.unwrap();
    }
    println!("depth in {:.1?}", start.elapsed() / COUNTS);
    world.broker.close().await;
}

async fn publish(world: Arc<World>) {
    loop {
        let index = world.begun.fetch_add(1, Ordering::Relaxed);
        if index >= world.events {
            return;
        }
        let now = SystemClock.now();
        let event = Event {
            org: OrgId::MIN,
            app: app(index),
            message: MessageId::new(now, rand::random()),
            event_id: None,
            event_type: EventTypeName::new("order.paid").unwrap(),
            channels: Vec::new(),
            tags: Vec::new(),
            headers: Default::default(),
            accepted_at: now,
            deliver_at: None,
            payload_until: now + Duration::from_secs(90 * 24 * 3600),
            registry_version: 1,
            payload: Bytes::from_static(&[b'x'; PAYLOAD]),
        };
        let item = Item {
            event: Arc::new(event),
            work: Work::Match,
            maybe_dup: false,
        };
        let start = Instant::now();
        world.broker.publish(now, vec![item]).await.unwrap();
        world.latencies.lock().push(start.elapsed());
    }
}

fn app(index: usize) -> AppId {
    let mut bytes = [3; 20];
    bytes[12..].copy_from_slice(&(index % APPS).to_be_bytes());
    AppId::from_bytes(bytes)
}

/// Returns how many packs it took.
async fn consume(world: Arc<World>) -> u64 {
    let (mut left, mut packs) = (world.events, 0);
    while left > 0 {
        let leased = world.broker.lease(SystemClock.now(), ROOM).await.unwrap();
        if leased.packs.is_empty() {
            world.broker.wait().await;
            continue;
        }
        packs += leased.packs.len() as u64;
        for pack in &leased.packs {
            left -= envelope::decode(&pack.bytes).unwrap().len();
        }
        let receipts = leased.packs.iter().map(|pack| pack.receipt).collect();
        world.broker.ack(receipts).await.unwrap();
    }
    packs
}

fn report(world: &World, [published, took, cpu]: [Duration; 3], packs: u64) {
    let mut latencies = std::mem::take(&mut *world.latencies.lock());
    latencies.sort_unstable();
    let quantile =
        |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    let events = world.events as f64;
    println!(
        "{:.0} events/s published, {:.0} worked off; {:.1} events a pack; confirmed publish p50 {:.2} ms, p99 {:.2} ms; \
         {:.1} µs of processor time per event",
        events / published.as_secs_f64(),
        events / took.as_secs_f64(),
        events / packs as f64,
        quantile(0.5),
        quantile(0.99),
        cpu.as_secs_f64() * 1e6 / events
    );
}

/// Processor time of this process, as Linux counts it: in ticks of 10 ms.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace();
    let ticks: u64 = fields
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 10)
}
