//! What a test has for itself: where its servers keep what they were given.

mod management;
mod rabbitmq;
mod rabbitmq_cluster;
mod rabbitmq_config;
mod rabbitmq_node;
mod redis;
mod redis_cluster;

use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::Settings;
use rabbitmq::Vhost;

pub use management::Management;
pub use rabbitmq_cluster::RabbitCluster;
pub use rabbitmq_node::RabbitNode;
pub use redis::RedisServer;
pub use redis_cluster::RedisCluster;

/// Gone, with everything in it, when dropped.
#[derive(Debug)]
pub enum Installation {
    /// A data directory, for one process.
    Embedded(TempDir),
    /// RabbitMQ and Redis, for any number of processes.
    Shared(Box<Shared>),
}

/// A RabbitMQ, or a part of one, and a Redis of its own.
#[derive(Debug)]
pub struct Shared {
    broker: Broker,
    pub redis: RedisServer,
}

#[derive(Debug)]
enum Broker {
    /// A vhost of the one that the tests share.
    Vhost(Vhost),
    /// For who does something to the server itself: it takes seconds to start.
    Node(Box<RabbitNode>),
    Cluster(Box<RabbitCluster>),
}

impl Installation {
    #[must_use]
    pub fn embedded() -> Self {
        Self::Embedded(TempDir::new().unwrap())
    }

    pub async fn shared() -> Self {
        Self::Shared(Box::new(Shared::new().await))
    }

    /// What a process needs to know to work on it.
    #[must_use]
    pub fn settings(&self) -> Settings {
        match self {
            Self::Embedded(data) => Settings::new(data.path()),
            Self::Shared(shared) => shared.settings(),
        }
    }
}

impl Shared {
    pub async fn new() -> Self {
        let (vhost, redis) = tokio::join!(Vhost::create(), RedisServer::start());
        Self {
            broker: Broker::Vhost(vhost),
            redis,
        }
    }

    /// With a RabbitMQ of its own.
    pub async fn with_own_rabbitmq() -> Self {
        let (node, redis) = tokio::join!(RabbitNode::start(), RedisServer::start());
        Self {
            broker: Broker::Node(Box::new(node)),
            redis,
        }
    }

    /// With a RabbitMQ 4 of its own.
    pub async fn with_rabbitmq_4() -> Self {
        let node = RabbitNode::start_from("POSTRIDER_TEST_RABBITMQ4_SBIN");
        let (node, redis) = tokio::join!(node, RedisServer::start());
        Self {
            broker: Broker::Node(Box::new(node)),
            redis,
        }
    }

    /// With a cluster of three RabbitMQ nodes of its own.
    pub async fn with_rabbitmq_cluster() -> Self {
        let (cluster, redis) = tokio::join!(RabbitCluster::start(), RedisServer::start());
        Self {
            broker: Broker::Cluster(Box::new(cluster)),
            redis,
        }
    }

    /// Its own RabbitMQ.
    pub fn rabbitmq(&mut self) -> &mut RabbitNode {
        match &mut self.broker {
            Broker::Node(node) => node,
            Broker::Cluster(cluster) => cluster.node(0),
            Broker::Vhost(_) => panic!("the RabbitMQ is one that others use, too"),
        }
    }

    /// Its own RabbitMQ nodes.
    pub fn rabbitmq_cluster(&mut self) -> &mut RabbitCluster {
        match &mut self.broker {
            Broker::Cluster(cluster) => cluster,
            Broker::Node(_) | Broker::Vhost(_) => panic!("the RabbitMQ is a single node"),
        }
    }

    #[must_use]
    pub fn settings(&self) -> Settings {
        self.settings_at(&self.broker_address(), &self.redis.address())
    }

    /// The same by way of other addresses: a proxy's.
    #[must_use]
    pub fn settings_at(&self, broker: &str, store: &str) -> Settings {
        Settings::default()
            .env("BROKER", self.broker_url_at(broker))
            .env("STORE", format!("redis://{store}"))
    }

    fn broker_url_at(&self, address: &str) -> String {
        match &self.broker {
            Broker::Vhost(vhost) => vhost.url_at(address),
            Broker::Node(node) => node.url_at(address),
            Broker::Cluster(cluster) => cluster.url_at(address),
        }
    }

    /// For doing to RabbitMQ what an operator may do.
    #[must_use]
    pub fn management(&self) -> Management {
        match &self.broker {
            Broker::Vhost(vhost) => vhost.management(),
            Broker::Node(node) => node.managed(),
            Broker::Cluster(cluster) => cluster.nodes()[0].managed(),
        }
    }

    /// Puts bytes on a queue as somebody does who has a hand in RabbitMQ's management.
    pub async fn put_on_queue(&self, queue: &str, bytes: &[u8]) {
        match &self.broker {
            Broker::Vhost(vhost) => vhost.put_on_queue(queue, bytes).await,
            Broker::Node(_) | Broker::Cluster(_) => {
                panic!("only a vhost of the shared RabbitMQ has a management")
            }
        }
    }

    /// The process of RabbitMQ. It works for all vhosts, so what it uses up is this test's as far as nobody else is at it.
    pub async fn broker_pid(&self) -> i32 {
        match &self.broker {
            Broker::Vhost(vhost) => vhost.server_pid().await,
            Broker::Node(node) => node.pid(),
            Broker::Cluster(cluster) => cluster.nodes()[0].pid(),
        }
    }

    /// Host and port of RabbitMQ, or of its first node.
    #[must_use]
    pub fn broker_address(&self) -> String {
        match &self.broker {
            Broker::Vhost(vhost) => vhost.address(),
            Broker::Node(node) => node.address(),
            Broker::Cluster(cluster) => cluster.nodes()[0].address(),
        }
    }
}

/// What `./scripts/test` has prepared.
fn prepared(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set; run the tests by ./scripts/test"))
}

async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_redis_of_its_own_keeps_what_was_written_through_a_crash() {
        let mut redis = RedisServer::start().await;
        assert_eq!(redis.command("SET key value").await, "OK");
        assert!(redis.used_memory().await > 0);
        redis.crash().await;
        assert_eq!(redis.command("GET key").await, "value");
    }

    #[tokio::test]
    async fn installations_do_not_share_a_vhost() {
        let (one, two) = (Shared::new().await, Shared::new().await);
        assert_ne!(one.settings().env, two.settings().env);
    }

    #[tokio::test]
    async fn a_redis_of_its_own_can_be_full_and_can_refuse_writes() {
        let redis = RedisServer::start().await;
        redis.refuse_writes().await;
        assert!(redis.command("SET key value").await.starts_with("READONLY"));
        redis.take_writes().await;
        assert_eq!(redis.command("SET key value").await, "OK");
        redis.fill(4 << 20).await;
        redis.limit_memory(4 << 20).await;
        assert!(redis.command("SET key value").await.starts_with("OOM"));
        redis.clear().await;
        assert_eq!(redis.command("SET key value").await, "OK");
        redis.flush().await;
        assert_eq!(redis.command("DBSIZE").await, "0");
    }

    #[tokio::test]
    async fn a_cluster_of_its_own_goes_on_without_a_master() {
        let mut cluster = RedisCluster::start().await;
        let first = cluster.master_of("key").await;
        cluster.kill(first).await;
        cluster.promoted_without(first).await;
        cluster.start_again(first).await;
        assert_ne!(cluster.master_of("key").await, first);
    }
}
