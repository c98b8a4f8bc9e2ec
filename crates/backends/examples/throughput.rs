//! What one node's file takes: events that are accepted, delivered in no time, and settled.
//!
//! ```text
//! cargo run --release -p postrider-backends --example throughput -- [events] [directory] [producers]
//! ```
//!
//! 64 producers (or as many as are asked for) each reserve a key and publish, one event after the other; messages
//! are recorded and reservations completed behind them, in batches. A worker leases what is ready, records an
//! attempt for each, settles the pairs, and acknowledges, 64 packs at a time. Prints events per second, the time
//! a durable publish takes, and the processor time per event.
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
use postrider_backends::embedded::{Embedded, Options};
use postrider_core::attempt::AttemptRecord;
use postrider_core::envelope;
use postrider_core::id::{AppId, AttemptId, EndpointId, MessageId, OrgId};
use postrider_core::message::{Event, Item, Trigger, Work};
use postrider_core::name::EventTypeName;
use postrider_core::pair::{ChainId, PairKey, PairOutcome, PairState};
use postrider_core::ports::{
    Answer, IdempotencyKey, LogRecord, Pack, Partition, Ports, Reservation, ReservationKey,
    Settlement,
};
use postrider_core::time::{Clock, SystemClock, Timestamp};
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::time::Instant;

const PRODUCERS: usize = 64;
const ROOM: usize = 64;
const BEHIND: usize = 1_000;
const PAYLOAD: usize = 512;
const APPS: usize = 50;
const ENDPOINTS: usize = 1_000;
const KEPT: Duration = Duration::from_secs(600);

#[tokio::main(worker_threads = 2)]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let events: usize = arguments
        .next()
        .map_or(200_000, |text| text.parse().unwrap());
    let dir = arguments
        .next()
        .map_or_else(std::env::temp_dir, Into::into)
        .join("postrider-throughput");
    let producers = arguments
        .next()
        .map_or(PRODUCERS, |text| text.parse().unwrap());
    let _ = std::fs::remove_dir_all(&dir);
    let embedded = Embedded::open(&dir, Options::default()).unwrap();
    let world = Arc::new(World::new(events, embedded.ports()));
    let (start, cpu) = (Instant::now(), cpu_time());
    let (accepted, behind) = tokio::sync::mpsc::channel(BEHIND);
    let produce = |_| tokio::spawn(produce(Arc::clone(&world), accepted.clone()));
    let mut running: Vec<_> = (0..producers).map(produce).collect();
    drop(accepted);
    running.push(tokio::spawn(follow(Arc::clone(&world), behind)));
    running.push(tokio::spawn(consume(Arc::clone(&world))));
    for task in running {
        task.await.unwrap();
    }
    report(&world, start.elapsed(), cpu_time() - cpu);
    drop(world);
    embedded.close().await;
    let bytes = std::fs::metadata(dir.join("postrider.db")).unwrap().len();
    println!("{} bytes on disk per event", bytes / events as u64);
    std::fs::remove_dir_all(dir).unwrap();
}

/// An event that is durable, and the reservation to complete.
type Accepted = (Arc<Event>, (ReservationKey, Answer));

struct World {
    ports: Ports,
    events: usize,
    begun: AtomicUsize,
    latencies: Mutex<Vec<Duration>>,
}

impl World {
    fn new(events: usize, ports: Ports) -> Self {
        Self {
            ports,
            events,
            begun: AtomicUsize::new(0),
            latencies: Mutex::new(Vec::with_capacity(events)),
        }
    }
}

fn app(index: usize) -> AppId {
    let mut bytes = [3; 20];
    bytes[12..].copy_from_slice(&(index % APPS).to_be_bytes());
    AppId::from_bytes(bytes)
}

fn endpoint(index: usize) -> EndpointId {
    let mut bytes = [5; 20];
    bytes[12..].copy_from_slice(&(index % ENDPOINTS).to_be_bytes());
    EndpointId::from_bytes(bytes)
}

async fn produce(world: Arc<World>, accepted: Sender<Accepted>) {
    loop {
        let index = world.begun.fetch_add(1, Ordering::Relaxed);
        if index >= world.events {
            return;
        }
        let now = SystemClock.now();
        let event = Arc::new(Event {
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
        });
        let done = accept(&world, now, event).await;
        accepted.send(done).await.unwrap();
    }
}

