//! The engine on the embedded backends with a scripted subscriber, on paused time: days of retries in milliseconds.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod away;
mod duplicates;
mod faults;
mod hanging;
mod poison;
mod schedule;
mod shut;
mod world;
