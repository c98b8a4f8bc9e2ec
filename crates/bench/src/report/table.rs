//! For people.

use std::fmt::Write as _;

use super::{FLOOR, POSTRIDER, Run, beside};
use crate::round::Round;

/// A figure that every round has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) key: &'static str,
    pub(super) title: &'static str,
    pub(super) unit: &'static str,
    pub(super) digits: usize,
    pub(super) figure: fn(&Round) -> f64,
}

const fn row(
    key: &'static str,
    title: &'static str,
    unit: &'static str,
    digits: usize,
    figure: fn(&Round) -> f64,
) -> Row {
    Row {
        key,
        title,
        unit,
        digits,
        figure,
    }
}

pub(super) const ROWS: &[Row] = &[
    row("accepted_per_second", "accepted", "/s", 0, |round| {
        round.figures.accepted_per_second
    }),
    row("delivered_per_second", "delivered", "/s", 0, |round| {
        round.figures.delivered_per_second
    }),
    row(
        "cpu_ms_per_delivery",
        "CPU per delivery, all processes",
        "ms",
        4,
        |round| round.cpu_ms_per_delivery,
    ),
    row("accept_p50", "sent → accepted, p50", "ms", 2, |round| {
        round.figures.accept.p50
    }),
    row("accept_p90", "p90", "ms", 2, |round| {
        round.figures.accept.p90
    }),
    row("accept_p99", "p99", "ms", 2, |round| {
        round.figures.accept.p99
    }),
    row("accept_p999", "p99.9", "ms", 2, |round| {
        round.figures.accept.p999
    }),
    row("receive_p50", "sent → received, p50", "ms", 2, |round| {
        round.figures.receive.p50
    }),
    row("receive_p90", "p90", "ms", 2, |round| {
        round.figures.receive.p90
    }),
    row("receive_p99", "p99", "ms", 2, |round| {
        round.figures.receive.p99
    }),
    row("receive_p999", "p99.9", "ms", 2, |round| {
        round.figures.receive.p999
    }),
    row(
        "connections",
        "connections to the subscriber",
        "",
        0,
        |round| round.counters.connections as f64,
    ),
    row("handshakes", "TLS handshakes", "", 0, |round| {
        counted(round.counters.handshakes)
    }),
    row("resumed", "of them resumed", "", 0, |round| {
        counted(round.counters.resumed)
    }),
    row("queries", "questions about names", "", 0, |round| {
        counted(round.counters.queries)
    }),
    row("refused", "requests not answered 202", "", 0, |round| {
        round.refused.into()
    }),
    row("duplicated", "duplicated", "", 0, |round| {
        round.figures.duplicated as f64
    }),
    row("lost", "lost", "", 0, |round| round.figures.lost as f64),
];

/// What was not counted is no figure, and the row is left out.
fn counted(count: Option<u64>) -> f64 {
    count.map_or(f64::NAN, |count| count as f64)
}

/// Medians, and ratios where there is a floor; then what each process used.
#[must_use]
pub fn table(run: &Run) -> String {
    let mut text = String::new();
    let has_floor = run.of(FLOOR).next().is_some();
    let _ = write!(text, "{:<34}{:>14}", "median of the rounds", POSTRIDER);
    if has_floor {
        let _ = write!(text, "{FLOOR:>14}{:>10}", "ratio");
    }
    text.push('\n');
    for row in ROWS {
        let ours = run.median(POSTRIDER, row.figure);
        if ours.is_none() {
            continue;
        }
        let _ = write!(text, "{:<34}", row.title);
        text.push_str(&cell(ours, row));
        if has_floor {
            text.push_str(&cell(run.median(FLOOR, row.figure), row));
            if let Some(ratio) = run.ratio(row.figure) {
                let _ = write!(text, "{ratio:>10.2}");
            }
        }
        text.push('\n');
    }
    for name in [POSTRIDER, FLOOR] {
        processes(run, name, &mut text);
    }
    beside::idle(&run.idle, &mut text);
    beside::backlog(run, &mut text);
    beside::pages(&run.pages, &mut text);
    text
}

fn cell(value: Option<f64>, row: &Row) -> String {
    let Some(value) = value else {
        return format!("{:>14}", "–");
    };
    let text = format!("{value:.*} {}", row.digits, row.unit);
    format!("{:>14}", text.trim_end())
}

fn processes(run: &Run, name: &str, text: &mut String) {
    let Some(first) = run.of(name).next() else {
        return;
    };
    let _ = writeln!(
        text,
        "\n{:<34}{:>14}{:>14}",
        format!("processes of {name}"),
        "CPU/delivery",
        "memory"
    );
    for (index, process) in first.processes.iter().enumerate() {
        let cpu = run.median(name, |round| round.processes[index].cpu_ms_per_delivery);
        let memory = run.median(name, |round| round.processes[index].memory_mib);
        let _ = writeln!(
            text,
            "  {:<32}{:>11.4} ms{:>10.0} MiB",
            process.name,
            cpu.unwrap_or_default(),
            memory.unwrap_or_default(),
        );
    }
}
