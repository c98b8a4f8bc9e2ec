use super::super::kinds::refer;
use super::Op;

pub(super) fn operations() -> Vec<Op> {
    vec![
        Op::get(
            "/api/v1/background-task",
            "v1.background-task.list",
            "List background tasks",
        )
        .for_consumers()
        .ordered()
        .query("status", refer("BackgroundTaskStatus"))
        .query("task", refer("BackgroundTaskType"))
        .answers(200, "ListResponse_BackgroundTaskOut_"),
        Op::get(
            "/api/v1/background-task/{task_id}",
            "v1.background-task.get",
            "Get a background task",
        )
        .for_consumers()
        .answers(200, "BackgroundTaskOut"),
        Op::post(
            "/api/v1/stats/usage/app",
            "v1.statistics.aggregate-app-stats",
            "Count messages by application",
        )
        .takes("AppUsageStatsIn")
        .answers(202, "AppUsageStatsOut"),
        Op::put(
            "/api/v1/stats/usage/event-types",
            "v1.statistics.aggregate-event-types",
            "Count messages by event type",
        )
        .answers(202, "RecoverOut"),
    ]
}
