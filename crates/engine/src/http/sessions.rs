//! TLS sessions of subscribers, so that most reconnects take no full handshake.
//!
//! Why not the cache that rustls brings: it keeps up to eight tickets of a server, each with a copy of the server's
//! certificates, and of its default of 256 tickets it makes 32 servers. It also goes on for as long as there are tickets:
//! a resumed session brings new ones, so that a certificate is checked once and perhaps never again. Here
//!
//! - a server has its newest [`TICKETS`], and the server that was not spoken to for longest makes room;
//! - sessions belong to a certificate that was verified. [`Sessions::verified`] opens a server's place, only an open place
//!   takes tickets, and after [`LIFETIME`] it is gone with all of them, so that the certificate is verified again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use parking_lot::Mutex;
use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::{CertificateDer, ServerName};

/// Of TLS 1.3, kept of a server: as many as most servers send in a handshake. Each is used once.
const TICKETS: usize = 2;
/// How long sessions follow from one verified certificate.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// Each ticket holds a copy of the certificates; servers with more than these bytes of them get full handshakes only.
const MAX_CERTIFICATES: usize = 16 * 1024;

pub(super) struct Sessions {
    servers: Cache<ServerName<'static>, Arc<Mutex<Server>>>,
}

#[derive(Default)]
struct Server {
    /// The key exchange that it chose last.
    group: Option<NamedGroup>,
    tls12: Option<Tls12ClientSessionValue>,
    /// Oldest first, [`TICKETS`] at most.
    tls13: Vec<Tls13ClientSessionValue>,
}

impl Sessions {
    /// Of so many servers.
    pub(super) fn new(servers: usize) -> Self {
        Self::with_lifetime(servers, LIFETIME)
    }

    fn with_lifetime(servers: usize, lifetime: Duration) -> Self {
        let servers = Cache::builder()
            .max_capacity(u64::try_from(servers).unwrap_or(u64::MAX))
            .time_to_live(lifetime)
            .eviction_policy(EvictionPolicy::lru())
            .build();
        Self { servers }
    }

    /// A server has shown these certificates, and they are good for its name.
    pub(super) fn verified<'a>(
        &self,
        name: &ServerName<'_>,
        certificates: impl Iterator<Item = &'a CertificateDer<'a>>,
    ) {
        let name = name.to_owned();
        if certificates
            .map(|certificate| certificate.len())
            .sum::<usize>()
            > MAX_CERTIFICATES
        {
            self.servers.invalidate(&name);
            return;
        }
        // Inserting it anew is what begins its lifetime anew.
        let server = self.servers.get(&name).unwrap_or_default();
        self.servers.insert(name, server);
    }

    fn with<T>(&self, name: &ServerName<'_>, act: impl FnOnce(&mut Server) -> T) -> Option<T> {
        let server = self.servers.get(&name.to_owned())?;
        let mut server = server.lock();
        Some(act(&mut server))
    }
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        self.with(&name, |server| server.group = Some(group));
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        self.with(name, |server| server.group)?
    }

    fn set_tls12_session(&self, name: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.with(&name, |server| server.tls12 = Some(session));
    }

    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.with(name, |server| server.tls12.clone())?
    }

    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        self.with(name, |server| server.tls12 = None);
    }

    fn insert_tls13_ticket(&self, name: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.with(&name, |server| {
            if server.tls13.len() == TICKETS {
                server.tls13.remove(0);
            }
            server.tls13.push(ticket);
        });
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.with(name, |server| server.tls13.pop())?
    }
}

/// Sessions are secrets.
impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("servers", &self.servers.entry_count())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
