//! The [`Queue`] of an outbox: the packets that wait for the client, in order, and their bytes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::packet::Packet;
use crate::telemetry::latency::DeliveryTag;
use rookery_protocol::encoded::FrameForm;
use rookery_protocol::frames::Deflate;
use rookery_protocol::{Parser, Revision};

/// Bytes that wait in all the queues of a shard. It changes only where something waits: a write
/// that the kernel takes at once does not touch it.
#[derive(Debug, Default)]
pub struct Backlog(AtomicUsize);

impl Backlog {
    /// Bytes that wait in the shard's queues.
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// A packet that waits, and how much of it was written.
pub(super) struct QueuedPacket {
    pub(super) packet: Packet,
    /// Bytes of its WebSocket frames that the kernel has taken; always 0 on long-polling.
    written: usize,
}

impl QueuedPacket {
    /// The WebSocket frames that the kernel has not taken yet.
    pub(super) fn unwritten(&self, form: FrameForm) -> &[u8] {
        &self.packet.encoded.websocket(form)[self.written..]
    }

    pub(super) fn tag(&self) -> Option<&Arc<DeliveryTag>> {
        self.packet.tag.as_ref()
    }

    /// Bytes that it counts for in the queue.
    fn size(&self, form: FrameForm) -> usize {
        match self.written {
            0 => self.packet.encoded.size(),
            _ => self.unwritten(form).len(),
        }
    }
}

/// What waits for one client. Dropping it takes its bytes out of the shard's [`Backlog`].
pub(super) struct Queue {
    packets: VecDeque<QueuedPacket>,
    bytes: usize,
    backlog: Arc<Backlog>,
    form: FrameForm,
}

impl Queue {
    /// An empty queue for a client that speaks `revision`, with packets as `parser` has them; its bytes
    /// count in `backlog`.
    pub(super) fn new(revision: Revision, parser: Parser, backlog: Arc<Backlog>) -> Self {
        let form = FrameForm { revision, base64: false, parser, deflate: None };
        Queue { packets: VecDeque::new(), bytes: 0, backlog, form }
    }

    /// How the client gets packets on its WebSocket.
    pub(super) fn form(&self) -> FrameForm {
        self.form
    }

    /// Sets whether the client takes no binary frames, and which messages are compressed for it.
    /// Nothing may be written in part.
    pub(super) fn set_form(&mut self, base64: bool, deflate: Option<Deflate>) {
        self.form = FrameForm { base64, deflate, ..self.form };
    }

    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn front(&self) -> Option<&QueuedPacket> {
        self.packets.front()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &QueuedPacket> {
        self.packets.iter()
    }

    /// Appends a packet.
    pub(super) fn push(&mut self, packet: Packet) {
        self.push_rest(packet, 0);
    }

    /// Appends a packet of which the kernel has taken `written` bytes.
    pub(super) fn push_rest(&mut self, packet: Packet, written: usize) {
        let queued = QueuedPacket { packet, written };
        self.grow(queued.size(self.form));
        if let Some(trace) = queued.tag().and_then(|tag| tag.trace.as_ref()) {
            trace.queued();
        }
        self.packets.push_back(queued);
    }

    /// Removes the first packet.
    pub(super) fn pop(&mut self) -> Option<QueuedPacket> {
        let first = self.packets.pop_front()?;
        self.shrink(first.size(self.form));
        if self.packets.is_empty() {
            self.packets = VecDeque::new();
        }
        Some(first)
    }

    /// Notes that the kernel took `n` more bytes of the first packet, and not all that were left.
    pub(super) fn advance(&mut self, n: usize) {
        if let Some(first) = self.packets.front_mut() {
            let before = first.size(self.form);
            first.written += n;
            let after = first.size(self.form);
            self.shrink(before);
            self.grow(after);
        }
    }

    /// Drops all packets; returns how many of them were deliveries.
    pub(super) fn clear(&mut self) -> usize {
        self.shrink(self.bytes);
        let packets = std::mem::take(&mut self.packets);
        packets.iter().filter_map(QueuedPacket::tag).inspect(|tag| tag.lost(1)).count()
    }

    fn grow(&mut self, size: usize) {
        self.bytes += size;
        self.backlog.0.fetch_add(size, Ordering::Relaxed);
    }

    fn shrink(&mut self, size: usize) {
        self.bytes -= size;
        self.backlog.0.fetch_sub(size, Ordering::Relaxed);
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}
