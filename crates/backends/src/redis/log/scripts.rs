//! The scripts of the log.

use crate::redis::script::Atomic;

#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) record: Atomic,
    pub(super) read: Atomic,
    pub(super) strip: Atomic,
    pub(super) drop: Atomic,
    pub(super) expunge: Atomic,
    pub(super) account: Atomic,
    pub(super) settle: Atomic,
}

impl Default for Scripts {
    fn default() -> Self {
        Self {
            record: Atomic::new(include_str!("record.lua")),
            read: Atomic::new(include_str!("read.lua")),
            strip: Atomic::new(include_str!("strip.lua")),
            drop: Atomic::new(include_str!("drop.lua")),
            expunge: Atomic::new(include_str!("expunge.lua")),
            account: Atomic::new(include_str!("account.lua")),
            settle: Atomic::new(include_str!("settle.lua")),
        }
    }
}
