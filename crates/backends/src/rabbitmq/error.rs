//! What goes wrong, in words for operators.

use lapin::{Error, ErrorKind};
use postrider_core::ports::PortError;

const PART: &str = "RabbitMQ";

pub(super) fn unavailable(cause: impl Into<String>) -> PortError {
    PortError::Unavailable {
        part: PART,
        cause: cause.into(),
    }
}

pub(super) fn unknown(cause: impl Into<String>) -> PortError {
    PortError::Unknown {
        part: PART,
        cause: cause.into(),
    }
}

pub(super) fn closed() -> PortError {
    unavailable("this process has closed its connections")
}

/// An error of the client library in a sentence.
pub(super) fn told(error: &Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(error) => format!("the server says {}", error.get_message()),
        ErrorKind::IOError(error) => error.to_string(),
        ErrorKind::MissingHeartbeatError => "the server has gone silent".to_owned(),
        ErrorKind::InvalidConnectionState(_) | ErrorKind::InvalidChannelState(..) => {
            "the connection was lost".to_owned()
        }
        _ => error.to_string(),
    }
}

/// Whether the server says that a queue or exchange does not exist.
pub(super) fn is_not_found(error: &Error) -> bool {
    has_code(error, 404)
}

/// Whether the server knows for certain that a queue or exchange does not exist. Of one that is out of reach it says 404, too,
/// but in other words.
pub(super) fn is_missing(error: &Error) -> bool {
    const WORDS: [&str; 2] = ["NOT_FOUND - no queue", "NOT_FOUND - no exchange"];
    let says = |error: &lapin::protocol::AMQPError| {
        let message = error.get_message();
        WORDS
            .iter()
            .any(|words| message.as_str().starts_with(words))
    };
    matches!(error.kind(), ErrorKind::ProtocolError(error) if says(error))
}

/// Whether somebody else has what was asked for to himself.
pub(super) fn is_locked(error: &Error) -> bool {
    has_code(error, 405)
}

/// Whether the server says that something exists in another shape.
pub(super) fn is_different(error: &Error) -> bool {
    has_code(error, 406)
}

fn has_code(error: &Error, code: u16) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(error) if error.get_id() == code)
}
