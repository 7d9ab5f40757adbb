//! [`MemoryStore`]: the ids of this instance.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use prometheus::IntCounter;
use tokio::sync::watch;

use super::{Claim, ClaimOutcome, IdempotencyKey, IdempotencyStore, REPEAT_DEADLINE, RETENTION};
use crate::api::answer::PublishAnswer;

/// The default number of answers that are kept.
pub const CAPACITY: usize = 100_000;

/// Keeps claims and answers in memory. Cloning is shallow.
#[derive(Clone)]
pub struct MemoryStore {
    entries: Arc<Mutex<Entries>>,
    capacity: usize,
    evicted: IntCounter,
}

/// A key is either in `claims` or in `answers`; `by_age` has every key of `answers` once.
#[derive(Default)]
struct Entries {
    /// Open claims. A receiver sees its claim end when the sender is dropped.
    claims: HashMap<IdempotencyKey, watch::Receiver<()>>,
    answers: HashMap<IdempotencyKey, PublishAnswer>,
    by_age: VecDeque<(Instant, IdempotencyKey)>,
}

enum Lookup {
    Claimed(MemoryClaim),
    Completed(PublishAnswer),
    ClaimedByAnother(watch::Receiver<()>),
}

impl MemoryStore {
    /// Keeps at most `capacity` answers. Beyond that the oldest is forgotten early, and counted in
    /// `evicted` (`Metrics::api_ids_evicted`).
    pub fn new(capacity: usize, evicted: IntCounter) -> Self {
        MemoryStore { entries: Arc::default(), capacity, evicted }
    }

    /// Claims the id, or waits for its answer until `deadline`.
    pub(super) async fn claim_until(
        &self,
        key: &IdempotencyKey,
        deadline: Instant,
    ) -> ClaimOutcome<MemoryClaim> {
        loop {
            let mut claim = match self.look_up(key) {
                Lookup::Claimed(claim) => return ClaimOutcome::Claimed(claim),
                Lookup::Completed(answer) => return ClaimOutcome::Completed(answer),
                Lookup::ClaimedByAnother(claim) => claim,
            };
            // Nothing is ever sent: the wait ends with an error when the claim ends.
            if tokio::time::timeout_at(deadline.into(), claim.changed()).await.is_err() {
                return ClaimOutcome::InProgress;
            }
        }
    }

    fn look_up(&self, key: &IdempotencyKey) -> Lookup {
        let mut entries = self.entries.lock();
        entries.expire(Instant::now());
        if let Some(answer) = entries.answers.get(key) {
            return Lookup::Completed(answer.clone());
        }
        if let Some(claim) = entries.claims.get(key) {
            return Lookup::ClaimedByAnother(claim.clone());
        }
        let (ended, claim) = watch::channel(());
        entries.claims.insert(key.clone(), claim);
        Lookup::Claimed(MemoryClaim { store: self.clone(), key: key.clone(), answer: None, ended })
    }
}

impl IdempotencyStore for MemoryStore {
    fn claim(&self, key: IdempotencyKey) -> BoxFuture<'_, ClaimOutcome> {
        async move {
            match self.claim_until(&key, Instant::now() + REPEAT_DEADLINE).await {
                ClaimOutcome::Claimed(claim) => ClaimOutcome::Claimed(Box::new(claim) as _),
                ClaimOutcome::Completed(answer) => ClaimOutcome::Completed(answer),
                ClaimOutcome::InProgress => ClaimOutcome::InProgress,
                ClaimOutcome::Refused => ClaimOutcome::Refused,
            }
        }
        .boxed()
    }
}

impl Entries {
    fn expire(&mut self, now: Instant) {
        while self.by_age.front().is_some_and(|(at, _)| now.duration_since(*at) >= RETENTION) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, key)) = self.by_age.pop_front() {
            self.answers.remove(&key);
        }
    }
}

/// A claim on an id of this instance. It never expires, so nobody else can own the id before it is
/// dropped.
pub(super) struct MemoryClaim {
    store: MemoryStore,
    key: IdempotencyKey,
    answer: Option<PublishAnswer>,
    /// Dropped after `Drop::drop` has run, so that waiters wake to updated entries.
    #[allow(dead_code)]
    ended: watch::Sender<()>,
}

impl MemoryClaim {
    /// Ends the claim with this answer.
    pub(super) fn complete_with(mut self, answer: PublishAnswer) {
        self.answer = Some(answer);
    }
}

impl Drop for MemoryClaim {
    fn drop(&mut self) {
        let mut entries = self.store.entries.lock();
        entries.claims.remove(&self.key);
        let Some(answer) = self.answer.take() else { return };
        if entries.answers.len() >= self.store.capacity {
            entries.forget_oldest();
            self.store.evicted.inc();
        }
        entries.answers.insert(self.key.clone(), answer);
        entries.by_age.push_back((Instant::now(), self.key.clone()));
    }
}

impl Claim for MemoryClaim {
    fn complete(self: Box<Self>, answer: PublishAnswer) -> BoxFuture<'static, ()> {
        self.complete_with(answer);
        futures_util::future::ready(()).boxed()
    }

    fn release(self: Box<Self>) -> BoxFuture<'static, ()> {
        drop(self);
        futures_util::future::ready(()).boxed()
    }
}
