//! For machines.

use serde_json::{Map, Value, json as value};

use super::table::ROWS;
use super::{FLOOR, POSTRIDER, Run};

/// Everything: medians, ratios, and each round.
#[must_use]
pub fn json(run: &Run) -> Value {
    let mut medians = Map::new();
    for row in ROWS {
        let medians_of = value!({
            POSTRIDER: run.median(POSTRIDER, row.figure),
            FLOOR: run.median(FLOOR, row.figure),
            "ratio": run.ratio(row.figure),
            "unit": row.unit,
        });
        medians.insert(row.key.to_owned(), medians_of);
    }
    value!({
        "command": run.command,
        "versions": run.versions,
        "medians": medians,
        "rounds": run.rounds,
        "idle": run.idle,
        "backlog": run.backlog,
        "drain_ratio": run.drain_ratio(),
        "pages": run.pages,
    })
}
