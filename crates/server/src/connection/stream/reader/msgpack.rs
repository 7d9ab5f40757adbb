//! Packets of Socket.IO in MessagePack, which are handled as the text and the attachments that they
//! stand for.

use super::ClientReader;
use super::packets::Receiver;
use rookery_protocol::frames::Opcode;
use rookery_protocol::packet::msgpack;

impl ClientReader {
    /// A packet, which is one binary message.
    pub(super) fn on_msgpack(&mut self, message: &[u8]) {
        let (text, attachments) = match msgpack::to_text(message) {
            Ok(packet) => packet,
            Err(error) => return self.hooks.on_malformed(&error),
        };
        match self.on_packet(text.as_bytes()) {
            Receiver::Client => {
                for attachment in &attachments {
                    self.on_attachment(attachment);
                }
            }
            Receiver::Engine { answers } => {
                // The engine only judges whether the client may send anything there: the event of a
                // client that may is not its own. So it needs no attachments.
                let text = match attachments.is_empty() {
                    true => format!("4{text}"),
                    false => format!("4{}", msgpack::without_payload(&text)),
                };
                self.pass(Opcode::Text, text.as_bytes(), answers);
            }
        }
    }
}
