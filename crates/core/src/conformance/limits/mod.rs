//! The contract of [`crate::ports::Limits`] as cases.

mod breakers;
mod pairs;
mod rates;
mod reservations;
mod trials;
mod upkeep;

pub use breakers::*;
pub use pairs::*;
pub use rates::*;
pub use reservations::*;
pub use trials::*;
pub use upkeep::*;

/// The cases for [`crate::ports::Limits`]. Reservations are held against the registry of the same installation.
#[macro_export]
macro_rules! conformance_limits {
    ($fixture:expr) => {
        $crate::__conformance_cases! { $fixture, limits:
            a_reservation_goes_through_its_life
            a_reservation_by_key_follows_the_table
            a_reservation_by_event_id_follows_the_table
            a_reservation_by_both_follows_the_table
            a_reservation_of_nothing_is_fresh_and_stores_nothing
            an_event_id_belongs_to_one_reservation
            a_resumed_reservation_keeps_its_event_id
            of_concurrent_reservations_one_is_fresh
            of_concurrent_reservations_of_an_event_id_one_is_fresh
            of_concurrent_resumptions_one_wins
            a_key_and_an_event_id_are_forgotten_each_at_its_time
            a_release_lets_the_next_caller_begin
            a_release_takes_nothing_from_another_reservation
            what_has_lapsed_is_resumed_before_its_lease_ends
            a_lapse_touches_no_other_reservation
            partitions_are_apart
            answers_are_replayed_to_the_byte
            a_reservation_tells_the_registry_version
            reservations_survive_a_crash

            claims_follow_the_table
            of_concurrent_claims_one_is_granted
            of_concurrent_claims_after_a_lease_one_is_granted
            each_attempt_is_made_once_however_many_carry_it
            the_first_final_state_stands
            a_pair_that_was_handed_on_waits_for_its_next_attempt
            a_released_attempt_can_be_claimed_again
            verdicts_come_in_the_order_of_the_claims
            a_new_chain_takes_over
            opening_the_current_chain_again_changes_nothing
            pair_records_are_kept_as_long_as_asked
            pair_records_survive_a_crash
            pairs_behave_like_the_model

            a_burst_and_then_one_an_interval
            permits_do_not_pile_up_beyond_the_burst
            a_rate_above_one_a_millisecond_is_served
            concurrent_callers_share_one_rate
            no_window_sees_more_than_rate_and_burst
            a_caller_whose_clock_is_behind_gets_nothing_more
            subjects_are_apart

            a_breaker_is_compared_and_set
            of_concurrent_setters_one_wins
            no_change_of_a_breaker_is_lost
            breakers_survive_a_crash

            trials_count_until_they_are_ended
            of_concurrent_trials_each_counts
            trials_survive_a_crash
            trials_are_kept_as_long_as_asked

            retaining_nothing_ends_at_once
            retaining_removes_what_has_expired_and_nothing_else
        }
    };
}
