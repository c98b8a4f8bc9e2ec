//! A Redis Cluster of a test's own: three masters, each with a replica that takes over where it dies.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::RedisServer;
use crate::eventually;

const MASTERS: usize = 3;
/// Forming one may fail because a port is taken meanwhile.
const TRIES: usize = 3;
/// After which the others take a node for dead.
const NODE_TIMEOUT: Duration = Duration::from_secs(1);

/// Killed when dropped, its data with it.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<RedisServer>,
}

impl RedisCluster {
    pub async fn start() -> Self {
        for _ in 0..TRIES {
            let mut nodes = Vec::new();
            for _ in 0..2 * MASTERS {
                nodes.extend(RedisServer::start_in_cluster(NODE_TIMEOUT).await);
            }
            let cluster = Self { nodes };
            if cluster.nodes.len() == 2 * MASTERS && cluster.form().await {
                cluster.agree().await;
                return cluster;
            }
        }
        panic!("no Redis Cluster came up; redis-cli must be in the PATH");
    }

    async fn form(&self) -> bool {
        let mut command = Command::new("redis-cli");
        command.args(["--cluster", "create"]);
        command.args(self.nodes.iter().map(RedisServer::address));
        command.args(["--cluster-replicas", "1", "--cluster-yes"]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.status().await.is_ok_and(|status| status.success())
    }

    /// Waits until each node knows all of them, and each replica has what its master has.
    async fn agree(&self) {
        for node in &self.nodes {
            eventually("the nodes of a Cluster to agree", || async {
                let state = node.cluster_info("cluster_state").await?;
                let known = node.cluster_info("cluster_known_nodes").await?;
                let linked = node.info("replication", "master_link_status").await;
                let follows = linked.is_none_or(|status| status == "up");
                (state == "ok" && known == (2 * MASTERS).to_string() && follows).then_some(())
            })
            .await;
        }
    }

    /// For `POSTRIDER_STORE`.
    #[must_use]
    pub fn url(&self) -> String {
        let nodes = self.nodes.iter();
        let urls = nodes.map(|node| format!("redis://{}", node.address()));
        urls.collect::<Vec<_>>().join(",")
    }

    /// The node that holds the slot of `key`, by its place.
    pub async fn master_of(&self, key: &str) -> usize {
        for (place, node) in self.nodes.iter().enumerate() {
            let answer = node.command(&format!("EXISTS {key}")).await;
            let is_elsewhere = answer.starts_with("MOVED");
            let role = node.info("replication", "role").await;
            if !is_elsewhere && role.as_deref() == Some("master") {
                return place;
            }
        }
        panic!("no node holds {key}");
    }

    /// `kill -9` of a node.
    pub async fn kill(&mut self, node: usize) {
        self.nodes[node].kill().await;
    }

    /// Up again, as a replica of whoever took over, with what that one has.
    pub async fn start_again(&mut self, node: usize) {
        self.nodes[node].start_again().await;
        let node = &self.nodes[node];
        eventually("a former master to follow", || async {
            let linked = node.info("replication", "master_link_status").await;
            (linked.as_deref() == Some("up")).then_some(())
        })
        .await;
    }

    /// Waits until there are three masters again without that one, and every slot has one.
    pub async fn promoted_without(&self, dead: usize) {
        eventually("a replica to be promoted", || async {
            let mut masters = 0;
            for (_, node) in self.nodes.iter().enumerate().filter(|(at, _)| *at != dead) {
                let role = node.info("replication", "role").await?;
                masters += usize::from(role == "master");
                if node.cluster_info("cluster_state").await? != "ok" {
                    return None;
                }
            }
            (masters == MASTERS).then_some(())
        })
        .await;
    }
}
