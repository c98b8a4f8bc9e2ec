//! `postrider token`: makes tokens, without a server.

use std::time::Duration;

use postrider_api::JwtSecret;
use postrider_api::tokens::{mint_consumer, mint_operator};
use postrider_core::time::{Clock as _, SystemClock, Timestamp};

use super::configure;
use crate::cli::{ConsumerArgs, OperatorArgs};
use crate::config::{FlagValues, Mode};
use crate::failure::{Ending, Failure};
use crate::output;

pub(super) fn operator(args: OperatorArgs) -> Result<Ending, Failure> {
    print(args.flags.values, |secret, now| {
        mint_operator(secret, args.org, now, args.ttl)
    })
}

pub(super) fn consumer(args: ConsumerArgs) -> Result<Ending, Failure> {
    print(args.flags.values, |secret, now| {
        mint_consumer(secret, args.org, args.app, now, args.ttl)
    })
}

fn print(
    flags: FlagValues,
    mint: impl FnOnce(&JwtSecret, Timestamp) -> String,
) -> Result<Ending, Failure> {
    let secret = configure(Mode::Serve, flags)?.access.require()?;
    // Clocks of two machines differ by a little; a token must not be too young for the other one.
    let now = SystemClock.now() - Duration::from_secs(1);
    output::line(mint(&JwtSecret::new(secret.expose()), now));
    Ok(Ending::Done)
}
