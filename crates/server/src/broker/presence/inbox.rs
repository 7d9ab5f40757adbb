//! The [`Inbox`] of what other instances tell of rooms with presence.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::backplane::wire::presence::PresenceMessage;

/// Messages that may wait. What arrives beyond it is made up for by reading all rooms again.
const QUEUE: usize = 4096;

/// What another instance tells.
#[derive(Debug)]
pub(in crate::broker) enum PeerNews {
    /// It stops.
    Stops { pod: String },
    /// A room changed.
    Told { pod: String, presence: PresenceMessage },
}

/// Where what other instances tell is put.
pub(in crate::broker) struct Inbox {
    sender: mpsc::Sender<PeerNews>,
    has_lost: Arc<AtomicBool>,
    receiver: Mutex<Option<Receiver>>,
}

/// The end of an [`Inbox`] that is read.
pub(super) struct Receiver {
    news: mpsc::Receiver<PeerNews>,
    has_lost: Arc<AtomicBool>,
}

impl Inbox {
    /// An empty one.
    pub fn new() -> Self {
        let (sender, news) = mpsc::channel(QUEUE);
        let has_lost = Arc::new(AtomicBool::new(false));
        let receiver = Mutex::new(Some(Receiver { news, has_lost: has_lost.clone() }));
        Inbox { sender, has_lost, receiver }
    }

    /// Another instance told something.
    pub fn push(&self, news: PeerNews) {
        if self.sender.try_send(news).is_err() {
            self.has_lost.store(true, Ordering::Relaxed);
        }
    }

    /// The end that is read; once.
    pub(super) fn take(&self) -> Option<Receiver> {
        self.receiver.lock().take()
    }
}

impl Receiver {
    /// The next message.
    pub async fn recv(&mut self) -> Option<PeerNews> {
        self.news.recv().await
    }

    /// Whether messages were lost since the last call.
    pub fn has_lost(&mut self) -> bool {
        self.has_lost.swap(false, Ordering::Relaxed)
    }
}
