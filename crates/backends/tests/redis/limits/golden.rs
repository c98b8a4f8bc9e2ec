//! Pair records of version 1, as Redis holds them: `tests/golden/pairs-redis-v1.txt`.

#[path = "../../golden/pairs.rs"]
mod pairs;

use postrider_backends::redis::RedisLimits;
use postrider_core::ports::Limits;

use self::pairs::{CHANGED, Case, KEPT, cases, write};
use crate::support::{Kind, Place, wall_clock};

const GOLDEN: &str = include_str!("../../golden/pairs-redis-v1.txt");

/// Where a record lies, and what lies there.
struct Entry {
    key: &'static str,
    field: Vec<u8>,
    value: Vec<u8>,
}

fn entry(case: &Case) -> Entry {
    let mut lines = GOLDEN.lines().map(str::split_whitespace);
    let mut line = lines
        .find_map(|mut line| (line.next() == Some(case.name)).then_some(line))
        .unwrap_or_else(|| panic!("{} is not in the file", case.name));
    let mut next = || line.next().unwrap();
    Entry {
        key: next(),
        field: bytes(next()),
        value: bytes(next()),
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = (0..hex.len()).step_by(2);
    digits
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

fn command(verb: &str, place: &Place, key: &str) -> redis::Cmd {
    let mut command = redis::cmd(verb);
    command.arg(format!("pr1:{}:{key}", place.space));
    command
}

#[tokio::test]
async fn pair_records_of_version_1_are_read_for_ever() {
    let place = Place::new(Kind::Single);
    let limits = RedisLimits::new(place.server());
    for case in cases() {
        let Entry { key, field, value } = entry(&case);
        let mut put = command("HSET", &place, key);
        put.arg(field).arg(value);
        place.ask(put).await;
        let mut keep = command("PEXPIREAT", &place, key);
        keep.arg(wall_clock().as_millis() + 600_000);
        place.ask(keep).await;
        let found = limits.pair(wall_clock(), case.pair).await.unwrap();
        assert_eq!(found, Some(case.record), "{} is not read", case.name);
    }
}

#[tokio::test]
async fn pair_records_are_written_as_they_always_were() {
    let place = Place::new(Kind::Single);
    let limits = RedisLimits::new(place.server());
    for case in cases() {
        let Entry { key, field, value } = entry(&case);
        write(&limits, wall_clock(), &case).await;
        let mut get = command("HGET", &place, key);
        get.arg(field);
        let found: Option<Vec<u8>> = redis::from_redis_value(place.ask(get).await).unwrap();
        assert_eq!(found, Some(value), "{} {CHANGED}", case.name);
        let ends: i64 =
            redis::from_redis_value(place.ask(command("PEXPIRETIME", &place, key)).await).unwrap();
        assert!(ends >= KEPT.as_millis(), "{} goes too early", case.name);
        let gone = place.ask(command("DEL", &place, key)).await;
        drop(gone);
    }
}
