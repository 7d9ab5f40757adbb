//! Which rooms' messages this instance needs to hear from the others: those that its members are
//! in, and for a while longer.
//!
//! Pure bookkeeping. Whoever joins a room holds an [`Interest`] in it; the backplane asks
//! [`RoomInterests::changes`] what to subscribe, and says when that is confirmed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::hashing::HashMap;
use crate::message::RoomKey;

/// How long a room stays subscribed after its last [`Interest`] is dropped.
pub const LINGER: Duration = Duration::from_secs(30);

/// How long a join waits for the confirmation of its room's subscription.
const CONFIRMATION: Duration = Duration::from_secs(1);

/// Keeps one room subscribed while it exists.
pub struct Interest {
    interests: Arc<RoomInterests>,
    key: RoomKey,
}

impl fmt::Debug for Interest {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_tuple("Interest").field(&self.key).finish()
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        self.interests.release(&self.key, Instant::now());
    }
}

/// Resolves when what others publish to a room is heard here: when Redis confirms the
/// subscription, when the link breaks, or after a second. `None`: it is heard already, or Redis is
/// away.
pub type Confirmation = Option<BoxFuture<'static, ()>>;

/// One subscription of a room: a confirmation counts for the serial it was asked with.
pub type Ticket = (RoomKey, u64);

/// On which channels others send what is for one member here, addressed by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberChannels {
    /// On those of a pattern that is subscribed anyway: every room whose name begins with the pod's.
    Pattern,
    /// On the channel of the whole namespace, as what is for a room whose name has 20 characters:
    /// Node's sharded adapter takes such a room for a client.
    Shared,
    /// On one of the member's own, as for a room.
    Own,
}

impl MemberChannels {
    /// How many characters, as JavaScript counts them, the id of a client has.
    const ID_LENGTH: usize = 20;

    /// Whether what is for this room alone has a channel of its own.
    pub fn has_channel(self, room: &str) -> bool {
        // A character has at most three bytes for each unit of UTF-16.
        let may_be_id = (Self::ID_LENGTH..=3 * Self::ID_LENGTH).contains(&room.len());
        self != MemberChannels::Shared
            || !may_be_id
            || room.encode_utf16().count() != Self::ID_LENGTH
    }
}

/// What has to be sent to Redis, unsubscriptions first.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Rooms that nobody was interested in for as long as they linger.
    pub unsubscribe: Vec<RoomKey>,
    /// Rooms that are new.
    pub subscribe: Vec<Ticket>,
}

/// The rooms that somebody here is interested in.
#[derive(Debug)]
pub struct RoomInterests {
    table: Mutex<Table>,
    changed: Notify,
    linger: Duration,
    members: MemberChannels,
}

#[derive(Debug, Default)]
struct Table {
    connected: bool,
    serial: u64,
    rooms: HashMap<RoomKey, Entry>,
    /// Rooms that are new since the last [`RoomInterests::changes`].
    new: Vec<Ticket>,
    /// Rooms without an [`Interest`], by when they are given up (and a serial, to tell them apart).
    lingering: BTreeMap<(Instant, u64), RoomKey>,
}

#[derive(Debug, Default)]
struct Entry {
    interests: usize,
    confirmed: bool,
    serial: u64,
    /// Its key in `lingering`, while it has no [`Interest`].
    due: Option<(Instant, u64)>,
    waiting: Vec<oneshot::Sender<()>>,
}

impl RoomInterests {
    /// No room yet. A room stays subscribed for `linger` after its last [`Interest`] is dropped:
    /// [`LINGER`], except in tests.
    pub fn new(linger: Duration) -> Arc<Self> {
        Self::with(linger, MemberChannels::Pattern)
    }

    /// As [`RoomInterests::new`], on a wire that addresses members by these channels.
    pub fn with(linger: Duration, members: MemberChannels) -> Arc<Self> {
        let (table, changed) = (Mutex::default(), Notify::new());
        Arc::new(RoomInterests { table, changed, linger, members })
    }

    /// On which channels others send what is for one member here.
    pub fn member_channels(&self) -> MemberChannels {
        self.members
    }

