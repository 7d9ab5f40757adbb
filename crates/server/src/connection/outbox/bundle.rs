//! The [`Bundle`]: publications that go to the same members.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::telemetry::latency::ledger::Stamp;
use rookery_protocol::Revision;
use rookery_protocol::encoded::Encoded;

/// A publication for some members: encoded once, with the stamp it counts under.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its forms.
    pub encoded: Arc<Encoded>,
    /// Its account.
    pub stamp: Arc<Stamp>,
    /// Written only where the outbox is empty.
    pub volatile: bool,
}

/// Publications that go to the same members: their bytes are joined once for all of them.
#[derive(Debug)]
pub struct Bundle {
    pub(super) items: Vec<Item>,
    joined: [OnceLock<Bytes>; 2],
    size: usize,
    pub(super) volatile: bool,
}

impl Bundle {
    /// At least one publication, in order.
    pub fn new(items: Vec<Item>) -> Self {
        Bundle {
            size: items.iter().map(|i| i.encoded.size()).sum(),
            volatile: items.iter().any(|i| i.volatile),
            items,
            joined: Default::default(),
        }
    }

    /// The publications.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    pub(super) fn websocket(&self, revision: Revision) -> &Bytes {
        if let [item] = &self.items[..] {
            return item.encoded.websocket(revision);
        }
        self.joined[revision as usize].get_or_init(|| {
            let mut out = Vec::with_capacity(self.size);
            for item in &self.items {
                out.extend_from_slice(item.encoded.websocket(revision));
            }
            out.into()
        })
    }
}
