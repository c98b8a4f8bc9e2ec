//! Pages of a list that is ordered by a key.

use postrider_core::id::{AppId, AttemptId, DeadLetterId, EndpointId, MessageId};
use postrider_core::name::{DocumentName, EventTypeName};
use postrider_core::page::{Cursor, Order, Page, Slice};
use rusqlite::Connection;
use rusqlite::types::Value;

use super::columns::Result;
use super::reader::Readers;
use postrider_core::ports::PortError;

/// Rows that are looked at in one read, where a filter decides which are wanted.
const PORTION: usize = 2_000;

/// Something that a list is ordered by.
pub(super) trait PageKey: Clone + Send + 'static {
    fn value(&self) -> Value;
    /// Below and above every key.
    fn ends() -> (Value, Value);
}

macro_rules! by_identifier {
    ($($name:ident)*) => {
        $(impl PageKey for $name {
            fn value(&self) -> Value {
                Value::Blob(self.as_bytes().to_vec())
            }

            fn ends() -> (Value, Value) {
                (Value::Blob(Vec::new()), Value::Blob(vec![0xff; 21]))
            }
        })*
    };
}

by_identifier!(AppId AttemptId DeadLetterId EndpointId MessageId);

macro_rules! by_name {
    ($($name:ident)*) => {
        $(impl PageKey for $name {
            fn value(&self) -> Value {
                Value::Text(self.as_str().to_owned())
            }

            /// Names are made of letters, digits and a few signs, all below this one.
            fn ends() -> (Value, Value) {
                (Value::Text(String::new()), Value::Text("\x7f".to_owned()))
            }
        })*
    };
}

by_name!(DocumentName EventTypeName);

/// A page as a direction to go in and a key to start behind.
#[derive(Debug, Clone)]
pub(super) struct Walk {
    descending: bool,
    /// Walked from its end to its start, to be turned round.
    turned: bool,
    from: Value,
    until: Value,
    limit: usize,
}

impl Walk {
    pub(super) fn new<K: PageKey>(page: &Page<K>) -> Self {
        let turned = matches!(page.cursor, Cursor::Before(_));
        let descending = (page.order == Order::Descending) != turned;
        let (lowest, highest) = K::ends();
        let (start, until) = if descending {
            (highest, lowest)
        } else {
            (lowest, highest)
        };
        let from = match &page.cursor {
            Cursor::Start => start,
            Cursor::After(key) | Cursor::Before(key) => key.value(),
        };
        Self {
            descending,
            turned,
            from,
            until,
            limit: page.limit.max(1),
        }
    }

    /// One row more than the page has room for tells whether rows follow.
    pub(super) fn rows(&self) -> usize {
        self.limit.saturating_add(1)
    }

    /// The same, for a query's `:rows`.
    pub(super) fn row_limit(&self) -> i64 {
        i64::try_from(self.rows()).unwrap_or(i64::MAX)
    }

    pub(super) fn from(&self) -> &Value {
        &self.from
    }

    /// Where the list is sure to have no more rows that are wanted.
    pub(super) fn until(&self) -> &Value {
        &self.until
    }

    /// The same walk, where nothing outside of these bounds is wanted.
    pub(super) fn between(&self, lowest: Option<Value>, highest: Option<Value>) -> Self {
        let (near, far) = if self.descending {
            (highest, lowest)
        } else {
            (lowest, highest)
        };
        let mut walk = self.clone();
        if let Some(near) = near
            && self.passes(&near, &walk.from)
        {
            walk.from = near;
        }
        if let Some(far) = far
            && self.passes(&walk.until, &far)
        {
            walk.until = far;
        }
        walk
    }

    /// Whether `one` comes after `other` on this walk.
    fn passes(&self, one: &Value, other: &Value) -> bool {
        match (one, other) {
            (Value::Blob(one), Value::Blob(other)) => {
                (one > other) != self.descending && one != other
            }
            _ => false,
        }
    }

    /// What a query whose list is ordered by `key` says after `WHERE … AND`. Its parameters are `:from`, `:until`
    /// and `:rows`.
    pub(super) fn clause(&self, key: &str) -> String {
        let (beyond, before, direction) = if self.descending {
            ("<", ">", "DESC")
        } else {
            (">", "<", "ASC")
        };
        format!(
            "{key} {beyond} :from AND {key} {before} :until ORDER BY {key} {direction} LIMIT :rows"
        )
    }

    /// The page, of what the query found.
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

    /// The page, of the rows that were found before the walk was left behind `at`.
    fn left<T>(&self, items: Vec<T>, at: [u8; 20]) -> Slice<T> {
        Slice {
            more: true,
            stopped: Some(at),
            ..self.slice(items)
        }
    }
}

/// A list of which a filter wants some rows.
pub(super) trait Scan: Send + Sync + 'static {
    type Row: Send + 'static;
    /// Whether a page may be left before it is full: where one portion did not fill it.
    const MAY_STOP: bool;

    /// Looks at up to `portion` rows from `walk.from()` on, and returns the wanted ones, up to `rows` of them.
    fn portion(
        &self,
        connection: &Connection,
        walk: &Walk,
        portion: usize,
        rows: usize,
    ) -> Result<Portion<Self::Row>>;
}

/// What a look at some rows yielded.
#[derive(Debug)]
pub(super) struct Portion<T> {
    pub(super) found: Vec<T>,
    /// The key of the last row that was looked at, where there may be more.
    pub(super) last: Option<Value>,
}

/// Fills a page, however rare the wanted rows are, in reads that are short each; or leaves it after the first, where it may.
pub(super) async fn scan<S: Scan>(
    readers: &Readers,
    scan: S,
    mut walk: Walk,
) -> std::result::Result<Slice<S::Row>, PortError> {
    let scan = std::sync::Arc::new(scan);
    let mut found = Vec::new();
    loop {
        let (scan, here) = (std::sync::Arc::clone(&scan), walk.clone());
        let wanted = walk.rows() - found.len();
        let read = readers.read(move |connection| scan.portion(connection, &here, PORTION, wanted));
        let portion = read.await?;
        found.extend(portion.found);
        match portion.last {
            Some(last) if found.len() < walk.rows() => match key(&last) {
                Some(at) if S::MAY_STOP => return Ok(walk.left(found, at)),
                _ => walk.from = last,
            },
            _ => return Ok(walk.slice(found)),
        }
    }
}

fn key(value: &Value) -> Option<[u8; 20]> {
    match value {
        Value::Blob(bytes) => bytes.as_slice().try_into().ok(),
        _ => None,
    }
}
