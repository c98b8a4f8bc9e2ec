//! A plot, second by second, of the last round of each pipeline.

use std::fmt::Write as _;

use super::{FLOOR, POSTRIDER, Run};
use crate::figures::Second;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 80.0;
const TOP: f64 = 40.0;
const GAP: f64 = 70.0;
const TICKS: u32 = 4;

/// A line of a panel.
struct Line<'a> {
    title: String,
    colour: &'a str,
    values: Vec<f64>,
}

/// Throughput above, latency below.
#[must_use]
pub fn svg(run: &Run) -> String {
    let last = |name| {
        run.of(name)
            .last()
            .map(|round| whole(&round.figures.seconds))
    };
    let ours = last(POSTRIDER).unwrap_or_default();
    let floor = last(FLOOR).unwrap_or_default();
    let height = TOP + 2.0 * (HEIGHT + GAP);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
        LEFT + WIDTH + 40.0
    );
    let throughput = [
        line("delivered", "#1b6ca8", ours, |second| {
            second.delivered.into()
        }),
        line("accepted", "#7fb3d5", ours, |second| second.accepted.into()),
        line("delivered by the floor", "#999999", floor, |second| {
            second.delivered.into()
        }),
    ];
    panel(
        &mut text,
        TOP,
        "events and deliveries a second",
        &throughput,
    );
    let latency = [
        line("p50", "#1b6ca8", ours, |second| second.p50),
        line("p99", "#c0392b", ours, |second| second.p99),
        line("p99 of the floor", "#999999", floor, |second| second.p99),
    ];
    panel(
        &mut text,
        TOP + HEIGHT + GAP,
        "sent → received, ms",
        &latency,
    );
    text.push_str("</svg>\n");
    text
}

/// Without the last second, of which the round had only a part: it would look as if everything broke down there.
const fn whole(seconds: &[Second]) -> &[Second] {
    match seconds {
        [whole @ .., _] if !whole.is_empty() => whole,
        all => all,
    }
}

fn line<'a>(
    title: &str,
    colour: &'a str,
    seconds: &[Second],
    value: impl Fn(&Second) -> f64,
) -> Line<'a> {
    Line {
        title: title.to_owned(),
        colour,
        values: seconds.iter().map(value).collect(),
    }
}

fn panel(text: &mut String, top: f64, title: &str, lines: &[Line<'_>]) {
    let all = lines.iter().flat_map(|line| line.values.iter().copied());
    let most = round_up(all.fold(0.0, f64::max));
    let seconds = lines
        .iter()
        .map(|line| line.values.len())
        .max()
        .unwrap_or(0);
    let x = |second: usize| LEFT + WIDTH * second as f64 / seconds.saturating_sub(1).max(1) as f64;
    let y = |value: f64| top + HEIGHT * (1.0 - value / most);
    let _ = writeln!(
        text,
        "<text x=\"{LEFT}\" y=\"{}\" font-weight=\"bold\">{title}</text>",
        top - 12.0
    );
    for tick in 0..=TICKS {
        let value = most * f64::from(tick) / f64::from(TICKS);
        let _ = writeln!(
            text,
            "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{y}\" y2=\"{y}\" stroke=\"#dddddd\"/>\
             <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{value}</text>",
            LEFT + WIDTH,
            LEFT - 8.0,
            y(value) + 4.0,
            y = y(value),
        );
    }
    for (index, line) in lines
        .iter()
        .filter(|line| !line.values.is_empty())
        .enumerate()
    {
        let points = line.values.iter().enumerate();
        let points: Vec<String> = points
            .map(|(second, value)| format!("{:.1},{:.1}", x(second), y(*value)))
            .collect();
        let _ = writeln!(
            text,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\
             <text x=\"{}\" y=\"{}\" fill=\"{colour}\">{}</text>",
            points.join(" "),
            LEFT + 330.0 + 170.0 * index as f64,
            top - 12.0,
            line.title,
            colour = line.colour,
        );
    }
    let _ = writeln!(
        text,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{seconds} s</text>",
        LEFT + WIDTH,
        top + HEIGHT + 20.0,
    );
}

/// To 1, 2 or 5 times a power of ten, so that the scale can be read; never 0.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps
        .into_iter()
        .find(|step| *step >= value)
        .unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_ends_at_a_round_number() {
        let cases = [
            (0.0, 1.0),
            (0.3, 0.5),
            (1.0, 1.0),
            (11.0, 20.0),
            (6_001.0, 10_000.0),
        ];
        for (value, end) in cases {
            assert!((round_up(value) - end).abs() < 1e-9, "{value}");
        }
    }
}
