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
}

impl<T> Slice<T> {
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> Slice<U> {
        Slice {
            items: self.items.into_iter().map(change).collect(),
            more: self.more,
        }
    }
}

impl<T> Default for Slice<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            more: false,
        }
    }
}
