//! What the client of the random tests sends, and the hooks that handle it.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::connection::Wait;
use crate::connection::stream::{EngineHooks, PacketAction};
use rookery_protocol::Revision;
use rookery_protocol::encoded::Encoded;
use rookery_protocol::frames::{FrameError, Opcode, compress, put_client_frame};
use rookery_protocol::packet::{PacketError, PacketHead};
use rookery_protocol::payload::Packet;

/// Hooks that send every packet, and handle events of the namespace `/`.
#[derive(Default)]
pub(super) struct Hooks {
    /// The numbers of the client's packets, in the order in which they were handled.
    pub(super) heard: Mutex<Vec<u64>>,
    /// How many messages were compressed.
    pub(super) inflated: AtomicUsize,
    /// Ends the wait for the last event.
    pub(super) done: Mutex<Option<oneshot::Sender<()>>>,
}

impl EngineHooks for Hooks {
    fn on_packet(&self, text: &[u8], attachments: Vec<Bytes>) -> PacketAction {
        match text {
            b"40" => PacketAction::Drop,
            _ => PacketAction::Send(Encoded::new(text, attachments)),
        }
    }

    fn on_connect(&self, _: &str) -> bool {
        true
    }

    fn is_connected(&self, namespace: &str) -> bool {
        namespace == "/"
    }

    /// Every fifth event must be waited for.
    fn on_client_packet(&self, head: &PacketHead<'_>, attachments: &[Bytes]) -> Wait {
        assert!(self.done.lock().is_none(), "the event before is done");
        let number = head.id.expect("the client numbers its events");
        let attached: Vec<u8> = attachments.concat();
        assert_eq!(attached, vec![number as u8; head.attachments * 3]);
        self.heard.lock().push(number);
        if !number.is_multiple_of(5) {
            return None;
        }
        let (done, wait) = oneshot::channel();
        *self.done.lock() = Some(done);
        Some(Box::pin(async {
            let _ = wait.await;
        }))
    }

    /// Other sessions are served before more is read.
    fn on_inflated(&self, bytes: usize) -> Wait {
        assert!(bytes > 0);
        self.inflated.fetch_add(1, Ordering::Relaxed);
        Some(Box::pin(tokio::task::yield_now()))
    }

    fn may_hold(&self, _: usize) -> bool {
        true
    }

    fn on_turn_end(&self) {}

    fn on_malformed(&self, error: &PacketError) {
        panic!("the test's client sends valid packets: {error}");
    }

    fn on_violation(&self, error: FrameError) {
        panic!("the test's client sends valid frames: {error}");
    }

    fn on_close(&self, _: bool) {}
}

/// The Socket.IO packet with this number that the engine handles: a DISCONNECT.
fn for_engine(n: u64) -> String {
    format!("1/{n},")
}

/// The number of such a packet, as the engine reads it.
pub(super) fn engines_number(text: &str) -> Option<u64> {
    text.strip_prefix("41/")?.strip_suffix(',')?.parse().ok()
}

/// The client's packet with this number: one for the engine, an event, or one with attachments.
pub(super) fn packets(n: u64) -> Vec<Packet> {
    let attachment = || Packet::Binary(vec![n as u8; 3].into());
    match n % 4 {
        0 => vec![Packet::Message(for_engine(n))],
        3 => vec![Packet::Message(format!("52-{n}[]")), attachment(), attachment()],
        _ => vec![Packet::Message(format!("2{n}[{}]", " ".repeat(100)))],
    }
}

/// The same as frames of a WebSocket; with `deflate`, those that become smaller by it are compressed.
pub(super) fn said(n: u64, revision: Revision, deflate: bool) -> Vec<u8> {
    let mut frames = Vec::new();
    for packet in packets(n) {
        let (opcode, payload) = match (packet, revision) {
            (Packet::Message(text), _) => (Opcode::Text, format!("4{text}").into_bytes()),
            (Packet::Binary(bytes), Revision::V4) => (Opcode::Binary, bytes.to_vec()),
            (Packet::Binary(bytes), Revision::V3) => (Opcode::Binary, [&[4], &bytes[..]].concat()),
            (other, _) => panic!("the client sends no {other:?}"),
        };
        let start = frames.len();
        match compress(&payload).filter(|_| deflate) {
            Some(compressed) => {
                put_client_frame(&mut frames, opcode, &compressed);
                frames[start] |= 0x40;
            }
            None => put_client_frame(&mut frames, opcode, &payload),
        }
    }
    frames
}
