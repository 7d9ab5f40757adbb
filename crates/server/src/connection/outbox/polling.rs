//! An outbox on long-polling: GETs take packets from it, POSTs bring the client's.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::queue::QueuedPacket;
use super::transport::{Polling, Transport, WaitingGet};
use super::{Ending, Outbox, Phase, State};
use crate::telemetry::metrics::Disconnected;
use rookery_protocol::encoded::{MESSAGE_V3, Part};
use rookery_protocol::frames::{Opcode, put_client_frame};
use rookery_protocol::payload::{Form, Packet};
use rookery_protocol::{Parser, Revision};

/// Bytes of a client's packets that may wait to be read; beyond it, a POST waits.
const INBOUND: usize = 64 << 10;

/// Engine.IO packets in one answer to a GET. python-engineio refuses a payload with more
/// (`Payload.max_decode_packets`). Of a Socket.IO packet, the text and each attachment count.
const MAX_PACKETS: usize = 16;

/// A client that reads this many bytes of an answer per second does not count as one that does not
/// read. Nobody knows when it has read the answer: the kernel takes that at once.
const SLOWEST: usize = 4 << 10;

/// The answer to a GET.
#[derive(Debug, PartialEq, Eq)]
pub struct Polled {
    /// The body of the response: a payload of Engine.IO packets.
    pub body: Vec<u8>,
    /// The form of the body, which determines its media type.
    pub form: Form,
    /// Why the session ends with this answer; `None` where it goes on.
    pub last: Option<Disconnected>,
}

/// Why the session cannot take a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPolling {
    /// The session has ended, or is on a WebSocket.
    #[error("the session is not on long-polling any more")]
    Elsewhere,
    /// Another GET or another POST is waiting already, or the last GET was cancelled. The session
    /// ends.
    #[error("a request of this kind is already waiting, or was cancelled")]
    Overlap,
}

/// A GET that waits. Dropping it before it is answered ends the session: its connection is gone,
/// and clients do not poll again after a GET that failed.
struct PollGuard<'a> {
    outbox: &'a Outbox,
    /// Bytes of the answer.
    answer: Option<usize>,
}

impl Drop for PollGuard<'_> {
    fn drop(&mut self) {
        let mut state = self.outbox.state.lock();
        let Transport::Polling(polling) = &mut state.transport else { return };
        polling.waiting = None;
        if let Some(bytes) = self.answer {
            polling.answered = bytes;
            return;
        }
        if polling.upgrading {
            polling.cancelled = true;
        } else {
            self.outbox.end(&mut state, Disconnected::TransportError);
        }
    }
}

impl Outbox {
    /// Waits until there are packets for the client and returns them: up to 16 Engine.IO packets
    /// and `maxPayload` bytes. A Socket.IO packet with its attachments stays in one answer.
    /// `base64` is the query parameter `b64`: attachments are sent as text.
    ///
    /// # Errors
    /// When the session is not on long-polling, or another GET is waiting or was cancelled. The
    /// latter end the session.
    pub async fn poll(self: &Arc<Self>, base64: bool) -> Result<Polled, NotPolling> {
        {
            let mut state = self.state.lock();
            match &mut state.transport {
                Transport::Polling(
                    Polling { waiting: Some(_), .. } | Polling { cancelled: true, .. },
                ) => {
                    self.end(&mut state, Disconnected::TransportError);
                    return Err(NotPolling::Overlap);
                }
                Transport::Polling(polling) => {
                    polling.waiting = Some(WaitingGet::default());
                    polling.stalled = None;
                }
                _ => return Err(NotPolling::Elsewhere),
            }
        }
        let mut guard = PollGuard { outbox: self, answer: None };
        let polled = poll_fn(|cx| self.poll_answer(base64, cx)).await;
        guard.answer = Some(polled.body.len());
        Ok(polled)
    }

