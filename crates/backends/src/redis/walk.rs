//! Pages of lists that Redis keeps in the order of their bytes: sorted sets whose scores are all 0.

use postrider_core::page::{Cursor, Order, Page, Slice};
use redis::Cmd;

/// A page as a direction to go in and a key to start behind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk<K> {
    pub(super) descending: bool,
    /// Walked from its end to its start, to be turned round.
    turned: bool,
    /// The row that it starts behind.
    pub(super) from: Option<K>,
    /// No row is wanted from this one on.
    ceiling: Option<K>,
    limit: usize,
}

impl<K: Copy + Ord> Walk<K> {
    pub(super) fn new(page: &Page<K>) -> Self {
        let turned = matches!(page.cursor, Cursor::Before(_));
        let from = match page.cursor {
            Cursor::Start => None,
            Cursor::After(key) | Cursor::Before(key) => Some(key),
        };
        Self {
            descending: (page.order == Order::Descending) != turned,
            turned,
            from,
            ceiling: None,
            limit: page.limit.max(1),
        }
    }

    /// The same, where nothing is wanted from `ceiling` on: it starts there, or ends there.
    pub(super) fn below(mut self, ceiling: Option<K>) -> Self {
        let lower = |from: K| ceiling.map_or(from, |ceiling| from.min(ceiling));
        if self.descending {
            self.from = self.from.map(lower).or(ceiling);
        }
        self.ceiling = ceiling;
        self
    }

    /// Whether everything that is wanted lies before this row.
    pub(super) fn has_passed(&self, row: K) -> bool {
        !self.descending && self.ceiling.is_some_and(|ceiling| row >= ceiling)
    }

    /// One row more than the page has room for tells whether rows follow.
    pub(super) const fn wanted(&self) -> usize {
        self.limit.saturating_add(1)
    }

    /// The page, of the rows that were found on the way.
    pub(super) fn slice<T>(&self, mut rows: Vec<T>) -> Slice<T> {
        let more = rows.len() > self.limit || self.turned;
        rows.truncate(self.limit);
        if self.turned {
            rows.reverse();
        }
        Slice {
            items: rows,
            more,
            stopped: None,
        }
    }

    /// The page, of the rows that were found before the walk was left behind `at`.
    pub(super) fn left<T>(&self, rows: Vec<T>, at: [u8; 20]) -> Slice<T> {
        Slice {
            more: true,
            stopped: Some(at),
            ..self.slice(rows)
        }
    }

    /// The page, of all rows there are, in ascending order.
    pub(super) fn slice_of<T>(&self, mut rows: Vec<T>, key_of: impl Fn(&T) -> K) -> Slice<T> {
        if self.descending {
            rows.reverse();
        }
        rows.retain(|row| match self.from {
            Some(from) if self.descending => key_of(row) < from,
            Some(from) => key_of(row) > from,
            None => true,
        });
        rows.truncate(self.wanted());
        self.slice(rows)
    }
}

/// Asks for up to `count` members of `key` that begin with `prefix`, starting behind those that go on with `from`.
pub(super) fn members(
    key: &[u8],
    prefix: &[u8],
    from: Option<&[u8]>,
    descending: bool,
    count: usize,
) -> Cmd {
    let from = from.map(|from| [prefix, from].concat());
    let (lowest, highest) = match from {
        None => (at_least(prefix), below(after_all(prefix))),
        Some(from) if descending => (at_least(prefix), below(Some(from))),
        Some(from) => (
            after_all(&from).map_or_else(|| b"+".to_vec(), |next| at_least(&next)),
            below(after_all(prefix)),
        ),
    };
    let (verb, bounds) = if descending {
        ("ZREVRANGEBYLEX", [highest, lowest])
    } else {
        ("ZRANGEBYLEX", [lowest, highest])
    };
    let mut command = redis::cmd(verb);
    command.arg(key).arg(&bounds[0]).arg(&bounds[1]);
    command.arg("LIMIT").arg(0).arg(count);
    command
}

fn at_least(bytes: &[u8]) -> Vec<u8> {
    [b"[", bytes].concat()
}

fn below(bytes: Option<Vec<u8>>) -> Vec<u8> {
    bytes.map_or_else(|| b"+".to_vec(), |bytes| [b"(", &*bytes].concat())
}

/// The first bytes that sort after everything that begins with `prefix`, where there are such.
pub(super) fn after_all(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut next = prefix[..=last].to_vec();
    next[last] += 1;
    Some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(from: Option<&[u8]>, descending: bool) -> String {
        let command = members(b"k", b"ab", from, descending, 5);
        let packed = command.get_packed_command();
        let lines = String::from_utf8_lossy(&packed);
        let words = lines.split("\r\n").skip(2).step_by(2);
        words.collect::<Vec<_>>().join(" ").trim_end().to_owned()
    }

    #[test]
    fn a_range_starts_behind_its_row_and_stays_within_its_prefix() {
        assert_eq!(asked(None, false), "ZRANGEBYLEX k [ab (ac LIMIT 0 5");
        assert_eq!(asked(None, true), "ZREVRANGEBYLEX k (ac [ab LIMIT 0 5");
        assert_eq!(asked(Some(b"x"), false), "ZRANGEBYLEX k [aby (ac LIMIT 0 5");
        assert_eq!(
            asked(Some(b"x"), true),
            "ZREVRANGEBYLEX k (abx [ab LIMIT 0 5"
        );
    }

    #[test]
    fn a_walk_below_a_ceiling_starts_there_or_ends_there() {
        let walk = |order, cursor| {
            let page = Page {
                cursor,
                limit: 10,
                order,
            };
            Walk::new(&page).below(Some(5))
        };
        let down = |cursor| walk(Order::Descending, cursor);
        assert_eq!(down(Cursor::Start).from, Some(5));
        assert_eq!(down(Cursor::After(7)).from, Some(5));
        assert_eq!(down(Cursor::After(3)).from, Some(3));
        assert!(!down(Cursor::Start).has_passed(9), "it comes from there");
        for up in [
            walk(Order::Ascending, Cursor::After(7)),
            down(Cursor::Before(7)),
        ] {
            assert_eq!(up.from, Some(7));
            assert!(up.has_passed(5) && up.has_passed(6) && !up.has_passed(4));
        }
        assert_eq!(walk(Order::Ascending, Cursor::Start).from, None);
    }

    #[test]
    fn what_sorts_after_a_prefix_sorts_after_all_that_begins_with_it() {
        assert_eq!(after_all(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(after_all(b"\xff"), None);
        assert_eq!(after_all(b""), None);
    }
}
