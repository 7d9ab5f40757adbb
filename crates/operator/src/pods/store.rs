//! The state of every server pod. Pure: time and scrape results are passed in.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::core::{Selector, SelectorExt as _};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::changes::Instance;
use super::load::RateWindow;
use super::observed::{Key, ObservedPod};
use super::sample::Sample;
use super::server_pod::ServerPod;

/// Interval between scrapes of a pod whose count changes, or whose last scrape failed.
pub const SCRAPE_INTERVAL: Duration = Duration::from_secs(2);

/// Interval between scrapes of a pod whose count has not changed for a while. Two of these and a
/// scrape's deadline fit into [`STALE_AFTER`].
pub const QUIET_SCRAPE_INTERVAL: Duration = Duration::from_secs(4);

/// Age from which a count is no longer served.
pub const STALE_AFTER: Duration = Duration::from_secs(10);

/// Consecutive scrapes with the same result after which a pod is scraped less often.
const QUIET_AFTER_UNCHANGED: u32 = 5;

/// The server pods, by namespace and name.
pub struct PodStore {
    pods: BTreeMap<Key, Entry>,
    /// Number of scopes that have not been listed yet.
    unlisted_scopes: usize,
    listed: HashSet<Option<String>>,
    synced: bool,
    last_task_id: u64,
}

struct Entry {
    observed: ObservedPod,
    task: Option<(u64, DropGuard)>,
    scraped: bool,
    last: Option<Last>,
    deliveries: RateWindow,
}

struct Last {
    sample: Sample,
    at: Instant,
    wall: Timestamp,
    unchanged: u32,
    reported_stale: bool,
}

/// A task that scrapes one pod until `stop` is cancelled.
pub struct ScrapeTask {
    /// Identifies the task, so that results of an earlier task are discarded.
    pub id: u64,
    /// Cancelled when the pod is deleted or its address changes.
    pub stop: CancellationToken,
}

impl PodStore {
    /// An empty store that waits for the lists of `scopes` watches.
    pub fn new(scopes: usize) -> Self {
        PodStore {
            pods: BTreeMap::new(),
            unlisted_scopes: scopes,
            listed: HashSet::new(),
            synced: scopes == 0,
            last_task_id: 0,
        }
    }

    /// Records the state of a pod. Returns the scrape task to start if the pod is new or its
    /// address changed.
    pub fn apply(
        &mut self,
        observed: ObservedPod,
        stop: &CancellationToken,
    ) -> Option<(SocketAddr, ScrapeTask)> {
        let entry = self.pods.entry(observed.key());
        let entry = entry.or_insert_with(|| Entry {
            observed: ObservedPod { address: None, ..observed.clone() },
            task: None,
            scraped: false,
            last: None,
            deliveries: RateWindow::default(),
        });
        if entry.observed.uid != observed.uid {
            *entry = Entry {
                observed: observed.clone(),
                task: None,
                scraped: false,
                last: None,
                deliveries: RateWindow::default(),
            };
        }
        let unchanged = entry.task.is_some() && entry.observed.address == observed.address;
        entry.observed = observed;
        if unchanged {
            return None;
        }
        entry.task = None;
        let address = entry.observed.address?;
        self.last_task_id += 1;
        let stop = stop.child_token();
        entry.task = Some((self.last_task_id, stop.clone().drop_guard()));
        Some((address, ScrapeTask { id: self.last_task_id, stop }))
    }

    /// Whether a pod fails otherwise than it did before, or no longer.
    pub fn has_news(&self, observed: &ObservedPod) -> bool {
        let known =
            self.pods.get(&observed.key()).and_then(|entry| entry.observed.failure.as_ref());
        known != observed.failure.as_ref()
    }

    /// Removes a pod. Returns its resource if a count was removed with it.
    pub fn remove(&mut self, observed: &ObservedPod) -> Option<Instance> {
        let key = observed.key();
        if self.pods.get(&key).is_none_or(|entry| entry.observed.uid != observed.uid) {
            return None;
        }
        let entry = self.pods.remove(&key)?;
        entry.last.map(|_| (entry.observed.namespace, entry.observed.instance))
    }

    /// Removes the pods of a scope (`None`: all namespaces) that are not in its list. Returns the
    /// resources that lost a count.
    pub fn listed(&mut self, scope: Option<&str>, keys: &HashSet<Key>) -> Vec<Instance> {
        let mut gone = Vec::new();
        self.pods.retain(|key, entry| {
            let stays = scope.is_some_and(|scope| scope != key.0) || keys.contains(key);
            if !stays && entry.last.is_some() {
                gone.push((entry.observed.namespace.clone(), entry.observed.instance.clone()));
            }
            stays
        });
        self.mark_listed(scope);
        gone
    }

