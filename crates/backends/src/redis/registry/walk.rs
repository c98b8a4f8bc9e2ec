//! Pages of an ordered set whose members begin with what the list is ordered by.

use postrider_core::id::{AppId, EndpointId, OrgId};
use postrider_core::name::EventTypeName;
use postrider_core::page::{Cursor, Order, Page, Slice};

/// Something that a list is ordered by.
pub(super) trait PageKey {
    /// What follows the key in members of such lists is shorter than this.
    const LONGEST_REST: usize = 0;

    fn bytes(&self) -> &[u8];
}

impl PageKey for AppId {
    const LONGEST_REST: usize = 21;

    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PageKey for OrgId {
    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PageKey for EndpointId {
    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PageKey for EventTypeName {
    fn bytes(&self) -> &[u8] {
        self.as_str().as_bytes()
    }
}

/// A page as a direction to go in and a bound to start from.
#[derive(Debug, Clone)]
pub(super) struct Walk {
    descending: bool,
    /// Walked from its end to its start, to be turned round.
    turned: bool,
    limit: usize,
    /// As `ZRANGE … BYLEX` takes it.
    pub(super) from: Vec<u8>,
}

impl Walk {
    pub(super) fn new<K: PageKey>(page: &Page<K>) -> Self {
        let turned = matches!(page.cursor, Cursor::Before(_));
        let descending = (page.order == Order::Descending) != turned;
        let mut walk = Self {
            descending,
            turned,
            limit: page.limit.max(1),
            from: if descending { b"+" } else { b"-" }.to_vec(),
        };
        if let Cursor::After(key) | Cursor::Before(key) = &page.cursor {
            walk.go_behind(key);
        }
        walk
    }

    /// Goes on behind every member that begins with `key`.
    pub(super) fn go_behind<K: PageKey>(&mut self, key: &K) {
        self.from = [b"(", key.bytes()].concat();
        if !self.descending {
            self.from.resize(self.from.len() + K::LONGEST_REST, 0xff);
        }
    }

    /// What the script calls its direction.
    pub(super) fn direction(&self) -> &'static str {
        if self.descending { "1" } else { "" }
    }

    /// The same as a command.
    pub(super) fn range(&self, key: &[u8], rows: usize) -> redis::Cmd {
        let mut range = redis::cmd("ZRANGE");
        range.arg(key).arg(&self.from);
        if self.descending {
            range.arg("-").arg("BYLEX").arg("REV");
        } else {
            range.arg("+").arg("BYLEX");
        }
        range.arg("LIMIT").arg(0).arg(rows);
        range
    }

    /// One row more than the page has room for tells whether rows follow.
    pub(super) fn rows(&self) -> usize {
        self.limit.saturating_add(1)
    }

    /// The page, of what was found.
    pub(super) fn slice<T>(&self, mut items: Vec<T>) -> Slice<T> {
        let more = items.len() > self.limit || self.turned;
        items.truncate(self.limit);
        if self.turned {
            items.reverse();
        }
        Slice {
            items,
            more,
            stopped: None,
        }
    }
}
