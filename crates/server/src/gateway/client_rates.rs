//! The [`ClientRates`]: how fast one client may send events, and join rooms.

use std::time::Instant;

use parking_lot::Mutex;

use super::event_rate::{EventRate, RateExceeded};
use super::token_bucket::TokenBucket;
use rookery_config::Limits;
use rookery_policy::MAX_LISTED_ROOMS;

/// How fast one client may send events, and join rooms.
pub struct ClientRates {
    events: Mutex<EventRate>,
    /// Joins beside those that `events` permits.
    joins: Mutex<TokenBucket>,
}

impl ClientRates {
    /// All that is allowed at once.
    pub fn new(limits: &Limits) -> Self {
        let now = Instant::now();
        ClientRates {
            events: Mutex::new(EventRate::new(limits, now)),
            joins: Mutex::new(TokenBucket::full(join_burst(limits), now)),
        }
    }

    /// Takes a permit for an event of this many bytes.
    ///
    /// # Errors
    /// The limit that the client exceeds.
    pub fn take_event(&self, bytes: usize, limits: &Limits) -> Result<(), RateExceeded> {
        self.events.lock().take(bytes, limits, Instant::now())
    }

    /// Whether [`ClientRates::take_joins`] would permit a room.
    pub fn has_join(&self, limits: &Limits) -> bool {
        self.joins.lock().has_any(limits.events_per_second, join_burst(limits), Instant::now())
    }

    /// Takes permits for joins, of a burst that refills at `limits.eventsPerSecond`.
    pub fn take_joins(&self, rooms: usize, limits: &Limits) -> bool {
        let count = u32::try_from(rooms).unwrap_or(u32::MAX);
        let (rate, burst) = (limits.events_per_second, join_burst(limits));
        self.joins.lock().take_many(count, rate, burst, Instant::now())
    }
}

/// Joins that a client may ask for at once beside its events: as many as the rooms that it may be in,
/// at most [`MAX_LISTED_ROOMS`], because a rule and a subscription in Redis stand behind each.
fn join_burst(limits: &Limits) -> u32 {
    limits.rooms_per_client.min(MAX_LISTED_ROOMS as u32)
}
