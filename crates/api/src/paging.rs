//! Lists come in pages. A page starts behind an identifier (`iterator`), or ends before one (the same with a `-`
//! in front); both are handed out with every page.

use std::fmt::Display;
use std::str::FromStr;

use postrider_core::page::{Cursor, Order, Page, Slice};
use serde::Serialize;

use crate::error::{ApiError, kind};
use crate::query::Query;

const DEFAULT_LIMIT: u64 = 50;
const MAX_LIMIT: u64 = 250;

/// Which page was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Paging<K> {
    pub(crate) page: Page<K>,
    /// As asked for; unlike the page's it may be 0, by which a client asks whether there is anything.
    limit: usize,
}

/// The envelope of every list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListOut<T> {
    data: Vec<T>,
    iterator: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_iterator: Option<String>,
    done: bool,
}

impl Query {
    /// A page in the given order, where the list knows no other.
    pub(crate) fn page<K: FromStr>(&self, order: Order) -> Result<Paging<K>, ApiError> {
        let limit = self.integer("limit")?.unwrap_or(DEFAULT_LIMIT);
        if limit > MAX_LIMIT {
            let message = format!("must not be above {MAX_LIMIT}");
            return Err(ApiError::invalid(&["query", "limit"], kind::VALUE, message));
        }
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let page = Page {
            cursor: self.cursor()?,
            limit: limit.max(1),
            order,
        };
        Ok(Paging { page, limit })
    }

    /// A page in the order that `order` names.
    pub(crate) fn ordered_page<K: FromStr>(&self, default: Order) -> Result<Paging<K>, ApiError> {
        let parse = |text: &str| match text {
            "ascending" => Some(Order::Ascending),
            "descending" => Some(Order::Descending),
            _ => None,
        };
        let order = self.word("order", "`ascending` or `descending`", parse)?;
        self.page(order.unwrap_or(default))
    }

    fn cursor<K: FromStr>(&self) -> Result<Cursor<K>, ApiError> {
        let Some(text) = self.text("iterator") else {
            return Ok(Cursor::Start);
        };
        // Identifiers never begin with a minus. An event type may, and its iterator then reads as that of a page before.
        let back = text.strip_prefix('-').and_then(|key| key.parse().ok());
        let cursor = match back {
            Some(key) => Some(Cursor::Before(key)),
            None => text.parse().ok().map(Cursor::After),
        };
        cursor.ok_or_else(|| {
            let message = "must be the `iterator` or `prevIterator` of an earlier page";
            ApiError::invalid(&["query", "iterator"], kind::VALUE, message)
        })
    }
}

impl<K: Display> Paging<K> {
    /// Puts a slice into the envelope; `key` tells by what a row is paged, `show` how it is printed, or that it is not.
    pub(crate) fn envelope<'s, T, U>(
        &self,
        slice: &'s Slice<T>,
        key: impl Fn(&T) -> K,
        show: impl FnMut(&'s T) -> Option<U>,
    ) -> ListOut<U> {
        let shown = &slice.items[..slice.items.len().min(self.limit)];
        let hidden = slice.items.len() > shown.len();
        ListOut {
            iterator: shown.last().map(|row| key(row).to_string()),
            prev_iterator: shown.first().map(|row| format!("-{}", key(row))),
            done: !slice.more && !hidden,
            data: shown.iter().filter_map(show).collect(),
        }
    }

    /// The same for a list that may have been left before its page was full: it goes on from `at` then.
    pub(crate) fn going_on<U>(&self, list: ListOut<U>, at: Option<K>) -> ListOut<U> {
        let Some(at) = at.filter(|_| self.limit > 0) else {
            return list;
        };
        match self.page.cursor {
            Cursor::Before(_) => ListOut {
                prev_iterator: Some(format!("-{at}")),
                ..list
            },
            _ => ListOut {
                iterator: Some(at.to_string()),
                ..list
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_core::{AppId, EventTypeName};

    fn paging(query: &str) -> Result<Paging<AppId>, ApiError> {
        Query::parse(query).ordered_page(Order::Ascending)
    }

    #[test]
    fn reads_limit_order_and_iterator() {
        let id = AppId::from_bytes([7; 20]);
        let asked = paging(&format!("limit=250&order=descending&iterator={id}")).unwrap();
        assert_eq!(asked.page.limit, 250);
        assert_eq!(asked.page.order, Order::Descending);
        assert_eq!(asked.page.cursor, Cursor::After(id));
        let back = paging(&format!("iterator=-{id}")).unwrap();
        assert_eq!(back.page.cursor, Cursor::Before(id));
        assert_eq!(back.page.limit, 50);
        assert_eq!(paging("iterator=").unwrap().page.cursor, Cursor::Start);
    }

    #[test]
    fn refuses_what_is_no_page() {
        assert!(matches!(paging("limit=251"), Err(ApiError::Invalid(_))));
        assert!(matches!(paging("iterator=-x"), Err(ApiError::Invalid(_))));
        for query in ["limit=ten", "limit=-1", "order=upwards"] {
            assert!(
                matches!(paging(query), Err(ApiError::BadRequest { .. })),
                "{query}"
            );
        }
    }

    #[test]
    fn names_page_backwards_too() {
        let asked: Paging<EventTypeName> = Query::parse("iterator=-order.paid")
            .page(Order::Ascending)
            .unwrap();
        let name = EventTypeName::new("order.paid").unwrap();
        assert_eq!(asked.page.cursor, Cursor::Before(name));
    }

    #[test]
    fn a_limit_of_nothing_says_whether_there_is_anything() {
        let asked = paging("limit=0").unwrap();
        assert_eq!(asked.page.limit, 1);
        let some = Slice {
            items: vec![AppId::MIN],
            more: false,
            stopped: None,
        };
        let list = asked.envelope(&some, |id| *id, |id| Some(id.to_string()));
        assert!(list.data.is_empty() && !list.done && list.iterator.is_none());
        let list = asked.envelope(
            &Slice::default(),
            |id: &AppId| *id,
            |id| Some(id.to_string()),
        );
        assert!(list.done);
    }

    #[test]
    fn a_page_that_was_left_goes_on_where_it_was_left() {
        let (row, left) = (AppId::from_bytes([9; 20]), AppId::from_bytes([5; 20]));
        let slice = Slice {
            items: vec![row],
            more: true,
            stopped: Some([5; 20]),
        };
        let list = |query: &str| {
            let asked = paging(query).unwrap();
            let list = asked.envelope(&slice, |id| *id, |id| Some(id.to_string()));
            asked.going_on(list, slice.stopped.map(AppId::from_bytes))
        };
        let forth = list("order=descending");
        assert_eq!(forth.iterator, Some(left.to_string()));
        assert_eq!(forth.prev_iterator, Some(format!("-{row}")));
        assert!(!forth.done);
        let back = list(&format!("iterator=-{row}"));
        assert_eq!(back.iterator, Some(row.to_string()));
        assert_eq!(back.prev_iterator, Some(format!("-{left}")));
        let none = list("limit=0");
        assert!(none.iterator.is_none() && none.data.is_empty());
    }

    #[test]
    fn an_iterator_is_there_even_where_it_is_null() {
        let list = paging("")
            .unwrap()
            .envelope(&Slice::default(), |id: &AppId| *id, |_| Some(0));
        let json = serde_json::to_string(&list).unwrap();
        assert_eq!(json, r#"{"data":[],"iterator":null,"done":true}"#);
    }
}
