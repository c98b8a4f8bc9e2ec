//! Paging by identifier: stable while rows are inserted, because a page starts after a row and not at a number.

/// In which order a list is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Ascending,
    Descending,
}

/// Where a page starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cursor<K> {
    /// At the first row of the order.
    Start,
    /// Behind this row: the page that follows one that ended with it. The row need not exist any more.
    After(K),
    /// Before this row: the page that precedes one that began with it. Its rows come in the list's order all the same.
    Before(K),
}

/// Which rows of a list are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<K> {
    pub cursor: Cursor<K>,
    /// At least 1.
    pub limit: usize,
    pub order: Order,
}

/// The rows of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice<T> {
    pub items: Vec<T>,
    /// Whether rows follow the last one in the list's order. A [`Cursor::Before`] page is always followed by the row it came from.
    pub more: bool,
    /// The key behind which to look on, where a list whose filter wants few rows was left before the page was full: in the
    /// direction of the page, so that a [`Cursor::Before`] page is continued before it. Only lists by identifier are left.
    pub stopped: Option<[u8; 20]>,
}

impl<T> Slice<T> {
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> Slice<U> {
        Slice {
            items: self.items.into_iter().map(change).collect(),
            more: self.more,
            stopped: self.stopped,
        }
    }
}

impl<T> Default for Slice<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            more: false,
            stopped: None,
        }
    }
}
