//! A [`Packet`] for one client, and the [`PacketBatch`] that several clients share.

use std::sync::Arc;

use bytes::Bytes;

use crate::telemetry::latency::DeliveryTag;
use crate::telemetry::metrics::Traffic;
use rookery_protocol::encoded::{Encoded, FrameForm, FrameForms};

/// A packet for a client: encoded once and shared by all its recipients.
#[derive(Clone, Debug)]
pub struct Packet {
    /// The packet's bytes in every form that some recipient needs.
    pub encoded: Arc<Encoded>,
    /// What the delivery is counted under; `None` for a packet that is no publication.
    pub tag: Option<Arc<DeliveryTag>>,
    /// Whether the packet is dropped instead of queued behind others.
    pub volatile: bool,
}

impl Packet {
    /// A packet that is no publication: the engine's own, a reply, an ack, a refusal.
    pub(super) fn untagged(encoded: Arc<Encoded>) -> Self {
        Packet { encoded, tag: None, volatile: false }
    }
}

/// Packets that go to the same recipients in one write: their bytes are joined once per form.
#[derive(Debug)]
pub struct PacketBatch {
    packets: Vec<Packet>,
    joined: FrameForms,
    size: usize,
    volatile: bool,
}

impl PacketBatch {
    /// A batch of at least one packet, in order.
    pub fn new(packets: Vec<Packet>) -> Self {
        PacketBatch {
            size: packets.iter().map(|packet| packet.encoded.size()).sum(),
            volatile: packets.iter().any(|packet| packet.volatile),
            packets,
            joined: FrameForms::default(),
        }
    }

    /// The packets, in order.
    pub fn packets(&self) -> &[Packet] {
        &self.packets
    }

    /// Whether one of the packets is volatile.
    pub(super) fn has_volatile(&self) -> bool {
        self.volatile
    }

    /// Bytes of the packets' own form, which is not compressed.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// What each recipient is sent.
    pub fn traffic(&self) -> Traffic {
        Traffic { packets: self.packets.len() as u64, bytes: self.size as u64 }
    }

    /// All packets as WebSocket frames.
    pub(super) fn websocket(&self, form: FrameForm) -> &Bytes {
        if let [packet] = &self.packets[..] {
            return packet.encoded.websocket(form);
        }
        self.joined.get_or_init(form, || {
            let mut out = Vec::with_capacity(self.size);
            for packet in &self.packets {
                out.extend_from_slice(packet.encoded.websocket(form));
            }
            out.into()
        })
    }
}