    fn poll_answer(self: &Arc<Self>, base64: bool, cx: &mut Context<'_>) -> Poll<Polled> {
        let mut state = self.state.lock();
        let (phase, idle) = (state.phase, state.queue.is_empty());
        let by_client = state.client_closed;
        match &mut state.transport {
            Transport::WebSocket(_) => return Poll::Ready(Polled::noop(self.revision)),
            Transport::Closed => {
                let reason = phase.reason().unwrap_or(Disconnected::TransportError);
                return Poll::Ready(Polled::closed(self.revision, by_client, reason));
            }
            Transport::Polling(polling) if idle && phase == Phase::Open => {
                let waiting = polling.waiting.get_or_insert_default();
                if waiting.noop {
                    return Poll::Ready(Polled::noop(self.revision));
                }
                waiting.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Transport::Polling(_) => {}
        }
        Poll::Ready(self.take(&mut state, base64))
    }

    /// Takes the packets that fit into one answer. The last answer of a session is `1` alone, as
    /// in Node: version 4 of the stock client handles a `1` before the messages of the same answer,
    /// and loses those.
    fn take(&self, state: &mut State, base64: bool) -> Polled {
        let max = self.context.limits.max_payload;
        let parser = self.context.parser;
        let binary = state.queue.iter().take(MAX_PACKETS).any(|packet| packet.has_binary(parser));
        let form = Form::of(self.revision, base64, binary);
        let mut body = Vec::new();
        let mut packets = 0;
        let now = Instant::now();
        while let Some(next) = state.queue.front() {
            let parts = || next.packet.encoded.parts(parser);
            let bound: usize = parts().map(|part| form.bound(part)).sum();
            packets += parts().count();
            if !body.is_empty() && (body.len() + bound > max || packets > MAX_PACKETS) {
                break;
            }
            for part in parts() {
                form.put(&mut body, part);
            }
            if let Some(tag) = state.queue.pop().as_ref().and_then(QueuedPacket::tag) {
                self.context.recorder.written(tag, 1, &[now]);
            }
        }
        let mut last = None;
        if let Phase::Finishing(reason) = state.phase
            && body.is_empty()
        {
            form.put(&mut body, Part::Text(b"1"));
            last = Some(reason);
            self.end(state, reason);
        }
        Polled { body, form, last }
    }

    /// Takes the packets of a POST, as frames of a client. Waits while more than 64 KiB of earlier
    /// ones are unread. A `close` among them ends the session. Packets are ignored once the session
    /// is ending.
    ///
    /// # Errors
    /// When the session is not on long-polling, or another POST is waiting.
    pub async fn feed(self: &Arc<Self>, packets: Vec<Packet>) -> Result<(), NotPolling> {
        let mut frames = Vec::new();
        let mut close = false;
        for packet in packets {
            close |= packet == Packet::Close;
            put_packet(&mut frames, packet, self.revision);
        }
        poll_fn(|cx| self.poll_feed(&mut frames, cx.waker())).await?;
        if close {
            self.state.lock().client_closed = true;
            self.close(Disconnected::Client, Ending::Abort);
        }
        Ok(())
    }

    fn poll_feed(&self, frames: &mut Vec<u8>, waker: &Waker) -> Poll<Result<(), NotPolling>> {
        let mut state = self.state.lock();
        if !matches!(state.transport, Transport::Polling(_)) {
            return Poll::Ready(Err(NotPolling::Elsewhere));
        }
        if state.phase != Phase::Open {
            return Poll::Ready(Ok(()));
        }
        if state.inbound.len() > INBOUND {
            if state.feeder.as_ref().is_some_and(|feeder| !feeder.will_wake(waker)) {
                // As in Node: a client sends one POST at a time.
                self.end(&mut state, Disconnected::TransportError);
                return Poll::Ready(Err(NotPolling::Overlap));
            }
            state.feeder = Some(waker.clone());
            return Poll::Pending;
        }
        state.inbound.append(frames);
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(()))
    }

