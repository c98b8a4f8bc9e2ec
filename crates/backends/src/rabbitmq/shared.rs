//! What the tasks of one process have in common.

use tokio_util::sync::CancellationToken;

use super::consume::Desk;
use super::declare::Declared;
use super::nodes::Nodes;
use super::options::Options;
use super::publish::Publisher;

pub(super) struct Shared {
    pub(super) nodes: Nodes,
    pub(super) options: Options,
    pub(super) declared: Declared,
    pub(super) publisher: Publisher,
    /// What was fetched and what is leased.
    pub(super) desk: Desk,
    /// Ends all tasks, in order.
    pub(super) closing: CancellationToken,
}
