//! The [`Bounds`]: what one address may use. Pure.

use super::addresses::is_internal;
use crate::gateway::forwarded::{Origin, Source};
use rookery_config::Limits;

/// HTTP connections that an address may have beside two for each of its sessions.
const SPARE_CONNECTIONS: u32 = 64;

/// What one address may use.
pub struct Bounds {
    /// Open sessions; `None` where there is no bound but that for all.
    pub connections: Option<u32>,
    /// New sessions per second.
    pub connect_rate: u32,
    /// Whether that is `limits.perIp.connectRate`, or the share of `limits.connectRate` that any
    /// single address may use.
    pub own_rate: bool,
}

impl Bounds {
    /// What this origin may use. What is written in `limits.perIp` holds for every address but
    /// those of trusted proxies; the defaults hold only for those that are certainly clients':
    /// another one may be that of a proxy that `trustedProxies` lacks, with all clients behind it.
    pub fn of(origin: Origin, limits: &Limits) -> Self {
        let written = limits.per_ip.as_ref();
        let connections = written.and_then(|per_ip| per_ip.connections);
        let rate = written.and_then(|per_ip| per_ip.connect_rate).map(|rate| rate.0);
        let (connections, rate) = match origin.source {
            Source::Proxy | Source::Unreadable => (None, None),
            Source::Peer if is_internal(origin.address) => (connections, rate),
            Source::Peer | Source::Reported => (
                Some(connections.unwrap_or_else(|| limits.default_connections_per_ip())),
                Some(rate.unwrap_or_else(|| limits.default_connect_rate_per_ip())),
            ),
        };
        Bounds {
            connections,
            connect_rate: rate.unwrap_or_else(|| limits.connect_rate_share()),
            own_rate: rate.is_some(),
        }
    }

    /// Sessions of the address that may be in no namespace yet.
    pub fn unconnected(&self, limits: &Limits) -> u32 {
        let all = limits.unconnected();
        if self.connections.is_some() { (all / 4).max(1) } else { all - all / 10 }
    }

    /// HTTP connections that the address may have: two for each session, as a polling client has.
    pub fn http_connections(&self, limits: &Limits) -> u32 {
        let all = limits.http_connections();
        let own = |sessions: u32| sessions.saturating_mul(2).saturating_add(SPARE_CONNECTIONS);
        self.connections.map_or(all - all / 10, own)
    }
}
