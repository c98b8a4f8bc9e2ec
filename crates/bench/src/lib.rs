//! The parts of `postrider bench`.
//!
//! ```text
//!             ┌────────────── the command: plans, starts, watches, reports ──────────────┐
//!             │                                                                          │
//!        load process ──POST──▶ ingest ──▶ RabbitMQ ──▶ worker ──POST──▶ subscriber process
//!             │ (a row for each event:        or the floor's two          (a row for each
//!             ▼  sent, accepted)               processes instead           request: received)
//!        rows.load                                                       rows.subscriber
//! ```
//!
//! Every part is a process of its own, so that what each uses up can be told apart, and so that none waits for another's
//! threads. All clocks are the machine's one clock.

#![warn(missing_docs)]

pub mod backlog;
pub mod clock;
pub mod dns;
pub mod figures;
pub mod floor;
pub mod idle;
pub mod load;
pub mod pages;
pub mod payload;
pub mod report;
pub mod round;
pub mod rows;
pub mod site;
pub mod subscriber;
pub mod tls;
pub mod usage;
