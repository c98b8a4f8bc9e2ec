//! Files and settings of a RabbitMQ of a test's own.

use std::path::{Path, PathBuf};

/// User and password; RabbitMQ's own default, on loopback only.
pub(super) const USER: &str = "guest";

#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    pub(super) amqp: u16,
    pub(super) management: u16,
    pub(super) distribution: u16,
}

/// Each file that RabbitMQ would look for in /etc/rabbitmq or make in /var/lib/rabbitmq.
pub(super) const FILES: [(&str, &str); 9] = [
    ("RABBITMQ_CONF_ENV_FILE", "env.conf"),
    ("RABBITMQ_CONFIG_FILES", "conf.d"),
    ("RABBITMQ_ADVANCED_CONFIG_FILE", "advanced.config"),
    ("RABBITMQ_GENERATED_CONFIG_DIR", "generated"),
    ("RABBITMQ_SCHEMA_DIR", "schema"),
    ("RABBITMQ_ENABLED_PLUGINS_FILE", "enabled_plugins"),
    ("RABBITMQ_MNESIA_BASE", "data"),
    ("RABBITMQ_LOG_BASE", "log"),
    ("RABBITMQ_PID_FILE", "pid"),
];

/// A file that we ship as an example.
pub(super) fn shipped(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy/rabbitmq")
        .join(file)
}

/// Read after the configuration that we ship, and so stronger.
pub(super) fn configuration(ports: Ports) -> String {
    let Ports {
        amqp, management, ..
    } = ports;
    format!(
        "listeners.tcp.default = 127.0.0.1:{amqp}\n\
         management.tcp.ip = 127.0.0.1\n\
         management.tcp.port = {management}\n\
         default_user = {USER}\n\
         default_pass = {USER}\n\
         vm_memory_high_watermark.absolute = 1GB\n\
         disk_free_limit.absolute = 64MB\n\
         raft.wal_max_size_bytes = 67108864\n\
         log.console = false\n\
         log.file = rabbitmq.log\n\
         log.file.level = warning\n"
    )
}
