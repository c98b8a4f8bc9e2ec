//! Which endpoints want an event.

use crate::endpoint::Endpoint;
use crate::message::Event;

/// Whether `endpoint` is to get `event`:
///
/// | the endpoint | matches |
/// |---|---|
/// | is disabled | nothing |
/// | came into being after the event was accepted | not this event |
/// | lists event types | events of one of them |
/// | lists channels | events that name at least one of them; an event without channels does not match |
/// | lists neither | everything |
#[must_use]
pub fn matches(endpoint: &Endpoint, event: &Event) -> bool {
    !endpoint.disabled
        && endpoint.created_version <= event.registry_version
        && wants(endpoint, event)
}

/// Whether `endpoint` asks for events like this one, whenever each of them came into being.
#[must_use]
pub fn wants(endpoint: &Endpoint, event: &Event) -> bool {
    wants_type(endpoint, event) && wants_channel(endpoint, event)
}

fn wants_type(endpoint: &Endpoint, event: &Event) -> bool {
    endpoint
        .event_types
        .as_ref()
        .is_none_or(|types| types.contains(&event.event_type))
}

fn wants_channel(endpoint: &Endpoint, event: &Event) -> bool {
    let listed = |channels: &Vec<_>| {
        event
            .channels
            .iter()
            .any(|channel| channels.contains(channel))
    };
    endpoint.channels.as_ref().is_none_or(listed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::{Channel, EventTypeName};
    use crate::samples;

    fn channels(names: &[&str]) -> Vec<Channel> {
        names
            .iter()
            .map(|name| Channel::new(name).unwrap())
            .collect()
    }

    #[test]
    fn without_filters_everything_matches() {
        assert!(matches(&samples::endpoint(), &samples::event()));
    }

    #[test]
    fn event_types_filter() {
        let mut endpoint = samples::endpoint();
        endpoint.event_types = Some(vec![EventTypeName::new("build.failed").unwrap()]);
        assert!(!matches(&endpoint, &samples::event()));
        endpoint.event_types = Some(vec![samples::event().event_type]);
        assert!(matches(&endpoint, &samples::event()));
    }

    #[test]
    fn channels_filter_and_an_event_without_any_does_not_match() {
        let mut endpoint = samples::endpoint();
        endpoint.channels = Some(channels(&["eu", "us"]));
        let mut event = samples::event();
        assert!(!matches(&endpoint, &event));
        event.channels = channels(&["us", "asia"]);
        assert!(matches(&endpoint, &event));
        event.channels = channels(&["asia"]);
        assert!(!matches(&endpoint, &event));
        endpoint.channels = None;
        assert!(matches(&endpoint, &event));
    }

    #[test]
    fn disabled_and_younger_endpoints_match_nothing() {
        let mut endpoint = samples::endpoint();
        endpoint.disable();
        assert!(!matches(&endpoint, &samples::event()));
        let mut endpoint = samples::endpoint();
        endpoint.created_version = samples::event().registry_version + 1;
        assert!(!matches(&endpoint, &samples::event()));
    }
}
