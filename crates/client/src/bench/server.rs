//! What a client says on its way into its room, ready-made.

use std::net::SocketAddr;

use super::api::resolve;
use super::frames;
use crate::Target;
use rookery_protocol::Data;
use rookery_protocol::packet;

/// A server, and what every client says to it.
pub(super) struct Server {
    /// Its URL as it was given.
    pub(super) url: String,
    pub(super) address: SocketAddr,
    pub(super) script: Script,
}

/// What each client says on its way, ready-made.
pub(super) struct Script {
    /// The HTTP request of the handshake.
    pub(super) handshake: Vec<u8>,
    /// The frame that asks for the namespace.
    pub(super) connect: Vec<u8>,
    /// What the answers of the namespace start with: after the packet's type, as in `40/n,`.
    pub(super) address: String,
}

/// Where `target` is, and what a client says there.
pub(super) fn server(target: &Target) -> anyhow::Result<Server> {
    let endpoint = target.endpoint();
    let (authority, address) = resolve(endpoint)?;
    let namespace = target.namespace_name();
    let connect = format!("4{}", packet::encode_connect(namespace, target.auth().as_ref()));
    let mut frame = Vec::new();
    frames::write(&mut frame, frames::TEXT, connect.as_bytes());
    let script = Script {
        handshake: format!(
            "GET {}?{} HTTP/1.1\r\nHost: {authority}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Key: cm9va2VyeS1iZW5jaC0tMQ==\r\n\
             Sec-WebSocket-Version: 13\r\n\r\n",
            endpoint.path(),
            endpoint.query().unwrap_or_default(),
        )
        .into_bytes(),
        connect: frame,
        address: if namespace == "/" { String::new() } else { format!("{namespace},") },
    };
    Ok(Server { url: target.url().to_owned(), address, script })
}

/// The frame that joins a room and asks for an answer.
pub(super) fn join(namespace: &str, room: &str) -> Vec<u8> {
    let request = Data::Object(vec![("room".to_owned(), Data::from(room))]);
    let (text, _) = packet::encode_event(namespace, Some(0), "join", &[request]);
    let mut frame = Vec::new();
    frames::write(&mut frame, frames::TEXT, format!("4{text}").as_bytes());
    frame
}