    /// Ends a session on long-polling whose client does not read: packets have waited without a GET
    /// for as long as a write may stall, and as long as a slow client takes to read the last answer.
    /// To be called now and then: what the last call did not find has lasted no longer than from this
    /// one on.
    pub fn end_if_stalled(&self, now: Instant) {
        let mut state = self.state.lock();
        let waits = state.phase == Phase::Open && !state.queue.is_empty();
        let Transport::Polling(polling) = &mut state.transport else { return };
        if !waits || polling.waiting.is_some() || polling.upgrading {
            polling.stalled = None;
            return;
        }
        let since = *polling.stalled.get_or_insert(now);
        let reading = Duration::from_secs((polling.answered / SLOWEST) as u64);
        if now.saturating_duration_since(since) >= self.context.limits.write_stall() + reading {
            self.end(&mut state, Disconnected::Slow);
        }
    }

    /// Whether the session is on long-polling, including while it is ending.
    pub fn takes_posts(&self) -> bool {
        matches!(self.state.lock().transport, Transport::Polling(_))
    }

    /// Whether the session is on long-polling and open.
    pub fn is_polling(&self) -> bool {
        let state = self.state.lock();
        state.phase == Phase::Open && matches!(state.transport, Transport::Polling(_))
    }

    /// Sets whether the client tries to move to a WebSocket. Until the try ends, a cancelled GET does
    /// not end the session: the client may cancel it because it moves.
    pub fn set_upgrading(&self, upgrading: bool) {
        let mut state = self.state.lock();
        let Transport::Polling(polling) = &mut state.transport else { return };
        polling.upgrading = upgrading;
        if polling.cancelled && !upgrading {
            self.end(&mut state, Disconnected::TransportError);
        }
    }

    /// Answers a waiting GET with `6`, so that the client ends its polling and completes its upgrade
    /// to a WebSocket. Returns false where the session is not on long-polling any more.
    pub fn release_poll(&self) -> bool {
        let mut state = self.state.lock();
        let Transport::Polling(polling) = &mut state.transport else { return false };
        if let Some(waiting) = &mut polling.waiting {
            waiting.noop = true;
        }
        polling.wake();
        true
    }
}

impl Polled {
    fn noop(revision: Revision) -> Self {
        Self::single(revision, b"6", None)
    }

    fn closed(revision: Revision, by_client: bool, reason: Disconnected) -> Self {
        Self::single(revision, if by_client { b"6" } else { b"1" }, Some(reason))
    }

    fn single(revision: Revision, text: &[u8], last: Option<Disconnected>) -> Self {
        let form = Form::of(revision, true, false);
        let mut body = Vec::new();
        form.put(&mut body, Part::Text(text));
        Polled { body, form, last }
    }
}

impl QueuedPacket {
    fn has_binary(&self, parser: Parser) -> bool {
        self.packet.encoded.parts(parser).any(|part| matches!(part, Part::Binary(_)))
    }
}

/// Appends a packet as a WebSocket frame of a client.
fn put_packet(out: &mut Vec<u8>, packet: Packet, revision: Revision) {
    match packet {
        Packet::Message(text) => put_client_frame(out, Opcode::Text, format!("4{text}").as_bytes()),
        Packet::Ping(data) => put_client_frame(out, Opcode::Text, format!("2{data}").as_bytes()),
        Packet::Pong => put_client_frame(out, Opcode::Text, b"3"),
        Packet::Close => put_client_frame(out, Opcode::Text, b"1"),
        Packet::Ignored => {}
        Packet::Binary(bytes) => match revision {
            Revision::V4 => put_client_frame(out, Opcode::Binary, &bytes),
            Revision::V3 => {
                put_client_frame(out, Opcode::Binary, &[&[MESSAGE_V3], &bytes[..]].concat());
            }
        },
    }
}
