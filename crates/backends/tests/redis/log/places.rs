//! A Cluster whose servers do not have the same room.

use postrider_backends::redis::{LogOptions, RedisLog};
use postrider_core::samples::NOW;

use super::bounds::{fill, is_there, retain_all};
use super::events::{HOUR, an_app};
use crate::own::{OwnCluster, OwnServer};

async fn periods(node: &OwnServer) -> usize {
    let mut command = redis::cmd("KEYS");
    command.arg("pr1:{a*}hr");
    let keys: Vec<Vec<u8>> = command
        .query_async(&mut node.connect().await)
        .await
        .unwrap();
    keys.len()
}

#[tokio::test]
async fn only_the_server_that_has_too_little_room_sheds() {
    let cluster = OwnCluster::start().await;
    let log = RedisLog::new(cluster.server(), LogOptions::default());
    let app = an_app();
    let mut last = Vec::new();
    for hour in (0..24).rev() {
        last = fill(&log, app, NOW - HOUR * hour, 200, 1_000).await;
    }
    for [full, roomy] in [[0, 1], [1, 0]] {
        let [full, roomy] = [full, roomy].map(|node| &cluster.nodes[node]);
        let before = (periods(full).await, periods(roomy).await);
        assert!(before.0 > 2 && before.1 > 2, "{before:?}");
        let limit = full.memory().await;
        full.limit_memory(limit).await;
        assert!(retain_all(&log, NOW - HOUR * 72).await > 0);
        let used = full.memory().await;
        assert!(used <= limit * 8 / 10, "{used} of {limit} bytes are used");
        assert!(used >= limit * 6 / 10, "no more than has to: {used}");
        assert!(periods(full).await < before.0);
        assert_eq!(periods(roomy).await, before.1, "the other one stays whole");
        full.limit_memory(0).await;
    }
    assert!(is_there(&log, &last[0]).await, "the youngest stays");
}
