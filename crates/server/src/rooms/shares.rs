//! The [`DeliveryShares`]: how many publications of other servers wait or are being delivered here, by
//! the channel on which they came and by the server that sent them.

use std::sync::Arc;

use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::hashing::{HashMap, RandomState};

/// Publications that one channel, or one server, may hold: fewer than a shard delivers at once
/// ([`BACKLOG`](super::shard::BACKLOG)), so that a shard goes on taking what came on other channels,
/// and far fewer than its queue has places.
pub const MAX_HELD: usize = 7 << 10;

/// Keeps one channel, or one server, from filling the shards' queues.
#[derive(Debug, Default)]
pub struct DeliveryShares {
    hasher: RandomState,
    held: Mutex<HashMap<u64, usize>>,
}

/// The place of one publication in the shares of its channel and of its sender, until it is dropped.
#[derive(Debug)]
pub struct Share {
    shares: Arc<DeliveryShares>,
    keys: SmallVec<[u64; 2]>,
}

impl DeliveryShares {
    /// Takes a place for a publication that came on `channel`, from `sender` where its share counts
    /// too. `None`: one of them holds [`MAX_HELD`] already.
    pub fn take(self: &Arc<Self>, channel: &[u8], sender: Option<&str>) -> Option<Share> {
        let mut keys = SmallVec::from_iter([self.hasher.hash_one(("channel", channel))]);
        keys.extend(sender.map(|sender| self.hasher.hash_one(("sender", sender))));
        let mut held = self.held.lock();
        if keys.iter().any(|key| held.get(key).is_some_and(|held| *held >= MAX_HELD)) {
            return None;
        }
        for key in &keys {
            *held.entry(*key).or_default() += 1;
        }
        drop(held);
        Some(Share { shares: self.clone(), keys })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.shares.held.lock();
        for key in &self.keys {
            if let Some(n) = held.get_mut(key) {
                *n -= 1;
                if *n == 0 {
                    held.remove(key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flood(shares: &Arc<DeliveryShares>, channel: &[u8], sender: Option<&str>) -> Vec<Share> {
        std::iter::from_fn(|| shares.take(channel, sender)).collect()
    }

    #[test]
    fn a_channel_that_floods_leaves_places_for_the_others() {
        let shares = Arc::new(DeliveryShares::default());
        let busy = flood(&shares, b"busy", None);
        assert_eq!(busy.len(), MAX_HELD);
        assert!(shares.take(b"busy", Some("node")).is_none());
        let calm = shares.take(b"calm", Some("node"));
        assert!(calm.is_some());
        drop((busy, calm));
        assert!(shares.held.lock().is_empty());
    }

    #[test]
    fn a_server_that_floods_many_channels_leaves_places_for_the_others() {
        let shares = Arc::new(DeliveryShares::default());
        let mut channels = 0..2 * MAX_HELD;
        let one = |n: usize| shares.take(format!("room {n}").as_bytes(), Some("noisy"));
        let noisy: Vec<_> = channels.by_ref().map_while(one).collect();
        assert_eq!(noisy.len(), MAX_HELD);
        assert!(shares.take(b"room 0", Some("calm")).is_some());
        drop(noisy);
        assert!(shares.take(b"room 0", Some("noisy")).is_some());
    }
}
