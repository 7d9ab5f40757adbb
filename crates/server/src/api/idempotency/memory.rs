//! The ids of this instance.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use prometheus::IntCounter;
use tokio::sync::watch;

use super::{Begin, Claim, IdempotencyStore, KEPT, PATIENCE};
use crate::api::publish::PublishAnswer;

/// How many answers are kept by default.
pub const CAPACITY: usize = 100_000;

type Key = (Arc<str>, Arc<str>);

/// Keeps claims and answers in memory. Cloning is shallow.
#[derive(Clone)]
pub struct Memory {
    entries: Arc<Mutex<Entries>>,
    capacity: usize,
    evicted: IntCounter,
}

/// A key is in `open` or in `answers`, never in both; `by_age` has every key of `answers` once.
#[derive(Default)]
struct Entries {
    /// Claimed. The receiver learns of the claim's end when its sender is dropped.
    open: HashMap<Key, watch::Receiver<()>>,
    answers: HashMap<Key, PublishAnswer>,
    by_age: VecDeque<(Instant, Key)>,
}

enum Claimed {
    Mine(MemoryClaim),
    Answered(PublishAnswer),
    Theirs(watch::Receiver<()>),
}

impl Memory {
    /// Keeps at most `capacity` answers; when there are more, the oldest goes before its time and
    /// `evicted` counts it (`Metrics::api_ids_evicted`).
    pub fn new(capacity: usize, evicted: IntCounter) -> Self {
        Memory { entries: Arc::default(), capacity, evicted }
    }

    /// Claims the id, or waits for the answer until `deadline`.
    pub(super) async fn claim(
        &self,
        namespace: Arc<str>,
        id: Arc<str>,
        deadline: Instant,
    ) -> Result<MemoryClaim, Option<PublishAnswer>> {
        let key = (namespace, id);
        loop {
            let mut theirs = match self.try_claim(&key) {
                Claimed::Mine(claim) => return Ok(claim),
                Claimed::Answered(answer) => return Err(Some(answer)),
                Claimed::Theirs(open) => open,
            };
            // Nothing is ever sent: it ends with an error when the claim ends.
            if tokio::time::timeout_at(deadline.into(), theirs.changed()).await.is_err() {
                return Err(None);
            }
        }
    }

    fn try_claim(&self, key: &Key) -> Claimed {
        let mut entries = self.entries.lock();
        entries.expire(Instant::now());
        if let Some(answer) = entries.answers.get(key) {
            return Claimed::Answered(answer.clone());
        }
        if let Some(open) = entries.open.get(key) {
            return Claimed::Theirs(open.clone());
        }
        let (ended, open) = watch::channel(());
        entries.open.insert(key.clone(), open);
        Claimed::Mine(MemoryClaim { memory: self.clone(), key: key.clone(), answer: None, ended })
    }
}

impl IdempotencyStore for Memory {
    fn begin(&self, namespace: Arc<str>, id: Arc<str>) -> BoxFuture<'_, Begin> {
        async move {
            match self.claim(namespace, id, Instant::now() + PATIENCE).await {
                Ok(claim) => Begin::First(Box::new(claim)),
                Err(Some(answer)) => Begin::Repeat(answer),
                Err(None) => Begin::Busy,
            }
        }
        .boxed()
    }
}

impl Entries {
    fn expire(&mut self, now: Instant) {
        while self.by_age.front().is_some_and(|(at, _)| now.duration_since(*at) >= KEPT) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, key)) = self.by_age.pop_front() {
            self.answers.remove(&key);
        }
    }
}

/// A claim on an id of this instance. It ends when it is dropped.
pub(super) struct MemoryClaim {
    memory: Memory,
    key: Key,
    answer: Option<PublishAnswer>,
    /// Dropped after `Drop::drop` has run: who waits is woken when the entries are up to date.
    #[allow(dead_code)]
    ended: watch::Sender<()>,
}

impl MemoryClaim {
    /// Ends the claim with this answer.
    pub(super) fn answer(mut self, answer: PublishAnswer) {
        self.answer = Some(answer);
    }
}

impl Drop for MemoryClaim {
    fn drop(&mut self) {
        let mut entries = self.memory.entries.lock();
        entries.open.remove(&self.key);
        let Some(answer) = self.answer.take() else { return };
        if entries.answers.len() >= self.memory.capacity {
            entries.forget_oldest();
            self.memory.evicted.inc();
        }
        entries.answers.insert(self.key.clone(), answer);
        entries.by_age.push_back((Instant::now(), self.key.clone()));
    }
}

impl Claim for MemoryClaim {
    fn complete(self: Box<Self>, answer: PublishAnswer) -> BoxFuture<'static, ()> {
        self.answer(answer);
        futures_util::future::ready(()).boxed()
    }

    fn release(self: Box<Self>) -> BoxFuture<'static, ()> {
        drop(self);
        futures_util::future::ready(()).boxed()
    }
}
