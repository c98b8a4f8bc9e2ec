//! The steps that every event takes in memory. `cargo bench -p postrider-core --features samples`; in tests each runs once.

#![allow(missing_docs, reason = "criterion makes a public function")]

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use postrider_core::matching::matches;
use postrider_core::message::{Event, Item, Work};
use postrider_core::{envelope, samples};
use postrider_signature::{SigningKey, sign_all};

const PAYLOAD: usize = 512;
/// As many as travel together.
const ITEMS: usize = 64;

fn event() -> Event {
    Event {
        payload: Bytes::from(vec![b'x'; PAYLOAD]),
        ..samples::event()
    }
}

fn signing(c: &mut Criterion) {
    let secret = samples::endpoint().secrets.remove(0);
    let key: SigningKey = secret
        .key
        .expose()
        .parse()
        .expect("a sample has a good key");
    let event = event();
    let id = event.message.to_string();
    let mut group = c.benchmark_group("signing");
    group.throughput(Throughput::Elements(1));
    group.bench_function("512 bytes", |b| {
        b.iter(|| sign_all([&key], black_box(&id), 1_700_000_000, &event.payload));
    });
    group.finish();
}

fn packs(c: &mut Criterion) {
    let item = Item {
        event: Arc::new(event()),
        work: Work::Match,
        maybe_dup: false,
    };
    let items = vec![item; ITEMS];
    let pack = envelope::encode(&items);
    let mut group = c.benchmark_group("envelope");
    group.throughput(Throughput::Elements(ITEMS as u64));
    group.bench_function("encode 64", |b| {
        b.iter(|| envelope::encode(black_box(&items)));
    });
    group.bench_function("decode 64", |b| {
        b.iter(|| envelope::decode(black_box(&pack)));
    });
    group.finish();
}

fn matching(c: &mut Criterion) {
    let event = event();
    let mut chosen = samples::endpoint();
    chosen.event_types = Some([event.event_type.clone()].into());
    let all = samples::endpoint();
    let mut group = c.benchmark_group("matching");
    group.throughput(Throughput::Elements(2));
    group.bench_function("all events, one type", |b| {
        b.iter(|| {
            (
                matches(black_box(&all), &event),
                matches(black_box(&chosen), &event),
            )
        });
    });
    group.finish();
}

criterion_group!(benches, signing, packs, matching);
criterion_main!(benches);
