//! Several processes on one installation.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::{Api, Role, Server, Settings};

/// Where the API is served right now: what a load balancer in front of the ingests would know.
#[derive(Debug, Clone, Default)]
pub struct Addresses(Arc<Mutex<Vec<String>>>);

impl Addresses {
    #[must_use]
    pub fn of(servers: &[Server]) -> Self {
        let addresses = Self::default();
        for server in servers {
            addresses.add(server);
        }
        addresses
    }

    pub fn add(&self, server: &Server) {
        self.0.lock().push(server.api().to_owned());
    }

    pub fn remove(&self, address: &str) {
        self.0.lock().retain(|known| known != address);
    }

    /// One of them, `turn` after the first; `None` while there is none.
    #[must_use]
    pub fn pick(&self, turn: usize) -> Option<String> {
        let addresses = self.0.lock();
        addresses.get(turn % addresses.len().max(1)).cloned()
    }
}

/// Ingests and workers as processes of their own.
#[derive(Debug)]
pub struct Cluster {
    pub ingests: Vec<Server>,
    pub workers: Vec<Server>,
    pub addresses: Addresses,
    /// A client of the first ingest.
    pub api: Api,
}

impl Cluster {
    /// Starts as many processes, all with the same settings, and waits until each is well.
    pub async fn start(settings: &Settings, ingests: usize, workers: usize) -> Self {
        // One first: it makes what the others find.
        let mut all = vec![Server::start(&settings.clone().role(Role::Ingest)).await];
        let mut starting = Vec::new();
        for number in 1..ingests + workers {
            let role = if number < ingests {
                Role::Ingest
            } else {
                Role::Worker
            };
            let settings = settings.clone().role(role);
            starting.push(tokio::spawn(async move { Server::start(&settings).await }));
        }
        for server in starting {
            all.push(server.await.unwrap());
        }
        let workers = all.split_off(ingests);
        Self {
            addresses: Addresses::of(&all),
            api: Api::new(&all[0]).await,
            ingests: all,
            workers,
        }
    }
}
