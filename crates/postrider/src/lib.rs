//! The binary: settings, wiring, commands, telemetry, and how a process comes up and goes down.
//!
//! A library only so that tests reach its parts; nothing else depends on it. Decisions about deliveries are made
//! elsewhere: here the ports get their backends, the parts get their settings, and the listeners their sockets.

pub mod chores;
pub mod cli;
pub mod commands;
pub mod config;
pub mod failure;
pub mod installation;
pub mod output;
pub mod server;
pub mod shutdown;
pub mod systemd;
pub mod telemetry;
pub mod tour;
pub mod wiring;

use postrider_core::id::OrgId;

/// The organisation of whoever does not name one: most installations need no second.
pub const DEFAULT_ORG: OrgId =
    OrgId::from_bytes([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