    /// One more interest in the room, and when others are heard there.
    pub fn acquire(self: &Arc<Self>, key: &RoomKey) -> (Interest, Confirmation) {
        let confirmation = self.table.lock().acquire(key, &self.changed);
        (Interest { interests: self.clone(), key: key.clone() }, confirmation)
    }

    /// Whether one more interest in the room would wait for nothing.
    pub fn is_heard(&self, key: &RoomKey) -> bool {
        let table = self.table.lock();
        !table.connected || table.rooms.get(key).is_some_and(|entry| entry.confirmed)
    }

    fn release(&self, key: &RoomKey, now: Instant) {
        let mut table = self.table.lock();
        let table = &mut *table;
        let Some(entry) = table.rooms.get_mut(key) else { return };
        entry.interests -= 1;
        if entry.interests == 0 {
            table.serial += 1;
            let due = (now + self.linger, table.serial);
            entry.due = Some(due);
            table.lingering.insert(due, key.clone());
            if table.lingering.len() == 1 {
                self.changed.notify_one();
            }
        }
    }

    /// Resolves when [`RoomInterests::changes`] may have something new to say.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// When the next lingering room is given up.
    pub fn next_due(&self) -> Option<Instant> {
        self.table.lock().lingering.first_key_value().map(|((due, _), _)| *due)
    }

    /// What has to be sent now; each change is told once.
    pub fn changes(&self, now: Instant) -> Changes {
        let mut table = self.table.lock();
        let unsubscribe = table.expire(now);
        let new = std::mem::take(&mut table.new);
        let table = &*table;
        let is_current = |(key, serial): &Ticket| {
            table.rooms.get(key).is_some_and(|entry| entry.serial == *serial)
        };
        Changes { unsubscribe, subscribe: new.into_iter().filter(is_current).collect() }
    }

    /// A new connection is up: every room has to be subscribed again.
    pub fn connected(&self, now: Instant) -> Vec<Ticket> {
        let mut table = self.table.lock();
        table.expire(now);
        table.connected = true;
        table.new.clear();
        table.rooms.iter().map(|(key, entry)| (key.clone(), entry.serial)).collect()
    }

    /// The connection broke: nobody waits any longer.
    pub fn disconnected(&self) {
        let mut table = self.table.lock();
        table.connected = false;
        for entry in table.rooms.values_mut() {
            entry.confirmed = false;
            entry.waiting.clear();
        }
    }

    /// Redis has confirmed these, or refused them for good: nobody waits for them any longer.
    pub fn confirmed(&self, tickets: &[Ticket]) {
        let mut table = self.table.lock();
        for (key, serial) in tickets {
            if let Some(entry) = table.rooms.get_mut(key).filter(|e| e.serial == *serial) {
                entry.confirmed = true;
                // Dropping a sender wakes whoever waits.
                entry.waiting.clear();
            }
        }
    }

    /// How many rooms have an [`Interest`] or linger.
    pub fn len(&self) -> usize {
        self.table.lock().rooms.len()
    }

    /// Whether no room has an [`Interest`] or lingers.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Table {
    fn acquire(&mut self, key: &RoomKey, changed: &Notify) -> Confirmation {
        let entry = match self.rooms.get_mut(key) {
            Some(entry) => entry,
            None => {
                self.serial += 1;
                if self.connected {
                    self.new.push((key.clone(), self.serial));
                    changed.notify_one();
                }
                let entry = self.rooms.entry(key.clone()).or_default();
                entry.serial = self.serial;
                entry
            }
        };
        entry.interests += 1;
        if let Some(due) = entry.due.take() {
            self.lingering.remove(&due);
        }
        if entry.confirmed || !self.connected {
            return None;
        }
        let (done, wait) = oneshot::channel();
        entry.waiting.push(done);
        Some(tokio::time::timeout(CONFIRMATION, wait).map(|_| ()).boxed())
    }

