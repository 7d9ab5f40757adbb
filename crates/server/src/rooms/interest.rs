//! Which rooms' messages this instance needs to hear from the others: those that its members are
//! in, and for a while longer; and what is for namespaces of patterns that have members here.
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

use rookery_policy::Namespaces;

use super::topic::{MemberChannels, NamespaceTopic, Topic};
use crate::hashing::HashMap;
use crate::message::RoomKey;
use crate::wakeups::gathered;

/// How long a room stays subscribed after its last [`Interest`] is dropped.
pub const LINGER: Duration = Duration::from_secs(30);

/// How long a join waits for the confirmation of its room's subscription.
const CONFIRMATION: Duration = Duration::from_secs(1);

/// Keeps one room, or what is for a namespace, subscribed while it exists.
pub struct Interest {
    interests: Arc<RoomInterests>,
    topic: Topic,
}

impl fmt::Debug for Interest {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_tuple("Interest").field(&self.topic).finish()
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        self.interests.release(&self.topic, Instant::now());
    }
}

/// Resolves when what others publish to a room is heard here: when Redis confirms the
/// subscription, when the link breaks, or after a second. `None`: it is heard already, or Redis is
/// away.
pub type Confirmation = Option<BoxFuture<'static, ()>>;

/// One subscription: a confirmation counts for the serial it was asked with.
pub type Ticket = (Topic, u64);

/// What has to be sent to Redis, unsubscriptions first.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Topics that nobody was interested in for as long as they linger.
    pub unsubscribe: Vec<Topic>,
    /// Topics that are new.
    pub subscribe: Vec<Ticket>,
}

/// The rooms that somebody here is interested in.
#[derive(Debug)]
pub struct RoomInterests {
    table: Mutex<Table>,
    changed: Notify,
    linger: Duration,
    members: MemberChannels,
    /// What is for those of them that are named is subscribed anyway.
    namespaces: Arc<Namespaces>,
}

