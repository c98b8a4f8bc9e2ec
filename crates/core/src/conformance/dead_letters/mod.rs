//! The contract of [`crate::ports::DeadLetters`] as cases.

mod filing;
mod letters;
mod lists;
mod removal;

pub use filing::*;
pub use lists::*;
pub use removal::*;

/// The cases for [`crate::ports::DeadLetters`].
#[macro_export]
macro_rules! conformance_dead_letters {
    ($fixture:expr) => {
        $crate::__conformance_cases! { $fixture, dead_letters:
            a_dead_letter_comes_back_whole
            unreadable_work_is_kept_with_its_bytes
            filing_again_changes_nothing
            of_concurrent_filings_one_counts
            a_newer_chain_replaces_an_older_one
            another_application_sees_no_dead_letter
            dead_letters_survive_a_crash

            dead_letters_are_listed_in_pages
            dead_letter_filters_behave_like_a_list
            unreadable_work_is_listed_by_itself
            dead_letter_pages_are_stable_while_others_write

            removing_takes_what_it_names
            letters_of_one_message_do_not_depend_on_each_other
            retention_removes_what_died_earlier_and_nothing_else
        }
    };
}
