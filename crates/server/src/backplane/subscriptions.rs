//! Which rooms' channels this pod listens to: those that its members are in, and for a while
//! longer.
//!
//! Pure bookkeeping: the subscriber's task asks [`Subscriptions::changes`] what to send, and
//! tells when Redis has confirmed it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

/// How long a member waits for the confirmation of its room's subscription.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether what is published from now on is heard.
pub enum Hold {
    /// It is, or Redis is away.
    Ready,
    /// It is when this resolves: at Redis' confirmation, when the link breaks, or after a second.
    Pending(BoxFuture<'static, ()>),
}

impl std::fmt::Debug for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            Hold::Ready => "Ready",
            Hold::Pending(_) => "Pending",
        })
    }
}

/// A channel and the serial of its subscription: a confirmation counts only for that one.
pub type Ticket = (Arc<str>, u64);

/// What has to be sent to Redis, unsubscriptions first.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Channels that nobody has needed for the linger.
    pub unsubscribe: Vec<Arc<str>>,
    /// Channels that somebody needs.
    pub subscribe: Vec<Ticket>,
}

/// Counts who needs which channel.
#[derive(Debug)]
pub struct Subscriptions {
    table: Mutex<Table>,
    changed: Notify,
    linger: Duration,
}

#[derive(Debug, Default)]
struct Table {
    up: bool,
    serial: u64,
    channels: HashMap<Arc<str>, Channel>,
    /// Channels that are new since the last [`Subscriptions::changes`].
    wanted: Vec<Ticket>,
    /// Channels that nobody holds, by when they are given up (and a serial, to tell them apart).
    lingering: BTreeMap<(Instant, u64), Arc<str>>,
}

#[derive(Debug, Default)]
struct Channel {
    holds: usize,
    confirmed: bool,
    serial: u64,
    /// Its key in `lingering`, while nobody holds it.
    due: Option<(Instant, u64)>,
    waiting: Vec<oneshot::Sender<()>>,
}

impl Subscriptions {
    /// Nobody needs anything yet. A channel stays subscribed for `linger` after its last release.
    pub fn new(linger: Duration) -> Self {
        Subscriptions { table: Mutex::default(), changed: Notify::new(), linger }
    }

    /// One more member needs the channel.
    pub fn hold(&self, channel: &str) -> Hold {
        let mut table = self.table.lock();
        let table = &mut *table;
        let entry = match table.channels.get_mut(channel) {
            Some(entry) => entry,
            None => {
                let name: Arc<str> = channel.into();
                table.serial += 1;
                if table.up {
                    table.wanted.push((name.clone(), table.serial));
                    self.changed.notify_one();
                }
                let entry = table.channels.entry(name).or_default();
                entry.serial = table.serial;
                entry
            }
        };
        entry.holds += 1;
        if let Some(due) = entry.due.take() {
            table.lingering.remove(&due);
        }
        if entry.confirmed || !table.up {
            return Hold::Ready;
        }
        let (done, wait) = oneshot::channel();
        entry.waiting.push(done);
        Hold::Pending(tokio::time::timeout(PATIENCE, wait).map(|_| ()).boxed())
    }

    /// One member less needs the channel.
    pub fn release(&self, channel: &str, now: Instant) {
        let mut table = self.table.lock();
        let table = &mut *table;
        let Some(entry) = table.channels.get_mut(channel).filter(|entry| entry.holds > 0) else {
            return;
        };
        entry.holds -= 1;
        if entry.holds == 0 {
            table.serial += 1;
            let due = (now + self.linger, table.serial);
            entry.due = Some(due);
            table.lingering.insert(due, channel.into());
            if table.lingering.len() == 1 {
                self.changed.notify_one();
            }
        }
    }