    /// Marks a scope as listed, even if the list was denied: a scope whose namespace was deleted,
    /// and the permission with it, must not keep this replica from becoming ready.
    pub fn mark_listed(&mut self, scope: Option<&str>) {
        if self.listed.insert(scope.map(str::to_owned)) {
            self.unlisted_scopes = self.unlisted_scopes.saturating_sub(1);
        }
    }

    /// Records the result of a scrape; `None` if it failed. Returns the resource if what is served
    /// changed, and the delay until the next scrape.
    pub fn record(
        &mut self,
        key: &Key,
        task: u64,
        sample: Option<Sample>,
        now: Instant,
    ) -> (Option<Instance>, Duration) {
        let Some(entry) = self.pods.get_mut(key) else { return (None, SCRAPE_INTERVAL) };
        if entry.task.as_ref().is_none_or(|(id, _)| *id != task) {
            return (None, SCRAPE_INTERVAL);
        }
        entry.scraped = true;
        let (changed, pace) = match sample {
            Some(sample) => entry.record_sample(sample, now),
            None => (entry.mark_stale(now), SCRAPE_INTERVAL),
        };
        let instance =
            changed.then(|| (entry.observed.namespace.clone(), entry.observed.instance.clone()));
        (instance, pace)
    }

    /// See [`super::Pods::is_synced`].
    pub fn is_synced(&mut self) -> bool {
        self.synced = self.synced
            || self.unlisted_scopes == 0
                && self
                    .pods
                    .values()
                    .all(|entry| entry.scraped || entry.observed.address.is_none());
        self.synced
    }

    /// Number of pods.
    pub fn len(&self) -> usize {
        self.pods.len()
    }

    /// See [`super::Pods::of`].
    pub fn of(&self, namespace: &str, instance: &str, now: Instant) -> Vec<ServerPod> {
        let entries = self.within(namespace).filter(|entry| entry.observed.instance == instance);
        entries.map(|entry| entry.count(now)).collect()
    }

    /// See [`super::Pods::matching`].
    pub fn matching(&self, namespace: &str, selector: &Selector, now: Instant) -> Vec<ServerPod> {
        let entries = self.within(namespace);
        let entries = entries.filter(|entry| selector.matches(&entry.observed.labels));
        entries.map(|entry| entry.count(now)).collect()
    }

    /// See [`super::Pods::all`].
    pub fn all(&self, now: Instant) -> Vec<ServerPod> {
        self.pods.values().map(|entry| entry.count(now)).collect()
    }

    fn within(&self, namespace: &str) -> impl Iterator<Item = &Entry> {
        let from = (namespace.to_owned(), String::new());
        self.pods
            .range(from..)
            .take_while(move |(key, _)| key.0 == namespace)
            .map(|(_, entry)| entry)
    }
}

impl Entry {
    fn record_sample(&mut self, sample: Sample, now: Instant) -> (bool, Duration) {
        let unchanged = match &self.last {
            Some(last) if last.sample.is_same_state(&sample) && !last.reported_stale => {
                last.unchanged + 1
            }
            _ => 0,
        };
        match sample.deliveries {
            Some(deliveries) => self.deliveries.record(deliveries, now),
            None => self.deliveries.clear(),
        }
        let wall = Timestamp::now();
        self.last = Some(Last { sample, at: now, wall, unchanged, reported_stale: false });
        (
            unchanged == 0,
            if unchanged < QUIET_AFTER_UNCHANGED { SCRAPE_INTERVAL } else { QUIET_SCRAPE_INTERVAL },
        )
    }

    fn mark_stale(&mut self, now: Instant) -> bool {
        let Some(last) = &mut self.last else { return false };
        let stale = now.duration_since(last.at) >= STALE_AFTER && !last.reported_stale;
        last.reported_stale |= stale;
        stale
    }

    fn count(&self, now: Instant) -> ServerPod {
        let fresh = self.last.as_ref().filter(|last| now.duration_since(last.at) < STALE_AFTER);
        ServerPod {
            namespace: self.observed.namespace.clone(),
            name: self.observed.name.clone(),
            uid: self.observed.uid.clone(),
            instance: self.observed.instance.clone(),
            ready: self.observed.ready,
            terminating: self.observed.terminating,
            failure: self.observed.failure.clone(),
            pending_since: self.observed.pending_since,
            connections: fresh.map(|last| last.sample.connections),
            deliveries_per_second: fresh.and_then(|_| self.deliveries.per_second()),
            outbox_bytes: fresh.and_then(|last| last.sample.outbox_bytes),
            redis_up: fresh.and_then(|last| last.sample.redis_up),
            version: fresh.and_then(|last| last.sample.version.clone()),
            read_at: fresh.map(|last| last.wall),
            deletion_cost: self.observed.deletion_cost,
        }
    }
}
