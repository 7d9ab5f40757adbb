//! One Socket.IO packet in every form that some recipient needs, encoded once and shared.

use std::sync::OnceLock;

use bytes::Bytes;

use crate::Revision;
use crate::frames::{MAX_HEAD, Opcode, put_frame};

/// Engine.IO's packet type `message`, the first character of every Socket.IO packet on the wire.
const MESSAGE: char = '4';

/// A part of a packet, as Engine.IO counts packets: the text, or one binary attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// An Engine.IO packet in text, its type digit first.
    Text(&'a [u8]),
    /// The bytes of a binary message, without a type.
    Binary(&'a Bytes),
}

/// A packet for clients, shared by all its recipients.
#[derive(Debug)]
pub struct Encoded {
    text_frame: Bytes,
    text_start: usize,
    attachments: Vec<Bytes>,
    binary_frames: [OnceLock<Bytes>; 2],
}

impl Encoded {
    /// A Socket.IO packet: `2["event",…]` and its attachments, without Engine.IO's type.
    pub fn message(packet: &str, attachments: Vec<Bytes>) -> Self {
        let mut text = String::with_capacity(packet.len() + 1);
        text.push(MESSAGE);
        text.push_str(packet);
        Self::new(text.as_bytes(), attachments)
    }

    /// An Engine.IO packet in text, such as `2` or `0{…}`.
    pub fn engine(text: &[u8]) -> Self {
        Self::new(text, Vec::new())
    }

    /// An Engine.IO packet in text and the binary messages that follow it.
    pub fn new(text: &[u8], attachments: Vec<Bytes>) -> Self {
        let mut frame = Vec::with_capacity(text.len() + MAX_HEAD);
        put_frame(&mut frame, Opcode::Text, text);
        Encoded {
            text_start: frame.len() - text.len(),
            text_frame: frame.into(),
            attachments,
            binary_frames: Default::default(),
        }
    }

    /// A WebSocket Close frame with status 1000 (RFC 6455, section 7.4.1). It has no form on
    /// long-polling.
    pub fn close_frame() -> Self {
        let mut frame = Vec::with_capacity(MAX_HEAD);
        put_frame(&mut frame, Opcode::Close, &1000u16.to_be_bytes());
        Encoded {
            text_start: frame.len(),
            text_frame: frame.into(),
            attachments: Vec::new(),
            binary_frames: Default::default(),
        }
    }

    /// The text, its type digit first.
    pub fn text(&self) -> &[u8] {
        &self.text_frame[self.text_start..]
    }

    /// Bytes that it counts for in a queue.
    pub fn size(&self) -> usize {
        self.text_frame.len() + self.attachments.iter().map(|a| a.len() + MAX_HEAD).sum::<usize>()
    }

    /// The text and then the attachments.
    pub fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        std::iter::once(Part::Text(self.text())).chain(self.attachments.iter().map(Part::Binary))
    }

    /// All of it as WebSocket frames. Text is the same for both revisions; a binary message of
    /// Engine.IO 3 starts with its type (Engine.IO protocol, revision 3, "Binary packets").
    pub fn websocket(&self, revision: Revision) -> &Bytes {
        if self.attachments.is_empty() {
            return &self.text_frame;
        }
        self.binary_frames[revision as usize].get_or_init(|| {
            let mut out = Vec::with_capacity(self.size());
            out.extend_from_slice(&self.text_frame);
            for attachment in &self.attachments {
                match revision {
                    Revision::V4 => put_frame(&mut out, Opcode::Binary, attachment),
                    Revision::V3 => {
                        let typed = [&[MESSAGE_V3], &attachment[..]].concat();
                        put_frame(&mut out, Opcode::Binary, &typed);
                    }
                }
            }
            out.into()
        })
    }
}

/// Engine.IO 3's type byte of a binary message.
pub const MESSAGE_V3: u8 = 0x04;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attachments_follow_their_text_in_each_revisions_form() {
        let packet = Encoded::message(
            "51-[\"e\",{\"_placeholder\":true,\"num\":0}]",
            vec![Bytes::from_static(&[7, 8])],
        );
        let v4 = packet.websocket(Revision::V4);
        let v3 = packet.websocket(Revision::V3);
        assert!(v4.starts_with(&packet.text_frame) && v3.starts_with(&packet.text_frame));
        assert_eq!(v4[packet.text_frame.len()..], [0x82, 2, 7, 8]);
        assert_eq!(v3[packet.text_frame.len()..], [0x82, 3, 4, 7, 8]);
    }
}
