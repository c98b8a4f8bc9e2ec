//! What an operator does to a RabbitMQ by its management API.

use reqwest::Method;
use serde_json::Value;

use super::rabbitmq::{call, escaped};

/// Of the part of RabbitMQ that a test has for itself.
#[derive(Debug, Clone)]
pub struct Management {
    pub(super) api: String,
    pub(super) vhost: String,
}

impl Management {
    pub async fn delete_queue(&self, name: &str) {
        self.delete("queues", name).await;
    }

    pub async fn delete_exchange(&self, name: &str) {
        self.delete("exchanges", name).await;
    }

    /// The names of all queues.
    pub async fn queues(&self) -> Vec<String> {
        self.names("queues").await
    }

    pub async fn exchanges(&self) -> Vec<String> {
        self.names("exchanges").await
    }

    async fn delete(&self, kind: &str, name: &str) {
        let path = format!("{kind}/{}/{name}", escaped(&self.vhost));
        call(&self.api, Method::DELETE, &path, &Value::Null).await;
    }

    async fn names(&self, kind: &str) -> Vec<String> {
        let path = format!("{kind}/{}?columns=name", escaped(&self.vhost));
        let all = call(&self.api, Method::GET, &path, &Value::Null).await;
        let all = all.as_array().into_iter().flatten();
        all.filter_map(|one| Some(one["name"].as_str()?.to_owned()))
            .collect()
    }
}
