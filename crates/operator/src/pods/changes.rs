//! Tells others whose counts changed, often enough and not more often.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::{Stream, stream};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// An instance is told at most once in this time.
pub const TELL_EVERY: Duration = Duration::from_secs(10);

/// (namespace, name) of a `Rookery`.
pub type Instance = (String, String);

/// One board for each listener.
#[derive(Default)]
pub struct Boards(Mutex<Vec<Weak<Board>>>);

impl Boards {
    /// Takes down that an instance changed, for every listener.
    pub fn mark(&self, instance: Instance) {
        self.0.lock().retain(|board| match board.upgrade() {
            Some(board) => {
                board.marks.lock().mark(instance.clone(), Instant::now());
                board.changed.notify_one();
                true
            }
            None => false,
        });
    }

    /// What is marked from now on, for one listener.
    pub fn subscribe(&self) -> impl Stream<Item = Instance> + Send + use<> {
        let board = Arc::new(Board::default());
        self.0.lock().push(Arc::downgrade(&board));
        stream::unfold(board, |board| async move {
            let instance = board.next().await;
            Some((instance, board))
        })
    }
}

#[derive(Default)]
struct Board {
    marks: Mutex<Marks>,
    changed: Notify,
}

impl Board {
    async fn next(&self) -> Instance {
        loop {
            let changed = self.changed.notified();
            let next = self.marks.lock().take(Instant::now());
            let due = match next {
                Next::Tell(instance) => return instance,
                Next::At(due) => due,
                Next::Nothing => {
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

/// Which instances are to be told, and when each was told last. Those told long ago and not
/// marked since are forgotten, so there are no more entries than instances that changed lately.
#[derive(Default)]
struct Marks {
    waiting: HashMap<Instance, Instant>,
    told: HashMap<Instance, Instant>,
}

enum Next {
    Tell(Instance),
    At(Instant),
    Nothing,
}

impl Marks {
    fn mark(&mut self, instance: Instance, now: Instant) {
        let due = self.told.get(&instance).map_or(now, |told| *told + TELL_EVERY);
        self.waiting.entry(instance).or_insert(due);
    }

    fn take(&mut self, now: Instant) -> Next {
        let Some((instance, due)) = self.waiting.iter().min_by_key(|(_, due)| **due) else {
            return Next::Nothing;
        };
        if *due > now {
            return Next::At(*due);
        }
        let instance = instance.clone();
        self.waiting.remove(&instance);
        self.told.retain(|_, told| *told + TELL_EVERY > now);
        self.told.insert(instance.clone(), now);
        Next::Tell(instance)
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

    fn told(marks: &mut Marks, now: Instant) -> Option<Instance> {
        match marks.take(now) {
            Next::Tell(instance) => Some(instance),
            _ => None,
        }
    }

    #[test]
    fn an_instance_is_told_at_once_and_then_once_in_ten_seconds() {
        let mut marks = Marks::default();
        let start = Instant::now();
        marks.mark(chat(), start);
        marks.mark(chat(), start);
        assert_eq!(told(&mut marks, start), Some(chat()));
        assert!(matches!(marks.take(start), Next::Nothing));
        let soon = start + Duration::from_secs(1);
        marks.mark(chat(), soon);
        marks.mark(shop(), soon);
        assert_eq!(told(&mut marks, soon), Some(shop()));
        assert!(matches!(marks.take(soon), Next::At(due) if due == start + TELL_EVERY));
        assert_eq!(told(&mut marks, start + TELL_EVERY), Some(chat()));
        assert!(matches!(marks.take(start + TELL_EVERY), Next::Nothing));
    }

    #[tokio::test]
    async fn every_listener_hears_and_one_that_went_is_forgotten() {
        let boards = Boards::default();
        let mut first = Box::pin(boards.subscribe());
        let second = Box::pin(boards.subscribe());
        boards.mark(chat());
        assert_eq!(first.next().await, Some(chat()));
        drop(second);
        boards.mark(shop());
        assert_eq!(first.next().await, Some(shop()));
        assert_eq!(boards.0.lock().len(), 1);
    }

    #[test]
    fn what_was_told_long_ago_is_forgotten() {
        let mut marks = Marks::default();
        let start = Instant::now();
        marks.mark(chat(), start);
        assert!(matches!(marks.take(start), Next::Tell(_)));
        marks.mark(shop(), start + TELL_EVERY);
        assert!(matches!(marks.take(start + TELL_EVERY), Next::Tell(_)));
        assert_eq!(marks.told.len(), 1);
    }
}
