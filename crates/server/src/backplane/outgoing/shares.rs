//! The [`Shares`]: what each publisher holds of the queue of publications. Pure.

use crate::hashing::HashMap;
use crate::message::{MemberId, Publication, PublicationId, Source};

/// Whose share a publication counts for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PublisherKey {
    /// One client.
    Client(MemberId),
    /// Everybody who publishes this way: the HTTP API is one publisher.
    Source(Source),
}

impl PublisherKey {
    /// The publisher of a publication.
    pub fn of(publication: &Publication) -> Self {
        match &publication.id {
            PublicationId::Client { member, .. } => PublisherKey::Client(member.clone()),
            PublicationId::Text(_) => PublisherKey::Source(publication.source),
        }
    }
}

/// A number of publications, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Bytes, channel names included.
    pub bytes: usize,
    /// Publications.
    pub messages: usize,
}

/// What each publisher holds. Nobody may hold more than what is free: one publisher gets up to a
/// half of the queue, two a third each, and there is always something left for another one
/// (dynamic thresholds, Choudhury and Hahne 1998).
#[derive(Debug, Default)]
pub struct Shares {
    held: HashMap<PublisherKey, Amount>,
}

impl Shares {
    /// Adds a publication of so many bytes to what its publisher holds. False: it would hold more
    /// than `free`, and nothing changed.
    pub fn take(&mut self, publisher: &PublisherKey, bytes: usize, free: Amount) -> bool {
        let held = self.held.get(publisher).copied().unwrap_or_default();
        let held = Amount { bytes: held.bytes + bytes, messages: held.messages + 1 };
        let fits = held.bytes <= free.bytes && held.messages <= free.messages;
        if fits {
            self.held.insert(publisher.clone(), held);
        }
        fits
    }

    /// A publication that was taken into account has left the queue.
    pub fn release(&mut self, publisher: &PublisherKey, bytes: usize) {
        let Some(held) = self.held.get_mut(publisher) else { return };
        held.bytes = held.bytes.saturating_sub(bytes);
        held.messages = held.messages.saturating_sub(1);
        if held.messages == 0 {
            self.held.remove(publisher);
        }
    }

    /// Whether nobody holds anything.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: usize = 1_000;

    fn client(number: usize) -> PublisherKey {
        PublisherKey::Client(MemberId::from(format!("member {number}").as_str()))
    }

    /// Publications of `bytes` by each of these until none is taken; gives the bytes of each.
    fn flood(shares: &mut Shares, publishers: &[PublisherKey], bytes: usize) -> Vec<usize> {
        let mut taken = vec![0; publishers.len()];
        let mut used: usize = shares.held.values().map(|held| held.bytes).sum();
        loop {
            let before = used;
            for (publisher, taken) in publishers.iter().zip(&mut taken) {
                let free = Amount { bytes: ALL - used, messages: ALL };
                if shares.take(publisher, bytes, free) {
                    *taken += bytes;
                    used += bytes;
                }
            }
            if used == before {
                return taken;
            }
        }
    }

    #[test]
    fn publishers_that_flood_get_equal_shares_and_leave_one_for_another() {
        for publishers in 1..5 {
            let keys: Vec<_> = (0..publishers).map(client).collect();
            let mut shares = Shares::default();
            let taken = flood(&mut shares, &keys, 1);
            let share = ALL / (publishers + 1);
            assert!(taken.iter().all(|taken| taken.abs_diff(share) <= 1), "{taken:?}");
            let other = flood(&mut shares, &[PublisherKey::Source(Source::Api)], 1);
            assert!(other[0] >= share / 2, "{other:?} beside {taken:?}");
        }
    }

    #[test]
    fn many_small_publications_are_bounded_by_number() {
        let mut shares = Shares::default();
        let free = |messages| Amount { bytes: ALL, messages };
        assert!(shares.take(&client(1), 1, free(2)));
        assert!(shares.take(&client(1), 1, free(2)));
        assert!(!shares.take(&client(1), 1, free(2)));
        assert!(shares.take(&client(2), 1, free(1)));
    }

    #[test]
    fn what_left_the_queue_is_forgotten() {
        let mut shares = Shares::default();
        let free = Amount { bytes: ALL, messages: ALL };
        assert!(shares.take(&client(1), 600, free) && shares.take(&client(1), 400, free));
        assert!(!shares.take(&client(1), 1, free));
        shares.release(&client(1), 600);
        assert!(shares.take(&client(1), 1, free));
        for bytes in [400, 1] {
            shares.release(&client(1), bytes);
        }
        assert!(shares.is_empty());
    }
}
