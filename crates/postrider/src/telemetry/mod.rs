//! What people and machines can see of a running process: logs, metrics, health.

mod health;
mod logs;
mod losses;
mod metrics;
mod repeats;

pub use health::{Health, Report, State};
pub use logs::init as init_logs;
pub use losses::BrokerLosses;
pub use metrics::{Metrics, QueueGauges};
