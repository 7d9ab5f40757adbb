//! Notifies subscribers of changed counts, at a bounded rate per resource.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::{Stream, stream};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Minimum interval between two notifications about one resource.
pub const NOTIFY_INTERVAL: Duration = Duration::from_secs(10);

/// Namespace and name of a `Rookery`.
pub type Instance = (String, String);

/// Sends changes to every subscriber.
#[derive(Default)]
pub struct Broadcaster(Mutex<Vec<Weak<Subscriber>>>);

impl Broadcaster {
    /// Records a change of a resource for every subscriber.
    pub fn mark(&self, instance: Instance) {
        self.0.lock().retain(|subscriber| match subscriber.upgrade() {
            Some(subscriber) => {
                subscriber.throttle.lock().mark(instance.clone(), Instant::now());
                subscriber.changed.notify_one();
                true
            }
            None => false,
        });
    }

    /// Subscribes to changes that are recorded from now on.
    pub fn subscribe(&self) -> impl Stream<Item = Instance> + Send + use<> {
        let subscriber = Arc::new(Subscriber::default());
        self.0.lock().push(Arc::downgrade(&subscriber));
        stream::unfold(subscriber, |subscriber| async move {
            let instance = subscriber.next().await;
            Some((instance, subscriber))
        })
    }
}

#[derive(Default)]
struct Subscriber {
    throttle: Mutex<Throttle>,
    changed: Notify,
}

impl Subscriber {
    async fn next(&self) -> Instance {
        loop {
            let changed = self.changed.notified();
            let next = self.throttle.lock().take(Instant::now());
            let due = match next {
                Next::Ready(instance) => return instance,
                Next::Wait(due) => due,
                Next::Idle => {
                    changed.await;
                    continue;
                }
            };
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(due) => {}
            }
        }
    }
}

/// Pending notifications with their due times, and the time of the last notification per resource.
/// The latter are dropped once they no longer delay anything, so the maps hold only resources that
/// changed recently.
#[derive(Default)]
struct Throttle {
    waiting: HashMap<Instance, Instant>,
    notified: HashMap<Instance, Instant>,
}

enum Next {
    Ready(Instance),
    Wait(Instant),
    Idle,
}

impl Throttle {
    fn mark(&mut self, instance: Instance, now: Instant) {
        let due = self.notified.get(&instance).map_or(now, |notified| *notified + NOTIFY_INTERVAL);
        self.waiting.entry(instance).or_insert(due);
    }

    fn take(&mut self, now: Instant) -> Next {
        let Some((instance, due)) = self.waiting.iter().min_by_key(|(_, due)| **due) else {
            return Next::Idle;
        };
        if *due > now {
            return Next::Wait(*due);
        }
        let instance = instance.clone();
        self.waiting.remove(&instance);
        self.notified.retain(|_, notified| *notified + NOTIFY_INTERVAL > now);
        self.notified.insert(instance.clone(), now);
        Next::Ready(instance)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;

    use super::*;

    fn chat() -> Instance {
        ("apps".into(), "chat".into())
    }

    fn shop() -> Instance {
        ("apps".into(), "shop".into())
    }

    fn notified(throttle: &mut Throttle, now: Instant) -> Option<Instance> {
        match throttle.take(now) {
            Next::Ready(instance) => Some(instance),
            _ => None,
        }
    }

    #[test]
    fn a_change_is_reported_at_once_and_then_at_most_every_ten_seconds() {
        let mut throttle = Throttle::default();
        let start = Instant::now();
        throttle.mark(chat(), start);
        throttle.mark(chat(), start);
        assert_eq!(notified(&mut throttle, start), Some(chat()));
        assert!(matches!(throttle.take(start), Next::Idle));
        let soon = start + Duration::from_secs(1);
        throttle.mark(chat(), soon);
        throttle.mark(shop(), soon);
        assert_eq!(notified(&mut throttle, soon), Some(shop()));
        assert!(matches!(throttle.take(soon), Next::Wait(due) if due == start + NOTIFY_INTERVAL));
        assert_eq!(notified(&mut throttle, start + NOTIFY_INTERVAL), Some(chat()));
        assert!(matches!(throttle.take(start + NOTIFY_INTERVAL), Next::Idle));
    }

    #[tokio::test]
    async fn every_subscriber_is_notified_and_a_dropped_one_is_forgotten() {
        let changes = Broadcaster::default();
        let mut first = Box::pin(changes.subscribe());
        let second = Box::pin(changes.subscribe());
        changes.mark(chat());
        assert_eq!(first.next().await, Some(chat()));
        drop(second);
        changes.mark(shop());
        assert_eq!(first.next().await, Some(shop()));
        assert_eq!(changes.0.lock().len(), 1);
    }

    #[test]
    fn an_old_notification_is_forgotten() {
        let mut throttle = Throttle::default();
        let start = Instant::now();
        throttle.mark(chat(), start);
        assert!(matches!(throttle.take(start), Next::Ready(_)));
        throttle.mark(shop(), start + NOTIFY_INTERVAL);
        assert!(matches!(throttle.take(start + NOTIFY_INTERVAL), Next::Ready(_)));
        assert_eq!(throttle.notified.len(), 1);
    }
}
