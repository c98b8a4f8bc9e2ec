//! Which rows a list shows.

use postrider_core::attempt::AttemptRecord;
use postrider_core::message::Event;
use postrider_core::ports::{AttemptFilter, MessageFilter};
use postrider_core::time::Timestamp;

pub(super) fn wants_message(filter: &MessageFilter, event: &Event) -> bool {
    let MessageFilter {
        event_types,
        channel,
        tag,
        before,
        after,
    } = filter;
    let on_channel = |channel| event.channels.contains(channel);
    within(event.accepted_at, *after, *before)
        && (event_types.is_empty() || event_types.contains(&event.event_type))
        && channel.as_ref().is_none_or(on_channel)
        && tag.as_ref().is_none_or(|tag| event.tags.contains(tag))
}

pub(super) fn wants_attempt(filter: &AttemptFilter, attempt: &AttemptRecord) -> bool {
    let AttemptFilter {
        endpoint,
        succeeded,
        status_class,
        event_types,
        channel,
        before,
        after,
    } = filter;
    let on_channel = |channel| attempt.channels.contains(channel);
    within(attempt.at, *after, *before)
        && endpoint.is_none_or(|endpoint| attempt.endpoint == endpoint)
        && succeeded.is_none_or(|succeeded| attempt.succeeded == succeeded)
        && status_class.is_none_or(|class| in_class(attempt.status_code, class))
        && (event_types.is_empty() || event_types.contains(&attempt.event_type))
        && channel.as_ref().is_none_or(on_channel)
}

fn within(at: Timestamp, after: Option<Timestamp>, before: Option<Timestamp>) -> bool {
    after.is_none_or(|after| at > after) && before.is_none_or(|before| at < before)
}

const fn in_class(status: u16, class: u16) -> bool {
    if class == 0 {
        status == 0
    } else {
        status >= class && status < class.saturating_add(100)
    }
}
