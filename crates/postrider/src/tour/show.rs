//! How the tour looks. Styled on a terminal, plain where it is piped; aligned in both.

use anstyle::{AnsiColor, Style};
use jiff::tz::TimeZone;
use postrider_core::attempt::Disposition;
use postrider_core::time::Timestamp;

use super::receiver::Opinion;
use super::watch::Sight;
use crate::output;

const DIM: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();
const GREEN: Style = AnsiColor::Green.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const RED: Style = AnsiColor::Red.on_default();

const EVENT: usize = 18;
const ENDPOINT: usize = 21;

pub(super) fn title(text: &str) {
    output::line(format_args!("{BOLD}{text}{BOLD:#}"));
}

pub(super) fn blank() {
    output::line("");
}

/// A name and what there is to say about it.
pub(super) fn fact(name: &str, text: &str) {
    output::line(format_args!("  {DIM}{name:<12}{DIM:#}{text}"));
}

/// What somebody could type, under what it does.
pub(super) fn command(what: &str, lines: &str) {
    output::line(format_args!("  {DIM}# {what}{DIM:#}"));
    for line in lines.lines() {
        output::line(format_args!("  {line}"));
    }
    blank();
}

pub(super) fn header() {
    let columns = format!(
        "{:<12}  {:<EVENT$}  {:<ENDPOINT$}  {:>7}  {:>7}  {:>5}  OUTCOME",
        "TIME", "EVENT", "ENDPOINT", "ATTEMPT", "STATUS", "MS"
    );
    output::line(format_args!("{DIM}{columns}{DIM:#}"));
}

pub(super) fn sight(sight: &Sight, opinion: Option<&Opinion>, zone: &TimeZone) {
    output::line(sight_line(sight, opinion, zone));
}

fn sight_line(sight: &Sight, opinion: Option<&Opinion>, zone: &TimeZone) -> String {
    let status = sight
        .status
        .map_or_else(ToOwned::to_owned, |code| code.to_string());
    let (style, outcome) = outcome(sight.next);
    let opinion = match opinion {
        None => String::new(),
        Some(Opinion::Verified) => format!(", {GREEN}signature verified{GREEN:#}"),
        Some(Opinion::Forged(error)) => format!(", {RED}signature refused: {error}{RED:#}"),
    };
    let (time, attempt, millis) = (time(sight.at, zone), sight.attempt, sight.millis);
    let (event, endpoint) = (
        fit(&sight.event_type, EVENT),
        fit(&sight.endpoint_name, ENDPOINT),
    );
    format!(
        "{DIM}{time}{DIM:#}  {BOLD}{event:<EVENT$}{BOLD:#}  {endpoint:<ENDPOINT$}  {attempt:>7}  {style}{status:>7}{style:#}  {millis:>5}  {style}{outcome}{style:#}{opinion}"
    )
}

fn outcome(next: Disposition) -> (Style, String) {
    match next {
        Disposition::Delivered => (GREEN, "delivered".to_owned()),
        Disposition::Retry(delay) => (YELLOW, format!("again in {}", length(delay))),
        Disposition::RetryExactly(delay) => {
            (YELLOW, format!("again in {}, as asked", length(delay)))
        }
        Disposition::GiveUp(reason) => (RED, format!("dead letter ({})", reason.as_str())),
    }
}

/// Rounded to what a person cares about.
pub(super) fn length(duration: std::time::Duration) -> String {
    match duration.as_secs() {
        0 => format!("{} ms", duration.as_millis()),
        seconds @ 1..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3_600),
    }
}

fn time(at: Timestamp, zone: &TimeZone) -> String {
    let at =
        jiff::Timestamp::from_millisecond(at.as_millis()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    at.to_zoned(zone.clone())
        .strftime("%H:%M:%S%.3f")
        .to_string()
}

/// Cut to `width` characters.
fn fit(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width - 1).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_core::dead_letter::DeadReason;
    use postrider_core::id::{EndpointId, MessageId};
    use postrider_signature::VerifyError;
    use std::time::Duration;

    fn sample(next: Disposition) -> Sight {
        Sight {
            at: Timestamp::from_millis(1_700_000_000_123),
            message: MessageId::MIN,
            event_type: "order.paid".to_owned(),
            endpoint: EndpointId::MIN,
            endpoint_name: "tour-receiver".to_owned(),
            attempt: 1,
            status: Ok(204),
            millis: 3,
            next,
        }
    }

    #[test]
    fn lines_are_aligned() {
        let mut slow = sample(Disposition::Retry(Duration::from_secs(300)));
        slow.event_type = "a.type.with.a.very.long.name".to_owned();
        slow.endpoint_name = "hooks.a-rather-long-name.example.net:8443".to_owned();
        slow.status = Err("timeout");
        slow.millis = 15_000;
        slow.attempt = 12;
        let lines = [
            sight_line(
                &sample(Disposition::Delivered),
                Some(&Opinion::Verified),
                &TimeZone::UTC,
            ),
            sight_line(&slow, None, &TimeZone::UTC),
            sight_line(
                &sample(Disposition::GiveUp(DeadReason::Gone)),
                Some(&Opinion::Forged(VerifyError::BadId)),
                &TimeZone::UTC,
            ),
        ];
        insta::assert_snapshot!(anstream::adapter::strip_str(&lines.join("\n")).to_string());
    }
}
