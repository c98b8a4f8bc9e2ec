//! The directory of the embedded backends.

use std::path::Path;

use postrider_backends::embedded::{Embedded, OpenError, Options};

use super::{Findings, probe_all};
use crate::failure::plain;

/// Whether a server has it open.
pub(super) async fn try_data(findings: &mut Findings, data: &Path) -> bool {
    let what = format!("data directory {}", data.display());
    if is_new(data) {
        findings.of(&what, can_be_made(data));
        return false;
    }
    match Embedded::open(data, Options::default()) {
        Ok(embedded) => {
            findings.of(
                &what,
                probe_all(&embedded.ports())
                    .await
                    .map(|()| "opened, and can be written to"),
            );
            embedded.close().await;
            false
        }
        Err(OpenError::Locked { pid, .. }) => {
            let by = pid.map_or_else(String::new, |pid| format!(", process {pid}"));
            findings.good(&what, format_args!("in use by a running server{by}"));
            true
        }
        Err(error) => {
            findings.bad(&what, error);
            false
        }
    }
}

/// Nothing is in it yet.
fn is_new(data: &Path) -> bool {
    match std::fs::read_dir(data) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

fn can_be_made(data: &Path) -> Result<&'static str, String> {
    let existing = data
        .ancestors()
        .find(|path| path.exists())
        .unwrap_or(Path::new("."));
    match tempfile::tempfile_in(existing) {
        Ok(_) => Ok("empty so far; the first start sets it up"),
        Err(error) => Err(format!(
            "{} cannot be written to by this user ({})",
            existing.display(),
            plain(&error)
        )),
    }
}
