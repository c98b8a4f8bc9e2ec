//! Three nodes of RabbitMQ that are one cluster.

use super::prepared;
use super::rabbitmq_node::RabbitNode;
use crate::eventually;

const SIZE: usize = 3;
/// Three at once on a busy machine.
const TRIES: usize = 3;

/// Killed when dropped.
#[derive(Debug)]
pub struct RabbitCluster {
    nodes: Vec<RabbitNode>,
}

impl RabbitCluster {
    pub async fn start() -> Self {
        for _ in 0..TRIES {
            let mut cluster = Self::prepare().await;
            if cluster.comes_up().await {
                return cluster;
            }
        }
        panic!("no cluster of RabbitMQ came up");
    }

    async fn prepare() -> Self {
        let mut nodes = Vec::new();
        for _ in 0..SIZE {
            let programs = prepared("POSTRIDER_TEST_RABBITMQ_SBIN").into();
            nodes.push(RabbitNode::prepare(programs).await);
        }
        let names: Vec<String> = nodes.iter().map(|node| node.name().to_owned()).collect();
        for node in &nodes {
            node.join(&names);
        }
        Self { nodes }
    }

    async fn comes_up(&mut self) -> bool {
        for node in &mut self.nodes {
            node.launch();
        }
        // They boot beside each other, whoever is waited for first.
        for node in &mut self.nodes {
            if !node.comes_up().await {
                return false;
            }
        }
        self.is_one().await
    }

    /// Whether they have found each other.
    async fn is_one(&self) -> bool {
        let size = SIZE.to_string();
        let asked = ["await_online_nodes", &size, "--timeout", "60"];
        let (good, _) = self.nodes[0].run("rabbitmqctl", &asked).await;
        good
    }

    #[must_use]
    pub fn node(&mut self, number: usize) -> &mut RabbitNode {
        &mut self.nodes[number]
    }

    #[must_use]
    pub fn nodes(&self) -> &[RabbitNode] {
        &self.nodes
    }

    /// The URL for Postrider, with the first node at `address`.
    pub(super) fn url_at(&self, address: &str) -> String {
        let others = self.nodes.iter().skip(1);
        let others = others.map(|node| node.url_at(&node.address()));
        let urls: Vec<String> = [self.nodes[0].url_at(address)]
            .into_iter()
            .chain(others)
            .collect();
        urls.join(",")
    }

    /// How many members each quorum queue has, the fewest and the most.
    pub async fn members(&self) -> (usize, usize) {
        let asked = ["--silent", "list_queues", "members"];
        let said = self.nodes[0].ctl(&asked).await;
        let counts = said.lines().filter(|line| line.contains('@'));
        let counts: Vec<usize> = counts.map(|line| line.matches('@').count()).collect();
        let fewest = counts.iter().min().copied().unwrap_or_default();
        (fewest, counts.into_iter().max().unwrap_or_default())
    }

    /// Waits until any one node could go without a queue losing its majority.
    pub async fn can_spare_one(&self) {
        for node in &self.nodes {
            eventually("a majority without any one node", || async {
                let asked = ["check_if_node_is_quorum_critical"];
                let (good, _) = node.run("rabbitmq-queues", &asked).await;
                good.then_some(())
            })
            .await;
        }
    }
}
