//! The binary as a user meets it: what it prints, what it answers, how it ends.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the report"
)]

mod bench;
mod commands;
mod dev;
mod program;
mod registry;
mod serve;
