//! The [`Queue`] of an outbox: what waits for the client, in order, and how many bytes that is.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use crate::telemetry::latency::ledger::Stamp;
use rookery_protocol::encoded::Encoded;

/// Bytes that wait in all the queues of a shard. It changes only where something waits: a write
/// that the kernel takes at once does not touch it.
#[derive(Debug, Default)]
pub struct Backlog(AtomicUsize);

impl Backlog {
    /// The bytes.
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// What waits: a packet in all its forms, or the rest of one whose start the kernel took.
pub(super) enum Entry {
    Whole(Arc<Encoded>, Option<Arc<Stamp>>),
    Rest(Bytes, Option<Arc<Stamp>>),
}

impl Entry {
    fn size(&self) -> usize {
        match self {
            Entry::Whole(encoded, _) => encoded.size(),
            Entry::Rest(bytes, _) => bytes.len(),
        }
    }

    pub(super) fn stamp(&self) -> Option<&Arc<Stamp>> {
        match self {
            Entry::Whole(_, stamp) | Entry::Rest(_, stamp) => stamp.as_ref(),
        }
    }
}

/// What waits for one client. Dropping it takes its bytes out of the shard's [`Backlog`].
pub(super) struct Queue {
    entries: VecDeque<Entry>,
    bytes: usize,
    backlog: Arc<Backlog>,
}

impl Queue {
    /// Nothing waits yet.
    pub(super) fn new(backlog: Arc<Backlog>) -> Self {
        Queue { entries: VecDeque::new(), bytes: 0, backlog }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn front(&self) -> Option<&Entry> {
        self.entries.front()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    pub(super) fn push(&mut self, entry: Entry) {
        let size = entry.size();
        self.bytes += size;
        self.backlog.0.fetch_add(size, Ordering::Relaxed);
        if let Some(trace) = entry.stamp().and_then(|stamp| stamp.trace.as_ref()) {
            trace.queued();
        }
        self.entries.push_back(entry);
    }

    pub(super) fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.shrink(entry.size());
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        }
        Some(entry)
    }

    /// What is left of the first entry, whose start was written.
    pub(super) fn cut(&mut self, rest: Bytes) {
        if let Some(first) = self.entries.front_mut() {
            let (before, after) = (first.size(), rest.len());
            *first = Entry::Rest(rest, first.stamp().cloned());
            self.shrink(before);
            self.bytes += after;
            self.backlog.0.fetch_add(after, Ordering::Relaxed);
        }
    }

    /// Throws all of it away; gives how many publications were among it.
    pub(super) fn clear(&mut self) -> usize {
        self.shrink(self.bytes);
        let entries = std::mem::take(&mut self.entries);
        entries.iter().filter_map(Entry::stamp).inspect(|stamp| stamp.lost(1)).count()
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
