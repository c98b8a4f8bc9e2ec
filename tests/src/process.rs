//! What the kernel tells of a process.

use std::collections::{BTreeSet, HashSet};
use std::fs;

use postrider_bench::usage;

/// The local ports of all TCP connections (over IPv4) of a process. A receiver sees them as the port of its peer, and
/// so a request is told to be of this process.
#[must_use]
pub fn local_ports(pid: i32) -> BTreeSet<u16> {
    let sockets = sockets(pid);
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap_or_default();
    table
        .lines()
        .skip(1)
        .filter_map(|line| local_port(line, &sockets))
        .collect()
}

/// The inodes of a process's sockets.
fn sockets(pid: i32) -> HashSet<String> {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return HashSet::new();
    };
    let targets = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    targets
        .filter_map(|target| {
            let name = target.to_str()?;
            Some(name.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
        })
        .collect()
}

/// `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode`
fn local_port(line: &str, sockets: &HashSet<String>) -> Option<u16> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let port = fields.get(1)?.split(':').next_back()?;
    sockets
        .contains(*fields.get(9)?)
        .then(|| u16::from_str_radix(port, 16).ok())?
}

/// CPU time of a process so far and of those that it started.
#[must_use]
pub fn cpu_seconds_of_tree(pid: i32) -> f64 {
    usage::cpu_seconds(pid.unsigned_abs())
}

/// The processes that it started itself.
pub(crate) fn children(pid: i32) -> Vec<i32> {
    let children = usage::children(pid.unsigned_abs()).into_iter();
    children.map(u32::cast_signed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_is_seen_by_its_local_port() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = tokio::net::TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let port = client.local_addr().unwrap().port();
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(local_ports(own).contains(&port));
        drop(client);
        assert!(!local_ports(own).contains(&port));
    }
}
