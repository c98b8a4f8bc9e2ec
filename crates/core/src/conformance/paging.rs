//! Lists against a model: a sorted vector, read in pages of any size from any place in both directions.

use std::fmt::Debug;

use super::stage::Chance;
use crate::page::{Cursor, Order, Page, Slice};

/// Random pages that are compared with the model.
const PAGES: usize = 60;

pub(super) const BOTH: [Order; 2] = [Order::Ascending, Order::Descending];

pub(super) fn page<K>(cursor: Cursor<K>, limit: usize, order: Order) -> Page<K> {
    Page {
        cursor,
        limit,
        order,
    }
}

/// The first page that is large enough for everything.
pub(super) fn all<K>() -> Page<K> {
    page(Cursor::Start, 10_000, Order::Ascending)
}

/// What a list that holds exactly `keys` has to answer.
fn model<K: Ord + Clone>(keys: &[K], page: &Page<K>) -> Slice<K> {
    let mut list = keys.to_vec();
    list.sort();
    if page.order == Order::Descending {
        list.reverse();
    }
    let precedes = |a: &K, b: &K| match page.order {
        Order::Ascending => a < b,
        Order::Descending => a > b,
    };
    let range = match &page.cursor {
        Cursor::Start => 0..page.limit.min(list.len()),
        Cursor::After(row) => {
            let start = list.partition_point(|key| precedes(key, row) || key == row);
            start..(start + page.limit).min(list.len())
        }
        Cursor::Before(row) => {
            let end = list.partition_point(|key| precedes(key, row));
            end.saturating_sub(page.limit)..end
        }
    };
    Slice {
        more: range.end < list.len(),
        stopped: None,
        items: list[range].to_vec(),
    }
}

/// Compares a list that holds exactly `keys`, and none of `strangers`, with the model.
pub(super) async fn behaves_like_a_list<T, K: Ord + Clone + Debug>(
    chance: &mut Chance,
    keys: &[K],
    strangers: &[K],
    key_of: impl Fn(&T) -> K,
    fetch: impl AsyncFn(Page<K>) -> Slice<T>,
) {
    for order in BOTH {
        for limit in [1, 2, 7, keys.len().max(1), keys.len() + 5] {
            let mut seen = Vec::new();
            let mut cursor = Cursor::Start;
            loop {
                let wanted = page(cursor, limit, order);
                let slice = checked(keys, &wanted, &key_of, &fetch).await;
                seen.extend(slice.items);
                match seen.last() {
                    Some(last) if slice.more => cursor = Cursor::After(last.clone()),
                    _ => break,
                }
            }
            assert_eq!(
                seen.len(),
                keys.len(),
                "pages of {limit}, {order:?}, together hold every row once"
            );
        }
    }
    random_pages(chance, keys, strangers, PAGES, key_of, fetch).await;
}

/// Compares `count` pages of a list that holds exactly `keys` with the model.
pub(super) async fn random_pages<T, K: Ord + Clone + Debug>(
    chance: &mut Chance,
    keys: &[K],
    strangers: &[K],
    count: usize,
    key_of: impl Fn(&T) -> K,
    fetch: impl AsyncFn(Page<K>) -> Slice<T>,
) {
    for _ in 0..count {
        let from = if !strangers.is_empty() && chance.below(4) == 0 {
            strangers
        } else {
            keys
        };
        let cursor = match (from.is_empty(), chance.below(5)) {
            (true, _) | (_, 0) => Cursor::Start,
            (_, 1 | 2) => Cursor::After(chance.pick(from)),
            _ => Cursor::Before(chance.pick(from)),
        };
        let wanted = page(cursor, 1 + chance.below(keys.len() + 2), chance.pick(&BOTH));
        checked(keys, &wanted, &key_of, &fetch).await;
    }
}

async fn checked<T, K: Ord + Clone + Debug>(
    keys: &[K],
    page: &Page<K>,
    key_of: &impl Fn(&T) -> K,
    fetch: &impl AsyncFn(Page<K>) -> Slice<T>,
) -> Slice<K> {
    let found = fetch(page.clone()).await.map(|row| key_of(&row));
    let wanted = model(keys, page);
    assert_eq!(
        found.items,
        wanted.items,
        "{page:?} of a list of {} rows holds other rows, or in another order",
        keys.len()
    );
    // A page before a row that is gone: whether anything follows is anybody's guess.
    let gone = matches!(&page.cursor, Cursor::Before(row) if !keys.contains(row));
    assert!(
        gone || found.more == wanted.more,
        "{page:?}: `more` is {}, yet rows that follow: {}",
        found.more,
        wanted.more
    );
    found
}

/// Pages through a list while `disturb` changes it after each page: every row of `lasting`, which was there at
/// the start and is never touched, comes exactly once.
pub(super) async fn is_stable_while_others_write<T, K: Ord + Clone + Debug>(
    lasting: &[K],
    order: Order,
    key_of: impl Fn(&T) -> K,
    fetch: impl AsyncFn(Page<K>) -> Slice<T>,
    mut disturb: impl AsyncFnMut(),
) {
    let mut seen: Vec<K> = Vec::new();
    let mut cursor = Cursor::Start;
    // New rows may keep a list growing; that many pages hold whatever is there.
    for _ in 0..1_000 {
        let slice = fetch(page(cursor, 3, order)).await;
        seen.extend(slice.items.iter().map(&key_of));
        disturb().await;
        match seen.last() {
            Some(last) if slice.more => cursor = Cursor::After(last.clone()),
            _ => break,
        }
    }
    let in_order = seen.windows(2).all(|pair| match order {
        Order::Ascending => pair[0] < pair[1],
        Order::Descending => pair[0] > pair[1],
    });
    assert!(
        in_order,
        "{order:?}: rows come in order, and none twice, whatever is inserted meanwhile: {seen:?}"
    );
    let skipped: Vec<&K> = lasting.iter().filter(|row| !seen.contains(row)).collect();
    assert!(
        skipped.is_empty(),
        "{order:?}: rows that were there all the time were skipped: {skipped:?}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model_of(cursor: Cursor<u32>, order: Order) -> (Vec<u32>, bool) {
        let slice = model(&[4, 1, 3, 2, 5], &page(cursor, 2, order));
        (slice.items, slice.more)
    }

    #[test]
    fn the_model_pages_as_the_contract_says() {
        let (up, down) = (Order::Ascending, Order::Descending);
        assert_eq!(model_of(Cursor::Start, up), (vec![1, 2], true));
        assert_eq!(model_of(Cursor::Start, down), (vec![5, 4], true));
        assert_eq!(model_of(Cursor::After(3), up), (vec![4, 5], false));
        assert_eq!(model_of(Cursor::After(3), down), (vec![2, 1], false));
        assert_eq!(model_of(Cursor::After(5), up), (vec![], false));
        assert_eq!(model_of(Cursor::Before(4), up), (vec![2, 3], true));
        assert_eq!(model_of(Cursor::Before(4), down), (vec![5], true));
        assert_eq!(model_of(Cursor::Before(1), up), (vec![], true));
    }
}
