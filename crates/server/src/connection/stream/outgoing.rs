//! What the engine writes for a client: frames become packets, which go to the outbox whole.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::hooks::{EngineHooks, PacketAction};
use super::pipe::Pipe;
use crate::connection::outbox::{Ending, Outbox};
use crate::telemetry::metrics::Disconnected;
use rookery_protocol::Revision;
use rookery_protocol::frames::{Frame, FrameReader, Opcode};
use rookery_protocol::packet::PacketHead;

/// The engine's heartbeat in revision 4.
const PING: &[u8] = b"2";

/// The packet that the engine writes when it ends a session of its own accord, for instance after
/// a missed heartbeat. The client does not get it: the outbox announces the end itself.
const ENGINE_CLOSE: &[u8] = b"1";

/// The engine's side of a stream, as far as it writes.
#[derive(Default)]
pub(super) struct Outgoing {
    frames: FrameReader,
    /// A text packet whose attachments are not complete.
    incomplete: Option<Box<IncompletePacket>>,
    /// The engine wrote a Close frame.
    closed: bool,
}

/// A text packet that waits for the attachments it announces.
struct IncompletePacket {
    text: Bytes,
    attachments: Vec<Bytes>,
    /// Attachments still to come.
    missing: usize,
}

impl Outgoing {
    /// Takes all bytes of a write.
    ///
    /// # Errors
    /// When the session is ending, or the bytes are not frames.
    pub fn write(
        &mut self,
        outbox: &Arc<Outbox>,
        hooks: &dyn EngineHooks,
        pipe: &Pipe,
        bytes: &[u8],
    ) -> io::Result<usize> {
        if self.closed || outbox.ending().is_some() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut frames = Vec::new();
        self.frames
            .push(bytes, |frame| frames.push(frame))
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        for frame in frames {
            if let Some(IncompletePacket { text, attachments, .. }) = self.on_frame(outbox, frame) {
                send(outbox, hooks, pipe, &text, attachments);
            }
            if self.closed && pipe.client_closed() {
                outbox.close(Disconnected::Client, Ending::Finish);
            }
        }
        Ok(bytes.len())
    }

    /// Takes a frame; returns the packet that it completes.
    fn on_frame(&mut self, outbox: &Outbox, frame: Frame) -> Option<IncompletePacket> {
        match (frame.opcode, self.incomplete.take()) {
            (Opcode::Text, None) => {
                let missing = announced_attachments(&frame.payload);
                let text = frame.payload;
                let packet = IncompletePacket { text, attachments: Vec::new(), missing };
                if missing == 0 {
                    return Some(packet);
                }
                self.incomplete = Some(Box::new(packet));
            }
            (Opcode::Binary, Some(mut packet)) => {
                // In revision 3 the engine puts a type byte first (Engine.IO protocol, revision 3,
                // "Binary packets"), which is no part of the attachment.
                let type_bytes = usize::from(outbox.revision() == Revision::V3);
                let attachment = frame.payload.slice(type_bytes.min(frame.payload.len())..);
                packet.attachments.push(attachment);
                packet.missing -= 1;
                if packet.missing == 0 {
                    return Some(*packet);
                }
                self.incomplete = Some(packet);
            }
            (Opcode::Close, _) => self.closed = true,
            (_, incomplete) => self.incomplete = incomplete,
        }
        None
    }
}

/// Sends a packet of the engine to the client, as the hooks decide.
///
/// In revision 4 the first heartbeat is due after `pingInterval` (Engine.IO protocol,
/// "Heartbeat"), but the engine sends one at once. The stream answers that one itself.
fn send(
    outbox: &Arc<Outbox>,
    hooks: &dyn EngineHooks,
    pipe: &Pipe,
    text: &[u8],
    attachments: Vec<Bytes>,
) {
    if text == ENGINE_CLOSE || (text == PING && pipe.answers_heartbeat()) {
        return;
    }
    let wait = match hooks.on_packet(text, attachments) {
        PacketAction::Send(packet) => {
            outbox.send(Arc::new(packet));
            None
        }
        PacketAction::SendThen(packet, then) => {
            if outbox.send(Arc::new(packet)) {
                then()
            } else {
                None
            }
        }
        PacketAction::Drop => None,
    };
    // Every CONNECT is answered by CONNECT or CONNECT_ERROR.
    if let [b'4', b'0' | b'4', ..] = text {
        pipe.connect_answered(wait);
    }
}

/// The number of attachments that a packet of the engine announces; 0 if it is no Socket.IO packet.
fn announced_attachments(text: &[u8]) -> usize {
    let Some(packet) = text.strip_prefix(b"4") else { return 0 };
    let head = std::str::from_utf8(packet).ok().and_then(|packet| PacketHead::parse(packet).ok());
    head.map_or(0, |head| head.attachments)
}
