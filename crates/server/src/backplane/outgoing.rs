//! The [`Outgoing`] messages that wait to be sent to Redis: bounded in bytes and number, shared
//! fairly among addresses and those who publish, and only while a connection is up.

pub(in crate::backplane) mod queues;
mod shares;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::message::Publication;
use crate::wakeups;
use shares::{Amount, Holder, Shared, Shares};

/// The most bytes of publications that may wait, channel names included; and of everything else,
/// counted apart.
pub const MAX_BYTES: usize = 8 << 20;

/// The most publications that may wait.
const MAX_PUBLICATIONS: usize = 1 << 16;

/// Places in the queue that publications leave to questions, and the most answers and heartbeats
/// that may wait.
const MAX_MESSAGES: usize = 1 << 12;

/// Places that answers leave to heartbeats.
const MAX_HEARTBEATS: usize = 1 << 6;

/// One in so many of the bytes and publications that may wait is given to whoever comes first;
/// beyond it, each address and each publisher has its share.
const UNSHARED: usize = 8;

/// The most channels that are remembered because Redis refuses them.
const MAX_REFUSED: usize = 1024;

/// What is lost when a message is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// A publication: counted as unsent.
    Publication,
    /// A question or an order, which is sent after the publications before it: its asker runs into
    /// the deadline.
    Question,
    /// An answer, which is sent before publications: its asker runs into the deadline.
    Answer,
    /// A heartbeat, which is sent before publications: not counted as a message either.
    Heartbeat,
}

/// One message that is to be sent by a PUBLISH command.
#[derive(Debug)]
pub struct OutgoingMessage {
    /// The Redis channel that it is published on.
    pub channel: String,
    /// The bytes of the message.
    pub payload: Vec<u8>,
    /// What is lost when it is not sent.
    pub kind: MessageKind,
    epoch: u64,
    /// Whose shares it counts for, where it does.
    holder: Option<Holder>,
}

impl OutgoingMessage {
    /// What it counts for in [`MAX_BYTES`].
    pub fn size(&self) -> usize {
        self.channel.len() + self.payload.len()
    }
}

/// Why a publication is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotQueued {
    /// No connection is up.
    #[error("Redis is not connected")]
    Closed,
    /// The queue is full.
    #[error("Redis is slow: the queue of what is to be sent is full")]
    Full,
    /// Its publisher, or all publishers at the address together, hold their share of the queue.
    #[error("Redis is slow: this {0} holds its share of the queue of what is to be sent")]
    OverShare(Shared),
}

/// The queue of what is to be sent. Pushing never waits: what does not fit is refused.
#[derive(Debug)]
pub struct Outgoing {
    /// Publications and questions, in order.
    ordered: mpsc::Sender<OutgoingMessage>,
    /// Answers and heartbeats, which are sent first.
    urgent: mpsc::Sender<OutgoingMessage>,
    /// Bytes of publications.
    bytes: AtomicUsize,
    /// Bytes of everything else.
    other_bytes: AtomicUsize,
    /// Touched only while more than one in [`UNSHARED`] of the queue is used.
    shares: Mutex<Shares>,
    /// The number of the connection that is up; 0 while none is.
    epoch: AtomicU64,
    links: AtomicU64,
    /// Whether `refused` holds anything, so that it is locked only then.
    any_refused: AtomicBool,
    /// Channels whose last PUBLISH Redis refused, at most [`MAX_REFUSED`].
    refused: Mutex<HashSet<String>>,
}

/// The end of an [`Outgoing`] that the publisher reads.
#[derive(Debug)]
pub struct OutgoingReceiver {
    ordered: mpsc::Receiver<OutgoingMessage>,
    urgent: mpsc::Receiver<OutgoingMessage>,
}

impl OutgoingReceiver {
    /// The next message; `None` where the queue was dropped.
    pub async fn recv(&mut self) -> Option<OutgoingMessage> {
        tokio::select! {
            biased;
            Some(message) = self.urgent.recv() => Some(message),
            message = self.ordered.recv() => message,
        }
    }

    /// Nothing is accepted any more. What is in the queue can still be received, up to the end of it.
    pub fn close(&mut self) {
        self.urgent.close();
        self.ordered.close();
    }

    /// The next message, if there is one.
    pub fn try_recv(&mut self) -> Option<OutgoingMessage> {
        self.urgent.try_recv().or_else(|_| self.ordered.try_recv()).ok()
    }
}

impl Outgoing {
    /// A closed queue, and the end that the publisher reads.
    pub fn new() -> (Arc<Self>, OutgoingReceiver) {
        let (ordered, ordered_receiver) = mpsc::channel(MAX_PUBLICATIONS + MAX_MESSAGES);
        let (urgent, urgent_receiver) = mpsc::channel(MAX_MESSAGES);
        let queue = Outgoing {
            ordered,
            urgent,
            bytes: AtomicUsize::default(),
            other_bytes: AtomicUsize::default(),
            shares: Mutex::default(),
            epoch: AtomicU64::default(),
            links: AtomicU64::default(),
            any_refused: AtomicBool::default(),
            refused: Mutex::default(),
        };
        let receiver = OutgoingReceiver { ordered: ordered_receiver, urgent: urgent_receiver };
        (Arc::new(queue), receiver)
    }