#[derive(Debug, Default)]
struct Table {
    connected: bool,
    serial: u64,
    topics: HashMap<Topic, Entry>,
    /// Topics that are new since the last [`RoomInterests::changes`].
    new: Vec<Ticket>,
    /// Topics without an [`Interest`], by when they are given up (and a serial, to tell them apart).
    lingering: BTreeMap<(Instant, u64), Topic>,
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
        Self::with(linger, MemberChannels::Pattern, Arc::default())
    }

    /// As [`RoomInterests::new`], on a wire that addresses members by these channels, with these
    /// namespaces.
    pub fn with(
        linger: Duration,
        members: MemberChannels,
        namespaces: Arc<Namespaces>,
    ) -> Arc<Self> {
        let (table, changed) = (Mutex::default(), Notify::new());
        Arc::new(RoomInterests { table, changed, linger, members, namespaces })
    }

    /// On which channels others send what is for one member here.
    pub fn member_channels(&self) -> MemberChannels {
        self.members
    }

    /// One more interest in the room, and when others are heard there.
    pub fn acquire(self: &Arc<Self>, key: &RoomKey) -> (Interest, Confirmation) {
        self.acquire_topic(Topic::Room(key.clone()))
    }

    /// Interests in all that is for the members of a whole namespace, and when others are heard there;
    /// none where that is subscribed whether or not it has members.
    pub fn acquire_namespace(
        self: &Arc<Self>,
        namespace: &Arc<str>,
    ) -> Vec<(Interest, Confirmation)> {
        self.acquire_topics(namespace, self.members.of_members())
    }

    /// The same, in what is for whoever has asked other servers something in a namespace.
    pub fn acquire_answers(
        self: &Arc<Self>,
        namespace: &Arc<str>,
    ) -> Vec<(Interest, Confirmation)> {
        self.acquire_topics(namespace, self.members.of_askers())
    }

    /// Whether what is for the members of a whole namespace is heard.
    pub fn hears_namespace(&self, namespace: &Arc<str>) -> bool {
        let topic = Topic::Namespace(namespace.clone(), NamespaceTopic::Publications);
        let is_confirmed = |table: &Table| table.topics.get(&topic).is_some_and(|e| e.confirmed);
        self.namespaces.is_fixed(namespace) || is_confirmed(&self.table.lock())
    }

    fn acquire_topics(
        self: &Arc<Self>,
        namespace: &Arc<str>,
        topics: &[NamespaceTopic],
    ) -> Vec<(Interest, Confirmation)> {
        if self.namespaces.is_fixed(namespace) {
            return Vec::new();
        }
        let topics = topics.iter().map(|of| Topic::Namespace(namespace.clone(), *of));
        topics.map(|topic| self.acquire_topic(topic)).collect()
    }

    fn acquire_topic(self: &Arc<Self>, topic: Topic) -> (Interest, Confirmation) {
        let confirmation = self.table.lock().acquire(&topic, &self.changed);
        (Interest { interests: self.clone(), topic }, confirmation)
    }

    /// How long what is for a topic stays subscribed when nobody is interested any more. For a
    /// namespace that is no time at all, so that nobody can make an instance keep more of them than
    /// may have members.
    fn linger(&self, topic: &Topic) -> Duration {
        match topic {
            Topic::Room(_) => self.linger,
            Topic::Namespace(..) => Duration::ZERO,
        }
    }

    /// Whether one more interest in the room would wait for nothing.
    pub fn is_heard(&self, key: &RoomKey) -> bool {
        let (table, topic) = (self.table.lock(), Topic::Room(key.clone()));
        !table.connected || table.topics.get(&topic).is_some_and(|entry| entry.confirmed)
    }

    fn release(&self, topic: &Topic, now: Instant) {
        let mut table = self.table.lock();
        let table = &mut *table;
        let Some(entry) = table.topics.get_mut(topic) else { return };
        entry.interests -= 1;
        if entry.interests == 0 {
            table.serial += 1;
            let due = (now + self.linger(topic), table.serial);
            entry.due = Some(due);
            table.lingering.insert(due, topic.clone());
            if table.lingering.first_key_value().is_some_and(|(first, _)| *first == due) {
                self.changed.notify_one();
            }
        }
    }

    /// Resolves when [`RoomInterests::changes`] may have something new to say.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// When the next lingering topic is given up.
    pub fn next_due(&self) -> Option<Instant> {
        self.table.lock().lingering.first_key_value().map(|((due, _), _)| *due)
    }

    /// What has to be sent now; each change is told once.
    pub fn changes(&self, now: Instant) -> Changes {
        let mut table = self.table.lock();
        let unsubscribe = table.expire(now);
        let new = std::mem::take(&mut table.new);
        let table = &*table;
        let is_current = |(topic, serial): &Ticket| {
            table.topics.get(topic).is_some_and(|entry| entry.serial == *serial)
        };
        Changes { unsubscribe, subscribe: new.into_iter().filter(is_current).collect() }
    }

    /// A new connection is up: every topic has to be subscribed again.
    pub fn connected(&self, now: Instant) -> Vec<Ticket> {
        let mut table = self.table.lock();
        table.expire(now);
        table.connected = true;
        table.new.clear();
        table.topics.iter().map(|(topic, entry)| (topic.clone(), entry.serial)).collect()
    }

    /// The connection broke: nobody waits any longer.
    pub fn disconnected(&self) {
        let mut table = self.table.lock();
        table.connected = false;
        for entry in table.topics.values_mut() {
            entry.confirmed = false;
            entry.waiting.clear();
        }
    }

    /// Redis has confirmed these, or refused them for good: nobody waits for them any longer.
    pub fn confirmed(&self, tickets: &[Ticket]) {
        let mut table = self.table.lock();
        for (topic, serial) in tickets {
            if let Some(entry) = table.topics.get_mut(topic).filter(|e| e.serial == *serial) {
                entry.confirmed = true;
                // Dropping a sender wakes whoever waits.
                entry.waiting.clear();
            }
        }
    }

    /// How many rooms have an [`Interest`] or linger.
    pub fn len(&self) -> usize {
        let table = self.table.lock();
        table.topics.keys().filter(|topic| matches!(topic, Topic::Room(_))).count()
    }

    /// Whether no room has an [`Interest`] or lingers.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Table {
    fn acquire(&mut self, topic: &Topic, changed: &Notify) -> Confirmation {
        let entry = match self.topics.get_mut(topic) {
            Some(entry) => entry,
            None => {
                self.serial += 1;
                if self.connected {
                    self.new.push((topic.clone(), self.serial));
                    changed.notify_one();
                }
                let entry = self.topics.entry(topic.clone()).or_default();
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
        Some(gathered(tokio::time::timeout(CONFIRMATION, wait)).map(|_| ()).boxed())
    }

    fn expire(&mut self, now: Instant) -> Vec<Topic> {
        let mut gone = Vec::new();
        while let Some(first) = self.lingering.first_entry().filter(|e| e.key().0 <= now) {
            let topic = first.remove();
            self.topics.remove(&topic);
            gone.push(topic);
        }
        gone
    }
}

#[cfg(test)]
mod tests;
