//! The contract of [`crate::ports::DeliveryLog`] as cases.

mod attempted;
mod attempts;
mod destinations;
mod expunging;
mod messages;
mod recording;
mod records;
mod retention;

pub use attempted::*;
pub use attempts::*;
pub use destinations::*;
pub use expunging::*;
pub use messages::*;
pub use recording::*;
pub use retention::*;

/// The cases for a [`crate::ports::DeliveryLog`].
#[macro_export]
macro_rules! conformance_delivery_log {
    ($fixture:expr) => {
        $crate::__conformance_cases! { $fixture, delivery_log:
            a_message_comes_back_whole
            an_attempt_comes_back_whole
            what_was_never_recorded_is_nothing
            an_accepted_message_is_there_once
            recording_twice_is_recording_once
            a_record_without_payload_takes_it_away_for_good
            an_attempt_may_come_before_its_message
            an_event_id_leads_to_the_newest_message
            large_batches_and_payloads_are_recorded
            concurrent_records_are_all_there
            another_application_sees_nothing_of_the_log
            the_log_survives_a_crash

            messages_are_listed_in_pages
            message_filters_behave_like_a_list
            kinds_of_messages_are_listed_in_pages
            message_pages_are_stable_while_others_write

            attempts_are_listed_in_pages
            attempt_filters_behave_like_a_list
            attempt_pages_are_stable_while_others_write

            a_destination_comes_back_whole
            a_later_destination_replaces_an_earlier_one
            destinations_are_listed_in_pages

            attempted_messages_are_listed_in_pages
            attempted_filters_behave_like_a_list
            a_message_with_many_attempts_is_attempted_once
            a_tally_counts_what_is_listed

            an_expunged_response_stays_away
            expunging_disturbs_no_other_attempt
            of_concurrent_records_and_expunging_nothing_is_lost

            retaining_an_empty_log_ends_at_once
            retention_removes_what_is_older_and_nothing_else
            retention_empties_payloads_that_have_outlived_their_time
            retention_disturbs_nobody_who_records
        }
    };
}
