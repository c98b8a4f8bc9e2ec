//! A process that stands still whenever it is not asked for anything, background and all.

use postrider_backends::redis::RedisRegistry;
use tokio::runtime::{Builder, Runtime};

use super::scene::Scene;

pub(super) struct Frozen {
    registry: RedisRegistry,
    /// Gone once it is dropped.
    runtime: Option<Runtime>,
}

impl Frozen {
    pub(super) fn new(scene: &Scene) -> Self {
        let mut builder = Builder::new_current_thread();
        Self {
            registry: scene.installation.connect(),
            runtime: Some(builder.enable_all().build().unwrap()),
        }
    }

    /// Lives for as long as `work` takes.
    pub(super) fn thaw<T>(&self, work: impl AsyncFnOnce(&RedisRegistry) -> T) -> T {
        let runtime = self.runtime.as_ref().unwrap();
        tokio::task::block_in_place(|| runtime.block_on(work(&self.registry)))
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
