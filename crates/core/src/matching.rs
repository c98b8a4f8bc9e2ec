//! Which endpoints want an event.

use crate::endpoint::Endpoint;
use crate::message::Event;
use crate::name::{Channel, EventTypeName};

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
        && asks_for(endpoint, &event.event_type, &event.channels)
}

/// Whether `endpoint` asks for such events, be it disabled or not, and whenever each of them came into being.
#[must_use]
pub fn asks_for(endpoint: &Endpoint, event_type: &EventTypeName, channels: &[Channel]) -> bool {
    let types = endpoint.event_types.as_ref();
    let wanted = endpoint.channels.as_ref();
    types.is_none_or(|types| types.contains(event_type))
        && wanted.is_none_or(|wanted| channels.iter().any(|channel| wanted.contains(channel)))
}

#[cfg(test)]
mod tests {
    use super::*;
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