    /// Resolves when [`Subscriptions::changes`] may have something new to say.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// When the next lingering channel is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.table.lock().lingering.first_key_value().map(|((due, _), _)| *due)
    }

    /// What has to be sent now; each change is told once.
    pub fn changes(&self, now: Instant) -> Changes {
        let mut table = self.table.lock();
        let unsubscribe = table.expire(now);
        let subscribe = std::mem::take(&mut table.wanted);
        let table = &*table;
        let current = |(channel, serial): &Ticket| {
            table.channels.get(channel).is_some_and(|entry| entry.serial == *serial)
        };
        Changes { unsubscribe, subscribe: subscribe.into_iter().filter(current).collect() }
    }

    /// A new link is there: every channel has to be subscribed again.
    pub fn connected(&self, now: Instant) -> Vec<Ticket> {
        let mut table = self.table.lock();
        table.expire(now);
        table.up = true;
        table.wanted.clear();
        table.channels.iter().map(|(name, entry)| (name.clone(), entry.serial)).collect()
    }

    /// The link broke: nobody waits any longer.
    pub fn disconnected(&self) {
        let mut table = self.table.lock();
        table.up = false;
        for entry in table.channels.values_mut() {
            entry.confirmed = false;
            entry.waiting.clear();
        }
    }

    /// Redis has confirmed these, or refused them for good: nobody waits for them any longer.
    pub fn confirmed(&self, tickets: &[Ticket]) {
        let mut table = self.table.lock();
        for (channel, serial) in tickets {
            if let Some(entry) = table.channels.get_mut(channel).filter(|e| e.serial == *serial) {
                entry.confirmed = true;
                // Dropping a sender wakes whoever waits.
                entry.waiting.clear();
            }
        }
    }

    /// How many channels are held or linger.
    pub fn len(&self) -> usize {
        self.table.lock().channels.len()
    }

    /// Whether no channel is held or lingers.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Table {
    fn expire(&mut self, now: Instant) -> Vec<Arc<str>> {
        let mut gone = Vec::new();
        while let Some(first) = self.lingering.first_entry().filter(|e| e.key().0 <= now) {
            let channel = first.remove();
            self.channels.remove(&channel);
            gone.push(channel);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINGER: Duration = Duration::from_secs(30);

    fn up() -> Subscriptions {
        let subscriptions = Subscriptions::new(LINGER);
        assert_eq!(subscriptions.connected(Instant::now()), []);
        subscriptions
    }

    fn names(tickets: &[Ticket]) -> Vec<&str> {
        tickets.iter().map(|(name, _)| &**name).collect()
    }

    fn pending(hold: Hold) -> BoxFuture<'static, ()> {
        match hold {
            Hold::Pending(future) => future,
            Hold::Ready => panic!("ready before the confirmation"),
        }
    }

    #[tokio::test]
    async fn joins_share_one_subscription_and_all_wait_for_its_confirmation() {
        let subscriptions = up();
        let now = Instant::now();
        let mut waits: Vec<_> =
            ["a", "a", "b"].into_iter().map(|c| pending(subscriptions.hold(c))).collect();
        let changes = subscriptions.changes(now);
        assert_eq!(names(&changes.subscribe), ["a", "b"]);
        assert_eq!(subscriptions.changes(now), Changes::default());
        assert!(waits[0].as_mut().now_or_never().is_none());
        subscriptions.confirmed(&changes.subscribe);
        for wait in &mut waits {
            assert!(wait.as_mut().now_or_never().is_some());
        }
        assert!(matches!(subscriptions.hold("b"), Hold::Ready));
    }

    #[tokio::test]
    async fn a_channel_lingers_and_a_hold_meanwhile_keeps_it() {
        let subscriptions = up();
        let now = Instant::now();
        for channel in ["a", "b"] {
            drop(subscriptions.hold(channel));
        }
        subscriptions.confirmed(&subscriptions.changes(now).subscribe);
        subscriptions.release("a", now);
        subscriptions.release("b", now);
        assert_eq!(subscriptions.next_due(), Some(now + LINGER));
        assert!(matches!(subscriptions.hold("a"), Hold::Ready));
        assert_eq!(subscriptions.changes(now + LINGER / 2), Changes::default());
        assert_eq!(subscriptions.changes(now + LINGER).unsubscribe, [Arc::<str>::from("b")]);
        assert_eq!(subscriptions.len(), 1);

        let later = now + LINGER / 2;
        subscriptions.release("a", later);
        assert_eq!(subscriptions.changes(now + LINGER), Changes::default());
        assert_eq!(subscriptions.changes(later + LINGER).unsubscribe, [Arc::<str>::from("a")]);
        assert!(subscriptions.is_empty());
        subscriptions.release("a", later);
    }

    #[tokio::test]
    async fn an_old_confirmation_does_not_count_for_a_new_subscription() {
        let subscriptions = up();
        let now = Instant::now();
        drop(subscriptions.hold("a"));
        let old = subscriptions.changes(now).subscribe;
        subscriptions.release("a", now);
        assert_eq!(subscriptions.changes(now + LINGER).unsubscribe, [Arc::<str>::from("a")]);
        let wait = pending(subscriptions.hold("a"));
        subscriptions.confirmed(&old);
        assert!(matches!(subscriptions.hold("a"), Hold::Pending(_)));
        subscriptions.confirmed(&subscriptions.changes(now + LINGER).subscribe);
        assert!(wait.now_or_never().is_some());
    }

    #[tokio::test]
    async fn nobody_waits_while_redis_is_away_and_all_is_subscribed_again() {
        let subscriptions = Subscriptions::new(LINGER);
        assert!(matches!(subscriptions.hold("before"), Hold::Ready));
        let now = Instant::now();
        assert_eq!(names(&subscriptions.connected(now)), ["before"]);
        let wait = pending(subscriptions.hold("during"));
        subscriptions.disconnected();
        assert!(wait.now_or_never().is_some());
        assert!(matches!(subscriptions.hold("after"), Hold::Ready));
        let mut again = subscriptions.connected(now);
        again.sort();
        assert_eq!(names(&again), ["after", "before", "during"]);
        assert_eq!(subscriptions.changes(now), Changes::default());
        assert!(matches!(subscriptions.hold("before"), Hold::Pending(_)));
    }

    #[tokio::test]
    async fn patience_ends() {
        let subscriptions = up();
        let wait = pending(subscriptions.hold("a"));
        tokio::time::timeout(PATIENCE * 30, wait).await.expect("it waits for ever");
    }
}
