//! The [`Outgoing`] messages that wait to be sent to Redis: bounded in bytes and number, and only
//! while a connection is up.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::mpsc;

/// The most bytes that may wait, channel names included.
pub const MAX_BYTES: usize = 8 << 20;

/// The most messages that may wait.
const MAX_MESSAGES: usize = 1 << 16;

/// The most channels that are remembered because Redis refuses them.
const MAX_REFUSED: usize = 1024;

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
}

impl OutgoingMessage {
    /// What it counts for in [`MAX_BYTES`].
    pub fn size(&self) -> usize {
        self.channel.len() + self.payload.len()
    }
}

/// The queue of what is to be sent. Pushing never waits: what does not fit is refused.
#[derive(Debug)]
pub struct Outgoing {
    sender: mpsc::Sender<OutgoingMessage>,
    bytes: AtomicUsize,
    /// The number of the connection that is up; 0 while none is.
    epoch: AtomicU64,
    links: AtomicU64,
    /// Whether `refused` holds anything, so that it is locked only then.
    any_refused: AtomicBool,
    /// Channels whose last PUBLISH Redis refused, at most [`MAX_REFUSED`].
    refused: Mutex<HashSet<String>>,
}

impl Outgoing {
    /// A closed queue, and the end that the publisher reads.
    pub fn new() -> (Arc<Self>, mpsc::Receiver<OutgoingMessage>) {
        let (sender, receiver) = mpsc::channel(MAX_MESSAGES);
        let (bytes, epoch, links) = <_>::default();
        let (any_refused, refused) = <_>::default();
        let queue = Outgoing { sender, bytes, epoch, links, any_refused, refused };
        (Arc::new(queue), receiver)
    }

    /// Queues a message. False: no connection is up, or the queue is full.
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
        self.bytes.fetch_sub(outgoing.size(), Ordering::Relaxed);
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
