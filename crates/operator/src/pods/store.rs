//! What is known of each pod. No clock and no network: both are handed in.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::core::{Selector, SelectorExt as _};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::changes::Instance;
use super::observed::{Key, ObservedPod};
use super::sample::Sample;
use super::server_pod::ServerPod;

/// How often a pod is read whose count changes, and one that could not be read.
pub const SCRAPE_INTERVAL: Duration = Duration::from_secs(2);

/// How often a pod is read whose count has long been the same. Two of these and a read's
/// deadline are within [`STALE_AFTER`].
pub const QUIET_SCRAPE_INTERVAL: Duration = Duration::from_secs(4);

/// Age from which a count is not served.
pub const STALE_AFTER: Duration = Duration::from_secs(10);

/// Reads with the same answer after which a pod is quiet.
const QUIET_AFTER_UNCHANGED: u32 = 5;

/// The pods, by namespace and name.
pub struct PodStore {
    pods: BTreeMap<Key, Entry>,
    /// Watches that have not listed their scope yet.
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
}

struct Last {
    sample: Sample,
    at: Instant,
    wall: Timestamp,
    unchanged: u32,
    reported_stale: bool,
}

/// A task that reads a pod: it runs until `stop`.
pub struct ScrapeTask {
    /// Tells its answers from those of an earlier task.
    pub id: u64,
    /// Cancelled when the pod is gone or has moved.
    pub stop: CancellationToken,
}

impl PodStore {
    /// An empty one, in which `scopes` watches will write.
    pub fn new(scopes: usize) -> Self {
        PodStore {
            pods: BTreeMap::new(),
            unlisted_scopes: scopes,
            listed: HashSet::new(),
            synced: scopes == 0,
            last_task_id: 0,
        }
    }

    /// Takes down what a pod is now. Gives the reading to begin, if it is a new pod, or one that
    /// has moved.
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
        });
        if entry.observed.uid != observed.uid {
            *entry = Entry { observed: observed.clone(), task: None, scraped: false, last: None };
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

    /// Forgets a pod. Gives its instance, if a count went with it.
    pub fn remove(&mut self, observed: &ObservedPod) -> Option<Instance> {
        let key = observed.key();
        if self.pods.get(&key).is_none_or(|entry| entry.observed.uid != observed.uid) {
            return None;
        }
        let entry = self.pods.remove(&key)?;
        entry.last.map(|_| (entry.observed.namespace, entry.observed.instance))
    }

    /// Forgets the pods of a scope (none: all namespaces) that its list does not have. Gives the
    /// instances whose counts went.
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

    /// A scope was answered about, if only by a refusal: one whose namespace is gone, and with it
    /// the right to look, must not keep this replica from being ready for the others.
    pub fn mark_listed(&mut self, scope: Option<&str>) {
        if self.listed.insert(scope.map(str::to_owned)) {
            self.unlisted_scopes = self.unlisted_scopes.saturating_sub(1);
        }
    }

    /// Takes down the answer of a reading, none if it failed. Gives the instance, if that changed
    /// what is served, and the time until the next read.
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
            Some(sample) => entry.read(sample, now),
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

    /// How many pods there are.
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
    fn read(&mut self, sample: Sample, now: Instant) -> (bool, Duration) {
        let unchanged = match &self.last {
            Some(last) if last.sample == sample && !last.reported_stale => last.unchanged + 1,
            _ => 0,
        };
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
            instance: self.observed.instance.clone(),
            ready: self.observed.ready,
            terminating: self.observed.terminating,
            connections: fresh.map(|last| last.sample.connections),
            redis_up: fresh.and_then(|last| last.sample.redis_up),
            read_at: fresh.map(|last| last.wall),
            deletion_cost: self.observed.deletion_cost,
        }
    }
}
