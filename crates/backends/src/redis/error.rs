//! What Redis says, as the ports say it.

use postrider_core::ports::PortError;
use redis::{ErrorKind, RedisError, ServerErrorKind};

/// What was asked for: it decides what an answer that never came means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// Nothing was to be changed: without an answer nothing was.
    Read,
    /// Without an answer it may have been done.
    Write,
}

/// `part` is the port's name, as messages show it.
pub(super) fn told(part: &'static str, asked: Asked, error: &RedisError) -> PortError {
    let cause = error.to_string();
    match error.kind() {
        ErrorKind::Server(kind) => refused(part, kind, error.code(), cause),
        ErrorKind::Extension => refused_by_code(part, error.code(), cause),
        ErrorKind::UnexpectedReturnType | ErrorKind::Parse => PortError::Corrupt { part, cause },
        _ if asked == Asked::Read || never_sent(error) => PortError::Unavailable { part, cause },
        _ => PortError::Unknown { part, cause },
    }
}

/// Whether no command can have reached a server.
fn never_sent(error: &RedisError) -> bool {
    error.is_connection_refusal()
        || matches!(
            error.kind(),
            ErrorKind::AuthenticationFailed
                | ErrorKind::InvalidClientConfig
                | ErrorKind::ClusterConnectionNotFound
        )
}

fn refused(
    part: &'static str,
    kind: ServerErrorKind,
    code: Option<&str>,
    cause: String,
) -> PortError {
    match kind {
        ServerErrorKind::ReadOnly
        | ServerErrorKind::BusyLoading
        | ServerErrorKind::ClusterDown
        | ServerErrorKind::MasterDown
        | ServerErrorKind::TryAgain
        | ServerErrorKind::Moved
        | ServerErrorKind::Ask
        | ServerErrorKind::NoPerm => PortError::Unavailable { part, cause },
        _ => refused_by_code(part, code, cause),
    }
}

fn refused_by_code(part: &'static str, code: Option<&str>, cause: String) -> PortError {
    match code {
        // `maxmemory` is reached, or the last save to disk failed: reads go on.
        Some("OOM" | "MISCONF") => PortError::Full { part, cause },
        // A script ended with an error, where the reason of a refusal within it follows in the text.
        _ if cause.contains("OOM ") || cause.contains("MISCONF ") => {
            PortError::Full { part, cause }
        }
        // The second is what scripts of ours answer.
        Some("WRONGTYPE" | "CORRUPT") => PortError::Corrupt { part, cause },
        _ => PortError::Unavailable { part, cause },
    }
}
