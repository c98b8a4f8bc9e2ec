//! The three headers of a webhook and how to find them.
//!
//! Independent of any HTTP library: whatever holds the headers, a closure can look them up.

use std::fmt;

use crate::error::VerifyError;

/// Header with the message id, the same for every retry of a message.
pub const WEBHOOK_ID: &str = "webhook-id";
/// Header with the time of the attempt, in seconds since the Unix epoch.
pub const WEBHOOK_TIMESTAMP: &str = "webhook-timestamp";
/// Header with the signatures, separated by spaces.
pub const WEBHOOK_SIGNATURE: &str = "webhook-signature";
/// What [`WEBHOOK_ID`] is called by senders that follow Svix.
pub const SVIX_ID: &str = "svix-id";
/// What [`WEBHOOK_TIMESTAMP`] is called by senders that follow Svix.
pub const SVIX_TIMESTAMP: &str = "svix-timestamp";
/// What [`WEBHOOK_SIGNATURE`] is called by senders that follow Svix.
pub const SVIX_SIGNATURE: &str = "svix-signature";

const WEBHOOK_NAMES: [&str; 3] = [WEBHOOK_ID, WEBHOOK_TIMESTAMP, WEBHOOK_SIGNATURE];
const SVIX_NAMES: [&str; 3] = [SVIX_ID, SVIX_TIMESTAMP, SVIX_SIGNATURE];

/// The header values of one webhook, borrowed from the request for as long as it is verified.
///
/// Its `Debug` leaves the signature out, as within the tolerance it could be replayed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct WebhookHeaders<'a> {
    /// The message id.
    pub id: &'a str,
    /// The time of the attempt as received: decimal seconds since the Unix epoch.
    pub timestamp: &'a str,
    /// The signatures as received, separated by spaces.
    pub signature: &'a str,
}

impl<'a> WebhookHeaders<'a> {
    /// Collects the headers with a look-up that is given lower-case names.
    ///
    /// The `webhook-*` names are tried first, then the `svix-*` ones. The three values always come
    /// from one family; the families are never mixed.
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use postrider_signature::WebhookHeaders;
    ///
    /// let received = HashMap::from([
    ///     ("webhook-id", "msg_1"),
    ///     ("webhook-timestamp", "1700000000"),
    ///     ("webhook-signature", "v1,…"),
    /// ]);
    /// let headers = WebhookHeaders::from_lookup(|name| received.get(name).copied())?;
    /// assert_eq!(headers.id, "msg_1");
    /// # Ok::<(), postrider_signature::VerifyError>(())
    /// ```
    ///
    /// # Errors
    /// [`VerifyError::MissingHeader`] if neither family is complete; an empty value is missing.
    pub fn from_lookup(
        lookup: impl Fn(&'static str) -> Option<&'a str>,
    ) -> Result<Self, VerifyError> {
        let webhook = WEBHOOK_NAMES.map(|name| present(lookup(name)));
        if let Some(headers) = Self::complete(webhook) {
            return Ok(headers);
        }
        let svix = SVIX_NAMES.map(|name| present(lookup(name)));
        if let Some(headers) = Self::complete(svix) {
            return Ok(headers);
        }
        Err(VerifyError::MissingHeader {
            name: first_missing(webhook, svix),
        })
    }

    fn complete(values: [Option<&'a str>; 3]) -> Option<Self> {
        let [Some(id), Some(timestamp), Some(signature)] = values else {
            return None;
        };
        Some(Self {
            id,
            timestamp,
            signature,
        })
    }
}

impl fmt::Debug for WebhookHeaders<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookHeaders")
            .field("id", &self.id)
            .field("timestamp", &self.timestamp)
            .finish_non_exhaustive()
    }
}

fn present(value: Option<&str>) -> Option<&str> {
    value.filter(|value| !value.is_empty())
}

/// Names the gap in the family that the sender seems to use, `webhook-*` when in doubt.
fn first_missing(webhook: [Option<&str>; 3], svix: [Option<&str>; 3]) -> &'static str {
    let is_svix = webhook.iter().all(Option::is_none) && svix.iter().any(Option::is_some);
    let (names, values) = if is_svix {
        (SVIX_NAMES, svix)
    } else {
        (WEBHOOK_NAMES, webhook)
    };
    let gap = values.iter().position(Option::is_none).unwrap_or(0);
    names[gap]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look_up<'a>(pairs: &[(&str, &'a str)]) -> Result<WebhookHeaders<'a>, VerifyError> {
        WebhookHeaders::from_lookup(|wanted| {
            let found = pairs.iter().find(|(name, _)| *name == wanted);
            found.map(|(_, value)| *value)
        })
    }

    #[test]
    fn webhook_names_win_over_svix_names() {
        let all = [
            (SVIX_ID, "s"),
            (SVIX_TIMESTAMP, "2"),
            (SVIX_SIGNATURE, "v1,s"),
            (WEBHOOK_ID, "w"),
            (WEBHOOK_TIMESTAMP, "1"),
            (WEBHOOK_SIGNATURE, "v1,w"),
        ];
        assert_eq!(look_up(&all).map(|headers| headers.id), Ok("w"));
        assert_eq!(look_up(&all[..3]).map(|headers| headers.id), Ok("s"));
    }

    #[test]
    fn families_are_not_mixed() {
        let mixed = [
            (WEBHOOK_ID, "w"),
            (SVIX_TIMESTAMP, "2"),
            (SVIX_SIGNATURE, "v1,s"),
        ];
        let name = WEBHOOK_TIMESTAMP;
        assert_eq!(look_up(&mixed), Err(VerifyError::MissingHeader { name }));
    }

    #[test]
    fn the_missing_header_is_named() {
        let missing = |name| Err(VerifyError::MissingHeader { name });
        assert_eq!(look_up(&[]), missing(WEBHOOK_ID));
        let no_signature = [(WEBHOOK_ID, "w"), (WEBHOOK_TIMESTAMP, "1")];
        assert_eq!(look_up(&no_signature), missing(WEBHOOK_SIGNATURE));
        let empty_id = [(SVIX_ID, ""), (SVIX_TIMESTAMP, "1")];
        assert_eq!(look_up(&empty_id), missing(SVIX_ID));
    }
}
