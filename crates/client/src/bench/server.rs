//! [`Server`]: a server's address, and what every client sends to it.

use std::net::{SocketAddr, ToSocketAddrs};

use anyhow::{Context, bail};

use super::frames;
use crate::target::Target;
use rookery_protocol::Data;
use rookery_protocol::packet;

/// Offers compressed messages without contexts, so that each is inflated by itself.
const EXTENSIONS: &str = "Sec-WebSocket-Extensions: permessage-deflate; \
    server_no_context_takeover; client_no_context_takeover\r\n";

/// A server to measure.
pub(super) struct Server {
    /// The URL as the user wrote it.
    pub(super) url: String,
    pub(super) address: SocketAddr,
    pub(super) messages: Messages,
}

/// What each client sends until it joins its room, encoded once.
pub(super) struct Messages {
    /// The HTTP request of the WebSocket handshake.
    pub(super) handshake: Vec<u8>,
    /// The frame of the CONNECT packet.
    pub(super) connect: Vec<u8>,
    /// The namespace as packets of the server have it after their type: `/n,` in `40/n,`.
    pub(super) namespace_prefix: String,
}

impl Server {
    /// Resolves the target's host and encodes the messages for it, with `deflate` an offer of
    /// compressed messages too.
    ///
    /// # Errors
    /// When the URL is not plain HTTP, or the host has no address.
    pub(super) fn new(target: &Target, deflate: bool) -> anyhow::Result<Server> {
        let endpoint = target.endpoint();
        let (authority, address) = resolve(endpoint)?;
        let namespace = target.namespace();
        let connect = format!("4{}", packet::encode_connect(namespace, target.auth().as_ref()));
        let mut connect_frame = Vec::new();
        frames::write(&mut connect_frame, frames::TEXT, connect.as_bytes());
        let extensions = if deflate { EXTENSIONS } else { "" };
        let messages = Messages {
            handshake: format!(
                "GET {}?{} HTTP/1.1\r\nHost: {authority}\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\nSec-WebSocket-Key: cm9va2VyeS1iZW5jaC0tMQ==\r\n\
                 Sec-WebSocket-Version: 13\r\n{extensions}\r\n",
                endpoint.path(),
                endpoint.query().unwrap_or_default(),
            )
            .into_bytes(),
            connect: connect_frame,
            namespace_prefix: match namespace {
                "/" => String::new(),
                _ => format!("{namespace},"),
            },
        };
        Ok(Server { url: target.url().to_owned(), address, messages })
    }
}

/// The frame that joins a room and asks for an acknowledgement.
pub(super) fn join_frame(namespace: &str, room: &str) -> Vec<u8> {
    let request = Data::Object(vec![("room".into(), Data::from(room))]);
    let (text, _) = packet::encode_event(namespace, Some(0), "join", &[request]);
    let mut frame = Vec::new();
    frames::write(&mut frame, frames::TEXT, format!("4{text}").as_bytes());
    frame
}

/// The `Host` header for a URL, and the first address of its host.
pub(super) fn resolve(url: &reqwest::Url) -> anyhow::Result<(String, SocketAddr)> {
    if !matches!(url.scheme(), "http" | "ws") {
        bail!("{url}: bench measures plain HTTP only, without TLS");
    }
    let host = url.host_str().context("the URL has no host")?;
    let port = url.port_or_known_default().unwrap_or(80);
    let authority = format!("{host}:{port}");
    let address = authority
        .to_socket_addrs()
        .with_context(|| format!("cannot resolve {host}"))?
        .next()
        .with_context(|| format!("{host} has no address"))?;
    Ok((authority, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_http_can_be_measured() {
        let url = |text: &str| reqwest::Url::parse(text).unwrap();
        assert!(resolve(&url("https://127.0.0.1")).is_err());
        let (authority, address) = resolve(&url("ws://127.0.0.1")).unwrap();
        assert_eq!((authority.as_str(), address.port()), ("127.0.0.1:80", 80));
        assert!(resolve(&url("http://[::1]:5")).unwrap().1.is_ipv6());
    }
}
