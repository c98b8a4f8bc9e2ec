//! The suites that every backend has to pass.

use async_trait::async_trait;

use crate::ports::Ports;

/// How a suite gets installations of the backend under test.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// The ports of a process that has opened this fixture's installation. The first call finds it empty.
    async fn open(&self) -> Ports;

    /// The process that holds `ports` dies without a word; whatever it had not made durable is gone, whatever it
    /// held is free. Another process opens the same installation.
    async fn crash(&self, ports: Ports) -> Ports;

    /// A second process on the same installation, alive at the same time; `None` where the backend is not shared.
    async fn join(&self) -> Option<Ports>;
}
