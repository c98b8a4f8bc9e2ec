//! What processes use up, as the kernel of Linux counts it.

use std::collections::HashSet;
use std::fs;

/// Jiffies a second, as `/proc` counts CPU time on Linux.
const TICKS: f64 = 100.0;

/// CPU time, in seconds, of a process so far and of those that it started and that live; user and system.
#[must_use]
pub fn cpu_seconds(pid: u32) -> f64 {
    let children = children(pid).into_iter();
    cpu_seconds_of_one(pid) + children.map(cpu_seconds).sum::<f64>()
}

/// Memory, in KiB, of a process and of those that it started: each page's share, so that shared ones count once (PSS).
#[must_use]
pub fn memory_kib(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = rollup.lines().find(|line| line.starts_with("Pss:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    let children = children(pid).into_iter();
    kib.unwrap_or_default() + children.map(memory_kib).sum::<u64>()
}

/// The processes that it started itself.
#[must_use]
pub fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    let tasks = tasks.into_iter().flatten();
    let lists =
        tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
    let all: Vec<String> = lists.collect();
    let pids = all.iter().flat_map(|list| list.split_whitespace());
    pids.filter_map(|pid| pid.parse().ok()).collect()
}

fn cpu_seconds_of_one(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // A name may hold blanks and parentheses; user and system time are 12 and 13 fields behind it.
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2);
    let ticks: f64 = ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
    ticks / TICKS
}

/// The process that listens on a TCP port of this machine, where this user may know.
#[must_use]
pub fn listener(port: u16) -> Option<u32> {
    let sockets: HashSet<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| {
            let inodes = table.lines().filter_map(|line| listening(line, port));
            inodes.collect::<Vec<_>>()
        })
        .collect();
    let processes = fs::read_dir("/proc").ok()?;
    processes
        .filter_map(|process| process.ok()?.file_name().to_str()?.parse().ok())
        .find(|pid| holds(*pid, &sockets))
}

/// `sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode`, where `st` 0A is "listens".
fn listening(line: &str, port: u16) -> Option<String> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let local = fields.get(1)?.rsplit(':').next()?;
    let is_it = u16::from_str_radix(local, 16).ok()? == port && *fields.get(3)? == "0A";
    is_it.then(|| (*fields.get(9)?).to_owned().into())?
}

fn holds(pid: u32, sockets: &HashSet<String>) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    let mut targets = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    targets.any(|target| {
        let name = target.to_str().unwrap_or_default();
        let inode = name.strip_prefix("socket:[");
        let inode = inode.and_then(|inode| inode.strip_suffix(']'));
        inode.is_some_and(|inode| sockets.contains(inode))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_cpu_and_memory_and_is_found_by_its_port() {
        let own = std::process::id();
        let before = cpu_seconds(own);
        let mut sum = 0_u64;
        while cpu_seconds(own) < before + 0.05 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(memory_kib(own) > 100);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(super::listener(port), Some(own));
        drop(listener);
        assert_eq!(super::listener(port), None);
    }
}
