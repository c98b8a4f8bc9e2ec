//! How acknowledgements are told to the server in few words.

/// What to send for the tags in `done`, where `first_open` is the first tag of the channel that is not settled: one
/// acknowledgement for everything up to a tag, and single ones beyond what is still open.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Acks {
    pub(super) up_to: Option<u64>,
    pub(super) single: Vec<u64>,
}

/// `done` must not hold `first_open`, nor anything that was settled in another way than by an acknowledgement and has not
/// been told to the server yet.
pub(super) fn coalesce(mut done: Vec<u64>, first_open: Option<u64>) -> Acks {
    done.sort_unstable();
    let below = first_open.map_or(done.len(), |open| done.partition_point(|tag| *tag < open));
    let single = done.split_off(below);
    Acks {
        up_to: done.last().copied(),
        single,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn everything_below_the_first_open_tag_goes_in_one_word() {
        let acks = coalesce(vec![7, 3, 1, 2], Some(5));
        assert_eq!(acks.up_to, Some(3));
        assert_eq!(acks.single, [7]);
        assert_eq!(coalesce(vec![4, 2], None).up_to, Some(4));
        assert_eq!(coalesce(vec![4, 2], Some(1)).single, [2, 4]);
        assert_eq!(coalesce(Vec::new(), Some(1)).up_to, None);
    }

    proptest! {
        /// Played on a server that knows nothing but tags.
        #[test]
        fn exactly_what_is_done_is_settled(
            count in 1u64..60, rounds in prop::collection::vec(prop::collection::vec(0u64..60, 0..20), 1..6),
        ) {
            let mut open: BTreeSet<u64> = (1..=count).collect();
            let mut server = open.clone();
            for round in rounds {
                let done: Vec<u64> = round.into_iter().filter(|tag| open.remove(tag)).collect();
                let acks = coalesce(done, open.first().copied());
                if let Some(up_to) = acks.up_to {
                    server.retain(|tag| *tag > up_to);
                }
                for tag in acks.single {
                    prop_assert!(server.remove(&tag), "settled twice: {}", tag);
                }
                prop_assert_eq!(&server, &open);
            }
        }
    }
}
