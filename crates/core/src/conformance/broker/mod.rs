//! The contract of [`crate::ports::Broker`] as cases.
//!
//! They count items, not packs: how items are packed is the broker's own business. Where the number of packs
//! matters, payloads are so large that no two fit into one. A networked broker delivers when it pleases, so
//! nothing is expected from a single `lease`, and nothing is held against a broker that takes its time.

mod crashes;
mod delays;
mod delivery;
mod setting_aside;
mod sharing;
mod signals;
mod work;

pub use crashes::*;
pub use delays::*;
pub use delivery::*;
pub use setting_aside::*;
pub use sharing::*;
pub use signals::*;

/// The cases for a [`crate::ports::Broker`].
#[macro_export]
macro_rules! conformance_broker {
    ($fixture:expr) => {
        $crate::__conformance_cases! { $fixture, broker:
            what_is_published_comes_back_whole
            nothing_comes_of_nothing
            large_payloads_come_back_to_the_byte
            groups_of_any_size_arrive_in_packs_within_bounds
            room_is_respected
            receipts_name_their_queue
            leased_work_is_not_leased_again
            acknowledged_work_is_gone
            acknowledging_twice_takes_nothing_else

            no_pack_goes_to_two_leasers
            no_pack_goes_to_two_processes
            a_flood_arrives_once_each
            work_moves_on_while_others_wait

            unsettled_work_returns_after_a_crash
            what_was_published_just_before_a_crash_is_there
            what_was_acknowledged_before_closing_stays_gone
            crash_loops_are_counted
            receipts_of_an_earlier_life_take_nothing
            a_backlog_comes_back_in_full
            a_publish_that_was_dropped_harms_nobody
            a_lease_that_was_dropped_holds_nothing
            a_death_gives_work_to_the_living
            who_stops_leasing_leaves_the_rest_to_others
            what_others_hold_is_counted_as_told

            a_delay_is_never_cut_short_and_stretched_within_bounds
            an_exact_time_is_met
            what_is_due_already_is_ready
            handed_off_work_is_what_it_was
            handing_off_and_acknowledging_replaces_work
            what_is_handed_off_singly_shares_no_pack
            waiting_as_told_misses_nothing_that_becomes_due
            an_earlier_hand_off_wakes_who_waits
            what_waits_survives_a_crash

            work_given_back_returns_later_and_whole
            work_given_back_survives_a_crash
            quarantined_work_comes_one_at_a_time_and_alone
            quarantined_work_is_held_by_one_process
            quarantined_work_survives_a_crash
            quarantine_holds_up_nobody_else

            a_publish_between_lease_and_wait_is_not_missed
            a_publish_wakes_who_waits
            depth_adds_up
            closing_is_final_and_closing_twice_is_closing_once
        }
    };
}
