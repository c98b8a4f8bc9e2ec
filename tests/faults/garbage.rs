//! What is no work, on every queue, while work goes on beside it.
//!
//! It belongs to no application, and no route shows it: it is looked for in the store, where its name is a hash of its
//! bytes.

use std::time::Duration;

use postrider_tests::ledger::Rules;
use postrider_tests::{Answer, PATIENCE, Receiver, Shared, within};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::Form;
use crate::stage::{Plan, Stage};

const CLIENTS: usize = 8;
const PAUSE: Duration = Duration::from_millis(50);
/// Steps of the ladder of delays that are over within seconds.
const STEPS: usize = 9;
/// What is returned waits for 30 s; asserted at three times that.
const RETURNED_WITHIN: Duration = Duration::from_secs(30);
/// A whole pack, as version 1 of the envelope has it.
const PACK: &[u8] = include_bytes!("../../crates/core/tests/golden/pack-v1.bin");

pub(crate) async fn run(form: Form) {
    let installation = Shared::new().await;
    let receiver = Receiver::start(|_, _| Answer::Status(200)).await;
    let stage = Stage::set(installation, receiver, Plan::default()).await;
    let load = stage.load(CLIENTS, PAUSE);
    let queues = queues(form.pick(1, 12));
    let garbage: Vec<Vec<u8>> = (0..queues.len()).flat_map(kinds).collect();
    for (number, bytes) in garbage.iter().enumerate() {
        let queue = &queues[number / 3];
        stage.installation.put_on_queue(queue, bytes).await;
    }
    // The same bytes on another queue are no news.
    stage.installation.put_on_queue(&queues[0], b"").await;
    stage.installation.put_on_queue(&queues[1], b"").await;
    let wanted = garbage.len() + 1;
    let put = Instant::now();
    let filed = within(3 * RETURNED_WITHIN + PATIENCE, || async {
        (stage.filed().await >= wanted).then_some(())
    });
    let in_time = filed.await.is_some();
    let took = put.elapsed();
    let retries = load.stop().await;
    let (mut missing, mut whole) = (Vec::new(), 0);
    for (number, bytes) in garbage.iter().enumerate() {
        match stage.kept(bytes).await {
            Kept::Not => missing.push(&queues[number / 3]),
            Kept::Compressed => {}
            Kept::Whole => whole += 1,
        }
    }
    let figures = format!(
        "queues={} garbage={} filed={} byte_for_byte={whole} took={took:.1?} retries={retries}",
        queues.len(),
        garbage.len() + 2,
        stage.filed().await,
    );
    let verdict = stage
        .judge("garbage", &Rules::default(), PATIENCE, figures)
        .await;
    assert!(in_time && missing.is_empty(), "not filed: {missing:?}");
    assert_eq!(stage.filed().await, wanted, "each is filed once");
    assert!(whole >= 2 * queues.len(), "what is not compressed is seen");
    assert_eq!(verdict.dead, 0, "nobody else is given up");
}

/// One of each kind, or all that can be consumed, and where time passes.
fn queues(shards: usize) -> Vec<String> {
    let keys = (0..8).map(|key| key.to_string());
    let large = (0..4).map(|key| format!("l{key}"));
    let keys: Vec<String> = match shards {
        1 => vec!["0".to_owned(), "l0".to_owned()],
        _ => keys.chain(large).collect(),
    };
    let mut queues = Vec::new();
    for kind in ["events", "retry"] {
        queues.extend(keys.iter().map(|key| format!("pr.v1.{kind}.{key}")));
    }
    queues.extend((0..STEPS).map(|step| format!("pr.v1.delay.{step}")));
    let others = ["dead", "quarantine", "returned", "quarantine.returned"];
    queues.extend(others.map(|name| format!("pr.v1.{name}")));
    queues
}

/// No pack at all, one of a later version, and one that was cut off: none of them like any other.
fn kinds(queue: usize) -> [Vec<u8>; 3] {
    let random: [u8; 32] = rand::random();
    let garbage = [b"\xc1garbage".as_slice(), &random].concat();
    let later = [b"\x02".as_slice(), &random, b"of a later version"].concat();
    [garbage, later, PACK[..PACK.len() - 1 - queue].to_vec()]
}

enum Kept {
    Not,
    /// Its name tells its bytes.
    Compressed,
    Whole,
}

impl Stage {
    /// Dead letters of no application.
    async fn filed(&self) -> usize {
        let count = self.installation.redis.command("HLEN pr1:{pr}db").await;
        count.parse().unwrap()
    }

    async fn kept(&self, bytes: &[u8]) -> Kept {
        const LOOK: &str = "local body = redis.call('HGET', KEYS[1], ARGV[1]); \
             if not body then return 0 end; \
             return string.sub(body, -#ARGV[2]) == ARGV[2] and 2 or 1";
        let hash = Sha256::digest(bytes);
        let name = [[0; 5].as_slice(), &hash[..15]].concat();
        let (name, bytes) = (quoted(&name), quoted(bytes));
        let look = format!("EVAL \"{LOOK}\" 1 pr1:{{pr}}db {name} {bytes}");
        match &*self.installation.redis.command(&look).await {
            "0" => Kept::Not,
            "1" => Kept::Compressed,
            "2" => Kept::Whole,
            other => panic!("{other}"),
        }
    }
}

/// As Redis reads a line that somebody typed.
fn quoted(bytes: &[u8]) -> String {
    let escaped: String = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
    format!("\"{escaped}\"")
}
