//! Packets of Socket.IO as text: which are handled in place, and which are for the engine.

use bytes::Bytes;

use super::ClientReader;
use crate::connection::stream::connect_query;
use rookery_protocol::Revision;
use rookery_protocol::frames::Opcode;
use rookery_protocol::packet::{PacketError, PacketHead, PacketType};

/// An event or acknowledgement whose attachments are not complete.
pub(super) struct IncompletePacket {
    /// The packet's text, without the Engine.IO type.
    pub(super) text: String,
    attachments: Vec<Bytes>,
    /// Attachments still to come.
    missing: usize,
    /// Bytes of the attachments so far.
    pub(super) size: usize,
}

/// Who handles a packet.
pub(super) enum Receiver {
    /// The client's own hooks.
    Client,
    /// The engine, which answers it or not.
    Engine { answers: bool },
}

impl ClientReader {
    /// Handles a Socket.IO packet, unless it is for the engine.
    pub(super) fn on_packet(&mut self, packet: &[u8]) -> Receiver {
        let engine = Receiver::Engine { answers: false };
        let text = std::str::from_utf8(packet).ok();
        let Some((text, Ok((head, query)))) = text.map(|text| (text, self.head(text))) else {
            return engine;
        };
        if let Some(query) = query.filter(|_| !head.kind.is_event()) {
            return self.pass_without_query(&head, query);
        }
        let connected = self.hooks.is_connected(head.namespace);
        match head.kind {
            // The engine ignores a CONNECT to a namespace that the client is connected to.
            PacketType::Connect if connected || self.hooks.on_connect(head.namespace) => {
                return Receiver::Engine { answers: !connected };
            }
            PacketType::Connect => {}
            PacketType::Disconnect | PacketType::ConnectError => return engine,
            _ if !connected => return engine,
            _ if head.attachments == 0 => self.wait = self.hooks.on_client_packet(&head, &[]),
            _ => {
                self.incomplete = Some(Box::new(IncompletePacket {
                    text: text.to_owned(),
                    attachments: Vec::with_capacity(head.attachments),
                    missing: head.attachments,
                    size: 0,
                }));
            }
        }
        Receiver::Client
    }

    /// The head of a packet, and the query that its namespace has in revision 3.
    fn head<'a>(&self, text: &'a str) -> Result<(PacketHead<'a>, Option<&'a str>), PacketError> {
        let mut head = PacketHead::parse(text)?;
        let query = match self.outbox.revision() {
            Revision::V3 => head.split_query(),
            Revision::V4 => None,
        };
        Ok((head, query))
    }

    /// The engine gets a packet whose namespace has a query without it; in a CONNECT, the query is
    /// the auth payload, as in Node's server.
    fn pass_without_query(&mut self, head: &PacketHead<'_>, query: &str) -> Receiver {
        let namespace = head.namespace;
        let (packet, answers) = match head.kind {
            PacketType::Connect => {
                let connected = self.hooks.is_connected(namespace);
                if !connected && !self.hooks.on_connect(namespace) {
                    return Receiver::Client;
                }
                (format!("40{namespace},{}", connect_query::to_json(query)), !connected)
            }
            PacketType::Disconnect => (format!("41{namespace},"), false),
            _ => return Receiver::Engine { answers: false },
        };
        self.pass(Opcode::Text, packet.as_bytes(), answers);
        Receiver::Client
    }

    pub(super) fn on_attachment(&mut self, bytes: &[u8]) {
        let Some(mut packet) = self.incomplete.take() else { return };
        packet.size += bytes.len();
        if packet.size > self.max_message {
            return self.hooks.on_malformed(&PacketError::AttachmentsTooLong);
        }
        packet.attachments.push(Bytes::copy_from_slice(bytes));
        packet.missing -= 1;
        if packet.missing > 0 {
            self.incomplete = Some(packet);
        } else if let Ok((head, _)) = self.head(&packet.text) {
            self.wait = self.hooks.on_client_packet(&head, &packet.attachments);
        }
    }
}
