//! Tokens for consumers.

use std::time::Duration;

use super::app::AppIn;
use super::fields::Fields;
use crate::error::ApiError;
use crate::validate;

/// Seconds.
const HOUR: u64 = 3600;
const WEEK: u64 = 7 * 24 * HOUR;

/// How long a consumer's token may live.
pub(crate) const MAX_PORTAL_EXPIRY: Duration = Duration::from_secs(WEEK);

/// A wish for a consumer's token.
#[derive(Debug)]
pub(crate) struct PortalIn {
    pub(crate) application: Option<AppIn>,
    pub(crate) expiry: Duration,
    pub(crate) read_only: bool,
}

impl PortalIn {
    pub(crate) fn read(mut fields: Fields) -> Result<Self, ApiError> {
        refuse(&fields, "capabilities")?;
        // Everything is shown, whatever flags an event type has.
        fields.set("featureFlags", validate::feature_flag)?;
        let expiry = fields.integer("expiry", HOUR..=WEEK)?.value();
        let application = fields.object("application")?.value();
        Ok(Self {
            application: application.map(AppIn::read).transpose()?,
            expiry: Duration::from_secs(expiry.unwrap_or(WEEK)),
            read_only: fields.flag("readOnly")?.value().unwrap_or(false),
        })
    }
}

/// A wish to revoke an application's tokens.
#[derive(Debug)]
pub(crate) struct ExpireAllIn {
    /// How long they go on being valid.
    pub(crate) grace: Option<Duration>,
}

impl ExpireAllIn {
    pub(crate) fn read(mut fields: Fields) -> Result<Self, ApiError> {
        refuse(&fields, "sessionIds")?;
        let seconds = fields.integer("expiry", 0..=WEEK)?.value();
        Ok(Self {
            grace: seconds.map(Duration::from_secs),
        })
    }
}

/// What would make a token weaker, or a revocation smaller, than it is going to be: to ignore it would be to do something
/// else than what was meant.
fn refuse(fields: &Fields, name: &str) -> Result<(), ApiError> {
    if fields.contains(name) {
        return Err(fields.wrong(name, "is not supported"));
    }
    Ok(())
}
