//! Members of the list of attempts by endpoint: 44 bytes, which is what fits into the allocator's class of 48.
//!
//! The endpoint is three of its random bytes: two endpoints may share them, and whoever lists looks at the endpoint in
//! the attempt's record. The last byte is the outcome, so that a list of the few failures of an endpoint need not read the
//! records of its many successes.

use postrider_core::attempt::AttemptRecord;
use postrider_core::id::{AttemptId, EndpointId, MessageId};
use postrider_core::ports::AttemptFilter;

use crate::redis::pack::{Result, Source};

const TAG: usize = 3;
pub(super) const LEN: usize = TAG + 20 + 20 + 1;

const SUCCEEDED: u8 = 0x80;
/// No hundred of its own: beyond all that HTTP knows.
const BEYOND: u8 = 0x7f;

pub(super) type Member = [u8; LEN];

/// What all members of an endpoint begin with.
pub(super) fn tag(endpoint: EndpointId) -> [u8; TAG] {
    let [.., a, b, c] = *endpoint.as_bytes();
    [a, b, c]
}

pub(super) fn member(attempt: &AttemptRecord) -> Member {
    let mut member = [0; LEN];
    let (tag_part, rest) = member.split_at_mut(TAG);
    tag_part.copy_from_slice(&tag(attempt.endpoint));
    rest[..20].copy_from_slice(attempt.id.as_bytes());
    rest[20..40].copy_from_slice(attempt.message.as_bytes());
    rest[40] = outcome(attempt.succeeded, attempt.status_code);
    member
}

fn outcome(succeeded: bool, status: u16) -> u8 {
    hundred(status) | if succeeded { SUCCEEDED } else { 0 }
}

/// 0 for no answer, one more than the hundreds of the status for the others.
fn hundred(status: u16) -> u8 {
    match status {
        0 => 0,
        _ => u8::try_from(status / 100 + 1).unwrap_or(BEYOND).min(BEYOND),
    }
}

/// An attempt in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) attempt: AttemptId,
    pub(super) message: MessageId,
    outcome: u8,
}

pub(super) fn read(member: Vec<u8>) -> Result<Listed> {
    let mut source = Source(member.into());
    source.take(TAG)?;
    Ok(Listed {
        attempt: AttemptId::from_bytes(source.array()?),
        message: MessageId::from_bytes(source.array()?),
        outcome: source.byte()?,
    })
}

impl Listed {
    /// Whether a filter may want it; its record tells for certain.
    pub(super) fn may_be_wanted(self, filter: &AttemptFilter) -> bool {
        let succeeded = self.outcome & SUCCEEDED != 0;
        let hundred_of_it = self.outcome & !SUCCEEDED;
        let in_class = |class: u16| match class {
            0 => hundred_of_it == 0,
            _ if class.is_multiple_of(100) => hundred_of_it == hundred(class),
            _ => true,
        };
        filter.succeeded.is_none_or(|wanted| wanted == succeeded)
            && filter.status_class.is_none_or(in_class)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(status: u16) -> Listed {
        Listed {
            attempt: AttemptId::MIN,
            message: MessageId::MIN,
            outcome: outcome((200..300).contains(&status), status),
        }
    }

    #[test]
    fn an_outcome_tells_its_hundred_and_no_more() {
        for status in [0, 1, 99, 100, 199, 200, 404, 599, 12_599, 12_600, u16::MAX] {
            for class in [0, 100, 200, 300, 400, 500, 12_500, 12_600, 65_500, 150] {
                let filter = AttemptFilter {
                    status_class: Some(class),
                    ..AttemptFilter::default()
                };
                let wanted = match class {
                    0 => status == 0,
                    _ => status >= class && status < class.saturating_add(100),
                };
                let may = listed(status).may_be_wanted(&filter);
                assert!(may || !wanted, "{status} is in {class}");
                let sure = class % 100 == 0 && class < 12_500;
                assert!(!sure || may == wanted, "{status} is not in {class}");
            }
        }
    }

    #[test]
    fn an_outcome_tells_success() {
        for (status, succeeded) in [(204, true), (500, false)] {
            for wanted in [true, false] {
                let filter = AttemptFilter {
                    succeeded: Some(wanted),
                    ..AttemptFilter::default()
                };
                assert_eq!(listed(status).may_be_wanted(&filter), succeeded == wanted);
            }
        }
    }
}