    fn expire(&mut self, now: Instant) -> Vec<RoomKey> {
        let mut gone = Vec::new();
        while let Some(first) = self.lingering.first_entry().filter(|e| e.key().0 <= now) {
            let key = first.remove();
            self.rooms.remove(&key);
            gone.push(key);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connected() -> Arc<RoomInterests> {
        let interests = RoomInterests::new(LINGER);
        assert_eq!(interests.connected(Instant::now()), []);
        interests
    }

    fn key(room: &str) -> RoomKey {
        RoomKey::new("/", room)
    }

    fn names(tickets: &[Ticket]) -> Vec<&str> {
        tickets.iter().map(|(key, _)| &*key.room).collect()
    }

    fn pending(confirmation: Confirmation) -> BoxFuture<'static, ()> {
        confirmation.expect("confirmed before Redis said so")
    }

    #[tokio::test]
    async fn joins_share_one_subscription_and_all_wait_for_its_confirmation() {
        let interests = connected();
        let now = Instant::now();
        let (_held, mut waits): (Vec<_>, Vec<_>) = ["a", "a", "b"]
            .into_iter()
            .map(|room| interests.acquire(&key(room)))
            .map(|(interest, confirmation)| (interest, pending(confirmation)))
            .unzip();
        let changes = interests.changes(now);
        assert_eq!(names(&changes.subscribe), ["a", "b"]);
        assert_eq!(interests.changes(now), Changes::default());
        assert!(waits[0].as_mut().now_or_never().is_none());
        interests.confirmed(&changes.subscribe);
        for wait in &mut waits {
            assert!(wait.as_mut().now_or_never().is_some());
        }
        assert!(interests.acquire(&key("b")).1.is_none());
    }

    #[tokio::test]
    async fn a_room_lingers_and_an_interest_meanwhile_keeps_it() {
        let interests = connected();
        let now = Instant::now();
        for room in ["a", "b"] {
            std::mem::forget(interests.acquire(&key(room)).0);
        }
        interests.confirmed(&interests.changes(now).subscribe);
        interests.release(&key("a"), now);
        interests.release(&key("b"), now);
        assert_eq!(interests.next_due(), Some(now + LINGER));
        let (held, confirmation) = interests.acquire(&key("a"));
        assert!(confirmation.is_none());
        assert_eq!(interests.changes(now + LINGER / 2), Changes::default());
        assert_eq!(interests.changes(now + LINGER).unsubscribe, [key("b")]);
        assert_eq!(interests.len(), 1);

        drop(held);
        let later = interests.next_due().unwrap();
        assert_eq!(interests.changes(later - LINGER / 2), Changes::default());
        assert_eq!(interests.changes(later).unsubscribe, [key("a")]);
        assert!(interests.is_empty());
    }

    #[tokio::test]
    async fn an_old_confirmation_does_not_count_for_a_new_subscription() {
        let interests = connected();
        let now = Instant::now();
        drop(interests.acquire(&key("a")));
        let old = interests.changes(now).subscribe;
        let later = interests.next_due().unwrap();
        assert_eq!(interests.changes(later).unsubscribe, [key("a")]);
        let (_first, confirmation) = interests.acquire(&key("a"));
        let wait = pending(confirmation);
        interests.confirmed(&old);
        assert!(interests.acquire(&key("a")).1.is_some());
        interests.confirmed(&interests.changes(now).subscribe);
        assert!(wait.now_or_never().is_some());
    }

    #[tokio::test]
    async fn nobody_waits_while_redis_is_away_and_every_room_is_subscribed_again() {
        let interests = RoomInterests::new(LINGER);
        let before = interests.acquire(&key("before"));
        assert!(before.1.is_none());
        let now = Instant::now();
        assert_eq!(names(&interests.connected(now)), ["before"]);
        let during = interests.acquire(&key("during"));
        interests.disconnected();
        assert!(pending(during.1).now_or_never().is_some());
        let after = interests.acquire(&key("after"));
        assert!(after.1.is_none());
        let mut again = interests.connected(now);
        again.sort();
        assert_eq!(names(&again), ["after", "before", "during"]);
        assert_eq!(interests.changes(now), Changes::default());
        assert!(interests.acquire(&key("before")).1.is_some());
    }

    #[tokio::test]
    async fn a_join_does_not_wait_for_ever() {
        let interests = connected();
        let (_interest, confirmation) = interests.acquire(&key("a"));
        let wait = tokio::time::timeout(CONFIRMATION * 30, pending(confirmation)).await;
        wait.expect("the wait ends without a confirmation");
    }
}