async fn accept(world: &World, now: Timestamp, event: Arc<Event>) -> Accepted {
    let key = ReservationKey {
        partition: Partition::App(event.app),
        key: Some(IdempotencyKey {
            hash: rand::random(),
            automatic: true,
        }),
        event_id: None,
    };
    let reservation = Reservation {
        key: key.clone(),
        candidate: event.message,
        body: [0; 16],
        lease_until: now + KEPT,
        key_until: now + KEPT,
        event_id_until: now + KEPT,
    };
    world.ports.limits.reserve(now, &reservation).await.unwrap();
    let item = Item {
        event: Arc::clone(&event),
        work: Work::Match,
        maybe_dup: false,
    };
    let start = Instant::now();
    world.ports.broker.publish(now, vec![item]).await.unwrap();
    world.latencies.lock().push(start.elapsed());
    let answer = Answer {
        id: event.message,
        at: now,
        status: 202,
        body: Bytes::new(),
    };
    (event, (key, answer))
}

/// Writes what nobody waits for, as much at a time as has gathered.
async fn follow(world: Arc<World>, mut behind: Receiver<Accepted>) {
    let mut gathered = Vec::new();
    while behind.recv_many(&mut gathered, BEHIND).await > 0 {
        let (events, done): (Vec<_>, Vec<_>) = gathered.drain(..).unzip();
        let messages = events
            .into_iter()
            .map(|event| LogRecord::Accepted(event.into()));
        let recorded = world.ports.log.record(messages.collect());
        let completed = world.ports.limits.complete(SystemClock.now(), done);
        let (recorded, completed) = tokio::join!(recorded, completed);
        recorded.and(completed).unwrap();
    }
}

async fn consume(world: Arc<World>) {
    let mut left = world.events;
    let mut settling = tokio::task::JoinSet::new();
    while left > 0 {
        let packs = world
            .ports
            .broker
            .lease(SystemClock.now(), ROOM)
            .await
            .unwrap()
            .packs;
        if packs.is_empty() {
            world.ports.broker.wait().await;
            continue;
        }
        left -= packs.len();
        if settling.len() >= 16 {
            settling.join_next().await.unwrap().unwrap();
        }
        settling.spawn(settle(Arc::clone(&world), packs));
    }
    settling.join_all().await;
}

async fn settle(world: Arc<World>, packs: Vec<Pack>) {
    let now = SystemClock.now();
    let mut records = Vec::new();
    let mut settlements = Vec::new();
    for pack in &packs {
        for item in envelope::decode(&pack.bytes).unwrap() {
            let endpoint = endpoint(rand::random::<u32>() as usize);
            records.push(LogRecord::Attempt(attempt(&item.event, endpoint, now)));
            settlements.push(settlement(&item.event, endpoint, now));
        }
    }
    let recorded = world.ports.log.record(records);
    let settled = world.ports.limits.settle(now, settlements);
    let (recorded, settled) = tokio::join!(recorded, settled);
    recorded.and(settled).unwrap();
    let receipts = packs.iter().map(|pack| pack.receipt).collect();
    world.ports.broker.ack(receipts).await.unwrap();
}

fn attempt(event: &Event, endpoint: EndpointId, now: Timestamp) -> AttemptRecord {
    AttemptRecord {
        id: AttemptId::new(now, rand::random()),
        app: event.app,
        message: event.message,
        endpoint,
        chain: ChainId::FIRST,
        attempt: 1,
        trigger: Trigger::Scheduled,
        at: now,
        url: "https://hooks.example.org/in".to_owned(),
        succeeded: true,
        status_code: 200,
        response: "ok".to_owned(),
        duration_ms: 12,
        event_type: event.event_type.clone(),
        channels: Vec::new(),
    }
}

fn settlement(event: &Event, endpoint: EndpointId, now: Timestamp) -> Settlement {
    Settlement {
        pair: PairKey {
            app: event.app,
            message: event.message,
            endpoint,
        },
        chain: ChainId::FIRST,
        attempt: 1,
        outcome: PairOutcome::Ended(PairState::Delivered),
        keep_until: now + KEPT,
    }
}

fn report(world: &World, took: Duration, cpu: Duration) {
    let mut latencies = std::mem::take(&mut *world.latencies.lock());
    latencies.sort_unstable();
    let quantile =
        |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    let events = world.events as f64;
    println!(
        "{:.0} events/s; durable publish p50 {:.2} ms, p99 {:.2} ms; {:.1} µs of processor time per event",
        events / took.as_secs_f64(),
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
