//! Reading what is posted: `cargo bench -p postrider-api`; in tests it runs once.

#![allow(missing_docs, reason = "criterion makes a public function")]

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn parsing(c: &mut Criterion) {
    let mut group = c.benchmark_group("message");
    for size in [512, 65_536] {
        let payload = format!(r#"{{"text":"{}"}}"#, "x".repeat(size - 11));
        let body = format!(r#"{{"eventType":"order.paid","payload":{payload}}}"#);
        let body = Bytes::from(body);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(format!("{size} bytes"), |b| {
            b.iter(|| {
                let read = postrider_api::read_message(black_box(&body));
                assert_eq!(read, Some(size), "the payload is found whole");
            });
        });
    }
    group.finish();
}

criterion_group!(benches, parsing);
criterion_main!(benches);
