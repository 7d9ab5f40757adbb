//! The [`Outgoing`] messages that wait to be sent to Redis: bounded in bytes and number, and only
//! while a connection is up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::mpsc;

/// Bytes that may wait.
pub const MAX_BYTES: usize = 8 << 20;

/// Messages that may wait.
const MAX_MESSAGES: usize = 1 << 16;

/// What is lost when a message is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// A publication: counted as unsent.
    Publication,
    /// A request or an answer: its asker runs into the deadline.
    Message,
    /// A heartbeat: not counted as a message either.
    Heartbeat,
}

/// One PUBLISH.
#[derive(Debug)]
pub struct OutgoingMessage {
    /// The channel.
    pub channel: String,
    /// The message.
    pub payload: Vec<u8>,
    /// What it is.
    pub kind: MessageKind,
    epoch: u64,
}

impl OutgoingMessage {
    /// What it counts for in [`MAX_BYTES`].
    pub fn size(&self) -> usize {
        self.channel.len() + self.payload.len()
    }
}

/// The end that anybody pushes into, never waiting.
#[derive(Debug)]
pub struct Outgoing {
    sender: mpsc::Sender<OutgoingMessage>,
    bytes: AtomicUsize,
    /// Number of the link that is up; 0 while none is.
    epoch: AtomicU64,
    links: AtomicU64,
}

impl Outgoing {
    /// A closed queue, and the end that the sender takes from.
    pub fn new() -> (Arc<Self>, mpsc::Receiver<OutgoingMessage>) {
        let (sender, receiver) = mpsc::channel(MAX_MESSAGES);
        let (bytes, epoch, links) = <_>::default();
        (Arc::new(Outgoing { sender, bytes, epoch, links }), receiver)
    }

    /// Hands a message to the link. False: no link is up, or the queue is full.
    pub fn push(&self, channel: String, payload: Vec<u8>, kind: MessageKind) -> bool {
        let epoch = self.epoch.load(Ordering::Acquire);
        if epoch == 0 {
            return false;
        }
        let outgoing = OutgoingMessage { channel, payload, kind, epoch };
        let size = outgoing.size();
        if self.bytes.fetch_add(size, Ordering::Relaxed) + size > MAX_BYTES
            || self.sender.try_send(outgoing).is_err()
        {
            self.bytes.fetch_sub(size, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// Whether a link is up.
    pub fn is_open(&self) -> bool {
        self.epoch.load(Ordering::Acquire) != 0
    }

    /// A message was taken out. False: it was meant for a link that is gone, and must not be
    /// sent any more.
    pub fn taken(&self, outgoing: &OutgoingMessage) -> bool {
        self.bytes.fetch_sub(outgoing.size(), Ordering::Relaxed);
        outgoing.epoch == self.epoch.load(Ordering::Acquire)
    }

    /// A link is up.
    pub fn open(&self) {
        let link = self.links.fetch_add(1, Ordering::Relaxed) + 1;
        self.epoch.store(link, Ordering::Release);
    }

    /// The link is gone: nothing is accepted until the next one.
    pub fn close(&self) {
        self.epoch.store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_accepted_without_a_link_nor_sent_by_the_next_one() {
        let (queue, mut receiver) = Outgoing::new();
        let push = || queue.push("c".into(), vec![1], MessageKind::Publication);
        assert!(!push());
        queue.open();
        assert!(push());
        queue.close();
        assert!(!push());
        queue.open();
        assert!(push());
        assert!(!queue.taken(&receiver.try_recv().unwrap()));
        assert!(queue.taken(&receiver.try_recv().unwrap()));
        assert!(receiver.try_recv().is_err());
        assert_eq!(queue.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn it_is_bounded_in_bytes_and_in_messages() {
        let (queue, mut receiver) = Outgoing::new();
        queue.open();
        assert!(queue.push(String::new(), vec![0; MAX_BYTES], MessageKind::Publication));
        assert!(!queue.push(String::new(), vec![0], MessageKind::Publication));
        queue.taken(&receiver.try_recv().unwrap());
        for _ in 0..MAX_MESSAGES {
            assert!(queue.push(String::new(), vec![0], MessageKind::Publication));
        }
        assert!(!queue.push(String::new(), vec![0], MessageKind::Publication));
    }
}
