//! The contract of [`crate::ports::Registry`] as cases.

mod applications;
mod changes;
mod endpoints;
mod event_types;
mod records;
mod transfer;
mod versions;

pub use applications::*;
pub use changes::*;
pub use endpoints::*;
pub use event_types::*;
pub use transfer::*;
pub use versions::*;

/// The cases for [`crate::ports::Registry`].
#[macro_export]
macro_rules! conformance_registry {
    ($fixture:expr) => {
        $crate::__conformance_cases! { $fixture, registry:
            an_application_comes_back_whole
            an_application_is_replaced_as_a_whole
            an_application_that_does_not_exist_is_nothing
            application_uids_are_unique_within_an_organisation
            an_identifier_is_taken_once
            another_organisation_sees_and_changes_nothing
            deleting_an_application_removes_its_endpoints
            applications_are_listed_in_pages
            application_pages_are_stable_while_others_write
            the_registry_survives_a_crash

            an_endpoint_comes_back_whole
            an_endpoint_is_replaced_as_a_whole
            an_endpoint_needs_its_application
            endpoint_uids_are_unique_within_an_application
            another_application_sees_and_changes_no_endpoint
            endpoints_are_listed_in_pages
            endpoint_pages_are_stable_while_others_write
            a_snapshot_is_sorted_and_complete
            a_snapshot_is_consistent_while_others_write

            an_event_type_comes_back_whole
            event_types_are_compared_and_set
            event_types_of_another_organisation_are_others
            event_types_are_listed_by_name
            event_type_pages_are_stable_while_others_write
            event_types_that_validate_are_known_by_name

            every_change_raises_the_version
            a_refused_change_changes_nothing
            versions_never_go_back
            of_concurrent_replacements_one_wins
            of_concurrent_creations_one_wins
            no_change_of_an_application_is_lost
            concurrent_endpoints_are_all_created

            a_change_is_told_within_a_second
            nothing_is_missed_between_cursor_and_changed
            everybody_who_waits_is_told
            changes_of_endpoints_and_deletions_are_told
            changes_of_event_types_are_told
            a_follower_learns_every_last_version

            an_export_holds_every_record
            what_was_exported_can_be_put_back
            an_import_overtakes_every_version
            an_import_keeps_what_is_newer
            an_import_respects_what_is_there
            everybody_is_told_that_it_is_complete
        }
    };
}
