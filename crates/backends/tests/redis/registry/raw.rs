//! Redis behind the registry's back: what crashes, operators and lost files do to it.

use std::collections::HashMap;

use postrider_core::id::{AppId, OrgId};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, cmd};

use crate::support::Place;

pub(super) struct Raw {
    nodes: Vec<MultiplexedConnection>,
    space: String,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Raw {
    pub(super) async fn connect(place: &Place) -> Self {
        let mut nodes = Vec::new();
        for url in place.kind.url().split(',') {
            let client = redis::Client::open(url).unwrap();
            nodes.push(client.get_multiplexed_async_connection().await.unwrap());
        }
        Self {
            nodes,
            space: place.space.clone(),
        }
    }

    pub(super) fn installation(&self, kind: &str) -> String {
        format!("pr1:{}:{{pr}}{kind}", self.space)
    }

    pub(super) fn org(&self, org: OrgId, kind: &str) -> String {
        format!("pr1:{}:{{o{}}}{kind}", self.space, hex(org.as_bytes()))
    }

    pub(super) fn app(&self, app: AppId, kind: &str) -> String {
        format!("pr1:{}:{{a{}}}{kind}", self.space, hex(app.as_bytes()))
    }

    /// Asks the one node that has the keys.
    pub(super) async fn run<T: FromRedisValue>(&self, command: &Cmd) -> T {
        for node in &self.nodes {
            match command.query_async(&mut node.clone()).await {
                Ok(answer) => return answer,
                Err(error) if error.code() == Some("MOVED") => {}
                Err(error) => panic!("{error}"),
            }
        }
        panic!("no node has it");
    }

    pub(super) async fn delete(&self, key: &str) {
        let deleted: usize = self.run(cmd("DEL").arg(key)).await;
        assert_eq!(deleted, 1, "{key} was there");
    }

    async fn keys(&self, node: &MultiplexedConnection) -> Vec<String> {
        let pattern = format!("pr1:{}:*", self.space);
        let (mut found, mut cursor) = (Vec::new(), 0u64);
        loop {
            let mut scan = cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(&pattern);
            scan.arg("COUNT").arg(1_000);
            let (next, keys): (u64, Vec<String>) =
                scan.query_async(&mut node.clone()).await.unwrap();
            found.extend(keys);
            cursor = next;
            if cursor == 0 {
                return found;
            }
        }
    }

    /// What FLUSHALL does, to this installation: each slot at one moment.
    pub(super) async fn flush(&self) {
        for node in &self.nodes {
            let mut slots: HashMap<String, Cmd> = HashMap::new();
            for key in self.keys(node).await {
                let tag = key.split_inclusive('}').next().unwrap().to_owned();
                slots.entry(tag).or_insert_with(|| cmd("DEL")).arg(key);
            }
            for deleting in slots.values() {
                let deleting = deleting.query_async(&mut node.clone()).await;
                let (): () = deleting.unwrap();
            }
        }
    }

    /// The state as of now, to go back to.
    pub(super) async fn save(&self) -> Vec<(String, Vec<u8>)> {
        let mut saved = Vec::new();
        for node in &self.nodes {
            for key in self.keys(node).await {
                let dump: Option<Vec<u8>> = self.run(cmd("DUMP").arg(&key)).await;
                saved.extend(dump.map(|dump| (key, dump)));
            }
        }
        saved
    }

    /// What a restart does that loses the end of the append-only file.
    pub(super) async fn go_back_to(&self, saved: &[(String, Vec<u8>)]) {
        self.flush().await;
        // The counter last: nobody looks at anything else before.
        let mut saved: Vec<_> = saved.iter().collect();
        saved.sort_by_key(|(key, _)| key.ends_with("rversion") || key.ends_with("repoch"));
        for (key, dump) in saved {
            let (): () = self
                .run(cmd("RESTORE").arg(key).arg(0).arg(dump).arg("REPLACE"))
                .await;
        }
    }

    /// Applications that have anything in their slots.
    pub(super) async fn all_apps(&self) -> Vec<AppId> {
        let mut apps = Vec::new();
        let prefix = format!("pr1:{}:{{a", self.space);
        for node in &self.nodes {
            let keys = self.keys(node).await;
            let named = keys.iter().filter_map(|key| {
                let id = key.strip_prefix(&prefix)?.strip_suffix("}r")?;
                let byte = |at| u8::from_str_radix(id.get(at..at + 2)?, 16).ok();
                let bytes: Option<Vec<u8>> = (0..id.len()).step_by(2).map(byte).collect();
                Some(AppId::from_bytes(bytes?.try_into().ok()?))
            });
            apps.extend(named);
        }
        apps
    }

    pub(super) async fn version(&self) -> u64 {
        self.run(cmd("GET").arg(self.installation("rversion")))
            .await
    }

    /// The server's clock.
    pub(super) async fn millis(&self) -> u64 {
        let mut node = self.nodes[0].clone();
        let time: (u64, u64) = cmd("TIME").query_async(&mut node).await.unwrap();
        time.0 * 1_000 + time.1 / 1_000
    }

    /// The bytes that a key takes.
    pub(super) async fn memory(&self, key: &str) -> usize {
        let mut usage = cmd("MEMORY");
        usage.arg("USAGE").arg(key).arg("SAMPLES").arg(0);
        self.run(&usage).await
    }

    /// Who listens to change notices.
    pub(super) async fn listeners(&self) -> usize {
        let channel = format!("pr1:{}:changes", self.space);
        let mut count = cmd("PUBSUB");
        count.arg("NUMSUB").arg(&channel);
        let mut listeners = 0;
        for node in &self.nodes {
            let (_, there): (String, usize) = count.query_async(&mut node.clone()).await.unwrap();
            listeners += there;
        }
        listeners
    }
}
