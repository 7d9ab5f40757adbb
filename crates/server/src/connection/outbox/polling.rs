//! An outbox whose session long-polling carries: GETs take from it, POSTs feed the engine.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::carrier::{Carrier, Polling, Waiting};
use super::{Ending, Entry, Outbox, Phase, State};
use crate::telemetry::metrics::Disconnected;
use rookery_protocol::Revision;
use rookery_protocol::encoded::{MESSAGE_V3, Part};
use rookery_protocol::frames::{Opcode, put_client_frame};
use rookery_protocol::payload::{Form, Packet};

/// Bytes of a session's packets that may wait for the engine; a POST waits beyond it.
const INBOUND: usize = 64 << 10;

/// What answers a GET.
#[derive(Debug, PartialEq, Eq)]
pub struct Polled {
    /// The body.
    pub body: Vec<u8>,
    /// Its form, which gives its media type.
    pub form: Form,
    /// It ends the session, because of this.
    pub last: Option<Disconnected>,
}

/// A request that the session cannot take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPolling {
    /// It has ended, or a WebSocket carries it.
    #[error("the session is not on long-polling any more")]
    Elsewhere,
    /// A GET, or a POST, waits already; the session ends (one of each at a time).
    #[error("a request of this kind is already waiting")]
    Overlap,
}

/// Forgets the waiting GET when its client goes away.
struct Ticket<'a>(&'a Outbox);

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if let Carrier::Polling(polling) = &mut self.0.state.lock().carrier {
            polling.waiting = None;
        }
    }
}

impl Outbox {
    /// Answers a GET: with what waits, up to `maxPayload`, as soon as something does. `base64`
    /// is what the query's `b64` said.
    ///
    /// # Errors
    /// When the session is not polling, or polls already.
    pub async fn poll(self: &Arc<Self>, base64: bool) -> Result<Polled, NotPolling> {
        {
            let mut state = self.state.lock();
            match &mut state.carrier {
                Carrier::Polling(Polling { waiting: Some(_), .. }) => {
                    self.end(&mut state, Disconnected::TransportError);
                    return Err(NotPolling::Overlap);
                }
                Carrier::Polling(polling) => polling.waiting = Some(Waiting::default()),
                _ => return Err(NotPolling::Elsewhere),
            }
        }
        let ticket = Ticket(self);
        let polled = poll_fn(|cx| self.poll_answer(base64, cx)).await;
        drop(ticket);
        Ok(polled)
    }

    fn poll_answer(self: &Arc<Self>, base64: bool, cx: &mut Context<'_>) -> Poll<Polled> {
        let mut state = self.state.lock();
        let (phase, idle) = (state.phase, state.queue.is_empty());
        let by_client = state.client_closed;
        match &mut state.carrier {
            Carrier::WebSocket(_) => return Poll::Ready(Polled::noop(self.revision)),
            Carrier::Closed => {
                let reason = phase.reason().unwrap_or(Disconnected::TransportError);
                return Poll::Ready(Polled::closed(self.revision, by_client, reason));
            }
            Carrier::Polling(polling) if polling.probing && phase == Phase::Open => {
                return Poll::Ready(Polled::noop(self.revision));
            }
            Carrier::Polling(polling) if idle && phase == Phase::Open => {
                polling.waiting.get_or_insert_default().waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Carrier::Polling(_) => {}
        }
        Poll::Ready(self.take(&mut state, base64))
    }

    /// Takes what fits into one answer. The last answer of a session is `1` alone: stock clients
    /// of version 4 handle a `1` before the messages that came in the same answer, and lose those;
    /// Node never sends both in one.
    fn take(&self, state: &mut State, base64: bool) -> Polled {
        let max = self.around.bounds.max_payload;
        let form = Form::of(self.revision, base64, state.queue.iter().any(Entry::has_binary));
        let mut body = Vec::new();
        let now = Instant::now();
        while let Some(next) = state.queue.front() {
            let bound: usize = next.parts().map(|part| form.bound(part)).sum();
            if !body.is_empty() && body.len() + bound > max {
                break;
            }
            for part in next.parts() {
                form.put(&mut body, part);
            }
            if let Some(stamp) = state.queue.pop().as_ref().and_then(Entry::stamp) {
                self.around.ledger.written(stamp, 1, &[now]);
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

    /// Hands the packets of a POST to the protocol engine, as frames of a client. Waits while
    /// much of earlier ones is unread. A `close` among them ends the session. While what is left
    /// for the client is on its way, they are ignored.
    ///
    /// # Errors
    /// When the session is not polling.
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
        if !matches!(state.carrier, Carrier::Polling(_)) {
            return Poll::Ready(Err(NotPolling::Elsewhere));
        }
        if state.phase != Phase::Open {
            return Poll::Ready(Ok(()));
        }
        if state.inbound.len() > INBOUND {
            if state.feeder.as_ref().is_some_and(|feeder| !feeder.will_wake(waker)) {
                // As in Node: a client sends one POST after the other.
                self.end(&mut state, Disconnected::TransportError);
                return Poll::Ready(Err(NotPolling::Overlap));
            }
            state.feeder = Some(waker.clone());
            return Poll::Pending;
        }
        state.inbound.extend_from_slice(&std::mem::take(frames));
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(()))
    }

    /// Whether POSTs are for it: long-polling carries it, also while it takes its last packets.
    pub fn takes_posts(&self) -> bool {
        matches!(self.state.lock().carrier, Carrier::Polling(_))
    }

    /// Whether long-polling carries the session and it goes on.
    pub fn is_polling(&self) -> bool {
        let state = self.state.lock();
        state.phase == Phase::Open && matches!(state.carrier, Carrier::Polling(_))
    }

    /// Says that a WebSocket is being tried beside the polling: after its `2probe` the waiting
    /// GET is answered with `6` and packets wait, until [`Outbox::attach`] or the end of the try.
    /// False: the session is not polling.
    pub fn probe(&self, under_way: bool) -> bool {
        let mut state = self.state.lock();
        if state.phase != Phase::Open {
            return false;
        }
        let Carrier::Polling(polling) = &mut state.carrier else { return false };
        polling.probing = under_way;
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

impl Entry {
    fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let encoded = match self {
            Entry::Whole(encoded, _) => Some(encoded),
            // Only a socket leaves the rest of a packet, and it never goes back to polling.
            Entry::Rest(..) => None,
        };
        encoded.into_iter().flat_map(|e| e.parts())
    }

    fn has_binary(&self) -> bool {
        self.parts().any(|part| matches!(part, Part::Binary(_)))
    }
}

/// Appends a packet as the frame of a client on a WebSocket.
fn put_packet(out: &mut Vec<u8>, packet: Packet, revision: Revision) {
    match packet {
        Packet::Message(text) => put_client_frame(out, Opcode::Text, format!("4{text}").as_bytes()),
        Packet::Ping(data) => put_client_frame(out, Opcode::Text, format!("2{data}").as_bytes()),
        Packet::Pong => put_client_frame(out, Opcode::Text, b"3"),
        Packet::Close => put_client_frame(out, Opcode::Text, b"1"),
        Packet::Binary(bytes) => match revision {
            Revision::V4 => put_client_frame(out, Opcode::Binary, &bytes),
            Revision::V3 => {
                put_client_frame(out, Opcode::Binary, &[&[MESSAGE_V3], &bytes[..]].concat());
            }
        },
    }
}
