//! An [`EngineRequest`]: an HTTP request of a client, and where it came in.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::Request;
use http::header::HeaderMap;
use hyper::body::Incoming;

use crate::gateway::engine::Engine;
use crate::gateway::state::Gateway;

/// An HTTP request of a client, and where it came in.
pub struct EngineRequest {
    /// The protocol engine, which runs the sessions.
    pub engine: Engine,
    /// The number of the shard that accepted the connection.
    pub shard: usize,
    /// The address of the connection's other end, which may be a proxy.
    pub peer: SocketAddr,
    /// The request itself.
    pub http: Request<Incoming>,
}

impl EngineRequest {
    /// The gateway that the request reached.
    pub fn gateway(&self) -> &Arc<Gateway> {
        self.engine.gateway()
    }

    /// The headers of the request.
    pub fn headers(&self) -> &HeaderMap {
        self.http.headers()
    }

    /// The client's address, behind trusted proxies too.
    pub fn client_address(&self) -> IpAddr {
        let forwarded: Vec<_> = self
            .headers()
            .get_all("x-forwarded-for")
            .iter()
            .filter_map(|v| v.to_str().ok())
            .collect();
        let forwarded = (!forwarded.is_empty()).then(|| forwarded.join(","));
        let trusted = &self.gateway().config.trusted_proxies;
        client_address(self.peer.ip().to_canonical(), forwarded.as_deref(), trusted)
    }
}

/// The address that a request came from: the peer's, or behind trusted proxies the last hop of
/// X-Forwarded-For that is not one of them.
fn client_address(peer: IpAddr, forwarded: Option<&str>, trusted: &[ipnet::IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    if !is_trusted(&peer) {
        return peer;
    }
    let hops = forwarded.unwrap_or_default().rsplit(',').map(str::trim);
    let mut client = peer;
    for hop in hops {
        let Ok(address) = hop.parse() else { break };
        client = address;
        if !is_trusted(&client) {
            break;
        }
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x_forwarded_for_counts_only_from_trusted_proxies() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let from = |peer: &str, header| client_address(ip(peer), header, &trusted);
        assert_eq!(from("1.2.3.4", Some("9.9.9.9")), ip("1.2.3.4"));
        assert_eq!(from("10.0.0.1", Some("9.9.9.9, 8.8.8.8, 10.2.2.2")), ip("8.8.8.8"));
        assert_eq!(from("10.0.0.1", None), ip("10.0.0.1"));
        assert_eq!(from("10.0.0.1", Some("x, 10.2.2.2")), ip("10.2.2.2"));
    }
}
