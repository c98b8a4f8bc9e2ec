use postrider_core::TaskId;

use super::super::kinds::{
    Field, Kind, any_object, id, list, may, must, name, nullable, object, refer, text, time, told,
    words,
};
use super::{Named, fields, page_of};

pub(super) fn schemas() -> Vec<Named> {
    let data = vec![must("data", any_object())];
    let unresolved = vec![must("unresolvedAppIds", list(text()))];
    vec![
        (
            "BackgroundTaskStatus",
            words(&["running", "finished", "failed"]),
        ),
        ("BackgroundTaskType", tasks()),
        ("RecoverIn", recover_in()),
        ("RecoverOut", object(begun())),
        ("AppUsageStatsIn", usage_in()),
        ("AppUsageStatsOut", fields([begun(), unresolved])),
        ("BackgroundTaskOut", fields([begun(), data])),
        (
            "ListResponse_BackgroundTaskOut_",
            page_of("BackgroundTaskOut"),
        ),
    ]
}

fn tasks() -> Kind {
    words(&[
        "endpoint.recover",
        "endpoint.replay",
        "application.stats",
        "event-type.aggregate",
    ])
}

fn recover_in() -> Kind {
    object(vec![
        must("since", told(time(), "At most 14 days back.")),
        may("until", nullable(time())),
    ])
}

fn begun() -> Vec<Field> {
    vec![
        must("id", id(TaskId::PREFIX)),
        must("status", refer("BackgroundTaskStatus")),
        must("task", refer("BackgroundTaskType")),
        must("updatedAt", time()),
    ]
}

fn usage_in() -> Kind {
    let about = "At most 500 identifiers or uids; all applications where it is absent.";
    object(vec![
        must("since", time()),
        must("until", time()),
        may("appIds", told(nullable(list(name())), about)),
    ])
}
