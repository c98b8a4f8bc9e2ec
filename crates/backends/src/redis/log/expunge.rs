//! Taking the response of an attempt away.
//!
//! An attempt is an entry of a trail, which is part of a member: the member is read, made anew without the response, and
//! put in the place of the one that was read, if that is there still. Who appends to it meanwhile replaces it, too, and then
//! it is read again.

use postrider_core::id::{AppId, AttemptId, MessageId};
use postrider_core::ports::PortError;

use super::message;
use super::period::{Hour, Period};
use super::read::Depth;
use super::trail::{self, Rewritten};
use super::{PART, RedisLog, corrupt};
use crate::redis::error::Asked;
use crate::redis::pack::{Result, Source, Unreadable};

/// How often it is tried while others change the member. Each time somebody else has got further.
const TRIES: usize = 200;

impl RedisLog {
    /// `false` where there is no such attempt.
    pub(super) async fn expunge(
        &self,
        app: AppId,
        message: MessageId,
        attempt: AttemptId,
    ) -> std::result::Result<bool, PortError> {
        let period = Period::of_message(app, message);
        let keys = period.keys(self.server.space());
        let messages = [message];
        for _ in 0..TRIES {
            let read = self.members_of(keys.records(), &messages, Depth::Whole);
            let members: Vec<Vec<u8>> = read.await?.into_iter().flatten().collect();
            let (mut found, mut replaced) = (false, true);
            for old in members {
                let new = without_response(message, attempt, &old).map_err(corrupt)?;
                found |= new.found;
                if new.changed {
                    replaced &= self.replace(period, attempt, old, new.bytes).await?;
                }
            }
            if replaced {
                return Ok(found);
            }
        }
        Err(PortError::Unavailable {
            part: PART,
            cause: "what is recorded of the message keeps changing".to_owned(),
        })
    }

    /// Whether the member was there still.
    async fn replace(
        &self,
        period: Period,
        attempt: AttemptId,
        old: Vec<u8>,
        new: Vec<u8>,
    ) -> std::result::Result<bool, PortError> {
        let keys = period.keys(self.server.space());
        let call = self.scripts.expunge.call(&keys.all());
        let call = call.arg(old).arg(new).arg(attempt.as_bytes().as_slice());
        let (replaced, grown): (bool, i64) = self.run(Asked::Write, &call).await?;
        let hours: [(Hour, i64); 1] = [(period.hour, grown)];
        self.book(&hours.into()).await;
        Ok(replaced)
    }
}

/// A member without the response of one of its attempts.
fn without_response(message: MessageId, attempt: AttemptId, member: &[u8]) -> Result<Rewritten> {
    let mut source = Source(member.to_vec().into());
    source.take(message.as_bytes().len())?;
    match source.byte()? {
        message::VERSION => drop(message::read(message, &mut source)?),
        trail::VERSION => drop(source.take(2)?),
        other => return Err(Unreadable::Version(other)),
    }
    let head = &member[..member.len() - source.0.len()];
    let rest = trail::without_response(attempt, source)?;
    Ok(Rewritten {
        bytes: [head, rest.bytes.as_slice()].concat(),
        ..rest
    })
}
