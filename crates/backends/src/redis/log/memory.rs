//! Servers that the log lies on: what they say of their memory, and which periods are theirs.

use std::collections::{BTreeMap, HashSet};

use postrider_core::ports::PortError;
use redis::cluster_routing::Slot;
use redis::{Cmd, Value};

use super::period::Period;
use super::{PART, RedisLog, corrupt};
use crate::redis::error::{Asked, told};
use crate::redis::keys::Space;

/// A server, or one of a Cluster with the slots that it holds.
#[derive(Debug)]
pub(super) struct Node(Option<HashSet<Slot>>);

/// What a server says of its memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Memory {
    used: u64,
    /// 0 where there is none.
    limit: u64,
    /// Something that was forgotten is still being freed.
    pub(super) freeing: bool,
}

impl Memory {
    pub(super) fn read(info: &str) -> Option<Self> {
        let number = |name: &str| -> Option<u64> {
            let value = info
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value?.trim().parse().ok()
        };
        Some(Self {
            used: number("used_memory")?,
            limit: number("maxmemory")?,
            freeing: number("lazyfree_pending_objects").is_some_and(|pending| pending > 0),
        })
    }

    /// How many bytes there are too many.
    pub(super) fn excess(self, shed_at: f64) -> u64 {
        if self.limit == 0 {
            return 0;
        }
        self.used
            .saturating_sub((self.limit as f64 * shed_at) as u64)
    }
}

impl Node {
    pub(super) const fn holds_all(&self) -> bool {
        self.0.is_none()
    }

    /// All keys of a period carry one tag.
    pub(super) fn holds(&self, period: Period, space: &Space) -> bool {
        let slot = || Slot::for_key(period.keys(space).records());
        self.0.as_ref().is_none_or(|slots| slots.contains(&slot()))
    }
}

impl RedisLog {
    /// The server, or those of a Cluster that hold slots.
    pub(super) async fn nodes(&self) -> Result<Vec<Node>, PortError> {
        if !self.server.link(PART).await?.is_cluster() {
            return Ok(vec![Node(None)]);
        }
        let mut command = redis::cmd("CLUSTER");
        command.arg("SLOTS");
        let ranges: Vec<Vec<Value>> = self.ask(Asked::Read, &command).await?;
        let nodes = by_node(ranges).ok_or_else(|| corrupt("CLUSTER SLOTS does not name nodes"))?;
        let nodes = nodes.into_values().map(|slots| Node(Some(slots)));
        Ok(nodes.collect())
    }

    pub(super) async fn memory(&self, node: &Node) -> Result<Memory, PortError> {
        let mut command = redis::cmd("INFO");
        command.arg("memory");
        let info: String = match node.0.as_ref().and_then(|slots| slots.iter().next()) {
            None => self.ask(Asked::Read, &command).await?,
            Some(slot) => self.ask_at(*slot, command).await?,
        };
        Memory::read(&info)
            .ok_or_else(|| corrupt("INFO memory does not tell how much memory is used"))
    }

    /// Asks the server that holds a slot.
    async fn ask_at(&self, slot: Slot, command: Cmd) -> Result<String, PortError> {
        let mut link = self.server.link(PART).await?;
        let answer = link.at_slot(slot, command).await;
        let answer = answer.and_then(|answer| Ok(redis::from_redis_value(answer)?));
        answer.map_err(|error| told(PART, Asked::Read, &error))
    }
}

/// Slots by the identifier of their master, which is the first node behind the bounds of each range.
fn by_node(ranges: Vec<Vec<Value>>) -> Option<BTreeMap<String, HashSet<Slot>>> {
    let mut nodes: BTreeMap<String, HashSet<Slot>> = BTreeMap::new();
    for range in ranges {
        let [first, last, master, ..] = <[Value; 3]>::try_from(range.get(..3)?.to_vec()).ok()?;
        let bound = |value| redis::from_redis_value::<u16>(value).ok();
        let master: Vec<Value> = redis::from_redis_value(master).ok()?;
        let id = redis::from_redis_value(master.into_iter().nth(2)?).ok()?;
        let slots = (bound(first)?..=bound(last)?).map(Slot::new);
        let slots: Option<HashSet<Slot>> = slots.collect();
        nodes.entry(id).or_default().extend(slots?);
    }
    Some(nodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "# Memory\r\nused_memory:900\r\nused_memory_human:900B\r\nmaxmemory:1000\r\n\
                        maxmemory_policy:noeviction\r\nlazyfree_pending_objects:2\r\n";

    #[test]
    fn a_server_tells_how_much_is_too_much() {
        let memory = Memory::read(INFO).unwrap();
        let wanted = Memory {
            used: 900,
            limit: 1000,
            freeing: true,
        };
        assert_eq!(memory, wanted);
        assert_eq!(memory.excess(0.8), 100);
        assert_eq!(memory.excess(0.95), 0);
        assert_eq!(Memory { limit: 0, ..memory }.excess(0.8), 0);
        assert_eq!(Memory::read("# Memory\r\n"), None);
    }

    fn range(first: i64, last: i64, id: &str) -> Vec<Value> {
        let text = |text: &str| Value::BulkString(text.into());
        let node = vec![text("10.0.0.1"), Value::Int(6379), text(id)];
        let replica = Value::Array(vec![text("10.0.0.2")]);
        vec![
            Value::Int(first),
            Value::Int(last),
            Value::Array(node),
            replica,
        ]
    }

    #[test]
    fn slots_belong_to_their_masters() {
        let ranges = vec![range(0, 9, "a"), range(10, 16_383, "b")];
        let nodes = by_node(ranges).unwrap();
        assert_eq!(nodes["a"].len(), 10);
        assert!(nodes["b"].contains(&Slot::new(16_383).unwrap()));
        let again = vec![range(0, 0, "a"), range(5, 5, "a")];
        assert_eq!(by_node(again).unwrap()["a"].len(), 2);
        assert_eq!(by_node(vec![range(0, 16_384, "a")]), None);
        assert_eq!(by_node(vec![vec![Value::Int(0)]]), None);
    }
}
