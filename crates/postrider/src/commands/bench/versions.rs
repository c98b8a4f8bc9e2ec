//! What was measured, and on what.

use std::fs;

use postrider_bench::site::Site;

/// For whoever compares figures.
pub(super) fn all(sites: &[Site]) -> Vec<String> {
    let mut all = vec![format!("postrider {}", env!("CARGO_PKG_VERSION"))];
    if cfg!(debug_assertions) {
        all.push("a debug build: of no use for figures".to_owned());
    }
    all.extend(machine());
    let servers = sites
        .first()
        .map(|site| site.pids.as_slice())
        .unwrap_or_default();
    for name in ["RabbitMQ", "Redis"] {
        if let Some(program) = servers
            .iter()
            .find(|(server, _)| server == name)
            .and_then(|(_, pid)| program(*pid))
        {
            all.push(format!("{name}: {program}"));
        }
    }
    all
}

fn machine() -> Option<String> {
    let cores = std::thread::available_parallelism().ok()?;
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model.map(|model| model.trim_start_matches([' ', '\t', ':']));
    Some(format!(
        "{cores} cores, {}",
        model.unwrap_or("of an unknown model")
    ))
}

/// By its directory a RabbitMQ tells its version: it is among the arguments of its process.
fn program(pid: u32) -> Option<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let line = String::from_utf8_lossy(&line);
    let arguments = line.split('\0');
    let version = arguments
        .flat_map(|argument| argument.split('/'))
        .find_map(|part| part.strip_prefix("rabbitmq_server-"));
    version.map(str::to_owned)
}
