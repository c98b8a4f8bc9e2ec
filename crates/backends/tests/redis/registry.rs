//! The registry on Redis: its contract, and what becomes of it when Redis or a process fails.

mod crashes;
mod deletions;
mod frozen;
mod going_on;
mod healing;
mod installation;
mod losses;
mod raw;
mod scene;

use installation::Installation;

macro_rules! cases {
    ($kind:expr; $($module:ident: $($case:ident)*;)*) => {
        postrider_core::conformance_registry!(Installation::new($kind));

        $(mod $module {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::super::$module::$case($kind).await;
                }
            )*
        })*
    };
    ($kind:expr) => {
        cases! { $kind;
            losses:
                without_an_epoch_nothing_is_told
                a_registry_that_never_was_is_unavailable
                a_flush_is_never_told_as_emptiness
                a_part_that_is_lost_does_not_look_empty
                a_lost_registry_is_put_back
                a_registry_that_went_back_is_mended
                an_old_state_is_not_gone_on_with
                nobody_waits_for_what_is_lost_for_good
                what_cannot_be_read_is_said_to_be_corrupt;
            deletions:
                what_is_lost_does_not_look_deleted_while_it_is_changed
                a_deletion_that_was_never_ended_is_ended
                a_deletion_that_is_repeated_is_told
                existence_is_told_in_the_order_of_changes
                changes_survive_an_import_in_the_middle;
            healing:
                two_put_back_what_they_wrote_into_one_application
                a_deletion_outlives_an_older_change_that_is_put_back
                a_deletion_that_is_put_back_first_stays
                a_deleted_application_is_not_made_of_older_changes
                an_endpoint_waits_for_its_application
                what_was_put_back_may_be_lost_again
                later_changes_are_not_undone
                event_types_are_put_back_in_their_order;
            going_on:
                a_rewind_that_was_written_over_is_found_out
                nobody_waits_for_a_version_that_nobody_remembers
                what_cannot_be_read_does_not_keep_the_rest_from_being_put_back
                an_event_type_is_in_the_next_backup_wherever_its_writer_dies
                an_operator_ends_what_processes_remember;
            crashes:
                notices_are_heard
                changes_are_told_where_notices_are_lost
                a_change_is_told_though_its_writer_died
                a_creation_that_was_only_begun_is_nothing
                a_writer_that_was_too_slow_takes_another_version
                a_claim_that_was_left_behind_is_taken_over
                two_processes_never_both_win
                a_refused_writer_leaves_the_claim_of_the_other
                a_uid_never_has_two_owners
                what_runs_in_the_background_ends_with_the_registry
                ten_thousand_endpoints_fit_into_one_application;
        }
    };
}

mod single {
    use super::*;
    use crate::support::Kind;

    cases!(Kind::Single);
}

mod cluster {
    use super::*;
    use crate::support::Kind;

    cases!(Kind::Cluster);
}
