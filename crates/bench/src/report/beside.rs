//! For people: what is measured beside rounds.

use std::fmt::Write as _;

use super::Run;
use crate::idle::Idle;
use crate::pages::Paged;

pub(super) fn idle(all: &[Idle], text: &mut String) {
    if all.is_empty() {
        return;
    }
    let _ = writeln!(
        text,
        "\n{:<34}{:>14}{:>14}",
        "idle", "of one core", "memory"
    );
    for process in all {
        let _ = writeln!(
            text,
            "  {:<32}{:>12.2} %{:>10.0} MiB",
            process.name, process.cpu_percent, process.memory_mib,
        );
    }
}

pub(super) fn backlog(run: &Run, text: &mut String) {
    let Some(backlog) = &run.backlog else {
        return;
    };
    let figures = &backlog.round.figures;
    let mut row = |title: &str, value: String| {
        let _ = writeln!(text, "{title:<34}{value:>14}");
    };
    row("\nbacklog", String::new());
    row(
        "  accepted before workers ran",
        figures.accepted.to_string(),
    );
    row("  worked off in", format!("{:.1} s", backlog.drain_seconds));
    row(
        "  delivered",
        format!("{:.0} /s", backlog.drained_per_second),
    );
    if let Some(ratio) = run.drain_ratio() {
        row("  of the steady rate above", format!("{ratio:.2}"));
    }
    row(
        "  worker memory, at most",
        format!("{:.0} MiB", backlog.worker_memory_mib()),
    );
    row("  duplicated", figures.duplicated.to_string());
    row("  lost", figures.lost.to_string());
    for process in &backlog.round.processes {
        let _ = writeln!(
            text,
            "  {:<32}{:>11.4} ms{:>10.0} MiB",
            process.name, process.cpu_ms_per_delivery, process.memory_mib,
        );
    }
}

pub(super) fn pages(all: &[Paged], text: &mut String) {
    if all.is_empty() {
        return;
    }
    let _ = writeln!(
        text,
        "\n{:<34}{:>10}{:>10}{:>10}{:>7}{:>7}  ms",
        "first pages", "p50", "p99", "max", "rows", "done"
    );
    for page in all {
        let _ = writeln!(
            text,
            "  {:<32}{:>10.2}{:>10.2}{:>10.2}{:>7}{:>7}",
            page.kind, page.times.p50, page.times.p99, page.times.max, page.rows, page.done,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Percentiles;

    #[test]
    fn a_page_that_ended_early_says_that_more_follows() {
        let page = Paged {
            kind: "messages, tag of none".to_owned(),
            path: String::new(),
            asked: 3,
            times: Percentiles {
                p50: 1.25,
                p99: 2.5,
                ..Percentiles::default()
            },
            rows: 0,
            done: false,
        };
        let mut text = String::new();
        pages(&[page], &mut text);
        assert!(text.contains("1.25      2.50"), "{text}");
        assert!(text.trim_end().ends_with("0  false"), "{text}");
    }

    #[test]
    fn what_was_not_asked_for_is_not_shown() {
        let mut text = String::new();
        idle(&[], &mut text);
        pages(&[], &mut text);
        assert!(text.is_empty());
    }
}
