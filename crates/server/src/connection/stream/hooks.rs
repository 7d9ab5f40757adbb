//! The [`EngineHooks`]: what a session does with packets as they pass through its stream.

use bytes::Bytes;

use crate::connection::Wait;
use rookery_protocol::encoded::Encoded;
use rookery_protocol::frames::FrameError;
use rookery_protocol::packet::{PacketError, PacketHead};

/// What a session does with the packets of the engine and of its client, and at the end of the
/// stream.
pub trait EngineHooks: Send + Sync {
    /// Decides about a packet that the engine writes for the client: its text and attachments.
    fn on_packet(&self, text: &[u8], attachments: Vec<Bytes>) -> PacketAction;

    /// Called for each CONNECT to a namespace that the client is not connected to, before the engine
    /// hears of it. False: it is refused, and answered.
    fn on_connect(&self, namespace: &str) -> bool;

    /// Whether the client is connected to a namespace. Its events and acknowledgements there do not
    /// reach the engine.
    fn is_connected(&self, namespace: &str) -> bool;

    /// Handles an event or acknowledgement of a namespace that the client is connected to. Returns
    /// what must end before the client's next packet is handled.
    fn on_client_packet(&self, head: &PacketHead<'_>, attachments: &[Bytes]) -> Wait;

    /// Called when a compressed message of the client was inflated, with the bytes that it has beyond
    /// those that were sent. Returns what must end before more of the client is read.
    fn on_inflated(&self, bytes: usize) -> Wait;

    /// Whether the server may hold this many bytes of the client's messages that have not arrived
    /// whole, or are not handled yet; 0 stands for few. False: the session is ending.
    fn may_hold(&self, bytes: usize) -> bool;

    /// Called after packets of the client were handled, before others are read.
    fn on_turn_end(&self);

    /// Called when the client's Socket.IO packets do not fit together. The session must end.
    fn on_malformed(&self, error: &PacketError);

    /// Called when the client sent bytes that are no frame it may send. The session must end.
    fn on_violation(&self, error: FrameError);

    /// Called when the engine drops the stream: its session is over. `gave_up` is true where the
    /// engine did so of its own accord, neither because the client closed the session nor because
    /// the outbox ended it.
    fn on_close(&self, gave_up: bool);
}

/// What to do with a packet of the engine.
pub enum PacketAction {
    /// Send this packet to the client.
    Send(Encoded),
    /// Do not send the packet.
    Drop,
    /// Send this packet to the client, and then call the function, unless the session is ending.
    /// It returns what must end before the client's next packet is handled.
    SendThen(Encoded, Box<dyn FnOnce() -> Wait + Send>),
}