    /// Queues a message that is no publication. False: no connection is up, or too many wait.
    pub fn push(&self, channel: String, payload: Vec<u8>, kind: MessageKind) -> bool {
        let epoch = self.epoch.load(Ordering::Acquire);
        if epoch == 0 {
            return false;
        }
        let outgoing = OutgoingMessage { channel, payload, kind, epoch, holder: None };
        let size = outgoing.size();
        let before = self.other_bytes.fetch_add(size, Ordering::Relaxed);
        let (sender, kept_free) = match kind {
            MessageKind::Heartbeat => (&self.urgent, 0),
            MessageKind::Answer => (&self.urgent, MAX_HEARTBEATS),
            MessageKind::Publication | MessageKind::Question => (&self.ordered, 0),
        };
        // A heartbeat is small.
        let fits = before + size <= MAX_BYTES || kind == MessageKind::Heartbeat;
        if !fits || sender.capacity() <= kept_free || sender.try_send(outgoing).is_err() {
            self.other_bytes.fetch_sub(size, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// Queues a publication, encoded as `payload`.
    ///
    /// # Errors
    /// Why it is not sent.
    pub fn push_publication(
        &self,
        publication: &Publication,
        channel: String,
        payload: Vec<u8>,
    ) -> Result<(), NotQueued> {
        let epoch = self.epoch.load(Ordering::Acquire);
        if epoch == 0 {
            return Err(NotQueued::Closed);
        }
        let kind = MessageKind::Publication;
        let mut outgoing = OutgoingMessage { channel, payload, kind, epoch, holder: None };
        let size = outgoing.size();
        let before = self.bytes.fetch_add(size, Ordering::Relaxed);
        let queued = self.share(publication, size, before).and_then(|holder| {
            outgoing.holder = holder;
            self.ordered.try_send(outgoing).map_err(|error| {
                self.release(&error.into_inner());
                NotQueued::Full
            })
        });
        match queued {
            Ok(()) => wakeups::handed_over(),
            Err(_) => _ = self.bytes.fetch_sub(size, Ordering::Relaxed),
        }
        queued
    }

    /// Whether a publication of `size` bytes fits behind the `before` bytes that wait; gives whose
    /// shares it counts for, where it does.
    fn share(
        &self,
        publication: &Publication,
        size: usize,
        before: usize,
    ) -> Result<Option<Holder>, NotQueued> {
        let free = Amount {
            bytes: MAX_BYTES.saturating_sub(before),
            messages: self.ordered.capacity().saturating_sub(MAX_MESSAGES),
        };
        if size > free.bytes || free.messages == 0 {
            return Err(NotQueued::Full);
        }
        let is_shared = before + size > MAX_BYTES / UNSHARED
            || free.messages < MAX_PUBLICATIONS - MAX_PUBLICATIONS / UNSHARED;
        if !is_shared {
            return Ok(None);
        }
        let holder = Holder::of(publication);
        self.shares.lock().take(&holder, size, free).map_err(NotQueued::OverShare)?;
        Ok(Some(holder))
    }

    fn release(&self, outgoing: &OutgoingMessage) {
        if let Some(holder) = &outgoing.holder {
            self.shares.lock().release(holder, outgoing.size());
        }
    }

    /// Whether a connection is up.
    pub fn is_open(&self) -> bool {
        self.epoch.load(Ordering::Acquire) != 0
    }

    /// Whether Redis refused the last PUBLISH to one of these channels.
    pub fn refuses(&self, channels: [&str; 2]) -> bool {
        self.any_refused.load(Ordering::Relaxed) && {
            let refused = self.refused.lock();
            channels.iter().any(|channel| refused.contains(*channel))
        }
    }

    /// Redis answered a PUBLISH to this channel.
    pub fn answered(&self, channel: String, is_refused: bool) {
        if !is_refused && !self.any_refused.load(Ordering::Relaxed) {
            return;
        }
        let mut refused = self.refused.lock();
        if !is_refused {
            refused.remove(&channel);
        } else if refused.len() < MAX_REFUSED {
            refused.insert(channel);
        }
        self.any_refused.store(!refused.is_empty(), Ordering::Relaxed);
    }

    /// Accounts for a message that was taken out. False: it was queued for a connection that is
    /// gone, and must not be sent.
    pub fn taken(&self, outgoing: &OutgoingMessage) -> bool {
        let bytes = match outgoing.kind {
            MessageKind::Publication => &self.bytes,
            _ => &self.other_bytes,
        };
        bytes.fetch_sub(outgoing.size(), Ordering::Relaxed);
        self.release(outgoing);
        outgoing.epoch == self.epoch.load(Ordering::Acquire)
    }

    /// A connection is up: messages are accepted from now on.
    pub fn open(&self) {
        let link = self.links.fetch_add(1, Ordering::Relaxed) + 1;
        self.epoch.store(link, Ordering::Release);
    }

    /// The connection is gone: nothing is accepted until the next one is up.
    pub fn close(&self) {
        self.epoch.store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests;
